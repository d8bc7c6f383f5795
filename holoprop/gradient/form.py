"""Which of the two forms an estimator takes, and what it does about asymmetry.

The *energy form* reads the gradient off `∂F/∂θ` at every nudged state; it needs a potential. The *vector-field form*
reads the response `δ` off the states and the gradient off `∂a/∂θ` at the free one (`error_vector.py`); it works for any
drive, and gives the same where there is a potential, in the limit of many points.
"""

from typing import Literal

from holoprop.network.base import AbstractNetwork

Form = Literal["energy", "vector-field"] | None
"""The form; `None`: of energy where the network has one, else of the vector field."""
Asymmetry = Literal["ignore", "correct"]
"""Whether nudged states respond as the network does, `δ`, or, by the term `(Jᵀ − J)(s − s_0)`, as errors do, `λ`."""


def check_form(form: str | None, asymmetry: str) -> None:
    """Raise `ValueError` unless both are words that exist and go together."""
    if form not in (None, "energy", "vector-field"):
        raise ValueError(f"form must be 'energy', 'vector-field' or None, got {form!r}")
    if asymmetry not in ("ignore", "correct"):
        raise ValueError(f"asymmetry must be 'ignore' or 'correct', got {asymmetry!r}")
    if form == "energy" and asymmetry == "correct":
        raise ValueError("an energy has a symmetric Jacobian, nothing to correct: leave out form='energy' or asymmetry")


def uses_energy(net: AbstractNetwork, form: Form) -> bool:
    """Return whether the form that an estimator takes on `net` is that of the energy."""
    return net.is_energy if form is None else form == "energy"


def corrects(net: AbstractNetwork, asymmetry: Asymmetry) -> bool:
    """Return whether there is something to correct: an energy network's Jacobian is symmetric."""
    return asymmetry == "correct" and not net.is_energy

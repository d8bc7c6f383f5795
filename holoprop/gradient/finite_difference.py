"""The classic estimators: finite differences of `∂F/∂θ` along real nudges.

One-sided, `[∂F/∂θ(s_β) − ∂F/∂θ(s_0)]/β`, bias `O(β)` (Scellier & Bengio 2017); centred,
`[∂F/∂θ(s_β) − ∂F/∂θ(s_{−β})]/2β`, bias `O(β²)` (Laborieux et al. 2021).
"""

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.checks import check_amplitude, check_potential
from holoprop.gradient.estimate import AbstractEstimator, Estimate, RealNudges, Unsettled, check_policy
from holoprop.gradient.form import Asymmetry, Form, check_form
from holoprop.gradient.nudged import Reading, estimate_from_nudges
from holoprop.network.base import AbstractNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.solver import AbstractSolver


class OneSided(AbstractEstimator):
    """Classic equilibrium propagation: a free and one nudged phase, `g = [∂F/∂θ(s_β) − ∂F/∂θ(s_0)]/β`, bias `O(β)`.

    **Arguments:** `beta`: the nudge, not 0 (a negative one points the other way); `solver`, `nudged_solver`,
    `unsettled`, `form`, `asymmetry` as in `Holomorphic`.

    **Raises:** `ValueError` for `beta = 0`,
    other words for `form` or `asymmetry`, or `form="energy"` on a network without a potential.

    Source: Scellier & Bengio 2017; P1 §1.1, `N = 1`.
    """

    beta: float = 0.1
    solver: AbstractSolver = Anderson()
    nudged_solver: AbstractSolver | None = None
    unsettled: Unsettled = "mask"
    form: Form = None
    asymmetry: Asymmetry = "ignore"

    def __check_init__(self) -> None:
        check_policy(self.unsettled)
        check_form(self.form, self.asymmetry)
        check_amplitude("abs(beta)", abs(self.beta))

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if `form` is that of an energy and `net` has none."""
        check_potential(net, "OneSided", self.form)

    def real_nudges(self) -> RealNudges:
        """Return the one nudge, and the free state with the opposite weight."""
        return RealNudges([self.beta], [1 / self.beta], -1 / self.beta)

    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the estimate for inputs `x` and one-hot `target`; traceable."""
        del memory
        return estimate_from_nudges(
            net,
            x,
            target,
            self.real_nudges(),
            self.solver,
            self.nudged_solver,
            Reading(self.form, self.asymmetry, self.unsettled),
            key,
        )


class Centered(AbstractEstimator):
    """Centred equilibrium propagation, `g = [∂F/∂θ(s_β) − ∂F/∂θ(s_{−β})]/2β`, bias `O(β²)`: `Holomorphic(points=2)`.

    **Arguments:** `beta > 0`; `solver`, `nudged_solver`, `unsettled`, `form`, `asymmetry` as in `Holomorphic`.

    **Raises:** `ValueError` for `beta ≤ 0`,
    other words for `form` or `asymmetry`, or `form="energy"` on a network without a potential.

    Source: Laborieux et al. 2021 (arXiv 2006.03824).
    """

    beta: float = 0.1
    solver: AbstractSolver = Anderson()
    nudged_solver: AbstractSolver | None = None
    unsettled: Unsettled = "mask"
    form: Form = None
    asymmetry: Asymmetry = "ignore"

    def __check_init__(self) -> None:
        check_policy(self.unsettled)
        check_form(self.form, self.asymmetry)
        check_amplitude("beta", self.beta)

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if `form` is that of an energy and `net` has none."""
        check_potential(net, "Centered", self.form)

    def real_nudges(self) -> RealNudges:
        """Return the two nudges `±β`."""
        return RealNudges([self.beta, -self.beta], [0.5 / self.beta, -0.5 / self.beta], None)

    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the estimate for inputs `x` and one-hot `target`; traceable."""
        del memory
        return estimate_from_nudges(
            net,
            x,
            target,
            self.real_nudges(),
            self.solver,
            self.nudged_solver,
            Reading(self.form, self.asymmetry, self.unsettled),
            key,
        )

"""What estimators refuse, each in one line that says what to do instead."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from holoprop.network.base import AbstractNetwork, Inputs, Targets, parameter_dtype
from holoprop.network.cost import one_hot
from holoprop.settling.fixed_point import check_inputs


def check_amplitude(name: str, value: float | Array | str) -> None:
    """Raise `ValueError` unless a nudge amplitude given as a number is positive and finite."""
    if isinstance(value, int | float) and not 0 < value < float("inf"):
        raise ValueError(f"{name} must be positive and finite, got {value}")


def check_circle(points: int | Literal["auto"], *, at_least: int = 2) -> None:
    """Raise `ValueError` unless `points` is a number of points that a circle may have."""
    if points == "auto" and at_least == 2:
        return
    if isinstance(points, str):
        raise ValueError(f"points must be an integer of at least {at_least}, got {points!r}")
    if points == 1:
        raise ValueError(
            f"points must be at least {at_least}, got 1: for one nudge and a free phase use OneSided(beta)"
        )
    if points < at_least:
        raise ValueError(f"points must be at least {at_least}, got {points}")


def check_batch(
    net: AbstractNetwork, x: Inputs, y: Targets
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch classes"]]:
    """Return a batch's inputs and one-hot targets, or raise `ValueError` if their shapes do not fit."""
    x, y = check_inputs(net, x), jnp.asarray(y)
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(f"x holds {x.shape[0]} samples but y holds {y.shape[0] if y.ndim else 'a single number'}")
    return x, one_hot(y, net.classes, parameter_dtype(net))


def check_energy(net: AbstractNetwork, estimator: str) -> None:
    """Raise `ValueError` if `net` has no potential to differentiate."""
    if not net.is_energy:
        refuse_feedforward(net, estimator)
        raise ValueError(
            f"{estimator} needs an energy network (one with a potential), and {type(net).__name__} is a vector field: "
            "use Holomorphic or Oscillation, whose form='vector-field' needs none"
        )


def check_potential(net: AbstractNetwork, estimator: str, form: str | None) -> None:
    """Raise `ValueError` if `net` has no potential and `form` is that of the energy, or nothing there settles."""
    refuse_feedforward(net, estimator)
    if form == "energy" and not net.is_energy:
        raise ValueError(
            f"form='energy' needs a potential, and {type(net).__name__} is a vector field: use form='vector-field'"
        )


def refuse_feedforward(net: AbstractNetwork, estimator: str) -> None:
    """Raise `ValueError` if `net` is a feed-forward network, which does not settle."""
    # Not by truth: a network of somebody else's may have weights of that name.
    if getattr(net, "feedback", True) is False:
        raise ValueError(f"{estimator} needs a network that settles, and this one is feed-forward: use Backpropagation")


def check_holomorphic(net: AbstractNetwork, points: int | Literal["auto"]) -> None:
    """Raise `ValueError` if a circle of so many points needs a complex derivative that `net` does not have."""
    if points != 2 and not net.holomorphic:
        obstacle, way_out = _obstacle(net)
        raise ValueError(
            f"{obstacle} is not holomorphic, so a circle of {points} points does not give its gradient: use "
            f"points=2, or {way_out}"
        )


def check_complex(net: AbstractNetwork, name: str) -> None:
    """Raise `ValueError` if `name`, which settles under complex nudges, cannot do so on `net`."""
    if not net.holomorphic:
        obstacle, way_out = _obstacle(net)
        raise ValueError(f"{name} needs complex nudges, and {obstacle} is not holomorphic: use {way_out}")


def _obstacle(net: AbstractNetwork) -> tuple[str, str]:
    """Return what of the network is not holomorphic, and what is."""
    if not net.activation.holomorphic:
        return type(net.activation).__name__, "a smooth activation such as 'sigmoid' or 'double_silu'"
    for i, connection in enumerate(getattr(net, "connections", ())):
        if not connection.holomorphic:
            pooling = getattr(connection, "pooling", None)
            culprit = connection if pooling is None else pooling
            return f"connections[{i}] ({type(culprit).__name__})", "softmax or average pooling"
    return type(net).__name__, "a network whose drive has a complex derivative"

"""Initial weights, as the papers draw them, and what builders refuse.

Weights are drawn from a normal truncated at ±2 standard deviations with parameter `std` (default `1/√fan-in`), so their
actual deviation is 0.88·std, as in `jax.nn.initializers.truncated_normal` and in both papers; biases are zero. Feedback
weights, where they are free, lie at a chosen angle to the transposed forward ones (`feedback.py`).
"""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from holoprop.network.connection import Dense
from holoprop.network.conv import Conv
from holoprop.network.feedback import check_angle, with_feedback

Feedback = Literal["tied", "free"]
"""Whether what connections send back is the transpose of what they send forward, or has weights of its own."""
FEEDBACK_KEY = 2**31 - 1
"""The number folded into a builder's key for feedback weights: forward ones are the same with and without."""


def affine(
    key: PRNGKeyArray, shape: tuple[int, ...], weight_scale: float, weight_std: float | None
) -> tuple[Float[Array, "..."], Float[Array, " fan_out"]]:
    """Return a weight drawn from a truncated normal, and a bias of zeros; `weight_std` in place of `1/√fan-in`."""
    std = math.prod(shape[:-1]) ** -0.5 if weight_std is None else weight_std
    weight = weight_scale * std * jax.random.truncated_normal(key, -2.0, 2.0, shape)
    return weight, jnp.zeros(shape[-1], weight.dtype)


def fed_back(
    connections: Sequence[Dense | Conv], feedback: str, angle: float | None, key: PRNGKeyArray
) -> tuple[Dense | Conv, ...]:
    """Return the connections, those between settled layers with free feedback if so asked."""
    if feedback not in ("tied", "free"):
        raise ValueError(f"feedback must be 'tied' or 'free', got {feedback!r}")
    if feedback == "tied":
        if angle is not None:
            raise ValueError(f"angle = {angle} is of free feedback: leave it out, or pass feedback='free'")
        return tuple(connections)
    if len(connections) < 2:
        raise ValueError("a single settled layer hears of no other: feedback='free' needs at least two")
    angle = 90.0 if angle is None else angle
    check_angle(angle)
    keys = jax.random.split(jax.random.fold_in(key, FEEDBACK_KEY), len(connections))
    first, *others = connections
    return (first, *(with_feedback(each, angle, k) for each, k in zip(others, keys[1:], strict=True)))


def check_sizes(**sizes: int | Sequence[int]) -> None:
    """Raise `ValueError` for a size below 1, by its name."""
    for name, size in sizes.items():
        for each in (size,) if isinstance(size, int) else size:
            if each < 1:
                raise ValueError(f"{name} must be at least 1, got {each}")


def check_scales(**scales: float | None) -> None:
    """Raise `ValueError` for a scale that is negative or not finite, by its name."""
    for name, value in scales.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {value}")

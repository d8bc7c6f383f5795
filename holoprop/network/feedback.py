"""Free feedback weights: at a chosen angle to the transposed forward ones, and which way they lie in an array.

    V = cos α · Wᵀ + sin α · G,      ⟨G, Wᵀ⟩ = 0,  ‖G‖ = ‖W‖,

so that the angle between `Wᵀ` and `V` is `α` exactly and both are of one size. At 0 the feedback is the transpose, and
the network the same as with tied feedback until it learns; at 90 degrees nothing is shared.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from holoprop.network.connection import AbstractConnection, Dense
from holoprop.network.conv import Conv


def with_feedback(connection: Dense | Conv, angle: float, key: PRNGKeyArray) -> Dense | Conv:
    """Return the connection with free feedback at `angle` degrees to its transposed forward weights.

    `V = cos α Wᵀ + sin α G`, with `G` drawn from a normal truncated at ±2 standard deviations and made orthogonal to
    `Wᵀ` and of its norm.

    **Arguments:** `connection`: a `Dense` or a `Conv`, of which any feedback is replaced; `angle`: from 0 to 180
    degrees; `key`: JAX random key.

    **Returns:** the connection, its `feedback` of the shape and dtype of the transposed forward weights.

    **Raises:** `ValueError` for another angle, or a connection without weights of its own.

    Source: P2 (arXiv 2309.02214), where `G` is drawn with the backward fan-in, so that the angle is only near `α`.

    ```python
    first, second = hp.mlp(4, (3, 3), 2, key=jax.random.key(0)).connections
    second = hp.with_feedback(second, angle=90.0, key=jax.random.key(1))
    ```
    """
    check_angle(angle)
    if not isinstance(connection, Dense | Conv):
        raise ValueError(f"{type(connection).__name__} has no weights to feed back: give a Dense or a Conv")
    straight = as_feedback(connection, connection.weight)
    random = jax.random.truncated_normal(key, -2.0, 2.0, straight.shape, straight.dtype)
    length, radians = jnp.linalg.norm(straight.reshape(-1)), math.radians(angle)
    unit = straight / jnp.where(length > 0, length, 1)
    across = random - jnp.sum(random * unit) * unit
    width = jnp.linalg.norm(across.reshape(-1))
    # A single weight has nothing across it.
    across = jnp.where(width > 1e-3 * jnp.linalg.norm(random.reshape(-1)), across / width, 0) * length
    feedback = math.cos(radians) * straight + math.sin(radians) * across
    return dataclasses.replace(connection, feedback=feedback)


def one_way(connection: AbstractConnection) -> AbstractConnection:
    """Return the connection without feedback weights, for its forward map alone: no product is made to go back."""
    return dataclasses.replace(connection, feedback=None) if isinstance(connection, Dense | Conv) else connection


def as_feedback(connection: Dense | Conv, weight: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return forward weights as they lie in the array of feedback weights: `Wᵀ` (dense), or as they are (kernels).

    It is its own inverse.
    """
    return weight.T if isinstance(connection, Dense) else weight


def check_angle(angle: float) -> None:
    """Raise `ValueError` unless `angle` is from 0 to 180 degrees."""
    if not 0 <= angle <= 180:
        raise ValueError(f"angle must be from 0 to 180 degrees, got {angle}")

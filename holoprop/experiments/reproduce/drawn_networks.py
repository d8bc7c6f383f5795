"""Networks drawn at random from a seed, so that nobody can have tuned anything on them."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from holoprop.network.build import mlp
from holoprop.network.layered import LayeredNetwork


@dataclasses.dataclass(frozen=True)
class Shape:
    """What of a network is drawn before its weights."""

    inputs: int
    hidden: tuple[int, ...]
    classes: int
    activation: str
    weight_scale: float
    cost: str = "cross_entropy"

    @property
    def words(self) -> str:
        """The shape in words, `30-64-16-5 tanh × 1.5`."""
        sizes = "-".join(map(str, (self.inputs, *self.hidden, self.classes)))
        squared = "" if self.cost == "cross_entropy" else ", squared error"
        return f"{sizes} {self.activation} × {self.weight_scale:g}{squared}"

    def network(self, seed: int) -> LayeredNetwork:
        """Return a network of this shape, in the default precision."""
        return mlp(
            self.inputs,
            self.hidden,
            self.classes,
            activation=self.activation,
            cost=self.cost,
            weight_scale=self.weight_scale,
            key=jax.random.key(seed),
        )


def draw_hidden(rng: np.random.Generator, widths: Sequence[int]) -> tuple[int, ...]:
    """Return one to three layers' widths."""
    return tuple(int(width) for width in rng.choice(widths, int(rng.integers(1, 4))))


def draw_activation(rng: np.random.Generator) -> str:
    """Return the name of a holomorphic activation."""
    return str(rng.choice(["sigmoid", "double_silu", "tanh"]))


def draw_batch(
    rng: np.random.Generator, shape: Shape, batch: int, *, signed: bool = False
) -> tuple[Float[Array, "batch inputs"], Int[Array, " batch"]]:
    """Return inputs, uniform in [0, 1] or normal, and labels."""
    size = (batch, shape.inputs)
    inputs = rng.normal(size=size) if signed else rng.random(size)
    return jnp.asarray(inputs), jnp.asarray(rng.integers(0, shape.classes, batch).astype(np.int32))

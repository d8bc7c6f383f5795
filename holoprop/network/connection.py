"""Connections between layers: a forward map into the target layer and a backward one into the source layer.

A connection with *tied* feedback sends the transpose back of what it sends forward; it then contributes the term
`s_target · forward(s_source)` to the potential `Φ`, and both its maps are derivatives of that one term. One with *free*
feedback has weights of its own for the way back, a *directed* one has no way back. The forward map is a product with
the weights, then perhaps pooling; the backward map may need that product too, so whoever has it at hand passes it on
instead of computing it twice. Convolutions are in `conv.py`.
"""

import abc
import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from holoprop.network.product import check_affine, real_product


class AbstractConnection(eqx.Module):
    """A connection from a source layer to a target layer, on the activities of one sample.

    With `z = product(s)`, affine in `s`: `forward(s) = up(z)` is the drive of the target layer, `backward(s', s) =
    down(s', z)` that of the source layer. `tied` says that feedback is the transpose of the forward map, so that the
    connection has a potential: its term `s' · forward(s)` of `Φ`, with `backward(s', s) = ∂/∂s [s' · forward(s)]`.
    `directed` says that nothing is sent back at all.

    Source: P1 (arXiv 2209.00530), `Φ = Σ_l s_{l+1} · pool(W_l s_l + b_l)`; free feedback is P2's (arXiv 2309.02214).
    """

    @property
    @abc.abstractmethod
    def tied(self) -> bool:
        """Whether feedback is the transpose of the forward map."""

    @property
    def directed(self) -> bool:
        """Whether the source layer hears nothing of the target layer; by default it does."""
        return False

    @property
    @abc.abstractmethod
    def source_shape(self) -> tuple[int, ...]:
        """Shape of the source layer's activities."""

    @property
    @abc.abstractmethod
    def target_shape(self) -> tuple[int, ...]:
        """Shape of the target layer's activities."""

    @property
    def holomorphic(self) -> bool:
        """Whether both maps are complex-differentiable; by default they are."""
        return True

    @property
    def recalls_product(self) -> bool:
        """Whether `down` depends on the product, so that the source layer drives itself; by default it does not."""
        return False

    @property
    def product_shape(self) -> tuple[int, ...]:
        """Shape of the product; by default that of the target layer."""
        return self.target_shape

    def transposed(self) -> "AbstractConnection | None":
        """Return the connection that sends forward the transpose of what this one sends back, and the other way round.

        `None`, the default, where both maps are not known to be affine. Biases are left out: with `forward(s) = F s +
        b` and `backward(s', s) = B s'`, its forward map is `Bᵀ s`, its backward map `Fᵀ s'`.
        """
        return None

    @abc.abstractmethod
    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `z`, affine in the source layer's activities, in their dtype."""

    def up(self, product: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the drive of the target layer from the product; by default that is the product itself."""
        return product

    @abc.abstractmethod
    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None) -> Inexact[Array, "..."]:
        """Return the drive of the source layer; `product` may be `None` unless `recalls_product`."""

    def forward(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the drive of the target layer: `source_shape → target_shape`, in the dtype of `source`."""
        return self.up(self.product(source))

    def backward(self, target: Inexact[Array, "..."], source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the drive of the source layer: `target_shape → source_shape`, in the dtype of `target`."""
        return self.down(target, self.product(source) if self.recalls_product else None)


class Dense(AbstractConnection):
    """All-to-all connection: forward `W s + b`, backward `Wᵀ s'`, or `V s'` with free feedback weights `V`.

    With tied feedback it is the term `s' · (W s + b)` of `Φ`; with free feedback there is no such term.

    **Attributes:**

    - `weight`: `(in, out)`, real (stored input-first, so the forward product is `s @ weight`).
    - `bias`: `(out,)`, real, of the weight's dtype, or `None`.
    - `feedback`: `(out, in)`, real (input-first too: the backward product is `s' @ feedback`), or `None`: tied.

    Activities may be real or complex and are of the weight's precision; products have their dtype (`real_product`).

    **Raises:** `ValueError` if the weight is no matrix, the bias has not one entry per column of it, or the feedback
    has another shape than the weight's transpose.

    Source: P1 (arXiv 2209.00530), `Φ = Σ_l s_{l+1} · (W_l s_l + b_l)`; free feedback: P2 (arXiv 2309.02214).

    ```python
    hp.Dense(jnp.zeros((784, 256)), jnp.zeros(256)).forward(x).shape  # (256,)
    ```
    """

    weight: Float[Array, "in out"]
    bias: Float[Array, " out"] | None
    feedback: Float[Array, "out in"] | None = None
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_affine("a dense connection", self.weight, self.bias, "(in, out)", "(out,)")
        if self.feedback is not None:
            check_feedback(self.feedback, self.weight.shape[::-1], "(out, in)")

    @property
    def tied(self) -> bool:
        """Whether there are no feedback weights."""
        return self.feedback is None

    @property
    def source_shape(self) -> tuple[int, ...]:
        """`(in,)`."""
        return (self.weight.shape[0],)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """`(out,)`."""
        return (self.weight.shape[1],)

    def transposed(self) -> "Dense":
        """Return the connection with forward weights `Vᵀ` and feedback weights `Wᵀ`; tied ones stay as they are."""
        if self.feedback is None:
            return Dense(self.weight, None)
        return Dense(self.feedback.T, None, self.weight.T)

    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `W s + b`: `(in,) → (out,)`, real or complex."""
        product = real_product(source, self.weight)
        return product if self.bias is None else product + self.bias.astype(source.dtype)

    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None = None) -> Array:
        """Return `Wᵀ s'`, or `V s'`: `(out,) → (in,)`, real or complex."""
        del product
        return real_product(target, self.weight.T if self.feedback is None else self.feedback)


class Skip(AbstractConnection):
    """A residual connection between layers of one shape: forward `κ s`, backward `κ s'`; the term `κ s' · s` of `Φ`.

    **Attributes:** `shape`: of both layers; `strength`: the fixed number `κ`, in units of drive per activity.

    **Raises:** `ValueError` for a shape that is no tuple of sizes, or a strength that is not finite.

    Source: skip connections in the energy, Hopfield-ResNet (arXiv 2509.26003), there with `κ = 1`.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    strength: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if not isinstance(self.shape, tuple) or not all(isinstance(n, int) and n >= 1 for n in self.shape):
            raise ValueError(f"shape must be a tuple of sizes, each at least 1, got {self.shape!r}")
        if not math.isfinite(self.strength):
            raise ValueError(f"strength must be finite, got {self.strength}")

    @property
    def tied(self) -> bool:
        """Always: what goes up is symmetric."""
        return True

    @property
    def source_shape(self) -> tuple[int, ...]:
        """`shape`."""
        return self.shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """`shape`."""
        return self.shape

    def transposed(self) -> "Skip":
        """Return the connection itself: it is symmetric."""
        return self

    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `κ s`, real or complex."""
        return self.strength * source

    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None = None) -> Array:
        """Return `κ s'`, real or complex."""
        del product
        return self.strength * target


class OneWay(AbstractConnection):
    """One of the two maps of a connection: what `Directed` and `Returning` share."""

    connection: eqx.AbstractVar[AbstractConnection]

    @property
    def tied(self) -> bool:
        """Never: there is no potential of one direction alone."""
        return False

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Of `connection`."""
        return self.connection.source_shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Of `connection`."""
        return self.connection.target_shape


class Directed(OneWay):
    """One way of a connection: forward what `connection` sends forward, and nothing back, `backward(s', s) = 0`.

    The synapse of a graph without reciprocal edges, such as P2's loop `x → s_1 → s_2 → s_3 → s_1`.

    **Attributes:** `connection`: any, without feedback weights of its own, which would not be used.

    **Raises:** `ValueError` for a connection with free feedback.

    Source: P2 (arXiv 2309.02214), its network without reciprocal edges (Fig. 4e–h).

    ```python
    hp.Directed(hp.Dense(jnp.zeros((10, 256)), None))
    ```
    """

    connection: AbstractConnection
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not self.connection.tied:
            raise ValueError("a directed connection sends nothing back: leave out the feedback weights")

    @property
    def directed(self) -> bool:
        """Always."""
        return True

    @property
    def holomorphic(self) -> bool:
        """Whether that of `connection` is."""
        return self.connection.holomorphic

    @property
    def product_shape(self) -> tuple[int, ...]:
        """Of `connection`."""
        return self.connection.product_shape

    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the product of `connection`."""
        return self.connection.product(source)

    def up(self, product: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the drive of the target layer."""
        return self.connection.up(product)

    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None = None) -> Array:
        """Return zeros, in the dtype of `target`."""
        del product
        return jnp.zeros(self.source_shape, target.dtype)

    def transposed(self) -> "Returning | None":
        """Return the way back that this connection lacks, alone; `None` where `connection` has no transpose."""
        transposed = self.connection.transposed()
        return None if transposed is None else Returning(transposed)


class Returning(OneWay):
    """The way back of a connection alone: nothing forward, `forward(s) = 0`, and back what `connection` sends back.

    The transpose of a directed connection.

    **Attributes:** `connection`: tied, affine, and without bias, as `transposed()` of a tied connection returns it.
    """

    connection: AbstractConnection
    keeps_real_weights: ClassVar[bool] = True

    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return zeros, in the dtype of `source`."""
        return jnp.zeros(self.target_shape, source.dtype)

    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None = None) -> Array:
        """Return what `connection` sends back."""
        return self.connection.down(target, product)

    def transposed(self) -> Directed:
        """Return the directed connection."""
        return Directed(self.connection)


def check_feedback(feedback: Array, shape: tuple[int, ...], words: str) -> None:
    """Raise `ValueError` unless feedback weights have the `shape` that goes with the forward ones, `words` in words."""
    if feedback.shape != shape:
        raise ValueError(f"feedback must have shape {words} = {shape}, got {feedback.shape}")

"""Connections between layers: a forward map into the layer above and a backward one into the layer below.

A connection with *tied* feedback sends the transpose back of what it sends forward; it then contributes the term
`s_target · forward(s_source)` to the potential `Φ`, and both its maps are derivatives of that one term. The forward map
is a product with the weights, then perhaps pooling; the backward map may need that product too, so whoever has it at
hand passes it on instead of computing it twice.
"""

import abc
import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from holoprop.network.convolution import (
    Padding,
    Pads,
    averaged_kernel,
    averaged_pads,
    convolve,
    convolve_transposed,
    convolved_size,
)
from holoprop.network.pooling import AbstractPooling, AveragePooling
from holoprop.network.product import check_affine, real_product


class AbstractConnection(eqx.Module):
    """A connection from a source layer to a target layer, on the activities of one sample.

    With `z = product(s)`, affine in `s`: `forward(s) = up(z)` is the drive of the target layer, `backward(s', s) =
    down(s', z)` that of the source layer. `tied` says that feedback is the transpose of the forward map, so that the
    connection has a potential: its term `s' · forward(s)` of `Φ`, with `backward(s', s) = ∂/∂s [s' · forward(s)]`.

    Source: P1 (arXiv 2209.00530), `Φ = Σ_l s_{l+1} · pool(W_l s_l + b_l)`; free feedback is P2's (arXiv 2309.02214).
    """

    tied: ClassVar[bool]

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
    """All-to-all connection with tied feedback: forward `W s + b`, backward `Wᵀ s'`; term `s' · (W s + b)` of `Φ`.

    **Attributes:**

    - `weight`: `(in, out)`, real (stored input-first, so the forward product is `s @ weight`).
    - `bias`: `(out,)`, real, of the weight's dtype.

    Activities may be real or complex and are of the weight's precision; products have their dtype (`real_product`).

    **Raises:** `ValueError` if the weight is no matrix or the bias has not one entry per column of it.

    Source: P1 (arXiv 2209.00530), `Φ = Σ_l s_{l+1} · (W_l s_l + b_l)`.

    ```python
    hp.Dense(jnp.zeros((784, 256)), jnp.zeros(256)).forward(x).shape  # (256,)
    ```
    """

    weight: Float[Array, "in out"]
    bias: Float[Array, " out"]
    tied: ClassVar[bool] = True
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_affine("a dense connection", self.weight, self.bias, "(in, out)", "(out,)")

    @property
    def source_shape(self) -> tuple[int, ...]:
        """`(in,)`."""
        return (self.weight.shape[0],)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """`(out,)`."""
        return (self.weight.shape[1],)

    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `W s + b`: `(in,) → (out,)`, real or complex."""
        return real_product(source, self.weight) + self.bias.astype(source.dtype)

    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None = None) -> Array:
        """Return `Wᵀ s'`: `(out,) → (in,)`, real or complex."""
        del product
        return real_product(target, self.weight.T)


class Skip(AbstractConnection):
    """A residual connection between layers of one shape: forward `κ s`, backward `κ s'`; the term `κ s' · s` of `Φ`.

    **Attributes:** `shape`: of both layers; `strength`: the fixed number `κ`, in units of drive per activity.

    **Raises:** `ValueError` for a shape that is no tuple of sizes, or a strength that is not finite.

    Source: skip connections in the energy, Hopfield-ResNet (arXiv 2509.26003), there with `κ = 1`.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    strength: float = eqx.field(static=True, default=1.0)
    tied: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not isinstance(self.shape, tuple) or not all(isinstance(n, int) and n >= 1 for n in self.shape):
            raise ValueError(f"shape must be a tuple of sizes, each at least 1, got {self.shape!r}")
        if not math.isfinite(self.strength):
            raise ValueError(f"strength must be finite, got {self.strength}")

    @property
    def source_shape(self) -> tuple[int, ...]:
        """`shape`."""
        return self.shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """`shape`."""
        return self.shape

    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `κ s`, real or complex."""
        return self.strength * source

    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None = None) -> Array:
        """Return `κ s'`, real or complex."""
        del product
        return self.strength * target


class Conv(AbstractConnection):
    """Convolution with tied feedback, and perhaps pooling: the term `s' · pool(W ∗ s + b)` of `Φ`.

    With `z = W ∗ s + b`: forward `pool(z)`, backward `W ∗ᵀ (pool'(z)ᵀ s')`, where `∗` is the library's convolution
    (cross-correlation) and `∗ᵀ` its transpose. Nonlinear pooling makes the source layer drive itself through `z`; the
    mean of windows is taken into the kernel, one strided convolution in place of both.

    **Attributes:**

    - `weight`: `(rows, columns, in, out)`, real; `bias`: `(out,)`, real, of the weight's dtype.
    - `size`: `(height, width)` of the source layer, whose shape is `(height, width, in)`.
    - `stride`: of the convolution, the same both ways; `padding`: `"SAME"` or `"VALID"`.
    - `pooling`: of the product, or `None`.

    Activities may be real or complex and are of the weight's precision.

    **Raises:** `ValueError` for a weight or bias of another shape, a stride below 1, another padding, or a map so small
    that nothing is left of it.

    Source: P1 (arXiv 2209.00530), `Φ = Σ_l s_{l+1} · pool(W_l ∗ s_l + b_l)`.

    ```python
    conv = hp.Conv(jnp.zeros((3, 3, 3, 128)), jnp.zeros(128), (32, 32), pooling=hp.SoftmaxPooling())
    conv.forward(x).shape  # (16, 16, 128)
    ```
    """

    weight: Float[Array, "rows columns in out"]
    bias: Float[Array, " out"]
    size: tuple[int, int] = eqx.field(static=True)
    stride: int = eqx.field(static=True, default=1)
    padding: Padding = eqx.field(static=True, default="SAME")
    pooling: AbstractPooling | None = None
    tied: ClassVar[bool] = True
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_affine("a convolution", self.weight, self.bias, "(rows, columns, in, out)", "(out,)")
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, got {self.stride}")
        if self.padding not in ("SAME", "VALID"):
            raise ValueError(f"padding must be 'SAME' or 'VALID', got {self.padding!r}")
        if min(self.target_shape) < 1:
            rows, columns = self.weight.shape[:2]
            raise ValueError(
                f"nothing is left of a map of {self.size[0]}×{self.size[1]} after a {rows}×{columns} convolution "
                f"(stride {self.stride}, {self.padding}) and pooling: use fewer layers, padding='SAME' or no pooling"
            )

    @property
    def source_shape(self) -> tuple[int, ...]:
        """`(height, width, in)`."""
        return (*self.size, self.weight.shape[2])

    @property
    def target_shape(self) -> tuple[int, ...]:
        """`(new height, new width, out)`."""
        rows, columns = self._convolved_size
        window = 1 if self.pooling is None else self.pooling.size
        return (rows // window, columns // window, self.weight.shape[3])

    @property
    def product_shape(self) -> tuple[int, ...]:
        """`(new height, new width, out)` before pooling, or after it where that is taken into the kernel."""
        return self.target_shape if self._averages else (*self._convolved_size, self.weight.shape[3])

    @property
    def _convolved_size(self) -> tuple[int, int]:
        rows, columns = self.weight.shape[:2]
        return convolved_size(self.size, (rows, columns), self.stride, self.padding)

    @property
    def _averages(self) -> bool:
        """Whether the convolution takes the means of windows too."""
        return isinstance(self.pooling, AveragePooling)

    @property
    def kernel(self) -> Float[Array, "rows columns in out"]:
        """What the product convolves with: the weight, or the mean of windows of it."""
        if not isinstance(self.pooling, AveragePooling):
            return self.weight
        return averaged_kernel(self.weight, self.stride, self.pooling.size)

    @property
    def convolution(self) -> tuple[int, Padding | Pads]:
        """Stride and padding that go with `kernel`."""
        if not isinstance(self.pooling, AveragePooling):
            return self.stride, self.padding
        rows, columns = self.weight.shape[:2]
        pads = averaged_pads(self.size, (rows, columns), self.stride, self.padding, self.pooling.size)
        return self.stride * self.pooling.size, pads

    @property
    def holomorphic(self) -> bool:
        """Whether the pooling is."""
        return self.pooling is None or self.pooling.holomorphic

    @property
    def recalls_product(self) -> bool:
        """Whether the pooling is not linear."""
        return self.pooling is not None and not self.pooling.linear

    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `W ∗ s + b`, before pooling that is not taken into the kernel."""
        stride, padding = self.convolution
        return convolve(source, self.kernel, stride, padding) + self.bias.astype(source.dtype)

    def up(self, product: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the pooled product."""
        return product if self.pooling is None or self._averages else self.pooling(product)

    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None = None) -> Array:
        """Return `W ∗ᵀ (pool'(z)ᵀ s')`, in the dtype of `target`."""
        if self.pooling is not None and not self._averages:
            if product is None:  # of linear pooling: any will do
                product = jnp.zeros(self.product_shape, target.dtype)
            (target,) = jax.vjp(self.pooling, product)[1](target)
        stride, padding = self.convolution
        return convolve_transposed(target, self.kernel, stride, padding, self.size)

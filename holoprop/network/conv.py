"""Convolutional connections, with pooling on the way up and its derivative on the way down."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from holoprop.network.connection import AbstractConnection, check_feedback
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
from holoprop.network.product import check_affine


class Conv(AbstractConnection):
    """Convolution, and perhaps pooling; with tied feedback the term `s' · pool(W ∗ s + b)` of `Φ`.

    With `z = W ∗ s + b`: forward `pool(z)`, backward `W ∗ᵀ (pool'(z)ᵀ s')`, where `∗` is the library's convolution
    (cross-correlation) and `∗ᵀ` its transpose. Nonlinear pooling makes the source layer drive itself through `z`; the
    mean of windows is taken into the kernel, one strided convolution in place of both. With free feedback weights `V`
    the way back has its own pooling too, `y = V ∗ s`, backward `V ∗ᵀ (pool'(y)ᵀ s')`: what a tied connection of weights
    `V` would send.

    **Attributes:**

    - `weight`: `(rows, columns, in, out)`, real; `bias`: `(out,)`, real, of the weight's dtype, or `None`.
    - `feedback`: `(rows, columns, in, out)`, real, laid out as the forward kernel that it stands in for on the way
      back, or `None`: tied.
    - `size`: `(height, width)` of the source layer, whose shape is `(height, width, in)`.
    - `stride`: of the convolution, the same both ways; `padding`: `"SAME"` or `"VALID"`.
    - `pooling`: of the product, or `None`.

    Activities may be real or complex and are of the weight's precision.

    **Raises:** `ValueError` for a weight, bias or feedback of another shape, a stride below 1, another padding, or a
    map so small that nothing is left of it.

    Source: P1 (arXiv 2209.00530), `Φ = Σ_l s_{l+1} · pool(W_l ∗ s_l + b_l)`; free feedback: P2 (arXiv 2309.02214).

    ```python
    conv = hp.Conv(jnp.zeros((3, 3, 3, 128)), jnp.zeros(128), (32, 32), pooling=hp.SoftmaxPooling())
    conv.forward(x).shape  # (16, 16, 128)
    ```
    """

    weight: Float[Array, "rows columns in out"]
    bias: Float[Array, " out"] | None
    size: tuple[int, int] = eqx.field(static=True)
    stride: int = eqx.field(static=True, default=1)
    padding: Padding = eqx.field(static=True, default="SAME")
    pooling: AbstractPooling | None = None
    feedback: Float[Array, "rows columns in out"] | None = None
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_affine("a convolution", self.weight, self.bias, "(rows, columns, in, out)", "(out,)")
        if self.feedback is not None:
            check_feedback(self.feedback, self.weight.shape, "(rows, columns, in, out)")
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
    def tied(self) -> bool:
        """Whether there are no feedback weights."""
        return self.feedback is None

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
        """`(new height, new width, out)` before pooling, or after it where that is taken into the kernel.

        Twice as many channels where the way back has a product of its own: those of `W ∗ s + b`, then those of `V ∗ s`.
        """
        outer = self.weight.shape[3] * (2 if self._has_own_product_back else 1)
        return self.target_shape if self._averages else (*self._convolved_size, outer)

    @property
    def _convolved_size(self) -> tuple[int, int]:
        rows, columns = self.weight.shape[:2]
        return convolved_size(self.size, (rows, columns), self.stride, self.padding)

    @property
    def _averages(self) -> bool:
        """Whether the convolution takes the means of windows too."""
        return isinstance(self.pooling, AveragePooling)

    @property
    def _has_own_product_back(self) -> bool:
        return self.feedback is not None and self.recalls_product

    @property
    def kernel(self) -> Float[Array, "rows columns in out"]:
        """What the forward product convolves with: the weight, or the mean of windows of it."""
        return self._pooled_kernel(self.weight)

    @property
    def product_kernel(self) -> Float[Array, "rows columns in more"]:
        """What the product convolves with: `kernel`, and beside it `kernel_back` if the way back has a product too."""
        kernels = [self.kernel, self.kernel_back] if self._has_own_product_back else [self.kernel]
        return jnp.concatenate(kernels, 3) if len(kernels) > 1 else self.kernel

    @property
    def kernel_back(self) -> Float[Array, "rows columns in out"]:
        """What is applied, transposed, on the way back."""
        return self._pooled_kernel(self.weight if self.feedback is None else self.feedback)

    def _pooled_kernel(
        self, weight: Float[Array, "rows columns in out"]
    ) -> Float[Array, "more_rows more_columns in out"]:
        if not isinstance(self.pooling, AveragePooling):
            return weight
        return averaged_kernel(weight, self.stride, self.pooling.size)

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

    def transposed(self) -> "Conv | None":
        """Return the connection with `W` and `V` exchanged; `None` with pooling that is not linear."""
        if self.recalls_product:
            return None
        back = self.weight if self.feedback is None else self.feedback
        return dataclasses.replace(
            self, weight=back, bias=None, feedback=None if self.feedback is None else self.weight
        )

    def product(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `W ∗ s + b`, before pooling that is not taken into the kernel; beside it `V ∗ s` if that is needed."""
        stride, padding = self.convolution
        product, bias = convolve(source, self.product_kernel, stride, padding), self.bias
        if bias is not None and self._has_own_product_back:
            bias = jnp.pad(bias, (0, bias.shape[0]))
        return product if bias is None else product + bias.astype(source.dtype)

    def up(self, product: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the pooled product."""
        forward = product[..., : self.weight.shape[3]]
        return forward if self.pooling is None or self._averages else self.pooling(forward)

    def down(self, target: Inexact[Array, "..."], product: Inexact[Array, "..."] | None = None) -> Array:
        """Return `W ∗ᵀ (pool'(z)ᵀ s')`, or the same of `V` and `y`, in the dtype of `target`."""
        if self.pooling is not None and not self._averages:
            if product is None:  # of linear pooling: any will do
                product = jnp.zeros(self.product_shape, target.dtype)
            (target,) = jax.vjp(self.pooling, product[..., -self.weight.shape[3] :])[1](target)
        stride, padding = self.convolution
        return convolve_transposed(target, self.kernel_back, stride, padding, self.size)

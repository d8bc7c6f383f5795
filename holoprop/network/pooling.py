"""Pooling over square windows of a feature map, part of a convolutional connection.

In the potential's term `s' · pool(z)`, `z = conv(s) + b`, pooling acts on the way up, its derivative on the way down.
Softmax pooling is holomorphic and so fit for a contour; max pooling is here to show what is not.
"""

import abc
from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from holoprop.network.activation import sincos
from holoprop.network.named import named


class AbstractPooling(eqx.Module):
    """A map from windows of `size × size` values, side by side, to one value each, channel by channel.

    `holomorphic` says that it is complex-differentiable, `linear` that it is a linear map, zeros to zeros.
    """

    size: eqx.AbstractVar[int]
    holomorphic: ClassVar[bool]
    linear: ClassVar[bool]

    @abc.abstractmethod
    def __call__(self, z: Inexact[Array, "height width channels"]) -> Inexact[Array, "rows columns channels"]:
        """Return the pooled map, `(height // size, width // size, channels)`; what is left at the far edges is cut."""


class SoftmaxPooling(AbstractPooling):
    """Softmax pooling, `Σ_i v_i e^{v_i/T} / Σ_i e^{v_i/T}` over each window `v`: the largest for `T → 0`, else smooth.

    **Arguments:** `temperature`: `T > 0`, in units of the drive; `size`: of the windows, which do not overlap.

    **Raises:** `ValueError` for a temperature that is not positive and finite, or a size below 1.

    Source: P1 (arXiv 2209.00530), the pooling of its convolutional networks (2×2, `T = 1`).
    """

    temperature: float = eqx.field(static=True, default=1.0)
    size: int = eqx.field(static=True, default=2)
    holomorphic: ClassVar[bool] = True
    linear: ClassVar[bool] = False

    def __check_init__(self) -> None:
        _check_size(self.size)
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be positive and finite, got {self.temperature}")

    def __call__(self, z: Inexact[Array, "height width channels"]) -> Inexact[Array, "rows columns channels"]:
        """Return the pooled map, real or complex."""
        return _softmax_pool(self.temperature, _windows(z, self.size))


class AveragePooling(AbstractPooling):
    """The mean of each window.

    **Arguments:** `size`: of the windows, which do not overlap.

    **Raises:** `ValueError` for a size below 1.
    """

    size: int = eqx.field(static=True, default=2)
    holomorphic: ClassVar[bool] = True
    linear: ClassVar[bool] = True

    def __check_init__(self) -> None:
        _check_size(self.size)

    def __call__(self, z: Inexact[Array, "height width channels"]) -> Inexact[Array, "rows columns channels"]:
        """Return the pooled map, real or complex."""
        return jnp.mean(_windows(z, self.size), (1, 3))


class MaxPooling(AbstractPooling):
    """The largest value of each window; of complex values the one of the largest real part. Not holomorphic.

    **Arguments:** `size`: of the windows, which do not overlap.

    **Raises:** `ValueError` for a size below 1.

    Source: P1 (arXiv 2209.00530), its non-holomorphic controls.
    """

    size: int = eqx.field(static=True, default=2)
    holomorphic: ClassVar[bool] = False
    linear: ClassVar[bool] = False

    def __check_init__(self) -> None:
        _check_size(self.size)

    def __call__(self, z: Inexact[Array, "height width channels"]) -> Inexact[Array, "rows columns channels"]:
        """Return the pooled map; of equal values in a window each has its share."""
        windows = _windows(z, self.size)
        top = (windows.real == jnp.max(windows.real, (1, 3), keepdims=True)).astype(windows.real.dtype)
        share = lax.stop_gradient(top / jnp.sum(top, (1, 3), keepdims=True)).astype(z.dtype)
        return jnp.sum(share * windows, (1, 3))


def _windows(z: Inexact[Array, "height width channels"], size: int) -> Inexact[Array, "rows i columns j channels"]:
    rows, columns = z.shape[0] // size, z.shape[1] // size
    return z[: rows * size, : columns * size].reshape(rows, size, columns, size, z.shape[2])


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _softmax_pool(
    temperature: float, v: Inexact[Array, "rows i columns j channels"]
) -> Inexact[Array, "rows columns channels"]:
    return jnp.sum(v * _shares(temperature, v), (1, 3))


@_softmax_pool.defjvp
def _softmax_pool_jvp(temperature: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # ∂y/∂v_i = p_i (1 + (v_i − y)/T): one product instead of the derivatives of exponentials and quotients.
    (v,), (dv,) = primals, tangents
    shares = _shares(temperature, v)
    y = jnp.sum(v * shares, (1, 3))
    slope = shares * (1 + (v - y[:, None, :, None]) / temperature)
    return y, jnp.sum(slope * dv, (1, 3))


def _shares(
    temperature: float, v: Inexact[Array, "rows i columns j channels"]
) -> Inexact[Array, "rows i columns j channels"]:
    """Return `e^{v_i/T} / Σ_j e^{v_j/T}` of each window, without overflow; complex ones on real and imaginary parts."""
    largest = lax.stop_gradient(jnp.max(v.real, (1, 3), keepdims=True))
    size = jnp.exp((v.real - largest) / temperature)
    if not jnp.iscomplexobj(v):
        return size / jnp.sum(size, (1, 3), keepdims=True)
    sine, cosine = sincos(v.imag / temperature)
    a, b = size * cosine, size * sine
    p, q = (jnp.sum(part, (1, 3), keepdims=True) for part in (a, b))
    scale = 1 / (p * p + q * q)
    return lax.complex((a * p + b * q) * scale, (b * p - a * q) * scale)


def _check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"the size of pooling windows must be at least 1, got {size}")


POOLINGS: dict[str, AbstractPooling] = {
    "softmax": SoftmaxPooling(),
    "average": AveragePooling(),
    "max": MaxPooling(),
}


def pooling_named(name: str | AbstractPooling) -> AbstractPooling:
    """Return the pooling called `name` (`softmax`, `average`, `max`; 2×2), or `name` itself if it is one already.

    **Raises:** `ValueError` naming the known ones if there is none of that name.
    """
    return named("pooling", POOLINGS, name)

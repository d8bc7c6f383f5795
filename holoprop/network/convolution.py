"""Convolution of a feature map with real kernels, real or complex, and its transpose.

As in `product.py`, a complex map is two real ones, convolved as one batch. Two ways lead to the same numbers: the
library's convolution, and patches laid out as the rows of one matrix product (and, transposed, products added up where
the patches overlap). On a CPU the second is two to three times as fast on small maps of many channels, and up to ninety
times for a transposed VALID convolution, which the library runs on a slow path (`bench/RESULTS.md`).
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact

from holoprop.network.product import multiply, operand

Padding = Literal["SAME", "VALID"]
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_SMALL_MAP = 64
"""On a CPU, maps of at most so many positions go through patches, …"""
_MANY_CHANNELS = 128
"""… and in bfloat16 those of at least so many channels."""


def convolve(
    s: Inexact[Array, "height width inner"],
    weight: Float[Array, "rows columns inner outer"],
    stride: int,
    padding: Padding,
) -> Inexact[Array, "new_height new_width outer"]:
    """Convolve a map with a real kernel (cross-correlation, as everywhere in this field), in the dtype of the map.

    **Arguments:** `s`: one map, `(height, width, inner)`, real or complex; `weight`: `(rows, columns, inner, outer)`,
    real; `stride`, `padding`: as in `jax.lax.conv_general_dilated`.
    """
    pads = pads_of(s.shape[:2], weight.shape[:2], stride, padding)
    way = _patches if _prefers_patches(s.shape, weight) else _library
    return _on_real(lambda real, kernel: way(real, kernel, stride, pads), s, weight)


def convolve_transposed(
    y: Inexact[Array, "new_height new_width outer"],
    weight: Float[Array, "rows columns inner outer"],
    stride: int,
    padding: Padding,
    shape: tuple[int, int],
) -> Inexact[Array, "height width inner"]:
    """Apply the transpose of `convolve`, to a map of the size `shape = (height, width)`."""
    pads = pads_of(shape, weight.shape[:2], stride, padding)
    way = _overlaps if _prefers_patches(shape, weight) else _library_transposed
    return _on_real(lambda real, kernel: way(real, kernel, stride, pads, shape), y, weight)


def convolved_size(size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: Padding) -> tuple[int, int]:
    """Return height and width of what a map of `size` becomes."""
    if padding == "SAME":
        return -(-size[0] // stride), -(-size[1] // stride)
    return (size[0] - kernel[0]) // stride + 1, (size[1] - kernel[1]) // stride + 1


Pads = tuple[tuple[int, int], tuple[int, int]]


def pads_of(size: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: Padding) -> Pads:
    """Return how many zeros are put before and after each axis."""
    rows, columns = lax.padtype_to_pads(size, kernel, (stride, stride), padding)
    return (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1]))


def _on_real(f: Callable[[Array, Array], Array], s: Array, weight: Array) -> Array:
    """Apply a real, linear map of batches to a real or complex map."""
    weight = operand(weight, s.real.dtype)
    if not jnp.iscomplexobj(s):
        return f(s[None], weight)[0]
    pair = f(jnp.stack([s.real, s.imag]), weight)
    return lax.complex(pair[0], pair[1])


def _prefers_patches(shape: tuple[int, ...], weight: Array) -> bool:
    # In bfloat16 a CPU's matrix product may be four times as fast, its convolution is not: with many channels that pays
    # for laying out the patches.
    pays = shape[0] * shape[1] <= _SMALL_MAP or (weight.dtype == jnp.bfloat16 and weight.shape[2] >= _MANY_CHANNELS)
    return jax.default_backend() == "cpu" and pays


def _library(s: Array, weight: Array, stride: int, pads: Pads) -> Array:
    return lax.conv_general_dilated(
        s.astype(weight.dtype),
        weight,
        (stride, stride),
        pads,
        dimension_numbers=_DIMENSIONS,
        preferred_element_type=s.dtype,
    )


def _library_transposed(y: Array, weight: Array, stride: int, pads: Pads, shape: tuple[int, int]) -> Array:
    kernel = weight.shape[:2]
    outer = []
    for axis in range(2):
        low = kernel[axis] - 1 - pads[axis][0]
        spread = (y.shape[1 + axis] - 1) * stride + 1
        outer.append((low, shape[axis] + kernel[axis] - 1 - spread - low))
    turned = jnp.flip(weight, (0, 1)).swapaxes(2, 3)
    return lax.conv_general_dilated(
        y.astype(weight.dtype),
        turned,
        (1, 1),
        outer,
        lhs_dilation=(stride, stride),
        dimension_numbers=_DIMENSIONS,
        preferred_element_type=y.dtype,
    )


def _patches(s: Array, weight: Array, stride: int, pads: Pads) -> Array:
    rows, columns, inner, outer = weight.shape
    height = (s.shape[1] + sum(pads[0]) - rows) // stride + 1
    width = (s.shape[2] + sum(pads[1]) - columns) // stride + 1
    padded = jnp.pad(s.astype(weight.dtype), ((0, 0), *pads, (0, 0)))
    shifted = [
        padded[:, i : i + (height - 1) * stride + 1 : stride, j : j + (width - 1) * stride + 1 : stride]
        for i in range(rows)
        for j in range(columns)
    ]
    patches = jnp.stack(shifted, 3).reshape(s.shape[0], height, width, rows * columns * inner)
    return jnp.matmul(patches, weight.reshape(rows * columns * inner, outer), preferred_element_type=s.dtype)


def _overlaps(y: Array, weight: Array, stride: int, pads: Pads, shape: tuple[int, int]) -> Array:
    rows, columns, inner, outer = weight.shape
    batch, height, width, _ = y.shape
    parts = multiply(y, weight.reshape(rows * columns * inner, outer).T)
    parts = parts.reshape(batch, height, width, rows, columns, inner)
    full = [shape[axis] + sum(pads[axis]) for axis in range(2)]
    total = jnp.zeros((batch, *full, inner), y.dtype)
    for i in range(rows):
        for j in range(columns):
            ends = (height - 1) * stride + 1, (width - 1) * stride + 1
            spread = [
                (0, 0, 0),
                (i, full[0] - i - ends[0], stride - 1),
                (j, full[1] - j - ends[1], stride - 1),
                (0, 0, 0),
            ]
            total = total + lax.pad(parts[:, :, :, i, j], jnp.zeros((), y.dtype), spread)
    return total[:, pads[0][0] : pads[0][0] + shape[0], pads[1][0] : pads[1][0] + shape[1]]

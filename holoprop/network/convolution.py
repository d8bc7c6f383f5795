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
Pads = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after the rows, before and after the columns; negative where a map is cut."""
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_SMALL_MAP = 64
"""On a CPU, maps of at most so many positions go through patches, …"""
_MANY_CHANNELS = 128
"""… and in bfloat16 those of at least so many channels."""


def convolve(
    s: Inexact[Array, "height width inner"],
    weight: Float[Array, "rows columns inner outer"],
    stride: int,
    padding: Padding | Pads,
) -> Inexact[Array, "new_height new_width outer"]:
    """Convolve a map with a real kernel (cross-correlation, as everywhere in this field), in the dtype of the map.

    **Arguments:** `s`: one map, `(height, width, inner)`, real or complex; `weight`: `(rows, columns, inner, outer)`,
    real; `stride`, `padding`: as in `jax.lax.conv_general_dilated`, or the zeros on each side.
    """
    pads = pads_of(s.shape[:2], weight.shape[:2], stride, padding)
    way = _patches if _prefers_patches(s.shape, weight, stride) else _library
    return _on_real(lambda real, kernel: way(real, kernel, stride, pads), s, weight)


def convolve_transposed(
    y: Inexact[Array, "new_height new_width outer"],
    weight: Float[Array, "rows columns inner outer"],
    stride: int,
    padding: Padding | Pads,
    shape: tuple[int, int],
) -> Inexact[Array, "height width inner"]:
    """Apply the transpose of `convolve`, to a map of the size `shape = (height, width)`."""
    pads = pads_of(shape, weight.shape[:2], stride, padding)
    way = _overlaps if _prefers_patches(shape, weight, stride) else _library_transposed
    return _on_real(lambda real, kernel: way(real, kernel, stride, pads, shape), y, weight)


def convolved_size(size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: Padding) -> tuple[int, int]:
    """Return height and width of what a map of `size` becomes."""
    if padding == "SAME":
        return -(-size[0] // stride), -(-size[1] // stride)
    return (size[0] - kernel[0]) // stride + 1, (size[1] - kernel[1]) // stride + 1


def averaged_kernel(
    weight: Float[Array, "rows columns inner outer"], stride: int, window: int
) -> Float[Array, "more_rows more_columns inner outer"]:
    """Return the kernel that convolves and averages windows at once, `Σ_ab W[i − a·stride, j − b·stride] / window²`.

    Applied at `stride · window`. Of 3×3 kernels and 2×2 windows it has 4×4 entries for a quarter of the positions: 16
    products in place of 36, and no map of the size before pooling.
    """
    room = (window - 1) * stride
    shifts = [a * stride for a in range(window)]
    shifted = [jnp.pad(weight, ((a, room - a), (b, room - b), (0, 0), (0, 0))) for a in shifts for b in shifts]
    return sum(shifted[1:], shifted[0]) / window**2


def averaged_pads(size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: Padding, window: int) -> Pads:
    """Return the zeros that go with `averaged_kernel`; negative where the last positions fill no window."""
    before, counts = pads_of(size, kernel, stride, padding), convolved_size(size, kernel, stride, padding)
    reach = [(counts[axis] // window * window - 1) * stride + kernel[axis] for axis in range(2)]
    rows, columns = ((before[axis][0], reach[axis] - size[axis] - before[axis][0]) for axis in range(2))
    return rows, columns


def pads_of(size: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: Padding | Pads) -> Pads:
    """Return how many zeros are put before and after each axis."""
    if not isinstance(padding, str):
        return padding
    rows, columns = lax.padtype_to_pads(size, kernel, (stride, stride), padding)
    return (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1]))


def _on_real(f: Callable[[Array, Array], Array], s: Array, weight: Array) -> Array:
    """Apply a real, linear map of batches to a real or complex map."""
    weight = operand(weight, s.real.dtype)
    if not jnp.iscomplexobj(s):
        return f(s[None], weight)[0]
    pair = f(jnp.stack([s.real, s.imag]), weight)
    return lax.complex(pair[0], pair[1])


def _prefers_patches(shape: tuple[int, ...], weight: Array, stride: int) -> bool:
    # In bfloat16 a CPU's matrix product may be four times as fast, its convolution is not: with many channels that pays
    # for laying out the patches. With strides patches are many and products few.
    small, many = shape[0] * shape[1] <= _SMALL_MAP, weight.shape[2] >= _MANY_CHANNELS
    pays = (small and (stride == 1 or many)) or (weight.dtype == jnp.bfloat16 and many)
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
    padded = _padded(s.astype(weight.dtype), pads)
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
    top, left = ((-low, -high) for low, high in pads)
    return _padded(total, (top, left))


def _padded(s: Array, pads: Pads) -> Array:
    """Pad maps with zeros, or cut from them what is negative."""
    return lax.pad(s, jnp.zeros((), s.dtype), [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)])

"""Convolutions. Oracles: sums written out in numpy, the adjoint identity, the other way to the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holoprop.network import convolution
from holoprop.network.convolution import convolve, convolve_transposed, convolved_size, pads_of

CASES = [
    # height, width, kernel rows, kernel columns, stride, padding
    (5, 4, 3, 3, 1, "SAME"),
    (5, 6, 3, 3, 1, "VALID"),
    (7, 5, 3, 2, 2, "SAME"),
    (8, 7, 2, 3, 3, "VALID"),
    (4, 4, 1, 1, 2, "SAME"),
]


def draw(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    return values + 1j * rng.normal(size=shape) if dtype == np.complex128 else values


def written_out(s, weight, stride, padding):
    """Cross-correlation as its definition has it."""
    rows, columns = weight.shape[:2]
    (top, bottom), (left, right) = pads_of(s.shape[:2], (rows, columns), stride, padding)
    padded = np.pad(s, ((top, bottom), (left, right), (0, 0)))
    height, width = convolved_size(s.shape[:2], (rows, columns), stride, padding)
    out = np.zeros((height, width, weight.shape[3]), s.dtype)
    for i in range(height):
        for j in range(width):
            patch = padded[i * stride : i * stride + rows, j * stride : j * stride + columns]
            out[i, j] = np.einsum("abc,abco->o", patch, weight)
    return out


@pytest.fixture(params=["library", "patches"])
def way(request, monkeypatch):
    monkeypatch.setattr(convolution, "_SMALL_MAP", 0 if request.param == "library" else 10**6)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(("height", "width", "rows", "columns", "stride", "padding"), CASES)
def test_convolution_and_its_transpose(x64, way, height, width, rows, columns, stride, padding, dtype):
    weight = draw((rows, columns, 2, 3), np.float64, 1)
    s = draw((height, width, 2), dtype, 2)
    exact = written_out(s, weight, stride, padding)
    found = convolve(jnp.asarray(s), jnp.asarray(weight), stride, padding)
    assert found.dtype == dtype and found.shape == exact.shape
    np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12)
    y = draw(exact.shape, dtype, 3)
    back = convolve_transposed(jnp.asarray(y), jnp.asarray(weight), stride, padding, (height, width))
    assert back.dtype == dtype and back.shape == s.shape
    # ⟨y, W ∗ s⟩ = ⟨W ∗ᵀ y, s⟩, without conjugates.
    np.testing.assert_allclose(np.sum(y * exact), np.sum(np.asarray(back) * s), rtol=1e-12)


def test_gradient_of_the_kernel(x64, way):
    """Oracle: the convolution is linear in the kernel, so its derivative along a direction is exact."""
    s, y = jnp.asarray(draw((6, 5, 2), np.complex128, 1)), jnp.asarray(draw((6, 5, 3), np.complex128, 2))
    weight, direction = (jnp.asarray(draw((3, 3, 2, 3), np.float64, seed)) for seed in (3, 4))

    def value(weight):
        return jnp.sum((y * convolve(s, weight, 1, "SAME")).real)

    slope = jnp.sum(jax.grad(value)(weight) * direction)
    assert float(slope) == pytest.approx(float(value(weight + direction) - value(weight)), rel=1e-12)


def test_a_batch_of_maps_is_one_convolution(x64, way):
    s, weight = jnp.asarray(draw((2, 3, 6, 6, 2), np.float64, 1)), jnp.asarray(draw((3, 3, 2, 4), np.float64, 2))
    both = jax.vmap(jax.vmap(lambda each: convolve(each, weight, 1, "SAME")))
    text = jax.jit(both).lower(s).as_text()
    assert text.count("stablehlo.convolution") + text.count("stablehlo.dot_general") == 1
    np.testing.assert_allclose(both(s)[1, 2], written_out(np.asarray(s[1, 2]), np.asarray(weight), 1, "SAME"))

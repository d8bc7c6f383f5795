"""Pooling. Oracles: its definition in numpy, finite differences, the Cauchy–Riemann equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.network.pooling import POOLINGS, pooling_named


def draw(shape, seed, *, imaginary=0.0):
    rng = np.random.default_rng(seed)
    values = 3 * rng.normal(size=shape)
    return values + 1j * imaginary * rng.normal(size=shape) if imaginary else values


def windows(z, size):
    rows, columns = z.shape[0] // size, z.shape[1] // size
    for i in range(rows):
        for j in range(columns):
            yield i, j, z[i * size : (i + 1) * size, j * size : (j + 1) * size].reshape(size * size, -1)


def by_definition(pooling, z):
    out = np.zeros((z.shape[0] // pooling.size, z.shape[1] // pooling.size, z.shape[2]), z.dtype)
    for i, j, v in windows(z, pooling.size):
        if isinstance(pooling, hp.SoftmaxPooling):
            share = np.exp(v / pooling.temperature)
            out[i, j] = (v * share).sum(0) / share.sum(0)
        elif isinstance(pooling, hp.AveragePooling):
            out[i, j] = v.mean(0)
        else:
            out[i, j] = np.take_along_axis(v, v.real.argmax(0)[None], 0)[0]
    return out


@pytest.mark.parametrize("imaginary", [0.0, 0.7])
@pytest.mark.parametrize(
    "pooling",
    [
        hp.SoftmaxPooling(),
        hp.SoftmaxPooling(temperature=0.3, size=3),
        hp.SoftmaxPooling(temperature=10.0),
        hp.AveragePooling(),
        hp.AveragePooling(size=3),
        hp.MaxPooling(),
    ],
)
def test_pooling_is_what_it_says(x64, pooling, imaginary):
    z = draw((7, 6, 3), 0, imaginary=imaginary)
    found = pooling(jnp.asarray(z))
    assert found.dtype == z.dtype
    np.testing.assert_allclose(found, by_definition(pooling, z), rtol=1e-12)


@pytest.mark.parametrize("pooling", [hp.SoftmaxPooling(temperature=0.8), hp.AveragePooling(), hp.MaxPooling()])
@pytest.mark.parametrize("imaginary", [0.0, 0.5])
def test_derivatives(x64, pooling, imaginary):
    """Oracle: central differences; the transposed derivative by the adjoint identity; the second one likewise."""
    z, direction = (jnp.asarray(draw((4, 6, 2), seed, imaginary=imaginary)) for seed in (1, 2))
    h = 1e-6
    _, slope = jax.jvp(pooling, (z,), (direction,))
    np.testing.assert_allclose(
        slope, (pooling(z + h * direction) - pooling(z - h * direction)) / (2 * h), rtol=1e-6, atol=1e-7
    )
    y = jnp.asarray(draw((2, 3, 2), 3, imaginary=imaginary))
    (back,) = jax.vjp(pooling, z)[1](y)
    np.testing.assert_allclose(jnp.sum(y * slope), jnp.sum(back * direction), rtol=1e-12)

    def pulled(z):
        return jax.vjp(pooling, z)[1](y)[0]

    _, second = jax.jvp(pulled, (z,), (direction,))
    np.testing.assert_allclose(
        second, (pulled(z + h * direction) - pulled(z - h * direction)) / (2 * h), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", list(POOLINGS))
def test_holomorphic_is_what_it_says(x64, name):
    """Oracle: the Cauchy–Riemann equations: a derivative along i is i times that along 1."""
    pooling = pooling_named(name)
    z, direction = (jnp.asarray(draw((4, 4, 5), seed, imaginary=1.0)) for seed in (1, 2))
    h = 1e-6

    def along(unit):
        step = h * unit * direction
        return (pooling(z + step) - pooling(z - step)) / (2 * h)

    # Where no window's order changes, taking the largest real part is differentiable, but it does not continue what
    # it is on the real line to one function: at a tie of real parts it jumps.
    np.testing.assert_allclose(along(1j), 1j * along(1), rtol=1e-5, atol=1e-6)
    tie = jnp.asarray([[1.0 + 1j, 1.0 - 1j], [0.0, 0.0]]).reshape(2, 2, 1)
    nudge = jnp.asarray([[1.0 + 0j, 0.0], [0.0, 0.0]]).reshape(2, 2, 1)
    jump = abs(complex((pooling(tie + 1e-9 * nudge) - pooling(tie - 1e-9 * nudge))[0, 0, 0]))
    assert (jump < 1e-6) == pooling.holomorphic


def test_large_values_do_not_overflow():
    z = jnp.full((2, 2, 1), 1e4, jnp.float32)
    assert float(hp.SoftmaxPooling()(z)[0, 0, 0]) == pytest.approx(1e4)


def test_low_temperature_is_the_maximum(x64):
    z = jnp.asarray(draw((6, 6, 4), 5))
    np.testing.assert_allclose(hp.SoftmaxPooling(temperature=1e-3)(z), hp.MaxPooling()(z), rtol=1e-6)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="temperature must be positive and finite, got 0"):
        hp.SoftmaxPooling(temperature=0.0)
    for kind in (hp.SoftmaxPooling, hp.AveragePooling, hp.MaxPooling):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            kind(size=0)
    with pytest.raises(ValueError, match="unknown pooling 'mean'; choose one of softmax, average, max"):
        pooling_named("mean")

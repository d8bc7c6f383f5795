"""The product of complex activities with real weights. Oracle: numpy's product of complex matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(6, 4))


def activities(lead, dtype):
    real = RNG.normal(size=(*lead, 6))
    return (real + 1j * RNG.normal(size=(*lead, 6)) if np.issubdtype(dtype, np.complexfloating) else real).astype(dtype)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_equals_the_complex_product(x64, dtype, lead):
    s = activities(lead, dtype)
    product = hp.real_product(jnp.asarray(s), jnp.asarray(WEIGHT))
    assert product.dtype == dtype and product.shape == (*lead, 4)
    np.testing.assert_allclose(product, s @ WEIGHT.astype(dtype), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_precision_is_that_of_the_activities(x64, dtype):
    s = activities((3,), dtype)
    product = hp.real_product(jnp.asarray(s), jnp.asarray(WEIGHT))
    assert product.dtype == dtype
    np.testing.assert_allclose(product, s @ WEIGHT, rtol=1e-5, atol=1e-5)


def test_gradient_of_the_weight_is_real(x64):
    """`∂/∂W Re Σ v·(s W) = Re(sᵀ v)`, as estimators use it."""
    s, v = activities((5,), np.complex128), RNG.normal(size=(5, 4)) + 1j * RNG.normal(size=(5, 4))

    def scalar(w):
        return jnp.sum(jnp.asarray(v) * hp.real_product(jnp.asarray(s), w)).real

    gradient = jax.jit(jax.grad(scalar))(jnp.asarray(WEIGHT))
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, (s.T @ v).real, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_shapes_that_do_not_fit(dtype):
    with pytest.raises(TypeError):
        hp.real_product(jnp.asarray(activities((), dtype)), jnp.ones((5, 4)))

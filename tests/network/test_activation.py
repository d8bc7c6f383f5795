"""Activations. Oracles: closed forms in numpy's complex128, Cauchy–Riemann, the mirror symmetry `σ(z̄) = conj σ(z)`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holoprop.network.activation import ACTIVATIONS, Sigmoid, activation_named, logistic, sincos

HOLOMORPHIC = [name for name, activation in ACTIVATIONS.items() if activation.holomorphic]
KINKED = [name for name in ACTIVATIONS if name not in HOLOMORPHIC]
# Far to both sides of where e^z overflows (88.7 in float32, 709.8 in float64); no point near a pole.
RE = np.array([0.0, 0.1, 0.7, 1.3, 2.1, 5.0, 12.0, 20.0, 88.0, 100.0, 800.0, 1e4, 1e9])
IM = np.array([0.0, 0.3, 0.6, 1.1, -0.3, -0.6, -1.1])
UPPER, LOWER = slice(1, 4), slice(4, 7)
GRID = np.concatenate([-RE[1:], RE])[:, None] + 1j * IM
TOLERANCE = {"complex64": 3e-6, "complex128": 1e-13}


def exact_logistic(z):
    """By numpy's complex tanh, which does not overflow."""
    return (1 + np.tanh(z / 2)) / 2


def exact_softplus(z):
    near = np.where(np.abs(z.real) < 40, z, 0)
    return np.where(np.abs(z.real) < 40, np.log(1 + np.exp(near)), np.where(z.real > 0, z, 0))


def exact_silu(z):
    return z * np.where(z.real < -800, 0, exact_logistic(z))


def exact_double_silu(z):
    near = np.where(np.abs(z.real) < 100, z, 0)
    value = near / 2 * exact_logistic(near) + (1 - near / 2) * exact_logistic(near - 2)
    return np.where(np.abs(z.real) < 100, value, z.real > 0)


EXACT = {
    "sigmoid": lambda z: exact_logistic(4 * z - 2),
    "double_silu": exact_double_silu,
    "tanh": np.tanh,
    "silu": exact_silu,
    "softplus": exact_softplus,
    "hard_sigmoid": lambda z: np.clip(z.real / 2, 0, 1) + 1j * np.where((z.real > 0) & (z.real < 2), z.imag / 2, 0),
    "relu": lambda z: np.where(z.real > 0, z, 0),
}


@pytest.fixture(scope="module")
def computed():
    """Every activation on the grid and on its real parts, in one compilation per dtype."""
    compiled = jax.jit(lambda z: {name: (f(z), f(z.real)) for name, f in ACTIVATIONS.items()})

    def on(dtype):
        z = GRID.astype(dtype)
        return z, jax.tree.map(np.asarray, compiled(jnp.asarray(z)))

    single = on(np.complex64)
    with jax.enable_x64(True):
        double = on(np.complex128)
    return {"complex64": single, "complex128": double}


@pytest.fixture(scope="module")
def derivatives():
    """The derivatives along 1 and along i of the holomorphic activations on the grid, in complex128."""

    @jax.jit
    def compiled(z):
        directions = jnp.stack([jnp.ones_like(z), jnp.full_like(z, 1j)])
        return {
            name: jax.vmap(lambda d, f=ACTIVATIONS[name]: jax.jvp(f, (z,), (d,))[1])(directions) for name in HOLOMORPHIC
        }

    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, compiled(jnp.asarray(GRID)))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values(computed, name, dtype):
    """No overflow and no NaN however large |Re z|, to rounding relative to max(1, |σ|)."""
    z, results = computed[dtype]
    value, exact = results[name][0], EXACT[name](z.astype(np.complex128))
    assert value.dtype == dtype
    error = np.abs(value - exact) / np.maximum(1, np.abs(exact))
    assert error.max() < TOLERANCE[dtype], (z.flat[error.argmax()], value.flat[error.argmax()])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_real_inputs_are_complex_ones_without_imaginary_part(computed, name, dtype):
    z, results = computed[dtype]
    value, real = results[name][0][:, 0], results[name][1][:, 0]
    assert real.dtype == z.real.dtype
    np.testing.assert_allclose(real, value.real, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(value.imag, 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_mirror_symmetry(computed, name, dtype):
    """`σ(z̄) = conj σ(z)`: half of the circle is never settled because of it."""
    value = computed[dtype][1][name][0]
    close = {"complex64": 1e-6, "complex128": 1e-14}[dtype]
    np.testing.assert_allclose(value[:, LOWER], value[:, UPPER].conj(), rtol=close, atol=close)


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_holomorphic_ones_satisfy_cauchy_riemann(derivatives, name):
    """The derivative along i is i times that along 1, everywhere, and is finite."""
    along_one, along_i = derivatives[name]
    assert np.isfinite(along_one).all()
    np.testing.assert_allclose(along_i, 1j * along_one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_derivative_is_that_of_the_closed_form(derivatives, name):
    """Oracle: the central difference of the closed form in numpy, good to h² and ε/h; near the origin."""
    near, h = np.abs(GRID.real) < 25, 1e-5
    quotient = (EXACT[name](GRID[near] + h) - EXACT[name](GRID[near] - h)) / (2 * h)
    np.testing.assert_allclose(derivatives[name][0][near], quotient, rtol=1e-7, atol=1e-7)


def test_mean_over_a_circle_is_the_value_at_its_centre_only_if_holomorphic():
    """Oracle: Cauchy's formula. The circle encloses the kink at 0 but no pole (the nearest is 0.81 from its centre)."""
    circle = 0.3 + 0.5 * np.exp(2j * np.pi * np.arange(64) / 64)
    means = jax.jit(lambda z: {name: f(z).mean() for name, f in ACTIVATIONS.items()})(circle.astype(np.complex64))
    for name, mean in means.items():
        error = abs(complex(mean) - complex(EXACT[name](np.array(0.3 + 0j))))
        assert error < 1e-6 if name in HOLOMORPHIC else error > 1e-3, (name, error)


@pytest.mark.parametrize("name", KINKED)
def test_cauchy_riemann_fails_at_the_kink_of_the_others(name):
    h = 1e-3
    up, down, left, right = map(complex, jax.jit(ACTIVATIONS[name])(np.array([1j * h, -1j * h, -h, h], np.complex64)))
    along_one, along_i = (right - left) / (2 * h), (up - down) / (2 * h)
    assert abs(along_i - 1j * along_one) > 0.2


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_increasing_says_whether_it_is_monotone_on_the_real_line(name):
    steps = np.diff(EXACT[name](np.linspace(-8, 8, 2001) + 0j).real)
    assert ACTIVATIONS[name].increasing == bool((steps >= -1e-12).all())


def test_sincos_in_float32():
    """Oracle: numpy's float64 functions at the same float32 angles; the documented bound of 1e-6 for |angle| ≤ 1e3."""
    special = np.array([0, np.pi / 4, np.pi / 2, np.pi, -np.pi, 2 * np.pi, 1e3, -1e3, 1e-6, 1e-30])
    angles = np.concatenate([special, np.random.default_rng(0).uniform(-1e3, 1e3, 99_990)]).astype(np.float32)
    sine, cosine = jax.jit(sincos)(angles)
    assert sine.dtype == cosine.dtype == np.float32
    assert np.abs(np.asarray(sine, np.float64) - np.sin(angles.astype(np.float64))).max() <= 1e-6
    assert np.abs(np.asarray(cosine, np.float64) - np.cos(angles.astype(np.float64))).max() <= 1e-6


def test_sincos_keeps_small_angles():
    """`sin h = h` to relative rounding where h² is below it."""
    angles = np.float32([1e-4, -1e-10, 1e-30])
    np.testing.assert_allclose(jax.jit(sincos)(angles)[0], angles, rtol=3e-7)


def test_sincos_in_float64(x64):
    angles = np.random.default_rng(0).uniform(-1e3, 1e3, 1000)
    sine, cosine = sincos(jnp.asarray(angles))
    np.testing.assert_allclose(sine, np.sin(angles), rtol=0, atol=1e-15)
    np.testing.assert_allclose(cosine, np.cos(angles), rtol=0, atol=1e-15)


def test_logistic_of_any_shape():
    for shape in ((), (0,), (2, 3, 1)):
        z = jnp.zeros(shape, jnp.complex64)
        np.testing.assert_array_equal(jax.jit(logistic)(z), np.full(shape, 0.5))


def test_activation_named():
    assert all(activation_named(name) is activation for name, activation in ACTIVATIONS.items())
    mine = Sigmoid()
    assert activation_named(mine) is mine
    with pytest.raises(
        ValueError, match=r"^unknown activation 'sigmod'; choose one of sigmoid, double_silu, .*, relu$"
    ):
        activation_named("sigmod")

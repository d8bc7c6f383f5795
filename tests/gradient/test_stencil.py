"""Stencils of real nudges. Oracles: derivatives of polynomials, the implicit gradient, the order of the bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.gradient.stencil import central_stencil

TIGHT = hp.Alternating(tolerance=1e-13, max_steps=5000)


@pytest.mark.parametrize("points", [2, 4, 6, 8, 10])
def test_weights_differentiate_polynomials_exactly(points):
    """Closed form: `d/dt t^k` at 0 is 1 for `k = 1` and 0 otherwise, up to degree `points`; beyond it is not."""
    places, weights = (np.array(values) for values in central_stencil(points))
    assert len(set(places)) == points and np.abs(places).max() == 1
    for degree in range(points + 1):
        np.testing.assert_allclose(weights @ places**degree, degree == 1, atol=1e-12)
    assert abs(weights @ places ** (points + 1)) > 1e-4


def test_weights_of_four_points_are_the_published_ones():
    """Closed form: `[f(−2h) − 8 f(−h) + 8 f(h) − f(2h)]/12h` with `h = ½`."""
    np.testing.assert_allclose(central_stencil(4), [[0.5, -0.5, 1, -1], [4 / 3, -4 / 3, -1 / 6, 1 / 6]], rtol=1e-14)


@pytest.fixture(scope="module")
def mild():
    """A network of small weights, whose radius of convergence is above 1.5 for every sample (see test_estimators)."""
    with jax.enable_x64(True):
        net = hp.mlp(20, (16, 16), 4, weight_scale=0.6, key=jax.random.key(2))
        x = jax.random.uniform(jax.random.key(1), (8, 20))
        y = jnp.arange(8, dtype=jnp.int32) % 4
        yield net, x, y, hp.Implicit(solver=TIGHT)(net, x, y)


def error(mild, points, beta):
    net, x, y, truth = mild
    estimate = hp.Stencil(points, beta, solver=TIGHT, nudged_solver=TIGHT)(net, x, y)
    assert bool(estimate.certificate.kept.all())
    return hp.alignment(estimate.gradient, truth.gradient).total.relative_error


@pytest.mark.parametrize("points", [2, 4, 6])
def test_order_of_the_bias(mild, points):
    amplitudes = np.geomspace(0.1, 0.6, 6)
    errors = np.array([error(mild, points, float(beta)) for beta in amplitudes])
    above = errors > 1e-11  # below, rounding and the solver's tolerance take over
    assert above.sum() >= 3
    slope = np.polyfit(np.log(amplitudes[above]), np.log(errors[above]), 1)[0]
    assert abs(slope - points) <= 0.2, (slope, errors)


def test_two_points_are_the_centred_estimator(mild):
    net, x, y, _ = mild
    a, b = hp.Stencil(2, 0.2, solver=TIGHT)(net, x, y), hp.Centered(0.2, solver=TIGHT)(net, x, y)
    assert hp.alignment(a.gradient, b.gradient).total.relative_error < 1e-13
    np.testing.assert_array_equal(a.certificate.verdict, b.certificate.verdict)


@pytest.mark.parametrize("points", [0, 1, 3, -2])
def test_odd_or_too_few_points_are_refused(points):
    with pytest.raises(ValueError, match=rf"points must be even and at least 2, got {points}"):
        hp.Stencil(points)


def test_a_nudge_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"beta must be positive and finite, got -0\.1"):
        hp.Stencil(4, -0.1)

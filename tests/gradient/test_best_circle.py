"""The automatic circle. Oracles: the implicit gradient, the best of many fixed circles, the tolerance asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp


@pytest.fixture(scope="module")
def case():
    with jax.enable_x64(True):
        net = hp.mlp(10, (16, 8), 4, activation="tanh", weight_scale=1.5, key=jax.random.key(3))
        rng = np.random.default_rng(5)
        x, y = jnp.asarray(rng.random((12, 10))), jnp.asarray(rng.integers(0, 4, 12))
        exact = hp.Implicit(solver=hp.Anderson(tolerance=1e-12))(net, x, y).gradient
    return net, x, y, exact


def error(case, estimator, memory=None):
    net, x, y, exact = case
    estimate = estimator(net, x, y, memory=memory)
    return hp.alignment(estimate.gradient, exact).total.relative_error, estimate


def test_nearly_as_good_as_the_best_of_many_fixed_circles(x64, case):
    solver = hp.Anderson(tolerance=1e-8)
    radii = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    fixed = [error(case, hp.Holomorphic(4, r, solver=solver, unsettled="keep"))[0] for r in radii]
    found, estimate = error(case, hp.Holomorphic(4, solver=solver, unsettled="keep"))
    assert found < 3 * min(fixed)
    assert 0.1 * found < float(estimate.certificate.batch_error) < 10 * found


def test_memory_lays_the_first_circle(x64, case):
    estimator = hp.Holomorphic(4, tolerance=1e-6, solver=hp.Anderson(tolerance=1e-10))
    memory = estimator.init(case[0], 12)
    assert not bool(memory.known)
    for _ in range(2):
        found, estimate = error(case, estimator, memory)
        memory = estimate.memory
        assert bool(memory.known) and found < 3e-6


def test_points_are_as_many_as_the_tolerance_needs(x64, case):
    used = []
    for tolerance in (1e-2, 1e-7):
        found, estimate = error(case, hp.Holomorphic("auto", tolerance=tolerance, solver=hp.Anderson(tolerance=1e-10)))
        spectrum = estimate.certificate.spectrum
        assert spectrum is not None and found < 3 * tolerance
        used.append(int(np.isfinite(np.asarray(spectrum.norms[0])).sum()))
    assert used[0] == 2 < used[1]


def test_points_alone_cannot_be_automatic():
    with pytest.raises(ValueError, match="points='auto' goes with radius='auto'"):
        hp.Holomorphic("auto", 0.1)

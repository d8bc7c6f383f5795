"""A tolerance led by the certificate. Oracle: the estimate of fully settled states on the same circle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.gradient.led_tolerance import ToleranceMemory, led

SETTLED = hp.Alternating(tolerance=1e-12, max_steps=2000)


@pytest.fixture(scope="module")
def case():
    with jax.enable_x64(True):
        net = hp.mlp(10, (24, 16), 4, weight_scale=1.2, key=jax.random.key(3))
        rng = np.random.default_rng(5)
        x, y = jnp.asarray(rng.random((20, 10))), jnp.asarray(rng.integers(0, 4, 20))
    return net, x, y


@pytest.mark.parametrize(("points", "target"), [(2, 0.1), (2, 1e-3), (4, 1e-2)])
def test_error_comes_to_the_target(x64, case, points, target):
    """After some steps the part that the solver causes is at most the target, and not so much less that sweeps were
    wasted; before there is a memory, states settle to the solver's default."""
    net, x, y = case
    exact = hp.Holomorphic(points, 0.2, solver=SETTLED)(net, x, y).gradient
    estimator = hp.Holomorphic(points, 0.2, tolerance=target, solver=hp.Alternating())
    memory, errors, sweeps, predicted = estimator.init(net, 20), [], [], []
    for _ in range(30):
        estimate = estimator(net, x, y, memory=memory)
        memory = estimate.memory
        errors.append(hp.alignment(estimate.gradient, exact).total.relative_error)
        sweeps.append(float(estimate.rest.steps.mean()))
        spectrum = estimate.certificate.spectrum
        predicted.append(float(jnp.sum(spectrum.tolerance * spectrum.response) / jnp.sum(spectrum.response)))
        assert bool(estimate.rest.settled.all())
    assert errors[0] < 1e-8
    # The certificate's own prediction is what it is led by, with a margin of its own for what sweeps leave behind.
    assert max(predicted[-6:]) < 3 * target
    # Sweeps are whole: the part swings about the target by what one of them contracts.
    assert max(errors[-6:]) < target and max(errors[-6:]) > 1e-2 * target
    assert max(sweeps[-6:]) < 0.6 * sweeps[0]


def test_vector_fields_are_led_too(x64):
    """Corrected for asymmetry, whose exact reference is the implicit gradient; their free states settle as far as the
    nudged ones, for the gradient is read off there."""
    net = hp.mlp(10, (24, 16), 4, feedback="free", weight_scale=0.8, key=jax.random.key(3))
    rng = np.random.default_rng(5)
    x, y = jnp.asarray(rng.random((20, 10))), jnp.asarray(rng.integers(0, 4, 20))
    solver = hp.Alternating(max_steps=2000)
    exact = hp.Holomorphic(4, 0.1, solver=SETTLED, asymmetry="correct")(net, x, y).gradient
    estimator = hp.Holomorphic(4, 0.1, tolerance=1e-2, solver=solver, asymmetry="correct")
    memory, errors, sweeps = estimator.init(net, 20), [], []
    for _ in range(20):
        estimate = estimator(net, x, y, memory=memory)
        memory = estimate.memory
        errors.append(hp.alignment(estimate.gradient, exact).total.relative_error)
        sweeps.append(float(estimate.rest.steps.mean()))
    assert errors[0] < 1e-8
    assert 1e-4 < max(errors[-6:]) < 1e-2
    assert max(sweeps[-6:]) < 0.6 * sweeps[0]


def test_what_was_given_a_tolerance_is_not_led(x64, case):
    net, _, _ = case
    tolerance = jnp.float32(0.5)
    assert led(hp.Alternating(), tolerance).tolerance is tolerance
    assert led(hp.Mixed(hp.Anderson()), tolerance).solver.tolerance is tolerance
    for solver in (hp.Alternating(tolerance=1e-3), hp.Mixed(hp.Anderson(tolerance=1e-3)), hp.TimeSteps(5)):
        assert led(solver, tolerance) is solver
    assert hp.Holomorphic(2, 0.2, tolerance=0.1, nudged_solver=hp.Alternating(tolerance=1e-3)).init(net, 20) is None
    assert hp.Holomorphic(2, 0.2).init(net, 20) is None
    assert isinstance(hp.Holomorphic(2, 0.2, tolerance=0.1).init(net, 20), ToleranceMemory)


def test_a_step_that_kept_nobody_teaches_nothing(x64, case):
    """A network too stiff for two steps: nothing settles, and the tolerance stays what it was."""
    net, x, y = case
    estimator = hp.Holomorphic(2, 0.2, tolerance=0.1, solver=hp.Alternating(max_steps=2))
    memory = ToleranceMemory(jnp.asarray(1e-9), jnp.asarray(True))
    estimate = estimator(net, x, y, memory=memory)
    assert not bool(estimate.certificate.kept.any())
    assert float(estimate.memory.tolerance) == 1e-9

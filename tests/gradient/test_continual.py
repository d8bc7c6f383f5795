"""Increments of a gradient. Oracles: estimators that take the sum at once, and how both depend on the learning rate."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import holoprop as hp


def problem(samples: int = 6):
    net = hp.mlp(12, (16, 12), 5, activation="tanh", weight_scale=0.5, key=jax.random.key(3))
    rng = np.random.default_rng(4)
    return net, jnp.asarray(rng.normal(size=(samples, 12))), jnp.asarray(rng.integers(0, 5, samples), jnp.int32)


@pytest.mark.parametrize("beta", [0.1, -0.2])
def test_the_increments_sum_to_the_one_sided_estimate(x64, beta):
    net, x, y = problem()
    estimate = hp.Continual(beta=beta, stretches=12, dwell=2)(net, x, y)
    whole = hp.OneSided(beta, nudged_solver=hp.TimeSteps(24))(net, x, y)
    assert hp.alignment(estimate.gradient, whole.gradient).total.relative_error < 1e-11
    np.testing.assert_allclose(estimate.logits, whole.logits, atol=1e-12)


@pytest.mark.parametrize("points", [3, 6])
def test_the_increments_sum_to_the_fourier_coefficient(x64, points):
    """Once the orbit is closed, wherever on the circle the nudge stands."""
    net, x, y = problem()
    online = hp.OnlineOscillation(points=points, radius=0.3, dwell=60, periods=1)
    memory = online.init(net, len(x))
    for _ in range(2):
        estimate = online(net, x, y, memory=(memory[0], (memory[1] + 1) % points))
        memory = estimate.memory
    circle = hp.Holomorphic(points, 0.3, solver=hp.Alternating(tolerance=1e-13))(net, x, y)
    assert hp.alignment(estimate.gradient, circle.gradient).total.relative_error < 1e-9
    np.testing.assert_allclose(estimate.certificate.spectrum.norms[:, 1], circle.certificate.spectrum.norms[:, 1])
    assert int(memory[1]) == 2 % points


def test_increments_are_of_the_size_of_the_gradient_where_single_terms_are_not(x64):
    """`d_k` stays as the circle shrinks; `∂F/∂θ(s_k)/(N β_k)` grows as `1/r`."""
    net, x, y = problem()
    target = jax.nn.one_hot(y, 5)

    @eqx.filter_jit
    def norms(radius: jax.Array) -> jax.Array:
        online = hp.OnlineOscillation(points=8, radius=radius, dwell=60)
        phase = online.begin(net, x, target, key=None, memory=None)

        def turn(phase, index):
            phase, increment = online.step(net, x, target, phase, index, key=None)
            return phase, optax.tree.norm(increment)

        return jax.lax.scan(turn, phase, jnp.arange(8))[1]

    def largest(radius: float) -> float:
        return float(norms(jnp.asarray(radius))[1:].max())

    assert largest(1e-3) == pytest.approx(largest(1e-2), rel=0.05)


def test_noise_needs_a_key_and_uses_it(x64):
    net, x, y = problem()
    estimator = hp.Continual(noise=hp.Noise(0.01))
    with pytest.raises(ValueError, match="noise needs a key"):
        estimator(net, x, y)
    one, same, other = (estimator(net, x, y, key=jax.random.key(k)).gradient for k in (0, 0, 1))
    assert hp.alignment(one, same).total.relative_error == 0 < hp.alignment(one, other).total.relative_error


@pytest.mark.parametrize("estimator", [hp.Continual(beta=0.05, stretches=30), hp.OnlineOscillation(points=6, dwell=20)])
def test_a_small_learning_rate_moves_the_weights_along_the_gradient(x64, estimator):
    net, x, y = problem()
    rate, optimizer = 1e-7, optax.sgd(1e-7)
    state = hp.initial_train_state(net, estimator, optimizer, len(x))
    new, metrics = hp.train_step(state, x, y, jax.random.key(0), estimator, optimizer)
    still = estimator(net, x, y)
    moved = jax.tree.map(lambda a, b: (a - b) / rate, net, new.net)
    assert hp.alignment(moved, still.gradient).total.relative_error < 1e-4
    assert bool(metrics.moved) and float(metrics.loss) == pytest.approx(float(still.loss), rel=1e-4)


def test_the_sum_differs_from_the_still_one_by_as_much_as_the_weights_move(x64):
    """First order in the learning rate: a tenth of the rate, a tenth of the difference."""
    net, x, y = problem()
    estimator = hp.Continual(beta=0.1, stretches=30)
    still = estimator(net, x, y).gradient

    def difference(rate: float) -> float:
        optimizer = optax.sgd(rate)
        state = hp.initial_train_state(net, estimator, optimizer, len(x))
        new, _ = hp.train_step(state, x, y, jax.random.key(0), estimator, optimizer)
        moved = jax.tree.map(lambda a, b: (a - b) / rate, net, new.net)
        return hp.alignment(moved, still).total.relative_error

    assert difference(1e-4) / difference(1e-5) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    ("estimator", "rate", "epochs"),
    [(hp.Continual(beta=1.0), 0.03, 150), (hp.OnlineOscillation(points=6, dwell=10, periods=2), 0.3, 60)],
)
def test_networks_learn_with_moving_weights(estimator, rate, epochs):
    net, x, y = problem(samples=20)
    x, y = np.asarray(x, np.float32), np.asarray(y)
    before = hp.evaluate(net, x, y)
    result = hp.fit(net, estimator, optax.sgd(rate), (x, y), epochs=epochs, batch_size=10)
    after = hp.evaluate(result.net, x, y)
    assert after.loss < 0.5 * before.loss and after.accuracy >= 0.75


def test_nothing_moves_if_a_sample_diverges_and_that_is_to_be_raised():
    net, x, y = problem()
    x = x.at[0, 0].set(jnp.nan)
    estimator, optimizer = hp.Continual(unsettled="raise"), optax.sgd(0.1)
    state = hp.initial_train_state(net, estimator, optimizer, len(x))
    new, metrics = hp.train_step(state, x, y, jax.random.key(0), estimator, optimizer)
    assert not bool(metrics.moved) and hp.alignment(new.net, net).total.relative_error == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: hp.Continual(beta=0.0), "beta"),
        (lambda: hp.Continual(stretches=0), "stretches and dwell must be at least 1, got 0 and 1"),
        (lambda: hp.OnlineOscillation(points=2), "points"),
        (lambda: hp.OnlineOscillation(dwell=0), "dwell and periods must be at least 1, got 0 and 3"),
        (lambda: hp.OnlineOscillation(radius=-1.0), "radius"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()

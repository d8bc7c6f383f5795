"""Time steps and noise. Oracles: the settled state, the leaky integrator's exponential, variances in closed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.run import settle_problem
from holoprop.settling.time_stepping import noise_in_state


@pytest.fixture
def net(x64) -> hp.LayeredNetwork:
    return hp.mlp(6, (10, 7), 3, activation="tanh", weight_scale=0.4, key=jax.random.key(2))


@pytest.fixture
def feedforward(x64) -> hp.LayeredNetwork:
    """One layer: at rest after a single step, whatever the state before."""
    return hp.mlp(6, (10,), 3, activation="tanh", weight_scale=0.4, key=jax.random.key(2))


def inputs(samples: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).normal(size=(samples, 6)))


@pytest.mark.parametrize("dt", [1.0, 0.3])
@pytest.mark.parametrize("samples", [5, 100])
def test_enough_steps_come_to_rest(net, dt, samples):
    """Batches large enough to be compacted too."""
    rest = hp.settle(net, inputs(samples), solver=hp.TimeSteps(300, dt=dt))
    settled = hp.settle(net, inputs(samples), solver=hp.Anderson(tolerance=1e-12))
    for stepped, found in zip(rest.state, settled.state, strict=True):
        np.testing.assert_allclose(stepped, found, atol=1e-10)
    assert np.all(np.asarray(rest.status) == hp.Status.not_applicable) and not np.any(rest.settled)
    assert np.all(np.asarray(rest.steps) == 300) and float(rest.residual.max()) < 1e-10


@pytest.mark.parametrize("dt", [0.5, 0.1])
def test_a_small_time_step_is_leaky_integration(feedforward, dt):
    """`s_t = (1 − (1 − dt)^t) s_∞` from 0, for a layer that nothing feeds back to."""
    x = inputs(4)
    final = hp.settle(feedforward, x, solver=hp.Anderson(tolerance=1e-13)).state[0]
    zero = tuple(jnp.zeros_like(final) for _ in range(1))
    reached = hp.settle(feedforward, x, solver=hp.TimeSteps(7, dt=dt), state=zero).state[0]
    np.testing.assert_allclose(reached, (1 - (1 - dt) ** 7) * final, atol=1e-12)


def test_a_window_is_the_mean_of_the_last_states(net):
    x, zero = inputs(3), tuple(jnp.zeros((3, n)) for n in (10, 7))
    single = [hp.settle(net, x, solver=hp.TimeSteps(t), state=zero).state for t in (4, 5, 6)]
    averaged = hp.settle(net, x, solver=hp.TimeSteps(6, window=3), state=zero).state
    for layer, mean in enumerate(averaged):
        np.testing.assert_allclose(mean, np.mean([state[layer] for state in single], 0), atol=1e-13)


@pytest.mark.parametrize(("dt", "window"), [(1.0, 1), (1.0, 5), (0.5, 1), (0.2, 10)])
def test_noise_leaves_what_is_predicted(feedforward, dt, window):
    """Small noise: the deviation of a state's norm, over 400 samples alike, within 5 %."""
    x = jnp.broadcast_to(inputs(1), (400, 6))
    solver = hp.TimeSteps(60, dt=dt, window=window, noise=hp.Noise(1e-3), key=jax.random.key(0))
    noisy = hp.settle(feedforward, x, solver=solver)
    still = hp.settle(feedforward, x, solver=hp.Anderson(tolerance=1e-13))
    spread = np.sqrt(np.mean(np.sum((noisy.state[0] - still.state[0]) ** 2, -1)))
    predicted = float(noise_in_state(FixedPoint.of(feedforward, x), still.state, solver)[0])
    assert spread == pytest.approx(predicted, rel=0.05)
    # Independent per sample: the mean over samples is √400 times better.
    shared = np.linalg.norm(np.mean(noisy.state[0] - still.state[0], 0))
    assert shared < 3 * spread / 20


@pytest.mark.parametrize(("dt", "window"), [(1.0, 4), (0.4, 3)])
def test_noise_that_comes_back_by_recurrence_is_predicted_too(x64, dt, window):
    """Oracle: the deviations of 50 draws, which one step's noise alone falls short of."""
    net = hp.mlp(6, (20, 20), 3, activation="tanh", weight_scale=0.8, key=jax.random.key(1))
    x = inputs(64)
    still = hp.settle(net, x, solver=hp.Anderson(tolerance=1e-13)).state
    noisy = hp.TimeSteps(60, dt=dt, window=window, noise=hp.Noise(1e-3))
    problem = FixedPoint.of(net, x)
    draw = jax.jit(lambda key: settle_problem(problem, dataclasses.replace(noisy, key=key), still).state)
    energy = np.zeros(64)
    for key in jax.random.split(jax.random.key(0), 50):
        energy += sum(np.sum(np.square(a - b), -1) for a, b in zip(draw(key), still, strict=True)) / 50
    predicted = np.asarray(noise_in_state(problem, still, noisy))
    assert np.sqrt(energy.mean()) == pytest.approx(np.sqrt(np.mean(predicted**2)), rel=0.07)
    rho, steps = 1 - dt, np.arange(window)
    leak = np.sqrt(dt / (2 - dt) * np.mean(rho ** np.abs(steps[:, None] - steps)))
    slopes = sum(np.sum((1 - np.square(s)) ** 2, -1) for s in still)
    assert np.sqrt(energy.mean()) > 1.1 * 1e-3 * leak * np.sqrt(slopes.mean())


def test_a_key_of_the_solver_alone_gives_every_point_its_own_noise(x64, net):
    """Noise alike at all points would cancel: oracle, the error with the same noise under the estimator's key."""
    x, y = inputs(4), jnp.asarray([0, 1, 2, 0], jnp.int32)
    exact = hp.Implicit(solver=hp.Anderson(tolerance=1e-12))(net, x, y).gradient

    def error(own: bool, seed: int) -> float:
        key = jax.random.key(seed)
        steps = hp.TimeSteps(30, noise=hp.Noise(0.05), key=key if own else None)
        circle = hp.Holomorphic(4, 0.2, solver=hp.Alternating(), nudged_solver=steps, unsettled="keep")
        estimate = circle(net, x, y, key=None if own else key)
        return hp.alignment(estimate.gradient, exact).total.relative_error

    own, given = (np.mean([error(which, seed) for seed in range(5)]) for which in (True, False))
    assert own == pytest.approx(given, rel=0.5) and own > 0.05


def test_keys_decide(net):
    def state(seed: int):
        solver = hp.TimeSteps(10, noise=hp.Noise(0.1), key=jax.random.key(seed))
        return np.asarray(hp.settle(net, inputs(2), solver=solver).state[0])

    assert np.array_equal(state(0), state(0)) and not np.allclose(state(0), state(1))


def test_noise_is_the_same_law_on_the_circle(net):
    """The mean over many turns of the noisy estimate is the noiseless one."""
    x, y = inputs(4), jnp.asarray([0, 1, 2, 0], jnp.int32)
    free, steps = hp.Alternating(), hp.TimeSteps(40, noise=hp.Noise(0.005))
    noisy = hp.Holomorphic(6, 0.3, solver=free, nudged_solver=steps, unsettled="keep")
    still = hp.Holomorphic(6, 0.3, solver=free)(net, x, y).gradient
    many = [noisy(net, x, y, key=jax.random.key(k)).gradient for k in range(36)]
    mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *many)
    single = np.mean([hp.alignment(each, still).total.relative_error for each in many])
    assert hp.alignment(mean, still).total.relative_error == pytest.approx(single / 6, rel=0.6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: hp.Noise(-0.1), "std must be at least 0 and finite, got -0.1"),
        (lambda: hp.Noise(float("inf")), "std must be at least 0 and finite"),
        (lambda: hp.TimeSteps(0), "max_steps must be at least 1, got 0"),
        (lambda: hp.TimeSteps(5, dt=0.0), "dt must be in"),
        (lambda: hp.TimeSteps(5, dt=1.5), "dt must be in"),
        (lambda: hp.TimeSteps(5, window=6), "window must be between 1 and max_steps = 5, got 6"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_noise_without_a_key_is_refused(net):
    with pytest.raises(ValueError, match="noise needs a key"):
        hp.settle(net, inputs(2), solver=hp.TimeSteps(5, noise=hp.Noise(0.1)))

"""The automatic circle. Oracles: the implicit gradient, the best of many fixed circles, the tolerance asked for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.gradient.batch_spectrum import mean_squares
from holoprop.gradient.circle import Circle
from holoprop.gradient.contour import half_circle, whole_circle
from holoprop.gradient.expectation import CircleMemory, Expectation, Pull
from holoprop.gradient.shared_circle import better_radius
from holoprop.gradient.spectrum import circle_spectrum
from holoprop.gradient.turn import deviation_in_coefficient, folded


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
        found, estimate = error(
            case, hp.Holomorphic("auto", tolerance=tolerance, solver=hp.Alternating(tolerance=1e-10))
        )
        spectrum = estimate.certificate.spectrum
        assert spectrum is not None and found < 3 * tolerance
        used.append(int(np.isfinite(np.asarray(spectrum.norms[0])).sum()))
    assert used[0] == 2 < used[1]


def test_points_alone_cannot_be_automatic():
    with pytest.raises(ValueError, match="points='auto' goes with radius='auto'"):
        hp.Holomorphic("auto", 0.1)


NOISY = hp.TimeSteps(40, noise=hp.Noise(0.01))


def mean_error(case, estimator, draws, memory=None):
    """Root mean square over draws of the noise, and the last estimate."""
    net, x, y, exact = case
    squares, estimate = [], None
    for draw in draws:
        estimate = estimator(net, x, y, key=jax.random.key(draw), memory=memory)
        memory = None if memory is None else estimate.memory
        squares.append(hp.alignment(estimate.gradient, exact).total.relative_error ** 2)
    return np.sqrt(np.mean(squares)), estimate


def test_under_noise_the_memory_finds_one_radius_for_the_batch(x64, case):
    """Oracle: the best of many fixed circles, which knows the exact gradient."""

    def estimator(radius):
        return hp.Holomorphic(4, radius, nudged_solver=NOISY, unsettled="keep")

    fixed = [mean_error(case, estimator(r), range(4))[0] for r in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)]
    automatic = estimator("auto")
    _, learnt = mean_error(case, automatic, range(10, 16), automatic.init(case[0], 12))
    found, estimate = mean_error(case, automatic, range(20, 24), learnt.memory)
    assert found < 1.5 * min(fixed) < 0.5 * max(fixed)
    radii = np.abs(np.asarray(estimate.certificate.betas[0]))
    np.testing.assert_allclose(radii, radii[0])


def circle(coefficients, radius, deviation, points, samples=40, neurons=50):
    """A circle whose states have given Fourier coefficients, relative to the first, and noise of a given size."""
    rng = np.random.default_rng(0)
    j = np.arange(1, len(coefficients) + 1)
    direction = rng.normal(size=(len(j), samples, neurons))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    unit = whole_circle(points)
    rise = np.einsum("kj,j,jbn->kbn", unit[:, None] ** j, coefficients, direction)
    noise = deviation / np.sqrt(neurons) * rng.normal(size=rise.shape)
    free = hp.Rest((jnp.zeros((samples, neurons)),), jnp.zeros(samples), *[jnp.zeros(samples, jnp.int32)] * 2)
    half = folded((jnp.asarray(rise + noise),), points)
    betas = jnp.asarray(np.repeat(radius * half_circle(points)[0][:, None], samples, axis=1))
    lag = np.linalg.norm(np.einsum("k,kbn->bn", unit.conj() / points, rise + noise).imag, axis=-1)
    left = np.maximum(deviation_in_coefficient(jnp.full(samples, deviation), points), lag)
    spectrum = circle_spectrum(free, half, jax.tree.map(jnp.zeros_like, half), betas, points, jnp.asarray(left))
    status = jnp.full(betas.shape, hp.Status.not_applicable, jnp.int32)
    return Circle(betas, betas, hp.Rest(half, jnp.zeros(betas.shape), status, status), spectrum)


def look(circle, deviation, points=4, samples=40):
    """What a circle says if noise is expected to make each state deviate by so much, and nothing is remembered."""
    one, nothing = jnp.ones(samples), CircleMemory.fresh(jnp.dtype("float64"))
    expected = Expectation(nothing, one, one, Pull(one, one), deviation * one, jnp.zeros((), bool))
    return mean_squares(circle, points, 50, deviation * one, expected)


def test_a_batch_shows_what_noise_hides_of_its_samples(x64):
    """Oracle: the coefficients that the states were made of, the second below what a sample's noise leaves there."""
    j, deviation = np.arange(1, 5), 0.35
    coefficients = 0.3 ** (j - 1) / j**1.2
    said = look(circle(coefficients, 0.3, deviation, 4), deviation).spectrum()
    assert bool(said.seen) and bool(said.inside) and float(said.radius) == pytest.approx(0.3)
    assert float(said.noise) == pytest.approx(deviation / np.sqrt(8), rel=0.1)
    assert float(said.astray) == 0 and float(said.lost) < 0.05
    assert float(said.log_response) == pytest.approx(np.log(1 / 0.3), abs=0.05)
    true = 0.3**4 / 5**1.2  # of the same law; the certificate errs on the safe side, and noise adds to it
    assert true / 3 < float(said.aliasing) < 5 * true
    hidden = look(circle(np.array([1.0, 0.01]), 0.3, deviation, 4), deviation).spectrum()
    assert not bool(hidden.seen) and bool(hidden.inside) and 1e-8 < float(hidden.aliasing) < 0.1


def test_what_noise_cannot_have_done_is_a_lost_rest_state(x64):
    """Oracle: the noise that the states were made with, expected as it is, and thirty times smaller."""
    made = circle(np.array([1.0, 0.3]), 0.3, 3.0, 4)
    assert bool(look(made, 3.0).spectrum().inside)
    assert not bool(look(made, 0.1).spectrum().inside)


def test_a_few_samples_astray_count_for_what_they_do_to_the_mean(x64):
    """Oracle: made so, two samples of forty are five responses away at one point, and noise is what it is told to be.

    One point of four leaves a quarter of its distance in every coefficient.
    """
    made = circle(np.array([1.0, 0.01]), 0.3, 0.1, 4)
    spectrum = made.spectrum
    gone = jnp.arange(40) < 2
    norms = jnp.where(gone[:, None] & (jnp.arange(spectrum.norms.shape[1]) > 0), 1.25, spectrum.norms)
    shift = jnp.where(gone, 1.25, spectrum.shift)
    found = look(eqx.tree_at(lambda c: (c.spectrum.norms, c.spectrum.shift), made, (norms, shift)), 0.1)
    said = found.spectrum()
    assert float(said.astray) == pytest.approx(2 / 40)
    assert float(said.lost) == pytest.approx(2 / 40 * 1.25, rel=0.15)
    assert bool(said.inside) and said.lost <= said.error < 2 * said.lost
    blamed = found.spectrum(noise=said.lost)
    assert float(blamed.noise) == pytest.approx(np.hypot(float(said.noise), float(said.lost)))
    assert blamed.aliasing < said.aliasing


def test_a_circle_on_which_no_sample_arrives_teaches_only_to_be_smaller(x64):
    made = circle(np.array([1.0, 0.3]), 0.3, 0.1, 4)
    lost = eqx.tree_at(lambda c: c.nudged.status, made, jnp.full(made.betas.shape, hp.Status.diverged, jnp.int32))
    said = look(lost, 0.1).spectrum()
    assert not bool(said.inside) and float(said.arrived) == 0 and float(said.astray) == 1
    assert float(said.radius) == pytest.approx(0.3)
    assert all(np.isfinite(float(leaf)) for leaf in jax.tree.leaves(said))
    radius, limit = better_radius(said, 4)
    assert 0 < float(radius) < 0.15 and 0 < float(limit) < 0.3


def test_time_steps_begin_at_the_free_state_on_a_second_circle_too(x64, case):
    """Oracle: the circle of the radii that were found, by itself; so few steps that their start still shows."""
    net, x, y, _ = case
    steps = hp.TimeSteps(4)
    found = hp.Holomorphic(4, tolerance=1e-9, solver=hp.Anderson(tolerance=1e-12), nudged_solver=steps)(net, x, y)
    radius = jnp.abs(found.certificate.betas[0])
    assert float(jnp.ptp(radius)) > 0
    for each in range(2):
        alone = hp.Holomorphic(4, float(radius[each]), solver=hp.Anderson(tolerance=1e-12), nudged_solver=steps)
        states = alone(net, x[each : each + 1], y[each : each + 1]).certificate.spectrum
        np.testing.assert_allclose(states.norms[0], found.certificate.spectrum.norms[each], rtol=1e-6, atol=1e-12)

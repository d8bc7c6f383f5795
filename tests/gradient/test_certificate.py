"""What the circle tells. Oracles: power series with known coefficients; the error against the implicit gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import holoprop as hp
from holoprop.gradient.certificate import certify
from holoprop.gradient.contour import half_circle
from holoprop.gradient.spectrum import Spectrum, circle_spectrum
from holoprop.network.activation import AbstractActivation
from holoprop.settling.rest import Rest, Status

RADII = np.array([0.05, 0.1, 0.2, 0.4, 0.6])


def settled(state, points: int | None = None) -> Rest:
    lead = state[0].shape[: 1 if points is None else 2]
    nothing = jnp.zeros(lead)
    return Rest(state, nothing, nothing.astype(jnp.int32), jnp.full(lead, Status.settled, jnp.int32))


@eqx.filter_jit
def both(free: Rest, nudged: Rest, missed, betas, points: int):
    spectrum = circle_spectrum(free, nudged.state, missed, betas, points)
    return spectrum, certify(free, nudged, betas, "mask", spectrum)


def spectrum_of(response, points: int, radii: np.ndarray = RADII, error: float = 0.0):
    """Spectrum and certificate of states `response(β)`, `(…,)` → `(…, neurons)`, said to be off by about `error`."""
    unit, _ = half_circle(points)
    betas = jnp.asarray(unit[:, None] * radii, jnp.complex128)
    free = settled((jnp.asarray(response(np.zeros(len(radii)))).real,))
    nudged = settled((jnp.asarray(response(np.asarray(betas)), jnp.complex128),), points)
    rng = np.random.default_rng(0)
    missed = (jnp.asarray(error * np.exp(2j * np.pi * rng.random(nudged.state[0].shape))),)
    return both(free, nudged, missed, betas, points)


def coefficient_error(response, points: int, radii: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The true relative error of the first Fourier coefficient over the radius, as an estimate of `slope`."""
    whole = np.exp(2j * np.pi * np.arange(points) / points)
    states = response(whole[:, None] * radii)
    found = (states / (whole[:, None] * radii)[..., None]).mean(0)
    return np.linalg.norm(found - slope, axis=-1) / np.linalg.norm(slope)


# Singularity at β = −1 (a pole) and at β = 1 (a square root, as where rest states end).
DIRECTION = np.array([0.3, -1.2, 0.5])
CLOSED_FORMS = {
    "pole": (lambda beta: (1 / (1 + beta))[..., None] * DIRECTION, -DIRECTION),
    "branch point": (lambda beta: np.sqrt(1 - beta + 0j)[..., None] * DIRECTION, -DIRECTION / 2),
    "pair": (lambda beta: (1 / (1 + beta + beta**2))[..., None] * DIRECTION, -DIRECTION),
}


@pytest.mark.parametrize("points", [4, 6, 8, 12])
@pytest.mark.parametrize("name", ["pole", "branch point"])
def test_radius_and_error_of_known_responses(x64, name, points):
    response, slope = CLOSED_FORMS[name]
    spectrum, certificate = spectrum_of(response, points)
    # Between a pole's law and a square root's, on the safe side of both.
    assert np.all((spectrum.radius_of_convergence > 0.5) & (spectrum.radius_of_convergence < 1.4))
    true = coefficient_error(response, points, RADII, slope)
    predicted = np.asarray(certificate.predicted_error)
    assert np.all(predicted < 5 * true) and np.all(true < 2 * predicted)


def test_norms_are_the_coefficients(x64):
    """`c_j = a_j r^j`, up to what is folded in from `j + N`."""
    spectrum, _ = spectrum_of(CLOSED_FORMS["pole"][0], 16, np.array([0.1]))
    expected = np.linalg.norm(DIRECTION) * 0.1 ** np.arange(16)
    np.testing.assert_allclose(spectrum.norms[0], expected, rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(spectrum.shift[0], np.linalg.norm(DIRECTION) * 0.1**16 / (1 - 0.1**16), atol=1e-15)
    np.testing.assert_allclose(spectrum.response[0], np.linalg.norm(DIRECTION), rtol=1e-6)


@pytest.mark.parametrize("points", [4, 8])
def test_a_circle_around_the_singularity_is_never_ok(x64, points):
    for name in ("pole", "pair"):
        _, certificate = spectrum_of(CLOSED_FORMS[name][0], points, np.array([1.1, 1.5, 3.0]))
        assert np.all(np.asarray(certificate.verdict) == hp.Verdict.outside_radius)
        assert np.all(np.asarray(certificate.predicted_error) > 0.1)


@pytest.mark.parametrize("points", [6, 8, 10])
def test_a_conjugate_linear_part_is_named(x64, points):
    def response(beta):
        return (beta + 0.1 * np.conj(beta) + 0.3 * beta**2)[..., None] * DIRECTION

    spectrum, certificate = spectrum_of(response, points, np.array([0.01, 0.1]))
    assert np.all(np.asarray(certificate.verdict) == hp.Verdict.not_holomorphic)
    np.testing.assert_allclose(spectrum.negative, 0.1, rtol=0.15)


def test_a_response_that_drowns_says_so_and_weighs_little(x64):
    """One sample responds a millionth as much as the others, beneath the error of the states."""
    size = np.array([1.0, 1.0, 1e-6, 1.0, 1.0])

    def response(beta):
        return (1 + size * beta / (1 - beta / 2))[..., None] * DIRECTION

    spectrum, certificate = spectrum_of(response, 4, np.full(5, 0.1), error=1e-6)
    assert np.asarray(certificate.verdict).tolist() == [0, 0, hp.Verdict.drowned, 0, 0]
    assert np.isnan(spectrum.radius_of_convergence[2]) and np.isfinite(certificate.predicted_error).all()
    typical = float(np.median(certificate.predicted_error))
    assert float(certificate.batch_error) == pytest.approx(typical, rel=0.1)
    assert "1 drowned" in certificate.text() and "inf" not in certificate.text() and "nan" not in certificate.text()


class Folded(AbstractActivation):
    """Claims to be holomorphic and is not: a little of the conjugate is mixed in."""

    holomorphic = True

    def __call__(self, z):
        return jnp.tanh(z) + 0.05 * jnp.conj(z)


def test_a_network_that_only_claims_to_be_holomorphic_is_caught(x64):
    net = hp.mlp(8, (10, 6), 3, activation=Folded(), weight_scale=0.5, key=jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 8)))
    estimate = hp.Holomorphic(8, 0.1, solver=hp.Picard())(net, x, jnp.arange(7) % 3)
    assert np.all(np.asarray(estimate.certificate.verdict) == hp.Verdict.not_holomorphic)


@pytest.mark.parametrize("points", [4, 8])
def test_predictions_hold_on_networks(x64, points):
    """A small form of the calibration that `holoprop reproduce calibration` runs in full."""
    errors, predicted, verdicts = [], [], []
    solver = hp.Anderson(tolerance=1e-12)
    circle = hp.Holomorphic(points, solver=solver, unsettled="keep")
    for seed, (widths, scale) in enumerate([((16, 8), 0.7), ((8, 8, 8), 2.0)]):
        net = hp.mlp(10, widths, 4, activation="sigmoid", weight_scale=scale, key=jax.random.key(seed))
        rng = np.random.default_rng(seed)
        x, target = jnp.asarray(rng.random((18, 1, 10))), jax.nn.one_hot(rng.integers(0, 4, (18, 1)), 4)
        radii = jnp.asarray(np.exp(rng.uniform(np.log(0.01), np.log(1.5), 18)))

        def one(sample, net=net):
            x, target, radius = sample
            estimator = eqx.tree_at(lambda e: e.radius, circle, radius)
            found = estimator.estimate(net, x, target, key=None, memory=None)
            exact = hp.Implicit(solver=solver, unsettled="keep").estimate(net, x, target, key=None, memory=None)
            apart = optax.tree.norm(jax.tree.map(jnp.subtract, found.gradient, exact.gradient))
            spectrum = found.certificate.spectrum
            said = jnp.hypot(spectrum.aliasing, spectrum.tolerance)
            return apart / optax.tree.norm(exact.gradient), said[0], found.certificate.verdict[0]

        results = jax.jit(lambda samples, one=one: jax.lax.map(one, samples))((x, target, radii))
        for place, values in zip((errors, predicted, verdicts), results, strict=True):
            place.extend(np.asarray(values).tolist())
    true, said, ok = np.array(errors), np.array(predicted), np.array(verdicts) == hp.Verdict.ok
    near = (np.abs(np.log10(true / said)) < 1) | ((true < 1e-11) & (said < 1e-11))
    # So few samples of so small networks are allowed a little more than all those of the full calibration.
    assert near.mean() >= 0.8 and (true[ok] <= 3 * said[ok]).mean() >= 0.95 and not np.any(true[ok] > 0.3)


def test_no_sample_is_ok_whose_errors_add_up_to_too_much():
    """By hand: √(.09² + .09²) = .127, either alone is below the limit; beside them one below and one lost."""
    one = jnp.ones(4)
    spectrum = Spectrum(
        jnp.ones((4, 2)), one, one, one, jnp.asarray([0.09, 0.09, 0.01, 0.5]), 0 * one, 0 * one, jnp.nan * one
    )
    settled = jnp.full(4, hp.Status.settled, jnp.int32)
    free = hp.Rest((), one, settled, settled)
    nudged = hp.Rest((), one[None], settled[None], settled[None])
    bias = jnp.asarray([0.09, 0.0, 0.09, 0.09])
    found = certify(free, nudged, one[None], "mask", spectrum, asymmetry=bias)
    wanted = [hp.Verdict.asymmetric, hp.Verdict.ok, hp.Verdict.ok, hp.Verdict.outside_radius]
    np.testing.assert_array_equal(found.verdict, wanted)
    assert (np.asarray(found.predicted_error)[np.asarray(found.verdict) == hp.Verdict.ok] <= 0.1).all()

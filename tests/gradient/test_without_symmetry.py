"""Estimates without weight symmetry. Oracles: the implicit gradient, a linear solve for the response, the energy form,
dense matrices for the predicted asymmetry."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

# Plain sweeps compile in half the time, and here they do.
SOLVER = hp.Alternating(tolerance=1e-13, max_steps=5000)
POINTS = (2, 4, 16)


class Lateral(hp.AbstractNetwork):
    """One layer whose units drive each other by weights of no symmetry, written by a user who knows nothing of it."""

    w_in: jax.Array
    w: jax.Array
    readout: hp.Readout
    activation: hp.AbstractActivation = hp.Tanh()
    cost: hp.AbstractCost = hp.CrossEntropy()
    input_shape = (6,)
    layer_shapes = ((9,),)
    classes = 3

    def drive(self, c, s):
        return (c @ self.w_in + s[0] @ self.w,)


class Pair(hp.AbstractNetwork):
    """Two units that drive each other."""

    w_in: jax.Array
    w: jax.Array
    readout: hp.Readout
    activation: hp.AbstractActivation = hp.Tanh()
    cost: hp.AbstractCost = hp.CrossEntropy()
    input_shape = (6,)
    layer_shapes = ((2,),)
    classes = 3

    def drive(self, c, s):
        return (c @ self.w_in + s[0] @ self.w,)


def lateral(key):
    keys = jax.random.split(key, 3)
    return Lateral(
        jax.random.normal(keys[0], (6, 9)) / 2,
        jax.random.normal(keys[1], (9, 9)) / 4,
        hp.Readout(jax.random.normal(keys[2], (9, 3)) / 2, jnp.zeros(3)),
    )


BUILDERS: dict[str, tuple[Any, tuple[int, ...], float]] = {
    "dense": (lambda key: hp.mlp(12, (10, 8, 5), 5, feedback="free", key=key), (12,), 0.1),
    "loop": (lambda key: hp.loop_mlp(12, (10, 8, 5), 5, key=key), (12,), 0.1),
    "convolutional": (
        lambda key: hp.convnet((8, 8, 2), (4, 6), 3, padding="SAME", feedback="free", weight_scale=1.5, key=key),
        (8, 8, 2),
        0.2,
    ),
    "lateral": (lateral, (6,), 0.1),
}


@pytest.fixture(scope="module", params=BUILDERS)
def case(request):
    """A network without a potential, a batch, a radius, and the exact and the infinitesimal estimates."""
    build, shape, radius = BUILDERS[request.param]
    with jax.enable_x64(True):
        net = build(jax.random.key(3))
        rng = np.random.default_rng(4)
        x, y = jnp.asarray(rng.random((5, *shape))), jnp.asarray(rng.integers(0, net.classes, 5))
        exact, forward = hp.Implicit(solver=SOLVER)(net, x, y), hp.ForwardResponse(solver=SOLVER)(net, x, y)
        assert bool(exact.rest.settled.all())
    return net, x, y, radius, exact, forward


def error(estimate, reference):
    return hp.alignment(estimate.gradient, reference.gradient).total.relative_error


def test_exact_at_finite_nudges_where_it_is_corrected(x64, case):
    """The line of DESIGN §2: the error falls as `r^N`, to 1e-10 and below; uncorrected it stays that of asymmetry."""
    net, x, y, radius, exact, forward = case
    corrected = []
    for points in POINTS:
        estimate = hp.Holomorphic(points, radius, solver=SOLVER, asymmetry="correct")(net, x, y)
        assert float(estimate.certificate.unsettled_share) == 0
        assert estimate.certificate.asymmetry is None
        corrected.append(error(estimate, exact))
    assert corrected[-1] <= 1e-10
    # Twice the points square the error.
    assert corrected[1] < 10 * corrected[0] ** 2
    bias = error(forward, exact)
    assert bias > 0.01
    for points in (2, 16):
        plain = error(hp.Holomorphic(points, radius, solver=SOLVER)(net, x, y), exact)
        assert plain == pytest.approx(bias, rel=0.2 if points == 2 else 1e-6)


def test_uncorrected_circle_finds_the_response(x64, case):
    """`δ_N` tends to the response of an infinitesimal nudge, layer by layer."""
    net, x, y, radius, _, forward = case
    estimate = hp.Holomorphic(16, radius, solver=SOLVER)(net, x, y)
    for mine, reference in zip(estimate.response, forward.response, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=0, atol=1e-9 * float(jnp.abs(reference).max()))
    assert error(estimate, forward) <= 1e-9


@pytest.mark.parametrize("solver", [hp.Picard(tolerance=1e-13, max_steps=5000), hp.Anderson(tolerance=1e-13)])
def test_every_solver_settles_the_corrected_phase(x64, solver):
    net = hp.mlp(12, (10, 8, 5), 5, feedback="free", key=jax.random.key(3))
    rng = np.random.default_rng(4)
    x, y = jnp.asarray(rng.random((40, 12))), jnp.asarray(rng.integers(0, 5, 40))
    exact = hp.Implicit(solver=SOLVER)(net, x, y)
    # Forty samples are compacted on the way, so that anchors have to follow theirs.
    estimate = hp.Holomorphic(8, 0.05, solver=solver, nudged_solver=solver, asymmetry="correct")(net, x, y)
    assert error(estimate, exact) <= 1e-8


def test_mixed_precision_settles_the_corrected_phase(x64):
    """The second stage has the term `(Jᵀ − J)(s − s_0)` in full precision, whatever the first one rounded."""
    net = hp.mlp(12, (10, 8, 5), 5, feedback="free", key=jax.random.key(3))
    rng = np.random.default_rng(4)
    x, y = jnp.asarray(rng.random((5, 12))), jnp.asarray(rng.integers(0, 5, 5))
    exact = hp.Implicit(solver=SOLVER)(net, x, y)
    estimate = hp.Holomorphic(8, 0.1, solver=hp.Mixed(SOLVER), asymmetry="correct")(net, x, y)
    assert float(estimate.certificate.unsettled_share) == 0
    assert error(estimate, exact) <= 1e-5


@pytest.mark.parametrize("estimator", [hp.Centered, hp.Stencil, hp.OneSided])
def test_real_nudges(x64, case, estimator):
    """Bias O(β) of one nudge, O(β²) of two, O(β⁴) of four: at β = 1e-3 what is left of each is known."""
    net, x, y, _, exact, forward = case
    allowed = {hp.OneSided: 2e-2, hp.Centered: 1e-4, hp.Stencil: 1e-7}[estimator]
    assert error(estimator(beta=1e-3, solver=SOLVER)(net, x, y), forward) < allowed
    assert error(estimator(beta=1e-3, solver=SOLVER, asymmetry="correct")(net, x, y), exact) < allowed


@pytest.mark.parametrize("points", [8, "auto"])
def test_automatic_circle_and_points(x64, points):
    net = hp.mlp(12, (10, 8, 5), 5, feedback="free", key=jax.random.key(3))
    rng = np.random.default_rng(4)
    x, y = jnp.asarray(rng.random((5, 12))), jnp.asarray(rng.integers(0, 5, 5))
    exact = hp.Implicit(solver=SOLVER)(net, x, y)
    estimate = hp.Holomorphic(points, solver=SOLVER, asymmetry="correct")(net, x, y)
    assert error(estimate, exact) < 1e-7
    assert 0.05 * error(estimate, exact) < float(estimate.certificate.batch_error) < 1e-6


def test_samples_left_out_have_no_say(x64):
    """Oracle: the batch without them. One input is not a number, so that its states are none either."""
    net = hp.mlp(12, (10, 8, 5), 5, feedback="free", key=jax.random.key(3))
    rng = np.random.default_rng(4)
    x, y = rng.random((4, 12)), rng.integers(0, 5, 4)
    x[1] = np.nan
    estimator = hp.Holomorphic(4, 0.1, solver=SOLVER)
    whole, rest = estimator(net, x, y), estimator(net, x[[0, 2, 3]], y[[0, 2, 3]])
    np.testing.assert_array_equal(whole.certificate.kept, [True, False, True, True])
    assert error(whole, rest) < 1e-12
    assert int(whole.certificate.verdict[1]) == hp.Verdict.unsettled


def test_reference_without_nudges_predicts_its_bias_too(x64, case):
    """What `ForwardResponse` is wrong by is asymmetry alone, and its certificate is that of the circle."""
    net, x, y, radius, _, forward = case
    circle = hp.Holomorphic(16, radius, solver=SOLVER)(net, x, y).certificate.asymmetry
    np.testing.assert_allclose(forward.certificate.asymmetry, circle, rtol=1e-5)
    np.testing.assert_array_equal(forward.certificate.verdict == hp.Verdict.asymmetric, circle > 0.1)
    np.testing.assert_array_equal(forward.certificate.predicted_error, forward.certificate.asymmetry)
    assert f"by asymmetry, of a sample: median {np.median(forward.certificate.asymmetry):.1e}" in (
        forward.certificate.text()
    )


@pytest.mark.parametrize("build", [lambda key: hp.mlp(12, (10, 8), 4, key=key), "convnet"], ids=["dense", "conv"])
def test_symmetric_networks_in_both_forms(x64, build):
    """A potential makes `δ = λ`, so that both forms have one limit, which is the implicit gradient."""
    if build == "convnet":
        net, shape = hp.convnet((8, 8, 2), (4, 6), 4, padding="SAME", key=jax.random.key(1)), (8, 8, 2)
    else:
        net, shape = build(jax.random.key(1)), (12,)
    rng = np.random.default_rng(2)
    x, y = jnp.asarray(rng.random((4, *shape))), jnp.asarray(rng.integers(0, 4, 4))
    energy = hp.Holomorphic(16, 0.03, solver=SOLVER)(net, x, y)
    field = hp.Holomorphic(16, 0.03, solver=SOLVER, form="vector-field")(net, x, y)
    assert energy.response is None and field.response is not None and field.certificate.asymmetry is None
    assert error(field, energy) <= 1e-8
    assert error(field, hp.Implicit(solver=SOLVER)(net, x, y)) <= 1e-8


def test_oscillation_needs_no_free_phase(x64, case):
    """Response and mean activity from the turning nudge alone; what is left is what `dwell` steps do not settle."""
    net, x, y, radius, _, forward = case
    estimator = hp.Oscillation(points=8, radius=radius, dwell=60, periods=3)
    memory = estimator.init(net, 5)
    for _ in range(2):
        estimate = estimator(net, x, y, memory=memory)
        memory = estimate.memory
    assert error(estimate, forward) < 1e-3
    for mean, rested in zip(estimate.rest.state, forward.rest.state, strict=True):
        np.testing.assert_allclose(mean, rested, atol=1e-4)
    assert estimate.certificate.asymmetry is not None


def test_oscillation_counts_out_who_diverged_in_any_period(x64):
    """One sample is not finite in the first period, by its memory; oracle: the batch without it."""
    net = hp.mlp(12, (10, 8, 5), 5, feedback="free", key=jax.random.key(3))
    rng = np.random.default_rng(4)
    x, y = rng.random((4, 12)), rng.integers(0, 5, 4)
    estimator = hp.Oscillation(points=4, radius=0.1, dwell=20, periods=2, unsettled="mask")
    memory = tuple(s.at[1].set(jnp.nan) for s in estimator.init(net, 4))
    whole = estimator(net, x, y, memory=memory)
    rest = estimator(net, x[[0, 2, 3]], y[[0, 2, 3]], memory=estimator.init(net, 3))
    np.testing.assert_array_equal(whole.certificate.kept, [True, False, True, True])
    assert error(whole, rest) < 1e-12
    assert float(whole.loss) == pytest.approx(float(rest.loss), rel=1e-12)


@pytest.mark.parametrize("angle", [0.0, 10.0, 30.0, 60.0, 90.0])
def test_certificate_predicts_the_bias_of_asymmetry(x64, angle):
    """Against dense matrices: the predicted relative error of the error vector is right within a factor of 3.

    It bounds the error in a scalar product of the network's own, not in the Euclidean one in which it is compared here.
    """
    net = hp.mlp(12, (10, 8, 5), 5, feedback="free", angle=angle, key=jax.random.key(5))
    rng = np.random.default_rng(6)
    x, y = jnp.asarray(rng.random((8, 12))), jnp.asarray(rng.integers(0, 5, 8))
    estimate = hp.Holomorphic(8, 0.05, solver=SOLVER)(net, x, y)
    predicted = np.asarray(estimate.certificate.asymmetry)
    true = hp.analyse_jacobian(net, x, y, estimate.rest).bias
    if angle == 0:
        assert predicted.max() < 1e-12 and (np.asarray(estimate.certificate.verdict) == hp.Verdict.ok).all()
        return
    assert (predicted < 3 * true).all() and (true < 3 * predicted).all()
    verdict = np.asarray(estimate.certificate.verdict)
    # What else is wrong with a sample weighs more.
    sound = (verdict == hp.Verdict.ok) | (verdict == hp.Verdict.asymmetric)
    assert sound.sum() >= 6
    np.testing.assert_array_equal((verdict == hp.Verdict.asymmetric)[sound], predicted[sound] > 0.1)
    assert "mostly asymmetry" in estimate.certificate.text()


def test_certificate_says_when_it_cannot_predict(x64):
    """A strongly self-exciting symmetric part: `D⁻¹ − S` has a negative eigenvalue, so it is no scalar product, and the
    rest state is one only because the antisymmetric part keeps it from growing. Oracle: numpy's eigenvalues."""
    w = jnp.asarray([[1.6, 3.0], [-3.0, 1.6]])
    net = Pair(jnp.zeros((6, 2)), w, hp.Readout(jnp.eye(2, 3), jnp.zeros(3)))
    x, y = jnp.zeros((1, 6)), jnp.asarray([0])
    # s = 0 is at rest: the Jacobian there is w itself.
    solver = hp.TimeSteps(1)
    assert np.linalg.eigvalsh(np.eye(2) - np.asarray(w + w.T) / 2).min() < 0
    certificate = hp.OneSided(1e-3, solver=solver, nudged_solver=solver)(net, x, y).certificate
    assert bool(jnp.isnan(certificate.asymmetry).all())
    assert (np.asarray(certificate.verdict) == hp.Verdict.asymmetry_unknown).all()
    assert "asymmetry unknown" in certificate.text()


def test_refusals(unchecked, case):
    net, x, y, *_ = case
    for words, message in (
        ({"form": "potential"}, "form must be 'energy', 'vector-field' or None, got 'potential'"),
        ({"asymmetry": "transpose"}, "asymmetry must be 'ignore' or 'correct', got 'transpose'"),
        ({"form": "energy", "asymmetry": "correct"}, "an energy has a symmetric Jacobian, nothing to correct"),
    ):
        with pytest.raises(ValueError, match=message):
            hp.Holomorphic(**words)
    with pytest.raises(ValueError, match=r"form='energy' needs a potential, and .* is a vector field: use form="):
        hp.Holomorphic(2, 0.1, form="energy")(net, x, y)
    for estimator in (hp.OnlineOscillation(), hp.Continual()):
        with pytest.raises(ValueError, match=r"needs an energy network .* is a vector field: use Holomorphic"):
            estimator.check(net)

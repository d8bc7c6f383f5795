"""The Jacobian at rest. Oracles: finite differences of the drive, numpy, the two estimators' own responses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

SOLVER = hp.Anderson(tolerance=1e-13)


@pytest.fixture(scope="module")
def case():
    with jax.enable_x64(True):
        net = hp.mlp(7, (6, 5, 4), 4, feedback="free", angle=40.0, weight_scale=0.7, key=jax.random.key(2))
        rng = np.random.default_rng(3)
        x, y = jnp.asarray(rng.random((3, 7))), jnp.asarray(rng.integers(0, 4, 3))
        rest = hp.settle(net, x, solver=SOLVER, throw=True)
    return net, x, y, rest


def test_jacobian_is_the_derivative_of_the_drive(x64, case):
    net, x, _, rest = case
    found = np.asarray(hp.functional_jacobian(net, x, rest))
    sizes, h = [6, 5, 4], 1e-6
    for b in range(3):
        flat = np.concatenate([np.asarray(s[b]) for s in rest.state])

        def drive(flat, b=b):
            state = tuple(map(jnp.asarray, np.split(flat, np.cumsum(sizes)[:-1])))
            return np.concatenate([np.asarray(a) for a in net.drive(net.clamp(x[b]), state)])

        for column, unit in enumerate(np.eye(15)):
            wanted = (drive(flat + h * unit) - drive(flat - h * unit)) / (2 * h)
            np.testing.assert_allclose(found[b, :, column], wanted, atol=1e-8)


def test_measure_dense_and_estimated(x64, case):
    net, x, _, rest = case
    j = np.asarray(hp.functional_jacobian(net, x, rest))
    dense = hp.symmetry_measure(net, x, rest)
    np.testing.assert_allclose(dense.symmetric, np.linalg.norm((j + j.transpose(0, 2, 1)) / 2, axis=(1, 2)), rtol=1e-10)
    np.testing.assert_allclose(
        dense.antisymmetric, np.linalg.norm((j - j.transpose(0, 2, 1)) / 2, axis=(1, 2)), rtol=1e-10
    )
    estimated = hp.symmetry_measure(net, x, rest, samples=4000, key=jax.random.key(1))
    np.testing.assert_allclose(estimated.measure, dense.measure, rtol=0.03)
    less = j - np.eye(15)
    field = hp.symmetry_measure(net, x, rest, field=True)
    np.testing.assert_allclose(field.symmetric, np.linalg.norm((less + less.transpose(0, 2, 1)) / 2, axis=(1, 2)))
    np.testing.assert_allclose(field.antisymmetric, dense.antisymmetric)
    estimated = hp.symmetry_measure(net, x, rest, samples=4000, key=jax.random.key(1), field=True)
    np.testing.assert_allclose(estimated.measure, field.measure, rtol=0.03)
    tied = hp.mlp(7, (6, 5), 4, key=jax.random.key(2))
    np.testing.assert_allclose(hp.symmetry_measure(tied, x, hp.settle(tied, x)).measure, 1, rtol=1e-7)
    loop = hp.loop_mlp(7, (6, 5, 4), 4, key=jax.random.key(2))
    # Edges that have no partner: ‖S‖ = ‖A‖.
    np.testing.assert_allclose(hp.symmetry_measure(loop, x, hp.settle(loop, x)).measure, 0.5, rtol=1e-7)


def test_measure_of_what_is_nearly_symmetric():
    """In float32, at a thousandth of asymmetry and less. Oracle: numpy in float64, on the same Jacobian."""
    x = jnp.asarray(np.random.default_rng(3).random((3, 7)), jnp.float32)
    for angle in (1.0, 0.05):
        net = hp.mlp(7, (6, 5, 4), 4, feedback="free", angle=angle, key=jax.random.key(2))
        rest = hp.settle(net, x)
        j = np.asarray(hp.functional_jacobian(net, x, rest), np.float64)
        odd = np.linalg.norm((j - j.transpose(0, 2, 1)) / 2, axis=(1, 2))
        np.testing.assert_allclose(hp.symmetry_measure(net, x, rest).antisymmetric, odd, rtol=1e-3)
        few = hp.symmetry_measure(net, x, rest, samples=2000, key=jax.random.key(1))
        np.testing.assert_allclose(few.antisymmetric, odd, rtol=0.05)


def test_error_and_response_are_those_of_the_estimators(x64, case):
    net, x, y, rest = case
    analysis = hp.analyse_jacobian(net, x, y, rest)
    for vector, estimator in ((analysis.error, hp.Implicit), (analysis.response, hp.ForwardResponse)):
        flat = np.concatenate([np.asarray(layer) for layer in estimator(solver=SOLVER)(net, x, y).response], 1)
        np.testing.assert_allclose(vector, flat, rtol=0, atol=1e-10)
    bias = np.linalg.norm(analysis.response - analysis.error, axis=1) / np.linalg.norm(analysis.error, axis=1)
    np.testing.assert_allclose(analysis.bias, bias)
    slope = np.asarray([4 * s * (1 - s) for s in np.concatenate([np.asarray(s) for s in rest.state], 1)])
    contracted = np.linalg.eigvals(slope[:, :, None] * np.asarray(analysis.jacobian))
    np.testing.assert_allclose(np.sort(np.abs(analysis.eigenvalues)), np.sort(np.abs(contracted)), atol=1e-9)


@pytest.mark.parametrize("angle", [0.5, 1.0, 2.0])
def test_first_order_holds_where_it_applies(x64, angle):
    """P2's `δ = λ − 2S⁻¹Aλ + …`: the rest is of second order, so it quarters when asymmetry halves."""
    net = hp.mlp(7, (6, 5, 4), 4, feedback="free", angle=angle, weight_scale=0.7, key=jax.random.key(2))
    rng = np.random.default_rng(3)
    x, y = jnp.asarray(rng.random((3, 7))), jnp.asarray(rng.integers(0, 4, 3))
    analysis = hp.analyse_jacobian(net, x, y, hp.settle(net, x, solver=SOLVER, throw=True))
    assert analysis.applies.all()
    missed = np.linalg.norm(analysis.response - analysis.first_order, axis=1) / np.linalg.norm(analysis.error, axis=1)
    assert (missed < 2 * analysis.contraction**2).all() and (missed < 0.2 * analysis.bias).all()


def test_it_says_where_the_expansion_does_not_apply(x64):
    net = hp.loop_mlp(12, (10, 8, 5), 5, weight_scale=1.5, key=jax.random.key(3))
    rng = np.random.default_rng(3)
    x, y = jnp.asarray(rng.random((3, 12))), jnp.asarray(rng.integers(0, 5, 3))
    analysis = hp.analyse_jacobian(net, x, y, hp.settle(net, x, solver=SOLVER, throw=True))
    assert not analysis.applies.any() and (analysis.contraction > 1).all()
    np.testing.assert_array_equal(analysis.applies, analysis.contraction < 1)


def test_alignment_of_error_vectors(x64, unchecked):
    a = (jnp.asarray([[1.0, 0.0], [0.0, 2.0]]), jnp.asarray([[1.0], [0.0]]))
    b = (jnp.asarray([[1.0, 1.0], [0.0, -1.0]]), jnp.asarray([[-3.0], [0.0]]))
    np.testing.assert_allclose(hp.error_alignment(a, b), [(np.sqrt(0.5) - 1) / 2, -1])
    with pytest.raises(ValueError, match="energy forms have no error vector"):
        hp.error_alignment(None, b)
    with pytest.raises(ValueError, match="their shapes differ"):
        hp.error_alignment(a, b[::-1])


def test_refusals(x64, unchecked, case):
    net, x, y, rest = case
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        hp.symmetry_measure(net, x, rest, samples=0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="random vectors need a key"):
        hp.symmetry_measure(net, x, rest, samples=3)
    with pytest.raises(ValueError, match="x holds 3 samples but y holds 2"):
        hp.analyse_jacobian(net, x, y[:2], rest)
    large = hp.mlp(7, (5000,), 4, key=jax.random.key(0))
    with pytest.raises(ValueError, match="a Jacobian of 5000 neurons is too large"):
        hp.functional_jacobian(large, x, hp.settle(large, x))

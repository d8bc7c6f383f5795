"""Rest states. Oracles: the fixed-point equation in numpy, agreement of all solvers, mirror symmetry, closed forms.

A rectifier above its kink is the identity, so a network of rectifiers rests where a linear system says.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

SIZES, BATCH = (6, 10, 8, 3), 5
SOLVERS = {"Picard": hp.Picard(), "Alternating": hp.Alternating(), "Anderson": hp.Anderson()}
PHASES = {
    "free": None,
    "real nudges": np.array([0.3, -0.2]),
    "complex nudges": np.array([0.4 * np.exp(1j), 0.4 * np.exp(-1j), 0.25j]),
}
LABELS = np.arange(BATCH, dtype=np.int32) % 3
X = np.random.default_rng(1).uniform(size=(BATCH, SIZES[0]))


def nudges(phase, batch=BATCH):
    return None if PHASES[phase] is None else np.repeat(PHASES[phase][:, None], batch, 1)


@pytest.fixture(scope="module")
def rests(chain):
    """One float64 network and its rest states, found by every solver in every phase, as numpy arrays."""
    with jax.enable_x64(True):
        net = chain(SIZES, scale=1.0, seed=4, dtype=np.float64)
        found = {}
        for phase in PHASES:
            arguments = () if phase == "free" else (LABELS, nudges(phase))
            for name, solver in SOLVERS.items():
                found[name, phase] = jax.tree.map(np.asarray, hp.settle(net, X, *arguments, solver=solver))
    return net, found


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_residual_is_that_of_the_equation(rests, residual, solver, phase):
    """The residual reported is that of the very state returned, to rounding, and below the default tolerance."""
    net, found = rests
    rest = found[solver, phase]
    lead = (BATCH,) if phase == "free" else (len(PHASES[phase]), BATCH)
    assert (rest.status == hp.Status.settled).all()
    assert rest.residual.shape == rest.steps.shape == rest.status.shape == lead
    assert [s.shape for s in rest.state] == [(*lead, 10), (*lead, 8)]
    kind = np.complex128 if phase == "complex nudges" else np.float64
    assert all(s.dtype == kind for s in rest.state) and rest.residual.dtype == np.float64
    exact = residual(net, X, rest.state, *(() if phase == "free" else (LABELS, nudges(phase))))
    assert exact.max() <= np.sqrt(18) * 1e-11 * 1.001
    np.testing.assert_allclose(rest.residual, exact, rtol=0, atol=1e-14)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("solver", ["Picard", "Alternating"])
def test_all_solvers_find_the_same_state(rests, solver, phase):
    _, found = rests
    for mine, default in zip(found[solver, phase].state, found["Anderson", phase].state, strict=True):
        np.testing.assert_allclose(mine, default, rtol=0, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_conjugate_nudges_give_conjugate_states(rests, solver):
    """`s(β̄) = conj s(β)`: the first two points are each other's conjugates."""
    _, found = rests
    for layer in found[solver, "complex nudges"].state:
        np.testing.assert_allclose(layer[1], layer[0].conj(), rtol=0, atol=1e-9)
        assert np.abs(layer[0].imag).max() > 1e-3


def test_a_number_stands_for_every_sample(rests, x64):
    net, found = rests
    rest = hp.settle(net, X, LABELS, PHASES["complex nudges"][2], solver=hp.Picard())
    for mine, reference in zip(rest.state, found["Picard", "complex nudges"].state, strict=True):
        assert mine.shape == (BATCH, *reference.shape[2:])
        np.testing.assert_allclose(mine, reference[2], rtol=0, atol=1e-9)


def test_one_hot_rows_are_the_same_targets_as_labels(rests, x64):
    net, found = rests
    rest = hp.settle(net, X, np.eye(3)[LABELS], nudges("real nudges"), solver=hp.Picard())
    np.testing.assert_array_equal(rest.state[1], found["Picard", "real nudges"].state[1])


def test_starting_at_rest_takes_one_step(rests, x64):
    net, found = rests
    rest = hp.settle(net, X, solver=hp.Picard(), state=tuple(map(jnp.asarray, found["Picard", "free"].state)))
    np.testing.assert_array_equal(rest.steps, 1)
    np.testing.assert_array_equal(rest.state[0], found["Picard", "free"].state[0])


@pytest.mark.parametrize("beta", [0.0, 0.2, 0.2 * np.exp(2j)], ids=["free", "real", "complex"])
def test_linear_network(x64, chain, beta):
    """Oracle: `numpy.linalg.solve` of `s_1 = c + W s_2, s_2 = Wᵀ s_1 + b − β W_o(W_oᵀ s_2 + b_o − y)`."""
    net = chain(SIZES, scale=0.4, seed=1, activation=hp.ReLU(), cost=hp.SquaredError(), dtype=np.float64)
    # Biases that keep every unit above its kink.
    net = jax.tree.map(lambda a: a + 3 if a.ndim == 1 else a, net)
    rest = hp.settle(net, X, LABELS, beta, throw=True)
    first, second = net.connections
    w, out = np.asarray(second.weight), np.asarray(net.readout.weight)
    matrix = np.eye(18, dtype=complex)
    matrix[:10, 10:] = -w
    matrix[10:, :10] = -w.T
    matrix[10:, 10:] += beta * out @ out.T
    clamped = X @ np.asarray(first.weight) + np.asarray(first.bias)
    error = np.asarray(net.readout.bias) - np.eye(3)[LABELS]
    right = np.concatenate([clamped, np.asarray(second.bias) - beta * error @ out.T], 1)
    exact = np.linalg.solve(matrix, right.T).T
    assert exact.real.min() > 0.5
    np.testing.assert_allclose(rest.state[0], exact[:, :10], rtol=0, atol=1e-9)
    np.testing.assert_allclose(rest.state[1], exact[:, 10:], rtol=0, atol=1e-9)


def single_unit(weight):
    """One unit driven by 1 and read out with `weight`: it rests where `s = 1 − βw(ws − y)`."""
    return hp.LayeredNetwork(
        (hp.Dense(jnp.ones((1, 1)), jnp.zeros(1)),),
        hp.Readout(jnp.full((1, 1), weight), jnp.zeros(1)),
        hp.ReLU(),
        hp.SquaredError(),
    )


def test_single_unit(x64):
    """Closed form: `s = (1 + βwy)/(1 + βw²)`, with y = 1: the label 0 of one class."""
    w, betas = 1.5, np.array([[0.3 + 0.1j], [0.3j], [-0.2 + 0j]])
    rest = hp.settle(single_unit(w), np.ones((1, 1)), np.zeros(1, np.int32), betas, throw=True)
    np.testing.assert_allclose(rest.state[0][..., 0], (1 + betas * w) / (1 + betas * w**2), rtol=1e-10)


def test_two_cycle_of_a_single_unit(x64):
    """Closed form: for βw² = 2 updates alternate between 0 and 1 + βw; damped by ½ each contracts by |(1 − 2)/2|."""
    w = np.sqrt(2)
    net, x, y, beta = single_unit(w), np.ones((1, 1)), np.zeros(1, np.int32), 1.0
    for solver in (hp.Picard(), hp.Alternating()):
        rest = hp.settle(net, x, y, beta, solver=solver)
        assert rest.status[0] == hp.Status.two_cycle and rest.steps[0] < 20
        np.testing.assert_allclose(rest.residual[0], 1 + w, rtol=1e-12)
        assert np.isclose(float(rest.state[0][0, 0]), [0, 1 + w], rtol=1e-12, atol=0).any()
    for solver in (hp.Picard(damping=0.5), hp.Anderson()):
        rest = hp.settle(net, x, y, beta, solver=solver, throw=True)
        np.testing.assert_allclose(rest.state[0], (1 + w) / 3, rtol=1e-10)

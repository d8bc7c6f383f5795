"""Oracle: numbers computed with the published implementation of P1 (see tests/fixtures/README.md)."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.experiments.reproduce.toy import fc2, relative_error, toy_network

FIXTURE = Path(__file__).parents[1] / "fixtures" / "p1_toy_f64.npz"
CASES = [(n, beta) for n in (1, 2, 4, 6, 10, 24) for beta in (0.001, 0.01, 0.1, 0.5)]
# The fixture takes 100 synchronous steps at each point, ours settle to 1e-13; both are far below the asserted 1e-6.
SOLVER = hp.Alternating(tolerance=1e-13)


@pytest.fixture
def toy(x64):
    """The published toy network 6-4-4-4, its input and target."""
    numbers = np.load(FIXTURE)

    def layer(name):
        return jnp.asarray(numbers[f"params/{name}/w"]), jnp.asarray(numbers[f"params/{name}/b"])

    net = hp.LayeredNetwork(
        connections=(hp.Dense(*layer("fc_1")), hp.Dense(*layer("fc_2"))),
        readout=hp.Readout(*layer("fc_3")),
        activation=hp.Sigmoid(),
        cost=hp.CrossEntropy(),
    )
    return net, jnp.asarray(numbers["x"]), jnp.asarray(numbers["y"]), numbers


def published_gradient(net, numbers, prefix):
    """The fixture's gradient as a pytree of the network's type."""

    def layer(name):
        return jnp.asarray(numbers[f"{prefix}/{name}/w"]), jnp.asarray(numbers[f"{prefix}/{name}/b"])

    return hp.LayeredNetwork(
        (hp.Dense(*layer("fc_1")), hp.Dense(*layer("fc_2"))), hp.Readout(*layer("fc_3")), net.activation, net.cost
    )


@pytest.mark.parametrize(
    "solver", [SOLVER, hp.Anderson(tolerance=1e-13), hp.Picard(tolerance=1e-13)], ids=lambda s: type(s).__name__
)
def test_free_states(toy, solver):
    net, x, _, numbers = toy
    rest = hp.settle(net, x, solver=solver, throw=True)
    for i, state in enumerate(rest.state):
        np.testing.assert_allclose(state, numbers[f"free_state/{i}"], atol=1e-6, rtol=0)


def test_loss_and_logits(toy):
    net, x, y, numbers = toy
    estimate = hp.Implicit(solver=SOLVER)(net, x, y)
    np.testing.assert_allclose(estimate.logits, numbers["logits"], atol=1e-6)
    np.testing.assert_allclose(estimate.loss, numbers["loss"], atol=1e-6)


@pytest.mark.parametrize("k", range(4))
@pytest.mark.parametrize("beta", [0.001, 0.01, 0.1, 0.5])
def test_nudged_states(toy, beta, k):
    net, x, y, numbers = toy
    nudge = jnp.asarray(beta * np.exp(2j * np.pi * k / 4))
    rest = hp.settle(net, x, y, nudge, solver=hp.Anderson(tolerance=1e-13), throw=True)
    for i, state in enumerate(rest.state):
        np.testing.assert_allclose(state, numbers[f"nudged_state/N4/beta{beta}/k{k}/{i}"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("points", "beta"), CASES)
def test_gradients_of_every_case(toy, points, beta):
    net, x, y, numbers = toy
    if points == 1:
        estimator = hp.OneSided(beta, solver=SOLVER)
    else:
        estimator = hp.Holomorphic(points, beta, solver=SOLVER, nudged_solver=SOLVER)
    estimate = estimator(net, x, y)
    published = published_gradient(net, numbers, f"grad_hep/N{points}/beta{beta}")
    agreement = hp.alignment(estimate.gradient, published)
    assert all(a.relative_error < 1e-6 for a in agreement.parameters.values()), agreement.parameters
    # The published error of the estimator itself is reproduced, too, where it is not rounding.
    exact = hp.alignment(estimate.gradient, published_gradient(net, numbers, "grad_bp")).total
    np.testing.assert_allclose(exact.relative_error, numbers[f"relerr/N{points}/beta{beta}"], rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(("points", "beta"), CASES)
def test_single_precision_errs_as_the_published_one(points, beta):
    """Oracle: the error of the published implementation in float32, by its own time steps.

    Where the bias of the estimator is all of it, to 1 %. Rounding adds at most 1.2e-7/β there; as it is a matter of
    luck, and of the machine, 2.5 times that is allowed.
    """
    single, double = (np.load(FIXTURE.with_name(f"p1_toy_{kind}.npz")) for kind in ("f32", "f64"))
    net, x, y = toy_network(np.float32)
    steps = hp.TimeSteps(100)
    if points == 1:
        estimator = hp.OneSided(beta, solver=steps, unsettled="keep")
    else:
        estimator = hp.Holomorphic(points, beta, solver=steps, unsettled="keep")
    name, truth = f"grad_hep/N{points}/beta{beta}/fc_2/w", double["grad_bp/fc_2/w"]
    published, bias = (relative_error(numbers[name].astype(np.float64), truth) for numbers in (single, double))
    ours = relative_error(fc2(estimator(net, x, y).gradient), truth)
    if bias > 1e-3:
        assert ours == pytest.approx(published, rel=0.01)
    else:
        assert published < bias + 1.3e-7 / beta
        assert ours < bias + 3e-7 / beta


@pytest.mark.parametrize("reference", [hp.Implicit(solver=SOLVER), hp.Unrolled(steps=100, solver=SOLVER)])
def test_exact_references_are_backpropagation(toy, reference):
    net, x, y, numbers = toy
    agreement = hp.alignment(reference(net, x, y).gradient, published_gradient(net, numbers, "grad_bp"))
    assert all(a.relative_error < 1e-6 for a in agreement.parameters.values()), agreement.parameters

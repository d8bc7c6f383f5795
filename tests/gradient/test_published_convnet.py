"""Oracle: numbers of P1's published implementation for a convolutional network (see tests/fixtures/README.md)."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

FIXTURE = Path(__file__).parents[1] / "fixtures" / "p1_cnn_f64.npz"
SOLVER = hp.Anderson(tolerance=1e-12)
LAYERS = ("conv_1", "conv_2", "conv_3", "fc_4")


@pytest.fixture
def published(x64):
    """The network 8-16-16 on 32×32×3 with softmax pooling, its inputs, targets and numbers."""
    numbers = np.load(FIXTURE)

    def conv(name, size, padding):
        weight, bias = (jnp.asarray(numbers[f"params/{name}/{part}"]) for part in "wb")
        return hp.Conv(weight, bias, (size, size), padding=padding, pooling=hp.SoftmaxPooling())

    net = hp.LayeredNetwork(
        (conv("conv_1", 32, "SAME"), conv("conv_2", 16, "SAME"), conv("conv_3", 8, "VALID")),
        hp.Readout(*(jnp.asarray(numbers[f"params/fc_4/{part}"]) for part in "wb")),
        hp.DoubleSilu(),
        hp.CrossEntropy(),
    )
    return net, jnp.asarray(numbers["x"]), jnp.asarray(numbers["y"]), numbers


def relative_errors(gradient, numbers, prefix):
    parts = [*gradient.connections, gradient.readout]
    for name, part in zip(LAYERS, parts, strict=True):
        for letter, found in (("w", part.weight), ("b", part.bias)):
            exact = numbers[f"{prefix}/{name}/{letter}"]
            yield np.linalg.norm(found - exact) / np.linalg.norm(exact)


def test_free_states(published):
    net, x, _, numbers = published
    rest = hp.settle(net, x, solver=SOLVER, throw=True)
    for i, state in enumerate(rest.state):
        np.testing.assert_allclose(state, numbers[f"free_state/{i}"], atol=1e-10)


def test_loss_and_exact_gradient(published):
    net, x, y, numbers = published
    exact = hp.Implicit(solver=SOLVER)(net, x, y)
    np.testing.assert_allclose(exact.loss, numbers["loss"], rtol=1e-10)
    np.testing.assert_allclose(exact.logits, numbers["logits"], atol=1e-10)
    # Backpropagation through 200 steps from rest.
    assert max(relative_errors(exact.gradient, numbers, "grad_bp")) < 1e-10


@pytest.mark.parametrize("points", [2, 4])
def test_gradients_on_the_circle(published, points):
    net, x, y, numbers = published
    estimate = hp.Holomorphic(points, 1.0, solver=SOLVER)(net, x, y)
    assert max(relative_errors(estimate.gradient, numbers, f"grad_hep/N{points}/beta1.0")) < 1e-9


def test_one_sided(published):
    net, x, y, numbers = published
    estimate = hp.OneSided(1.0, solver=SOLVER)(net, x, y)
    # The published form leaves the readout to the nudged phase as ours does.
    assert max(relative_errors(estimate.gradient, numbers, "grad_hep/N1/beta1.0")) < 1e-9

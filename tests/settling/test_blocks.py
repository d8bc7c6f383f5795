"""Blocks that a user names. Oracles: the same network as one block, its residual in numpy, and the message."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

WIDTHS, CLASSES, BATCH = (4, 5, 3), 2, 6
X = np.random.default_rng(1).uniform(size=(BATCH, WIDTHS[0]))
LABELS = np.arange(BATCH, dtype=np.int32) % CLASSES


class Triangle(hp.AbstractNetwork):
    """Three layers, each driven by the other two: no two of them may be updated at once from old values."""

    weights: dict[str, jax.Array]
    readout: hp.Readout
    named: Any
    activation: hp.AbstractActivation = hp.Tanh()
    cost: hp.AbstractCost = hp.CrossEntropy()
    input_shape: ClassVar = (WIDTHS[0],)
    layer_shapes: ClassVar = tuple((n,) for n in WIDTHS)
    classes: ClassVar = CLASSES

    @property
    def blocks(self):
        return self.named

    def drive(self, c, s):
        w, (a, b, d) = self.weights, s
        return c + b @ w["ba"] + d @ w["da"], a @ w["ab"] + d @ w["db"], a @ w["ad"] + b @ w["bd"]


def triangle(blocks) -> Triangle:
    rng = np.random.default_rng(0)
    size = dict(zip("abd", WIDTHS, strict=True))
    weights = {
        pair: jnp.asarray(0.25 * rng.normal(size=(size[pair[0]], size[pair[1]])))
        for pair in ("ab", "ad", "ba", "bd", "da", "db")
    }
    out = jnp.asarray(rng.normal(size=(WIDTHS[-1], CLASSES)))
    return Triangle(weights, hp.Readout(out, jnp.zeros(CLASSES)), blocks)


def numpy_residual(net: Triangle, state) -> np.ndarray:
    """`‖σ(a(s)) − s‖` per sample of the free phase, in numpy."""
    w = {name: np.asarray(value) for name, value in net.weights.items()}
    a, b, d = (np.asarray(layer) for layer in state)
    drives = X + b @ w["ba"] + d @ w["da"], a @ w["ab"] + d @ w["db"], a @ w["ad"] + b @ w["bd"]
    return np.sqrt(sum(((np.tanh(p) - s) ** 2).sum(-1) for p, s in zip(drives, (a, b, d), strict=True)))


@pytest.mark.parametrize("solver", [hp.Alternating(), hp.Anderson()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("blocks", [((0,), (1, 2)), ((2,), (0,), (1,)), [[1], [0], [2]]], ids=str)
def test_any_blocks_lead_to_the_same_rest_state(x64, blocks, solver):
    """Two blocks, three, and lists in place of tuples; free and complex nudges."""
    for arguments in ((), (LABELS, 0.3j)):
        reference = hp.settle(triangle(((0, 1, 2),)), X, *arguments, solver=hp.Picard(), throw=True)
        rest = hp.settle(triangle(blocks), X, *arguments, solver=solver, throw=True)
        for mine, theirs in zip(rest.state, reference.state, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)


def test_residual_of_two_and_of_three_blocks(x64):
    """With two it is that of the state returned; with three the last sweep's change, which ends as small.

    After three sweeps that change is of the size of the residual, and not the residual.
    """
    for blocks, exact in ((((0,), (1, 2)), True), (((0,), (1,), (2,)), False)):
        net = triangle(blocks)
        early = hp.settle(net, X, solver=hp.Alternating(max_steps=3))
        residual = numpy_residual(net, early.state)
        assert np.allclose(early.residual, residual, rtol=1e-10, atol=0) == exact
        np.testing.assert_allclose(np.log(early.residual), np.log(residual), atol=np.log(3))
        rest = hp.settle(net, X, solver=hp.Alternating(), throw=True)
        assert numpy_residual(net, rest.state).max() < 3 * np.sqrt(sum(WIDTHS)) * 1e-11


@pytest.mark.parametrize(
    "blocks",
    [((0, 1),), ((0, 1), (1, 2)), ((0, 1, 2), ()), ((1, 2), (3,)), ((-1, 0), (1,)), (), (0, 1, 2), ((0, 1.0), (2,))],
    ids=str,
)
def test_blocks_that_are_no_partition_are_refused(x64, blocks):
    net = triangle(blocks)
    line = f"blocks must be tuples that hold each layer (0, 1, 2) exactly once, none of them empty, got {blocks}"
    for call in (lambda: hp.settle(net, X), lambda: hp.Implicit()(net, X, LABELS)):
        with pytest.raises(ValueError) as raised:
            call()
        assert str(raised.value) == line

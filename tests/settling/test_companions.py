"""A sample's result does not depend on its companions in the batch. Oracle: the same sample settled alone.

From 32 samples on (here 4 nudges of 20) the solver goes on with the few that are left in a smaller batch.
"""

import jax
import numpy as np
import pytest

import holoprop as hp

SIZES, BATCH = (6, 10, 8, 3), 20
BETAS = np.array([0.0, 0.1, -0.1, 0.25])
LABELS = np.arange(BATCH, dtype=np.int32) % 3
X = np.random.default_rng(3).uniform(size=(BATCH, SIZES[0]))
# Weights so large that a few samples need many times the steps of most, and some never settle synchronously.
SCALE, SEED = 4.0, 0


@pytest.mark.parametrize("solver", [hp.Picard(), hp.Anderson()], ids=lambda s: type(s).__name__)
def test_alone_as_in_a_large_batch(x64, chain, solver):
    net = chain(SIZES, scale=SCALE, seed=SEED, dtype=np.float64)
    betas = np.repeat(BETAS[:, None], BATCH, 1)
    together = jax.tree.map(np.asarray, hp.settle(net, X, LABELS, betas, solver=solver))
    # The slowest lanes are those that the smaller batch finished.
    slowest = np.argsort(-together.steps, axis=None)[:6]
    lanes = [np.unravel_index(lane, together.steps.shape) for lane in [*slowest, 0, 17, 33, 79]]
    assert together.steps.max() > 2 * np.median(together.steps)
    for point, sample in lanes:
        alone = hp.settle(
            net, X[sample : sample + 1], LABELS[sample : sample + 1], betas[point : point + 1, :1], solver=solver
        )
        here = jax.tree.map(lambda leaf, p=point, i=sample: leaf[p, i], together)
        assert (int(alone.status[0, 0]), int(alone.steps[0, 0])) == (here.status, here.steps)
        # Other batch shapes round differently: 1e-16 a step, amplified where a sample barely contracts.
        np.testing.assert_allclose(alone.residual[0, 0], here.residual, rtol=1e-6, atol=np.sqrt(18) * 1e-11)
        for mine, theirs in zip(alone.state, here.state, strict=True):
            np.testing.assert_allclose(mine[0, 0], theirs, rtol=0, atol=1e-9)
    if isinstance(solver, hp.Picard):
        assert {hp.Status.settled, hp.Status.two_cycle} <= set(
            together.status[tuple(zip(*lanes, strict=True))].tolist()
        )
    else:
        assert (together.status == hp.Status.settled).all()


def test_samples_keep_their_places(x64, chain, residual):
    """Oracle: numpy's residual of every sample with its own input, target and nudge."""
    net = chain(SIZES, scale=SCALE, seed=SEED, dtype=np.float64)
    betas = np.repeat(BETAS[:, None], BATCH, 1)
    rest = hp.settle(net, X, LABELS, betas, solver=hp.Anderson())
    np.testing.assert_allclose(rest.residual, residual(net, X, rest.state, LABELS, betas), rtol=0, atol=1e-14)
    assert rest.residual.max() <= np.sqrt(18) * 1e-11

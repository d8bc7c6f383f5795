"""Evaluation. Oracle: the readout, cross-entropy and counts in numpy, from `settle`'s states."""

import jax
import numpy as np
import pytest

import holoprop as hp


def by_hand(net, x, y, solver):
    """Logits, mean cross-entropy and accuracy in float64."""
    last = np.asarray(hp.settle(net, x, solver=solver).state[-1], np.float64)
    logits = last @ np.asarray(net.readout.weight, np.float64) + np.asarray(net.readout.bias, np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]
    return logits, losses.mean(), (logits.argmax(1) == y).mean()


@pytest.mark.parametrize("batch_size", [8, 23, 256])
def test_every_sample_once(problem, batch_size):
    """The last batch is incomplete (23 = 8 + 8 + 7), exactly full, or the only one."""
    x, y = problem.train
    result = hp.evaluate(problem.net, x, y, solver=hp.Picard(), batch_size=batch_size)
    logits, loss, accuracy = by_hand(problem.net, x, y, hp.Picard())
    assert result.logits.shape == (23, 3)
    assert result.residual.shape == result.steps.shape == result.status.shape == (23,)
    np.testing.assert_allclose(result.logits, logits, atol=1e-5)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(result.accuracy, accuracy, rtol=1e-12)
    assert result.unsettled_share == 0 and 0 < accuracy < 1


def test_the_default_solver_finds_the_same(problem):
    x, y = problem.train
    mine, reference = hp.evaluate(problem.net, x, y), hp.evaluate(problem.net, x, y, solver=hp.Picard())
    np.testing.assert_allclose(mine.logits, reference.logits, atol=2e-5)
    assert mine.accuracy == reference.accuracy


def test_nothing_is_masked(problem):
    """After one step nothing has settled; loss and accuracy are of the states as they stand."""
    x, y = problem.train
    solver = hp.Picard(max_steps=1)
    result = hp.evaluate(problem.net, x, y, solver=solver)
    _, loss, accuracy = by_hand(problem.net, x, y, solver)
    assert result.unsettled_share == 1
    np.testing.assert_array_equal(result.status, hp.Status.max_steps)
    np.testing.assert_allclose([result.loss, result.accuracy], [loss, accuracy], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:5]), "^x holds 23 samples but y holds 5$"),
        (lambda x, y: (x[:, :5], y), r"^x must have shape \(batch, 6\), got \(1, 5\)$"),
        (lambda x, y: (x[:0], y[:0]), "^x holds no sample"),
        (lambda x, y: (x, np.eye(3)[y]), r"^labels must be integers of shape \(n,\), got float64 of shape \(23, 3\)$"),
        (lambda x, y: (x, y.astype(float)), r"^labels must be integers of shape \(n,\), got float64 of shape \(23,\)$"),
    ],
    ids=["lengths", "width", "empty", "one-hot", "float"],
)
def test_data_that_do_not_fit(problem, change, message):
    with pytest.raises(ValueError, match=message):
        hp.evaluate(problem.net, *change(*problem.train))


def test_batch_size_must_be_positive(problem):
    with pytest.raises(ValueError, match=r"^batch_size must be at least 1, got 0$"):
        hp.evaluate(problem.net, *problem.train, batch_size=0)


def test_time_steps_have_no_tolerance_to_miss():
    """Such states are `not_applicable`, neither settled nor unsettled: as in training, none counts as unsettled."""
    net = hp.mlp(4, (5,), 3, key=jax.random.key(0))
    x, y = np.zeros((6, 4), np.float32), np.zeros(6, np.int32)
    result = hp.evaluate(net, x, y, solver=hp.TimeSteps(5))
    np.testing.assert_array_equal(result.status, hp.Status.not_applicable)
    assert result.unsettled_share == 0

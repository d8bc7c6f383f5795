"""`fit`. Oracle: the loop of steps written out by hand, with the order and the keys that the documentation promises."""

import jax
import numpy as np
import pytest

import holoprop as hp
from holoprop.train.step import initial_train_state, train_step


class Listener:
    """A display that takes notes."""

    def __init__(self):
        self.calls = []

    def begin(self, epochs, steps_per_epoch, step):
        self.calls.append(("begin", epochs, steps_per_epoch, step))

    def step(self, record):
        self.calls.append(("step", record["step"]))

    def epoch(self, record):
        self.calls.append(("epoch", record["epoch"]))

    def end(self):
        self.calls.append(("end",))


def by_hand(problem, epochs, seed, estimator, optimizer, augment):
    """Epoch e in the order of `default_rng([seed, e])`, step t with the t-th key folded from the seed's."""
    x, y = problem.train
    state = initial_train_state(problem.net, estimator, optimizer, problem.batch_size)
    step, metrics = 0, []
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(x))
        for i in range(problem.steps_per_epoch):
            index = order[i * problem.batch_size : (i + 1) * problem.batch_size]
            key = jax.random.fold_in(jax.random.key(seed), step)
            state, seen = train_step(state, x[index], y[index], key, estimator, optimizer, augment)
            metrics.append(seen)
            step += 1
    return state, metrics


@pytest.mark.parametrize("augmented", [False, True])
def test_fit_is_the_documented_loop(problem, assert_identical, augmented):
    """Bit for bit, with noise that depends on the keys; the last three samples of an epoch are left out."""
    augment = problem.augment if augmented else None
    result = problem.fit(estimator=problem.noisy, optimizer=problem.adam, epochs=3, seed=5, augment=augment)
    state, metrics = by_hand(problem, 3, 5, problem.noisy, problem.adam, augment)
    assert result.step == 3 * problem.steps_per_epoch == 12
    assert_identical(
        (result.net, result.optimizer_state, result.memory), (state.net, state.optimizer_state, state.memory)
    )
    losses = np.array([float(m.loss) for m in metrics]).reshape(3, -1)
    np.testing.assert_allclose([record["train_loss"] for record in result.history], losses.mean(1), rtol=1e-6)


def test_files_and_records_do_not_change_the_result(problem, tmp_path, assert_identical):
    plain = problem.fit(epochs=2)
    watched = problem.fit(
        epochs=2, folder=tmp_path, test=problem.test, log_every=1, checkpoint_every=1, progress=Listener()
    )
    assert_identical(plain.net, watched.net)
    assert_identical(plain.net, problem.fit(epochs=2, seed=0).net)
    other = problem.fit(epochs=2, seed=1).net
    assert (np.asarray(other.readout.weight) != np.asarray(plain.net.readout.weight)).mean() > 0.9


def test_it_learns(problem):
    """Which of the first three inputs is largest, from 20 samples: the loss falls far below chance, log 3."""
    history = problem.fit(optimizer=problem.adam, estimator=problem.noisy, epochs=250).history
    assert history[0]["train_loss"] > 0.9 > 0.5 > history[-1]["train_loss"]


def test_records(problem, tmp_path, records):
    result = problem.fit(epochs=2, folder=tmp_path, test=problem.test, log_every=3)
    written = records(tmp_path)
    # Every third step, and the last of an epoch.
    assert [(r["kind"], r["step"]) for r in written] == [
        ("step", 3),
        ("step", 4),
        ("epoch", 4),
        ("step", 6),
        ("step", 8),
        ("epoch", 8),
    ]
    assert [r["epoch"] for r in written] == [1, 1, 1, 2, 2, 2]
    assert [r for r in written if r["kind"] == "epoch"] == result.history
    evaluation = hp.evaluate(result.net, *problem.test, solver=hp.Picard())
    last = result.history[-1]
    assert (last["test_loss"], last["test_accuracy"], last["test_unsettled"]) == (
        evaluation.loss,
        evaluation.accuracy,
        evaluation.unsettled_share,
    )
    assert all(r["kept"] == problem.batch_size and r["moved"] for r in written if r["kind"] == "step")
    seconds = [r["seconds"] for r in written[:3]]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_the_display_is_told_of_everything(problem):
    listener = Listener()
    problem.fit(epochs=2, log_every=3, progress=listener)
    assert listener.calls == [
        ("begin", 2, 4, 0),
        ("step", 3),
        ("step", 4),
        ("epoch", 1),
        ("step", 6),
        ("step", 8),
        ("epoch", 2),
        ("end",),
    ]


def test_the_display_is_told_of_an_end_in_failure(problem):
    class Failing(Listener):
        def epoch(self, record):
            raise RuntimeError("the display broke")

    listener = Failing()
    with pytest.raises(RuntimeError, match="the display broke"):
        problem.fit(progress=listener)
    assert listener.calls[-1] == ("end",)


def test_pixels_of_eight_bits(problem, assert_identical):
    """They are the numbers they are: nothing is rescaled."""
    x, y = problem.train
    whole = (x * 3).astype(np.uint8)
    assert_identical(problem.fit(train=(whole, y)).net, problem.fit(train=(whole.astype(np.float32), y)).net)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: {"epochs": 0}, "epochs must be at least 1, got 0"),
        (lambda x, y: {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (lambda x, y: {"log_every": 0}, "log_every must be at least 1, got 0"),
        (lambda x, y: {"checkpoint_every": 0}, "checkpoint_every must be at least 1, got 0"),
        (lambda x, y: {"seed": -1}, "seed must not be negative, got -1"),
        (lambda x, y: {"batch_size": 24}, "batch_size must be at most the number of samples, got 24 for 23 samples"),
        (lambda x, y: {"train": (x, y[:5])}, "x holds 23 samples but y holds 5"),
        (lambda x, y: {"train": (x[:, :4], y)}, r"x must have shape \(batch, 6\), got \(1, 4\)"),
        (lambda x, y: {"train": (x[:0], y[:0])}, "x holds no sample"),
        (lambda x, y: {"train": (x, y.astype(float))}, r"labels must be integers of shape \(n,\), got float64"),
        (lambda x, y: {"train": (x, y + 1)}, "labels must be in 0…2, got 1…3"),
        (lambda x, y: {"train": (x, y - 1)}, "labels must be in 0…2, got -1…1"),
        (lambda x, y: {"train": (np.where(x > 0.9, np.nan, x), y)}, r"inputs must be finite: \d+ values are NaN"),
        (lambda x, y: {"test": (x, y + 1)}, "labels must be in 0…2, got 1…3"),
        (lambda x, y: {"test": (x[:0], y[:0])}, "x holds no sample"),
    ],
)
def test_bad_arguments(problem, tmp_path, change, message):
    """One line, before any file is written."""
    with pytest.raises(ValueError, match="^" + message) as raised:
        problem.fit(folder=tmp_path / "run", **change(*problem.train))
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()


def test_an_estimator_that_does_not_fit_the_network(problem, tmp_path):
    net = hp.LayeredNetwork(problem.net.connections, problem.net.readout, hp.ReLU(), hp.CrossEntropy())
    with pytest.raises(ValueError, match=r"^ReLU is not holomorphic, so a circle of 4 points"):
        problem.fit(net=net, estimator=hp.Holomorphic(4), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()

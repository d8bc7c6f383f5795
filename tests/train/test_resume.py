"""Stopping and going on.

Oracle: the run that was never interrupted, bit for bit, with Adam, noise, a memory, and inputs moved at random.
"""

import os

import jax.numpy as jnp
import pytest

import holoprop as hp
from holoprop.train import bookkeeping


class Killed(Exception):
    """Stands for the end of the process: nothing after it is run."""


class Killer:
    """A display that ends the run when it is shown step `at` or a later one."""

    def __init__(self, at):
        self.at = at

    def begin(self, epochs, steps_per_epoch, step):
        self.begun = (epochs, steps_per_epoch, step)

    def step(self, record):
        if record["step"] >= self.at:
            raise Killed

    def epoch(self, record):
        pass

    def end(self):
        pass


@pytest.fixture(scope="module")
def run(problem):
    """Runs four epochs of four steps, with records and checkpoints in the middle of epochs."""

    def call(folder, **options):
        defaults = {"estimator": problem.noisy, "optimizer": problem.adam, "test": problem.test, "seed": 3, "epochs": 4}
        defaults |= {"augment": problem.augment, "log_every": 2, "checkpoint_every": 3}
        return problem.fit(**{**defaults, "folder": folder, **options})

    return call


@pytest.fixture(scope="module")
def straight(run, tmp_path_factory):
    """The uninterrupted run and its folder."""
    folder = tmp_path_factory.mktemp("straight")
    return run(folder), folder


@pytest.fixture
def assert_same_run(straight, records, timeless, assert_identical):
    """Compares a run with the uninterrupted one: network, optimiser, memory, history, metrics."""
    reference, folder = straight

    def compare(result, other_folder):
        assert_identical(
            (result.net, result.optimizer_state, result.memory),
            (reference.net, reference.optimizer_state, reference.memory),
        )
        assert result.step == reference.step == 16 and float(result.memory) == 16
        assert timeless(result.history) == timeless(reference.history)
        assert timeless(records(other_folder)) == timeless(records(folder))
        assert [record for record in records(other_folder) if record["kind"] == "epoch"] == result.history

    return compare


def test_the_same_run_twice_is_the_same(run, tmp_path, assert_same_run):
    assert_same_run(run(tmp_path), tmp_path)


def test_after_two_of_four_epochs(run, tmp_path, assert_same_run):
    run(tmp_path, epochs=2)
    assert_same_run(run(tmp_path, resume=True), tmp_path)


@pytest.mark.parametrize("at", [4, 6, 7, 11, 13, 16])
def test_after_a_kill(run, tmp_path, assert_same_run, at):
    """In the middle of epochs, at their ends, and at the very step of a checkpoint (6) before it is written."""
    with pytest.raises(Killed):
        run(tmp_path, progress=Killer(at))
    assert_same_run(run(tmp_path, resume=True), tmp_path)


def test_after_several_kills(run, tmp_path, assert_same_run):
    for resume, at in enumerate((5, 7, 8, 14)):
        with pytest.raises(Killed):
            run(tmp_path, resume=bool(resume), progress=Killer(at))
    assert_same_run(run(tmp_path, resume=True), tmp_path)


def test_after_a_line_cut_short(run, tmp_path, assert_same_run):
    """The process may die while it writes a record."""
    with pytest.raises(Killed):
        run(tmp_path, progress=Killer(11))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    assert_same_run(run(tmp_path, resume=True), tmp_path)


def test_after_the_disk_was_full_at_the_end_of_an_epoch(run, tmp_path, monkeypatch, problem, records, timeless):
    """The epoch's record is written, its checkpoint is not: going on must not record the epoch twice."""
    options = {"epochs": 2, "checkpoint_every": problem.steps_per_epoch}
    reference = run(tmp_path / "whole", **options)
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        # The empty metrics file; the checkpoint of step 4, before the evaluation; and the one after it.
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path / "cut", **options)
    monkeypatch.undo()
    result = run(tmp_path / "cut", resume=True, **options)
    assert timeless(result.history) == timeless(reference.history)
    assert timeless(records(tmp_path / "cut")) == timeless(records(tmp_path / "whole"))


@pytest.mark.parametrize("checkpoint_every", [3, 4, None])
def test_after_a_kill_during_the_evaluation(run, tmp_path, monkeypatch, records, timeless, checkpoint_every):
    """The epoch's steps are not lost, nor are its means and the evaluation, which is made up for."""
    options = {"epochs": 2, "checkpoint_every": checkpoint_every}
    reference = run(tmp_path / "whole", **options)

    def killed(*arguments, **more):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(bookkeeping, "evaluate", killed)
        run(tmp_path / "cut", **options)
    listener = Killer(at=99)
    result = run(tmp_path / "cut", resume=True, progress=listener, **options)
    assert listener.begun == (2, 4, 4)
    assert timeless(result.history) == timeless(reference.history)
    assert timeless(records(tmp_path / "cut")) == timeless(records(tmp_path / "whole"))


def test_a_fresh_run_leaves_nothing_of_an_old_one(run, problem, tmp_path, assert_same_run):
    """Killed before its first checkpoint it must not be resumed as the old one, whose seed may be the same."""
    run(tmp_path, estimator=problem.estimator, epochs=1)
    with pytest.raises(Killed):
        run(tmp_path, progress=Killer(2))
    with pytest.raises(hp.CheckpointError, match="there is no checkpoint"):
        run(tmp_path, resume=True)
    assert_same_run(run(tmp_path), tmp_path)


def test_a_finished_run_is_left_as_it_is(straight, run, tmp_path, assert_same_run):
    _, folder = straight
    for name in ("metrics.jsonl", "checkpoint.eqx"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert_same_run(run(tmp_path, resume=True), tmp_path)
    assert_same_run(run(tmp_path, resume=True, epochs=2), tmp_path)
    assert (tmp_path / "checkpoint.eqx").read_bytes() == (folder / "checkpoint.eqx").read_bytes()


def test_what_must_be_the_same(straight, run, problem, tmp_path):
    """Nothing is written when a run cannot go on."""
    _, folder = straight
    (tmp_path / "checkpoint.eqx").write_bytes((folder / "checkpoint.eqx").read_bytes())
    x, y = problem.train
    first, _ = problem.net.connections
    wide = hp.Dense(jnp.zeros((8, 8), jnp.float32), jnp.zeros(8, jnp.float32))
    readout = hp.Readout(jnp.zeros((8, 3), jnp.float32), problem.net.readout.bias)
    wider = hp.LayeredNetwork((first, wide), readout, problem.net.activation, problem.net.cost)
    for options, message in [
        ({"seed": 4}, "belongs to another run: seed is 3 there but 4 here"),
        ({"batch_size": 4}, "belongs to another run: batch_size is 5 there but 4 here"),
        ({"train": (x[:22], y[:22])}, "belongs to another run: samples is 23 there but 22 here"),
        ({"optimizer": problem.sgd}, "belongs to another configuration: number of arrays is"),
        (
            {"net": wider},
            r"another configuration: net.connections\[1\].weight is float32\[8, 5\] there but float32\[8, 8\] here",
        ),
    ]:
        with pytest.raises(hp.CheckpointError, match=message) as raised:
            run(tmp_path, resume=True, **options)
        assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.eqx"]


def test_nothing_to_resume(run, tmp_path):
    with pytest.raises(hp.CheckpointError, match=r"^there is no checkpoint at .*: start the run without resuming$"):
        run(tmp_path / "absent", resume=True)
    assert not (tmp_path / "absent").exists()
    with pytest.raises(ValueError, match=r"^resume needs a folder: pass the one the run was started with$"):
        run(None, resume=True)

"""Which checkpoints stay, and what a full disk leaves. Oracle: the checkpoint of each epoch, copied when it was new."""

import resource
import signal

import pytest

from holoprop.train.checkpoint import load_checkpoint
from holoprop.train.step import initial_train_state


class Copying:
    """A display that copies every epoch's checkpoint."""

    def __init__(self, folder):
        self.folder, self.accuracies = folder, []

    def begin(self, epochs, steps_per_epoch, step):
        pass

    def step(self, record):
        pass

    def epoch(self, record):
        self.accuracies.append(record["test_accuracy"])
        (self.folder / f"copy-{record['epoch']}").write_bytes((self.folder / "checkpoint.eqx").read_bytes())

    def end(self):
        pass


def test_the_best_epoch_and_the_last_few_stay(problem, tmp_path):
    copying = Copying(tmp_path)
    problem.fit(epochs=5, folder=tmp_path, test=problem.test, keep=2, progress=copying)
    names = sorted(path.name for path in tmp_path.glob("*.eqx"))
    assert names == ["best.eqx", "checkpoint-epoch-0004.eqx", "checkpoint-epoch-0005.eqx", "checkpoint.eqx"]
    best = 1 + copying.accuracies.index(max(copying.accuracies))
    copies = {epoch: (tmp_path / f"copy-{epoch}").read_bytes() for epoch in range(1, 6)}
    assert (tmp_path / "best.eqx").read_bytes() == copies[best]
    for epoch in (4, 5):
        assert (tmp_path / f"checkpoint-epoch-{epoch:04d}.eqx").read_bytes() == copies[epoch]
    # Stopped between an epoch's checkpoint and its copies, it makes up for them.
    (tmp_path / "checkpoint-epoch-0005.eqx").unlink()
    (tmp_path / "checkpoint-epoch-0003.eqx").write_bytes(copies[3])
    problem.fit(epochs=5, folder=tmp_path, test=problem.test, keep=2, resume=True)
    assert sorted(path.name for path in tmp_path.glob("*.eqx")) == names
    assert (tmp_path / "checkpoint-epoch-0005.eqx").read_bytes() == copies[5]
    # A run from the beginning takes a former one's away.
    problem.fit(epochs=1, folder=tmp_path)
    assert [path.name for path in tmp_path.glob("*.eqx")] == ["checkpoint.eqx"]


def test_a_full_disk_leaves_the_checkpoint_before(problem, tmp_path, monkeypatch):
    """The kernel refuses to let files grow, as a full disk would; the message says what is left and what to do."""
    problem.fit(epochs=1, folder=tmp_path)
    before = (tmp_path / "checkpoint.eqx").read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="the checkpoint before it is kept: make room") as full:
            problem.fit(epochs=2, folder=tmp_path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(tmp_path / "checkpoint.eqx") in str(full.value)
    assert (tmp_path / "checkpoint.eqx").read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))
    like = initial_train_state(problem.net, problem.estimator, problem.sgd, problem.batch_size)
    assert load_checkpoint(tmp_path / "checkpoint.eqx", like)[1]["epoch"] == 1

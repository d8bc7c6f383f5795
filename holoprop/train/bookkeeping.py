"""The books of a training run: steps and epochs counted, metrics added up and written, checkpoints saved and restored.

What is counted and what is saved are always of the same step, and a checkpoint is saved before the evaluation of an
epoch as well as after it, so that a run stopped anywhere goes on as if it had not been. Of several processes all read,
and the first one writes.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from holoprop.data.files import write_atomic
from holoprop.settling.rest import UnsettledError
from holoprop.settling.solver import AbstractSolver
from holoprop.train.arrays import Arrays
from holoprop.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from holoprop.train.devices import Devices
from holoprop.train.evaluation import evaluate
from holoprop.train.metrics import EpochMeans, MetricsFile
from holoprop.train.step import Prepare, StepMetrics, TrainState

CHECKPOINT, BEST = "checkpoint.eqx", "best.eqx"
"""The last state of a run, and that of its best epoch."""
KEPT = "checkpoint-epoch-"
"""How the names of checkpoints of single epochs begin, where several are kept."""
_FEW_CLASSES = 10
Examine = Callable[[Any], dict[str, float | None]]


class TrainingError(RuntimeError):
    """Training cannot go on: a loss, gradient or parameter is not finite. The last checkpoint, if any, is kept."""


class Bookkeeping:
    """Where a run stands, and its files in `folder`, if it has one.

    **Attributes:** `step`: steps taken; `epoch`: epochs that have ended; `history`: their records; `means`: of the
    epoch under way.
    """

    def __init__(
        self,
        folder: Path | None,
        config: dict[str, Any] | None,
        seed: int,
        samples: int,
        batch_size: int,
        *,
        strict: bool,
        keep: int = 1,
        devices: Devices = Devices(),
    ) -> None:
        """Stand at the beginning of a run.

        **Arguments:** `strict`: one sample that does not settle ends it; `keep`: how many epochs' checkpoints stay.
        """
        self.checkpoint = None if folder is None else folder / CHECKPOINT
        self.folder, self.config, self.steps_per_epoch = folder, config, samples // batch_size
        self.strict, self.keep, self.devices = strict, keep, devices
        self.writes = folder is not None and jax.process_index() == 0
        self.seed, self.samples, self.batch_size = seed, samples, batch_size
        self.step, self.epoch = 0, 0
        self.history: list[dict[str, Any]] = []
        self.means = EpochMeans()
        self.metrics = MetricsFile(None)
        self._resumed, self._saved = False, (0, -1)  # the step and epoch of the last checkpoint

    def restore(self, like: TrainState) -> TrainState:
        """Stand where the folder's checkpoint was saved, and return its state, shaped like `like`."""
        if self.checkpoint is None:
            raise ValueError("resume needs a folder: pass the one the run was started with")
        state, header = load_checkpoint(self.checkpoint, like)
        self.stand_at(header, self.checkpoint)
        return state

    def stand_at(self, header: dict[str, Any], path: Path) -> None:
        """Stand where a checkpoint, at `path`, says that it was saved.

        **Raises:** `CheckpointError` if it is of a run on other samples or in another order.
        """
        # The order of the samples depends on these three.
        for name in ("seed", "samples", "batch_size"):
            if header[name] != getattr(self, name):
                raise CheckpointError(
                    f"{path} belongs to another run: {name} is {header[name]} there but {getattr(self, name)} here"
                )
        self.step, self.epoch, self.history = header["step"], header["epoch"], header["history"]
        self.means = EpochMeans(**header["means"])
        self._resumed, self._saved = True, (self.step, self.epoch)

    def open_files(self) -> None:
        """Make the folder, and take from its files what does not belong to this run."""
        if not self.writes or self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._resumed:
            # Were a former run's left here, resuming this one before its first checkpoint would continue that one.
            for path in (self.folder / CHECKPOINT, self.folder / BEST, *self.folder.glob(f"{KEPT}*")):
                path.unlink(missing_ok=True)
        until = self.step if self._resumed else None
        self.metrics = MetricsFile(self.folder / "metrics.jsonl", keep_until=until, epochs=self.epoch)
        if self._resumed and self.history and self.history[-1]["step"] == self.step:
            # The run may have been stopped between this epoch's checkpoint and the copies of it.
            self._keep(self.history[-1])

    def take(self, fetched: list[tuple[int, dict[str, Any]]], seconds: float, *, write: bool) -> dict[str, Any] | None:
        """Add up the metrics of steps taken, as `fetched` by `fetch_metrics`; if so asked, write and return the last.

        **Raises:** `UnsettledError`, `TrainingError`, if some step was no good; nothing is then added or written.
        """
        for step, values in fetched:
            self._require_good(step, values)
        for _, values in fetched:
            self.means.add(self.batch_size, values)
        self.means.seconds += seconds
        if not fetched or not write:
            return None
        step, values = fetched[-1]
        record = {"kind": "step", "step": step, "epoch": self.epoch + 1, **values, "seconds": self.means.seconds}
        return self.metrics.write(record)

    def end_epoch(self, state: TrainState, test: "Test | None", examine: Examine | None = None) -> dict[str, Any]:
        """Evaluate, examine, record and save an epoch all of whose steps were taken."""
        record: dict[str, Any] = {"kind": "epoch", "epoch": self.epoch + 1, "step": self.step, **self.means.record()}
        if (test is not None or examine is not None) and self._saved != (self.step, self.epoch):
            # Evaluating may take long: whoever is stopped meanwhile goes on from here, and evaluates then.
            self.save(state)
        if test is not None:
            record |= test(state.net, self.devices)
        if examine is not None:
            record = {**examine(self.devices.local(state.net)), **record}
        record = self.metrics.write(record)
        self.history.append(record)
        self.epoch += 1
        self.means = EpochMeans()
        self.save(state)
        self._keep(record)
        return record

    def save(self, state: TrainState) -> None:
        """Write a checkpoint, all of whose numbers are of this very step.

        **Raises:** `OSError`, one line, if the file system does not take it; the checkpoint before it is then whole.
        """
        self.mark_saved()
        if self.writes and self.checkpoint is not None:
            write_checkpoint(self.checkpoint, self.devices.local(state), self.header())

    def mark_saved(self) -> None:
        """Remember that where the run stands is in a checkpoint."""
        self._saved = (self.step, self.epoch)

    def header(self) -> dict[str, Any]:
        """Return what a checkpoint says of where the run stands."""
        return {
            "config": self.config,
            "seed": self.seed,
            "samples": self.samples,
            "batch_size": self.batch_size,
            "step": self.step,
            "epoch": self.epoch,
            "history": self.history,
            "means": dataclasses.asdict(self.means),
        }

    def _keep(self, record: dict[str, Any]) -> None:
        """Keep the checkpoint just saved under other names: of the best epoch, and of one of the last few."""
        if not self.writes or self.checkpoint is None:
            return
        before = [each["test_accuracy"] for each in self.history[:-1] if each.get("test_accuracy") is not None]
        if record.get("test_accuracy") is not None and record["test_accuracy"] > max(before, default=-1.0):
            _copy(self.checkpoint, self.checkpoint.with_name(BEST))
        if self.keep > 1:
            names = [f"{KEPT}{epoch:04d}.eqx" for epoch in (self.epoch, self.epoch - self.keep)]
            _copy(self.checkpoint, self.checkpoint.with_name(names[0]))
            self.checkpoint.with_name(names[1]).unlink(missing_ok=True)

    def _require_good(self, step: int, values: dict[str, Any]) -> None:
        kept = self.checkpoint is not None and self.checkpoint.is_file()
        kept = "; the last good checkpoint is kept" if kept else ""
        if self.strict and values["unsettled"]:
            count = round(values["unsettled"] * self.batch_size)
            raise UnsettledError(
                f"step {step}: {count} of {self.batch_size} samples did not settle{kept}: raise max_steps, relax the "
                'tolerance, lower the learning rate, or leave such samples out by unsettled="mask"'
            )
        if values["kept"] and not values["moved"]:
            raise TrainingError(
                f"step {step}: loss, gradient or parameters are not finite (loss {values['loss']:.3g}, gradient norm "
                f"{values['gradient_norm']:.3g}){kept}: lower the learning rate or the radius"
            )


@dataclasses.dataclass(frozen=True)
class Test:
    """The evaluation of a test set: `(net, devices) → record`.

    **Attributes:** `data`: inputs and labels; `solver`: of the free states; `prepare`: makes inputs of what is stored.
    """

    # Not a test to collect.
    __test__ = False

    data: Arrays
    solver: AbstractSolver
    prepare: Prepare | None = None

    def __call__(self, net: Any, devices: Devices) -> dict[str, float]:
        """Return what an epoch's record says of the test set; of more than ten classes also the five likeliest."""
        result = evaluate(net, *self.data, solver=self.solver, prepare=self.prepare, devices=devices)
        record = {
            "test_loss": result.loss,
            "test_accuracy": result.accuracy,
            "test_unsettled": result.unsettled_share,
        }
        if result.logits.shape[-1] > _FEW_CLASSES:
            record["test_top5"] = result.top5_accuracy
        return record


def fetch_metrics(pending: list[tuple[int, StepMetrics]]) -> list[tuple[int, dict[str, Any]]]:
    """Return the metrics of steps, by name, as numbers; of several runs at once as lists of them."""
    # All are fetched before any is counted: waiting for the device is where an exception from outside arrives.
    return [(step, {name: np.asarray(v).tolist() for name, v in vars(each).items()}) for step, each in pending]


def write_checkpoint(path: Path, state: Any, header: dict[str, Any]) -> None:
    """Save a checkpoint.

    **Raises:** `OSError`, one line, that says what became of the checkpoint before it.
    """
    try:
        save_checkpoint(path, state, header)
    except OSError as error:
        kept = "the checkpoint before it is kept" if path.is_file() else "nothing was kept"
        reason = error.strerror or type(error).__name__
        raise OSError(error.errno, f"{reason}; {kept}: make room, or the folder writable, and resume", path) from None


def _copy(source: Path, target: Path) -> None:
    """Copy a checkpoint, whole or not at all; not a link, so that what damages the one leaves the other."""
    try:
        write_atomic(target, source.read_bytes())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OSError(error.errno, f"{reason}; {source.name} is whole: make room, and resume", target) from None

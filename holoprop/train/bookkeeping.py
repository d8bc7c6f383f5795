"""The books of a training run: steps and epochs counted, metrics added up and written, checkpoints saved and restored.

What is counted and what is saved are always of the same step, and a checkpoint is saved before the evaluation of an
epoch as well as after it, so that a run stopped anywhere goes on as if it had not been.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from holoprop.gradient.estimate import AbstractEstimator
from holoprop.settling.rest import UnsettledError
from holoprop.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from holoprop.train.evaluation import evaluate
from holoprop.train.metrics import EpochMeans, MetricsFile
from holoprop.train.step import StepMetrics, TrainState

Arrays = tuple[np.ndarray, np.ndarray]
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
    ) -> None:
        """Stand at the beginning of a run; `strict`: one sample that does not settle ends it."""
        self.checkpoint = None if folder is None else folder / "checkpoint.eqx"
        self.folder, self.config, self.steps_per_epoch = folder, config, samples // batch_size
        self.strict = strict
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
        # The order of the samples depends on these three.
        for name in ("seed", "samples", "batch_size"):
            if header[name] != getattr(self, name):
                raise CheckpointError(
                    f"{self.checkpoint} belongs to another run: {name} is {header[name]} there but "
                    f"{getattr(self, name)} here"
                )
        self.step, self.epoch, self.history = header["step"], header["epoch"], header["history"]
        self.means = EpochMeans(**header["means"])
        self._resumed, self._saved = True, (self.step, self.epoch)
        return state

    def open_files(self) -> None:
        """Make the folder, and take from its files what does not belong to this run."""
        if self.folder is None or self.checkpoint is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._resumed:
            # Were a former run's left here, resuming this one before its first checkpoint would continue that one.
            self.checkpoint.unlink(missing_ok=True)
        until = self.step if self._resumed else None
        self.metrics = MetricsFile(self.folder / "metrics.jsonl", keep_until=until, epochs=self.epoch)

    def take(self, pending: list[tuple[int, StepMetrics]], seconds: float, *, write: bool) -> dict[str, Any] | None:
        """Fetch the metrics of steps taken and add them up; if so asked, write and return the last.

        **Raises:** `UnsettledError`, `TrainingError`, if some step was no good; nothing is then added or written.
        """
        # All are fetched before any is counted: waiting for the device is where an exception from outside arrives.
        fetched = [(step, {name: np.asarray(v).item() for name, v in vars(each).items()}) for step, each in pending]
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

    def end_epoch(
        self, state: TrainState, test: Arrays | None, estimator: AbstractEstimator, examine: Examine | None = None
    ) -> dict[str, Any]:
        """Evaluate, examine, record and save an epoch all of whose steps were taken."""
        record: dict[str, Any] = {"kind": "epoch", "epoch": self.epoch + 1, "step": self.step, **self.means.record()}
        if (test is not None or examine is not None) and self._saved != (self.step, self.epoch):
            # Evaluating may take long: whoever is stopped meanwhile goes on from here, and evaluates then.
            self.save(state)
        if test is not None:
            result = evaluate(state.net, *test, solver=estimator.solver)
            record |= {
                "test_loss": result.loss,
                "test_accuracy": result.accuracy,
                "test_unsettled": result.unsettled_share,
            }
        if examine is not None:
            record = {**examine(state.net), **record}
        record = self.metrics.write(record)
        self.history.append(record)
        self.epoch += 1
        self.means = EpochMeans()
        self.save(state)
        return record

    def save(self, state: TrainState) -> None:
        """Write a checkpoint, all of whose numbers are of this very step."""
        if self.checkpoint is None:
            return
        header = {
            "config": self.config,
            "seed": self.seed,
            "samples": self.samples,
            "batch_size": self.batch_size,
            "step": self.step,
            "epoch": self.epoch,
            "history": self.history,
            "means": dataclasses.asdict(self.means),
        }
        save_checkpoint(self.checkpoint, state, header)
        self._saved = (self.step, self.epoch)

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

"""The training loop: epochs of steps, metrics as JSON lines, checkpoints, exact resume.

The order of the samples depends on (seed, epoch) alone and each step's key on (seed, step), so a run that is resumed
from a checkpoint continues bit for bit as if it had never stopped.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import optax

from holoprop.data.batches import epoch_batches
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.network.base import AbstractNetwork, parameter_dtype
from holoprop.settling.fixed_point import check_inputs
from holoprop.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from holoprop.train.evaluation import evaluate
from holoprop.train.metrics import EpochMeans, MetricsFile
from holoprop.train.step import StepMetrics, TrainState, initial_train_state, train_step

Arrays = tuple[np.ndarray, np.ndarray]


class TrainingError(RuntimeError):
    """Training cannot go on: a loss, gradient or parameter is not finite. The last good checkpoint is kept."""


@runtime_checkable
class ProgressDisplay(Protocol):
    """What `fit` tells a progress display."""

    def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        """Training starts at `step`."""

    def step(self, record: dict[str, Any]) -> None:
        """Some steps were taken; `record` is the last one's."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch ended."""

    def end(self) -> None:
        """Training ended, however it did."""


@dataclasses.dataclass(frozen=True)
class FitResult:
    """A trained network and how it got there.

    **Attributes:** `net`, `optimizer_state`, `memory` (of the estimator), `history` (one record an epoch), `step`
    (steps taken).
    """

    net: Any
    optimizer_state: Any
    memory: Any
    history: list[dict[str, Any]]
    step: int


def fit(
    net: AbstractNetwork,
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
    train: Arrays,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    test: Arrays | None = None,
    folder: Path | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    log_every: int = 50,
    checkpoint_every: int | None = None,
    progress: ProgressDisplay | None = None,
) -> FitResult:
    """Train a network with any estimator and any Optax optimiser.

    **Arguments:**

    - `net`, `estimator`, `optimizer`: what to train, how to get its gradient, how to use it.
    - `train`, `test`: pairs of inputs `(n, *input_shape)` and integer labels `(n,)`; the test set is evaluated after
      each epoch.
    - `epochs`, `batch_size`: the last, incomplete batch of an epoch is left out.
    - `seed`: of the sample order and the estimator's noise.
    - `folder`: where `metrics.jsonl` and `checkpoint.eqx` go; none are written without it.
    - `resume`: continue from the folder's checkpoint, bit for bit; seed, batch size and number of samples must be the
      same.
    - `config`: JSON-serialisable description of the run, stored in the checkpoint.
    - `log_every`: steps between two records of steps; `checkpoint_every`: steps between checkpoints besides those at
      the end of each epoch.
    - `progress`: a display.

    **Returns:** a `FitResult`.

    **Raises:** `ValueError` for data that do not fit the network; `CheckpointError`; `TrainingError` as soon as a
    loss, gradient or parameter is not finite (that step moves nothing).

    ```python
    result = hp.fit(net, hp.Holomorphic(points=4), optax.sgd(0.1), (x, y), epochs=3, batch_size=20)
    ```
    """
    x, y = _check_data(net, train, batch_size)
    if test is not None:
        test = _check_data(net, test, 1)
    counts = {"epochs": epochs, "batch_size": batch_size, "log_every": log_every, "checkpoint_every": checkpoint_every}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    estimator.check(net)
    run = _Run(folder, config, seed, len(x), batch_size)
    state = initial_train_state(net, estimator, optimizer, batch_size)
    if resume:
        state = run.restore(state)
    run.open_metrics()
    if progress is not None:
        progress.begin(epochs, run.steps_per_epoch, run.step)
    try:
        while run.epoch < epochs:
            state = _train_epoch(
                run, state, x, y, estimator, optimizer, batch_size, log_every, checkpoint_every, progress
            )
            record = run.end_epoch(state, test, estimator)
            if progress is not None:
                progress.epoch(record)
    finally:
        if progress is not None:
            progress.end()
    return FitResult(state.net, state.optimizer_state, state.memory, run.history, run.step)


def _train_epoch(
    run: "_Run",
    state: TrainState,
    x: np.ndarray,
    y: np.ndarray,
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    log_every: int,
    checkpoint_every: int | None,
    progress: ProgressDisplay | None,
) -> TrainState:
    base = jax.random.key(run.seed)
    pending: list[tuple[int, StepMetrics]] = []
    clock = time.perf_counter()

    def flush() -> None:
        nonlocal clock
        records = run.take(pending, batch_size, time.perf_counter() - clock)
        clock = time.perf_counter()
        pending.clear()
        if progress is not None and records:
            progress.step(records)

    begun = run.step - run.epoch * run.steps_per_epoch
    try:
        for index in epoch_batches(len(x), batch_size, seed=run.seed, epoch=run.epoch, start=begun, drop_last=True):
            key = jax.random.fold_in(base, run.step)
            state, metrics = train_step(state, x[index], y[index], key, estimator, optimizer)
            run.step += 1
            pending.append((run.step, metrics))
            stop = checkpoint_every is not None and run.step % checkpoint_every == 0
            # Metrics are fetched a few steps at a time: waiting for each would idle an accelerator.
            if run.step % log_every == 0 or stop:
                flush()
            if stop:
                run.save(state)
        flush()
    except KeyboardInterrupt:
        flush()
        run.save(state)
        raise
    return state


class _Run:
    """Where a run stands, and its files."""

    def __init__(
        self, folder: Path | None, config: dict[str, Any] | None, seed: int, samples: int, batch_size: int
    ) -> None:
        self.folder, self.config, self.steps_per_epoch = folder, config, samples // batch_size
        self.seed, self.samples, self.batch_size = seed, samples, batch_size
        self.step, self.epoch = 0, 0
        self.history: list[dict[str, Any]] = []
        self.means = EpochMeans()
        self.metrics = MetricsFile(None)
        self._resumed = False

    def restore(self, like: TrainState) -> TrainState:
        if self.folder is None:
            raise ValueError("resume needs a folder: pass the one the run was started with")
        path = self.folder / "checkpoint.eqx"
        state, header = load_checkpoint(path, like)
        # The order of the samples depends on these three.
        for name in ("seed", "samples", "batch_size"):
            if header[name] != getattr(self, name):
                raise CheckpointError(
                    f"{path} belongs to another run: {name} is {header[name]} there but {getattr(self, name)} here"
                )
        self.step, self.epoch, self.history = header["step"], header["epoch"], header["history"]
        self.means = EpochMeans(**header["means"])
        self._resumed = True
        return state

    def open_metrics(self) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            until = self.step if self._resumed else None
            self.metrics = MetricsFile(self.folder / "metrics.jsonl", keep_until=until, epochs=self.epoch)

    def take(self, pending: list[tuple[int, StepMetrics]], batch_size: int, seconds: float) -> dict[str, Any] | None:
        """Fetch the metrics of steps taken, add them up, write the last; raise if some step was not finite."""
        record = None
        for step, metrics in pending:
            values = {name: np.asarray(value).item() for name, value in vars(metrics).items()}
            if values["kept"] and not values["moved"]:
                raise TrainingError(
                    f"step {step}: loss, gradient or parameters are not finite (loss {values['loss']:.3g}, gradient "
                    f"norm {values['gradient_norm']:.3g}); the last good checkpoint is kept: lower the learning rate "
                    "or the radius"
                )
            self.means.add(batch_size, values)
            record = {"kind": "step", "step": step, "epoch": self.epoch + 1, **values}
        self.means.seconds += seconds
        if record is None:
            return None
        record["seconds"] = self.means.seconds
        return self.metrics.write(record)

    def end_epoch(self, state: TrainState, test: Arrays | None, estimator: AbstractEstimator) -> dict[str, Any]:
        self.epoch += 1
        record: dict[str, Any] = {"kind": "epoch", "epoch": self.epoch, "step": self.step, **self.means.record()}
        if test is not None:
            result = evaluate(state.net, *test, solver=estimator.solver)
            record |= {
                "test_loss": result.loss,
                "test_accuracy": result.accuracy,
                "test_unsettled": result.unsettled_share,
            }
        record = self.metrics.write(record)
        self.history.append(record)
        self.means = EpochMeans()
        self.save(state)
        return record

    def save(self, state: TrainState) -> None:
        if self.folder is None:
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
        save_checkpoint(self.folder / "checkpoint.eqx", state, header)


def _check_data(net: AbstractNetwork, data: Arrays, batch_size: int) -> Arrays:
    x, y = np.asarray(data[0]), np.asarray(data[1])
    check_inputs(net, x[:1])
    if len(x) != len(y):
        raise ValueError(f"x holds {len(x)} samples but y holds {len(y)}")
    if len(x) < batch_size:
        raise ValueError(f"batch_size must be at most the number of samples, got {batch_size} for {len(x)} samples")
    if not np.issubdtype(y.dtype, np.integer) or y.ndim != 1:
        raise ValueError(f"labels must be integers of shape (n,), got {y.dtype} of shape {y.shape}")
    if y.min() < 0 or y.max() >= net.classes:
        raise ValueError(f"labels must be in 0…{net.classes - 1}, got {y.min()}…{y.max()}")
    x = x.astype(parameter_dtype(net), copy=False)
    if not np.isfinite(x).all():
        raise ValueError(f"inputs must be finite: {int((~np.isfinite(x)).sum())} values are NaN or infinite")
    return x, y

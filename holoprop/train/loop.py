"""The training loop: epochs of steps, metrics as JSON lines, checkpoints, exact resume.

The order of the samples depends on (seed, epoch) alone and each step's key on (seed, step), so a run that is resumed
from a checkpoint continues bit for bit as if it had never stopped. Ctrl-C is looked for between steps only
(`interrupt.py`), so that what it leaves is such a checkpoint too.
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
from holoprop.settling.substrate import Programmed, Substrate
from holoprop.train.bookkeeping import Arrays, Bookkeeping, Examine
from holoprop.train.interrupt import Interrupt
from holoprop.train.step import Augment, StepMetrics, TrainState, initial_train_state, train_step


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
    net: AbstractNetwork | Substrate,
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
    train: Arrays,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    test: Arrays | None = None,
    augment: Augment | None = None,
    examine: Examine | None = None,
    folder: Path | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    log_every: int = 50,
    checkpoint_every: int | None = None,
    progress: ProgressDisplay | None = None,
) -> FitResult:
    """Train a network with any estimator and any Optax optimiser.

    **Arguments:**

    - `net`, `estimator`, `optimizer`: what to train, how to get its gradient, how to use it. A `Substrate` in place of
      the network comes back as a `Programmed` one with the trained parameters.
    - `train`, `test`: pairs of inputs `(n, *input_shape)` and integer labels `(n,)`; the test set is evaluated after
      each epoch.
    - `epochs`, `batch_size`: the last, incomplete batch of an epoch is left out.
    - `seed`: of the sample order, the estimator's noise and the augmentation.
    - `augment`: what is done to each batch of `train` inside the compiled step, `(x, key) → x` of the same shape, such
      as an `Augmentation`; the test set is taken as it is.
    - `examine`: is shown the network after each epoch; the numbers that it returns join the epoch's record,
      by names that are not there yet.
    - `folder`: where `metrics.jsonl` and `checkpoint.eqx` go; none are written without it. Without `resume`, those
      of a former run are removed.
    - `resume`: continue from the folder's checkpoint, bit for bit; seed, batch size and number of samples must be the
      same.
    - `config`: JSON-serialisable description of the run, stored in the checkpoint.
    - `log_every`: steps between two records of steps; `checkpoint_every`: steps between checkpoints besides those at
      the end of each epoch.
    - `progress`: a display.

    **Returns:** a `FitResult`.

    **Raises:** `ValueError` for data that do not fit the network; `CheckpointError`; `TrainingError` if a loss,
    gradient or parameter is not finite, and `UnsettledError` if a sample did not settle and the estimator has
    `unsettled="raise"` (such a step moves nothing; it is noticed when metrics are fetched, at the latest after
    `log_every` steps, and nothing later than it is saved). On Ctrl-C the step under way is finished, a checkpoint is
    written and `KeyboardInterrupt` raised; a second Ctrl-C raises at once.

    ```python
    result = hp.fit(net, hp.Holomorphic(points=4), optax.sgd(0.1), (x, y), epochs=3, batch_size=20)
    ```
    """
    if isinstance(net, Substrate):
        net = Programmed.of(net)
        estimator.real_nudges()
    else:
        estimator.check(net)
    x, y = _check_data(net, train, batch_size)
    if test is not None:
        test = _check_data(net, test, 1)
    counts = {"epochs": epochs, "batch_size": batch_size, "log_every": log_every, "checkpoint_every": checkpoint_every}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    run = Bookkeeping(folder, config, seed, len(x), batch_size, strict=estimator.unsettled == "raise")
    state = initial_train_state(net, estimator, optimizer, batch_size)
    if resume:
        state = run.restore(state)
    run.open_files()
    if progress is not None:
        progress.begin(epochs, run.steps_per_epoch, run.step)
    try:
        with Interrupt() as interrupt:
            while run.epoch < epochs and not interrupt.pressed:
                state = _train_epoch(
                    run, state, x, y, estimator, optimizer, augment, log_every, checkpoint_every, progress, interrupt
                )
                if interrupt.pressed:
                    run.save(state)
                    break
                record = run.end_epoch(state, test, estimator, examine)
                if progress is not None:
                    progress.epoch(record)
    finally:
        if progress is not None:
            progress.end()
    return FitResult(state.net, state.optimizer_state, state.memory, run.history, run.step)


def _train_epoch(
    run: Bookkeeping,
    state: TrainState,
    x: np.ndarray,
    y: np.ndarray,
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
    augment: Augment | None,
    log_every: int,
    checkpoint_every: int | None,
    progress: ProgressDisplay | None,
    interrupt: Interrupt,
) -> TrainState:
    """Take the steps of an epoch that are left, or those until an interrupt, and record them."""
    base = jax.random.key(run.seed)
    pending: list[tuple[int, StepMetrics]] = []
    clock = time.perf_counter()

    def flush(*, write: bool = True) -> None:
        nonlocal clock
        record = run.take(pending, time.perf_counter() - clock, write=write)
        clock = time.perf_counter()
        pending.clear()
        if progress is not None and record:
            progress.step(record)

    begun = run.step - run.epoch * run.steps_per_epoch
    for index in epoch_batches(len(x), run.batch_size, seed=run.seed, epoch=run.epoch, start=begun, drop_last=True):
        key = jax.random.fold_in(base, run.step)
        state, metrics = train_step(state, x[index], y[index], key, estimator, optimizer, augment)
        run.step += 1
        pending.append((run.step, metrics))
        stop = checkpoint_every is not None and run.step % checkpoint_every == 0
        # Metrics are fetched a few steps at a time: waiting for each would idle an accelerator.
        if run.step % log_every == 0 or stop:
            flush()
        if stop:
            run.save(state)
        if interrupt.pressed:
            break
    # An interrupt leaves no record of its own: the files are to read as if there had been none.
    flush(write=run.step == (run.epoch + 1) * run.steps_per_epoch)
    return state


def _check_data(net: AbstractNetwork | Programmed, data: Arrays, batch_size: int) -> Arrays:
    x, y = np.asarray(data[0]), np.asarray(data[1])
    if not isinstance(net, Programmed):
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

"""The training loop: epochs of steps, metrics as JSON lines, checkpoints, exact resume.

The order of the samples depends on (seed, epoch) alone and each step's key on (seed, step), so a run that is resumed
from a checkpoint continues bit for bit as if it had never stopped. Requests to stop are looked for between steps only
(`interrupt.py`), so that what they leave is such a checkpoint too.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import optax

from holoprop.gradient.estimate import AbstractEstimator
from holoprop.network.base import AbstractNetwork
from holoprop.settling.substrate import Programmed, Substrate
from holoprop.train.arrays import Arrays, checked_arrays
from holoprop.train.bookkeeping import Bookkeeping, Examine, Test, fetch_metrics
from holoprop.train.devices import Devices
from holoprop.train.feed import Feed
from holoprop.train.interrupt import Interrupt
from holoprop.train.profiling import Profiler
from holoprop.train.step import Augment, Prepare, Recipe, StepMetrics, TrainState, initial_train_state, take_step


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
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    label_smoothing: float = 0.0,
    examine: Examine | None = None,
    folder: Path | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    log_every: int = 50,
    checkpoint_every: int | None = None,
    keep: int = 1,
    time_limit: float | None = None,
    devices: int | Sequence[Any] | None = None,
    progress: ProgressDisplay | None = None,
    profiler: Profiler | None = None,
) -> FitResult:
    """Train a network with any estimator and any Optax optimiser.

    **Arguments:**

    - `net`, `estimator`, `optimizer`: what to train, how to get its gradient, how to use it. A `Substrate` in place of
      the network comes back as a `Programmed` one with the trained parameters.
    - `train`, `test`: pairs of inputs `(n, *input_shape)` and integer labels `(n,)`; the test set is evaluated after
      each epoch.
    - `epochs`, `batch_size`: the last, incomplete batch of an epoch is left out.
    - `seed`: of the sample order, the estimator's noise and the augmentation.
    - `prepare`: makes inputs of batches of `train` and `test` inside the compiled step, such as a `Preparation` of
      pixels; `x` may then be memory-mapped, or anything that an array of indices gives a batch of.
    - `augment`: what is done to each batch of training inputs inside the compiled step, `(x, key) → x` of the same
      shape, such as an `Augmentation`; the test set is taken as it is.
    - `label_smoothing`: share `ε` of every target that is spread evenly over all classes.
    - `examine`: is shown the network after each epoch; the numbers that it returns join the epoch's record,
      by names that are not there yet.
    - `folder`: where `metrics.jsonl` and `checkpoint.eqx` go, and `best.eqx`, the checkpoint of the epoch with the
      highest test accuracy; none are written without it. Without `resume`, those of a former run are removed.
    - `resume`: continue from the folder's checkpoint, bit for bit; seed, batch size and number of samples must be the
      same.
    - `config`: JSON-serialisable description of the run, stored in the checkpoint.
    - `log_every`: steps between two records of steps; `checkpoint_every`: steps between checkpoints besides those at
      the end of each epoch; `keep`: of the last so many epochs checkpoints stay, `checkpoint-epoch-0007.eqx` and so on.
    - `time_limit`: seconds after which to stop, as on a request.
    - `devices`: how many share each batch, or which; `None`: all that JAX finds, of all processes. One process of each
      run on several hosts must have called `start_processes`; all must see the folder, the first one writes.
    - `progress`: a display; `profiler`: traces some of the steps.

    **Returns:** a `FitResult`.

    **Raises:** `ValueError` for data that do not fit the network, or a batch that the devices cannot share evenly;
    `CheckpointError`; `OSError` if a file cannot be written; `TrainingError` if a loss, gradient or parameter is not
    finite, and `UnsettledError` if a sample did not settle and the estimator has `unsettled="raise"` (such a step moves
    nothing; it is noticed when metrics are fetched, at the latest after `log_every` steps, and nothing later than it is
    saved). On Ctrl-C the step under way is finished, a checkpoint is written and `KeyboardInterrupt` raised; a second
    Ctrl-C raises at once. On SIGTERM, SIGUSR1, or when the time is up, likewise, and `StoppedError` raised.

    ```python
    result = hp.fit(net, hp.Holomorphic(points=4), optax.sgd(0.1), (x, y), epochs=3, batch_size=20)
    ```
    """
    if isinstance(net, Substrate):
        net = Programmed.of(net)
        estimator.real_nudges()
    else:
        estimator.check(net)
    shared = Devices.of(1 if isinstance(net, Programmed) and devices is None else devices)
    train = checked_arrays(net, train, batch_size, prepare)
    if test is not None:
        test = checked_arrays(net, test, 1, prepare)
    check_counts(
        epochs=epochs, batch_size=batch_size, log_every=log_every, checkpoint_every=checkpoint_every, keep=keep
    )
    shared.check(batch_size)
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit must be positive, in seconds, got {time_limit}")
    recipe = Recipe(estimator, optimizer, prepare, augment, label_smoothing, shared.everywhere)
    strict = estimator.unsettled == "raise"
    run = Bookkeeping(folder, config, seed, len(train[1]), batch_size, strict=strict, keep=keep, devices=shared)
    state = initial_train_state(net, estimator, optimizer, batch_size)
    if resume:
        state = run.restore(state)
        shared.meet("restored")
    run.open_files()
    single = _Single(run, shared.copy(state), recipe, Feed.of(*train, batch_size, seed, shared))
    evaluation = None if test is None else Test(test, estimator.solver, prepare)
    rhythm = Rhythm(epochs, log_every, checkpoint_every)
    train_in_epochs(single, rhythm, evaluation, examine, progress, profiler, time_limit)
    state = shared.local(single.state)
    return FitResult(state.net, state.optimizer_state, state.memory, run.history, run.step)


def check_counts(**counts: int | None) -> None:
    """Raise `ValueError` for a count below 1."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


class Rhythm(NamedTuple):
    """How long, and what happens how often: epochs, steps between records, steps between checkpoints."""

    epochs: int
    log_every: int
    checkpoint_every: int | None


@runtime_checkable
class Trainee(Protocol):
    """What is trained in one go: one run, or several at once.

    **Attributes:** `run`: the books of the run, or of the first, whose steps and epochs are those of all; `state`: of
    the training, as arrays on the devices.
    """

    run: Bookkeeping
    state: TrainState

    def batches(self) -> Iterator[Any]:
        """Return the batches of the epoch under way that are left."""
        ...

    def step(self, batch: Any) -> StepMetrics:
        """Take a step."""
        ...

    def take(self, pending: list[tuple[int, StepMetrics]], seconds: float, *, write: bool) -> dict[str, Any] | None:
        """Add up the metrics of steps taken, and return the record of the last, if it is written."""
        ...

    def save(self) -> None:
        """Write a checkpoint."""
        ...

    def end_epoch(self, test: Test | None, examine: Examine | None) -> dict[str, Any]:
        """Evaluate, examine, record and save; return the record."""
        ...


class _Single:
    """One run."""

    def __init__(self, run: Bookkeeping, state: TrainState, recipe: Recipe, feed: Feed) -> None:
        self.run, self.state, self.recipe, self.feed = run, state, recipe, feed
        self.key = jax.random.key(run.seed)

    def batches(self) -> Iterator[Any]:
        run = self.run
        return self.feed.epoch(run.epoch, run.step - run.epoch * run.steps_per_epoch)

    def step(self, batch: Any) -> StepMetrics:
        key = self.feed.devices.copy(jax.random.fold_in(self.key, self.run.step))
        x, y = batch
        self.state, metrics = take_step(self.state, x, y, key, self.recipe)
        self.run.step += 1
        return metrics

    def take(self, pending: list[tuple[int, StepMetrics]], seconds: float, *, write: bool) -> dict[str, Any] | None:
        return self.run.take(fetch_metrics(pending), seconds, write=write)

    def save(self) -> None:
        self.run.save(self.state)

    def end_epoch(self, test: Test | None, examine: Examine | None) -> dict[str, Any]:
        return self.run.end_epoch(self.state, test, examine)


def train_in_epochs(
    trainee: Trainee,
    rhythm: Rhythm,
    test: Test | None,
    examine: Examine | None,
    progress: ProgressDisplay | None,
    profiler: Profiler | None,
    time_limit: float | None,
) -> None:
    """Take the steps that are left; evaluate, examine, record and save after each epoch.

    **Raises:** as `fit`.
    """
    run = trainee.run
    if progress is not None:
        progress.begin(rhythm.epochs, run.steps_per_epoch, run.step)
    try:
        with Interrupt(time_limit) as interrupt:
            stopped = interrupt.agreed()
            while run.epoch < rhythm.epochs and not stopped:
                stopped = _train_epoch(trainee, rhythm, progress, profiler, interrupt)
                if stopped:
                    trainee.save()
                    break
                record = trainee.end_epoch(test, examine)
                if progress is not None:
                    progress.epoch(record)
                stopped = interrupt.agreed()
    finally:
        if progress is not None:
            progress.end()
        if profiler is not None:
            profiler.finish(trainee.state)


def _train_epoch(
    trainee: Trainee,
    rhythm: Rhythm,
    progress: ProgressDisplay | None,
    profiler: Profiler | None,
    interrupt: Interrupt,
) -> bool:
    """Take the steps of an epoch that are left and record them; return whether a request to stop came between."""
    run = trainee.run
    pending: list[tuple[int, StepMetrics]] = []
    clock = time.perf_counter()

    def flush(*, write: bool = True) -> None:
        nonlocal clock
        record = trainee.take(pending, time.perf_counter() - clock, write=write)
        clock = time.perf_counter()
        pending.clear()
        if progress is not None and record:
            progress.step(record)

    stopped = False
    for batch in trainee.batches():
        if profiler is not None:
            profiler.before_step(trainee.state)
        metrics = trainee.step(batch)
        pending.append((run.step, metrics))
        checkpoint = rhythm.checkpoint_every is not None and run.step % rhythm.checkpoint_every == 0
        # Metrics are fetched a few steps at a time: waiting for each would idle an accelerator.
        look = run.step % rhythm.log_every == 0 or checkpoint
        if look:
            flush()
        if checkpoint:
            trainee.save()
        # Several processes stop at one step only, and asking each other at every step would take longer than it.
        stopped = interrupt.pressed if jax.process_count() == 1 else look and interrupt.agreed()
        if stopped:
            break
    # A request leaves no record of its own: the files are to read as if there had been none.
    flush(write=run.step == (run.epoch + 1) * run.steps_per_epoch)
    return stopped

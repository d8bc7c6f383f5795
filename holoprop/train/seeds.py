"""Several runs that differ in their seeds only, trained at once on one device.

Every run has initial weights, an order of samples and a key of its own, and is to the last bit of its books a run like
any other; only the steps are taken together, by one compiled function that is mapped over the runs. Small networks
leave most of a device idle, so that five runs take little longer than one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from holoprop.gradient.estimate import AbstractEstimator
from holoprop.network.base import AbstractNetwork
from holoprop.settling.rest import UnsettledError
from holoprop.train.arrays import Arrays, checked_arrays
from holoprop.train.bookkeeping import (
    CHECKPOINT,
    Bookkeeping,
    Examine,
    Test,
    TrainingError,
    fetch_metrics,
    write_checkpoint,
)
from holoprop.train.checkpoint import load_checkpoint
from holoprop.train.devices import Devices
from holoprop.train.feed import Feed
from holoprop.train.loop import FitResult, ProgressDisplay, Rhythm, check_counts, train_in_epochs
from holoprop.train.step import (
    Augment,
    Prepare,
    Recipe,
    StepMetrics,
    TrainState,
    initial_train_state,
    take_steps,
)

SEED_FOLDER = "seed-{}"
"""The folder of one run in that of all."""


def fit_seeds(
    nets: Sequence[AbstractNetwork],
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
    train: Arrays,
    *,
    seeds: Sequence[int],
    epochs: int,
    batch_size: int,
    test: Arrays | None = None,
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    label_smoothing: float = 0.0,
    examine: Examine | None = None,
    folder: Path | None = None,
    resume: bool = False,
    configs: Sequence[dict[str, Any]] | None = None,
    log_every: int = 50,
    checkpoint_every: int | None = None,
    keep: int = 1,
    time_limit: float | None = None,
    progress: ProgressDisplay | None = None,
) -> list[FitResult]:
    """Train networks of one architecture together, each with a seed of its own.

    **Arguments:**

    - `nets`: at their initial weights, one for each of `seeds`.
    - `estimator`, `optimizer`, `train`, `test`, `epochs`, `batch_size`, `prepare`, `augment`, `label_smoothing`,
      `examine`, `log_every`, `checkpoint_every`, `keep`, `time_limit`: as for `fit`, the same for all.
    - `folder`: its subfolders `seed-0` and so on become those of the runs, each as `fit` leaves it; itself it holds the
      checkpoint of all, from which `resume` goes on.
    - `configs`: a description for each run, as `config` of `fit`.
    - `progress`: is shown means over the runs.

    **Returns:** a list with a `FitResult` for each seed, what `fit` would return but for rounding.

    **Raises:** as `fit`, for whichever run is the first to give cause, and all of them end then; also `ValueError` for
    networks that differ in more than their numbers, or seeds given twice.

    ```python
    nets = [hp.mlp(64, (32,), 10, key=jax.random.key(seed)) for seed in range(5)]
    results = hp.fit_seeds(nets, hp.Holomorphic(), optax.sgd(0.1), (x, y), seeds=range(5), epochs=3, batch_size=20)
    accuracies = [result.history[-1]["train_accuracy"] for result in results]
    ```
    """
    if len(nets) != len(seeds) or len(set(seeds)) != len(seeds) or not seeds or min(seeds) < 0:
        raise ValueError(f"seeds must be different, not negative, and one for each of {len(nets)} networks: {seeds}")
    for net in nets:
        estimator.check(net)
    check_counts(epochs=epochs, batch_size=batch_size, log_every=log_every, keep=keep)
    check_counts(checkpoint_every=checkpoint_every)
    train = checked_arrays(nets[0], train, batch_size, prepare)
    if test is not None:
        test = checked_arrays(nets[0], test, 1, prepare)
    recipe = Recipe(estimator, optimizer, prepare, augment, label_smoothing)
    runs = [
        Bookkeeping(
            None if folder is None else folder / SEED_FOLDER.format(seed),
            None if configs is None else configs[i],
            seed,
            len(train[1]),
            batch_size,
            strict=estimator.unsettled == "raise",
            keep=keep,
        )
        for i, seed in enumerate(seeds)
    ]
    states = _stacked([initial_train_state(net, estimator, optimizer, batch_size) for net in nets])
    several = _Several(runs, states, recipe, Feed.of(*train, batch_size, 0, Devices()), folder)
    if resume:
        several.restore()
    else:
        several.forget()
    for run in runs:
        run.open_files()
    evaluation = None if test is None else Test(test, estimator.solver, prepare)
    rhythm = Rhythm(epochs, log_every, checkpoint_every)
    train_in_epochs(several, rhythm, evaluation, examine, progress, None, time_limit)
    members = [_member(several.state, i) for i in range(len(runs))]
    return [
        FitResult(state.net, state.optimizer_state, state.memory, run.history, run.step)
        for state, run in zip(members, runs, strict=True)
    ]


class _Several:
    """Several runs, whose states have a leading axis; `state` holds them all."""

    def __init__(
        self, runs: list[Bookkeeping], states: TrainState, recipe: Recipe, feed: Feed, folder: Path | None
    ) -> None:
        self.runs, self.run, self.state, self.recipe, self.feed = runs, runs[0], states, recipe, feed
        self.checkpoint = None if folder is None else folder / CHECKPOINT
        self.keys = [jax.random.key(run.seed) for run in runs]

    def restore(self) -> None:
        """Stand where the checkpoint of all was saved."""
        if self.checkpoint is None:
            raise ValueError("resume needs a folder: pass the one the runs were started with")
        self.state, header = load_checkpoint(self.checkpoint, self.state)
        for run, own in zip(self.runs, header["runs"], strict=True):
            run.stand_at(own, self.checkpoint)

    def forget(self) -> None:
        """Take away what former runs left, lest these are resumed as those before their first checkpoint."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)

    def batches(self) -> Iterator[Any]:
        run = self.run
        begun = run.step - run.epoch * run.steps_per_epoch
        feeds = [self.feed.of_seed(run.seed) for run in self.runs]
        for batches in zip(*(feed.epoch(run.epoch, begun) for feed in feeds), strict=True):
            stack = jnp.stack if self.feed.resident else np.stack
            yield tuple(stack(part) for part in zip(*batches, strict=True))

    def step(self, batch: Any) -> StepMetrics:
        keys = jnp.stack([jax.random.fold_in(key, self.run.step) for key in self.keys])
        x, y = batch
        self.state, metrics = take_steps(self.state, x, y, keys, self.recipe)
        for run in self.runs:
            run.step += 1
        return metrics

    def take(self, pending: list[tuple[int, StepMetrics]], seconds: float, *, write: bool) -> dict[str, Any] | None:
        fetched = fetch_metrics(pending)
        records = []
        for i, run in enumerate(self.runs):
            own = [(step, {name: values[i] for name, values in each.items()}) for step, each in fetched]
            try:
                records.append(run.take(own, seconds / len(self.runs), write=write))
            except (TrainingError, UnsettledError) as error:
                raise type(error)(f"seed {run.seed}, and with it all {len(self.runs)} runs: {error}") from None
        return _mean(records)

    def save(self) -> None:
        for run in self.runs:
            run.mark_saved()
        if self.checkpoint is not None:
            write_checkpoint(self.checkpoint, self.state, {"runs": [run.header() for run in self.runs]})

    def end_epoch(self, test: Test | None, examine: Examine | None) -> dict[str, Any]:
        self.save()
        records = [run.end_epoch(_member(self.state, i), test, examine) for i, run in enumerate(self.runs)]
        self.save()
        record = _mean(records)
        assert record is not None
        return record


def _stacked(states: list[TrainState]) -> TrainState:
    arrays, rest = zip(*(eqx.partition(state, eqx.is_array) for state in states), strict=True)
    if any(not eqx.tree_equal(each, rest[0]) for each in rest) or len({jax.tree.structure(a) for a in arrays}) > 1:
        raise ValueError("networks that are trained together must be of one architecture: these differ")
    return eqx.combine(jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays), rest[0])


def _member(states: TrainState, i: int) -> TrainState:
    return jax.tree.map(lambda leaf: leaf[i] if eqx.is_array(leaf) else leaf, states)


def _mean(records: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """The mean over runs of what their records have in common, for a display."""
    known = [record for record in records if record is not None]
    if not known:
        return None
    mean = dict(known[0])
    for name, value in mean.items():
        if isinstance(value, float) or value is None:
            values = [record[name] for record in known if record[name] is not None]
            mean[name] = float(np.mean(values)) if values else None
    return mean

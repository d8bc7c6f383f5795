"""Several seeds of one configuration, trained at once: an ordinary run for each, and mean and deviation over them."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from holoprop.experiments.building import build_experiment, build_network
from holoprop.experiments.config import Config, parse_config
from holoprop.experiments.run_folder import (
    RunFolderError,
    begin_folder,
    check_folder,
    continue_folder,
    write_json,
)
from holoprop.experiments.training import RunResult, examination, fit_options, judged
from holoprop.train.bookkeeping import CHECKPOINT
from holoprop.train.loop import ProgressDisplay
from holoprop.train.seeds import SEED_FOLDER, fit_seeds

SUMMARY = "seeds.json"
"""The file, beside the runs' folders, with what they come to together."""


@dataclasses.dataclass(frozen=True)
class Spread:
    """A number over several runs: `values`, their `mean`, and `std`, the sample standard deviation (0 of one run)."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        """The standard deviation, with `n − 1` in the denominator."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


@dataclasses.dataclass(frozen=True)
class SeedsResult:
    """What several seeds came to: `runs`, and the `last` and `best` test accuracy over them, shares in [0, 1]."""

    runs: list[RunResult]

    @property
    def last(self) -> Spread:
        """Test accuracies after the last epoch."""
        return Spread(tuple(run.test_accuracy for run in self.runs))

    @property
    def best(self) -> Spread:
        """Test accuracies in each run's best epoch."""
        return Spread(tuple(run.best_epoch["test_accuracy"] for run in self.runs))

    @property
    def cosine(self) -> Spread:
        """Cosines of estimated and implicit gradient of the trained networks, of those that have one."""
        return Spread(tuple(run.cosine for run in self.runs if run.cosine is not None))

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps of all together, compiling included."""
        return sum(run.seconds for run in self.runs)


def run_seeds(
    config: Config,
    folder: str | Path,
    count: int,
    *,
    resume: bool = False,
    overwrite: bool = False,
    time_limit: float | None = None,
    progress: ProgressDisplay | None = None,
) -> SeedsResult:
    """Train a configuration with `count` seeds, from `training.seed` on, all at once on one device.

    **Arguments:** `folder`: gets a folder `seed-0` and so on for each run, as `run_training` leaves it, and
    `seeds.json`; the others as for `run_training`.

    **Raises:** as `run_training`; `ValueError` for a `count` below 1.
    """
    if count < 1:
        raise ValueError(f"seeds must be at least 1, got {count}")
    folder = Path(folder)
    if (folder / "config.toml").is_file():
        raise RunFolderError(f"{folder} holds a single run: choose another name for several seeds")
    first = config.training.seed
    configs = [_with_seed(config, seed) for seed in range(first, first + count)]
    places = [folder / SEED_FOLDER.format(each.training.seed) for each in configs]
    for each, place in zip(configs, places, strict=True):
        check_folder(place, each, resume=resume, overwrite=overwrite)
    with jax.enable_x64(config.network.dtype == "float64"):
        experiment = build_experiment(config)
        experiment.estimator.check(experiment.net)
        dataset = experiment.dataset
        nets = [build_network(each, dataset.image_shape, dataset.classes) for each in configs]
        if not resume:
            # Before any folder is begun, lest former runs are resumed in folders that describe these.
            (folder / CHECKPOINT).unlink(missing_ok=True)
        for each, place in zip(configs, places, strict=True):
            (continue_folder if resume else begin_folder)(place, each)
        fits = fit_seeds(
            nets,
            experiment.estimator,
            experiment.optimizer,
            (experiment.train.stored, experiment.train.labels),
            seeds=[each.training.seed for each in configs],
            examine=examination(config, experiment),
            folder=folder,
            resume=resume,
            configs=[each.model_dump(mode="json") for each in configs],
            time_limit=time_limit,
            progress=progress,
            **fit_options(config, experiment),
        )
        runs = [
            judged(each, place, experiment, fitted) for each, place, fitted in zip(configs, places, fits, strict=True)
        ]
    result = SeedsResult(runs)
    spreads = {"last_test_accuracy": result.last, "best_test_accuracy": result.best, "cosine": result.cosine}
    summary = {
        name: {"mean": spread.mean, "std": spread.std, "values": spread.values}
        for name, spread in spreads.items()
        if spread.values
    }
    write_json(folder / SUMMARY, {"seeds": [each.training.seed for each in configs], **summary})
    return result


def _with_seed(config: Config, seed: int) -> Config:
    tree = config.model_dump(exclude_none=True)
    tree["training"]["seed"] = seed
    tree["name"] = SEED_FOLDER.format(seed)
    return parse_config(tree)

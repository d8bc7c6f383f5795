"""All trials of a sweep, each checked before the first one starts."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax

from holoprop.data.registry import find_source
from holoprop.experiments.building import build_estimator, build_network
from holoprop.experiments.config import Config
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.schedules import learning_rate_schedule
from holoprop.experiments.sources import load_config, parse_override
from holoprop.experiments.sweep.grid import Axis, Point, grid_points
from holoprop.experiments.sweep.trial import Trial
from holoprop.gradient.continual import AbstractContinualEstimator


def plan_trials(source: str, axes: Sequence[Axis], overrides: Sequence[str] = ()) -> list[Trial]:
    """Return the trials of a grid over a preset or a file, in the order of `grid_points`.

    **Arguments:** `source` and `overrides` as in `load_config`; the grid's values come last.

    **Raises:** `ConfigError`, one line that names the trial and its fault; `OSError` if the file cannot be read.
    """
    swept = {axis.key for axis in axes}
    for text in overrides:
        if (key := ".".join(parse_override(text).path)) in swept:
            raise ConfigError(f"{key} is given by --set and by --grid: leave out one of them")
    trials: list[Trial] = []
    for point in grid_points(axes):
        config = _config(source, overrides, point)
        values = config.model_dump(mode="json")
        trials.append(Trial(point.name, {axis.key: _value(values, axis.key) for axis in axes}, config))
    seen: dict[str, str] = {}
    for trial in trials:
        content = trial.config.model_copy(update={"name": "same"}).to_toml()
        if (twin := seen.setdefault(content, trial.name)) != trial.name:
            raise ConfigError(f"trials {twin} and {trial.name} are the same run: leave out one of their values")
    return trials


def check_buildable(config: Config) -> None:
    """Make sure that network, estimator and learning rates of a configuration can be built, without building them.

    No device is touched: whoever starts the workers must not hold the accelerator's memory.

    **Raises:** `ValueError`, one line.
    """
    data = find_source(config.data.name)
    with jax.enable_x64(config.network.dtype == "float64"):
        net = eqx.filter_eval_shape(lambda: build_network(config, data.image_shape, len(data.class_names)))
        estimator = build_estimator(config.estimator, mixed=config.network.dtype == "mixed")
        estimator.check(net)
    training, samples = config.training, config.data.train_samples
    if samples is not None:
        steps = training.epochs * (samples // training.batch_size) // training.accumulate
        updates = estimator.updates if isinstance(estimator, AbstractContinualEstimator) else 1
        learning_rate_schedule(config.optimizer, 1.0, steps * updates)


def _config(source: str, overrides: Sequence[str], point: Point) -> Config:
    try:
        config = load_config(source, [*overrides, *point.overrides], name=point.name)
        check_buildable(config)
    except ValueError as error:
        if _complaint(source, overrides) == str(error):
            raise
        shown = ", ".join(point.overrides)
        raise ConfigError(f"trial {point.name.partition('-')[0]} ({shown}): {error}") from None
    return config


def _complaint(source: str, overrides: Sequence[str]) -> str | None:
    """What is wrong with the configuration before any value of the grid is put in."""
    try:
        load_config(source, overrides)
    except ValueError as error:
        return str(error)
    return None


def _value(values: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return values[section][name]

"""Training runs from presets with changes, with what is measured after each epoch.

A run of hours goes on from its last checkpoint when the experiment that it belongs to is run again.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from holoprop.experiments.building import Experiment, build_experiment
from holoprop.experiments.config import Config, parse_config
from holoprop.experiments.reproduce.courses import trained
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner
from holoprop.experiments.sources import UNSET, Override, override, preset_text, read_toml
from holoprop.experiments.training import fit_options
from holoprop.gradient.implicit import ForwardResponse, Implicit
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.symmetry.angle import feedback_angle
from holoprop.symmetry.jacobian import error_alignment
from holoprop.train.bookkeeping import CHECKPOINT
from holoprop.train.loop import fit

Measure = Callable[[LayeredNetwork, Experiment], dict[str, float]]
"""What is measured before training and after each epoch: numbers by name, always of the same names."""

_COMPARED = 20
"""Test samples whose error vectors are compared."""
_SOLVER = Anderson(tolerance=1e-2, depth=3)
"""Of their rest states, of some thousand neurons each: cosines are right to three digits."""


def preset_with(preset: str, changes: Mapping[str, Any]) -> Config:
    """Return a preset with other values at some `section.key`; `None` sets a key back to its default.

    **Raises:** `ConfigError`, as `load_config`.
    """
    overrides = [Override(tuple(key.split(".")), UNSET if value is None else value) for key, value in changes.items()]
    tree = override(read_toml(preset_text(preset), f"preset {preset}"), overrides)
    return parse_config({"name": preset, **tree})


def train_configs(
    runner: Runner, runs: Sequence[tuple[str, Config]], shape: tuple[int, ...], *, feedback: bool = False
) -> Arrays:
    """Train every configuration, each a long part of the experiment, and return their courses.

    **Arguments:** `runs`: of each what progress is told under, and its configuration; `shape`: of the leading axes of
    what is returned; `feedback`: as in `train_part`.

    **Returns:** as `preset_course`, with leading axes of that `shape`, in the order of `runs`.

    **Raises:** as `Runner.parts`.
    """
    settings = [{"label": label, "config": config.to_toml(), "feedback": feedback} for label, config in runs]
    return trained(runner, train_part, settings, shape, long=True)


def train_part(
    report: Report, *, label: str, config: str, feedback: bool = False, folder: Path | None = None
) -> Arrays:
    """Train one run of an experiment and return its course: a part, which all that it depends on names.

    **Arguments:** `label`: what progress is told under; `config`: a configuration, as TOML; `feedback`: whether
    feedback and error vectors are measured; `folder`: as in `preset_course`.
    """
    parsed = parse_config(read_toml(config, label))
    measure = _feedback_and_errors if feedback else None
    course = preset_course(parsed, lambda line: report(f"{label}: {line}"), folder, measure)
    if measure is not None:
        names = [name for name in course if name.startswith("alignment_")]
        course["alignment"] = np.stack([course.pop(name) for name in names], -1)
    return course


def preset_course(config: Config, report: Report, folder: Path | None, measure: Measure | None = None) -> Arrays:
    """Train as configured and return what was measured after each epoch, by name, all with a first entry from before.

    **Arguments:** `config`: of the run; `report`: told a line after each epoch; `folder`: where checkpoints are kept,
    to go on from; `measure`: what is measured besides.

    **Returns:** `(epochs + 1,)`: `error` of the test samples and `train_error` of those trained on, as they came, in
    percent, NaN at first; `top5`, the share in percent of test samples whose label is not among the five likeliest,
    with more than ten classes; what `measure` returns, by its names; `(epochs,)`: `unsettled`, the share of training
    samples that were left out, `sweeps` per sample to rest, and `residual`, the mean of log10 of that of free states;
    `seconds` that training took, a scalar.

    **Raises:** `DataError` if the data set is not there and cannot be downloaded; as `fit`.
    """
    with jax.enable_x64(config.network.dtype == "float64"):
        experiment = build_experiment(config)
        epochs, done = config.training.epochs, 0

        def examine(net: LayeredNetwork) -> dict[str, float | None]:
            nonlocal done
            done += 1
            report(f"{done} of {epochs} epochs" if not resumed else f"{done} more of {epochs} epochs in all")
            return dict(measure(net, experiment)) if measure else {}

        before = measure(experiment.net, experiment) if measure else {}
        resumed = folder is not None and (folder / CHECKPOINT).is_file()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        history = fit(
            experiment.net,
            experiment.estimator,
            experiment.optimizer,
            (experiment.train.stored, experiment.train.labels),
            seed=config.training.seed,
            examine=examine,
            folder=folder,
            resume=resumed,
            config=config.model_dump(mode="json"),
            **fit_options(config, experiment),
        ).history
    report(f"test error {100 * (1 - history[-1]['test_accuracy']):.2f} %")

    def after(name: str) -> np.ndarray:
        records = [record.get(name) for record in history]
        return np.array([before.get(name), *records], np.float64)

    course = {"error": 100 * (1 - after("test_accuracy")), "train_error": 100 * (1 - after("train_accuracy"))}
    if "test_top5" in history[-1]:
        course["top5"] = 100 * (1 - after("test_top5"))
    course |= {name: after(name) for name in before}
    for name, key in (("unsettled", "unsettled"), ("sweeps", "sweeps"), ("residual", "residual_log10")):
        course[name] = np.array([record[key] for record in history], np.float64)
    return course | {"seconds": np.array(sum(record["seconds"] for record in history))}


def _feedback_and_errors(net: LayeredNetwork, experiment: Experiment) -> dict[str, float]:
    """The feedback's angle, and the cosine of the network's response and the true error vector in each layer."""
    x, y = experiment.samples(experiment.test, slice(_COMPARED))
    response, error = (
        kind(solver=_SOLVER, dense_limit=0, tolerance=1e-3)(net, x, y).response for kind in (ForwardResponse, Implicit)
    )
    assert response is not None and error is not None
    cosines = {f"alignment_{k + 1}": float(cosine) for k, cosine in enumerate(error_alignment(response, error))}
    return {"angle": feedback_angle(net).total, **cosines}

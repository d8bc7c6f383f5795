"""Training runs of convolutional networks: presets with changes, and what is measured after each epoch.

A run of hours goes on from its last checkpoint when the experiment that it belongs to is run again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from holoprop.experiments.building import Experiment, build_experiment
from holoprop.experiments.config import Config
from holoprop.experiments.reproduce.runner import Arrays, Report
from holoprop.experiments.sources import load_config
from holoprop.experiments.training import fit_options
from holoprop.gradient.implicit import ForwardResponse, Implicit
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.symmetry.angle import feedback_angle
from holoprop.symmetry.jacobian import error_alignment
from holoprop.train.bookkeeping import CHECKPOINT
from holoprop.train.loop import fit

_COMPARED = 20
"""Test samples whose error vectors are compared."""
_SOLVER = Anderson(tolerance=1e-2, depth=3)
"""Of their rest states, of some thousand neurons each: cosines are right to three digits."""


def preset_with(preset: str, changes: Mapping[str, Any]) -> Config:
    """Return a preset with other values at some `section.key`; `None` sets a key back to its default.

    **Raises:** `ConfigError`, as `load_config`.
    """
    return load_config(preset, [f"{key}={_toml(value)}" for key, value in changes.items()])


def image_course(config: Config, report: Report, folder: Path | None, *, measure: bool = False) -> Arrays:
    """Train as configured and return what was measured after each epoch, by name, all with a first entry from before.

    **Arguments:** `folder`: where checkpoints are kept, to go on from; `measure`: whether feedback and error vectors
    are.

    **Returns:** `(epochs + 1,)`: `error` of the test samples and `train_error` of those trained on, as they came, in
    percent, NaN at first; `top5`, the share in percent of test samples whose label is not among the five likeliest,
    with more than ten classes; if they are measured, `angle` of the feedback in degrees, and `alignment`
    `(epochs + 1, layers)`, the cosine of response and error vector; `(epochs,)`: `unsettled`, the share of training
    samples that were left out, `sweeps` per sample to rest, and `residual`, the mean of log10 of that of free states.

    **Raises:** `DataError` if the data set is not there and cannot be downloaded; as `fit`.
    """
    with jax.enable_x64(config.network.dtype == "float64"):
        experiment = build_experiment(config)
        epochs = config.training.epochs

        def examine(net: LayeredNetwork) -> dict[str, float | None]:
            report(f"another of {epochs} epochs is over")
            return {name: float(value) for name, value in _measured(net, experiment).items()} if measure else {}

        before = _measured(experiment.net, experiment) if measure else {}
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
            resume=folder is not None and (folder / CHECKPOINT).is_file(),
            config=config.model_dump(mode="json"),
            **fit_options(config, experiment),
        ).history
    report(f"test error {100 * (1 - history[-1]['test_accuracy']):.2f} %")

    def after(name: str) -> np.ndarray:
        return np.array([before.get(name, np.nan), *(record.get(name, np.nan) for record in history)], np.float64)

    course = {"error": 100 * (1 - after("test_accuracy")), "train_error": 100 * (1 - after("train_accuracy"))}
    if "test_top5" in history[-1]:
        course["top5"] = 100 * (1 - after("test_top5"))
    if measure:
        layers = sum(name.startswith("alignment_") for name in before)
        course["angle"] = after("angle")
        course["alignment"] = np.stack([after(f"alignment_{layer + 1}") for layer in range(layers)], -1)
    for name, key in (("unsettled", "unsettled"), ("sweeps", "sweeps"), ("residual", "residual_log10")):
        course[name] = np.array([record[key] for record in history], np.float64)
    return course


def _measured(net: LayeredNetwork, experiment: Experiment) -> dict[str, float]:
    """The feedback's angle, and the cosine of the network's response and the true error vector in each layer."""
    x, y = experiment.samples(experiment.test, slice(_COMPARED))
    measured = {"angle": feedback_angle(net).total}
    response, error = (
        kind(solver=_SOLVER, dense_limit=0, tolerance=1e-3)(net, x, y).response for kind in (ForwardResponse, Implicit)
    )
    assert response is not None and error is not None
    cosines = error_alignment(response, error)
    return measured | {f"alignment_{layer + 1}": float(cosine) for layer, cosine in enumerate(cosines)}


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, list | tuple) else str(value)

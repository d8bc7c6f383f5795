"""One training run from a configuration: train, check the gradient, evaluate, and leave all of it in a folder."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from holoprop.data.dataset import Split
from holoprop.experiments.building import Experiment, build_experiment
from holoprop.experiments.config import Config
from holoprop.experiments.gradient_check import compare_with_implicit
from holoprop.experiments.run_folder import begin_folder, check_folder, continue_folder, write_arrays, write_json
from holoprop.network.layered import LayeredNetwork
from holoprop.train.devices import Devices
from holoprop.train.evaluation import Evaluation, evaluate
from holoprop.train.loop import FitResult, ProgressDisplay, fit
from holoprop.train.profiling import Profiler

CHECKED_SAMPLES = 20
"""Test samples on which the trained network's gradient is compared with the implicit one."""
_SHOWN_MISTAKES = 32


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run came to.

    **Attributes:** `folder`; `config`; `fit` (the trained network and its history); `evaluation` on the test set;
    `gradient_check` as `compare_with_implicit` returns it.
    """

    folder: Path
    config: Config
    fit: FitResult
    evaluation: Evaluation
    gradient_check: dict[str, Any]

    @property
    def test_accuracy(self) -> float:
        """Share of test samples that the trained network gets right."""
        return self.evaluation.accuracy

    @property
    def best_epoch(self) -> dict[str, Any]:
        """The record of the epoch with the highest test accuracy; the first of equals."""
        return max(self.fit.history, key=lambda record: record["test_accuracy"])

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps, compiling included."""
        return sum(record["seconds"] for record in self.fit.history)

    @property
    def cosine(self) -> float | None:
        """Cosine of the estimated gradient to the implicit one; `None` if no sample settled."""
        return self.gradient_check["total"]["cosine"]


def run_training(
    config: Config,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    devices: int | None = None,
    time_limit: float | None = None,
    progress: ProgressDisplay | None = None,
    profiler: Profiler | None = None,
) -> RunResult:
    """Train as configured and write everything about it to `folder`.

    **Arguments:**

    - `config`: from `load_config` or `parse_config`.
    - `folder`: the run's own folder, made if need be.
    - `resume`: go on from the folder's checkpoint; the configuration must be the same but for `training.epochs`,
      `training.log_every`, `training.checkpoint_every`, `training.check_gradient` and `training.keep`.
    - `overwrite`: replace the run that is there.
    - `devices`: how many share each batch; `None`: all that JAX finds, of all processes.
    - `time_limit`: seconds after which training stops, to be resumed.
    - `progress`: a display; `profiler`: traces some of the steps.

    **Returns:** a `RunResult`.

    **Raises:** `RunFolderError`, `DataError`, `CheckpointError` and `ValueError`, one line each, before anything in the
    folder is touched but those keys of `config.toml`; `TrainingError` when a loss is not finite; `StoppedError` when
    training was asked to stop, or its time was up; `OSError` from the file system.
    """
    folder = Path(folder)
    first = jax.process_index() == 0
    if first:
        check_folder(folder, config, resume=resume, overwrite=overwrite)
    with jax.enable_x64(config.network.dtype == "float64"):
        experiment = build_experiment(config)
        experiment.estimator.check(experiment.net)
        Devices.of(devices).check(config.training.batch_size)
        if first and resume:
            continue_folder(folder, config)
        elif first:
            begin_folder(folder, config)
        result = fit(
            experiment.net,
            experiment.estimator,
            experiment.optimizer,
            (experiment.train.stored, experiment.train.labels),
            seed=config.training.seed,
            examine=examination(config, experiment),
            folder=folder,
            resume=resume,
            config=config.model_dump(mode="json"),
            devices=devices,
            time_limit=time_limit,
            progress=progress,
            profiler=profiler,
            **fit_options(config, experiment),
        )
        return judged(config, folder, experiment, result, write=first)


def fit_options(config: Config, experiment: Experiment) -> dict[str, Any]:
    """Return what `fit` and `fit_seeds` are told alike."""
    training = config.training
    return {
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "test": (experiment.test.stored, experiment.test.labels),
        "prepare": experiment.prepare,
        "augment": experiment.augment,
        "label_smoothing": training.label_smoothing,
        "log_every": training.log_every,
        "checkpoint_every": training.checkpoint_every,
        "keep": training.keep,
    }


def examination(config: Config, experiment: Experiment) -> Callable[[LayeredNetwork], dict[str, Any]] | None:
    """Return what is measured after each epoch, the cosine of gradient and exact gradient, if that is configured."""
    if config.training.check_gradient is None:
        return None
    x, y = experiment.samples(experiment.test, slice(config.training.check_gradient))
    key = jax.random.key(config.training.seed)

    def cosine(net: LayeredNetwork) -> dict[str, Any]:
        return {"cosine": compare_with_implicit(net, experiment.estimator, x, y, key=key)["total"]["cosine"]}

    return cosine


def judged(config: Config, folder: Path, experiment: Experiment, result: FitResult, *, write: bool = True) -> RunResult:
    """Check the gradient of a trained network, evaluate it, and write both to the folder of its run."""
    key = jax.random.key(config.training.seed)
    x, y = experiment.samples(experiment.test, slice(CHECKED_SAMPLES))
    check = compare_with_implicit(result.net, experiment.estimator, x, y, key=key)
    test = experiment.test
    evaluation = evaluate(
        result.net, test.stored, test.labels, solver=experiment.estimator.solver, prepare=experiment.prepare
    )
    if write:
        write_json(folder / "gradient_check.json", check)
        described = _describe_evaluation(evaluation, test, experiment.dataset.classes)
        write_arrays(folder / "evaluation.npz", described)
    return RunResult(folder, config, result, evaluation, check)


def _describe_evaluation(evaluation: Evaluation, test: Split, classes: int) -> dict[str, np.ndarray]:
    """The confusion matrix, the mistakes that the network was surest of, and every sample's residual."""
    labels, logits = test.labels, evaluation.logits.astype(np.float64)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    predicted, confidence = shares.argmax(-1), shares.max(-1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:_SHOWN_MISTAKES]
    pictures = test.inputs(shown)
    return {
        "confusion": confusion,
        "images": pictures[..., 0] if pictures.shape[-1] == 1 else pictures,
        "true": labels[shown],
        "predicted": predicted[shown],
        "confidence": confidence[shown],
        "residual": evaluation.residual,
    }

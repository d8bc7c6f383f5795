"""One training run from a configuration: train, check the gradient, evaluate, and leave all of it in a folder."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from holoprop.experiments.building import build_experiment
from holoprop.experiments.config import Config
from holoprop.experiments.gradient_check import compare_with_implicit
from holoprop.experiments.run_folder import begin_folder, check_folder, write_arrays, write_json, write_text
from holoprop.network.layered import LayeredNetwork
from holoprop.train.evaluation import Evaluation, evaluate
from holoprop.train.loop import FitResult, ProgressDisplay, fit

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
    progress: ProgressDisplay | None = None,
) -> RunResult:
    """Train as configured and write everything about it to `folder`.

    **Arguments:**

    - `config`: from `load_config` or `parse_config`.
    - `folder`: the run's own folder, made if need be.
    - `resume`: go on from the folder's checkpoint; the configuration must be the same but for `training.epochs`,
      `training.log_every` and `training.checkpoint_every`.
    - `overwrite`: replace the run that is there.
    - `progress`: a display.

    **Returns:** a `RunResult`.

    **Raises:** `RunFolderError`, `DataError`, `CheckpointError` and `ValueError`, one line each, before anything in the
    folder is touched; `TrainingError` when a loss is not finite; `OSError` from the file system.
    """
    folder = Path(folder)
    check_folder(folder, config, resume=resume, overwrite=overwrite)
    with jax.enable_x64(config.network.dtype == "float64"):
        experiment = build_experiment(config)
        experiment.estimator.check(experiment.net)
        if not resume:
            begin_folder(folder, config)
        x, y = experiment.test
        key = jax.random.key(config.training.seed)

        def cosine(net: LayeredNetwork) -> dict[str, Any]:
            count = config.training.check_gradient
            check = compare_with_implicit(net, experiment.estimator, x[:count], y[:count], key=key)
            return {"cosine": check["total"]["cosine"]}

        result = fit(
            experiment.net,
            experiment.estimator,
            experiment.optimizer,
            experiment.train,
            epochs=config.training.epochs,
            batch_size=config.training.batch_size,
            seed=config.training.seed,
            test=experiment.test,
            augment=experiment.augment,
            examine=cosine if config.training.check_gradient else None,
            folder=folder,
            resume=resume,
            config=config.model_dump(mode="json"),
            log_every=config.training.log_every,
            checkpoint_every=config.training.checkpoint_every,
            progress=progress,
        )
        if resume:
            # More epochs may have been asked for than when the run began.
            write_text(folder / "config.toml", config.to_toml())
        check = compare_with_implicit(
            result.net, experiment.estimator, x[:CHECKED_SAMPLES], y[:CHECKED_SAMPLES], key=key
        )
        write_json(folder / "gradient_check.json", check)
        evaluation = evaluate(result.net, x, y, solver=experiment.estimator.solver)
        images = experiment.dataset.test.inputs(slice(len(y)))
        write_arrays(folder / "evaluation.npz", _describe_evaluation(evaluation, images, y, experiment.dataset.classes))
    return RunResult(folder, config, result, evaluation, check)


def _describe_evaluation(
    evaluation: Evaluation, images: np.ndarray, labels: np.ndarray, classes: int
) -> dict[str, np.ndarray]:
    """The confusion matrix, the mistakes that the network was surest of, and every sample's residual."""
    logits = evaluation.logits.astype(np.float64)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    predicted, confidence = shares.argmax(-1), shares.max(-1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:_SHOWN_MISTAKES]
    pictures = images[shown]
    return {
        "confusion": confusion,
        "images": pictures[..., 0] if pictures.shape[-1] == 1 else pictures,
        "true": labels[shown],
        "predicted": predicted[shown],
        "confidence": confidence[shown],
        "residual": evaluation.residual,
    }

"""What a run left in its folder, read and checked once, so that nothing after this can meet a broken file.

`config.toml` and `metrics.jsonl` make a run; `environment.json`, `gradient_check.json` and `evaluation.npz` come along
or, where a run was interrupted, do not.
"""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from holoprop.settling.solver import default_tolerance


class ReportError(ValueError):
    """A file of a run that is missing or cannot be read; its message is one line and names the file."""


class StepRecord(BaseModel):
    """What one training step saw; `None` stands for a mean over no samples."""

    step: int = Field(ge=1)
    epoch: int = Field(ge=1)
    loss: float | None
    accuracy: float | None
    unsettled: float | None


class EpochRecord(BaseModel):
    """The means of one epoch and, where there is a test set, what the network made of it afterwards."""

    epoch: int = Field(ge=1)
    step: int = Field(ge=1)
    train_loss: float | None
    train_accuracy: float | None
    unsettled: float | None
    seconds: float
    test_loss: float | None = None
    test_accuracy: float | None = None
    test_unsettled: float | None = None
    sweeps: float | None = None
    cosine: float | None = None


class StoredAgreement(BaseModel):
    """Agreement of a gradient g with the reference g*: cosine and error `‖g − g*‖/‖g*‖`; `None` where undefined."""

    name: str = "total"
    cosine: float | None
    relative_error: float | None


class StoredCertificate(BaseModel):
    """How the states behind a checked gradient settled.

    **Attributes:** residuals of the free phase `(samples,)` and of the nudged ones `(points, samples)`, `None` where
    not finite; `free_status` by name; `unsettled_share`; `points`, the nudges as complex numbers.
    """

    free_residual: list[float | None]
    point_residual: list[list[float | None]]
    free_status: list[str]
    unsettled_share: float | None
    points: list[complex]

    @model_validator(mode="after")
    def _check_points(self) -> "StoredCertificate":
        if len(self.points) != len(self.point_residual):
            raise ValueError(f"{len(self.points)} points but residuals of {len(self.point_residual)}")
        return self


class GradientCheck(BaseModel):
    """A gradient compared with the reference on `samples` samples, in total and per layer and per parameter."""

    reference: str
    samples: int
    estimator: str
    total: StoredAgreement
    layers: list[StoredAgreement]
    parameters: list[StoredAgreement]
    certificate: StoredCertificate


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationArrays:
    """The trained network on the test set.

    **Attributes:** `confusion` `(classes, classes)` counts, rows = true; of the k example mistakes: `images`
    `(k, h, w)` or `(k, h, w, 3)` in 0…1, labels `true` and `predicted`, `confidence` in 0…1; `residual` of every test
    sample.
    """

    confusion: np.ndarray
    images: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    residual: np.ndarray

    @property
    def samples(self) -> int:
        """The number of test samples."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """How many of them the network gets right."""
        return int(np.trace(self.confusion))


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """All that a report is made from; `None` for the files that an interrupted run did not come to write."""

    folder: Path
    config: dict[str, Any]
    config_text: str
    steps: list[StepRecord]
    epochs: list[EpochRecord]
    environment: dict[str, Any] | None
    check: GradientCheck | None
    evaluation: EvaluationArrays | None

    @property
    def name(self) -> str:
        """The run's name, or that of its folder if it has none."""
        return str(self.config.get("name", self.folder.resolve().name))

    def setting(self, section: str, key: str) -> Any:
        """Return a value of the configuration; `None` where it is not set."""
        values = self.config.get(section)
        return values.get(key) if isinstance(values, dict) else None

    @property
    def tolerances(self) -> tuple[float | None, float | None]:
        """The residuals at which a free and a nudged state counted as settled; `None` where the files do not tell."""
        free, nudged = (self.setting("estimator", key) for key in ("tolerance", "nudged_tolerance"))
        if free is None:
            hidden, dtype = self.setting("network", "hidden"), self.setting("network", "dtype")
            countable = isinstance(hidden, list) and all(isinstance(units, int) for units in hidden)
            dtype = "float32" if dtype == "mixed" else dtype
            if self.setting("network", "kind") != "mlp" or dtype not in ("float32", "float64") or not countable:
                return None, nudged
            free = default_tolerance(jnp.dtype(dtype), sum(hidden))
        return free, free if nudged is None else nudged


def read_run(folder: Path) -> Run:
    """Read and check the files of a run.

    **Raises:** `ReportError`, one line with the file's name, if the configuration or the metrics are missing, or if any
    file is broken.
    """
    if not folder.is_dir():
        raise ReportError(f"{folder} is not the folder of a run: there is no such folder")
    text = _read_text(folder / "config.toml", why="it is not the folder of a run")
    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ReportError(f"{folder / 'config.toml'} is not TOML: {error}") from None
    steps, epochs = _read_metrics(folder / "metrics.jsonl")
    return Run(
        folder=folder,
        config=config,
        config_text=text,
        steps=steps,
        epochs=epochs,
        environment=_read_environment(folder / "environment.json"),
        check=_read_check(folder / "gradient_check.json"),
        evaluation=_read_evaluation(folder / "evaluation.npz"),
    )


_Record = TypeVar("_Record", bound=BaseModel)


def _read_text(path: Path, *, why: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReportError(f"{path} is missing: {why}") from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is damaged: it is not UTF-8 text") from None


def _read_metrics(path: Path) -> tuple[list[StepRecord], list[EpochRecord]]:
    steps: list[StepRecord] = []
    epochs: list[EpochRecord] = []
    lines = _read_text(path, why="the run has not begun to train, or was copied in part").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break  # the line that was being written when the run was killed, or is being written now
            raise ReportError(f"{path}, line {number} is not JSON: {error}") from None
        kind = record.get("kind") if isinstance(record, dict) else None
        if kind == "step":
            steps.append(_checked(StepRecord, record, f"{path}, line {number}"))
        elif kind == "epoch":
            epochs.append(_checked(EpochRecord, record, f"{path}, line {number}"))
        else:
            raise ReportError(f"{path}, line {number}: kind must be 'step' or 'epoch', got {kind!r}")
    return steps, epochs


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path, why=""))
    except json.JSONDecodeError as error:
        raise ReportError(f"{path} is not JSON: {error}") from None


def _read_environment(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    value = _read_json(path)
    if not isinstance(value, dict):
        raise ReportError(f"{path} must hold an object of names and versions, got {type(value).__name__}")
    return value


def _read_check(path: Path) -> GradientCheck | None:
    return _checked(GradientCheck, _read_json(path), str(path)) if path.exists() else None


def _checked(model: type[_Record], value: Any, place: str) -> _Record:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = first["msg"][0].lower() + first["msg"][1:]
        raise ReportError(f"{place}: {key + ': ' if key else ''}{problem}") from None


def _read_evaluation(path: Path) -> EvaluationArrays | None:
    if not path.exists():
        return None
    names = [field.name for field in dataclasses.fields(EvaluationArrays)]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in names if name not in arrays]
            if missing:
                raise ReportError(f"{path} lacks the arrays {', '.join(missing)}")
            evaluation = EvaluationArrays(**{name: arrays[name] for name in names})
    except ReportError:
        raise
    except Exception as error:  # what a damaged archive raises depends on where the damage is
        raise ReportError(f"{path} is not a readable .npz archive: {error}") from None
    _check_shapes(evaluation, path)
    return evaluation


def _check_shapes(evaluation: EvaluationArrays, path: Path) -> None:
    confusion, images = evaluation.confusion, evaluation.images
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or confusion.dtype.kind not in "iu":
        raise ReportError(
            f"{path}: confusion must be a square matrix of counts, got {confusion.dtype} of shape {confusion.shape}"
        )
    classes = len(confusion)
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)):
        raise ReportError(f"{path}: images must be (k, h, w) or (k, h, w, 3), got {images.shape}")
    for name in ("true", "predicted", "confidence"):
        if getattr(evaluation, name).shape != (len(images),):
            raise ReportError(f"{path}: {name} must hold {len(images)} values, got {getattr(evaluation, name).shape}")
    for name in ("true", "predicted"):
        labels = getattr(evaluation, name)
        if labels.dtype.kind not in "iu" or (labels.size and (labels.min() < 0 or labels.max() >= classes)):
            raise ReportError(f"{path}: {name} must hold labels in 0…{classes - 1}")
    if evaluation.residual.ndim != 1:
        raise ReportError(f"{path}: residual must hold one value a sample, got {evaluation.residual.shape}")

"""Which runs lie below a folder, what each came to, and in what two or more of them differ.

Nothing is computed anew: a run's own `config.toml`, `environment.json`, `metrics.jsonl` and `gradient_check.json` are
read, and a folder that cannot be read is named, and stops nobody.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holoprop.experiments.config import Config
from holoprop.experiments.config_error import did_you_mean
from holoprop.experiments.run_folder import read_run_config
from holoprop.train.metrics import read_records


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """What a run came to; `None` for what it did not come to record.

    **Attributes:** `folder`; `name`, `data`, `estimator`: of its configuration; `epochs`, `epochs_asked`; `step`,
    `steps_asked`: the last step on record, and how many there are to be, `None` if only the data can tell;
    `test_accuracy` after the last epoch, `best_accuracy` and the `best_epoch` it came after; `cosine` of the gradient
    to the exact one; `unsettled`, the share in the last epoch; `seconds` of training; `date` it was begun; `finished`:
    whether it went to its end.
    """

    folder: str
    name: str
    data: str
    estimator: str
    epochs: int
    epochs_asked: int
    step: int
    steps_asked: int | None
    test_accuracy: float | None
    best_accuracy: float | None
    best_epoch: int | None
    cosine: float | None
    unsettled: float | None
    seconds: float
    date: str | None
    finished: bool

    @property
    def state(self) -> str:
        """Whether it is finished, or else how far it has come: nobody can tell whether it goes on somewhere."""
        of = "" if self.steps_asked is None else f" of {self.steps_asked}"
        return "finished" if self.finished else f"at step {self.step}{of}"


@dataclasses.dataclass(frozen=True)
class RunList:
    """The runs below a folder, and one line for each folder in which no run could be read."""

    runs: tuple[RunSummary, ...]
    problems: tuple[str, ...]


_BEST_FIRST = ("test_accuracy", "best_accuracy", "cosine")
SORT_KEYS = tuple(field.name for field in dataclasses.fields(RunSummary) if "asked" not in field.name)
"""What runs can be sorted by."""


def list_runs(folder: Path, sort: str = "folder") -> RunList:
    """Return the runs in the folders below `folder`, at any depth, or in `folder` itself.

    **Arguments:** `sort`: one of `SORT_KEYS`; accuracies and cosines from the highest down, all else upwards, runs
    without that number last.

    **Raises:** `ValueError`, one line, for an unknown `sort`, or if `folder` is no folder.
    """
    if sort not in SORT_KEYS:
        raise ValueError(
            f"--sort must be one of {', '.join(SORT_KEYS)}, got {sort!r}{did_you_mean(sort, [*SORT_KEYS])}"
        )
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: name the one that holds the runs")
    runs: list[RunSummary] = []
    problems: list[str] = []
    for each, is_run in [(folder, True)] if _is_run(folder) else _below(folder):
        if not is_run:
            problems.append(f"{each} is not the folder of a run: it has no config.toml")
            continue
        try:
            runs.append(summarise_run(each))
        except (ValueError, OSError) as error:
            problems.append(" ".join(str(error).split()))
    runs.sort(key=lambda run: run.folder)
    having = [run for run in runs if getattr(run, sort) is not None]
    having.sort(key=lambda run: getattr(run, sort), reverse=sort in _BEST_FIRST)
    return RunList((*having, *(run for run in runs if getattr(run, sort) is None)), tuple(problems))


def summarise_run(folder: Path) -> RunSummary:
    """Return what the run in `folder` came to.

    **Raises:** `ValueError`, one line that names the folder, if one of its files cannot be read.
    """
    return _read(folder)[1]


def compare_runs(folders: Sequence[Path]) -> tuple[list[RunSummary], dict[str, list[Any]]]:
    """Return what runs came to, and the keys of their configurations in which they differ.

    **Arguments:** `folders`: of two runs or more.

    **Returns:** the summaries, and by `section.key` the values of each run, in their order, `None` where it has none.

    **Raises:** `ValueError`, one line, for fewer than two folders, or one that cannot be read.
    """
    if len(folders) < 2:
        raise ValueError("comparing needs two runs or more: name their folders")
    read = [_read(folder) for folder in folders]
    summaries = [summary for _, summary in read]
    flat = [_flattened(config.model_dump(mode="json", exclude_none=True)) for config, _ in read]
    keys = list(dict.fromkeys(key for values in flat for key in values if key != "name"))
    table = {key: [values.get(key) for values in flat] for key in keys}
    return summaries, {key: row for key, row in table.items() if any(value != row[0] for value in row)}


def _is_run(folder: Path) -> bool:
    return (folder / "config.toml").is_file()


def _below(folder: Path) -> list[tuple[Path, bool]]:
    """Folders below `folder` that are runs, and those that neither are runs nor hold any."""
    found: list[tuple[Path, bool]] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return found
    for entry in entries:
        # A link may lead round in a circle.
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            continue
        # Of a sweep, these are what its workers said.
        if entry.name == "logs" and (folder / "sweep.json").is_file():
            continue
        path = Path(entry.path)
        if _is_run(path):
            found.append((path, True))
        else:
            inside = _below(path)
            found += inside if any(is_run for _, is_run in inside) else [(path, False)]
    return found


def _read(folder: Path) -> tuple[Config, RunSummary]:
    try:
        config = read_run_config(folder)
        return config, _summary(folder, config)
    except ValueError as error:
        # What is wrong with a configuration is said without its place.
        raise ValueError(str(error) if str(folder) in str(error) else f"{folder}: {error}") from None
    except (TypeError, AttributeError, KeyError):
        raise ValueError(f"{folder} is damaged: its records are not those of a run") from None


def _summary(folder: Path, config: Config) -> RunSummary:
    records = read_records(folder / "metrics.jsonl")
    epochs = [record for record in records if record.get("kind") == "epoch"]
    last: Mapping[str, Any] = epochs[-1] if epochs else {}
    tested = [record for record in epochs if record.get("test_accuracy") is not None]
    best: Mapping[str, Any] = max(tested, key=lambda record: record["test_accuracy"]) if tested else {}
    check = _read_object(folder / "gradient_check.json")
    under_way = records[-1] if records and records[-1].get("kind") == "step" else {}
    done = int(last.get("epoch", 0))
    date = _read_object(folder / "environment.json").get("date")
    samples, per_batch = config.data.train_samples, config.training.batch_size
    steps_asked = None if samples is None else config.training.epochs * (samples // per_batch)
    return RunSummary(
        folder=str(folder),
        name=config.name,
        data=config.data.name,
        estimator=config.estimator.name,
        epochs=done,
        epochs_asked=config.training.epochs,
        step=int(records[-1].get("step", 0)) if records else 0,
        steps_asked=steps_asked,
        test_accuracy=_number(last.get("test_accuracy")),
        best_accuracy=_number(best.get("test_accuracy")),
        best_epoch=best.get("epoch"),
        cosine=_number(check.get("total", {}).get("cosine") if check else last.get("cosine")),
        unsettled=_number(last.get("unsettled")),
        seconds=sum(_number(record.get("seconds")) or 0.0 for record in (*epochs, under_way)),
        date=None if date is None else str(date),
        finished=(folder / "evaluation.npz").is_file() and done >= config.training.epochs,
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return value


def _flattened(tree: Mapping[str, Any], begins: str = "") -> dict[str, Any]:
    """Values by their keys joined with points."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flattened(value, f"{begins}{key}.") if isinstance(value, Mapping) else {f"{begins}{key}": value}
    return flat

"""The folder of a sweep: what was asked for in `sweep.json`, a run folder for each trial, results, a page.

sweep.json  trials/NAME/  logs/NAME.log  results.parquet  results.csv  sweep.html
"""

import contextlib
import datetime
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holoprop.experiments.config import Config, parse_config
from holoprop.experiments.run_folder import FILES, RunFolderError, write_json
from holoprop.experiments.sweep.grid import Axis
from holoprop.experiments.sweep.trial import RESULT, Trial
from holoprop.train.bookkeeping import KEPT

SWEEP = "sweep.json"
"""The file that makes a folder that of a sweep."""
_FORMAT = "holoprop-sweep-1"
_MADE = ("results.parquet", "results.csv", "sweep.html")


def begin_sweep(
    folder: Path, source: str, axes: Sequence[Axis], trials: Sequence[Trial], *, resume: bool, overwrite: bool
) -> None:
    """Make `folder` that of this sweep, or make sure that it is already.

    **Arguments:** `resume`: go on with the sweep that is there, which must be this one; `overwrite`: remove what it
    left, and nothing else.

    **Raises:** `RunFolderError`, one line, if a sweep is there and neither was asked for; if there is none to resume,
    or it is another one; if the folder holds something else.
    """
    if resume and overwrite:
        raise RunFolderError("a sweep is either resumed or overwritten: give one of the two")
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file, not a folder: choose another name")
    is_sweep = (folder / SWEEP).is_file()
    if resume:
        if not is_sweep:
            raise RunFolderError(f"there is no sweep in {folder} to resume: start it without resuming")
        _check_same(folder, axes, trials)
        return
    if is_sweep and not overwrite:
        raise RunFolderError(f"{folder} holds a sweep already: resume it, overwrite it, or choose another name")
    if not is_sweep and folder.is_dir() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty and holds no sweep: choose another name")
    if is_sweep:
        _remove(folder)
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    write_json(
        folder / SWEEP,
        {
            "format": _FORMAT,
            "source": source,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "grid": {axis.key: axis.texts for axis in axes},
            "trials": [trial.config.model_dump(mode="json", exclude_none=True) for trial in trials],
        },
    )


def read_sweep(folder: Path) -> dict[str, Any]:
    """Return what `sweep.json` says: `source`, `date`, `grid` (values as written, by key), `trials` (configurations).

    **Raises:** `RunFolderError`, one line, if it is not there or damaged.
    """
    path = folder / SWEEP
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        if whole["format"] != _FORMAT:
            raise ValueError(f"its format is {whole['format']!r}, not {_FORMAT!r}")
        for trial in whole["trials"]:
            # The names become those of folders.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", trial["name"]):
                raise ValueError(f"{trial['name']!r} is no name of a trial")
        return whole
    except FileNotFoundError:
        raise RunFolderError(f"{folder} is not the folder of a sweep: it has no {SWEEP}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged ({error}): delete {folder}, or choose another name") from None


def _check_same(folder: Path, axes: Sequence[Axis], trials: Sequence[Trial]) -> None:
    there = read_sweep(folder)
    shown = {key: list(texts) for key, texts in there["grid"].items()}
    here = {axis.key: list(axis.texts) for axis in axes}
    # Order counts: it is in the names of the trials.
    if list(shown.items()) != list(here.items()):
        raise RunFolderError(
            f"{folder} cannot be resumed with another grid: it was {_grid(shown)} there and is {_grid(here)} here"
        )
    for old, trial in zip(there["trials"], trials, strict=True):
        difference = _difference(parse_config(old), trial.config)
        if difference:
            raise RunFolderError(f"{folder} cannot be resumed with another configuration: {trial.name}: {difference}")


def _grid(grid: dict[str, list[str]]) -> str:
    return " × ".join(f"{key}={','.join(texts)}" for key, texts in grid.items())


def _difference(there: Config, here: Config) -> str | None:
    before, now = there.model_dump(), here.model_dump()
    for section, keys in now.items():
        if not isinstance(keys, dict):
            if keys != before[section]:
                return f"{section} was {before[section]!r} there and is {keys!r} here"
            continue
        for key, value in keys.items():
            if value != before[section][key]:
                return f"{section}.{key} was {before[section][key]!r} there and is {value!r} here"
    return None


def _remove(folder: Path) -> None:
    """Remove what a sweep left. Results go first, so that an interrupted removal leaves trials that are not done."""
    trials = [trial["name"] for trial in read_sweep(folder)["trials"]]
    for name in trials:
        (folder / "trials" / name / RESULT).unlink(missing_ok=True)
    for name in _MADE:
        (folder / name).unlink(missing_ok=True)
    for name in trials:
        place = folder / "trials" / name
        (folder / "logs" / f"{name}.log").unlink(missing_ok=True)
        for path in (*(place / file for file in FILES), *place.glob(f"{KEPT}*")):
            if path.name != "config.toml":
                path.unlink(missing_ok=True)
        # A folder with something of somebody else's stays, and stays that of a run.
        if place.is_dir() and [path.name for path in place.iterdir()] in (["config.toml"], []):
            (place / "config.toml").unlink(missing_ok=True)
            place.rmdir()
    for name in ("trials", "logs"):
        with contextlib.suppress(OSError):
            (folder / name).rmdir()

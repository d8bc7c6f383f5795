"""An outcome on disk: `outcome.json` beside `arrays.npz`, in a folder of the experiment's name."""

import contextlib
import dataclasses
import json
import math
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from holoprop.experiments.reproduce.outcome import Claim, Outcome, Table
from holoprop.experiments.run_folder import write_arrays, write_json


def parts_folder(folder: Path, seed: int | None) -> Path:
    """Return where the parts of an experiment lie until its outcome and its page are there (see `Runner`)."""
    return folder / "parts" / ("default" if seed is None else f"seed-{seed}")


def remove_parts(folder: Path, seed: int | None) -> None:
    """Remove the parts of an outcome that has been written; those of other seeds stay."""
    parts = parts_folder(folder, seed)
    shutil.rmtree(parts, ignore_errors=True)
    with contextlib.suppress(OSError):
        parts.parent.rmdir()


def write_outcome(folder: Path, outcome: Outcome) -> Path:
    """Write an outcome into `folder`, which is made if need be, and return the path of its JSON file.

    **Raises:** `OSError` from the file system.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder / "arrays.npz", outcome.arrays)
    write_json(folder / "outcome.json", _without_arrays(outcome))
    return folder / "outcome.json"


def write_record(folder: Path, outcome: Outcome) -> Path:
    """Write an outcome without its arrays to `SCALE-NAME.json` in `folder`, which is made if need be.

    **Raises:** `OSError` from the file system.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.scale}-{outcome.name}.json"
    write_json(path, _without_arrays(outcome))
    return path


def read_records(paths: Iterable[Path], damaged: Callable[[str], None] | None = None) -> list[Outcome]:
    """Return outcomes without their arrays, from files that `write_record` or `write_outcome` left.

    **Arguments:** `damaged`: told of a file that is damaged, which is then left out; without it that is an error.

    **Raises:** `OSError` if one is not there, `ValueError` if one is damaged and nobody is to be told.
    """
    outcomes = []
    for path in sorted(paths):
        try:
            outcomes.append(_read(path, {}))
        except ValueError as error:
            if damaged is None:
                raise
            damaged(str(error))
    return outcomes


def read_outcome(folder: Path) -> Outcome:
    """Return the outcome that `write_outcome` left in `folder`.

    **Raises:** `OSError` if it is not there, `ValueError` if it is damaged.
    """
    try:
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{folder / 'arrays.npz'} is damaged ({error!r}): run the experiment again") from None
    return _read(folder / "outcome.json", arrays)


def _without_arrays(outcome: Outcome) -> dict[str, Any]:
    whole = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    del whole["arrays"]
    whole["claims"] = [
        dataclasses.asdict(claim) | {"value": _number(claim.value), "holds": claim.holds} for claim in outcome.claims
    ]
    whole["tables"] = [dataclasses.asdict(table) for table in outcome.tables]
    return whole


def _read(path: Path, arrays: dict[str, np.ndarray]) -> Outcome:
    try:
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole["arrays"] = arrays
        whole["claims"] = [_claim(each) for each in whole["claims"]]
        whole["tables"] = [
            Table(each["title"], tuple(each["columns"]), [tuple(row) for row in each["rows"]])
            for each in whole["tables"]
        ]
        return Outcome(**whole)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): run the experiment again") from None


def _number(value: float) -> float | str:
    """A number as JSON can hold it: those that are not finite by their names."""
    return value if math.isfinite(value) else str(float(value))


def _claim(stored: dict[str, Any]) -> Claim:
    return Claim(stored["text"], float(stored["value"]), stored["relation"], stored["limit"], stored["source"])

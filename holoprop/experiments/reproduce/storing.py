"""An outcome on disk: `outcome.json` beside `arrays.npz`, in a folder of the experiment's name."""

import contextlib
import dataclasses
import json
import math
import shutil
import zipfile
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
    whole = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    del whole["arrays"]
    whole["claims"] = [
        dataclasses.asdict(claim) | {"value": _number(claim.value), "holds": claim.holds} for claim in outcome.claims
    ]
    whole["tables"] = [dataclasses.asdict(table) for table in outcome.tables]
    write_arrays(folder / "arrays.npz", outcome.arrays)
    write_json(folder / "outcome.json", whole)
    return folder / "outcome.json"


def read_outcome(folder: Path) -> Outcome:
    """Return the outcome that `write_outcome` left in `folder`.

    **Raises:** `OSError` if it is not there, `ValueError` if it is damaged.
    """
    path = folder / "outcome.json"
    try:
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            whole["arrays"] = {name: stored[name] for name in stored.files}
        whole["claims"] = [_claim(each) for each in whole["claims"]]
        whole["tables"] = [
            Table(each["title"], tuple(each["columns"]), [tuple(row) for row in each["rows"]])
            for each in whole["tables"]
        ]
        return Outcome(**whole)
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error!r}): run the experiment again") from None


def _number(value: float) -> float | str:
    """A number as JSON can hold it: those that are not finite by their names."""
    return value if math.isfinite(value) else str(float(value))


def _claim(stored: dict[str, Any]) -> Claim:
    return Claim(stored["text"], float(stored["value"]), stored["relation"], stored["limit"], stored["source"])

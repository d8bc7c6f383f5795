"""Metrics as JSON lines, the running means of an epoch, and shares as people read them.

One object a line, strict JSON: a mean over nothing (no sample was kept) is `null`, never `NaN`. On resuming, lines
written after the checkpoint are dropped, so the file reads as if the run had never stopped.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from holoprop.data.files import write_atomic


class MetricsFile:
    """The file `metrics.jsonl` of a run; with no path, records are kept by the caller alone."""

    def __init__(self, path: Path | None, *, keep_until: int | None = None, epochs: int = 0) -> None:
        """Open `path`; keep the records up to step `keep_until` and of the first `epochs` ends of an epoch.

        With `keep_until=None` the file starts empty.
        """
        self.path = path
        if path is None:
            return
        lines: list[str] = []
        if keep_until is not None and path.exists():
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    break  # the line that was being written when the run was killed
                # An epoch may have been recorded at the very step of the checkpoint, and yet be about to end again.
                ended_later = record.get("kind") == "epoch" and record["epoch"] > epochs
                if record.get("step", 0) <= keep_until and not ended_later:
                    lines.append(line)
        write_atomic(path, "".join(line + "\n" for line in lines).encode())

    def write(self, record: dict[str, Any]) -> dict[str, Any]:
        """Append one record and return it as written (NaN replaced by `None`)."""
        clean = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in record.items()
        }
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(clean, allow_nan=False) + "\n")
        return clean


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a `metrics.jsonl`, none if it is not there; a last line that is not whole does not count.

    **Raises:** `ValueError`, one line, if another line is no record.
    """
    if not path.is_file():
        return []
    records: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        elif number < len(lines):
            raise ValueError(f"{path} is damaged: line {number} is no record")
    return records


@dataclasses.dataclass
class EpochMeans:
    """Sums over an epoch so far; stored in checkpoints, so that a resumed epoch reports what a straight one does."""

    samples: int = 0
    kept: int = 0
    loss: float = 0.0
    correct: float = 0.0
    unsettled: float = 0.0
    residual_log10: float = 0.0
    finite: int = 0
    sweeps: float = 0.0
    seconds: float = 0.0

    def add(self, batch_size: int, metrics: dict[str, float]) -> None:
        """Add one step's metrics, weighted by the samples they are means over."""
        kept = int(metrics["kept"])
        self.samples += batch_size
        self.kept += kept
        if kept:
            self.loss += kept * metrics["loss"]
            self.correct += kept * metrics["accuracy"]
        self.unsettled += batch_size * metrics["unsettled"]
        # A diverged sample has no residual to speak of, and one must not cost the epoch its mean.
        finite = int(metrics["finite"])
        self.finite += finite
        if finite:
            self.residual_log10 += finite * metrics["residual_log10"]
        self.sweeps += batch_size * metrics["sweeps"]

    def record(self) -> dict[str, float]:
        """Return the epoch's means: loss and accuracy over kept samples, residuals over finite ones, the rest over all.

        NaN where there was nothing to take the mean over.
        """
        kept, samples, finite = (count or math.nan for count in (self.kept, self.samples, self.finite))
        return {
            "train_loss": self.loss / kept,
            "train_accuracy": self.correct / kept,
            "unsettled": self.unsettled / samples,
            "residual_log10": self.residual_log10 / finite,
            "sweeps": self.sweeps / samples,
            "seconds": self.seconds,
        }


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as `97.50 %`, with so many `digits` behind the point; a dash for `None`.

    One sample in ten thousand must not read as none, so a share that would round to 0 is shown as `<0.01 %`.
    """
    if share is None:
        return "–"
    least = 10.0**-digits
    return f"<{least:.{digits}f} %" if 0 < 100 * share < least / 2 else f"{100 * share:.{digits}f} %"

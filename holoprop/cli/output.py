"""What all commands print with."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def complain(line: str, status: int) -> int:
    """Print a line on standard error, and return the status to exit with."""
    print(f"holoprop: {line}", file=sys.stderr)
    return status


def check_place(folder: Path) -> Path:
    """Return `folder` if it can be written to, or made, as far as can be told beforehand.

    **Raises:** `ValueError`, one line, if it or a part of its path is a file, or the file system does not let us write.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise ValueError(f"{folder}: {there} is a file, not a folder: name another place by --folder")
    if not os.access(there, os.W_OK):
        raise ValueError(f"{folder}: {there} is not writable: name another place by --folder")
    return folder


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under a header, columns aligned."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    from holoprop.experiments.run_folder import to_json

    print(to_json(value))

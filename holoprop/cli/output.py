"""What all commands print with."""

import sys
from collections.abc import Sequence
from typing import Any


def complain(line: str, status: int) -> int:
    """Print a line on standard error, and return the status to exit with."""
    print(f"holoprop: {line}", file=sys.stderr)
    return status


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows under a header, columns aligned."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    from holoprop.experiments.run_folder import to_json

    print(to_json(value))

"""The results of a sweep as a table, one row a trial: parquet for programs, CSV for people, read back for the page."""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holoprop.data.files import write_atomic
from holoprop.experiments.run_folder import RunFolderError
from holoprop.experiments.sweep.trial import TrialResult

PARQUET, CSV = "results.parquet", "results.csv"


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of a trial.

    **Attributes:** `trial`: its name; `point`: the values of the grid's keys; `seed`; `state`: `done`, `failed` or
    `missing` (not run yet); `reason`: why it failed; `tries`; `result`: of a trial that is done.
    """

    trial: str
    point: dict[str, Any]
    seed: int
    state: str
    reason: str | None = None
    tries: int = 0
    result: TrialResult | None = None


@dataclasses.dataclass(frozen=True)
class SweepResults:
    """The rows of a sweep, in the order of its trials; `keys` of its grid; its `folder`."""

    folder: Path
    keys: tuple[str, ...]
    rows: list[Row]

    @property
    def best(self) -> Row | None:
        """The row of the highest test accuracy in any epoch, the first of equals; `None` if no trial is done."""
        done = [row for row in self.rows if row.result is not None]
        return max(done, key=best_accuracy, default=None)

    def count(self, state: str) -> int:
        """Return how many trials are in a state."""
        return sum(row.state == state for row in self.rows)


def best_accuracy(row: Row) -> float:
    """Return the highest test accuracy of a trial in any epoch, 0…1; -1 if there is none."""
    value = None if row.result is None else row.result.best_test_accuracy
    return -1.0 if value is None else value


def write_results(results: SweepResults) -> None:
    """Write `results.parquet` and `results.csv` into the sweep's folder, atomically.

    Columns: `trial`, the grid's keys (integers, numbers, booleans or text; lists and mixtures as text), `seed`,
    `state`, `reason`, and those of `TrialResult`.

    **Raises:** `OSError` from the file system.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    rows = results.rows
    columns: list[tuple[str, Any, list[Any]]] = [("trial", pa.string(), [row.trial for row in rows])]
    for key in results.keys:
        kind, values = _column([row.point.get(key) for row in rows])
        columns.append((key, getattr(pa, kind)(), values))
    columns += [
        ("seed", pa.int64(), [row.seed for row in rows]),
        ("state", pa.string(), [row.state for row in rows]),
        ("reason", pa.string(), [row.reason for row in rows]),
    ]
    for field in dataclasses.fields(TrialResult):
        kind = pa.int64() if field.type is int else pa.float64()
        values = [None if row.result is None else getattr(row.result, field.name) for row in rows]
        if field.name == "tries":
            values = [row.tries for row in rows]
        columns.append((field.name, kind, values))
    schema = pa.schema([(name, kind) for name, kind, _ in columns], metadata={"keys": json.dumps(results.keys)})
    table = pa.table({name: values for name, _, values in columns}, schema=schema)
    for name, write in ((PARQUET, pyarrow.parquet.write_table), (CSV, pyarrow.csv.write_csv)):
        buffer = io.BytesIO()
        write(table, buffer)
        write_atomic(results.folder / name, buffer.getvalue())


def read_results(folder: Path) -> SweepResults:
    """Return the results in a sweep's folder.

    **Raises:** `RunFolderError`, one line, if they are not there or cannot be read.
    """
    import pyarrow.parquet

    path = folder / PARQUET
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(path.read_bytes()))
        keys = tuple(json.loads((table.schema.metadata or {})[b"keys"]))
        return SweepResults(folder, keys, [_row(record, keys) for record in table.to_pylist()])
    except FileNotFoundError:
        raise RunFolderError(f"{folder} holds no {PARQUET}: run the sweep first") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise RunFolderError(f"{path} cannot be read ({reason}): run the sweep with --resume") from None


def _row(record: dict[str, Any], keys: Sequence[str]) -> Row:
    names = [field.name for field in dataclasses.fields(TrialResult)]
    result = TrialResult(**{name: record[name] for name in names}) if record["state"] == "done" else None
    point = {key: record[key] for key in keys}
    given = {name: record[name] for name in ("trial", "seed", "state", "reason", "tries")}
    return Row(point=point, result=result, **given)


def _column(values: Sequence[Any]) -> tuple[str, list[Any]]:
    """The type that holds all values of a key, by its name in pyarrow, and the values as that."""
    kinds = {type(value) for value in values if value is not None}
    for name, allowed in (("bool_", {bool}), ("int64", {int}), ("float64", {int, float}), ("string", {str})):
        if kinds and kinds <= allowed:
            return name, [float(v) if name == "float64" and v is not None else v for v in values]
    return "string", [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]

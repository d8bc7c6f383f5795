"""The table of results. Oracles: the rows that went in, and Python's own reader of CSV."""

import csv
import dataclasses
from pathlib import Path

import pytest

from holoprop.experiments.run_folder import RunFolderError
from holoprop.experiments.sweep.table import Row, read_results, write_results
from tests.experiments.sweep.rows import made


def test_rows_come_back_and_columns_have_types(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    some = made(
        tmp_path,
        ({"a.rate": 1, "a.steps": 3, "a.radius": "auto", "a.hidden": [64, 32], "a.on": True, "a.none": None}, 0.9),
        ({"a.rate": 0.5, "a.steps": 4, "a.radius": 0.1, "a.hidden": [64], "a.on": False, "a.none": None}, None),
    )
    some.rows.append(Row("003-x", some.rows[0].point, 9, "missing"))
    write_results(some)
    back = read_results(some.folder)
    # What has no one type became text.
    texts = [("auto", "[64, 32]"), ("0.1", "[64]"), ("auto", "[64, 32]")]
    wanted = [
        dataclasses.replace(row, point={**row.point, "a.radius": radius, "a.hidden": hidden})
        for row, (radius, hidden) in zip(some.rows, texts, strict=True)
    ]
    assert (back.keys, back.rows) == (some.keys, wanted)
    schema = pyarrow.parquet.read_schema(some.folder / "results.parquet")
    kinds = [schema.field(key).type for key in some.keys]
    assert kinds == [pa.float64(), pa.int64(), pa.string(), pa.string(), pa.bool_(), pa.string()]
    with (some.folder / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["trial"] for line in lines] == ["001-x", "002-x", "003-x"]
    assert [line["best_test_accuracy"] for line in lines] == ["0.9", "", ""]
    assert [line["a.hidden"] for line in lines] == ["[64, 32]", "[64]", "[64, 32]"]
    assert [line["reason"] for line in lines] == ["", "step 3: <it> diverged", ""]


def test_the_first_of_the_best_is_the_best(tmp_path: Path) -> None:
    some = made(tmp_path, *(({"a.b": i}, best) for i, best in enumerate([0.5, None, 0.9, 0.9])))
    assert some.best is some.rows[2]
    assert [some.count(state) for state in ("done", "failed", "missing")] == [3, 1, 0]
    assert made(tmp_path, ({"a.b": 1}, None)).best is None


def test_a_table_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    some = made(tmp_path, ({"a.b": 1}, 0.5))
    with pytest.raises(RunFolderError, match=r"holds no results\.parquet: run the sweep first$"):
        read_results(some.folder)
    (some.folder / "results.parquet").write_bytes(b"not it")
    with pytest.raises(RunFolderError, match=r"results\.parquet cannot be read \(.*\): run the sweep with --resume$"):
        read_results(some.folder)

"""Which trials are started, how often, and what is said of them. Oracle: the script that an engine follows."""

import dataclasses
import json
from pathlib import Path

import pytest

from holoprop.experiments.sweep.engine import Engine
from holoprop.experiments.sweep.running import run_sweep
from holoprop.experiments.sweep.table import SweepResults, read_results
from holoprop.experiments.sweep.trial import Ending, attempt
from tests.experiments.sweep.rows import TINY, result

DIED = Ending("its worker was killed by SIGKILL", again=True)


class Scripted:
    """An engine whose tries end as `script` says, by trial; what it does not name fails for good."""

    def __init__(self, **script: list[Ending]) -> None:
        self.script, self.started, self.under_way = script, [], []

    def __enter__(self) -> "Scripted":
        return self

    def __exit__(self, *_: object) -> None:
        self.left = True

    def start(self, trial, folder: Path, tries: int) -> None:
        assert folder.name == trial.name
        self.started.append((trial.name, tries))
        self.under_way.append(trial)

    def wait(self):
        trial = self.under_way.pop(0)
        ending = self.script.get(trial.name[:3].replace("00", "t"), [Ending("no")]).pop(0)
        if ending is KeyboardInterrupt:
            raise KeyboardInterrupt
        return trial, ending


def _sweep(folder: Path, engine: Engine, *, grid: str = "training.seed=1,2,3", **options) -> SweepResults:
    return run_sweep("digits-mlp", [grid], folder, engine=engine, overrides=TINY, **options)


def test_a_worker_that_dies_is_replaced_so_often_and_a_fault_is_not_tried_again(tmp_path: Path) -> None:
    engine = Scripted(t1=[DIED, DIED, DIED], t2=[DIED, Ending("not finite")], t3=[Ending("not finite")])
    told: list[str] = []
    results = _sweep(tmp_path / "s", engine, retries=2, progress=told.append)
    assert sorted(engine.started) == sorted(
        [
            ("001-seed-1", 1),
            ("001-seed-1", 2),
            ("001-seed-1", 3),
            ("002-seed-2", 1),
            ("002-seed-2", 2),
            ("003-seed-3", 1),
        ]
    )
    assert [(row.state, row.reason, row.tries) for row in results.rows] == [
        ("failed", "its worker was killed by SIGKILL", 3),
        ("failed", "not finite", 2),
        ("failed", "not finite", 1),
    ]
    assert read_results(tmp_path / "s").rows == results.rows
    assert engine.left
    assert told[:2] == [
        "001-seed-1: its worker was killed by SIGKILL; trying again (1 of 2)",
        "002-seed-2: its worker was killed by SIGKILL; trying again (1 of 2)",
    ]
    assert told[-1] == "3/3 · 001-seed-1: failed: its worker was killed by SIGKILL"


def test_an_interrupt_leaves_the_table_of_what_is_known(tmp_path: Path) -> None:
    engine = Scripted(t1=[Ending("not finite")], t2=[KeyboardInterrupt])  # pyright: ignore[reportArgumentType]
    with pytest.raises(KeyboardInterrupt):
        _sweep(tmp_path / "s", engine)
    assert [row.state for row in read_results(tmp_path / "s").rows] == ["failed", "missing", "missing"]
    assert engine.left


def test_resuming_starts_only_what_has_no_whole_result(tmp_path: Path) -> None:
    """Failed trials among them: whoever resumes may have freed the disk that they died of."""
    _sweep(tmp_path / "s", Scripted())
    for name, content in (("001-seed-1", json.dumps(dataclasses.asdict(result(0.5)))), ("003-seed-3", '{"epochs": 1')):
        (tmp_path / "s" / "trials" / name).mkdir()
        (tmp_path / "s" / "trials" / name / "result.json").write_text(content)
    engine = Scripted(t3=[DIED, Ending("no")])
    results = _sweep(tmp_path / "s", engine, resume=True)
    assert engine.started == [("002-seed-2", 1), ("003-seed-3", 1), ("003-seed-3", 2)]
    assert [row.state for row in results.rows] == ["done", "failed", "failed"]
    assert results.rows[0].result == result(0.5)


def test_a_fault_before_anything_runs_leaves_nothing(tmp_path: Path) -> None:
    engine = Scripted()
    with pytest.raises(ValueError, match=r"^trial 002 \(training\.seed=-1\): training\.seed must be "):
        _sweep(tmp_path / "s", engine, grid="training.seed=1,-1")
    with pytest.raises(ValueError, match=r"^--retries must be at least 0, got -1$"):
        _sweep(tmp_path / "s", engine, retries=-1)
    assert engine.started == [] and list(tmp_path.iterdir()) == []


def test_data_that_are_not_there_are_a_fault_that_would_come_again(tmp_path: Path, monkeypatch) -> None:
    from holoprop.experiments.sources import load_config

    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "nowhere"))
    ending = attempt(load_config("mnist-mlp"), tmp_path / "trial", 1)
    assert ending == Ending(
        f"HOLOPROP_DATA={tmp_path / 'nowhere'} is not a folder; correct it or unset it", again=False
    )

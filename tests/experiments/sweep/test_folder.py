"""The folder of a sweep: who may write there, and what is removed. Oracle: the folder's contents, by hand."""

import json
from pathlib import Path

import pytest

from holoprop.experiments.run_folder import RunFolderError
from holoprop.experiments.sweep.folder import begin_sweep, read_sweep
from holoprop.experiments.sweep.grid import parse_axis
from holoprop.experiments.sweep.plan import plan_trials


def begin(
    folder: Path, grid: str = "training.seed=1,2", *overrides: str, resume: bool = False, overwrite: bool = False
):
    axes = [parse_axis(grid)]
    trials = plan_trials("digits-mlp", axes, overrides)
    begin_sweep(folder, "digits-mlp", axes, trials, resume=resume, overwrite=overwrite)


def refused(folder: Path, *arguments: str, **wish: bool) -> str:
    with pytest.raises(RunFolderError) as caught:
        begin(folder, *arguments, **wish)
    return str(caught.value)


def test_who_may_write_where(tmp_path: Path) -> None:
    sweep, foreign, file = tmp_path / "sweep", tmp_path / "foreign", tmp_path / "file"
    begin(sweep)
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("precious")
    file.write_text("x")
    assert refused(sweep) == f"{sweep} holds a sweep already: resume it, overwrite it, or choose another name"
    for wish in ({}, {"overwrite": True}):
        assert refused(foreign, **wish) == f"{foreign} is not empty and holds no sweep: choose another name"
        assert refused(file, **wish) == f"{file} is a file, not a folder: choose another name"
    for folder in (foreign, tmp_path / "absent"):
        assert refused(folder, resume=True) == f"there is no sweep in {folder} to resume: start it without resuming"
    assert "either" in refused(sweep, resume=True, overwrite=True)
    begin(sweep, resume=True)
    assert read_sweep(sweep)["grid"] == {"training.seed": ["1", "2"]}


def test_only_the_same_sweep_is_resumed(tmp_path: Path) -> None:
    begin(tmp_path / "s")
    assert refused(tmp_path / "s", "training.seed=1,3", resume=True) == (
        f"{tmp_path / 's'} cannot be resumed with another grid: it was training.seed=1,2 there and is "
        "training.seed=1,3 here"
    )
    assert refused(tmp_path / "s", "training.seed=1,2", "training.epochs=7", resume=True) == (
        f"{tmp_path / 's'} cannot be resumed with another configuration: 001-seed-1: training.epochs was 30 there "
        "and is 7 here"
    )


def test_overwriting_removes_what_a_sweep_left_and_nothing_else(tmp_path: Path) -> None:
    begin(tmp_path)
    for name, files in (("001-seed-1", ["notes.txt"]), ("002-seed-2", [])):
        trial = tmp_path / "trials" / name
        trial.mkdir()
        for file in ("config.toml", "checkpoint.eqx", "report.html", "result.json", *files):
            (trial / file).write_text("old")
    for made in ("results.parquet", "results.csv", "sweep.html", "mine.txt"):
        (tmp_path / made).write_text("old")
    begin(tmp_path, "training.seed=5", overwrite=True)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    # The first trial's folder holds something of somebody's, and so stays that of a run.
    assert left == ["mine.txt", "sweep.json", "trials/001-seed-1/config.toml", "trials/001-seed-1/notes.txt"]
    assert list(read_sweep(tmp_path)["grid"].values()) == [["5"]]


@pytest.mark.parametrize("fault", ["{", "{}", '{"format": "other"}', "name"])
def test_a_damaged_sweep_is_one_line(tmp_path: Path, fault: str) -> None:
    begin(tmp_path)
    path = tmp_path / "sweep.json"
    if fault == "name":
        whole = json.loads(path.read_text())
        whole["trials"][0]["name"] = "../../elsewhere"
        fault = json.dumps(whole)
    path.write_text(fault)
    line = refused(tmp_path, overwrite=True)
    assert (
        line.startswith(f"{path} is damaged (")
        and line.endswith(f"): delete {tmp_path}, or choose another name")
        and "\n" not in line
    )

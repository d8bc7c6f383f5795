"""The folder of a run: who may write there, and that nothing is ever half there."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import holoprop
from holoprop.experiments.config import Config
from holoprop.experiments.environment import describe_environment
from holoprop.experiments.run_folder import (
    FILES,
    RunFolderError,
    begin_folder,
    check_folder,
    read_run_config,
    to_json,
    write_arrays,
    write_text,
)

Tiny = Callable[..., Config]


def test_a_new_folder_holds_configuration_and_environment(tmp_path: Path, tiny: Tiny) -> None:
    """Oracle: what was put in."""
    folder = tmp_path / "a" / "b"
    check_folder(folder, tiny(), resume=False, overwrite=False)
    begin_folder(folder, tiny())
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "environment.json"]
    assert read_run_config(folder) == tiny()
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["holoprop"] == holoprop.__version__
    versions = {"holoprop", "commit", "jax", "jaxlib", "equinox", "optax", "numpy", "python"}
    assert set(environment) == versions | {"platform", "processor", "device", "x64", "date"}
    assert environment["x64"] is describe_environment()["x64"] is False


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(tmp_path: Path, tiny: Tiny) -> None:
    begin_folder(tmp_path, tiny())
    for name in (*FILES[1:], "notes.txt"):
        (tmp_path / name).write_text("old")
    check_folder(tmp_path, tiny("training.seed=1"), resume=False, overwrite=True)
    begin_folder(tmp_path, tiny("training.seed=1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "environment.json", "notes.txt"]
    assert read_run_config(tmp_path).training.seed == 1


def test_who_may_write_where(tmp_path: Path, tiny: Tiny) -> None:
    """Oracle: each state of the folder with each of the two wishes, by hand."""
    run, foreign, file = tmp_path / "run", tmp_path / "foreign", tmp_path / "file"
    begin_folder(run, tiny())
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("precious")
    file.write_text("x")

    def refused(folder: Path, **wish: bool) -> str:
        with pytest.raises(RunFolderError) as caught:
            check_folder(folder, tiny(), **{"resume": False, "overwrite": False, **wish})
        return str(caught.value)

    assert refused(run) == f"{run} holds a run already: resume it, overwrite it, or choose another name"
    for wish in ({}, {"overwrite": True}):
        assert refused(foreign, **wish) == f"{foreign} is not empty and holds no run: choose another name"
        assert refused(file, **wish) == f"{file} is a file, not a folder: choose another name"
    for folder in (foreign, tmp_path / "absent"):
        assert refused(folder, resume=True) == f"there is no run in {folder} to resume: start it without resuming"
    assert "either" in refused(run, resume=True, overwrite=True)
    check_folder(run, tiny(), resume=True, overwrite=False)
    check_folder(run, tiny(), resume=False, overwrite=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    check_folder(empty, tiny(), resume=False, overwrite=False)


def test_only_the_same_run_is_resumed(tmp_path: Path, tiny: Tiny) -> None:
    begin_folder(tmp_path, tiny())
    check_folder(tmp_path, tiny("training.epochs=9", "training.log_every=7"), resume=True, overwrite=False)
    with pytest.raises(RunFolderError, match=r"network\.hidden was \(12,\) there and is \(13,\) here$"):
        check_folder(tmp_path, tiny("network.hidden=[13]"), resume=True, overwrite=False)


def test_a_schedule_ties_a_run_to_its_epochs(tmp_path: Path, tiny: Tiny) -> None:
    """Half a cosine over 2 epochs is not the beginning of one over 9."""
    begin_folder(tmp_path, tiny("optimizer.schedule=cosine"))
    with pytest.raises(RunFolderError, match=r"training\.epochs was 2 there and is 9 here$"):
        longer = tiny("optimizer.schedule=cosine", "training.epochs=9")
        check_folder(tmp_path, longer, resume=True, overwrite=False)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the folder's contents before."""
    path = tmp_path / "config.toml"
    write_text(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(OSError, match="No space left"):
                write_text(path, "new")
        assert [entry.name for entry in tmp_path.iterdir()] == ["config.toml"]
        assert path.read_text() == "old"


def test_json_is_strict_and_arrays_come_back(tmp_path: Path) -> None:
    """Oracle: `json` with non-standard constants refused, and `numpy.load` without pickles."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = to_json({"a": [float("nan"), 1.5], "b": {"c": float("inf")}, "d": (1, None, "x")})
    assert json.loads(text, parse_constant=refuse) == {"a": [None, 1.5], "b": {"c": None}, "d": [1, None, "x"]}
    write_arrays(tmp_path / "x.npz", {"p": np.arange(3), "q": np.ones((0, 8, 8), np.float32)})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["p", "q"]
        assert (arrays["p"] == [0, 1, 2]).all()
        assert arrays["q"].shape == (0, 8, 8)

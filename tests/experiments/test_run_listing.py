"""Lists of runs. Oracle: files written by hand, as runs write them, and what they say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holoprop.experiments.config import Config
from holoprop.experiments.run_folder import begin_folder
from holoprop.experiments.run_listing import SORT_KEYS, compare_runs, list_runs, summarise_run

Tiny = Callable[..., Config]


def make_run(folder: Path, config: Config, accuracies: list[float | None], steps: int = 0, cosine: Any = None) -> Path:
    """A run of three steps an epoch with so many epochs behind it, and some steps more; finished if none is missing."""
    begin_folder(folder, config)
    records: list[dict[str, Any]] = []
    for number, accuracy in enumerate(accuracies, 1):
        records.append({"kind": "step", "step": 3 * number, "epoch": number, "seconds": 9.0})
        means = {"unsettled": 0.25, "seconds": 10.0, "cosine": 0.5, "test_accuracy": accuracy}
        records.append({"kind": "epoch", "epoch": number, "step": 3 * number, **means})
    done = 3 * len(accuracies)
    records += [
        {"kind": "step", "step": done + k, "epoch": len(accuracies) + 1, "seconds": 2.0 * k}
        for k in range(1, steps + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if len(accuracies) >= config.training.epochs:
        (folder / "evaluation.npz").write_bytes(b"")
        (folder / "gradient_check.json").write_text(json.dumps({"total": {"cosine": cosine}}))
    return folder


@pytest.fixture
def runs(tmp_path: Path, tiny: Tiny) -> Path:
    """A finished run, one that is on its way, one that has not begun; deeper down another; and what is no run."""
    make_run(tmp_path / "a", tiny(), [0.9, 0.8], cosine=0.999)
    make_run(tmp_path / "b", tiny("optimizer={name='adam', learning_rate=0.1, options={b1=0.5}}"), [0.95], steps=2)
    make_run(tmp_path / "c", tiny("estimator={name='implicit'}"), [])
    make_run(tmp_path / "sweep" / "d", tiny("training.seed=3"), [0.7, 0.85, 0.85], cosine=None)
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    (tmp_path / "sweep" / "logs").mkdir()
    (tmp_path / "sweep" / "pictures").mkdir()
    (tmp_path / "thesis" / "chapters").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_what_a_run_came_to(runs: Path) -> None:
    """Oracle: by hand."""
    run = summarise_run(runs / "a")
    assert (run.folder, run.name, run.data, run.estimator) == (str(runs / "a"), "tiny", "digits", "holomorphic")
    assert (run.epochs, run.epochs_asked, run.step, run.steps_asked) == (2, 2, 6, 6)
    assert (run.test_accuracy, run.best_accuracy, run.best_epoch) == (0.8, 0.9, 1)
    assert (run.cosine, run.unsettled, run.seconds, run.finished, run.state) == (0.999, 0.25, 20.0, True, "finished")
    assert run.date == json.loads((runs / "a" / "environment.json").read_text())["date"]
    cut = summarise_run(runs / "b")
    assert (cut.epochs, cut.step, cut.seconds, cut.state) == (1, 5, 14.0, "at step 5 of 6")
    assert cut.cosine == 0.5  # of its last epoch
    new = summarise_run(runs / "c")
    assert (new.step, new.test_accuracy, new.best_epoch, new.state) == (0, None, None, "at step 0 of 6")
    longer = summarise_run(runs / "sweep" / "d")
    assert (longer.best_epoch, longer.cosine) == (2, None)


def test_all_runs_are_found_and_all_else_is_named(runs: Path) -> None:
    listed = list_runs(runs)
    assert [Path(run.folder).relative_to(runs).as_posix() for run in listed.runs] == ["a", "b", "c", "sweep/d"]
    assert list(listed.problems) == [
        f"{runs / 'sweep' / 'pictures'} is not the folder of a run: it has no config.toml",
        f"{runs / 'thesis'} is not the folder of a run: it has no config.toml",
    ]
    assert [run.name for run in list_runs(runs / "a").runs] == ["tiny"]


def test_the_order(runs: Path) -> None:
    """Oracle: by hand; runs without the number come last."""

    def order(key: str) -> str:
        return "".join(Path(run.folder).name for run in list_runs(runs, key).runs)

    assert order("best_accuracy") == "badc"
    assert order("test_accuracy") == "bdac"
    assert order("cosine") == "abcd"
    assert order("step") == "cbad"
    assert order("finished") == "bcad"
    for key in SORT_KEYS:
        assert sorted(order(key)) == list("abcd")
    with pytest.raises(ValueError, match=r"^--sort must be one of folder, name, .*, got 'best'"):
        list_runs(runs, "best")
    with pytest.raises(ValueError, match=r"nowhere is not a folder: name the one that holds the runs$"):
        list_runs(runs / "nowhere")


DAMAGE = {
    "configuration, no TOML": ("config.toml", "[network", "config.toml is damaged ("),
    "configuration of something else": ("config.toml", "[tool]\nx = 1\n", ": "),
    "metrics": ("metrics.jsonl", "{}\nnot\n{}\n", "metrics.jsonl is damaged: line 2 is no record"),
    "metrics of something else": ("metrics.jsonl", '{"kind": "epoch", "epoch": [3]}\n', " is damaged: its records are"),
    "words for numbers": ("metrics.jsonl", '{"kind": "epoch", "test_accuracy": "high"}\n', ": could not convert"),
    "environment": ("environment.json", "[]", "environment.json is damaged: it holds no JSON object"),
    "gradient check": ("gradient_check.json", '{"total": 3}', " is damaged: its records are not those of a run"),
}


@pytest.mark.parametrize(("file", "content", "line"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_run_is_named_and_the_others_are_listed(runs: Path, file: str, content: str, line: str) -> None:
    (runs / "a" / file).write_text(content)
    listed = list_runs(runs)
    assert len(listed.runs) == 3
    (problem, *_) = listed.problems
    assert problem.startswith(str(runs / "a")) and line in problem and "\n" not in problem


def test_a_run_that_is_writing_can_be_read(runs: Path) -> None:
    with (runs / "b" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "st')
    assert summarise_run(runs / "b").step == 5


def test_runs_are_compared_by_what_differs(runs: Path) -> None:
    """Oracle: the overrides that they were made with."""
    summaries, differences = compare_runs([runs / "b", runs / "a"])
    assert [run.test_accuracy for run in summaries] == [0.95, 0.8]
    wanted = {
        "optimizer.name": ["adam", "sgd"],
        "optimizer.options.b1": [0.5, None],
        "optimizer.momentum": [None, 0.9],
        "optimizer.weight_decay": [None, 0.001],
    }
    assert differences == wanted
    assert compare_runs([runs / "a", runs / "a"])[1] == {}
    assert compare_runs([runs / "a", runs / "sweep" / "d"])[1] == {"training.seed": [0, 3]}
    with pytest.raises(ValueError, match=r"^comparing needs two runs or more: name their folders$"):
        compare_runs([runs / "a"])
    with pytest.raises(ValueError, match=r"thesis is not the folder of a run: it has no config\.toml$"):
        compare_runs([runs / "a", runs / "thesis"])

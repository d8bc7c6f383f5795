"""`holoprop train` with its logs, and `holoprop runs`. Oracle: the files of the run, and what was asked for."""

import gzip
import json
from pathlib import Path

import pytest

from holoprop import cli
from holoprop.experiments.run_folder import FILES, FOLDERS
from tests.experiments.event_reading import read_events

TINY = [
    f"--set={override}"
    for override in (
        "network.hidden=[12]",
        "estimator={name='implicit', solver='alternating'}",
        "data.train_limit=60",
        "data.test_limit=40",
        "training.epochs=2",
        "training.log_every=2",
        "optimizer.schedule=constant",
    )
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run was trained that writes all it can; and beside it what is no run."""
    place = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.chdir(place)
        patch.setenv("WANDB_MODE", "offline")
        cli.main(["train", "digits-mlp", "--name", "one", "--tensorboard", "--wandb", "--profile", *TINY])
    assert ended.value.code == 0
    (place / "runs" / "other").mkdir()
    return place


def run(trained: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.chdir(trained)
        cli.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code, *capsys.readouterr()


def test_the_logs_lie_in_the_run_s_folder(trained: Path) -> None:
    """Oracle: `metrics.jsonl` step by step, and the trace's own name for a training step."""
    folder = trained / "runs" / "one"
    assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, *FOLDERS))
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    events = read_events(folder / "events")
    found = [(event.step, event.summary.value) for event in events if event.HasField("summary")]
    assert [step for step, _ in found] == [record["step"] for record in records]
    accuracy = {value.tag: value.simple_value for value in found[-1][1]}["epoch/test_accuracy"]
    assert accuracy == pytest.approx(records[-1]["test_accuracy"])
    assert len(list(folder.glob("wandb/offline-run-*/run-*.wandb"))) == 1
    (path,) = (folder / "profile").rglob("*.trace.json.gz")
    trace = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert any(event.get("name") == "PjitFunction(_compiled_step)" for event in trace)


def test_runs_are_listed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(trained, capsys, "runs")
    header, line = out.splitlines()
    assert status == 0
    assert header.split()[:5] == ["run", "data", "estimator", "epochs", "test"]
    assert line.split()[:4] == ["one", "digits", "implicit", "2/2"] and line.endswith("finished")
    assert err == "holoprop: runs/other is not the folder of a run: it has no config.toml\n"
    status, out, err = run(trained, capsys, "runs", "runs", "--json", "--sort", "best_accuracy")
    listed = json.loads(out)
    assert (status, err.count("\n"), len(listed["problems"])) == (0, 1, 1)
    (only,) = listed["runs"]
    assert (only["name"], only["state"], only["epochs"], only["step"]) == ("one", "finished", 2, 6)
    check = json.loads((trained / "runs" / "one" / "gradient_check.json").read_text())
    assert only["cosine"] == check["total"]["cosine"]
    assert run(trained, capsys, "runs", "runs/other")[:2] == (0, "there are no runs below runs/other\n")


def test_runs_are_compared(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run by its name and by its folder; only what differs is shown, which between a run and its copy is nothing."""
    copy = trained / "copies" / "two"
    copy.mkdir(parents=True, exist_ok=True)
    for name in ("config.toml", "metrics.jsonl"):
        (copy / name).write_bytes((trained / "runs" / "one" / name).read_bytes())
    status, out, _ = run(trained, capsys, "runs", "compare", "one", "copies/two")
    lines = out.splitlines()
    assert (status, lines[0].split(), lines[-1]) == (0, ["one", "copies/two"], "their configurations are the same")
    state = next(line for line in lines if line.startswith("state"))
    assert state.split() == ["state", "finished", "at", "step", "6", "of", "6"]
    config = copy / "config.toml"
    config.write_text(config.read_text().replace("seed = 0", "seed = 4"))
    out = run(trained, capsys, "runs", "compare", "one", "copies/two")[1]
    assert out.splitlines()[-1].split() == ["training.seed", "0", "4"]
    out = run(trained, capsys, "runs", "compare", "one", "copies/two", "--json")[1]
    assert json.loads(out)["configuration"] == {"training.seed": [0, 4]}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["runs", "nowhere"], "nowhere is not a folder: name the one that holds the runs"),
        (["runs", "compare"], "comparing needs two runs or more: name their folders"),
        (["runs", "compare", "one", "x"], "x is not the folder of a run: it has no config.toml"),
        (
            ["runs", "a", "b"],
            "one folder is listed at a time: holoprop runs FOLDER, or holoprop runs compare RUN RUN...",
        ),
        (
            ["runs", "compare", "one", "one", "--sort=date"],
            "--sort is of lists: runs are compared in the order they are named in",
        ),
    ],
)
def test_misuse_is_one_line(trained: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    assert run(trained, capsys, *arguments) == (2, "", f"holoprop: {line}\n")


def test_overwriting_removes_the_logs(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are another run's; a link in their place is removed, not followed."""
    folder = trained / "runs" / "one"
    kept = trained / "kept"
    kept.mkdir()
    (kept / "precious").write_text("x")
    (folder / "events").rename(trained / "old-events")
    (folder / "events").symlink_to(kept)
    status, out, _ = run(trained, capsys, "train", "digits-mlp", "--name", "one", "--overwrite", *TINY)
    assert status == 0 and "trace" not in out
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert (kept / "precious").read_text() == "x"

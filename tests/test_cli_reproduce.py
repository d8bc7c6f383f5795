"""`holoprop reproduce`: what it prints, what it leaves, how it ends. Oracle: outcomes that are given to it."""

import json
from pathlib import Path

import numpy as np
import pytest

from holoprop import cli
from holoprop.data.dataset import DataError
from holoprop.experiments.reproduce import registry
from holoprop.experiments.reproduce.outcome import Claim, Outcome
from holoprop.experiments.reproduce.registry import EXPERIMENTS


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Experiments without computation: figure 2d fails, those on MNIST find no data, the others hold."""
    monkeypatch.chdir(tmp_path)

    def run(
        name: str, scale: str, *, seed: int | None, seeds: int | None, progress, folder: Path, workers: int
    ) -> Outcome:
        progress(f"begun, {workers} at a time")
        folder.mkdir(parents=True)
        (folder / "a part").touch()
        experiment = next(each for each in EXPERIMENTS if each.name == name)
        if experiment.data:
            raise DataError(f"{experiment.data} is not here")
        claim = Claim("error", 2.0 if name == "hep-fig2d" else 0.5, "≤", 1.0, "by hand")
        arrays = {"x": np.zeros(2)}
        return Outcome(name, experiment.title, "by hand", "smoke", {"seed": seed}, [claim], [], arrays, 0.1, {})

    monkeypatch.setattr(registry, "run_experiment", run)
    monkeypatch.setattr("holoprop.report.reproduction.page._PICTURES", {})


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["reproduce", *arguments])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


@pytest.mark.usefixtures("given")
def test_claims_that_hold_end_in_0_and_leave_page_numbers_and_arrays(capsys) -> None:
    other = Path("runs/reproduce/smoke/hep-fig2c/parts/seed-4/part.npz")
    other.parent.mkdir(parents=True)
    other.touch()
    status, out, err = _run(capsys, "hep-fig2c", "--scale", "smoke", "--seed", "3", "--workers", "5")
    assert (status, err) == (0, "hep-fig2c: begun, 5 at a time\n") and "pass  error: 0.5 ≤ 1" in out
    folder = Path("runs/reproduce/smoke/hep-fig2c")
    # The parts of another seed are none of this outcome's.
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "hep-fig2c.html", "outcome.json", "parts"]
    assert [path.name for path in (folder / "parts").iterdir()] == ["seed-4"] and other.exists()
    assert json.loads((folder / "outcome.json").read_text())["settings"] == {"seed": 3}
    assert str(folder / "hep-fig2c.html") in out


def test_what_cannot_be_is_refused_before_anything_runs(capsys, tmp_path: Path) -> None:
    """Each in one line, with the option's name or what to do."""
    taken = tmp_path / "taken"
    taken.write_text("")
    for arguments, line in (
        (
            ["hep-fig2c", "--folder", str(taken / "deep")],
            f"{taken} is a file, not a folder: name another place by --folder",
        ),
        (["hep-fig3a", "--seed", "-1"], "seed must not be negative, got -1"),
        (["hep-fig2c", "--seed", "3"], "hep-fig2c draws nothing at random: leave the seed out, got 3"),
        (["hep-fig2c", "--seeds", "3"], "hep-fig2c has no rows of several seeds: leave --seeds out, got 3"),
        (["hep-table2", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["all", "--scale", "huge"], "scale must be one of smoke, small, paper, got 'huge'"),
        (["all", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["all", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["all", "--seed", "-1"], "seed must not be negative, got -1"),
    ):
        status, out, err = _run(capsys, *(() if "--scale" in arguments else ("--scale", "smoke")), *arguments)
        assert (status, out) == (2, "") and err.endswith(f"{line}\n") and err.count("\n") == 1


@pytest.mark.usefixtures("given")
def test_a_claim_that_fails_ends_in_1(capsys) -> None:
    status, out, _ = _run(capsys, "hep-fig2d")
    assert status == 1 and "FAIL  error: 2 ≤ 1" in out


@pytest.mark.usefixtures("given")
def test_outcomes_are_gathered_in_a_document_and_an_index(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is said beside what did not; what was not run is in the table too, or that it could not be."""
    Path("nothing").mkdir()
    for name in ("HOLOPROP_DATA", "HOLOPROP_CACHE"):
        monkeypatch.setenv(name, "nothing")
    for name in ("hep-fig2c", "hep-fig2d"):
        _, out, _ = _run(capsys, name, "--scale", "smoke", "--docs", "docs")
        assert out.splitlines()[-1] == "docs  docs/reproduction.md"
    text = Path("docs/reproduction.md").read_text()
    assert sorted(path.name for path in Path("docs/reproduction").iterdir()) == [
        "smoke-hep-fig2c.json",
        "smoke-hep-fig2d.json",
    ]
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "1 of 1 | reproduced" in rows["[hep-fig2c](#hep-fig2c-smoke)"]
    assert "0 of 1 | **not reproduced**" in rows["[hep-fig2d](#hep-fig2d-smoke)"]
    assert "| not run |" in rows["hep-fig2a"] and "| data absent |" in rows["hep-fig3a"]
    assert text.count("| error | 2 | ≤ 1 | **fails** |") == 1
    assert all(any(each.name in name for name in rows) for each in EXPERIMENTS)
    index = Path("runs/reproduce/index.html").read_text()
    for name in ("hep-fig2c", "hep-fig2d"):
        link = f"smoke/{name}/{name}.html"
        assert f'href="{link}"' in index and (Path("runs/reproduce") / link).is_file()


@pytest.mark.usefixtures("given")
def test_a_damaged_outcome_of_another_experiment_is_left_out_of_the_index_and_said(capsys) -> None:
    other = Path("runs/reproduce/smoke/hep-fig2a/outcome.json")
    other.parent.mkdir(parents=True)
    other.write_text('{"name": ')
    status, _, err = _run(capsys, "hep-fig2c", "--scale", "smoke", "--docs", "docs")
    assert status == 0 and Path("docs/reproduction/smoke-hep-fig2c.json").is_file()
    assert f"left out of the index: {other} is damaged" in err and "run the experiment again" in err
    assert "hep-fig2c/hep-fig2c.html" in Path("runs/reproduce/index.html").read_text()


@pytest.mark.usefixtures("given")
def test_absent_data_is_one_line_and_never_counts_as_reproduced(capsys) -> None:
    status, out, err = _run(capsys, "hep-fig3a")
    assert (status, out) == (2, "") and err.splitlines()[-1] == "holoprop: hep-fig3a: data absent: mnist is not here"
    status, out, _ = _run(capsys, "all", "--scale", "smoke", "--workers", "1")
    needing = sum(each.data is not None for each in EXPERIMENTS)
    last = f"{len(EXPERIMENTS) - needing - 1} reproduced, 1 failed, {needing} data absent"
    assert status == 1 and out.splitlines()[-1] == last
    assert out.count(" is not here") == needing


@pytest.mark.usefixtures("given")
def test_a_killed_worker_ends_one_experiment_and_not_all(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    given_run = registry.run_experiment

    def run(name: str, *arguments, **settings) -> Outcome:
        if name == "calibration":
            raise ChildProcessError("a worker process was killed")
        return given_run(name, *arguments, **settings)

    monkeypatch.setattr(registry, "run_experiment", run)
    status, out, _ = _run(capsys, "all", "--scale", "smoke", "--workers", "1")
    assert status == 1 and "calibration: not ended: a worker process was killed" in out
    assert ", 1 not ended, " in out.splitlines()[-1] and "page  runs/reproduce/smoke/exact-without-symmetry" in out
    status, _, err = _run(capsys, "calibration", "--scale", "smoke")
    assert status == 2 and err.endswith("a worker process was killed\n")


def test_an_interrupt_is_one_line_that_says_how_to_go_on(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Of this command, and, without the promise, of any other."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "run_experiment", interrupt)
    kept = "holoprop: interrupted; what is done is kept, the same command goes on from there\n"
    assert _run(capsys, "hep-fig2c", "--scale", "smoke") == (130, "", kept)
    monkeypatch.setattr("holoprop.bibliography.citation", interrupt)
    with pytest.raises(SystemExit) as ended:
        cli.main(["cite"])
    assert (ended.value.code, capsys.readouterr().err) == (130, "holoprop: interrupted\n")


def test_all_run_side_by_side_as_each_alone(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Oracle: the same experiments in this process, one after the other: what they claim, and their arrays.

    Absent data come back from another process as a line, too.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("HOLOPROP_DATA", "HOLOPROP_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    names = ("hep-fig2a", "hep-fig2d", "hep-fig3c")
    monkeypatch.setattr(registry, "EXPERIMENTS", tuple(each for each in EXPERIMENTS if each.name in names))
    found = {}
    for workers in ("1", "2"):
        arguments = ("all", "--scale", "smoke", "--workers", workers, "--folder", workers, "--docs", f"docs-{workers}")
        status, out, _ = _run(capsys, *arguments)
        assert status == 0 and out.splitlines()[-1] == "2 reproduced, 0 failed, 1 data absent"
        assert [line.split(":")[0] for line in out.splitlines() if "data absent: " in line] == ["hep-fig3c"]
        # What an experiment prints stays together, in whatever order they end.
        blocks = [block.splitlines() for block in out.split("hep-")[1:] if "page  " in block]
        # Without numbers, which differ by rounding.
        told = ([line.rsplit(": ", 1)[0] for line in block if line.startswith("pass")] for block in blocks)
        found[workers] = sorted(told)
        assert [len(list((tmp_path / workers / "reproduce").rglob(f"{name}.html"))) for name in names] == [1, 1, 0]
        assert all(f"{name}.html" in (tmp_path / workers / "reproduce/index.html").read_text() for name in names[:2])
    assert found["1"] == found["2"] and all(found["1"])
    for name in names[:2]:
        one, two = (np.load(f"{workers}/reproduce/smoke/{name}/arrays.npz") for workers in ("1", "2"))
        assert sorted(one.files) == sorted(two.files)
        for key in one.files:
            np.testing.assert_allclose(two[key], one[key], rtol=1e-4, atol=1e-6, err_msg=key)


def test_the_list_says_what_each_needs(capsys) -> None:
    status, out, _ = _run(capsys, "--list")
    assert status == 0 and len(out.splitlines()) == 2 + len(EXPERIMENTS)
    assert out.splitlines()[-1].startswith("skipped: P2's predictive-coding")
    row = next(line for line in out.splitlines() if line.startswith("hep-fig3a"))
    assert "mnist" in row and row.split()[-4:] == ["1.5", "0.2", "1", "3"]


def test_an_unknown_name_is_refused_in_one_line(capsys) -> None:
    status, _, err = _run(capsys, "nix")
    assert status == 2 and len(err.splitlines()) == 1 and "hep-fig2c" in err

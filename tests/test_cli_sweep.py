"""`holoprop sweep` refuses what cannot be. Oracle: the one line a person reads, status 2, and nothing written."""

import sys
from pathlib import Path

import pytest

from holoprop import cli
from holoprop.experiments.sweep import running

GRID = "--grid=training.seed=1,2"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "a sweep needs a grid: give --grid section.key=a,b,c, once for each key"),
        ([GRID, "--workers=0"], "--workers must be at least 1, got 0"),
        ([GRID, "--retries=-1"], "--retries must be at least 0, got -1"),
        ([GRID, "--gpus=1"], "--gpus is what a trial takes of a Ray cluster: give --ray too, or leave it out"),
        (
            [GRID, "--name=a/b"],
            "--name must be of letters, digits, '.', '_' and '-' and begin with a letter or digit, got 'a/b'",
        ),
        ([GRID, "--resume"], "there is no sweep in runs/digits-mlp-sweep to resume: start it without resuming"),
        (["--grid=training.seed=1,x"], "trial 002 (training.seed=x): training.seed must be an integer ≥ 0 and < "),
    ],
)
def test_misuse_is_one_line(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", "digits-mlp", *arguments])
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"holoprop: {line}")
    assert list(tmp_path.iterdir()) == []


def test_ray_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Oracle: Python's own way of saying that a module cannot be imported."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", "digits-mlp", GRID, "--ray=local"])
    line = "holoprop: --ray needs the package ray, an extra: pip install 'holoprop[cluster]'\n"
    assert (ended.value.code, capsys.readouterr().err) == (2, line)


def test_an_interrupt_before_anything_ran_promises_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "run_sweep", interrupt)
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", "digits-mlp", GRID])
    assert (ended.value.code, *capsys.readouterr()) == (130, "", "holoprop: interrupted; nothing was run yet\n")

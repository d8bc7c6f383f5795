"""Real workers on this machine, killed and interrupted. Oracles: the signals sent, and the runs' own files."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holoprop import cli
from holoprop.experiments.sweep.local import LocalEngine
from holoprop.experiments.sweep.table import Row, read_results
from tests.experiments.sweep.rows import TINY

# Long enough to be met half-way: more than a second of epochs, each with its checkpoints.
EPOCHS = 60


def worker_of(trial: Path) -> int | None:
    """The process that works on a trial, by its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"holoprop.experiments.sweep.worker" in words and str(trial).encode() in words:
            return int(path.parent.name)
    return None


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until and not true():
        time.sleep(0.005)


def records(trial: Path) -> list[dict]:
    return [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]


def assert_tells_what_the_run_tells(row: Row, trial: Path) -> None:
    steps = [record["step"] for record in records(trial) if record["kind"] == "step"]
    assert steps == list(range(1, 2 * EPOCHS + 1))
    epochs = [record for record in records(trial) if record["kind"] == "epoch"]
    best = max(epochs, key=lambda record: record["test_accuracy"])
    check = json.loads((trial / "gradient_check.json").read_text())
    result = row.result
    assert result is not None
    assert (result.epochs, result.test_accuracy) == (EPOCHS, epochs[-1]["test_accuracy"])
    assert (result.best_test_accuracy, result.best_epoch) == (best["test_accuracy"], best["epoch"])
    assert (result.train_loss, result.test_loss) == (epochs[-1]["train_loss"], epochs[-1]["test_loss"])
    assert (result.unsettled, result.cosine) == (epochs[-1]["unsettled"], check["total"]["cosine"])
    assert result.seconds == pytest.approx(sum(record["seconds"] for record in epochs))
    assert (trial / "report.html").is_file()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A sweep of two trials, one at a time, of which the second has no data."""
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "nowhere"))
    # Later processes find what earlier ones compiled.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    sets = [f"--set={each}" for each in (*TINY, f"training.epochs={EPOCHS}", "training.log_every=1")]
    grid = ["--grid=data.name=digits,mnist", "--workers=1", f"--folder={tmp_path}", "--name=s"]
    return ["sweep", "digits-mlp", *sets, *grid]


def test_a_worker_that_is_killed_is_replaced(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed by SIGKILL half-way: the trial comes to its end all the same, each of its steps is there once.

    It comes after the trials that wait.
    """
    folder = tmp_path / "s"
    first, killed = folder / "trials" / "001-name-digits", []

    def kill() -> None:
        wait_until((first / "checkpoint.eqx").is_file)
        if (worker := worker_of(first)) is not None:
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)

    watcher = threading.Thread(target=kill, daemon=True)
    watcher.start()
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    watcher.join()
    out, err = capsys.readouterr()
    reason = f"HOLOPROP_DATA={tmp_path / 'nowhere'} is not a folder; correct it or unset it"
    lines = err.splitlines()
    assert (len(killed), ended.value.code) == (1, 1), err
    assert lines[:2] == [
        "001-name-digits: its worker was killed by SIGKILL; trying again (1 of 2)",
        f"1/2 · 002-name-mnist: failed: {reason}",
    ]
    assert lines[2].startswith("2/2 · 001-name-digits: test accuracy ")
    assert lines[3:] == ["holoprop: 1 of 2 trials failed; --resume tries them again"]
    assert out.splitlines()[-2:] == [f"table  {folder / 'results.parquet'}", f"page   {folder / 'sweep.html'}"]
    assert reason in (folder / "sweep.html").read_text()

    row, failed = read_results(folder).rows
    assert (failed.state, failed.reason, failed.tries, row.tries) == ("failed", reason, 1, 2)
    assert_tells_what_the_run_tells(row, first)


@pytest.mark.cluster
def test_ctrl_c_saves_what_is_under_way(command: list[str], tmp_path: Path) -> None:
    """A signal as a terminal sends it, to a process of its own; then --resume, which goes on from there."""
    folder = tmp_path / "s"
    first, second = (folder / "trials" / name for name in ("001-name-digits", "002-name-mnist"))
    shell = [sys.executable, "-m", "holoprop.cli", *command]
    # A shell takes Ctrl-C from what it starts in the background, and from all that is started from there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until((first / "checkpoint.eqx").is_file)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=240)
    signal.signal(signal.SIGINT, before)
    line = "holoprop: interrupted; 0 of 2 trials are done, the same command with --resume runs the rest\n"
    assert (process.returncode, *told) == (130, "", line)
    assert worker_of(first) is None and not second.exists()
    assert [row.state for row in read_results(folder).rows] == ["missing", "missing"]
    assert "Unfinished." in (folder / "sweep.html").read_text()
    saved = (first / "metrics.jsonl").read_text()
    assert 0 < json.loads(saved.splitlines()[-1])["epoch"] < EPOCHS
    done = subprocess.run([*shell, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert (first / "metrics.jsonl").read_text().startswith(saved)
    assert_tells_what_the_run_tells(read_results(folder).rows[0], first)


def test_workers_share_the_cores_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    for name in ("NPROC", "OMP_NUM_THREADS", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
    alone, many = LocalEngine(1).environment(), LocalEngine(2 * cores).environment()
    assert (alone["NPROC"], many["NPROC"]) == (str(cores), "1")
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in alone
    assert float(many["XLA_PYTHON_CLIENT_MEM_FRACTION"]) <= 1 / (2 * cores)
    monkeypatch.setenv("NPROC", "7")
    assert LocalEngine(1).environment()["NPROC"] == "7"

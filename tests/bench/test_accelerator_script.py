"""The script for accelerators, run with a stand-in for `holoprop`. Oracle: the commands that it has to give."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "accelerator.sh"
STAND_IN = """#!/usr/bin/env bash
echo "$*" >>"$COMMANDS"
if [ "$1" = bench ]; then echo "[]"; exit "${BENCH_ENDS:-0}"; fi
exec sleep "${TRAIN_TAKES:-0}"
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the script and returns its exit status and the commands that it gave."""
    tools, commands = tmp_path / "tools", tmp_path / "commands"
    tools.mkdir()
    (tools / "holoprop").write_text(STAND_IN)
    (tools / "holoprop").chmod(0o755)

    def run(*arguments, **environment):
        commands.write_text("")
        path = f"{tools}:{os.environ['PATH']}"
        given = {**os.environ, "PATH": path, "COMMANDS": str(commands), **environment}
        ended = subprocess.run([SCRIPT, tmp_path / "out", *arguments], env=given, capture_output=True, text=True)
        run.said = ended.stdout
        return ended.returncode, commands.read_text().replace(str(tmp_path), "").splitlines()

    run.folder = tmp_path / "out" / "cifar10-p1"
    return run


def test_measures_once_then_trains(run):
    bench, train = "bench --throughput --json", "train cifar10-p1 --folder /out"
    assert run() == (0, [bench, train])
    assert json.loads((run.folder.parent / "throughput.json").read_text()) == []
    assert run("60", "--set", "training.epochs=2") == (0, [f"{train} --set training.epochs=2"])


def test_goes_on_from_a_checkpoint_and_begins_anew_without_one(run):
    run.folder.mkdir(parents=True)
    assert run("60")[1][-1] == "train cifar10-p1 --folder /out --overwrite"
    (run.folder / "checkpoint.eqx").write_text("")
    assert run("60", BATCH="4") == (0, ["train cifar10-p1 --folder /out --resume"])


def test_being_out_of_time_is_no_error_and_a_failed_measurement_is(run):
    assert run("0.5", TRAIN_TAKES="30")[0] == 0
    (run.folder.parent / "throughput.json").unlink()
    status, commands = run("60", BATCH="4", BENCH_ENDS="3")
    assert (status, commands) == (3, ["bench --throughput --json --batch 4"])
    assert not (run.folder.parent / "throughput.json").exists()


def test_imagenet_is_made_once_where_it_is_not(run, monkeypatch):
    monkeypatch.delenv("HOLOPROP_DATA", raising=False)
    make = "data synthesise imagenet32 --folder /out/data --images 40 --test-images 5000"
    convert = "data convert imagenet32 --no-verify"
    train = "train imagenet32-p1 --folder /out --set data.verify=false --devices 1"
    (run.folder.parent / "data").mkdir(parents=True)
    first = run("60", "--devices", "1", PRESET="imagenet32-p1", IMAGES="40")
    assert first == (0, ["bench --throughput --json", make, convert, train])
    assert run("60", "--devices", "1", PRESET="imagenet32-p1") == (0, [convert, train])
    official = run("60", PRESET="imagenet32-p1", HOLOPROP_DATA="elsewhere")
    assert official == (0, ["train imagenet32-p1 --folder /out"])


def test_says_how_long_an_epoch_takes(run):
    """50 steps of 128 in 16 s: 400 samples a second, 125 s for CIFAR-10; seconds begin anew with every epoch."""
    run.folder.mkdir(parents=True)
    (run.folder / "checkpoint.eqx").write_text("")
    (run.folder / "config.toml").write_text("[training]\nbatch_size = 128\n")
    steps = [
        {"kind": "step", "epoch": epoch, "step": 200 * epoch + step, "seconds": 8 + 0.32 * step}
        for epoch in (1, 2)
        for step in (50, 100, 150)
    ]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in steps))
    run("60")
    last = "400.0 samples per second: 125 s an epoch of 50,000 images (published: 231 s)"
    assert run.said.splitlines()[-1] == last

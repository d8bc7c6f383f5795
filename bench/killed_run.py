"""Kill a training run at random moments, resume it each time, and compare it with one that was left alone.

    python bench/killed_run.py PRESET|FILE.toml FOLDER [--kills 3] [--seed 0] [--set KEY=VALUE …]

Exits with 0 if parameters, optimiser state and metrics are the same to the bit. FOLDER/whole and FOLDER/killed stay;
a whole run that is there already is not repeated.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    given = parser.parse_args()
    train = [sys.executable, "-m", "holoprop.cli", "train", given.source, "--folder", str(given.folder)]
    train += [word for override in given.overrides for word in ("--set", override)]
    whole, killed = given.folder / "whole", given.folder / "killed"
    begun = time.monotonic()
    if not (whole / "evaluation.npz").is_file():
        subprocess.run([*train, "--name", "whole", "--overwrite"], check=True)
    seconds = time.monotonic() - begun
    print(f"whole run: {seconds:.0f} s")
    draw = random.Random(given.seed)
    length = float(json.loads((whole / "metrics.jsonl").read_text().splitlines()[-1])["seconds"])
    length *= sum(json.loads(line)["kind"] == "epoch" for line in (whole / "metrics.jsonl").read_text().splitlines())
    command = [*train, "--name", "killed", "--overwrite"]
    for kill in range(given.kills):
        # Anywhere in the share of the run that is left to this kill, compiling and the writing of files included.
        wait = 1 + draw.random() * length / given.kills
        process = subprocess.Popen(command)
        _wait_for(killed / "metrics.jsonl", process)
        try:
            process.wait(wait)
            print(f"kill {kill + 1}: the run was over before it")
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        steps = [json.loads(line)["step"] for line in _whole_lines(killed / "metrics.jsonl")]
        print(f"kill {kill + 1}: after {wait:.1f} s, past step {max(steps, default=0)}", flush=True)
        resumable = (killed / "checkpoint.eqx").is_file()
        command = [*train, "--name", "killed", "--resume" if resumable else "--overwrite"]
    else:
        subprocess.run(command, check=True)
    return compare(whole, killed)


def compare(whole: Path, killed: Path) -> int:
    """Say whether two runs are the same to the bit, and return 0 if they are."""
    faults = []
    if _arrays(whole / "checkpoint.eqx") != _arrays(killed / "checkpoint.eqx"):
        faults.append("the arrays of the last checkpoints differ")
    records, resumed = (_timeless(folder / "metrics.jsonl") for folder in (whole, killed))
    # A whole run that was there already may have written fewer checkpoints, and a record with each.
    places = {(record["kind"], record["step"]) for record in records}
    if [each for each in resumed if (each["kind"], each["step"]) in places] != records or not records:
        faults.append("the metrics differ")
    steps = [each["step"] for each in resumed if each["kind"] == "step"]
    if any(later <= sooner for sooner, later in itertools.pairwise(steps)):
        faults.append("steps were recorded twice")
    with np.load(whole / "evaluation.npz") as one, np.load(killed / "evaluation.npz") as other:
        faults += [f"{name} of the evaluations differ" for name in one if not np.array_equal(one[name], other[name])]
    print("identical to the bit" if not faults else "; ".join(faults))
    return len(faults)


def _wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.is_file() and process.poll() is None:
        time.sleep(0.05)


def _whole_lines(path: Path) -> list[str]:
    text = path.read_text() if path.is_file() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def _arrays(path: Path) -> bytes:
    # Behind the one line of the header, which tells times, and before the checksum of both.
    return path.read_bytes().partition(b"\n")[2][:-32]


def _timeless(path: Path) -> list[dict]:
    return [
        {name: value for name, value in json.loads(line).items() if name != "seconds"}
        for line in path.read_text().splitlines()
    ]


if __name__ == "__main__":
    sys.exit(main())

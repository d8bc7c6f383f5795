"""A run that is killed for good, several times. Oracle: the run that was left alone, to the bit."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "bench" / "killed_run.py"
SMALL = (
    "data.train_limit=400",
    "data.test_limit=40",
    "training.epochs=6",
    "training.log_every=5",
    "estimator.solver=alternating",
    "network.hidden=[12]",
)


def test_killed_and_resumed_it_is_the_same_run(tmp_path: Path) -> None:
    """SIGKILL at a moment drawn at random, wherever the process is."""
    changes = [word for key in (*SMALL, "training.checkpoint_every=7") for word in ("--set", key)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT), "digits-mlp", str(tmp_path), "--kills", "1", *changes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "identical to the bit"
    assert "kill 1: after" in done.stdout

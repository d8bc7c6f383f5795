"""A run of Weights & Biases: configuration and every number of `metrics.jsonl`, on this machine unless asked otherwise.

`WANDB_MODE` decides where it goes, as W&B documents it; without it nothing leaves the machine, and `wandb sync` uploads
what lies in the run's folder. A run that is resumed is the same run there, each step once: on this machine it is
written anew from `metrics.jsonl`, on the server what it has already is left out.
"""

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from holoprop.experiments.logging.scalars import scalars
from holoprop.train.metrics import read_records


class WeightsAndBiases:
    """A display that writes the records of a run to `folder/wandb`, under `step/…` and `epoch/…`."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        """Write to `folder`, that of the run of `config`; nothing is touched before training begins.

        **Raises:** `ValueError`, one line, if the package wandb is not installed.
        """
        try:
            import wandb
        except ImportError:
            raise ValueError("Weights & Biases needs the package wandb: pip install 'holoprop[wandb]'") from None
        self.wandb, self.folder, self.config = wandb, folder, config

    def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        """Training starts at `step`.

        **Raises:** `ValueError`, one line, if W&B will not have it, such as where `WANDB_MODE` asks for an account.
        """
        place = self.folder / "wandb"
        place.mkdir(parents=True, exist_ok=True)
        for former in place.glob("offline-run-*"):
            shutil.rmtree(former)
        # Nobody is asked for an account, so nobody's errors are reported either.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        try:
            self.run = self.wandb.init(
                project="holoprop",
                name=self.config.get("name"),
                config=self.config,
                # Whole: the process that writes may have been started elsewhere.
                dir=self.folder.resolve(),
                id=_identity(place / "run-id"),
                mode=mode,
                resume="allow" if mode != "offline" and step else None,
                settings=self.wandb.Settings(silent=True, console="off"),
            )
        except self.wandb.errors.Error as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"Weights & Biases: {reason}; without WANDB_MODE the run stays on this machine") from None
        for record in read_records(self.folder / "metrics.jsonl"):
            self._write(record)

    def step(self, record: dict[str, Any]) -> None:
        """Some steps were taken; `record` is the last one's."""
        self._write(record)

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch ended."""
        self._write(record)

    def end(self) -> None:
        """Training ended, however it did."""
        self.run.finish()

    def _write(self, record: dict[str, Any]) -> None:
        # What the server has of a resumed run it would refuse.
        if record["step"] >= self.run.starting_step:
            self.run.log(scalars(record), step=record["step"])


def _identity(path: Path) -> str:
    """The run's name for W&B, the same for all its parts."""
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:8])
    return path.read_text()

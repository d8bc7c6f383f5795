"""One trial of a sweep: an ordinary run, tried as often as its worker dies, and the numbers that it comes to.

A trial is done when `result.json` lies in its folder; whoever starts it again goes on from the run's checkpoint.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

from holoprop.experiments.config import Config
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.run_folder import read_run_config, write_json
from holoprop.experiments.training import RunResult, run_training
from holoprop.settling.rest import UnsettledError
from holoprop.train.bookkeeping import TrainingError

RESULT = "result.json"
"""The file that a trial leaves when it is done, beside those of a run."""


class Trial(NamedTuple):
    """A trial: its `name`, that of its folder too; `point`, the values of the grid's keys; the whole `config`."""

    name: str
    point: dict[str, Any]
    config: Config


class Ending(NamedTuple):
    """How a try ended: `fault`, one line, or `None` if the result is there; `again`: whether another may do better."""

    fault: str | None = None
    again: bool = False


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What a finished trial came to.

    **Attributes:** `epochs`; of the last epoch: `test_accuracy`, `test_loss`, `train_accuracy`, `train_loss`,
    `unsettled` (share of training samples); `best_test_accuracy` and its `best_epoch`, the first of equals; `cosine` of
    the trained network's gradient to the implicit one; `seconds` in training steps, compiling included; `tries` that it
    took. `None` where there was nothing to take a mean over.
    """

    epochs: int
    test_accuracy: float | None
    test_loss: float | None
    best_test_accuracy: float | None
    best_epoch: int
    train_accuracy: float | None
    train_loss: float | None
    unsettled: float | None
    cosine: float | None
    seconds: float
    tries: int


def attempt(config: Config, folder: Path, tries: int) -> Ending:
    """Run a trial, or what is left of it, in this process.

    **Arguments:** `folder`: the trial's own; `tries`: which try this is, from 1.

    **Returns:** an `Ending`; what would come again just so (a configuration, data, a loss that is not finite) is a
    fault without another try.

    **Raises:** what another try may not meet: `OSError`, `MemoryError`, and faults of ours.
    """
    if read_result(folder) is not None:
        return Ending()
    begun = (folder / "config.toml").is_file()
    resume = begun and (folder / "checkpoint.eqx").is_file() and _is_of(folder, config)
    if not begun:
        # A worker killed while it wrote its very first file leaves this, and a run is not begun among foreign files.
        (folder / "config.toml.partial").unlink(missing_ok=True)
    try:
        result = run_training(config, folder, resume=resume, overwrite=begun and not resume)
    except (ValueError, TrainingError, UnsettledError) as error:
        return Ending(" ".join(str(error).split()) or type(error).__name__)
    write_json(folder / RESULT, dataclasses.asdict(_describe(result, tries)))
    return Ending()


def read_result(folder: Path) -> TrialResult | None:
    """Return the result of the trial in `folder`; `None` if it is not done, or its file is damaged."""
    try:
        return TrialResult(**json.loads((folder / RESULT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_of(folder: Path, config: Config) -> bool:
    try:
        return read_run_config(folder) == config
    except ConfigError:
        return False


def _describe(result: RunResult, tries: int) -> TrialResult:
    last, best = result.fit.history[-1], result.best_epoch
    return TrialResult(
        epochs=last["epoch"],
        test_accuracy=last["test_accuracy"],
        test_loss=last["test_loss"],
        best_test_accuracy=best["test_accuracy"],
        best_epoch=best["epoch"],
        train_accuracy=last["train_accuracy"],
        train_loss=last["train_loss"],
        unsettled=last["unsettled"],
        cosine=result.cosine,
        seconds=result.seconds,
        tries=tries,
    )

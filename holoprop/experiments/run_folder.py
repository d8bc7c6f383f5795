"""The folder of a run: what lies in it, who may write there, and files that are whole or absent.

config.toml  environment.json  metrics.jsonl  checkpoint.eqx  gradient_check.json  evaluation.npz  report.html
events/  wandb/  profile/  where they were asked for
"""

import io
import json
import math
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from holoprop.data.files import write_atomic
from holoprop.experiments.config import Config, parse_config
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.environment import describe_environment
from holoprop.train.bookkeeping import KEPT

FILES = (
    "config.toml",
    "environment.json",
    "metrics.jsonl",
    "checkpoint.eqx",
    "best.eqx",
    "gradient_check.json",
    "evaluation.npz",
    "report.html",
)
"""The files that every run writes, in this order."""
FOLDERS = ("events", "wandb", "profile")
"""What it writes besides where it was asked to; `overwrite` removes files and folders of these names, nothing else."""

# A run may go on longer, or write more or less on its way, and still be the same run.
_FREE_ON_RESUMING = {("training", key) for key in ("epochs", "log_every", "checkpoint_every", "check_gradient", "keep")}


class RunFolderError(ValueError):
    """A folder that a run may not write to as asked; its message is one line."""


def check_folder(folder: Path, config: Config, *, resume: bool, overwrite: bool) -> None:
    """Make sure that a run of `config` may write to `folder`; touch nothing.

    **Raises:** `RunFolderError`, one line, if a run is there and neither `resume` nor `overwrite` was asked for; if
    there is none to resume, or it had another configuration; if the folder holds something else.
    """
    if resume and overwrite:
        raise RunFolderError("a run is either resumed or overwritten: give one of the two")
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file, not a folder: choose another name")
    is_run = (folder / "config.toml").is_file()
    if resume:
        if not is_run:
            raise RunFolderError(f"there is no run in {folder} to resume: start it without resuming")
        _check_same_run(folder, config)
    elif is_run and not overwrite:
        raise RunFolderError(f"{folder} holds a run already: resume it, overwrite it, or choose another name")
    elif not is_run and folder.is_dir() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty and holds no run: choose another name")


def begin_folder(folder: Path, config: Config) -> None:
    """Make the folder, remove what an overwritten run left, and write `config.toml` and `environment.json`."""
    environment = describe_environment()
    folder.mkdir(parents=True, exist_ok=True)
    # The configuration goes last, so that an interrupted removal still leaves a run folder.
    for name in FOLDERS:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    for path in folder.glob(f"{KEPT}*"):
        path.unlink(missing_ok=True)
    for name in reversed(FILES):
        (folder / name).unlink(missing_ok=True)
    write_text(folder / "config.toml", config.to_toml())
    write_json(folder / "environment.json", environment)


def continue_folder(folder: Path, config: Config) -> None:
    """Write the configuration that a run goes on with: it may ask for more epochs than the one it was begun with."""
    write_text(folder / "config.toml", config.to_toml())


def read_run_config(folder: Path) -> Config:
    """Return the configuration that a run was made with.

    **Raises:** `ConfigError` if there is none or it cannot be read.
    """
    path = folder / "config.toml"
    try:
        return parse_config(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{folder} is not the folder of a run: it has no config.toml") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is damaged ({error}): start the run afresh") from None


def to_json(value: Any) -> str:
    """Return `value` as strict JSON; numbers that are not finite become `null`."""
    return json.dumps(_finite(value), indent=1, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON, atomically; numbers that are not finite become `null`."""
    write_text(path, to_json(value) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, atomically."""
    write_atomic(path, text.encode())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as a compressed `.npz`, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomic(path, buffer.getvalue())


def _check_same_run(folder: Path, config: Config) -> None:
    there, here = read_run_config(folder).model_dump(), config.model_dump()
    free = set(_FREE_ON_RESUMING)
    if config.optimizer.depends_on_length or config.estimator.homeostasis_schedule == "cosine":
        # A schedule is stretched over the epochs, so another number of them is another run.
        free.remove(("training", "epochs"))
    for section, keys in here.items():
        for key, value in keys.items() if isinstance(keys, dict) else ():
            if value != there[section][key] and (section, key) not in free:
                raise RunFolderError(
                    f"{folder} cannot be resumed with another configuration: {section}.{key} was "
                    f"{there[section][key]!r} there and is {value!r} here"
                )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value

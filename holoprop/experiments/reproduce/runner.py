"""How an experiment is run: whom it tells how far it is, and its parts, which are kept as they finish.

An experiment of hours is a list of parts that know nothing of each other, such as one training run each. So many at a
time are computed in processes of their own, and each is on the disk as soon as it is done: an experiment that was
interrupted goes on where it stopped.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import itertools
import json
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holoprop.experiments.run_folder import write_arrays
from holoprop.experiments.worker_processes import side_by_side

Report = Callable[[str], None]
"""Told a line now and then."""

Arrays = dict[str, np.ndarray]
Compute = Callable[..., Arrays]
"""`compute(report, **settings)`: a function of a module, which other processes find by its name."""


_MOST_WORDS = 80
"""Characters of a part's name that say what it is: file systems allow some 250 in all."""


def silent(line: str) -> None:
    """Tell nobody."""


def check_counts(seed: int | None, seeds: int | None, workers: int) -> None:
    """Refuse what no experiment can be run with.

    **Raises:** `ValueError`, one line, for a negative seed, or fewer than one of the others.
    """
    if seed is not None and seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {seeds}")
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")


@dataclasses.dataclass
class Runner:
    """What an experiment is run with; called with a line, it passes it on.

    **Attributes:** `tell`: told a line now and then, with several workers by those too, so that it must be one that can
    be pickled; `folder`: where parts are kept, made if need be, or `None`: nowhere; `workers`: so many parts at a time;
    `earlier`: the seconds that the parts took which were read from there; `count`: so many seeds of each row, where
    there are rows; `None`: as many as belong to the scale.
    """

    tell: Report = silent
    folder: Path | None = None
    workers: int = 1
    earlier: float = 0.0
    count: int | None = None

    def __post_init__(self) -> None:
        check_counts(None, self.count, self.workers)

    def __call__(self, line: str) -> None:
        self.tell(line)

    def seeds(self, first: int | None, count: int) -> range:
        """Return so many seeds, or as many as are asked for, from 0 unless another `first` one is given."""
        return range(first or 0, (first or 0) + (self.count or count))

    def parts(self, compute: Compute, settings: Sequence[Mapping[str, Any]], *, long: bool = False) -> list[Arrays]:
        """Return `compute(report, **each)` for each of the `settings`, in their order; those on the disk are read.

        **Arguments:** `settings`: of strings and numbers, all that a part depends on but the code; `long`: whether each
        gets a `folder` of its own besides, or `None`, in which to keep what it needs to go on from the middle, and
        which is removed when it is done.

        **Returns:** what each computed, and its `seconds`, a scalar: of this time, or its own if that is more.

        **Raises:** what a part raises, once those under way have ended and are kept; `ChildProcessError` if a process
        is killed.
        """
        names = [part_name(compute, each) for each in settings]
        done = {name: arrays for name in names if (arrays := self._stored(name)) is not None}
        self.earlier += sum(float(arrays["seconds"]) for arrays in done.values())
        if done:
            self.tell(f"{len(done)} of {len(names)} parts are done already")
        left = {name: each for name, each in zip(names, settings, strict=True) if name not in done}
        if long:
            left = {name: {**each, "folder": self.folder and self.folder / name} for name, each in left.items()}
        with contextlib.closing(self._computed(compute, left)) as computed:
            for name, arrays in computed:
                done[name] = arrays
                if self.folder is not None:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    write_arrays(self.folder / f"{name}.npz", arrays)
                    shutil.rmtree(self.folder / name, ignore_errors=True)
        return [done[name] for name in names]

    def _stored(self, name: str) -> Arrays | None:
        """Return a part from the disk; `None` if it is not there, or damaged."""
        if self.folder is None:
            return None
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files}
            return arrays if "seconds" in arrays else None
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile):
            self.tell(f"{name}.npz is damaged and is computed again")
            return None

    def _computed(
        self, compute: Compute, left: Mapping[str, Mapping[str, Any]]
    ) -> Generator[tuple[str, Arrays], None, None]:
        workers = min(self.workers, len(left))
        if workers <= 1:
            for name, each in left.items():
                yield name, _timed(compute, self.tell, each)
            return
        failures: list[Exception] = []
        jobs = ((name, functools.partial(_timed, compute, self.tell, each)) for name, each in left.items())
        # After a failure nothing more is begun, and what is under way is kept.
        with contextlib.closing(side_by_side(itertools.takewhile(lambda _: not failures, jobs), workers)) as ended:
            for name, result in ended:
                try:
                    arrays = result()
                except Exception as error:
                    failures.append(error)
                else:
                    yield name, arrays
        if failures:
            raise failures[0]


def _timed(compute: Compute, tell: Report, settings: Mapping[str, Any]) -> Arrays:
    begun = time.perf_counter()
    arrays = compute(tell, **settings)
    # A part that went on from the middle knows itself what came before.
    return {**arrays, "seconds": np.array(max(time.perf_counter() - begun, float(arrays.get("seconds", 0.0))))}


def part_name(compute: Compute, settings: Mapping[str, Any]) -> str:
    """Return the name under which a part is kept: its settings as words, and a hash of all that tells it apart.

    That is the settings, the function, the module that it is in, text and all, and the version of the package.
    """
    module = Path(inspect.getfile(compute))
    code = hashlib.sha256(module.read_bytes()).hexdigest() if module.is_file() else None
    named = compute.__module__, compute.__qualname__, importlib.metadata.version("holoprop"), code
    whole = json.dumps([*named, dict(settings)], sort_keys=True)
    words = "-".join("".join(c if c.isalnum() or c == "." else "_" for c in str(v)) for v in settings.values())
    return f"{words[:_MOST_WORDS]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"

"""How an experiment is run: whom it tells how far it is, and its parts, which are kept as they finish.

An experiment of hours is a list of parts that know nothing of each other, such as one training run each. So many at a
time are computed in processes of their own, and each is on the disk as soon as it is done: an experiment that was
interrupted goes on where it stopped.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from holoprop.experiments.cores import shared_environment
from holoprop.experiments.run_folder import write_arrays

Report = Callable[[str], None]
"""Told a line now and then."""

Arrays = dict[str, np.ndarray]
Compute = Callable[..., Arrays]
"""`compute(report, **settings)`: a function of a module, which other processes find by its name."""


_MOST_WORDS = 80
"""Characters of a part's name that say what it is: file systems allow some 250 in all."""


def silent(line: str) -> None:
    """Tell nobody."""


@dataclasses.dataclass(frozen=True)
class Runner:
    """What an experiment is run with; called with a line, it passes it on.

    **Attributes:** `tell`: told a line now and then, with several workers by those too, so that it must be one that can
    be pickled; `folder`: where parts are kept, made if need be, or `None`: nowhere; `workers`: so many parts at a time.
    """

    tell: Report = silent
    folder: Path | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"--workers must be at least 1, got {self.workers}")

    def __call__(self, line: str) -> None:
        self.tell(line)

    def parts(self, compute: Compute, settings: Sequence[Mapping[str, Any]]) -> list[Arrays]:
        """Return `compute(report, **each)` for each of the `settings`, in their order; those on the disk are read.

        **Arguments:** `settings`: of strings and numbers, all that a part depends on but the code.

        **Returns:** what each computed, and its `seconds`, a scalar.

        **Raises:** what a part raises, once those under way have ended and are kept; `ChildProcessError` if a process
        is killed.
        """
        names = [part_name(compute, each) for each in settings]
        done = {name: arrays for name in names if (arrays := self._stored(name)) is not None}
        if done:
            self.tell(f"{len(done)} of {len(names)} parts are done already")
        left = {name: each for name, each in zip(names, settings, strict=True) if name not in done}
        for name, arrays in self._computed(compute, left):
            done[name] = arrays
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_arrays(self.folder / f"{name}.npz", arrays)
        return [done[name] for name in names]

    def _stored(self, name: str) -> Arrays | None:
        """Return a part from the disk; `None` if it is not there, or damaged."""
        if self.folder is None:
            return None
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, zipfile.BadZipFile):
            self.tell(f"{name}.npz is damaged and is computed again")
            return None

    def _computed(self, compute: Compute, left: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Arrays]]:
        workers = min(self.workers, len(left))
        if workers <= 1:
            for name, each in left.items():
                yield name, _timed(compute, self.tell, each)
            return
        # Fresh processes: a fork of one in which JAX runs its threads may never end.
        fresh, share = multiprocessing.get_context("spawn"), shared_environment(workers)
        with ProcessPoolExecutor(workers, fresh, initializer=_take_share, initargs=(share,)) as pool:
            futures = {pool.submit(_timed, compute, self.tell, each): name for name, each in left.items()}
            failure: Exception | None = None
            try:
                for future in concurrent.futures.as_completed(futures):
                    try:
                        yield futures[future], future.result()
                    except concurrent.futures.CancelledError:
                        continue
                    except Exception as error:
                        failure = failure or error
                        pool.shutdown(wait=False, cancel_futures=True)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(failure, BrokenProcessPool):
            raise ChildProcessError(
                "a worker process was killed, perhaps for want of memory: run the command again, with fewer "
                "--workers; what is done is kept"
            )
        if failure is not None:
            raise failure


def _take_share(environment: Mapping[str, str]) -> None:
    """Set the environment of a worker, before JAX has begun anything there."""
    os.environ.update(environment)


def _timed(compute: Compute, tell: Report, settings: Mapping[str, Any]) -> Arrays:
    begun = time.perf_counter()
    arrays = compute(tell, **settings)
    return {**arrays, "seconds": np.array(time.perf_counter() - begun)}


def part_name(compute: Compute, settings: Mapping[str, Any]) -> str:
    """Return the name under which a part is kept: its settings as words, and a hash of all that tells it apart."""
    whole = json.dumps([compute.__module__, compute.__qualname__, dict(settings)], sort_keys=True)
    words = "-".join("".join(c if c.isalnum() or c == "." else "_" for c in str(v)) for v in settings.values())
    return f"{words[:_MOST_WORDS]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"

"""Trials on a Ray cluster: one remote task a try, wherever there is room; run folders on a disk that all nodes share.

Ray is an extra, `holoprop[cluster]`. Its workers import holoprop, so every node needs the same version of it.
"""

import importlib
import json
import logging
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from holoprop.experiments.sweep.folder import SWEEP
from holoprop.experiments.sweep.trial import Ending, Trial

_GRACE = 60.0
"""Seconds that interrupted tasks get to write their checkpoints."""


class RayEngine:
    """A Ray cluster, an `Engine`.

    The attribute `ray` is the module, loaded here and not on import, since it is an extra.
    """

    def __init__(self, address: str = "local", *, cpus: float = 1.0, gpus: float = 0.0) -> None:
        """Prepare to connect to `address`; `cpus` and `gpus` are what each trial takes of a node's.

        **Arguments:** `address`: `local` starts Ray on this machine and ends it afterwards; `auto`, `HOST:PORT` and
        `ray://HOST:PORT` are those of a cluster that is there.

        **Raises:** `ValueError`, one line, if Ray is not installed, or a trial takes less than nothing.
        """
        for name, value, least in (("--cpus", cpus, "more than 0"), ("--gpus", gpus, "at least 0")):
            if value < 0 or (value == 0 and least != "at least 0"):
                raise ValueError(f"{name} must be {least}, got {value:g}")
        try:
            self.ray: Any = importlib.import_module("ray")
        except ImportError:
            raise ValueError("--ray needs the package ray, an extra: pip install 'holoprop[cluster]'") from None
        self.address, self.cpus, self.gpus = address, cpus, gpus
        self._tasks: dict[Any, Trial] = {}

    def __enter__(self) -> "RayEngine":
        ray = self.ray
        # A session that the caller has opened is used, and left open.
        self._ours = not ray.is_initialized()
        if self._ours:
            self._connect()
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": 0, "scheduling_strategy": "SPREAD"}
        # A fresh process for each try, as on one machine: JAX gives memory back only when it ends.
        self._task = ray.remote(max_calls=1, **options)(_attempt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._tasks:
                tasks = list(self._tasks)
                for task in tasks:
                    self.ray.cancel(task, force=False)
                self.ray.wait(tasks, num_returns=len(tasks), timeout=_GRACE)
                self._tasks.clear()
        finally:
            if self._ours:
                self.ray.shutdown()

    def start(self, trial: Trial, folder: Path, tries: int) -> None:
        """Hand a try to Ray, which starts it when a node has room."""
        config = trial.config.model_dump(mode="json", exclude_none=True)
        task = self._task.remote(json.dumps(config), str(folder.resolve()), tries, int(max(1, self.cpus)))
        self._tasks[task] = trial

    def wait(self) -> tuple[Trial, Ending]:
        """Wait until a try has ended, on whichever node."""
        (task, *_), _ = self.ray.wait(list(self._tasks), num_returns=1)
        trial = self._tasks.pop(task)
        try:
            return trial, Ending(*self.ray.get(task))
        except self.ray.exceptions.RayTaskError as error:
            cause = error.cause
            return trial, Ending(f"{type(cause).__name__}: {' '.join(str(cause).split())}", again=True)
        except self.ray.exceptions.RayError as error:
            return trial, Ending(f"its worker died ({type(error).__name__})", again=True)

    def _connect(self) -> None:
        # Nobody asked for statistics to be sent anywhere.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.address == "local":
            self.ray.init(address="local", include_dashboard=False, **quiet)
            return
        try:
            _knock(self.address)
            self.ray.init(address=self.address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"--ray {self.address}: no Ray cluster can be used there: {reason}") from None


def _knock(address: str) -> None:
    """Raise `OSError` if nobody listens at `HOST:PORT`: Ray itself would go on trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _attempt(config: str, folder: str, tries: int, threads: int) -> tuple[str | None, bool]:
    """What a Ray worker does: a try, in its own process, on its share of cores."""
    from holoprop.experiments.config import parse_config
    from holoprop.experiments.sweep.trial import attempt

    place = Path(folder)
    if not (place.parents[1] / SWEEP).is_file():
        where = f"{socket.gethostname()} does not see {place.parents[1]}"
        return f"{where}: --folder must be on a disk that all nodes share", False
    # Read when JAX first computes, which is later.
    os.environ.setdefault("NPROC", str(threads))
    if threading.current_thread() is threading.main_thread():
        import signal

        # Ray cancels a task as Ctrl-C would, and training listens to that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ending = attempt(parse_config(json.loads(config)), place, tries)
    return ending.fault, ending.again

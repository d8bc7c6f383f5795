"""Trials on the cores of this machine: so many worker processes at a time, a fresh one for each try.

A worker that is killed takes nothing with it but its own try, and gives back all of its memory when it ends; of its
minutes of training, starting Python costs a few seconds.
"""

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from holoprop.experiments.cores import available_cores, shared_environment
from holoprop.experiments.sweep.trial import Ending, Trial


class LocalEngine:
    """A pool of worker processes, an `Engine`; what they print goes to a file `logs/NAME.log` beside the trials."""

    def __init__(self, workers: int | None = None) -> None:
        """Prepare for so many `workers` at a time; by default one for each core that this process may use.

        **Raises:** `ValueError` if that is less than 1.
        """
        if workers is not None and workers < 1:
            raise ValueError(f"--workers must be at least 1, got {workers}")
        self.workers = workers or available_cores()
        self._ended: queue.SimpleQueue[tuple[Trial, Ending]] = queue.SimpleQueue()
        self._lock, self._stopping = threading.Lock(), False
        self._running: set[subprocess.Popen] = set()

    def __enter__(self) -> "LocalEngine":
        self._stopping = False
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="trial")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stopping = True
            for process in self._running:
                _close(process)
        try:
            self._pool.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:
            with self._lock:
                for process in self._running:
                    process.kill()
            self._pool.shutdown(wait=True)
            raise

    def start(self, trial: Trial, folder: Path, tries: int) -> None:
        """Run a try as soon as a worker is free."""
        self._pool.submit(self._supervise, trial, folder, tries)

    def wait(self) -> tuple[Trial, Ending]:
        """Wait until a try has ended."""
        return self._ended.get()

    def environment(self) -> dict[str, str]:
        """Return a worker's environment: its share of cores and of an accelerator's memory, where none was chosen."""
        return shared_environment(self.workers)

    def _supervise(self, trial: Trial, folder: Path, tries: int) -> None:
        try:
            ending = self._run(trial, folder, tries)
        except OSError as error:
            ending = Ending(f"no worker could be started: {error}", again=True)
        self._ended.put((trial, ending))

    def _run(self, trial: Trial, folder: Path, tries: int) -> Ending:
        log = folder.parents[1] / "logs" / f"{trial.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "holoprop.experiments.sweep.worker", str(folder)]
        order = {"config": trial.config.model_dump(mode="json", exclude_none=True), "tries": tries}
        with log.open("ab") as output:
            with self._lock:
                if self._stopping:
                    return Ending("interrupted")
                # Of a session of its own, so that Ctrl-C at the terminal reaches it only through us.
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    env=self.environment(),
                    start_new_session=True,
                )
                self._running.add(process)
            assert process.stdin is not None and process.stdout is not None
            try:
                # It may have died at once, or not be wanted any more; its status says which.
                with contextlib.suppress(OSError, ValueError):
                    process.stdin.write(json.dumps(order).encode() + b"\n")
                    process.stdin.flush()
                report = process.stdout.read()
                status = process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
                _close(process)
                process.stdout.close()
        if not log.stat().st_size:
            log.unlink()
        return _ending(report, status, log)


def _ending(report: bytes, status: int, log: Path) -> Ending:
    try:
        return Ending(**json.loads(report))
    except (ValueError, TypeError):
        pass
    if status < 0:
        return Ending(f"its worker was killed by {signal.Signals(-status).name}", again=True)
    if status == 130:
        return Ending("its worker was interrupted", again=True)
    return Ending(f"its worker ended with status {status}, see {log}", again=True)


def _close(process: subprocess.Popen) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # what was still to be written has nobody to read it
        process.stdin.close()

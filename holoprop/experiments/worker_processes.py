"""Work that is done side by side, each piece in a process of its own."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any, TypeVar

from holoprop.experiments.cores import environment_of, shared_environment
from holoprop.train.interrupt import StoppedError

Result = TypeVar("Result")


def side_by_side(
    jobs: Iterable[tuple[str, Callable[[], Result]]], workers: int
) -> Generator[tuple[str, Callable[[], Result]], None, None]:
    """Do named jobs, so many at a time, each process on its share of the cores; yield them as they end.

    A job is taken from `jobs` when a process is free for it and not before, so that who sees one fail can have no
    others begin. When the caller goes no further, those under way are ended, training after a last checkpoint.

    **Arguments:** `jobs`: functions that can be pickled, by name; `workers`: so many processes.

    **Returns:** names, each with a function that returns what the job did, or raises it: `ChildProcessError`, one line,
    if its process was killed, which ends no other.

    **Raises:** `StoppedError` on SIGTERM or SIGUSR1, which the jobs are told as SIGTERM.
    """
    # Fresh processes: a fork of one in which JAX runs its threads may never end.
    fresh, share = multiprocessing.get_context("spawn"), shared_environment(workers)
    waiting, others = iter(jobs), set(multiprocessing.active_children())
    # Pools of one process: one that is killed takes its pool with it, but not its neighbours.
    pools: list[ProcessPoolExecutor] = []
    running: dict[Future[Result], tuple[str, ProcessPoolExecutor]] = {}
    idle: list[ProcessPoolExecutor] = []
    former = _stop_on_signals()
    try:
        while True:
            while len(running) < workers and (job := next(waiting, None)) is not None:
                name, call = job
                while True:
                    if not idle:
                        idle.append(ProcessPoolExecutor(1, fresh, initializer=_end_with_parent))
                        pools.append(idle[0])
                    pool = idle.pop()
                    # One that was killed while it had nothing to do is found out here.
                    with environment_of(share), contextlib.suppress(BrokenProcessPool):
                        running[pool.submit(call)] = name, pool
                        break
            if not running:
                break
            for future in concurrent.futures.wait(running, return_when=FIRST_COMPLETED).done:
                name, pool = running.pop(future)
                if not isinstance(future.exception(), BrokenProcessPool):
                    idle.append(pool)
                yield name, functools.partial(_result, future)
    except BaseException:
        # An interrupt, or a caller who has had enough: nobody waits for the others any more.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        for pool in pools:
            pool.shutdown()
        for number, handler in former.items():
            signal.signal(number, handler)


def _result(future: "Future[Result]") -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a worker process was killed, perhaps for want of memory: run the command again, with fewer --workers; "
            "what is done is kept"
        ) from error


def _stop_on_signals() -> dict[int, Any]:
    """Have signals that would end this process without a word raise `StoppedError`; return the former handlers."""
    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():

        def stop(number: int, frame: FrameType | None) -> None:
            raise StoppedError(f"stopped by {signal.Signals(number).name}")

        for name in ("SIGTERM", "SIGUSR1"):
            number = getattr(signal, name, None)
            # A handler that a program has set itself stays.
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                former[number] = signal.signal(number, stop)
    return former


def _end_with_parent() -> None:
    """Have a worker end when the process ends that began it, however that does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

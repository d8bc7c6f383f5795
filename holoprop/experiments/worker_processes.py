"""Work that is done side by side, each piece in a process of its own."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from holoprop.experiments.cores import environment_of, shared_environment
from holoprop.train.interrupt import Interrupt

Result = TypeVar("Result")

_LISTEN = 0.5
"""Seconds after which to ask again whether this process is to stop."""


def side_by_side(
    jobs: Iterable[tuple[str, Callable[[], Result]]], workers: int
) -> Generator[tuple[str, Callable[[], Result]], None, None]:
    """Do named jobs, so many at a time, each process on its share of the cores; yield them as they end.

    A job is taken from `jobs` when a process is free for it and not before, so that who sees one fail can have no
    others begin. When the caller goes no further, those under way are ended, training after a last checkpoint.

    **Arguments:** `jobs`: functions that can be pickled, by name; `workers`: so many processes.

    **Returns:** names, each with a function that returns what the job did, or raises it: `ChildProcessError`, one line,
    if its process was killed, which ends no other.

    **Raises:** `KeyboardInterrupt` on Ctrl-C, `StoppedError` on SIGTERM or SIGUSR1 (see `Interrupt`), once the jobs
    under way have ended, which are told by SIGTERM.
    """
    # Fresh processes: a fork of one in which JAX runs its threads may never end.
    fresh, share = multiprocessing.get_context("spawn"), shared_environment(workers)
    waiting, others = iter(jobs), set(multiprocessing.active_children())
    # Pools of one process: one that is killed takes its pool with it, but not its neighbours.
    pools: list[ProcessPoolExecutor] = []
    running: dict[Future[Result], tuple[str, ProcessPoolExecutor]] = {}
    idle: list[ProcessPoolExecutor] = []
    with Interrupt() as interrupt:
        try:
            while not interrupt.pressed:
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
                for future in concurrent.futures.wait(running, _LISTEN, return_when=FIRST_COMPLETED).done:
                    name, pool = running.pop(future)
                    if not isinstance(future.exception(), BrokenProcessPool):
                        idle.append(pool)
                    yield name, functools.partial(_result, future)
        finally:
            # After an interrupt, or if the caller has had enough: nobody waits for the others any more.
            if running:
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
            for pool in pools:
                pool.shutdown()


def _result(future: "Future[Result]") -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a worker process was killed, perhaps for want of memory: run the command again, with fewer --workers; "
            "what is done is kept"
        ) from error


def _end_with_parent() -> None:
    """Have a worker end when the process ends that began it, however that does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

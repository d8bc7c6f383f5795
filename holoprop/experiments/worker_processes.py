"""Work that is done side by side, each piece in a process of its own."""

import concurrent.futures
import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from holoprop.experiments.cores import environment_of, shared_environment

Result = TypeVar("Result")


def side_by_side(
    jobs: Iterable[tuple[str, Callable[[], Result]]], workers: int
) -> Generator[tuple[str, Callable[[], Result]], None, None]:
    """Do named jobs, so many at a time, each process on its share of the cores; yield them as they end.

    A job is taken from `jobs` when a process is free for it and not before, so that who sees one fail can have no
    others begin. When the caller goes no further, those under way are ended.

    **Arguments:** `jobs`: functions that can be pickled, by name; `workers`: so many processes.

    **Returns:** names, each with a function that returns what the job did, or raises it: `ChildProcessError`, one line,
    if its process was killed, which ends no other.
    """
    # Fresh processes: a fork of one in which JAX runs its threads may never end.
    fresh, share = multiprocessing.get_context("spawn"), shared_environment(workers)
    waiting, others = iter(jobs), set(multiprocessing.active_children())
    # Pools of one process: one that is killed takes its pool with it, but not its neighbours.
    pools: list[ProcessPoolExecutor] = []
    running: dict[Future[Result], tuple[str, ProcessPoolExecutor]] = {}
    idle: list[ProcessPoolExecutor] = []
    try:
        while True:
            while len(running) < workers and (job := next(waiting, None)) is not None:
                name, call = job
                if not idle:
                    idle.append(ProcessPoolExecutor(1, fresh, initializer=_end_with_parent))
                    pools.append(idle[0])
                pool = idle.pop()
                with environment_of(share):
                    running[pool.submit(call)] = name, pool
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


def _result(future: "Future[Result]") -> Result:
    try:
        return future.result()
    except BrokenProcessPool:
        raise ChildProcessError(
            "a worker process was killed, perhaps for want of memory: run the command again, with fewer --workers; "
            "what is done is kept"
        ) from None


def _end_with_parent() -> None:
    """Have a worker end when the process ends that began it, however that does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

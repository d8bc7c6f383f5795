"""Work side by side in processes. Oracle: the same by hand, and the operating system's list of processes."""

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holoprop.experiments.worker_processes import side_by_side


def double(number: int) -> int:
    """Quick work; 7 is not to be doubled."""
    if number == 7:
        raise ValueError("seven is refused")
    return 2 * number


def die() -> int:
    """What the kernel does to a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def linger(path: Path) -> int:
    """Work that takes longer than anyone waits."""
    path.write_text(str(os.getpid()))
    time.sleep(600)
    raise AssertionError


def test_a_killed_or_failing_job_ends_no_other() -> None:
    jobs: list[tuple[str, Callable[[], int]]] = [
        (str(number), functools.partial(double, number)) for number in (1, 2, 7, 3)
    ]
    jobs.insert(1, ("killed", die))
    results = dict(side_by_side(jobs, 2))
    assert {name: results[name]() for name in "123"} == {"1": 2, "2": 4, "3": 6} and len(results) == 5
    with pytest.raises(ChildProcessError, match=r"^a worker process was killed.* what is done is kept$"):
        results["killed"]()
    with pytest.raises(ValueError, match="seven is refused"):
        results["7"]()


def test_a_job_is_taken_when_a_process_is_free_for_it() -> None:
    """With two processes never more than two are begun and not yet told of."""
    taken: list[int] = []

    def jobs() -> Iterator[tuple[str, Callable[[], int]]]:
        for number in range(5):
            taken.append(number)
            yield str(number), functools.partial(double, number)

    ended = 0
    for _ in side_by_side(jobs(), 2):
        ended += 1
        assert len(taken) <= ended + 1
    assert ended == 5


def test_whoever_goes_no_further_leaves_nothing_running(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    running = side_by_side([("quick", functools.partial(double, 1)), ("long", functools.partial(linger, path))], 2)
    assert next(running)[0] == "quick"
    end = time.monotonic() + 60
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)
    running.close()
    assert not Path(f"/proc/{path.read_text()}").exists()

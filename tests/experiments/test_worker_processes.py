"""Work side by side in processes. Oracle: the same by hand, and the operating system's list of processes."""

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holoprop.experiments import cores
from holoprop.experiments.worker_processes import side_by_side
from holoprop.train.interrupt import StoppedError


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
    _written(path)
    running.close()
    _gone(int(path.read_text()))


def test_a_process_that_is_killed_while_idle_is_replaced() -> None:
    """One process, killed by its number after its first job: the others are done in another one."""
    jobs = [("pid", os.getpid), ("other", functools.partial(double, 2)), ("last", functools.partial(double, 3))]
    running = side_by_side(jobs, 1)
    _, result = next(running)
    os.kill(result(), signal.SIGKILL)
    _gone(result())
    # The thread that watches the process takes a moment to hear of it.
    time.sleep(1)
    assert [found() for _, found in running] == [4, 6]


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (signal.SIGINT, KeyboardInterrupt, ""),
        (signal.SIGTERM, StoppedError, "stopped by SIGTERM"),
        (signal.SIGUSR1, StoppedError, "stopped by SIGUSR1"),
    ],
)
def test_a_signal_stops_this_process_by_an_error_and_the_handlers_are_back(
    number: int, error: type[BaseException], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    former = signal.getsignal(number)
    with pytest.raises(error, match=f"^{text}$"):
        for _ in side_by_side([("quick", functools.partial(double, 1)), ("long", functools.partial(linger, path))], 2):
            _written(path)
            os.kill(os.getpid(), number)
    _gone(int(path.read_text()))
    assert signal.getsignal(number) is former


@pytest.mark.parametrize(("inherited", "threads", "memory"), [(None, "8", "0.450"), ("6", "3", "0.150")])
def test_workers_of_a_worker_share_its_share(
    inherited: str | None, threads: str, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 cores and two workers; and two of a worker that was given 6 of them, and .3 of the memory."""
    monkeypatch.setattr(cores, "available_cores", lambda: 16)
    for name in (*cores._THREADS, cores._MEMORY):
        monkeypatch.delenv(name, raising=False)
    if inherited is not None:
        monkeypatch.setattr(cores.multiprocessing, "parent_process", lambda: "a process")
        monkeypatch.setenv(cores._MEMORY, "0.3")
        for name in cores._THREADS:
            monkeypatch.setenv(name, inherited)
    share = cores.shared_environment(2)
    assert {share[name] for name in cores._THREADS} == {threads} and share[cores._MEMORY] == memory


def _written(path: Path) -> None:
    end = time.monotonic() + 60
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)


def _gone(process: int) -> None:
    """Wait until a process has ended, if it is only to be reaped yet."""
    end = time.monotonic() + 20
    while (status := Path(f"/proc/{process}/status")).is_file() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)

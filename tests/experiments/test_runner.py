"""Parts of experiments. Oracle: the same numbers by hand, and a log of what was computed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holoprop.experiments.reproduce.runner import Report, Runner, part_name


def square(report: Report, *, number: int, log: str) -> dict[str, np.ndarray]:
    """A part that leaves a line in a file."""
    with Path(log).open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    report(f"squared {number}")
    return {"square": np.array([number**2])}


def square_of_few(report: Report, *, number: int, log: str) -> dict[str, np.ndarray]:
    """The same, which a two is too much for."""
    if number == 2:
        raise ValueError("two is too many")
    return square(report, number=number, log=log)


def die(report: Report, *, number: int) -> dict[str, np.ndarray]:
    """What the kernel does to a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def threads_of(report: Report, *, number: int) -> dict[str, np.ndarray]:
    """What a worker is told of threads."""
    return {"threads": np.array([os.environ["NPROC"], os.environ["OMP_NUM_THREADS"]])}


def linger(report: Report, *, number: int, folder: str) -> dict[str, np.ndarray]:
    """A part that takes longer than anyone waits."""
    (Path(folder) / f"{number}.pid").write_text(str(os.getpid()))
    time.sleep(600)
    raise AssertionError


def _settings(tmp_path: Path, count: int) -> list[dict[str, object]]:
    return [{"number": number, "log": str(tmp_path / "log")} for number in range(count)]


def _computed(tmp_path: Path) -> list[int]:
    return sorted(int(line.split()[0]) for line in (tmp_path / "log").read_text().splitlines())


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_come_in_their_order_and_are_computed_once(workers: int, tmp_path: Path) -> None:
    settings = _settings(tmp_path, 4)
    for _ in range(2):
        found = Runner(folder=tmp_path / "parts", workers=workers).parts(square, settings)
        assert [part["square"].tolist() for part in found] == [[0], [1], [4], [9]]
        assert all(float(part["seconds"]) > 0 for part in found)
    assert _computed(tmp_path) == [0, 1, 2, 3]
    own = str(os.getpid())
    assert all((line.split()[1] == own) is (workers == 1) for line in (tmp_path / "log").read_text().splitlines())


def test_an_interrupted_experiment_goes_on_where_it_stopped(tmp_path: Path) -> None:
    heard: list[str] = []
    runner = Runner(heard.append, tmp_path / "parts")
    settings = _settings(tmp_path, 4)
    runner.parts(square, settings[:3])
    (tmp_path / "parts" / f"{part_name(square, settings[1])}.npz").write_bytes(b"PK half a file")
    heard.clear()
    found = runner.parts(square, settings)
    assert [int(part["square"][0]) for part in found] == [0, 1, 4, 9]
    assert _computed(tmp_path) == [0, 1, 1, 2, 3]
    assert heard[0].endswith("is damaged and is computed again") and "2 of 4 parts are done already" in heard
    # However long its settings are; and another function of the same settings is another part.
    assert len(part_name(square, {"number": 1, "log": "x" * 500})) < 100
    assert part_name(square, settings[0]) != part_name(square_of_few, settings[0])


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        Runner().parts(square, _settings(tmp_path, 2))
    assert _computed(tmp_path) == [0, 0, 1, 1] and [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_part_that_fails_takes_nothing_with_it(workers: int, tmp_path: Path) -> None:
    runner, settings = Runner(folder=tmp_path / "parts", workers=workers), _settings(tmp_path, 4)
    with pytest.raises(ValueError, match="two is too many"):
        runner.parts(square_of_few, settings)
    kept = len(list((tmp_path / "parts").iterdir()))
    assert kept == len(_computed(tmp_path)) >= 2


def test_a_killed_worker_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match=r"worker process was killed.* fewer --workers; what is done is kept"):
        Runner(folder=tmp_path / "parts", workers=2).parts(die, [{"number": 0}, {"number": 1}])


def test_workers_must_be_some() -> None:
    with pytest.raises(ValueError, match="--workers must be at least 1, got 0"):
        Runner(workers=0)


def test_a_failure_leaves_the_parts_alone_that_were_not_begun(tmp_path: Path) -> None:
    """More parts than workers can have in hand: those after the one that fails are neither computed nor waited for."""
    with pytest.raises(ValueError, match="two is too many"):
        Runner(folder=tmp_path / "parts", workers=2).parts(square_of_few, _settings(tmp_path, 12))
    assert set(_computed(tmp_path)) <= {0, 1, 3, 4}


def test_workers_have_their_share_of_cores_and_this_process_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    threads = str(max(1, len(os.sched_getaffinity(0)) // 2))
    found = Runner(workers=2).parts(threads_of, [{"number": 0}, {"number": 1}])
    assert [part["threads"].tolist() for part in found] == [[threads, "7"]] * 2
    assert "NPROC" not in os.environ


def test_workers_end_with_the_process_that_began_them(tmp_path: Path) -> None:
    """Oracle: the operating system, which no longer knows them some seconds after their parent was killed."""
    script = (
        "from tests.experiments.test_runner import linger\n"
        "from holoprop.experiments.reproduce.runner import Runner\n"
        "if __name__ == '__main__':\n"
        f"    Runner(workers=2).parts(linger, [{{'number': n, 'folder': {str(tmp_path)!r}}} for n in (0, 1)])\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    with subprocess.Popen([sys.executable, str(path)], env=environment) as parent:
        files = [tmp_path / f"{number}.pid" for number in (0, 1)]
        assert _within(60, lambda: all(file.is_file() and file.read_text() for file in files))
        workers = [int(file.read_text()) for file in files]
        parent.kill()
    assert _within(20, lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def count_up(report: Report, *, goal: int, stop: bool, folder: Path | None) -> dict[str, np.ndarray]:
    """A long part: it counts in a file of its own, and may be cut off on its way."""
    assert folder is not None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "count"
    begun = int(path.read_text()) if path.is_file() else 0
    for number in range(begun, goal):
        if stop and number == 3 and begun == 0:
            raise KeyboardInterrupt
        path.write_text(str(number + 1))
    return {"counted": np.array([begun, goal])}


def test_a_long_part_goes_on_in_its_own_folder_which_then_goes(tmp_path: Path) -> None:
    runner = Runner(folder=tmp_path / "parts")
    settings = [{"goal": 2, "stop": True}, {"goal": 5, "stop": True}]
    with pytest.raises(KeyboardInterrupt):
        runner.parts(count_up, settings, long=True)
    name = part_name(count_up, settings[1])
    assert (tmp_path / "parts" / name / "count").read_text() == "3"
    assert [part["counted"].tolist() for part in runner.parts(count_up, settings, long=True)] == [[0, 2], [3, 5]]
    assert all(path.suffix == ".npz" for path in (tmp_path / "parts").iterdir())

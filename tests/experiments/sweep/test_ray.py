"""A sweep on a Ray cluster of two nodes on this machine, of which a worker is killed. Oracle: every result is there."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holoprop.experiments.sweep.ray_cluster import RayEngine
from holoprop.experiments.sweep.running import run_sweep
from holoprop.experiments.sweep.table import read_results
from tests.experiments.sweep.rows import TINY

pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one core each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def _stat(process: int) -> list[int]:
    """What the system tells of a process, from its parent on; its name, in brackets, may hold anything."""
    return [int(word) for word in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1:]]


_PARENT, _BEGUN = 0, 18


def _workers() -> dict[int, int]:
    """The processes that run trials for this process's own cluster, and which node each belongs to."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            process = int(path.parent.name)
            if path.read_bytes().startswith(b"ray::_attempt"):
                node = _stat(process)[_PARENT]
                if _stat(node)[_PARENT] == os.getpid():
                    found[process] = node
        except OSError:
            continue
    return found


def test_eight_trials_with_a_worker_killed_half_way(cluster: Any, tmp_path: Path) -> None:
    folder, nodes, told, killed = tmp_path / "s", set(), [], []

    def kill_one_half_way() -> None:
        until = time.monotonic() + 1200
        while time.monotonic() < until and not killed:
            time.sleep(0.05)
            workers = _workers()
            nodes.update(workers.values())
            trials = [trial for trial in (folder / "trials").glob("*") if (trial / "config.toml").is_file()]
            done = [trial for trial in trials if (trial / "result.json").is_file()]
            busy = [trial for trial in trials if trial not in done]
            # None is about to end, so the youngest worker loses something.
            if len(done) >= 3 and workers and not any((trial / "evaluation.npz").is_file() for trial in busy):
                killed.append(max(workers, key=lambda process: _stat(process)[_BEGUN]))
                os.kill(killed[0], signal.SIGKILL)

    watcher = threading.Thread(target=kill_one_half_way, daemon=True)
    watcher.start()
    results = run_sweep(
        "digits-mlp",
        ["training.seed=0,1,2,3,4,5,6,7"],
        folder,
        engine=RayEngine(cluster.address),
        overrides=TINY,
        progress=told.append,
    )
    watcher.join()
    assert len(killed) == 1
    assert [row.state for row in results.rows] == ["done"] * 8
    assert [line.partition(": ")[2] for line in told if "trying" in line] == [
        "its worker died (WorkerCrashedError); trying again (1 of 2)"
    ]
    assert len(nodes) == 2
    assert read_results(folder).rows == results.rows
    assert all((folder / "trials" / row.trial / "evaluation.npz").is_file() for row in results.rows)


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--ray 127\.0\.0\.1:1: no Ray cluster can be used there: "):
        run_sweep("digits-mlp", ["training.seed=0,1"], tmp_path / "s", engine=RayEngine("127.0.0.1:1"), overrides=TINY)
    assert list(tmp_path.iterdir()) == []

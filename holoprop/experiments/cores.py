"""The cores of this machine, and how worker processes share them."""

import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Mapping

_THREADS = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Where JAX and NumPy's libraries look for the number of threads."""
_MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_environment(workers: int) -> dict[str, str]:
    """Return the environment of one of so many workers: its share of cores and of an accelerator's memory.

    What this process was told by its own environment stands, but of a worker, whose share its own workers share.
    """
    threads = str(max(1, available_cores() // workers))
    share: dict[str, str] = dict.fromkeys(_THREADS, threads)
    if workers > 1:
        # JAX by default takes three quarters of an accelerator for the first process that comes.
        share[_MEMORY] = f"{0.9 / workers:.3f}"
    whole = {**share, **os.environ}
    if multiprocessing.parent_process() is not None and workers > 1:
        whole |= {name: str(max(1, int(os.environ[name]) // workers)) for name in _THREADS if name in os.environ}
        if _MEMORY in os.environ:
            whole[_MEMORY] = f"{float(os.environ[_MEMORY]) / workers:.3f}"
    return whole


@contextlib.contextmanager
def environment_of(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process's environment meanwhile: processes that are begun now inherit them."""
    former = {name: os.environ.get(name) for name, value in variables.items() if os.environ.get(name) != value}
    os.environ.update(variables)
    try:
        yield
    finally:
        # One by one: other threads may read the others.
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

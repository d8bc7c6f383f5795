"""Which benchmarks there are, by name."""

import functools
from collections.abc import Callable, Sequence

from holoprop.bench.convolutional import FREE_FEEDBACK, FULL_SIZE, run_convnet
from holoprop.bench.dense import TABLE_1, TABLE_1_MIXED, run_mlp
from holoprop.bench.row import Notice, Row

_BENCHMARKS: dict[str, Callable[[Notice], Row]] = {
    **{benchmark.name: functools.partial(run_mlp, benchmark) for benchmark in (TABLE_1, TABLE_1_MIXED)},
    **{benchmark.name: functools.partial(run_convnet, benchmark) for benchmark in (*FULL_SIZE, *FREE_FEEDBACK)},
}


def benchmark_names() -> list[str]:
    """Return the names of all benchmarks."""
    return list(_BENCHMARKS)


def run_benchmarks(only: Sequence[str] | None = None, progress: Notice | None = None) -> list[Row]:
    """Run benchmarks one after the other.

    **Arguments:** `only`: their names, in the order in which to run them; all if `None`. `progress`: is told in one
    line what is about to happen.

    **Returns:** one `Row` each.

    **Raises:** `ValueError`, naming the benchmarks there are, for an unknown name; before anything runs.
    """
    names = benchmark_names() if only is None else list(only)
    for name in names:
        if name not in _BENCHMARKS:
            raise ValueError(f"unknown benchmark {name!r}; known are {', '.join(_BENCHMARKS)}")
    return [_BENCHMARKS[name](progress or _silent) for name in names]


def _silent(line: str) -> None:
    del line

"""How the cost of a training step grows with the batch, the depth and width of a network, and the points N.

A small convolutional network, changed in one respect at a time. Every phase takes a fixed number of sweeps, so that it
is the cost of a step that grows and not the difficulty of settling. By the FLOP model that cost is linear in the batch,
nearly so in the number of inner layers and in `N` (a complex point costs two real ones and stands for two), and
quadratic in the width; what is measured differs by what the machine does with small maps.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import jax

from holoprop.bench.compiled import compile_timed, training_step
from holoprop.bench.counting import Work
from holoprop.bench.flops import Sweeps
from holoprop.bench.images import first_batches
from holoprop.bench.machine import time_in_turns
from holoprop.bench.row import Notice, render_table, show_time
from holoprop.gradient.contour import settled_points
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.network.build_conv import convnet
from holoprop.settling.plain import Alternating

_FREE, _NUDGED = 4, 2
"""Sweeps of either phase."""
_NEVER = 1e-30
"""A tolerance that so few sweeps do not meet."""


@dataclasses.dataclass(frozen=True)
class Size:
    """What a step's cost depends on.

    **Attributes:** `batch`: samples; `depth`: settled layers, at least 2, the first two of them pooled; `width`:
    channels of each; `points`: `N`; `side`: height and width of the input, of 3 channels.
    """

    batch: int = 4
    depth: int = 2
    width: int = 32
    points: int = 2
    side: int = 16


GROWTH: dict[str, tuple[Size, ...]] = {
    "batch": tuple(Size(batch=batch) for batch in (1, 2, 4, 8)),
    "depth": tuple(Size(depth=depth) for depth in (2, 3, 4, 5)),
    "width": tuple(Size(width=width) for width in (16, 32, 64, 128)),
    "points": tuple(Size(points=points) for points in (2, 4, 8)),
}
"""By what grows: the sizes measured."""


class GrowthRow(TypedDict):
    """One step of one size; plain JSON values.

    - `grows`: what is changed in this row and its neighbours; `batch`, `depth`, `width`, `points`: see `Size`.
    - `step_s`, `compile_s`: seconds of a training step, and to compile it.
    - `mflop`: operations of the step, in 1e6; `gflops`: GFLOP/s; `sweep_mb`: see `Row`.
    """

    grows: str
    batch: int
    depth: int
    width: int
    points: int
    step_s: float
    compile_s: float
    mflop: float
    gflops: float
    sweep_mb: float


def run_growth(
    sizes: dict[str, tuple[Size, ...]] | None = None,
    progress: Notice | None = None,
    *,
    rounds: int = 5,
    at_least: float = 0.1,
) -> list[GrowthRow]:
    """Measure steps of all `sizes`, `GROWTH` by default, in turns.

    **Arguments:** `sizes`: by what grows; `progress`: is told in one line what is about to happen; `rounds`,
    `at_least`: of `time_in_turns`.

    **Returns:** one `GrowthRow` for each; one size in several places is measured once.
    """
    sizes = GROWTH if sizes is None else sizes
    different = list(dict.fromkeys(size for each in sizes.values() for size in each))
    steps = {}
    for size in different:
        if progress:
            progress(f"growth: compiling batch {size.batch}, depth {size.depth}, width {size.width}, N = {size.points}")
        steps[size] = _compile(size)
    if progress:
        progress("growth: timing in turns")
    names = {size: f"{size}" for size in different}
    seconds = time_in_turns({names[size]: steps[size][0] for size in different}, rounds=rounds, at_least=at_least)
    rows = []
    for grows, each in sizes.items():
        for size in each:
            _, compile_s, work = steps[size]
            step = seconds[names[size]]
            rows.append(
                GrowthRow(
                    grows=grows,
                    batch=size.batch,
                    depth=size.depth,
                    width=size.width,
                    points=size.points,
                    step_s=step,
                    compile_s=compile_s,
                    mflop=work.flops / 1e6,
                    gflops=work.flops / step / 1e9,
                    sweep_mb=work.sweep_mb,
                )
            )
    return rows


def render_growth(rows: Sequence[GrowthRow], width: int = 140) -> str:
    """Return the rows as a text table at most `width` characters wide, with factors over the row before."""
    lines, before = [], None
    for row in rows:
        follows = before is not None and before["grows"] == row["grows"]
        lines.append(
            (
                row["grows"] if not follows else "",
                *(str(row[name]) for name in ("batch", "depth", "width", "points")),
                show_time(row["step_s"]),
                _factor(row["step_s"], before["step_s"] if before and follows else None),
                f"{row['mflop']:.1f} MFLOP",
                _factor(row["mflop"], before["mflop"] if before and follows else None),
                f"{row['gflops']:.1f}",
                f"{row['sweep_mb']:.2f} MB",
                f"{row['compile_s']:.1f} s",
            )
        )
        before = row
    titles = ("grows", "batch", "depth", "width", "N", "step", "", "a step's", "", "GFLOP/s", "a sweep's", "compile")
    return render_table(titles, lines, width)


def _factor(now: float, before: float | None) -> str:
    return "" if before is None else f"×{now / before:.2f}"


def _compile(size: Size) -> tuple[Callable[[], Any], float, Work]:
    """Return a step of that size, the seconds it took to compile, and its work."""
    net = convnet(
        (size.side, size.side, 3),
        (size.width,) * size.depth,
        10,
        padding="SAME",
        pools=(1, 2),
        key=jax.random.key(0),
    )
    ((x, y),), _ = first_batches(net.input_shape, net.classes, size.batch, 1)
    estimator = Holomorphic(
        points=size.points,
        radius=0.5,
        solver=Alternating(tolerance=_NEVER, max_steps=_FREE),
        nudged_solver=Alternating(tolerance=_NEVER, max_steps=_NUDGED),
        unsettled="keep",
    )

    real, complex_ = settled_points(size.points)
    sweeps = Sweeps(size.batch * _FREE, size.batch * real * _NUDGED, size.batch * complex_ * _NUDGED)
    compiled = compile_timed(training_step(estimator, 0.05), net, x, y)
    return lambda: compiled.run(net, x, y), compiled.seconds, Work.of(net, size.batch, size.points, sweeps)

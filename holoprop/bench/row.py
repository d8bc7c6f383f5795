"""A row of benchmark results, and rows as a table.

speedup = baseline_step_s / step_s,      gemm_share = gflops / gemm_gflops,      conv_share = sweep_gflops / conv_gflops
"""

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import NotRequired, TypedDict

Notice = Callable[[str], None]
"""Is told, in one line each, what a benchmark is about to do."""


class Row(TypedDict):
    """What a benchmark measured, our side and the baseline's in one run; plain JSON values.

    - `name`: of the benchmark.
    - `step_s`, `baseline_step_s`: seconds of one training step; `speedup`: their ratio.
    - `compile_s`, `baseline_compile_s`: seconds to compile that step from nothing, tracing included.
    - `cosine`, `baseline_cosine`: of the step's gradient with the exact one of the same network and batch; of
      convolutional networks with the same estimate of fully settled states.
    - `peak_mb`: memory of our step in MB (1e6 bytes): arguments, results, temporaries.
    - `gflops`: GFLOP/s of our step, counting the matrix products that it needs; `gemm_gflops`: of a plain float32
      matrix product in the same run; `gemm_share`: their ratio.
    - `sweep_mflop`: operations of one free sweep of one sample, in 1e6, and `sweep_mb`: the least that one of the whole
      batch reads and writes, in MB; both by `flops.py`. A complex sweep has twice the operations.
    - `free_sweeps`: of the free phase, mean over the samples; `nudged_sweeps`: mean over samples and settled points.

    Of convolutional networks only:

    - `sweep_gflops`: GFLOP/s of nudged sweeps alone (at `N > 2` those of the complex points), in a loop of a fixed
      number; `conv_gflops`: of the bare convolutions in them, one by one; `conv_share`: their ratio.
    - `free_sweep_gflops`, `free_conv_gflops`, `free_conv_share`: the same of the free phase's sweeps, whose batch is
      smaller by the number of points.
    - `baseline_timed_s`: what was timed of the baseline, before it was scaled to the published number of steps.
    - `real_baseline_step_s`: as `baseline_step_s`, of a baseline without complex numbers; only for two points.

    - `note`: present only if there is something to know before believing the row.
    """

    name: str
    step_s: float
    baseline_step_s: float
    speedup: float
    compile_s: float
    baseline_compile_s: float
    cosine: float
    baseline_cosine: float
    peak_mb: float
    gflops: float
    gemm_gflops: float
    gemm_share: float
    sweep_mflop: float
    sweep_mb: float
    free_sweeps: float
    nudged_sweeps: float
    sweep_gflops: NotRequired[float]
    conv_gflops: NotRequired[float]
    conv_share: NotRequired[float]
    free_sweep_gflops: NotRequired[float]
    free_conv_gflops: NotRequired[float]
    free_conv_share: NotRequired[float]
    baseline_timed_s: NotRequired[float]
    real_baseline_step_s: NotRequired[float]
    note: NotRequired[str]


_Columns = tuple[tuple[str, Callable[[Row], str]], ...]

_STEP: _Columns = (
    ("benchmark", lambda row: row["name"]),
    ("step", lambda row: show_time(row["step_s"])),
    ("baseline", lambda row: show_time(row["baseline_step_s"])),
    ("faster", lambda row: f"{row['speedup']:.1f}×"),
    ("compile", lambda row: f"{row['compile_s']:.1f} s"),
    ("baseline", lambda row: f"{row['baseline_compile_s']:.1f} s"),
    ("shorter", lambda row: f"{row['baseline_compile_s'] / row['compile_s']:.1f}×"),
    ("cosine", lambda row: f"{row['cosine']:.6f}"),
    ("baseline", lambda row: f"{row['baseline_cosine']:.6f}"),
    ("memory", lambda row: f"{row['peak_mb']:.1f} MB"),
    ("GFLOP/s", lambda row: _rate(row["gflops"], row["gemm_gflops"])),
)

_SWEEPS: _Columns = (
    ("sweeps of", lambda row: row["name"]),
    ("free", lambda row: f"{row['free_sweeps']:.1f}"),
    ("nudged", lambda row: f"{row['nudged_sweeps']:.1f}"),
    ("a sample's", lambda row: f"{row['sweep_mflop']:.4g} MFLOP"),
    ("a batch's", lambda row: f"{row['sweep_mb']:.1f} MB"),
    ("free GFLOP/s", lambda row: _rate(row.get("free_sweep_gflops"), row.get("free_conv_gflops"))),
    ("nudged GFLOP/s", lambda row: _rate(row.get("sweep_gflops"), row.get("conv_gflops"))),
)


def render_rows(rows: Sequence[Row], width: int = 140) -> str:
    """Return the rows as text at most `width` characters wide: a table of steps, one of sweeps, and the notes."""
    tables = [
        render_table([title for title, _ in columns], [[show(row) for _, show in columns] for row in rows], width)
        for columns in (_STEP, _SWEEPS)
    ]
    notes = [textwrap.fill(f"{row['name']}: {row['note']}", width) for row in rows if "note" in row]
    return "\n\n".join([*tables, *(["\n".join(notes)] if notes else [])])


def render_table(titles: Sequence[str], lines: Sequence[Sequence[str]], width: int) -> str:
    """Return a table of text at most `width` characters wide: the first column to the left, others to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, title in enumerate(titles):
        table.add_column(title, justify="right" if i else "left")
    for line in lines:
        table.add_row(*line)
    text = io.StringIO()
    # Not the terminal's own width: a table that is piped into a file should look the same as on the screen.
    Console(file=text, width=width, color_system=None).print(table)
    # The frame's blank edges are lines of spaces.
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")


def show_time(seconds: float) -> str:
    """Return a time in ms, or in s from ten seconds on."""
    return f"{seconds:.1f} s" if seconds >= 10 else f"{1e3 * seconds:.1f} ms"


def _rate(gflops: float | None, of: float | None) -> str:
    return "–" if gflops is None or of is None else f"{gflops:.1f} of {of:.0f} ({gflops / of:.0%})"

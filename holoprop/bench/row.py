"""A row of benchmark results, and rows as a table.

speedup = baseline_step_s / step_s,      gemm_share = gflops / gemm_gflops
"""

import io
from collections.abc import Callable, Sequence
from typing import NotRequired, TypedDict

Notice = Callable[[str], None]
"""Is told, in one line each, what a benchmark is about to do."""


class Row(TypedDict):
    """What a benchmark measured, our side and the baseline's in one run; plain JSON values.

    - `name`: of the benchmark.
    - `step_s`, `baseline_step_s`: seconds of one training step; `speedup`: their ratio.
    - `compile_s`, `baseline_compile_s`: seconds to compile that step from nothing, tracing included.
    - `cosine`, `baseline_cosine`: of the step's gradient with the exact one of the same network and batch.
    - `peak_mb`: memory of our step in MB (1e6 bytes): arguments, results, temporaries.
    - `gflops`: GFLOP/s of our step, counting the matrix products that it needs; `gemm_gflops`: of a plain float32
      matrix product in the same run; `gemm_share`: their ratio.
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
    note: NotRequired[str]


_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("benchmark", lambda row: row["name"]),
    ("step", lambda row: f"{1e3 * row['step_s']:.1f} ms"),
    ("baseline", lambda row: f"{1e3 * row['baseline_step_s']:.1f} ms"),
    ("faster", lambda row: f"{row['speedup']:.1f}×"),
    ("compile", lambda row: f"{row['compile_s']:.1f} s"),
    ("baseline", lambda row: f"{row['baseline_compile_s']:.1f} s"),
    ("shorter", lambda row: f"{row['baseline_compile_s'] / row['compile_s']:.1f}×"),
    ("cosine", lambda row: f"{row['cosine']:.6f}"),
    ("baseline", lambda row: f"{row['baseline_cosine']:.6f}"),
    ("memory", lambda row: f"{row['peak_mb']:.1f} MB"),
    ("GFLOP/s", lambda row: f"{row['gflops']:.1f} of {row['gemm_gflops']:.0f} ({row['gemm_share']:.0%})"),
)


def render_rows(rows: Sequence[Row], width: int = 140) -> str:
    """Return the rows as a text table at most `width` characters wide, with notes below it."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, (title, _) in enumerate(_COLUMNS):
        table.add_column(title, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(show(row) for _, show in _COLUMNS))
    text = io.StringIO()
    # Not the terminal's own width: a table that is piped into a file should look the same as on the screen.
    console = Console(file=text, width=width, color_system=None)
    console.print(table)
    for row in rows:
        if "note" in row:
            console.print(f"{row['name']}: {row['note']}", markup=False, highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").splitlines())

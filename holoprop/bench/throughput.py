"""How many samples a second train in batches that fill the machine, in each precision.

P1's Table 2 network and circle at its batch of 128. What is reached is compared with the rate of a plain matrix product
in the same precision, in the same run:

    samples / s = batch / (seconds of a step),      share = (operations of a step / its seconds) / (rate of the product)

`tensorfloat32` is what the tensor cores of a GPU make of float32, 10 bits of mantissa; elsewhere it is float32 and left
out. `mixed` multiplies in bfloat16 far from rest (`Mixed`), so its share is of the bfloat16 rate.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypedDict

import jax
import jax.numpy as jnp

from holoprop.bench.compiled import compile_timed, training_step
from holoprop.bench.counting import SweepCounter
from holoprop.bench.images import first_batches
from holoprop.bench.machine import gemm, time_in_turns
from holoprop.bench.row import Notice, render_table, show_time
from holoprop.gradient.agreement import alignment
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.network.build_conv import convnet
from holoprop.settling.anderson import Anderson
from holoprop.settling.mixed import Mixed
from holoprop.settling.plain import Alternating
from holoprop.settling.solver import AbstractSolver

PRECISIONS = {"float32": "float32", "tensorfloat32": "tensorfloat32", "mixed": "float32"}
"""What can be measured, the second on GPUs only, and JAX's `default_matmul_precision` by which each is computed."""


@dataclasses.dataclass(frozen=True)
class Throughput:
    """What is measured.

    **Attributes:** `in_shape`, `channels`, `classes`: of the network; `batch`: samples a step; `points`, `radius`: of
    the circle; `tolerance`, `nudged_tolerance`: of the two phases; `images`: in an epoch; `gemm_size`: of the
    yardstick, `None` for 2048, or 8192 on an accelerator, which smaller products do not fill; `rounds`, `at_least`: of
    `time_in_turns`.
    """

    in_shape: tuple[int, int, int] = (32, 32, 3)
    channels: tuple[int, ...] = (128, 256, 512, 512)
    classes: int = 10
    batch: int = 128
    points: int = 2
    radius: float = 1.0
    tolerance: float = 1e-2
    nudged_tolerance: float = 3e-3
    images: int = 50_000
    gemm_size: int | None = None
    rounds: int = 3
    at_least: float = 0.3

    def estimator(self, precision: str) -> Holomorphic:
        """Return the estimator in that precision."""
        free: AbstractSolver = Alternating(tolerance=self.tolerance, max_steps=100)
        nudged: AbstractSolver = Alternating(tolerance=self.nudged_tolerance, max_steps=100)
        if precision == "mixed":
            free, nudged = Mixed(free), Mixed(nudged)
        return Holomorphic(points=self.points, radius=self.radius, solver=free, nudged_solver=nudged, unsettled="keep")


class ThroughputRow(TypedDict):
    """Training steps in one precision; plain JSON values.

    - `precision`: one of `PRECISIONS`; `batch`: samples a step.
    - `step_s`, `compile_s`: seconds of a step, and to compile it; `samples_per_s`; `epoch_s`: seconds of an epoch.
    - `free_sweeps`, `nudged_sweeps`, `gflops`, `peak_mb`: see `Row`.
    - `gemm_gflops`: GFLOP/s of a plain product in this precision; `gemm_share`: of it that the step reaches.
    - `cosine`: of the gradient with that of fully settled states in float32, on the same circle.
    """

    precision: str
    batch: int
    step_s: float
    compile_s: float
    samples_per_s: float
    epoch_s: float
    free_sweeps: float
    nudged_sweeps: float
    gflops: float
    gemm_gflops: float
    gemm_share: float
    peak_mb: float
    cosine: float


def run_throughput(
    setting: Throughput | None = None, progress: Notice | None = None, precisions: Sequence[str] | None = None
) -> list[ThroughputRow]:
    """Measure training steps in each of `precisions`, in turns with the products that they are compared with.

    **Arguments:** `setting`: what is measured, by default P1's network and batch; `progress`: is told in one line what
    is about to happen; `precisions`: of `PRECISIONS`, by default those that this machine tells apart.

    **Returns:** one `ThroughputRow` each.

    **Raises:** `ValueError` for a precision that is none of them, before anything runs.
    """
    setting = setting or Throughput()
    if precisions is None:
        precisions = [each for each in PRECISIONS if each != "tensorfloat32" or jax.default_backend() == "gpu"]
    for each in precisions:
        if each not in PRECISIONS:
            raise ValueError(f"unknown precision {each!r}; known are {', '.join(PRECISIONS)}")

    def tell(what: str) -> None:
        if progress:
            progress(f"throughput: {what}")

    net = convnet(setting.in_shape, setting.channels, setting.classes, key=jax.random.key(0))
    ((x, y),), images = first_batches(setting.in_shape, setting.classes, setting.batch, 1)
    settled = Anderson(max_steps=1000)
    tell(f"the gradient of fully settled states, {setting.batch} of {images}")
    with jax.default_matmul_precision("float32"):
        exact = dataclasses.replace(setting.estimator("float32"), solver=settled, nudged_solver=settled)
        truth: Any = exact(net, x, y).gradient

    size = setting.gemm_size or (2048 if jax.default_backend() == "cpu" else 8192)
    functions, products, compiled, counted = {}, {}, {}, {}
    for each in precisions:
        tell(f"compiling a step in {each}")
        with jax.default_matmul_precision(PRECISIONS[each]):
            estimator = setting.estimator(each)
            step = compiled[each] = compile_timed(training_step(estimator, 0.05), net, x, y)
            estimate, work = SweepCounter(estimator).work(net, x, y)
            counted[each] = alignment(estimate.gradient, truth).total.cosine, work
            product, products[each] = gemm(size, jnp.dtype("bfloat16" if each == "mixed" else "float32"))
        functions[each] = lambda step=step: step.run(net, x, y)
        functions[f"{each}:gemm"] = product
    tell("timing in turns")
    seconds = time_in_turns(functions, rounds=setting.rounds, at_least=setting.at_least)
    rows = []
    for each in precisions:
        cosine, work = counted[each]
        gflops, peak = work.flops / seconds[each] / 1e9, products[each] / seconds[f"{each}:gemm"] / 1e9
        rows.append(
            ThroughputRow(
                precision=each,
                batch=setting.batch,
                step_s=seconds[each],
                compile_s=compiled[each].seconds,
                samples_per_s=setting.batch / seconds[each],
                epoch_s=setting.images / setting.batch * seconds[each],
                free_sweeps=work.free_sweeps,
                nudged_sweeps=work.nudged_sweeps,
                gflops=gflops,
                gemm_gflops=peak,
                gemm_share=gflops / peak,
                peak_mb=compiled[each].peak_mb,
                cosine=cosine,
            )
        )
    return rows


def render_throughput(rows: Sequence[ThroughputRow], width: int = 140) -> str:
    """Return the rows as a text table at most `width` characters wide."""
    titles = (
        "precision",
        "batch",
        "step",
        "samples/s",
        "an epoch",
        "sweeps free",
        "nudged",
        "GFLOP/s",
        "of a product's",
    )
    lines = [
        (
            row["precision"],
            str(row["batch"]),
            show_time(row["step_s"]),
            f"{row['samples_per_s']:.4g}",
            show_time(row["epoch_s"]),
            f"{row['free_sweeps']:.1f}",
            f"{row['nudged_sweeps']:.1f}",
            f"{row['gflops']:.4g}",
            f"{row['gemm_gflops']:.4g} ({row['gemm_share']:.0%})",
            f"{row['peak_mb']:.1f} MB",
            f"{row['compile_s']:.1f} s",
            f"{row['cosine']:.6f}",
        )
        for row in rows
    ]
    return render_table((*titles, "memory", "compile", "cosine"), lines, width)

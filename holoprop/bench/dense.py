"""The training step of P1's Table 1 on a dense network: our contour estimator against the published schedule.

Both sides start from the same network, see the same batches and end with `θ ← θ − η g`. Each step is one compiled
function. They are timed in turns, over several batches, because how long settling takes depends on the sample. Each
gradient is compared with `Implicit`, the exact one, over the whole batch: neither side leaves samples out.

P1's settings (Table 1): 784-256-256-10, batch 20, 10 points on a circle of 0.4, learning rate 0.05. The published run
had T1 = 200 and T2 = 50; the baseline has T2 = 30.
"""

import dataclasses
import inspect
from typing import Any

import jax
import numpy as np

from holoprop.bench import published
from holoprop.bench.compiled import CompiledFunction, compile_stored, compile_timed, training_step
from holoprop.bench.counting import SweepCounter, Work
from holoprop.bench.images import Batch, first_batches
from holoprop.bench.machine import gemm, time_in_turns
from holoprop.bench.published import PublishedSchedule
from holoprop.bench.quoted import Quoted, baseline_note
from holoprop.bench.row import Notice, Row
from holoprop.gradient.agreement import alignment
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import Implicit
from holoprop.network.build import mlp
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.plain import Alternating


@dataclasses.dataclass(frozen=True)
class MlpBenchmark:
    """A benchmark of the training step of a dense network.

    **Attributes:** `sizes`: of input and settled layers; `classes`; `batch`: samples a step; `batches`: how many
    different ones are timed; `schedule`: of the baseline, whose points, radius and learning rate hold for both sides;
    `quoted`: what the baseline is judged by, if anything is known; `rounds`, `at_least`: of `time_in_turns`;
    `gemm_size`: of the yardstick.
    """

    name: str
    sizes: tuple[int, ...] = (784, 256, 256)
    classes: int = 10
    batch: int = 20
    batches: int = 5
    schedule: PublishedSchedule = dataclasses.field(default_factory=PublishedSchedule)
    quoted: Quoted | None = None
    rounds: int = 5
    at_least: float = 1.0
    gemm_size: int = 2048


_AUTHORS = Quoted(step_s=0.187, gemm_gflops=445.0)
"""Measured for the authors' own code on 2 CPU cores."""

TABLE_1 = MlpBenchmark("mlp-table1", schedule=PublishedSchedule(complex_throughout=True), quoted=_AUTHORS)
"""P1's Table 1, row hEP, against a baseline in complex64 throughout."""

TABLE_1_MIXED = MlpBenchmark("mlp-table1-mixed", schedule=PublishedSchedule(), quoted=_AUTHORS)
"""The same against a stricter baseline, real where the nudge is real: half the time with today's compiler."""


def run_mlp(benchmark: MlpBenchmark, progress: Notice) -> Row:
    """Run one benchmark of a dense network and return its row; `progress` is told what is about to happen."""
    schedule = benchmark.schedule
    net = mlp(benchmark.sizes[0], benchmark.sizes[1:], benchmark.classes, key=jax.random.key(0))
    batches, inputs = first_batches(benchmark.sizes[:1], benchmark.classes, benchmark.batch, benchmark.batches)
    x, y = batches[0]
    estimator = _estimator(schedule)
    # Compiles something first, so that starting up the compiler is on nobody's bill.
    product, product_flops = gemm(benchmark.gemm_size)

    progress(f"{benchmark.name}: compiling our step")
    ours = compile_timed(training_step(estimator, schedule.learning_rate), net, x, y)
    progress(f"{benchmark.name}: compiling the published schedule (a minute; once per machine)")
    baseline = _compile_baseline(benchmark, net, x, y)
    progress(f"{benchmark.name}: gradients of both sides on {len(batches)} batches of {inputs}")
    cosine, baseline_cosine, work = _gradients(net, batches, estimator, schedule)

    progress(f"{benchmark.name}: timing in turns")
    functions = {
        "gemm": product,
        "ours": lambda: ours.run_in_turn(net, batches),
        "baseline": lambda: baseline.run_in_turn(net, batches),
    }
    seconds = time_in_turns(functions, rounds=benchmark.rounds, at_least=benchmark.at_least)
    step, baseline_step = seconds["ours"] / len(batches), seconds["baseline"] / len(batches)
    gemm_gflops = product_flops / seconds["gemm"] / 1e9
    row = Row(
        name=benchmark.name,
        step_s=step,
        baseline_step_s=baseline_step,
        speedup=baseline_step / step,
        compile_s=ours.seconds,
        baseline_compile_s=baseline.seconds,
        cosine=cosine,
        baseline_cosine=baseline_cosine,
        peak_mb=ours.peak_mb,
        gflops=work.flops / step / 1e9,
        gemm_gflops=gemm_gflops,
        gemm_share=work.flops / step / 1e9 / gemm_gflops,
        sweep_mflop=work.sweep_mflop,
        sweep_mb=work.sweep_mb,
        free_sweeps=work.free_sweeps,
        nudged_sweeps=work.nudged_sweeps,
    )
    note = baseline_note(benchmark.quoted, baseline_step, gemm_gflops)
    return {**row, "note": note} if note else row


def _estimator(schedule: PublishedSchedule) -> Holomorphic:
    """Our side: the same circle, plain alternating sweeps to a tolerance that the gradient needs, every sample kept.

    The published schedule takes a fixed number of steps too, and a circle of 0.4 lies outside the radius of some
    samples, which no number of sweeps brings to the right branch: hence a low limit in the nudged phase. At so loose a
    tolerance acceleration gains no time, and its loops take twice as long to compile.
    """
    return Holomorphic(
        points=schedule.points,
        radius=schedule.radius,
        solver=Alternating(tolerance=1e-2, max_steps=40),
        nudged_solver=Alternating(tolerance=1e-2, max_steps=20),
        unsettled="keep",
    )


def _compile_baseline(benchmark: MlpBenchmark, net: LayeredNetwork, x: jax.Array, y: jax.Array) -> CompiledFunction:
    def step(net: LayeredNetwork, x: jax.Array, y: jax.Array) -> LayeredNetwork:
        target = jax.nn.one_hot(y, benchmark.classes, dtype=x.dtype)
        return published.published_step(net, x, target, benchmark.schedule)[0]

    source = f"{benchmark.schedule!r}\n{inspect.getsource(published)}"
    return compile_stored(f"{benchmark.name}-baseline", step, net, x, y, source=source)


def _gradients(
    net: LayeredNetwork, batches: list[Batch], estimator: Holomorphic, schedule: PublishedSchedule
) -> tuple[float, float, Work]:
    """Each side's cosine with the exact gradient, the baseline's by rolled loops, and the work of our step.

    Means over the batches.
    """
    rolled: Any = jax.jit(lambda net, x, y: published.published_gradient(net, x, y, schedule, unroll=False))
    exact, counter = Implicit(unsettled="keep"), SweepCounter(estimator)
    cosines, work = [], []
    for x, y in batches:
        truth = exact(net, x, y).gradient
        estimate, spent = counter.work(net, x, y)
        published_one = rolled(net, x, jax.nn.one_hot(y, net.classes, dtype=x.dtype))
        cosines.append([alignment(gradient, truth).total.cosine for gradient in (estimate.gradient, published_one)])
        work.append(spent)
    ours, theirs = np.mean(cosines, axis=0)
    return float(ours), float(theirs), Work.mean(work)

"""The training step of P1's Table 2 on its four-layer convolutional network: ours against the published schedule.

P1's settings (Table 2): 3×3 convolutions of 128, 256, 512 and 512 channels, softmax pooling after each, double_silu,
a circle of 1, `T1 = 250`, `T2 = 60`; two points in the table, four in Fig. 4. The batch is 4. Weights are those of the
initialisation, or 1.5 times as large, where settling takes longer.

The baseline's steps are all alike, so it is timed at `T1 = 50`, `T2 = 15` and its time multiplied by

    (250 + 60 P) / (50 + 15 P),      P = ⌊N/2⌋ + 1 nudges that are run.

What else a step of it does takes no time to speak of. Its steps run in compiled loops: unrolled they are no faster.
Cosines are with our estimate of fully settled states, of the same circle.

The same network with free feedback is P2's (Table 2): `T1 = 250`, `T2 = 40`, two points (`published_field.py`), without
and with the homeostatic penalty of 5 random vectors a sample, whose time the baseline adds unscaled.
"""

import dataclasses
import inspect
from typing import Any

import jax
import numpy as np

from holoprop.bench import published, published_field
from holoprop.bench.compiled import CompiledFunction, compile_stored, compile_timed, training_step
from holoprop.bench.counting import SweepCounter, Work
from holoprop.bench.flops import Flops
from holoprop.bench.images import Batch, first_batches
from holoprop.bench.machine import gemm, time_in_turns
from holoprop.bench.published import PublishedSchedule
from holoprop.bench.published_field import PublishedField
from holoprop.bench.quoted import Quoted, baseline_note
from holoprop.bench.row import Notice, Row
from holoprop.bench.sweeping import SweepRate, free_sweep_rate, nudged_sweep_rate
from holoprop.gradient.agreement import alignment
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.network.build_conv import convnet
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.plain import Alternating
from holoprop.settling.solver import AbstractSolver
from holoprop.symmetry.homeostatic import Homeostatic

_SETTLED = Anderson(max_steps=1000)
"""Settles as far as float32 allows."""


@dataclasses.dataclass(frozen=True)
class ConvnetBenchmark:
    """A benchmark of the training step of a convolutional network.

    **Attributes:** `in_shape`, `channels`, `classes`, `weight_scale`: of the network; `batch`: samples a step;
    `batches`: how many different ones are timed on our side; `solver`, `nudged_solver`: how our states settle;
    `schedule`: of the baseline, whose points, radius and learning rate hold for both sides; `timed`: `T1` and `T2` at
    which it is timed; `quoted`: what the baseline is judged by at those, if anything is known; `rounds`, `at_least`: of
    `time_in_turns`; `baseline_rounds`: of the baseline alone; `gemm_size`: of the yardstick. With a `PublishedField` as
    its schedule the network has free feedback, and a penalty if that says so.
    """

    name: str
    schedule: PublishedSchedule | PublishedField
    solver: AbstractSolver
    nudged_solver: AbstractSolver
    weight_scale: float = 1.0
    in_shape: tuple[int, int, int] = (32, 32, 3)
    channels: tuple[int, ...] = (128, 256, 512, 512)
    classes: int = 10
    batch: int = 4
    batches: int = 3
    timed: tuple[int, int] = (50, 15)
    quoted: Quoted | None = None
    rounds: int = 5
    at_least: float = 0.3
    baseline_rounds: int = 1
    gemm_size: int = 2048

    @property
    def estimator(self) -> Holomorphic:
        """Our side."""
        return Holomorphic(
            points=self.points,
            radius=self.schedule.radius,
            solver=self.solver,
            nudged_solver=self.nudged_solver,
            unsettled="keep",
        )

    @property
    def points(self) -> int:
        """On the circle."""
        return 2 if isinstance(self.schedule, PublishedField) else self.schedule.points

    @property
    def samples(self) -> int:
        """Random vectors of the homeostatic penalty."""
        return self.schedule.samples if isinstance(self.schedule, PublishedField) else 0

    @property
    def trained(self) -> AbstractEstimator:
        """Our side, with the penalty if there is one."""
        if not isinstance(self.schedule, PublishedField) or not self.samples:
            return self.estimator
        return Homeostatic(estimator=self.estimator, weight=self.schedule.homeostasis, samples=self.samples)

    @property
    def timed_schedule(self) -> PublishedSchedule | PublishedField:
        """What is timed of the baseline."""
        return dataclasses.replace(self.schedule, free_steps=self.timed[0], nudged_steps=self.timed[1])


def _full_size(points: int, weight_scale: float) -> ConvnetBenchmark:
    """P1's network; the tolerances are what a cosine of 0.9999 needs."""
    suffix = "" if weight_scale == 1 else f"-x{weight_scale}"
    return ConvnetBenchmark(
        f"convnet-n{points}{suffix}",
        PublishedSchedule(250, 60, points, radius=1.0, complex_throughout=True),
        solver=Alternating(tolerance=1e-2, max_steps=100),
        nudged_solver=Alternating(tolerance=3e-3, max_steps=100),
        weight_scale=weight_scale,
        quoted=_AUTHORS[points],
    )


_AUTHORS = {2: Quoted(step_s=9.4, gemm_gflops=445.0), 4: Quoted(step_s=70.0, gemm_gflops=445.0)}
"""Measured for the authors' own code on 2 CPU cores at `T1 = 50`, `T2 = 15`; at two points it is real."""

FULL_SIZE = tuple(_full_size(points, scale) for points in (2, 4) for scale in (1.0, 1.5))
FREE_FEEDBACK = tuple(
    ConvnetBenchmark(
        f"convnet-free{suffix}",
        PublishedField(samples=samples),
        solver=Alternating(tolerance=1e-2, max_steps=100),
        nudged_solver=Alternating(tolerance=3e-3, max_steps=100),
        timed=(50, 8),
    )
    for suffix, samples in (("", 0), ("-homeostasis", 5))
)


def run_convnet(benchmark: ConvnetBenchmark, progress: Notice) -> Row:
    """Run one benchmark of a convolutional network and return its row; `progress` is told what is about to happen."""

    def tell(what: str) -> None:
        progress(f"{benchmark.name}: {what}")

    schedule, timed = benchmark.schedule, benchmark.timed_schedule
    net = convnet(
        benchmark.in_shape,
        benchmark.channels,
        benchmark.classes,
        weight_scale=benchmark.weight_scale,
        feedback="free" if isinstance(schedule, PublishedField) else "tied",
        key=jax.random.key(0),
    )
    batches, inputs = first_batches(benchmark.in_shape, benchmark.classes, benchmark.batch, benchmark.batches)
    x, y = batches[0]
    estimator = benchmark.estimator
    # Compiles something first, so that starting up the compiler is on nobody's bill.
    product, product_flops = gemm(benchmark.gemm_size)

    tell("compiling our step")
    ours = compile_timed(training_step(benchmark.trained, schedule.learning_rate), net, x, y)
    tell(f"gradients on {len(batches)} batches of {inputs}")
    cosine, work, truth = _gradients(net, batches, estimator)

    tell("timing in turns: our step, sweeps, bare convolutions")
    rates = {
        "free": free_sweep_rate(net, x, solver=benchmark.solver),
        "nudged": nudged_sweep_rate(net, x, y, benchmark.points, schedule.radius, solver=benchmark.nudged_solver),
    }
    functions = {"gemm": product, "ours": lambda: ours.run_in_turn(net, batches)}
    for phase, rate in rates.items():
        functions |= {f"{phase}:{each}": run for each, run in rate.functions.items()}
    seconds = time_in_turns(functions, rounds=benchmark.rounds, at_least=benchmark.at_least)
    step, gemm_gflops = seconds["ours"] / len(batches), product_flops / seconds["gemm"] / 1e9

    tell(f"compiling and timing {timed.steps} steps of the published schedule (a minute)")
    baseline, baseline_s, gradient = _baseline(benchmark, timed, net, x, y)
    longer, penalty_s = schedule.steps / timed.steps, 0.0
    if benchmark.samples:
        assert isinstance(timed, PublishedField)
        tell("the same without the penalty")
        without_s = _baseline(benchmark, dataclasses.replace(timed, samples=0), net, x, y)[1]
        penalty_s = max(baseline_s - without_s, 0.0)
    whole_s = longer * (baseline_s - penalty_s) + penalty_s
    flops = work.flops + benchmark.batch * Flops.of(net).homeostasis(samples=benchmark.samples)
    free_sweep, free_conv = _gflops(rates, "free", seconds)
    sweep, conv = _gflops(rates, "nudged", seconds)
    row = Row(
        name=benchmark.name,
        step_s=step,
        baseline_step_s=whole_s,
        speedup=whole_s / step,
        compile_s=ours.seconds,
        baseline_compile_s=baseline.seconds,
        cosine=cosine,
        baseline_cosine=alignment(gradient, truth).total.cosine,
        peak_mb=ours.peak_mb,
        gflops=flops / step / 1e9,
        gemm_gflops=gemm_gflops,
        gemm_share=flops / step / 1e9 / gemm_gflops,
        sweep_mflop=work.sweep_mflop,
        sweep_mb=work.sweep_mb,
        free_sweeps=work.free_sweeps,
        nudged_sweeps=work.nudged_sweeps,
        sweep_gflops=sweep,
        conv_gflops=conv,
        conv_share=sweep / conv,
        free_sweep_gflops=free_sweep,
        free_conv_gflops=free_conv,
        free_conv_share=free_sweep / free_conv,
        baseline_timed_s=baseline_s,
    )
    notes = [f"baseline timed at {timed.steps} of {schedule.steps} steps, in compiled loops"]
    judged = baseline_s
    if isinstance(timed, PublishedSchedule) and timed.points == 2 and timed.complex_throughout:
        tell("the same without complex numbers")
        judged = _baseline(benchmark, dataclasses.replace(timed, complex_throughout=False), net, x, y)[1]
        row["real_baseline_step_s"] = longer * judged
        notes.append(f"without complex numbers it takes {longer * judged:.0f} s ({longer * judged / step:.0f}×)")
    if off := baseline_note(benchmark.quoted, judged, gemm_gflops):
        notes.append(off)
    row["note"] = "; ".join(notes)
    return row


def _gflops(rates: dict[str, SweepRate], phase: str, seconds: dict[str, float]) -> tuple[float, float]:
    return rates[phase].gflops({name: seconds[f"{phase}:{name}"] for name in rates[phase].functions})


def _gradients(net: LayeredNetwork, batches: list[Batch], estimator: Holomorphic) -> tuple[float, Work, LayeredNetwork]:
    """Our cosine with fully settled states and our work, means over the batches, and that gradient of the first one."""
    exact = dataclasses.replace(estimator, solver=_SETTLED, nudged_solver=_SETTLED)
    counter = SweepCounter(estimator)
    truths: list[Any] = [exact(net, x, y).gradient for x, y in batches]
    cosines, work = [], []
    for (x, y), truth in zip(batches, truths, strict=True):
        estimate, spent = counter.work(net, x, y)
        cosines.append(alignment(estimate.gradient, truth).total.cosine)
        work.append(spent)
    return float(np.mean(cosines)), Work.mean(work), truths[0]


def _baseline(
    benchmark: ConvnetBenchmark,
    schedule: PublishedSchedule | PublishedField,
    net: LayeredNetwork,
    x: jax.Array,
    y: jax.Array,
) -> tuple[CompiledFunction, float, LayeredNetwork]:
    """Compile a step of the published schedule and time it; return its gradient too."""

    def step(net: LayeredNetwork, x: jax.Array, y: jax.Array) -> tuple[LayeredNetwork, LayeredNetwork]:
        target = jax.nn.one_hot(y, net.classes, dtype=x.dtype)
        if isinstance(schedule, PublishedField):
            return published_field.published_field_step(net, x, target, schedule)
        return published.published_step(net, x, target, schedule, unroll=False)

    field = isinstance(schedule, PublishedField)
    kind = f"field{schedule.samples}" if field else "complex" if schedule.complex_throughout else "real"
    source = f"{schedule!r}\n{inspect.getsource(published)}\n{inspect.getsource(published_field)}"
    # Weights are arguments: networks of one shape share the executable.
    compiled = compile_stored(f"convnet-n{benchmark.points}-{kind}-baseline", step, net, x, y, source=source)
    results: list[Any] = []

    def run() -> Any:
        results[:] = compiled.run(net, x, y)
        return results

    seconds = time_in_turns({"baseline": run}, rounds=benchmark.baseline_rounds, at_least=0.0)["baseline"]
    leaves, structure = jax.tree.flatten(net)
    return compiled, seconds, jax.tree.unflatten(structure, results[len(leaves) :])

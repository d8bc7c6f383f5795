"""How many sweeps an estimate takes, and what work that is: its own solvers, with a counter that looks on.

A free phase tells its steps in `estimate.rest`; those of the nudged phases are nowhere in the result, so they are
counted where a solve ends. The estimate is otherwise exactly the one that is timed.
"""

import dataclasses
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from holoprop.bench.flops import Flops, Sweeps
from holoprop.gradient.contour import settled_points
from holoprop.gradient.estimate import Estimate
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.nudged import nudged_default
from holoprop.network.base import AbstractNetwork, State
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver, AbstractWrappedSolver


@dataclasses.dataclass(frozen=True)
class Work:
    """What one training step needed, by the FLOP model and the sweeps that its samples took.

    **Attributes:** `flops`: of the whole step; `free_sweeps`, `nudged_sweeps`: per sample, and per sample and point;
    `sweep_mflop`: of one free sweep of one sample, in 1e6 operations; `sweep_mb`: what a free sweep of the whole batch
    has to move, in MB (1e6 bytes).
    """

    flops: float
    free_sweeps: float
    nudged_sweeps: float
    sweep_mflop: float
    sweep_mb: float

    @classmethod
    def of(cls, net: LayeredNetwork, batch: int, points: int, sweeps: Sweeps) -> "Work":
        """Return the work of a step on a circle of so many `points`, whose solves took these `sweeps` in all."""
        model = Flops.of(net)
        real, complex_ = settled_points(points)
        flops = model.training_step(batch=batch, sweeps=sweeps, real_points=real, complex_points=complex_)
        return cls(
            float(flops),
            sweeps.free / batch,
            (sweeps.real + sweeps.complex) / (batch * (real + complex_)),
            model.sweep() / 1e6,
            model.sweep_bytes(batch=batch) / 1e6,
        )

    @classmethod
    def mean(cls, several: Sequence["Work"]) -> "Work":
        """Return the mean over several steps."""
        return cls(*(float(np.mean(values)) for values in zip(*map(dataclasses.astuple, several), strict=True)))


class SweepCounter:
    """A contour estimator whose sweeps are counted.

    ```python
    estimate, sweeps = SweepCounter(hp.Holomorphic())(net, x, y)
    sweeps.free, sweeps.real, sweeps.complex
    ```
    """

    def __init__(self, estimator: Holomorphic) -> None:
        self._counts: dict[str, int] = {}
        self._estimator = dataclasses.replace(
            estimator,
            solver=_Watched(estimator.solver, self._record),
            nudged_solver=_Watched(estimator.nudged_solver or nudged_default(estimator.solver), self._record),
        )

    def __call__(self, net: AbstractNetwork, x: Array, y: Array) -> tuple[Estimate, Sweeps]:
        """Return the estimate for a batch and the sweeps that it took, summed over samples and points."""
        self._counts = {"free": 0, "real": 0, "complex": 0}
        estimate = self._estimator(net, x, y)
        jax.block_until_ready(estimate.loss)
        jax.effects_barrier()
        return estimate, Sweeps(**self._counts)

    def work(self, net: LayeredNetwork, x: Array, y: Array) -> tuple[Estimate, Work]:
        """Return the estimate for a batch, on a circle of a fixed number of points, and the work that it took."""
        estimate, sweeps = self(net, x, y)
        assert isinstance(self._estimator.points, int)
        return estimate, Work.of(net, x.shape[0], self._estimator.points, sweeps)

    def _record(self, kind: str, steps: Array) -> None:
        self._counts[kind] += int(steps)


class _Watched(AbstractWrappedSolver):
    """A solver that reports the sum of its steps at the end of each solve."""

    record: Callable[[str, Array], None] = eqx.field(static=True)

    def __init__(self, solver: AbstractSolver, record: Callable[[str, Array], None]) -> None:
        self.solver, self.record = solver, record

    def solve(self, problem: FixedPoint, state: State) -> Rest:
        rest = self.solver.solve(problem, state)
        if problem.beta is None:
            kind = "free"
        else:
            kind = "complex" if jnp.issubdtype(problem.dtype, jnp.complexfloating) else "real"
        jax.debug.callback(lambda steps: self.record(kind, steps), jnp.sum(rest.steps))
        return rest

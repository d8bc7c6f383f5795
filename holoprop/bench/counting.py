"""How many sweeps an estimate takes: its own solvers, with a counter that looks on.

A free phase tells its steps in `estimate.rest`; those of the nudged phases are nowhere in the result, so they are
counted where a solve ends. The estimate is otherwise exactly the one that is timed.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from holoprop.bench.flops import Sweeps
from holoprop.gradient.estimate import Estimate
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.nudged import nudged_default
from holoprop.network.base import AbstractNetwork, State
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver, Progress


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
            solver=_Watched.of(estimator.solver, self._record),
            nudged_solver=_Watched.of(estimator.nudged_solver or nudged_default(estimator.solver), self._record),
        )

    def __call__(self, net: AbstractNetwork, x: Array, y: Array) -> tuple[Estimate, Sweeps]:
        """Return the estimate for a batch and the sweeps that it took, summed over samples and points."""
        self._counts = {"free": 0, "real": 0, "complex": 0}
        estimate = self._estimator(net, x, y)
        jax.block_until_ready(estimate.loss)
        jax.effects_barrier()
        return estimate, Sweeps(**self._counts)

    def _record(self, kind: str, steps: Array) -> None:
        self._counts[kind] += int(steps)


class _Watched(AbstractSolver):
    """A solver that reports the sum of its steps at the end of each solve."""

    tolerance: float | None
    max_steps: int
    solver: AbstractSolver
    record: Callable[[str, Array], None] = eqx.field(static=True)

    @classmethod
    def of(cls, solver: AbstractSolver, record: Callable[[str, Array], None]) -> "_Watched":
        return cls(solver.tolerance, solver.max_steps, solver, record)

    def init(self, problem: FixedPoint, state: State) -> Progress:
        return self.solver.init(problem, state)

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        return self.solver.step(problem, progress)

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        return self.solver.terminate(progress)

    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        rest = self.solver.finish(problem, progress)
        if problem.beta is None:
            kind = "free"
        else:
            kind = "complex" if jnp.issubdtype(problem.dtype, jnp.complexfloating) else "real"
        jax.debug.callback(lambda steps: self.record(kind, steps), jnp.sum(rest.steps))
        return rest

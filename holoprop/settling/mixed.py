"""Settling in mixed precision: products in bfloat16 far from rest, in the network's own precision to finish.

Far from rest a sweep has to be about right only. Its products, nearly all of its arithmetic, are made in bfloat16 (8
bits); states, biases, activations and pooling stay as they are. Near rest, where rounding would show, the solver goes
on in full precision until its tolerance is met, so that residuals, certificate and gradient are those of the network
itself.
"""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from holoprop.network.base import State
from holoprop.network.connection import Dense
from holoprop.network.conv import Conv
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status
from holoprop.settling.solver import AbstractSolver, AbstractWrappedSolver, check_solver, where_sample
from holoprop.settling.time_stepping import TimeSteps

_ROUNDING = 2.0**-9
"""Half a unit in the last place of a bfloat16 near 1: what rounding leaves in an activity."""


class Mixed(AbstractWrappedSolver):
    """A solver whose first sweeps multiply in bfloat16.

    In two stages, with `W₁₆` the weights of convolutions and dense connections rounded to bfloat16, as are the
    activities that they multiply,

        s ← G(s; W₁₆) until ‖G(s; W₁₆) − s‖ ≤ rough_tolerance,      then s ← G(s; W) until ‖G(s; W) − s‖ ≤ tolerance.

    A sample that diverges in the first begins the second anew.

    **Arguments:**

    - `solver`: of both stages. `tolerance` and `max_steps` are its own: the first holds for the second stage, the
      second for each.
    - `rough_tolerance`: residual at which the first stage ends; `None`: `√neurons · 2⁻⁹`, about what rounding leaves.

    `steps` counts sweeps of both stages; each ends with one that only looks, so it pays where many are needed
    (`bench/RESULTS.md`). Called step by step, rather than through `settle` or an estimator, it takes the second stage
    alone. Networks without the package's own connections gain nothing.

    **Raises:** `ValueError` for a tolerance that is not positive and finite, or a solver that takes time steps or is
    mixed itself.

    Source: iterative refinement (Wilkinson 1963), lower precision far from the solution.

    ```python
    hp.settle(net, x, solver=hp.Mixed(hp.Alternating(tolerance=1e-2)))
    ```
    """

    rough_tolerance: float | None

    def __init__(self, solver: AbstractSolver, rough_tolerance: float | None = None) -> None:
        check_solver(rough_tolerance, solver.max_steps)
        if isinstance(solver, Mixed | TimeSteps):
            raise ValueError(
                f"{type(solver).__name__} has no stage of low precision: pass a solver that settles to a tolerance, "
                "such as Anderson or Alternating"
            )
        self.solver, self.rough_tolerance = solver, rough_tolerance

    def solve(self, problem: FixedPoint, state: State) -> Rest:
        """Settle `problem` from `state` in both stages; traceable."""
        tolerance = self.rough_tolerance or math.sqrt(problem.size) * _ROUNDING
        rough = eqx.tree_at(lambda each: each.tolerance, self.solver, tolerance, is_leaf=lambda leaf: leaf is None)
        first = rough.solve(rounded(problem), state)
        usable = jnp.isfinite(first.residual) & (first.status != Status.diverged)
        rest = self.solver.solve(problem, where_sample(usable, first.state, state))
        return Rest(rest.state, rest.residual, first.steps + rest.steps, rest.status)


def rounded(problem: FixedPoint) -> FixedPoint:
    """Return the problem with the weights of its network's convolutions and dense connections in bfloat16."""

    def low(part: Any) -> Any:
        if not own(part):
            return part
        return dataclasses.replace(part, weight=_low(part.weight), feedback=_low(part.feedback))

    def own(part: Any) -> bool:
        return isinstance(part, Dense | Conv)

    return dataclasses.replace(problem, net=jax.tree.map(low, problem.net, is_leaf=own))


def _low(weight: Float[Array, "..."] | None) -> Float[Array, "..."] | None:
    return None if weight is None else weight.astype(jnp.bfloat16)

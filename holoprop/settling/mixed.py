"""Settling in mixed precision: products in bfloat16 far from rest, in the network's own precision to finish.

Far from rest a sweep has to be about right only. Its products, nearly all of its arithmetic, are made in bfloat16 (8
bits), summed in float32; states, biases, activations and pooling stay as they are. Near rest, where rounding would
show, the solver goes on in full precision until its tolerance is met, so that residuals, certificate and gradient are
those of the network itself.
"""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver, Progress, check_solver, run_solver, where_sample

_ROUNDING = 2.0**-9
"""Half a unit in the last place of a bfloat16 near 1: what rounding leaves in an activity."""


class Mixed(AbstractSolver):
    """A solver whose first sweeps multiply in bfloat16.

    Until the residual is at most `rough_tolerance` all weights (arrays of two or more axes) are rounded to bfloat16,
    and the activities that they multiply; then `solver` goes on as it is, from there. A sample that the rough sweeps
    leave not finite begins anew.

    **Arguments:**

    - `solver`: the solver of both stages; its tolerance and its limit of steps hold for the second, the limit for the
      first too.
    - `rough_tolerance`: residual at which the first stage ends; `None`: `√neurons · 2⁻⁹`, about what rounding leaves.

    The price is one sweep of each stage that only looks. It pays where products are most of the time and many sweeps
    are needed; `bench/RESULTS.md` has examples of both.

    `steps` counts sweeps of both stages. Called step by step, rather than through `settle` or an estimator, it takes
    the second stage only. Networks that do not multiply by real weights themselves (`keeps_real_weights`) gain nothing.

    **Raises:** `ValueError` for a tolerance that is not positive and finite.

    ```python
    hp.settle(net, x, solver=hp.Mixed(hp.Alternating(tolerance=1e-2)))
    ```
    """

    solver: AbstractSolver
    rough_tolerance: float | None
    tolerance: float | None
    max_steps: int

    def __init__(self, solver: AbstractSolver, rough_tolerance: float | None = None) -> None:
        check_solver(rough_tolerance, solver.max_steps)
        self.solver, self.rough_tolerance = solver, rough_tolerance
        self.tolerance, self.max_steps = solver.tolerance, solver.max_steps

    def run(self, problem: FixedPoint, state: State) -> Rest:
        """Settle `problem` from `state` in both stages; traceable."""
        rough = dataclasses.replace(self.solver, tolerance=self.rough_tolerance or math.sqrt(problem.size) * _ROUNDING)
        first = run_solver(rough, rounded(problem), state)
        finite = jnp.isfinite(first.residual)
        rest = run_solver(self.solver, problem, where_sample(finite, first.state, state))
        return Rest(rest.state, rest.residual, first.steps + rest.steps, rest.status)

    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress before the first step of the second stage."""
        return self.solver.init(problem, state)

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance by one step of the second stage."""
        return self.solver.step(problem, progress)

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended."""
        return self.solver.terminate(progress)

    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        """Return the rest states reached."""
        return self.solver.finish(problem, progress)


def rounded(problem: FixedPoint) -> FixedPoint:
    """Return the problem with its network's weights, arrays of two or more axes, in bfloat16."""

    def low(leaf: Any) -> Any:
        return leaf.astype(jnp.bfloat16) if eqx.is_inexact_array(leaf) and leaf.ndim >= 2 else leaf

    return FixedPoint(jax.tree.map(low, problem.net), problem.clamped, problem.target, problem.beta)

"""What a solver is: three functions that can be called one by one, or run to the end in one compiled loop.

    progress = solver.init(problem, state)
    while not solver.terminate(progress).all():
        progress = solver.step(problem, progress)

Each sample of the batch has its own residual, step count and status. A sample that has ended is frozen while the others
go on, so its result does not depend on its companions.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status


class Progress(eqx.Module):
    """A solve under way.

    **Attributes:**

    - `rest`: the states last evaluated, with their residuals, steps taken and status (`max_steps` while under way).
    - `proposal`: where the next step starts.
    - `memory`: what this solver remembers besides.
    """

    rest: Rest
    proposal: State
    memory: PyTree


class AbstractSolver(eqx.Module):
    """A way to bring a batch of networks to rest.

    **Attributes:**

    - `tolerance`: a sample has settled when `‖σ(a(s)) − s‖ ≤ tolerance` (Euclidean norm over all neurons, in units of
      activity); `None` means `default_tolerance`.
    - `max_steps`: steps after which a sample is given up.
    """

    tolerance: eqx.AbstractVar[float | None]
    max_steps: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress before the first step, starting from `state`."""

    @abc.abstractmethod
    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance every sample that has not ended by one step."""

    @abc.abstractmethod
    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended, settled or not."""


def run_solver(solver: AbstractSolver, problem: FixedPoint, state: State) -> Rest:
    """Run `solver` on `problem` from `state` until every sample has ended, in one `lax.while_loop`."""
    progress = lax.while_loop(
        lambda progress: ~jnp.all(solver.terminate(progress)),
        lambda progress: solver.step(problem, progress),
        solver.init(problem, state),
    )
    return progress.rest


def default_tolerance(dtype: jnp.dtype, size: int) -> float:
    """Return the tolerance a solver uses when none is given: `√neurons · 1e-6` in float32, `√neurons · 1e-11` in float64.

    About ten times the rounding error of one update, so that it can be met.
    """
    return float(np.sqrt(size)) * (1e-6 if jnp.finfo(dtype).bits == 32 else 1e-11)


def check_solver(tolerance: float | None, max_steps: int) -> None:
    """Raise `ValueError` for a tolerance or step limit that no solve can meet."""
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")


def unstarted(problem: FixedPoint, state: State) -> Rest:
    """Return the rest record before any evaluation: infinite residual, no steps."""
    lead = problem.lead
    return Rest(
        state=state,
        residual=jnp.full(lead, jnp.inf, jnp.finfo(problem.dtype).dtype),
        steps=jnp.zeros(lead, jnp.int32),
        status=jnp.full(lead, Status.max_steps, jnp.int32),
    )


def judge(residual: Float[Array, "*lead"], tolerance: float, size: int) -> Array:
    """Return the status that a residual alone tells: settled, diverged (not finite, or above 1e6·√neurons) or under way."""
    finite = residual < 1e6 * size**0.5  # false for NaN too
    status = jnp.where(finite, jnp.int32(Status.max_steps), jnp.int32(Status.diverged))
    return jnp.where(residual <= tolerance, jnp.int32(Status.settled), status)


def where_sample(condition: Bool[Array, "*lead"], new: PyTree, old: PyTree) -> PyTree:
    """Choose between two pytrees sample by sample: every leaf has the leading axes of `condition`."""

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    return jax.tree.map(choose, new, old)

"""What a solver is: functions that can be called one by one, or run to the end in compiled loops.

    progress = solver.init(problem, state)
    while not solver.terminate(progress).all():
        progress = solver.step(problem, progress)
    rest = solver.finish(problem, progress)

Each sample of the batch has its own residual, step count and status. A sample that has ended is frozen while the others
go on, so its result does not depend on its companions; once few are left, they go on by themselves.
"""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PyTree

from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status

_COMPACT_FROM = 32
"""Smaller batches are not compacted: a step of theirs is mostly overhead."""
_COMPACT_SHARE = 3
"""The batch is compacted when at most one in this many samples is still under way."""
_COMPACT_STEPS = 20
"""Nor are batches of solvers that take so few steps at most: stragglers are soon done, a second loop is compiled first
(`bench/RESULTS.md`: compaction added 0.6 s of compiling and took a step from 19 to 11.5 ms)."""


class Progress(eqx.Module):
    """A solve under way.

    **Attributes:**

    - `state`: where the next step starts, or, for a sample that has ended, where it ended: the layers' activities, and
      for solvers that sweep whatever else one sweep hands to the next.
    - `residual`, `steps`, `status`: `(*lead,)`, of the last evaluation; `status` is `max_steps` while under way.
    - `memory`: what the solver remembers besides.
    """

    state: State
    residual: Float[Array, "*lead"]
    steps: Int[Array, "*lead"]
    status: Int[Array, "*lead"]
    memory: PyTree

    @classmethod
    def start(cls, problem: FixedPoint, state: State, memory: PyTree) -> "Progress":
        """Return the progress before any evaluation: infinite residual, no steps."""
        lead = problem.lead
        infinite = jnp.full(lead, jnp.inf, jnp.finfo(problem.dtype).dtype)
        return cls(state, infinite, jnp.zeros(lead, jnp.int32), jnp.full(lead, Status.max_steps, jnp.int32), memory)


class AbstractSolver(eqx.Module):
    """A way to bring a batch of networks to rest, `s = σ(a(s) − β ∂C/∂s_L)`.

    **Attributes:**

    - `tolerance`: a sample has settled when its residual, `‖σ(a(s)) − s‖` (Euclidean norm over all neurons, in units of
      activity; see `Rest`), is at most that; `None` means `default_tolerance`.
    - `max_steps`: steps after which a sample is given up.
    """

    tolerance: eqx.AbstractVar[float | Float[Array, ""] | None]
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

    @abc.abstractmethod
    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        """Return the rest states reached, each the one whose residual is recorded."""

    def solve(self, problem: FixedPoint, state: State) -> Rest:
        """Return the rest states of `problem` from `state`; by default `run_solver`."""
        return run_solver(self, problem, state)


class AbstractWrappedSolver(AbstractSolver):
    """A solver that does something around another one's `solve`: step by step it is that other one.

    **Attributes:** `solver`: the other one, whose tolerance and step limit hold.
    """

    solver: AbstractSolver

    @property
    def tolerance(self) -> float | Float[Array, ""] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of `solver`."""
        return self.solver.tolerance

    @property
    def max_steps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of `solver`."""
        return self.solver.max_steps

    @abc.abstractmethod
    def solve(self, problem: FixedPoint, state: State) -> Rest:
        """Return the rest states of `problem` from `state`."""

    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress of `solver` before its first step."""
        return self.solver.init(problem, state)

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance by one step of `solver`."""
        return self.solver.step(problem, progress)

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended."""
        return self.solver.terminate(progress)

    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        """Return the rest states reached."""
        return self.solver.finish(problem, progress)


def run_solver(solver: AbstractSolver, problem: FixedPoint, state: State) -> Rest:
    """Run `solver` on `problem` from `state` until every sample has ended."""
    progress = solver.init(problem, state)
    lanes = math.prod(problem.lead)
    if lanes >= _COMPACT_FROM and solver.max_steps > _COMPACT_STEPS:
        few = -(-lanes // _COMPACT_SHARE)
        progress = _run_until(solver, problem, progress, few)
        ended = solver.terminate(progress).reshape(-1)
        samples = jnp.argsort(ended, stable=True)[:few]
        some = _run_until(solver, problem.take(samples), _gather(progress, problem.lead, samples), 0)
        progress = _scatter(progress, some, problem.lead, samples)
    else:
        progress = _run_until(solver, problem, progress, 0)
    return solver.finish(problem, progress)


def allowed_residual(solver: AbstractSolver, problem: FixedPoint) -> float | Float[Array, ""]:
    """Return the residual at which a sample of `problem` has settled: the solver's tolerance, or the default."""
    return default_tolerance(problem.dtype, problem.size) if solver.tolerance is None else solver.tolerance


def default_tolerance(dtype: jnp.dtype, size: int) -> float:
    """Return the tolerance a solver uses when none is given: `√neurons · max(8.4 ε, 1e-11)`, `ε` the dtype's precision.

    That is `√neurons · 1e-6` in float32, `√neurons · 1e-11` in float64, complex alike. An update rounds each activity
    of order 1 by a few `ε`, so 8.4 of them can be met. In float64 the floor decides, 45,000 `ε`: tighter would cost
    sweeps and improve no gradient that anybody can tell.

    **Arguments:** `dtype`: of the states; `size`: neurons per sample.
    """
    return math.sqrt(size) * max(1e-6 * float(jnp.finfo(dtype).eps) / 2**-23, 1e-11)


def check_solver(tolerance: float | Float[Array, ""] | None, max_steps: int) -> None:
    """Raise `ValueError` for a tolerance, if it is known yet, or step limit that no solve can meet."""
    if tolerance is not None and not isinstance(tolerance, Tracer) and not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    if tolerance is not None and not isinstance(tolerance, Tracer) and math.isinf(tolerance):
        raise ValueError(f"tolerance must be finite, got {tolerance}: every state would count as settled")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")


def judge(residual: Float[Array, "*lead"], tolerance: float | Float[Array, ""], size: int) -> Int[Array, "*lead"]:
    """Return the status a residual alone tells: settled, diverged (not finite or above 1e6·√neurons) or under way."""
    finite = residual < 1e6 * math.sqrt(size)  # false for NaN too
    status = jnp.where(finite, jnp.int32(Status.max_steps), jnp.int32(Status.diverged))
    return jnp.where(residual <= tolerance, jnp.int32(Status.settled), status)


def where_sample(condition: Bool[Array, "*lead"], new: PyTree, old: PyTree) -> PyTree:
    """Choose between two pytrees sample by sample: every leaf has the leading axes of `condition`."""

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    return jax.tree.map(choose, new, old)


def _run_until(solver: AbstractSolver, problem: FixedPoint, progress: Progress, few: int) -> Progress:
    return lax.while_loop(
        lambda progress: jnp.sum((~solver.terminate(progress)).astype(jnp.int32)) > few,
        lambda progress: solver.step(problem, progress),
        progress,
    )


def _gather(progress: Progress, lead: tuple[int, ...], samples: Int[Array, " some"]) -> Progress:
    def take(leaf: Array) -> Array:
        # Leaves without the leading axes (a ring buffer's position) belong to the whole batch.
        return leaf.reshape(-1, *leaf.shape[len(lead) :])[samples] if leaf.shape[: len(lead)] == lead else leaf

    return jax.tree.map(take, progress)


def _scatter(progress: Progress, some: Progress, lead: tuple[int, ...], samples: Int[Array, " some"]) -> Progress:
    def put(leaf: Array, values: Array) -> Array:
        if leaf.shape[: len(lead)] != lead:
            return values
        flat = leaf.reshape(-1, *leaf.shape[len(lead) :])
        return flat.at[samples].set(values).reshape(leaf.shape)

    return jax.tree.map(put, progress, some)

"""Plain fixed-point iteration: all layers at once (Picard), or the network's blocks in turn (alternating).

Synchronous updates `s ← σ(a(s))` are the published schedule; they may fall into two-cycles. In a chain, even layers depend
only on odd ones, so alternating updates do in one sweep what synchronous ones do in two; with increasing activations each
half-sweep of the free phase minimises the energy exactly over its block, so no two-cycle exists.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint, difference, norm
from holoprop.settling.rest import Rest, Status
from holoprop.settling.solver import (
    AbstractSolver,
    Progress,
    check_solver,
    default_tolerance,
    judge,
    unstarted,
    where_sample,
)

CYCLE_SHARE = 1e-3
"""A two-cycle is suspected when two steps bring a sample back to within this share of what one step moved it."""
CYCLE_PATIENCE = 4
"""… and declared when that has happened this many times in a row."""


class Picard(AbstractSolver):
    """Synchronous updates, `s ← s + (1 − damping)·(σ(a(s)) − s)` (P1's schedule at `damping = 0`).

    **Arguments:** `damping` in [0, 1); `tolerance` and `max_steps` as `AbstractSolver`.

    **Raises:** `ValueError` for values outside these ranges.
    """

    damping: float = 0.0
    tolerance: float | None = None
    max_steps: int = 500

    def __check_init__(self) -> None:
        check_solver(self.tolerance, self.max_steps)
        if not 0 <= self.damping < 1:
            raise ValueError(f"damping must be in [0, 1), got {self.damping}")

    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress before the first step."""
        return _begin(problem, state)

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance by one synchronous update; the residual is that of the state before it."""
        state = progress.proposal
        move = difference(problem.update(state), state)
        share = 1 - self.damping
        proposal = tuple(s + share * m for s, m in zip(state, move, strict=True))
        return _record(self, problem, progress, state, proposal, norm(move, len(problem.lead)))

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended."""
        return _ended(self, progress)


class Alternating(AbstractSolver):
    """The network's blocks updated in turn, each from the newest values of the others; one step is one sweep.

    **Arguments:** `tolerance` and `max_steps` as `AbstractSolver`; `ValueError` for values that make no sense.
    """

    tolerance: float | None = None
    max_steps: int = 500

    def __check_init__(self) -> None:
        check_solver(self.tolerance, self.max_steps)

    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress before the first sweep."""
        return _begin(problem, state)

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance by one sweep; the residual is that of the state before its last block moves."""
        before, after, residual = problem.sweep(progress.proposal)
        return _record(self, problem, progress, before, after, residual)

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended."""
        return _ended(self, progress)


class CycleWatch(eqx.Module):
    """The state two proposals ago, and how often in a row a sample has come back to it."""

    previous: State
    returns: Int[Array, "*lead"]

    def observe(
        self, proposal: State, current: State, residual: Float[Array, "*lead"]
    ) -> tuple["CycleWatch", Bool[Array, "*lead"]]:
        """Compare a proposal with the state before the current one; return the new watch and where a cycle is declared."""
        back = norm(difference(proposal, self.previous), residual.ndim)
        returns = jnp.where(back <= CYCLE_SHARE * residual, self.returns + 1, 0)
        return CycleWatch(current, returns), returns >= CYCLE_PATIENCE


def _begin(problem: FixedPoint, state: State) -> Progress:
    watch = CycleWatch(state, jnp.zeros(problem.lead, jnp.int32))
    return Progress(unstarted(problem, state), state, watch)


def _record(
    solver: AbstractSolver,
    problem: FixedPoint,
    progress: Progress,
    evaluated: State,
    proposal: State,
    residual: Float[Array, "*lead"],
) -> Progress:
    active = ~solver.terminate(progress)
    tolerance = solver.tolerance or default_tolerance(problem.dtype, problem.size)
    watch, cycling = progress.memory.observe(proposal, progress.proposal, residual)
    status = judge(residual, tolerance, problem.size)
    status = jnp.where((status == Status.max_steps) & cycling, jnp.int32(Status.two_cycle), status)
    reached = Rest(evaluated, residual, progress.rest.steps + 1, status)
    return where_sample(active, Progress(reached, proposal, watch), progress)


def _ended(solver: AbstractSolver, progress: Progress) -> Bool[Array, "*lead"]:
    return (progress.rest.status != Status.max_steps) | (progress.rest.steps >= solver.max_steps)

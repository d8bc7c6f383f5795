"""Plain fixed-point iteration: all layers at once (Picard), or the network's blocks in turn (alternating).

Synchronous updates `s ← σ(a(s))` are the published schedule; they may fall into two-cycles. In a chain without
nonlinear pooling, even layers depend only on odd ones, so alternating updates do in one sweep what synchronous ones do
in two; with increasing activations each half-sweep of the free phase minimises the energy exactly over its block, so no
two-cycle exists.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint, difference, norm
from holoprop.settling.rest import Rest, Status
from holoprop.settling.solver import AbstractSolver, Progress, allowed_residual, check_solver, judge, where_sample

CYCLE_SHARE = 1e-3
"""A two-cycle is suspected when two steps bring a sample back to within this share of what one step moved it …"""
CYCLE_PATIENCE = 4
"""… and declared when that has happened this many times in a row."""


class Picard(AbstractSolver):
    """Synchronous updates, `s ← s + (1 − damping)·(σ(a(s)) − s)` (P1's schedule at `damping = 0`).

    **Arguments:** `damping` in [0, 1); `tolerance` and `max_steps` as `AbstractSolver`.

    **Raises:** `ValueError` for values outside these ranges.

    Source: P1 (arXiv 2209.00530), `h ← σ(∂Φ/∂h)`, there for a fixed number of steps.
    """

    damping: float = 0.0
    tolerance: float | Float[Array, ""] | None = None
    max_steps: int = 500

    def __check_init__(self) -> None:
        check_solver(self.tolerance, self.max_steps)
        if not 0 <= self.damping < 1:
            raise ValueError(f"damping must be in [0, 1), got {self.damping}")

    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress before the first step."""
        return Progress.start(problem, state, _CycleWatch.fresh(problem, state))

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance by one synchronous update; the residual is that of the state before it."""
        state = progress.state
        move = difference(problem.update(state), state)
        share = 1 - self.damping
        proposal = tuple(s + share * m for s, m in zip(state, move, strict=True))
        return _record(self, problem, progress, proposal, norm(move, len(problem.lead)))

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended."""
        return _ended(self, progress)

    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        """Return the rest states reached."""
        return Rest(progress.state, progress.residual, progress.steps, progress.status)


class Alternating(AbstractSolver):
    """The network's blocks updated in turn, each from the newest values of the others; one step is one sweep.

    `s_B ← σ(a_B(s))` for each block `B` of `net.blocks`: block Gauss–Seidel, where `Picard` is Jacobi.

    **Arguments:** `tolerance` and `max_steps` as `AbstractSolver`.

    **Raises:** `ValueError` for values outside their ranges.

    Source: block Gauss–Seidel iteration; in the free phase of an energy network, block coordinate descent on the
    energy.
    """

    tolerance: float | Float[Array, ""] | None = None
    max_steps: int = 500

    def __check_init__(self) -> None:
        check_solver(self.tolerance, self.max_steps)

    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress before the first sweep."""
        carry = problem.carry(state)
        return Progress.start(problem, carry, _CycleWatch.fresh(problem, carry))

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance by one sweep; the residual is that of the state before its last block moves."""
        return _record(self, problem, progress, *problem.sweep(progress.state))

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended."""
        return _ended(self, progress)

    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        """Return the rest states reached."""
        return Rest(problem.lead_in(progress.state), progress.residual, progress.steps, progress.status)


class _CycleWatch(eqx.Module):
    """The state before the present one, and how often in a row a step has led back to it."""

    previous: State
    returns: Int[Array, "*lead"]

    @classmethod
    def fresh(cls, problem: FixedPoint, state: State) -> "_CycleWatch":
        return cls(tuple(jnp.full_like(layer, jnp.inf) for layer in state), jnp.zeros(problem.lead, jnp.int32))


def _record(
    solver: AbstractSolver, problem: FixedPoint, progress: Progress, proposal: State, residual: Float[Array, "*lead"]
) -> Progress:
    active = ~solver.terminate(progress)
    status = judge(residual, allowed_residual(solver, problem), problem.size)
    watch: _CycleWatch = progress.memory
    # Only carried layers: a sweep does not read the others, so their history tells nothing; and products, which are no
    # activities, would not compare with the residual.
    parts = [part for part in problem.carried if part < len(problem.net.layer_shapes)]
    back = norm(tuple(proposal[i] - watch.previous[i] for i in parts), len(problem.lead))
    returns = jnp.where(back <= CYCLE_SHARE * residual, watch.returns + 1, 0)
    cycling = (returns >= CYCLE_PATIENCE) & (status == Status.max_steps)
    status = jnp.where(cycling, jnp.int32(Status.two_cycle), status)
    steps = progress.steps + 1
    moves = (status == Status.max_steps) & (steps < solver.max_steps)
    new = Progress(
        where_sample(moves, proposal, progress.state), residual, steps, status, _CycleWatch(progress.state, returns)
    )
    return where_sample(active, new, progress)


def _ended(solver: AbstractSolver, progress: Progress) -> Bool[Array, "*lead"]:
    return (progress.status != Status.max_steps) | (progress.steps >= solver.max_steps)

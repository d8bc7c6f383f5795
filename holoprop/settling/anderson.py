"""Anderson acceleration of the sweep, per sample, real or complex, with a guard.

A sweep over the network's blocks is a map `G` of its last block alone, `x ↦ G(x)`. From the last `m` differences
`Δf_j`, `Δg_j` of `f = G(x) − x` and `g = G(x)`, Anderson's method proposes

    x ← g − Σ_j γ_j Δg_j,      γ = argmin ‖f − Σ_j γ_j Δf_j‖,

the multisecant step (Anderson 1965; Walker & Ni 2011). On the contour `γ` is complex: the response is holomorphic, so
complex coefficients follow its Krylov space. The guard makes it safe: a sample whose residual grows
takes plain sweeps for a while, longer each time; one that stops improving starts again from its initial state with
plain alternating updates, then with damped ones. It therefore settles wherever plain alternation does.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.plain import CYCLE_PATIENCE, CYCLE_SHARE
from holoprop.settling.rest import Rest, Status
from holoprop.settling.secant import SecantHistory, pack, unpack
from holoprop.settling.solver import AbstractSolver, Progress, check_solver, default_tolerance, judge, where_sample

_ACCELERATED, _PLAIN, _DAMPED, _GIVEN_UP = range(4)
_FIRST_PAUSE = 4
"""Plain sweeps after the first growth of a sample's residual; each later growth doubles them."""


class Anderson(AbstractSolver):
    """Alternating sweeps with guarded Anderson acceleration of depth `depth`: the default solver.

    **Arguments:**

    - `depth`: number of past differences, 1 to 8; 4 or 5 are usual.
    - `tolerance`, `max_steps`: as `AbstractSolver`; the limit holds for each stage (accelerated, plain, damped).
    - `patience`: accelerated sweeps without a clearly smaller residual after which a sample falls back to plain
      updates.
    - `fallback`: whether there are plain and damped stages after the accelerated one.

    **Raises:** `ValueError` for values outside these ranges.
    """

    depth: int = 5
    tolerance: float | None = None
    max_steps: int = 500
    patience: int = 60
    fallback: bool = True

    def __check_init__(self) -> None:
        check_solver(self.tolerance, self.max_steps)
        if not 1 <= self.depth <= 8:
            raise ValueError(f"depth must be from 1 to 8, got {self.depth}")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")

    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress before the first sweep."""
        memory = (SecantHistory.empty(problem, self.depth), _Guard.fresh(problem, pack(problem, state)))
        return Progress.start(problem, state, memory)

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance by one sweep and one small least-squares problem."""
        history, guard = progress.memory
        active = ~self.terminate(progress)
        after, residual = problem.sweep(progress.state)
        x, g = pack(problem, progress.state), pack(problem, after)
        back = jnp.sqrt(jnp.sum((g - (history.g - history.f)) ** 2, -1))
        grew = (residual > guard.residual) & (guard.pause == 0)
        history = history.push(x, g, guard.restarting)

        status = judge(residual, self.tolerance or default_tolerance(problem.dtype, problem.size), problem.size)
        guard, ended = guard.observe(
            residual, status, back, grew, patience=self.patience, max_steps=self.max_steps, fallback=self.fallback
        )
        proposal = jnp.where(((guard.stage == _ACCELERATED) & (guard.pause == 0))[..., None], history.propose(), g)
        proposal = jnp.where((guard.stage == _DAMPED)[..., None], (x + g) / 2, proposal)
        proposal = jnp.where(ended[..., None], guard.start, proposal)
        # Once all stages have failed, the sample's status is what plain updates ran into.
        failed = jnp.where(guard.stage == _GIVEN_UP, guard.verdict, jnp.int32(Status.max_steps))
        status = jnp.where(status == Status.settled, status, failed)
        moves = active & (status == Status.max_steps) & (guard.stage != _GIVEN_UP)
        state = unpack(problem, jnp.where(moves[..., None], proposal, x), after)
        residual, steps, status, guard = where_sample(
            active,
            (residual, progress.steps + 1, status, guard),
            (progress.residual, progress.steps, progress.status, progress.memory[1]),
        )
        # The history needs no freezing: a frozen sample adds zero differences, which are never valid columns.
        return Progress(state, residual, steps, status, (history, guard))

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended."""
        return (progress.status != Status.max_steps) | (progress.memory[1].stage == _GIVEN_UP)

    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        """Return the rest states reached."""
        return Rest(problem.lead_in(progress.state), progress.residual, progress.steps, progress.status)


class _Guard(eqx.Module):
    """Which stage each sample is in, and whether it still gets anywhere."""

    start: Float[Array, "*lead k"]
    stage: Int[Array, "*lead"]
    stage_steps: Int[Array, "*lead"]
    residual: Float[Array, "*lead"]
    best: Float[Array, "*lead"]
    stalled: Int[Array, "*lead"]
    returns: Int[Array, "*lead"]
    verdict: Int[Array, "*lead"]
    restarting: Bool[Array, "*lead"]
    pause: Int[Array, "*lead"]
    penalty: Int[Array, "*lead"]

    @classmethod
    def fresh(cls, problem: FixedPoint, start: Float[Array, "*lead k"]) -> "_Guard":
        zero = jnp.zeros(problem.lead, jnp.int32)
        infinite = jnp.full(problem.lead, jnp.inf, start.dtype)
        never = jnp.full(problem.lead, Status.max_steps, jnp.int32)
        return cls(
            start,
            zero,
            zero,
            infinite,
            infinite,
            zero,
            zero,
            never,
            jnp.zeros(problem.lead, bool),
            zero,
            zero + _FIRST_PAUSE,
        )

    def observe(
        self, residual: Array, status: Array, back: Array, grew: Array, *, patience: int, max_steps: int, fallback: bool
    ) -> tuple["_Guard", Bool[Array, "*lead"]]:
        """Take note of a sweep; return the new guard and which samples have come to the end of a stage.

        A stage ends when it diverges, cycles (plain updates only), has had its steps, or, accelerated, stalls.
        """
        better = residual < 0.9 * self.best
        stalled = jnp.where(better, 0, self.stalled + 1)
        returned = (back <= CYCLE_SHARE * residual) & (self.stage == _PLAIN) & (self.stage_steps > 0)
        returns = jnp.where(returned, self.returns + 1, 0)
        cycling = returns >= CYCLE_PATIENCE
        ended = (status == Status.diverged) | cycling | (self.stage_steps + 1 >= max_steps)
        ended = ended | ((self.stage == _ACCELERATED) & (stalled >= patience))
        ended = ended & (status != Status.settled)
        cause = jnp.where(cycling & (status == Status.max_steps), jnp.int32(Status.two_cycle), status)
        infinite = jnp.full_like(residual, jnp.inf)
        guard = _Guard(
            start=self.start,
            stage=jnp.where(ended, self.stage + 1 if fallback else jnp.full_like(self.stage, _GIVEN_UP), self.stage),
            stage_steps=jnp.where(ended, 0, self.stage_steps + 1),
            residual=jnp.where(ended, infinite, residual),
            best=jnp.where(ended, infinite, jnp.where(better, residual, self.best)),
            stalled=jnp.where(ended, 0, stalled),
            returns=jnp.where(ended, 0, returns),
            verdict=jnp.where(ended & ((self.stage == _PLAIN) | (not fallback)), cause, self.verdict),
            restarting=ended,
            pause=jnp.where(grew, self.penalty, jnp.maximum(self.pause - 1, 0)),
            penalty=jnp.where(grew, 2 * self.penalty, self.penalty),
        )
        return guard, ended

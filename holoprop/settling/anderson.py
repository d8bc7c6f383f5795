"""Anderson acceleration of the sweep, per sample, real or complex, with a guard.

A sweep over the network's blocks is a map `G` of what it reads, `x ↦ G(x)`: the last block alone if the first does not
drive itself. From the last `m` differences
`Δf_j`, `Δg_j` of `f = G(x) − x` and `g = G(x)`, Anderson's method proposes

    x ← g − Σ_j γ_j Δg_j,      γ = argmin ‖f − Σ_j γ_j Δf_j‖,

the multisecant step (Anderson 1965; Walker & Ni 2011). On the contour `γ` is complex: the response is holomorphic, so
complex coefficients follow its Krylov space. The guard makes it safe: a sample whose residual grows takes plain sweeps
for a while, longer each time; one that stops improving starts again from its initial state with plain alternating
updates, then with damped ones. It therefore settles wherever plain alternation does.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.plain import CYCLE_PATIENCE, CYCLE_SHARE
from holoprop.settling.rest import Rest, Status
from holoprop.settling.secant import SecantHistory, pack, unpack
from holoprop.settling.solver import AbstractSolver, Progress, allowed_residual, check_solver, judge, where_sample

_ACCELERATED, _PLAIN, _DAMPED, _GIVEN_UP = range(4)
_FIRST_PAUSE = 4
"""Plain sweeps after the first growth of a sample's residual; each later growth doubles them."""


class Anderson(AbstractSolver):
    """Alternating sweeps with guarded Anderson acceleration of depth `depth`: the default solver.

    With `G` one sweep as a map of what it hands to the next, `x` (`FixedPoint.carried`), `g = G(x)`, `f = g − x`, and
    their last `depth` differences `Δg_j`, `Δf_j`:

        x ← g − Σ_j γ_j Δg_j,      γ = argmin ‖f − Σ_j γ_j Δf_j‖,

    for each sample by itself, `γ` complex for complex states. States, residuals and `γ` have the precision of the
    network's parameters. `steps` counts sweeps, those of all stages.

    **Arguments:**

    - `depth`: number of past differences, 1 to 8; 4 or 5 are usual.
    - `tolerance`, `max_steps`: as `AbstractSolver`; the limit holds for each stage (accelerated, plain, damped).
    - `patience`: accelerated sweeps without a residual at least a tenth smaller, after which a sample falls back to
      plain updates; at least 1.
    - `fallback`: whether there are plain and damped stages after the accelerated one.

    **Raises:** `ValueError` for values outside these ranges.

    Source: Anderson, J. ACM 12 (1965) 547; Walker & Ni, SIAM J. Numer. Anal. 49 (2011) 1715. The guard is ours.

    ```python
    hp.settle(net, x, solver=hp.Anderson(depth=4, tolerance=1e-5))
    ```
    """

    depth: int = 5
    tolerance: float | Float[Array, ""] | None = None
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
        carry = problem.carry(state)
        stages = _Stages.fresh(problem, pack(problem, carry)) if self.fallback else None
        memory = (SecantHistory.empty(problem, self.depth), _Pace.fresh(problem), stages)
        return Progress.start(problem, carry, memory)

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance by one sweep and one small least-squares problem."""
        history, pace, stages = progress.memory
        active = ~self.terminate(progress)
        after, residual = problem.sweep(progress.state)
        x, g = pack(problem, progress.state), pack(problem, after)
        status = judge(residual, allowed_residual(self, problem), problem.size)
        steps = progress.steps + 1
        if stages is None:
            history, pace = history.push(x, g, jnp.zeros(problem.lead, bool)), pace.observe(residual)
            proposal = jnp.where((pace.pause == 0)[..., None], history.propose(), g)
            moves = active & (status == Status.max_steps) & (steps < self.max_steps)
        else:
            back = jnp.sqrt(jnp.sum((g - (history.g - history.f)) ** 2, -1))
            history = history.push(x, g, stages.restarting)
            stages = stages.observe(residual, status, back, patience=self.patience, max_steps=self.max_steps)
            pace = pace.observe(jnp.where(stages.restarting, jnp.inf, residual))
            accelerates = (stages.stage == _ACCELERATED) & (pace.pause == 0)
            proposal = jnp.where(accelerates[..., None], history.propose(), g)
            proposal = jnp.where((stages.stage == _DAMPED)[..., None], (x + g) / 2, proposal)
            proposal = jnp.where(stages.restarting[..., None], stages.start, proposal)
            # A sample is under way until it settles or all stages have failed; then its status is what plain updates
            # ran into.
            failed = jnp.where(stages.stage == _GIVEN_UP, stages.verdict, jnp.int32(Status.max_steps))
            status = jnp.where(status == Status.settled, status, failed)
            moves = active & (status == Status.max_steps) & (stages.stage != _GIVEN_UP)
        state = unpack(problem, jnp.where(moves[..., None], proposal, x), after)
        residual, steps, status, pace, stages = where_sample(
            active,
            (residual, steps, status, pace, stages),
            (progress.residual, progress.steps, progress.status, *progress.memory[1:]),
        )
        # The history needs no freezing: a frozen sample adds zero differences, which are never valid columns.
        return Progress(state, residual, steps, status, (history, pace, stages))

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended."""
        stages = progress.memory[2]
        exhausted = progress.steps >= self.max_steps if stages is None else stages.stage == _GIVEN_UP
        return (progress.status != Status.max_steps) | exhausted

    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        """Return the rest states reached."""
        return Rest(problem.lead_in(progress.state), progress.residual, progress.steps, progress.status)


class _Pace(eqx.Module):
    """For how many more sweeps a sample goes without acceleration: none, until its residual grows."""

    residual: Float[Array, "*lead"]
    pause: Int[Array, "*lead"]
    penalty: Int[Array, "*lead"]

    @classmethod
    def fresh(cls, problem: FixedPoint) -> "_Pace":
        infinite = jnp.full(problem.lead, jnp.inf, jnp.finfo(problem.dtype).dtype)
        zero = jnp.zeros(problem.lead, jnp.int32)
        return cls(infinite, zero, zero + _FIRST_PAUSE)

    def observe(self, residual: Float[Array, "*lead"]) -> "_Pace":
        grew = (residual > self.residual) & (self.pause == 0)
        pause = jnp.where(grew, self.penalty, jnp.maximum(self.pause - 1, 0))
        return _Pace(residual, pause, jnp.where(grew, 2 * self.penalty, self.penalty))


class _Stages(eqx.Module):
    """Which stage each sample is in (accelerated, plain, damped, given up), and whether it still gets anywhere."""

    start: Float[Array, "*lead k"]
    stage: Int[Array, "*lead"]
    stage_steps: Int[Array, "*lead"]
    best: Float[Array, "*lead"]
    stalled: Int[Array, "*lead"]
    returns: Int[Array, "*lead"]
    verdict: Int[Array, "*lead"]
    restarting: Bool[Array, "*lead"]

    @classmethod
    def fresh(cls, problem: FixedPoint, start: Float[Array, "*lead k"]) -> "_Stages":
        zero = jnp.zeros(problem.lead, jnp.int32)
        infinite = jnp.full(problem.lead, jnp.inf, start.dtype)
        never = jnp.full(problem.lead, Status.max_steps, jnp.int32)
        return cls(start, zero, zero, infinite, zero, zero, never, jnp.zeros(problem.lead, bool))

    def observe(
        self,
        residual: Float[Array, "*lead"],
        status: Int[Array, "*lead"],
        back: Float[Array, "*lead"],
        *,
        patience: int,
        max_steps: int,
    ) -> "_Stages":
        """Take note of a sweep: a stage ends if it diverges, cycles (plain), stalls (accelerated) or runs out of steps.

        `back` is how far the sweep ended from the iterate before last.
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
        return _Stages(
            start=self.start,
            stage=jnp.where(ended, self.stage + 1, self.stage),
            stage_steps=jnp.where(ended, 0, self.stage_steps + 1),
            best=jnp.where(ended, infinite, jnp.where(better, residual, self.best)),
            stalled=jnp.where(ended, 0, stalled),
            returns=jnp.where(ended, 0, returns),
            verdict=jnp.where(ended & (self.stage == _PLAIN), cause, self.verdict),
            restarting=ended,
        )

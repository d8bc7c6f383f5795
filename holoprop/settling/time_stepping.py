"""Time stepping: a given number of steps of the network's own dynamics, with a finite time step and with noise.

    s ← s + dt · (σ(a(s) − β ∂C/∂s_L + η ξ) − s),      ξ ~ N(0, 1), real, new at every step, independent per sample

At `dt = 1` without noise this is the published schedule of synchronous updates (P1 §1.1). A smaller `dt` is the leaky
integration `τ ds/dt = σ(a(s)) − s` in units of the neurons' time constant `τ`. There is no tolerance to meet, so states
end with the status `not_applicable`.
"""

import dataclasses
import math
from typing import TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint, difference, norm
from holoprop.settling.rest import Rest, Status
from holoprop.settling.solver import AbstractSolver, Progress, check_solver, judge, where_sample

_MEMORY = 16
"""Noise is carried along for so many time constants; what it was before is taken to be forgotten."""


class Noise(eqx.Module):
    """Real Gaussian noise on the drive of every neuron, drawn anew at every time step, independent per sample (P1).

    **Arguments:** `std`: standard deviation `η ≥ 0`, in units of the drive. It is per step: for a noise whose effect
    does not depend on the time step give `η/√dt`.

    **Raises:** `ValueError` for a negative or infinite `std`.
    """

    std: float | Float[Array, ""] = 0.01

    def __check_init__(self) -> None:
        if isinstance(self.std, int | float) and not 0 <= self.std < float("inf"):
            raise ValueError(f"std must be at least 0 and finite, got {self.std}")

    def draw(self, problem: FixedPoint, key: PRNGKeyArray) -> State:
        """Return one step's noise for every layer of `problem`, in the dtype of its states."""
        real, shapes = jnp.finfo(problem.dtype).dtype, problem.net.layer_shapes
        std, lead = jnp.asarray(self.std).astype(real), self.drawn_for(problem)
        return tuple(
            jnp.broadcast_to(
                (std * jax.random.normal(k, lead + shape, real)).astype(problem.dtype), problem.lead + shape
            )
            for k, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
        )

    def drawn_for(self, problem: FixedPoint) -> tuple[int, ...]:
        """Return the leading axes along which draws are independent: all of them; 1 where one draw is for all."""
        return problem.lead


class TimeSteps(AbstractSolver):
    """A fixed number of time steps, `s ← s + dt·(σ(a(s) + η ξ) − s)`, then the mean over the last few of them.

    **Arguments:**

    - `max_steps`: how many steps, at least 1; all are taken.
    - `dt`: time step in units of the neurons' time constant, in (0, 1].
    - `noise`: a `Noise`, or `None`.
    - `window`: the state returned is the mean over the last `window ≤ max_steps` steps.
    - `key`: random key of the noise. Estimators set it from the key that they are called with.

    The residual recorded is `‖σ(a(s)) − s‖` of the state returned, without noise; the status is `not_applicable`, or
    `diverged`. `tolerance` is of no effect: there is none.

    **Raises:** `ValueError` for values outside these ranges, and for noise without a key.

    Source: P1 §1.1 (arXiv 2209.00530).

    ```python
    rest = hp.settle(net, x, solver=hp.TimeSteps(100, noise=hp.Noise(0.01), key=jax.random.key(0)))
    ```
    """

    max_steps: int = 100
    dt: float = 1.0
    noise: Noise | None = None
    window: int = 1
    key: PRNGKeyArray | None = None
    tolerance: float | Float[Array, ""] | None = None

    def __check_init__(self) -> None:
        check_solver(self.tolerance, self.max_steps)
        if not 0 < self.dt <= 1:
            raise ValueError(f"dt must be in (0, 1], got {self.dt}")
        if not 1 <= self.window <= self.max_steps:
            raise ValueError(f"window must be between 1 and max_steps = {self.max_steps}, got {self.window}")

    def init(self, problem: FixedPoint, state: State) -> Progress:
        """Return the progress before the first step; its memory is the sum over the window."""
        if self.noise is not None and self.key is None:
            raise ValueError("noise needs a key: pass key=jax.random.key(0) to the estimator or the solver")
        return Progress.start(problem, state, jax.tree.map(jnp.zeros_like, state))

    def step(self, problem: FixedPoint, progress: Progress) -> Progress:
        """Advance every sample by one time step; the residual is that of the move."""
        time, state = jnp.max(progress.steps), progress.state
        disturbance = None
        if self.noise is not None and self.key is not None:
            disturbance = self.noise.draw(problem, jax.random.fold_in(self.key, time))
        move = difference(problem.update(state, disturbance), state)
        proposal = tuple(s + self.dt * m for s, m in zip(state, move, strict=True))
        residual = norm(move, len(problem.lead))
        status = judge(residual, -1.0, problem.size)
        state = where_sample(status == Status.max_steps, proposal, state)
        counts = (time >= self.max_steps - self.window).astype(jnp.finfo(problem.dtype).dtype)
        total = tuple(m + counts.astype(s.dtype) * s for m, s in zip(progress.memory, state, strict=True))
        return Progress(state, residual, progress.steps + 1, status, total)

    def terminate(self, progress: Progress) -> Bool[Array, "*lead"]:
        """Return which samples have ended: all of them, at the last step."""
        return progress.steps >= self.max_steps

    def finish(self, problem: FixedPoint, progress: Progress) -> Rest:
        """Return the mean states of the window, with their residuals."""
        state = tuple(total / self.window for total in progress.memory)
        residual = problem.residual(state)
        ended = jnp.where(progress.status == Status.diverged, jnp.int32(Status.diverged), not_applicable(residual))
        return Rest(state, residual, progress.steps, ended)

    def run(self, problem: FixedPoint, state: State) -> tuple[State, Rest]:
        """Take all steps; return the last state, from which the dynamics may go on, and the mean over the window."""
        progress = lax.fori_loop(0, self.max_steps, lambda _, p: self.step(problem, p), self.init(problem, state))
        return progress.state, self.finish(problem, progress)


def keyed(solver: AbstractSolver, key: PRNGKeyArray | None, index: Int[Array, ""] | int = 0) -> AbstractSolver:
    """Return `solver` with a key of its own, `fold_in(key, index)`, if it draws noise; without a key from its own."""
    if not is_noisy(solver):
        return solver
    key = solver.key if key is None else key
    if key is None:
        return solver
    return dataclasses.replace(solver, key=jax.random.fold_in(key, index))


def is_noisy(solver: AbstractSolver) -> TypeGuard[TimeSteps]:
    """Return whether the solver draws noise: then it is `TimeSteps`."""
    return isinstance(solver, TimeSteps) and solver.noise is not None


def noise_in_state(problem: FixedPoint, state: State, solver: AbstractSolver) -> Float[Array, " batch"]:
    """Return the expected deviation of a noisy rest state, over the window, per sample; 0 without noise.

    `η ‖σ'(a(s))‖ √(dt/(2 − dt) · c/w)` is what the noise of each step does, averaged by the leaky integration and by a
    window of `w` steps, of which the integration makes `c = (1+ρ)/(1−ρ) − 2ρ(1−ρ^w)/(w(1−ρ)²)`, `ρ = 1 − dt`, depend on
    each other. What comes back by recurrence multiplies that by a factor for the batch.
    """
    real = jnp.finfo(problem.dtype).dtype
    if not is_noisy(solver) or solver.noise is None:
        return jnp.zeros(problem.lead, real)
    still = jax.tree.map(jnp.zeros_like, state)
    _, slope = jax.jvp(lambda d: problem.update(state, d), (still,), (jax.tree.map(jnp.ones_like, state),))
    rho, window = 1 - solver.dt, solver.window
    dependent = (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**window) / (window * (1 - rho) ** 2)
    leak = (solver.dt / (2 - solver.dt) * dependent / window) ** 0.5
    alone = leak * norm(slope, len(problem.lead))
    return jnp.asarray(solver.noise.std).astype(real) * alone * _recurrent_gain(problem, state, alone, solver)


def _recurrent_gain(
    problem: FixedPoint, state: State, alone: Float[Array, " batch"], solver: TimeSteps
) -> Float[Array, ""]:
    """Return by what factor recurrence enlarges the deviation `alone`, root mean square over the batch.

    From one draw of the noise: how the state after some steps of the dynamics depends on the noise's size, near 0.
    """
    steps = solver.window + math.ceil(_MEMORY / solver.dt)

    def after(std: Float[Array, ""]) -> State:
        noisy = dataclasses.replace(solver, max_steps=steps, noise=Noise(std), key=jax.random.key(0))
        return noisy.run(problem, state)[1].state

    zero = jnp.zeros((), alone.dtype)
    _, moved = jax.jvp(after, (zero,), (jnp.ones_like(zero),))
    deviation = norm(moved, len(problem.lead))
    # Dynamics that do not contract have no such state.
    usable = jnp.isfinite(deviation)
    found, expected = (jnp.sum(jnp.where(usable, each**2, 0)) for each in (deviation, alone))
    return jnp.where(expected > 0, jnp.sqrt(found / jnp.where(expected > 0, expected, 1)), 1.0)


def not_applicable(like: Float[Array, "*lead"]) -> Int[Array, "*lead"]:
    """Return the status of states that have no tolerance to meet."""
    return jnp.full(like.shape, Status.not_applicable, jnp.int32)

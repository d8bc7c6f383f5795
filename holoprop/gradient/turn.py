"""One turn around the whole circle, point after point, each state going on from where the last one stopped.

This is how a noisy network, or one that is never reset, meets its nudges (P1's noisy and continuous-time forms). With
noise the states at `β` and `β̄` are no conjugates of each other, so all `N` points are visited.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Inexact, PRNGKeyArray

from holoprop.gradient.contour import half_circle, whole_circle
from holoprop.gradient.spectrum import Spectrum, circle_spectrum
from holoprop.network.base import State, complex_dtype
from holoprop.settling.fixed_point import FixedPoint, difference
from holoprop.settling.rest import Rest
from holoprop.settling.time_stepping import TimeSteps, keyed


def nudges(
    problem: FixedPoint, points: int, radius: Float[Array, " batch"]
) -> tuple[Inexact[Array, "points batch"], Inexact[Array, "points batch"]]:
    """Return the nudges `β_k = r e^{2πik/N}` of the whole circle and the weights `1/(N β_k)`; for `N = 2` real."""
    unit = whole_circle(points)
    kind = complex_dtype(problem.net) if np.iscomplexobj(unit) else radius.dtype
    betas = jnp.asarray(unit).astype(kind)[:, None] * radius.astype(kind)
    return betas, 1 / (points * betas)


def turn(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    betas: Inexact[Array, "points batch"],
    start: State,
    solver: TimeSteps,
    key: PRNGKeyArray | None,
) -> tuple[State, Rest]:
    """Visit the nudges in turn, from `start`, `(batch, …)`.

    **Returns:** the last state, `(batch, …)`, and the `Rest` of every point, `(points, batch, …)`.
    """

    def visit(state: State, at: tuple[Array, Array]) -> tuple[State, Rest]:
        beta, index = at
        posed = problem.nudged(target, beta)
        return keyed_steps(solver, key, index).run(posed, state)

    begin = tuple(s.astype(betas.dtype) for s in start)
    return lax.scan(visit, begin, (betas, jnp.arange(betas.shape[0])))


def keyed_steps(solver: TimeSteps, key: PRNGKeyArray | None, index: Array) -> TimeSteps:
    """Return the time steps of one point, with noise of their own."""
    steps = keyed(solver, key, index)
    assert isinstance(steps, TimeSteps)
    return steps


def folded(states: State, points: int) -> State:
    """Return the states of the half circle, `(s_β + conj s_{β̄})/2`: what is left is what a noiseless network has."""
    forward, mirrored = _halves(points)
    return tuple((s[forward] + s[mirrored].conj()) / 2 for s in states)


def turn_spectrum(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    nudged: Rest,
    betas: Inexact[Array, "points batch"],
    points: int,
    noise: Float[Array, " batch"],
    *,
    noisy: bool,
) -> Spectrum:
    """Return the spectrum of a whole circle.

    **Arguments:** `free`: the free states; `noise`: `(batch,)`, the expected deviation of each state by noise;
    `noisy`: whether there is any: then residuals say nothing of the solver.

    Noise leaves `n/√(2N)` in the coefficient's real part, and as much in its imaginary part, which is 0 for a network
    that follows its nudge without delay. What is measured there counts as noise, whatever its cause.
    """
    forward, _ = _halves(points)
    half = folded(nudged.state, points)
    missed = jax.tree.map(jnp.zeros_like, half)
    if not noisy:
        missed = difference(problem.nudged(target, betas[forward]).update(half), half)
    spread = deviation_in_coefficient(noise, points)
    if points > 2:
        powers = jnp.asarray(whole_circle(points).conj() / points).astype(betas.dtype)
        lag = sum(
            jnp.sum(jnp.einsum("k,kbn->bn", powers, s.reshape(*s.shape[:2], -1)).imag ** 2, -1) for s in nudged.state
        )
        spread = jnp.maximum(spread, jnp.sqrt(jnp.asarray(lag)))
    return circle_spectrum(free, half, missed, betas[forward], points, spread)


def deviation_in_coefficient(deviation: Float[Array, " batch"], points: int) -> Float[Array, " batch"]:
    """Return what a deviation of every state, independent at every point, leaves in the real part of a coefficient."""
    return deviation / (points if points == 2 else 2 * points) ** 0.5


def _halves(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the points of the half circle, and their conjugates, stand on the whole one."""
    unit, _ = half_circle(points)
    forward = np.rint(np.angle(unit) * points / (2 * np.pi)).astype(int) % points
    return forward, -forward % points

"""Settling on a circle of complex nudges.

The real points of the half circle settle first: they cost less than half of a complex one. The parabola through
`s_{−r}, s_0, s_r` then starts the complex ones, all in one batch, within `O((r/R)³)` of rest instead of `O(r/R)`.
Time steps are the network's own dynamics, which know of no such start: they begin at the free state, as P1's do.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, PRNGKeyArray

from holoprop.gradient.contour import half_circle, settled_points
from holoprop.gradient.nudged import in_pieces, mismatch, repeat, settle_nudged
from holoprop.gradient.spectrum import Spectrum, circle_spectrum
from holoprop.gradient.turn import nudges, turn, turn_spectrum
from holoprop.network.base import State, complex_dtype
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status
from holoprop.settling.solver import AbstractSolver, where_sample
from holoprop.settling.time_stepping import TimeSteps, is_noisy, noise_in_state


class Circle(eqx.Module):
    """Rest states on a circle: `betas` and `weights` of the estimate, `(points, batch)`, and what they tell."""

    betas: Inexact[Array, "points batch"]
    weights: Inexact[Array, "points batch"]
    nudged: Rest
    spectrum: Spectrum


def settle_on_circle(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    points: int,
    radius: Float[Array, " batch"],
    solver: AbstractSolver,
    start: State | None = None,
    key: PRNGKeyArray | None = None,
    *,
    polish: bool = False,
    noise: Float[Array, " batch"] | None = None,
    points_per_batch: int | None = None,
) -> Circle:
    """Settle the half circle of `points` nudges of size `radius`, from `start`, `(points, batch, …)`, or from rest.

    With a noisy solver all points are visited in turn, from the free state, and `noise` is how far that makes a state
    deviate, if it is known; else `polish` asks for a little more than the solver's tolerance, and `points_per_batch`
    for so many points at a time.
    """
    if is_noisy(solver):
        betas, weights = nudges(problem, points, radius)
        _, nudged = turn(problem, target, betas, free.state, solver, key)
        noise = noise_in_state(problem, free.state, solver) if noise is None else noise
        return Circle(
            betas, weights, nudged, turn_spectrum(problem, target, free, nudged, betas, points, noise, noisy=True)
        )
    unit, multiplicity = half_circle(points)
    real_points, _ = settled_points(points)
    kind = complex_dtype(problem.net) if points > 2 else radius.dtype
    betas = jnp.asarray(unit).astype(kind)[:, None] * radius.astype(kind)
    weights = jnp.asarray(multiplicity / points).astype(kind)[:, None] / betas
    if isinstance(solver, TimeSteps):
        start = repeat(tuple(s.astype(kind) for s in free.state), betas.shape[0])
    if points == 2:
        start = repeat(free.state, 2) if start is None else start
        nudged = settle_nudged(problem, target, betas, start, solver, points_per_batch)
    else:
        nudged = _settle_half(problem, target, betas, real_points, free, solver, start, points_per_batch)
    contraction = None
    if polish:
        nudged, contraction = _polished(problem, target, betas, nudged, points_per_batch)
    missed = mismatch(problem, target, betas, nudged, points_per_batch)
    spectrum = circle_spectrum(free, nudged.state, missed, betas, points, contraction=contraction)
    return Circle(betas, weights, nudged, spectrum)


def arrived(nudged: Rest) -> Bool[Array, " batch"]:
    """Return the samples whose every point settled, or was not asked to."""
    return jnp.all(nudged.settled | (nudged.status == Status.not_applicable), 0)


def _polished(
    problem: FixedPoint,
    target: Array,
    betas: Inexact[Array, "points batch"],
    rest: Rest,
    points_per_batch: int | None,
) -> tuple[Rest, Float[Array, " batch"]]:
    """Return the rest states two plain sweeps further on, for samples whose residual they make smaller.

    Where sweeps contract fast, a state that has just met the tolerance may be far from as good as one that has just
    missed it. Two more sweeps make up for that luck; where they contract slowly it hardly matters. Returned too is how
    fast they contract, the slowest of all points: plain sweeps leave what contracts slowly, so that the residual that
    is left stands for a larger error than before.
    """

    def two_sweeps(betas: Array, state: State) -> tuple[State, Array, Array]:
        nudged = problem.nudged(target, betas)
        once, before = nudged.sweep(nudged.carry(state))
        carry, after = nudged.sweep(once)
        return carry[: len(state)], before, after

    twice, before, after = in_pieces(two_sweeps, points_per_batch, betas, rest.state)
    better = after < before
    contraction = jnp.max(after / jnp.maximum(before, jnp.finfo(before.dtype).tiny), 0)
    better_rest = Rest(
        where_sample(better, twice, rest.state), jnp.where(better, after, rest.residual), rest.steps, rest.status
    )
    return better_rest, contraction


def _settle_half(
    problem: FixedPoint,
    target: Array,
    betas: Inexact[Array, "points batch"],
    real_points: int,
    free: Rest,
    solver: AbstractSolver,
    start: State | None,
    points_per_batch: int | None,
) -> Rest:
    """Settle the real points, then the complex ones from where those point (or both from `start`)."""
    dtype = betas.dtype
    begin = repeat(free.state, real_points) if start is None else tuple(s[:real_points].real for s in start)
    real = settle_nudged(problem, target, betas[:real_points].real, begin, solver, points_per_batch)
    if start is None:
        ratio = betas[real_points:] / betas[0]

        def extrapolate(rested: Array, nudged: Array) -> Array:
            step = ratio.reshape(ratio.shape + (1,) * (rested.ndim - 1))
            if real_points == 1:
                return rested + step * (nudged[0] - rested)
            odd, even = (nudged[0] - nudged[1]) / 2, (nudged[0] + nudged[1]) / 2 - rested
            return rested + step * odd + step * step * even

        pairs = zip(free.state, real.state, strict=True)
        guess = tuple(extrapolate(p.astype(dtype), q.astype(dtype)) for p, q in pairs)
        # Where a real point did not settle there is nothing to extrapolate from.
        usable = jnp.broadcast_to(arrived(real), ratio.shape)
        guess = where_sample(usable, guess, repeat(tuple(s.astype(dtype) for s in free.state), ratio.shape[0]))
    else:
        guess = tuple(s[real_points:] for s in start)
    rest = settle_nudged(problem, target, betas[real_points:], guess, solver, points_per_batch)
    return jax.tree.map(lambda p, q: jnp.concatenate([p.astype(q.dtype), q]), real, rest)

"""The automatic circle: how large it should be for each sample, and how many points it should have.

The predicted error of a sample, `e(r)² = (κ r^N)² + (τ/r)²`, has a part that grows with the radius (aliasing) and one
that falls with it (solver tolerance); both are read off the spectrum of a first circle (`certificate.py`). The
best radius is where they balance, `r^{N+1} = τ/(√N κ)`. A second circle is settled only if that promises a clearly
smaller error, a larger one from the power series of the first.

The first circle is laid by what the last step learned, the estimator's memory, so that during training it is nearly
always good enough (`expectation.py`). With noise all samples share one radius (`shared_circle.py`).
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from holoprop.gradient.certificate import OK_BELOW
from holoprop.gradient.circle import Circle, arrived, settle_on_circle
from holoprop.gradient.contour import half_circle
from holoprop.gradient.expectation import FIRST_LIMIT, GAIN, NEAREST, OUTSIDE, CircleMemory, Expectation, balanced
from holoprop.gradient.nudged import repeat
from holoprop.gradient.shared_circle import settle_on_shared_circle
from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver, where_sample
from holoprop.settling.time_stepping import is_noisy

_ROUGH = 10.0
"""Aliasing so many times what the radius of convergence makes of it is taken for an error of the solver."""
_BEYOND = 0.3
"""A circle beyond the radius of convergence says nothing but that: `R` is taken for this much of its radius."""


def settle_on_best_circle(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    points: int,
    tolerance: float | None,
    solver: AbstractSolver,
    expected: Expectation,
    key: PRNGKeyArray | None = None,
    points_per_batch: int | None = None,
) -> tuple[Circle, CircleMemory]:
    """Settle on a circle of which each sample has its own radius, the one with the smallest predicted error.

    With a noisy solver all samples share one, as `settle_on_shared_circle` chooses it.

    **Arguments:** `free`: the free rest states; `points`: `N`; `tolerance`: a relative error that is good enough, or
    `None` for the best there is; `solver`: of the nudged states; `expected`: what `expect` says; `key`: of the noise;
    `points_per_batch`: how many points may settle at once.

    **Returns:** the circle, and what to remember of it.
    """
    if is_noisy(solver):
        return settle_on_shared_circle(problem, target, free, points, tolerance, solver, expected, key)
    radius, polish = expected.best_radius(points), tolerance is None
    settings = {"polish": polish, "points_per_batch": points_per_batch}
    first = settle_on_circle(problem, target, free, points, radius, solver, **settings)
    radius, moves = _better_radius(first, points, tolerance, expected)

    def again(first: Circle) -> Circle:
        start = _continued(free, first, points, radius)
        return _better(first, settle_on_circle(problem, target, free, points, radius, solver, start, **settings))

    circle = lax.cond(jnp.any(moves), again, lambda first: first, first)
    return circle, _learnt(circle, expected)


def _better_radius(
    circle: Circle, points: int, tolerance: float | None, expected: Expectation
) -> tuple[Float[Array, " batch"], Bool[Array, " batch"]]:
    """Return the radius of the smallest predicted error, and for which samples it is worth another circle."""
    spectrum, radius, memory, pull = circle.spectrum, jnp.abs(circle.betas[0]), expected.memory, expected.pull
    there = arrived(circle.nudged)
    limit = spectrum.radius_of_convergence
    # Where no higher coefficient is seen nothing is known; what the others say is the best guess.
    weight = _trust(circle)
    known = weight > 0
    typical = jnp.exp(_mean(jnp.log(limit * pull.curvature), weight, memory.log_limit)) / pull.curvature
    typical = jnp.where(memory.known | jnp.any(known), typical, FIRST_LIMIT)
    tiny = jnp.finfo(radius.dtype).tiny
    floor = jnp.maximum(spectrum.tolerance, tiny)
    unseen = jnp.isnan(limit)
    limit = jnp.where(unseen, typical, limit)
    # High coefficients far above what the clear ones lead one to expect are the solver's error, not the network's.
    smooth = (radius / limit) ** points
    rough = ~unseen & (spectrum.aliasing > _ROUGH * smooth)
    floor = jnp.where(rough, jnp.hypot(floor, spectrum.aliasing), floor)
    alias = jnp.maximum(jnp.where(unseen | rough, smooth, spectrum.aliasing), tiny)
    best = jnp.minimum(radius * balanced(floor, jnp.log(alias), points), NEAREST * limit)
    # A spectrum from beyond the radius says only that the circle was too large, and nothing of the tolerance. States
    # that have not quite settled, but tell a sound spectrum, may do so on a circle half as large.
    follows = jnp.isfinite(best) & (alias < OUTSIDE)
    fine = there & follows
    retreat = balanced(expected.floor / radius, -points * jnp.log(jnp.asarray(_BEYOND, floor.dtype)), points)
    retreat = jnp.where(jnp.isfinite(retreat), jnp.clip(retreat, 0.02, 0.5), 0.1)
    best = jnp.where(follows, jnp.where(there, best, jnp.minimum(best, radius / 2)), radius * retreat)
    ratio = best / radius
    promised = jnp.hypot(alias * ratio**points, floor / ratio)
    error = jnp.hypot(alias, floor)
    moves = ~fine | (error > GAIN * promised)
    if tolerance is not None:
        # Of the mean gradient: a sample that hardly responds may be as wrong as it likes.
        share = spectrum.response / jnp.sum(jnp.where(there, spectrum.response, 0))
        wrong = jnp.sum(jnp.where(there, error * share, 0)) > tolerance
        moves = ~there | (moves & wrong & (error * share * share.size > tolerance))
    return jnp.where(moves, best, radius), moves


def _better(first: Circle, second: Circle) -> Circle:
    """Return, sample by sample, the circle of which less error is predicted."""
    before, after = first.spectrum.predicted_error, second.spectrum.predicted_error
    better = arrived(second.nudged) & ((after < before) | ~arrived(first.nudged))
    at_points = jnp.broadcast_to(better, first.betas.shape)
    return Circle(
        where_sample(at_points, second.betas, first.betas),
        where_sample(at_points, second.weights, first.weights),
        where_sample(at_points, second.nudged, first.nudged),
        where_sample(better, second.spectrum, first.spectrum),
    )


def _continued(free: Rest, circle: Circle, points: int, radius: Float[Array, " batch"]) -> State:
    """Return where to start on a circle of another radius: by the power series of this one, `Σ_j ŝ_j (β/r)^j`.

    On a smaller circle the free state is the start: one that is almost right already would end with what converges
    slowly still in it, and there that weighs more.
    """
    unit, multiplicity = half_circle(points)
    share = multiplicity / points
    j = np.arange(1, points)
    forward = unit[None] ** -j[:, None] * share  # coefficients from the half circle's states
    back = unit[:, None] ** j[None]  # states from the coefficients
    ratio = radius / jnp.abs(circle.betas[0])
    # Beyond the old circle the highest coefficients are the least certain: leave them out.
    low = jnp.asarray(j[:, None] <= (points + 1) // 2).astype(ratio.dtype)
    scale = low * ratio[None] ** jnp.asarray(j).astype(ratio.dtype)[:, None]

    def move(rested: Array, nudged: Array) -> Array:
        shape = nudged.shape
        rise = (nudged - rested.astype(nudged.dtype)).reshape(*shape[:2], -1)
        found = jnp.einsum("jk,kbn->jbn", jnp.asarray(forward).astype(rise.dtype), rise).real
        scaled = (found * scale[..., None]).astype(rise.dtype)
        moved = jnp.einsum("kj,jbn->kbn", jnp.asarray(back).astype(rise.dtype), scaled)
        start = rested.astype(nudged.dtype) + moved.reshape(shape)
        return jnp.where(jnp.isfinite(start), start, rested.astype(nudged.dtype))

    started = tuple(move(p, q) for p, q in zip(free.state, circle.nudged.state, strict=True))
    larger = radius > jnp.abs(circle.betas[0])
    usable = jnp.broadcast_to(arrived(circle.nudged) & larger, circle.betas.shape)
    rested = tuple(s.astype(circle.betas.dtype) for s in repeat(free.state, unit.size))
    return where_sample(usable, started, rested)


def _learnt(circle: Circle, expected: Expectation) -> CircleMemory:
    spectrum, radius, memory, pull = circle.spectrum, jnp.abs(circle.betas[0]), expected.memory, expected.pull
    floor = spectrum.tolerance * radius
    limit = spectrum.radius_of_convergence
    weight = jnp.where(jnp.isfinite(floor) & (floor > 0), _trust(circle), 0)
    return CircleMemory(
        _mean(jnp.log(limit * pull.curvature), weight, memory.log_limit),
        _mean(jnp.log(floor * pull.norm), weight, memory.log_floor),
        _mean(jnp.log(spectrum.response / pull.norm), weight, memory.log_response),
        memory.known | jnp.any(weight > 0),
    )


def _trust(circle: Circle) -> Float[Array, " batch"]:
    """Return how much each sample says of the others' radius of convergence: its response, or 0 if it knows none."""
    spectrum = circle.spectrum
    known = arrived(circle.nudged) & (spectrum.aliasing < OK_BELOW) & jnp.isfinite(spectrum.radius_of_convergence)
    return jnp.where(known, spectrum.response, 0)


def _mean(
    values: Float[Array, " batch"], weight: Float[Array, " batch"], default: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the weighted mean over the samples of positive weight, `default` if there are none."""
    total = jnp.sum(weight)
    mean = jnp.sum(jnp.where(weight > 0, values, 0) * weight) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, mean, default)

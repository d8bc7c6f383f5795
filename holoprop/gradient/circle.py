"""Settling on a circle of complex nudges, and choosing its radius.

The real points of the half circle settle first: they cost less than half of a complex one. The parabola through
`s_{−r}, s_0, s_r` then starts the complex ones, all in one batch, within `O((r/R)³)` of rest instead of `O(r/R)`.

The predicted error of a sample, `e(r)² = (κ r^N)² + (τ/r)²`, has a part that grows with the radius (aliasing) and one
that falls with it (solver tolerance, noise); both are read off the spectrum of a first circle (`certificate.py`). The
best radius is where they balance, `r^{N+1} = τ/(√N κ)`. A second circle, started from the power series of the first,
is settled only if that promises a clearly smaller error.

The first circle is laid by what the last step learned, the estimator's memory, so that during training it is nearly
always good enough. What carries over from sample to sample is not `R` but `R` in units of the sample's own cost: a
sample that has been learned pulls weakly on the outputs, and takes a nudge larger by as much. Where there is no memory
a probe, two tiny real nudges, tells each sample's first radius.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, PRNGKeyArray

from holoprop.gradient.certificate import OK_BELOW, Spectrum, circle_spectrum
from holoprop.gradient.contour import half_circle
from holoprop.gradient.nudged import mismatch, read_out, repeat, settle_nudged
from holoprop.gradient.turn import nudges, turn, turn_spectrum
from holoprop.network.base import State, complex_dtype
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status
from holoprop.settling.solver import AbstractSolver, where_sample
from holoprop.settling.time_stepping import TimeSteps, is_noisy, noise_in_state

_NEAREST = 0.7
"""A circle comes at most this near to the estimated radius of convergence."""
_FIRST_LIMIT = 1.0
"""The radius of convergence that is assumed before anything is known."""
_PROBE = 30.0
"""The probe's nudge, in units of the square root of the relative error of the states."""
_SEEN = 3.0
"""How many times its error the probe's second coefficient must be to say anything."""
_PROBE_TRUST = 0.5
"""The radius of convergence that two points suggest is taken for this much of it."""
_RETREAT = 0.1
"""A first circle from beyond the radius of convergence says nothing but that; the second is smaller by this factor."""
_GAIN = 2.0
"""A second circle is settled for samples whose predicted error it makes smaller by this factor."""


class CircleMemory(eqx.Module):
    """What the automatic circle remembers from step to step.

    **Attributes** (means over the batch, weighted with the samples' responses): `log_limit`: of `log(h R)`, with the
    radius of convergence `R` and the curvature `h` of the cost along its own gradient (`_pull`); `log_floor`: of
    `log(g τ)`, with the error `τ` at radius 1 that is due to tolerance and noise, and the norm `g` of that gradient;
    `known`: whether there was a step.
    """

    log_limit: Float[Array, ""]
    log_floor: Float[Array, ""]
    known: Bool[Array, ""]

    @classmethod
    def fresh(cls, dtype: jnp.dtype) -> "CircleMemory":
        """Return the memory before the first step."""
        return cls(jnp.zeros((), dtype), jnp.zeros((), dtype), jnp.zeros((), bool))


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
) -> Circle:
    """Settle the half circle of `points` nudges of size `radius`, from `start`, `(points, batch, …)`, or from rest.

    With a noisy solver all points are visited in turn, from the free state; else `polish` asks for a little more than
    the solver's tolerance.
    """
    if isinstance(solver, TimeSteps) and solver.noise is not None:
        betas, weights = nudges(problem, points, radius)
        _, nudged = turn(problem, target, betas, free.state, solver, key)
        noise = noise_in_state(problem, free.state, solver)
        return Circle(
            betas, weights, nudged, turn_spectrum(problem, target, free, nudged, betas, points, noise, noisy=True)
        )
    unit, multiplicity = half_circle(points)
    real_points = int((multiplicity == 1).sum())
    kind = complex_dtype(problem.net) if points > 2 else radius.dtype
    betas = jnp.asarray(unit).astype(kind)[:, None] * radius.astype(kind)
    weights = jnp.asarray(multiplicity / points).astype(kind)[:, None] / betas
    if points == 2:
        start = repeat(free.state, 2) if start is None else start
        nudged = settle_nudged(problem, target, betas, start, solver)
    else:
        nudged = _settle_half(problem, target, betas, real_points, free, solver, start)
    contraction = None
    contraction = None
    if polish:
        nudged, contraction = _polished(problem, target, betas, nudged)
    missed = mismatch(problem, target, betas, nudged)
    spectrum = circle_spectrum(free, nudged.state, missed, betas, points, contraction=contraction)
    return Circle(betas, weights, nudged, spectrum)


def settle_on_best_circle(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    points: int,
    tolerance: float | None,
    solver: AbstractSolver,
    memory: CircleMemory | None,
    key: PRNGKeyArray | None = None,
) -> tuple[Circle, CircleMemory]:
    """Settle on a circle of which each sample has its own radius, the one with the smallest predicted error.

    **Arguments:** `tolerance`: a relative error that is good enough, or `None` for the best there is; `memory`: of the
    last step.
    """
    dtype = free.residual.dtype
    memory = CircleMemory.fresh(dtype) if memory is None else memory
    keys = (None, None) if key is None else tuple(jax.random.split(key))
    pull = _pull(problem, target, free)
    radius = _first_radius(problem, target, free, points, solver, memory, pull)
    polish = tolerance is None
    first = settle_on_circle(problem, target, free, points, radius, solver, key=keys[0], polish=polish)
    radius, moves = _better_radius(first, points, tolerance, memory, pull)

    def again(first: Circle) -> Circle:
        start = None if is_noisy(solver) else _continued(free, first, points, radius)
        return settle_on_circle(problem, target, free, points, radius, solver, start, keys[1], polish=polish)

    circle = lax.cond(jnp.any(moves), again, lambda first: first, first)
    return circle, _learnt(circle, memory, pull)


class _Pull(eqx.Module):
    """How a sample's cost pulls on its logits at the free state: `norm`, `‖∇C‖`, and `curvature`, `‖∇²C ∇C‖/‖∇C‖`."""

    norm: Float[Array, " batch"]
    curvature: Float[Array, " batch"]


def _pull(problem: FixedPoint, target: Float[Array, "batch classes"], free: Rest) -> _Pull:
    def sample(logits: Array, target: Array) -> tuple[Array, Array]:
        def gradient(o: Array) -> Array:
            return jax.grad(lambda logits: problem.net.cost(logits, target))(o)

        force = gradient(logits)
        return force, jax.jvp(gradient, (logits,), (force,))[1]

    logits, _ = read_out(problem.net, free.state, target)
    force, curved = jax.vmap(sample)(logits, target)
    tiny = jnp.finfo(logits.dtype).tiny ** 0.5
    size = jnp.maximum(jnp.linalg.norm(force, axis=-1), tiny)
    return _Pull(size, jnp.maximum(jnp.linalg.norm(curved, axis=-1) / size, tiny))


def _first_radius(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    points: int,
    solver: AbstractSolver,
    memory: CircleMemory,
    pull: _Pull,
) -> Float[Array, " batch"]:
    """Return where the parts of the error should balance, as the memory has it, or else a probe."""
    dtype = free.residual.dtype
    eps = float(jnp.finfo(dtype).eps)
    size = jnp.sqrt(sum(jnp.sum(s.reshape(s.shape[0], -1) ** 2, -1) for s in free.state))
    lost = jnp.hypot(free.residual, noise_in_state(problem, free.state, solver))
    guess = jnp.clip(jnp.maximum(lost, eps * size) / jnp.maximum(size, eps), np.exp(-30), np.exp(-1)).astype(dtype)

    def remembered() -> tuple[Array, Array]:
        return jnp.exp(memory.log_floor) / pull.norm, jnp.exp(memory.log_limit) / pull.curvature

    def probed() -> tuple[Array, Array]:
        if is_noisy(solver):
            return guess, jnp.full_like(guess, _FIRST_LIMIT)
        # Large enough for the second coefficient to show, at a radius of convergence of a few units.
        size = _PROBE * jnp.sqrt(guess)
        probe = settle_on_circle(problem, target, free, 2, size, solver).spectrum
        seen = probe.shift > _SEEN * (probe.tolerance * probe.response * size + free.residual)
        limit = jnp.where(seen, _PROBE_TRUST * probe.radius_of_convergence, _FIRST_LIMIT)
        return probe.tolerance * size, jnp.where(jnp.isfinite(limit), limit, _FIRST_LIMIT)

    floor, limit = lax.cond(memory.known, remembered, probed)
    # Balanced for an aliasing error of (r/R)^N.
    radius = jnp.exp((jnp.log(floor) + points * jnp.log(limit) - jnp.log(points**0.5)) / (points + 1))
    return jnp.minimum(radius, _NEAREST * limit).astype(dtype)


def _better_radius(
    circle: Circle, points: int, tolerance: float | None, memory: CircleMemory, pull: _Pull
) -> tuple[Float[Array, " batch"], Bool[Array, " batch"]]:
    """Return the radius of the smallest predicted error, and for which samples it is worth another circle."""
    spectrum, radius = circle.spectrum, jnp.abs(circle.betas[0])
    tiny = jnp.finfo(radius.dtype).tiny
    arrived = _arrived(circle.nudged)
    limit = spectrum.radius_of_convergence
    # Of a response that drowns nothing is known; what the others say is the best guess.
    known = arrived & (spectrum.aliasing < OK_BELOW) & jnp.isfinite(limit)
    before = jnp.where(memory.known, memory.log_limit, jnp.log(jnp.asarray(_FIRST_LIMIT, limit.dtype)))
    weight = jnp.where(known, spectrum.response, 0)
    typical = jnp.exp(_mean(jnp.log(limit * pull.curvature), weight, before)) / pull.curvature
    drowned = jnp.isnan(limit)
    limit = jnp.where(drowned, typical, limit)
    alias = jnp.maximum(jnp.where(drowned, (radius / limit) ** points, spectrum.aliasing), tiny)
    floor = jnp.maximum(jnp.hypot(spectrum.tolerance, spectrum.noise), tiny)
    factor = jnp.exp((jnp.log(floor) - jnp.log(alias) - 0.5 * jnp.log(points)) / (points + 1))
    best = jnp.minimum(radius * factor, _NEAREST * limit)
    # A spectrum from beyond the radius, or of states that did not settle, says only that the circle was too large.
    fine = arrived & jnp.isfinite(best) & (alias < OK_BELOW)
    best = jnp.where(fine, best, radius * jnp.minimum(jnp.where(jnp.isfinite(factor), factor, _RETREAT), _RETREAT))
    ratio = best / radius
    promised = jnp.hypot(alias * ratio**points, floor / ratio)
    expected = jnp.hypot(alias, floor)
    moves = ~fine | (expected > _GAIN * promised)
    if tolerance is not None:
        # Of the mean gradient: a sample that hardly responds may be as wrong as it likes.
        share = spectrum.response / jnp.sum(jnp.where(arrived, spectrum.response, 0))
        wrong = jnp.sum(jnp.where(arrived, expected * share, 0)) > tolerance
        moves = ~arrived | (moves & wrong & (expected * share * share.size > tolerance))
    return jnp.where(moves, best, radius), moves


def _continued(free: Rest, circle: Circle, points: int, radius: Float[Array, " batch"]) -> State:
    """Return the states on a circle of another radius by the power series of this one, `Σ_j ŝ_j (β/r)^j`."""
    unit, multiplicity = half_circle(points)
    share = multiplicity / points
    j = np.arange(1, points)
    forward = unit[None] ** -j[:, None] * share  # coefficients from the half circle's states
    back = unit[:, None] ** j[None]  # states from the coefficients
    ratio = radius / jnp.abs(circle.betas[0])
    # Beyond the old circle the highest coefficients are the least certain: leave them out there.
    damp = jnp.where(ratio[None] <= 1, 1.0, (j[:, None] <= (points + 1) // 2).astype(float)).astype(ratio.dtype)
    scale = damp * ratio[None] ** jnp.asarray(j).astype(ratio.dtype)[:, None]

    def move(rested: Array, nudged: Array) -> Array:
        shape = nudged.shape
        rise = (nudged - rested.astype(nudged.dtype)).reshape(*shape[:2], -1)
        found = jnp.einsum("jk,kbn->jbn", jnp.asarray(forward).astype(rise.dtype), rise).real
        scaled = (found * scale[..., None]).astype(rise.dtype)
        moved = jnp.einsum("kj,jbn->kbn", jnp.asarray(back).astype(rise.dtype), scaled)
        start = rested.astype(nudged.dtype) + moved.reshape(shape)
        return jnp.where(jnp.isfinite(start), start, rested.astype(nudged.dtype))

    started = tuple(move(p, q) for p, q in zip(free.state, circle.nudged.state, strict=True))
    usable = jnp.broadcast_to(_arrived(circle.nudged), circle.betas.shape)
    rested = tuple(s.astype(circle.betas.dtype) for s in repeat(free.state, unit.size))
    return where_sample(usable, started, rested)


def _learnt(circle: Circle, memory: CircleMemory, pull: _Pull) -> CircleMemory:
    spectrum, radius = circle.spectrum, jnp.abs(circle.betas[0])
    floor = jnp.hypot(spectrum.tolerance, spectrum.noise) * radius
    limit = spectrum.radius_of_convergence
    usable = _arrived(circle.nudged) & (spectrum.aliasing < OK_BELOW)
    usable = usable & jnp.isfinite(floor) & jnp.isfinite(limit) & (floor > 0)
    weight = jnp.where(usable, spectrum.response, 0)
    return CircleMemory(
        _mean(jnp.log(limit * pull.curvature), weight, memory.log_limit),
        _mean(jnp.log(floor * pull.norm), weight, memory.log_floor),
        memory.known | jnp.any(usable),
    )


def _mean(
    values: Float[Array, " batch"], weight: Float[Array, " batch"], default: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the weighted mean over the samples of positive weight, `default` if there are none."""
    total = jnp.sum(weight)
    mean = jnp.sum(jnp.where(weight > 0, values, 0) * weight) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, mean, default)


def _arrived(nudged: Rest) -> Bool[Array, " batch"]:
    """Return the samples whose every point settled, or was not asked to."""
    return jnp.all(nudged.settled | (nudged.status == Status.not_applicable), 0)


def _polished(
    problem: FixedPoint, target: Array, betas: Inexact[Array, "points batch"], rest: Rest
) -> tuple[Rest, Float[Array, " batch"]]:
    """Return the rest states two plain sweeps further on, for samples whose residual they make smaller.

    Where sweeps contract fast, a state that has just met the tolerance may be far from as good as one that has just
    missed it. Two more sweeps make up for that luck; where they contract slowly it hardly matters. Returned too is how
    fast they contract, the slowest of all points: plain sweeps leave what contracts slowly, so that the residual that
    is left stands for a larger error than before.
    """
    nudged = FixedPoint(problem.net, problem.clamped, target, betas)
    once, before = nudged.sweep(rest.state)
    twice, after = nudged.sweep(once)
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
) -> Rest:
    """Settle the real points, then the complex ones from where those point (or both from `start`)."""
    dtype = betas.dtype
    begin = repeat(free.state, real_points) if start is None else tuple(s[:real_points].real for s in start)
    real = settle_nudged(problem, target, betas[:real_points].real, begin, solver)
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
        usable = jnp.broadcast_to(_arrived(real), ratio.shape)
        guess = where_sample(usable, guess, repeat(tuple(s.astype(dtype) for s in free.state), ratio.shape[0]))
    else:
        guess = tuple(s[real_points:] for s in start)
    rest = settle_nudged(problem, target, betas[real_points:], guess, solver)
    return jax.tree.map(lambda p, q: jnp.concatenate([p.astype(q.dtype), q]), real, rest)

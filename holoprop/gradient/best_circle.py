"""The automatic circle: how large it should be for each sample, and how many points it should have.

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
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from holoprop.gradient.certificate import OK_BELOW
from holoprop.gradient.circle import Circle, arrived, settle_on_circle
from holoprop.gradient.contour import half_circle
from holoprop.gradient.nudged import read_out, repeat
from holoprop.gradient.pooled import pooled
from holoprop.network.base import State
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver, where_sample
from holoprop.settling.time_stepping import is_noisy, noise_in_state

POINTS = (2, 4, 8, 16)
"""The numbers of points that `points="auto"` chooses from."""
_NEAREST = 0.7
"""A circle comes at most this near to the estimated radius of convergence."""
_FIRST_LIMIT = 1.0
"""The radius of convergence that is assumed before anything is known."""
_FIRST_RESPONSE = 0.3
"""The response, relative to the state's size, that is assumed where a probe would drown in noise."""
_PROBE = 30.0
"""The probe's nudge, in units of the square root of the relative error of the states."""
_SEEN = 3.0
"""How many times its error the probe's second coefficient must be to say anything."""
_PROBE_TRUST = 0.5
"""The radius of convergence that two points suggest is taken for this much of it."""
_OUTSIDE = 0.4
"""A circle whose aliasing is predicted to be this large may lie beyond the radius of convergence."""
_BEYOND = 0.3
"""A circle beyond the radius of convergence says nothing but that: `R` is taken for this much of its radius."""
_RETREAT = 0.3
"""How much smaller the circle becomes if noise shows it to be too large."""
_GROWTH = 4.0
"""How much larger at most, where noise hides how large it may be."""
_BLEND = 0.25
"""How much of what a noisy step shows goes into the memory."""
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


class _Pull(eqx.Module):
    """How a sample's cost pulls on its logits at the free state: `norm`, `‖∇C‖`, and `curvature`, `‖∇²C ∇C‖/‖∇C‖`."""

    norm: Float[Array, " batch"]
    curvature: Float[Array, " batch"]


class Expectation(eqx.Module):
    """What is expected of each sample before its circle is settled.

    **Attributes:** `floor`: `(batch,)`, `τ`, the error at radius 1 that tolerance and noise make; `limit`: `(batch,)`,
    the radius of convergence; `pull`: of the cost.
    """

    floor: Float[Array, " batch"]
    limit: Float[Array, " batch"]
    pull: _Pull

    def best_radius(self, points: int) -> Float[Array, " batch"]:
        """Return the radius at which the parts of the error balance, for an aliasing error of `(r/R)^N`."""
        return jnp.minimum(_balanced(self.floor, -points * jnp.log(self.limit), points), _NEAREST * self.limit)

    def best_error(self, points: int) -> Float[Array, ""]:
        """Return the error of the mean gradient at those radii, samples weighted with how hard their cost pulls."""
        radius = self.best_radius(points)
        error = jnp.hypot((radius / self.limit) ** points, self.floor / radius)
        return jnp.sum(error * self.pull.norm) / jnp.sum(self.pull.norm)


def expect(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    solver: AbstractSolver,
    memory: CircleMemory,
) -> Expectation:
    """Return what the memory says of each sample, or else a probe: two tiny real nudges."""
    pull = _pull(problem, target, free)
    dtype = free.residual.dtype
    eps = float(jnp.finfo(dtype).eps)
    size = jnp.sqrt(sum(jnp.sum(s.reshape(s.shape[0], -1) ** 2, -1) for s in free.state))
    lost = jnp.hypot(free.residual, noise_in_state(problem, free.state, solver))
    guess = jnp.clip(jnp.maximum(lost, eps * size) / jnp.maximum(size, eps), 1e-13, 0.4)

    noisy = is_noisy(solver)

    def remembered() -> tuple[Array, Array]:
        norm, curvature = pull.norm, pull.curvature
        if noisy:  # one radius for all
            norm, curvature = jnp.full_like(norm, jnp.mean(norm)), jnp.full_like(norm, jnp.mean(curvature))
        return jnp.exp(memory.log_floor) / norm, jnp.exp(memory.log_limit) / curvature

    def probed() -> tuple[Array, Array]:
        if noisy:
            return jnp.full_like(guess, jnp.mean(guess)) / _FIRST_RESPONSE, jnp.full_like(guess, _FIRST_LIMIT)
        # Large enough for the second coefficient to show, at a radius of convergence of a few units.
        size = _PROBE * jnp.sqrt(guess)
        probe = settle_on_circle(problem, target, free, 2, size, solver).spectrum
        seen = probe.shift > _SEEN * (probe.tolerance * probe.response * size + free.residual)
        limit = jnp.where(seen, _PROBE_TRUST * probe.radius_of_convergence, _FIRST_LIMIT)
        return probe.tolerance * size, jnp.where(jnp.isfinite(limit), limit, _FIRST_LIMIT)

    floor, limit = lax.cond(memory.known, remembered, probed)
    return Expectation(floor.astype(dtype), limit.astype(dtype), pull)


def choose_points(expected: Expectation, tolerance: float | None) -> Int[Array, ""]:
    """Return the index in `POINTS` of the fewest points that will do.

    Those whose expected error is within `tolerance`; without one, those beyond which twice as many do not halve the
    error. If none is good enough, the best.
    """
    errors = jnp.stack([expected.best_error(points) for points in POINTS])
    enough = errors <= tolerance if tolerance is not None else errors <= 2 * jnp.append(errors[1:], errors[-1])
    return jnp.where(jnp.any(enough), jnp.argmax(enough), jnp.argmin(errors)).astype(jnp.int32)


def settle_on_best_circle(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    points: int,
    tolerance: float | None,
    solver: AbstractSolver,
    memory: CircleMemory,
    expected: Expectation,
    key: PRNGKeyArray | None = None,
) -> tuple[Circle, CircleMemory]:
    """Settle on a circle of which each sample has its own radius, the one with the smallest predicted error.

    **Arguments:** `tolerance`: a relative error that is good enough, or `None` for the best there is; `memory`: of the
    last step; `expected`: what `expect` says.
    """
    keys = (None, None) if key is None else tuple(jax.random.split(key))
    radius = expected.best_radius(points)
    polish = tolerance is None
    first = settle_on_circle(problem, target, free, points, radius, solver, key=keys[0], polish=polish)
    if is_noisy(solver):
        radius, moves, memory = _shared_radius(problem, free, solver, first, points, tolerance, memory, expected.pull)
    else:
        radius, moves = _better_radius(first, points, tolerance, memory, expected.pull)

    def again(first: Circle) -> Circle:
        start = None if is_noisy(solver) else _continued(free, first, points, radius)
        return settle_on_circle(problem, target, free, points, radius, solver, start, keys[1], polish=polish)

    circle = lax.cond(jnp.any(moves), again, lambda first: first, first)
    return circle, memory if is_noisy(solver) else _learnt(circle, memory, expected.pull)


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


def _better_radius(
    circle: Circle, points: int, tolerance: float | None, memory: CircleMemory, pull: _Pull
) -> tuple[Float[Array, " batch"], Bool[Array, " batch"]]:
    """Return the radius of the smallest predicted error, and for which samples it is worth another circle."""
    spectrum, radius = circle.spectrum, jnp.abs(circle.betas[0])
    there = arrived(circle.nudged)
    limit = spectrum.radius_of_convergence
    # Where no higher coefficient is seen nothing is known; what the others say is the best guess.
    weight = _trust(circle)
    known = weight > 0
    typical = jnp.exp(_mean(jnp.log(limit * pull.curvature), weight, memory.log_limit)) / pull.curvature
    typical = jnp.where(memory.known | jnp.any(known), typical, _FIRST_LIMIT)
    tiny = jnp.finfo(radius.dtype).tiny
    floor = jnp.maximum(jnp.hypot(spectrum.tolerance, spectrum.noise), tiny)
    unseen = jnp.isnan(limit)
    limit = jnp.where(unseen, typical, limit)
    alias = jnp.maximum(jnp.where(unseen, (radius / limit) ** points, spectrum.aliasing), tiny)
    best = jnp.minimum(radius * _balanced(floor, jnp.log(alias), points), _NEAREST * limit)
    # A spectrum from beyond the radius, or of states that did not settle, says only that the circle was too large.
    fine = there & jnp.isfinite(best) & (alias < _OUTSIDE)
    retreat = _balanced(floor, -points * jnp.log(jnp.asarray(_BEYOND, floor.dtype)), points)
    best = jnp.where(fine, best, radius * jnp.where(jnp.isfinite(retreat), jnp.clip(retreat, 0.02, 0.5), 0.1))
    ratio = best / radius
    promised = jnp.hypot(alias * ratio**points, floor / ratio)
    expected = jnp.hypot(alias, floor)
    moves = ~fine | (expected > _GAIN * promised)
    if tolerance is not None:
        # Of the mean gradient: a sample that hardly responds may be as wrong as it likes.
        share = spectrum.response / jnp.sum(jnp.where(there, spectrum.response, 0))
        wrong = jnp.sum(jnp.where(there, expected * share, 0)) > tolerance
        moves = ~there | (moves & wrong & (expected * share * share.size > tolerance))
    return jnp.where(moves, best, radius), moves


def _shared_radius(
    problem: FixedPoint,
    free: Rest,
    solver: AbstractSolver,
    circle: Circle,
    points: int,
    tolerance: float | None,
    memory: CircleMemory,
    pull: _Pull,
) -> tuple[Float[Array, " batch"], Bool[Array, ""], CircleMemory]:
    """Return one radius for the batch, whether it is worth another circle, and what there is to remember."""
    said = pooled(circle, points, problem.size, noise_in_state(problem, free.state, solver), _OUTSIDE)
    tiny = jnp.finfo(said.noise.dtype).tiny
    alias, noise = jnp.maximum(said.aliasing, tiny), jnp.maximum(said.noise, tiny)
    limit = jnp.where(said.inside, said.radius * alias ** (-1 / points), _RETREAT / _NEAREST * said.radius)
    best = jnp.minimum(said.radius * _balanced(noise, jnp.log(alias), points), _NEAREST * limit)
    best = jnp.where(said.inside, jnp.minimum(best, _GROWTH * said.radius), _RETREAT * said.radius)
    ratio = best / said.radius
    moves = jnp.hypot(alias, noise) > _GAIN * jnp.hypot(alias * ratio**points, noise / ratio)
    if tolerance is not None:
        moves = moves & (jnp.hypot(alias, noise) > tolerance)
    moves = moves | ~said.inside
    log_limit = jnp.log(limit * jnp.mean(pull.curvature))
    log_floor = jnp.log(noise * said.radius * jnp.mean(pull.norm))
    # What was seen has noise in it. Where nothing was, the limit is at least this; beyond it, all else is forgotten.
    blended = memory.log_limit + _BLEND * (log_limit - memory.log_limit)
    blended = jnp.where(said.seen, blended, jnp.maximum(memory.log_limit, log_limit))
    learnt = CircleMemory(
        jnp.where(memory.known & said.inside, blended, log_limit),
        jnp.where(memory.known, memory.log_floor + _BLEND * (log_floor - memory.log_floor), log_floor),
        jnp.ones_like(memory.known),
    )
    return jnp.where(moves, best, jnp.abs(circle.betas[0])), moves, learnt


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
    usable = jnp.broadcast_to(arrived(circle.nudged), circle.betas.shape)
    rested = tuple(s.astype(circle.betas.dtype) for s in repeat(free.state, unit.size))
    return where_sample(usable, started, rested)


def _learnt(circle: Circle, memory: CircleMemory, pull: _Pull) -> CircleMemory:
    spectrum, radius = circle.spectrum, jnp.abs(circle.betas[0])
    floor = jnp.hypot(spectrum.tolerance, spectrum.noise) * radius
    limit = spectrum.radius_of_convergence
    weight = jnp.where(jnp.isfinite(floor) & (floor > 0), _trust(circle), 0)
    return CircleMemory(
        _mean(jnp.log(limit * pull.curvature), weight, memory.log_limit),
        _mean(jnp.log(floor * pull.norm), weight, memory.log_floor),
        memory.known | jnp.any(weight > 0),
    )


def _trust(circle: Circle) -> Float[Array, " batch"]:
    """Return how much each sample says of the others' radius of convergence: its response, or 0 if it knows none."""
    spectrum = circle.spectrum
    known = arrived(circle.nudged) & (spectrum.aliasing < OK_BELOW) & jnp.isfinite(spectrum.radius_of_convergence)
    return jnp.where(known, spectrum.response, 0)


def _balanced(floor: Float[Array, " batch"], log_alias: Float[Array, "*batch"], points: int) -> Float[Array, " batch"]:
    """Return the `r` at which `e(r)² = (κ r^N)² + (τ/r)²` is smallest, `(τ/(√N κ))^{1/(N+1)}`, from `τ` and `log κ`."""
    return jnp.exp((jnp.log(floor) - log_alias - 0.5 * float(np.log(points))) / (points + 1))


def _mean(
    values: Float[Array, " batch"], weight: Float[Array, " batch"], default: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the weighted mean over the samples of positive weight, `default` if there are none."""
    total = jnp.sum(weight)
    mean = jnp.sum(jnp.where(weight > 0, values, 0) * weight) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, mean, default)

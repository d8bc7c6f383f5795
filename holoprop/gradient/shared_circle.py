"""The automatic circle under noise: one radius for the batch, from what all samples show together.

Of a single sample hardly more than the first coefficient stands out from the noise, and what seems to is often luck.
The energy of each coefficient over the whole batch, less what noise leaves there, is far better known. What a single
step shows is still uncertain; the memory averages it over steps.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from holoprop.gradient.certificate import extrapolate
from holoprop.gradient.circle import Circle, arrived, settle_on_circle
from holoprop.gradient.expectation import GAIN, NEAREST, OUTSIDE, CircleMemory, Expectation, balanced
from holoprop.gradient.turn import deviation_in_coefficient
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver

_CHANCE = 4.0
"""A coefficient is seen if its energy is above that of noise by so many standard deviations."""
_UNSURE = 0.1
"""How far the energy of noise itself may be off, relative."""
_ANYTHING = 0.3
"""A coefficient that is not seen is taken to be no larger than this, relative to the first, whatever the noise."""
_CAUTION = 0.85
"""A second circle is so much smaller than seems best: beyond it aliasing grows far faster than noise falls."""
_RETREAT = 0.3
"""How much smaller the circle becomes if it is too large."""
_CURED = 0.25
"""A retreat has helped if at most so much is left of what noise cannot explain."""
_GROWTH = 4.0
"""How much larger a circle becomes at most."""
_BLEND = 0.25
"""How much of what one step shows goes into the memory."""
_HASTE = 0.5
"""The same if the circle was too large."""


def settle_on_shared_circle(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    points: int,
    tolerance: float | None,
    solver: AbstractSolver,
    expected: Expectation,
    key: PRNGKeyArray | None,
) -> tuple[Circle, CircleMemory]:
    """Settle on a circle of one radius for all samples, that of the smallest predicted error of the mean gradient.

    **Arguments:** as `settle_on_best_circle`; `key`: of the noise.

    **Returns:** the circle, and what to remember of it.
    """
    keys = (None, None) if key is None else tuple(jax.random.split(key))
    start, noise = expected.best_radius(points), expected.noise
    first = settle_on_circle(problem, target, free, points, start, solver, key=keys[0], noise=noise)
    said = pooled(first, points, problem.size, noise)
    radius, limit = better_radius(said, points)
    ratio, error = radius / said.radius, jnp.hypot(said.aliasing, said.noise)
    moves = error > GAIN * jnp.hypot(said.aliasing * ratio**points, said.noise / ratio)
    if tolerance is not None:
        moves = moves & (error > tolerance)
    moves = moves | ~said.inside

    def again(first: Circle) -> tuple[Circle, Bool[Array, ""]]:
        at = jnp.full_like(start, radius)
        second = settle_on_circle(problem, target, free, points, at, solver, key=keys[1], noise=noise)
        # Where noise by itself drives states from rest to rest, a smaller circle only makes that weigh more.
        now = pooled(second, points, problem.size, noise)
        fewer = (now.arrived > said.arrived) | ((now.arrived == said.arrived) & (now.lost < _CURED * said.lost))
        helped = said.inside | fewer
        return jax.tree.map(lambda new, old: jnp.where(helped, new, old), second, first), helped

    circle, helped = lax.cond(moves, again, lambda first: (first, jnp.ones_like(moves)), first)
    limit = jnp.where(helped, limit, said.radius / NEAREST)
    return circle, _learnt(said, limit, expected)


def better_radius(said: "Pooled", points: int) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the radius of the smallest predicted error, and the radius of convergence."""
    retreat = _RETREAT * said.radius
    limit = jnp.where(said.inside, said.radius * said.aliasing ** (-1 / points), retreat / NEAREST)
    best = _CAUTION * said.radius * balanced(said.noise, jnp.log(said.aliasing), points)
    best = jnp.minimum(best, jnp.where(said.seen, NEAREST * limit, _GROWTH * said.radius))
    best = jnp.where(said.inside, best, retreat)
    return best, jnp.maximum(limit, best / NEAREST)


def _learnt(said: "Pooled", limit: Float[Array, ""], expected: Expectation) -> CircleMemory:
    memory, pull = expected.memory, expected.pull
    log_limit = jnp.log(limit * jnp.mean(pull.curvature))
    log_floor = jnp.log(said.noise * said.radius * jnp.mean(pull.norm))
    assumed = jnp.where(memory.known, memory.log_floor, jnp.log(jnp.mean(expected.floor) * jnp.mean(pull.norm)))
    log_floor = jnp.where(said.arrived > 0, log_floor, assumed)
    # What was seen has noise in it; beyond the limit more haste is needed. Where nothing was, it is at least this.
    share = jnp.where(said.inside, _BLEND, _HASTE)
    blended = memory.log_limit + share * (log_limit - memory.log_limit)
    blended = jnp.where(said.seen | ~said.inside, blended, jnp.maximum(memory.log_limit, log_limit))
    return CircleMemory(
        jnp.where(memory.known, blended, log_limit),
        jnp.where(memory.known, memory.log_floor + _BLEND * (log_floor - memory.log_floor), log_floor),
        jnp.ones_like(memory.known),
    )


class Pooled(eqx.Module):
    """What a circle says of its batch, scalars, at the radius `r` of its samples.

    **Attributes:** `radius`: `r`; `aliasing`: the relative error for want of points, or the most that could hide in the
    noise; `noise`: that due to noise; `seen`: whether any coefficient beyond the first stands out of it; `inside`:
    whether every sample has states, and follows its nudge; `lost`: the energy of what neither nudge nor noise explains;
    `arrived`: the share of samples that have states.
    """

    radius: Float[Array, ""]
    aliasing: Float[Array, ""]
    noise: Float[Array, ""]
    seen: Bool[Array, ""]
    inside: Bool[Array, ""]
    lost: Float[Array, ""]
    arrived: Float[Array, ""]


def pooled(circle: Circle, points: int, neurons: int, noise: Float[Array, " batch"]) -> Pooled:
    """Return what all samples together say.

    **Arguments:** `neurons`: of one sample; `noise`: `(batch,)`, the deviation of its state that noise is expected to
    cause.
    """
    spectrum, radius = circle.spectrum, jnp.abs(circle.betas[0])
    there = arrived(circle.nudged)
    weight = there.astype(radius.dtype)
    weight = weight / jnp.maximum(jnp.sum(weight), 1)

    def energy(amplitude: Array) -> Array:
        return jnp.sum(jnp.where(there, amplitude**2, 0) * weight)

    energies = [energy(spectrum.norms[:, j]) for j in range(1, points)] + [energy(spectrum.shift)]
    spread = _CHANCE * (2 / (radius.size * neurons)) ** 0.5 + _UNSURE
    # What does not fall in with the conjugate's state is noise, unless noise cannot do that: then the state has lost
    # its rest state and is on the way to another one.
    measured = energy(spectrum.noise * spectrum.response * radius)
    known = jnp.minimum(measured, (1 + spread) * energy(deviation_in_coefficient(noise, points)))
    lost = measured - known
    # Real noise is real where the powers of β are: in the mean, and in the alternating coefficient.
    order = np.arange(1, points + 1)
    twice = 1 + ((order == points) | (2 * order == points)) if points > 2 else np.ones(2)
    tiny = jnp.finfo(known.dtype).tiny ** 0.5
    left = jnp.asarray(twice).astype(known.dtype) * known
    above = jnp.stack(energies) - left
    first = jnp.maximum(jnp.maximum(above[0], left[0]), tiny)
    relative = jnp.sqrt(jnp.maximum(above, 0) / first)
    hidden = jnp.sqrt(spread * left / first)
    aliasing, _, seen = extrapolate(relative[:, None], hidden[:, None])
    # Nothing seen: as much as two coefficients in a row can hide; one alone may vanish for a symmetry's sake.
    # And where noise could hide anything, a larger circle is the better guess.
    most = jnp.minimum(hidden[1], _ANYTHING) ** (points / 2)
    away = jnp.sqrt(lost / first)
    outside = jnp.hypot(jnp.where(seen[0], aliasing[0], 0), away) >= OUTSIDE
    return Pooled(
        jnp.mean(radius),
        jnp.maximum(jnp.hypot(jnp.where(seen[0], aliasing[0], most), away), tiny),
        jnp.maximum(jnp.sqrt(known / first), tiny),
        seen[0],
        jnp.all(there) & ~outside,
        # A flat spectrum is that of states that do not come back to where they were.
        jnp.where(seen[0] & outside, jnp.maximum(lost, above[-1]), lost),
        jnp.mean(there.astype(radius.dtype)),
    )

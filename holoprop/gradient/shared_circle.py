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
from holoprop.gradient.expectation import NEAREST, CircleMemory, Expectation, balanced
from holoprop.gradient.turn import deviation_in_coefficient
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import noise_in_state

_CHANCE = 4.0
"""A coefficient is seen if its energy is above that of noise by so many standard deviations."""
_UNSURE = 0.1
"""How far the energy of noise itself may be off, relative."""
_ANYTHING = 0.3
"""A coefficient that is not seen is taken to be no larger than this, relative to the first, whatever the noise."""
_OUTSIDE = 0.4
"""Aliasing as large as this says that some sample's circle lies beyond its radius of convergence."""
_CAUTION = 0.85
"""Circles are so much smaller than seems best: beyond it aliasing grows far faster than noise falls."""
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
_GAIN = 2.0
"""A second circle is settled if it makes the predicted error smaller by this factor."""


def settle_on_shared_circle(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    points: int,
    tolerance: float | None,
    solver: AbstractSolver,
    memory: CircleMemory,
    expected: Expectation,
    key: PRNGKeyArray | None,
) -> tuple[Circle, CircleMemory]:
    """Settle on the circle with the smallest predicted error of the mean gradient; arguments as the noiseless form."""
    keys = (None, None) if key is None else tuple(jax.random.split(key))
    deviation = noise_in_state(problem, free.state, solver)
    start = expected.best_radius(points)
    first = settle_on_circle(problem, target, free, points, start, solver, key=keys[0])
    said = pooled(first, points, problem.size, deviation)
    radius, limit = _better_radius(said, points)
    alias, noise, ratio = said.aliasing, said.noise, radius / said.radius
    moves = jnp.hypot(alias, noise) > _GAIN * jnp.hypot(alias * ratio**points, noise / ratio)
    if tolerance is not None:
        moves = moves & (jnp.hypot(alias, noise) > tolerance)
    moves = moves | ~said.inside

    def again(first: Circle) -> tuple[Circle, Bool[Array, ""]]:
        at = jnp.full_like(start, radius)
        second = settle_on_circle(problem, target, free, points, at, solver, key=keys[1])
        # Where noise by itself drives states from rest to rest, a smaller circle only makes that weigh more.
        left = pooled(second, points, problem.size, deviation).lost
        helped = said.inside | (left < _CURED * said.lost)
        return jax.tree.map(lambda new, old: jnp.where(helped, new, old), second, first), helped

    circle, helped = lax.cond(moves, again, lambda first: (first, jnp.ones_like(moves)), first)
    limit = jnp.where(helped, limit, said.radius / NEAREST)
    return circle, _learnt(said, limit, memory, expected)


def _better_radius(said: "Pooled", points: int) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the radius of the smallest predicted error, and the radius of convergence."""
    retreat = _RETREAT * said.radius
    limit = jnp.where(said.inside, said.radius * said.aliasing ** (-1 / points), retreat / NEAREST)
    best = _CAUTION * said.radius * balanced(said.noise, jnp.log(said.aliasing), points)
    best = jnp.minimum(best, jnp.where(said.seen, NEAREST * limit, _GROWTH * said.radius))
    best = jnp.where(said.inside, best, retreat)
    return best, jnp.maximum(limit, best / NEAREST)


def _learnt(said: "Pooled", limit: Float[Array, ""], memory: CircleMemory, expected: Expectation) -> CircleMemory:
    pull = expected.pull
    log_limit = jnp.log(limit * jnp.mean(pull.curvature))
    log_floor = jnp.log(said.noise * said.radius * jnp.mean(pull.norm))
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
    """What a circle says of its batch, scalars, at the mean radius `r` of its samples.

    **Attributes:** `radius`: `r`; `aliasing`: the relative error for want of points, or the most that could hide in the
    noise; `noise`: that due to noise; `seen`: whether any coefficient beyond the first stands out of it; `inside`:
    whether every sample has states, and follows its nudge; `lost`: the energy of what neither nudge nor noise explains.
    """

    radius: Float[Array, ""]
    aliasing: Float[Array, ""]
    noise: Float[Array, ""]
    seen: Bool[Array, ""]
    inside: Bool[Array, ""]
    lost: Float[Array, ""]


def pooled(circle: Circle, points: int, neurons: int, deviation: Float[Array, " batch"]) -> Pooled:
    """Return what all samples together say; `neurons`: of one sample; `deviation`: of its state, expected of noise."""
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
    noise = jnp.minimum(measured, (1 + spread) * energy(deviation_in_coefficient(deviation, points)))
    lost = measured - noise
    # Real noise is real where the powers of β are: in the mean, and in the alternating coefficient.
    order = np.arange(1, points + 1)
    twice = 1 + ((order == points) | (2 * order == points)) if points > 2 else np.ones(2)
    left = jnp.asarray(twice).astype(noise.dtype) * noise
    above = jnp.stack(energies) - left
    first = jnp.maximum(above[0], left[0])
    relative = jnp.sqrt(jnp.maximum(above, 0) / first)
    hidden = jnp.sqrt(spread * left / first)
    aliasing, _, seen = extrapolate(relative[:, None], hidden[:, None])
    # Nothing seen: as much as two coefficients in a row can hide; one alone may vanish for a symmetry's sake.
    # And where noise could hide anything, a larger circle is the better guess.
    most = jnp.minimum(hidden[1], _ANYTHING) ** (points / 2)
    known = jnp.hypot(jnp.where(seen[0], aliasing[0], 0), jnp.sqrt(lost / first))
    tiny = jnp.finfo(noise.dtype).tiny ** 0.5
    return Pooled(
        jnp.sum(radius * weight),
        jnp.maximum(jnp.hypot(jnp.where(seen[0], aliasing[0], most), jnp.sqrt(lost / first)), tiny),
        jnp.maximum(jnp.sqrt(noise / first), tiny),
        seen[0],
        jnp.all(there) & (known < _OUTSIDE),
        # A flat spectrum is that of states that do not come back to where they were.
        jnp.where(seen[0] & (known >= _OUTSIDE), jnp.maximum(lost, above[-1]), lost),
    )

"""The automatic circle under noise: one radius for the batch, from what all samples show together.

What a single step shows is uncertain; the memory averages it over steps. States that neither nudge nor noise explains
have lost their rest state. If the nudge is to blame, a smaller circle with the same noise cures that; if it does not,
noise alone drives them from rest to rest, and that is noise like any other: a larger circle makes it weigh less.
"""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from holoprop.gradient.batch_spectrum import BatchSpectrum, MeanSquares, mean_squares
from holoprop.gradient.circle import Circle, settle_on_circle
from holoprop.gradient.expectation import GAIN, NEAREST, CircleMemory, Expectation, balanced
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver

Choice = TypeVar("Choice", bound=PyTree)

_CAUTION = 0.85
"""A second circle is so much smaller than seems best: beyond it aliasing grows far faster than noise falls."""
_RETREAT = 0.3
"""How much smaller the circle becomes if it is too large."""
_STEP_BACK = 0.5
"""The same if only a few samples are astray."""
_GROWTH = 4.0
"""How much larger a circle becomes at most."""
_BLEND = 0.25
"""How much of what one step shows goes into the memory."""
_HASTE = 0.5
"""The same if the circle was too large for all samples, or too small."""
_CLIMB = 2.0
"""How much larger the circle becomes if it is not its radius that makes it bad."""


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
    start, noise = expected.best_radius(points), expected.noise

    def look(circle: Circle) -> MeanSquares:
        return mean_squares(circle, points, problem.size, noise, expected)

    first = settle_on_circle(problem, target, free, points, start, solver, key=key, noise=noise)
    found = look(first)
    said = found.spectrum()
    best, _ = better_radius(said, points)
    ratio = best / said.radius
    gains = jnp.hypot(said.aliasing, said.noise) > GAIN * jnp.hypot(said.aliasing * ratio**points, said.noise / ratio)
    # A few samples astray, which a somewhat smaller circle might bring back.
    strays = said.inside & (said.lost > GAIN * said.noise_in_mean / _STEP_BACK)
    follow = said.inside & ~strays
    radius = jnp.where(strays, _STEP_BACK * said.radius, best)
    moves = gains | strays
    if tolerance is not None:
        moves = moves & (said.error > tolerance)
    moves = moves | ~said.inside

    def again(first: Circle) -> tuple[Circle, Lesson]:
        # The same noise, so that what differs is the radius's doing.
        at = jnp.full_like(start, radius)
        second = settle_on_circle(problem, target, free, points, at, solver, key=key, noise=noise)
        now = look(second).spectrum()
        better = (now.arrived > said.arrived) | ((now.arrived == said.arrived) & (now.error < said.error))
        # Samples astray make the circle of all smaller by their share only.
        back = Lesson(now, radius / NEAREST, _HASTE * said.astray, jnp.zeros_like(better))
        onward = Lesson.of(now, points)
        # What is lost on the smaller circle too is not the nudge's doing: better a larger one.
        climb = Lesson(
            found.spectrum(noise=now.lost),
            _CLIMB * said.radius / NEAREST,
            jnp.full_like(radius, _HASTE),
            jnp.zeros_like(better),
        )
        stay = Lesson(said, said.radius / NEAREST, jnp.full_like(radius, _BLEND), jnp.zeros_like(better))
        return _where(better, (second, _where(follow, onward, back)), (first, _where(said.inside, stay, climb)))

    circle, lesson = lax.cond(moves, again, lambda first: (first, Lesson.of(said, points)), first)
    return circle, _learnt(lesson, expected)


class Lesson(eqx.Module):
    """What a step teaches.

    **Attributes:** `said`: by the circle that was taken; `limit`: the radius of convergence, or, with `at_least`, a
    lower bound; `share`: how much of it goes into the memory.
    """

    said: BatchSpectrum
    limit: Float[Array, ""]
    share: Float[Array, ""]
    at_least: Bool[Array, ""]

    @classmethod
    def of(cls, said: BatchSpectrum, points: int) -> "Lesson":
        """Return what a circle that samples can follow teaches."""
        _, limit = better_radius(said, points)
        return cls(said, limit, jnp.full_like(limit, _BLEND), ~said.seen & said.inside)


def better_radius(said: BatchSpectrum, points: int) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the radius of the smallest predicted error, and the radius of convergence."""
    retreat = _RETREAT * said.radius
    limit = jnp.where(said.inside, said.radius * said.aliasing ** (-1 / points), retreat / NEAREST)
    best = _CAUTION * said.radius * balanced(said.noise, jnp.log(said.aliasing), points)
    best = jnp.minimum(best, jnp.where(said.seen, NEAREST * limit, _GROWTH * said.radius))
    best = jnp.where(said.inside, best, retreat)
    return best, jnp.maximum(limit, best / NEAREST)


def _learnt(lesson: Lesson, expected: Expectation) -> CircleMemory:
    said, memory, pull = lesson.said, expected.memory, expected.pull
    log_limit = jnp.log(lesson.limit * jnp.mean(pull.curvature))
    log_floor = jnp.log(said.noise * said.radius * jnp.mean(pull.norm))
    assumed = jnp.where(memory.known, memory.log_floor, jnp.log(jnp.mean(expected.floor) * jnp.mean(pull.norm)))
    log_floor = jnp.where(said.arrived > 0, log_floor, assumed)
    # What was seen has noise in it.
    blended = memory.log_limit + lesson.share * (log_limit - memory.log_limit)
    blended = jnp.where(lesson.at_least, jnp.maximum(memory.log_limit, log_limit), blended)
    # Squares are averaged, not their logarithms: what is rare and large counts as it does in the error.
    mean = jnp.logaddexp(jnp.log1p(-_BLEND) + 2 * memory.log_floor, jnp.log(_BLEND) + 2 * log_floor) / 2
    response = memory.log_response + _BLEND * (said.log_response - memory.log_response)
    return CircleMemory(
        jnp.where(memory.known, blended, log_limit),
        jnp.where(memory.known, mean, log_floor),
        jnp.where(memory.known, response, said.log_response),
        jnp.ones_like(memory.known),
    )


def _where(condition: Bool[Array, ""], new: Choice, old: Choice) -> Choice:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)

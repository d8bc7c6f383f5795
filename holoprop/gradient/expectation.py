"""What is expected of each sample before its circle is settled: from the memory of earlier steps, or from a probe.

Under noise, in which a probe would drown, something is assumed at the first step, and all samples get the same.

What carries over from sample to sample is not the radius of convergence `R` but `R` in units of the sample's own cost:
a sample that has been learned pulls weakly on the outputs, and takes a nudge larger by as much.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from holoprop.gradient.circle import settle_on_circle
from holoprop.gradient.nudged import read_out
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import is_noisy, noise_in_state

POINTS = (2, 4, 8, 16)
"""The numbers of points that `points="auto"` chooses from."""
NEAREST = 0.7
"""A circle comes at most this near to the estimated radius of convergence."""
FIRST_LIMIT = 1.0
"""The radius of convergence that is assumed before anything is known."""
OUTSIDE = 0.4
"""A circle whose aliasing is predicted to be this large may lie beyond the radius of convergence."""
GAIN = 2.0
"""A second circle is settled where it makes the predicted error smaller by this factor."""
_FIRST_RESPONSE = 0.3
"""The response, relative to the state's size, that is assumed where a probe would drown in noise."""
_PROBE = 30.0
"""The probe's nudge, in units of the square root of the relative error of the states."""
_SEEN = 3.0
"""How many times its error the probe's second coefficient must be to say anything."""
_PROBE_TRUST = 0.5
"""The radius of convergence that the probe suggests is taken for this much of it, for more points than it has."""


class CircleMemory(eqx.Module):
    """What the automatic circle remembers from step to step.

    **Attributes** (means over the batch, weighted with the samples' responses): `log_limit`: of `log(h R)`, with the
    radius of convergence `R` and the curvature `h` of the cost along its own gradient (`pull_of`); `log_floor`: of
    `log(g τ)`, with the error `τ` at radius 1 that is due to tolerance and noise, and the norm `g` of that gradient;
    `log_response`: of the logarithm of the state's response over `g`, which is used under noise; `known`: whether there
    was a step.
    """

    log_limit: Float[Array, ""]
    log_floor: Float[Array, ""]
    log_response: Float[Array, ""]
    known: Bool[Array, ""]

    @classmethod
    def fresh(cls, dtype: jnp.dtype) -> "CircleMemory":
        """Return the memory before the first step."""
        return cls(jnp.zeros((), dtype), jnp.zeros((), dtype), jnp.zeros((), dtype), jnp.zeros((), bool))


class Pull(eqx.Module):
    """How a sample's cost pulls on its logits at the free state: `norm`, `‖∇C‖`, and `curvature`, `‖∇²C ∇C‖/‖∇C‖`."""

    norm: Float[Array, " batch"]
    curvature: Float[Array, " batch"]


class Expectation(eqx.Module):
    """What is expected of each sample before its circle is settled.

    **Attributes:** `memory`: of the last step, on which it rests; `floor`: `(batch,)`, `τ`, the error at radius 1 that
    tolerance and noise make; `limit`: `(batch,)`, the radius of convergence; `pull`: of the cost; `noise`: `(batch,)`,
    how far noise makes a state deviate; `probed`: whether a probe's two points are all that is known.
    """

    memory: CircleMemory
    floor: Float[Array, " batch"]
    limit: Float[Array, " batch"]
    pull: Pull
    noise: Float[Array, " batch"]
    probed: Bool[Array, ""]

    def best_radius(self, points: int) -> Float[Array, " batch"]:
        """Return the radius at which the parts of the error balance, for an aliasing error of `(r/R)^N`."""
        limit = self._trusted(points)
        return jnp.minimum(balanced(self.floor, -points * jnp.log(limit), points), NEAREST * limit)

    def best_error(self, points: int) -> Float[Array, ""]:
        """Return the error of the mean gradient at those radii, samples weighted with how hard their cost pulls."""
        radius = self.best_radius(points)
        error = jnp.hypot((radius / self._trusted(points)) ** points, self.floor / radius)
        return jnp.sum(error * self.pull.norm) / jnp.sum(self.pull.norm)

    def _trusted(self, points: int) -> Float[Array, " batch"]:
        """The limit as far as it can be trusted: two points see nothing of what more of them would suffer from."""
        return self.limit if points == 2 else jnp.where(self.probed, _PROBE_TRUST, 1.0) * self.limit


def expect(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    free: Rest,
    solver: AbstractSolver,
    memory: CircleMemory,
) -> Expectation:
    """Return what the memory says of each sample, or else a probe, two tiny real nudges; under noise an assumption.

    **Arguments:** `free`: the free rest states; `solver`: of the nudged states; `memory`: of the last step.
    """
    pull = pull_of(problem, target, free)
    dtype = free.residual.dtype
    eps = float(jnp.finfo(dtype).eps)
    size = jnp.sqrt(sum(jnp.sum(s.reshape(s.shape[0], -1) ** 2, -1) for s in free.state))
    noise = noise_in_state(problem, free.state, solver)
    lost = jnp.hypot(free.residual, noise)
    guess = jnp.clip(jnp.maximum(lost, eps * size) / jnp.maximum(size, eps), 1e-13, 0.4)

    noisy = is_noisy(solver)

    def remembered() -> tuple[Array, Array]:
        norm, curvature = pull.norm, pull.curvature
        if noisy:  # one radius for all
            norm, curvature = jnp.full_like(norm, jnp.mean(norm)), jnp.full_like(norm, jnp.mean(curvature))
        return jnp.exp(memory.log_floor) / norm, jnp.exp(memory.log_limit) / curvature

    def probed() -> tuple[Array, Array]:
        if noisy:
            return jnp.full_like(guess, jnp.mean(guess)) / _FIRST_RESPONSE, jnp.full_like(guess, FIRST_LIMIT)
        # Large enough for the second coefficient to show, at a radius of convergence of a few units.
        nudge = _PROBE * jnp.sqrt(guess)
        probe = settle_on_circle(problem, target, free, 2, nudge, solver).spectrum
        seen = probe.shift > _SEEN * (probe.tolerance * probe.response * nudge + free.residual)
        limit = jnp.where(seen, probe.radius_of_convergence, FIRST_LIMIT / _PROBE_TRUST)
        return probe.tolerance * nudge, jnp.where(jnp.isfinite(limit), limit, FIRST_LIMIT / _PROBE_TRUST)

    floor, limit = lax.cond(memory.known, remembered, probed)
    probe = ~memory.known & ~jnp.asarray(noisy)
    return Expectation(memory, floor.astype(dtype), limit.astype(dtype), pull, noise, probe)


def choose_points(expected: Expectation, tolerance: float | None) -> Int[Array, ""]:
    """Return the index in `POINTS` of the fewest points that will do.

    Those whose expected error is within `tolerance`; without one, those beyond which twice as many do not halve the
    error. If none meets the tolerance, the best.
    """
    errors = jnp.stack([expected.best_error(points) for points in POINTS])
    enough = errors <= tolerance if tolerance is not None else errors <= 2 * jnp.append(errors[1:], errors[-1])
    return jnp.where(jnp.any(enough), jnp.argmax(enough), jnp.argmin(errors)).astype(jnp.int32)


def pull_of(problem: FixedPoint, target: Float[Array, "batch classes"], free: Rest) -> Pull:
    """Return how each sample's cost pulls on its logits at the free state."""

    def sample(logits: Array, target: Array) -> tuple[Array, Array]:
        def gradient(o: Array) -> Array:
            return jax.grad(lambda logits: problem.net.cost(logits, target))(o)

        force = gradient(logits)
        return force, jax.jvp(gradient, (logits,), (force,))[1]

    logits, _ = read_out(problem.net, free.state, target)
    force, curved = jax.vmap(sample)(logits, target)
    tiny = jnp.finfo(logits.dtype).tiny ** 0.5
    size = jnp.maximum(jnp.linalg.norm(force, axis=-1), tiny)
    return Pull(size, jnp.maximum(jnp.linalg.norm(curved, axis=-1) / size, tiny))


def balanced(floor: Float[Array, "*#batch"], log_alias: Float[Array, "*#batch"], points: int) -> Float[Array, "*batch"]:
    """Return the `r` at which `e(r)² = (κ r^N)² + (τ/r)²` is smallest, `(τ/(√N κ))^{1/(N+1)}`, from `τ` and `log κ`."""
    return jnp.exp((jnp.log(floor) - log_alias - 0.5 * float(np.log(points))) / (points + 1))

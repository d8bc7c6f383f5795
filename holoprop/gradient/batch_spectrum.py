"""What all samples of a noisy circle say together: mean squares over the batch, less what noise leaves there.

Of a single sample hardly more than the first coefficient stands out from the noise, and what seems to is often luck.
The mean square of each coefficient over the whole batch is far better known. It is set in relation to the response of a
typical sample, and samples that have lost their rest state count by themselves, for what they do to the mean gradient.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from holoprop.gradient.circle import Circle, arrived
from holoprop.gradient.expectation import OUTSIDE, Expectation
from holoprop.gradient.spectrum import extrapolate
from holoprop.gradient.turn import deviation_in_coefficient

_CHANCE = 4.0
"""A coefficient is seen if its mean square is above that of noise by so many standard deviations."""
_UNSURE = 0.1
"""How far the mean square of noise itself may be off, relative."""
_ANYTHING = 0.3
"""A coefficient that is not seen is taken to be no larger than this, relative to the first, whatever the noise."""


class BatchSpectrum(eqx.Module):
    """What a circle of radius `r` says of its batch, scalars; errors are those of the mean gradient.

    **Attributes:** `radius`: `r`; `aliasing`: the relative error for want of points, or the most that could hide in the
    noise, and that of samples astray; `noise`: that due to noise, of a single sample's gradient; `noise_in_mean`: what
    the mean over the batch leaves of it; `seen`: whether any coefficient beyond the first stands out of it; `inside`:
    whether the samples have states, and follow their nudge; `astray`: the share of those that do not; `lost`: the error
    that they cause; `arrived`: the share of samples that have states; `log_response`: the logarithm of a typical
    sample's first coefficient over `r` and the norm of its cost's gradient.
    """

    radius: Float[Array, ""]
    aliasing: Float[Array, ""]
    noise: Float[Array, ""]
    noise_in_mean: Float[Array, ""]
    seen: Bool[Array, ""]
    inside: Bool[Array, ""]
    astray: Float[Array, ""]
    lost: Float[Array, ""]
    arrived: Float[Array, ""]
    log_response: Float[Array, ""]

    @property
    def error(self) -> Float[Array, ""]:
        """The predicted relative error."""
        return jnp.hypot(self.aliasing, self.noise_in_mean)


class MeanSquares(eqx.Module):
    """Mean squares over the samples that follow their nudge, at the radius `radius`.

    **Attributes:** `coefficients`: `(points,)`, of the state's coefficients `1 … N − 1` and of the mean's shift;
    `signal`: of the first one, as a typical sample has it, and `typical`, the same over `r` and the cost's pull;
    `known`: of what noise leaves in a coefficient; `lost`: the mean, not squared, of what neither nudge nor noise
    explains; `twice`: `(points,)`, 2 for coefficients in which real noise is real; `spread`: how uncertain `known` is,
    relative; `astray`, `arrived`: shares of samples; `samples`: how many there are.
    """

    radius: Float[Array, ""]
    coefficients: Float[Array, " points"]
    signal: Float[Array, ""]
    typical: Float[Array, ""]
    known: Float[Array, ""]
    lost: Float[Array, ""]
    twice: Float[Array, " points"]
    spread: Float[Array, ""]
    astray: Float[Array, ""]
    arrived: Float[Array, ""]
    samples: int = eqx.field(static=True)

    def spectrum(self, noise: Float[Array, ""] | float = 0.0) -> BatchSpectrum:
        """Return what all samples together say, if so much of the error that is `lost` is noise after all."""
        tiny = jnp.finfo(self.known.dtype).tiny ** 0.5
        left = self.twice * self.known
        above = jnp.maximum(self.coefficients - left, 0)
        first = jnp.maximum(jnp.where(self.signal > 0, self.signal, jnp.maximum(above[0], left[0])), tiny)
        relative = jnp.sqrt(above / first)
        hidden = jnp.sqrt(self.spread * left / first)
        aliasing, _, seen = extrapolate(relative[:, None], hidden[:, None])
        # Nothing seen: as much as two coefficients in a row can hide; one alone may vanish for a symmetry's sake.
        # And where noise could hide anything, a larger circle is the better guess.
        most = jnp.minimum(hidden[1], _ANYTHING) ** (self.twice.size / 2)
        lost = self.lost / jnp.sqrt(first)
        away, blamed = jnp.maximum(lost - noise, 0), jnp.minimum(noise, lost)
        each = jnp.sqrt(self.known / first)
        outside = jnp.hypot(jnp.where(seen[0], aliasing[0], 0), away) >= OUTSIDE
        return BatchSpectrum(
            self.radius,
            jnp.maximum(jnp.hypot(jnp.where(seen[0], aliasing[0], most), away), tiny),
            jnp.maximum(jnp.hypot(each, blamed), tiny),
            jnp.hypot(each / self.samples**0.5, blamed),
            seen[0],
            (self.arrived == 1) & ~outside,
            self.astray,
            lost,
            self.arrived,
            jnp.log(jnp.maximum(self.typical, tiny)) / 2,
        )


def mean_squares(
    circle: Circle, points: int, neurons: int, noise: Float[Array, " batch"], expected: Expectation
) -> MeanSquares:
    """Return the mean squares of a circle.

    **Arguments:** `circle`: settled with noise, nudges `(points, batch)`, one radius for all; `points`: `N`; `neurons`:
    of one sample; `noise`: `(batch,)`, the deviation of its state that noise is expected to cause; `expected`: whose
    memory may know of more, and of the response.
    """
    spectrum, radius = circle.spectrum, jnp.abs(circle.betas[0])
    there = arrived(circle.nudged)
    pull, memory, size = expected.pull.norm, expected.memory, jnp.mean(radius)
    amplitudes = jnp.concatenate([spectrum.norms[:, 1:points], spectrum.shift[:, None]], 1)
    spread = jnp.asarray(_CHANCE * (2 / (radius.size * neurons)) ** 0.5 + _UNSURE).astype(radius.dtype)
    possible = (1 + spread) * jnp.mean(deviation_in_coefficient(noise, points) ** 2)
    # Of a sample that has lost its rest state no power of β stands out.
    highest = jnp.max(amplitudes[:, 1:], 1)
    wrong = there & (highest**2 > jnp.maximum(OUTSIDE**2 * amplitudes[:, 0] ** 2, 2 * _CHANCE * possible))
    follows = there & ~wrong

    def mean(values: Float[Array, " batch"], of: Bool[Array, " batch"]) -> Float[Array, ""]:
        return jnp.sum(jnp.where(of, values, 0)) / jnp.maximum(jnp.sum(of.astype(radius.dtype)), 1)

    typical = _weighted_median((amplitudes[:, 0] ** 2 - possible) / (radius * pull) ** 2, jnp.where(there, pull**2, 0))
    scale = size**2 * jnp.mean(pull**2)
    known_response = jnp.where(memory.known, jnp.exp(2 * memory.log_response), 0)
    typical = jnp.where(typical * scale > possible, typical, known_response)
    # What does not fall in with the conjugate's state is noise, unless noise cannot do that: then the state has lost
    # its rest state and is on the way to another one.
    measured = mean((spectrum.noise * spectrum.response * radius) ** 2, follows)
    remembered = jnp.where(memory.known, (jnp.mean(expected.floor) / size) ** 2 * typical * scale, 0)
    known = jnp.minimum(measured, jnp.maximum(possible, remembered))
    # Real noise is real where the powers of β are: in the mean, and in the alternating coefficient.
    order = np.arange(1, points + 1)
    twice = 1 + ((order == points) | (2 * order == points)) if points > 2 else np.ones(2)
    return MeanSquares(
        size,
        jnp.stack([mean(amplitudes[:, j] ** 2, follows) for j in range(points)]),
        typical * scale,
        typical,
        known,
        jnp.hypot(jnp.sqrt(measured - known), mean(jnp.where(wrong, highest, 0), there)),
        jnp.asarray(twice).astype(radius.dtype),
        spread,
        mean(wrong.astype(radius.dtype), there) + 1 - mean(there.astype(radius.dtype), jnp.ones_like(there)),
        jnp.mean(there.astype(radius.dtype)),
        radius.size,
    )


def _weighted_median(values: Float[Array, " batch"], weights: Float[Array, " batch"]) -> Float[Array, ""]:
    order = jnp.argsort(values)
    reached = jnp.cumsum(weights[order])
    return values[order][jnp.argmax(2 * reached >= reached[-1])]

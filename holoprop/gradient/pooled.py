"""What a noisy batch shows as a whole, where noise hides the samples.

Of a single sample hardly more than the first coefficient stands out from the noise, and what seems to is often luck.
The energy of each coefficient over the whole batch, less what noise leaves there, is far better known: the automatic circle
takes its one radius for the batch from that.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from holoprop.gradient.certificate import extrapolate
from holoprop.gradient.circle import Circle, arrived
from holoprop.gradient.turn import deviation_in_coefficient

_CHANCE = 4.0
"""A coefficient is seen if its energy is above that of noise by so many standard deviations."""
_UNSURE = 0.1
"""How far the energy of noise itself may be off, relative."""


class Pooled(eqx.Module):
    """What a circle says of its batch, scalars, at the mean radius `r` of its samples.

    **Attributes:** `radius`: `r`; `aliasing`: the relative error for want of points, or the most that could hide in the
    noise; `noise`: that due to noise; `seen`: whether any coefficient beyond the first stands out of it; `inside`:
    whether every sample has states, and follows its nudge.
    """

    radius: Float[Array, ""]
    aliasing: Float[Array, ""]
    noise: Float[Array, ""]
    seen: Bool[Array, ""]
    inside: Bool[Array, ""]


def pooled(circle: Circle, points: int, neurons: int, deviation: Float[Array, " batch"], outside: float) -> Pooled:
    """Return what all samples together say; `neurons`: of one sample; `deviation`: of its state, expected of noise."""
    spectrum, radius = circle.spectrum, jnp.abs(circle.betas[0])
    there = arrived(circle.nudged)
    weight = there.astype(radius.dtype) / jnp.maximum(jnp.sum(there), 1)

    def energy(amplitude: Array) -> Array:
        return jnp.sum(jnp.where(there, amplitude**2, 0) * weight)

    energies = [energy(spectrum.norms[:, j]) for j in range(1, points)] + [energy(spectrum.shift)]
    spread = _CHANCE * (2 / (radius.size * neurons)) ** 0.5 + _UNSURE
    # What does not fall in with the conjugate's state is noise, unless noise cannot do that: then the state has lost its
    # rest state and is on the way to another one.
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
    most = hidden[1] ** (points / 2)
    known = jnp.where(seen[0], aliasing[0], 0)
    return Pooled(
        jnp.sum(radius * weight),
        jnp.hypot(jnp.where(seen[0], aliasing[0], most), jnp.sqrt(lost / first)),
        jnp.sqrt(noise / first),
        seen[0],
        jnp.all(there) & (jnp.hypot(known, jnp.sqrt(lost / first)) < outside),
    )

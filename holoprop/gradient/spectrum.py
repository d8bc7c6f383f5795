"""What the states on a circle tell: their spectrum, the radius of convergence, the predicted error.

On the circle the rest state is a power series, `s_β = Σ_j a_j β^j`; its discrete Fourier coefficients are

    ŝ_j = (1/N) Σ_k s_{β_k} e^{−2πijk/N} = c_j + c_{j+N} + …,        c_j = a_j r^j,   ‖c_j‖ ~ j^{−3/2} (r/R)^j,

the last for the square-root branch points at which rest states end. The estimate is wrong by `c_{N+1}` relative to
`c_1`. That coefficient is not seen, but its neighbour is: the free state is known, and `ŝ_0 − s_0 = c_N + c_{2N} + …`.
One step of extrapolation remains, with the ratio `r/R` read off the measured coefficients. The same spectrum shows how
large a circle would have been best.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from holoprop.gradient.contour import half_circle
from holoprop.network.base import State
from holoprop.settling.rest import Rest

_ENVELOPE = 1.2
"""`c_j` falls a little faster than a geometric sequence: `j^{−1.2}` lies between a square root's and a pole's law."""
_SAFETY = 1.2
_VISIBLE = 3.0
"""A coefficient counts as measured if it is so many times what tolerance and noise leave in it."""
_MOVING = 0.03
"""A state whose update would change it by this share of the free state's norm is not near any rest state."""
_CLEAR = 10.0
"""The radius of convergence is read off coefficients that are measured so many times better than visible."""
_SLOWEST = 0.98
"""Contraction is not believed to be slower than this: near 1 the few updates it is seen in say little."""
_SOLVER = 3.0
"""State errors of so many residuals are expected where the contraction was not observed."""


class Spectrum(eqx.Module):
    """What the states on a circle of `N` nudges tell, per sample.

    **Attributes:**

    - `norms`: `(batch, N)`, `‖ŝ_j‖` for `j = 0 … N−1`, in units of activity.
    - `shift`: `(batch,)`, `‖ŝ_0 − s_0‖ ≈ ‖c_N‖`.
    - `response`: `(batch,)`, `‖ŝ_1‖/r`, in units of activity per nudge: the size of the response that the gradient is
      read from, so how much the sample counts in the batch; where it drowns, the least that would not have.
    - `radius_of_convergence`: `(batch,)`, the estimated `R`, in units of the nudge; NaN where no coefficient beyond the
      first is above tolerance and noise.
    - `aliasing`: `(batch,)`, the predicted relative error `≈ (r/R)^N` of the gradient for want of points; 0 where `R`
      is not known, since then it is nothing beside the other parts. Where a state has no rest to come to, what
      it still moves is counted here.
    - `tolerance`: `(batch,)`, the part that is due to solver tolerance and rounding, `∝ 1/r`.
    - `noise`: `(batch,)`, the part that is due to noise, `∝ 1/r`.
    - `negative`: `(batch,)`, the share of negative frequencies, `(Σ_{j<0} ‖ŝ_j‖² / Σ_{j≠0} ‖ŝ_j‖²)^{1/2}` with
      `j = −1, −2` in the places `N−1, N−2`; NaN for `N < 6`, where they cannot be told from positive ones.
    """

    norms: Float[Array, "batch points"]
    shift: Float[Array, " batch"]
    response: Float[Array, " batch"]
    radius_of_convergence: Float[Array, " batch"]
    aliasing: Float[Array, " batch"]
    tolerance: Float[Array, " batch"]
    noise: Float[Array, " batch"]
    negative: Float[Array, " batch"]

    @property
    def predicted_error(self) -> Float[Array, " batch"]:
        """The predicted relative error of each sample's gradient; above 1 it means that nothing is known of it."""
        return jnp.sqrt(self.aliasing**2 + self.tolerance**2 + self.noise**2)


def circle_spectrum(
    free: Rest,
    nudged: State,
    mismatch: State,
    betas: Inexact[Array, "points batch"],
    points: int,
    noise: Float[Array, " batch"] | None = None,
    contraction: Float[Array, " batch"] | None = None,
) -> Spectrum:
    """Return what the states on a half circle tell about the estimate.

    **Arguments:**

    - `free`: the free rest states; `nudged`: the states at `betas`; `mismatch`: what an update would add to those,
      `σ(a(s)) − s`.
    - `betas`: `β_k` with non-negative imaginary part, in the order of `half_circle(points)`, `(…, batch)`.
    - `points`: `N`, of the whole circle.
    - `noise`: `(batch,)`, standard deviation of the noise that is left in the coefficient `ŝ_1` (norm over all
      neurons), or `None`.
    - `contraction`: `(batch,)`, `λ`, the factor by which an update was seen to shrink the residual: the state is wrong
      by about `1/(1 − λ)` residuals. `None`: not observed.
    """
    dtype = free.residual.dtype
    unit, multiplicity = half_circle(points)
    share = multiplicity / points
    powers = jnp.asarray(unit[None] ** -np.arange(points)[:, None] * share).astype(betas.dtype)
    real = free.residual
    squares, errors = jnp.zeros((points, *real.shape), dtype), jnp.zeros((points, *real.shape), dtype)
    size, motion = jnp.zeros_like(real), jnp.zeros_like(betas).real
    for rested, moved, missed in zip(free.state, nudged, mismatch, strict=True):
        # Relative to the free state, so that small responses are not lost in rounding.
        rise = (moved - rested.astype(moved.dtype)).reshape(*moved.shape[:2], -1)
        squares += jnp.sum(jnp.einsum("jk,kbn->jbn", powers, rise).real ** 2, -1)
        errors += jnp.sum(jnp.einsum("jk,kbn->jbn", powers, missed.reshape(rise.shape)).real ** 2, -1)
        motion += jnp.sum(jnp.abs(missed.reshape(rise.shape)) ** 2, -1)
        size += jnp.sum(rested.reshape(rested.shape[0], -1) ** 2, -1)
    coefficients = jnp.sqrt(squares)
    shift = coefficients[0]
    rounding = jnp.maximum(jnp.finfo(size.dtype).eps / 4 * jnp.sqrt(size), jnp.finfo(size.dtype).tiny)
    missed, highest = jnp.sqrt(errors[1] + rounding**2), jnp.sqrt(jnp.max(errors, 0) + rounding**2)
    noise = jnp.zeros_like(size) if noise is None else noise
    solver = jnp.full_like(size, _SOLVER) if contraction is None else 1 / (1 - jnp.clip(contraction, 0, _SLOWEST))
    # A response below what would hide it is not known to be any smaller than that.
    first = jnp.maximum(coefficients[1], jnp.hypot(missed, noise))
    drowned = coefficients[1] <= jnp.hypot(solver * missed, _VISIBLE * noise)
    # ‖ŝ_0‖ of the states themselves, as ŝ_0 ≈ s_0.
    norms = jnp.concatenate([jnp.sqrt(size)[None], coefficients[1:]])
    relative = jnp.concatenate([coefficients[1:] / first, (shift / first)[None]])  # j = 1 … N
    floor = _VISIBLE * jnp.hypot(jnp.maximum(solver / _SOLVER, 1) * highest, noise)
    # The shift alone is measured against the free state, and shares its error.
    of_shift = jnp.asarray(np.arange(1, points + 1) == points, dtype)[:, None]
    floor = jnp.hypot(floor, _VISIBLE * free.residual * of_shift) / first
    # A state that still moves about has lost its rest state, and that is no want of tolerance.
    moving = jnp.max(motion, 0) > _MOVING**2 * size
    floor, tolerance = jnp.where(moving, 0, floor), solver * missed / first
    aliasing, rough, seen = extrapolate(relative, floor)
    _, fine, clear = extrapolate(relative, _CLEAR * floor)
    ratio, seen = jnp.where(clear, fine, rough), moving | (seen & ~drowned)
    aliasing = jnp.where(moving, jnp.hypot(aliasing, tolerance), jnp.where(seen, aliasing, 0))
    radius = jnp.abs(betas[0])
    negative = jnp.full_like(size, jnp.nan)
    if points >= 6:
        negative = jnp.sqrt(jnp.sum(relative[-3:-1] ** 2, 0) / jnp.sum(relative[:-1] ** 2, 0))
    return Spectrum(
        norms=norms.T,
        shift=shift,
        response=first / radius,
        radius_of_convergence=jnp.where(seen, radius / ratio, jnp.nan),
        aliasing=aliasing,
        tolerance=jnp.where(moving, rounding / first, tolerance),
        noise=noise / first,
        negative=negative,
    )


def extrapolate(
    relative: Float[Array, "n batch"], floor: Float[Array, "n batch"]
) -> tuple[Float[Array, " batch"], Float[Array, " batch"], Bool[Array, " batch"]]:
    """Return `‖c_{N+1}‖/‖c_1‖` and `r/R` from the relative coefficients of `j = 1 … N`, and whether there are any.

    Taken from the highest coefficient `J` above the floor and its predecessor, whichever says more: norms oscillate
    where singularities come in conjugate pairs.
    """
    count = relative.shape[0]
    last = jnp.ones(floor.shape[1:], jnp.int32)
    for j in range(3, count + 1):
        last = jnp.where(relative[j - 1] > floor[j - 1], jnp.int32(j - 1), last)

    def at(index: Int[Array, " batch"]) -> Float[Array, " batch"]:
        return jnp.take_along_axis(relative, index[None], 0)[0]

    def ratio_at(index: Int[Array, " batch"]) -> Float[Array, " batch"]:
        order = index.astype(floor.dtype) + 1
        return (at(index) * order**_ENVELOPE) ** (1 / jnp.maximum(order - 1, 1))

    before = last - 1
    ratio = jnp.where(last > 1, jnp.maximum(ratio_at(last), ratio_at(before)), ratio_at(last))
    gap = (count - last).astype(floor.dtype)  # from coefficient J = last + 1 to N + 1
    reach = jnp.maximum(at(last) * ratio**gap, jnp.where(last > 1, at(before) * ratio ** (gap + 1), 0))
    return _SAFETY * reach, ratio, jnp.any(relative[1:] > floor[1:], 0)

"""How good an estimate is, told from the circle itself: spectrum, radius of convergence, predicted error, verdict.

On the circle the rest state is a power series, `s_β = Σ_j a_j β^j`; its discrete Fourier coefficients are

    ŝ_j = (1/N) Σ_k s_{β_k} e^{−2πijk/N} = c_j + c_{j+N} + …,        c_j = a_j r^j,   ‖c_j‖ ~ j^{−3/2} (r/R)^j,

the last for the square-root branch points at which rest states end. The estimate is wrong by `c_{N+1}` relative to
`c_1`. That coefficient is not seen, but its neighbour is: the free state is known, and `ŝ_0 − s_0 = c_N + c_{2N} + …`.
One step of extrapolation remains, with the ratio `r/R` read off the measured coefficients. The same spectrum shows how
large a circle would have been best.
"""

import enum

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from holoprop.gradient.contour import half_circle
from holoprop.network.base import State
from holoprop.settling.rest import Rest, Status

OK_BELOW = 0.1
"""The predicted relative error above which no sample is called `ok`."""
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


class Verdict(enum.IntEnum):
    """What the certificate says of one sample."""

    ok = 0
    """Settled everywhere, and the predicted relative error is below `OK_BELOW`."""
    unsettled = 1
    """The free state or some nudged state did not settle."""
    outside_radius = 2
    """The circle encloses, or comes too near, a singularity of `β ↦ s_β`: a smaller radius is needed."""
    not_holomorphic = 3
    """Negative frequencies where a holomorphic response has none: some part of the network is not holomorphic."""
    drowned = 4
    """The response drowns in solver tolerance or noise: a larger radius or a tighter tolerance is needed."""
    unknown = 5
    """This estimator has no circle to tell its error from."""

    @property
    def words(self) -> str:
        """The verdict in words."""
        return self.name.replace("_radius", " the radius").replace("_", " ")


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


class Certificate(eqx.Module):
    """How far an estimate can be trusted, per sample.

    **Attributes** (`points` nudges were settled; for exact references there are none):

    - `betas`: `(points, batch)`, the nudges that were settled (their complex conjugates come for free).
    - `free_residual`, `free_status`: `(batch,)`, of the free rest state.
    - `point_residual`, `point_status`: `(points, batch)`, of each nudged rest state.
    - `kept`: `(batch,)`, the samples that the means were taken over.
    - `unsettled_share`: scalar, the share of samples of which the free or some nudged state did not settle (for
      `Implicit`: or the adjoint solve failed).
    - `verdict`: `(batch,)` int32, values of `Verdict`.
    - `spectrum`: a `Spectrum`, or `None` for estimators without a circle.

    `text()` says it in one line.
    """

    betas: Inexact[Array, "points batch"]
    free_residual: Float[Array, " batch"]
    free_status: Int[Array, " batch"]
    point_residual: Float[Array, "points batch"]
    point_status: Int[Array, "points batch"]
    kept: Bool[Array, " batch"]
    unsettled_share: Float[Array, ""]
    verdict: Int[Array, " batch"]
    spectrum: Spectrum | None = None

    @property
    def settled(self) -> Bool[Array, " batch"]:
        """The samples whose free state and every nudged state settled."""
        return (self.free_status == Status.settled) & jnp.all(self.point_status == Status.settled, 0)

    @property
    def predicted_error(self) -> Float[Array, " batch"]:
        """The predicted relative error of each sample's gradient, NaN where nothing is known."""
        if self.spectrum is None:
            return jnp.full(self.free_residual.shape, jnp.nan, self.free_residual.dtype)
        return self.spectrum.predicted_error

    @property
    def batch_error(self) -> Float[Array, ""]:
        """The predicted relative error of the mean gradient: of the kept samples', weighted with their responses.

        `Σ_b e_b ‖ŝ_1‖_b/r_b / Σ_b ‖ŝ_1‖_b/r_b`. A sample that has been learned hardly responds, so that its own
        relative error is large and matters little. NaN where nothing is known, or no sample was kept.
        """
        if self.spectrum is None:
            return jnp.full((), jnp.nan, self.free_residual.dtype)
        weight = jnp.where(self.kept, self.spectrum.response, 0)
        return jnp.sum(jnp.where(self.kept, self.predicted_error, 0) * weight) / jnp.sum(weight)

    def padded(self, nudges: int, points: int) -> "Certificate":
        """Return the certificate with so many nudges, the last one repeated, and a spectrum padded with NaN.

        Where the number of points is chosen at run time, all certificates must have the same shapes.
        """

        def repeated(leaf: Array) -> Array:
            return leaf[np.minimum(np.arange(nudges), leaf.shape[0] - 1)]

        spectrum = self.spectrum
        if spectrum is not None:
            missing = ((0, 0), (0, points - spectrum.norms.shape[1]))
            norms = jnp.pad(spectrum.norms, missing, constant_values=jnp.nan)
            spectrum = eqx.tree_at(lambda each: each.norms, spectrum, norms)
        betas = self.betas.astype(jnp.complex128 if self.free_residual.dtype == jnp.float64 else jnp.complex64)
        return Certificate(
            repeated(betas),
            self.free_residual,
            self.free_status,
            repeated(self.point_residual),
            repeated(self.point_status),
            self.kept,
            self.unsettled_share,
            self.verdict,
            spectrum,
        )

    def text(self) -> str:
        """Return one line that says it to a person (host side, not under `jit`)."""
        verdict = np.asarray(self.verdict)
        counts = [f"{int((verdict == v).sum())} {v.words}" for v in Verdict if (verdict == v).any()]
        line = f"{verdict.size} samples: {', '.join(counts)}"
        if self.spectrum is None:
            return line
        radius, error = np.abs(np.asarray(self.betas[0])), np.asarray(self.predicted_error)
        limit = np.asarray(self.spectrum.radius_of_convergence)
        weight = np.asarray(self.spectrum.response)
        floor = np.hypot(self.spectrum.tolerance, self.spectrum.noise)
        cause = "aliasing" if weight @ np.asarray(self.spectrum.aliasing) > weight @ floor else "tolerance and noise"
        return (
            f"{line}; predicted error of the mean gradient {float(self.batch_error):.1e}, mostly {cause} (of a sample: "
            f"median {np.median(error):.1e}, worst {np.max(error):.1e}); circle {_span(radius)}, radius of convergence "
            f"{_span(limit)}"
        )


def certify(
    free: Rest,
    nudged: Rest,
    betas: Inexact[Array, "points batch"],
    unsettled: str,
    spectrum: Spectrum | None = None,
    *,
    solved: Bool[Array, " batch"] | None = None,
) -> Certificate:
    """Return the certificate of a free and a set of nudged rest states under a policy for unsettled samples.

    `solved` says which samples passed whatever else had to be solved; `spectrum` is that of the circle, if any.
    """
    # A time-stepped state has no tolerance to miss, so it does not count as unsettled.
    fine = (free.status == Status.settled) | (free.status == Status.not_applicable)
    every = (nudged.status == Status.settled) | (nudged.status == Status.not_applicable)
    fine = fine & jnp.all(every, 0)
    if solved is not None:
        fine = fine & solved
    return Certificate(
        betas=betas,
        free_residual=free.residual,
        free_status=free.status,
        point_residual=nudged.residual,
        point_status=nudged.status,
        kept=jnp.ones_like(fine) if unsettled == "keep" else fine,
        unsettled_share=jnp.mean((~fine).astype(free.residual.dtype)),
        verdict=_judge(fine, spectrum, exact=solved is not None),
        spectrum=spectrum,
    )


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


def _judge(fine: Bool[Array, " batch"], spectrum: Spectrum | None, *, exact: bool) -> Int[Array, " batch"]:
    if spectrum is None:
        verdict = jnp.full(fine.shape, Verdict.ok if exact else Verdict.unknown, jnp.int32)
        return jnp.where(fine, verdict, jnp.int32(Verdict.unsettled))
    noisy = jnp.hypot(spectrum.tolerance, spectrum.noise) > spectrum.aliasing
    good = spectrum.predicted_error <= OK_BELOW  # false for NaN
    verdict = jnp.where(noisy, jnp.int32(Verdict.drowned), jnp.int32(Verdict.outside_radius))
    if spectrum.norms.shape[1] >= 6:
        # A conjugate-linear part shows at −1 alone; behind a singularity all high coefficients are large.
        first, second = spectrum.norms[:, -1], spectrum.norms[:, -2]
        middle = jnp.max(spectrum.norms[:, 3:-2], 1) if spectrum.norms.shape[1] > 6 else spectrum.norms[:, 3]
        alone = first > 4 * jnp.maximum(second, middle)
        verdict = jnp.where(alone & ~noisy, jnp.int32(Verdict.not_holomorphic), verdict)
        good = good & ~(alone & (first > 1e-2 * spectrum.norms[:, 1]) & ~noisy)
    verdict = jnp.where(good, jnp.int32(Verdict.ok), verdict)
    return jnp.where(fine, verdict, jnp.int32(Verdict.unsettled))


def _span(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "unknown"
    low, high = np.min(known), np.max(known)
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"

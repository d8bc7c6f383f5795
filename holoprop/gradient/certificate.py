"""How good an estimate is: a verdict on each sample, and the parts of its predicted error.

From the circle's own spectrum (`spectrum.py`), from how rest states were reached, and, where the Jacobian is not
symmetric, from the response itself (`asymmetry.py`).
"""

import enum
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from holoprop.gradient.spectrum import Spectrum
from holoprop.settling.rest import Rest, Status

OK_BELOW = 0.1
"""The predicted relative error above which no sample is called `ok`."""


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
    asymmetric = 6
    """The Jacobian is too asymmetric for the response to stand for the error: correct it (`asymmetry="correct"`), or
    train with homeostasis."""
    asymmetry_unknown = 7
    """So asymmetric that not even that error can be predicted: the Jacobian's symmetric part is no scalar product."""

    @property
    def words(self) -> str:
        """The verdict in words."""
        return self.name.replace("_radius", " the radius").replace("_", " ")


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
    - `asymmetry`: `(batch,)`, of vector-field forms that do not correct it, the predicted relative error of the error
      vector for want of symmetry, `2x/√(1 + x²)` (`asymmetry.py`); NaN where the prediction does not apply; `None`
      where there is nothing to predict.

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
    asymmetry: Float[Array, " batch"] | None = None

    @property
    def settled(self) -> Bool[Array, " batch"]:
        """The samples whose free state and every nudged state settled."""
        return (self.free_status == Status.settled) & jnp.all(self.point_status == Status.settled, 0)

    @property
    def predicted_error(self) -> Float[Array, " batch"]:
        """The predicted relative error of each sample's gradient, NaN where nothing is known.

        Of a solve without nudges it is that of asymmetry, the only one there is; of the error of real nudges without a
        circle nothing is known.
        """
        if self.spectrum is None:
            if self.asymmetry is not None and self.betas.shape[0] == 0:
                return self.asymmetry
            return jnp.full(self.free_residual.shape, jnp.nan, self.free_residual.dtype)
        error = self.spectrum.predicted_error
        return error if self.asymmetry is None else jnp.hypot(error, self.asymmetry)

    @property
    def batch_error(self) -> Float[Array, ""]:
        """The predicted relative error of the mean gradient: of the kept samples', weighted with their responses.

        `Σ_b e_b ‖ŝ_1‖_b/r_b / Σ_b ‖ŝ_1‖_b/r_b`. A sample that has been learned hardly responds, so that its own
        relative error is large and matters little. NaN where nothing is known of some kept sample, or none was kept.
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
            self.asymmetry,
        )

    def text(self) -> str:
        """Return one line that says it to a person (host side, not under `jit`)."""
        verdict = np.asarray(self.verdict)
        counts = [f"{int((verdict == v).sum())} {v.words}" for v in Verdict if (verdict == v).any()]
        line = f"{verdict.size} samples: {', '.join(counts)}"
        if self.spectrum is None:
            if self.asymmetry is None:
                return line
            bias = np.asarray(self.asymmetry)
            return (
                f"{line}; predicted error by asymmetry, of a sample: median {_of_known(np.median, bias)}, worst "
                f"{_of_known(np.max, bias)}"
            )
        radius, error = np.abs(np.asarray(self.betas[0])), np.asarray(self.predicted_error)
        limit = np.asarray(self.spectrum.radius_of_convergence)
        weight = np.asarray(self.spectrum.response)
        parts = {
            "aliasing": np.asarray(self.spectrum.aliasing),
            "tolerance and noise": np.hypot(self.spectrum.tolerance, self.spectrum.noise),
            "asymmetry": np.zeros_like(error) if self.asymmetry is None else np.asarray(self.asymmetry),
        }
        cause = max(parts, key=lambda name: float(weight @ np.nan_to_num(parts[name], nan=2.0)))
        return (
            f"{line}; predicted error of the mean gradient {float(self.batch_error):.1e}, mostly {cause} (of a sample: "
            f"median {_of_known(np.median, error)}, worst {_of_known(np.max, error)}); circle {_span(radius)}, "
            f"radius of convergence {_span(limit)}"
        )


def certify(
    free: Rest,
    nudged: Rest,
    betas: Inexact[Array, "points batch"],
    unsettled: str,
    spectrum: Spectrum | None = None,
    *,
    solved: Bool[Array, " batch"] | None = None,
    asymmetry: Float[Array, " batch"] | None = None,
) -> Certificate:
    """Return the certificate of a free and a set of nudged rest states under a policy for unsettled samples.

    `solved` says which samples passed whatever else had to be solved; `spectrum` is that of the circle, if any;
    `asymmetry` is the error predicted for want of symmetry, if any.
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
        verdict=_judge(fine, spectrum, asymmetry, exact=solved is not None),
        spectrum=spectrum,
        asymmetry=asymmetry,
    )


def certify_free(
    free: Rest, solved: Bool[Array, " batch"], unsettled: str, asymmetry: Float[Array, " batch"] | None = None
) -> Certificate:
    """Return the certificate of a reference without nudges: of the free rest states, and of asymmetry if it counts."""
    nobody = jnp.zeros((0, *free.residual.shape), free.residual.dtype)
    none = Rest((), nobody, nobody.astype(jnp.int32), nobody.astype(jnp.int32))
    return certify(free, none, nobody, unsettled, solved=solved, asymmetry=asymmetry)


def _judge(
    fine: Bool[Array, " batch"], spectrum: Spectrum | None, asymmetry: Float[Array, " batch"] | None, *, exact: bool
) -> Int[Array, " batch"]:
    if spectrum is None:
        verdict = jnp.full(fine.shape, Verdict.ok if exact else Verdict.unknown, jnp.int32)
    else:
        verdict = _judge_circle(spectrum)
    if asymmetry is not None:
        # What else is wrong weighs more: of a broken response no asymmetry can be told.
        sound = (verdict == Verdict.ok) | (verdict == Verdict.unknown)
        error = asymmetry if spectrum is None else jnp.hypot(spectrum.predicted_error, asymmetry)
        verdict = jnp.where(sound & (error > OK_BELOW), jnp.int32(Verdict.asymmetric), verdict)
        verdict = jnp.where(sound & jnp.isnan(asymmetry), jnp.int32(Verdict.asymmetry_unknown), verdict)
    return jnp.where(fine, verdict, jnp.int32(Verdict.unsettled))


def _judge_circle(spectrum: Spectrum) -> Int[Array, " batch"]:
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
    return jnp.where(good, jnp.int32(Verdict.ok), verdict)


def _of_known(summary: Callable[[np.ndarray], np.floating], error: np.ndarray) -> str:
    known = error[~np.isnan(error)]
    return f"{summary(known):.1e}" if known.size else "unknown"


def _span(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "unknown"
    low, high = np.min(known), np.max(known)
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"

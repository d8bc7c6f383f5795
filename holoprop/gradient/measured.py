"""The finite-difference estimators on a substrate: settle at real nudges, one after the other, and add up.

    g = Σ_k w_k ∂F/∂θ(s_{β_k}, β_k) + w_0 ∂F/∂θ(s_0, 0)

The nudges and weights are the estimator's; the rest states and `∂F/∂θ` the substrate's. Off the compiled path the sum
is taken in numpy, in the precision in which the device answers: it is a small difference of large numbers.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, PyTree

from holoprop.gradient.certificate import certify
from holoprop.gradient.estimate import AbstractEstimator, Estimate, traced_amplitude
from holoprop.gradient.kept import mean_kept
from holoprop.network.base import Inputs, Targets
from holoprop.network.cost import one_hot
from holoprop.settling.rest import Rest, Status, require_settled
from holoprop.settling.substrate import Substrate


def estimate_on_substrate(
    estimator: AbstractEstimator, substrate: Substrate, x: Inputs, y: Targets, *, memory: PyTree = None
) -> Estimate:
    """Estimate the gradient of the mean cost over a batch by measuring a substrate; `estimator(substrate, x, y)`.

    **Returns:** an `Estimate` whose `gradient` is a pytree like `substrate.parameters` (numpy arrays of their dtype
    where the substrate is not jittable), `rest.state` the leaves of the free activities, and whose residuals are NaN:
    a substrate does not tell any. A sample whose activities are not finite counts as diverged.

    **Raises:** `ValueError` if the estimator needs more than real nudges, if shapes do not fit, or if a substrate that
    is not jittable is used under `jit`; `UnsettledError` with `unsettled="raise"`.
    """
    estimator.real_nudges()
    if getattr(estimator, "form", None) == "vector-field" or getattr(estimator, "asymmetry", None) == "correct":
        raise ValueError("a substrate tells its energy's gradient, not its drive: leave out form and asymmetry")
    if not substrate.jittable and isinstance(x, Tracer):
        raise ValueError(f"{type(substrate).__name__} is not jittable: call the estimator outside jit")
    if np.shape(y)[:1] != np.shape(x)[:1] or not np.shape(x)[:1]:
        raise ValueError(f"x and y must hold the same number of samples, got shapes {np.shape(x)} and {np.shape(y)}")
    target = one_hot(jnp.asarray(y), substrate.classes, jnp.finfo(jnp.result_type(float)).dtype)
    if isinstance(x, Tracer):
        return _measure(estimator, substrate, substrate.parameters, x, target, memory)
    if substrate.jittable:
        parameters = jax.tree.map(jnp.asarray, substrate.parameters)
        estimate = _compiled(traced_amplitude(estimator), substrate, parameters, jnp.asarray(x), target, memory)
    else:
        parameters = jax.tree.map(np.asarray, substrate.parameters)
        # In float32, β·y would round the nudge itself.
        rows = np.asarray(target).astype(np.float64)
        estimate = _measure(estimator, substrate, parameters, np.asarray(x), rows, memory)
    if estimator.unsettled == "raise":
        require_settled(estimate.rest, "free phase")
        points = estimate.certificate
        require_settled(Rest((), points.point_residual, points.point_status, points.point_status), "nudged phase")
    return estimate


@eqx.filter_jit
def _compiled(estimator, substrate, parameters, x, target, memory) -> Estimate:
    return _measure(estimator, substrate, parameters, x, target, memory)


def _measure(
    estimator: AbstractEstimator, substrate: Substrate, parameters: PyTree, x: Any, target: Any, memory: PyTree
) -> Estimate:
    xp = jnp if substrate.jittable else np
    nudges = estimator.real_nudges()
    free = substrate.settle(parameters, x, target, 0.0)
    nudged = [substrate.settle(parameters, x, target, beta) for beta in nudges.betas]
    rested, points = _rest(free, len(x)), [_rest(each, len(x)) for each in nudged]
    betas = jnp.stack([jnp.broadcast_to(jnp.asarray(beta), (len(x),)) for beta in nudges.betas])
    certificate = certify(rested, jax.tree.map(lambda *r: jnp.stack(r), *points), betas, estimator.unsettled)
    kept = xp.asarray(certificate.kept)
    weights = kept.astype(float) / xp.maximum(kept.astype(float).sum(), 1)
    terms = [(nudges.free_weight, free)] * (nudges.free_weight is not None)
    gradient = None
    for factor, activities in [*terms, *zip(nudges.weights, nudged, strict=True)]:
        if estimator.unsettled != "keep":
            # Not only a weight of 0: 0 · NaN is not 0.
            activities = jax.tree.map(lambda part: _cleared(xp, part, kept), activities)
        part = substrate.energy_gradient(parameters, x, activities, weights)
        part = jax.tree.map(lambda g, factor=factor: xp.asarray(factor).astype(g.dtype) * g, part)
        gradient = part if gradient is None else jax.tree.map(lambda a, b: a + b, gradient, part)
    gradient = jax.tree.map(lambda p, g: g.astype(p.dtype), parameters, gradient)
    loss = mean_kept(jnp.asarray(substrate.cost(free, target)), certificate.kept)
    return Estimate(gradient, loss, jnp.asarray(substrate.logits(free)), rested, certificate, memory)


def _rest(activities: PyTree, samples: int) -> Rest:
    finite = finite_samples(activities, samples)
    status = jnp.where(finite, jnp.int32(Status.not_applicable), jnp.int32(Status.diverged))
    state = tuple(
        leaf for leaf in map(jnp.asarray, jax.tree.leaves(activities)) if jnp.issubdtype(leaf.dtype, jnp.inexact)
    )
    unknown = jnp.where(finite, jnp.nan, jnp.inf)
    return Rest(state, unknown, jnp.zeros(samples, jnp.int32), status)


def finite_samples(activities: PyTree, samples: int) -> Bool[Array, " batch"]:
    """Return which samples of a substrate's activities are finite: the ones that came to rest."""
    finite = jnp.ones(samples, bool)
    for leaf in map(jnp.asarray, jax.tree.leaves(activities)):
        finite = finite & jnp.all(jnp.isfinite(leaf).reshape(samples, -1), 1)
    return finite


def _cleared(xp: Any, part: Any, kept: Any) -> Any:
    return xp.where(kept.reshape(-1, *[1] * (part.ndim - 1)), part, xp.zeros((), part.dtype))

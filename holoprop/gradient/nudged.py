"""From nudges to a gradient: settle at every nudge in one batch, then one weighted sum of `∂F/∂θ`.

All estimators of energy networks are of the form

    g = Re Σ_k w_k ∂F/∂θ(s_k, β_k),      ∂F/∂θ = −∂Φ/∂θ + β ∂C/∂θ,

the finite-difference ones and the contour alike; they differ in the nudges `β_k` and the weights `w_k`. The sum is one reverse-mode
derivative of one scalar, so that each connection's gradient is a single matrix product over all points and samples.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from holoprop.gradient.estimate import Certificate, Estimate, Unsettled, mean_kept, sample_weights
from holoprop.network.base import AbstractNetwork, State, in_dtype, parameter_dtype
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver, where_sample


def estimate_from_nudges(
    net: AbstractNetwork,
    x: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    betas: Inexact[Array, "points batch"],
    weights: Inexact[Array, "points batch"],
    *,
    free_weight: Float[Array, " batch"] | None,
    solver: AbstractSolver,
    nudged_solver: AbstractSolver,
    unsettled: Unsettled,
) -> Estimate:
    """Return the estimate `Re Σ_k w_k ∂F/∂θ(s_{β_k}, β_k) + w_0 ∂F/∂θ(s_0, 0)`, averaged over the kept samples.

    **Arguments:** `betas` and `weights` are `β_k` and `w_k`, `(points, batch)`; `free_weight` is `w_0`, `(batch,)`, or `None`.
    The nudged phases start at the free rest state, all in one batch.
    """
    dtype = parameter_dtype(net)
    x, target = x.astype(dtype), target.astype(dtype)
    free_problem = FixedPoint.of(net, x)
    free = settle_problem(free_problem, solver)
    problem = FixedPoint(net, free_problem.clamped, target, betas)
    start = tuple(jnp.broadcast_to(s, (betas.shape[0], *s.shape)).astype(betas.dtype) for s in free.state)
    nudged = settle_problem(problem, nudged_solver, start)
    certificate = certify(free, nudged, betas, unsettled)

    share = sample_weights(certificate.kept, dtype)
    scale = (weights * share.astype(weights.dtype)).astype(betas.dtype)
    states = drop(nudged.state, certificate.kept, betas.ndim) if unsettled != "keep" else nudged.state
    gradient = weighted_gradient(net, x, target, states, scale, scale * betas)
    if free_weight is not None:
        rested = drop(free.state, certificate.kept, 1) if unsettled != "keep" else free.state
        alone = (free_weight * share)[None]
        single = tuple(s[None] for s in rested)
        gradient = jax.tree.map(jnp.add, gradient, weighted_gradient(net, x, target, single, alone, None))
    logits, losses = read_out(net, free.state, target)
    return Estimate(gradient, mean_kept(losses, certificate.kept), logits, free, certificate, None)


def weighted_gradient(
    net: AbstractNetwork,
    x: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    states: State,
    weights: Inexact[Array, "points batch"],
    cost_weights: Inexact[Array, "points batch"] | None,
) -> Any:
    """Return `Re Σ_{k,b} [−w_kb ∂Φ/∂θ(x_b, s_kb) + v_kb ∂C/∂θ(s_kb, y_b)]`, real, as a pytree of the network's type.

    `states` hold leading axes `(points, batch)` and are constants here: their dependence on `θ` is what the nudges measure.
    """

    def scalar(net: Any) -> Array:
        clamped = jax.vmap(net.clamp)(x).astype(weights.dtype)
        typed = in_dtype(net, weights.dtype)

        def sample(c: Array, y: Array, s: State, w: Array, v: Array | None) -> Array:
            value = -w * typed.potential(c, s)
            return value if v is None else value + v * typed.cost(typed.readout(s), y)

        values = jax.vmap(jax.vmap(sample), in_axes=(None, None, 0, 0, 0))(
            clamped, target, states, weights, cost_weights
        )
        return jnp.sum(values.real)

    return eqx.filter_grad(scalar)(net)


def certify(free: Rest, nudged: Rest, betas: Inexact[Array, "points batch"], unsettled: Unsettled) -> Certificate:
    """Return the certificate of a free and a set of nudged rest states under a policy for unsettled samples."""
    # A time-stepped state has no tolerance to miss, so it does not count as unsettled.
    fine = (free.status == Status.settled) | (free.status == Status.not_applicable)
    every = (nudged.status == Status.settled) | (nudged.status == Status.not_applicable)
    fine = fine & jnp.all(every, 0)
    return Certificate(
        betas=betas,
        free_residual=free.residual,
        free_status=free.status,
        point_residual=nudged.residual,
        point_status=nudged.status,
        kept=jnp.ones_like(fine) if unsettled == "keep" else fine,
        unsettled_share=jnp.mean((~fine).astype(free.residual.dtype)),
    )


def drop(state: State, kept: Array, lead: int) -> State:
    """Return the state with zeros in place of samples not kept: their weight is 0, but 0 · NaN is not."""
    keep = jnp.broadcast_to(kept, state[0].shape[:lead])
    return where_sample(keep, state, jax.tree.map(jnp.zeros_like, state))


def read_out(
    net: AbstractNetwork, state: State, target: Float[Array, "batch classes"]
) -> tuple[Float[Array, "batch classes"], Float[Array, " batch"]]:
    """Return the logits and the cost of each sample at a free rest state."""
    logits = jax.vmap(lambda s: net.readout(s))(state)
    return logits, jax.vmap(net.cost)(logits, target)

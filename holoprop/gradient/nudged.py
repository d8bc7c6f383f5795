"""From nudges to a gradient: settle at every nudge in one batch, then one weighted sum of `∂F/∂θ`.

All estimators of energy networks are of the form

    g = Re Σ_k w_k ∂F/∂θ(s_k, β_k),      ∂F/∂θ = −∂Φ/∂θ + β ∂C/∂θ,

the finite-difference ones and the contour alike; they differ in the nudges `β_k` and the weights `w_k`. The sum is
one reverse-mode
derivative of one scalar, so that each connection's gradient is a single matrix product over all points and samples.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from holoprop.gradient.estimate import Certificate, Estimate, Unsettled, mean_kept, sample_weights
from holoprop.network.base import AbstractNetwork, State, in_dtype, parameter_dtype
from holoprop.settling.anderson import Anderson
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
    real_points: int,
    free_weight: Float[Array, " batch"] | None,
    solver: AbstractSolver,
    nudged_solver: AbstractSolver,
    unsettled: Unsettled,
) -> Estimate:
    """Return the estimate `Re Σ_k w_k ∂F/∂θ(s_{β_k}, β_k) + w_0 ∂F/∂θ(s_0, 0)`, averaged over the kept samples.

    **Arguments:** `betas` and `weights` are `β_k` and `w_k`, `(points, batch)`; `free_weight` is `w_0`, `(batch,)`,
    or `None`. Complex nudges are those of a `half_circle`, of which the first `real_points` are real.
    """
    dtype = parameter_dtype(net)
    x, target = x.astype(dtype), target.astype(dtype)
    problem = FixedPoint.of(net, x)
    free = settle_problem(problem, solver)
    if jnp.iscomplexobj(betas):
        nudged = _settle_circle(problem, target, betas, real_points, free, nudged_solver)
    else:
        nudged = _settle_at(problem, target, betas, _repeat(free.state, betas.shape[0]), nudged_solver)
    certificate = certify(free, nudged, betas, unsettled)

    share = sample_weights(certificate.kept, dtype)
    if unsettled != "keep":
        (x,) = drop((x,), certificate.kept, 1)
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

    `states` hold leading axes `(points, batch)` and are constants here: their dependence on `θ` is what the nudges
    measure.
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


def nudged_default(solver: AbstractSolver) -> AbstractSolver:
    """Return the solver of the nudged phases when none is given: the free one's, but without Anderson's fallback
    stages.

    Nudged phases start close to rest and settle in a few sweeps. A sample that has not after 60 is most likely beyond
    its radius of
    convergence: hundreds of plain sweeps would bring it to rest on another branch, with a wrong gradient.
    """
    if not isinstance(solver, Anderson):
        return solver
    return Anderson(
        depth=solver.depth,
        tolerance=solver.tolerance,
        max_steps=min(solver.max_steps, 60),
        patience=solver.patience,
        fallback=False,
    )


def _settle_at(
    problem: FixedPoint, target: Array, betas: Inexact[Array, "points batch"], start: State, solver: AbstractSolver
) -> Rest:
    return settle_problem(FixedPoint(problem.net, problem.clamped, target, betas), solver, start)


def _settle_circle(
    problem: FixedPoint,
    target: Array,
    betas: Inexact[Array, "points batch"],
    real_points: int,
    free: Rest,
    solver: AbstractSolver,
) -> Rest:
    """Settle a half circle: the real points first, then the complex ones from where those point.

    A real point costs less than half of a complex one, and the parabola through `s_{−r}, s_0, s_r` (the line through
    `s_0, s_r` for an odd number of points) starts the complex ones within `O((r/R)³)` of rest instead of `O(r/R)`.
    """
    real = _settle_at(problem, target, betas[:real_points].real, _repeat(free.state, real_points), solver)
    ratio = betas[real_points:] / betas[0]

    def extrapolate(rested: Array, nudged: Array) -> Array:
        step = ratio.reshape(ratio.shape + (1,) * (rested.ndim - 1))
        if real_points == 1:
            return rested + step * (nudged[0] - rested)
        odd, even = (nudged[0] - nudged[1]) / 2, (nudged[0] + nudged[1]) / 2 - rested
        return rested + step * odd + step * step * even

    dtype = betas.dtype
    start = tuple(extrapolate(p.astype(dtype), q.astype(dtype)) for p, q in zip(free.state, real.state, strict=True))
    # Where a real point did not settle there is nothing to extrapolate from.
    usable = jnp.broadcast_to(jnp.all(real.settled, 0), ratio.shape)
    start = where_sample(usable, start, _repeat(tuple(s.astype(dtype) for s in free.state), ratio.shape[0]))
    rest = _settle_at(problem, target, betas[real_points:], start, solver)
    return jax.tree.map(lambda p, q: jnp.concatenate([p.astype(q.dtype), q]), real, rest)


def _repeat(state: State, points: int) -> State:
    return tuple(jnp.broadcast_to(s, (points, *s.shape)) for s in state)

"""From an error vector to a gradient, the vector-field form of equilibrium propagation.

At a free rest state `s_0 = σ(a(θ, s_0))` the gradient of the cost follows from one vector per sample in the space of
the activities,

    g = −(∂a/∂θ)ᵀ e + ∂C/∂θ,

where `e` is the error vector `λ` (then `g` is exact), or what stands in for it: the response `δ = ds_β/dβ` of the rest
state to the nudge (P2). They solve

    (I − D Jᵀ) λ = −D ∂C/∂s,        (I − D J) δ = −D ∂C/∂s,        D = σ'(a),  J = ∂a/∂s,

and agree where `J` is symmetric. From nudged states `δ ≈ Re Σ_k w_k (s_{β_k} − s_0)`, with the nudges and weights of
the energy form.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from holoprop.gradient.kept import drop, sample_weights
from holoprop.network.base import AbstractNetwork, State
from holoprop.settling.rest import Rest


def response_of(free: Rest, nudged: State, weights: Inexact[Array, "points batch"]) -> State:
    """Return `Re Σ_k w_k (s_{β_k} − s_0)`, layers `(batch, …)`, of nudged states `(points, batch, …)`."""

    def layer(rested: Array, moved: Array) -> Array:
        rise = moved - rested.astype(moved.dtype)
        scale = weights.astype(moved.dtype).reshape(weights.shape + (1,) * (moved.ndim - 2))
        return jnp.sum((scale * rise).real, 0)

    return tuple(layer(p, q) for p, q in zip(free.state, nudged, strict=True))


def gradient_of_error(
    net: AbstractNetwork,
    x: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    state: State,
    error: State,
    kept: Bool[Array, " batch"],
) -> Any:
    """Return the mean over the kept samples of `−(∂a/∂θ)ᵀ e + ∂C/∂θ`, a pytree of the network's type.

    **Arguments:** `state`, `error`: free rest states and error vectors, layers `(batch, …)`, real; both constants here.
    """
    share = sample_weights(kept, x.dtype)
    (x,), (target,), state, error = (drop(part, kept, 1) for part in ((x,), (target,), state, error))

    def scalar(net: Any) -> Array:
        def sample(x: Array, y: Array, s: State, error: State, w: Array) -> Array:
            drives = net.drive(net.clamp(x), s)
            work = sum(jnp.sum(e * a) for e, a in zip(error, drives, strict=True))
            return w * (net.cost(net.readout(s), y) - work)

        return jnp.sum(jax.vmap(sample)(x, target, state, error, share))

    return eqx.filter_grad(scalar)(net)

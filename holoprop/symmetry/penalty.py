"""Jacobian homeostasis: a penalty on the asymmetry of the functional Jacobian, and its gradient.

    ℒ = E_ε[‖Jε‖² − εᵀJ²ε]/n = ‖J − Jᵀ‖²_F/(2n),      ε ~ N(0, I),  n neurons,  J = ∂a/∂s at the rest state.

The *Jacobian form* is P2's: products of `J` with noise on all neurons, twice. The *local form* uses that a network made
of connections has its asymmetry in them one by one,

    ‖J − Jᵀ‖²/2 = Σ_c ‖F_c − B_cᵀ‖² = Σ_c E_ε‖F_c ε − B_cᵀ ε‖²,

with `F_c` the derivative of what connection `c` sends forward by its source, `B_c` that of what it sends back by its
target. So noise `ε` on the source layer, and the mismatch `m = F ε − Bᵀε` of the two directions' effect on the target
layer, are all that a synapse needs: for dense connections it changes by

    ΔW = −η ε mᵀ,        ΔV = η m εᵀ,

presynaptic noise times postsynaptic mismatch. It has the same mean, is never negative, and is cheaper.
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from holoprop.gradient.kept import drop, sample_weights
from holoprop.network.base import AbstractNetwork, Inputs, State, parameter_dtype
from holoprop.network.connection import AbstractConnection
from holoprop.network.feedback import one_way
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.fixed_point import check_inputs
from holoprop.settling.rest import Rest
from holoprop.settling.run import check_state

HomeostasisForm = Literal["local", "jacobian"]


class Homeostasis(eqx.Module):
    """The homeostatic penalty and its gradient.

    **Attributes:** `penalty`: scalar, `‖J − Jᵀ‖²_F/(2n)` as estimated, the mean over the samples; `gradient`: a pytree
    of the network's type, of that penalty.
    """

    penalty: Float[Array, ""]
    gradient: AbstractNetwork


def homeostasis(
    net: AbstractNetwork,
    rest: Rest,
    x: Inputs,
    *,
    samples: int = 5,
    key: PRNGKeyArray | None = None,
    noise: State | None = None,
    form: HomeostasisForm | None = None,
    kept: Bool[Array, " batch"] | None = None,
) -> Homeostasis:
    """Estimate the homeostatic penalty and its parameter gradient at free rest states; traceable.

    `ℒ = mean_{b,ε}[‖Jε‖² − εᵀJ²ε]/n`, or the local form of the same mean; the rest states are constants here.

    **Arguments:**

    - `rest`, `x`: free rest states, and their inputs `(batch, *net.input_shape)`, real.
    - `samples`: random vectors `ε` for each sample of the batch.
    - `key`: JAX random key of them; or `noise`: the vectors themselves, layers `(samples, batch, …)`.
    - `form`: `"local"` (networks of connections only) or `"jacobian"`; `None`: the first where it can be had.
    - `kept`: the samples that count; by default all.

    **Returns:** a `Homeostasis`.

    **Raises:** `ValueError` for shapes that do not fit, `samples` below 1, neither key nor noise, another word for the
    form, or the local form of a network that is not made of connections.

    Source: P2 (arXiv 2309.02214), its homeostatic loss, 5 samples; the local form is ours.

    ```python
    rest = hp.settle(net, x)
    hp.homeostasis(net, rest, x, key=jax.random.key(0)).penalty
    ```
    """
    x = check_inputs(net, x).astype(parameter_dtype(net))
    check_state(net, (x.shape[0],), rest.state)
    if form not in (None, "local", "jacobian"):
        raise ValueError(f"form must be 'local', 'jacobian' or None, got {form!r}")
    local = form == "local" or (form is None and isinstance(net, LayeredNetwork))
    if local and not isinstance(net, LayeredNetwork):
        raise ValueError(f"{type(net).__name__} is not made of connections: use form='jacobian'")
    if noise is None:
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        if key is None:
            raise ValueError("homeostasis draws random vectors: pass key=jax.random.key(0)")
        keys = jax.random.split(key, len(rest.state))
        noise = tuple(jax.random.normal(k, (samples, *s.shape), s.dtype) for k, s in zip(keys, rest.state, strict=True))
    wanted = [(noise[0].shape[0], *s.shape) for s in rest.state]
    if [e.shape for e in noise] != wanted:
        raise ValueError(f"noise must hold layers of shapes {wanted}, got {[e.shape for e in noise]}")
    kept = jnp.ones(x.shape[0], bool) if kept is None else kept
    return _estimate(net, x, rest.state, noise, kept, _local if local else _of_jacobian)


@eqx.filter_jit
def _estimate(net, x, state, noise, kept, asymmetry: Callable[..., Array]) -> Homeostasis:
    share, state, (x,) = sample_weights(kept, x.dtype), drop(state, kept, 1), drop((x,), kept, 1)
    neurons = sum(s[0].size for s in state)

    def penalty(net: AbstractNetwork) -> Float[Array, ""]:
        each = jax.vmap(lambda x, s, e: asymmetry(net, x, s, e), in_axes=(0, 0, 1))(x, state, noise)
        return jnp.sum(share * each) / neurons

    value, gradient = eqx.filter_value_and_grad(penalty)(net)
    return Homeostasis(value, gradient)


def _of_jacobian(net: AbstractNetwork, x: Array, s: State, noise: State) -> Float[Array, ""]:
    """Return the mean over `noise`, layers `(samples, …)`, of `‖Jε‖² − εᵀJ²ε`, of one sample."""
    c = net.clamp(x)
    forward = jax.linearize(lambda s: net.drive(c, s), s)[1]

    def one(eps: State) -> Float[Array, ""]:
        once = forward(eps)
        twice = forward(once)
        parts = zip(eps, once, twice, strict=True)
        return jnp.asarray(sum(jnp.sum(a * a) - jnp.sum(e * b) for e, a, b in parts))

    return jnp.mean(jax.vmap(one)(noise))


def _local(net: LayeredNetwork, x: Array, s: State, noise: State) -> Float[Array, ""]:
    """Return the mean over `noise` of `Σ ‖F ε − Bᵀ ε‖²`, pairs of layers summed, of one sample."""
    pairs: dict[tuple[int, int], list[tuple[AbstractConnection, bool]]] = {}
    for connection, (source, target) in zip(net.connections[1:], net.graph[1:], strict=True):
        low, high = sorted((source - 1, target - 1))
        pairs.setdefault((low, high), []).append((connection, source < target))

    def one(eps: State) -> Float[Array, ""]:
        total = jnp.zeros((), eps[0].dtype)
        for (low, high), joined in pairs.items():
            mismatch = sum(_mismatch(each, s[low], s[high], eps[low], net.feedback, up=up) for each, up in joined)
            total += jnp.sum(mismatch**2)
        return total

    return jnp.mean(jax.vmap(one)(noise))


def _mismatch(
    connection: AbstractConnection, low: Array, high: Array, eps: Array, feedback: bool, *, up: bool
) -> Array:
    """Return what a connection adds to `(J_hl − J_lhᵀ) ε`, with noise on layer `l`; `up`: it goes from `l` to `h`."""
    returns = feedback and not connection.directed
    forward = one_way(connection).forward
    if up:
        ahead = jax.jvp(forward, (low,), (eps,))[1]
        if not returns:
            return ahead
        return ahead - jax.vjp(lambda t: connection.backward(t, low), high)[1](eps)[0]
    back = jax.vjp(forward, high)[1](eps)[0]
    if not returns:
        return -back
    return jax.jvp(lambda t: connection.backward(t, high), (low,), (eps,))[1] - back

"""The published schedule of P2 as a baseline: generalised EP on a network with feedback weights of its own.

The drive of each layer is written out for one sample,

    a_l = pool(W_{l−1} ∗ s_{l−1} + b) + ∂/∂s_l [s_{l+1} · pool(V_l ∗ s_l)] − β ∂C/∂s_L,        s ← σ(a),

`T1` steps without nudge and `T2` steps from there for `+β` and `−β`, all layers at once; `δ = (s_β − s_{−β})/2β`; the
gradient is `−(∂a/∂θ)ᵀ δ` at the free state and the readout's own. The homeostatic penalty, if any, is differentiated
through two Jacobian–vector products for each of five random vectors. As in `published.py` nothing is slow on purpose.

Source: Laborieux & Zenke 2024 (arXiv 2309.02214), written from its description.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from holoprop.bench.published import activity, forward_map
from holoprop.network.base import State
from holoprop.network.conv import Conv
from holoprop.network.layered import LayeredNetwork


@dataclasses.dataclass(frozen=True)
class PublishedField:
    """How many steps a training step of P2 takes, with two points on the circle.

    **Attributes:** `free_steps` (T1), `nudged_steps` (T2): synchronous steps; `radius`: `β`; `learning_rate`: of plain
    gradient descent; `homeostasis`: weight of the penalty; `samples`: random vectors of its estimate, 0: no penalty.
    """

    free_steps: int = 250
    nudged_steps: int = 40
    radius: float = 1.0
    learning_rate: float = 0.05
    homeostasis: float = 15.0
    samples: int = 0

    @property
    def steps(self) -> int:
        """How many synchronous steps that makes, free and under both nudges."""
        return self.free_steps + 2 * self.nudged_steps


def drives(net: LayeredNetwork, x: Array, s: State, y: Array, beta: float) -> State:
    """Return the drive of each layer of one sample under a nudge."""
    below = (x, *s[:-1])
    every = [forward_map(connection, layer) for connection, layer in zip(net.connections, below, strict=True)]
    for l, connection in enumerate(net.connections[1:]):
        assert isinstance(connection, Conv) and connection.feedback is not None
        back = dataclasses.replace(connection, weight=connection.feedback, bias=None, feedback=None)

        def sent(layer: Array, back: Conv = back, above: Array = s[l + 1]) -> Array:
            return jnp.sum(above * forward_map(back, layer))

        every[l] = every[l] + jax.grad(sent)(s[l])
    if beta:
        every[-1] = every[-1] - beta * jax.grad(lambda last: _cost(net, last, y))(s[-1])
    return tuple(every)


def published_field_step(
    net: LayeredNetwork,
    x: Float[Array, "batch ..."],
    y: Float[Array, "batch classes"],
    schedule: PublishedField,
) -> tuple[LayeredNetwork, LayeredNetwork]:
    """Take one training step; return the network after it, and the task's gradient; to be compiled as a whole."""
    free = jax.vmap(lambda x, y: _relaxed(net, x, y, _zeros(net, x), 0.0, schedule.free_steps))(x, y)
    task = jax.tree.map(
        lambda g: jnp.mean(g, 0), jax.vmap(lambda x, y, s: _gradient(net, x, y, s, schedule))(x, y, free)
    )
    total = task
    if schedule.samples:

        def penalty(net: LayeredNetwork) -> Array:
            return jnp.mean(jax.vmap(lambda x, y, s: _penalty(net, x, y, s, schedule.samples))(x, y, free))

        total = jax.tree.map(lambda g, h: g + schedule.homeostasis * h, task, eqx.filter_grad(penalty)(net))
    return jax.tree.map(lambda p, g: p - schedule.learning_rate * g, net, total), task


def _gradient(net: LayeredNetwork, x: Array, y: Array, free: State, schedule: PublishedField) -> LayeredNetwork:
    beta = schedule.radius
    ends = [_relaxed(net, x, y, free, nudge, schedule.nudged_steps) for nudge in (beta, -beta)]
    response = tuple((p - q) / (2 * beta) for p, q in zip(*ends, strict=True))

    def scalar(net: LayeredNetwork) -> Array:
        work = sum(jnp.sum(d * a) for d, a in zip(response, drives(net, x, free, y, 0.0), strict=True))
        return _cost(net, free[-1], y) - work

    return eqx.filter_grad(scalar)(net)


def _penalty(net: LayeredNetwork, x: Array, y: Array, s: State, samples: int) -> Array:
    total, neurons = jnp.zeros((), x.dtype), sum(layer.size for layer in s)
    for sample in range(samples):
        keys = jax.random.split(jax.random.key(sample), len(s))
        noise = tuple(jax.random.normal(key, layer.shape, layer.dtype) for key, layer in zip(keys, s, strict=True))
        once = jax.jvp(lambda s: drives(net, x, s, y, 0.0), (s,), (noise,))[1]
        twice = jax.jvp(lambda s: drives(net, x, s, y, 0.0), (s,), (once,))[1]
        total += sum(jnp.sum(a * a) - jnp.sum(e * b) for e, a, b in zip(noise, once, twice, strict=True))
    return total / (samples * neurons)


def _relaxed(net: LayeredNetwork, x: Array, y: Array, s: State, beta: float, steps: int) -> State:
    def update(_: Array, s: State) -> State:
        return tuple(activity(net, a) for a in drives(net, x, s, y, beta))

    return lax.fori_loop(0, steps, update, s)


def _cost(net: LayeredNetwork, last: Array, y: Array) -> Array:
    return -jnp.sum(y * jax.nn.log_softmax(last.ravel() @ net.readout.weight + net.readout.bias))


def _zeros(net: LayeredNetwork, x: Array) -> State:
    return tuple(jnp.zeros(shape, x.dtype) for shape in net.layer_shapes)

"""The published schedule of P1 as a baseline: what a direct implementation of the paper costs.

The network is its scalar potential, nudge included,

    Φ = Σ_l s_{l+1}·(s_l W_l + b_l) − β C(o, y),    s_0 = x;    s ← σ(∂Φ/∂s),

with `pool(W_l ∗ s_l + b_l)` in place of `s_l W_l + b_l` for a convolution, and every step moves all layers at once by
automatic differentiation of `Φ`. There are `T1` steps without nudge, then, for one point of the circle after the other,
`T2` steps from the free state, all unrolled in Python. The estimator is written for one sample, mapped over the batch,
and its gradients are averaged. Off the real line states, inputs and parameters are all complex64; on it they may stay
real (`complex_throughout`).

Nothing here is slow on purpose: the whole training step is one compiled function, conjugate points are not run, and
what the compiler can share between steps (the input's product) it does share.

Source: Laborieux & Zenke 2022 (arXiv 2209.00530), written from its description.
"""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Inexact

from holoprop.network.activation import DoubleSilu, Sigmoid
from holoprop.network.base import State, complex_dtype, parameter_dtype
from holoprop.network.connection import AbstractConnection, Dense
from holoprop.network.conv import Conv
from holoprop.network.cost import CrossEntropy
from holoprop.network.layered import LayeredNetwork
from holoprop.network.pooling import AbstractPooling, SoftmaxPooling


@dataclasses.dataclass(frozen=True)
class PublishedSchedule:
    """How many steps and points a training step of P1 takes.

    **Attributes:**

    - `free_steps` (T1), `nudged_steps` (T2): synchronous steps, both at least 1.
    - `points` (N ≥ 2), `radius` (> 0): of the circle.
    - `learning_rate`: of plain gradient descent.
    - `complex_throughout`: compute in complex64 on the real line too, as P1's oscillating estimator has to. The
      noiseless estimator with separate phases needs complex numbers at the complex points only.

    **Raises:** `ValueError` for numbers outside these ranges.
    """

    free_steps: int = 200
    nudged_steps: int = 30
    points: int = 10
    radius: float = 0.4
    learning_rate: float = 0.05
    complex_throughout: bool = False

    def __post_init__(self) -> None:
        for name, least in (("free_steps", 1), ("nudged_steps", 1), ("points", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.radius > 0:
            raise ValueError(f"radius must be positive, got {self.radius}")

    @property
    def steps(self) -> int:
        """How many synchronous steps that makes, free and at every nudge that is run: `T1 + T2·(⌊N/2⌋ + 1)`."""
        return self.free_steps + self.nudged_steps * len(self.nudges())

    def nudges(self) -> list[tuple[complex, int]]:
        """Return the nudges `β_k` that are run and how often each counts: twice if it also stands for its conjugate."""
        n = self.points
        real = [(complex(self.radius), 1)] + [(complex(-self.radius), 1)] * (n % 2 == 0)
        angles = [2 * math.pi * k / n for k in range(1, math.ceil(n / 2))]
        return real + [(self.radius * complex(math.cos(angle), math.sin(angle)), 2) for angle in angles]


def potential(
    net: LayeredNetwork, x: Inexact[Array, "..."], s: State, y: Inexact[Array, " classes"], beta: Inexact[Array, ""]
) -> Inexact[Array, ""]:
    """Return `Φ = Σ_l s_{l+1}·forward_l(s_l) − β C(o, y)` of one sample; all arrays, parameters too, of one dtype."""
    value = jnp.zeros((), x.dtype)
    for connection, below, above in zip(net.connections, (x, *s[:-1]), s, strict=True):
        value = value + jnp.sum(above * forward_map(connection, below))
    logits = s[-1].ravel() @ net.readout.weight + net.readout.bias
    shift = lax.stop_gradient(jnp.max(logits.real)).astype(logits.dtype)
    log_softmax = logits - shift - jnp.log(jnp.sum(jnp.exp(logits - shift)))
    return value + beta * jnp.sum(y * log_softmax)


def published_gradient(
    net: LayeredNetwork,
    x: Float[Array, "batch ..."],
    y: Float[Array, "batch classes"],
    schedule: PublishedSchedule,
    *,
    unroll: bool = True,
) -> LayeredNetwork:
    """Return the N-point estimate `(1/N) Σ_k Re[−(1/β_k) ∂Φ/∂θ(s_{β_k})]`, averaged over the batch.

    **Arguments:**

    - `net`: a chain of dense connections, or of convolutions with softmax pooling or none, with an activation of P1
      (`sigmoid`, `double_silu`) and cross-entropy; `x`: inputs; `y`: one-hot targets.
    - `schedule`: steps and points.
    - `unroll`: unroll the steps in Python, as published; otherwise loops compute the same numbers and compile at once.

    **Returns:** the gradient of the loss, as a pytree of the network's type.

    **Raises:** `ValueError` for another kind of network.
    """
    _check(net)
    gradients = jax.vmap(lambda x, y: _of_sample(net, x, y, schedule, unroll))(x, y)
    return jax.tree.map(lambda g: jnp.mean(g, 0), gradients)


def published_step(
    net: LayeredNetwork,
    x: Float[Array, "batch ..."],
    y: Float[Array, "batch classes"],
    schedule: PublishedSchedule,
    *,
    unroll: bool = True,
) -> tuple[LayeredNetwork, LayeredNetwork]:
    """Take one training step of the published schedule, `θ ← θ − η g`; to be compiled as a whole.

    **Arguments:** as `published_gradient`.

    **Returns:** the network after the step, and the gradient.
    """
    gradient = published_gradient(net, x, y, schedule, unroll=unroll)
    return jax.tree.map(lambda p, g: p - schedule.learning_rate * g, net, gradient), gradient


def _of_sample(net: LayeredNetwork, x: Array, y: Array, schedule: PublishedSchedule, unroll: bool) -> LayeredNetwork:
    def at(beta: complex) -> tuple[LayeredNetwork, Array, Array, Array, np.dtype]:
        off_axis = beta.imag != 0 or schedule.complex_throughout
        dtype = complex_dtype(net) if off_axis else parameter_dtype(net)
        nudge = jnp.asarray(beta if off_axis else beta.real, dtype)
        return _cast(net, dtype), x.astype(dtype), y.astype(dtype), nudge, dtype

    def relax(s: State, beta: complex, steps: int) -> State:
        typed, inputs, target, nudge, dtype = at(beta)
        drive = jax.grad(potential, argnums=2, holomorphic=jnp.iscomplexobj(inputs))

        def update(s: State) -> State:
            return tuple(activity(net, a) for a in drive(typed, inputs, s, target, nudge))

        s = tuple(layer.astype(dtype) for layer in s)
        if not unroll:
            return lax.fori_loop(0, steps, lambda _, s: update(s), s)
        for _ in range(steps):
            s = update(s)
        return s

    def slope(s: State, beta: complex) -> LayeredNetwork:
        typed, inputs, target, nudge, _ = at(beta)
        gradient = jax.grad(potential, holomorphic=jnp.iscomplexobj(inputs))(typed, inputs, s, target, nudge)
        return jax.tree.map(lambda g: g / -nudge, gradient)

    zeros = tuple(jnp.zeros(shape, x.dtype) for shape in net.layer_shapes)
    free = relax(zeros, 0j, schedule.free_steps)
    total = jax.tree.map(jnp.zeros_like, net)
    for beta, count in schedule.nudges():
        gradient = slope(relax(free, beta, schedule.nudged_steps), beta)
        total = jax.tree.map(lambda t, g, count=count: t + count * g.real, total, gradient)
    return jax.tree.map(lambda t: t / schedule.points, total)


def forward_map(connection: AbstractConnection, below: Array) -> Array:
    """Return what a connection sends forward, of one sample: `pool(W ∗ s + b)`, or `s W + b`."""
    if isinstance(connection, Conv):
        stride = (connection.stride, connection.stride)
        product = lax.conv_general_dilated(
            below[None], connection.weight, stride, connection.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]
        return pooled(connection.pooling, product if connection.bias is None else product + connection.bias)
    assert isinstance(connection, Dense)
    return below @ connection.weight + (0 if connection.bias is None else connection.bias)


def pooled(pooling: AbstractPooling | None, z: Array) -> Array:
    """Return a pooled map, by softmax pooling or not at all."""
    if pooling is None:
        return z
    assert isinstance(pooling, SoftmaxPooling)
    rows, columns = z.shape[0] // pooling.size, z.shape[1] // pooling.size
    kept = z[: rows * pooling.size, : columns * pooling.size]
    v = kept.reshape(rows, pooling.size, columns, pooling.size, z.shape[2])
    shift = lax.stop_gradient(jnp.max(v.real, (1, 3), keepdims=True)).astype(v.dtype)
    share = jnp.exp((v - shift) / pooling.temperature)
    return jnp.sum(v * share, (1, 3)) / jnp.sum(share, (1, 3))


def activity(net: LayeredNetwork, a: Array) -> Array:
    """Return `σ(a)`, for the two activations of the papers."""

    def logistic(z: Array) -> Array:
        return 1 / (1 + jnp.exp(-z))

    if isinstance(net.activation, Sigmoid):
        return logistic(4 * a - 2)
    return a / 2 * logistic(a) + (1 - a / 2) * logistic(a - 2)


def _check(net: LayeredNetwork) -> None:
    pools = [each.pooling for each in net.connections if isinstance(each, Conv) and each.pooling is not None]
    parts = [*net.connections, *pools, net.activation, net.cost]
    known = (Dense, Conv, SoftmaxPooling, Sigmoid, DoubleSilu, CrossEntropy)
    if not net.is_energy:
        raise ValueError("the published schedule of P1 is that of energy networks, and this one has free feedback")
    if net.edges is not None or not all(isinstance(part, known) for part in parts):
        names = ", ".join(type(part).__name__ for part in parts)
        raise ValueError(
            "the published schedule is that of chains of dense connections or convolutions with softmax pooling, with "
            f"sigmoid or double_silu and cross-entropy, got {names}" + (" and edges" if net.edges is not None else "")
        )


def _cast(net: LayeredNetwork, dtype: np.dtype) -> LayeredNetwork:
    return jax.tree.map(lambda p: p.astype(dtype) if eqx.is_inexact_array(p) else p, net)

"""The published schedule of P1 as a baseline: what a direct implementation of the paper costs.

The network is its scalar potential, nudge included, `Φ = Σ_l s_{l+1}·(s_l W_l + b_l) − β C(o, y)` with `s_0 = x`.
Every step moves all layers at once,

    s ← σ(∂Φ/∂s),

with `∂Φ/∂s` from automatic differentiation of `Φ`; states and parameters are complex64 from the start. `T1` steps
without
nudge, then, for one point of the circle after the other, `T2` steps from the free state. All steps are unrolled in
Python.
Nothing here is made slow on purpose: the whole training step is one compiled function, conjugate points are not run,
and what the compiler can share between steps (as the input's product) it may.

Source: Laborieux & Zenke 2022 (arXiv 2209.00530), written from its description.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float

from holoprop.network.base import complex_dtype, parameter_dtype
from holoprop.network.layered import LayeredNetwork

States = tuple[Complex[Array, "..."], ...]


@dataclasses.dataclass(frozen=True)
class PublishedSchedule:
    """How many steps and points P1's training step takes.

    **Attributes:** `free_steps` (T1) and `nudged_steps` (T2) are synchronous steps, `points` (N ≥ 2) lie on a circle
    of radius `radius`; `learning_rate` is of plain gradient descent.

    **Raises:** `ValueError` for numbers below these.
    """

    free_steps: int = 200
    nudged_steps: int = 30
    points: int = 10
    radius: float = 0.4
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        for name, least in (("free_steps", 1), ("nudged_steps", 1), ("points", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def nudges(self) -> list[tuple[complex, int]]:
        """Return the nudges `β_k` that are run, and how often each counts (twice where it stands for its conjugate)."""
        n = self.points
        alone = [0, n // 2] if n % 2 == 0 else [0]
        turns = [(k, 1) for k in alone] + [(k, 2) for k in range(1, math.ceil(n / 2))]
        angle = 2 * math.pi / n
        exact = {0: 1.0, n / 2: -1.0}
        return [(self.radius * exact.get(k, complex(math.cos(k * angle), math.sin(k * angle))), count) for k, count in turns]


def potential(
    net: LayeredNetwork,
    x: Complex[Array, " inputs"],
    s: States,
    y: Complex[Array, " classes"],
    beta: Complex[Array, ""],
) -> Complex[Array, ""]:
    """Return `Φ = Σ_l s_{l+1}·(s_l W_l + b_l) − β C(o, y)` of one sample; every array complex, parameters too."""
    value = jnp.zeros((), x.dtype)
    for connection, below, above in zip(net.connections, (x, *s[:-1]), s, strict=True):
        value = value + jnp.sum(above * (below @ connection.weight + connection.bias))
    logits = s[-1] @ net.readout.weight + net.readout.bias
    shift = lax.stop_gradient(jnp.max(logits.real)).astype(logits.dtype)
    normaliser = jnp.log(jnp.sum(jnp.exp(logits - shift))) + shift
    return value - beta * jnp.sum(y * (normaliser - logits))


def published_gradient(
    net: LayeredNetwork,
    x: Float[Array, "batch inputs"],
    y: Float[Array, "batch classes"],
    schedule: PublishedSchedule,
    *,
    unroll: bool = True,
) -> LayeredNetwork:
    """Return the N-point estimate `Re (1/N) Σ_k −(1/β_k) ∂Φ/∂θ(s_{β_k})`, mean over the batch.

    **Arguments:** `net`: with the sigmoid activation and cross-entropy; `x`, `y`: inputs and one-hot targets;
    `unroll`: whether
    steps are unrolled in Python, as published, or rolled into a loop that computes the same numbers and compiles in
    no time.

    **Returns:** the gradient as a pytree of the network's type.
    """
    import os
    def one(x, y):
        def at(beta: complex):
            # On the real line the published code stays real; off it, states, inputs and parameters are all complex64.
            dtype = complex_dtype(net) if complex(beta).imag or os.environ.get("ALLC") else parameter_dtype(net)
            return _cast(net, dtype), x.astype(dtype), y.astype(dtype), jnp.asarray(beta, dtype)

        def relax(s: States, beta: complex, steps: int) -> States:
            typed, inputs, targets, nudge = at(beta)
            start = tuple(layer.astype(inputs.dtype) for layer in s)
            return _repeat(lambda s: _update(typed, inputs, s, targets, nudge), start, steps, unroll)

        def slope(s: States, beta: complex) -> LayeredNetwork:
            typed, inputs, targets, nudge = at(beta)
            g= jax.grad(potential, holomorphic=jnp.iscomplexobj(inputs))(typed, inputs, s, targets, nudge)
            return jax.tree.map(lambda p: p / -nudge, g)

        zeros = tuple(jnp.zeros(shape, x.dtype) for shape in net.layer_shapes)
        free = relax(zeros, 0.0, schedule.free_steps)
        total = jax.tree.map(jnp.zeros_like, net)
        for beta, count in schedule.nudges():
            at_point = slope(relax(free, beta, schedule.nudged_steps), beta)
            total = jax.tree.map(lambda sum_, p: sum_ + count*p.real, total, at_point)
        return jax.tree.map(lambda p: p/schedule.points, total)
    return jax.tree.map(lambda p: jnp.mean(p,0), jax.vmap(one)(x,y))


def published_step(schedule: PublishedSchedule) -> Callable[[LayeredNetwork, Array, Array], LayeredNetwork]:
    """Return the training step `(net, x, one-hot y) → net` of the published schedule, ready to be compiled."""

    def step(net: LayeredNetwork, x: Array, y: Array) -> LayeredNetwork:
        gradient = published_gradient(net, x, y, schedule)
        return jax.tree.map(lambda p, g: p - schedule.learning_rate * g, net, gradient)

    return step


def _update(
    net: LayeredNetwork, x: Complex[Array, "batch inputs"], s: States, y: Complex[Array, "batch classes"], beta: Array
) -> States:
    drives = jax.grad(potential, argnums=2, holomorphic=jnp.iscomplexobj(x))(net, x, s, y, beta)
    return tuple(1 / (1 + jnp.exp(2 - 4 * a)) for a in drives)


def _repeat(update: Callable[[States], States], s: States, steps: int, unroll: bool) -> States:
    if not unroll:
        return lax.fori_loop(0, steps, lambda _, s: update(s), s)
    for _ in range(steps):
        s = update(s)
    return s


def _cast(net: LayeredNetwork, dtype: Any) -> LayeredNetwork:
    return jax.tree.map(lambda p: p.astype(dtype) if eqx.is_inexact_array(p) else p, net)

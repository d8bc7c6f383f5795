"""Builders: networks of the papers from one line, with the papers' initialisation.

Weights are drawn from a normal truncated at ±2 standard deviations with parameter `std` (default `1/√fan-in`), so their
actual deviation is 0.88·std, as in `jax.nn.initializers.truncated_normal` and in both papers; biases are zero.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from holoprop.network.activation import AbstractActivation, activation_named
from holoprop.network.connection import Dense
from holoprop.network.cost import AbstractCost, cost_named
from holoprop.network.layered import LayeredNetwork
from holoprop.network.readout import Readout


def mlp(
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    *,
    activation: str | AbstractActivation = "sigmoid",
    cost: str | AbstractCost = "cross_entropy",
    weight_scale: float = 1.0,
    weight_std: float | None = None,
    key: PRNGKeyArray,
) -> LayeredNetwork:
    """Build a multi-layer energy network with dense, tied connections.

    `Φ = Σ_l s_{l+1} · (W_l s_l + b_l)`, with `s_0 = x` and a linear readout of `s_L` (P1, §1.2 of its settings).

    **Arguments:**

    - `inputs`, `hidden`, `classes`: number of inputs, of units in each settled layer, of logits.
    - `activation`: an activation or its name: `sigmoid`, `double_silu`, `tanh`, `silu`, `softplus`, `hard_sigmoid`,
      `relu`.
    - `cost`: a cost or its name: `cross_entropy`, `squared_error`.
    - `weight_scale`: factor on every initial weight, readout included.
    - `weight_std`: standard deviation parameter in place of `1/√fan-in` (the papers' `sc`), before `weight_scale`.
    - `key`: JAX random key.

    **Returns:** a `LayeredNetwork` with float32 parameters (float64 where JAX's x64 mode is on).

    **Raises:** `ValueError` for sizes below 1, no hidden layer, or a negative or non-finite scale.

    ```python
    net = hp.mlp(784, (256, 256), 10, key=jax.random.key(0))
    net.connections[0].weight.shape  # (784, 256)
    ```
    """
    hidden = tuple(hidden)
    if not hidden:
        raise ValueError("hidden must name at least one layer, got ()")
    for name, size in (("inputs", inputs), *(("hidden", size) for size in hidden), ("classes", classes)):
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    for name, value in (("weight_scale", weight_scale), ("weight_std", weight_std)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {value}")
    sizes = (inputs, *hidden, classes)
    keys = jax.random.split(key, len(sizes) - 1)
    weights = [
        _truncated_normal(k, (fan_in, fan_out), weight_scale * (fan_in**-0.5 if weight_std is None else weight_std))
        for k, fan_in, fan_out in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]
    *dense, out = [(weight, jnp.zeros(weight.shape[1], weight.dtype)) for weight in weights]
    return LayeredNetwork(
        connections=tuple(Dense(weight, bias) for weight, bias in dense),
        readout=Readout(*out),
        activation=activation_named(activation),
        cost=cost_named(cost),
    )


def _truncated_normal(key: PRNGKeyArray, shape: tuple[int, int], std: float) -> Float[Array, "fan_in fan_out"]:
    return std * jax.random.truncated_normal(key, -2.0, 2.0, shape)

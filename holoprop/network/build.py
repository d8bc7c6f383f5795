"""Builders: networks of the papers from one line, with the papers' initialisation.

Weights are drawn from a normal truncated at ±2 standard deviations with parameter `std` (default `1/√fan-in`), so their
actual deviation is 0.88·std, as in `jax.nn.initializers.truncated_normal` and in both papers; biases are zero.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from holoprop.network.activation import AbstractActivation, activation_named
from holoprop.network.connection import Conv, Dense
from holoprop.network.convolution import Padding
from holoprop.network.cost import AbstractCost, cost_named
from holoprop.network.layered import LayeredNetwork
from holoprop.network.pooling import AbstractPooling, pooling_named
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
    _check_sizes(inputs=inputs, hidden=hidden, classes=classes)
    _check_scales(weight_scale=weight_scale, weight_std=weight_std)
    sizes = (inputs, *hidden, classes)
    keys = jax.random.split(key, len(sizes) - 1)
    *dense, out = [
        _affine(k, shape, weight_scale, weight_std) for k, shape in zip(keys, itertools.pairwise(sizes), strict=True)
    ]
    return LayeredNetwork(
        connections=tuple(Dense(weight, bias) for weight, bias in dense),
        readout=Readout(*out),
        activation=activation_named(activation),
        cost=cost_named(cost),
    )


def convnet(
    in_shape: tuple[int, int, int],
    channels: Sequence[int],
    classes: int,
    *,
    kernel: int = 3,
    stride: int | Sequence[int] = 1,
    padding: Padding | Sequence[Padding] | None = None,
    pools: Sequence[int] | None = None,
    pooling: str | AbstractPooling = "softmax",
    activation: str | AbstractActivation = "double_silu",
    cost: str | AbstractCost = "cross_entropy",
    weight_scale: float = 1.0,
    weight_std: float | None = None,
    key: PRNGKeyArray,
) -> LayeredNetwork:
    """Build a convolutional energy network, a chain of tied convolutions with pooling.

    `Φ = Σ_l s_{l+1} · pool(W_l ∗ s_l + b_l)`, with `s_0 = x` and a linear readout of `s_L`, flattened.

    **Arguments:**

    - `in_shape`: `(height, width, channels)` of the input.
    - `channels`: of each settled layer, first to last; `classes`: number of logits.
    - `kernel`: side of the square kernels; `stride`: of all convolutions, or of each.
    - `padding`: `"SAME"` or `"VALID"`, of all or of each; by default that of P1's four-layer network, `"SAME"` but
      `"VALID"` in the last.
    - `pools`: the convolutions, counted from 1, that are followed by pooling; by default all of them.
    - `pooling`: a pooling or its name: `softmax`, `average`, `max` (2×2).
    - `activation`, `cost`, `weight_scale`, `weight_std`, `key`: as `mlp`; a convolution's fan-in is `kernel²` times its
      input channels.

    **Returns:** a `LayeredNetwork` with float32 parameters (float64 where JAX's x64 mode is on).

    **Raises:** `ValueError` for sizes below 1, no channels, lists of another length than `channels`, a number in
    `pools` that is no convolution, a map of which nothing is left, or a negative or non-finite scale.

    Source: P1 (arXiv 2209.00530), its four-layer network and VGG-6.

    ```python
    net = hp.convnet((32, 32, 3), (128, 256, 512, 512), 10, key=jax.random.key(0))  # P1, Table 2
    vgg = hp.convnet(
        (32, 32, 3),
        (128, 128, 256, 256, 512, 512),
        10,
        pools=(1, 3, 5),
        padding=("SAME", "SAME", "SAME", "VALID", "SAME", "VALID"),
        key=jax.random.key(0),
    )  # P1, Fig. 4
    ```
    """
    connections, last, key = _convolutions(
        in_shape, channels, kernel, stride, padding, pools, pooling, weight_scale, weight_std, key
    )
    _check_sizes(classes=classes)
    return LayeredNetwork(
        connections=connections,
        readout=Readout(*_affine(key, (math.prod(last), classes), weight_scale, weight_std)),
        activation=activation_named(activation),
        cost=cost_named(cost),
    )


def _convolutions(
    in_shape: tuple[int, int, int],
    channels: Sequence[int],
    kernel: int,
    stride: int | Sequence[int],
    padding: Padding | Sequence[Padding] | None,
    pools: Sequence[int] | None,
    pooling: str | AbstractPooling,
    weight_scale: float,
    weight_std: float | None,
    key: PRNGKeyArray,
) -> tuple[tuple[Conv, ...], tuple[int, ...], PRNGKeyArray]:
    """Return the convolutions, the last layer's shape, and a key for the readout."""
    channels = tuple(channels)
    if not channels:
        raise ValueError("channels must name at least one layer, got ()")
    if len(in_shape) != 3:
        raise ValueError(f"in_shape must be (height, width, channels), got {in_shape}")
    _check_sizes(in_shape=in_shape, channels=channels, kernel=kernel)
    _check_scales(weight_scale=weight_scale, weight_std=weight_std)
    count = len(channels)
    if padding is None:
        paddings: tuple[Padding, ...] = ("SAME",) * (count - 1) + ("VALID",)
    else:
        paddings = (padding,) * count if isinstance(padding, str) else tuple(padding)
    strides = (stride,) * count if isinstance(stride, int) else tuple(stride)
    for name, values in (("padding", paddings), ("stride", strides)):
        if len(values) != count:
            raise ValueError(f"{name} must be one for all {count} convolutions or one for each, got {values}")
    pooled = set(range(1, count + 1) if pools is None else pools)
    if wrong := pooled - set(range(1, count + 1)):
        raise ValueError(f"pools must be numbers of convolutions, 1 … {count}, got {sorted(wrong)}")
    pool = pooling_named(pooling)
    *keys, last_key = jax.random.split(key, count + 1)
    connections: list[Conv] = []
    shape: tuple[int, ...] = in_shape
    for i, out in enumerate(channels):
        weight, bias = _affine(keys[i], (kernel, kernel, shape[2], out), weight_scale, weight_std)
        conv = Conv(weight, bias, (shape[0], shape[1]), strides[i], paddings[i], pool if i + 1 in pooled else None)
        connections.append(conv)
        shape = conv.target_shape
    return tuple(connections), shape, last_key


def _affine(
    key: PRNGKeyArray, shape: tuple[int, ...], weight_scale: float, weight_std: float | None
) -> tuple[Float[Array, "..."], Float[Array, " fan_out"]]:
    """Return a weight drawn from a truncated normal, and a bias of zeros."""
    std = math.prod(shape[:-1]) ** -0.5 if weight_std is None else weight_std
    weight = weight_scale * std * jax.random.truncated_normal(key, -2.0, 2.0, shape)
    return weight, jnp.zeros(shape[-1], weight.dtype)


def _check_sizes(**sizes: int | Sequence[int]) -> None:
    for name, size in sizes.items():
        for each in (size,) if isinstance(size, int) else size:
            if each < 1:
                raise ValueError(f"{name} must be at least 1, got {each}")


def _check_scales(**scales: float | None) -> None:
    for name, value in scales.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {value}")

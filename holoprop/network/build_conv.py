"""Builders of convolutional networks: the papers' chains with pooling, and residual ones."""

import math
from collections.abc import Sequence

import jax
from jaxtyping import PRNGKeyArray

from holoprop.network.activation import AbstractActivation, activation_named
from holoprop.network.connection import AbstractConnection, Skip
from holoprop.network.conv import Conv
from holoprop.network.convolution import Padding
from holoprop.network.cost import AbstractCost, cost_named
from holoprop.network.initial import Feedback, affine, check_scales, check_sizes, fed_back
from holoprop.network.layered import LayeredNetwork, Start
from holoprop.network.pooling import AbstractPooling, pooling_named
from holoprop.network.readout import Readout


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
    feedback: Feedback = "tied",
    angle: float | None = None,
    activation: str | AbstractActivation = "double_silu",
    cost: str | AbstractCost = "cross_entropy",
    weight_scale: float = 1.0,
    weight_std: float | None = None,
    start: Start = "feedforward",
    key: PRNGKeyArray,
) -> LayeredNetwork:
    """Build a convolutional network, a chain of convolutions with pooling, by default tied ones: an energy network.

    `Φ = Σ_l s_{l+1} · pool(W_l ∗ s_l + b_l)`, with `s_0 = x` and a linear readout of `s_L`, flattened. With free
    feedback (P2) layer `l` is driven by `V_l ∗ᵀ (pool'(V_l ∗ s_l)ᵀ s_{l+1})` from above, and there is no potential.

    **Arguments:**

    - `in_shape`: `(height, width, channels)` of the input.
    - `channels`: of each settled layer, first to last; `classes`: number of logits.
    - `kernel`: side of the square kernels; `stride`: of all convolutions, or of each.
    - `padding`: `"SAME"` or `"VALID"`, of all or of each; by default that of P1's four-layer network, `"SAME"` but
      `"VALID"` in the last.
    - `pools`: the convolutions, counted from 1, that are followed by pooling; by default all of them.
    - `pooling`: a pooling or its name: `softmax`, `average`, `max` (2×2).
    - `feedback`, `angle`, `activation`, `cost`, `weight_scale`, `weight_std`, `key`: as `mlp`; a convolution's fan-in
      is `kernel²` times its input channels.
    - `start`: where settling begins: `"feedforward"`, one pass without feedback, or `"zeros"`, as in P1.

    **Returns:** a `LayeredNetwork` with float32 parameters (float64 where JAX's x64 mode is on).

    **Raises:** `ValueError` for sizes below 1, no channels, lists of another length than `channels`, a number in
    `pools` that is no convolution, a map of which nothing is left, another word for the feedback, free feedback of a
    single layer, an angle outside its range or of tied feedback, or a negative or non-finite scale.

    Source: P1 (arXiv 2209.00530), its four-layer network and VGG-6; P2 (arXiv 2309.02214), that with free feedback.

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
    connections, last, last_key = _convolutions(
        in_shape, channels, kernel, stride, padding, pools, pooling, weight_scale, weight_std, key
    )
    check_sizes(classes=classes)
    return LayeredNetwork(
        connections=fed_back(connections, feedback, angle, key),
        readout=Readout(*affine(last_key, (math.prod(last), classes), weight_scale, weight_std)),
        activation=activation_named(activation),
        cost=cost_named(cost),
        start=start,
    )


def resnet(
    in_shape: tuple[int, int, int],
    channels: Sequence[int],
    classes: int,
    *,
    blocks: int | Sequence[int] = 1,
    kernel: int = 3,
    strength: float = 0.5,
    activation: str | AbstractActivation = "double_silu",
    cost: str | AbstractCost = "cross_entropy",
    weight_scale: float = 1.0,
    weight_std: float | None = None,
    start: Start = "feedforward",
    key: PRNGKeyArray,
) -> LayeredNetwork:
    """Build a convolutional energy network with residual connections.

    A convolution into layer 1, then residual blocks: two convolutions, `l → l+1 → l+2`, and a connection `l → l+2` that
    skips them,

        Φ = … + s_{l+1} · (W ∗ s_l + b) + s_{l+2} · (W' ∗ s_{l+1} + b') + s_{l+2} · skip(s_l) + …,

    where `skip(s) = κ s` if the shape stays, else a convolution 1×1 of its own. The first block of every stage but the
    first halves height and width (stride 2 of its first convolution and its skip). The readout sees the last layer,
    flattened.

    **Arguments:**

    - `in_shape`, `classes`, `activation`, `cost`, `weight_scale`, `weight_std`, `start`, `key`: as `convnet`.
    - `channels`: of each stage, first to last; `blocks`: residual blocks in every stage, or in each.
    - `kernel`: side of the square kernels of the blocks.
    - `strength`: the `κ` of skips between layers of one shape, in units of drive per activity.

    **Returns:** a `LayeredNetwork` with float32 parameters (float64 where JAX's x64 mode is on). A layer is joined to
    the two above, so no two of a block can be updated at once: sweeps go layer by layer.

    **Raises:** `ValueError` for sizes below 1, no channels, `blocks` of another length than `channels`, a `strength`
    that is not finite, or a negative or non-finite scale.

    Source: skip connections in the energy, Hopfield-ResNet (arXiv 2509.26003); the layout is that of residual networks
    (He et al. 2016) without normalisation.

    ```python
    net = hp.resnet((32, 32, 3), (64, 128, 256), 10, key=jax.random.key(0))
    net.graph  # (0, 1), (1, 2), (2, 3), (1, 3), …
    ```
    """
    channels = tuple(channels)
    _check_image(in_shape, channels, kernel=kernel, classes=classes)
    check_scales(weight_scale=weight_scale, weight_std=weight_std)
    counts = (blocks,) * len(channels) if isinstance(blocks, int) else tuple(blocks)
    if len(counts) != len(channels):
        raise ValueError(f"blocks must be one for all {len(channels)} stages or one for each, got {counts}")
    check_sizes(blocks=counts)
    first_key, last_key, *keys = jax.random.split(key, 2 + 3 * sum(counts))

    def conv(key: PRNGKeyArray, shape: tuple[int, ...], out: int, side: int, stride: int) -> Conv:
        weight, bias = affine(key, (side, side, shape[2], out), weight_scale, weight_std)
        return Conv(weight, bias, (shape[0], shape[1]), stride)

    connections: list[AbstractConnection] = [conv(first_key, in_shape, channels[0], kernel, 1)]
    edges, layer = [(0, 1)], 1
    strides = [2 if stage and not block else 1 for stage, count in enumerate(counts) for block in range(count)]
    outs = [out for out, count in zip(channels, counts, strict=True) for _ in range(count)]
    for i, (out, stride) in enumerate(zip(outs, strides, strict=True)):
        shape = connections[-1 if i == 0 else -2].target_shape
        lower = conv(keys[3 * i], shape, out, kernel, stride)
        upper = conv(keys[3 * i + 1], lower.target_shape, out, kernel, 1)
        same = upper.target_shape == shape
        skip = Skip(shape, strength) if same else conv(keys[3 * i + 2], shape, out, 1, stride)
        connections += [lower, upper, skip]
        edges += [(layer, layer + 1), (layer + 1, layer + 2), (layer, layer + 2)]
        layer += 2
    last = math.prod(connections[-1].target_shape)
    return LayeredNetwork(
        connections=tuple(connections),
        readout=Readout(*affine(last_key, (last, classes), weight_scale, weight_std)),
        activation=activation_named(activation),
        cost=cost_named(cost),
        edges=tuple(edges),
        start=start,
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
    _check_image(in_shape, channels, kernel=kernel)
    check_scales(weight_scale=weight_scale, weight_std=weight_std)
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
        weight, bias = affine(keys[i], (kernel, kernel, shape[2], out), weight_scale, weight_std)
        conv = Conv(weight, bias, (shape[0], shape[1]), strides[i], paddings[i], pool if i + 1 in pooled else None)
        connections.append(conv)
        shape = conv.target_shape
    return tuple(connections), shape, last_key


def _check_image(in_shape: tuple[int, ...], channels: tuple[int, ...], **sizes: int) -> None:
    if not channels:
        raise ValueError("channels must name at least one layer, got ()")
    if len(in_shape) != 3:
        raise ValueError(f"in_shape must be (height, width, channels), got {in_shape}")
    check_sizes(in_shape=in_shape, channels=channels, **sizes)

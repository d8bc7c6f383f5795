"""Builders of dense networks from one line, as the papers draw them; convolutional ones are in `build_conv.py`."""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
from jaxtyping import PRNGKeyArray

from holoprop.network.activation import AbstractActivation, activation_named
from holoprop.network.connection import Dense, Directed
from holoprop.network.cost import AbstractCost, cost_named
from holoprop.network.feedback import one_way
from holoprop.network.graph import chain
from holoprop.network.initial import FEEDBACK_KEY, Feedback, affine, check_scales, check_sizes, fed_back
from holoprop.network.layered import LayeredNetwork, Start
from holoprop.network.readout import Readout


def mlp(
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    *,
    feedback: Feedback = "tied",
    angle: float | None = None,
    activation: str | AbstractActivation = "sigmoid",
    cost: str | AbstractCost = "cross_entropy",
    weight_scale: float = 1.0,
    weight_std: float | None = None,
    start: Start = "zeros",
    key: PRNGKeyArray,
) -> LayeredNetwork:
    """Build a multi-layer network with dense connections, by default tied ones: an energy network.

    `Φ = Σ_l s_{l+1} · (W_l s_l + b_l)`, with `s_0 = x` and a linear readout of `s_L` (P1, §1.2 of its settings). With
    free feedback (P2), `a_l = W_{l−1} s_{l−1} + b_{l−1} + V_l s_{l+1}`, and no potential.

    **Arguments:**

    - `inputs`, `hidden`, `classes`: number of inputs, of units in each settled layer, of logits.
    - `feedback`: `"tied"`, or `"free"`: weights of its own for every way back between settled layers.
    - `angle`: of free feedback to the transposed forward weights, from 0 to 180 degrees, exactly; without it 90:
      nothing shared.
    - `activation`: an activation or its name: `sigmoid`, `double_silu`, `tanh`, `silu`, `softplus`, `hard_sigmoid`,
      `relu`.
    - `cost`: a cost or its name: `cross_entropy`, `squared_error`.
    - `weight_scale`: factor on every initial weight, readout included.
    - `weight_std`: standard deviation parameter in place of `1/√fan-in` (the papers' `sc`), before `weight_scale`.
    - `start`: where settling begins: `"zeros"`, as in the papers, or `"feedforward"`, one pass without feedback.
    - `key`: JAX random key.

    **Returns:** a `LayeredNetwork` with float32 parameters (float64 where JAX's x64 mode is on).

    **Raises:** `ValueError` for sizes below 1, no hidden layer, another word for the feedback, free feedback of a
    single layer, an angle outside its range or of tied feedback, or a negative or non-finite scale.

    ```python
    net = hp.mlp(784, (256, 256), 10, key=jax.random.key(0))
    net.connections[0].weight.shape  # (784, 256)
    free = hp.mlp(784, (256, 256, 10), 10, feedback="free", angle=30.0, key=jax.random.key(0))  # P2
    ```
    """
    dense, readout = _dense_chain(inputs, hidden, classes, weight_scale, weight_std, key)
    return LayeredNetwork(
        connections=fed_back(dense, feedback, angle, key),
        readout=readout,
        activation=activation_named(activation),
        cost=cost_named(cost),
        start=start,
    )


def loop_mlp(
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    *,
    activation: str | AbstractActivation = "sigmoid",
    cost: str | AbstractCost = "cross_entropy",
    weight_scale: float = 1.0,
    weight_std: float | None = None,
    start: Start = "zeros",
    key: PRNGKeyArray,
) -> LayeredNetwork:
    """Build a network whose settled layers drive each other in a circle, `x → s_1 → s_2 → … → s_L → s_1`, one way only.

    `a_1 = W_0 x + b_0 + V s_L`, `a_l = W_{l−1} s_{l−1} + b_{l−1}`: no two layers are joined both ways, so that no
    synapse has a partner that could be its transpose.

    **Arguments:** `inputs`, `hidden`, `classes`, `activation`, `cost`, `weight_scale`, `weight_std`, `start`, `key`: as
    `mlp`, with at least two layers. The connection that closes the loop has no bias.

    **Returns:** a `LayeredNetwork`, a vector field, with float32 parameters (float64 where JAX's x64 mode is on).

    **Raises:** `ValueError` for fewer than two layers, sizes below 1, or a negative or non-finite scale.

    Source: P2 (arXiv 2309.02214), its network without reciprocal edges (Fig. 4e–h).

    ```python
    net = hp.loop_mlp(784, (256, 256, 10), 10, key=jax.random.key(0))
    net.graph  # (0, 1), (1, 2), (2, 3), (3, 1)
    ```
    """
    dense, readout = _dense_chain(inputs, hidden, classes, weight_scale, weight_std, key)
    layers = len(dense)
    if layers < 2:
        raise ValueError(f"a loop needs at least two hidden layers, got {tuple(hidden)}")
    shape = (dense[-1].weight.shape[1], dense[0].weight.shape[1])
    closing, _ = affine(jax.random.fold_in(key, FEEDBACK_KEY), shape, weight_scale, weight_std)
    return LayeredNetwork(
        connections=(dense[0], *map(Directed, dense[1:]), Directed(Dense(closing, None))),
        readout=readout,
        activation=activation_named(activation),
        cost=cost_named(cost),
        edges=(*chain(layers), (layers, 1)),
        start=start,
    )


def feedforward(net: LayeredNetwork, *, activation: str | AbstractActivation = "relu") -> LayeredNetwork:
    """Return the feed-forward network of the same connections, readout and parameters: P1's comparison, its rows "BP".

    `s_j = σ(Σ_i forward_ij(s_i))`: nothing is sent back, so that one pass through the layers is the rest state. Train
    it with `Backpropagation`.

    **Arguments:** `net`: whose edges all lead upwards; `activation`: an activation or its name.

    **Raises:** `ValueError` for a network with edges that lead down, or an unknown activation.

    Source: P1 (arXiv 2209.00530), Table 2, "BP".

    ```python
    bp = hp.feedforward(hp.convnet((32, 32, 3), (128, 256, 512, 512), 10, key=jax.random.key(0)))
    hp.Backpropagation()(bp, x, y).gradient
    ```
    """
    connections = tuple(map(one_way, net.connections))
    changes = {"activation": activation_named(activation), "feedback": False, "start": "feedforward"}
    return dataclasses.replace(net, connections=connections, **changes)


def _dense_chain(
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    weight_scale: float,
    weight_std: float | None,
    key: PRNGKeyArray,
) -> tuple[tuple[Dense, ...], Readout]:
    """Return the dense connections `x → s_1 → … → s_L`, and the readout."""
    hidden = tuple(hidden)
    if not hidden:
        raise ValueError("hidden must name at least one layer, got ()")
    check_sizes(inputs=inputs, hidden=hidden, classes=classes)
    check_scales(weight_scale=weight_scale, weight_std=weight_std)
    sizes = (inputs, *hidden, classes)
    keys = jax.random.split(key, len(sizes) - 1)
    *dense, out = [
        affine(k, shape, weight_scale, weight_std) for k, shape in zip(keys, itertools.pairwise(sizes), strict=True)
    ]
    return tuple(Dense(weight, bias) for weight, bias in dense), Readout(*out)

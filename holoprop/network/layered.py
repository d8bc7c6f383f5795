"""The built-in network: a chain of layers, `x → s_1 → … → s_L → logits`.

With tied connections it is an energy network,

    Φ(θ, x, s) = Σ_l s_{l+1} · forward_l(s_l),      a_l = forward_{l−1}(s_{l−1}) + backward_l(s_{l+1}),

and its layers split into odd and even: the layers of one parity are driven by the other's alone.
"""

import math
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from holoprop.network.activation import AbstractActivation
from holoprop.network.base import AbstractNetwork, State
from holoprop.network.connection import AbstractConnection
from holoprop.network.cost import AbstractCost
from holoprop.network.readout import Readout


class LayeredNetwork(AbstractNetwork):
    """A chain of layers joined by connections, at rest where `s_l = σ(forward_{l−1}(s_{l−1}) + backward_l(s_{l+1}))`.

    **Attributes:**

    - `connections`: `connections[i]` joins layer `i` to layer `i + 1`, where layer 0 is the input.
    - `readout`: the `Readout` of the last layer, flattened.
    - `activation`, `cost`: the activation `σ` of every layer, and the cost `C(o, y)`.

    Parameters are real and of one dtype, that of the free states; states on a contour are complex of that precision.

    **Raises:** `ValueError` if there is no connection, the shapes of neighbours do not fit, or the readout takes
    another number of units than the last layer has.

    Source: P1 (arXiv 2209.00530), its multi-layer network.
    """

    connections: tuple[AbstractConnection, ...]
    readout: Readout
    activation: AbstractActivation
    cost: AbstractCost
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not self.connections:
            raise ValueError("a layered network needs at least one connection, got none")
        for i, (below, above) in enumerate(zip(self.connections[:-1], self.connections[1:], strict=True)):
            if below.target_shape != above.source_shape:
                raise ValueError(
                    f"connections[{i}] ends in a layer of shape {below.target_shape} "
                    f"but connections[{i + 1}] starts from {above.source_shape}"
                )
        last, units = self.connections[-1].target_shape, self.readout.weight.shape[0]
        if units != math.prod(last):
            raise ValueError(f"the readout takes {units} units but the last layer has {math.prod(last)} (shape {last})")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.connections[0].source_shape

    @property
    def layer_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each layer's activities."""
        return tuple(connection.target_shape for connection in self.connections)

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.readout.bias.shape[0]

    @property
    def is_energy(self) -> bool:
        """Whether every connection is tied."""
        return all(connection.tied for connection in self.connections)

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The layers of the parity that the last layer has not, then those that it has (one block for one layer)."""
        depth = len(self.connections)
        last = tuple(range((depth - 1) % 2, depth, 2))
        others = tuple(layer for layer in range(depth) if layer not in last)
        return (others, last) if others else (last,)

    def clamp(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the drive that the input sends to the first layer: it is constant while the input is clamped."""
        return self.connections[0].forward(x)

    def drive(self, c: Inexact[Array, "..."], s: State) -> State:
        """Return `a_l = forward_{l−1}(s_{l−1}) + backward_l(s_{l+1})` for each layer."""
        return tuple(self._drive_layer(c, s, layer) for layer in range(len(s)))

    def drive_block(self, c: Inexact[Array, "..."], s: State, block: int) -> State:
        """Return the drives of the layers in `blocks[block]`; no others are computed."""
        return tuple(self._drive_layer(c, s, layer) for layer in self.blocks[block])

    def potential(self, c: Inexact[Array, "..."], s: State) -> Inexact[Array, ""]:
        """Return `Φ = s_1 · c + Σ_{l≥1} s_{l+1} · forward_l(s_l)`.

        **Raises:** `ValueError` if some connection's feedback is not tied: then no potential exists.
        """
        if not self.is_energy:
            raise ValueError("this network has free feedback weights, so its drive has no potential")
        value = jnp.sum(s[0] * c)
        for connection, below, above in zip(self.connections[1:], s[:-1], s[1:], strict=True):
            value = value + jnp.sum(above * connection.forward(below))
        return value

    def _drive_layer(self, c: Inexact[Array, "..."], s: State, layer: int) -> Inexact[Array, "..."]:
        below = c if layer == 0 else self.connections[layer].forward(s[layer - 1])
        if layer + 1 == len(s):
            return below
        return below + self.connections[layer + 1].backward(s[layer + 1])

"""The built-in network: layers joined by connections, a chain `x → s_1 → … → s_L → logits` or any graph.

With tied connections it is an energy network,

    Φ(θ, x, s) = Σ_{i→j} s_j · forward_ij(s_i),      a_j = Σ_i forward_ij(s_i) + Σ_k backward_jk(s_k, s_j),

where layer 0 is the input. A connection that skips layers is a residual one. With free feedback or directed
connections (P2) the same sums are the drive, and there is no potential. Which layers may be updated at once
follows from the graph (`graph.py`): in a chain the layers of one parity are driven by the other's.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from holoprop.network.activation import AbstractActivation
from holoprop.network.base import AbstractNetwork, Products, State
from holoprop.network.connection import AbstractConnection
from holoprop.network.cost import AbstractCost
from holoprop.network.graph import Edge, chain, check_graph, colour_classes
from holoprop.network.readout import Readout

Start = Literal["zeros", "feedforward"]
"""Where settling begins: at rest without input, or with one pass through the layers that sends nothing back."""


class LayeredNetwork(AbstractNetwork):
    """Layers joined by connections, at rest where `s_j = σ(Σ_i forward_ij(s_i) + Σ_k backward_jk(s_k, s_j))`.

    **Attributes:**

    - `connections`: `connections[i]` joins layer `i` to layer `i + 1`, where layer 0 is the input, unless `edges` says
      otherwise.
    - `readout`: the `Readout` of the last layer, flattened.
    - `activation`, `cost`: the activation `σ` of every layer, and the cost `C(o, y)`.
    - `edges`: for each connection the layers `(source, target)` that it joins; `None` for a chain. The first is
      `(0, 1)`, and no other starts from the input; several into one layer add up.
    - `feedback`: whether connections send anything back. Without it the network is feed-forward: no energy, and one
      pass through its layers is its rest state. (What a connection sends back, its transpose or by weights of its own,
      or nothing, is its own affair: `Dense`, `Conv`, `Directed`.)
    - `start`: where settling begins: `"zeros"`, as in the papers, or `"feedforward"`, one pass through the layers
      without feedback, which saves a sweep or two.

    Parameters are real and of one dtype, that of the free states; states on a contour are complex of that precision.

    **Raises:** `ValueError` if there is no connection, the shapes of what they join do not fit, `edges` are no such
    graph (without feedback: or do not all lead upwards), `start` is another word, the readout takes another number of
    units than the last layer has, or the first connection, which starts from the input, has feedback weights.

    Source: P1 (arXiv 2209.00530), its multi-layer network; P2 (arXiv 2309.02214), free feedback and loops; residual
    connections: Hopfield-ResNet (arXiv 2509.26003).
    """

    connections: tuple[AbstractConnection, ...]
    readout: Readout
    activation: AbstractActivation
    cost: AbstractCost
    edges: tuple[Edge, ...] | None = eqx.field(static=True, default=None)
    feedback: bool = eqx.field(static=True, default=True)
    start: Start = eqx.field(static=True, default="zeros")
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not self.connections:
            raise ValueError("a layered network needs at least one connection, got none")
        check_graph(self.graph, len(self.connections))
        if not self.feedback and any(source >= target for source, target in self.graph):
            raise ValueError(f"without feedback all edges must lead upwards, got {self.graph}")
        if self.start not in ("zeros", "feedforward"):
            raise ValueError(f"start must be 'zeros' or 'feedforward', got {self.start!r}")
        if not (self.connections[0].tied or self.connections[0].directed):
            raise ValueError("connections[0] starts from the input, which nothing drives: leave out its feedback")
        shapes = [self.connections[0].source_shape, *self.layer_shapes]
        for i, (connection, (source, target)) in enumerate(zip(self.connections, self.graph, strict=True)):
            if connection.source_shape != shapes[source]:
                raise ValueError(
                    f"connections[{i}] starts from {connection.source_shape} but layer {source} has shape "
                    f"{shapes[source]}"
                )
            if connection.target_shape != shapes[target]:
                raise ValueError(
                    f"connections[{i}] ends in a layer of shape {connection.target_shape} but layer {target} has shape "
                    f"{shapes[target]}"
                )
        last, units = shapes[-1], self.readout.weight.shape[0]
        if units != math.prod(last):
            raise ValueError(f"the readout takes {units} units but the last layer has {math.prod(last)} (shape {last})")

    @property
    def graph(self) -> tuple[Edge, ...]:
        """The layers `(source, target)` that each connection joins; 0 is the input."""
        return chain(len(self.connections)) if self.edges is None else self.edges

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.connections[0].source_shape

    @property
    def layer_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each layer's activities."""
        shapes: dict[int, tuple[int, ...]] = {}
        for connection, (_, target) in zip(self.connections, self.graph, strict=True):
            shapes.setdefault(target, connection.target_shape)
        return tuple(shapes[layer] for layer in sorted(shapes))

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.readout.bias.shape[0]

    @property
    def is_energy(self) -> bool:
        """Whether there is feedback and every connection's between settled layers is tied."""
        return self.feedback and all(connection.tied for connection in self.connections[1:])

    @property
    def holomorphic(self) -> bool:
        """Whether the activation and every connection are complex-differentiable."""
        return self.activation.holomorphic and all(connection.holomorphic for connection in self.connections)

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The layers of each colour of the graph (`colour_classes`), in the order in which fewer products are kept.

        Without feedback each layer by itself, first to last: one sweep is a forward pass.
        """
        if not self.feedback:
            return tuple((layer,) for layer in range(len(self.layer_shapes)))
        classes = colour_classes([(a - 1, b - 1) for a, b in self.graph[1:]], len(self.layer_shapes))
        if len(classes) != 2:
            return classes
        weights = [
            sum(
                math.prod(connection.product_shape)
                for connection, (source, _) in zip(self.connections, self.graph, strict=True)
                if source - 1 in block and connection.recalls_product
            )
            for block in classes
        ]
        return classes[::-1] if weights[1] < weights[0] else classes

    @property
    def kept_products(self) -> tuple[int, ...]:
        """The products that a sweep reads before it renews them, by the index of their connection.

        Those of connections that start from any block but the last (whose products are made when a sweep begins), and
        that are recalled on the way down, or go up into an earlier block.
        """
        if not self.feedback:
            return ()
        place = {layer: k for k, block in enumerate(self.blocks) for layer in block}
        last = len(self.blocks) - 1

        def kept(i: int) -> bool:
            source, target = (layer - 1 for layer in self.graph[i])
            return place[source] < last and (self.connections[i].recalls_product or place[target] < place[source])

        return tuple(i for i in range(1, len(self.connections)) if kept(i))

    def transposed(self) -> "LayeredNetwork | None":
        """Return the network with forward and feedback weights exchanged, without biases but of the input's connection.

        `None` without feedback, or if a connection between settled layers has no transpose, such as one with softmax
        pooling.
        """
        if not self.feedback:
            return None
        exchanged = [connection.transposed() for connection in self.connections[1:]]
        known = tuple(connection for connection in exchanged if connection is not None)
        if len(known) < len(exchanged):
            return None
        return dataclasses.replace(self, connections=(self.connections[0], *known))

    def products(self, s: State, layers: Iterable[int]) -> Products:
        """Return the product of each connection that starts from one of `layers` (from 0), by its index."""
        wanted = set(layers)
        return {
            i: self.connections[i].product(s[source - 1])
            for i, (source, _) in enumerate(self.graph)
            if source - 1 in wanted
        }

    def clamp(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the drive that the input sends to the first layer: it is constant while the input is clamped."""
        return self.connections[0].forward(x)

    def initial(self, c: Inexact[Array, "..."]) -> State:
        """Return zeros, or what one pass without feedback makes of the input, `s_j = σ(Σ_{i<j} forward_ij(s_i))`."""
        return super().initial(c) if self.start == "zeros" else self.feedforward(c)

    def feedforward(self, c: Inexact[Array, "..."]) -> State:
        """Return the state of one pass without feedback, `s_j = σ(Σ_{i<j} forward_ij(s_i))`, layer after layer."""
        drives: dict[int, Array] = {1: c}
        state: list[Array] = []
        for layer, shape in enumerate(self.layer_shapes, 1):
            state.append(self.activation(drives[layer] if layer in drives else jnp.zeros(shape, c.dtype)))
            for connection, (source, target) in zip(self.connections, self.graph, strict=True):
                if source == layer < target:
                    drive = connection.forward(state[-1])
                    drives[target] = drives[target] + drive if target in drives else drive
        return tuple(state)

    def drive(self, c: Inexact[Array, "..."], s: State) -> State:
        """Return `a_j = Σ_i forward_ij(s_i) + Σ_k backward_jk(s_k, s_j)` for each layer."""
        products = self.products(s, range(len(s)))
        return tuple(self._drive_layer(c, s, products, layer) for layer in range(len(s)))

    def drive_block(self, c: Inexact[Array, "..."], s: State, block: int) -> State:
        """Return the drives of the layers in `blocks[block]`; no others are computed."""
        return self.drive_block_from(c, s, {}, block)

    def drive_block_from(self, c: Inexact[Array, "..."], s: State, products: Products, block: int) -> State:
        """Return the drives of the layers in `blocks[block]`; of the products those not given are computed."""
        return tuple(self._drive_layer(c, s, products, layer) for layer in self.blocks[block])

    def potential(self, c: Inexact[Array, "..."], s: State) -> Inexact[Array, ""]:
        """Return `Φ = s_1 · c + Σ_{i→j, i≥1} s_j · forward_ij(s_i)`.

        **Raises:** `ValueError` if some connection's feedback is not tied, or there is none: then no potential exists.
        """
        self._check_potential()
        value = jnp.sum(s[0] * c)
        for connection, (source, target) in zip(self.connections[1:], self.graph[1:], strict=True):
            value = value + jnp.sum(s[target - 1] * connection.forward(s[source - 1]))
        return value

    def potential_difference(self, c: Inexact[Array, "..."], s: State, rested: State) -> Inexact[Array, ""]:
        """Return `Φ(c, s) − Φ(c, s_0)`, `s_0 = rested`, from `d = s − s_0`: its derivative rounds as states do.

        With the product `z = z_0 + z'd`, affine in the source layer's activities, each connection adds

            s_j · up(z) − s_0j · up(z_0) = d_j · up(z) + s_0j · (up(z) − up(z_0)).

        In the sum over nudges, `Re Σ_k w_k = 0`, what all of them share then cancels neuron by neuron, before sums over
        neurons, positions and samples make large numbers of it, whose rounding would hide the gradient.

        **Raises:** `ValueError` as `potential`.
        """
        self._check_potential()
        begin = tuple(start.astype(layer.dtype) for start, layer in zip(rested, s, strict=True))
        moved = tuple(layer - start for layer, start in zip(s, begin, strict=True))
        value = jnp.sum(moved[0] * c)
        for connection, (source, target) in zip(self.connections[1:], self.graph[1:], strict=True):
            there, change = jax.jvp(connection.product, (begin[source - 1],), (moved[source - 1],))
            if getattr(connection, "keeps_real_weights", False):
                # Of a real state under complex nudges half the work: what the derivative above has made is not used.
                there = connection.product(rested[source - 1]).astype(change.dtype)
            drive = connection.up(there + change)
            value = value + jnp.sum(moved[target - 1] * drive + begin[target - 1] * (drive - connection.up(there)))
        return value

    def _check_potential(self) -> None:
        if self.is_energy:
            return
        kinds = {
            "free feedback weights": not all(each.tied or each.directed for each in self.connections),
            "directed connections": any(each.directed for each in self.connections[1:]),
        }
        kind = " and ".join(name for name, there in kinds.items() if there) if self.feedback else "no feedback"
        raise ValueError(f"this network has {kind}, so its drive has no potential")

    def _drive_layer(
        self, c: Inexact[Array, "..."], s: State, products: Mapping[int, Array], layer: int
    ) -> Inexact[Array, "..."]:
        terms = [c] if layer == 0 else []
        for i, (source, target) in enumerate(self.graph[1:], 1):
            connection = self.connections[i]
            if layer not in (source - 1, target - 1):
                continue
            goes_up = target - 1 == layer
            if not goes_up and (connection.directed or not self.feedback):
                continue
            product = products.get(i)
            if product is None and (goes_up or connection.recalls_product):
                product = connection.product(s[source - 1])
            if goes_up:
                assert product is not None
                terms.append(connection.up(product))
            else:
                terms.append(connection.down(s[target - 1], product))
        return sum(terms[1:], terms[0])

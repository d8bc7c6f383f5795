"""How many floating-point operations, and bytes, a training step of a layered network needs.

Only products with weights count, a multiplication and an addition each, `2 n_l m_l` with `n_l m_l` of

    dense           in · out
    convolution     height · width · out · rows · columns · in,    height × width of the product, before pooling,
                                                                   or, of the mean of windows, with it in the kernel

(every position of a convolution in full, as is the custom, also where the kernel reaches into the padding), and twice
that for complex activities, as weights are real (DESIGN.md, section 4.5). With connection 0 that of the input and `K`
classes read out of `n_L` units, per sample:

    input drive     2 n_0 m_0                                     once, while the input is clamped
    sweep           4 Σ_{l≥1} n_l m_l                             product and transpose between settled layers
    nudged sweep    the same + 4 n_L K                            to the logits and back
    gradient        2 n_0 m_0 + P (2 Σ_{l≥1} c_l n_l m_l + 4 n_L K)

for `P` points, a complex one counting twice. `c_l = 1`, for one product of activities per connection; under nonlinear
pooling 2, as what the pooling sends down depends on the product at rest. Pooling, activations, biases and softmax do
not count: they are bound by memory, if by anything.

It is what the arithmetic needs, not what some implementation spends, so that a share of the machine's rate cannot be
raised by computing things twice. The same holds for the bytes: in a sweep every weight is read twice (up and down, for
the whole batch at once), the input's drive once, and every layer, and every product that the next sweep looks at, is
read once and written once. Everything else might stay in caches.
"""

import dataclasses
import math

import jax

from holoprop.network.base import parameter_dtype
from holoprop.network.connection import AbstractConnection, Dense
from holoprop.network.conv import Conv
from holoprop.network.layered import LayeredNetwork


@dataclasses.dataclass(frozen=True)
class Sweeps:
    """How many sweeps a step took, summed over samples and points: free, nudged and real, nudged and complex."""

    free: int
    real: int
    complex: int


@dataclasses.dataclass(frozen=True)
class Flops:
    """Floating-point operations of a layered network, per sample, and the bytes its sweeps move.

    **Attributes:**

    - `input_drive`: of the product of the input with the first weights, `2 n_0 m_0`.
    - `inner`: of one product with all weights between settled layers, `2 Σ_{l≥1} n_l m_l`, real; where the way back
      needs a product of its own (free feedback with nonlinear pooling), of both.
    - `returned`: of all transposed products, the way back; with tied feedback as many.
    - `recalled`: of those of them that nonlinear pooling asks for again on the way down.
    - `logits`: of the product with the readout's weights, `2 n_L K`, real.
    - `weights`: how many numbers the connections between settled layers hold.
    - `activities`, `products`, `clamped`: how many numbers one sample's layers hold, the products that the next sweep
      looks at, and the input's drive.
    - `itemsize`: bytes of a real number.
    - `energy`: whether the gradient is read off every nudged state, or, of a vector field, off the free one.
    """

    input_drive: int
    inner: int
    returned: int
    recalled: int
    logits: int
    weights: int
    activities: int
    products: int
    clamped: int
    itemsize: int
    energy: bool = True

    @classmethod
    def of(cls, net: LayeredNetwork) -> "Flops":
        """Return the model of a network of dense connections and convolutions.

        **Raises:** `ValueError` if some connection is neither.
        """
        counts = [_product(i, connection) for i, connection in enumerate(net.connections)]
        settled = net.connections[1:]
        return cls(
            input_drive=counts[0],
            inner=sum(counts[1:]),
            returned=sum(map(_returned, settled)),
            recalled=sum(count for count, each in zip(counts[1:], settled, strict=True) if each.recalls_product),
            logits=2 * math.prod(net.readout.weight.shape),
            weights=sum(leaf.size for each in settled for leaf in jax.tree.leaves(each) if leaf.ndim > 1),
            activities=sum(map(math.prod, net.layer_shapes)),
            products=sum(math.prod(net.connections[i].product_shape) for i in net.kept_products),
            clamped=math.prod(net.layer_shapes[0]),
            itemsize=parameter_dtype(net).itemsize,
            energy=net.is_energy,
        )

    def sweep(self, *, nudged: bool = False, complex_state: bool = False) -> int:
        """Of one update of every settled layer; the input's drive is not part of it."""
        return (2 if complex_state else 1) * (self.inner + self.returned + (2 * self.logits if nudged else 0))

    def sweep_bytes(self, *, batch: int, points: int = 1, complex_state: bool = False) -> int:
        """Return the least that a sweep of a batch, at so many points at once, reads and writes, in bytes."""
        lanes = batch * points * (2 if complex_state else 1)
        moved = 2 * self.weights + batch * self.clamped + 2 * lanes * (self.activities + self.products)
        return self.itemsize * moved

    def gradient(self, *, real_points: int, complex_points: int) -> int:
        """Of the parameter gradients once all states are known.

        What the points send to the first layer is summed before the product with the real input. A complex product of
        activities of which only the real part is wanted is two real ones; the readout's needs the logits before.
        """
        if not self.energy:
            # At the free state: the products, where pooling asks for them, then a product for each weight.
            return self.input_drive + self.recalled + self.inner + self.returned + 2 * self.logits
        once = self.inner + self.recalled + 2 * self.logits
        return self.input_drive + (real_points + 2 * complex_points) * once

    def homeostasis(self, *, samples: int) -> int:
        """Of the penalty's gradient, local form: for each random vector both directions' products, and as many back."""
        return 4 * samples * self.returned

    def training_step(self, *, batch: int, sweeps: Sweeps, real_points: int, complex_points: int) -> int:
        """Of a whole contour step on a batch: input drive, all sweeps, logits at rest, gradient."""
        once = self.input_drive + self.logits + self.gradient(real_points=real_points, complex_points=complex_points)
        return (
            batch * once
            + sweeps.free * self.sweep()
            + sweeps.real * self.sweep(nudged=True)
            + sweeps.complex * self.sweep(nudged=True, complex_state=True)
        )


def _product(index: int, connection: AbstractConnection) -> int:
    if isinstance(connection, Dense):
        return 2 * math.prod(connection.weight.shape)
    if isinstance(connection, Conv):
        return 2 * math.prod(connection.product_shape) * math.prod(connection.kernel.shape[:3])
    kind = type(connection).__name__
    raise ValueError(f"the FLOP model knows dense connections and convolutions, but connections[{index}] is a {kind}")


def _returned(connection: AbstractConnection) -> int:
    if isinstance(connection, Conv):
        rows, columns = connection.product_shape[:2]
        return 2 * rows * columns * math.prod(connection.kernel_back.shape)
    return _product(0, connection)

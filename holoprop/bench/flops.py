"""How many floating-point operations a training step of a dense network needs.

Only matrix products count: `2·m·n` per vector and `m × n` matrix, twice that for a complex vector, as the matrix is
real (DESIGN.md, section 4.5). For layers `n_0 … n_L` and `K` classes, per sample:

    input drive     2 n_0 n_1                              once, while the input is clamped
    sweep           4 Σ_{l≥1} n_l n_{l+1}                  forward and backward product between settled layers
    nudged sweep    the same + 4 n_L K                     to the logits and back
    gradient        2 n_0 n_1 + P (2 Σ_{l≥1} … + 4 n_L K)  one outer product per connection and point

It is what the arithmetic needs, not what some implementation spends, so that a share of the machine's rate cannot be
raised by computing things twice.
"""

import dataclasses

from holoprop.network.connection import Dense
from holoprop.network.layered import LayeredNetwork


@dataclasses.dataclass(frozen=True)
class Sweeps:
    """How many sweeps a step took, summed over samples and points: free, nudged and real, nudged and complex."""

    free: int
    real: int
    complex: int


@dataclasses.dataclass(frozen=True)
class DenseFlops:
    """Floating-point operations of a dense network, per sample.

    **Attributes:** `sizes`: `(n_0, …, n_L)`, of the input and of the settled layers; `classes`: number of logits.
    """

    sizes: tuple[int, ...]
    classes: int

    @classmethod
    def of(cls, net: LayeredNetwork) -> "DenseFlops":
        """Return the model of a network of dense connections.

        **Raises:** `ValueError` if some connection is not dense.
        """
        for i, connection in enumerate(net.connections):
            if not isinstance(connection, Dense):
                kind = type(connection).__name__
                raise ValueError(f"the FLOP model is of dense networks, but connections[{i}] is a {kind}")
        sizes = (*net.input_shape, *(shape[0] for shape in net.layer_shapes))
        return cls(sizes, net.classes)

    @property
    def input_drive(self) -> int:
        """Of the product of the input with the first weights, `2 n_0 n_1`."""
        return 2 * self.sizes[0] * self.sizes[1]

    @property
    def inner(self) -> int:
        """Of one product with every weight matrix between settled layers, `2 Σ_{l≥1} n_l n_{l+1}`, real."""
        return 2 * sum(a * b for a, b in zip(self.sizes[1:-1], self.sizes[2:], strict=True))

    @property
    def logits(self) -> int:
        """Of the product with the readout's weights, `2 n_L K`, real."""
        return 2 * self.sizes[-1] * self.classes

    def sweep(self, *, nudged: bool = False, complex_state: bool = False) -> int:
        """Of one update of every settled layer; the input's drive is not part of it."""
        return (2 if complex_state else 1) * (2 * self.inner + (2 * self.logits if nudged else 0))

    def gradient(self, *, real_points: int, complex_points: int) -> int:
        """Of the parameter gradients once all states are known.

        The first layer's activities are summed over the points before the product with the real input. A complex
        outer product of which only the real part is wanted is two real ones; the readout's needs the logits before.
        """
        return self.input_drive + (real_points + 2 * complex_points) * (self.inner + 2 * self.logits)

    def training_step(self, *, batch: int, sweeps: Sweeps, real_points: int, complex_points: int) -> int:
        """Of a whole contour step on a batch: input drive, all sweeps, logits at rest, gradient."""
        once = self.input_drive + self.logits + self.gradient(real_points=real_points, complex_points=complex_points)
        return (
            batch * once
            + sweeps.free * self.sweep()
            + sweeps.real * self.sweep(nudged=True)
            + sweeps.complex * self.sweep(nudged=True, complex_state=True)
        )

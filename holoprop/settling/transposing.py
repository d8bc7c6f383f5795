"""The linear term that makes a network respond with its transposed Jacobian.

    (Jᵀ − J)(s − s_0),      J = ∂a/∂s at the free rest state s_0.

Added to the drive it vanishes at `s_0`, so the free state stays where it is, and turns the Jacobian there into `Jᵀ`:
nudged states then move along the error vector `λ` of the adjoint system instead of the network's own response `δ`. It
is one Jacobian–vector and one vector–Jacobian product, no matrix, and holomorphic in `s`.

Source: Scurria et al. 2026 (arXiv 2602.03670), there for infinitesimal nudges.
"""

from collections.abc import Callable, Sequence

import jax
from jaxtyping import Array, Inexact

from holoprop.network.base import State

Drives = Callable[[State], tuple[Inexact[Array, "..."], ...]]
"""The drives of some layers at a state, of one sample."""


def transposing_drive(drive: Drives, of_block: Drives, anchor: State, s: State, layers: Sequence[int]) -> State:
    """Return `(Jᵀ − J)(s − s_0)` of one sample, the parts that belong to `layers`.

    **Arguments:** `drive`: of all layers; `of_block`: of `layers` alone; `anchor`: `s_0`, in the dtype of `s`.
    """
    away = tuple(a - b for a, b in zip(s, anchor, strict=True))
    _, forward = jax.jvp(of_block, (anchor,), (away,))

    def around(part: tuple[Array, ...]) -> tuple[Array, ...]:
        placed = dict(zip(layers, part, strict=True))
        return drive(tuple(placed.get(i, layer) for i, layer in enumerate(anchor)))

    # Of holomorphic functions the product with the transpose, nothing conjugated.
    (back,) = jax.vjp(around, tuple(anchor[i] for i in layers))[1](away)
    return tuple(b - f for b, f in zip(back, forward, strict=True))

"""The linear term that makes a network respond with its transposed Jacobian.

    (Jᵀ − J)(s − s_0),      J = ∂a/∂s at the free rest state s_0.

Added to the drive it vanishes at `s_0`, so the free state stays where it is, and turns the Jacobian there into `Jᵀ`:
nudged states then move along the error vector `λ` of the adjoint system instead of the network's own response `δ`. It
is one Jacobian–vector and one vector–Jacobian product, no matrix, and holomorphic in `s`.

Where the drive is affine, as that of dense connections is, `a(s) − J (s − s_0) = a(s_0)` is a constant, and what is
left is `a(s_0) + Jᵀ(s − s_0)`: what the network with forward and feedback weights exchanged feels, at the same cost.

Source: Scurria et al. 2026 (arXiv 2602.03670), there for infinitesimal nudges.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
from jaxtyping import Array, Inexact

from holoprop.network.base import State

Drives = Callable[[State], tuple[Inexact[Array, "..."], ...]]
"""The drives of some layers at a state, of one sample."""


class Anchor(eqx.Module):
    """Where nudged states respond from: `state`, the free rest state `s_0`, and `drive`, `a(s_0)`, both `(batch, …)`.

    `drive` is `None` where the network has no `transposed()`.
    """

    state: State
    drive: State | None


def away_from(anchor: Anchor, s: State) -> State:
    """Return `s − s_0`, layer by layer."""
    return tuple(a - b for a, b in zip(s, anchor.state, strict=True))


def transposing_drive(drive: Drives, of_block: Drives, anchor: Anchor, s: State, layers: Sequence[int]) -> State:
    """Return `(Jᵀ − J)(s − s_0)` of one sample, the parts that belong to `layers`.

    **Arguments:** `drive`: of all layers; `of_block`: of `layers` alone; `anchor`: in the dtype of `s`.
    """
    at, away = anchor.state, away_from(anchor, s)
    _, forward = jax.jvp(of_block, (at,), (away,))

    def around(part: tuple[Array, ...]) -> tuple[Array, ...]:
        placed = dict(zip(layers, part, strict=True))
        return drive(tuple(placed.get(i, layer) for i, layer in enumerate(at)))

    # Of holomorphic functions the product with the transpose, nothing conjugated.
    (back,) = jax.vjp(around, tuple(at[i] for i in layers))[1](away)
    return tuple(b - f for b, f in zip(back, forward, strict=True))

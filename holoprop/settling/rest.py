"""Rest states and how each was reached, per sample."""

import enum

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from holoprop.network.base import State


class Status(enum.IntEnum):
    """How settling ended for one sample."""

    settled = 0
    """The residual is at most the tolerance."""
    max_steps = 1
    """The residual was still above the tolerance after the maximum number of steps."""
    two_cycle = 2
    """The state alternates between two points: no rest state will be reached by these updates."""
    diverged = 3
    """The state is not finite, or grew without bound."""
    not_applicable = 4
    """Time-stepped or noisy dynamics: there is no tolerance to meet."""


class Rest(eqx.Module):
    """Where a batch of networks came to rest.

    **Attributes** (`lead` is the batch, or points × batch on a contour):

    - `state`: tuple of activities, each `(*lead, *layer shape)`, real or complex.
    - `residual`: `(*lead,)`, the Euclidean norm `‖σ(a(s)) − s‖` over all layers, in units of activity (as in P1). From
      networks of three or more blocks, or with nonlinear pooling, solvers that sweep report the last sweep's change
      instead: see `AbstractNetwork.blocks`.
    - `steps`: `(*lead,)` int32, the number of steps (for alternating updates: sweeps) that were taken.
    - `status`: `(*lead,)` int32, values of `Status`.
    """

    state: State
    residual: Float[Array, "*lead"]
    steps: Int[Array, "*lead"]
    status: Int[Array, "*lead"]

    @property
    def settled(self) -> Bool[Array, "*lead"]:
        """Which samples reached their tolerance."""
        return self.status == Status.settled


class UnsettledError(RuntimeError):
    """Some samples did not come to rest and the caller asked to be told by an exception."""


def require_settled(rest: Rest, where: str) -> None:
    """Raise `UnsettledError` with one line if some sample of `rest` did not settle (host side, not under `jit`)."""
    status, residual = np.asarray(rest.status), np.asarray(rest.residual)
    failed = (status != Status.settled) & (status != Status.not_applicable)
    if failed.any():
        counts = ", ".join(f"{int((status == s).sum())} {s.name}" for s in Status if s and (status == s).any())
        raise UnsettledError(
            f"{where}: {int(failed.sum())} of {status.size} did not settle ({counts}; largest residual "
            f"{np.nanmax(residual):.1e}): raise max_steps, relax the tolerance, damp the solver or shrink the weights"
        )

"""Bring a batch to rest: the one entry point of settling."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from holoprop.network.base import AbstractNetwork, Inputs, Nudge, State, Targets
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, require_settled
from holoprop.settling.solver import AbstractSolver


def settle(
    net: AbstractNetwork,
    x: Inputs,
    y: Targets | None = None,
    beta: Nudge = 0.0,
    *,
    solver: AbstractSolver | None = None,
    state: State | None = None,
    throw: bool = False,
) -> Rest:
    """Find the rest state `s = σ(a(s) − β ∂C/∂s_L)` of each sample of a batch.

    **Arguments:**

    - `net`: the network.
    - `x`: inputs, `(batch, *net.input_shape)`, real.
    - `y`: targets: integer labels `(batch,)` or one-hot rows `(batch, classes)`; needed if `beta` is not 0.
    - `beta`: the nudge (dimensionless): a number, or an array `(batch,)`, or `(points, batch)` for several at once.
      Complex nudges give complex states.
    - `solver`: `Picard`, `Alternating` or `Anderson` (default).
    - `state`: where to start, leading axes as `beta`; by default where the network says (`net.initial`: mostly zeros).
    - `throw`: raise if some sample does not settle, instead of only saying so in `status`.

    **Returns:** a `Rest`: state, residual, steps and status, per sample.

    **Raises:** `ValueError` for shapes that do not fit, `blocks` of the network that are no partition of its layers, or
    a nudge that is not finite (under `jit` the last goes unseen); `UnsettledError` under `throw=True`.

    Source: P1 (arXiv 2209.00530), its dynamics of free and nudged phases, here run until they are at rest.

    ```python
    rest = hp.settle(net, x)
    rest.state[0].shape, rest.settled.all()
    ```
    """
    rest = _settle(net, x, y, _traced_nudge(beta), Anderson() if solver is None else solver, state)
    if throw:
        require_settled(rest, "settle")
    return rest


def settle_problem(problem: FixedPoint, solver: AbstractSolver, state: State | None = None) -> Rest:
    """Settle an already posed problem, from `state` or from where the network begins; traceable."""
    state = problem.initial() if state is None else state
    check_state(problem.net, problem.lead, state)
    state = tuple(layer.astype(problem.dtype) for layer in state)
    return solver.solve(problem, state)


@eqx.filter_jit
def _settle(net, x, y, beta, solver, state) -> Rest:
    return settle_problem(FixedPoint.of(net, x, y, beta), solver, state)


def _traced_nudge(beta: Nudge) -> Nudge:
    if isinstance(beta, Tracer):
        return beta
    value = np.asarray(beta)
    if not np.isfinite(value).all():
        raise ValueError(f"beta must be finite, got {beta}")
    if isinstance(beta, jax.Array):
        return beta
    # A number would be a compile-time constant: sweeping the nudge would compile anew at every value.
    return 0.0 if value.ndim == 0 and value == 0 else jnp.asarray(value)


def check_state(net: AbstractNetwork, lead: tuple[int, ...], state: State) -> None:
    """Raise `ValueError` unless `state` holds the network's layers with leading axes `lead`."""
    wanted = [lead + shape for shape in net.layer_shapes]
    given = [jnp.shape(layer) for layer in state]
    if wanted != given:
        raise ValueError(f"state must hold layers of shapes {wanted}, got {given}")

"""Linear systems at a rest state: the error vector, and the response to an infinitesimal nudge.

    (I − D Jᵀ) λ = −D ∂C/∂s,        (I − D J) δ = −D ∂C/∂s,        D = σ'(a),  J = ∂a/∂s.

Only products with the Jacobian are made: by reverse mode for the first system, by forward mode for the second.
"""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.flatten_util
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Float

from holoprop.network.base import AbstractNetwork, State
from holoprop.settling.fixed_point import cost_gradient

_RESTART = 20
"""Products with the Jacobian between restarts of GMRES."""
_CYCLES = 50
"""Restarts after which it is given up; a network far from any instability needs three or four."""


def slope_at(net: AbstractNetwork, drives: State) -> State:
    """Return `D = σ'(a)` of one sample, layer by layer."""
    return jax.jvp(lambda a: tuple(net.activation(p) for p in a), (drives,), (jax.tree.map(jnp.ones_like, drives),))[1]


def jacobian_products(net: AbstractNetwork, c: Array, s: State) -> tuple[State, Callable[[State], State], Callable]:
    """Return the drives of one sample at `s`, and the maps `v ↦ J v` and `v ↦ Jᵀ v`."""
    drives, transpose = jax.vjp(lambda s: net.drive(c, s), s)
    forward = jax.linearize(lambda s: net.drive(c, s), s)[1]
    return drives, forward, lambda v: transpose(v)[0]


def solve_at_rest(
    net: AbstractNetwork,
    c: Array,
    y: Float[Array, " classes"],
    s: State,
    *,
    transposed: bool,
    dense_limit: int,
    tolerance: float | None,
) -> tuple[State, Bool[Array, ""]]:
    """Solve the system of one sample, the adjoint one if `transposed`.

    **Arguments:** `c`, `y`, `s`: clamped input, one-hot target, rest state; `dense_limit`: up to so many neurons the
    matrix is factorised, beyond that the system solved by GMRES; `tolerance`: relative, of that.

    **Returns:** `λ` or `δ`, and whether it solves the system.
    """
    drives, forward, transpose = jacobian_products(net, c, s)
    slope, product = slope_at(net, drives), transpose if transposed else forward
    last = -slope[-1] * cost_gradient(net, s, y)
    size = sum(p.size for p in s)
    # The cost reaches the last layer only. Padding, not concatenating: see `flatten`.
    flat = jnp.pad(last.reshape(-1), (size - last.size, 0))
    _, restore = jax.flatten_util.ravel_pytree(s)

    def moved(v: State) -> State:
        return tuple(e - d * b for e, d, b in zip(v, slope, product(v), strict=True))

    matrix = lx.FunctionLinearOperator(lambda v: flatten(moved(restore(v))), jax.eval_shape(lambda: flat))
    allowed = tolerance or float(jnp.finfo(flat.dtype).eps) ** 0.75
    if size <= dense_limit:
        solution = lx.linear_solve(matrix, flat, lx.LU(), throw=False).value
    else:
        # Relative to the whole of the right-hand side: a tolerance for each entry is 0 for all but the last layer.
        length = jnp.linalg.norm(flat)
        gmres = lx.GMRES(0.0, allowed, norm=jnp.linalg.norm, restart=_RESTART, max_steps=_CYCLES)
        unit = flat / jnp.where(length > 0, length, 1)
        solution = length * lx.linear_solve(matrix, unit, gmres, throw=False).value
    error = restore(solution)
    # The residual decides, layer by layer, not the solver: GMRES calls an exhausted Krylov space a breakdown.
    *rest, top = moved(error)
    wrong = sum(jnp.sum(jnp.square(p)) for p in (*rest, top - last))
    return error, wrong <= jnp.square(10 * allowed) * jnp.sum(jnp.square(last))


def flatten(state: State) -> Float[Array, " neurons"]:
    """Return the layers of one sample as one vector.

    A sum of padded layers: fused with the products before it, a concatenation is miscompiled by XLA's CPU compiler for
    some small shapes (jaxlib 0.10.2 with AVX-512).
    """
    size = sum(p.size for p in state)
    ends = itertools.accumulate(p.size for p in state)
    padded = (jnp.pad(p.reshape(-1), (end - p.size, size - end)) for p, end in zip(state, ends, strict=True))
    return functools.reduce(jnp.add, padded)

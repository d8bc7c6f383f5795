"""Linear systems at a rest state: the error vector, and the response to an infinitesimal nudge.

    (I − D Jᵀ) λ = −D ∂C/∂s,        (I − D J) δ = −D ∂C/∂s,        D = σ'(a),  J = ∂a/∂s.

Only products with the Jacobian are made: by reverse mode for the first system, by forward mode for the second.
"""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.flatten_util
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jax.scipy.sparse.linalg import bicgstab
from jaxtyping import Array, Bool, Float

from holoprop.network.base import AbstractNetwork, State
from holoprop.settling.fixed_point import cost_gradient
from holoprop.settling.solver import where_sample

_RESTART = 20
"""Products with the Jacobian between restarts of GMRES."""
_CYCLES = 50
"""Restarts after which it is given up; a network far from any instability needs three or four."""
_PRODUCTS = 200
"""Steps of BiCGStab, of two products each, after which it is given up."""


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
    clamped: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    state: State,
    *,
    transposed: bool,
    dense_limit: int,
    tolerance: float | None,
) -> tuple[State, Bool[Array, " batch"]]:
    """Solve the system of every sample, the adjoint one if `transposed`.

    **Arguments:** `clamped`, `target`, `state`: clamped inputs, one-hot targets, rest states, layers `(batch, …)`;
    `dense_limit`: up to so many neurons the matrix is factorised, beyond that the system solved by BiCGStab, and by
    GMRES, which takes longer but fails less, if that leaves a sample unsolved; `tolerance`: relative, of both.

    **Returns:** `λ` or `δ`, layers `(batch, …)`, and which samples' solve the system.
    """
    dtype = state[0].dtype
    allowed = tolerance or float(jnp.finfo(dtype).eps) ** 0.75

    def solved(method: Solve) -> tuple[State, Bool[Array, " batch"]]:
        return jax.vmap(lambda c, y, s: _solve(net, c, y, s, allowed, method, transposed=transposed))(
            clamped, target, state
        )

    if sum(math.prod(p.shape[1:]) for p in state) <= dense_limit:
        return solved(_factorised)
    first, right = solved(_bicgstab)

    def again() -> tuple[State, Bool[Array, " batch"]]:
        second, mended = solved(_gmres)
        return where_sample(right, first, second), right | mended

    return lax.cond(jnp.all(right), lambda: (first, right), again)


Solve = Callable[[Callable[[Array], Array], Array, float], Array]
"""The solution of a linear system: of its map, its right-hand side of length 1, and a tolerance."""


def _factorised(mapped: Callable[[Array], Array], right: Array, allowed: float) -> Array:
    matrix = lx.FunctionLinearOperator(mapped, jax.eval_shape(lambda: right))
    return lx.linear_solve(matrix, right, lx.LU(), throw=False).value


def _bicgstab(mapped: Callable[[Array], Array], right: Array, allowed: float) -> Array:
    # JAX's own counts on its default promotion.
    with jax.numpy_dtype_promotion("standard"):
        return bicgstab(mapped, right, tol=allowed, atol=0.0, maxiter=_PRODUCTS)[0]


def _gmres(mapped: Callable[[Array], Array], right: Array, allowed: float) -> Array:
    matrix = lx.FunctionLinearOperator(mapped, jax.eval_shape(lambda: right))
    # Relative to the whole of the right-hand side: a tolerance for each entry is 0 for all but the last layer.
    gmres = lx.GMRES(0.0, allowed, norm=jnp.linalg.norm, restart=_RESTART, max_steps=_CYCLES)
    return lx.linear_solve(matrix, right, gmres, throw=False).value


def _solve(
    net: AbstractNetwork,
    c: Array,
    y: Float[Array, " classes"],
    s: State,
    allowed: float,
    method: Solve,
    *,
    transposed: bool,
) -> tuple[State, Bool[Array, ""]]:
    """Solve the system of one sample."""
    drives, forward, transpose = jacobian_products(net, c, s)
    slope, product = slope_at(net, drives), transpose if transposed else forward
    last = -slope[-1] * cost_gradient(net, s, y)
    size = sum(p.size for p in s)
    # The cost reaches the last layer only. Padding, not concatenating: see `flatten`.
    flat = jnp.pad(last.reshape(-1), (size - last.size, 0))
    _, restore = jax.flatten_util.ravel_pytree(s)

    def moved(v: State) -> State:
        return tuple(e - d * b for e, d, b in zip(v, slope, product(v), strict=True))

    length = jnp.linalg.norm(flat)
    unit = flat / jnp.where(length > 0, length, 1)
    error = restore(length * method(lambda v: flatten(moved(restore(v))), unit, allowed))
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

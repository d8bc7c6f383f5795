"""How wrong an estimate is for want of symmetry, predicted from the response itself.

With `M = D⁻¹ − J = M_s + M_a` (symmetric and antisymmetric part) the response is `δ = −M⁻¹ ∂C/∂s`, the error vector
`λ = −M⁻ᵀ ∂C/∂s`, so that

    λ = (I − X)⁻¹ (I + X) δ,        X = M_s⁻¹ M_a.

Where `M_s` is positive definite it is a scalar product, in which `X` is antisymmetric and the factor a rotation: `δ`
and `λ` are of one length and apart by `‖λ − δ‖ = 2‖X (I − X)⁻¹ δ‖`. With `x = ‖Xδ‖/‖δ‖` in that length,

    ‖λ − δ‖/‖λ‖ ≤ 2x/√(1 + x²),

with equality where `δ` meets one rotation only, and at small `x` the first order `2‖S⁻¹A‖` of P2. One linear solve with
a symmetric matrix, by a few conjugate gradients, from Jacobian–vector products. Where `M_s` shows itself not positive
definite, on `δ` or on the solution, or conjugate gradients do not come near one, nothing is predicted.

Source: the series is P2's (arXiv 2309.02214), `δ = λ − 2S⁻¹Aλ + …`; the bound is ours.
"""

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from holoprop.gradient.linear_response import jacobian_products, slope_at
from holoprop.network.base import AbstractNetwork, State
from holoprop.settling.fixed_point import FixedPoint, cost_gradient

_ROUGH = 0.3
"""The solve ends at this relative residual: the prediction is one of size."""
_STEPS = 12
"""Conjugate gradients at most; a system that needs more is too near to singular to predict anything."""


def predicted_asymmetry(
    problem: FixedPoint, target: Float[Array, "batch classes"], rested: State, response: State
) -> Float[Array, " batch"]:
    """Return `2x/√(1 + x²)`, the relative error that asymmetry makes; NaN where the prediction does not apply.

    **Arguments:** `problem`: of the free phase; `rested`: its rest states; `response`: `δ`, layers `(batch, …)`, real.
    """
    return jax.vmap(lambda c, y, s, d: _of_sample(problem.net, c, y, s, d))(problem.clamped, target, rested, response)


def _of_sample(net: AbstractNetwork, c: Array, y: Array, s: State, response: State) -> Float[Array, ""]:
    drives, forward, transpose = jacobian_products(net, c, s)
    # Units that do not respond, or the wrong way, as smooth rectifiers do a little, have no part in the scalar product.
    root = tuple(jnp.sqrt(jnp.maximum(d, 0)) for d in slope_at(net, drives))

    def symmetric(v: State) -> State:
        """`(I − √D J_s √D) v`"""
        scaled = _times(root, v)
        both = (p + q for p, q in zip(forward(scaled), transpose(scaled), strict=True))
        return tuple(p - r * q / 2 for p, r, q in zip(v, root, both, strict=True))

    skew = (p - q for p, q in zip(forward(response), transpose(response), strict=True))
    right = tuple(-r * p / 2 for r, p in zip(root, skew, strict=True))
    operator = lx.FunctionLinearOperator(symmetric, jax.eval_shape(lambda: right), lx.positive_semidefinite_tag)
    size = jnp.sqrt(_dot(right, right))
    unit = tuple(p / jnp.where(size > 0, size, 1) for p in right)
    solver = lx.CG(rtol=0.0, atol=_ROUGH, norm=_norm, max_steps=_STEPS)
    solution = lx.linear_solve(operator, unit, solver, throw=False).value
    left = symmetric(solution)
    solved = _norm(tuple(p - q for p, q in zip(left, unit, strict=True))) <= 1.1 * _ROUGH
    # Squared lengths in the scalar product: of Xδ, and of δ, for which M_s δ · δ = M δ · δ = −∂C/∂s · δ.
    turned, length = size**2 * _dot(solution, unit), -jnp.sum(response[-1] * cost_gradient(net, s, y))
    applies = solved & (length > 0) & (turned >= 0)
    square = jnp.where(applies, turned / jnp.where(length > 0, length, 1), jnp.nan)
    return jnp.where(size == 0, 0, 2 * jnp.sqrt(square / (1 + square)))


def _times(a: State, b: State) -> State:
    return tuple(p * q for p, q in zip(a, b, strict=True))


def _dot(a: State, b: State) -> Float[Array, ""]:
    return jnp.asarray(sum(jnp.sum(p) for p in _times(a, b)))


def _norm(a: State) -> Float[Array, ""]:
    return jnp.sqrt(_dot(a, a))

"""Exact references: the implicit gradient of the rest state, and backpropagation through settling steps.

At a rest state `s = σ(a(s))` with `D = σ'(a)` and `J = ∂a/∂s`, the error vector solves the adjoint system

    (I − D Jᵀ) λ = −D ∂C/∂s,        dℒ/dθ = −(∂a/∂θ)ᵀ λ + ∂C/∂θ.

It needs no nudge and no symmetry: it is what "backprop" means for a settling network.
"""

import functools
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from holoprop.gradient.estimate import (
    AbstractEstimator,
    Certificate,
    Estimate,
    Unsettled,
    check_policy,
    mean_kept,
    sample_weights,
)
from holoprop.gradient.nudged import drop, read_out
from holoprop.network.base import AbstractNetwork, State, parameter_dtype
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint, cost_gradient
from holoprop.settling.rest import Rest, Status
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver


class Implicit(AbstractEstimator):
    """The exact gradient by the implicit function theorem: one adjoint linear solve per sample at the free rest state.

    `(I − D Jᵀ) λ = −D ∂C/∂s`, `dℒ/dθ = −(∂a/∂θ)ᵀ λ + ∂C/∂θ` (recurrent backpropagation, Almeida–Pineda). Works on
    energy networks and
    vector fields. Up to `dense_limit` neurons the system is factorised, above it is solved by GMRES; a sample whose
    solve fails counts as unsettled.

    **Arguments:** `solver`, `unsettled` as in `Holomorphic`; `dense_limit`: neurons per sample; `tolerance`: of the
    linear solve, relative (default: the rounding error to the power ¾).

    **Raises:** `ValueError` for a tolerance that is not positive.
    """

    solver: AbstractSolver = Anderson()
    unsettled: Unsettled = "mask"
    dense_limit: int = 2048
    tolerance: float | None = None

    def __check_init__(self) -> None:
        check_policy(self.unsettled)
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {self.tolerance}")

    def check(self, net: AbstractNetwork) -> None:
        """Every network has an implicit gradient."""

    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the exact gradient for inputs `x` and one-hot `target`; traceable."""
        dtype = parameter_dtype(net)
        x, target = x.astype(dtype), target.astype(dtype)
        free = settle_problem(FixedPoint.of(net, x), self.solver)
        clamped = jax.vmap(net.clamp)(x)
        error, solved = jax.vmap(lambda c, y, s: self._adjoint(net, c, y, s))(clamped, target, free.state)
        certificate = _certify_free(free, solved, self.unsettled)
        share = sample_weights(certificate.kept, dtype)
        state = free.state
        if self.unsettled != "keep":
            (x,), state, error = (drop(part, certificate.kept, 1) for part in ((x,), state, error))

        def scalar(net: Any) -> Array:
            def sample(x: Array, y: Array, s: State, error: State, w: Array) -> Array:
                drives = net.drive(net.clamp(x), s)
                work = sum(jnp.sum(e * a) for e, a in zip(error, drives, strict=True))
                return w * (net.cost(net.readout(s), y) - work)

            return jnp.sum(jax.vmap(sample)(x, target, state, error, share))

        logits, losses = read_out(net, free.state, target)
        gradient = eqx.filter_grad(scalar)(net)
        return Estimate(gradient, mean_kept(losses, certificate.kept), logits, free, certificate, None)

    def _adjoint(self, net: AbstractNetwork, c: Array, y: Array, s: State) -> tuple[State, Bool[Array, ""]]:
        drives, transpose = jax.vjp(lambda s: net.drive(c, s), s)
        _, slope = jax.jvp(
            lambda a: tuple(net.activation(p) for p in a), (drives,), (jax.tree.map(jnp.ones_like, drives),)
        )
        last = -slope[-1] * cost_gradient(net, s, y)
        size = sum(p.size for p in s)
        # The cost reaches the last layer only. Padding, not concatenating: see `_flatten`.
        flat = jnp.pad(last.reshape(-1), (size - last.size, 0))
        _, restore = jax.flatten_util.ravel_pytree(s)

        def moved(v: State) -> State:
            (back,) = transpose(v)
            return tuple(e - d * b for e, d, b in zip(v, slope, back, strict=True))

        matrix = lx.FunctionLinearOperator(lambda v: _flatten(moved(restore(v))), jax.eval_shape(lambda: flat))
        tolerance = self.tolerance or float(jnp.finfo(flat.dtype).eps) ** 0.75
        if size <= self.dense_limit:
            solution = lx.linear_solve(matrix, flat, lx.LU(), throw=False).value
        else:
            solution = lx.linear_solve(matrix, flat, lx.GMRES(tolerance, 0.0, restart=40), throw=False).value
        error = restore(solution)
        # The residual decides, layer by layer, not the solver: GMRES calls an exhausted Krylov space a breakdown.
        *rest, top = moved(error)
        wrong = sum(jnp.sum(jnp.square(p)) for p in (*rest, top - last))
        return error, wrong <= jnp.square(10 * tolerance) * jnp.sum(jnp.square(last))


def _flatten(state: State) -> Float[Array, " neurons"]:
    """Return the layers of one sample as one vector.

    A sum of padded layers: fused with the products before it, a concatenation is miscompiled by XLA's CPU compiler for
    some small shapes (jaxlib 0.10.2 with AVX-512).
    """
    size = sum(p.size for p in state)
    ends = itertools.accumulate(p.size for p in state)
    padded = (jnp.pad(p.reshape(-1), (end - p.size, size - end)) for p, end in zip(state, ends, strict=True))
    return functools.reduce(jnp.add, padded)


class Unrolled(AbstractEstimator):
    """Backpropagation through the last `steps` synchronous settling steps, taken from the free rest state.

    `dℒ/dθ ≈ d/dθ C(o(s^{(K)}))` with `s^{(k+1)} = σ(a(θ, s^{(k)}))`, `s^{(0)} = s_0` held constant; exact as `K → ∞`
    with an error that falls as the `K`-th power of the contraction rate. Memory grows with `K`.

    **Arguments:** `steps ≥ 1`; `solver`, `unsettled` as in `Holomorphic`.

    **Raises:** `ValueError` for `steps < 1`.
    """

    steps: int = 100
    solver: AbstractSolver = Anderson()
    unsettled: Unsettled = "mask"

    def __check_init__(self) -> None:
        check_policy(self.unsettled)
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def check(self, net: AbstractNetwork) -> None:
        """Every network can be unrolled."""

    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the unrolled gradient for inputs `x` and one-hot `target`; traceable."""
        dtype = parameter_dtype(net)
        x, target = x.astype(dtype), target.astype(dtype)
        free = settle_problem(FixedPoint.of(net, x), self.solver)
        certificate = _certify_free(free, jnp.ones(x.shape[:1], bool), self.unsettled)
        share = sample_weights(certificate.kept, dtype)
        start = free.state
        if self.unsettled != "keep":
            (x,), start = (drop(part, certificate.kept, 1) for part in ((x,), start))

        def scalar(net: Any) -> Array:
            problem = FixedPoint.of(net, x)
            state, _ = lax.scan(lambda s, _: (problem.update(s), None), start, length=self.steps)
            _, losses = read_out(net, state, target)
            return jnp.sum(share * losses)

        logits, losses = read_out(net, free.state, target)
        gradient = eqx.filter_grad(scalar)(net)
        return Estimate(gradient, mean_kept(losses, certificate.kept), logits, free, certificate, None)


def _certify_free(free: Rest, solved: Bool[Array, " batch"], unsettled: Unsettled) -> Certificate:
    batch = free.residual.shape[0]
    fine = (free.status == Status.settled) & solved
    return Certificate(
        betas=jnp.zeros((0, batch), free.residual.dtype),
        free_residual=free.residual,
        free_status=free.status,
        point_residual=jnp.zeros((0, batch), free.residual.dtype),
        point_status=jnp.zeros((0, batch), jnp.int32),
        kept=jnp.ones_like(fine) if unsettled == "keep" else fine,
        unsettled_share=jnp.mean((~fine).astype(free.residual.dtype)),
    )

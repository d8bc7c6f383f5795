"""Exact references: the implicit gradient of the rest state, and backpropagation through settling steps.

At a rest state `s = σ(a(s))` with `D = σ'(a)` and `J = ∂a/∂s`, the error vector solves the adjoint system

    (I − D Jᵀ) λ = −D ∂C/∂s,        dℒ/dθ = −(∂a/∂θ)ᵀ λ + ∂C/∂θ.

It needs no nudge and no symmetry: it is what "backprop" means for a settling network.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from holoprop.gradient.certificate import Certificate, certify
from holoprop.gradient.estimate import (
    AbstractEstimator,
    Estimate,
    Unsettled,
    check_policy,
    mean_kept,
    sample_weights,
)
from holoprop.gradient.nudged import drop, read_out
from holoprop.network.base import AbstractNetwork, Inputs, State, Targets, parameter_dtype
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint, cost_gradient
from holoprop.settling.rest import Rest, Status
from holoprop.settling.run import check_state, settle_problem
from holoprop.settling.solver import AbstractSolver, allowed_residual

_RESTART = 20
"""Products with the Jacobian between restarts of GMRES."""
_CYCLES = 50
"""Restarts after which it is given up; a network far from any instability needs three or four."""


class Implicit(AbstractEstimator):
    """The exact gradient by the implicit function theorem: one adjoint linear solve per sample at the free rest state.

    `(I − D Jᵀ) λ = −D ∂C/∂s`, `dℒ/dθ = −(∂a/∂θ)ᵀ λ + ∂C/∂θ`, with `D = σ'(a)` and `J = ∂a/∂s` at the rest state. Works
    on energy networks and vector fields. Up to `dense_limit` neurons the system is factorised, above that it is solved
    by GMRES; a sample whose solve fails counts as unsettled.

    **Arguments:** `solver`, `unsettled` as in `Holomorphic`; `dense_limit`: neurons per sample; `tolerance`: of the
    linear solve, relative (default: the rounding error to the power ¾).

    **Raises:** `ValueError` for a tolerance that is not positive.

    Source: recurrent backpropagation, Almeida 1987 and Pineda 1987.
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
        return self._at(net, x, target, settle_problem(FixedPoint.of(net, x), self.solver))

    def at_rest(self, net: AbstractNetwork, x: Inputs, y: Targets, rest: Rest) -> Estimate:
        """Return the exact gradient at free rest states that are already there (compiled).

        A network may have several rest states for one input; the gradient is that of the one in which it is.

        **Arguments:** `x`: inputs `(batch, *net.input_shape)`, real; `y`: integer labels `(batch,)` or one-hot rows
        `(batch, classes)`; `rest`: of `settle(net, x)`, layers `(batch, *shape)`, real.

        **Returns:** an `Estimate` with `rest` as its rest states, by the equations of the class.

        **Raises:** `ValueError` if shapes do not fit; `UnsettledError` with `unsettled="raise"`.

        ```python
        hp.Implicit().at_rest(net, x, y, hp.settle(net, x)).gradient
        ```
        """
        x, target = self.prepare(net, x, y)
        check_state(net, (x.shape[0],), rest.state)
        return self.settled_or_raise(_compiled_at(self, net, x, target, rest))

    def _at(self, net: AbstractNetwork, x: Array, target: Array, free: Rest) -> Estimate:
        dtype = parameter_dtype(net)
        clamped = jax.vmap(net.clamp)(x)
        error, solved = jax.vmap(lambda c, y, s: self._adjoint(net, c, y, s))(clamped, target, free.state)
        certificate = _certify_free(free, solved, self.unsettled)
        share = sample_weights(certificate.kept, dtype)
        state = free.state
        if self.unsettled != "keep":
            (x,), (target,), state, error = (
                drop(part, certificate.kept, 1) for part in ((x,), (target,), state, error)
            )

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
            # Relative to the whole of the right-hand side: a tolerance for each entry is 0 for all but the last layer.
            length = jnp.linalg.norm(flat)
            gmres = lx.GMRES(0.0, tolerance, norm=jnp.linalg.norm, restart=_RESTART, max_steps=_CYCLES)
            unit = flat / jnp.where(length > 0, length, 1)
            solution = length * lx.linear_solve(matrix, unit, gmres, throw=False).value
        error = restore(solution)
        # The residual decides, layer by layer, not the solver: GMRES calls an exhausted Krylov space a breakdown.
        *rest, top = moved(error)
        wrong = sum(jnp.sum(jnp.square(p)) for p in (*rest, top - last))
        return error, wrong <= jnp.square(10 * tolerance) * jnp.sum(jnp.square(last))


@eqx.filter_jit
def _compiled_at(estimator: Implicit, net: AbstractNetwork, x: Array, target: Array, rest: Rest) -> Estimate:
    dtype = parameter_dtype(net)
    rest = Rest(tuple(layer.astype(dtype) for layer in rest.state), rest.residual, rest.steps, rest.status)
    return estimator._at(net, x.astype(dtype), target.astype(dtype), rest)


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
    with an error that falls as the `K`-th power of the contraction rate. Memory grows with `K`. Where synchronous
    steps do not contract (strong weights, where alternating ones still settle), they drift away from the rest state:
    a sample that they leave with a residual above `100 · tolerance` counts as unsettled.

    **Arguments:** `steps ≥ 1`; `solver`, `unsettled` as in `Holomorphic`.

    **Raises:** `ValueError` for `steps < 1`.

    Source: the reference of P1's figures (arXiv 2209.00530), backpropagation through time.
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
        problem = FixedPoint.of(net, x)
        free = settle_problem(problem, self.solver)
        held = self._unroll(problem, free.state)
        allowed = 100 * allowed_residual(self.solver, problem)
        certificate = _certify_free(free, problem.residual(held) <= allowed, self.unsettled)

        def forward(net: AbstractNetwork, x: Array, start: State) -> State:
            return self._unroll(FixedPoint.of(net, x), start)

        return _reverse_mode(net, x, target, forward, free.state, free, certificate, self.unsettled)

    def _unroll(self, problem: FixedPoint, state: State) -> State:
        state, _ = lax.scan(lambda s, _: (problem.update(s), None), state, length=self.steps)
        return state


class Backpropagation(AbstractEstimator):
    """Plain backpropagation through a feed-forward network: what P1 compares with, not what it estimates.

    `dℒ/dθ` of `ℒ = mean C(o(s_L), y)` with `s_j = σ(Σ_i forward_ij(s_i))`, by reverse-mode differentiation.

    **Arguments:** `solver`, `unsettled` as in `Holomorphic`; nothing is to settle, but evaluation asks for them.

    **Raises:** `ValueError` when called with a network that has feedback (`Implicit` is its exact gradient).

    Source: P1 (arXiv 2209.00530), Table 2, rows "BP".

    ```python
    hp.Backpropagation()(hp.feedforward(net), x, y).gradient
    ```
    """

    solver: AbstractSolver = Anderson()
    unsettled: Unsettled = "mask"

    def __check_init__(self) -> None:
        check_policy(self.unsettled)

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` unless `net` is a feed-forward network."""
        if not isinstance(net, LayeredNetwork) or net.feedback:
            raise ValueError(
                "Backpropagation is of feed-forward networks and this one has feedback: pass hp.feedforward(net), or "
                "use Implicit, the exact gradient of a network that settles"
            )

    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the gradient for inputs `x` and one-hot `target`; traceable."""
        assert isinstance(net, LayeredNetwork)
        dtype = parameter_dtype(net)
        x, target = x.astype(dtype), target.astype(dtype)
        state = jax.vmap(lambda x: net.feedforward(net.clamp(x)))(x)
        # Of the inputs too: a rectifier makes a zero of NaN.
        finite = functools.reduce(
            jnp.logical_and, (jnp.all(jnp.isfinite(part.reshape(part.shape[0], -1)), -1) for part in (x, *state))
        )
        status = jnp.where(finite, jnp.int32(Status.settled), jnp.int32(Status.diverged))
        once = jnp.ones(x.shape[:1], jnp.int32)
        rest = Rest(state, jnp.where(finite, jnp.zeros((), dtype), jnp.inf), once, status)
        certificate = _certify_free(rest, finite, self.unsettled)

        def forward(net: Any, x: Array, start: State) -> State:
            del start
            return jax.vmap(lambda x: net.feedforward(net.clamp(x)))(x)

        return _reverse_mode(net, x, target, forward, (), rest, certificate, self.unsettled)


def _reverse_mode(
    net: AbstractNetwork,
    x: Array,
    target: Array,
    forward: Callable[[Any, Array, State], State],
    start: State,
    rest: Rest,
    certificate: Certificate,
    unsettled: Unsettled,
) -> Estimate:
    """Differentiate the mean cost of the kept samples through `forward(net, x, start)`; `start` is a constant."""
    share, held = sample_weights(certificate.kept, x.dtype), target
    if unsettled != "keep":
        x, held, *start_kept = drop((x, target, *start), certificate.kept, 1)
        start = tuple(start_kept)

    def scalar(net: Any) -> Array:
        _, losses = read_out(net, forward(net, x, start), held)
        # Not only a weight of zero: a sample left out may overflow, and 0 · inf is not 0.
        return jnp.sum(jnp.where(share > 0, share * losses, 0))

    logits, losses = read_out(net, rest.state, target)
    gradient = eqx.filter_grad(scalar)(net)
    return Estimate(gradient, mean_kept(losses, certificate.kept), logits, rest, certificate, None)


def _certify_free(free: Rest, solved: Bool[Array, " batch"], unsettled: Unsettled) -> Certificate:
    nobody = jnp.zeros((0, *free.residual.shape), free.residual.dtype)
    none = Rest((), nobody, nobody.astype(jnp.int32), nobody.astype(jnp.int32))
    return certify(free, none, nobody, unsettled, solved=solved)

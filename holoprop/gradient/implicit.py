"""Exact references by linear solves at the rest state: the gradient itself, and what an infinitesimal nudge would give.

At a rest state `s = σ(a(s))` with `D = σ'(a)` and `J = ∂a/∂s`,

    (I − D Jᵀ) λ = −D ∂C/∂s,        dℒ/dθ = −(∂a/∂θ)ᵀ λ + ∂C/∂θ.

It needs no nudge and no symmetry: it is what "backprop" means for a settling network. With `J` in place of `Jᵀ` the
system is that of the response `δ = ds_β/dβ`, from which generalised EP takes the gradient: the limit of its circles.
"""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.asymmetry import predicted_asymmetry
from holoprop.gradient.certificate import certify_free
from holoprop.gradient.checks import refuse_feedforward
from holoprop.gradient.error_vector import gradient_of_error
from holoprop.gradient.estimate import AbstractEstimator, Estimate, Unsettled, check_policy
from holoprop.gradient.kept import mean_kept
from holoprop.gradient.linear_response import solve_at_rest
from holoprop.gradient.nudged import read_out
from holoprop.network.base import AbstractNetwork, Inputs, Targets, parameter_dtype
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.run import check_state, settle_problem
from holoprop.settling.solver import AbstractSolver


class Implicit(AbstractEstimator):
    """The exact gradient by the implicit function theorem: one adjoint linear solve per sample at the free rest state.

    `(I − D Jᵀ) λ = −D ∂C/∂s`, `dℒ/dθ = −(∂a/∂θ)ᵀ λ + ∂C/∂θ`, with `D = σ'(a)` and `J = ∂a/∂s` at the rest state. Works
    on energy networks and vector fields. Up to `dense_limit` neurons the system is factorised, above that it is solved
    by BiCGStab or GMRES; a sample whose solve fails counts as unsettled. The estimate's `response` is `λ`.

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
        _check(self)

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
        return _settle_and_solve(self, net, x, target, transposed=True)

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


class ForwardResponse(AbstractEstimator):
    """Generalised EP with an infinitesimal nudge: its response by a linear solve, so that only asymmetry is left.

    `(I − D J) δ = −D ∂C/∂s`, `g = −(∂a/∂θ)ᵀ δ + ∂C/∂θ`: what `Holomorphic(form="vector-field")` tends to with many
    points. Its difference from `Implicit` is the bias by asymmetry, which its certificate predicts, that of a circle
    from it the bias by the finite nudge. The estimate's `response` is `δ`.

    **Arguments:** `solver`, `unsettled`, `dense_limit`, `tolerance` as in `Implicit`.

    **Raises:** `ValueError` for a tolerance that is not positive, or a feed-forward network.

    Source: P2 (arXiv 2309.02214), rows "hEP true dβu*" of its Table 2.

    ```python
    hp.ForwardResponse()(net, x, y).gradient
    ```
    """

    solver: AbstractSolver = Anderson()
    unsettled: Unsettled = "mask"
    dense_limit: int = 2048
    tolerance: float | None = None

    def __check_init__(self) -> None:
        _check(self)

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` for a feed-forward network, in which a nudge of the last layer reaches no other."""
        refuse_feedforward(net, "ForwardResponse")

    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the estimate for inputs `x` and one-hot `target`; traceable."""
        return _settle_and_solve(self, net, x, target, transposed=False)


def _check(estimator: Implicit | ForwardResponse) -> None:
    check_policy(estimator.unsettled)
    if estimator.tolerance is not None and not estimator.tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {estimator.tolerance}")


def _settle_and_solve(
    estimator: Implicit | ForwardResponse, net: AbstractNetwork, x: Array, target: Array, *, transposed: bool
) -> Estimate:
    dtype = parameter_dtype(net)
    x, target = x.astype(dtype), target.astype(dtype)
    free = settle_problem(FixedPoint.of(net, x), estimator.solver)
    return _at(estimator, net, x, target, free, transposed=transposed)


def _at(
    estimator: Implicit | ForwardResponse,
    net: AbstractNetwork,
    x: Array,
    target: Array,
    free: Rest,
    *,
    transposed: bool,
) -> Estimate:
    options: dict[str, Any] = {"dense_limit": estimator.dense_limit, "tolerance": estimator.tolerance}
    clamped = jax.vmap(net.clamp)(x)
    error, solved = solve_at_rest(net, clamped, target, free.state, transposed=transposed, **options)
    asymmetry = None
    if not (transposed or net.is_energy):
        asymmetry = predicted_asymmetry(FixedPoint.of(net, x), target, free.state, error)
    certificate = certify_free(free, solved, estimator.unsettled, asymmetry)
    gradient = gradient_of_error(net, x, target, free.state, error, certificate.kept)
    logits, losses = read_out(net, free.state, target)
    loss = mean_kept(losses, certificate.kept)
    return Estimate(gradient, loss, logits, free, certificate, None, error)


@eqx.filter_jit
def _compiled_at(estimator: Implicit, net: AbstractNetwork, x: Array, target: Array, rest: Rest) -> Estimate:
    dtype = parameter_dtype(net)
    rest = Rest(tuple(layer.astype(dtype) for layer in rest.state), rest.residual, rest.steps, rest.status)
    return _at(estimator, net, x.astype(dtype), target.astype(dtype), rest, transposed=True)

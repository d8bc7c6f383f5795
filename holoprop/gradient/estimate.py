"""What an estimator is, and what it returns.

Estimators are stateless objects: `estimator(net, x, y)` settles the batch and returns an `Estimate` whose gradient is a
pytree of the network's own type, the gradient of the mean loss over the samples kept.
"""

import abc
import dataclasses
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.certificate import Certificate
from holoprop.gradient.checks import check_batch
from holoprop.network.base import AbstractNetwork, Inputs, State, Targets
from holoprop.settling.rest import Rest, UnsettledError, require_settled
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.substrate import Substrate

Unsettled = Literal["mask", "keep", "raise"]
"""What to do with samples that did not settle: leave them out of the means, keep them, or raise `UnsettledError`."""


class Estimate(eqx.Module):
    """A gradient and what is known about it.

    **Attributes:**

    - `gradient`: pytree of the network's own type; `gradient.connections[0].weight` belongs to
      `net.connections[0].weight`.
    - `loss`: scalar, the mean cost `C(o(s_0), y)` of the kept samples at the free rest state; NaN if none was kept.
    - `logits`: `(batch, classes)`, at the free rest state.
    - `rest`: the free `Rest`.
    - `certificate`: a `Certificate`.
    - `memory`: what the estimator wants back at the next step.
    - `response`: layers `(batch, …)`, the vector that took the place of the error `λ`: `λ` itself of `Implicit`, and of
      vector-field forms with `asymmetry="correct"`, else the response `δ = ds_β/dβ`; `None` in energy forms.
    - `penalty`: scalar, of estimators that add one to the gradient (`Homeostatic`), without its weight, else `None`.
    """

    gradient: Any
    loss: Float[Array, ""]
    logits: Float[Array, "batch classes"]
    rest: Rest
    certificate: Certificate
    memory: PyTree
    response: State | None = None
    penalty: Float[Array, ""] | None = None

    def replaced(self, **changes: Any) -> "Estimate":
        """Return the estimate with some attributes changed."""
        return dataclasses.replace(self, **changes)


class RealNudges(NamedTuple):
    """The nudges `β_k`, each with its weight `w_k`, and `w_0 = −Σ_k w_k` of the free one, or `None` if 0."""

    betas: list[Any]
    weights: list[Any]
    free_weight: Any


class AbstractEstimator(eqx.Module):
    """An estimator of `dℒ/dθ`.

    **Attributes:** `solver` finds the free rest state; `unsettled` says what happens to samples that do not settle.
    """

    solver: eqx.AbstractVar[AbstractSolver]
    unsettled: eqx.AbstractVar[Unsettled]

    @abc.abstractmethod
    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the estimate for inputs `x` and one-hot `target`; traceable, nothing is checked here."""

    def prepare(
        self, net: AbstractNetwork, x: Inputs, y: Targets
    ) -> tuple[Float[Array, "batch ..."], Float[Array, "batch classes"]]:
        """Return inputs and one-hot targets, ready for `estimate`.

        **Raises:** `ValueError` if shapes do not fit or the estimator cannot be used on this network.
        """
        self.check(net)
        return check_batch(net, x, y)

    @abc.abstractmethod
    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if this estimator cannot be used on `net`."""

    def init(self, net: AbstractNetwork, batch_size: int) -> PyTree:
        """Return the memory before the first step; most estimators have none."""
        del net, batch_size

    def real_nudges(self) -> RealNudges:
        """Return the real nudges with which a `Substrate` is measured; estimators that need more refuse.

        **Raises:** `ValueError` unless a few real nudges are all that this estimator needs.
        """
        raise ValueError(
            f"{type(self).__name__} needs more than a substrate can do, which is to settle under real nudges: use "
            "Stencil, Centered or OneSided"
        )

    def __call__(
        self,
        net: AbstractNetwork | Substrate,
        x: Inputs,
        y: Targets,
        *,
        key: PRNGKeyArray | None = None,
        memory: PyTree = None,
    ) -> Estimate:
        """Estimate the gradient of the mean loss over a batch (compiled; may also be called under `jit`).

        **Arguments:**

        - `net`: the network; for estimators with `real_nudges` a `Substrate` will do (see `estimate_on_substrate`).
        - `x`: inputs `(batch, *net.input_shape)`, real.
        - `y`: integer labels `(batch,)` or one-hot rows `(batch, classes)`.
        - `key`: random key, for estimators that draw noise.
        - `memory`: what the last estimate returned, or `init`.

        **Returns:** an `Estimate`.

        **Raises:** `ValueError` if shapes do not fit or the estimator cannot be used on this network;
        `UnsettledError` with `unsettled="raise"` (outside `jit` only: inside, look at the certificate).
        """
        if isinstance(net, Substrate):
            from holoprop.gradient.measured import estimate_on_substrate  # which builds on this module

            return estimate_on_substrate(self, net, x, y, memory=memory)
        x, target = self.prepare(net, x, y)
        if isinstance(x, Tracer):
            return self.estimate(net, x, target, key=key, memory=memory)
        return self.settled_or_raise(_compiled(traced_amplitude(self), net, x, target, key, memory))

    def settled_or_raise(self, estimate: Estimate) -> Estimate:
        """Return the estimate, or raise `UnsettledError` if some sample is unsettled and the policy is `"raise"`."""
        if self.unsettled == "raise":
            require_settled(estimate.rest, "free phase")
            points = estimate.certificate
            nudged = Rest(estimate.rest.state, points.point_residual, points.point_status, points.point_status)
            require_settled(nudged, "nudged phase")
            if points.unsettled_share > 0:
                samples = points.kept.shape[0]
                failed = round(float(points.unsettled_share) * samples)
                raise UnsettledError(f"linear solve at rest: failed for {failed} of {samples} samples: see `Implicit`")
        return estimate


class AbstractWrappedEstimator(AbstractEstimator):
    """An estimator that does something to another one's estimate.

    **Attributes:** `estimator`: the other one, whose solver and policy for unsettled samples hold.
    """

    estimator: eqx.AbstractVar[AbstractEstimator]

    @property
    def solver(self) -> AbstractSolver:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of `estimator`."""
        return self.estimator.solver

    @property
    def unsettled(self) -> Unsettled:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of `estimator`."""
        return self.estimator.unsettled


def check_policy(unsettled: str) -> None:
    """Raise `ValueError` unless `unsettled` is one of the three policies."""
    if unsettled not in ("mask", "keep", "raise"):
        raise ValueError(f"unsettled must be 'mask', 'keep' or 'raise', got {unsettled!r}")


@eqx.filter_jit
def _compiled(estimator, net, x, target, key, memory) -> Estimate:
    return estimator.estimate(net, x, target, key=key, memory=memory)


def traced_amplitude(estimator: AbstractEstimator) -> AbstractEstimator:
    """Return the estimator with its radius or nudge as an array.

    A float field would be a compile-time constant: sweeping the nudge would compile anew at every value.
    """
    for name in ("radius", "beta"):
        if isinstance(getattr(estimator, name, None), float):
            estimator = eqx.tree_at(lambda e, n=name: getattr(e, n), estimator, replace_fn=jnp.asarray)
    return estimator

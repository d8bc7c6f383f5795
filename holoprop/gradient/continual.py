"""Continual weight updates: estimators that hand out their gradient in increments, while the phase still runs.

An estimate is a sum over time, `g = Σ_t d_t`. Where each `d_t` can be told from the activity of that moment alone, the
weights need not wait for the end: they may move by `d_t` as it comes. At a small learning rate the sum is the gradient
of the network that was there at the beginning; at a larger one the activity answers to the moving weights.

    phase = est.begin(net, x, target, key=key, memory=memory)
    phase, d = est.step(net, x, target, phase, index, key=key)       # est.updates times; weights may move between
    estimate = est.finish(net, x, target, phase, total)

`run` goes through them all, and `train/` hands it the optimiser. Called like any other estimator, they keep the weights
still.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int, PRNGKeyArray, PyTree

from holoprop.gradient.certificate import certify
from holoprop.gradient.checks import check_amplitude, check_energy
from holoprop.gradient.estimate import AbstractEstimator, Estimate, Unsettled, check_policy
from holoprop.gradient.kept import drop, mean_kept, sample_weights
from holoprop.gradient.nudged import read_out, weighted_gradient
from holoprop.network.base import AbstractNetwork, State, parameter_dtype
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import Noise, TimeSteps, keyed, not_applicable

Move = Callable[[Any, PyTree, Any], tuple[Any, PyTree]]
"""What an increment does to the network, and to whatever is carried along."""


class AbstractContinualEstimator(AbstractEstimator):
    """An estimator whose gradient comes in increments, `updates` of them.

    A phase is a pytree of its own, whatever `begin` makes of it. Inputs `x` are `(batch, *input_shape)`, targets
    one-hot `(batch, classes)`, both real; increments are pytrees of the network's type, real, of the mean loss.

    **Raises** (when called): what `AbstractEstimator` does.
    """

    @property
    @abc.abstractmethod
    def updates(self) -> int:
        """Number of increments that one estimate is the sum of."""

    @abc.abstractmethod
    def begin(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> PyTree:
        """Return the phase before the first increment."""

    @abc.abstractmethod
    def step(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        phase: PyTree,
        index: Int[Array, ""],
        *,
        key: PRNGKeyArray | None,
    ) -> tuple[PyTree, Any]:
        """Let time go on; return the phase and the increment of the gradient, a pytree of the network's type."""

    @abc.abstractmethod
    def finish(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        phase: PyTree,
        total: Any,
    ) -> Estimate:
        """Return the estimate at the end of the phase; `total` is the sum of the increments."""

    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the sum of the increments at weights that do not move; traceable."""
        estimate, _, _ = self.run(net, x, target, lambda net, nothing, _: (net, nothing), (), key=key, memory=memory)
        return estimate

    def run(
        self,
        net: Any,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        move: Move,
        carried: PyTree,
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> tuple[Estimate, Any, PyTree]:
        """Go through all increments, moving the network at each; traceable.

        **Arguments:** `x`: `(batch, *input_shape)`; `target`: one-hot `(batch, classes)`; `move`: `(net, carried,
        increment) → (net, carried)`, as an optimiser moves parameters and its own state, here `carried`.

        **Returns:** the estimate, whose gradient is the sum of the increments, and the last `net` and `carried`.
        """
        first, fixed = eqx.partition(net, eqx.is_inexact_array)
        phase = self.begin(net, x, target, key=key, memory=memory)

        def advance(state: tuple[Any, ...], index: Array) -> tuple[tuple[Any, ...], None]:
            parameters, carried, phase, total = state
            net = eqx.combine(parameters, fixed)
            phase, increment = self.step(net, x, target, phase, index, key=key)
            net, carried = move(net, carried, increment)
            total = jax.tree.map(jnp.add, total, increment)
            return (eqx.filter(net, eqx.is_inexact_array), carried, phase, total), None

        begin = (first, carried, phase, jax.tree.map(jnp.zeros_like, first))
        (last, carried, phase, total), _ = lax.scan(advance, begin, jnp.arange(self.updates))
        net = eqx.combine(last, fixed)
        return self.finish(net, x, target, phase, total), net, carried


class ContinualPhase(eqx.Module):
    """The nudged phase of `Continual`: the free `Rest`, and the nudged one so far."""

    free: Rest
    nudged: Rest


class Continual(AbstractContinualEstimator):
    """Continual equilibrium propagation (C-EP): the weights move at every moment of the nudged phase.

    From the free rest state the nudge β is switched on, and each stretch of `dwell` time steps contributes

        d_t = (1/β) [∂F/∂θ(s_t, β) − ∂F/∂θ(s_{t−1}, β)],        Σ_t d_t = (1/β) [∂F/∂θ(s_β, β) − ∂F/∂θ(s_0, 0)],

    the first with `∂F/∂θ(s_0, 0)` to subtract: local in time, and in sum the one-sided estimate once `s_t` has settled.

    **Arguments:**

    - `beta`: nudge, not 0 (a negative one points the other way); the bias is `O(β)`, as that of `OneSided`.
    - `stretches`: how many stretches the phase has, each with an increment of its own; `dwell`: time steps of each.
    - `dt`, `noise`: of the time steps, see `TimeSteps`.
    - `solver`: how the free state settles.
    - `unsettled`: `"mask"`, `"keep"` or `"raise"`, about the free state; and about samples that diverge later.

    Optimisers take one step per increment: plain SGD at learning rate `η` moves by `η g` in all; weight decay and
    schedules count increments. The activity answers to the moving weights as well as to the nudge, and only the latter
    answer is the gradient: keep `η` well below `β/‖s‖²`, or the weights follow their own echo.

    **Raises:** `ValueError` for values outside these ranges; when called, for a network without a potential.

    Source: Ernoult et al. 2020, *Equilibrium propagation with continual weight updates* (arXiv 2005.04168).

    ```python
    net = hp.fit(net, hp.Continual(beta=0.1), optax.sgd(0.01), (x, y), epochs=3).net
    ```
    """

    beta: float = 0.1
    stretches: int = 20
    dwell: int = 1
    dt: float = 1.0
    noise: Noise | None = None
    solver: AbstractSolver = Anderson()
    unsettled: Unsettled = "mask"

    def __check_init__(self) -> None:
        check_policy(self.unsettled)
        check_amplitude("abs(beta)", abs(self.beta))
        if self.stretches < 1 or self.dwell < 1:
            raise ValueError(f"stretches and dwell must be at least 1, got {self.stretches} and {self.dwell}")
        TimeSteps(1, dt=self.dt)

    @property
    def updates(self) -> int:
        """Number of increments that one estimate is the sum of."""
        return self.stretches

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if `net` has no potential."""
        check_energy(net, "Continual")

    def begin(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> ContinualPhase:
        """Settle the free state."""
        del target, memory
        problem = FixedPoint.of(net, x.astype(parameter_dtype(net)))
        free = settle_problem(problem, keyed(self.solver, key, self.updates))
        return ContinualPhase(free, Rest(free.state, free.residual, free.steps, not_applicable(free.residual)))

    def step(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        phase: ContinualPhase,
        index: Int[Array, ""],
        *,
        key: PRNGKeyArray | None,
    ) -> tuple[ContinualPhase, Any]:
        """Take `dwell` time steps under the nudge."""
        dtype = parameter_dtype(net)
        x, target = x.astype(dtype), target.astype(dtype)
        steps = keyed(TimeSteps(self.dwell, dt=self.dt, noise=self.noise), key, index)
        assert isinstance(steps, TimeSteps)
        beta = jnp.broadcast_to(jnp.asarray(self.beta), x.shape[:1]).astype(dtype)
        _, rest = steps.run(FixedPoint.of(net, x).nudged(target, beta), phase.nudged.state)
        kept = self._kept(phase.free, rest)
        share = sample_weights(kept, dtype) / beta
        before = jnp.where(index == 0, 0, beta)
        increment = increment_between(
            net, x, target, (phase.nudged.state, rest.state), (share, share), (before, beta), kept
        )
        return ContinualPhase(phase.free, rest), increment

    def finish(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        phase: ContinualPhase,
        total: Any,
    ) -> Estimate:
        """Return the estimate; loss and logits are those of the free state, with the weights as they are now."""
        dtype = parameter_dtype(net)
        nudged = jax.tree.map(lambda leaf: leaf[None], phase.nudged)
        betas = jnp.broadcast_to(jnp.asarray(self.beta), (1, *x.shape[:1])).astype(dtype)
        certificate = certify(phase.free, nudged, betas, self.unsettled)
        logits, losses = read_out(net, phase.free.state, target.astype(dtype))
        return Estimate(total, mean_kept(losses, certificate.kept), logits, phase.free, certificate, None)

    def _kept(self, free: Rest, nudged: Rest) -> Bool[Array, " batch"]:
        fine = (free.status == Status.settled) | (free.status == Status.not_applicable)
        return (fine & (nudged.status != Status.diverged)) | (self.unsettled == "keep")


def increment_between(
    net: AbstractNetwork,
    x: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    states: tuple[State, State],
    weights: tuple[Inexact[Array, " batch"], Inexact[Array, " batch"]],
    betas: tuple[Inexact[Array, " batch"], Inexact[Array, " batch"]],
    kept: Bool[Array, " batch"],
) -> Any:
    """Return `Re Σ_b [w₁ ∂F/∂θ(s₁, β₁) − w₀ ∂F/∂θ(s₀, β₀)]` of two moments `(0, 1)`, at the weights of now.

    Samples that are not kept count nothing; their weights must be 0.
    """
    both = drop(tuple(jnp.stack(pair) for pair in zip(*states, strict=True)), kept, 2)
    weight = jnp.stack([-weights[0], weights[1]]).astype(both[0].dtype)
    return weighted_gradient(net, x, target, both, weight, weight * jnp.stack(betas).astype(weight.dtype))

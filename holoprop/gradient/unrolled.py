"""Backpropagation: through settling steps, or through a feed-forward network.

`Unrolled` differentiates through the last `K` settling steps, P1's reference. `Backpropagation` is of the feed-forward
network that P1 compares with.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.certificate import Certificate, certify_free
from holoprop.gradient.estimate import AbstractEstimator, Estimate, Unsettled, check_policy
from holoprop.gradient.kept import drop, mean_kept, sample_weights
from holoprop.gradient.nudged import read_out
from holoprop.network.base import AbstractNetwork, State, parameter_dtype
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver, allowed_residual


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
        certificate = certify_free(free, problem.residual(held) <= allowed, self.unsettled)

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
        certificate = certify_free(rest, finite, self.unsettled)

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

"""Equilibrium propagation in continuous time: the nudge never stops turning, and there is no free phase (P1).

`β(t) = r·e^{2πit/T_osc}` goes around once per period, `T_dyn` time steps at each of `N` points: `T_osc = N·T_dyn`.
The running Fourier average over `T_plas` periods is the gradient,

    g = 1/(T_plas N) Σ_t Re[(1/β_t) ∂F/∂θ(s_t)].

By the mean-value theorem the average activity over a period is the free rest state; loss and logits are read there.
Without a potential (P2) the average is of the response, `δ = 1/(T_plas N) Σ_t Re[s_t/β_t]`, and the gradient
`−(∂a/∂θ)ᵀ δ + ∂C/∂θ` is read off at the average activity: still no free phase.

A synapse that learns while the nudge turns cannot wait for the sum: single terms are as large as `1/r`, and only all
of a period cancel. Summed by parts they become increments of the size of the gradient,

    Σ_k ω^{−k} f_k = Σ_k ω^{−k}/(1 − ω^{−1}) (f_k − f_{k−1}),        f_k = ∂F/∂θ(s_k, β_k),  ω = e^{2πi/N},

told from the activity at two neighbouring points (`OnlineOscillation`).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact, Int, PRNGKeyArray, PyTree

from holoprop.gradient.asymmetry import predicted_asymmetry
from holoprop.gradient.certificate import certify
from holoprop.gradient.checks import check_amplitude, check_circle, check_energy, check_holomorphic, check_potential
from holoprop.gradient.continual import AbstractContinualEstimator, increment_between
from holoprop.gradient.contour import whole_circle
from holoprop.gradient.error_vector import gradient_of_error
from holoprop.gradient.estimate import AbstractEstimator, Estimate, Unsettled, check_policy
from holoprop.gradient.form import Form, check_form, uses_energy
from holoprop.gradient.kept import drop, mean_kept, sample_weights
from holoprop.gradient.nudged import read_out, weighted_gradient
from holoprop.gradient.turn import keyed_steps, nudges, turn, turn_spectrum
from holoprop.network.base import AbstractNetwork, State, complex_dtype, initial_state, parameter_dtype
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest, Status
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import Noise, TimeSteps, noise_in_state, not_applicable


class Oscillation(AbstractEstimator):
    """Continuous-time holomorphic EP: an always-on turning nudge, no free phase, no reset between updates.

    `g = 1/(PN) Σ_{p,k} Re[(1/β_k) ∂F/∂θ(s_{pk})]`, `s_{pk}` the state at the end of the dwell at point `k` of period
    `p`. The state goes on from one update to the next through the estimator's memory.

    **Arguments:**

    - `points`: `N ≥ 3`, points of a period; all are visited, conjugates included.
    - `radius`: `r > 0`, of the circle, dimensionless.
    - `dwell`: `T_dyn`, time steps at each point.
    - `periods`: `T_plas`, periods that one estimate averages over.
    - `dt`: time step in units of the neurons' time constant, in (0, 1]; 1 is P1's, smaller ones leaky integration.
    - `noise`: a `Noise` on the drive at every step, or `None`.
    - `solver`: how states settle where a free rest state is asked for, as in evaluation; not used by the estimate.
    - `unsettled`: time-stepped states have no tolerance to miss, so this is about samples that diverge.
    - `form`: as in `Holomorphic`. What asymmetry does to the vector field's response the certificate says; to correct
      it takes the free state, which is not known here.

    `rest` is the mean activity over the last period, and `loss` and `logits` are read off there.

    **Raises:** `ValueError` for values outside these ranges; when called, for a network without a potential and
    `form="energy"` or one with a non-holomorphic activation, for noise without a key, and for a memory of another batch
    size.

    Source: P1 (arXiv 2209.00530), §1.1 "online estimator"; P2 (arXiv 2309.02214), continuous time.

    ```python
    est = hp.Oscillation(points=10, radius=0.4, dwell=30, periods=3)
    memory = est.init(net, batch_size=20)
    estimate = est(net, x, y, memory=memory)
    estimate = est(net, x2, y2, memory=estimate.memory)    # the state goes on
    ```
    """

    points: int = 10
    radius: float | Array = 0.4
    dwell: int = 30
    periods: int = 3
    dt: float = 1.0
    noise: Noise | None = None
    solver: AbstractSolver = Anderson()
    unsettled: Unsettled = "keep"
    form: Form = None

    def __check_init__(self) -> None:
        _check_oscillation(self)
        check_form(self.form, "ignore")

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if `net` has no complex derivative, or `form` is that of an energy and it has none."""
        check_potential(net, "Oscillation", self.form)
        check_holomorphic(net, self.points)

    def init(self, net: AbstractNetwork, batch_size: int) -> State:
        """Return the state before the first step: zeros, complex."""
        return initial_state(net, (batch_size,), complex_dtype(net))

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
        dtype = parameter_dtype(net)
        x, target = x.astype(dtype), target.astype(dtype)
        problem = FixedPoint.of(net, x)
        state = _resumed(self.init(net, x.shape[0]), memory)
        betas, weights = nudges(problem, self.points, jnp.broadcast_to(jnp.asarray(self.radius), x.shape[:1]))
        betas, weights = betas.astype(state[0].dtype), weights.astype(state[0].dtype)
        steps = TimeSteps(self.dwell, dt=self.dt, noise=self.noise)

        energy = uses_energy(net, self.form)

        def averaged(visited: Rest) -> PyTree:
            """What a period adds to the average: its gradient; or its response, its mean activity, and who diverged."""
            kept = jnp.all(visited.status == Status.not_applicable, 0) | (self.unsettled == "keep")
            if not energy:
                both = jax.tree.map(lambda a: a / self.periods, _response_and_mean(visited, weights))
                return (*both, (~kept).astype(jnp.int32))
            share = weights * sample_weights(kept, dtype).astype(weights.dtype) / self.periods
            states = drop(visited.state, kept, 2)
            mean = tuple(jnp.mean(s, 0).real for s in states)
            return weighted_gradient(net, x, target, states, share, share * betas, mean)

        def period(carried: tuple[State, PyTree, Rest], index: Array) -> tuple[tuple[State, PyTree, Rest], None]:
            state, total, _ = carried
            own = None if key is None else jax.random.fold_in(key, index)
            state, visited = turn(problem, target, betas, state, steps, own)
            return (state, jax.tree.map(jnp.add, total, averaged(visited)), visited), None

        shapes = jax.eval_shape(lambda s: turn(problem, target, betas, s, steps, key)[1], state)
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        nothing = jax.tree.map(jnp.zeros_like, averaged(blank))
        carried = (state, nothing, blank)
        (state, total, visited), _ = lax.scan(period, carried, jnp.arange(self.periods))
        if energy:
            return _summary(problem, target, visited, betas, steps, self.unsettled, total, state)
        response, mean, broken = total
        asymmetry = None if net.is_energy else predicted_asymmetry(problem, target, mean, response)
        # Whoever diverged in an earlier period has spoilt the averages, wherever the last one brought it.
        status = jnp.where(broken > 0, jnp.asarray(Status.diverged, visited.status.dtype), visited.status)
        visited = Rest(visited.state, visited.residual, visited.steps, status)
        estimate = _summary(problem, target, visited, betas, steps, self.unsettled, None, state, asymmetry)
        gradient = gradient_of_error(net, x, target, mean, response, estimate.certificate.kept)
        return estimate.replaced(gradient=gradient, response=response)


class OnlinePhase(eqx.Module):
    """Where `OnlineOscillation` stands: the state, the point `k` of the circle, and every point's last `Rest`."""

    state: State
    point: Int[Array, ""]
    visited: Rest


class OnlineOscillation(AbstractContinualEstimator):
    """`Oscillation` that learns while it turns: one increment of the gradient at each point of the circle.

    `d_k = Re[ω^{−k}/(1 − ω^{−1}) (f_k − f_{k−1})]/(P N r)`, `f_k = ∂F/∂θ(s_k, β_k)`, whose sum over a period is the
    Fourier coefficient. The nudge goes on from where it stood: a new batch begins wherever on the circle that is, with
    one stretch of `dwell` steps to let the activity follow, in which nothing is learned.

    **Arguments:** `points`, `radius`, `dwell`, `periods`, `dt`, `noise`, `solver` and `unsettled` as of `Oscillation`;
    `updates = periods·points` increments are one estimate. Optimisers take one step per increment: plain SGD at
    learning rate `η` moves by `η g` in all; weight decay and schedules count increments.

    **Raises:** `ValueError` for values outside the ranges of `Oscillation`; when called, for a network without a
    potential or with a non-holomorphic activation, for noise without a key, and for a memory of another batch size.

    Source: P1 (arXiv 2209.00530), §1.1 "online estimator"; the increments are ours.

    ```python
    est = hp.OnlineOscillation(points=10, radius=0.4, dwell=30, periods=3)
    net = hp.fit(net, est, optax.sgd(0.05), (x, y), epochs=3).net
    ```
    """

    points: int = 10
    radius: float | Array = 0.4
    dwell: int = 30
    periods: int = 3
    dt: float = 1.0
    noise: Noise | None = None
    solver: AbstractSolver = Anderson()
    unsettled: Unsettled = "keep"

    def __check_init__(self) -> None:
        _check_oscillation(self)

    @property
    def updates(self) -> int:
        """Number of increments that one estimate is the sum of."""
        return self.points * self.periods

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if `net` has no potential, or no complex derivative."""
        check_energy(net, "OnlineOscillation")
        check_holomorphic(net, self.points)

    def init(self, net: AbstractNetwork, batch_size: int) -> tuple[State, Int[Array, ""]]:
        """Return the state before the first step, zeros, complex, and the point of the circle, the first."""
        return initial_state(net, (batch_size,), complex_dtype(net)), jnp.zeros((), jnp.int32)

    def begin(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> OnlinePhase:
        """Let the activity follow the new input, at the point where the nudge stands."""
        fresh, first = self.init(net, x.shape[0])
        state = _resumed(fresh, None if memory is None else memory[0])
        point = first if memory is None else memory[1]
        problem, target, betas, _ = self._posed(net, x, target)
        state, rest = self._dwell(problem, target, betas[point], state, key, jnp.int32(self.updates))
        return OnlinePhase(state, point, jax.tree.map(lambda leaf: jnp.stack([leaf] * self.points), rest))

    def step(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        phase: OnlinePhase,
        index: Int[Array, ""],
        *,
        key: PRNGKeyArray | None,
    ) -> tuple[OnlinePhase, Any]:
        """Turn the nudge to the next point, dwell there, and compare."""
        point = (phase.point + 1) % self.points
        problem, target, betas, weights = self._posed(net, x, target)
        before = jax.tree.map(lambda leaf: leaf[phase.point], phase.visited)
        state, rest = self._dwell(problem, target, betas[point], phase.state, key, index)
        visited = jax.tree.map(lambda all, leaf: all.at[point].set(leaf), phase.visited, rest)
        kept = (rest.status == Status.not_applicable) & (before.status == Status.not_applicable)
        kept = kept | (self.unsettled == "keep")
        # 1/(N β_k) / (1 − ω^{−1}), shared among the periods and the samples.
        turned = self.periods * (1 - whole_circle(self.points)[1].conj())
        weight = weights[point] * sample_weights(kept, parameter_dtype(net)).astype(weights.dtype) / turned
        moments, nudged = (before.state, rest.state), (betas[phase.point], betas[point])
        x = x.astype(parameter_dtype(net))
        increment = increment_between(net, x, target, moments, (weight, weight), nudged, kept)
        return OnlinePhase(state, point, visited), increment

    def finish(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        phase: OnlinePhase,
        total: Any,
    ) -> Estimate:
        """Return the estimate, with loss, logits and certificate of the last period."""
        problem, target, betas, _ = self._posed(net, x, target)
        memory = (phase.state, phase.point)
        return _summary(problem, target, phase.visited, betas, self._steps, self.unsettled, total, memory)

    @property
    def _steps(self) -> TimeSteps:
        return TimeSteps(self.dwell, dt=self.dt, noise=self.noise)

    def _posed(self, net: AbstractNetwork, x: Array, target: Array) -> tuple[FixedPoint, Array, Array, Array]:
        """Return the problem, the target in its precision, and nudges and weights of the circle."""
        dtype = parameter_dtype(net)
        problem = FixedPoint.of(net, x.astype(dtype))
        radius = jnp.broadcast_to(jnp.asarray(self.radius), x.shape[:1]).astype(dtype)
        return problem, target.astype(dtype), *nudges(problem, self.points, radius)

    def _dwell(
        self, problem: FixedPoint, target: Array, beta: Array, state: State, key: PRNGKeyArray | None, index: Array
    ) -> tuple[State, Rest]:
        posed = problem.nudged(target, beta)
        return keyed_steps(self._steps, key, index).run(posed, state)


def _check_oscillation(estimator: Oscillation | OnlineOscillation) -> None:
    check_policy(estimator.unsettled)
    check_circle(estimator.points, at_least=3)
    check_amplitude("radius", estimator.radius)
    if estimator.dwell < 1 or estimator.periods < 1:
        raise ValueError(f"dwell and periods must be at least 1, got {estimator.dwell} and {estimator.periods}")
    TimeSteps(1, dt=estimator.dt)


def _summary(
    problem: FixedPoint,
    target: Float[Array, "batch classes"],
    visited: Rest,
    betas: Inexact[Array, "points batch"],
    steps: TimeSteps,
    unsettled: str,
    gradient: Any,
    memory: PyTree,
    asymmetry: Float[Array, " batch"] | None = None,
) -> Estimate:
    """Return the estimate of a gradient whose last period is `visited`."""
    free = _mean_state(problem, visited)
    noise = noise_in_state(problem, free.state, steps)
    spectrum = turn_spectrum(
        problem, target, free, visited, betas, betas.shape[0], noise, noisy=steps.noise is not None
    )
    certificate = certify(free, visited, betas, unsettled, spectrum, asymmetry=asymmetry)
    logits, losses = read_out(problem.net, free.state, target)
    return Estimate(gradient, mean_kept(losses, certificate.kept), logits, free, certificate, memory)


def _response_and_mean(visited: Rest, weights: Inexact[Array, "points batch"]) -> tuple[State, State]:
    """Return `Re Σ_k w_k s_k` and the mean activity of a period, real."""
    response = tuple(jnp.sum((weights.reshape(weights.shape + (1,) * (s.ndim - 2)) * s).real, 0) for s in visited.state)
    return response, tuple(jnp.mean(s.real, 0) for s in visited.state)


def _mean_state(problem: FixedPoint, visited: Rest) -> Rest:
    """Return the mean over a period, real: the free rest state, by the mean-value theorem."""
    mean = tuple(jnp.mean(s, 0).real for s in visited.state)
    residual = problem.residual(mean)
    return Rest(mean, residual, jnp.sum(visited.steps, 0, dtype=jnp.int32), not_applicable(residual))


def _resumed(fresh: State, memory: State | None) -> State:
    if memory is None:
        return fresh
    wanted, given = [s.shape for s in fresh], [jnp.shape(s) for s in memory]
    if wanted != given:
        raise ValueError(f"the memory holds states of shapes {given}, this batch needs {wanted}: call init again")
    return tuple(m.astype(s.dtype) for m, s in zip(memory, fresh, strict=True))

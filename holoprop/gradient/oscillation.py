"""Equilibrium propagation in continuous time: the nudge never stops turning, and there is no free phase (P1).

`β(t) = r·e^{2πit/T_osc}` goes around once per period, `T_dyn` time steps at each of `N` points: `T_osc = N·T_dyn`.
The running Fourier average over `T_plas` periods is the gradient,

    g = 1/(T_plas N) Σ_t Re[(1/β_t) ∂F/∂θ(s_t)].

By the mean-value theorem the average activity over a period is the free rest state; loss and logits are read there.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.certificate import certify
from holoprop.gradient.checks import check_amplitude, check_circle, check_energy, check_holomorphic
from holoprop.gradient.estimate import AbstractEstimator, Estimate, Unsettled, check_policy, mean_kept, sample_weights
from holoprop.gradient.nudged import drop, read_out, weighted_gradient
from holoprop.gradient.turn import nudges, turn, turn_spectrum
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

    `rest` is the mean activity over the last period, and `loss` and `logits` are read off there.

    **Raises:** `ValueError` for values outside these ranges; when called, for a network without a potential or with a
    non-holomorphic activation, for noise without a key, and for a memory of another batch size.

    Source: P1 (arXiv 2209.00530), §1.1 "online estimator".

    ```python
    est = hp.Oscillation(points=10, radius=0.4, dwell=30, periods=3)
    memory = est.init(net, batch_size=20)
    estimate = est(net, x, y, memory=memory)
    estimate = est(net, x2, y2, memory=estimate.memory)    # the state goes on
    ```
    """

    points: int = 10
    radius: float = 0.4
    dwell: int = 30
    periods: int = 3
    dt: float = 1.0
    noise: Noise | None = None
    solver: AbstractSolver = Anderson()
    unsettled: Unsettled = "keep"

    def __check_init__(self) -> None:
        check_policy(self.unsettled)
        check_circle(self.points, at_least=3)
        check_amplitude("radius", self.radius)
        if self.dwell < 1 or self.periods < 1:
            raise ValueError(f"dwell and periods must be at least 1, got {self.dwell} and {self.periods}")
        TimeSteps(1, dt=self.dt)

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if `net` has no potential, or no complex derivative."""
        check_energy(net, "Oscillation")
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

        def period(carried: tuple[State, PyTree, Rest], index: Array) -> tuple[tuple[State, PyTree, Rest], None]:
            state, total, _ = carried
            own = None if key is None else jax.random.fold_in(key, index)
            state, visited = turn(problem, target, betas, state, steps, own)
            kept = jnp.all(visited.status == Status.not_applicable, 0) | (self.unsettled == "keep")
            share = weights * sample_weights(kept, dtype).astype(weights.dtype) / self.periods
            gradient = weighted_gradient(net, x, target, drop(visited.state, kept, 2), share, share * betas)
            return (state, jax.tree.map(jnp.add, total, gradient), visited), None

        shapes = jax.eval_shape(lambda s: turn(problem, target, betas, s, steps, key)[1], state)
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        nothing = jax.tree.map(jnp.zeros_like, weighted_gradient(net, x, target, blank.state, weights, weights))
        carried = (state, nothing, blank)
        (state, gradient, visited), _ = lax.scan(period, carried, jnp.arange(self.periods))
        free = _mean_state(problem, visited)
        noise = noise_in_state(problem, free.state, steps)
        spectrum = turn_spectrum(
            problem, target, free, visited, betas, self.points, noise, noisy=self.noise is not None
        )
        certificate = certify(free, visited, betas, self.unsettled, spectrum)
        logits, losses = read_out(net, free.state, target)
        return Estimate(gradient, mean_kept(losses, certificate.kept), logits, free, certificate, state)


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

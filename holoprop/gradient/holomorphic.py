"""Holomorphic equilibrium propagation: the gradient as the first Fourier coefficient on a circle of complex nudges.

    g_N = (1/N) Σ_k (1/β_k) ∂F/∂θ(s_{β_k}),    β_k = r·e^{2πik/N},    g_N − dℒ/dθ = O(r^N)        (P1)

The circle must not enclose a singularity of `β ↦ s_β`: beyond the radius of convergence the estimate is wrong however
large `N` is. With `radius="auto"` each sample gets the circle that its own response calls for (`best_circle.py`).
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.best_circle import settle_on_best_circle
from holoprop.gradient.checks import check_amplitude, check_circle, check_holomorphic, check_potential
from holoprop.gradient.circle import settle_on_circle
from holoprop.gradient.estimate import AbstractEstimator, Estimate, Unsettled, check_policy
from holoprop.gradient.expectation import POINTS, CircleMemory, Expectation, choose_points, expect
from holoprop.gradient.form import Asymmetry, Form, check_form, corrects, uses_energy
from holoprop.gradient.led_tolerance import ToleranceMemory, can_be_led, led
from holoprop.gradient.nudged import Reading, conclude, nudged_default
from holoprop.network.base import AbstractNetwork, parameter_dtype
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import is_noisy, keyed

_FREE = 2**20
"""The number folded into the key for the free phase's noise; points of the circle take theirs from 0 on."""


class Holomorphic(AbstractEstimator):
    """Holomorphic EP with `points` nudges on a circle of radius `radius`.

    `g_N = (1/N) Σ_k (1/β_k) ∂F/∂θ(s_{β_k})`, bias `O(r^N)`; `N = 2` is the centred estimator and purely real.

    **Arguments:**

    - `points`: number `N ≥ 2` of points on the circle; `⌊N/2⌋ + 1` are settled, the others are their conjugates. The
      real ones settle first, then the complex ones, all in one batch, extrapolated from those; with `TimeSteps` all
      begin at the free state, as published. `"auto"`, with
      `radius="auto"`: at each call the fewest of 2, 4, 8, 16 that are expected to meet `tolerance`; without one, those
      beyond which twice as many do not halve the error. Four circles are compiled.
    - `radius`: `r > 0`, dimensionless like the nudge; or `"auto"`, the default: for each sample the one with the
      smallest predicted error, from the spectrum of a first circle, and from the memory of the last step if it is
      handed back. With noise one for the whole batch, which is found over steps: hand the memory back.
    - `tolerance`: a relative error of the mean gradient that is good enough; `None`: as small as can be. With
      `radius="auto"` no second circle is settled where the first one promises it. With a fixed radius, solvers that are
      given no tolerance of their own settle just as far as that needs: the certificate of each step leads them in the
      next (`led_tolerance.py`), so hand the memory back. Of an error that the circle itself makes it cures nothing.
    - `solver`, `nudged_solver`: how the free and the nudged states settle; the second defaults to
      `nudged_default(solver)`. With a noisy one, `TimeSteps(steps, noise=Noise(std))`, all `N` points are visited in
      turn without reset, as in P1's noisy form, and the estimator needs a `key`.
    - `unsettled`: `"mask"`, `"keep"` or `"raise"`.
    - `form`: `"energy"`, or `"vector-field"`, generalised EP: `δ_N = (1/N) Σ_k s_{β_k}/β_k`, and the gradient
      `−(∂a/∂θ)ᵀ δ_N + ∂C/∂θ` at the free state; `None`: the first where the network has a potential.
    - `asymmetry`: `"ignore"`: on a vector field the response `δ` is not the error `λ`, and the certificate says by how
      much; `"correct"`: nudged states feel `(Jᵀ − J)(s − s_0)` besides, respond as errors do, and the estimate is exact
      up to `O(r^N)` on any network.
    - `points_per_batch`: so many points settle at once, and enter the gradient at once; by default all of them. Fewer
      bound the memory, at the price of time. With a noisy solver points settle one by one in any case.

    **Raises:** `ValueError` at construction for values outside these ranges; when called, for a network without a
    potential and `form="energy"`, or with a non-holomorphic activation and `points > 2`.

    Source: P1 (arXiv 2209.00530), the Cauchy formula and its N-point estimate; P2 (arXiv 2309.02214), the vector-field
    form; the correction for infinitesimal nudges is Scurria et al. 2026 (arXiv 2602.03670), on the circle it is ours,
    as is the automatic circle.

    ```python
    est = hp.Holomorphic(points=4)(net, x, y)
    est.gradient.connections[0].weight, est.certificate.text()
    ```
    """

    points: int | Literal["auto"] = 4
    radius: float | Literal["auto"] = "auto"
    tolerance: float | None = None
    solver: AbstractSolver = Anderson()
    nudged_solver: AbstractSolver | None = None
    unsettled: Unsettled = "mask"
    points_per_batch: int | None = None
    form: Form = None
    asymmetry: Asymmetry = "ignore"

    def __check_init__(self) -> None:
        check_policy(self.unsettled)
        check_form(self.form, self.asymmetry)
        check_circle(self.points)
        if isinstance(self.radius, str) and self.radius != "auto":
            raise ValueError(f"radius must be a positive number or 'auto', got {self.radius!r}")
        check_amplitude("radius", self.radius)
        if self.points == "auto" and self.radius != "auto":
            raise ValueError(f"points='auto' goes with radius='auto', got radius={self.radius}: fix both or neither")
        if self.points_per_batch is not None and self.points_per_batch < 1:
            raise ValueError(f"points_per_batch must be at least 1, got {self.points_per_batch}")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {self.tolerance}")

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if `net` has no potential, or no complex derivative, where one is needed."""
        check_potential(net, "Holomorphic", self.form)
        check_holomorphic(net, self.points)

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
        if not isinstance(self.radius, str):
            return self._on_fixed_circle(problem, x, target, key, memory)
        free, problem = self._rested(problem, self.solver, key)
        memory = CircleMemory.fresh(dtype) if memory is None else memory
        expected = expect(problem, target, free, self._nudged_solver, memory)
        if isinstance(self.points, int):
            return self._on_circle(self.points, problem, x, target, free, key, memory, expected)

        def branch(points: int) -> Callable[[], Estimate]:
            def settled() -> Estimate:
                estimate = self._on_circle(points, problem, x, target, free, key, memory, expected)
                nudges = POINTS[-1] if is_noisy(self._nudged_solver) else POINTS[-1] // 2 + 1
                certificate = estimate.certificate.padded(nudges, POINTS[-1])
                return estimate.replaced(certificate=certificate)

            return settled

        return lax.switch(choose_points(expected, self.tolerance), [branch(points) for points in POINTS])

    def _on_fixed_circle(
        self,
        problem: FixedPoint,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        assert isinstance(self.points, int)
        if not self._leads:
            free, problem = self._rested(problem, self.solver, key)
            return self._on_circle(self.points, problem, x, target, free, key, memory, None)
        assert self.tolerance is not None
        memory = ToleranceMemory.fresh(x.dtype) if memory is None else memory
        energy = uses_energy(problem.net, self.form)
        solver = led(self.solver, memory.free(problem, self.tolerance, self.points, energy=energy))
        nudged_solver = led(self._nudged_solver, memory.nudged(problem))
        # Not by its constructor, which takes a radius that is traced for what it is not.
        follower = eqx.tree_at(lambda e: e.nudged_solver, self, nudged_solver, is_leaf=lambda leaf: leaf is None)
        free, problem = self._rested(problem, solver, key)
        estimate = follower._on_circle(self.points, problem, x, target, free, key, None, None)
        learnt = memory.learn(problem, free, estimate.certificate, self.tolerance)
        return estimate.replaced(memory=learnt)

    def _rested(self, problem: FixedPoint, solver: AbstractSolver, key: PRNGKeyArray | None) -> tuple[Rest, FixedPoint]:
        """Return the free rest states, and the problem of the nudged ones, which may respond around those."""
        free = settle_problem(problem, keyed(solver, key, _FREE))
        return free, problem.anchored(free.state) if corrects(problem.net, self.asymmetry) else problem

    @property
    def _leads(self) -> bool:
        """Whether the certificate sets the tolerance of some solver."""
        fixed = self.tolerance is not None and not isinstance(self.radius, str)
        return fixed and can_be_led(self._nudged_solver)

    @property
    def _nudged_solver(self) -> AbstractSolver:
        return self.nudged_solver or nudged_default(self.solver)

    def _on_circle(
        self,
        points: int,
        problem: FixedPoint,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        free: Rest,
        key: PRNGKeyArray | None,
        memory: PyTree,
        expected: Expectation | None,
    ) -> Estimate:
        """Return the estimate of so many points, on the automatic circle if something is `expected`."""
        if expected is not None:
            circle, memory = settle_on_best_circle(
                problem,
                target,
                free,
                points,
                self.tolerance,
                self._nudged_solver,
                expected,
                key,
                self.points_per_batch,
            )
        else:
            radius = jnp.broadcast_to(jnp.asarray(self.radius), x.shape[:1]).astype(x.dtype)
            circle = settle_on_circle(
                problem,
                target,
                free,
                points,
                radius,
                self._nudged_solver,
                key=key,
                points_per_batch=self.points_per_batch,
            )
        return conclude(
            problem,
            x,
            target,
            free,
            circle.nudged,
            circle.betas,
            circle.weights,
            Reading(self.form, self.asymmetry, self.unsettled),
            spectrum=circle.spectrum,
            memory=memory,
            points_per_batch=self.points_per_batch,
        )

    def init(self, net: AbstractNetwork, batch_size: int) -> CircleMemory | ToleranceMemory | None:
        """Return the memory before the first step: of the automatic circle, or of a led tolerance, else nothing."""
        del batch_size
        if isinstance(self.radius, str):
            return CircleMemory.fresh(parameter_dtype(net))
        return ToleranceMemory.fresh(parameter_dtype(net)) if self._leads else None

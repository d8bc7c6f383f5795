"""How far states settle: the certificate of one step leads the solver's tolerance in the next.

With a target `ε` for the relative error of the mean gradient, of which states that are not quite at rest cause the part
`e ∝ ρ`, `ρ` the residual that was reached (in units of activity), the solver's tolerance becomes

    τ ← ρ · ε / e,      τ_free = τ · ε^{−1/N}.

What a residual does to the gradient depends on how hard the samples respond, which changes as they are learned, so no
fixed `τ` is right for a whole training. Nudged states all begin at the free one and settle to `τ` themselves, so where
the gradient is read off them (the energy form) that may be left `ε^{−1/N}` times as far from rest; `ŝ_0 − s_0`, from
which the certificate tells aliasing, then still shows an aliasing of `ε` (`c_N/c_1 = ε^{(N−1)/N}` where `c_{N+1}/c_1 =
ε`). The vector-field form reads the gradient off at the free state, which then settles to `τ` as well.
"""

from typing import TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from holoprop.gradient.certificate import Certificate
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.mixed import Mixed
from holoprop.settling.rest import Rest
from holoprop.settling.solver import AbstractSolver, default_tolerance
from holoprop.settling.time_stepping import TimeSteps

_FASTEST = 4.0
"""The tolerance changes at most by this factor from step to step: a batch may be an odd one."""
_LARGEST = 0.03
"""A residual above this share of the state's norm is no rest state to the certificate either."""

Solver = TypeVar("Solver", bound=AbstractSolver)


class ToleranceMemory(eqx.Module):
    """What a led tolerance carries from step to step.

    **Attributes:** `tolerance`: of the nudged states' residuals, scalar, in units of activity; `known`: whether there
    was a step. Before that, solvers have their own default.
    """

    tolerance: Float[Array, ""]
    known: Bool[Array, ""]

    @classmethod
    def fresh(cls, dtype: jnp.dtype) -> "ToleranceMemory":
        """Return the memory before the first step."""
        return cls(jnp.zeros((), dtype), jnp.zeros((), bool))

    def nudged(self, problem: FixedPoint) -> Float[Array, ""]:
        """Return the tolerance of the nudged states."""
        default = default_tolerance(problem.dtype, problem.size)
        return jnp.where(self.known, self.tolerance, jnp.asarray(default, self.tolerance.dtype))

    def free(self, problem: FixedPoint, target: float, points: int, *, energy: bool) -> Float[Array, ""]:
        """Return the tolerance of the free states, for a target error `ε`, `N` points, in the energy form or not."""
        looser = max(target ** (-1 / points), 1.0) if energy else 1.0
        return self.nudged(problem) * jnp.where(self.known, looser, 1.0).astype(self.tolerance.dtype)

    def learn(self, problem: FixedPoint, free: Rest, certificate: Certificate, target: float) -> "ToleranceMemory":
        """Return the memory after a step: the tolerance at which it would have met the target."""
        spectrum = certificate.spectrum
        assert spectrum is not None
        used, kept = self.nudged(problem), certificate.kept

        def mean(values: Float[Array, " batch"], weight: Float[Array, " batch"]) -> Float[Array, ""]:
            return jnp.sum(jnp.where(kept, values * weight, 0)) / jnp.sum(jnp.where(kept, weight, 0))

        one = jnp.ones_like(spectrum.response)
        part = mean(spectrum.tolerance, spectrum.response)
        # The residual that was reached, not the one allowed: a sweep more or less leaves more or less of a margin.
        reached = mean(jnp.max(certificate.point_residual, 0), one)
        least = default_tolerance(problem.dtype, problem.size)
        size = jnp.sqrt(sum(mean(jnp.sum(s.reshape(s.shape[0], -1) ** 2, -1), one) for s in free.state))
        tolerance = jnp.clip(reached * target / part, used / _FASTEST, used * _FASTEST)
        tolerance = jnp.clip(tolerance, least, jnp.maximum(_LARGEST * size, least))
        # If no sample was kept nothing is known, and nothing changes.
        tolerance = jnp.where(jnp.isfinite(tolerance), tolerance, used)
        return ToleranceMemory(tolerance.astype(self.tolerance.dtype), jnp.ones((), bool))


def can_be_led(solver: AbstractSolver) -> bool:
    """Return whether the solver settles to a tolerance and none was given to it."""
    return solver.tolerance is None and not isinstance(solver, TimeSteps)


def led(solver: Solver, tolerance: Float[Array, ""]) -> Solver:
    """Return the solver with that tolerance, if it has none of its own."""
    if not can_be_led(solver):
        return solver
    if isinstance(solver, Mixed):
        return eqx.tree_at(lambda each: each.solver, solver, led(solver.solver, tolerance))
    return eqx.tree_at(lambda each: each.tolerance, solver, tolerance, is_leaf=lambda leaf: leaf is None)

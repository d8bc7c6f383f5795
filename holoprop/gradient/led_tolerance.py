"""How far states settle: the certificate of one step leads the solver's tolerance in the next.

With a target `ε` for the relative error of the mean gradient, of which states that are not quite at rest cause the part
`e(τ) ∝ τ` at the solver's tolerance `τ` (residual, in units of activity),

    τ ← τ · ε / e,      τ_free = τ · ε^{−1/N}.

What a residual does to the gradient depends on how hard the samples respond, which changes as they are learned, so no
fixed `τ` is right for a whole training. The free state may be left `ε^{−1/N}` times as far from rest, as all nudged
states begin there and settle to `τ` themselves; at that, `ŝ_0 − s_0`, from which the certificate tells aliasing, still
shows an aliasing of `ε` (`c_N/c_1 = ε^{(N−1)/N}` where `c_{N+1}/c_1 = ε`).
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

    def free(self, problem: FixedPoint, target: float, points: int) -> Float[Array, ""]:
        """Return the tolerance of the free states, for a target error `ε` and `N` points."""
        return self.nudged(problem) * max(target ** (-1 / points), 1.0)

    def learn(self, problem: FixedPoint, free: Rest, certificate: Certificate, target: float) -> "ToleranceMemory":
        """Return the memory after a step: the tolerance at which it would have met the target."""
        spectrum = certificate.spectrum
        assert spectrum is not None
        used = self.nudged(problem)
        response = jnp.where(certificate.kept, spectrum.response, 0)
        part = jnp.sum(jnp.where(certificate.kept, spectrum.tolerance, 0) * response) / jnp.sum(response)
        factor = jnp.clip(target / part, 1 / _FASTEST, _FASTEST)
        size = jnp.sqrt(sum(jnp.mean(jnp.sum(s.reshape(s.shape[0], -1) ** 2, -1)) for s in free.state))
        least = default_tolerance(problem.dtype, problem.size)
        # If no sample was kept nothing is known, and nothing changes.
        tolerance = jnp.where(jnp.isfinite(factor), used * factor, used)
        tolerance = jnp.clip(tolerance, least, jnp.maximum(_LARGEST * size, least))
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

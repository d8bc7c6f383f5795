"""A central stencil of real nudges: as exact as a circle of as many points, where only real nudges are to be had.

    g = Σ_{j=1…m} w_j [∂F/∂θ(s_{jh}) − ∂F/∂θ(s_{−jh})],    h = β/m,    w_j = (−1)^{j+1} (m!)² / (j h (m−j)! (m+j)!)

These weights reproduce the derivative of every polynomial up to degree `2m`, so the bias is `O(β^{2m})`.
"""

import math

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.checks import check_amplitude, check_potential
from holoprop.gradient.estimate import AbstractEstimator, Estimate, RealNudges, Unsettled, check_policy
from holoprop.gradient.form import Asymmetry, Form, check_form
from holoprop.gradient.nudged import Reading, estimate_from_nudges
from holoprop.network.base import AbstractNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.solver import AbstractSolver


class Stencil(AbstractEstimator):
    """Equilibrium propagation with `points = 2m` real nudges `±jβ/m`, `j = 1 … m`: bias `O(β^{2m})`.

    `g = Σ_j w_j [∂F/∂θ(s_{jβ/m}) − ∂F/∂θ(s_{−jβ/m})]` with the central finite-difference weights of order `2m`;
    `points=2` is `Centered`. Solver tolerance and noise `ε` enter as `ε Σ_j |w_j| ∝ ε/β`, a little more than with two
    points: the gain is that β may be larger. For networks, and for a `Substrate` in place of the network.

    **Arguments:** `points`: even, at least 2; `beta > 0`: the largest nudge; `solver`, `nudged_solver`, `unsettled`,
    `form`, `asymmetry` as in `Holomorphic`.

    **Raises:** `ValueError` for `points` that is odd or below 2, for `beta ≤ 0`,
    other words for `form` or `asymmetry`, or `form="energy"` on a network without a potential.

    ```python
    est = hp.Stencil(points=4, beta=0.1)(net, x, y)         # or (substrate, x, y)
    ```
    """

    points: int = 4
    beta: float = 0.1
    solver: AbstractSolver = Anderson()
    nudged_solver: AbstractSolver | None = None
    unsettled: Unsettled = "mask"
    form: Form = None
    asymmetry: Asymmetry = "ignore"

    def __check_init__(self) -> None:
        check_policy(self.unsettled)
        check_form(self.form, self.asymmetry)
        check_amplitude("beta", self.beta)
        if self.points < 2 or self.points % 2:
            raise ValueError(
                f"points must be even and at least 2, got {self.points}: nudges come in pairs ±; for a free phase and "
                "one nudge use OneSided(beta)"
            )

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if `form` is that of an energy and `net` has none."""
        check_potential(net, "Stencil", self.form)

    def real_nudges(self) -> RealNudges:
        """Return the nudges `±jβ/m` and their weights."""
        units, weights = central_stencil(self.points)
        return RealNudges([unit * self.beta for unit in units], [weight / self.beta for weight in weights], None)

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
        del memory
        return estimate_from_nudges(
            net,
            x,
            target,
            self.real_nudges(),
            self.solver,
            self.nudged_solver,
            Reading(self.form, self.asymmetry, self.unsettled),
            key,
        )


def central_stencil(points: int) -> tuple[list[float], list[float]]:
    """Return places and weights such that `Σ_k w_k f(t_k) = f′(0)` for every polynomial up to degree `points`.

    **Arguments:** `points = 2m`, even.

    **Returns:** the places `±j/m`, largest pair last, and their weights.
    """
    m = points // 2
    units, weights = [], []
    for j in range(1, m + 1):
        size = (-1) ** (j + 1) * math.factorial(m) ** 2 / (j * math.factorial(m - j) * math.factorial(m + j)) * m
        units += [j / m, -j / m]
        weights += [size, -size]
    return units, weights

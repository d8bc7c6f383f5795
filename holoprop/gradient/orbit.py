"""The orbit of the neurons while the nudge goes once around its circle, and the spectrum of it.

    Δσ_i(β_k) = s_{β_k,i} − s_{0,i},      β_k = r·e^{2πik/N},      k = 0 … N−1

To first order in `r` every neuron goes around a circle of its own, of radius `r·|ds_i/dβ|`; higher harmonics bend it
(P1's figure 2a). What the states tell of the estimate is the certificate's `Spectrum`.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int, PRNGKeyArray

from holoprop.gradient.best_circle import settle_on_best_circle
from holoprop.gradient.checks import check_amplitude, check_batch, check_circle, check_complex
from holoprop.gradient.circle import Circle, settle_on_circle
from holoprop.gradient.expectation import CircleMemory, expect
from holoprop.gradient.nudged import nudged_default
from holoprop.gradient.spectrum import Spectrum
from holoprop.network.base import AbstractNetwork, Inputs, State, Targets, complex_dtype, parameter_dtype
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.rest import Rest
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import keyed

_FREE = 2**20
"""The number folded into the key for the free phase's noise, as in `Holomorphic`."""


class Orbit(eqx.Module):
    """Rest states all around a circle of nudges, in the order of their angle.

    **Attributes:**

    - `betas`: `(points, batch)` complex, the nudges `β_k`.
    - `state`: tuple of activities, each `(points, batch, *layer shape)`, complex.
    - `response`: likewise, `Δσ(β_k) = s_{β_k} − s_0`.
    - `residual`, `status`: `(points, batch)`, of each nudged state.
    - `free`: the free `Rest`.
    - `spectrum`: the `Spectrum`, per sample: `‖ŝ_j‖`, radius of convergence, predicted errors.
    """

    betas: Inexact[Array, "points batch"]
    state: State
    response: State
    residual: Float[Array, "points batch"]
    status: Int[Array, "points batch"]
    free: Rest
    spectrum: Spectrum

    @property
    def radius(self) -> Float[Array, " batch"]:
        """The radius of each sample's circle."""
        return jnp.abs(self.betas[0])


def circle_orbit(
    net: AbstractNetwork,
    x: Inputs,
    y: Targets,
    radius: float | Float[Array, " batch"] | Literal["auto"] = "auto",
    points: int = 24,
    *,
    solver: AbstractSolver | None = None,
    nudged_solver: AbstractSolver | None = None,
    key: PRNGKeyArray | None = None,
) -> Orbit:
    """Settle all around a circle of nudges and return what every neuron does there.

    Half of the circle is settled, as `Holomorphic` does it; the other half are its conjugates. With noise, which has no
    such symmetry, the whole circle is visited in turn.

    **Arguments:**

    - `net`: the network, with a holomorphic activation; energy network or vector field.
    - `x`: inputs `(batch, *net.input_shape)`, real; `y`: integer labels `(batch,)` or one-hot rows.
    - `radius`: of the circle, positive: a number, or one for each sample `(batch,)`; `"auto"` as in `Holomorphic`.
    - `points`: `N ≥ 3`, how many nudges all around.
    - `solver`, `nudged_solver`: of the free and of the nudged states, as in `Holomorphic`; `key` if they draw noise.

    **Returns:** an `Orbit`.

    **Raises:** `ValueError` for values outside these ranges, an activation that is not holomorphic, or shapes that do
    not fit.

    Source: P1 (arXiv 2209.00530), figure 2a.

    ```python
    orbit = hp.circle_orbit(net, x[:1], y[:1], radius=0.1)
    orbit.response[0][:, 0, 3]                # the path of neuron 3 of the first layer
    ```
    """
    check_complex(net, "circle_orbit")
    check_circle(points, at_least=3)
    if isinstance(radius, str) and radius != "auto":
        raise ValueError(f"radius must be a positive number or 'auto', got {radius!r}")
    check_amplitude("radius", radius)
    x, target = check_batch(net, x, y)
    solver = Anderson() if solver is None else solver
    if not isinstance(radius, str):
        radius = jnp.broadcast_to(jnp.asarray(radius), x.shape[:1]).astype(parameter_dtype(net))
    free, circle = _settle(net, x, target, radius, points, solver, nudged_solver or nudged_default(solver), key)
    order, conjugated = _all_around(points, circle.betas.shape[0])
    dtype = complex_dtype(net)

    def unfolded(half: Array) -> Array:
        whole = half.astype(dtype)[order]
        return jnp.where(conjugated.reshape(-1, *[1] * (whole.ndim - 1)), jnp.conj(whole), whole)

    state = tuple(unfolded(s) for s in circle.nudged.state)
    return Orbit(
        betas=unfolded(circle.betas),
        state=state,
        response=tuple(s - f.astype(dtype) for s, f in zip(state, free.state, strict=True)),
        residual=circle.nudged.residual[order],
        status=circle.nudged.status[order],
        free=free,
        spectrum=circle.spectrum,
    )


@eqx.filter_jit
def _settle(
    net: AbstractNetwork,
    x: Array,
    target: Array,
    radius: Array | Literal["auto"],
    points: int,
    solver: AbstractSolver,
    nudged_solver: AbstractSolver,
    key: PRNGKeyArray | None,
) -> tuple[Rest, Circle]:
    problem = FixedPoint.of(net, x)
    free = settle_problem(problem, keyed(solver, key, _FREE))
    if isinstance(radius, str):
        memory = CircleMemory.fresh(free.residual.dtype)
        expected = expect(problem, target, free, nudged_solver, memory)
        circle, _ = settle_on_best_circle(problem, target, free, points, None, nudged_solver, expected, key)
    else:
        circle = settle_on_circle(problem, target, free, points, radius, nudged_solver, key=key)
    return free, circle


def _all_around(points: int, settled: int) -> tuple[Int[Array, " points"], Array]:
    """Return where each point of the circle stands among the settled ones, and whether as its conjugate."""
    if settled == points:  # with noise all are visited
        return jnp.arange(points), jnp.zeros(points, bool)
    # As `half_circle` has them: 1, then −1 if there is one, then those of the upper half by their angle.
    first = 1 if points % 2 else 2
    places, mirrored = [], []
    for k in range(points):
        m = min(k, points - k)
        places.append(0 if m == 0 else 1 if 2 * m == points else first + m - 1)
        mirrored.append(k > points - k)
    return jnp.asarray(places), jnp.asarray(mirrored)

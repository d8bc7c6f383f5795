"""The stability map: where in the complex plane of nudges a network comes to rest, and how fast.

Each nudge β of a grid is settled by itself, from the free rest state; the map holds what is left of the update,

    ‖Δσ_β‖ = ‖σ(a(s) − β ∂C/∂s_L) − s‖,

after a given number of plain steps (P1's figure 2b). Where it stays large there is no stable rest state near the free
one, and no circle of nudges may pass there or reach around it. Parameters and inputs are real, so `s_{β̄} = conj(s_β)`:
each pair of conjugate nudges is settled once.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from holoprop.gradient.checks import check_batch, check_complex
from holoprop.network.base import AbstractNetwork, Inputs, State, Targets, complex_dtype, parameter_dtype
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.plain import Picard
from holoprop.settling.rest import Rest, Status
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import is_noisy


class StabilityMap(eqx.Module):
    """What became of each nudge of a grid, per sample.

    **Attributes** (numpy arrays; `rows` run upward, from the smallest imaginary part, `columns` to the right):

    - `real`: `(columns,)`, `imag`: `(rows,)`, real and imaginary parts of the nudges, dimensionless.
    - `residual`: `(batch, rows, columns)`, `‖σ(a(s)) − s‖` where the solver stopped, in units of activity.
    - `steps`: `(batch, rows, columns)` int32, the steps taken; `status`: likewise, values of `Status`.
    - `free_status`: `(batch,)` int32, of the free rest state that every nudge starts from. Where that did not settle
      the map means nothing.
    """

    real: Float[np.ndarray, " columns"]
    imag: Float[np.ndarray, " rows"]
    residual: Float[np.ndarray, "batch rows columns"]
    steps: Int[np.ndarray, "batch rows columns"]
    status: Int[np.ndarray, "batch rows columns"]
    free_status: Int[np.ndarray, " batch"]

    @property
    def betas(self) -> Complex[np.ndarray, "rows columns"]:
        """The nudges of the grid."""
        return self.real[None, :] + 1j * self.imag[:, None]

    @property
    def settled(self) -> Bool[np.ndarray, "batch rows columns"]:
        """Where a rest state was reached."""
        return self.status == Status.settled

    @property
    def stable_radius(self) -> Float[np.ndarray, " batch"]:
        """The size of the smallest nudge of the grid that did not settle: circles below it stay in the stable area.

        Infinite where all settled. As fine as the grid, and as true as the number of steps allows.
        """
        size = np.where(self.settled, np.inf, np.abs(self.betas))
        return size.min(axis=(1, 2))


def stability_map(
    net: AbstractNetwork,
    x: Inputs,
    y: Targets,
    extent: float | Sequence[float] = 1.5,
    resolution: int | tuple[int, int] = 101,
    *,
    solver: AbstractSolver | None = None,
    free_solver: AbstractSolver | None = None,
    chunk: int = 1024,
) -> StabilityMap:
    """Settle a grid of complex nudges from the free rest state, for each sample of a batch.

    **Arguments:**

    - `net`: the network, with a holomorphic activation; energy network or vector field.
    - `x`: inputs `(batch, *net.input_shape)`, real; `y`: integer labels `(batch,)` or one-hot rows.
    - `extent`: `e` for the square `[−e, e]²`, or `(left, right, bottom, top)`; dimensionless, as nudges are.
    - `resolution`: nudges along each side, or `(columns, rows)`; at least 2. An odd number has the axes in the grid.
    - `solver`: how the nudged states settle. Default `Picard(max_steps=200)`: plain synchronous steps, as in P1's
      figure, which stop at the tolerance. `Anderson()` shows what the estimators' own solver finds, which may be a
      rest state on another branch.
    - `free_solver`: how the free state settles, default `Anderson()`.
    - `chunk`: nudges settled at once, for all samples of the batch: memory grows with it.

    **Returns:** a `StabilityMap`.

    **Raises:** `ValueError` for an activation that is not holomorphic, an empty or infinite `extent`, a `resolution`
    below 2, a `chunk` below 1, a noisy solver, or shapes that do not fit.

    Source: P1 (arXiv 2209.00530), figure 2b.

    ```python
    found = hp.stability_map(net, x[:1], y[:1], extent=1.5, resolution=101)
    found.residual[0], found.stable_radius[0]
    ```
    """
    check_complex(net, "stability_map")
    real, imag = _grid(extent, resolution)
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    solver = Picard(max_steps=200) if solver is None else solver
    if is_noisy(solver):
        raise ValueError("stability_map settles each nudge without noise: leave noise out of the solver")
    x, target = check_batch(net, x, y)
    problem, free = _settle_free(net, x, Anderson() if free_solver is None else free_solver)
    # One of each pair of conjugates, whatever of the plane is asked for.
    heights, row = np.unique(np.abs(imag), return_inverse=True)
    betas = (real[None, :] + 1j * heights[:, None]).reshape(-1).astype(complex_dtype(net))
    chunk = min(chunk, betas.size)
    # The last chunk is filled up with nudges of 0, which are at rest: all chunks share one compiled program.
    pieces = np.concatenate([betas, np.zeros(-betas.size % chunk, betas.dtype)]).reshape(-1, chunk)
    found = [_settle_chunk(problem, target, free.state, jnp.asarray(piece), solver) for piece in pieces]

    def assembled(index: int) -> np.ndarray:
        whole = np.concatenate([np.asarray(each[index]) for each in found])[: betas.size]
        return np.moveaxis(whole.reshape(heights.size, real.size, -1), -1, 0)[:, row]

    dtype = parameter_dtype(net)
    return StabilityMap(
        real.astype(dtype), imag.astype(dtype), assembled(0), assembled(1), assembled(2), np.asarray(free.status)
    )


@eqx.filter_jit
def _settle_free(net: AbstractNetwork, x: Array, solver: AbstractSolver) -> tuple[FixedPoint, Rest]:
    problem = FixedPoint.of(net, x)
    return problem, settle_problem(problem, solver)


@eqx.filter_jit
def _settle_chunk(
    problem: FixedPoint, target: Array, free: State, betas: Complex[Array, " chunk"], solver: AbstractSolver
) -> tuple[Array, Array, Array]:
    """Return residual, steps and status, `(chunk, batch)`; the states themselves stay on the device and are dropped."""
    lead = (betas.shape[0], target.shape[0])
    every = jnp.broadcast_to(betas[:, None], lead)
    start = tuple(jnp.broadcast_to(s, (betas.shape[0], *s.shape)) for s in free)
    nudged = problem.nudged(target, every)
    rest = settle_problem(nudged, solver, start)
    return rest.residual, rest.steps, rest.status


def _grid(extent: float | Sequence[float], resolution: int | tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    sides = np.asarray(extent, np.float64)
    if sides.ndim == 0:
        sides = np.array([-1, 1, -1, 1]) * sides
    if sides.shape != (4,) or not np.isfinite(sides).all() or not (sides[0] < sides[1] and sides[2] < sides[3]):
        raise ValueError(
            "extent must be a positive number, or (left, right, bottom, top) with left < right and bottom < top, got "
            f"{extent}"
        )
    counts = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    if len(counts) != 2 or not all(isinstance(count, int | np.integer) and count >= 2 for count in counts):
        raise ValueError(f"resolution must be an integer of at least 2, or two of them, got {resolution}")
    return _side(sides[0], sides[1], int(counts[0])), _side(sides[2], sides[3], int(counts[1]))


def _side(low: float, high: float, count: int) -> np.ndarray:
    places = np.linspace(low, high, count)
    # Rounding must not tell the two halves of a symmetric side apart.
    return (places - places[::-1]) / 2 if low == -high else places

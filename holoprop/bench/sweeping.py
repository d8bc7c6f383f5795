"""How fast sweeps are, of the rate of the bare convolutions in them.

A sweep of a convolutional network is its convolutions, up and down, and everything around them: pooling and its
derivative, activations, the nudge, the solver's own work and moving data. What share of the time the convolutions
leave is measured in one run, on maps of the same shapes and of the same number:

    share = (operations of a sweep / its seconds) / (operations of the convolutions / their seconds)

A complex map counts as two real ones on both sides. Each bare convolution is timed by itself, once as the package does
it and once as the library alone does, and the faster counts.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from holoprop.bench.flops import Flops
from holoprop.gradient.contour import half_circle
from holoprop.network.base import initial_state, parameter_dtype
from holoprop.network.conv import Conv
from holoprop.network.convolution import convolve, convolve_transposed
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.solver import AbstractSolver

_SWEEPS = 10
"""How many are timed in one loop."""


@dataclasses.dataclass(frozen=True)
class SweepRate:
    """What to time for the share, and what it means.

    **Attributes:** `functions`: by name, to be timed (`time_in_turns`); `sweep_flops`: of the one called `"sweeps"`, in
    all; `bare_flops`: of the convolutions of one sweep. All other functions are those, `"<which>/<way>"`.
    """

    functions: dict[str, Callable[[], Any]]
    sweep_flops: int
    bare_flops: int

    def gflops(self, seconds: Mapping[str, float]) -> tuple[float, float]:
        """Return GFLOP/s of the sweeps and of the bare convolutions, given the seconds of each function."""
        fastest: dict[str, float] = {}
        for name in self.functions.keys() - {"sweeps"}:
            which = name.rpartition("/")[0]
            fastest[which] = min(fastest.get(which, float("inf")), seconds[name])
        return self.sweep_flops / seconds["sweeps"] / 1e9, self.bare_flops / sum(fastest.values()) / 1e9


def free_sweep_rate(net: LayeredNetwork, x: Array, *, solver: AbstractSolver) -> SweepRate:
    """Return what to time for sweeps of the free phase on a batch `x`, as `solver` takes them."""
    return _rate(FixedPoint.of(net, x), solver)


def nudged_sweep_rate(
    net: LayeredNetwork, x: Array, y: Array, points: int, radius: float, *, solver: AbstractSolver
) -> SweepRate:
    """Return what to time for nudged sweeps on a batch `x` with labels `y`, as `solver` takes them.

    They are those of both points of a circle of two, which are real, and else those of the complex points.
    """
    unit, multiplicity = half_circle(points)
    kept = radius * (unit if points == 2 else unit[multiplicity == 2])
    betas = jnp.broadcast_to(jnp.asarray(kept)[:, None], (kept.size, x.shape[0]))
    return _rate(FixedPoint.of(net, x, y, betas), solver)


def _rate(problem: FixedPoint, solver: AbstractSolver) -> SweepRate:
    net: Any = problem.net
    complex_state = problem.beta is not None and jnp.iscomplexobj(problem.beta)
    samples = math.prod(problem.lead)
    maps = samples * (2 if complex_state else 1)

    @jax.jit
    def sweeps(problem: FixedPoint) -> Any:
        # Steps of the solver whatever it makes of them: no sample ends the loop.
        progress = solver.init(problem, initial_state(problem.net, problem.lead, problem.dtype))
        return lax.fori_loop(0, _SWEEPS, lambda _, each: solver.step(problem, each), progress).state

    flops = Flops.of(net)
    sweep = flops.sweep(nudged=problem.beta is not None, complex_state=complex_state)
    bare: dict[str, Callable[[], Any]] = {}
    for i, connection in enumerate(net.connections[1:], 1):
        if not isinstance(connection, Conv):
            raise ValueError(f"bare convolutions are of convolutional networks, but connections[{i}] is none")
        bare |= {f"{i}/{name}": run for name, run in _bare(connection, maps).items()}
    return SweepRate(
        {"sweeps": lambda: sweeps(problem), **bare}, _SWEEPS * samples * sweep, maps * (flops.inner + flops.returned)
    )


def _bare(connection: Conv, maps: int) -> dict[str, Callable[[], Any]]:
    """Return both directions of a convolution of so many maps, in two ways each."""
    dtype, (stride, padding) = parameter_dtype(connection), connection.convolution
    forward, back = connection.product_kernel, connection.kernel_back
    below = jax.random.normal(jax.random.key(0), (maps, *connection.source_shape), dtype)
    above = jax.random.normal(jax.random.key(1), (maps, *connection.product_shape[:2], back.shape[3]), dtype)

    def library(s: Array, weight: Array) -> Array:
        return lax.conv_general_dilated(
            s, weight, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def turned(y: Array, weight: Array) -> Array:
        return jax.linear_transpose(lambda s: library(s, weight), below)(y)[0]

    def package(s: Array, weight: Array) -> Array:
        return jax.vmap(lambda each: convolve(each, weight, stride, padding))(s)

    def package_turned(y: Array, weight: Array) -> Array:
        return jax.vmap(lambda each: convolve_transposed(each, weight, stride, padding, connection.size))(y)

    ways = {
        "up/library": (library, below, forward),
        "up/package": (package, below, forward),
        "down/library": (turned, above, back),
        "down/package": (package_turned, above, back),
    }

    def runner(function: Callable[[Array, Array], Array], argument: Array, kernel: Array) -> Callable[[], Any]:
        compiled = jax.jit(function)
        return lambda: compiled(argument, kernel)

    return {name: runner(*way) for name, way in ways.items()}

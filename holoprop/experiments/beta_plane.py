"""One sample of a network under every nudge of the complex plane, and once around the circle of its estimate.

stability map on a grid   ·   orbits of the neurons on a fine circle   ·   spectrum on the estimate's own N points
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

from holoprop.experiments.building import build_experiment
from holoprop.experiments.config import Config
from holoprop.gradient.orbit import Orbit, circle_orbit
from holoprop.gradient.stability import StabilityMap, stability_map
from holoprop.network.base import AbstractNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.plain import Alternating, Picard
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import is_noisy
from holoprop.train.checkpoint import load_checkpoint
from holoprop.train.step import initial_train_state

MAP_SOLVERS = ("picard", "alternating", "anderson")
"""How the nudges of a map may settle: plain steps of all layers at once, of alternate layers, accelerated."""
_FINE = 48
"""Points of the circle on which orbits are drawn, and the spectrum that the estimate is held against."""
_NICE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)


class BetaPlane(NamedTuple):
    """What one sample does in the plane of nudges.

    **Attributes:** `title`, `subject`: what was mapped, in words; `solver`, `max_steps`: of the map; `plane`: the
    `StabilityMap`; `orbit`: on the estimate's own points; `fine`: on the same circle, of many points. All of one
    sample.
    """

    title: str
    subject: str
    solver: str
    max_steps: int
    plane: StabilityMap
    orbit: Orbit
    fine: Orbit

    @property
    def points(self) -> int:
        """The number of points of the estimate."""
        return self.orbit.betas.shape[0]

    @property
    def radius(self) -> float:
        """The radius of the circle."""
        return float(self.orbit.radius[0])

    @property
    def radius_of_convergence(self) -> float:
        """Its estimate from the estimate's own points; NaN where the response drowns."""
        return float(self.orbit.spectrum.radius_of_convergence[0])

    @property
    def reach(self) -> float:
        """The size up to which every nudge lies in the map."""
        real, imag = self.plane.real, self.plane.imag
        return float(min(-real[0], real[-1], -imag[0], imag[-1]))


def map_config(
    config: Config,
    *,
    sample: int = 0,
    folder: Path | None = None,
    points: int | None = None,
    radius: float | None = None,
    extent: float | Sequence[float] | None = None,
    resolution: int = 101,
    solver: str = "picard",
    max_steps: int = 200,
) -> BetaPlane:
    """Map one test sample of a configuration.

    **Arguments:** `sample`: its place in the test set, from 0; `folder`: a run of this configuration whose trained
    network to take in place of a fresh one; the others as `map_sample`; `points` and `radius` by default the
    estimator's.

    **Raises:** `ValueError` for a sample that is not there and what `map_sample` refuses; `CheckpointError`,
    `DataError`.
    """
    with jax.enable_x64(config.network.dtype == "float64"):
        experiment = build_experiment(config)
        net, estimator = experiment.net, experiment.estimator
        count = len(experiment.test)
        if not 0 <= sample < count:
            raise ValueError(
                f"sample must be from 0 to {count - 1}, the test samples of {config.data.name}, got {sample}"
            )
        x, y = experiment.samples(experiment.test, slice(sample, sample + 1))
        if folder is not None:
            like = initial_train_state(net, estimator, experiment.optimizer, config.training.batch_size)
            net = load_checkpoint(folder / "checkpoint.eqx", like)[0].net
        own = getattr(estimator, "points", None)
        kept = getattr(estimator, "radius", getattr(estimator, "beta", "auto"))
        state = "trained" if folder is not None else "at its initial weights"
        label = experiment.dataset.class_names[int(y[0])]
        return map_sample(
            net,
            x,
            y,
            points=points if points is not None else own if isinstance(own, int) and own >= 3 else 4,
            radius=radius if radius is not None else "auto" if isinstance(kept, str) else abs(kept),
            extent=extent,
            resolution=resolution,
            solver=solver,
            max_steps=max_steps,
            circle_solver=None if is_noisy(estimator.solver) else estimator.solver,
            title=config.name,
            subject=f"{config.data.name}, test sample {sample} (class {label}); network {state}",
        )


def map_sample(
    net: AbstractNetwork,
    x: np.ndarray,
    y: np.ndarray,
    *,
    points: int = 4,
    radius: float | Literal["auto"] = "auto",
    extent: float | Sequence[float] | None = None,
    resolution: int = 101,
    solver: str = "picard",
    max_steps: int = 200,
    circle_solver: AbstractSolver | None = None,
    title: str = "",
    subject: str = "",
) -> BetaPlane:
    """Map one sample, and follow its neurons around the circle of an estimate.

    **Arguments:** `x`, `y`: a batch of one; `points`, `radius`: of the estimate's circle, as `circle_orbit`; `extent`,
    `resolution`: as `stability_map`, by default a little more than twice the radius of convergence; `solver`: one of
    `MAP_SOLVERS`, with `max_steps` for each nudge; `circle_solver`: of the circle, as the estimator's `solver`, default
    `Anderson()`; `title`, `subject`: what it is, for the page.

    **Raises:** `ValueError` for values outside these ranges, and for a network that is not holomorphic.
    """
    if len(x) != 1:
        raise ValueError(f"a map is of one sample, got {len(x)}: pass x[:1] and y[:1]")
    settles = _map_solver(solver, max_steps)
    orbit = circle_orbit(net, x, y, radius, points, solver=circle_solver)
    fine = circle_orbit(net, x, y, orbit.radius, max(_FINE, 2 * points), solver=circle_solver)
    if extent is None:
        limit = float(orbit.spectrum.radius_of_convergence[0])
        extent = _nice(max(2.2 * limit if math.isfinite(limit) else 1.5, 1.25 * float(orbit.radius[0])))
    plane = stability_map(net, x, y, extent, resolution, solver=settles)
    return BetaPlane(title, subject, solver, max_steps, plane, orbit, fine)


def _map_solver(name: str, max_steps: int) -> AbstractSolver:
    if name == "picard":
        return Picard(max_steps=max_steps)
    if name == "alternating":
        return Alternating(max_steps=max_steps)
    if name == "anderson":
        return Anderson(max_steps=max_steps)
    raise ValueError(f"solver must be one of {', '.join(MAP_SOLVERS)}, got {name!r}")


def _nice(value: float) -> float:
    """The next round number above."""
    decade = 10.0 ** math.floor(math.log10(value))
    return next(factor * decade for factor in _NICE if factor * decade >= value * (1 - 1e-9))

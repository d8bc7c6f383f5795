"""P2's Figure 2: finite nudges on a network without weight symmetry, around a circle and in continuous time.

Left, the response of the neurons, `ds/dβ`, as one nudge and as points on a circle estimate it, against the size of the
nudge. Right, one neuron while the nudge turns for ever: the raw oscillation, its running average, and the rest state of
the free phase, which the average finds without there being one.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from holoprop.experiments.reproduce.courses import Data
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Report
from holoprop.gradient.contour import whole_circle
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.finite_difference import OneSided
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import ForwardResponse
from holoprop.gradient.turn import turn
from holoprop.network.base import State
from holoprop.network.build import mlp
from holoprop.network.cost import one_hot
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.run import settle
from holoprop.settling.time_stepping import TimeSteps

POINTS = (1, 2, 4, 8)
AMPLITUDE = 0.5
TIME = 400
"""Time steps of the traces, as on the published axis."""
_PERIOD = 80
_SAMPLES = 10
_SOLVER = Anderson(tolerance=1e-12)
_BETAS = np.geomspace(0.01, 1.0, 13)
_SIZES: dict[Scale, tuple[tuple[int, ...], int]] = {
    "smoke": ((32, 32, 10), 4),
    "small": ((256, 256, 10), 1),
    "paper": ((256, 256, 10), 1),
}
"""Layers, and every which of the nudges."""
_SOURCE = "limit: this project; P2 (arXiv 2309.02214), Fig. 2, its settings not published where we could look"


def run(scale: Scale, seed: int | None, report: Report) -> Findings:
    """Sweep the nudge, then follow one neuron of the first layer; arrays are `(points, nudges)` and `(time,)`."""
    layers, every = _SIZES[scale]
    betas = _BETAS[::every]
    images, labels = Data.load(_SAMPLES, _SAMPLES).train
    with jax.enable_x64(True):
        net = mlp(784, layers, 10, feedback="free", angle=90.0, key=jax.random.key(0 if seed is None else seed))
        x, y = jnp.asarray(images, jnp.float64), jnp.asarray(labels)
        truth = _flat(ForwardResponse(solver=_SOLVER)(net, x, y).response)
        errors = np.empty((len(POINTS), len(betas)))
        for k, points in enumerate(POINTS):
            for b, beta in enumerate(betas.tolist()):
                found = _flat(_estimator(points, beta)(net, x, y).response)
                errors[k, b] = np.linalg.norm(found - truth) / np.linalg.norm(truth)
            report(f"N = {points}: relative error {errors[k, 0]:.1e} to {errors[k, -1]:.1e}")
        raw, free = _trace(net, x[:1], y[:1])
    average = np.cumsum(raw) / np.arange(1, TIME + 1)
    swing = float(np.abs(raw[-_PERIOD:] - raw[-_PERIOD:].mean()).max())
    period = float(raw[-_PERIOD:].mean())
    middle = int(np.abs(betas - AMPLITUDE).argmin())
    arrays = {"points": np.array(POINTS), "betas": betas, "errors": errors, "raw": raw, "average": average}
    arrays["free"] = np.array(free)
    claims = [
        Claim(
            "relative error of the response, 8 points, at every nudge up to 0.5",
            float(errors[-1, : middle + 1].max()),
            "≤",
            1e-3,
            _SOURCE,
        ),
        Claim(
            f"relative error of one point over that of two, |β| = {betas[middle]:.2g}",
            float(errors[0, middle] / errors[1, middle]),
            "≥",
            2.0,
            _SOURCE,
        ),
        Claim(
            "mean over the last period from the free rest state, relative to the oscillation",
            abs(period - free) / swing,
            "≤",
            0.05,
            _SOURCE,
        ),
        Claim(
            f"running average after {TIME} steps from the free rest state, relative to the oscillation",
            abs(float(average[-1]) - free) / swing,
            "≤",
            0.25,
            _SOURCE,
        ),
    ]
    table = Table(
        "Relative error of the response to a nudge",
        ("|β|", *(f"N = {points}" for points in POINTS)),
        [(f"{beta:.2g}", *(f"{error:.1e}" for error in errors[:, b])) for b, beta in enumerate(betas)],
    )
    settings = {
        "network": f"784-{'-'.join(map(str, layers))}, sigmoid(4z − 2), 10×10 readout, free feedback at 90 degrees",
        "data": f"{_SAMPLES} training images of Fashion-MNIST",
        "continuous time": f"|β| = {AMPLITUDE:g}, once around in {_PERIOD} time steps, from zero activity",
        "precision": "float64",
    }
    return Findings(settings, claims, [table], arrays)


def _estimator(points: int, beta: float) -> AbstractEstimator:
    if points == 1:
        return OneSided(beta=beta, solver=_SOLVER, unsettled="keep")
    return Holomorphic(points=points, radius=beta, solver=_SOLVER, unsettled="keep")


def _flat(response: State | None) -> np.ndarray:
    assert response is not None
    return np.concatenate([np.asarray(layer).reshape(len(layer), -1) for layer in response], 1)


def _trace(net: LayeredNetwork, x: jax.Array, y: jax.Array) -> tuple[np.ndarray, float]:
    """The activity of the neuron of the first layer that moves most, step by step, and where it rests freely."""
    target = one_hot(y, net.classes, x.dtype)
    turns = np.resize(AMPLITUDE * whole_circle(_PERIOD), TIME)
    problem = FixedPoint.of(net, x)
    start = tuple(jnp.zeros_like(layer) for layer in problem.initial())
    _, visited = jax.jit(functools.partial(turn, solver=TimeSteps(1), key=None))(
        problem, target, jnp.asarray(turns)[:, None], start
    )
    course = np.asarray(visited.state[0][:, 0].real)
    chosen = int(np.ptp(course[-_PERIOD:], axis=0).argmax())
    return course[:, chosen], float(settle(net, x, solver=_SOLVER).state[0][0, chosen])

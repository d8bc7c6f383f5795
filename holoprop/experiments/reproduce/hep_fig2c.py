"""P1's Figure 2c: on a circle of nudges a synapse's product of activities moves on an orbit whose mean, turned back by
the nudge's own angle, is the gradient.

    −dℒ/dW_ij = (1/N) Σ_k σ_i(β_k) σ_j(β_k) e^{−2πik/N} / |β|

At |β| = 0.001 rounding is magnified, at 0.5 the radius of convergence is near; in between nothing is lost.
"""

import jax
import jax.numpy as jnp
import numpy as np

from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Report
from holoprop.experiments.reproduce.toy import fc2, relative_error, toy_gradient, toy_network
from holoprop.gradient.contour import whole_circle
from holoprop.gradient.finite_difference import OneSided
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.settling.run import settle
from holoprop.settling.time_stepping import TimeSteps

BETAS = (0.001, 0.01, 0.1, 0.5)
POINTS = 24
STEPS = 100
SYNAPSE = (3, 2)
"""From the fourth neuron of the first layer to the third of the second."""

_LIMITS = {"float32": (3.4e-5, 2e-5, 2e-5, 3.4e-5), "float64": (1e-10, 1e-10, 1e-10, 3.4e-5)}
_ROUNDED = 2e-4
"""In place of the first at `smoke`, where only what is known to hold is claimed."""
_PUBLISHED_GRADIENT = (3.08980e-3, 3.09002e-3, 3.08985e-3, 3.08947e-3)
_PUBLISHED_ONE_POINT = (3.16e-3, 3.71e-3, 9.76e-3, 47.98e-3)
_PUBLISHED_ERROR = (3.4e-5, 2.9e-6, 5.4e-7, 3.4e-5)
_RUN_AGAIN = (8.5e-5, 4.3e-6, 5.3e-7, 3.4e-5)
"""The same from the published implementation, run again on another machine in the same float32 (our test fixtures)."""
_PUBLISHED_ONE_POINT_ERROR = (1.4e-3, 1.2e-2, 0.126, 0.634)
_SOURCE = "P1 Fig. 2c, published result files"


def run(scale: Scale, seed: int | None, report: Report) -> Findings:
    """Compute orbits and gradient errors in float32 and float64; every scale is the published one.

    Network and sample are the published ones, so `seed` changes nothing.
    """
    del seed
    truth = toy_gradient()
    errors = {name: _errors(np.dtype(name), truth, report) for name in _LIMITS}
    orbits, means = _orbits()
    claims = []
    for name, limits in _LIMITS.items():
        for i, beta in enumerate(BETAS):
            rounded = scale == "smoke" and name == "float32" and i == 0
            published = limits[i] == max(_PUBLISHED_ERROR) and not rounded
            claims.append(
                Claim(
                    f"relative error of fc_2 at β = {beta:g}, {name}",
                    errors[name][0][i],
                    "≤",
                    _ROUNDED if rounded else limits[i],
                    f"{_SOURCE}: the largest error" if published else f"limit: this project; {_SOURCE}",
                )
            )
    single = errors["float32"]
    claims.append(
        Claim(
            "largest deviation of the one-point estimate's relative error from the published one (a ratio)",
            max(max(a / b, b / a) for a, b in zip(single[1], _PUBLISHED_ONE_POINT_ERROR, strict=True)),
            "≤",
            1.1,
            _SOURCE,
        )
    )
    target = -float(fc2(truth)[SYNAPSE])
    side_by_side = Table(
        f"Negative gradient of the synapse {SYNAPSE[0]} → {SYNAPSE[1]} of fc_2 (true: {target:.5e}; published: "
        "3.0898e-03)",
        ("β", "24 points, published", "24 points, here", "one point, published", "one point, here"),
        [
            (beta, f"{_PUBLISHED_GRADIENT[i]:.5e}", f"{single[2][i]:.5e}", _PUBLISHED_ONE_POINT[i], single[3][i])
            for i, beta in enumerate(BETAS)
        ],
    )
    wrong = Table(
        "Relative error of the whole fc_2; run again: by the published code on another machine, float32",
        ("β", "published (float32)", "float32", "float64", "run again", "one point, published", "one point, here"),
        [
            (
                beta,
                _PUBLISHED_ERROR[i],
                errors["float32"][0][i],
                errors["float64"][0][i],
                _RUN_AGAIN[i],
                _PUBLISHED_ONE_POINT_ERROR[i],
                single[1][i],
            )
            for i, beta in enumerate(BETAS)
        ],
    )
    arrays = {
        "betas": np.array(BETAS),
        "orbits": orbits,
        "means": means,
        "gradient": np.array(target),
        "errors_float32": np.array(errors["float32"][0]),
        "errors_float64": np.array(errors["float64"][0]),
        "errors_one_point": np.array(single[1]),
        "published_errors": np.array(_PUBLISHED_ERROR),
        "published_one_point_errors": np.array(_PUBLISHED_ONE_POINT_ERROR),
    }
    settings = {
        "network": "6-4-4-4, sigmoid(4z − 2), the published weights and sample",
        "points N": POINTS,
        "time steps": f"{STEPS} free, and {STEPS} from there at each point",
        "float32": "at β = 0.001 the error is the rounding of the states, by chance less or more: the published "
        f"implementation's is {_RUN_AGAIN[0]:g} when it is run again on another machine, {_PUBLISHED_ERROR[0]:g} as "
        "published",
        "exact gradient": "implicit, float64",
    }
    return Findings(settings, claims, [wrong, side_by_side], arrays)


def _errors(dtype: np.dtype, truth: object, report: Report) -> tuple[list[float], ...]:
    """Relative errors of fc_2 with 24 points and one, then the estimates of the one synapse."""
    columns: tuple[list[float], ...] = ([], [], [], [])
    with jax.enable_x64(dtype == np.float64):
        net, x, y = toy_network(dtype)
        for beta in BETAS:
            circle = Holomorphic(points=POINTS, radius=beta, solver=TimeSteps(STEPS), unsettled="keep")(
                net, x, y
            ).gradient
            single = OneSided(beta=beta, solver=TimeSteps(STEPS), unsettled="keep")(net, x, y).gradient
            found = (
                relative_error(fc2(circle), fc2(truth)),
                relative_error(fc2(single), fc2(truth)),
                -float(fc2(circle)[SYNAPSE]),
                -float(fc2(single)[SYNAPSE]),
            )
            for column, value in zip(columns, found, strict=True):
                column.append(value)
            report(f"{dtype.name}, β = {beta:g}: relative error {found[0]:.1e}")
    return columns


def _orbits() -> tuple[np.ndarray, np.ndarray]:
    """The synapse's product on the circle less the free one, over |β|, `(betas, 24)` complex; and Cauchy's means."""
    unit = whole_circle(POINTS)
    i, j = SYNAPSE
    with jax.enable_x64(True):
        net, x, y = toy_network(np.float64)
        free = settle(net, x, solver=TimeSteps(STEPS)).state
        rows = []
        for beta in BETAS:
            nudges = jnp.asarray(beta * unit)[:, None]
            start = tuple(jnp.broadcast_to(s, (POINTS, *s.shape)).astype(complex) for s in free)
            first, second = settle(net, x, y, nudges, solver=TimeSteps(STEPS), state=start).state
            still = np.asarray(free[0])[0, i] * np.asarray(free[1])[0, j]
            rows.append((np.asarray(first)[:, 0, i] * np.asarray(second)[:, 0, j] - still) / beta)
    orbits = np.array(rows)
    return orbits, (orbits * unit.conj()).mean(axis=1).real

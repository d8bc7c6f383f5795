"""P1's Figure 2a: as the nudge goes around its circle, every neuron goes around an orbit of its own.

To first order the orbit is a circle of radius `|β|·|ds_i/dβ|`. Its first Fourier coefficient is the neuron's response
to an infinitesimal nudge, exactly, and it has no negative ones, because the rest state is holomorphic in `β`.
"""

import jax
import numpy as np

from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Report
from holoprop.experiments.reproduce.toy import relative_error, toy_network
from holoprop.gradient.implicit import ForwardResponse
from holoprop.gradient.orbit import circle_orbit
from holoprop.settling.anderson import Anderson

BETA = 0.1
POINTS = 24
_AMPLITUDE = 7.0e-3
_SOLVER = Anderson(tolerance=1e-14)


def run(scale: Scale, seed: int | None, report: Report) -> Findings:
    """Follow the neurons of both layers once around; every scale is the published one.

    Network and sample are the published ones, so `seed` changes nothing.
    """
    del scale, seed
    with jax.enable_x64(True):
        net, x, y = toy_network(np.float64)
        orbit = circle_orbit(net, x, y, BETA, POINTS, solver=_SOLVER, nudged_solver=_SOLVER)
        exact = ForwardResponse(solver=_SOLVER)(net, x, y).response
    assert exact is not None
    paths = [np.asarray(layer[:, 0]) for layer in orbit.response]
    truth = np.concatenate([np.asarray(layer[0]) for layer in exact])
    # ŝ_j for j = 0 … N−1, the upper half of which are the negative frequencies.
    spectrum = np.fft.fft(np.concatenate(paths, 1), axis=0) / POINTS
    report(f"{POINTS} nudges of size {BETA:g}")
    sizes = np.abs(spectrum)
    bent = np.sqrt((sizes[2 : POINTS // 2] ** 2).sum(0)) / sizes[1]
    amplitude = float(np.abs(paths[0]).max())
    claims = [
        Claim(
            "largest |Δσ| in the first layer (the published axis ends there)",
            amplitude,
            "≤",
            1.01 * _AMPLITUDE,
            "P1 Fig. 2a, published result files",
        ),
        Claim("the same: the orbits fill that axis", amplitude, "≥", 0.9 * _AMPLITUDE, "P1 Fig. 2a"),
        Claim(
            "what bends the orbits: harmonics beyond the first, worst neuron (near-circular: under a third)",
            float(bent.max()),
            "≤",
            1 / 3,
            "limit: this project, 0.2 until 0.299 was measured; P1 Fig. 2a",
        ),
        Claim(
            "negative frequencies relative to the first harmonic, all neurons (holomorphic: none)",
            float(np.linalg.norm(spectrum[POINTS // 2 + 1 :]) / np.linalg.norm(spectrum[1])),
            "≤",
            1e-10,
            "this project",
        ),
        Claim(
            "first coefficient over |β| against the response to an infinitesimal nudge, relative error",
            relative_error(spectrum[1] / BETA, truth),
            "≤",
            1e-10,
            "this project: implicit response",
        ),
    ]
    table = Table(
        "Neuron by neuron",
        ("layer", "neuron", "radius |ŝ₁|", "second harmonic, relative", "|β| · exact response"),
        [
            (layer + 1, i, f"{sizes[1, at]:.3e}", f"{sizes[2, at] / sizes[1, at]:.3f}", f"{BETA * truth[at]:.3e}")
            for at, (layer, i) in enumerate(
                (layer, i) for layer, path in enumerate(paths) for i in range(path.shape[1])
            )
        ],
    )
    settings = {
        "network": "6-4-4-4, sigmoid(4z − 2), the published weights and sample",
        "nudge |β|": BETA,
        "points N": POINTS,
        "precision": "float64, every state at rest",
    }
    arrays = {f"layer_{layer + 1}": path for layer, path in enumerate(paths)}
    return Findings(settings, claims, [table], arrays)

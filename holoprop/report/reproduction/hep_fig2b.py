"""Pictures of `hep-fig2b`: the stability map in the paper's range, and the steps it took."""

import numpy as np

from holoprop.experiments.reproduce.hep_fig2b import CIRCLE, SHOWN
from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.gradient.stability import StabilityMap
from holoprop.report.reproduction.picture import Picture
from holoprop.report.stability import stability_figure, steps_figure


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the residual as the paper crops it, then the steps over all of the grid."""
    arrays = outcome.arrays
    whole = _plane(arrays, np.ones_like(arrays["real"], bool), np.ones_like(arrays["imag"], bool))
    cropped = _plane(arrays, np.abs(arrays["real"]) <= SHOWN + 1e-9, np.abs(arrays["imag"]) <= SHOWN + 1e-9)
    return [
        Picture(
            stability_figure(cropped, CIRCLE),
            "residual",
            "residual over the complex plane of nudges",
            "What is left of the update after 200 plain steps, as in the paper: dark where the network is at rest, "
            "light in the two lobes where there is no stable rest state near the free one. The circle passes them by.",
        ),
        Picture(
            steps_figure(whole, CIRCLE),
            "steps",
            "steps taken over the complex plane of nudges",
            "The steps each nudge took, over all of the grid: the nearer to the lobes, the slower.",
        ),
    ]


def _plane(arrays: dict[str, np.ndarray], columns: np.ndarray, rows: np.ndarray) -> StabilityMap:
    residual, steps, status = (arrays[name][np.ix_(rows, columns)][None] for name in ("residual", "steps", "status"))
    return StabilityMap(arrays["real"][columns], arrays["imag"][rows], residual, steps, status, arrays["free_status"])

"""Pictures of `cosine-in-training` and `settling-in-training`: estimators and solvers along one network's way."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import SERIES, Picture

_LOWEST = 1e-9
"""What is drawn where float64 finds no difference at all."""


def cosine_pictures(outcome: Outcome) -> list[Picture]:
    """Return `1 − cosine` of every estimator, upwards is better."""
    return [
        Picture(
            _cosines(outcome.arrays),
            "cosines",
            "one minus cosine to the exact gradient over training, by estimator",
            "What each estimator's gradient lacks on the same images of the same network, before training and after "
            "each epoch; upwards is better.",
        )
    ]


def settling_pictures(outcome: Outcome) -> list[Picture]:
    """Return the steps to rest of every solver."""
    return [
        Picture(
            _steps(outcome.arrays),
            "steps",
            "steps to rest over training, by solver",
            "Steps until the residual of the free state is 10⁻⁴, mean over images, as training goes on.",
        )
    ]


def _cosines(arrays: dict[str, np.ndarray]) -> Figure:
    lost = np.maximum(arrays["lost"], _LOWEST)
    with house_style():
        figure, axes = new_axes("epoch", "1 − cosine (no unit)", height=4.4)
        show_decades(axes, "y", *decades_around(lost[np.isfinite(lost)]))
        for k, (name, course) in enumerate(zip(arrays["estimators"].tolist(), lost, strict=True)):
            colour, marker = SERIES[k % len(SERIES)]
            line = "-" if k < len(SERIES) else "--"
            axes.plot(np.log10(course), line, marker=marker, markersize=4, color=COLOURS[colour], label=name)
        axes.invert_yaxis()
        axes.set_xlim(0, lost.shape[1] - 1)
        axes.set_xticks(range(0, lost.shape[1], max(1, lost.shape[1] // 10)))
        legend_above(axes, columns=2)
    return figure


def _steps(arrays: dict[str, np.ndarray]) -> Figure:
    with house_style():
        figure, axes = new_axes("epoch", "steps to rest", height=3.6)
        for name, course, (colour, marker) in zip(arrays["solvers"].tolist(), arrays["sweeps"], SERIES, strict=False):
            axes.plot(course, marker=marker, markersize=4, color=COLOURS[colour], label=name)
        axes.set_ylim(0, None)
        axes.set_xlim(0, arrays["sweeps"].shape[1] - 1)
        axes.set_xticks(range(0, arrays["sweeps"].shape[1], max(1, arrays["sweeps"].shape[1] // 10)))
        legend_above(axes, columns=3)
    return figure

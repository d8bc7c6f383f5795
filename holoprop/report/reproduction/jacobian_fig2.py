"""Pictures of `jacobian-fig2`: error of the response against the nudge, and a neuron in continuous time."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import SERIES, Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the two panels."""
    return [
        Picture(
            _errors(outcome.arrays),
            "errors",
            "relative error of the response against the nudge",
            "Relative error of the neurons' response to a nudge, against the response to an infinitesimal one: one "
            "nudge is biased at any size, points on a circle are not until it meets a singularity.",
        ),
        Picture(
            _trace(outcome.arrays),
            "trace",
            "activity of one neuron while the nudge turns",
            "One neuron in continuous time, from zero activity: while the nudge turns it oscillates around the rest "
            "state of the free phase, and its running average comes to it.",
        ),
    ]


def _errors(arrays: dict[str, np.ndarray]) -> Figure:
    floor = 1e-14
    errors = np.maximum(arrays["errors"], floor)
    with house_style():
        figure, axes = new_axes("nudge |β| (no unit)", "relative error of the response (no unit)", height=4.0)
        show_decades(axes, "y", *decades_around(errors.ravel()))
        for points, error, (colour, marker) in zip(arrays["points"].tolist(), errors, SERIES, strict=False):
            label = f"{points} point{'s' if points > 1 else ''}"
            axes.plot(arrays["betas"], np.log10(error), marker=marker, color=COLOURS[colour], label=label)
        axes.set_xscale("log")
        axes.set_xticks([0.01, 0.1, 1.0], ["0.01", "0.1", "1"])
        axes.minorticks_off()
        legend_above(axes, columns=4)
    return figure


def _trace(arrays: dict[str, np.ndarray]) -> Figure:
    time = np.arange(1, len(arrays["raw"]) + 1)
    with house_style():
        figure, axes = new_axes("time (steps)", "activity", height=4.0)
        axes.plot(time, arrays["raw"], color=COLOURS["blue"], linewidth=1.2, label="oscillation")
        axes.plot(time, arrays["average"], color=COLOURS["vermilion"], label="running average")
        axes.axhline(
            float(arrays["free"]), color=COLOURS["ink"], linestyle="--", linewidth=1.2, label="free rest state"
        )
        axes.set_xlim(0, time[-1])
        legend_above(axes, columns=3)
    return figure

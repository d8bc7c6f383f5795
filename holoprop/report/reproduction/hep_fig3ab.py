"""Pictures of `hep-fig3a` and `hep-fig3b`: the gradient over the periods, and the residual over their length."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import SERIES, Picture, hollow

_POINTS = 10


def gradient_pictures(outcome: Outcome) -> list[Picture]:
    """Return Figure 3a: what the cosine lacks, against the number of periods."""
    return [
        Picture(
            _gradient(outcome.arrays),
            "periods",
            "one minus cosine against the number of periods",
            "What the running average of the gradient lacks, upwards is better; one curve for each length T_osc of the "
            "period, in time steps; median and range of the initialisations; hollow: published, at 1, 3, 10 and 40 "
            "periods. For the same number of time steps, fewer and slower periods lack less.",
        )
    ]


def residual_pictures(outcome: Outcome) -> list[Picture]:
    """Return Figure 3b: the residual against the length of the period."""
    return [
        Picture(
            _residual(outcome.arrays),
            "residual",
            "residual against the time steps per period",
            "How far from rest the network is when the nudge moves on, median of the initialisations; hollow: "
            "published. The thin line is the exponential that fits best.",
        )
    ]


def _gradient(arrays: dict[str, np.ndarray]) -> Figure:
    lost = np.maximum(arrays["lost"], 1e-9)
    published, dwells = arrays["published_lost"], arrays["published_dwells"].tolist()
    periods = 1 + np.arange(lost.shape[-1])
    known = arrays["published_periods"] <= periods[-1]
    with house_style():
        figure, axes = new_axes("periods of the oscillation", "1 − cosine (no unit)", height=4.6)
        show_decades(axes, "y", *decades_around(np.append(np.median(lost, 1).ravel(), 0.99)))
        for (colour, marker), dwell, each in zip(SERIES, arrays["dwells"].tolist(), np.log10(lost), strict=False):
            middle = np.median(each, axis=0)
            axes.plot(periods, middle, color=COLOURS[colour], label=f"T_osc = {_POINTS * dwell}")
            axes.fill_between(periods, each.min(0), each.max(0), color=COLOURS[colour], alpha=0.15, linewidth=0)
            theirs = published[dwells.index(dwell)][known]
            with np.errstate(divide="ignore"):
                hollow(axes, arrays["published_periods"][known], np.log10(theirs), colour, marker)
        axes.invert_yaxis()
        axes.set_xlim(0.5, periods[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_above(axes)
    return figure


def _residual(arrays: dict[str, np.ndarray]) -> Figure:
    times, theirs = _POINTS * arrays["dwells"], _POINTS * arrays["published_dwells"]
    logs = np.log10(np.median(arrays["residuals"], axis=1))
    with house_style():
        figure, axes = new_axes(
            "T_osc (time steps per period)", "residual ‖σ(a(s)) − s‖ (units of activity)", height=4.0
        )
        show_decades(axes, "y", -6, -1)
        slope, offset = np.polyfit(times, logs, 1)
        axes.plot(times, slope * times + offset, color=COLOURS["blue"], linewidth=0.9, alpha=0.5)
        axes.plot(times, logs, "o", color=COLOURS["blue"], label="here", markersize=5)
        hollow(axes, theirs, np.log10(arrays["published_residuals"]), "vermilion", "s", "published")
        axes.set_xlim(0, 430)
        legend_above(axes)
    return figure

"""Pictures of `calibration`: true against predicted error, one for each number of points."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.gradient.certificate import OK_BELOW, Verdict
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import Picture

_LOW, _HIGH = -16, 1
_MARKS = {
    Verdict.ok: ("blue", "o"),
    Verdict.outside_radius: ("vermilion", "s"),
    Verdict.drowned: ("pink", "D"),
    Verdict.not_holomorphic: ("green", "^"),
    Verdict.unsettled: ("muted", "x"),
}


def pictures(outcome: Outcome) -> list[Picture]:
    """Return one picture for each number of points."""
    caption = (
        "One mark a sample: the error that the certificate predicts, and the true one. On the line they agree, "
        "between the thin ones within a factor 10. Right of the dotted line, "
        f"{OK_BELOW:g}, no sample is called ok. Marks above the band are errors larger than predicted, the dangerous "
        "side. Values beyond the edge are drawn on it."
    )
    circles = sorted({int(points) for points in outcome.arrays["points"]})
    return [
        Picture(
            _scatter(outcome.arrays, points),
            f"points-{points}",
            f"true against predicted error, {points} points",
            f"{points} points. {caption}" if index == 0 else f"{points} points.",
        )
        for index, points in enumerate(circles)
    ]


def _scatter(arrays: dict[str, np.ndarray], points: int) -> Figure:
    chosen = arrays["points"] == points
    verdict = arrays["verdict"][chosen]
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = (np.log10(np.nan_to_num(arrays[name][chosen], nan=np.inf)) for name in ("predicted", "error"))
    x, y = np.clip(x, _LOW, _HIGH), np.clip(y, _LOW, _HIGH)
    with house_style():
        figure, axes = new_axes("predicted relative error (no unit)", "true relative error (no unit)", height=5.2)
        show_decades(axes, "x", _LOW, _HIGH)
        show_decades(axes, "y", _LOW, _HIGH)
        ends = np.array([_LOW, _HIGH])
        axes.plot(ends, ends, color=COLOURS["ink"], linewidth=1)
        for shift in (-1, 1):
            axes.plot(ends, ends + shift, color=COLOURS["muted"], linewidth=0.7)
        axes.axvline(np.log10(OK_BELOW), color=COLOURS["muted"], linestyle=":", linewidth=1.2)
        for kind, (colour, marker) in _MARKS.items():
            own = verdict == kind
            if own.any():
                axes.plot(
                    x[own],
                    y[own],
                    marker,
                    color=COLOURS[colour],
                    markersize=3.5,
                    alpha=0.8,
                    label=f"{kind.words} ({int(own.sum())})",
                    clip_on=False,
                )
        axes.set_aspect("equal")
        axes.set_xlim(_LOW, _HIGH)
        axes.set_ylim(_LOW, _HIGH)
        legend_above(axes)
    return figure

"""Pictures of `automatic-circle-mnist`: what each circle's gradient lacks while a network learns, and the radii."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.automatic_circle import P1_RADIUS
from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import Picture

_LINES = ("-", "--", ":")


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the course of `1 − cosine`, then that of the radii."""
    return [
        Picture(
            _lack(outcome.arrays),
            "lack",
            "one minus cosine against the training step",
            f"What the gradient lacks while the network learns, upwards is better: the automatic circle and the fixed "
            f"radius {P1_RADIUS:g}, on the same batch of the same network.",
        ),
        Picture(
            _radii(outcome.arrays),
            "radii",
            "radii of the automatic circle against the training step",
            "The radii that the automatic circle chose: the median of the batch, and from the smallest to the largest. "
            f"Samples not yet learned need a small circle, learned ones take a large one; {P1_RADIUS:g} suits neither.",
        ),
    ]


def _lack(arrays: dict[str, np.ndarray]) -> Figure:
    with house_style():
        figure, axes = new_axes("training step", "1 − cosine (no unit)", height=3.8)
        lost = np.maximum(np.concatenate([arrays["automatic"].ravel(), arrays["fixed"].ravel()]), 1e-16)
        show_decades(axes, "y", *decades_around(lost))
        for name, label, colour in (("automatic", "automatic", "blue"), ("fixed", f"r = {P1_RADIUS:g}", "vermilion")):
            for c, (points, values) in enumerate(zip(arrays["points"], arrays[name], strict=True)):
                axes.plot(
                    arrays["steps"],
                    np.log10(np.maximum(values, 1e-16)),
                    _LINES[c % len(_LINES)],
                    color=COLOURS[colour],
                    label=f"{label}, N = {points}",
                    linewidth=1.3,
                )
        axes.invert_yaxis()
        axes.set_xlim(0, max(1, int(arrays["steps"].max())))
        legend_above(axes, columns=2)
    return figure


def _radii(arrays: dict[str, np.ndarray]) -> Figure:
    radii = np.log10(arrays["radii"])
    with house_style():
        figure, axes = new_axes("training step", "radius r (no unit)", height=3.4)
        show_decades(axes, "y", *decades_around(np.append(arrays["radii"].ravel(), P1_RADIUS)))
        for c, points in enumerate(arrays["points"]):
            colour = COLOURS[("blue", "green", "pink")[c % 3]]
            axes.fill_between(arrays["steps"], radii[c, :, 0], radii[c, :, 2], color=colour, alpha=0.15, linewidth=0)
            axes.plot(arrays["steps"], radii[c, :, 1], color=colour, label=f"N = {points}")
        axes.axhline(np.log10(P1_RADIUS), color=COLOURS["vermilion"], linestyle=":", label=f"r = {P1_RADIUS:g}")
        axes.set_xlim(0, max(1, int(arrays["steps"].max())))
        legend_above(axes)
    return figure

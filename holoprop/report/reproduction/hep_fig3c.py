"""Picture of `hep-fig3c`: cosine against the nudge under noise."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import Picture, hollow


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the sweep, with the automatic circle in it."""
    return [
        Picture(
            _sweep(outcome.arrays),
            "sweep",
            "cosine against the nudge under noise",
            "Cosine to the true gradient under noise; hollow: published values that are known. A small nudge drowns in "
            "noise. One large nudge adds bias instead; fifteen around a circle do not. The bar is the automatic "
            "circle, over the radii it chose for the samples. (The published noise was one draw for the whole batch; "
            "here each sample has its own, which averages better.)",
        )
    ]


def _sweep(arrays: dict[str, np.ndarray]) -> Figure:
    betas = arrays["betas"]
    with house_style():
        figure, axes = new_axes("nudge |β| (no unit)", "cosine to the true gradient", height=4.2)
        for name, label, colour, marker in (
            ("one_point", "one point", "vermilion", "s"),
            ("circle", "15 points", "blue", "o"),
        ):
            published = arrays[f"published_{name}"]
            hollow(axes, published[:, 0], published[:, 1], colour, marker, f"{label}, published")
            axes.plot(betas, arrays[name].mean(0), marker=marker, color=COLOURS[colour], label=label, zorder=3)
        radius, cosine = arrays["automatic_radius"], float(arrays["automatic"][:, -1].mean())
        axes.plot(
            [radius.min(), radius.max()],
            [cosine, cosine],
            "|-",
            color=COLOURS["green"],
            linewidth=2.4,
            markersize=12,
            label="automatic circle",
            zorder=5,
        )
        axes.set_xlim(0, 4.05)
        axes.set_ylim(0, 1.03)
        legend_above(axes, columns=2)
    return figure

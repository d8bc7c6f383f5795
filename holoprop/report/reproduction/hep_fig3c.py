"""Picture of `hep-fig3c`: cosine against the nudge under noise."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import Picture, hollow

_CURVES = (("one_point", "one point", "vermilion", "s"), ("circle", "15 points", "blue", "o"))


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the sweep, with the automatic circle in it, and what it lacks on a logarithmic scale."""
    return [
        Picture(
            _sweep(outcome.arrays),
            "sweep",
            "cosine against the nudge under noise",
            "Cosine to the true gradient under noise; hollow: published values that are known. A small nudge drowns in "
            "noise. One large nudge adds bias instead; fifteen around a circle do not. The diamond is the automatic "
            "circle, at the radius it chose for the batch. The noise is one draw for the whole batch, as it was in P1.",
        ),
        Picture(
            _lack(outcome.arrays),
            "lack",
            "one minus cosine against the nudge under noise",
            "The same as 1 − cosine, upwards is better: one line a draw of the noise. The automatic circle, one "
            "diamond a draw, balances noise against aliasing.",
        ),
    ]


def _lack(arrays: dict[str, np.ndarray]) -> Figure:
    with house_style():
        figure, axes = new_axes("nudge |β| (no unit)", "1 − cosine (no unit)", height=4.2)
        lost = 1 - np.concatenate([arrays["circle"].ravel(), arrays["automatic"].ravel(), [0.1]])
        show_decades(axes, "y", *decades_around(np.maximum(lost, 1e-7)))
        for name, label, colour, marker in _CURVES:
            for k, cosines in enumerate(arrays[name]):
                axes.plot(
                    arrays["betas"],
                    np.log10(1 - cosines),
                    marker=marker,
                    color=COLOURS[colour],
                    label=label if k == 0 else None,
                    linewidth=1,
                    markersize=3.5,
                )
            published = arrays[f"published_{name}"]
            hollow(axes, published[:, 0], np.log10(1 - published[:, 1]), colour, marker)
        for k, (radius, cosines) in enumerate(zip(arrays["automatic_radius"], arrays["automatic"], strict=True)):
            axes.plot(
                [np.median(radius)],
                [np.log10(1 - cosines[-1])],
                "D",
                color=COLOURS["green"],
                markersize=6,
                label="automatic circle" if k == 0 else None,
                zorder=5,
            )
        axes.invert_yaxis()
        axes.set_xlim(0, max(4.05, float(arrays["automatic_radius"].max()) * 1.05))
        legend_above(axes)
    return figure


def _sweep(arrays: dict[str, np.ndarray]) -> Figure:
    betas = arrays["betas"]
    with house_style():
        figure, axes = new_axes("nudge |β| (no unit)", "cosine to the true gradient", height=4.2)
        for name, label, colour, marker in _CURVES:
            published = arrays[f"published_{name}"]
            hollow(axes, published[:, 0], published[:, 1], colour, marker, f"{label}, published")
            axes.plot(betas, arrays[name].mean(0), marker=marker, color=COLOURS[colour], label=label, zorder=3)
        radius, cosine = arrays["automatic_radius"], float(arrays["automatic"][:, -1].mean())
        axes.plot(
            [np.median(radius)],
            [cosine],
            "D",
            color=COLOURS["green"],
            markersize=7,
            label="automatic circle",
            zorder=5,
        )
        axes.set_xlim(0, 4.05)
        axes.set_ylim(0, 1.03)
        axes.legend(loc="lower right")
    return figure

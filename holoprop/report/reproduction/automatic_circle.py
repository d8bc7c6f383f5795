"""Pictures of `automatic-circle`: its error over the best fixed radius's, and the errors of all radii."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from holoprop.experiments.reproduce.automatic_circle import ratios
from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, show_decades
from holoprop.report.reproduction.picture import Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the ratios, then the curves at four points."""
    return [
        Picture(
            _ratios(outcome.arrays),
            "ratios",
            "error of the automatic circle over that of the best fixed radius",
            "One mark a network: error of the automatic circle over that of the best fixed radius, which only the "
            "exact gradient can tell. Below 1 it is better than any fixed radius, since each sample has its own; the "
            "dotted line is 3, above which the claim fails.",
        ),
        Picture(
            _curves(outcome.arrays),
            "curves",
            "error against the fixed radius, and of the automatic circle",
            "Error of each network against the fixed radius (grey), and of the automatic circle (blue), over the radii "
            f"it chose for the samples; {_middle(outcome.arrays)} points. No one radius is good for all.",
        ),
    ]


def _middle(arrays: dict[str, np.ndarray]) -> int:
    return 4 if 4 in arrays["points"] else int(arrays["points"][0])


def _panels(arrays: dict[str, np.ndarray], ylabel: str) -> tuple[Figure, list]:
    names = arrays["settings"].tolist()
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(5.0, 0.6 + 2.5 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(name, loc="left", fontsize=10)
    for axes in panels[::columns]:
        axes.set_ylabel(ylabel)
    return figure, list(panels)


def _ratios(arrays: dict[str, np.ndarray]) -> Figure:
    ratio = np.log10(np.maximum(ratios(arrays), 1e-6))
    low, high = decades_around(np.append(10.0 ** ratio.ravel(), [0.1, 10]))
    with house_style():
        figure, panels = _panels(arrays, "error / best (no unit)")
        for s, axes in enumerate(panels[: ratio.shape[1]]):
            show_decades(axes, "y", low, high)
            axes.axhline(0, color=COLOURS["ink"], linewidth=0.8)
            axes.axhline(np.log10(3), color=COLOURS["vermilion"], linestyle=":", linewidth=1.3)
            for c in range(ratio.shape[2]):
                own = ratio[:, s, c]
                spread = c + np.linspace(-0.2, 0.2, len(own)) if len(own) > 1 else [c]
                axes.plot(spread, own, "o", color=COLOURS["blue"], clip_on=False)
            axes.xaxis.set_major_locator(FixedLocator(list(range(ratio.shape[2]))))
            axes.set_xticklabels([f"N = {points}" for points in arrays["points"]])
            axes.set_xlim(-0.5, ratio.shape[2] - 0.5)
            axes.grid(axis="x", visible=False)
    return figure


def _curves(arrays: dict[str, np.ndarray]) -> Figure:
    c = arrays["points"].tolist().index(_middle(arrays))
    fixed, automatic = arrays["fixed"][:, :, c], arrays["automatic"][:, :, c]
    low, high = arrays["lowest_radius"][:, :, c], arrays["highest_radius"][:, :, c]
    with house_style():
        figure, panels = _panels(arrays, "relative error (no unit)")
        for s, axes in enumerate(panels[: fixed.shape[1]]):
            drawn = np.append(fixed[:, s].ravel(), automatic[:, s])
            show_decades(axes, "y", *decades_around(np.clip(drawn[np.isfinite(drawn)], 1e-16, 10)))
            bounds = np.concatenate([arrays["radii"], low[:, s], high[:, s]])
            show_decades(axes, "x", *decades_around(bounds[bounds > 0]))
            for index in range(len(fixed)):
                axes.plot(
                    np.log10(arrays["radii"]),
                    np.log10(fixed[index, s]),
                    color=COLOURS["muted"],
                    linewidth=0.8,
                    alpha=0.6,
                )
                axes.plot(
                    np.log10([low[index, s], high[index, s]]),
                    np.log10([automatic[index, s]] * 2),
                    "|-",
                    color=COLOURS["blue"],
                    linewidth=1.6,
                    markersize=6,
                )
        columns = 2 if fixed.shape[1] > 1 else 1
        for axes in panels[-columns:]:
            axes.set_xlabel("radius r (no unit)")
    return figure

"""Pictures of `hep-fig4a` and `hep-fig4b`: 1 − cosine against the nudge, and against the points around it."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import SERIES, Picture
from holoprop.report.wording import power_of_ten

_FLOOR = 1e-11
"""What is lost of a cosine is drawn down to here."""


def nudge_pictures(outcome: Outcome) -> list[Picture]:
    """Return the sweep over the nudge: in total, and layer by layer for the most points."""
    arrays = outcome.arrays
    most = int(np.argmax(arrays["points"] * (arrays["kinds"] == "holomorphic")))
    return [
        Picture(
            _nudges(arrays, [_lost(cosine) for cosine in arrays["cosine"]], _names(arrays)),
            "nudges",
            "one minus cosine against the nudge",
            "1 − cosine to the exact gradient, upwards is better. Each further pair of points admits larger nudges; at "
            "the left end rounding takes over. Dashed: with a clipped activation and pooling by maxima no nudge is "
            "right.",
        ),
        Picture(
            _nudges(
                arrays,
                [_lost(layer) for layer in arrays["layers"][most].T],
                [f"layer {k + 1}" for k in range(arrays["layers"].shape[-1] - 1)] + ["readout"],
            ),
            "layers",
            "one minus cosine against the nudge, layer by layer",
            f"The same layer by layer, {int(arrays['points'][most])} points.",
        ),
    ]


def points_pictures(outcome: Outcome) -> list[Picture]:
    """Return the sweep over the points."""
    return [
        Picture(
            _points(outcome.arrays),
            "points",
            "one minus cosine against the number of points",
            "1 − cosine to the exact gradient against the points on the circle, upwards is better. At a small nudge "
            "rounding decides, at a large one the number of points.",
        )
    ]


def _names(arrays: dict[str, np.ndarray]) -> list[str]:
    return [
        f"{points} point{'s' if points > 1 else ''}" + (", hard" if kind == "hard" else "")
        for kind, points in zip(arrays["kinds"].tolist(), arrays["points"].tolist(), strict=True)
    ]


def _lost(cosine: np.ndarray) -> np.ndarray:
    return np.clip(1 - cosine, _FLOOR, 1)


def _nudges(arrays: dict[str, np.ndarray], curves: list[np.ndarray], names: list[str]) -> Figure:
    betas = np.log10(arrays["betas"])
    colours = [*SERIES, *SERIES]
    with house_style():
        figure, axes = new_axes("nudge |β| (no unit)", "1 − cosine (no unit)", height=4.2)
        show_decades(axes, "y", *decades_around(np.concatenate(curves)))
        for k, (lost, name, (colour, marker)) in enumerate(zip(curves, names, colours, strict=False)):
            # More curves than colours: the others are dotted.
            style = "--" if name.endswith("hard") else ":" if k >= len(SERIES) else "-"
            axes.plot(betas, np.log10(lost), style, marker=marker, markersize=3.5, color=COLOURS[colour], label=name)
        axes.invert_yaxis()
        axes.set_xlim(betas[0], betas[-1])
        whole = range(int(np.ceil(betas[0])), int(np.floor(betas[-1])) + 1)
        axes.set_xticks(list(whole), [power_of_ten(k) if k else "1" for k in whole])
        legend_above(axes, columns=3)
    return figure


def _points(arrays: dict[str, np.ndarray]) -> Figure:
    lost = _lost(arrays["cosine"])
    with house_style():
        figure, axes = new_axes("points N on the circle", "1 − cosine (no unit)", height=4.2)
        show_decades(axes, "y", *decades_around(lost.ravel()))
        for k, (beta, (colour, marker)) in enumerate(zip(arrays["betas"], SERIES, strict=False)):
            axes.plot(
                arrays["points"], np.log10(lost[:, k]), marker=marker, color=COLOURS[colour], label=f"|β| = {beta:g}"
            )
        axes.invert_yaxis()
        axes.set_xticks(arrays["points"])
        legend_above(axes, columns=3)
    return figure

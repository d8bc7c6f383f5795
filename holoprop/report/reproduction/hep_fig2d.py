"""Pictures of `hep-fig2d`: cosine against the nudge, as in the paper, and what the certificate predicted."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.gradient.certificate import OK_BELOW, Verdict
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import Picture, hollow


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the cosines in the paper's range, then the prediction."""
    return [
        Picture(
            _cosines(outcome.arrays),
            "cosines",
            "cosine against the nudge",
            "Cosine to the true gradient; hollow: published. The one-point estimate departs at once. Thirty points are "
            "exact up to the radius of convergence; where the ground is grey the certificate no longer says ok.",
        ),
        Picture(
            _prediction(outcome.arrays),
            "prediction",
            "one minus cosine, and the predicted error, against the nudge",
            "The same on a logarithmic scale, over the whole sweep: what is lost, and the relative error that the "
            f"certificate predicts without knowing the true gradient. Above the dotted line, {OK_BELOW:g}, it does not "
            "say ok; values above 1 are drawn at 1 and mean that nothing is known.",
        ),
    ]


def _cosines(arrays: dict[str, np.ndarray]) -> Figure:
    betas = arrays["betas"]
    shown = betas < 0.92
    with house_style():
        figure, axes = new_axes("nudge |β| (no unit)", "cosine to the true gradient", height=4.0)
        _shade(arrays, axes, 0.92)
        for name, label, colour, marker in (
            ("one_point", "one point", "vermilion", "s"),
            ("circle", "30 points", "blue", "o"),
        ):
            published = arrays[f"published_{name}"]
            hollow(axes, published[:, 0], published[:, 1], colour, marker, f"{label}, published")
            axes.plot(betas[shown], arrays[name][shown], marker=marker, color=COLOURS[colour], label=label, zorder=5)
        axes.set_xlim(0, 0.92)
        axes.set_ylim(0.79, 1.008)
        legend_above(axes, columns=2)
    return figure


def _prediction(arrays: dict[str, np.ndarray]) -> Figure:
    betas = arrays["betas"]
    lost = np.maximum(1 - arrays["circle"], 1e-16)
    with house_style():
        figure, axes = new_axes("nudge |β| (no unit)", "1 − cosine, and error (no unit)", height=4.0)
        show_decades(axes, "y", -16, 0)
        _shade(arrays, axes, float(betas[-1]))
        axes.plot(betas, np.log10(lost), "o-", color=COLOURS["blue"], label="1 − cosine", clip_on=False)
        predicted = np.minimum(arrays["predicted"], 1)
        axes.plot(betas, np.log10(predicted), "--", color=COLOURS["green"], label="predicted error")
        axes.axhline(np.log10(OK_BELOW), color=COLOURS["muted"], linestyle=":", linewidth=1.2)
        axes.set_xlim(0, betas[-1])
        legend_above(axes)
    return figure


def _shade(arrays: dict[str, np.ndarray], axes, end: float) -> None:
    """Grey ground where the certificate does not say ok, from halfway to the last nudge where it does."""
    betas, ok = arrays["betas"], arrays["verdicts"] == Verdict.ok
    if ok.all():
        return
    first = int(np.argmin(ok))
    begin = betas[0] if first == 0 else (betas[first - 1] + betas[first]) / 2
    axes.axvspan(begin, end, color=COLOURS["grid"], alpha=0.45, linewidth=0, zorder=0)

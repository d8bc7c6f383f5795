"""Pictures of `hep-fig4c`: training error with and without a complex derivative."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.hep_fig4c import PUBLISHED
from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import SERIES, Picture, hollow


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the bars, as in the paper, and the courses that end in them."""
    arrays = outcome.arrays
    return [
        Picture(
            _bars(arrays),
            "training-error",
            "training error by kind of network and number of points",
            "Training error of the best epoch, mean over seeds, bars of two standard deviations; hollow: published, at "
            "full size after 90 epochs.",
        ),
        Picture(
            _course(arrays),
            "course",
            "training and test error over training",
            "Solid: training error; dashed: test error; mean over seeds.",
        ),
    ]


def _bars(arrays: dict[str, np.ndarray]) -> Figure:
    kinds = arrays["kinds"].tolist()
    best = np.nanmin(arrays["train_error"], -1)
    with house_style():
        figure, axes = new_axes("", "training error (%)", height=3.2)
        for k, (kind, (colour, marker)) in enumerate(zip(kinds, SERIES, strict=False)):
            axes.bar(k, best[k].mean(), width=0.6, color=COLOURS[colour], alpha=0.85, yerr=2 * best[k].std(), capsize=4)
            hollow(axes, np.array([k]), np.array([PUBLISHED[kind][0]]), "ink", marker)
        axes.set_xticks(range(len(kinds)), [kind.replace(", ", ",\n") for kind in kinds])
        axes.set_ylim(0, None)
        axes.grid(axis="x", visible=False)
    return figure


def _course(arrays: dict[str, np.ndarray]) -> Figure:
    epochs = np.arange(1, arrays["error"].shape[-1])
    with house_style():
        figure, axes = new_axes("epoch", "error (%)", height=3.6)
        for k, (kind, (colour, marker)) in enumerate(zip(arrays["kinds"].tolist(), SERIES, strict=False)):
            train, test = (arrays[name][k, :, 1:].mean(0) for name in ("train_error", "error"))
            axes.plot(epochs, train, marker=marker, markersize=4, color=COLOURS[colour], label=kind)
            axes.plot(epochs, test, "--", linewidth=1.2, color=COLOURS[colour])
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes, columns=2)
    return figure

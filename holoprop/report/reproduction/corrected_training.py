"""Pictures of `corrected-training`: how far two networks grow apart, and their test errors."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import SERIES, Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the distance of the weights over training, and the test errors."""
    return [
        Picture(
            _apart(outcome.arrays),
            "apart",
            "relative distance of the weights of two networks over training",
            "‖w − w′‖/‖w‖ of the network trained by the corrected circle and the one trained by the exact gradient, "
            "from the same weights on the same batches; one line a seed.",
        ),
        Picture(
            _errors(outcome.arrays),
            "error",
            "test error over training",
            "Test error of the two, mean over seeds. The exact course is dashed: the other lies beneath it.",
        ),
    ]


def _apart(arrays: dict[str, np.ndarray]) -> Figure:
    apart = arrays["apart"][..., 1:]
    epochs = np.arange(1, apart.shape[-1] + 1)
    with house_style():
        figure, axes = new_axes("epoch", "distance of the weights (no unit)", height=3.4)
        show_decades(axes, "y", *decades_around(np.maximum(apart, 1e-16)))
        for network, seeds, (colour, marker) in zip(arrays["networks"].tolist(), apart, SERIES, strict=False):
            for k, course in enumerate(np.log10(np.maximum(seeds, 1e-16))):
                label = network if k == 0 else None
                axes.plot(epochs, course, marker=marker, markersize=4, color=COLOURS[colour], label=label)
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes)
    return figure


def _errors(arrays: dict[str, np.ndarray]) -> Figure:
    error = arrays["error"][..., 1:].mean(1)
    epochs = np.arange(1, error.shape[-1] + 1)
    with house_style():
        figure, axes = new_axes("epoch", "test error (%)", height=3.4)
        for network, (exact, corrected), (colour, marker) in zip(
            arrays["networks"].tolist(), error, SERIES, strict=False
        ):
            axes.plot(epochs, corrected, marker=marker, markersize=4, color=COLOURS[colour], label=network)
            axes.plot(epochs, exact, "--", linewidth=1.2, color=COLOURS["ink"])
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes)
    return figure

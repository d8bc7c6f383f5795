"""Pictures of `corrected-training`: gradients along the exact course, how far networks part, and their test errors."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import SERIES, Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the gradient's error and the distance of the weights over training, and the test errors."""
    return [
        Picture(
            _gradients(outcome.arrays),
            "gradients",
            "relative error of the corrected gradient over training",
            "‖g − g*‖/‖g*‖ of the corrected gradient at the weights of the exact course, with the automatic radius "
            "and, dashed, with the fixed one that is trained with; one line a seed.",
        ),
        Picture(
            _apart(outcome.arrays),
            "apart",
            "relative distance of the weights of two networks over training",
            "‖w − w′‖/‖w‖ from the network trained by the exact gradient, on the same batches: of the one trained by "
            "the corrected circle and, dashed, of one trained by the exact gradient too, from weights 1e-7 off; one "
            "line a seed. Where the dashed lines rise, learning itself is what parts them.",
        ),
        Picture(
            _errors(outcome.arrays),
            "error",
            "test error over training",
            "Test error, mean over seeds. The exact course is dashed, the one begun 1e-7 off dotted.",
        ),
    ]


def _gradients(arrays: dict[str, np.ndarray]) -> Figure:
    off, fixed = arrays["off"], arrays["off_fixed"]
    label = "relative error of the gradient (no unit)"
    return _logarithmic(label, np.arange(off.shape[-1]), arrays["networks"], off, fixed)


def _apart(arrays: dict[str, np.ndarray]) -> Figure:
    apart = arrays["apart"][..., 1:]
    label, epochs = "distance of the weights (no unit)", np.arange(1, apart.shape[-1] + 1)
    return _logarithmic(label, epochs, arrays["networks"], apart[:, :, 2], apart[:, :, 1])


def _logarithmic(label: str, epochs: np.ndarray, networks: np.ndarray, solid: np.ndarray, dashed: np.ndarray) -> Figure:
    """Draw courses `(networks, seeds, epochs)`, each seed a line of its network's colour."""
    with house_style():
        figure, axes = new_axes("epoch", label, height=3.4)
        drawn = np.maximum(np.stack([solid, dashed]), 1e-16)
        show_decades(axes, "y", *decades_around(drawn))
        for network, lines, beside, (colour, marker) in zip(networks.tolist(), *drawn, SERIES, strict=False):
            for k, (line, other) in enumerate(zip(np.log10(lines), np.log10(beside), strict=True)):
                named = network if k == 0 else None
                axes.plot(epochs, line, marker=marker, markersize=4, color=COLOURS[colour], label=named)
                axes.plot(epochs, other, "--", marker=".", linewidth=1.2, color=COLOURS["ink"])
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes)
    return figure


def _errors(arrays: dict[str, np.ndarray]) -> Figure:
    error = arrays["error"][..., 1:].mean(1)
    epochs = np.arange(1, error.shape[-1] + 1)
    with house_style():
        figure, axes = new_axes("epoch", "test error (%)", height=3.4)
        for network, (exact, nearly, corrected), (colour, marker) in zip(
            arrays["networks"].tolist(), error, SERIES, strict=False
        ):
            axes.plot(epochs, corrected, marker=marker, markersize=4, color=COLOURS[colour], label=network)
            axes.plot(epochs, exact, "--", marker=".", linewidth=1.2, color=COLOURS["ink"])
            axes.plot(epochs, nearly, ":", marker=".", linewidth=1.2, color=COLOURS["ink"])
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes)
    return figure

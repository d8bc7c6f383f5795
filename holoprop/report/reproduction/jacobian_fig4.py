"""Pictures of `jacobian-fig4ad` and `jacobian-fig4eh`: test error, symmetry and alignment by way of training."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import SERIES, Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return test error, symmetry measure and alignment layer by layer."""
    arrays, kinds = outcome.arrays, outcome.arrays["kinds"].tolist()
    layers = arrays["alignment"].shape[-1]
    return [
        Picture(
            _course(kinds, arrays["error"], "test error (%)"),
            "error",
            "test error over training",
            "Test error, mean over seeds, shaded from the lowest to the highest: generalised EP, the same with "
            "homeostasis of so much weight, the corrected circle, and learning with the exact gradient (dashed). The "
            "last two should be alike.",
        ),
        Picture(
            _course(kinds, arrays["measure"], "symmetry ‖S‖/(‖S‖ + ‖A‖)"),
            "measure",
            "symmetry measure over training",
            "How symmetric the Jacobian of the vector field is; 1: entirely. Homeostasis drives it up, learning alone "
            "does not.",
        ),
        *(
            Picture(
                _course(kinds, arrays["alignment"][..., layer], "cosine of response and error"),
                f"alignment-{layer + 1}",
                f"cosine of response and error vector of layer {layer + 1} over training",
                f"Layer {layer + 1}: cosine of the network's plain response and the true error vector. Homeostasis "
                "lifts it; learning with the exact gradient, or with the corrected circle, has no need of it.",
            )
            for layer in range(layers)
        ),
    ]


def _course(kinds: list[str], values: np.ndarray, label: str) -> Figure:
    """Draw `(kinds, seeds, epochs + 1)` over the epochs."""
    epochs = np.arange(values.shape[-1])
    with house_style():
        figure, axes = new_axes("epoch", label, height=3.4)
        for k, kind in enumerate(kinds):
            _line(axes, epochs, values[k], kind, *SERIES[k])
        axes.set_xlim(0, epochs[-1])
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes, columns=4 if len(kinds) == 4 else 3)
    return figure


def _line(axes: Axes, epochs: np.ndarray, values: np.ndarray, label: str, colour: str, marker: str) -> None:
    known = np.isfinite(values).all(0)
    low, high = values[:, known].min(0), values[:, known].max(0)
    axes.fill_between(epochs[known], low, high, color=COLOURS[colour], alpha=0.15, linewidth=0)
    mean = values[:, known].mean(0)
    # The exact one is dashed: what is no different from it shows beneath.
    line = "--" if label == "exact" else "-"
    axes.plot(epochs[known], mean, line, marker=marker, markersize=4, color=COLOURS[colour], label=label)

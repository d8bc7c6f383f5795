"""Pictures of `jacobian-table2`, its like on other data sets, and `jacobian-fig4il`: convolutions without symmetry."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import SERIES, Picture

_STYLES = {
    "circle": (*SERIES[0], "-"),
    "circle, homeostasis": (*SERIES[1], "-"),
    "infinitesimal": (*SERIES[0], "--"),
    "infinitesimal, homeostasis": (*SERIES[1], "--"),
    "corrected": (*SERIES[2], "-"),
    "exact": ("ink", "x", "--"),
    "exact, homeostasis": (*SERIES[3], "--"),
    "symmetric": (*SERIES[4], "-"),
}
"""Colour, marker and line of each row."""


def table_pictures(outcome: Outcome) -> list[Picture]:
    """Return test error over training, from 90 degrees and from 0."""
    arrays = outcome.arrays
    words = {
        90: "Feedback weights that share nothing with the forward ones: the plain circle learns little, homeostasis "
        "brings it back, and the corrected circle has no need of it.",
        0: "Feedback weights that begin as the transposed forward ones, as in P2; symmetric: they stay that.",
    }
    return [
        Picture(
            _course(arrays, np.flatnonzero(arrays["from"] == angle), "error", "test error (%)"),
            f"error-{angle}",
            f"test error over training from {angle} degrees",
            words[angle],
        )
        for angle in (90, 0)
        if (arrays["from"] == angle).any()
    ]


def course_pictures(outcome: Outcome) -> list[Picture]:
    """Return test error, feedback angle and alignment layer by layer, as in the figure."""
    arrays = outcome.arrays
    every = np.arange(len(arrays["rows"]))
    layers = {f"alignment-{k + 1}": arrays["alignment"][..., k] for k in range(arrays["alignment"].shape[-1])}
    return [
        Picture(
            _course(arrays, every, "error", "test error (%)"),
            "error",
            "test error over training",
            "Test error, mean over seeds, shaded from the lowest to the highest.",
        ),
        Picture(
            _course(arrays, every, "angle", "feedback angle (degrees)"),
            "angle",
            "feedback angle over training",
            "The angle between forward and feedback weights, which begin as transposes: learning drives them apart, "
            "homeostasis holds them together.",
        ),
        *(
            Picture(
                _course(arrays | layers, every, name, "cosine of response and error"),
                name,
                f"cosine of response and error vector of layer {k + 1} over training",
                f"Layer {k + 1}: cosine of the network's response and the true error vector.",
            )
            for k, name in enumerate(layers)
        ),
    ]


def _course(arrays: dict[str, np.ndarray], rows: np.ndarray, name: str, label: str) -> Figure:
    """Draw the given rows of `(rows, seeds, epochs + 1)` over the epochs."""
    values = arrays[name]
    epochs = np.arange(values.shape[-1])
    with house_style():
        figure, axes = new_axes("epoch", label, height=3.6)
        for k in rows:
            row = str(arrays["rows"][k])
            colour, marker, line = _STYLES[row]
            known = np.isfinite(values[k]).all(0)
            low, high = values[k][:, known].min(0), values[k][:, known].max(0)
            axes.fill_between(epochs[known], low, high, color=COLOURS[colour], alpha=0.15, linewidth=0)
            mean = values[k][:, known].mean(0)
            axes.plot(epochs[known], mean, line, marker=marker, markersize=4, color=COLOURS[colour], label=row)
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes, columns=2)
    return figure

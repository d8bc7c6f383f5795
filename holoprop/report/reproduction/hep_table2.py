"""Pictures of `hep-table2`, on other data sets too: accuracy over training, holomorphic EP beside backpropagation."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import SERIES, Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the course of test accuracy and of that on the batches trained on."""
    return [
        Picture(
            _course(outcome.arrays),
            "accuracy",
            "accuracy over training, holomorphic EP and backpropagation",
            "Solid: test images; dashed: the batches that were trained on; mean over seeds. The feed-forward network "
            "of backpropagation has the same connections and rectified units.",
        )
    ]


def _course(arrays: dict[str, np.ndarray]) -> Figure:
    epochs = np.arange(1, arrays["error"].shape[-1])
    with house_style():
        figure, axes = new_axes("epoch", "accuracy (%)", height=3.6)
        for k, (method, (colour, marker)) in enumerate(zip(arrays["methods"].tolist(), SERIES, strict=False)):
            test, train = (100 - arrays[name][k, :, 1:] for name in ("error", "train_error"))
            axes.fill_between(epochs, test.min(0), test.max(0), color=COLOURS[colour], alpha=0.15, linewidth=0)
            axes.plot(epochs, test.mean(0), marker=marker, markersize=4, color=COLOURS[colour], label=method)
            axes.plot(epochs, train.mean(0), "--", linewidth=1.2, color=COLOURS[colour], label=f"{method}, training")
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes, columns=2)
    return figure

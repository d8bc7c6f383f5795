"""Pictures of `hep-table1`: test error over training, without and with noise."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.hep_table1 import NOISES
from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import SERIES, Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return one picture for each noise."""
    arrays = outcome.arrays
    words = (
        "Without noise: one small nudge, one large one, ten around a circle, and the same in continuous time.",
        "With noise on every drive one small nudge drowns; ten on a circle are as good as without noise. Both epochs, "
        "the last and the best, are in the table: P1 prints the best alone.",
    )
    return [
        Picture(
            _course(arrays["methods"].tolist(), arrays["error"][n]),
            f"noise-{n}",
            f"test error over training, noise {noise:g}",
            words[n],
        )
        for n, noise in enumerate(NOISES)
    ]


def _course(methods: list[str], errors: np.ndarray) -> Figure:
    """Draw `(methods, seeds, epochs + 1)` on a logarithmic scale, one line a seed."""
    epochs = np.arange(1, errors.shape[-1])
    with house_style():
        figure, axes = new_axes("epoch", "test error (%)", height=3.6)
        for method, courses, (colour, marker) in zip(methods, errors, SERIES, strict=False):
            for k, course in enumerate(courses):
                label = method if k == 0 else None
                axes.plot(epochs, course[1:], marker=marker, markersize=3.5, color=COLOURS[colour], label=label)
        axes.set_yscale("log")
        axes.set_ylim(min(1.0, float(np.nanmin(errors)) * 0.9), 100)
        axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axes.minorticks_off()
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes, columns=2)
    return figure

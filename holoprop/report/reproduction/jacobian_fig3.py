"""Pictures of `jacobian-fig3`: alignment of error vectors and angle of the feedback, by the angle at which it began."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.jacobian_fig3 import ALGORITHMS
from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import SERIES, Picture

_LINES = ("-", "--")


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the alignment after training, the feedback's angle over training, the test error."""
    return [
        Picture(
            _alignment(outcome.arrays),
            "alignment",
            "cosine of response and error vector against the initial angle, layer by layer",
            "Cosine of the network's response and the true error vector, mean over samples and seeds, against the "
            "angle at which the feedback began. Dotted: before training. Solid: after learning with the exact "
            "gradient; dashed: after generalised EP. Early layers, which hear of errors through most feedback, suffer.",
        ),
        Picture(
            _angles(outcome.arrays),
            "angles",
            "feedback angle over training",
            "The angle between feedback and transposed forward weights while the network learns, from every initial "
            "angle: nothing holds the two together.",
        ),
        Picture(
            _errors(outcome.arrays),
            "errors",
            "test error against the initial angle",
            "Test error after the last epoch, against the angle at which the feedback began: what asymmetry costs "
            "generalised EP, and not exact learning.",
        ),
    ]


def _alignment(arrays: dict[str, np.ndarray]) -> Figure:
    with house_style():
        figure, axes = new_axes("initial angle (degrees)", "cosine of response and error", height=4.2)
        cosine = arrays["alignment"].mean(2)  # algorithms, angles, epochs + 1, layers
        for layer in range(cosine.shape[-1]):
            colour, marker = SERIES[layer]
            axes.plot(arrays["angles"], cosine[0, :, 0, layer], ":", color=COLOURS[colour])
            for a, algorithm in enumerate(ALGORITHMS):
                axes.plot(
                    arrays["angles"],
                    cosine[a, :, -1, layer],
                    _LINES[a],
                    marker=marker,
                    color=COLOURS[colour],
                    label=f"layer {layer + 1}, {algorithm}",
                )
        axes.set_ylim(min(-0.05, float(np.nanmin(cosine)) - 0.05), 1.03)
        _degrees(arrays, axes)
        legend_above(axes, columns=2)
    return figure


def _angles(arrays: dict[str, np.ndarray]) -> Figure:
    with house_style():
        figure, axes = new_axes("epoch", "feedback angle (degrees)", height=3.6)
        angle = arrays["angle"].mean(2)
        epochs = np.arange(angle.shape[-1])
        for a, algorithm in enumerate(ALGORITHMS):
            for k in range(angle.shape[1]):
                colour = COLOURS[SERIES[a][0]]
                axes.plot(epochs, angle[a, k], _LINES[a], color=colour, label=algorithm if k == 0 else None)
        axes.set_xlim(0, epochs[-1])
        axes.set_xticks(epochs[:: max(1, len(epochs) // 10)])
        legend_above(axes)
    return figure


def _errors(arrays: dict[str, np.ndarray]) -> Figure:
    with house_style():
        figure, axes = new_axes("initial angle (degrees)", "test error (%)", height=3.2)
        for a, algorithm in enumerate(ALGORITHMS):
            colour, marker = SERIES[a]
            axes.plot(
                arrays["angles"],
                arrays["error"][a, :, :, -1].mean(1),
                _LINES[a],
                marker=marker,
                color=COLOURS[colour],
                label=algorithm,
            )
        _degrees(arrays, axes)
        legend_above(axes)
    return figure


def _degrees(arrays: dict[str, np.ndarray], axes) -> None:
    axes.set_xlim(arrays["angles"][0] - 2, arrays["angles"][-1] + 2)
    axes.set_xticks(arrays["angles"])

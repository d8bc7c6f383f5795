"""The picture of `exact-without-symmetry`: the error against the points of the circle, corrected and not."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.exact_without_symmetry import NETWORKS
from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import SERIES, Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the errors of the three networks."""
    return [
        Picture(
            _errors(outcome.arrays),
            "errors",
            "relative error of the gradient against the number of points",
            "Relative error to the exact gradient, of networks that have no energy. Dashed: the plain circle is wrong "
            "by what the Jacobian lacks in symmetry, whatever its points. Solid: with (Jᵀ − J)(s − s₀) in the "
            "nudged phase it is exact up to aliasing, which falls with every point, to rounding.",
        )
    ]


def _errors(arrays: dict[str, np.ndarray]) -> Figure:
    points = arrays["points"]
    with house_style():
        figure, axes = new_axes("points on the circle N", "relative error (no unit)", height=4.2)
        both = np.concatenate([arrays["corrected"].ravel(), arrays["plain"].ravel()])
        show_decades(axes, "y", *decades_around(np.maximum(both, 1e-17)))
        for n, name in enumerate(NETWORKS[: len(arrays["corrected"])]):
            colour, marker = SERIES[n]
            for kind, line, words in (("corrected", "-", "corrected"), ("plain", "--", "plain")):
                axes.plot(
                    points,
                    np.log10(np.maximum(arrays[kind][n], 1e-17)),
                    line,
                    marker=marker,
                    color=COLOURS[colour],
                    label=f"{name}, {words}",
                )
        axes.set_xlim(points[0] - 0.5, points[-1] + 0.5)
        axes.set_xticks(points)
        legend_above(axes, columns=2)
    return figure

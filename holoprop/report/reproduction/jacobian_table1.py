"""Picture of `jacobian-table1`: test error by the number of points, for both sizes of the nudge."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.jacobian_table1 import BETAS, FINITE
from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import SERIES, Picture

_LINES = {"online": ("muted", ":"), "infinitesimal": ("green", "-."), "exact": ("ink", "--")}


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the table as curves."""
    return [
        Picture(
            _errors(outcome.arrays),
            "errors",
            "test error against the number of points on the circle",
            "Test error after training, mean over seeds, shaded from the lowest to the highest. Lines: the online "
            "form, the infinitesimal nudge, and learning with the exact gradient.",
        )
    ]


def _errors(arrays: dict[str, np.ndarray]) -> Figure:
    errors = dict(zip(arrays["rows"].tolist(), arrays["error"][:, :, -1], strict=True))
    with house_style():
        figure, axes = new_axes("points N on the circle", "test error (%)", height=3.6)
        for beta, (colour, marker) in zip(BETAS, SERIES, strict=False):
            rows = {points: errors[row] for row, (points, size) in FINITE.items() if size == beta and row in errors}
            if not rows:
                continue
            points, values = list(rows), np.stack(list(rows.values()))
            axes.fill_between(points, values.min(1), values.max(1), color=COLOURS[colour], alpha=0.15, linewidth=0)
            axes.plot(points, values.mean(1), marker=marker, color=COLOURS[colour], label=f"|β| = {beta:g}")
        for row, (colour, style) in _LINES.items():
            axes.axhline(errors[row].mean(), linestyle=style, color=COLOURS[colour], linewidth=1.4, label=row)
        axes.set_xticks(sorted({points for points, _ in FINITE.values()}))
        legend_above(axes, columns=3)
    return figure

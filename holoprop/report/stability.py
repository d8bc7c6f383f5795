"""The stability map as a picture: the residual over the plane of nudges, and the circle of the estimate drawn on it."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from holoprop.gradient.stability import StabilityMap
from holoprop.report.drawing import COLOURS, house_style, legend_above
from holoprop.report.wording import power_of_ten

_SMALL = 0.012
"""Below this share of the map's width a circle is no more than a dot."""


def stability_figure(
    plane: StabilityMap, radius: float | None = None, radius_of_convergence: float | None = None, *, sample: int = 0
) -> Figure:
    """Draw the residual of one sample over the complex plane of nudges, dark where the network is at rest.

    **Arguments:** `radius`: of the circle to draw; `radius_of_convergence`: drawn dashed if it is finite; `sample`: its
    place in the map's batch.
    """
    residual = plane.residual[sample].astype(np.float64)
    known = residual[np.isfinite(residual) & (residual > 0)]
    low = int(np.clip(np.floor(np.log10(known.min())), -12, -1)) if known.size else -6
    high = int(np.clip(np.ceil(np.log10(known.max())), low + 1, 1)) if known.size else 0
    # What diverged is as light as can be.
    levels = np.log10(np.clip(np.nan_to_num(residual, nan=np.inf), 10.0**low, 10.0**high))
    return _map(plane, levels, low, high, "residual ‖Δσ‖ (activity)", radius, radius_of_convergence)


def steps_figure(
    plane: StabilityMap, radius: float | None = None, radius_of_convergence: float | None = None, *, sample: int = 0
) -> Figure:
    """Draw the steps that were taken at each nudge, as `stability_figure` draws the residual."""
    levels = np.log10(np.maximum(plane.steps[sample], 1).astype(np.float64))
    high = max(1, int(np.ceil(levels.max() - 1e-9)))
    return _map(plane, levels, 0, high, "steps taken", radius, radius_of_convergence, top=float(levels.max()))


def _map(
    plane: StabilityMap,
    levels: np.ndarray,
    low: int,
    high: int,
    label: str,
    radius: float | None,
    radius_of_convergence: float | None,
    *,
    top: float | None = None,
) -> Figure:
    # Nudges lie in the middle of their squares.
    left, right = _edges(plane.real)
    edges = (left, right, *_edges(plane.imag))
    with house_style():
        figure = Figure(figsize=(5.0, 4.5))
        axes = figure.add_subplot(xlabel="real part of the nudge β (no unit)", ylabel="imaginary part (no unit)")
        picture = axes.imshow(
            levels, origin="lower", extent=edges, vmin=low, vmax=top or high, cmap="cividis", aspect="equal"
        )
        axes.grid(False)
        _ring(axes, radius, "-", "circle of the estimate", edges)
        _ring(axes, radius_of_convergence, "--", "radius of convergence, estimated", edges)
        bar = figure.colorbar(picture, ax=axes, shrink=0.85, ticks=range(low, high + 1, max(1, (high - low) // 6)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: power_of_ten(round(value)) if value else "1")
        bar.set_label(label)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        legend_above(axes, columns=1)
    return figure


def _edges(side: np.ndarray) -> tuple[float, float]:
    half = float(side[1] - side[0]) / 2
    return float(side[0]) - half, float(side[-1]) + half


def _ring(
    axes: Axes, radius: float | None, style: Literal["-", "--"], label: str, edges: tuple[float, float, float, float]
) -> None:
    if radius is None or not np.isfinite(radius):
        return
    small = radius < _SMALL * (edges[1] - edges[0])
    if small:
        axes.plot([0], [0], marker="o", markersize=5, color=COLOURS["vermilion"], markeredgecolor="#ffffff")
    # A thin light rim tells the line from any shade under it.
    for colour, width in () if small else (("#ffffff", 3.0), (COLOURS["vermilion"], 1.6)):
        axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=colour, linewidth=width, linestyle=style))
    beyond = all(radius > abs(edge) for edge in edges)
    text = f"{label}, {radius:.2g}" + (", beyond the map" if beyond else ": the dot at 0" if small else "")
    mark, line = ("o", "") if small else ("", style)
    axes.add_line(
        Line2D([], [], color=COLOURS["vermilion"], marker=mark, markersize=5, linestyle=line, linewidth=1.6, label=text)
    )

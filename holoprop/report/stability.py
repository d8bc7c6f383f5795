"""The stability map as a picture: the residual over the plane of nudges, with the circle of the estimate drawn on it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from holoprop.gradient.stability import StabilityMap
from holoprop.report.drawing import COLOURS, house_style, legend_above
from holoprop.report.wording import power_of_ten


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
    half = [(side[1] - side[0]) / 2 for side in (plane.real, plane.imag)]
    edges = (plane.real[0] - half[0], plane.real[-1] + half[0], plane.imag[0] - half[1], plane.imag[-1] + half[1])
    with house_style():
        figure = Figure(figsize=(5.0, 4.5))
        axes = figure.add_subplot(xlabel="real part of the nudge β (no unit)", ylabel="imaginary part (no unit)")
        picture = axes.imshow(levels, origin="lower", extent=edges, vmin=low, vmax=high, cmap="cividis", aspect="equal")
        axes.grid(False)
        axes.plot([0], [0], marker="+", markersize=8, color="#ffffff", linestyle="")
        _ring(axes, radius, "-", "circle of the estimate", edges)
        _ring(axes, radius_of_convergence, "--", "radius of convergence, estimated", edges)
        bar = figure.colorbar(picture, ax=axes, shrink=0.85, ticks=range(low, high + 1, max(1, (high - low) // 6)))
        bar.ax.yaxis.set_major_formatter(lambda value, _: power_of_ten(round(value)))
        bar.set_label("residual ‖Δσ‖ (activity)")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        legend_above(axes, columns=1)
    return figure


def _ring(axes: Axes, radius: float | None, style: str, label: str, edges: tuple[float, ...]) -> None:
    if radius is None or not np.isfinite(radius):
        return
    # A thin light rim tells the line from any shade under it.
    for colour, width in (("#ffffff", 3.0), (COLOURS["vermilion"], 1.6)):
        axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=colour, linewidth=width, linestyle=style))
    beyond = all(radius > abs(edge) for edge in edges)
    text = f"{label}, {radius:.2g}" + (", beyond the map" if beyond else "")
    axes.add_line(Line2D([], [], color=COLOURS["vermilion"], linewidth=1.6, linestyle=style, label=text))

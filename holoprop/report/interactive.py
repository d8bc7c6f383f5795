"""Pictures to zoom into and read values off: the curves and maps of a figure once more, drawn by Plotly in the page.

The picture of the page stays the one that is printed and read aloud; below it the same numbers can be unfolded. Plotly
itself is in the page, which loads nothing; only the scripts named by their hashes may run.
"""

import html
import json
import math
from importlib import resources
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import FixedLocator

from holoprop.report.drawing import COLOURS, Decades
from holoprop.report.markup import Markup, element

_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
_MARKERS = {
    "o": "circle",
    ".": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "<": "triangle-left",
    "D": "diamond",
    "x": "x-thin",
    "+": "cross-thin",
    "|": "line-ns",
}
_THIN = ("x", "+", "|")
"""Markers that are lines, and have no area to fill."""
_PIXELS_PER_INCH = 96


def explorer(figure: Figure, name: str) -> Markup | None:
    """Return what unfolds to the same curves, bars and maps, to zoom and to point at; `None` if there are none.

    **Arguments:** `figure`: drawn already, so that its axes are where they are in the picture; `name`: of the picture,
    letters and dashes.
    """
    drawn = _plot(figure)
    if drawn is None:
        return None
    # What looks like a tag or a comment could end the element early.
    data = Markup(json.dumps(drawn, allow_nan=False).replace("<", "\\u003c"))
    return element(
        "details",
        element("summary", "Zoom and read off values"),
        element("div", id=f"{name}-plot", class_="interactive", style=f"height: {_height(figure)}px"),
        element("script", data, type="application/json", id=f"{name}-data"),
        class_="explore",
        data_name=name,
    )


def scripts() -> list[str]:
    """Return the scripts that a page with explorers needs: Plotly, and what draws them as they are unfolded."""
    from plotly.offline import get_plotlyjs

    own = resources.files(__package__ or "holoprop.report") / "explore.js"
    return [get_plotlyjs(), own.read_text(encoding="utf-8")]


def _height(figure: Figure) -> int:
    return round(float(figure.get_figheight()) * _PIXELS_PER_INCH)


def _plot(figure: Figure) -> dict[str, Any] | None:
    """The data and layout that Plotly draws, as JSON can hold them; `None` if nothing of the figure can be drawn."""
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "var(--ink)", "size": 12, "family": "system-ui, sans-serif"},
        "margin": {"l": 60, "r": 12, "t": 40, "b": 44},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var(--muted)", "activecolor": "var(--ink)"},
        "legend": {"orientation": "h", "y": -0.24, "yanchor": "top", "x": 0},
        "annotations": [],
        "shapes": [],
    }
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    shown: set[str] = set()
    for k, axes in enumerate(panels):
        suffix = "" if k == 0 else str(k + 1)
        own = [*_maps(axes), *_ranges(axes), *_bars(axes), *_rings(axes), *_lines(axes)]
        layout["shapes"] += _grounds(axes, f"x{suffix}", f"y{suffix}")
        for trace in own:
            label = trace.get("name", "")
            trace |= {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "legendgroup": label}
            trace["showlegend"] = bool(label) and label not in shown
            shown.add(label)
        traces += own
        domains = _places(panels)[k]
        layout[f"xaxis{suffix}"] = _axis(axes.xaxis, axes.get_xlim(), domains[0], f"y{suffix}")
        layout[f"yaxis{suffix}"] = _axis(axes.yaxis, axes.get_ylim(), domains[1], f"x{suffix}")
        if axes.get_aspect() == 1.0:
            layout[f"yaxis{suffix}"]["scaleanchor"] = f"x{suffix}"
        title = axes.get_title(loc="left") or axes.get_title()
        if title:
            where = {"x": domains[0][0], "y": domains[1][1], "xref": "paper", "yref": "paper"}
            anchors = {"xanchor": "left", "yanchor": "bottom", "showarrow": False}
            layout["annotations"].append({"text": html.escape(title, quote=False), **where, **anchors})
    layout["showlegend"] = any(trace["showlegend"] for trace in traces)
    return {"data": traces, "layout": layout} if traces else None


def _places(panels: list[Axes]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Where each pair of axes goes, as shares of the width and of the height that all of them fill."""
    boxes = [axes.get_position() for axes in panels]
    left, right = min(box.x0 for box in boxes), max(box.x1 for box in boxes)
    low, high = min(box.y0 for box in boxes), max(box.y1 for box in boxes)

    def share(value: float, first: float, last: float) -> float:
        return round(float(min(max((value - first) / (last - first), 0.0), 1.0)), 4)

    return [
        ((share(box.x0, left, right), share(box.x1, left, right)), (share(box.y0, low, high), share(box.y1, low, high)))
        for box in boxes
    ]


def _axis(axis: Axis, limits: tuple[float, float], domain: tuple[float, float], anchor: str) -> dict[str, Any]:
    logarithmic = axis.get_scale() == "log"
    carries = isinstance(axis.get_major_formatter(), Decades)
    ends = [math.log10(end) for end in limits] if logarithmic else list(limits)
    described: dict[str, Any] = {
        "title": {"text": html.escape(axis.get_label_text(), quote=False), "standoff": 6},
        "range": ends,
        "domain": list(domain),
        "anchor": anchor,
        "gridcolor": "var(--grid)",
        "zeroline": False,
        "tickangle": 0,
        "tickfont": {"size": 11},
        "automargin": True,
        "linecolor": "var(--muted)",
    }
    if logarithmic or carries:
        return described | {
            "type": "log",
            "exponentformat": "power",
            "dtick": max(1, round(abs(ends[1] - ends[0]) / 5)),
        }
    if isinstance(axis.get_major_locator(), FixedLocator):
        places = [float(place) for place in axis.get_majorticklocs()]
        words = [
            html.escape(str(text), quote=False).replace("\n", "<br>")
            for text in axis.get_major_formatter().format_ticks(places)
        ]
        return described | {"tickvals": places, "ticktext": words}
    return described


def _lines(axes: Axes) -> list[dict[str, Any]]:
    traces = []
    for line in axes.lines:
        x, y = (np.asarray(values, np.float64) for values in line.get_data(orig=False))
        if line.get_transform() == axes.get_yaxis_transform(which="grid"):
            x = np.array(axes.get_xlim())
        elif line.get_transform() == axes.get_xaxis_transform(which="grid"):
            y = np.array(axes.get_ylim())
        if x.size == 0 or x.shape != y.shape:
            continue
        traces.append(_curve(axes, line, x, y))
    return traces


def _curve(axes: Axes, line: Line2D, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    dash, marker = _DASHES.get(str(line.get_linestyle())), _MARKERS.get(str(line.get_marker()))
    colour = _colour(line.get_color())
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "+".join(word for word, there in (("lines", dash), ("markers", marker)) if there) or "lines",
        "x": _numbers(axes.xaxis, x),
        "y": _numbers(axes.yaxis, y),
        "name": _label(line.get_label()),
        "line": {"color": colour, "width": float(line.get_linewidth()), "dash": dash or "solid"},
    }
    if marker:
        hollow = line.get_markerfacecolor() == "none"
        own = _colour(line.get_markeredgecolor())
        trace["marker"] = {
            "symbol": f"{marker}-open" if hollow else marker,
            "size": 1.3 * float(line.get_markersize()),
            "color": own,
        }
        if str(line.get_marker()) in _THIN:
            trace["marker"]["line"] = {"width": 2, "color": own}
    return trace


def _bars(axes: Axes) -> list[dict[str, Any]]:
    traces = []
    for container in axes.containers:
        if not isinstance(container, BarContainer):
            continue
        # Bars of error lie around their tops, as far up as down.
        spans = [] if container.errorbar is None else container.errorbar.lines[2][0].get_segments()
        for k, bar in enumerate(container.patches):
            trace = {
                "type": "bar",
                "x": [float(bar.get_x() + bar.get_width() / 2)],
                "y": [float(bar.get_height())],
                "width": float(bar.get_width()),
                "name": _label(container.get_label()),
                "marker": {"color": _colour(bar.get_facecolor())},
            }
            if spans:
                half = float(np.ptp(np.asarray(spans[k])[:, 1])) / 2
                trace["error_y"] = {"type": "data", "array": [half], "color": "var(--ink)"}
            traces.append(trace)
    return traces


def _ranges(axes: Axes) -> list[dict[str, Any]]:
    """The area between two curves, which says nothing when it is pointed at."""
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": _numbers(axes.xaxis, np.asarray(path.vertices, np.float64)[:, 0]),
            "y": _numbers(axes.yaxis, np.asarray(path.vertices, np.float64)[:, 1]),
            "line": {"width": 0},
            "fill": "toself",
            "fillcolor": _colour(area.get_facecolor()[0]),
            "opacity": 0.15,
            "hoverinfo": "skip",
        }
        for area in axes.collections
        if isinstance(area, PolyCollection)
        for path in area.get_paths()
    ]


def _rings(axes: Axes) -> list[dict[str, Any]]:
    """Circles, but for the light rims that tell them from the ground."""
    turn = 2 * np.pi * np.arange(181) / 180
    traces = []
    for ring in axes.patches:
        if not isinstance(ring, Circle) or (colour := _colour(ring.get_edgecolor())) == "#ffffff":
            continue
        across, up = np.asarray(ring.get_center(), np.float64)
        radius = ring.get_radius()
        places = {"x": _plain(across + radius * np.cos(turn)), "y": _plain(up + radius * np.sin(turn))}
        dash = _DASHES.get(str(ring.get_linestyle()), "solid")
        line = {"color": colour, "width": 1.6, "dash": dash}
        traces.append({"type": "scatter", "mode": "lines", "line": line, "hoverinfo": "skip", **places})
    return traces


def _grounds(axes: Axes, x: str, y: str) -> list[dict[str, Any]]:
    """Strips from the bottom to the top that tell parts of the ground apart."""
    bars = {id(bar) for container in axes.containers for bar in container.get_children()}
    return [
        {
            "type": "rect",
            "xref": x,
            "yref": f"{y} domain",
            "x0": float(strip.get_x()),
            "x1": float(strip.get_x() + strip.get_width()),
            "y0": 0,
            "y1": 1,
            "fillcolor": _colour(strip.get_facecolor()),
            "opacity": 0.45,
            "line": {"width": 0},
            "layer": "below",
        }
        for strip in axes.patches
        if isinstance(strip, Rectangle) and id(strip) not in bars
    ]


def _maps(axes: Axes) -> list[dict[str, Any]]:
    """Values over a plane."""
    traces = []
    for image in axes.images:
        values = np.ma.filled(np.ma.asarray(image.get_array(), np.float64), np.nan)
        if values.ndim != 2:
            continue
        left, right, bottom, top = image.get_extent()
        (rows, columns) = values.shape
        across, up = (right - left) / columns, (top - bottom) / rows
        traces.append(
            _heat(
                image,
                left + across * (np.arange(columns) + 0.5),
                bottom + up * (np.arange(rows) + 0.5),
                values if image.origin == "lower" else values[::-1],
            )
        )
    return traces


def _heat(drawn: AxesImage, x: np.ndarray, y: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    low, high = drawn.get_clim()
    bar = drawn.colorbar
    title = "" if bar is None else bar.ax.get_ylabel()
    return {
        "type": "heatmap",
        "x": _plain(x),
        "y": _plain(y),
        # Four digits are more than the eye tells.
        "z": [_plain(np.round(row, 3)) for row in values],
        "zmin": low,
        "zmax": high,
        "colorscale": "Cividis",
        "colorbar": {"title": {"text": f"log10 of {title}" if title else "", "side": "right"}, "thickness": 12},
    }


def _numbers(axis: Axis, values: np.ndarray) -> list[float | None]:
    """What a trace holds: the number itself where the axis carries its logarithm."""
    return _plain(10.0**values if isinstance(axis.get_major_formatter(), Decades) else values)


def _plain(values: np.ndarray) -> list[float | None]:
    """Numbers as JSON can hold them; what is none leaves a gap."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in np.asarray(values, np.float64)]


def _label(label: object) -> str:
    """A name in the legend, in which Plotly would take tags for markup; names with an underscore are none."""
    text = str(label)
    return "" if text.startswith("_") else html.escape(text, quote=False)


def _colour(colour: Any) -> str:
    """A colour of the house by its name on the page, any other as it is."""
    value = to_hex(colour)
    return next((f"var(--{name})" for name, own in COLOURS.items() if own == value), value)

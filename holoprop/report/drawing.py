"""How a picture gets into a page: figures as inline SVG that follow the page's colours, images as PNG data addresses.

Figures are `matplotlib.figure.Figure` objects made within `house_style()`; pyplot and its global state are never used.
"""

import base64
import html
import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib import image, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from holoprop.report.markup import Markup
from holoprop.report.wording import power_of_ten

STYLE = Path(__file__).with_name("holoprop.mplstyle")
"""The style sheet of every picture."""

COLOURS = {
    "ink": "#1f2328",
    "muted": "#59636e",
    "grid": "#d1d9e0",
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "pink": "#cc79a7",
}
"""The colours that pictures may use; a page defines `--name` for each, once for light and once for dark paper."""


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the style of the house, whatever the user's own matplotlib settings; they are back afterwards."""
    with style.context(STYLE, after_reset=True):
        yield


def new_axes(xlabel: str, ylabel: str, *, height: float | None = None) -> tuple[Figure, Axes]:
    """Return a figure of the house's width with one pair of axes; `height` in inches."""
    figure = Figure()
    if height is not None:
        figure.set_figheight(height)
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def legend_above(axes: Axes, *, columns: int = 3) -> None:
    """Put the legend between the top edge and the axes, where it can hide no data."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=columns, columnspacing=1.4, handlelength=1.6)


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an `<svg>` element for a page.

    Colours become the page's, `var(--blue, #0072b2)`, and the page's font is used. Identifiers are made unique by
    `name`, since several pictures share a page.

    **Arguments:** `name`: of the picture, letters and dashes; `description`: what a screen reader says.
    """
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", text)
    for colour, value in COLOURS.items():
        text = text.replace(value, f"var(--{colour}, {value})")
    text = re.sub(
        r"font: (bold )?([\d.]+px)[^;\"]*", lambda m: f"font-size: {m[2]}" + "; font-weight: 600" * bool(m[1]), text
    )
    view = re.search(r'viewBox="[^"]*"', text)
    body = text[text.index(">") + 1 :].strip()
    label = html.escape(description, quote=True)
    return Markup(f'<svg class="plot" role="img" aria-label="{label}" {view[0] if view else ""}>{body}')


def png_address(pixels: np.ndarray) -> str:
    """Return an image as a `data:` address of a PNG, pixel for pixel.

    **Arguments:** `pixels`: `(h, w)` or `(h, w, 3)`, 0…1; values beyond are clipped, NaN is 0.
    """
    buffer = io.BytesIO()
    levels = np.round(255 * np.clip(np.nan_to_num(pixels.astype(np.float64)), 0, 1)).astype(np.uint8)
    colours = levels if levels.ndim == 3 else np.stack([levels] * 3, axis=-1)
    image.imsave(buffer, colours, format="png", metadata={"Software": "holoprop"})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


class Decades(FuncFormatter):
    """Names powers of ten on an axis that carries log10 of something."""


def show_decades(axes: Axes, which: str, low: int, high: int, *, zero: bool = False) -> None:
    """Turn an axis that carries log10 of something into a logarithmic one, from `10^low` to `10^high`.

    With `zero` a further tick `0` stands one decade below, for values that have no logarithm.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    step = max(1, math.ceil((high - low) / 7))
    ticks = list(range(low, high + 1, step))
    names = {float(tick): power_of_ten(tick) for tick in ticks} | ({low - 1.0: "0"} if zero else {})
    axis.set_major_locator(FixedLocator(sorted(names)))
    axis.set_major_formatter(Decades(lambda value, _: names.get(float(value), "")))
    if step == 1 and high - low <= 4:
        axis.set_minor_locator(FixedLocator([d + math.log10(k) for d in range(low, high) for k in range(2, 10)]))
        axis.set_minor_formatter(NullFormatter())
    getattr(axes, f"set_{which}lim")(low - (1.3 if zero else 0), high)


def decades_around(values: np.ndarray, *, at_least: int = 2) -> tuple[int, int]:
    """Return whole exponents such that `10^low ≤ values ≤ 10^high`, at least so many decades apart.

    Values that are not finite, such as cosines of a gradient that is zero, are not drawn, and do not count.
    """
    logs = np.log10(values[np.isfinite(values)])
    if not logs.size:
        return -at_least, 0
    low, high = math.floor(logs.min()), math.ceil(logs.max())
    return min(low, high - at_least), high

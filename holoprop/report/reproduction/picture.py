"""A picture of an outcome with the caption that says what to see, and the marks that its modules share."""

import dataclasses

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from holoprop.report.drawing import COLOURS

SERIES = (("blue", "o"), ("vermilion", "s"), ("green", "^"), ("pink", "D"), ("muted", "v"))
"""Colour and marker of the first, second, … curve."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """`figure`; `name`: letters and dashes; `description`: what a screen reader says; `caption`: what to see."""

    figure: Figure
    name: str
    description: str
    caption: str


def hollow(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, marker: str, label: str | None = None) -> None:
    """Mark published values: larger than our own marks, and hollow."""
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        markersize=9,
        markerfacecolor="none",
        markeredgecolor=COLOURS[colour],
        markeredgewidth=1.2,
        label=label,
        clip_on=False,
        zorder=4,
    )

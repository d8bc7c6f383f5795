"""The spectrum of the states on a circle, with the aliasing error that it predicts and the floors under it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from holoprop.gradient.spectrum import Spectrum
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades


def spectrum_figure(spectrum: Spectrum, fine: Spectrum | None = None, *, sample: int = 0) -> Figure:
    """Draw `‖ŝ_j‖/‖ŝ_1‖` against the frequency `j`, the predicted `‖c_{N+1}‖`, the solver's floor and that of noise.

    **Arguments:** `spectrum`: of the estimate's `N` points; `fine`: of the same circle with many more, which shows the
    true coefficients; `sample`: its place in the batch.
    """
    norms, first, shift = _numbers(spectrum, sample)
    points = len(norms)
    heights = np.append(norms[1:], shift) / first
    aliasing = float(spectrum.aliasing[sample])
    floor, noise = float(spectrum.tolerance[sample]), float(spectrum.noise[sample])
    true = np.zeros(0)
    if fine is not None:
        whole, one, _ = _numbers(fine, sample)
        true = whole[1 : len(whole) // 2] / one
    seen = np.concatenate([heights, true, [aliasing, floor, noise]])
    seen = seen[np.isfinite(seen) & (seen > 0)]
    with house_style():
        figure, axes = new_axes("frequency j (turns per turn of the nudge)", "‖ŝⱼ‖ / ‖ŝ₁‖ (no unit)", height=4.2)
        show_decades(axes, "y", *decades_around(np.append(seen, 1.0), at_least=3))
        _marks(axes, np.arange(1, len(true) + 1), true, "muted", ".", f"{len(true) * 2 + 2} points", line="-")
        _marks(axes, np.arange(1, points), heights[:-1], "blue", "o", f"the estimate's {points} points")
        _marks(axes, np.array([points]), heights[-1:], "blue", "s", "‖ŝ₀ − s₀‖", hollow=True)
        _marks(
            axes,
            np.array([points + 1]),
            np.array([aliasing]),
            "vermilion",
            "D",
            f"predicted ‖c{_subscript(points + 1)}‖",
        )
        for value, colour, style, label in (
            (floor, "green", "--", "solver tolerance"),
            (noise, "pink", ":", "noise"),
        ):
            if np.isfinite(value) and value > 0:
                axes.axhline(np.log10(value), color=COLOURS[colour], linestyle=style, linewidth=1.4, label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.5, max(points + 1, len(true)) + 0.5)
        legend_above(axes, columns=2)
    return figure


def _subscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _numbers(spectrum: Spectrum, sample: int) -> tuple[np.ndarray, float, float]:
    norms = np.asarray(spectrum.norms[sample], np.float64)
    return norms, max(float(norms[1]), np.finfo(np.float64).tiny), float(spectrum.shift[sample])


def _marks(
    axes: Axes,
    places: np.ndarray,
    values: np.ndarray,
    colour: str,
    marker: str,
    label: str,
    *,
    line: str = "",
    hollow: bool = False,
) -> None:
    shown = np.isfinite(values) & (values > 0)
    if shown.any():
        axes.plot(
            places[shown],
            np.log10(values[shown]),
            marker=marker,
            linestyle=line,
            linewidth=1.0,
            color=COLOURS[colour],
            markerfacecolor="none" if hollow else COLOURS[colour],
            markersize=4 if line else 6,
            zorder=2 if line else 3,
            clip_on=False,
            label=label,
        )

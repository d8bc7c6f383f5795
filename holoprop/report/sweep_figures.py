"""The picture of a sweep: a line over one numeric key, a map over two keys, else its trials from best to worst.

Runs that differ in `training.seed` alone are repetitions: lines and maps show their mean.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from holoprop.experiments.sweep.table import Row, SweepResults, best_accuracy
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.reproduction.picture import Picture

SEED = "training.seed"
_ACCURACY = "test accuracy (% of samples)"
_LOGARITHMIC = 15.0
"""From this ratio of largest to smallest value on, an axis is logarithmic."""
_SHOWN_TRIALS = 40


def sweep_picture(results: SweepResults) -> Picture | None:
    """Return the picture that suits a sweep's grid; `None` if no trial is done."""
    done = [row for row in results.rows if row.result is not None]
    keys = [key for key in results.keys if key != SEED]
    if not done:
        return None
    if len(keys) == 1 and len({row.point[keys[0]] for row in done}) > 1 and _numeric(done, keys[0]):
        return _line(done, keys[0])
    if len(keys) == 2:
        return _map(results, done, keys[0], keys[1])
    return _dots(done, results.keys)


def value_text(value: Any) -> str:
    """Return a value of a grid in words: numbers short, `yes` and `no`, a dash for none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value is None else str(value)


def _line(done: Sequence[Row], key: str) -> Picture:
    values = sorted({row.point[key] for row in done})
    groups = [[row for row in done if row.point[key] == value] for value in values]
    repeated = any(len(group) > 1 for group in groups)
    with house_style():
        figure, axes = new_axes(key, _ACCURACY)
        for which, (label, colour, style) in enumerate(
            (("last epoch", "blue", "--"), ("best epoch", "vermilion", "-"))
        ):
            heights = [[_percent(row, best=bool(which)) for row in group] for group in groups]
            if repeated:
                across = [value for value, group in zip(values, heights, strict=True) for _ in group]
                flat = [height for group in heights for height in group]
                axes.plot(across, flat, ".", color=COLOURS[colour], alpha=0.6, markersize=8, markeredgewidth=0)
            means = [float(np.mean(group)) for group in heights]
            label += ", mean" * repeated
            axes.plot(values, means, marker="os"[which], color=COLOURS[colour], linestyle=style, label=label)
        _value_axis(axes, values)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.margins(y=0.08)
        legend_above(axes)
    dots = " Lines: means over seeds; dots: single runs." if repeated else ""
    caption = (
        f"Test accuracy over {key}: in the best epoch and in the last. Where the lines part, training went past its "
        f"best.{dots}"
    )
    return Picture(figure, "sweep", f"test accuracy over {key}", caption)


def _map(results: SweepResults, done: Sequence[Row], down: str, across: str) -> Picture:
    rows, columns = (_levels(results.rows, key) for key in (down, across))
    cells = np.full((len(rows), len(columns)), np.nan)
    for i, low in enumerate(rows):
        for j, high in enumerate(columns):
            here = [_percent(row, best=True) for row in done if (row.point[down], row.point[across]) == (low, high)]
            if here:
                cells[i, j] = np.mean(here)
    lowest, highest = float(np.nanmin(cells)), float(np.nanmax(cells))
    if highest - lowest < 1e-9:
        lowest = highest - 1
    with house_style():
        figure, axes = new_axes(across, down, height=min(8.0, max(2.6, 1.3 + 0.36 * len(rows))))
        picture = axes.imshow(
            np.ma.masked_invalid(cells), origin="lower", vmin=lowest, vmax=highest, cmap="cividis", aspect="auto"
        )
        axes.grid(False)
        for axis, levels, most in ((axes.xaxis, columns, 8), (axes.yaxis, rows, 16)):
            every = math.ceil(len(levels) / most)
            axis.set_ticks(range(0, len(levels), every), [_shortened(value_text(v), 14) for v in levels[::every]])
        if sum(len(_shortened(value_text(level), 14)) for level in columns[:8]) > 48:
            axes.tick_params(axis="x", rotation=30)
        if len(columns) <= 8 and len(rows) <= 16:
            _write_cells(axes, cells, lowest, highest)
        best = np.unravel_index(int(np.nanargmax(cells)), cells.shape)
        corner = (float(best[1]) - 0.5, float(best[0]) - 0.5)
        axes.add_patch(
            Rectangle(corner, 1, 1, fill=False, edgecolor=COLOURS["vermilion"], linewidth=2.4, clip_on=False)
        )
        bar = figure.colorbar(picture, ax=axes, shrink=0.9)
        bar.set_label("test accuracy (%)")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    mean = ", mean over seeds" if SEED in results.keys else ""
    caption = f"Test accuracy in the best epoch{mean}. Framed: the best. A dash: no result there."
    return Picture(figure, "sweep", f"test accuracy over {down} and {across}", caption)


def _write_cells(axes: Axes, cells: np.ndarray, lowest: float, highest: float) -> None:
    digits = 1 if highest - lowest >= 0.5 else 2
    for (i, j), value in np.ndenumerate(cells):
        if np.isnan(value):
            axes.text(j, i, "–", ha="center", va="center")
            continue
        # Not colours of the page: what is under them is the same on light and dark paper.
        colour = "#000000" if (value - lowest) / (highest - lowest) > 0.55 else "#ffffff"
        axes.text(j, i, f"{value:.{digits}f}", ha="center", va="center", color=colour, fontsize=9)


def _dots(done: Sequence[Row], keys: Sequence[str]) -> Picture:
    ranked = sorted(done, key=best_accuracy, reverse=True)[:_SHOWN_TRIALS]
    places = range(len(ranked) - 1, -1, -1)
    with house_style():
        figure, axes = new_axes(_ACCURACY, "", height=1.2 + 0.26 * len(ranked))
        for place, row in zip(places, ranked, strict=True):
            best, last = _percent(row, best=True), _percent(row, best=False)
            axes.plot([last, best], [place, place], color=COLOURS["grid"], linewidth=1.4, zorder=1)
        for which, (label, colour) in enumerate((("last epoch", "blue"), ("best epoch", "vermilion"))):
            heights = [_percent(row, best=bool(which)) for row in ranked]
            axes.plot(heights, places, "os"[which], color=COLOURS[colour], label=label, clip_on=False)
        axes.set_yticks(places, [_shortened(_point_text(row, keys), 34) for row in ranked])
        axes.set_ylim(-0.6, len(ranked) - 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, pad=7)
        legend_above(axes)
    which = f"The best {len(ranked)} of {len(done)} trials" if len(ranked) < len(done) else "All trials that are done"
    names = ", ".join(keys)
    caption = f"{which}, from best to worst; at the left the values of {names}."
    return Picture(figure, "sweep", "test accuracy of the trials, from best to worst", caption)


def _value_axis(axes: Axes, values: Sequence[int | float]) -> None:
    """Ticks at the values themselves where there is room; logarithmic where they span much."""
    logarithmic = values[0] > 0 and values[-1] / values[0] >= _LOGARITHMIC
    if logarithmic:
        axes.set_xscale("log")
    scale = [math.log(value) if logarithmic else float(value) for value in values]
    ticks: list[int] = []
    for k, place in enumerate(scale):
        if not ticks or place - scale[ticks[-1]] >= 0.09 * (scale[-1] - scale[0]):
            ticks.append(k)
    axes.xaxis.set_major_locator(FixedLocator([values[k] for k in ticks]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _levels(rows: Sequence[Row], key: str) -> list[Any]:
    """The values of a key: numbers in their order, anything else in that of the grid."""
    levels = list(dict.fromkeys(row.point[key] for row in rows))
    return sorted(levels) if _numeric(rows, key) else levels


def _numeric(rows: Sequence[Row], key: str) -> bool:
    return all(isinstance(row.point[key], int | float) and not isinstance(row.point[key], bool) for row in rows)


def _percent(row: Row, *, best: bool) -> float:
    assert row.result is not None
    value = row.result.best_test_accuracy if best else row.result.test_accuracy
    return math.nan if value is None else 100 * value


def _point_text(row: Row, keys: Sequence[str]) -> str:
    return ", ".join(value_text(row.point[key]) for key in keys)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"

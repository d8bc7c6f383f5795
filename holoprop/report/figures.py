"""The pictures of a run: learning curves, agreement of the gradient, residuals of the rest states.

Each function takes what was read from the run's folder and returns a figure; none computes anything new.
"""

import cmath
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.records import Run, StoredAgreement, StoredCertificate

LEAST_DIFFERENCE = 1e-16
"""Where `1 − cosine` is drawn when it is smaller: float64 cannot tell such a cosine from 1."""

_Values = Sequence[float | None]


def loss_figure(run: Run, unit: str) -> Figure:
    """Draw the loss of single training steps, and of epochs on the training and test set."""
    with house_style():
        figure, axes = _progress_axes(run, f"loss ({unit})")
        _plot_steps(axes, run, [record.loss for record in run.steps])
        _plot_epochs(axes, run, [record.train_loss for record in run.epochs], "training", 0)
        _plot_epochs(axes, run, [record.test_loss for record in run.epochs], "test", 1)
        _scale_loss(axes)
        legend_above(axes)
    return figure


def accuracy_figure(run: Run) -> Figure:
    """Draw the accuracy of epochs on the training and test set; of single steps while there is no epoch."""
    with house_style():
        figure, axes = _progress_axes(run, "accuracy (% of samples)")
        if not run.epochs:
            _plot_steps(axes, run, _percent([record.accuracy for record in run.steps]))
        _plot_epochs(axes, run, _percent([record.train_accuracy for record in run.epochs]), "training", 0)
        _plot_epochs(axes, run, _percent([record.test_accuracy for record in run.epochs]), "test", 1)
        axes.set_ylim(top=min(100.0, axes.get_ylim()[1]))
        legend_above(axes)
    return figure


def unsettled_figure(run: Run) -> Figure:
    """Draw the share of samples that did not settle, in training and on the test set."""
    with house_style():
        figure, axes = _progress_axes(run, "unsettled (% of samples)")
        if not run.epochs:
            _plot_steps(axes, run, _percent([record.unsettled for record in run.steps]))
        _plot_epochs(axes, run, _percent([record.unsettled for record in run.epochs]), "training", 0)
        _plot_epochs(axes, run, _percent([record.test_unsettled for record in run.epochs]), "test", 1)
        axes.set_ylim(0, max(1.0, 1.05 * axes.get_ylim()[1]))
        legend_above(axes)
    return figure


def sweeps_figure(run: Run) -> Figure:
    """Draw how many settling steps the free phase took."""
    with house_style():
        figure, axes = _progress_axes(run, "steps of the free phase (mean)")
        _plot_epochs(axes, run, [record.sweeps for record in run.epochs], "training", 0)
        axes.set_ylim(bottom=0, top=1.1 * axes.get_ylim()[1])
        legend_above(axes)
    return figure


def cosine_figure(run: Run) -> Figure:
    """Draw `1 − cosine` of the estimated gradient to the implicit one after each epoch, on a logarithmic axis."""
    away = [None if record.cosine is None else max(1 - record.cosine, LEAST_DIFFERENCE) for record in run.epochs]
    with house_style():
        figure, axes = _progress_axes(run, "1 − cosine (no unit)")
        _plot_epochs(axes, run, away, "test samples", 1)
        axes.set_yscale("log")
        low, high = decades_around(np.array([value for value in away if value is not None]))
        axes.set_ylim(10.0**low, 10.0**high)
        legend_above(axes)
    return figure


def alignment_figure(total: StoredAgreement, parameters: Sequence[StoredAgreement]) -> Figure:
    """Draw `1 − cosine` of every parameter's gradient to the reference, on a logarithmic axis, and of all together."""
    rows = [*parameters, total]
    defined = [1 - row.cosine for row in rows if row.cosine is not None]
    drawn = np.maximum(defined, LEAST_DIFFERENCE)
    with house_style():
        figure, axes = new_axes("1 − cosine (no unit)", "", height=1.1 + 0.26 * len(rows))
        low, high = decades_around(np.append(drawn, 1e-4), at_least=3)
        show_decades(axes, "x", low, high)
        axes.axvline(-4, color=COLOURS["muted"], linestyle="--", linewidth=1)
        axes.text(-4, 1.0, "cosine 0.9999", transform=axes.get_xaxis_transform(), va="bottom", ha="center", fontsize=9)
        places = range(len(rows) - 1, -1, -1)
        for place, row in zip(places, rows, strict=True):
            if row.cosine is None:
                axes.text(low + 0.1, place, "no gradient to compare", va="center", fontsize=9)
                continue
            below = 1 - row.cosine < LEAST_DIFFERENCE
            value = math.log10(max(1 - row.cosine, LEAST_DIFFERENCE))
            colour = COLOURS["vermilion" if row is total else "blue"]
            axes.plot([low, value], [place, place], color=COLOURS["grid"], linewidth=1.4, zorder=1)
            axes.plot(value, place, marker="<" if below else "D" if row is total else "o", color=colour, clip_on=False)
        axes.set_yticks(places, [_shortened(row.name) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, pad=7)
    return figure


def residual_histogram(residual: np.ndarray, tolerance: float | None) -> Figure:
    """Draw how many test samples have which free residual; those above the tolerance stand out.

    **Arguments:** `residual`: `(samples,)`, at least one of them finite.
    """
    residual = residual[np.isfinite(residual)].astype(np.float64)
    zeros, positive = int((residual == 0).sum()), residual[residual > 0]
    with house_style():
        figure, axes = new_axes("free residual ‖σ(a(s)) − s‖ (activity)", "test samples")
        marks = positive if tolerance is None else np.append(positive, tolerance)
        low, high = _show_residuals(axes, "x", marks, zero=zeros > 0)
        edges = np.linspace(low, high, 1 + (high - low) * max(1, 40 // (high - low)))
        width = edges[1] - edges[0]
        settled = positive <= (math.inf if tolerance is None else tolerance)
        # Bars of their own for either side of the tolerance, so that a bin it cuts through shows both.
        good, bad = (np.histogram(np.log10(positive[side]), edges)[0] for side in (settled, ~settled))
        # A seam of paper between bars reads better than an outline.
        axes.bar(edges[:-1], good, 0.9 * width, align="edge", color=COLOURS["blue"])
        axes.bar(edges[:-1], bad, 0.9 * width, bottom=good, align="edge", color=COLOURS["vermilion"])
        if zeros:
            axes.bar(low - 1, zeros, 0.9 * width, color=COLOURS["blue"])
        if tolerance is not None:
            place = math.log10(tolerance)
            axes.axvline(place, color=COLOURS["muted"], linestyle="--", linewidth=1)
            above = axes.get_xaxis_transform()
            axes.text(place, 1.01, "tolerance", transform=above, va="bottom", ha="center", fontsize=9)
        axes.set_ylim(top=1.06 * axes.get_ylim()[1])
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
        axes.grid(visible=False, axis="x")
    return figure


def circle_figure(
    certificate: StoredCertificate, free_tolerance: float | None, nudged_tolerance: float | None
) -> Figure:
    """Draw the residual of every checked sample: in the free phase, and at each nudge in the order of its angle."""
    tolerances = [free_tolerance, *(nudged_tolerance for _ in certificate.points)]
    order = sorted(range(len(certificate.points)), key=lambda k: _angle(certificate.points[k]))
    columns = [certificate.free_residual, *(certificate.point_residual[k] for k in order)]
    names = ["free", *_nudge_names([certificate.points[k] for k in order])]
    values = [np.array([v for v in column if v is not None and math.isfinite(v)]) for column in columns]
    everything = np.concatenate(values)
    with house_style():
        figure, axes = new_axes(_nudge_label(certificate.points), "residual (activity)")
        marks = [*everything[everything > 0], *(tolerance for tolerance in tolerances if tolerance is not None)]
        low, _ = _show_residuals(axes, "y", np.array(marks), zero=bool((everything == 0).any()))
        for place, column in enumerate(values):
            heights = np.full(len(column), low - 1.0)
            heights[column > 0] = np.log10(column[column > 0])
            # Spread in the order of the samples: a cloud of dots, yet the same one every time.
            across = place + 0.5 * (np.arange(len(column)) - (len(column) - 1) / 2) / max(len(column), 10)
            colour = COLOURS["green" if place == 0 else "blue"]
            axes.plot(across, heights, ".", color=colour, alpha=0.65, markeredgewidth=0, markersize=6)
            if len(column):
                middle = float(np.median(heights))
                axes.plot([place - 0.34, place + 0.34], [middle, middle], color=COLOURS["ink"], linewidth=1.6)
            if (tolerance := tolerances[place]) is not None:
                axes.hlines(
                    math.log10(tolerance), place - 0.5, place + 0.5, color=COLOURS["muted"], linestyle="--", lw=1
                )
        if (tolerance := tolerances[-1]) is not None:
            axes.text(
                1.0,
                math.log10(tolerance),
                "tolerance",
                transform=axes.get_yaxis_transform(),
                va="bottom",
                ha="right",
                fontsize=9,
            )
        every = math.ceil(len(names) / 9)
        axes.set_xticks(range(0, len(names), every), names[::every])
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.grid(visible=False, axis="x")
    return figure


def _progress_axes(run: Run, ylabel: str) -> tuple[Figure, Axes]:
    figure, axes = new_axes("epoch" if run.epochs else "training step", ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
    if run.epochs:
        axes.set_xlim(0, _epoch_at(run, max([run.epochs[-1].step, *(record.step for record in run.steps)])) * 1.02)
    return figure, axes


def _epoch_at(run: Run, step: int) -> float:
    return step * run.epochs[-1].epoch / run.epochs[-1].step


def _plot_steps(axes: Axes, run: Run, values: _Values) -> None:
    if all(value is None for value in values):
        return
    places = [_epoch_at(run, record.step) if run.epochs else record.step for record in run.steps]
    if run.epochs:
        axes.plot(
            places, _array(values), color=COLOURS["muted"], alpha=0.4, linewidth=0.8, label="single steps", zorder=1
        )
    else:
        # As long as there is nothing else to see, they are no background.
        axes.plot(places, _array(values), color=COLOURS["blue"], linewidth=1.2, label="single steps", clip_on=False)


def _plot_epochs(axes: Axes, run: Run, values: _Values, label: str, which: int) -> None:
    if all(value is None for value in values):
        return
    marker = "os"[which] if len(values) <= 40 else ""
    colour = COLOURS[("blue", "vermilion")[which]]
    places = [record.epoch for record in run.epochs]
    axes.plot(
        places,
        _array(values),
        marker=marker,
        color=colour,
        linestyle="-" if which else "--",
        label=label,
        clip_on=False,
    )


def _scale_loss(axes: Axes) -> None:
    """Make the loss axis logarithmic where all of it is positive, with ticks one can read off."""
    values = np.array([value for line in axes.lines for value in np.asarray(line.get_ydata())], np.float64)
    values = values[np.isfinite(values)]
    if not len(values) or values.min() <= 0:
        return
    axes.set_yscale("log")
    ratio = values.max() / values.min()
    ticks = (1, 1.5, 2, 3, 5, 7) if ratio < 5 else (1, 2, 5) if ratio < 1000 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=ticks, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _show_residuals(axes: Axes, which: str, marks: np.ndarray, *, zero: bool) -> tuple[int, int]:
    low, high = decades_around(marks if len(marks) else np.ones(1))
    show_decades(axes, which, low, high, zero=zero)
    return low, high


def _shortened(name: str, longest: int = 30) -> str:
    """The end of a long name, where parameters differ; the table beside the picture has all of it."""
    return name if len(name) <= longest else "…" + name[1 - longest :]


def _angle(point: complex) -> float:
    """The angle in degrees, 0…360; six digits were stored, so anything nearer to 0 than that is 0."""
    degrees = math.degrees(cmath.phase(point))
    return degrees % 360 if abs(degrees) > 1e-3 else 0.0


def _on_one_circle(points: Sequence[complex]) -> bool:
    """Whether angles tell all; real nudges read better as numbers."""
    return any(point.imag for point in points) and max(map(abs, points)) - min(map(abs, points)) <= 1e-5


def _nudge_names(points: Sequence[complex]) -> list[str]:
    if _on_one_circle(points):
        return [f"{_angle(point):.3g}°" for point in points]
    return [f"{point.real:g}{point.imag:+g}i" if point.imag else f"{point.real:g}" for point in points]


def _nudge_label(points: Sequence[complex]) -> str:
    if not points:
        return "phase"
    return f"nudge β = {abs(points[0]):.4g}·exp(iφ), φ (degrees)" if _on_one_circle(points) else "nudge β (no unit)"


def _array(values: _Values) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _percent(values: _Values) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]

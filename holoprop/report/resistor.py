"""The page of the resistor network: what it learned, and how exact its gradients are at each nudge.

One file that needs nothing else, made from a `ResistorExperiment`; nothing is computed here but logarithms.
"""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from holoprop.experiments.resistor_learning import Learning, ResistorExperiment
from holoprop.experiments.run_folder import write_text
from holoprop.report.drawing import (
    COLOURS,
    decades_around,
    house_style,
    inline_svg,
    legend_above,
    new_axes,
    show_decades,
)
from holoprop.report.frame import single_page, tile
from holoprop.report.markup import Markup, element, joined, panel, section, table
from holoprop.report.wording import power_of_ten, scientific

_SERIES = (("blue", "o", "-"), ("vermilion", "s", "--"), ("green", "^", "-."), ("pink", "D", ":"))


def write_resistor_page(result: ResistorExperiment, path: Path) -> Path:
    """Write the page of a resistor experiment to `path`, and return it.

    **Raises:** `OSError` from the file system.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_resistor_page(result))
    return path


def render_resistor_page(result: ResistorExperiment) -> str:
    """Return the page of a resistor experiment as HTML."""
    sections = [_exactness(result), _learning(result), _conductances(result)]
    return single_page("Resistor network", _headline(result), sections)


def gradient_error_figure(result: ResistorExperiment) -> Figure:
    """Draw the relative error of each stencil's gradient against the nudge, with the slopes `2m` that theory says."""
    drawn = [np.isfinite(run.errors) & (run.errors > 0) for run in result.runs]
    places = np.log10(result.betas)
    with house_style():
        figure, axes = new_axes("largest nudge β (no unit)", "relative error of the gradient (no unit)", height=4.2)
        marks = np.concatenate([run.errors[mask] for run, mask in zip(result.runs, drawn, strict=True)])
        low, high = decades_around(np.append(marks, 1.0), at_least=3)
        show_decades(axes, "x", *decades_around(result.betas))
        show_decades(axes, "y", low, high)
        for (colour, marker, _), run, mask in zip(_SERIES, result.runs, drawn, strict=False):
            axes.plot(
                places[mask],
                np.log10(run.errors[mask]),
                marker=marker,
                color=COLOURS[colour],
                label=f"{run.points} nudges",
                clip_on=False,
            )
            _guide(axes, run, places, result.betas, low, colour)
        lost = result.betas[~np.all([np.isfinite(run.errors) for run in result.runs], axis=0)]
        if len(lost):
            edge = float(np.log10(lost.min()))
            right = axes.get_xlim()[1]
            axes.axvspan(edge, right, color=COLOURS["grid"], alpha=0.5, linewidth=0)
            axes.text(
                (edge + right) / 2, (low + high) / 2, "no stable rest state", rotation=90, ha="center", va="center"
            )
        axes.axvline(math.log10(result.beta), color=COLOURS["muted"], linestyle=":", linewidth=1.2)
        axes.text(math.log10(result.beta), high - 0.15, "trained with this ", va="top", ha="right", fontsize=9)
        legend_above(axes)
    return figure


def resistor_accuracy_figure(result: ResistorExperiment) -> Figure:
    """Draw the accuracy on the test set after each epoch, one line a stencil."""
    with house_style():
        figure, axes = new_axes("epoch", "test accuracy (% of samples)", height=4.2)
        values = [[100 * record["test_accuracy"] for record in run.history] for run in result.runs]
        for (colour, marker, style), run, line in zip(_SERIES, result.runs, values, strict=False):
            axes.plot(
                range(1, len(line) + 1),
                line,
                marker=marker,
                linestyle=style,
                color=COLOURS[colour],
                label=f"{run.points} nudges",
                clip_on=False,
                markersize=7 if style == "-" else 4,
            )
        axes.axhline(95, color=COLOURS["muted"], linestyle=":", linewidth=1.2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(min(90.0, math.floor(min(map(min, values)))), 100)
        legend_above(axes)
    return figure


def conductance_figure(result: ResistorExperiment) -> Figure:
    """Draw what each hidden node's conductances weigh at each pixel, `g(+x) − g(−x)`, before and after training."""
    pixels = (len(result.trained.input) // 2) - 1
    side = math.isqrt(pixels)
    order = np.argsort(_preference(result))
    colours = [COLOURS["vermilion"], "#ffffff", COLOURS["blue"]]
    shades = LinearSegmentedColormap.from_list("weights", colours).with_extremes(bad=COLOURS["grid"])
    maps = [_weights(parameters.input, pixels)[order] for parameters in (result.initial, result.trained)]
    top = max(float(np.abs(each).max()) for each in maps)
    with house_style():
        figure = Figure(figsize=(5.0, 2.9))
        panels = figure.subplots(2, 1)
        pictures = [
            axes.imshow(_mosaic(each.reshape(-1, side, side)), cmap=shades, vmin=-top, vmax=top)
            for axes, each in zip(panels, maps, strict=True)
        ]
        for axes, name in zip(panels, ("before training", "after training"), strict=True):
            axes.set_title(name, loc="left", fontsize=10)
            axes.set_axis_off()
        bar = figure.colorbar(pictures[-1], ax=panels, shrink=0.9)
        bar.set_label("g(+x) − g(−x) (mS)")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def _guide(axes: Axes, run: Learning, places: np.ndarray, betas: np.ndarray, low: int, colour: str) -> None:
    """A thin line of slope `2m` through the error at the middle of the range that rounding leaves alone."""
    good = np.isfinite(run.errors) & (run.errors > 1e-6) & (run.errors < 1e-2)
    if not good.any():
        return
    middle = np.flatnonzero(good)[good.sum() // 2]
    line = np.log10(run.errors[middle]) + run.points * (places - np.log10(betas[middle]))
    shown = (line >= low) & (line <= 0)
    axes.plot(places[shown], line[shown], color=COLOURS[colour], linewidth=0.9, alpha=0.45, zorder=1)
    name = f"∝ β{power_of_ten(run.points)[2:]}"
    axes.annotate(
        name,
        (places[middle], line[middle]),
        xytext=(9, -5),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=9,
        color=COLOURS[colour],
    )


def _mosaic(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """Images `(n, h, w)` side by side, in rows of so many, with a seam of NaN between them."""
    count, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    whole = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, each in enumerate(images):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        whole[top : top + height, left : left + width] = each
    return whole


def _weights(conductances: np.ndarray, pixels: int) -> np.ndarray:
    return (conductances[:pixels] - conductances[pixels + 1 : 2 * pixels + 1]).T


def _preference(result: ResistorExperiment) -> np.ndarray:
    """How much each hidden node speaks for the second class rather than the first."""
    plus, minus = np.split(result.trained.output, 2, axis=1)
    return (plus - minus) @ np.linspace(-1, 1, plus.shape[1])


def _headline(result: ResistorExperiment) -> Markup:
    first, second = result.digits
    summary = (
        f"Digits {first} and {second} of scikit-learn's set · {result.train_samples} training, {result.test_samples} "
        f"test samples · {result.hidden} hidden nodes · nudge β = {result.beta:g}"
    )
    tiles = []
    for run in result.runs:
        tiles.append(tile(f"test accuracy, {run.points} nudges", f"{100 * run.test_accuracy:.1f} %", "last epoch"))
        tiles.append(tile(f"gradient error, {run.points} nudges", scientific(run.error), "relative, before training"))
    lead = element(
        "p",
        "A simulated circuit of conductances and diodes finds its own node voltages. It learns from them alone: they "
        "are read at rest under a few small currents, real ones, injected into the outputs in proportion to their "
        "error.",
    )
    return joined(
        [
            element("h1", "A resistor network that learns"),
            element("p", summary, class_="summary"),
            lead,
            element("dl", *tiles, class_="tiles"),
        ]
    )


def _error(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}" if value >= 0.1 else scientific(value)


def _exactness(result: ResistorExperiment) -> Markup:
    caption = (
        f"Relative error ‖g − g*‖/‖g*‖ of the mean gradient over {result.samples} test samples, before training; g* is "
        "exact, from the adjoint circuit. Thin lines: the slopes that theory says. More nudges are better by orders of "
        "magnitude, while the nudge is small; on the right it is so large that some sample has no stable voltages."
    )
    rows = [
        (f"{beta:.2g}", *(_error(float(run.errors[i])) for run in result.runs))
        for i, beta in list(enumerate(result.betas))[::2]
    ]
    numbers = table(("β", *(f"{run.points} nudges" for run in result.runs)), rows, class_="numbers")
    picture = inline_svg(gradient_error_figure(result), "error", "gradient error against the nudge")
    panels = element("div", panel(picture, caption), panel(numbers, "The same, every other nudge."), class_="panels")
    return section("gradient", "Gradient error against the nudge", panels)


def _learning(result: ResistorExperiment) -> Markup:
    caption = (
        "Share of test samples classified correctly after each epoch; the dotted line is 95 %. The lines lie close "
        "together where the gradients agree well enough for learning not to notice the difference."
    )
    rows = [
        (
            str(epoch + 1),
            *(f"{run.history[epoch]['train_loss']:.4f} / {run.history[epoch]['test_loss']:.4f}" for run in result.runs),
        )
        for epoch in range(len(result.runs[0].history))
    ]
    numbers = table(("epoch", *(f"{run.points} nudges" for run in result.runs)), rows, class_="numbers")
    picture = inline_svg(resistor_accuracy_figure(result), "accuracy", "test accuracy over the epochs")
    panels = element(
        "div",
        panel(picture, caption),
        panel(numbers, "Mean cost, half the squared error of the logits: training / test."),
        class_="panels",
    )
    return section("learning", "Learning", panels)


def _conductances(result: ResistorExperiment) -> Markup:
    first, second = result.digits
    caption = (
        "One square a hidden node: how much more it conducts to the line +x of a pixel than to the line −x. Blue: ink "
        f"on this pixel raises its voltage. Nodes are sorted by what they speak for after training, from {first} (top "
        f"left) to {second} (bottom right); the training with {result.runs[-1].points} nudges."
    )
    picture = inline_svg(conductance_figure(result), "conductances", "differences of input conductances")
    return section("conductances", "Conductances", element("div", panel(picture, caption, class_="wide")))

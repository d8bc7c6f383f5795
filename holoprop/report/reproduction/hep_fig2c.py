"""Pictures of `hep-fig2c`: four orbits, and the error of the gradient against the nudge."""

import numpy as np
from matplotlib.figure import Figure

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.drawing import COLOURS, decades_around, house_style, legend_above, new_axes, show_decades
from holoprop.report.reproduction.picture import Picture, hollow


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the orbits in the paper's arrangement, then the errors."""
    return [
        Picture(
            _orbits(outcome.arrays),
            "orbits",
            "orbits of one synapse at four nudges",
            "One synapse of fc_2 in float64: the product of its two activities on the circle, less that at rest, over "
            "|β| (circles), and the same turned back by the nudge's angle (squares). Their mean (×) is on the "
            "true gradient (+) for every nudge, also where the orbit is far from a circle.",
        ),
        Picture(
            _errors(outcome.arrays),
            "errors",
            "relative error against the nudge",
            "Relative error of all of fc_2; hollow: published. Small nudges magnify rounding, the largest comes near "
            "the radius of convergence. The one-point estimate is off by its bias, proportional to β.",
        ),
    ]


def _orbits(arrays: dict[str, np.ndarray]) -> Figure:
    orbits: np.ndarray = 1e3 * arrays["orbits"]
    unit = np.exp(2j * np.pi * np.arange(orbits.shape[1]) / orbits.shape[1])
    gradient = 1e3 * float(arrays["gradient"])
    with house_style():
        figure = Figure(figsize=(5.0, 5.4))
        panels = figure.subplots(2, 2).ravel()
        for axes, beta, orbit, mean in zip(panels, arrays["betas"], orbits, 1e3 * arrays["means"], strict=True):
            closed, turned = np.concatenate([orbit, orbit[:1]]), orbit * unit.conj()
            axes.plot(
                np.real(closed),
                np.imag(closed),
                "o-",
                color=COLOURS["blue"],
                markersize=3,
                linewidth=0.9,
                label="orbit",
            )
            axes.plot(
                turned.real,
                turned.imag,
                "s",
                color=COLOURS["vermilion"],
                markersize=3.5,
                label="turned back",
                zorder=3,
            )
            axes.plot(mean, 0, "x", color=COLOURS["ink"], markersize=10, markeredgewidth=1.6, label="mean", zorder=5)
            axes.plot(
                gradient,
                0,
                "+",
                color=COLOURS["green"],
                markersize=15,
                markeredgewidth=1.6,
                label="true gradient",
                zorder=4,
            )
            axes.set_title(f"|β| = {beta:g}", loc="left", fontsize=10)
            axes.set_aspect("equal", adjustable="datalim")
        for axes in panels[2:]:
            axes.set_xlabel("real part (10⁻³)")
        for axes in panels[::2]:
            axes.set_ylabel("imaginary part (10⁻³)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, columnspacing=1.2, handlelength=1.4)
    return figure


def _errors(arrays: dict[str, np.ndarray]) -> Figure:
    betas = np.log10(arrays["betas"])
    lines = (
        ("errors_one_point", "one point", "vermilion", "s"),
        ("errors_float32", "24 points, float32", "blue", "o"),
        ("errors_float64", "24 points, float64", "green", "^"),
    )
    with house_style():
        figure, axes = new_axes("nudge |β| (no unit)", "relative error of fc_2 (no unit)", height=4.4)
        drawn = np.concatenate([arrays[name] for name, *_ in lines])
        show_decades(axes, "x", *decades_around(arrays["betas"]))
        show_decades(axes, "y", *decades_around(drawn))
        for name, label, colour, marker in lines:
            axes.plot(betas, np.log10(arrays[name]), marker=marker, color=COLOURS[colour], label=label, clip_on=False)
        hollow(axes, betas, np.log10(arrays["published_errors"]), "blue", "o", "published")
        hollow(axes, betas, np.log10(arrays["published_one_point_errors"]), "vermilion", "s")
        legend_above(axes, columns=2)
    return figure

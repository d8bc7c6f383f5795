"""Neurons tracing their paths in the complex plane while the nudge goes around, and over time (P1, figure 2a)."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from holoprop.gradient.orbit import Orbit
from holoprop.report.drawing import COLOURS, house_style, legend_above, new_axes
from holoprop.report.wording import power_of_ten

_BETWEEN = 8
_LINES = (("blue", "-"), ("vermilion", "--"), ("green", "-."), ("pink", ":"))


def orbit_figure(orbit: Orbit, *, layer: int = 0, sample: int = 0) -> Figure:
    """Draw the paths of a layer's neurons, one sample of a batch, as `paths_figure` does."""
    return paths_figure(np.asarray(orbit.response[layer][:, sample]), layer=layer)


def trace_figure(orbit: Orbit, *, layer: int = 0, sample: int = 0) -> Figure:
    """Draw the real parts of a layer's neurons, one sample of a batch, as `traces_figure` does."""
    return traces_figure(np.asarray(orbit.response[layer][:, sample]), layer=layer)


def paths_figure(response: np.ndarray, *, layer: int = 0) -> Figure:
    """Draw the paths `Δσ_i(β)` of up to four neurons of a layer, those that move most; a dot where the turn begins.

    **Arguments:** `response`: `(points, *layer shape)` complex, `Δσ` in the order of the nudge's angle.
    """
    paths, names, exponent = _paths(response, layer)
    unit = power_of_ten(exponent)
    with house_style():
        figure, axes = new_axes(f"real part of Δσ ({unit})", f"imaginary part of Δσ ({unit})", height=4.5)
        for path, name, (colour, style) in zip(paths, names, _LINES, strict=False):
            closed = _continuous(path)
            axes.plot(np.real(closed), np.imag(closed), linestyle=style, color=COLOURS[colour], label=name)
            axes.plot(np.real(closed[:1]), np.imag(closed[:1]), marker="o", linestyle="", color=COLOURS[colour])
        axes.plot([0], [0], marker="+", markersize=8, linestyle="", color=COLOURS["ink"])
        axes.set_aspect("equal", adjustable="datalim")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        legend_above(axes, columns=2)
    return figure


def traces_figure(response: np.ndarray, *, layer: int = 0) -> Figure:
    """Draw the real parts of the same neurons over two periods of the nudge, at rest at each point of the circle."""
    paths, names, exponent = _paths(response, layer)
    with house_style():
        figure, axes = new_axes(
            "time (periods of the nudge)", f"real part of Δσ ({power_of_ten(exponent)})", height=4.5
        )
        for path, name, (colour, style) in zip(paths, names, _LINES, strict=False):
            turn = np.real(_continuous(path))
            twice = np.append(turn, turn[1:])
            time = np.linspace(0, 2, len(twice))
            axes.plot(time, twice, linestyle=style, color=COLOURS[colour], label=name)
        axes.set_xlim(0, 2)
        axes.set_xticks([0, 0.5, 1, 1.5, 2])
        legend_above(axes, columns=2)
    return figure


def _paths(response: np.ndarray, layer: int) -> tuple[list[np.ndarray], list[str], int]:
    """The paths `(neurons, points)` in units of the power of ten that is returned last, and the neurons' names."""
    response = response.reshape(len(response), -1).T.astype(np.complex128)
    sizes = np.where(np.isfinite(response).all(1), np.abs(response).max(1), -1)
    chosen = np.sort(np.argsort(-sizes, kind="stable")[: len(_LINES)])
    top = float(sizes[chosen].max())
    exponent = math.floor(math.log10(top)) if top > 0 else 0
    return (
        [response[i] / 10.0**exponent for i in chosen],
        [f"neuron {i} of layer {layer + 1}" for i in chosen],
        exponent,
    )


def _continuous(path: np.ndarray) -> np.ndarray:
    """The closed path with further points between its own, by its Fourier series, which is what the points know."""
    count = len(path)
    coefficients = np.fft.fft(path) / count
    frequencies = np.fft.fftfreq(count, 1 / count)
    turn = np.arange(count * _BETWEEN + 1) / (count * _BETWEEN)
    smooth = np.exp(2j * np.pi * turn[:, None] * frequencies) @ coefficients
    return smooth if np.isfinite(path).all() else np.append(path, path[:1])

"""The page of a stability map: one sample in the plane of nudges, its orbits, its spectrum. One file, nothing else."""

import math
from pathlib import Path

import numpy as np

from holoprop.experiments.beta_plane import BetaPlane
from holoprop.experiments.run_folder import write_text
from holoprop.gradient.certificate import OK_BELOW
from holoprop.report.drawing import inline_svg
from holoprop.report.frame import single_page, tile
from holoprop.report.markup import Markup, element, joined, panel, section, table
from holoprop.report.orbits import orbit_figure, trace_figure
from holoprop.report.spectrum import spectrum_figure
from holoprop.report.stability import stability_figure, steps_figure
from holoprop.report.wording import scientific
from holoprop.settling.rest import Status

_STATUS_WORDS = {
    Status.settled: "settled",
    Status.max_steps: "still moving after all steps",
    Status.two_cycle: "between two states, for ever",
    Status.diverged: "diverged",
    Status.not_applicable: "not judged",
}
_STEPPING = {
    "picard": "plain steps, all layers at once",
    "alternating": "plain steps, layers in turn",
    "anderson": "accelerated steps",
}


def write_map_page(result: BetaPlane, path: Path) -> Path:
    """Write the page of a map to `path`, and return it.

    **Raises:** `OSError` from the file system.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_map_page(result))
    return path


def render_map_page(result: BetaPlane) -> str:
    """Return the page of a map as HTML."""
    sections = [_plane(result), _orbits(result), _spectrum(result)]
    return single_page(f"Stability map {result.title}", _headline(result), sections)


def _headline(result: BetaPlane) -> Markup:
    limit, error = result.radius_of_convergence, float(result.orbit.spectrum.predicted_error[0])
    stable = float(result.plane.stable_radius[0])
    reach = f"|β| = {stable if math.isfinite(stable) else result.reach:.2g}"
    settled = 100 * float(result.plane.settled[0].mean())
    tiles = [
        ("circle of the estimate", f"r = {result.radius:.2g}", f"{result.points} points"),
        ("radius of convergence", f"{limit:.2g}" if math.isfinite(limit) else "unknown", "estimated from the circle"),
        ("predicted error", scientific(error), "of this sample's gradient, relative"),
        ("at rest below", reach, f"after {result.max_steps} steps, on this grid"),
        ("nudges at rest", f"{settled:.0f} %", f"of {result.plane.residual[0].size:,}".replace(",", "\u2009")),
    ]
    parts = [
        element("h1", f"Stability map of {result.title}" if result.title else "Stability map"),
        element("p", result.subject, class_="summary"),
        element(
            "p",
            "An estimate settles the network under complex nudges β on a circle. The circle must stay where the "
            "network comes to rest, and may not reach around a place where it does not.",
        ),
    ]
    if (warning := _warning(result)) is not None:
        parts.append(element("p", warning, class_="warning"))
    return joined([*parts, element("dl", *(tile(*each) for each in tiles), class_="tiles")])


def _warning(result: BetaPlane) -> str | None:
    if int(result.plane.free_status[0]) != Status.settled:
        return "The free state did not settle, so nothing on this page can be relied on."
    if result.radius > result.radius_of_convergence:
        return "The circle of the estimate lies outside the estimated radius of convergence: choose a smaller one."
    error = float(result.orbit.spectrum.predicted_error[0])
    if not error <= OK_BELOW:
        return f"The predicted error of the gradient is {scientific(error)}: too large to be of use."
    return None


def _plane(result: BetaPlane) -> Markup:
    caption = (
        f"Residual after up to {result.max_steps} {_STEPPING[result.solver]}, from the free rest state, for each "
        "nudge of the plane. Dark: at rest. Light: no rest state is reached; such lobes end near a singularity of the "
        "rest state, and the radius of convergence is the distance to the nearest one."
    )
    status, steps = result.plane.status[0], result.plane.steps[0]
    rows = []
    for value, words in _STATUS_WORDS.items():
        here = status == value
        if here.any():
            rows.append((words, f"{100 * here.mean():.1f} %", f"{np.median(steps[here]):.0f}"))
    numbers = table(("nudges", "share", "median steps"), rows, class_="numbers")
    picture = inline_svg(
        stability_figure(result.plane, result.radius, result.radius_of_convergence),
        "plane",
        "residual over the complex plane of nudges",
    )
    pace = (
        "Steps that were taken at each nudge. They grow towards the edge of the stable area; a nudge found to jump "
        "between two states for ever is given up early."
    )
    duration = inline_svg(
        steps_figure(result.plane, result.radius, result.radius_of_convergence), "steps", "steps taken at each nudge"
    )
    panels = element(
        "div",
        panel(picture, caption),
        panel(duration, pace),
        panel(numbers, "What became of the nudges."),
        class_="panels",
    )
    return section("plane", "Stability over the plane of nudges", panels)


def _orbits(result: BetaPlane) -> Markup:
    count = result.fine.betas.shape[0]
    path = (
        f"Change of activity against the free state while the nudge goes once around the circle of r = "
        f"{result.radius:.2g}, in {count} points: the neurons of the first layer that move most. The dot is β = r. "
        "Close to a circle: the response is nearly linear; bent: higher harmonics."
    )
    time = (
        "Real parts of the same neurons over two turns of the nudge, turning slowly enough for the network to be at "
        "rest all the time. The first Fourier coefficient of these oscillations is what the gradient is read from."
    )
    panels = element(
        "div",
        panel(inline_svg(orbit_figure(result.fine), "orbits", "paths of neurons in the complex plane"), path),
        panel(inline_svg(trace_figure(result.fine), "traces", "real parts of neurons over two periods"), time),
        class_="panels",
    )
    return section("orbits", "Orbits of neurons", panels)


def _spectrum(result: BetaPlane) -> Markup:
    spectrum, points = result.orbit.spectrum, result.points
    count = result.fine.betas.shape[0]
    caption = (
        f"Size of the Fourier coefficients of the state on the circle, relative to the first. The estimate sees "
        f"{points} of them (blue) and the shift of the mean, which is the next one folded back; from these it predicts "
        f"the coefficient {points + 1} (diamond), which is the aliasing error. Grey: what {count} points see. Nothing "
        "is known below the dashed line."
    )
    rows = [
        ("aliasing", scientific(float(spectrum.aliasing[0]))),
        ("solver tolerance and rounding", scientific(float(spectrum.tolerance[0]))),
        ("noise", scientific(float(spectrum.noise[0]))),
        ("together", scientific(float(spectrum.predicted_error[0]))),
    ]
    numbers = table(("predicted relative error", "of this sample's gradient"), rows, class_="numbers total-last")
    picture = inline_svg(spectrum_figure(spectrum, result.fine.spectrum), "spectrum", "spectrum of the states")
    panels = element(
        "div", panel(picture, caption), panel(numbers, "What the certificate makes of it."), class_="panels"
    )
    return section("spectrum", "Spectrum on the circle", panels)

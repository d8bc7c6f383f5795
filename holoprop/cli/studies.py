"""Commands that study something and draw it: map, resistor; and whom to cite."""

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from holoprop.cli.options import Overrides, SourceOrRun, config_or_run
from holoprop.cli.output import check_place, print_table

app = typer.Typer()


@app.command()
def resistor(
    points: Annotated[int, typer.Option(help="Nudges of the larger stencil, even; the smaller one has 2.")] = 4,
    beta: Annotated[float, typer.Option(help="The largest nudge in training.")] = 0.03,
    epochs: Annotated[int, typer.Option(help="Epochs of training.")] = 10,
    folder: Annotated[Path, typer.Option(help="Where the page goes, in a folder resistor.")] = Path("runs"),
) -> None:
    """Train a simulated resistor network from real nudges alone, and measure how exact its gradients are."""
    from holoprop.experiments.resistor_learning import run_resistor
    from holoprop.report.resistor import write_resistor_page
    from holoprop.train.metrics import percent

    check_place(folder)
    result = run_resistor(
        sorted({2, points}), beta=beta, epochs=epochs, progress=lambda text: print(text, file=sys.stderr)
    )
    names = tuple(f"Stencil({run.points})" for run in result.runs)
    print("relative error of the gradient against the exact one")
    errors = zip(result.betas.tolist(), *(run.errors.tolist() for run in result.runs), strict=True)
    rows = [(f"{nudge:.3g}", *("unstable" if e != e else f"{e:.1e}" for e in each)) for nudge, *each in errors]
    print_table(("β", *names), rows[::2])
    for name, run in zip(names, result.runs, strict=True):
        print(f"{name}: test accuracy {percent(run.test_accuracy)}, gradient error {run.error:.1e} at β = {beta:g}")
    print(f"page {write_resistor_page(result, folder / 'resistor' / 'resistor.html')}")


@app.command("map")
def map_command(
    source: SourceOrRun,
    overrides: Overrides = None,
    sample: Annotated[int, typer.Option(help="Which test sample, from 0.")] = 0,
    extent: Annotated[
        float | None, typer.Option(help="The map spans ± this; default: about twice the radius of convergence.")
    ] = None,
    resolution: Annotated[int, typer.Option(help="Nudges along each side; odd numbers have the axes.")] = 81,
    points: Annotated[int | None, typer.Option(help="Points of the circle; default: the estimator's.")] = None,
    radius: Annotated[float | None, typer.Option(help="Its radius; default: the estimator's, or automatic.")] = None,
    solver: Annotated[str, typer.Option(help="picard (plain steps), alternating or anderson.")] = "picard",
    steps: Annotated[int, typer.Option(help="Steps at most, for each nudge.")] = 200,
    folder: Annotated[
        Path | None, typer.Option(help="Where the page goes; default: the run, or runs/NAME-map.")
    ] = None,
) -> None:
    """Draw where in the complex plane of nudges the network comes to rest, its orbits and its spectrum."""
    from holoprop.experiments.beta_plane import map_config
    from holoprop.report.map_page import write_map_page

    config, run = config_or_run(source, overrides)
    place = check_place(folder or run or Path("runs") / f"{config.name}-map")
    if resolution < 2:
        raise ValueError(f"--resolution must be at least 2, got {resolution}")
    result = map_config(
        config,
        sample=sample,
        folder=run,
        points=points,
        radius=radius,
        extent=extent,
        resolution=resolution,
        solver=solver,
        max_steps=steps,
    )
    print(f"network                {'trained' if run else 'at its initial weights'}")
    print(f"circle                 r = {result.radius:.3g}, {result.points} points")
    limit = result.radius_of_convergence
    told = "not seen: the circle is too small for its higher harmonics, pass a larger --radius"
    print(f"radius of convergence  {f'{limit:.3g} (estimated)' if math.isfinite(limit) else told}")
    print(
        f"nudges at rest         {100 * result.plane.settled[0].mean():.1f} %, all of them below |β| = "
        f"{min(result.plane.stable_radius[0], result.reach):.3g}"
    )
    print(f"page                   {write_map_page(result, place / f'map-{sample}.html')}")


@app.command()
def cite(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[PRESET|FILE.toml|RUN]", help="What to cite for; default: the package as a whole."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Print the BibTeX of the methods that a preset, a file or a run uses."""
    from holoprop.bibliography import citation

    if source is None:
        print(citation())
        return
    from holoprop.data.registry import find_source
    from holoprop.experiments.building import build_estimator, build_network

    config, _ = config_or_run(source, overrides)
    # The shape of the data is known without them.
    print(
        citation(build_network(config, find_source(config.data.name).image_shape, 2), build_estimator(config.estimator))
    )

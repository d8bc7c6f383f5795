"""Commands that study something and draw it: reproduce, map, resistor; and whom to cite."""

import functools
import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from holoprop.cli.options import Overrides, SourceOrRun, config_or_run
from holoprop.cli.output import check_place, complain, print_table

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


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="NAME|all", help="An experiment, or all of them.")] = None,
    scale: Annotated[str, typer.Option(help="smoke (seconds), small (minutes) or paper (as published).")] = "small",
    folder: Annotated[Path, typer.Option(help="Where outcomes go, in a folder reproduce.")] = Path("runs"),
    seed: Annotated[
        int | None, typer.Option(help="Of what is drawn at random, the first of several; default: the experiment's.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="So many for each row of a table; default: as many as the scale has.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Training runs at a time, where one experiment has several; default: one for each CPU core."),
    ] = None,
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Keep claims and tables in reproduction/ of this folder, and write its reproduction.md anew."
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show what there is, and what each needs.")] = False,
) -> None:
    """Run a published experiment, check it against the expected outcome, and draw its figure.

    Interrupted, it goes on where it stopped when the same command is given again: runs that are done are kept.
    """
    from holoprop.experiments.reproduce.registry import EXPERIMENTS, SKIPPED, find_experiment

    if listed or name is None:
        rows = [
            (
                each.name,
                each.title,
                each.data or "–",
                f"{each.memory:g}",
                *(f"{minutes:g}" for minutes in each.minutes.values()),
            )
            for each in EXPERIMENTS
        ]
        print_table(("experiment", "what it shows", "data", "GiB a worker", "smoke", "small", "paper (minutes)"), rows)
        print(f"skipped: {SKIPPED}")
        return
    chosen = EXPERIMENTS if name == "all" else (find_experiment(name),)
    check_place(folder)
    if docs is not None:
        check_place(docs)
    counts = {"reproduced": 0, "failed": 0, "not ended": 0, "data absent": 0}
    alone = name != "all"
    for experiment in chosen:
        own, several = seed if experiment.draws or alone else None, seeds if experiment.several or alone else None
        counts[_reproduce(experiment.name, scale, folder, own, several, workers, docs, alone=alone)] += 1
    if not alone:
        print(", ".join(f"{count} {word}" for word, count in counts.items() if count or word != "not ended"))
    if counts["failed"] or counts["not ended"]:
        raise typer.Exit(1)


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


def _tell(name: str, text: str) -> None:
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def _workers() -> int:
    """As many as there are cores; an accelerator does one thing at a time."""
    import jax

    from holoprop.experiments.cores import available_cores

    return available_cores() if jax.default_backend() == "cpu" else 1


def _reproduce(
    name: str,
    scale: str,
    folder: Path,
    seed: int | None,
    seeds: int | None,
    workers: int | None,
    docs: Path | None,
    *,
    alone: bool,
) -> str:
    """Run one experiment, print its claims, and return how it ended."""
    from holoprop.data.dataset import DataError
    from holoprop.experiments.reproduce.registry import run_experiment
    from holoprop.experiments.reproduce.storing import (
        parts_folder,
        read_records,
        remove_parts,
        write_outcome,
        write_record,
    )
    from holoprop.experiments.run_folder import write_text
    from holoprop.report.reproduction.page import number, write_outcome_page
    from holoprop.report.reproduction.summary import render_summary, write_index
    from holoprop.train.interrupt import StoppedError

    place = folder / "reproduce" / scale / name
    try:
        outcome = run_experiment(
            name,
            scale,
            seed=seed,
            seeds=seeds,
            progress=functools.partial(_tell, name),
            folder=parts_folder(place, seed),
            workers=_workers() if workers is None else workers,
        )
    except StoppedError as stop:
        word = "what is done is kept, the same command goes on from there"
        raise typer.Exit(complain(f"{name}: {stop}; {word}", 0)) from None
    except DataError as error:
        absent = f"{name}: data absent: {error}"
        if alone:
            raise typer.Exit(complain(absent, 2)) from None
        print(absent)
        return "data absent"
    except ChildProcessError as error:
        if alone:
            raise
        # What else there is can still be run.
        print(f"{name}: not ended: {error}")
        return "not ended"
    print(f"{name} ({scale}, {outcome.seconds:.0f} s)")
    for claim in outcome.claims:
        verdict = "pass" if claim.holds else "FAIL"
        print(f"{verdict}  {claim.text}: {number(claim.value)} {claim.relation} {number(claim.limit)}")
    write_outcome(place, outcome)
    print(f"page  {write_outcome_page(outcome, place / f'{name}.html')}")
    remove_parts(place, seed)
    if docs is not None:
        write_record(docs / "reproduction", outcome)
        text = render_summary(read_records((docs / "reproduction").glob("*.json")))
        write_text(docs / "reproduction.md", text)
        print(f"docs  {docs / 'reproduction.md'}")
    damaged = functools.partial(_tell, "left out of the index")
    write_index(
        read_records((folder / "reproduce").glob("*/*/outcome.json"), damaged), folder / "reproduce" / "index.html"
    )
    return "reproduced" if outcome.reproduced else "failed"

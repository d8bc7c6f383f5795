"""The command `sweep`: many runs of one configuration over a grid of its keys."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holoprop.cli.options import Overrides, Source
from holoprop.cli.output import check_place, complain, print_table

if TYPE_CHECKING:
    from holoprop.experiments.sweep.engine import Engine
    from holoprop.experiments.sweep.table import Row, SweepResults

app = typer.Typer()


@app.command()
def sweep(
    source: Source,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid", metavar="KEY=A,B,C", help="Values of a key; given many times, all combinations are run."
        ),
    ] = None,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="The sweep's name; default: that of the source and -sweep.")] = None,
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    workers: Annotated[
        int | None, typer.Option(help="Trials at a time on this machine; default: one for each core.")
    ] = None,
    retries: Annotated[int, typer.Option(help="How often a trial whose worker died is started again.")] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Run what is missing of the sweep that is there.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sweep that is there.")] = False,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS|local", help="Run on a Ray cluster, or start Ray on this machine.")
    ] = None,
    cpus: Annotated[float | None, typer.Option(help="CPU cores of each trial, with --ray; default: 1.")] = None,
    gpus: Annotated[float | None, typer.Option(help="GPUs of each trial, with --ray; default: none.")] = None,
) -> None:
    """Run a configuration at every point of a grid, and compare the results in a table and a page."""
    from holoprop.experiments.run_folder import RunFolderError
    from holoprop.experiments.sweep.running import run_sweep
    from holoprop.report.page import write_report
    from holoprop.report.sweep import write_sweep_page

    engine = _engine(ray, workers, cpus, gpus)
    place = _place(folder, name, source)
    try:
        results = run_sweep(
            source,
            grid or (),
            place,
            engine=engine,
            overrides=overrides or (),
            retries=retries,
            resume=resume,
            overwrite=overwrite,
            progress=lambda text: print(text, file=sys.stderr, flush=True),
            finished=write_report,
        )
    except KeyboardInterrupt:
        raise typer.Exit(complain(_interrupted(place), 130)) from None
    except RunFolderError as error:
        options = " (--resume, --overwrite or --name)" if not (resume or overwrite) and place.is_dir() else ""
        raise RunFolderError(f"{error}{options}") from None
    for row in results.rows:
        trial = place / "trials" / row.trial
        if row.state == "done" and not (trial / "report.html").is_file():
            write_report(trial)  # the sweep was stopped just before
    _print(results)
    for row in results.rows:
        if row.reason is not None:
            print(f"{row.trial}: {row.reason}")
    print(f"table  {place / 'results.parquet'}")
    print(f"page   {write_sweep_page(place)}")
    if failed := results.count("failed"):
        raise typer.Exit(complain(f"{failed} of {len(results.rows)} trials failed; --resume tries them again", 1))


def _engine(ray: str | None, workers: int | None, cpus: float | None, gpus: float | None) -> "Engine":
    if ray is None:
        from holoprop.experiments.sweep.local import LocalEngine

        for option, value in (("--cpus", cpus), ("--gpus", gpus)):
            if value is not None:
                raise ValueError(f"{option} is what a trial takes of a Ray cluster: give --ray too, or leave it out")
        return LocalEngine(workers)
    from holoprop.experiments.sweep.ray_cluster import RayEngine

    if workers is not None:
        raise ValueError(
            "--workers is of this machine alone, Ray runs as many trials as its nodes have room for: "
            "leave it out, or say by --cpus what each takes"
        )
    return RayEngine(ray, cpus=1.0 if cpus is None else cpus, gpus=gpus or 0.0)


def _place(folder: Path, name: str | None, source: str) -> Path:
    if name is None:
        stem = Path(source).stem if source.endswith(".toml") else source
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', stem).strip('._-') or 'run'}-sweep"
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"--name must be of letters, digits, '.', '_' and '-' and begin with a letter or digit, got {name!r}"
        )
    return check_place(folder) / name


def _interrupted(place: Path) -> str:
    from holoprop.experiments.run_folder import RunFolderError
    from holoprop.experiments.sweep.table import read_results
    from holoprop.report.sweep import write_sweep_page

    try:
        results = read_results(place)
        write_sweep_page(place)
    except RunFolderError:
        return "interrupted; nothing was run yet"
    done = f"{results.count('done')} of {len(results.rows)} trials are done"
    return f"interrupted; {done}, the same command with --resume runs the rest"


def _print(results: "SweepResults") -> None:
    best = results.best
    keys = [key.partition(".")[2] for key in results.keys]
    rows = [(*_cells(results, row), "best" if row is best else "") for row in results.rows]
    print_table(("trial", *keys, "best", "in epoch", "last", "state", ""), rows)


def _cells(results: "SweepResults", row: "Row") -> tuple[str, ...]:
    from holoprop.train.metrics import percent

    values = [str(row.point[key]) for key in results.keys]
    number = row.trial.partition("-")[0]
    if row.result is None:
        return (number, *values, "–", "–", "–", row.state)
    result = row.result
    tested = percent(result.best_test_accuracy), str(result.best_epoch), percent(result.test_accuracy)
    return (number, *values, *tested, row.state)

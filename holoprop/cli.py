"""The command line: every command reads its arguments, calls one function of the package and prints what it returns.

What a person can cause ends in one line on standard error and exit status 2, never in a traceback; an interrupt in 130.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="holoprop",
    help="Train settling networks by holomorphic equilibrium propagation, and see how exact their gradients are.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="List, download and verify data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

Source = Annotated[str, typer.Argument(metavar="PRESET|FILE.toml", help="A preset's name or a path ending in .toml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key, e.g. training.epochs=3; may be given many times."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments` (default: those of the process) and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show ≥ or × is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = typer.main.get_command(app)(args=arguments, prog_name="holoprop", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = _complain("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has had enough; a second complaint at shutdown would help nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            sys.exit(2)
        line = _one_line(error)
        if line is None or os.environ.get("HOLOPROP_TRACEBACK"):
            raise
        status = _complain(line, 2)
    sys.exit(status if isinstance(status, int) else 0)


@app.command()
def train(
    source: Source,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: that of the preset or file.")] = None,
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run from its checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")] = False,
) -> None:
    """Train a network, check its gradient, and write a report."""
    from holoprop.experiments.display import training_display
    from holoprop.experiments.run_folder import RunFolderError
    from holoprop.experiments.sources import load_config
    from holoprop.experiments.training import run_training

    config = load_config(source, overrides or (), name=name)
    place = folder / config.name
    try:
        result = run_training(config, place, resume=resume, overwrite=overwrite, progress=training_display())
    except KeyboardInterrupt:
        kept = (place / "checkpoint.eqx").is_file()
        hint = "the same command with --resume continues it" if kept else "nothing was trained yet"
        raise typer.Exit(_complain(f"interrupted; {hint}", 130)) from None
    except RunFolderError as error:
        options = " (--resume, --overwrite or --name)" if not (resume or overwrite) and place.is_dir() else ""
        raise RunFolderError(f"{error}{options}") from None
    from holoprop.report.page import write_report
    from holoprop.train.metrics import percent

    best = result.best_epoch
    highest = f"best {percent(best['test_accuracy'])} in epoch {best['epoch']}"
    print(f"test accuracy       {percent(result.test_accuracy)} ({highest})")
    print(f"cosine to Implicit  {_agreement(result.gradient_check)}")
    print(f"training            {result.seconds:.1f} s for {len(result.fit.history)} epochs")
    print(f"report              {write_report(place)}")


@app.command("check-gradient")
def check_gradient_command(
    source: Annotated[
        str,
        typer.Argument(metavar="PRESET|FILE.toml|RUN", help="A preset, a .toml file, or the folder of a trained run."),
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
    samples: Annotated[int, typer.Option(help="Test samples to compare on.")] = 20,
) -> None:
    """Compare the gradient of a preset, a file or a trained run with the exact one."""
    from holoprop.experiments.gradient_check import check_gradient
    from holoprop.experiments.run_folder import read_run_config
    from holoprop.experiments.sources import override, parse_override

    folder = Path(source) if Path(source).is_dir() else None
    if folder is None:
        from holoprop.experiments.sources import load_config

        config = load_config(source, overrides or ())
    else:
        from holoprop.experiments.config import parse_config

        tree = read_run_config(folder).model_dump(mode="json", exclude_none=True)
        config = parse_config(override(tree, [parse_override(text) for text in overrides or ()]))
    check = check_gradient(config, samples=samples, folder=folder)
    if as_json:
        print(_to_json(check))
        return
    print(f"{check['estimator']} against Implicit, {check['samples']} test samples")
    _print_table(
        ("gradient of", "cosine", "relative error"),
        [(name, _number(row["cosine"], ".9f"), _number(row["relative_error"], ".2e")) for name, row in _rows(check)],
    )
    print(f"certificate: {check['certificate']['text']}")


@app.command()
def presets() -> None:
    """List the presets."""
    from holoprop.experiments.sources import list_presets

    _print_table(("preset", "what it is"), [tuple(preset) for preset in list_presets()])


@app.command()
def show(source: Source, overrides: Overrides = None) -> None:
    """Print a configuration as it would be run, all defaults filled in."""
    from holoprop.experiments.sources import load_config

    print(load_config(source, overrides or ()).to_toml(), end="")


@app.command()
def schema() -> None:
    """Print the JSON schema of configurations, for editors."""
    from holoprop.experiments.config import Config

    print(_to_json(Config.model_json_schema()))


@app.command()
def bench(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Run this one; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed side by side with the published schedule."""
    from holoprop.bench import render_rows, run_benchmarks

    rows = run_benchmarks(only or None, progress=lambda text: print(text, file=sys.stderr))
    print(_to_json(rows) if as_json else render_rows(rows))


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

    result = run_resistor(
        sorted({2, points}), beta=beta, epochs=epochs, progress=lambda text: print(text, file=sys.stderr)
    )
    names = tuple(f"Stencil({run.points})" for run in result.runs)
    print("relative error of the gradient against the exact one")
    errors = zip(result.betas.tolist(), *(run.errors.tolist() for run in result.runs), strict=True)
    rows = [(f"{nudge:.3g}", *("unstable" if e != e else f"{e:.1e}" for e in each)) for nudge, *each in errors]
    _print_table(("β", *names), rows[::2])
    for name, run in zip(names, result.runs, strict=True):
        print(f"{name}: test accuracy {percent(run.test_accuracy)}, gradient error {run.error:.1e} at β = {beta:g}")
    print(f"page {write_resistor_page(result, folder / 'resistor' / 'resistor.html')}")


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="NAME|all", help="An experiment, or all of them.")] = None,
    scale: Annotated[str, typer.Option(help="smoke (seconds), small (minutes) or paper (as published).")] = "small",
    folder: Annotated[Path, typer.Option(help="Where outcomes go, in a folder reproduce.")] = Path("runs"),
    seed: Annotated[int | None, typer.Option(help="Of what is drawn at random; default: the experiment's own.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show what there is, and what each needs.")] = False,
) -> None:
    """Run a published experiment, check it against the expected outcome, and draw its figure."""
    from holoprop.experiments.reproduce.registry import EXPERIMENTS, find_experiment

    if listed or name is None:
        rows = [
            (each.name, each.title, each.data or "–", *(f"{minutes:g}" for minutes in each.minutes.values()))
            for each in EXPERIMENTS
        ]
        _print_table(("experiment", "what it shows", "data", "smoke", "small", "paper (minutes)"), rows)
        return
    chosen = EXPERIMENTS if name == "all" else (find_experiment(name),)
    counts = {"reproduced": 0, "failed": 0, "data absent": 0}
    for experiment in chosen:
        counts[_reproduce(experiment.name, scale, folder, seed, alone=name != "all")] += 1
    if name == "all":
        print(", ".join(f"{count} {word}" for word, count in counts.items()))
    if counts["failed"]:
        raise typer.Exit(1)


@app.command("map")
def map_command(
    source: Annotated[
        str,
        typer.Argument(metavar="PRESET|FILE.toml|RUN", help="A preset, a .toml file, or the folder of a trained run."),
    ],
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

    config, run = _config_or_run(source, overrides)
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
    place = folder or run or Path("runs") / f"{config.name}-map"
    print(f"circle                 r = {result.radius:.3g}, {result.points} points")
    print(f"radius of convergence  {result.radius_of_convergence:.3g} (estimated)")
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
    from holoprop.experiments.building import build_estimator, build_network

    config, _ = _config_or_run(source, overrides)
    # How many inputs and classes there are is nothing to cite, and needs no data.
    print(citation(build_network(config, 1, 2), build_estimator(config.estimator)))


@app.command()
def version() -> None:
    """Print the versions of holoprop and of what it computes with."""
    from holoprop.experiments.run_folder import describe_environment

    for key, value in describe_environment().items():
        print(f"{key:10} {value}")


@data_app.command("list")
def list_data() -> None:
    """List the data sets and where their files are."""
    from holoprop.data.cache import available_datasets

    rows = [
        (
            each.source.name,
            each.source.title,
            str(each.source.train),
            str(each.source.test),
            each.source.licence,
            each.place,
        )
        for each in available_datasets()
    ]
    _print_table(("name", "title", "train", "test", "licence", "place"), rows)


@data_app.command("fetch")
def fetch_data(names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of data sets.")]) -> None:
    """Download data sets that are not on this machine yet."""
    from holoprop.data.cache import fetch_dataset
    from holoprop.data.registry import find_source

    for name in names:
        find_source(name)
    for name in names:
        with _download_bar() as progress:
            files = fetch_dataset(name, progress=progress)
        for path in files.values():
            print(path)
        if not files:
            print(f"{name} is built in: there is nothing to download")


@data_app.command("verify")
def verify_data(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Names of data sets; default: all here.")
    ] = None,
) -> None:
    """Compare the files of data sets with their published checksums."""
    from holoprop.data.cache import available_datasets, verify_dataset

    here = [each.source.name for each in available_datasets() if each.place != "not downloaded"]
    checks = [(name, check) for name in names or here for check in verify_dataset(name)]
    for name, check in checks:
        print(f"{'ok ' if check.ok else 'BAD'} {name}/{check.file}: {check.message}")
    bad = [f"{name}/{check.file}" for name, check in checks if not check.ok]
    if bad:
        raise typer.Exit(_complain(f"{len(bad)} of {len(checks)} files are missing or wrong: {', '.join(bad)}", 2))


@contextlib.contextmanager
def _download_bar() -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        tasks: dict[str, Any] = {}

        def progress(file: str, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
            bar.update(tasks[file], completed=done)

        yield progress


def _reproduce(name: str, scale: str, folder: Path, seed: int | None, *, alone: bool) -> str:
    """Run one experiment, print its claims, and return how it ended."""
    from holoprop.data.dataset import DataError
    from holoprop.experiments.reproduce.registry import run_experiment
    from holoprop.experiments.reproduce.storing import write_outcome
    from holoprop.report.reproduction.page import number, write_outcome_page

    try:
        outcome = run_experiment(
            name, scale, seed=seed, progress=lambda text: print(f"{name}: {text}", file=sys.stderr, flush=True)
        )
    except DataError as error:
        if alone:
            raise
        print(f"{name}: data absent: {error}")
        return "data absent"
    print(f"{name} ({scale}, {outcome.seconds:.0f} s)")
    for claim in outcome.claims:
        verdict = "pass" if claim.holds else "FAIL"
        print(f"{verdict}  {claim.text}: {number(claim.value)} {claim.relation} {number(claim.limit)}")
    place = folder / "reproduce" / scale / name
    write_outcome(place, outcome)
    print(f"page  {write_outcome_page(outcome, place / f'{name}.html')}")
    return "reproduced" if outcome.reproduced else "failed"


def _one_line(error: Exception) -> str | None:
    """What to tell the person who caused `error`; `None` if it is a fault of ours."""
    text = " ".join(str(error).split())
    if explain := getattr(error, "format_message", None):  # typer's own: a missing argument, an unknown option
        return f"{' '.join(explain().split())} (holoprop --help)"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or text or type(error).__name__}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return "out of memory: choose a smaller network, fewer points or a smaller batch"
    if isinstance(error, ValueError) or type(error).__name__ in ("TrainingError", "UnsettledError"):
        return text or type(error).__name__
    if isinstance(error, RuntimeError) and "initialize backend" in text:
        return f"JAX finds no such device: {text}"
    return None


def _config_or_run(source: str, overrides: Overrides) -> tuple[Any, Path | None]:
    """The configuration of a preset, a file or a run, and the run's folder if it is one."""
    from holoprop.experiments.sources import load_config, override, parse_override

    folder = Path(source) if Path(source).is_dir() else None
    if folder is None:
        return load_config(source, overrides or ()), None
    from holoprop.experiments.config import parse_config
    from holoprop.experiments.run_folder import read_run_config

    tree = read_run_config(folder).model_dump(mode="json", exclude_none=True)
    return parse_config(override(tree, [parse_override(text) for text in overrides or ()])), folder


def _complain(line: str, status: int) -> int:
    print(f"holoprop: {line}", file=sys.stderr)
    return status


def _print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _to_json(value: Any) -> str:
    from holoprop.experiments.run_folder import to_json

    return to_json(value)


def _agreement(check: dict[str, Any]) -> str:
    total = check["total"]
    if total["cosine"] is None:
        return "unknown: no sample settled"
    return f"{total['cosine']:.7f} (relative error {total['relative_error']:.1e}, {check['samples']} test samples)"


def _rows(check: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each layer, under it its parameters, and the total."""
    rows = []
    for layer in check["layers"]:
        rows.append((layer["name"], layer))
        begins = f"{layer['name']}."
        rows += [(f"  {each['name']}", each) for each in check["parameters"] if each["name"].startswith(begins)]
    return [*rows, ("total", check["total"])]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


if __name__ == "__main__":
    main()

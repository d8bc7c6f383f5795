"""Commands about runs: train, check, show, measure."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from holoprop.cli.options import AsJson, Overrides, Source, SourceOrRun, config_or_run
from holoprop.cli.output import complain, print_json, print_table

app = typer.Typer()


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
        raise typer.Exit(complain(f"interrupted; {hint}", 130)) from None
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
    source: SourceOrRun,
    overrides: Overrides = None,
    as_json: AsJson = False,
    samples: Annotated[int, typer.Option(help="Test samples to compare on.")] = 20,
) -> None:
    """Compare the gradient of a preset, a file or a trained run with the exact one."""
    from holoprop.experiments.gradient_check import check_gradient

    config, folder = config_or_run(source, overrides)
    check = check_gradient(config, samples=samples, folder=folder)
    if as_json:
        print_json(check)
        return
    print(f"{check['estimator']} against Implicit, {check['samples']} test samples")
    print_table(
        ("gradient of", "cosine", "relative error"),
        [(name, _number(row["cosine"], ".9f"), _number(row["relative_error"], ".2e")) for name, row in _rows(check)],
    )
    print(f"certificate: {check['certificate']['text']}")


@app.command()
def presets() -> None:
    """List the presets."""
    from holoprop.experiments.sources import list_presets

    print_table(("preset", "what it is"), [tuple(preset) for preset in list_presets()])


@app.command()
def show(source: Source, overrides: Overrides = None) -> None:
    """Print a configuration as it would be run, all defaults filled in."""
    from holoprop.experiments.sources import load_config

    print(load_config(source, overrides or ()).to_toml(), end="")


@app.command()
def schema() -> None:
    """Print the JSON schema of configurations, for editors."""
    from holoprop.experiments.config import Config

    print_json(Config.model_json_schema())


@app.command()
def bench(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Run this one; may be repeated.")
    ] = None,
    growth: Annotated[
        bool, typer.Option("--growth", help="Measure how a step's cost grows with batch, depth, width and N instead.")
    ] = False,
    throughput: Annotated[
        bool, typer.Option("--throughput", help="Measure samples per second at P1's size and batch instead.")
    ] = False,
    batch: Annotated[int | None, typer.Option(help="Samples a step, with --throughput; default: P1's 128.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed side by side with the published schedule."""
    from holoprop import bench

    own = [name for name, chosen in (("--growth", growth), ("--throughput", throughput)) if chosen]
    if own and only:
        raise ValueError(f"{own[0]} measures a network of its own: leave out --only")
    if len(own) > 1:
        raise ValueError(f"{' and '.join(own)} are two measurements: choose one")
    if batch is not None and not throughput:
        raise ValueError("--batch is of --throughput, other benchmarks have batches of their own: leave it out")
    if batch is not None and batch < 1:
        raise ValueError(f"--batch must be at least 1, got {batch}")

    def progress(text: str) -> None:
        print(text, file=sys.stderr)

    if growth:
        rows = bench.run_growth(progress=progress)
        text = bench.render_growth(rows)
    elif throughput:
        setting = bench.Throughput() if batch is None else bench.Throughput(batch=batch)
        rows = bench.run_throughput(setting, progress=progress)
        text = bench.render_throughput(rows)
    else:
        rows = bench.run_benchmarks(only or None, progress=progress)
        text = bench.render_rows(rows)
    if as_json:
        print_json(rows)
    else:
        print(text)


@app.command()
def version() -> None:
    """Print the versions of holoprop and of what it computes with."""
    from holoprop.experiments.run_folder import describe_environment

    for key, value in describe_environment().items():
        print(f"{key:10} {value}")


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

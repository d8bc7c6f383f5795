"""Commands about presets and runs: check, show, measure."""

import sys
from typing import Annotated, Any

import typer

from holoprop.cli.options import AsJson, Overrides, Source, SourceOrRun, config_or_run
from holoprop.cli.output import print_json, print_table

app = typer.Typer()


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
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="Measure how fast batches are read, against the training step, instead.")
    ] = False,
    batch: Annotated[int | None, typer.Option(help="Samples a step, with --throughput; default: P1's 128.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed side by side with the published schedule."""
    from holoprop import bench

    own = [
        name
        for name, chosen in (("--growth", growth), ("--throughput", throughput), ("--pipeline", pipeline))
        if chosen
    ]
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
    elif pipeline:
        rows = bench.run_pipeline(progress=progress)
        text = bench.render_pipeline(rows)
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
    from holoprop.experiments.environment import describe_environment

    for key, value in describe_environment().items():
        print(f"{key:10} {value}")


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

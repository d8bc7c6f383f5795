"""Arguments and options that several commands share, and what a source names."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holoprop.experiments.config import Config

Source = Annotated[str, typer.Argument(metavar="PRESET|FILE.toml", help="A preset's name or a path ending in .toml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key, e.g. training.epochs=3; may be given many times."),
]
SourceOrRun = Annotated[
    str, typer.Argument(metavar="PRESET|FILE.toml|RUN", help="A preset, a .toml file, or the folder of a trained run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def config_or_run(source: str, overrides: Overrides) -> "tuple[Config, Path | None]":
    """Return the configuration of a preset, a file or a run, and the run's folder if it is one."""
    from holoprop.experiments.sources import load_config, override, parse_override

    folder = Path(source) if Path(source).is_dir() else None
    if folder is None:
        return load_config(source, overrides or ()), None
    from holoprop.experiments.config import parse_config
    from holoprop.experiments.run_folder import read_run_config

    tree = read_run_config(folder).model_dump(mode="json", exclude_none=True)
    return parse_config(override(tree, [parse_override(text) for text in overrides or ()])), folder

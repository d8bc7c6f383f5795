"""Commands about data sets: `holoprop data list`, `fetch`, `verify`, `convert`, `synthesise`."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from holoprop.cli.output import complain, print_table

app = typer.Typer(
    help="List, download, verify, convert and make data sets.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
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
    print_table(("name", "title", "train", "test", "licence", "place"), rows)


@app.command("fetch")
def fetch_data(names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of data sets.")]) -> None:
    """Download data sets that are not on this machine yet."""
    from holoprop.data.cache import fetch_dataset
    from holoprop.data.registry import find_source

    for name in names:
        find_source(name)
    for name in names:
        with _bar(_download_columns) as progress:
            files = fetch_dataset(name, progress=progress)
        for path in files.values():
            print(path)
        if not files:
            print(f"{name} is built in: there is nothing to download")


@app.command("verify")
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
        raise typer.Exit(complain(f"{len(bad)} of {len(checks)} files are missing or wrong: {', '.join(bad)}", 2))


@app.command("convert")
def convert_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a data set that is converted: imagenet32.")],
    verify: Annotated[bool, typer.Option(help="Whether its files must be the official ones.")] = True,
) -> None:
    """Convert a large data set, once, into arrays that are mapped into memory; goes on where it was stopped."""
    from holoprop.data.conversion import convert_dataset

    with _bar(_counting_columns) as progress:
        folder = convert_dataset(name, verify=verify, progress=progress)
    print(folder)


@app.command("synthesise")
def synthesise_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the data set to imitate: imagenet32.")],
    folder: Annotated[Path, typer.Option(help="Where to put it, as FOLDER/NAME/…; then HOLOPROP_DATA=FOLDER.")],
    images: Annotated[int, typer.Option(min=10, help="Training images.")] = 50_000,
    test_images: Annotated[int, typer.Option(min=1, help="Test images.")] = 5_000,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    npz: Annotated[bool, typer.Option("--npz", help="npz files in place of pickles.")] = False,
) -> None:
    """Make a set of learnable images in the official format of a data set that is not at hand."""
    from holoprop.data.synthetic import synthesise_imagenet32

    if name != "imagenet32":
        raise ValueError(f"only imagenet32 is imitated, got {name!r}; `holoprop data fetch {name}` gets the others")
    with _bar(_counting_columns) as progress:
        files = synthesise_imagenet32(
            folder, images=images, test_images=test_images, seed=seed, npz=npz, progress=progress
        )
    for path in files:
        print(path)


def _download_columns() -> tuple[Any, ...]:
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn

    return TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()


def _counting_columns() -> tuple[Any, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()


@contextlib.contextmanager
def _bar(columns: Callable[[], tuple[Any, ...]]) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*columns(), console=Console(file=sys.stderr)) as bar:
        tasks: dict[str, Any] = {}

        def progress(file: str, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
            bar.update(tasks[file], completed=done)

        yield progress

"""Commands about data sets: `holoprop data list`, `fetch`, `verify`."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from holoprop.cli.output import complain, print_table

app = typer.Typer(help="List, download and verify data sets.", no_args_is_help=True, rich_markup_mode=None)


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
        with _download_bar() as progress:
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

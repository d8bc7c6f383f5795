"""The command about runs that are there: `holoprop runs` lists them, `holoprop runs compare` sets some side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holoprop.cli.options import AsJson
from holoprop.cli.output import complain, print_json, print_table

if TYPE_CHECKING:
    from holoprop.experiments.run_listing import RunSummary

app = typer.Typer()
_RUNS = Path("runs")


@app.command("runs")
def runs_command(
    places: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FOLDER] | compare RUN RUN...", help="Where runs are kept (default: runs); or runs."),
    ] = None,
    sort: Annotated[str | None, typer.Option(metavar="KEY", help="Sort by folder, best_accuracy, date, …")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs below a folder, or compare some: `holoprop runs compare A B`."""
    first, *others = places or [str(_RUNS)]
    if first == "compare" and (others or not Path(first).is_dir()):
        if sort is not None:
            raise ValueError("--sort is of lists: runs are compared in the order they are named in")
        _compare(others, as_json)
    elif others:
        raise ValueError("one folder is listed at a time: holoprop runs FOLDER, or holoprop runs compare RUN RUN...")
    else:
        _list(Path(first), sort, as_json)


def _list(folder: Path, sort: str | None, as_json: bool) -> None:
    from holoprop.experiments.run_listing import list_runs

    listed = list_runs(folder, sort or "folder")
    if as_json:
        print_json({"runs": [_row(run) for run in listed.runs], "problems": listed.problems})
    elif listed.runs:
        header = ("run", "data", "estimator", "epochs", "test", "best", "cosine", "unsettled", "time", "begun", "state")
        print_table(header, [(_short(run.folder, folder), *_cells(run).values()) for run in listed.runs])
    else:
        print(f"there are no runs below {folder}")
    for problem in listed.problems:
        complain(problem, 0)


def _compare(names: Sequence[str], as_json: bool) -> None:
    from holoprop.experiments.run_listing import compare_runs

    folders = [Path(name) if Path(name).is_dir() or not (_RUNS / name).is_dir() else _RUNS / name for name in names]
    runs, differences = compare_runs(folders)
    if as_json:
        print_json({"runs": [_row(run) for run in runs], "configuration": differences})
        return
    cells = [_cells(run) for run in runs]
    results = [(key, *(each[key] for each in cells)) for key in cells[0]]
    settings = [(key, *map(_setting, values)) for key, values in differences.items()]
    rows = [row for row in results if row[0] not in ("data", "estimator")]
    print_table(("", *names), [*rows, *settings])
    if not settings:
        print("their configurations are the same")


def _row(run: "RunSummary") -> dict[str, Any]:
    return {**vars(run), "state": run.state}


def _cells(run: "RunSummary") -> dict[str, str]:
    """What a person reads, by the name of its column."""
    from holoprop.train.metrics import percent

    best = f"{percent(run.best_accuracy)} ({run.best_epoch})" if run.best_epoch else percent(None)
    return {
        "data": run.data,
        "estimator": run.estimator,
        "epochs": f"{run.epochs}/{run.epochs_asked}",
        "test accuracy": percent(run.test_accuracy),
        "best (epoch)": best,
        "cosine": "–" if run.cosine is None else f"{run.cosine:.6f}",
        "unsettled": percent(run.unsettled),
        "training": _duration(run.seconds),
        "begun": (run.date or "–")[:16].replace("T", " "),
        "state": run.state,
    }


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _short(folder: str, above: Path) -> str:
    """A run's folder as seen from the one that is listed."""
    path = Path(folder)
    return path.name if path == above else str(path.relative_to(above))


def _setting(value: Any) -> str:
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

"""The command that runs the papers' experiments, one or all of them."""

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holoprop.cli.output import check_place, complain, print_table

if TYPE_CHECKING:
    from holoprop.experiments.reproduce.outcome import Outcome

app = typer.Typer()

_KEPT = "what is done is kept, the same command goes on from there"


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
        typer.Option(
            help="So many at a time, of all experiments or of the training runs of one; default: one for each CPU core."
        ),
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
    from holoprop.experiments.reproduce.outcome import check_scale
    from holoprop.experiments.reproduce.registry import EXPERIMENTS, SKIPPED, find_experiment
    from holoprop.experiments.reproduce.runner import check_counts
    from holoprop.experiments.worker_processes import side_by_side
    from holoprop.train.interrupt import StoppedError

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
    size, workers = check_scale(scale), _workers() if workers is None else workers
    check_counts(seed, seeds, workers)
    chosen = EXPERIMENTS if name == "all" else (find_experiment(name),)
    check_place(folder)
    if docs is not None:
        check_place(docs)
    alone = name != "all"
    at_once = min(workers, len(chosen))
    jobs = [
        (
            each.name,
            functools.partial(
                _compute,
                each.name,
                size,
                folder,
                seed if each.draws or alone else None,
                seeds if each.several or alone else None,
                # Side by side rather than each with all workers: not every experiment has several runs.
                workers if at_once == 1 else workers // at_once,
            ),
        )
        for each in chosen
    ]
    if at_once == 1:
        ended = (job for job in jobs)
    else:
        # The longest first: what is left at the end then keeps few waiting.
        minutes = {each.name: each.minutes[size] for each in chosen}
        ended = side_by_side(sorted(jobs, key=lambda job: -minutes[job[0]]), at_once)
    counts = {"reproduced": 0, "failed": 0, "not ended": 0, "data absent": 0}
    try:
        with contextlib.closing(ended):
            for each, result in ended:
                counts[_tell_outcome(each, result, folder, docs, alone=alone)] += 1
    except KeyboardInterrupt:
        raise typer.Exit(complain(f"interrupted; {_KEPT}", 130)) from None
    except StoppedError as stop:
        # Not 0: nobody has seen whether the claims hold.
        raise typer.Exit(complain(f"{stop}; {_KEPT}", 1)) from None
    if not alone:
        print(", ".join(f"{count} {word}" for word, count in counts.items() if count or word != "not ended"))
    if counts["failed"] or counts["not ended"]:
        raise typer.Exit(1)


def _tell(name: str, text: str) -> None:
    print(f"{name}: {text}", file=sys.stderr, flush=True)


def _workers() -> int:
    """As many as there are cores; an accelerator does one thing at a time."""
    import jax

    from holoprop.experiments.cores import available_cores

    return available_cores() if jax.default_backend() == "cpu" else 1


def _compute(
    name: str, scale: str, folder: Path, seed: int | None, seeds: int | None, workers: int
) -> "tuple[Outcome, Path]":
    """Run one experiment, in whatever process, and write its outcome and its page; return both."""
    from holoprop.experiments.reproduce.registry import run_experiment
    from holoprop.experiments.reproduce.storing import parts_folder, remove_parts, write_outcome
    from holoprop.report.reproduction.page import write_outcome_page

    place = folder / "reproduce" / scale / name
    outcome = run_experiment(
        name,
        scale,
        seed=seed,
        seeds=seeds,
        progress=functools.partial(_tell, name),
        folder=parts_folder(place, seed),
        workers=workers,
    )
    write_outcome(place, outcome)
    page = write_outcome_page(outcome, place / f"{name}.html")
    remove_parts(place, seed)
    return outcome, page


def _tell_outcome(
    name: str, result: "Callable[[], tuple[Outcome, Path]]", folder: Path, docs: Path | None, *, alone: bool
) -> str:
    """Print the claims of an experiment, gather its outcome with the others', and return how it ended."""
    from holoprop.data.dataset import DataError
    from holoprop.experiments.reproduce.storing import read_records, write_record
    from holoprop.experiments.run_folder import write_text
    from holoprop.report.reproduction.page import number
    from holoprop.report.reproduction.summary import render_summary, write_index

    try:
        outcome, page = result()
    except DataError as error:
        absent = f"{name}: data absent: {error}"
        if alone:
            raise typer.Exit(complain(absent, 2)) from None
        print(absent, flush=True)
        return "data absent"
    except ChildProcessError as error:
        if alone:
            raise
        # What else there is can still be run.
        print(f"{name}: not ended: {error}", flush=True)
        return "not ended"
    print(f"{name} ({outcome.scale}, {outcome.seconds:.0f} s)")
    for claim in outcome.claims:
        verdict = "pass" if claim.holds else "FAIL"
        print(f"{verdict}  {claim.text}: {number(claim.value)} {claim.relation} {number(claim.limit)}")
    print(f"page  {page}", flush=True)
    if docs is not None:
        write_record(docs / "reproduction", outcome)
        text = render_summary(read_records((docs / "reproduction").glob("*.json")))
        write_text(docs / "reproduction.md", text)
        print(f"docs  {docs / 'reproduction.md'}", flush=True)
    damaged = functools.partial(_tell, "left out of the index")
    write_index(
        read_records((folder / "reproduce").glob("*/*/outcome.json"), damaged), folder / "reproduce" / "index.html"
    )
    return "reproduced" if outcome.reproduced else "failed"

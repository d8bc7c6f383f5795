"""All outcomes side by side: a page of links, and the document of what was reproduced, claim by claim."""

from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from holoprop.data.cache import available_datasets
from holoprop.experiments.reproduce.outcome import SCALES, Cell, Claim, Outcome, Table
from holoprop.experiments.reproduce.registry import EXPERIMENTS, SKIPPED, Experiment
from holoprop.experiments.run_folder import write_text
from holoprop.report.frame import single_page, tile
from holoprop.report.markup import Markup, element, joined, section, table
from holoprop.report.reproduction.headlines import headline
from holoprop.report.reproduction.page import number
from holoprop.report.wording import date, duration, shown


def write_index(outcomes: Sequence[Outcome], path: Path) -> Path:
    """Write a page with a row for each experiment and links to the pages of its outcomes, which lie beside it.

    **Arguments:** `path`: of the page, in the folder that holds `SCALE/NAME/NAME.html`.

    **Raises:** `OSError` from the file system.
    """
    found = {(outcome.name, outcome.scale): outcome for outcome in outcomes}
    rows = []
    for experiment in EXPERIMENTS:
        cells = [_linked(found.get((experiment.name, scale))) for scale in SCALES]
        rows.append((experiment.name, experiment.title, experiment.source, *cells))
    reproduced = sum(outcome.reproduced for outcome in outcomes)
    headline = joined(
        [
            element("h1", "What was reproduced"),
            element(
                "p", "One row for each experiment, a verdict for each scale at which it was run.", class_="summary"
            ),
            element(
                "dl",
                tile("reproduced", str(reproduced), f"of {len(outcomes)} outcomes"),
                tile("experiments run", str(len({name for name, _ in found})), f"of {len(EXPERIMENTS)}"),
                class_="tiles",
            ),
        ]
    )
    whole = section("experiments", "Experiments", table(("experiment", "what it shows", "source", *SCALES), rows))
    write_text(path, single_page("What was reproduced", headline, [whole]))
    return path


def render_summary(outcomes: Sequence[Outcome]) -> str:
    """Return the document as Markdown: a table of every experiment, then claims and numbers of each outcome."""
    order = {experiment.name: k for k, experiment in enumerate(EXPERIMENTS)}
    known = sorted(
        (outcome for outcome in outcomes if outcome.name in order),
        key=lambda outcome: (order[outcome.name], SCALES.index(outcome.scale)),
    )
    here = {each.source.name for each in available_datasets() if each.place != "not downloaded"}
    parts = [
        "# What was reproduced",
        "Made by `holoprop reproduce NAME --docs docs`, which adds an outcome and writes this page anew; not to be "
        "edited. A claim is a number and a limit; an experiment is reproduced where all of its claims hold, and what "
        "fails says so; below full size most claims are of directions. Times include compiling; those of runs that "
        "were kept from an earlier call are added.",
        _markdown(
            (
                "experiment",
                "what it shows",
                "scale",
                "one of its numbers",
                "published",
                "here",
                "claims that hold",
                "verdict",
                "time",
                "machine",
                "date",
            ),
            [row for experiment in EXPERIMENTS for row in _overview(experiment, known, here)],
        ),
        SKIPPED,
    ]
    titles = {experiment.name: experiment.title for experiment in EXPERIMENTS}
    for outcome in known:
        parts.append(f"## {outcome.name}, {outcome.scale}")
        parts.append(f"{titles[outcome.name]}. Source: {outcome.source}.")
        parts.append("; ".join(f"{name}: {shown(value)}" for name, value in outcome.settings.items()) + ".")
        parts.append(_markdown(("claim", "measured", "wanted", "verdict", "source"), map(_claim, outcome.claims)))
        parts.extend(_numbers(each) for each in outcome.tables)
    return "\n\n".join(parts) + "\n"


def _overview(experiment: Experiment, known: Sequence[Outcome], here: Set[str]) -> list[tuple[str, ...]]:
    """The rows of one experiment: one for each outcome, or one that says that there is none, or not even data."""
    mine = [outcome for outcome in known if outcome.name == experiment.name]
    if not mine:
        # Below full size a part of the data will do.
        at_hand = experiment.data is None or not here.isdisjoint({experiment.data, f"{experiment.data}-subset"})
        verdict = "not run" if at_hand else "data absent"
        return [(experiment.name, experiment.title, *"–" * 5, verdict, *"–" * 3)]
    return [
        (
            f"[{outcome.name}](#{outcome.name}-{outcome.scale})",
            experiment.title,
            outcome.scale,
            *headline(outcome),
            f"{sum(claim.holds for claim in outcome.claims)} of {len(outcome.claims)}",
            _verdict(outcome),
            duration(outcome.seconds),
            _machine(outcome),
            date(outcome.environment.get("date", "–")),
        )
        for outcome in mine
    ]


def _machine(outcome: Outcome) -> str:
    """The device; of a CPU, which JAX does not name, the processor."""
    device, processor = (outcome.environment.get(name) for name in ("device", "processor"))
    known = device is not None and processor is not None
    return str(device).replace("cpu: cpu", str(processor)) if known else shown(device).replace("cpu: cpu", "CPU")


def _verdict(outcome: Outcome) -> str:
    return "reproduced" if outcome.reproduced else "**not reproduced**"


def _linked(outcome: Outcome | None) -> Markup | str:
    if outcome is None:
        return "–"
    held = sum(claim.holds for claim in outcome.claims)
    words = "reproduced" if outcome.reproduced else f"{held} of {len(outcome.claims)} hold"
    return element(
        "a",
        words,
        href=f"{outcome.scale}/{outcome.name}/{outcome.name}.html",
        class_="holds" if outcome.reproduced else "fails",
    )


def _claim(claim: Claim) -> tuple[str, ...]:
    wanted = f"{claim.relation} {number(claim.limit)}"
    return claim.text, number(claim.value), wanted, "holds" if claim.holds else "**fails**", claim.source


def _numbers(numbers: Table) -> str:
    rows = [[number(cell) for cell in row] for row in numbers.rows]
    return f"{numbers.title}:\n\n{_markdown(numbers.columns, rows)}"


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)

"""The page of an outcome: one file that needs nothing else."""

import math
from collections.abc import Callable
from pathlib import Path

from holoprop.experiments.reproduce.outcome import Cell, Claim, Outcome
from holoprop.experiments.run_folder import write_text
from holoprop.report.drawing import inline_svg
from holoprop.report.frame import single_page, tile
from holoprop.report.interactive import explorer, scripts
from holoprop.report.markup import Markup, element, joined, panel, section, table
from holoprop.report.reproduction import (
    automatic_circle,
    automatic_circle_mnist,
    calibration,
    corrected_training,
    during_training,
    exact_without_symmetry,
    hep_fig2a,
    hep_fig2b,
    hep_fig2c,
    hep_fig2d,
    hep_fig3ab,
    hep_fig3c,
    hep_fig4ab,
    hep_fig4c,
    hep_table1,
    hep_table2,
    jacobian_fig2,
    jacobian_fig3,
    jacobian_fig4,
    jacobian_images,
    jacobian_table1,
)
from holoprop.report.reproduction.picture import Picture
from holoprop.report.wording import date, duration, scientific, shown

_PICTURES: dict[str, Callable[[Outcome], list[Picture]]] = {
    "hep-fig2a": hep_fig2a.pictures,
    "hep-fig2b": hep_fig2b.pictures,
    "hep-fig2c": hep_fig2c.pictures,
    "hep-fig2d": hep_fig2d.pictures,
    "hep-fig3a": hep_fig3ab.gradient_pictures,
    "hep-fig3b": hep_fig3ab.residual_pictures,
    "hep-fig3c": hep_fig3c.pictures,
    "hep-fig4a": hep_fig4ab.nudge_pictures,
    "hep-fig4b": hep_fig4ab.points_pictures,
    "hep-fig4c": hep_fig4c.pictures,
    "hep-table1": hep_table1.pictures,
    "hep-table2": hep_table2.pictures,
    "hep-table2-cifar100": hep_table2.pictures,
    "hep-table2-imagenet32": hep_table2.pictures,
    "calibration": calibration.pictures,
    "automatic-circle": automatic_circle.pictures,
    "automatic-circle-mnist": automatic_circle_mnist.pictures,
    "cosine-in-training": during_training.cosine_pictures,
    "settling-in-training": during_training.settling_pictures,
    "corrected-training": corrected_training.pictures,
    "exact-without-symmetry": exact_without_symmetry.pictures,
    "jacobian-fig2": jacobian_fig2.pictures,
    "jacobian-fig3": jacobian_fig3.pictures,
    "jacobian-fig4ad": jacobian_fig4.pictures,
    "jacobian-fig4eh": jacobian_fig4.pictures,
    "jacobian-fig4il": jacobian_images.course_pictures,
    "jacobian-table1": jacobian_table1.pictures,
    "jacobian-table2": jacobian_images.table_pictures,
    "jacobian-table2-cifar100": jacobian_images.table_pictures,
    "jacobian-table2-imagenet32": jacobian_images.table_pictures,
}


def write_outcome_page(outcome: Outcome, path: Path) -> Path:
    """Write the page of an outcome to `path`, and return it.

    **Raises:** `OSError` from the file system.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_outcome_page(outcome))
    return path


def render_outcome_page(outcome: Outcome) -> str:
    """Return the page of an outcome as HTML; the same outcome gives the same page, byte for byte."""
    drawn = _PICTURES[outcome.name](outcome) if outcome.name in _PICTURES else []
    sections = [_pictures(drawn), _claims(outcome), _tables(outcome), _settings(outcome)]
    title = f"{outcome.name} ({outcome.scale})"
    return single_page(title, _headline(outcome), sections, scripts() if drawn else ())


def number(value: Cell) -> str:
    """Return a number as a page shows it; near 1 what it lacks."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str | int):
        return str(value)
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    if value == round(value) and abs(value) < 1e4:
        return str(round(value))
    if 0.999 < value < 1 and value != round(value, 5):
        return f"1 − {scientific(1 - value)}"
    if 0.999 < value < 1:
        return f"{value:.7g}"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e4 else scientific(value)


def _headline(outcome: Outcome) -> Markup:
    held = sum(claim.holds for claim in outcome.claims)
    failed = [claim for claim in outcome.claims if not claim.holds]
    tiles = [
        tile("claims that hold", f"{held} of {len(outcome.claims)}", "reproduced" if outcome.reproduced else "not all"),
        tile("scale", outcome.scale, "of smoke, small, paper"),
        tile("time", duration(outcome.seconds), "compiling included"),
    ]
    warning = (
        element("p", f"{len(failed)} claim{'s fail' if len(failed) > 1 else ' fails'}, see below.", class_="warning")
        if failed
        else ""
    )
    return joined(
        [
            element("h1", outcome.title),
            element("p", f"{outcome.name} · {outcome.source}", class_="summary"),
            warning,
            element("dl", *tiles, class_="tiles"),
        ]
    )


def _pictures(drawn: list[Picture]) -> Markup:
    panels = [panel(_explored(each), each.caption) for each in drawn]
    return section("pictures", "What came out", element("div", *panels, class_="panels"))


def _explored(picture: Picture) -> Markup:
    drawn = inline_svg(picture.figure, picture.name, picture.description)
    return joined(filter(None, [drawn, explorer(picture.figure, picture.name)]))


def _claims(outcome: Outcome) -> Markup:
    rows = [
        (
            claim.text,
            _verdict(claim),
            number(claim.value),
            f"{claim.relation} {number(claim.limit)}",
            claim.source,
        )
        for claim in outcome.claims
    ]
    return section(
        "claims", "Claims", table(("claim", "verdict", "measured", "wanted", "source"), rows, class_="claims")
    )


def _verdict(claim: Claim) -> Markup:
    return element("b", "holds" if claim.holds else "FAILS", class_="holds" if claim.holds else "fails")


def _tables(outcome: Outcome) -> Markup:
    panels = [
        panel(
            table(each.columns, [[number(cell) for cell in row] for row in each.rows], class_="numbers"),
            f"{each.title}.",
        )
        for each in outcome.tables
    ]
    return section("numbers", "Numbers", element("div", *(joined([each]) for each in panels), class_="stack"))


def _settings(outcome: Outcome) -> Markup:
    rows = [(name, shown(value)) for name, value in outcome.settings.items()]
    # Whether float64 is on by default says nothing of an experiment that switches it on for itself.
    machine = [
        (name, date(value) if name == "date" else shown(value))
        for name, value in outcome.environment.items()
        if name != "x64"
    ]
    panels = (
        panel(table((), rows, class_="facts"), "Settings."),
        panel(table((), machine, class_="facts"), "Versions and machine."),
    )
    return section("settings", "Settings", element("div", *panels, class_="panels"))

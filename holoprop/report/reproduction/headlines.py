"""The one number of each experiment that stands for it where all of them are side by side."""

import dataclasses

from holoprop.experiments.reproduce.outcome import Cell, Outcome, Table
from holoprop.report.reproduction.page import number

Words = tuple[str, str, str]
"""What is compared, the published number, the one here."""


@dataclasses.dataclass(frozen=True)
class InTable:
    """A row of an outcome's first table, the one that begins with `row`; columns of the published and of our number.

    Without a `published` column there is nothing published to compare with.
    """

    words: str
    row: tuple[Cell, ...]
    published: int | None
    here: int


@dataclasses.dataclass(frozen=True)
class InClaim:
    """What an outcome's first claim measures, beside the number that was published, if any."""

    words: str
    published: str = "–"


HEADLINES: dict[str, InTable | InClaim] = {
    "hep-fig2a": InClaim("largest |Δσ| of the first layer", "at most 0.00707"),
    "hep-fig2b": InTable("tip of the unstable lobe", ("tip",), 1, 2),
    "hep-fig2c": InTable("relative error of the gradient, β = 0.1", (0.1,), 1, 2),
    "hep-fig2d": InTable("cosine at β = 0.58, 30 points", ("0.579",), 1, 2),
    "hep-fig3a": InTable("1 − cosine after one period of 400 steps", (400,), 1, 2),
    "hep-fig3b": InTable("log10 residual, 40 steps at each point", (400,), 2, 3),
    "hep-fig3c": InClaim("best cosine under noise, 15 points", "0.9989"),
    "hep-fig4a": InTable("nudges with 1 − cosine < 0.001, four points", (4,), 1, 2),
    "hep-fig4b": InTable("1 − cosine at β = 1, two points", (2,), -2, -1),
    "hep-fig4c": InTable("training error (%), holomorphic, four points", ("holomorphic, N = 4",), 1, 2),
    "hep-table1": InTable("test error (%), noise 0.04, circle", ("0.04", "circle"), 4, 5),
    **{
        name: InTable("top-1 accuracy of hEP (%)", ("hEP",), 3, 4)
        for name in ("hep-table2", "hep-table2-cifar100", "hep-table2-imagenet32")
    },
    "calibration": InTable("errors predicted within a factor of 10", ("all",), None, 3),
    "automatic-circle": InClaim("worst error over that of the best fixed radius, float64"),
    "automatic-circle-mnist": InTable("median 1 − cosine while learning, 4 points", (4,), None, 1),
    "cosine-in-training": InTable("worst 1 − cosine while learning, 4 points", ("circle, N = 4, automatic",), None, 4),
    "settling-in-training": InTable("steps to rest after training, Anderson", ("Anderson",), None, 3),
    "exact-without-symmetry": InTable("relative error of the corrected gradient, 16 points", ("dense",), None, -1),
    "corrected-training": InTable("test error (%), corrected", ("loop", "corrected"), None, 2),
    "jacobian-fig2": InTable("relative error of the response, N = 4, |β| = 0.1", ("0.1",), None, 3),
    "jacobian-table1": InTable("test error (%), 6 points, β = 0.5", ("6 points, β = 0.5",), 1, 2),
    "jacobian-fig3": InTable("test error (%), generalised, from 90 degrees", ("generalised", 90), None, 3),
    "jacobian-fig4ad": InTable("test error (%) with homeostasis", ("homeostasis 1",), None, 1),
    "jacobian-fig4eh": InTable("test error (%) with homeostasis", ("homeostasis 0.1",), None, 1),
    "jacobian-fig4il": InClaim("feedback angle, less with homeostasis (degrees)"),
    **{
        name: InTable("test error (%), homeostasis, from 0 degrees", (0, "circle, homeostasis"), 2, 3)
        for name in ("jacobian-table2", "jacobian-table2-cifar100", "jacobian-table2-imagenet32")
    },
}


def headline(outcome: Outcome) -> Words:
    """Return what an experiment is compared by, as published and as reproduced; dashes for what is not there."""
    chosen = HEADLINES[outcome.name]
    if isinstance(chosen, InClaim):
        return chosen.words, chosen.published, number(outcome.claims[0].value) if outcome.claims else "–"
    row = _row(outcome.tables[0], chosen.row) if outcome.tables else None
    if row is None:
        return chosen.words, "–", "–"
    published = "–" if chosen.published is None else number(row[chosen.published])
    return chosen.words, published, number(row[chosen.here])


def _row(table: Table, first: tuple[Cell, ...]) -> tuple[Cell, ...] | None:
    return next((row for row in table.rows if row[: len(first)] == first), None)

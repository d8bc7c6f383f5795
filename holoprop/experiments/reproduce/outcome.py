"""What an experiment found: arrays to draw, tables, and claims that either hold or do not."""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Scale = Literal["smoke", "small", "paper"]
"""`smoke` takes seconds, `small` minutes, `paper` is the published size."""

SCALES: tuple[Scale, ...] = ("smoke", "small", "paper")


def check_scale(name: str) -> Scale:
    """Return the scale of that name.

    **Raises:** `ValueError`, one line, if there is none.
    """
    for scale in SCALES:
        if name == scale:
            return scale
    raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {name!r}")


Cell = str | float | int | None
"""An entry of a table; `None` where there is none."""

_COMPARE = {"≤": operator.le, "≥": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence that a number decides: `value relation limit`.

    **Attributes:** `text`: what is claimed; `value`: what was measured; `relation`: `≤`, `≥`, `<` or `>`; `limit`;
    `source`: where the limit comes from.

    **Raises:** `ValueError` for another relation.
    """

    text: str
    value: float
    relation: str
    limit: float
    source: str

    def __post_init__(self) -> None:
        if self.relation not in _COMPARE:
            raise ValueError(f"relation must be one of {', '.join(_COMPARE)}, got {self.relation!r}")

    @property
    def holds(self) -> bool:
        """Whether the claim holds; a value that is not a number never does."""
        return bool(_COMPARE[self.relation](self.value, self.limit))


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers side by side. `rows` hold as many cells as there are `columns`; `title` says what they are."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"every row of the table {self.title!r} must have {len(self.columns)} cells")


@dataclasses.dataclass(frozen=True)
class Findings:
    """What an experiment returns: `settings` by name, `claims`, `tables`, and `arrays` for the picture, by name."""

    settings: dict[str, Any]
    claims: list[Claim]
    tables: list[Table]
    arrays: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The findings of one run of an experiment, and what they may depend on.

    **Attributes:** `name`, `title` and `source` of the experiment; `scale`; `settings`, `claims`, `tables`, `arrays`
    as in `Findings`; `seconds` that it took, compiling and parts of an
    interrupted run included; `environment`: versions and machine.
    """

    name: str
    title: str
    source: str
    scale: Scale
    settings: dict[str, Any]
    claims: list[Claim]
    tables: list[Table]
    arrays: dict[str, np.ndarray]
    seconds: float
    environment: dict[str, Any]

    @property
    def reproduced(self) -> bool:
        """Whether there are claims and all of them hold."""
        return bool(self.claims) and all(claim.holds for claim in self.claims)

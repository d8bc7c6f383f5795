"""A grid of values: `key=a,b,c` read as TOML values, the product of several of them, and names for its points.

`optimizer.learning_rate=0.1,0.3` × `network.hidden=[64],[64, 32]`   →   four points
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.sources import parse_override

_LONGEST_VALUE, _LONGEST_NAME = 24, 96


class Axis(NamedTuple):
    """A key and the texts of its values, in the order given."""

    key: str
    texts: tuple[str, ...]


class Point(NamedTuple):
    """A point of a grid: `name`, made of letters that a folder and a run may have; `overrides`, `key=value` each."""

    name: str
    overrides: tuple[str, ...]


def parse_axis(text: str) -> Axis:
    """Read one `section.key=a,b,c`.

    Each value is what `parse_override` takes: a TOML value, a word, or `none` for the default. Commas within quotes,
    brackets and braces separate nothing.

    **Raises:** `ConfigError`, one line, if the key is none, a value is missing or is no value.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or key.count(".") != 1:
        raise ConfigError(
            f"--grid {text!r} is not of the form section.key=a,b,c: write optimizer.learning_rate=0.1,0.3"
        )
    texts = tuple(piece.strip() for piece in _split(values))
    if not all(texts):
        raise ConfigError(f"--grid {text!r} has an empty value: write {key}=a,b,c")
    for each in texts:
        try:
            parse_override(f"{key}={each}")
        except ConfigError as error:
            raise ConfigError(str(error).replace("--set", "--grid", 1)) from None
    return Axis(key, texts)


def grid_points(axes: Sequence[Axis]) -> list[Point]:
    """Return the product of axes; the last one varies fastest.

    **Raises:** `ConfigError` if there is no axis, or two have the same key.
    """
    if not axes:
        raise ConfigError("a sweep needs a grid: give --grid section.key=a,b,c, once for each key")
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"--grid has {key} twice: give all of its values at once")
    choices = list(itertools.product(*(axis.texts for axis in axes)))
    digits = max(3, len(str(len(choices))))
    return [
        Point(
            _name(f"{number:0{digits}d}", keys, texts),
            tuple(f"{key}={text}" for key, text in zip(keys, texts, strict=True)),
        )
        for number, texts in enumerate(choices, 1)
    ]


def _name(number: str, keys: Sequence[str], texts: Sequence[str]) -> str:
    # Letters of a run's name only, so that `holoprop train` can take the trial up by it.
    parts = [number]
    for key, text in zip(keys, texts, strict=True):
        value = re.sub(r"[^A-Za-z0-9._-]+", "-", text.strip("\"'[]{} "))[:_LONGEST_VALUE]
        parts += [key.partition(".")[2], value]
    return "-".join(parts)[:_LONGEST_NAME].rstrip("-.")


def _split(text: str) -> list[str]:
    """Cut at commas outside quotes and brackets; what does not close is left for the reader of values to refuse."""
    pieces, quote, depth, escaped = [""], "", 0, False
    for letter in text:
        if quote:
            if letter == quote and not escaped:
                quote = ""
            escaped = letter == "\\" and quote == '"' and not escaped
        elif letter in "\"'" and (depth or not pieces[-1].strip()):
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth <= 0:
            pieces.append("")
            continue
        pieces[-1] += letter
    return pieces

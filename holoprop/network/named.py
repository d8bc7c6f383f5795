"""Parts of a network by their names, as builders and configurations give them."""

from collections.abc import Mapping
from typing import TypeVar

import equinox as eqx

Part = TypeVar("Part", bound=eqx.Module)


def named(kind: str, known: Mapping[str, Part], name: str | Part) -> Part:
    """Return the part called `name`, or `name` itself if it is one already.

    **Arguments:** `kind`: what it is, for the message; `known`: by name.

    **Raises:** `ValueError` naming the known ones if there is none of that name.
    """
    if not isinstance(name, str):
        return name
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; choose one of {', '.join(known)}")
    return known[name]

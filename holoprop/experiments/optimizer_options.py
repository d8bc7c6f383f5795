"""The table `[optimizer.options]`: further keyword arguments of an optimiser, by the signature that Optax gives it.

Numbers and booleans can be set. Learning rate, momentum and weight decay have keys of their own in `[optimizer]`, and
what takes an array, a function or a dtype has no place in a configuration.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any

import optax

from holoprop.experiments.config_error import did_you_mean

_KEYS = ("learning_rate", "momentum", "weight_decay")
_NUMBERS_BY_DEFAULT_UNSET = ("weight_decay_rate",)


def optimizer_options(name: str) -> dict[str, Any]:
    """Return which keyword arguments the optimiser `name` of Optax takes as options, with Optax's defaults."""
    return {
        key: parameter.default
        for key, parameter in inspect.signature(getattr(optax, name)).parameters.items()
        if key not in _KEYS
        and not key.endswith("mask")
        and (isinstance(parameter.default, bool | int | float) or key in _NUMBERS_BY_DEFAULT_UNSET)
    }


def checked_options(name: str, given: Any) -> tuple[tuple[str, Any], ...]:
    """Return options as pairs in the order of their names, which, unlike a dictionary, can be part of a key.

    **Arguments:** `name`: the optimiser; `given`: the table.

    **Raises:** `ValueError`, one line, if it is none, for an option that the optimiser does not take, naming those that
    it does, or for a value of another kind than the default's.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"optimizer.options must be a table of keyword arguments, got {given!r}")
    known = optimizer_options(name)
    for key, value in given.items():
        if key in _KEYS:
            raise ValueError(f"optimizer.options.{key} = {value!r} has a key of its own: set optimizer.{key}")
        if key not in known:
            takes = f"takes {', '.join(known)}" if known else "has no options"
            raise ValueError(
                f"unknown option optimizer.options.{key} = {value!r}: {name} {takes}{did_you_mean(key, list(known))}"
            )
    return tuple((key, _checked(key, given[key], known[key])) for key in sorted(given))


def _checked(key: str, value: Any, default: Any) -> bool | int | float:
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        wanted = "true or false"
    elif isinstance(default, int):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        wanted = "an integer"
    else:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        wanted = "a finite number"
    raise ValueError(f"optimizer.options.{key} must be {wanted}, got {value!r}")

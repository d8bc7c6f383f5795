"""What is wrong with a configuration, in one line: the key, its value, what is allowed, the likely meaning."""

import difflib
import functools
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


class ConfigError(ValueError):
    """A configuration that cannot be used; its message is one line."""


Variants = Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]]
"""By section and the key that chooses: which other keys each choice takes."""


def complaint(error: ValidationError, tree: Any, model: type[BaseModel], variants: Variants) -> str:
    """Return the first problem of a failed validation in one line.

    **Arguments:** `error`: what pydantic raised; `tree`: what it was given; `model`: what that should have been;
    `variants`: which keys of a section go with which choice.

    **Returns:** for example `estimator.radius must be a number > 0, got -0.4`.
    """
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"] if isinstance(part, str) and part in _known_names(model, first)]
    path = path[:2]
    kind = first["type"]
    if kind == "extra_forbidden":
        return _unknown_key([str(part) for part in first["loc"]], first["input"], model, tree, variants)
    schema = _schema(model, path)
    if kind == "missing":
        return f"{'.'.join(path)} is missing: give {_allowed(schema)}"
    if kind == "value_error":
        text = str(first.get("ctx", {}).get("error", first["msg"]))
        # A check of one key does not know its place; one of a whole section names its keys itself.
        return f"{'.'.join(path)}: {text}" if "properties" not in schema else text
    value: Any = tree
    for part in path:
        value = value[part] if isinstance(value, Mapping) else value
    text = f"{'.'.join(path) or 'the configuration'} must be {_allowed(schema)}, got {_shown(value)}"
    choices = [each for each in schema.get("enum", ()) if isinstance(each, str)]
    return text + did_you_mean(value, choices)


def did_you_mean(word: Any, known: list[str]) -> str:
    """Return `; did you mean 'x'?` for the known word closest to `word`, or nothing."""
    near = difflib.get_close_matches(word, known, n=1) if isinstance(word, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown_key(path: list[str], value: Any, model: type[BaseModel], tree: Any, variants: Variants) -> str:
    key = path[-1]
    sections = {name: list(_schema(model, [name])["properties"]) for name in _sections(model)}
    if len(path) == 1:
        known, place = list(model.model_fields), "a configuration"
        homes = [f"{name}.{key}" for name, keys in sections.items() if key in keys]
    else:
        foreign = _keys_of_other_choices(path[0], tree, variants)
        known, place = [name for name in sections[path[0]] if name not in foreign], f"[{path[0]}]"
        homes = [f"{name}.{key}" for name, keys in sections.items() if key in keys]
    hint = f"; did you mean {' or '.join(homes)}?" if homes else ""
    near = difflib.get_close_matches(key, known, n=1)
    if near and not homes:
        hint = f"; did you mean {'.'.join([*path[:-1], near[0]])}?"
    shown = "" if isinstance(value, Mapping) else f" = {_shown(value)}"
    return f"unknown key {_dotted(path)}{shown}: {place} takes {', '.join(known)}{hint}"


def _keys_of_other_choices(section: str, tree: Any, variants: Variants) -> set[str]:
    """Return the keys of a section that its choices, or the default ones, do not take."""
    given = tree.get(section, {}) if isinstance(tree, Mapping) else {}
    foreign: set[str] = set()
    for (owner, chooser), choices in variants.items():
        if owner == section and isinstance(given, Mapping):
            chosen = given.get(chooser, next(iter(choices)))
            own = choices.get(chosen, {}) if isinstance(chosen, str) else {}
            foreign |= {key for keys in choices.values() for key in keys} - set(own)
    return foreign


def _known_names(model: type[BaseModel], first: Any) -> set[str]:
    # pydantic puts names of its own (of unions, of validators) between those of keys.
    names = set(model.model_fields)
    for section in _sections(model):
        names |= set(_schema(model, [section])["properties"])
    return names


def _sections(model: type[BaseModel]) -> list[str]:
    return [name for name in model.model_fields if "properties" in _schema(model, [name])]


def _schema(model: type[BaseModel], path: list[str]) -> dict[str, Any]:
    schema = whole = _whole_schema(model)
    for part in path:
        schema = schema["properties"][part]
        if "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


@functools.cache
def _whole_schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _dotted(path: list[str]) -> str:
    """Keys as TOML writes them: bare where they can be; of one that is too long to be read, its beginning."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part) else _shown(part) for part in path)


def _allowed(schema: dict[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "properties" in schema:
        return f"a section with {', '.join(schema['properties'])}"
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "anyOf" in schema:
        return " or ".join(_allowed(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "pattern" in schema:
        return "a name of letters, digits, '.', '_' and '-' that begins with a letter or digit"
    kind = str(schema.get("type", "given"))
    if kind == "array":
        return f"a list, not empty, of which each is {_allowed(schema['items'])}"
    words = {"integer": "an integer", "number": "a finite number", "string": "a string", "boolean": "true or false"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema]
    return " ".join([words.get(kind, kind), " and ".join(bounds)]).rstrip()


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""Where configurations come from: a preset by its name, or a TOML file, then `key=value` overrides.

preset or file   →   overrides, left to right   →   checks   →   Config
"""

import copy
import importlib.resources
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from holoprop.experiments.config import Config, parse_config
from holoprop.experiments.config_error import ConfigError, did_you_mean
from holoprop.experiments.variants import VARIANTS

UNSET = object()
"""The value of an override `key=none`: the key goes back to its default."""


class Preset(NamedTuple):
    """A preset: its name, and its purpose in one line."""

    name: str
    summary: str


class Override(NamedTuple):
    """A key's path and its new value."""

    path: tuple[str, ...]
    value: Any


def list_presets() -> list[Preset]:
    """Return the presets by name; the summary is the first comment of the preset's file."""
    return [
        Preset(name, text.partition("\n")[0].lstrip("# ").rstrip()) for name, text in sorted(_preset_texts().items())
    ]


def preset_text(name: str) -> str:
    """Return the TOML of a preset, comments included.

    **Raises:** `ConfigError` naming the known ones, and the likely one, if there is none of that name.
    """
    texts = _preset_texts()
    if name not in texts:
        raise ConfigError(
            f"unknown preset {name!r}: choose one of {', '.join(sorted(texts))}, or give a path that ends in .toml"
            f"{did_you_mean(name, sorted(texts))}"
        )
    return texts[name]


def load_config(source: str | Path, overrides: Iterable[str] = (), *, name: str | None = None) -> Config:
    """Read a configuration and apply overrides to it.

    **Arguments:**

    - `source`: a preset's name, or a path that ends in `.toml`.
    - `overrides`: `"section.key=value"` each, as `parse_override` reads them; later ones win.
    - `name`: the run's name; by default the file's own, or else that of the preset or file.

    **Returns:** the checked, resolved `Config`.

    **Raises:** `ConfigError`, one line, for an unknown preset, malformed TOML, or what `parse_config` refuses;
    `OSError` if the file cannot be read.

    ```python
    load_config("digits-mlp", ["training.epochs=3", "estimator.radius=0.2"])
    ```
    """
    if str(source).endswith(".toml"):
        path = Path(source)
        try:
            tree = read_toml(path.read_text(encoding="utf-8"), str(path))
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is not a text file in UTF-8") from None
        default = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("._-") or "run"
    else:
        tree = read_toml(preset_text(str(source)), f"preset {source}")
        default = str(source)
    tree = override(tree, [parse_override(text) for text in overrides])
    tree.setdefault("name", default)
    if name is not None:
        tree["name"] = name
    return parse_config(tree)


def read_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML; `where` is what the error calls it.

    **Raises:** `ConfigError` with the place of the first mistake.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid TOML: {error}") from None


def parse_override(text: str) -> Override:
    """Read one `section.key=value`.

    The value is a TOML value; a word that is none is a string (`network.activation=tanh`), and the bare word `none`
    sets the key back to its default.

    **Raises:** `ConfigError` if there is no `=`, no value, no such form of key, or a quote or bracket does not close.
    """
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    form = "write section.key=value, for example training.epochs=3"
    if not equals:
        raise ConfigError(f"--set {text!r} has no '=': {form}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", key):
        raise ConfigError(f"--set {text!r} has no key before its '=': {form}")
    if not value:
        raise ConfigError(f"--set {text!r} has no value: write {key}=none to set {key} back to its default")
    return Override(tuple(key.split(".")), _value(value, text))


def override(tree: Mapping[str, Any], overrides: Iterable[Override]) -> dict[str, Any]:
    """Return `tree` with overrides applied.

    Choosing another variant (`estimator.name`, `estimator.solver`, `optimizer.name`) drops the keys that were there for
    the old one: they would have no meaning any more. So does another optimiser with `optimizer.options`.

    **Raises:** `ConfigError` for a path through something that is no section.
    """
    overrides = list(overrides)
    result = copy.deepcopy(dict(tree))
    for path, value in overrides:
        if path in VARIANTS and isinstance(section := result.get(path[0]), dict):
            variants = VARIANTS[path[0], path[1]]
            own = variants.get(value, ()) if isinstance(value, str) else ()
            stale = {key for keys in variants.values() for key in keys} - set(own)
            if path == ("optimizer", "name") and value != section.get("name"):
                stale.add("options")
            result[path[0]] = {key: old for key, old in section.items() if key not in stale}
    for path, value in overrides:
        place = result
        for part in path[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {'.'.join(path)}: {part} is not a section")
        if value is UNSET:
            place.pop(path[-1], None)
        else:
            place[path[-1]] = value
    return result


def _value(text: str, whole: str) -> Any:
    # A second line would be a second key.
    if "\n" not in text:
        try:
            return UNSET if text == "none" else tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            if text[0] not in "\"'[{":
                return text
    raise ConfigError(f"--set {whole!r} has no valid value: give a number, true, false, a word, or another TOML value")


def _preset_texts() -> dict[str, str]:
    folder = importlib.resources.files("holoprop.experiments").joinpath("presets")
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }

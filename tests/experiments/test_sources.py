"""Presets, files and overrides: what they say is what one gets."""

import string
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.sources import (
    UNSET,
    list_presets,
    load_config,
    override,
    parse_override,
    preset_text,
    read_toml,
)

scalars = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | st.text(max_size=20)
keys = st.lists(st.text(string.ascii_lowercase + "_", min_size=1, max_size=8), min_size=1, max_size=3)
words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_./-]{0,20}", fullmatch=True)


def as_toml(value: Any) -> str:
    """One value as TOML on one line, by an encoder that is not ours."""
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(each) for each in value) + "]"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").rstrip("\n")


@given(keys, scalars | st.lists(scalars, max_size=3), st.sampled_from(["", " ", "  "]))
def test_an_override_reads_what_toml_writes(key: list[str], value: Any, space: str) -> None:
    """Oracle: `tomli_w`, which wrote the value."""
    path = ".".join(key)
    parsed = parse_override(f"{path}{space}={space}{as_toml(value)}")
    assert parsed.path == tuple(key)
    assert parsed.value == value
    assert type(parsed.value) is type(value)


@given(words.filter(lambda word: word not in ("true", "false", "inf", "nan", "none")))
def test_a_bare_word_is_a_string(word: str) -> None:
    """Oracle: the word itself; TOML has no bare strings, so nothing else can be meant."""
    assert parse_override(f"network.activation={word}").value == word


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    """Oracle: `parse_override` either returns or raises `ConfigError`; nothing else gets out."""
    try:
        parsed = parse_override(text)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert "=" in text
        assert parsed.path


def test_later_overrides_win_and_none_means_the_default() -> None:
    config = load_config("mnist-mlp", ["training.epochs=3", "training.epochs=5", "estimator.radius=none"])
    assert config.training.epochs == 5
    assert config.estimator.radius == "auto"
    assert parse_override("a.b=none").value is UNSET


def test_choosing_another_variant_drops_what_belonged_to_the_old_one() -> None:
    """In either order of the two overrides, and only what the new choice does not take."""
    for order in (1, -1):
        config = load_config("mnist-mlp", ["estimator.name=centered", "estimator.beta=0.2"][::order])
        assert (config.estimator.name, config.estimator.beta, config.estimator.points) == ("centered", 0.2, None)
    kept = load_config("fashion-mnist-mlp", ["optimizer.name=sgd"])
    assert kept.optimizer.momentum == 0.9


def test_overrides_leave_the_original_as_it_was() -> None:
    tree = {"network": {"hidden": [8]}}
    assert override(tree, [parse_override("network.hidden=[1, 2]")]) == {"network": {"hidden": [1, 2]}}
    assert tree == {"network": {"hidden": [8]}}


def test_a_file_is_read_like_a_preset_and_named_after_itself(tmp_path: Path) -> None:
    """Oracle: the preset whose text the file holds."""
    path = tmp_path / "my own run.toml"
    path.write_text(preset_text("digits-mlp"), encoding="utf-8")
    config = load_config(path, ["training.epochs=2"])
    assert config.name == "my-own-run"
    assert config == load_config("digits-mlp", ["training.epochs=2"], name="my-own-run")
    path.write_text(load_config("digits-mlp", name="x").to_toml(), encoding="utf-8")
    assert load_config(path).name == "x"


@pytest.mark.parametrize("name", [preset.name for preset in list_presets()])
def test_every_preset_is_valid_says_what_it_is_and_where_its_numbers_come_from(name: str) -> None:
    text = preset_text(name)
    assert load_config(name).name == name
    summary = text.splitlines()[0]
    assert summary.startswith("# ")
    assert summary.endswith(".")
    # More of the comment than its first line: the sources.
    assert sum(line.startswith("# ") for line in text.splitlines()) >= 3


def test_mnist_preset_is_table_1_of_p1() -> None:
    """Oracle: the published settings (arXiv 2209.00530, Table 1, row hEP without noise)."""
    config = load_config("mnist-mlp")
    assert config.network.hidden == (256, 256)
    assert (config.network.activation, config.network.cost) == ("sigmoid", "cross_entropy")
    assert (config.network.weight_scale, config.network.weight_std) == (1.0, None)
    assert (config.estimator.name, config.estimator.points, config.estimator.radius) == ("holomorphic", 10, 0.4)
    assert (config.data.name, config.training.epochs, config.training.batch_size) == ("mnist", 50, 20)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("sgd", 0.05)
    assert (config.optimizer.momentum, config.optimizer.weight_decay, config.optimizer.schedule) == (0, 0, "constant")


def test_fashion_mnist_preset_has_the_same_network_and_p2s_optimiser() -> None:
    """Oracle: the published run script of arXiv 2309.02214, Table 1."""
    config = load_config("fashion-mnist-mlp")
    assert config.network == load_config("mnist-mlp").network
    assert (config.training.batch_size, config.training.epochs) == (50, 50)
    assert (config.optimizer.learning_rate, config.optimizer.momentum) == (0.01, 0.9)


def test_toml_errors_name_the_file_and_the_place() -> None:
    with pytest.raises(ConfigError, match=r"^here\.toml is not valid TOML: .*line 2"):
        read_toml("a = 1\nb = = 2\n", "here.toml")

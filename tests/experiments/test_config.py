"""Configurations: what is filled in, what is refused, and that TOML brings back what it was given."""

import tomllib
from typing import Any, get_args

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from holoprop.data.registry import SOURCES
from holoprop.experiments.config import VARIANTS, Config, EstimatorConfig, NetworkConfig, OptimizerConfig, parse_config
from holoprop.experiments.config_error import ConfigError
from holoprop.network.activation import ACTIVATIONS
from holoprop.network.cost import COSTS

SMALL: dict[str, Any] = {
    "name": "small",
    "network": {"hidden": [8]},
    "estimator": {},
    "data": {"name": "digits"},
    "training": {"epochs": 1, "batch_size": 20},
    "optimizer": {"learning_rate": 0.1},
}

positive = st.floats(1e-6, 1e6)
optional = st.none() | positive


@st.composite
def estimators(draw: st.DrawFn) -> dict[str, Any]:
    """Any section [estimator] with exactly the keys that its estimator and solver take."""
    name = draw(st.sampled_from(list(VARIANTS["estimator", "name"])))
    solver = draw(st.sampled_from(list(VARIANTS["estimator", "solver"])))
    turning = name in ("oscillation", "online_oscillation")
    stepped = draw(st.booleans())
    values = {
        "points": draw(st.integers(2, 20)) * 2,
        "radius": draw(positive if turning else positive | st.just("auto")),
        "dwell": draw(st.integers(1, 50)),
        "periods": draw(st.integers(1, 5)),
        "stretches": draw(st.integers(1, 50)),
        "dt": draw(st.floats(0.01, 1)),
        "noise": draw(optional) if stepped or name in ("continual",) or turning else None,
        "free_steps": draw(st.none() | st.integers(5, 100)),
        "nudged_steps": draw(st.integers(5, 100)) if stepped else None,
        "window": draw(st.none() | st.integers(1, 5)) if stepped else None,
        "gradient_tolerance": draw(optional),
        "beta": draw(positive),
        "steps": draw(st.integers(1, 500)),
        "depth": draw(st.integers(1, 8)),
        "damping": draw(st.floats(0, 0.99)),
        "nudged_tolerance": None if stepped else draw(optional),
        "nudged_max_steps": None if stepped else draw(st.none() | st.integers(1, 1000)),
    }
    own = {**VARIANTS["estimator", "name"][name], **VARIANTS["estimator", "solver"][solver]}
    section = {"name": name, "solver": solver, "tolerance": draw(optional), **{key: values[key] for key in own}}
    return {key: value for key, value in section.items() if value is not None}


def test_choices_are_those_of_the_package() -> None:
    """Oracle: the tables that the builders use; a name known to one side only could not be configured, or not built."""

    def choices(model: type, key: str) -> set[str]:
        return set(get_args(model.model_fields[key].annotation))  # pyright: ignore[reportAttributeAccessIssue]

    assert choices(NetworkConfig, "activation") == set(ACTIVATIONS)
    assert choices(NetworkConfig, "cost") == set(COSTS)
    assert choices(EstimatorConfig, "name") == set(VARIANTS["estimator", "name"])
    assert choices(EstimatorConfig, "solver") == set(VARIANTS["estimator", "solver"])
    assert choices(OptimizerConfig, "name") == set(VARIANTS["optimizer", "name"])


def test_defaults_of_the_chosen_variant_are_filled_in_and_no_others() -> None:
    """Oracle: the table of variants, read off by hand for two of them."""
    circle = parse_config(SMALL).estimator
    assert (circle.name, circle.points, circle.radius, circle.beta, circle.depth) == ("holomorphic", 4, "auto", None, 5)
    plain = parse_config({**SMALL, "estimator": {"name": "one_sided", "solver": "picard"}}).estimator
    assert (plain.points, plain.radius, plain.beta, plain.depth, plain.damping) == (None, None, 0.1, None, 0.0)


@given(
    estimators(),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(list(SOURCES)),
    st.none() | st.integers(20, 99),
)
def test_toml_brings_every_configuration_back(estimator: dict, dtype: str, data: str, limit: int | None) -> None:
    """Oracle: equality with what was written, and the same text when written again."""
    tree = {
        **SMALL,
        "network": {"hidden": [8, 4], "dtype": dtype},
        "estimator": estimator,
        "data": {"name": data, **({} if limit is None else {"train_limit": limit})},
    }
    config = parse_config(tree)
    text = config.to_toml()
    again = parse_config(tomllib.loads(text))
    assert again == config
    assert again.to_toml() == text
    assert {key: config.estimator.model_dump()[key] for key in estimator} == estimator


def test_a_configuration_cannot_be_changed_and_can_be_a_key() -> None:
    """Oracle: pydantic's frozen models are hashable and refuse assignment; compiled steps are kept by them."""
    config = parse_config(SMALL)
    assert hash(config) == hash(parse_config(SMALL))
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 3  # pyright: ignore[reportAttributeAccessIssue]


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)))
def test_whatever_is_wrong_the_error_is_one_line(junk: dict[str, Any]) -> None:
    """Oracle: no configuration is made of junk, and the complaint about it holds no line end of its own."""
    for section in ("network", "estimator", "data", "training", "optimizer"):
        tree = {**SMALL, section: {**SMALL[section], **junk}}
        if not junk:
            continue
        with pytest.raises(ConfigError) as caught:
            parse_config(tree)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_the_schema_names_every_section() -> None:
    """Oracle: the fields themselves; editors complete from this schema."""
    schema = Config.model_json_schema()
    assert set(schema["properties"]) == set(SMALL)
    assert schema["additionalProperties"] is False
    # A TOML file written by another tool reads the same.
    assert parse_config(tomllib.loads(tomli_w.dumps(SMALL))) == parse_config(SMALL)


def test_the_built_in_digits_are_the_default_data() -> None:
    """Oracle: the set that needs no download, by the registry; with and without a section [data]."""
    assert SOURCES["digits"].files == ()
    named = parse_config(SMALL)
    assert parse_config({**SMALL, "data": {}}) == named
    assert parse_config({key: value for key, value in SMALL.items() if key != "data"}) == named
    assert parse_config({**SMALL, "data": {"test_limit": 40}}).data.name == "digits"

"""Configurations: what is filled in, what is refused, and that TOML brings back what it was given."""

import tomllib
from typing import Any, get_args

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from holoprop.data.registry import SOURCES
from holoprop.experiments.config import Config, parse_config
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.estimator_config import EstimatorConfig
from holoprop.experiments.network_config import NetworkConfig
from holoprop.experiments.optimizer_config import OptimizerConfig
from holoprop.experiments.optimizer_options import optimizer_options
from holoprop.experiments.sources import load_config
from holoprop.experiments.variants import VARIANTS
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
        "points_per_batch": draw(st.none() | st.integers(1, 20)),
        "beta": draw(positive),
        "steps": draw(st.integers(1, 500)),
        "depth": draw(st.integers(1, 8)),
        "damping": draw(st.floats(0, 0.99)),
        "form": draw(st.none() | st.just("vector-field")),
        "asymmetry": draw(st.sampled_from(["ignore", "correct"])),
        "nudged_tolerance": None if stepped else draw(optional),
        "nudged_max_steps": None if stepped else draw(st.none() | st.integers(1, 1000)),
    }
    if values["radius"] != "auto":  # else it would lead a tolerance that is given
        values["gradient_tolerance"] = None
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
    assert choices(OptimizerConfig, "schedule") == set(VARIANTS["optimizer", "schedule"])


def test_defaults_of_the_chosen_variant_are_filled_in_and_no_others() -> None:
    """Oracle: the table of variants, read off by hand for two of them."""
    circle = parse_config(SMALL).estimator
    assert (circle.name, circle.points, circle.radius, circle.beta, circle.depth) == ("holomorphic", 4, "auto", None, 5)
    plain = parse_config({**SMALL, "estimator": {"name": "one_sided", "solver": "picard"}}).estimator
    assert (plain.points, plain.radius, plain.beta, plain.depth, plain.damping) == (None, None, 0.1, None, 0.0)


@st.composite
def datas(draw: st.DrawFn) -> dict[str, Any]:
    """Any section [data]; without `normalize` no numbers to normalise by."""
    name = draw(st.sampled_from(list(SOURCES)))
    channels = SOURCES[name].image_shape[-1]
    normalize = draw(st.none() | st.booleans())
    values = {
        "name": name,
        "train_limit": draw(st.none() | st.integers(20, 99)),
        "normalize": normalize,
        "mean": draw(st.none() | st.just([0.5] * channels)) if normalize else None,
        "std": draw(st.none() | st.just([0.25] * channels)) if normalize else None,
        "crop_padding": draw(st.none() | st.integers(0, 7)),
        "flip": draw(st.none() | st.booleans()),
    }
    return {key: value for key, value in values.items() if value is not None}


@st.composite
def optimizers(draw: st.DrawFn) -> dict[str, Any]:
    """Any section [optimizer] of a network of two connections; numbers are for all layers or for each."""
    name = draw(st.sampled_from(list(VARIANTS["optimizer", "name"])))
    three = st.lists(positive, min_size=3, max_size=3)
    section = {"name": name, **draw(st.fixed_dictionaries({"learning_rate": positive}) | st.just({}))}
    if "learning_rate" not in section:
        section["learning_rates"] = draw(three)
    if "weight_decay" in VARIANTS["optimizer", "name"][name]:
        section |= draw(st.sampled_from([{}, {"weight_decay": 0.1}, {"weight_decays": [0.0, 0.5, 1e-4]}]))
    if options := list(optimizer_options(name).items()):
        section |= draw(st.sampled_from([{}, {"options": dict(options[:1])}]))
    schedule = draw(st.sampled_from(list(VARIANTS["optimizer", "schedule"])))
    if schedule == "step":
        section |= {"boundaries": draw(st.sampled_from([[3], [3, 8], [0.25, 0.5]]))}
    more = {"warmup": st.integers(1, 99) | st.floats(0.01, 0.9), "clip_norm": positive, "clip_value": positive}
    return {**section, "schedule": schedule, **draw(st.fixed_dictionaries({}, optional=more))}


@given(estimators(), st.sampled_from(["float32", "float64"]), datas(), optimizers())
def test_toml_brings_every_configuration_back(estimator: dict, dtype: str, data: dict, optimizer: dict) -> None:
    """Oracle: equality with what was written, and the same text when written again."""
    feedback = {"backpropagation": "off"}.get(estimator["name"], "tied")
    feedback = "free" if estimator.get("asymmetry") == "correct" else feedback
    tree = {
        **SMALL,
        "network": {"hidden": [8, 4], "dtype": dtype, "feedback": feedback},
        "estimator": estimator,
        "data": data,
        "optimizer": optimizer,
    }
    config = parse_config(tree)
    text = config.to_toml()
    again = parse_config(tomllib.loads(text))
    assert again == config
    assert again.to_toml() == text
    assert {key: config.estimator.model_dump()[key] for key in estimator} == estimator


def test_numbers_to_normalise_by_are_filled_in() -> None:
    """Oracle: the registry; what is given stays, and without `normalize` there are none."""
    assert parse_config(SMALL).data.mean is None
    digits, cifar = SOURCES["digits"], SOURCES["cifar-10"]
    filled = parse_config({**SMALL, "data": {"normalize": True}}).data
    assert (filled.mean, filled.std) == (digits.mean, digits.std)
    wider = [0.30345, 0.2991, 0.3015]
    filled = parse_config({**SMALL, "data": {"name": "cifar-10", "normalize": True, "std": wider}}).data
    assert (filled.mean, filled.std) == (cifar.mean, tuple(wider))


REFUSED = {
    "normalising by what is not asked for": (
        ["data.mean=[0.5]"],
        "data.mean = [0.5] has no meaning without data.normalize = true",
    ),
    "deviations of too many channels": (
        ["data.normalize=true", "data.std=[0.2, 0.2, 0.2]"],
        "data.std must be one for each channel of digits, 1 in all, got 3",
    ),
    "a deviation of zero": (
        ["data.normalize=true", "data.std=[0.0]"],
        "data.std must be a list, not empty, of which each is a finite number > 0, got [0.0]",
    ),
    "a crop that may lose the whole image": (
        ["data.crop_padding=8"],
        "data.crop_padding must be less than 8, the pixels along a side of digits, got 8",
    ),
    "a number for true": (["data.flip=1"], "data.flip must be true or false, got 1"),
    "learning rates of too few layers": (
        ["optimizer.learning_rate=none", "optimizer.learning_rates=[0.1, 0.1]"],
        "optimizer.learning_rates must be one for each of 2 connections and the readout, 3 in all, got 2",
    ),
    "weight decays of too many layers": (
        ["optimizer.weight_decay=none", "optimizer.weight_decays=[0.1, 0.1, 0.1, 0.1]"],
        "optimizer.weight_decays must be one for each of 2 connections and the readout, 3 in all, got 4",
    ),
    "a learning rate twice": (
        ["optimizer.learning_rates=[0.1, 0.1, 0.1]"],
        "optimizer.learning_rate and optimizer.learning_rates exclude each other: leave one of them out",
    ),
    "no learning rate": (
        ["optimizer.learning_rate=none"],
        "optimizer.learning_rate is missing: give a finite number > 0, or optimizer.learning_rates, one for each "
        "connection and the readout",
    ),
    "weight decays of an optimiser without": (
        ["optimizer.name=adam", "optimizer.weight_decays=[0.1, 0.1, 0.1]"],
        "optimizer.weight_decays = [0.1, 0.1, 0.1] has no meaning with optimizer.name = 'adam', only with "
        "sgd, adamw, adadelta, adamaxw, adan, lamb, lars, lion, nadamw or novograd",
    ),
}


@pytest.mark.parametrize(("overrides", "line"), REFUSED.values(), ids=REFUSED)
def test_images_and_layers_that_cannot_be_are_refused(overrides: list[str], line: str) -> None:
    """Oracle: the line, word for word; the preset has two connections, and one rate and decay for all of them."""
    with pytest.raises(ConfigError) as caught:
        load_config("digits-mlp", overrides)
    assert str(caught.value) == line


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

"""Grids from text. Oracle: TOML's own reader of each value, and products by hand."""

import json
import re
import tomllib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.sweep.grid import Axis, grid_points, parse_axis

# JSON writes these as TOML would.
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
VALUES = st.recursive(
    st.integers(-99, 99) | st.booleans() | TEXTS, lambda each: st.lists(each, max_size=3), max_leaves=5
)


@given(st.lists(VALUES, min_size=1, max_size=4), st.sampled_from([",", ", ", " ,"]))
def test_commas_within_values_separate_nothing(values: list, comma: str) -> None:
    axis = parse_axis("section.key=" + comma.join(json.dumps(value) for value in values))
    assert [tomllib.loads(f"value = {text}")["value"] for text in axis.texts] == values


def test_words_quotes_and_none_are_values() -> None:
    axis = parse_axis('network.activation = tanh, \'a,b\' ,none,"it\'s, \\"so\\"",{a = 1, b = 2}')
    assert axis == Axis("network.activation", ("tanh", "'a,b'", "none", '"it\'s, \\"so\\""', "{a = 1, b = 2}"))


def test_points_are_the_product_and_have_names_that_runs_may_have() -> None:
    """The last key varies fastest; the names are those of folders."""
    points = grid_points([parse_axis("network.hidden=[64],[64, 32]"), parse_axis("optimizer.learning_rate=1e-2,'a/b'")])
    assert [point.overrides for point in points] == [
        ("network.hidden=[64]", "optimizer.learning_rate=1e-2"),
        ("network.hidden=[64]", "optimizer.learning_rate='a/b'"),
        ("network.hidden=[64, 32]", "optimizer.learning_rate=1e-2"),
        ("network.hidden=[64, 32]", "optimizer.learning_rate='a/b'"),
    ]
    assert [point.name for point in points] == [
        "001-hidden-64-learning_rate-1e-2",
        "002-hidden-64-learning_rate-a-b",
        "003-hidden-64-32-learning_rate-1e-2",
        "004-hidden-64-32-learning_rate-a-b",
    ]


@given(st.lists(VALUES, min_size=1, max_size=3), st.lists(VALUES, min_size=1, max_size=3))
def test_any_value_gives_a_short_name_of_safe_letters(first: list, second: list) -> None:
    axes = [Axis("a.b", tuple(map(json.dumps, first))), Axis("a.c", tuple(map(json.dumps, second)))]
    names = [point.name for point in grid_points(axes)]
    assert len(set(names)) == len(first) * len(second)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name) for name in names)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("training.epochs", "--grid 'training.epochs' is not of the form section.key=a,b,c: write "),
        ("epochs=1,2", "--grid 'epochs=1,2' is not of the form section.key=a,b,c: write "),
        ("training.epochs=1,,2", "--grid 'training.epochs=1,,2' has an empty value: write training.epochs=a,b,c"),
        ("training.epochs=", "--grid 'training.epochs=' has an empty value: write training.epochs=a,b,c"),
        ("network.hidden=[1,2", "--grid 'network.hidden=[1,2' has no valid value: give a number, "),
        ("network.activation='a,b", '--grid "network.activation=\'a,b" has no valid value: give a number, '),
    ],
)
def test_what_is_no_grid_is_one_line(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_axis(text)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_no_axis_and_one_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^a sweep needs a grid: give --grid section\.key=a,b,c"):
        grid_points([])
    with pytest.raises(ConfigError, match=r"^--grid has a\.b twice: give all of its values at once$"):
        grid_points([Axis("a.b", ("1",)), Axis("a.b", ("2",))])

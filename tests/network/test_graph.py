"""The order of updates. Oracle: the definition of a colouring, checked edge by edge, and graphs drawn at random."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from holoprop.network.graph import chain, check_graph, colour_classes


def test_a_chain_alternates_and_ends_with_the_last_layer():
    assert colour_classes(chain(4), 5) == ((1, 3), (0, 2, 4))
    assert colour_classes([], 1) == ((0,),)


def test_an_odd_cycle_is_swept_layer_by_layer():
    assert colour_classes([(0, 1), (1, 2), (0, 2)], 3) == ((0,), (1,), (2,))
    assert colour_classes([(0, 1), (1, 2), (2, 3), (0, 3)], 4) == ((0, 2), (1, 3))


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_every_block_is_free_of_connections(drawn):
    layers, pairs = drawn
    edges = [(a, b) for a, b in pairs if a != b]
    blocks = colour_classes(edges, layers)
    assert sorted(layer for block in blocks for layer in block) == list(range(layers))
    place = {layer: k for k, block in enumerate(blocks) for layer in block}
    assert all(place[a] != place[b] for a, b in edges)
    assert place[layers - 1] == len(blocks) - 1
    # Two blocks whenever two will do: any colouring in two, tried exhaustively.
    two = any(all((code >> a) & 1 != (code >> b) & 1 for a, b in edges) for code in range(2**layers))
    assert (len(blocks) <= 2) == (two or layers <= 2)


@pytest.mark.parametrize(
    ("edges", "line"),
    [
        (((0, 1),), "edges must name two layers for each of the 2 connections, got 1"),
        (((0, 2), (2, 1)), "edges must start with (0, 1), the only one from the input"),
        (((0, 1), (0, 2)), "edges must start with (0, 1), the only one from the input"),
        (((0, 1), (1, 3)), "edges must lead into every layer up to 3, but none into [2]"),
        (((0, 1), (2, 3), (3, 2)), "edges must lead from the input to every layer, but not to [2, 3]"),
        (((0, 1), (2, 2)), "edges must join two different layers of 1 … 2, got (2, 2)"),
        (((0, 1), (3, 2)), "edges must join two different layers of 1 … 2, got (3, 2)"),
    ],
)
def test_graphs_that_are_none_are_refused(edges, line):
    with pytest.raises(ValueError) as raised:
        check_graph(edges, max(len(edges), 2))
    assert str(raised.value).startswith(line)

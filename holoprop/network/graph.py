"""The graph of layers and connections: which layers can be updated at the same time.

Layers that no connection joins do not see each other. Where two colours suffice for every connection to join layers of
different colours, one sweep updates the layers of one colour, then those of the other (block Gauss–Seidel); a chain is
such a graph, and so is one with skips over an even number of layers. Otherwise the layers take their turns one by one.
"""

from collections.abc import Sequence

Edge = tuple[int, int]


def chain(connections: int) -> tuple[Edge, ...]:
    """Return the edges of a chain: connection `i` joins layer `i` to layer `i + 1`; 0 is the input."""
    return tuple((i, i + 1) for i in range(connections))


def check_graph(edges: Sequence[Edge], connections: int) -> None:
    """Raise `ValueError` unless the edges are a graph of so many connections in which every layer is reached.

    The first alone joins the input to layer 1, and every layer up to the last has a connection into it.
    """
    if len(edges) != connections:
        raise ValueError(f"edges must name two layers for each of the {connections} connections, got {len(edges)}")
    if edges[0] != (0, 1) or any(source == 0 for source, _ in edges[1:]):
        raise ValueError(f"edges must start with (0, 1), the only one from the input, got {tuple(edges)}")
    last = max(target for _, target in edges)
    if missing := set(range(1, last + 1)) - {target for _, target in edges}:
        raise ValueError(f"edges must lead into every layer up to {last}, but none into {sorted(missing)}")
    for source, target in edges:
        if not 0 <= source <= last or target < 1 or source == target:
            raise ValueError(f"edges must join two different layers of 1 … {last}, got ({source}, {target})")
    reached = {0}
    for _ in edges:
        reached |= {target for source, target in edges if source in reached}
    if cut_off := set(range(1, last + 1)) - reached:
        raise ValueError(f"edges must lead from the input to every layer, but not to {sorted(cut_off)}")


def colour_classes(edges: Sequence[Edge], layers: int) -> tuple[tuple[int, ...], ...]:
    """Return two blocks of layers, that of the last layer last, such that each edge joins both; else each by itself.

    **Arguments:** `edges`: between layers, counted from 0; `layers`: how many there are. A single layer, or several
    without edges, are one block.
    """
    neighbours: dict[int, set[int]] = {layer: set() for layer in range(layers)}
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    colour: dict[int, int] = {}
    for start in reversed(range(layers)):
        if start in colour:
            continue
        colour[start] = 1
        waiting = [start]
        while waiting:
            layer = waiting.pop()
            for other in neighbours[layer]:
                if other not in colour:
                    colour[other] = 1 - colour[layer]
                    waiting.append(other)
                elif colour[other] == colour[layer]:
                    return tuple((each,) for each in range(layers))
    classes = (tuple(layer for layer in range(layers) if colour[layer] == c) for c in (0, 1))
    return tuple(block for block in classes if block)

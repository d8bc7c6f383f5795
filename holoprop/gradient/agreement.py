"""How well two gradients agree: cosine and relative error, per parameter, per layer and in total."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Agreement of a gradient `a` with a reference `b`.

    **Attributes:** `cosine` is `⟨a, b⟩/(‖a‖‖b‖)`, `relative_error` is `‖a − b‖/‖b‖`; NaN where the reference vanishes.
    """

    cosine: float
    relative_error: float


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Agreement in total, per layer (`"connections[0]"`) and per parameter (`"connections[0].weight"`)."""

    total: Agreement
    layers: dict[str, Agreement]
    parameters: dict[str, Agreement]


def alignment(a: PyTree, b: PyTree) -> Alignment:
    """Compare gradient `a` with the reference `b`, both pytrees of the same network type.

    `cosine = ⟨a, b⟩/(‖a‖‖b‖)` and `relative_error = ‖a − b‖/‖b‖`, accumulated in float64.

    **Returns:** an `Alignment`.

    **Raises:** `ValueError` if the two have different structures or shapes.

    ```python
    hp.alignment(estimate.gradient, truth.gradient).total.cosine
    ```
    """
    mine, theirs = _named(a), _named(b)
    if {name: leaf.shape for name, leaf in mine.items()} != {name: leaf.shape for name, leaf in theirs.items()}:
        raise ValueError("the two gradients belong to different networks: their parameters differ in name or shape")
    if not mine:
        raise ValueError("there is nothing to compare: the gradients hold no arrays")
    groups: dict[str, list[str]] = {}
    for name in mine:
        groups.setdefault(name.rpartition(".")[0] or name, []).append(name)

    def agree(names: list[str]) -> Agreement:
        p = np.concatenate([mine[name].ravel() for name in names])
        q = np.concatenate([theirs[name].ravel() for name in names])
        size, reference = np.linalg.norm(p), np.linalg.norm(q)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Agreement(float(p @ q / (size * reference)), float(np.linalg.norm(p - q) / reference))

    return Alignment(
        total=agree(list(mine)),
        layers={layer: agree(names) for layer, names in groups.items()},
        parameters={name: agree([name]) for name in mine},
    )


def _named(tree: PyTree) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf, np.float64) for path, leaf in leaves}

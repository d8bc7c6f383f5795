"""How well two gradients agree: cosine and relative error, per parameter, per layer and in total."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Agreement of a gradient `a` with a reference `b`.

    **Attributes:**

    - `cosine`: `⟨a, b⟩/(‖a‖‖b‖)`, in [−1, 1]; NaN where `a` or `b` vanishes.
    - `relative_error`: `‖a − b‖/‖b‖`, from 0; where `b` vanishes infinite, or NaN if `a` does too.
    """

    cosine: float
    relative_error: float


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How a gradient agrees with a reference: `Agreement` in total, per layer, per parameter.

    **Attributes:**

    - `total`: over all parameters as one vector.
    - `layers`: by the part that holds them, such as `"connections[0]"` and `"readout"`.
    - `parameters`: each by itself, such as `"connections[0].weight"`.
    """

    total: Agreement
    layers: dict[str, Agreement]
    parameters: dict[str, Agreement]


def alignment(a: PyTree, b: PyTree) -> Alignment:
    """Compare gradient `a` with the reference `b`, both pytrees of the same network type.

    `cosine = ⟨a, b⟩/(‖a‖‖b‖)` and `relative_error = ‖a − b‖/‖b‖`, Euclidean, accumulated in float64.

    **Arguments:** `a`, `b`: pytrees of real arrays of any shape and precision, such as `estimate.gradient`; leaves that
    are no arrays do not count.

    **Returns:** an `Alignment`: over all parameters, over those of each layer, and of each parameter.

    **Raises:** `ValueError` if the two differ in the names or shapes of their parameters, or have none.

    Source: the cosine is what P1 (arXiv 2209.00530) plots in its figures 2d, 3 and 4.

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

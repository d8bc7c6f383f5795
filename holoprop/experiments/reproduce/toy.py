"""The toy network of P1's Figure 2, and how far an estimate of its gradient is off."""

import json
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from holoprop.gradient.implicit import Implicit
from holoprop.network.activation import Sigmoid
from holoprop.network.connection import Dense
from holoprop.network.cost import CrossEntropy
from holoprop.network.layered import LayeredNetwork
from holoprop.network.readout import Readout
from holoprop.settling.anderson import Anderson


def toy_network(dtype: Any) -> tuple[LayeredNetwork, Float[Array, "1 6"], Float[Array, "1 4"]]:
    """Return the network 6-4-4-4 with its one sample and one-hot target.

    For float64 to be float64 it must be switched on.
    """
    text = (resources.files(__package__ or "holoprop.experiments.reproduce") / "p1_toy.json").read_text("utf-8")
    numbers = json.loads(text)

    def array(values: list[Any]) -> Array:
        return jnp.asarray(np.asarray(values, np.float32).astype(dtype))

    first, second, last = [(array(layer["weight"]), array(layer["bias"])) for layer in numbers["layers"]]
    net = LayeredNetwork(
        connections=(Dense(*first), Dense(*second)),
        readout=Readout(*last),
        activation=Sigmoid(),
        cost=CrossEntropy(),
    )
    return net, array([numbers["x"]]), array([numbers["y"]])


def toy_gradient() -> LayeredNetwork:
    """Return the exact gradient of the toy, float64 in NumPy arrays."""
    with jax.enable_x64(True):
        net, x, y = toy_network(np.float64)
        return jax.tree.map(np.asarray, Implicit(solver=Anderson(tolerance=1e-14))(net, x, y).gradient)


def fc2(gradient: Any) -> Float[np.ndarray, "4 4"]:
    """Return the part of the weights between the two hidden layers, the published `fc_2`, in float64."""
    return np.asarray(gradient.connections[1].weight, np.float64)


def relative_error(estimate: Inexact[np.ndarray, "..."], truth: Inexact[np.ndarray, "..."]) -> float:
    """Return `‖g − g*‖/‖g*‖`."""
    return float(np.linalg.norm(estimate - truth) / np.linalg.norm(truth))

"""Networks whose weights come from numpy (nothing to compile), and the fixed-point equation written out in numpy."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp


def build_chain(
    sizes: Sequence[int],
    *,
    scale: float = 1.0,
    seed: int = 0,
    activation: hp.AbstractActivation | None = None,
    cost: hp.AbstractCost | None = None,
    dtype: Any = np.float32,
) -> hp.LayeredNetwork:
    """Return a tied network `inputs, hidden…, classes` with weights of deviation `scale/√fan-in` and small biases."""
    rng = np.random.default_rng(seed)

    def arrays(fan_in: int, fan_out: int) -> tuple:
        # As the papers': truncated at two deviations.
        weight = rng.standard_normal((fan_in, fan_out))
        while (outside := np.abs(weight) > 2).any():
            weight[outside] = rng.standard_normal(outside.sum())
        weight, bias = scale * weight / np.sqrt(fan_in), 0.1 * rng.standard_normal(fan_out)
        return jnp.asarray(weight.astype(dtype)), jnp.asarray(bias.astype(dtype))

    *dense, out = [arrays(a, b) for a, b in itertools.pairwise(sizes)]
    return hp.LayeredNetwork(
        tuple(hp.Dense(*pair) for pair in dense),
        hp.Readout(*out),
        hp.Sigmoid() if activation is None else activation,
        hp.CrossEntropy() if cost is None else cost,
    )


def numpy_update(net: hp.LayeredNetwork, x, state, labels=None, beta=0.0) -> list[np.ndarray]:
    """Return `σ(a(s) − β ∂C/∂s_L)` of a sigmoid network with cross-entropy, in complex128; `beta`: as the lead."""
    layers = [np.asarray(layer).astype(np.complex128) for layer in state]
    weights = [np.asarray(c.weight, np.float64) for c in net.connections]
    biases = [np.asarray(c.bias, np.float64) for c in net.connections]
    below = [np.broadcast_to(np.asarray(x), (*layers[0].shape[:-1], np.shape(x)[-1])), *layers[:-1]]
    drives = [s @ w + b for s, w, b in zip(below, weights, biases, strict=True)]
    for l, above in enumerate(layers[1:]):
        drives[l] = drives[l] + above @ weights[l + 1].T
    if labels is not None:
        out, bias = np.asarray(net.readout.weight, np.float64), np.asarray(net.readout.bias, np.float64)
        exponentials = np.exp(layers[-1] @ out + bias)
        error = exponentials / exponentials.sum(-1, keepdims=True) - np.eye(out.shape[1])[labels]
        drives[-1] = drives[-1] - np.asarray(beta)[..., None] * (error @ out.T)
    return [1 / (1 + np.exp(2 - 4 * a)) for a in drives]


def numpy_residual(net: hp.LayeredNetwork, x, state, labels=None, beta=0.0) -> np.ndarray:
    """Return `‖σ(a(s) − β ∂C/∂s_L) − s‖` per sample."""
    moved = numpy_update(net, x, state, labels, beta)
    return np.sqrt(sum((np.abs(a - np.asarray(b)) ** 2).sum(-1) for a, b in zip(moved, state, strict=True)))


@pytest.fixture(scope="session")
def chain() -> Callable[..., hp.LayeredNetwork]:
    """The builder of networks."""
    return build_chain


@pytest.fixture(scope="session")
def update() -> Callable[..., list[np.ndarray]]:
    """One synchronous update in numpy."""
    return numpy_update


@pytest.fixture(scope="session")
def residual() -> Callable[..., np.ndarray]:
    """The residual in numpy."""
    return numpy_residual

"""Costs. Oracles: the closed forms of `C` and `∂C/∂o` in numpy's complex128, and Cauchy–Riemann."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holoprop.network.cost import COSTS, CrossEntropy, cost_named, one_hot

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(6, 5)) * 3
# Imaginary parts as on a contour: the sum of exponentials stays in the right half-plane, away from the logarithm's cut.
COMPLEX = LOGITS + 1j * RNG.uniform(-0.7, 0.7, size=(6, 5))
TARGETS = {"one-hot": np.eye(5)[[0, 3, 1, 4, 4, 2]], "soft": RNG.dirichlet(np.ones(5), size=6)}


def softmax(o):
    e = np.exp(o - o.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def exact_cross_entropy(o, y):
    return np.log(np.exp(o).sum(-1)) - (y * o).sum(-1), softmax(o) - y


def exact_squared_error(o, y):
    return ((o - y) ** 2).sum(-1) / 2, o - y


EXACT = {"cross_entropy": exact_cross_entropy, "squared_error": exact_squared_error}


@pytest.mark.parametrize("logits", [LOGITS, COMPLEX], ids=["real", "complex"])
@pytest.mark.parametrize("name", COSTS)
def test_value_and_gradient(x64, name, logits):
    holomorphic = np.iscomplexobj(logits)
    both = jax.jit(jax.vmap(jax.value_and_grad(COSTS[name], holomorphic=holomorphic)))
    for y in TARGETS.values():
        value, gradient = both(jnp.asarray(logits), jnp.asarray(y))
        exact_value, exact_gradient = EXACT[name](logits, y)
        assert value.dtype == gradient.dtype == logits.dtype
        np.testing.assert_allclose(value, exact_value, rtol=1e-13)
        np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", COSTS)
def test_holomorphic(x64, name):
    """The derivative along i times a direction is i times that along the direction."""
    cost, y = COSTS[name], jnp.asarray(TARGETS["soft"][0])
    direction = jnp.asarray(RNG.normal(size=5) + 0j)

    @jax.jit
    def slopes(o):
        return [jax.jvp(lambda o: cost(o, y), (o,), (turn * direction,))[1] for turn in (1, 1j)]

    along, along_i = slopes(jnp.asarray(COMPLEX[0]))
    np.testing.assert_allclose(along_i, 1j * along, rtol=1e-13)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_cross_entropy_does_not_overflow(dtype):
    """Of a logit 1e4 above the others the cost is 1e4 for a wrong label and 0 for the right one."""
    logits = jnp.asarray([1e4, 0.0, 0.0, -1e4, 0.0]).astype(dtype)
    both = jax.jit(jax.value_and_grad(CrossEntropy(), holomorphic=dtype == jnp.complex64))
    for label, exact in ((0, 0.0), (1, 1e4), (3, 2e4)):
        value, gradient = both(logits, np.eye(5, dtype=np.float32)[label])
        np.testing.assert_allclose(value, exact, rtol=1e-6)
        np.testing.assert_allclose(gradient, np.eye(5)[0] - np.eye(5)[label], atol=1e-6)


def test_one_hot():
    labels = np.array([2, 0, 1, 2], np.int32)
    np.testing.assert_array_equal(one_hot(jnp.asarray(labels), 3, np.dtype(np.float32)), np.eye(3)[labels])
    np.testing.assert_array_equal(one_hot(jnp.eye(3), 3, np.dtype(np.float32)), np.eye(3))


@pytest.mark.parametrize(
    "y", [np.zeros(4, np.float32), np.zeros((4, 2), np.int32), np.int32(1)], ids=["float", "width", "scalar"]
)
def test_targets_of_another_kind_are_refused(y):
    with pytest.raises(
        ValueError, match=r"^y must be integer labels of shape \(batch,\) or one-hot rows of shape \(batch, 3\), got"
    ):
        one_hot(jnp.asarray(y), 3, np.dtype(np.float32))


def test_cost_named():
    assert all(cost_named(name) is cost and cost_named(cost) is cost for name, cost in COSTS.items())
    with pytest.raises(ValueError, match=r"^unknown cost 'mse'; choose one of cross_entropy, squared_error$"):
        cost_named("mse")

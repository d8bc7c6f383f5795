"""The chain of layers. Oracles: `jax.grad` of the potential, matrix products in numpy, independence of its blocks."""

import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

SIZES = (5, 4, 6, 3, 7)
CLASSES = 3


class FreeDense(hp.AbstractConnection):
    """A connection whose feedback is not the transpose of its forward product."""

    weight: jax.Array
    back: jax.Array
    tied: ClassVar[bool] = False

    @property
    def source_shape(self):
        return (self.weight.shape[0],)

    @property
    def target_shape(self):
        return (self.weight.shape[1],)

    def product(self, source):
        return hp.real_product(source, self.weight)

    def down(self, target, product):
        return hp.real_product(target, self.back)


def chain(depth, rng):
    """A network of `depth` layers with random weights and biases, and those as numpy arrays."""
    sizes = SIZES[: depth + 1]
    arrays = [(rng.normal(size=(a, b)), rng.normal(size=b)) for a, b in itertools.pairwise(sizes)]
    readout = rng.normal(size=(sizes[-1], CLASSES)), rng.normal(size=CLASSES)
    net = hp.LayeredNetwork(
        tuple(hp.Dense(jnp.asarray(w), jnp.asarray(b)) for w, b in arrays),
        hp.Readout(*map(jnp.asarray, readout)),
        hp.Sigmoid(),
        hp.CrossEntropy(),
    )
    return net, arrays, readout


def random_state(sizes, dtype, rng):
    def layer(n):
        return rng.normal(size=n) + 1j * rng.normal(size=n) if dtype == np.complex128 else rng.normal(size=n)

    return [layer(n) for n in sizes]


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_drive_is_the_gradient_of_the_potential(x64, depth, dtype):
    rng = np.random.default_rng(depth)
    net, arrays, readout = chain(depth, rng)
    x, s = rng.normal(size=SIZES[0]), random_state(SIZES[1 : depth + 1], dtype, rng)

    @jax.jit
    def everything(net, x, s):
        c = net.clamp(x).astype(dtype)
        gradient = jax.grad(net.potential, argnums=1, holomorphic=dtype == np.complex128)(c, s)
        blocks = [net.drive_block(c, s, i) for i in range(len(net.blocks))]
        return net.drive(c, s), gradient, blocks, net.readout(s), net.potential(c, s)

    drive, gradient, blocks, logits, potential = everything(net, jnp.asarray(x), tuple(jnp.asarray(p) for p in s))
    below = [x, *s]
    forward = [a @ w + b for a, (w, b) in zip(below[:-1], arrays, strict=True)]
    exact = [p + q @ w.T for p, q, (w, _) in zip(forward[:-1], s[1:], arrays[1:], strict=True)] + [forward[-1]]
    for layer in range(depth):
        assert drive[layer].dtype == dtype
        np.testing.assert_allclose(drive[layer], exact[layer], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(drive[layer], gradient[layer], rtol=1e-12, atol=1e-12)
    for block, members in enumerate(net.blocks):
        for position, layer in enumerate(members):
            np.testing.assert_array_equal(blocks[block][position], drive[layer])
    np.testing.assert_allclose(logits, s[-1] @ readout[0] + readout[1], rtol=1e-12)
    np.testing.assert_allclose(potential, sum(p @ q for p, q in zip(s, forward, strict=True)), rtol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_blocks_partition_the_layers_and_do_not_drive_themselves(depth):
    """Changing a block's own activities leaves its drive as it was, to the bit."""
    rng = np.random.default_rng(depth)
    net, _, _ = chain(depth, rng)
    assert sorted(layer for block in net.blocks for layer in block) == list(range(depth))
    # The last layer, which nudges move, comes last.
    assert all(net.blocks) and net.blocks[-1][-1] == depth - 1
    c = jnp.zeros(SIZES[1])
    s = tuple(jnp.asarray(p) for p in random_state(SIZES[1 : depth + 1], np.float64, rng))
    drives = jax.jit(lambda net, s: [net.drive_block(c, s, block) for block in range(len(net.blocks))])
    for block, members in enumerate(net.blocks):
        shaken = tuple(p + 1 if layer in members else p for layer, p in enumerate(s))
        for before, after in zip(drives(net, s)[block], drives(net, shaken)[block], strict=True):
            np.testing.assert_array_equal(before, after)


def test_shapes_are_those_of_the_connections():
    net, _, _ = chain(3, np.random.default_rng(0))
    assert (net.input_shape, net.layer_shapes, net.classes) == ((5,), ((4,), (6,), (3,)), CLASSES)
    assert net.is_energy


def test_free_feedback_has_a_drive_but_no_potential():
    """Oracle: the products with the connection's own backward weight, written out."""
    rng = np.random.default_rng(0)
    w, v = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 6), (6, 4)))
    tied, _, _ = chain(1, rng)
    net = hp.LayeredNetwork(
        (tied.connections[0], FreeDense(jnp.asarray(w), jnp.asarray(v))),
        hp.Readout(jnp.ones((6, CLASSES)), jnp.zeros(CLASSES)),
        hp.Sigmoid(),
        hp.CrossEntropy(),
    )
    c, s1, s2 = (rng.normal(size=n).astype(np.float32) for n in (4, 4, 6))
    drive = net.drive(jnp.asarray(c), (jnp.asarray(s1), jnp.asarray(s2)))
    np.testing.assert_allclose(drive[0], c + s2 @ v, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(drive[1], s1 @ w, rtol=1e-5, atol=1e-5)
    assert not net.is_energy
    with pytest.raises(ValueError, match=r"^this network has free feedback weights, so its drive has no potential$"):
        net.potential(jnp.asarray(c), (jnp.asarray(s1), jnp.asarray(s2)))


def test_connections_that_do_not_fit_are_refused():
    net, _, _ = chain(2, np.random.default_rng(0))
    rest = (net.readout, net.activation, net.cost)
    with pytest.raises(ValueError, match=r"^a layered network needs at least one connection, got none$"):
        hp.LayeredNetwork((), *rest)
    with pytest.raises(ValueError, match=r"^connections\[1\] starts from \(5,\) but layer 1 has shape \(6,\)$"):
        hp.LayeredNetwork(net.connections[::-1], *rest)


@pytest.mark.parametrize(
    ("weight", "bias"), [((5, 4), (3,)), ((5, 4), (4, 1)), ((5, 4), ()), ((5,), (5,)), ((2, 5, 4), (5, 4))], ids=str
)
def test_weights_and_biases_that_do_not_fit_are_refused(unchecked, weight, bias):
    arrays = jnp.zeros(weight), jnp.zeros(bias)
    line = "a dense connection needs a weight of shape (in, out) and a bias of shape (out,), got "
    with pytest.raises(ValueError) as raised:
        hp.Dense(*arrays)
    assert str(raised.value) == f"{line}{weight} and {bias}"
    line = "a readout needs a weight of shape (units, classes) and a bias of shape (classes,), got "
    with pytest.raises(ValueError) as raised:
        hp.Readout(*arrays)
    assert str(raised.value) == f"{line}{weight} and {bias}"


def test_a_readout_of_another_number_of_units_is_refused():
    net, _, _ = chain(2, np.random.default_rng(0))
    readout = hp.Readout(jnp.zeros((7, CLASSES)), jnp.zeros(CLASSES))
    with pytest.raises(ValueError, match=r"^the readout takes 7 units but the last layer has 6 \(shape \(6,\)\)$"):
        hp.LayeredNetwork(net.connections, readout, net.activation, net.cost)

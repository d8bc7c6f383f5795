"""Comparing gradients. Oracle: angles and lengths of vectors by hand, and what IEEE division makes of zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp


def tree(*numbers):
    """A readout whose weight is the first two numbers and whose bias is the third."""
    return hp.Readout(jnp.asarray(numbers[:2])[:, None], jnp.asarray(numbers[2:]))


def test_angle_and_distance():
    """`(3, 4, 0)` against `(3, 0, 4)`: cosine 9/25, distance √32/5; the bias alone is `0` against `4`."""
    found = hp.alignment(tree(3.0, 4.0, 0.0), tree(3.0, 0.0, 4.0))
    np.testing.assert_allclose([found.total.cosine, found.total.relative_error], [9 / 25, 32**0.5 / 5], rtol=1e-15)
    np.testing.assert_allclose(found.parameters["weight"].cosine, 3 / 5, rtol=1e-15)
    assert found.parameters["bias"].relative_error == 1


def test_layers_gather_their_parameters():
    net = hp.mlp(3, (4, 5), 2, key=jax.random.key(0))
    found = hp.alignment(jax.tree.map(lambda a: 2 * a, net), net)
    assert set(found.layers) == {"connections[0]", "connections[1]", "readout"}
    assert set(found.parameters) == {f"{layer}.{name}" for layer in found.layers for name in ("weight", "bias")}
    np.testing.assert_allclose([found.total.cosine, found.total.relative_error], 1, rtol=1e-15)


def test_gradients_that_vanish():
    """A cosine needs both; a relative error needs the reference, and without it is infinite unless both vanish."""
    some, none = tree(1.0, 2.0, 3.0), tree(0.0, 0.0, 0.0)
    assert np.isnan(hp.alignment(some, none).total.cosine) and hp.alignment(some, none).total.relative_error == np.inf
    assert np.isnan(hp.alignment(none, some).total.cosine) and hp.alignment(none, some).total.relative_error == 1
    both = hp.alignment(none, none).total
    assert np.isnan(both.cosine) and np.isnan(both.relative_error)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match=r"^the two gradients belong to different networks: their parameters differ"):
        hp.alignment(tree(1.0, 2.0, 3.0), hp.Readout(jnp.ones((3, 1)), jnp.ones(1)))
    with pytest.raises(ValueError, match=r"^there is nothing to compare: the gradients hold no arrays$"):
        hp.alignment(hp.Sigmoid(), hp.Sigmoid())

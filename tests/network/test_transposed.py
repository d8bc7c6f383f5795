"""Networks with forward and feedback weights exchanged. Oracle: the dense Jacobian of the drive, transposed."""

import dataclasses

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.network.connection import Returning
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.run import settle_problem
from tests.settling.compiled import residual

KEY = jax.random.key(3)
SHAPE = (8, 8, 2)


def with_skip():
    """A chain of free feedback with a skip over two layers."""
    net = hp.mlp(6, (7, 5, 7), 3, feedback="free", key=KEY)
    return dataclasses.replace(
        net, connections=(*net.connections, hp.Skip((7,), 0.3)), edges=((0, 1), (1, 2), (2, 3), (1, 3))
    )


AFFINE = {
    "dense": lambda: hp.mlp(6, (7, 5, 4), 3, feedback="free", angle=60.0, key=KEY),
    "tied": lambda: hp.mlp(6, (7, 5, 4), 3, key=KEY),
    "loop": lambda: hp.loop_mlp(6, (7, 5, 4), 3, key=KEY),
    "skip": with_skip,
    "average": lambda: hp.convnet(SHAPE, (3, 4), 3, pooling="average", feedback="free", key=KEY),
    "strides": lambda: hp.convnet(
        SHAPE, (3, 4, 5), 3, stride=(1, 2, 1), padding="SAME", pools=(1, 1, 1), feedback="free", key=KEY
    ),
}


def built(kind):
    """Return a network with biases."""
    net = AFFINE.get(kind, lambda: hp.convnet(SHAPE, (3, 4), 3, feedback="free", key=KEY))()
    return jax.tree.map(lambda w: w + 0.1 * jnp.arange(w.size, dtype=w.dtype) if w.ndim == 1 else w, net)


@eqx.filter_jit
def flat_jacobian(net, x, state):
    """Return the dense Jacobian of the drive by the state of one sample."""
    flat, back = jax.flatten_util.ravel_pytree(state)
    return jax.jacrev(lambda s: jax.flatten_util.ravel_pytree(net.drive(net.clamp(x), back(s)))[0])(flat)


drive = eqx.filter_jit(lambda net, x, state: net.drive(net.clamp(x), state))


@eqx.filter_jit
def problem_of(net, x, rested, target, beta):
    """Return the nudged problem; anchored at `rested`, if there is such a state."""
    problem = FixedPoint.of(net, x)
    return (problem if rested is None else problem.anchored(rested)).nudged(target, beta)


def state_of(net, seed, *lead):
    keys = jax.random.split(jax.random.key(seed), len(net.layer_shapes))
    return tuple(jax.random.normal(k, (*lead, *shape)) for k, shape in zip(keys, net.layer_shapes, strict=True))


@pytest.mark.parametrize("kind", AFFINE)
def test_the_jacobian_is_the_transposed_one(kind: str, x64: None) -> None:
    net = built(kind)
    other = net.transposed()
    x = jax.random.normal(KEY, net.input_shape)
    own, transposed = (np.asarray(flat_jacobian(n, x, state_of(net, 1))) for n in (net, other))
    assert np.abs(own).max() > 0.1
    np.testing.assert_allclose(transposed, own.T, atol=1e-13)
    again = other.transposed()
    zero = tuple(jnp.zeros_like(s) for s in state_of(net, 1))
    still = eqx.filter_jit(lambda net, x: net.drive(jnp.zeros_like(net.clamp(x)), zero))
    for each in (other, again):
        assert not any(np.any(layer) for layer in still(each, x))
    np.testing.assert_allclose(flat_jacobian(again, x, state_of(net, 1)), own, atol=1e-13)


@pytest.mark.parametrize("kind", [*AFFINE, "softmax"])
def test_nudged_states_feel_the_transposed_jacobian(kind: str, x64: None) -> None:
    """Oracle: `σ(a(s) + (Jᵀ − J)(s − s_0) − β ∂C/∂s_L)` from the dense Jacobian at `s_0`, at complex states."""
    net = built(kind)
    assert (net.transposed() is None) == (kind == "softmax")
    x, target, beta = jax.random.normal(KEY, (1, *net.input_shape)), jnp.eye(3)[:1], jnp.array([0.3 + 0.2j])
    rested, away = state_of(net, 4, 1), tuple(jax.lax.complex(s, 0.5 * s) for s in state_of(net, 5, 1))
    state = tuple(a.astype(complex) + b for a, b in zip(rested, away, strict=True))
    felt = eqx.filter_jit(FixedPoint.update)(problem_of(net, x, rested, target, beta), state)
    jacobian = flat_jacobian(net, x[0], tuple(s[0] for s in rested))
    moved = np.concatenate([np.asarray(layer[0]).ravel() for layer in away])
    own = drive(net, x[0].astype(complex), tuple(layer[0] for layer in state))
    wanted = np.concatenate([np.asarray(layer).ravel() for layer in own]) + np.asarray(jacobian.T - jacobian) @ moved
    last = state[-1][0]
    logits = np.asarray(last).ravel() @ np.asarray(net.readout.weight) + np.asarray(net.readout.bias)
    slope = np.asarray(net.readout.weight) @ (np.exp(logits) / np.exp(logits).sum() - np.asarray(target[0]))
    wanted[-last.size :] -= complex(beta[0]) * slope
    expected = np.asarray(net.activation(jnp.asarray(wanted)))
    np.testing.assert_allclose(np.concatenate([np.asarray(layer[0]).ravel() for layer in felt]), expected, atol=1e-12)


@pytest.mark.parametrize("kind", [*AFFINE, "softmax"])
def test_sweeps_block_by_block_come_to_rest_there(kind: str, x64: None) -> None:
    """Oracle: the residual of all layers at once, which the test above compares with the dense Jacobian."""
    net = built(kind)
    x, target, beta = jax.random.normal(KEY, (2, *net.input_shape)), jnp.eye(3)[:2], jnp.array([0.1 + 0.1j, 0.1])
    free = hp.settle(net, x, solver=hp.Alternating(tolerance=1e-13, max_steps=5000))
    problem = problem_of(net, x, free.state, target, beta)
    found = eqx.filter_jit(settle_problem)(problem, hp.Alternating(tolerance=1e-12, max_steps=5000))
    assert float(residual(problem, found.state).max()) < 1e-11
    plain = problem_of(net, x, None, target, beta)
    assert (float(residual(plain, found.state).max()) < 1e-11) == net.is_energy


def test_what_has_no_transpose_says_so() -> None:
    conv = hp.Conv(jnp.ones((3, 3, 2, 4)), None, (8, 8), pooling=hp.SoftmaxPooling())
    assert conv.transposed() is None and hp.Directed(conv).transposed() is None
    assert hp.convnet(SHAPE, (3, 4), 3, feedback="free", key=KEY).transposed() is None
    assert hp.feedforward(AFFINE["tied"]()).transposed() is None


def test_the_transpose_of_one_way_is_the_other_way() -> None:
    way = hp.Directed(hp.Dense(jnp.arange(6.0).reshape(2, 3), jnp.ones(3)))
    back = way.transposed()
    assert isinstance(back, Returning) and not back.directed and not back.tied
    assert not np.any(back.forward(jnp.ones(2)))
    np.testing.assert_array_equal(back.backward(jnp.ones(3), jnp.ones(2)), [3.0, 12.0])
    again = back.transposed()
    assert isinstance(again, hp.Directed) and not np.any(again.forward(jnp.zeros(2)))
    np.testing.assert_array_equal(again.forward(jnp.ones(2)), [3.0, 5.0, 7.0])

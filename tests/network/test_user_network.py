"""Networks that users write themselves. Oracles: the same network built in, numpy's residual, and finite differences.

The user's classes multiply with plain `@`: on the circle their parameters arrive in the state's complex dtype.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

INPUTS, FIRST, SECOND, CLASSES, BATCH = 5, 6, 4, 3, 4
SOLVER = hp.Picard(tolerance=1e-13)
LABELS = np.arange(BATCH, dtype=np.int32) % CLASSES


class UserEnergy(hp.AbstractEnergyNetwork):
    """A two-layer energy in one method; `clamp` is left at the input itself, the blocks at one."""

    w1: jax.Array
    b1: jax.Array
    w2: jax.Array
    b2: jax.Array
    w_out: jax.Array
    b_out: jax.Array
    activation: hp.AbstractActivation = hp.Sigmoid()
    cost: hp.AbstractCost = hp.CrossEntropy()
    input_shape: ClassVar = (INPUTS,)
    layer_shapes: ClassVar = ((FIRST,), (SECOND,))
    classes: ClassVar = CLASSES

    def potential(self, c, s):
        s1, s2 = s
        return s1 @ (c @ self.w1 + self.b1) + s2 @ (s1 @ self.w2 + self.b2)

    def readout(self, s):
        return s[-1] @ self.w_out + self.b_out


class UserField(hp.AbstractNetwork):
    """One recurrent layer whose weights are not symmetric: a drive, no potential. Built-in parts serve as fields."""

    first: hp.Dense
    loop: jax.Array
    readout: hp.Readout
    activation: hp.AbstractActivation = hp.Tanh()
    cost: hp.AbstractCost = hp.SquaredError()
    input_shape: ClassVar = (INPUTS,)
    layer_shapes: ClassVar = ((FIRST,),)
    classes: ClassVar = CLASSES

    def drive(self, c, s):
        return (self.first.forward(c) + s[0] @ self.loop,)


class UserBoth(UserField):
    """The same with symmetric weights: a drive and the potential that it is the gradient of, both written out."""

    is_energy: ClassVar = True

    def drive(self, c, s):
        return (self.first.forward(c) + s[0] @ (self.loop + self.loop.T),)

    def potential(self, c, s):
        return s[0] @ self.first.forward(c) + s[0] @ self.loop @ s[0]


def arrays():
    rng = np.random.default_rng(11)
    shapes = [(INPUTS, FIRST), (FIRST,), (FIRST, SECOND), (SECOND,), (SECOND, CLASSES), (CLASSES,)]
    return [rng.normal(size=shape) * 0.4 for shape in shapes]


@pytest.fixture
def pair(x64):
    """The user's energy and the built-in network with the same weights; inputs."""
    w1, b1, w2, b2, w_out, b_out = map(jnp.asarray, arrays())
    built_in = hp.LayeredNetwork(
        (hp.Dense(w1, b1), hp.Dense(w2, b2)), hp.Readout(w_out, b_out), hp.Sigmoid(), hp.CrossEntropy()
    )
    x = np.random.default_rng(2).uniform(size=(BATCH, INPUTS))
    return UserEnergy(w1, b1, w2, b2, w_out, b_out), built_in, x


@pytest.fixture
def field(x64):
    rng = np.random.default_rng(5)
    w, loop, out = (rng.normal(size=shape) * 0.25 for shape in ((INPUTS, FIRST), (FIRST, FIRST), (FIRST, CLASSES)))
    first, readout = hp.Dense(jnp.asarray(w), jnp.zeros(FIRST)), hp.Readout(jnp.asarray(out), jnp.zeros(CLASSES))
    net = UserField(first, jnp.asarray(loop), readout)
    return net, rng.uniform(size=(BATCH, INPUTS)), (w, loop, out)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.3 * np.exp(1j)], ids=["free", "real", "complex"])
def test_rest_states_are_those_of_the_built_in_network(pair, beta):
    user, built_in, x = pair
    mine = hp.settle(user, x, LABELS, beta, solver=SOLVER, throw=True)
    theirs = hp.settle(built_in, x, LABELS, beta, solver=SOLVER, throw=True)
    for a, b in zip(mine.state, theirs.state, strict=True):
        assert a.dtype == (np.complex128 if isinstance(beta, complex) else np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("points", [2, 4], ids=["real nudges", "complex nudges"])
def test_gradients_are_those_of_the_built_in_network(pair, points):
    user, built_in, x = pair
    estimator = hp.Holomorphic(points, 0.1, solver=SOLVER)
    mine, theirs = estimator(user, x, LABELS), estimator(built_in, x, LABELS)
    np.testing.assert_allclose(mine.loss, theirs.loss, rtol=1e-12)
    g, h = mine.gradient, theirs.gradient
    first, second = h.connections
    for a, b in (
        (g.w1, first.weight),
        (g.b1, first.bias),
        (g.w2, second.weight),
        (g.b2, second.bias),
        (g.w_out, h.readout.weight),
        (g.b_out, h.readout.bias),
    ):
        assert a.dtype == np.float64
        # Settled to 1e-13, divided by the radius.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("beta", [0.0, 0.2j], ids=["free", "complex"])
def test_a_vector_field_settles(field, beta):
    """Oracle: the fixed-point equation in numpy, with the nudge of the squared error written out."""
    net, x, (w, loop, out) = field
    rest = hp.settle(net, x, LABELS, beta, solver=SOLVER, throw=True)
    s = np.asarray(rest.state[0])
    error = s @ out - np.eye(CLASSES)[LABELS]
    np.testing.assert_allclose(np.tanh(x @ w + s @ loop - beta * (error @ out.T)), s, rtol=0, atol=1e-12)


@pytest.mark.parametrize("estimator", [hp.Holomorphic(8, 0.1, solver=SOLVER), hp.Stencil(beta=0.01, solver=SOLVER)])
def test_a_network_that_has_a_potential_beside_its_drive(field, estimator):
    """Oracle: the implicit gradient."""
    net, x, _ = field
    both = UserBoth(net.first, net.loop / 3, net.readout)
    exact = hp.Implicit(solver=SOLVER)(both, x, LABELS).gradient
    assert hp.alignment(estimator(both, x, LABELS).gradient, exact).total.relative_error < 1e-7


def test_implicit_is_exact_for_a_vector_field(field):
    """Oracle: central differences of the loss along random directions, good to h²."""
    net, x, _ = field
    estimator = hp.Implicit(solver=SOLVER)
    gradient = estimator(net, x, LABELS).gradient
    leaves, tree = jax.tree.flatten(net)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        direction, h = [rng.normal(size=leaf.shape) for leaf in leaves], 1e-5
        ahead, behind = (
            float(
                estimator(tree.unflatten([a + t * d for a, d in zip(leaves, direction, strict=True)]), x, LABELS).loss
            )
            for t in (h, -h)
        )
        slope = sum(float((g * d).sum()) for g, d in zip(jax.tree.leaves(gradient), direction, strict=True))
        # Settled to 1e-13, divided by 2h.
        np.testing.assert_allclose((ahead - behind) / (2 * h), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "estimator",
    [hp.OnlineOscillation(), hp.Continual(), hp.Holomorphic(4, form="energy")],
    ids=lambda e: type(e).__name__,
)
def test_estimators_that_need_a_potential_refuse_a_vector_field(field, estimator):
    net, x, _ = field
    with pytest.raises(ValueError, match=r"needs .* potential.* UserField is a vector field: use ") as raised:
        estimator(net, x, LABELS)
    assert "\n" not in str(raised.value)


def test_a_network_needs_parameters(x64):
    """Arrays of integers are not trained; complex parameters are refused."""
    w1, b1, w2, b2, w_out, b_out = map(jnp.asarray, arrays())
    x = np.ones((1, INPUTS))
    with pytest.raises(
        ValueError, match=r"^parameters must be real, got complex128; on the contour only states are complex"
    ):
        hp.settle(UserEnergy(w1.astype(complex), b1, w2, b2, w_out, b_out), x)
    whole = [a.astype(jnp.int32) for a in (w1, b1, w2, b2, w_out, b_out)]
    with pytest.raises(ValueError, match=r"^the network has no real array among its fields: there is nothing to train"):
        hp.settle(UserEnergy(*whole), x)

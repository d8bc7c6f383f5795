"""Free feedback and directed connections. Oracles: tied connections of the feedback weights, numpy, `jax.jacrev`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

KEY = jax.random.key(7)
RNG = np.random.default_rng(8)


def test_dense_feedback_is_a_product_of_its_own(x64):
    w, v = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 5))
    free = hp.Dense(jnp.asarray(w), None, jnp.asarray(v))
    s, t = RNG.normal(size=5), RNG.normal(size=3)
    np.testing.assert_allclose(free.forward(jnp.asarray(s)), s @ w, rtol=1e-13)
    np.testing.assert_allclose(free.backward(jnp.asarray(t), jnp.asarray(s)), t @ v, rtol=1e-13)
    assert not free.tied and not free.directed and hp.Dense(jnp.asarray(w), None).tied


@pytest.mark.parametrize(
    "pooling", [None, hp.AveragePooling(), hp.SoftmaxPooling()], ids=["none", "average", "softmax"]
)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutional_feedback_is_that_of_a_tied_connection_of_its_weights(x64, pooling, padding, stride):
    """Its pooling on the way back is its own too: `V ∗ᵀ (pool'(V ∗ s)ᵀ s')`."""
    w, v = (jnp.asarray(RNG.normal(size=(3, 3, 2, 4))) for _ in range(2))
    b = jnp.asarray(RNG.normal(size=4))
    free, up, down = (
        hp.Conv(weight, bias, (9, 8), stride, padding, pooling, feedback)
        for weight, bias, feedback in ((w, b, v), (w, b, None), (v, None, None))
    )
    s = jnp.asarray(RNG.normal(size=free.source_shape) + 1j * RNG.normal(size=free.source_shape))
    t = jnp.asarray(RNG.normal(size=free.target_shape) + 1j * RNG.normal(size=free.target_shape))
    assert free.target_shape == up.target_shape
    forward, backward = (eqx.filter_jit(way) for way in (hp.Conv.forward, hp.Conv.backward))
    np.testing.assert_allclose(forward(free, s), forward(up, s), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(backward(free, t, s), backward(down, t, s), rtol=1e-12, atol=1e-12)
    assert free.product(s).shape == free.product_shape
    assert free.product_shape[-1] == (8 if pooling is not None and not pooling.linear else 4)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0])
def test_angle_and_size_of_feedback_are_exact(x64, angle):
    for net in (
        hp.mlp(6, (5, 4, 3), 3, feedback="free", angle=angle, key=KEY),
        hp.convnet((8, 8, 2), (4, 6), 3, padding="SAME", feedback="free", angle=angle, key=KEY),
    ):
        found = hp.feedback_angle(net)
        assert found.total == pytest.approx(angle, abs=1e-6)
        assert list(found.connections) == [f"connections[{i}]" for i in range(1, len(net.connections))]
        for connection in net.connections[1:]:
            np.testing.assert_allclose(
                jnp.linalg.norm(connection.feedback.ravel()), jnp.linalg.norm(connection.weight.ravel()), rtol=1e-12
            )
        assert net.connections[0].tied and not net.is_energy


@pytest.mark.parametrize(
    "build",
    [
        lambda **k: hp.mlp(6, (5, 4, 3), 3, key=KEY, **k),
        lambda **k: hp.convnet((8, 8, 2), (4, 6), 3, padding="SAME", key=KEY, **k),
    ],
    ids=["dense", "convolutional"],
)
def test_at_angle_0_it_is_the_tied_network(x64, build):
    """The same forward weights are drawn, and the drives agree: without biases the poolings do too."""
    tied, free = build(), build(feedback="free", angle=0.0)
    x = jnp.asarray(RNG.random(tied.input_shape))
    state = tuple(jnp.asarray(RNG.random(shape)) for shape in tied.layer_shapes)
    drive = eqx.filter_jit(lambda net, x, state: net.drive(net.clamp(x), state))
    for mine, wanted in zip(drive(free, x, state), drive(tied, x, state), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="this network has free feedback weights, so its drive has no potential"):
        free.potential(free.clamp(x), state)


def test_loop_drives_one_way_round(x64):
    """Oracle: numpy; the Jacobian has blocks below and in the corner only."""
    net = hp.loop_mlp(6, (5, 4, 3), 3, key=KEY)
    assert net.graph == ((0, 1), (1, 2), (2, 3), (3, 1)) and net.blocks == ((0,), (1,), (2,)) and not net.is_energy
    x, s = RNG.random(6), [RNG.random(n) for n in (5, 4, 3)]
    w = [np.asarray(net.connections[0].weight), *(np.asarray(c.connection.weight) for c in net.connections[1:])]
    drive = net.drive(net.clamp(jnp.asarray(x)), tuple(map(jnp.asarray, s)))
    for mine, wanted in zip(drive, (x @ w[0] + s[2] @ w[3], s[0] @ w[1], s[1] @ w[2]), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-12)
    rest = hp.settle(net, jnp.asarray(x)[None], throw=True)
    jacobian = np.asarray(hp.functional_jacobian(net, jnp.asarray(x)[None], rest))[0]
    edges = np.cumsum([0, 5, 4, 3])
    for i in range(3):
        for j in range(3):
            block = jacobian[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
            assert (np.abs(block).max() > 0) == ((j, i) in ((0, 1), (1, 2), (2, 0)))
    with pytest.raises(ValueError, match="this network has directed connections, so its drive has no potential"):
        net.potential(net.clamp(jnp.asarray(x)), tuple(map(jnp.asarray, s)))


def test_feedforward_counterpart_has_no_feedback_weights():
    net = hp.feedforward(hp.mlp(6, (5, 4), 3, feedback="free", key=KEY))
    assert all(connection.feedback is None for connection in net.connections)


@pytest.mark.parametrize(
    "call",
    [
        (lambda: hp.mlp(6, (5, 4), 3, feedback="loose", key=KEY), "feedback must be 'tied' or 'free', got 'loose'"),
        (
            lambda: hp.mlp(6, (5, 4), 3, feedback="free", angle=-1.0, key=KEY),
            "angle must be from 0 to 180 degrees, got -1.0",
        ),
        (lambda: hp.loop_mlp(6, (5,), 3, key=KEY), r"a loop needs at least two hidden layers, got \(5,\)"),
        (
            lambda: hp.Dense(jnp.ones((5, 3)), None, jnp.ones((5, 3))),
            r"feedback must have shape \(out, in\) = \(3, 5\)",
        ),
        (
            lambda: hp.Conv(jnp.ones((3, 3, 2, 4)), None, (8, 8), feedback=jnp.ones((3, 3, 4, 2))),
            r"feedback must have shape \(rows, columns, in, out\) = \(3, 3, 2, 4\), got \(3, 3, 4, 2\)",
        ),
        (
            lambda: hp.Directed(hp.Dense(jnp.ones((5, 3)), None, jnp.ones((3, 5)))),
            "a directed connection sends nothing back",
        ),
        (
            lambda: hp.LayeredNetwork(
                (hp.Dense(jnp.ones((5, 3)), None, jnp.ones((3, 5))),),
                hp.Readout(jnp.ones((3, 2)), jnp.ones(2)),
                hp.Sigmoid(),
                hp.CrossEntropy(),
            ),
            r"connections\[0\] starts from the input, which nothing drives: leave out its feedback",
        ),
    ],
)
def test_refusals(unchecked, call):
    build, message = call
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 180.0])
def test_feedback_of_any_connection_has_the_angle_and_the_norm_asked_for(x64, angle):
    """Oracle: numpy's angle between the feedback and the transposed forward weights."""
    dense = hp.Dense(jnp.asarray(RNG.normal(size=(5, 3))), None, jnp.asarray(RNG.normal(size=(3, 5))))
    conv = hp.Conv(jnp.asarray(RNG.normal(size=(3, 3, 2, 4))), None, (6, 6))
    for connection, straight in ((dense, dense.weight.T), (conv, conv.weight)):
        found = np.asarray(hp.with_feedback(connection, angle, KEY).feedback).ravel()
        forward = np.asarray(straight).ravel()
        cosine = found @ forward / np.linalg.norm(found) / np.linalg.norm(forward)
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) == pytest.approx(angle, abs=1e-4)
        assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(forward), rel=1e-12)


def test_what_has_no_weights_has_no_feedback(unchecked):
    with pytest.raises(ValueError, match="Skip has no weights to feed back: give a Dense or a Conv"):
        hp.with_feedback(hp.Skip((3,)), 90.0, KEY)

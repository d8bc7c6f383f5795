"""Convolutional networks. Oracles: `jax.grad` of the potential, updates block by block without what a sweep remembers,
published sizes, the count of convolutions in the compiled sweep."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.network import convolution
from holoprop.network.build_conv import convnet
from tests.settling.compiled import problem_of, residual

VGG = {"pools": (1, 3, 5), "padding": ("SAME", "SAME", "SAME", "VALID", "SAME", "VALID")}


def small(**settings):
    return convnet((16, 16, 2), (3, 4, 5), 3, key=jax.random.key(0), **settings)


def residual_network():
    """Three maps of one size, and a skip from the first to the third: no two colours will do."""
    keys = jax.random.split(jax.random.key(1), 4)

    def conv(key, inner, outer, pooling=None, size=6):
        return hp.Conv(
            jax.random.normal(key, (3, 3, inner, outer)) / 5, jnp.ones(outer) / 7, (size, size), 1, "SAME", pooling
        )

    pool = hp.SoftmaxPooling()
    connections = (conv(keys[0], 2, 3), conv(keys[1], 3, 4), conv(keys[2], 4, 3, pool), conv(keys[3], 3, 3, pool))
    readout = hp.Readout(jnp.ones((27, 2)) / 9, jnp.zeros(2))
    return hp.LayeredNetwork(connections, readout, hp.DoubleSilu(), hp.CrossEntropy(), ((0, 1), (1, 2), (2, 3), (1, 3)))


NETWORKS = {
    "softmax": small,
    "average": lambda: small(pooling="average"),
    "max": lambda: small(pooling="max"),
    "none": lambda: small(pools=()),
    "strides": lambda: small(stride=(2, 1, 1), pools=(2,), padding="SAME"),
    "residual": residual_network,
    "resnet": lambda: hp.resnet((8, 8, 2), (3, 4), 3, blocks=(1, 2), key=jax.random.key(0)),
    # Pooled connections start from the last block only: nothing has to be kept, and the first block rests at once.
    # The last layer comes first, and a nudge makes it drive itself.
    "two": lambda: convnet((8, 8, 1), (2, 4), 3, padding="SAME", key=jax.random.key(0)),
    "alternate": lambda: convnet((16, 16, 2), (3, 4, 5, 3), 3, pools=(1, 3), key=jax.random.key(0)),
}


def draw_state(net, dtype, lead=()):
    rng = np.random.default_rng(0)

    def layer(shape):
        values = rng.normal(size=lead + shape)
        return jnp.asarray(values + 1j * rng.normal(size=lead + shape) if dtype == np.complex128 else values)

    return tuple(layer(shape) for shape in net.layer_shapes)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_drive_is_the_gradient_of_the_potential(x64, name, dtype):
    net = NETWORKS[name]()
    x = jnp.asarray(np.random.default_rng(1).normal(size=net.input_shape))
    s = draw_state(net, dtype)

    @jax.jit
    def both(net, x, s):
        c = net.clamp(x).astype(dtype)
        blocks = [net.drive_block(c, s, i) for i in range(len(net.blocks))]
        return net.drive(c, s), blocks, jax.grad(net.potential, argnums=1, holomorphic=dtype == np.complex128)(c, s)

    drive, blocks, gradient = both(net, x, s)
    for a, g, shape in zip(drive, gradient, net.layer_shapes, strict=True):
        assert a.shape == shape and a.dtype == dtype
        np.testing.assert_allclose(a, g, rtol=1e-10, atol=1e-10)
    for members, parts in zip(net.blocks, blocks, strict=True):
        for layer, part in zip(members, parts, strict=True):
            np.testing.assert_allclose(part, drive[layer], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "max", "strides", "residual", "resnet"])
def test_potential_difference_is_what_it_says(x64, name):
    """Oracle: the two potentials, whose difference it is, and their derivatives by the parameters."""
    net = NETWORKS[name]()
    x = jnp.asarray(np.random.default_rng(1).normal(size=net.input_shape))
    rested = draw_state(net, np.float64)
    s = tuple(
        layer.astype(complex) + 0.3 * other for layer, other in zip(rested, draw_state(net, np.complex128), strict=True)
    )
    rested = tuple(layer.astype(complex) for layer in rested)

    @eqx.filter_jit
    def of(difference, net):
        return difference(net, net.clamp(x).astype(complex))

    pair = (
        lambda net, c: net.potential_difference(c, s, rested),
        lambda net, c: net.potential(c, s) - net.potential(c, rested),
    )
    values = [complex(of(each, net)) for each in pair]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)
    gradients = [eqx.filter_grad(lambda net, each=each: jnp.real(of(each, net) / 2j))(net) for each in pair]
    assert hp.alignment(*gradients).total.relative_error < 1e-12


@pytest.mark.parametrize(
    ("name", "beta"),
    [("softmax", 0.0), ("softmax", 0.3j), ("average", 0.3), ("strides", 0.0), ("residual", 0.3j), ("alternate", 0.3)],
)
def test_a_sweep_updates_the_blocks_in_turn(x64, name, beta):
    """Oracle: `σ` of the drives of one block after the other, everything computed anew each time."""
    net = NETWORKS[name]()
    x = np.random.default_rng(1).normal(size=(2, *net.input_shape))
    problem = hp.FixedPoint.of(net, x, np.array([0, 1]), beta)
    state = draw_state(net, np.dtype(problem.dtype), (2,))

    @jax.jit
    def sweeps(carry):
        once, _ = problem.sweep(carry)
        return once, *problem.sweep(once)

    carry, update = jax.jit(lambda s: problem.carry(s)), jax.jit(lambda s: problem.update(s))
    once, twice, residual = sweeps(carry(state))
    for swept in (once, twice):
        for block in net.blocks:
            updated = update(state)
            state = tuple(updated[i] if i in block else s for i, s in enumerate(state))
        for found, exact in zip(swept[: len(state)], state, strict=True):
            np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-10)
    # What it hands on is what it would be made of the layers.
    for kept, fresh in zip(twice, carry(twice[: len(state)]), strict=True):
        np.testing.assert_allclose(kept, fresh, rtol=1e-10, atol=1e-10)
    changed = [np.asarray(twice[i] - once[i]).reshape(2, -1) for i in problem.carried if i < len(state)]
    np.testing.assert_allclose(residual, np.linalg.norm(np.concatenate(changed, 1), axis=1), rtol=1e-10)
    assert [part.shape[1:] for part in once] == list(problem.carry_shapes)


@pytest.mark.parametrize("name", ["softmax", "none", "residual", "alternate", "two"])
def test_a_sweep_costs_one_product_and_one_transpose_for_each_connection(name, monkeypatch):
    """Oracle: the number of convolutions in the program, before the compiler may merge any."""
    monkeypatch.setattr(convolution, "_SMALL_MAP", 0)
    net = NETWORKS[name]()
    problem = hp.FixedPoint.of(net, np.zeros((2, *net.input_shape)))
    text = jax.jit(lambda carry: problem.sweep(carry)).lower(problem.carry(draw_state(net, np.float64, (2,)))).as_text()
    assert text.count("stablehlo.convolution") == 2 * (len(net.connections) - 1)


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("softmax", hp.Picard()),
        ("softmax", hp.Alternating()),
        ("residual", hp.Anderson(depth=3, fallback=False)),
        ("softmax", hp.Anderson()),
    ],
)
def test_all_solvers_come_to_the_same_rest(x64, name, solver):
    """Oracle: the update itself, which leaves a rest state where it is."""
    net = NETWORKS[name]()
    x = np.random.default_rng(1).normal(size=(3, *net.input_shape))
    rest = hp.settle(net, x, solver=solver, throw=True)
    assert float(residual(problem_of(net, x), rest.state).max()) < 1e-8
    assert [s.shape[1:] for s in rest.state] == list(net.layer_shapes)


@pytest.mark.parametrize("solver", [hp.Alternating(tolerance=1e-2), hp.Anderson(tolerance=1e-2)])
@pytest.mark.parametrize("name", ["two", "softmax", "alternate"])
def test_a_nudged_state_that_has_settled_is_at_rest(x64, name, solver):
    """Oracle: the residual itself, on networks whose last layer is nudged hard while the others hardly move.

    In the first, the last layer is in the first block; what it is about to move must not be overlooked.
    """
    net = NETWORKS[name]()
    net = eqx.tree_at(
        lambda n: (n.readout.weight, n.cost, n.activation), net, (3 * net.readout.weight, hp.SquaredError(), hp.Tanh())
    )
    net = eqx.tree_at(lambda n: n.connections[1].weight, net, net.connections[1].weight / 100)
    x = np.random.default_rng(1).normal(size=(3, *net.input_shape))
    rest = hp.settle(net, x, np.array([0, 1, 2]), 0.3, solver=solver)
    true = np.asarray(residual(problem_of(net, x, np.array([0, 1, 2]), 0.3), rest.state))
    assert not np.any(np.asarray(rest.settled) & (true > 3e-2))


def test_published_sizes():
    """Oracle: the maps of P1's two networks, 16, 8, 4, 1 and 16, 16, 8, 6, 3, 1."""
    net = convnet((32, 32, 3), (128, 256, 512, 512), 10, key=jax.random.key(0))
    assert net.layer_shapes == ((16, 16, 128), (8, 8, 256), (4, 4, 512), (1, 1, 512))
    assert net.readout.weight.shape == (512, 10)
    vgg = convnet((32, 32, 3), (128, 128, 256, 256, 512, 512), 10, key=jax.random.key(0), **VGG)
    assert [shape[0] for shape in vgg.layer_shapes] == [16, 16, 8, 6, 3, 1]
    weight = np.asarray(net.connections[1].weight)
    # Truncated at two standard deviations, 0.88 of the nominal one.
    assert weight.std() == pytest.approx(0.88 / np.sqrt(9 * 128), rel=0.01)
    assert np.abs(weight).max() <= 2 / np.sqrt(9 * 128) and not np.any(np.asarray(net.connections[1].bias))


def test_the_smaller_product_is_kept():
    net = convnet((32, 32, 3), (128, 256, 512, 512), 10, key=jax.random.key(0))
    # The third convolution's, 8·8·512, rather than the second's and the fourth's, 16·16·256 + 2·2·512.
    assert net.blocks == ((1, 3), (0, 2)) and net.kept_products == (2,)
    assert small(pooling="average").kept_products == () and small(pools=()).kept_products == ()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"channels": ()}, "channels must name at least one layer, got ()"),
        ({"channels": (4, 0)}, "channels must be at least 1, got 0"),
        ({"in_shape": (8, 8)}, "in_shape must be (height, width, channels), got (8, 8)"),
        ({"kernel": 0}, "kernel must be at least 1, got 0"),
        ({"padding": ("SAME",)}, "padding must be one for all 3 convolutions or one for each, got ('SAME',)"),
        ({"padding": "FULL"}, "padding must be 'SAME' or 'VALID', got 'FULL'"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"stride": (1, 2)}, "stride must be one for all 3 convolutions or one for each, got (1, 2)"),
        ({"pools": (0, 4)}, "pools must be numbers of convolutions, 1 … 3, got [0, 4]"),
        ({"pooling": "min"}, "unknown pooling 'min'; choose one of softmax, average, max"),
        ({"in_shape": (4, 4, 1)}, "nothing is left of a map of 1×1 after a 3×3 convolution (stride 1, VALID)"),
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"weight_scale": -1.0}, "weight_scale must be finite and not negative, got -1.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_settings_are_refused(unchecked, settings, line):
    arguments = {"in_shape": (16, 16, 2), "channels": (3, 4, 5), "classes": 3, "key": jax.random.key(0)} | settings
    with pytest.raises(ValueError) as raised:
        convnet(**arguments)
    assert str(raised.value).startswith(line)


def test_shapes_of_a_convolution_are_checked(unchecked):
    with pytest.raises(
        ValueError, match=r"a weight of shape \(rows, columns, in, out\) and a bias of shape \(out,\), got"
    ):
        hp.Conv(jnp.zeros((3, 3, 2, 4)), jnp.zeros(3), (8, 8))


@pytest.mark.parametrize("estimator", [hp.Holomorphic(4), hp.Holomorphic("auto")])
def test_max_pooling_is_no_place_for_a_contour(estimator):
    net = small(pooling="max")
    with pytest.raises(ValueError, match=r"connections\[0\] \(MaxPooling\) is not holomorphic, .* use points=2, or"):
        estimator(net, np.zeros((1, 16, 16, 2)), np.zeros(1, int))


def test_settling_can_begin_with_a_forward_pass(x64, unchecked):
    """Oracle: the same rest state from zeros, and layer after layer by hand."""
    zeros, pass_first = small(start="zeros"), small()
    x = np.random.default_rng(0).normal(size=(3, 16, 16, 2))
    states = [hp.settle(net, x, solver=hp.Alternating(tolerance=1e-12)).state for net in (zeros, pass_first)]
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)
    steps = [hp.settle(net, x, solver=hp.Alternating(tolerance=1e-3)).steps.sum() for net in (zeros, pass_first)]
    assert steps[1] < steps[0]
    below = x[0]
    for connection, layer in zip(
        pass_first.connections, pass_first.initial(pass_first.clamp(jnp.asarray(x[0]))), strict=True
    ):
        below = pass_first.activation(connection.forward(jnp.asarray(below)))
        np.testing.assert_allclose(layer, below, rtol=1e-12)
    with pytest.raises(ValueError, match="start must be"):
        dataclasses.replace(pass_first, start="ones")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "window"),
    [
        ((8, 8), (3, 3), 1, "SAME", 2),
        ((4, 4), (3, 3), 1, "VALID", 2),
        ((9, 7), (3, 2), 1, "SAME", 2),
        ((11, 12), (2, 3), 2, "VALID", 2),
        ((9, 10), (3, 3), 2, "SAME", 3),
        ((12, 12), (1, 1), 1, "SAME", 3),
        ((24, 24), (3, 3), 2, "VALID", 2),
    ],
)
def test_the_mean_of_windows_is_taken_into_the_kernel(size, kernel, stride, padding, window, x64, unchecked):
    """Oracle: the convolution, then the pooling, and the derivative of that for the way down; real and complex."""
    rng = np.random.default_rng(5)
    weight, bias = jnp.asarray(rng.normal(size=(*kernel, 3, 4))), jnp.asarray(rng.normal(size=4))
    pooling = hp.AveragePooling(size=window)
    plain = hp.Conv(weight, bias, size, stride, padding)
    pooled = hp.Conv(weight, bias, size, stride, padding, pooling)
    s = jnp.asarray(rng.normal(size=(*size, 3)) + 1j * rng.normal(size=(*size, 3)))

    @jax.jit
    def both_ways(source, factors):
        above, down = jax.vjp(lambda source: pooling(plain.forward(source)), source)
        target = factors.astype(above.dtype) * above
        return (pooled.forward(source), pooled.backward(target, source)), (above, down(target)[0])

    factors = jnp.asarray(rng.normal(size=pooled.target_shape))
    for source in (s, s.real):
        found, exact = both_ways(source, factors)
        np.testing.assert_allclose(found[0], exact[0], atol=1e-13)
        np.testing.assert_allclose(found[1], exact[1], atol=1e-12)
        assert exact[0].shape == pooled.target_shape


def test_feed_forward_networks_rest_after_one_pass(x64, unchecked):
    """Oracle: the forward pass itself; without feedback there is no potential and nothing to keep."""
    net = hp.feedforward(small())
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 16, 16, 2)))
    rest = hp.settle(net, x)
    np.testing.assert_array_equal(rest.steps, 1)
    for layer, passed in zip(rest.state, jax.vmap(lambda x: net.feedforward(net.clamp(x)))(x), strict=True):
        np.testing.assert_allclose(layer, passed, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(residual(problem_of(net, x), rest.state), 0, atol=1e-14)
    assert not net.is_energy and net.kept_products == ()
    with pytest.raises(ValueError, match="no feedback"):
        net.potential(net.clamp(x[0]), tuple(layer[0] for layer in rest.state))
    with pytest.raises(ValueError, match="upwards"):
        dataclasses.replace(residual_network(), edges=((0, 1), (1, 3), (3, 2), (1, 2)), feedback=False)


def test_residual_networks_have_the_layout_that_they_say(unchecked):
    net = hp.resnet((32, 32, 3), (8, 16), 10, blocks=(1, 2), strength=0.25, key=jax.random.key(0))
    assert net.graph == ((0, 1), (1, 2), (2, 3), (1, 3), (3, 4), (4, 5), (3, 5), (5, 6), (6, 7), (5, 7))
    assert net.layer_shapes == ((32, 32, 8),) * 3 + ((16, 16, 16),) * 4
    skips = [net.connections[i] for i in (3, 6, 9)]
    assert [type(skip) for skip in skips] == [hp.Skip, hp.Conv, hp.Skip]
    assert skips[0].strength == 0.25 and skips[1].weight.shape == (1, 1, 8, 16) and skips[1].stride == 2
    for settings, words in (
        ({"blocks": (1,)}, "one for each"),
        ({"blocks": 0}, "at least 1"),
        ({"strength": float("nan")}, "finite"),
    ):
        with pytest.raises(ValueError, match=words):
            hp.resnet((8, 8, 2), (3, 3), 3, key=jax.random.key(0), **settings)

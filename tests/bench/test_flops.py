"""The FLOP model against XLA's own count of the compiled program, and against sums by hand."""

import itertools

import jax
import jax.numpy as jnp
import pytest

import holoprop as hp
from holoprop.bench.flops import Flops, Sweeps
from holoprop.gradient.nudged import weighted_gradient

BATCH = 4
# XLA also counts elementwise work (biases, activations, softmax): some 30 operations a unit, about 100 a complex one,
# against 1024 or 2048 in the products of each. The model leaves it out.
ELEMENTWISE = 0.1


@pytest.fixture(scope="module")
def net():
    """A network whose matrix products dwarf its elementwise work."""
    return hp.mlp(300, (256, 256, 256), 10, key=jax.random.key(0))


def counted(function, *arguments):
    """XLA's count for the compiled function."""
    return jax.jit(lambda *a: function(*a)).lower(*arguments).compile().cost_analysis()["flops"]


def one_hot():
    return jax.nn.one_hot(jnp.arange(BATCH), 10)


@pytest.mark.parametrize("beta", [None, 0.1, 0.1j], ids=["free", "real", "complex"])
def test_sweep(net, beta):
    betas = None if beta is None else jnp.full((BATCH,), beta)
    problem = hp.FixedPoint(net, jnp.zeros((BATCH, 256)), None if beta is None else one_hot(), betas)
    state = tuple(jnp.zeros((BATCH, 256), problem.dtype) for _ in range(3))
    wanted = BATCH * Flops.of(net).sweep(nudged=beta is not None, complex_state=isinstance(beta, complex))
    assert wanted <= counted(problem.update, state) <= (1 + ELEMENTWISE) * wanted


def test_input_drive(net):
    wanted = BATCH * Flops.of(net).input_drive
    assert wanted <= counted(jax.vmap(net.clamp), jnp.zeros((BATCH, 300))) <= (1 + ELEMENTWISE) * wanted


def one_real_point(net):
    one, none = (Flops.of(net).gradient(real_points=points, complex_points=0) for points in (1, 0))
    return one - none


@pytest.mark.parametrize("unit", [(1.0, -1.0), (1.0j, 0.6 + 0.8j, -0.6 + 0.8j)], ids=["real", "complex"])
def test_gradient(net, unit):
    points = jnp.asarray(unit)
    weights = jnp.broadcast_to(points[:, None], (len(unit), BATCH))
    state = tuple(jnp.ones((len(unit), BATCH, 256), points.dtype) for _ in range(3))
    real = 0 if jnp.iscomplexobj(points) else len(unit)
    wanted = BATCH * Flops.of(net).gradient(real_points=real, complex_points=len(unit) - real)
    rested = tuple(s[0].real for s in state)
    arguments = net, jnp.ones((BATCH, 300)), one_hot(), state, weights, weights
    # The parameter gradients are also scaled and summed, elementwise, at the size of the weights.
    assert wanted <= counted(weighted_gradient, *arguments) <= 1.25 * wanted
    # The free state, whose part is subtracted for the sake of rounding, is one real point more.
    wanted += BATCH * one_real_point(net)
    assert wanted <= counted(weighted_gradient, *arguments, rested) <= 1.25 * wanted


def test_training_step_is_the_sum_of_its_parts():
    # By hand for 5-3-2 and 4 classes: drive 2·5·3 = 30, inner 2·3·2 = 12, logits 2·2·4 = 16, a sweep 24 (nudged 56,
    # complex 112), gradient 30 + (1 + 2·2)·(12 + 32) = 250.
    net = hp.mlp(5, (3, 2), 4, key=jax.random.key(0))
    flops = Flops.of(net).training_step(
        batch=7, sweeps=Sweeps(free=100, real=10, complex=1), real_points=1, complex_points=2
    )
    assert flops == 7 * (30 + 16 + 250) + 100 * 24 + 10 * 56 + 112


# Two convolutions between settled layers, softmax pooling after each. VALID, since XLA leaves out positions at which
# a kernel reaches into the padding, which the model counts. Products of 1152 operations a unit; pooling and its
# derivative, exponentials and all, take some 40, a complex unit about 120 against 2304.
POOLING = 0.15


@pytest.fixture(scope="module")
def convolutional():
    return hp.convnet((22, 22, 1), (64, 64, 64), 10, padding="VALID", key=jax.random.key(0))


@pytest.mark.parametrize("beta", [None, 0.1, 0.1j], ids=["free", "real", "complex"])
def test_convolutional_sweep(convolutional, beta):
    betas = None if beta is None else jnp.full((BATCH,), beta)
    clamped = jnp.zeros((BATCH, *convolutional.layer_shapes[0]))
    problem = hp.FixedPoint(convolutional, clamped, None if beta is None else one_hot(), betas)
    carry = tuple(jnp.zeros((BATCH, *shape), problem.dtype) for shape in problem.carry_shapes)
    wanted = BATCH * Flops.of(convolutional).sweep(nudged=beta is not None, complex_state=isinstance(beta, complex))
    assert wanted <= counted(problem.sweep, carry) <= (1 + POOLING) * wanted


@pytest.mark.parametrize("unit", [(1.0, -1.0), (1.0j, -1.0j)], ids=["real", "complex"])
def test_convolutional_gradient(convolutional, unit):
    points = jnp.asarray(unit)
    weights = jnp.broadcast_to(points[:, None], (len(unit), BATCH))
    state = tuple(jnp.ones((len(unit), BATCH, *shape), points.dtype) for shape in convolutional.layer_shapes)
    real = 0 if jnp.iscomplexobj(points) else len(unit)
    wanted = BATCH * Flops.of(convolutional).gradient(real_points=real, complex_points=len(unit) - real)
    x = jnp.ones((BATCH, *convolutional.input_shape))
    rested = tuple(s[0].real for s in state)
    arguments = convolutional, x, one_hot(), state, weights, weights
    # Twice the product with the input: once more, for the pooling that follows it.
    assert wanted <= counted(weighted_gradient, *arguments) <= 1.25 * wanted
    wanted += BATCH * one_real_point(convolutional)
    assert wanted <= counted(weighted_gradient, *arguments, rested) <= 1.25 * wanted


def test_free_feedback_has_a_product_of_its_own(convolutional):
    """Three products a connection where pooling wants one for the way back, two without; weights and their feedback."""
    free = hp.convnet((22, 22, 1), (64, 64, 64), 10, padding="VALID", feedback="free", key=jax.random.key(0))
    tied, own = Flops.of(convolutional), Flops.of(free)
    assert (own.inner, own.returned, own.weights) == (2 * tied.inner, tied.returned, 2 * tied.weights)
    problem = hp.FixedPoint(free, jnp.zeros((BATCH, *free.layer_shapes[0])), None, None)
    carry = tuple(jnp.zeros((BATCH, *shape), problem.dtype) for shape in problem.carry_shapes)
    wanted = BATCH * own.sweep()
    assert wanted <= counted(problem.sweep, carry) <= (1 + POOLING) * wanted
    assert own.gradient(real_points=2, complex_points=0) == own.gradient(real_points=1, complex_points=3)
    dense = Flops.of(hp.mlp(300, (256, 256, 256), 10, feedback="free", key=jax.random.key(0)))
    assert dense.inner == dense.returned == 2 * 2 * 256 * 256


def test_homeostasis(convolutional):
    """XLA's count of the local form, at most: each random vector has two products up and as many for the weights."""
    free = hp.convnet((22, 22, 1), (64, 64, 64), 10, padding="VALID", feedback="free", key=jax.random.key(0))
    x = jnp.ones((1, 22, 22, 1))
    state = tuple(jnp.ones((1, *shape)) for shape in free.layer_shapes)
    rest = hp.Rest(state, jnp.zeros(1), jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.int32))

    def spent(samples):
        noise = tuple(jnp.ones((samples, *layer.shape)) for layer in state)
        return counted(lambda net, x, noise: hp.homeostasis(net, rest, x, noise=noise).gradient, free, x, noise)

    # What is done once, whatever the samples, cancels.
    assert 1 <= (spent(8) - spent(3)) / Flops.of(free).homeostasis(samples=5) <= 1 + POOLING


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pooling", [None, hp.AveragePooling()])
def test_convolutions_count_every_position_in_full(padding, stride, pooling):
    """Oracle: the multiplications of the definition, one by one; the padding's zeros are multiplied too.

    With the mean of 2×2 windows: at their positions, by the kernel that reaches one stride further each way.
    """
    first = hp.Conv(jnp.zeros((3, 3, 2, 4)), jnp.zeros(4), (7, 6))
    second = hp.Conv(jnp.zeros((3, 2, 4, 5)), jnp.zeros(5), (7, 6), stride, padding, pooling)
    units = second.target_shape[0] * second.target_shape[1] * 5
    readout = hp.Readout(jnp.zeros((units, 3)), jnp.zeros(3))
    net = hp.LayeredNetwork((first, second), readout, hp.Sigmoid(), hp.CrossEntropy())
    flops = Flops.of(net)
    height, width = second.target_shape[:2]
    wider = stride if pooling else 0
    assert flops.input_drive == 2 * sum(1 for _ in itertools.product(range(7), range(6), range(4), range(9), range(2)))
    positions = itertools.product(range(height), range(width), range(5), range(3 + wider), range(2 + wider), range(4))
    assert flops.inner == 2 * sum(1 for _ in positions)
    assert flops.recalled == 0 and flops.logits == 2 * units * 3


def test_bytes_of_a_sweep_by_hand():
    # 5-3-2, float32: 6 weights read twice, and per sample 3 numbers of the input's drive read, 5 activities read and
    # written, at each point; a complex one has two numbers.
    flops = Flops.of(hp.mlp(5, (3, 2), 4, key=jax.random.key(0)))
    assert flops.sweep_bytes(batch=7) == 4 * (12 + 7 * (3 + 10))
    assert flops.sweep_bytes(batch=7, points=2) == 4 * (12 + 7 * (3 + 20))
    assert flops.sweep_bytes(batch=7, complex_state=True) == 4 * (12 + 7 * (3 + 20))


def test_bytes_of_a_sweep_include_the_products_that_it_looks_at(convolutional):
    # Its blocks are layers 1 and 3, and 2: of the products kept between sweeps those of the first block's connections.
    kept = sum(
        shape[0] * shape[1] * shape[2]
        for shape in (convolutional.connections[i].product_shape for i in convolutional.kept_products)
    )
    assert kept > 0 and Flops.of(convolutional).products == kept


def test_other_connections_are_refused():
    class Mute(hp.AbstractConnection):
        tied = True

        @property
        def source_shape(self):
            return (2,)

        @property
        def target_shape(self):
            return (2,)

        def product(self, source):
            return source

        def down(self, target, product):
            return target

    net = hp.LayeredNetwork((Mute(),), hp.Readout(jnp.zeros((2, 3)), jnp.zeros(3)), hp.Sigmoid(), hp.CrossEntropy())
    with pytest.raises(ValueError, match=r"knows dense connections and convolutions, but connections\[0\] is a Mute"):
        Flops.of(net)

"""The baseline against numbers computed with the published implementation of P1 (see tests/fixtures/README.md)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.bench.published import PublishedSchedule, published_gradient, published_step
from holoprop.bench.published_field import PublishedField, published_field_step

FIXTURE = Path(__file__).parents[1] / "fixtures" / "p1_toy_f64.npz"
SETTLED = hp.Alternating()


def network(numbers, prefix, names=("fc_1", "fc_2", "fc_3")):
    """The fixture's arrays under `prefix` as a network (its parameters, or a gradient)."""
    layers = [(jnp.asarray(numbers[f"{prefix}/{n}/w"]), jnp.asarray(numbers[f"{prefix}/{n}/b"])) for n in names]
    dense = tuple(hp.Dense(*layer) for layer in layers[:-1])
    return hp.LayeredNetwork(dense, hp.Readout(*layers[-1]), hp.Sigmoid(), hp.CrossEntropy())


@pytest.mark.parametrize("complex_throughout", [False, True])
@pytest.mark.parametrize(("points", "beta"), [(2, 0.5), (4, 0.1), (6, 0.5), (10, 0.01), (24, 0.5)])
def test_gradient_is_the_published_one(x64, points, beta, complex_throughout):
    # Both take the same 100 + 100 steps of the same map in float64; 1e-6 leaves room for rounding over β = 0.01.
    numbers = np.load(FIXTURE)
    net, x, y = network(numbers, "params"), jnp.asarray(numbers["x"]), jnp.asarray(numbers["y"])
    schedule = PublishedSchedule(100, 100, points, beta, complex_throughout=complex_throughout)
    gradient = jax.jit(lambda: published_gradient(net, x, y, schedule, unroll=False))()
    agreement = hp.alignment(gradient, network(numbers, f"grad_hep/N{points}/beta{beta}"))
    assert all(a.relative_error < 1e-6 for a in agreement.parameters.values()), agreement.parameters


@pytest.mark.parametrize("points", [4, 5])
def test_unrolled_and_rolled_schedules_agree(points):
    # The same float32 operations in the same order but for the compiler's freedom: a few rounding errors, over β.
    net = hp.mlp(6, (4, 4), 3, key=jax.random.key(0))
    x, y = jax.random.uniform(jax.random.key(1), (5, 6)), jax.nn.one_hot(jnp.arange(5) % 3, 3)
    schedule = PublishedSchedule(4, 3, points)
    rolled, unrolled = (jax.jit(lambda u=u: published_gradient(net, x, y, schedule, unroll=u))() for u in (False, True))
    assert hp.alignment(unrolled, rolled).total.relative_error < 1e-5


def test_step_descends_along_the_gradient():
    # θ' = θ − η g, from the same function's gradient; float32.
    net = hp.mlp(6, (4, 4), 3, key=jax.random.key(0))
    x, y = jax.random.uniform(jax.random.key(1), (5, 6)), jax.nn.one_hot(jnp.arange(5) % 3, 3)
    schedule = PublishedSchedule(4, 3, 2, learning_rate=0.5)
    new, gradient = jax.jit(lambda: published_step(net, x, y, schedule))()
    alone = jax.jit(lambda: published_gradient(net, x, y, schedule))()
    assert hp.alignment(gradient, alone).total.relative_error < 1e-5
    moved = jax.tree.map(lambda p, q: (p - q) / 0.5, net, new)
    assert hp.alignment(moved, gradient).total.relative_error < 1e-5


@pytest.mark.parametrize("points", [2, 3, 4, 9, 10])
def test_nudges_with_their_conjugates_are_the_roots_of_unity(points):
    # Oracle: numpy's polynomial roots of z^N = r^N.
    nudges = PublishedSchedule(points=points, radius=0.5).nudges()
    assert all((beta.imag == 0) == (count == 1) for beta, count in nudges)
    circle = [beta for beta, _ in nudges] + [beta.conjugate() for beta, count in nudges if count == 2]
    roots = np.roots([1, *[0] * (points - 1), -(0.5**points)])
    assert len(circle) == points
    assert PublishedSchedule(7, 3, points).steps == 7 + 3 * len(nudges)
    assert max(np.abs(roots - beta).min() for beta in circle) < 1e-12


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"points": 1}, "points must be at least 2, got 1"),
        ({"free_steps": 0}, "free_steps must be at least 1, got 0"),
        ({"radius": -0.4}, "radius must be positive, got -0.4"),
    ],
)
def test_schedules_that_make_no_sense(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PublishedSchedule(**kwargs)


@pytest.mark.parametrize(("points", "complex_throughout"), [(2, False), (2, True), (4, True), (5, False)])
def test_convolutional_gradient_is_that_of_settled_states(x64, points, complex_throughout):
    """Oracle: our estimator, which shares neither drive, pooling, activation nor convolution with it.

    Maps of 9 and 3 leave an edge that pooling cuts off. 60 and 40 steps of a map that contracts twofold at least.
    """
    net = hp.convnet((9, 9, 2), (4, 6), 3, weight_scale=1.5, key=jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (3, 9, 9, 2)), jnp.arange(3)
    schedule = PublishedSchedule(60, 40, points, 0.5, complex_throughout=complex_throughout)
    gradient = jax.jit(lambda: published_gradient(net, x, jax.nn.one_hot(y, 3), schedule, unroll=False))()
    ours = hp.Holomorphic(points=points, radius=0.5, solver=SETTLED)(net, x, y).gradient
    agreement = hp.alignment(gradient, ours)
    assert all(a.relative_error < 1e-8 for a in agreement.parameters.values()), agreement.parameters


@pytest.mark.parametrize("samples", [0, 3])
def test_field_step_is_that_of_settled_states(x64, samples):
    """Oracle: our estimator and penalty, of the same vectors; they share neither drive, pooling nor convolution."""
    net = hp.convnet((9, 9, 2), (4, 6), 3, feedback="free", angle=60.0, weight_scale=1.5, key=jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (3, 9, 9, 2)), jnp.arange(3)
    schedule = PublishedField(60, 40, 0.5, learning_rate=0.5, homeostasis=2.0, samples=samples)
    new, task = jax.jit(lambda: published_field_step(net, x, jax.nn.one_hot(y, 3), schedule))()
    ours = hp.Holomorphic(points=2, radius=0.5, solver=SETTLED)(net, x, y)
    agreement = hp.alignment(task, ours.gradient)
    assert all(a.relative_error < 1e-8 for a in agreement.parameters.values()), agreement.parameters
    moved = jax.tree.map(lambda p, q: (p - q) / 0.5, net, new)
    if not samples:
        assert hp.alignment(moved, ours.gradient).total.relative_error < 1e-8
        return
    shapes = net.layer_shapes
    drawn = [
        [jax.random.normal(k, shape) for k, shape in zip(jax.random.split(jax.random.key(n), 2), shapes, strict=True)]
        for n in range(samples)
    ]
    noise = tuple(jnp.stack([jnp.stack([each[layer]] * 3) for each in drawn]) for layer in range(2))
    penalty = hp.homeostasis(net, ours.rest, x, noise=noise, form="jacobian").gradient
    added = jax.tree.map(lambda m, g: (m - g) / 2.0, moved, task)
    assert hp.alignment(added, penalty).total.relative_error < 1e-8


def test_other_networks_are_refused():
    free = hp.mlp(6, (4, 3), 3, feedback="free", key=jax.random.key(0))
    with pytest.raises(ValueError, match="is that of energy networks, and this one has free feedback"):
        published_gradient(free, jnp.zeros((2, 6)), jnp.zeros((2, 3)), PublishedSchedule())

    what = "chains of dense connections or convolutions with softmax pooling, with sigmoid or double_silu and"
    net = hp.mlp(6, (4,), 3, activation="tanh", key=jax.random.key(0))
    with pytest.raises(ValueError, match=rf"{what} cross-entropy, got Dense, Tanh, CrossEntropy$"):
        published_gradient(net, jnp.zeros((2, 6)), jnp.zeros((2, 3)), PublishedSchedule())
    net = hp.convnet((6, 6, 1), (4,), 3, pooling="average", key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"got Conv, AveragePooling, DoubleSilu, CrossEntropy$"):
        published_gradient(net, jnp.zeros((2, 6, 6, 1)), jnp.zeros((2, 3)), PublishedSchedule())
    square = hp.Dense(jnp.zeros((4, 4)), jnp.zeros(4))
    loop = hp.LayeredNetwork(
        (square, square, square),
        hp.Readout(jnp.zeros((4, 3)), jnp.zeros(3)),
        hp.Sigmoid(),
        hp.CrossEntropy(),
        edges=((0, 1), (1, 2), (1, 2)),
    )
    with pytest.raises(ValueError, match=r"and edges$"):
        published_gradient(loop, jnp.zeros((2, 4)), jnp.zeros((2, 3)), PublishedSchedule())

"""From configurations to objects: the right classes with the right numbers."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.data.dataset import normalized
from holoprop.experiments.building import (
    build_augmentation,
    build_estimator,
    build_experiment,
    build_network,
)
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.data_config import DataConfig
from holoprop.experiments.estimator_config import EstimatorConfig
from holoprop.experiments.optimizer_config import OptimizerConfig
from holoprop.experiments.optimizers import accumulated, build_optimizer
from holoprop.experiments.sources import load_config
from holoprop.gradient.nudged import nudged_default
from holoprop.network.pooling import SoftmaxPooling


def test_estimators_get_their_numbers_and_solvers() -> None:
    """Oracle: the objects one would write by hand."""

    def build(**section: object) -> hp.AbstractEstimator:
        return build_estimator(EstimatorConfig.model_validate(section))

    assert build(points=6, radius=0.2) == hp.Holomorphic(points=6, radius=0.2)
    assert build(name="one_sided", beta=-0.3, unsettled="keep") == hp.OneSided(beta=-0.3, unsettled="keep")
    assert build(name="centered", solver="alternating", tolerance=1e-3) == hp.Centered(
        solver=hp.Alternating(tolerance=1e-3)
    )
    assert build(name="implicit", solver="picard", damping=0.5, max_steps=7) == hp.Implicit(
        solver=hp.Picard(damping=0.5, max_steps=7)
    )
    assert build(name="unrolled", steps=12, depth=3) == hp.Unrolled(steps=12, solver=hp.Anderson(depth=3))
    assert build(max_steps=90, tolerance=1e-4, nudged_tolerance=1e-3) == hp.Holomorphic(
        solver=hp.Anderson(tolerance=1e-4, max_steps=90),
        nudged_solver=hp.Anderson(tolerance=1e-3, max_steps=60, fallback=False),
    )
    assert build(radius="auto", gradient_tolerance=1e-3) == hp.Holomorphic(tolerance=1e-3)
    assert build(name="stencil", points=6, beta=0.2) == hp.Stencil(points=6, beta=0.2)
    noise = hp.Noise(0.01)
    assert build(points=15, radius=0.5, noise=0.01, free_steps=100, nudged_steps=60, window=5) == hp.Holomorphic(
        points=15,
        radius=0.5,
        solver=hp.TimeSteps(100, noise=noise, window=5),
        nudged_solver=hp.TimeSteps(60, noise=noise, window=5),
    )
    assert build(name="oscillation", dwell=20, noise=0.01, dt=0.5, unsettled="keep") == hp.Oscillation(
        dwell=20, noise=noise, dt=0.5
    )
    assert build(name="online_oscillation", points=6, periods=1) == hp.OnlineOscillation(
        points=6, periods=1, unsettled="mask"
    )
    assert build(name="continual", beta=-0.5, stretches=9, dwell=2) == hp.Continual(beta=-0.5, stretches=9, dwell=2)


def test_a_continual_estimator_has_a_schedule_of_its_own_length() -> None:
    """Oracle: the cosine falls to half its height after half of all weight updates, several a batch."""
    config = load_config(
        "digits-mlp",
        [
            "estimator={name='continual', stretches=4}",
            "data.train_limit=100",
            "training.batch_size=20",
            "training.epochs=3",
            "optimizer={name='sgd', learning_rate=1.0, schedule='cosine'}",
        ],
    )
    optimizer, moved = build_experiment(config).optimizer, []
    state = optimizer.init(jnp.zeros(()))
    for _ in range(60):
        update, state = optimizer.update(jnp.ones(()), state, jnp.zeros(()))
        moved.append(-float(update))
    np.testing.assert_allclose([moved[0], moved[30]], [1, 0.5], atol=1e-6)
    assert 0 < moved[59] < 0.01


def test_weights_depend_on_the_seed_alone() -> None:
    def weights(*overrides: str) -> np.ndarray:
        net = build_network(load_config("digits-mlp", ["network.hidden=[5]", *overrides]), (8, 8, 1), 10)
        return np.asarray(net.connections[0].weight)

    assert (weights() == weights("training.epochs=7", "estimator.radius=0.3")).all()
    assert (weights() != weights("training.seed=1")).mean() > 0.99
    assert np.allclose(weights("network.weight_scale=0.5"), weights() / 2)


def test_digits_become_flat_inputs_in_the_unit_interval() -> None:
    """Oracle: the data set itself; 8×8 pixels of 0 … 16."""
    experiment = build_experiment(load_config("digits-mlp", ["data.train_limit=50", "data.test_limit=7"]))
    (x, y), (tx, ty) = map(experiment.samples, (experiment.train, experiment.test))
    assert (x.shape, y.shape, tx.shape, ty.shape) == ((50, 64), (50,), (7, 64), (7,))
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (0, 1)
    raw = hp_digits_train()
    assert (x * 16 == raw[:50].reshape(50, 64)).all()
    assert experiment.net.input_shape == (64,)
    assert experiment.net.classes == 10


def test_normalised_inputs_and_what_black_becomes() -> None:
    """Oracle: the pixels in numpy; train and test by the same numbers, those of the training images."""
    chosen = ["data.normalize=true", "data.crop_padding=2", "data.train_limit=50", "data.test_limit=7"]
    experiment = build_experiment(load_config("digits-mlp", chosen))
    data = experiment.dataset
    for part, split in ((experiment.train, data.train), (experiment.test, data.test)):
        x, _ = experiment.samples(part)
        expected = (split.images[: len(x)] / 16 - 0.3055) / 0.3761
        np.testing.assert_allclose(x, expected.reshape(len(x), 64), rtol=0, atol=1e-6)
    augment = experiment.augment
    assert augment is not None and augment.fill is not None
    assert (augment.crop_padding, augment.flip, augment.image_shape) == (2, False, (8, 8, 1))
    # Padded by what black pixels have become; XLA divides vectors and single numbers with different rounding.
    assert augment.fill[0] == pytest.approx(float(experiment.samples(experiment.train)[0].min()), rel=2e-7)
    assert augment.fill[0] == pytest.approx(-0.3055 / 0.3761)


def test_crops_and_flips_are_made_of_whole_images() -> None:
    """Oracle: cropping and flipping pixels and normalising afterwards, as P1's code does; the same bits."""
    section = {"name": "cifar-10", "normalize": True, "std": [0.30345, 0.2991, 0.3015], "crop_padding": 2, "flip": True}
    data = DataConfig.model_validate(section)
    augment = build_augmentation(data, (32, 32, 3), flat=False)
    assert augment is not None
    pixels = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    key = jax.random.key(3)
    late = normalized(np.array(hp.Augmentation(2, flip=True)(jnp.asarray(pixels), key)), data.mean, data.std)
    early = augment(jnp.asarray(normalized(pixels.copy(), data.mean, data.std)), key)
    np.testing.assert_array_equal(early, late)
    assert build_augmentation(DataConfig(), (8, 8, 1), flat=True) is None


def hp_digits_train() -> np.ndarray:
    from holoprop.data.loading import load_dataset

    return load_dataset("digits").train.images


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_momentum_then_decoupled_decay(momentum: float) -> None:
    """Oracle: the update by hand, `v ← g + μ v`, `θ ← θ − η (v + λ θ)`, for three steps."""
    section = {"name": "sgd", "learning_rate": 0.1, "momentum": momentum, "weight_decay": 0.2}
    optimizer = build_optimizer(OptimizerConfig.model_validate(section), 10)
    theta, velocity = 1.5, 0.0
    parameters = jnp.asarray(theta)
    state = optimizer.init(parameters)
    for gradient in (1.0, -2.0, 0.5):
        update, state = optimizer.update(jnp.asarray(gradient), state, parameters)
        parameters = parameters + update
        velocity = gradient + momentum * velocity
        theta = theta - 0.1 * (velocity + 0.2 * theta)
    assert float(parameters) == pytest.approx(theta, rel=1e-6)  # float32 rounding


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_takes_its_first_step_as_long_as_the_learning_rate(name: str) -> None:
    """Oracle: Adam's first step is `−η sign(g)`, whatever the size of `g`; decay adds `−η λ θ`."""
    section = {"name": name, "learning_rate": 0.01, **({"weight_decay": 0.5} if name == "adamw" else {})}
    optimizer = build_optimizer(OptimizerConfig.model_validate(section), 10)
    parameters = jnp.asarray([2.0, -2.0])
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam raises a float to an integer power
        update, _ = optimizer.update(jnp.asarray([3.0, 1e3]), optimizer.init(parameters), parameters)
    decay = 0.01 * 0.5 * parameters if name == "adamw" else 0.0
    assert jnp.allclose(update, -0.01 - decay, rtol=1e-4, atol=1e-6)  # Adam's ε = 1e-8, float32 rounding


RATES, DECAYS, STEPS = (0.1, 0.2, 0.4), (0.0, 0.5, 0.1), 4


@pytest.mark.parametrize(
    "section",
    [
        {"name": "sgd", "momentum": 0.9, "learning_rates": RATES, "weight_decays": DECAYS},
        {"name": "sgd", "learning_rates": RATES, "weight_decay": 0.3},
        {"name": "sgd", "learning_rate": 0.1, "weight_decays": DECAYS},
        {"name": "adam", "learning_rates": RATES},
        {"name": "adamw", "learning_rates": RATES, "weight_decays": DECAYS},
    ],
    ids=["momentum, both", "rates alone", "decays alone", "adam", "adamw"],
)
def test_each_layer_has_its_own_learning_rate_and_weight_decay(section: dict[str, Any]) -> None:
    """Oracle: the updates by hand, `η_t = ½ (1 + cos πt/T) η` of each layer, weights and biases alike.

    SGD: `v ← g + μ v`, `θ ← θ − η_t (v + λ θ)`; Adam: with `v` replaced by `m̂/(√v̂ + 10⁻⁸)`.
    """
    config = OptimizerConfig.model_validate({"schedule": "cosine", **section})
    optimizer = build_optimizer(config, STEPS)
    net = hp.mlp(3, (4, 2), 2, key=jax.random.key(0))
    rng = np.random.default_rng(1)
    theta = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(net)]
    layers = [0, 0, 1, 1, 2, 2]  # a weight and a bias each, as the leaves come
    first, second = ([np.zeros(leaf.shape) for leaf in theta] for _ in range(2))
    state, structure = optimizer.init(net), jax.tree.structure(net)
    for step in range(STEPS):
        gradient = [rng.normal(size=leaf.shape).astype(np.float32) for leaf in theta]
        with jax.numpy_dtype_promotion("standard"):  # as training does for Optax
            update, state = optimizer.update(jax.tree.unflatten(structure, gradient), state, net)
        net = jax.tree.map(lambda p, u: p + u, net, update)
        for k, (g, layer) in enumerate(zip(gradient, layers, strict=True)):
            rate = (config.learning_rates or (config.learning_rate,) * 3)[layer]
            rate = rate * (1 + np.cos(np.pi * step / STEPS)) / 2
            decay = (config.weight_decays or (config.weight_decay or 0.0,) * 3)[layer]
            if config.name == "sgd":
                direction = first[k] = g + config.momentum * first[k]
            else:
                first[k], second[k] = 0.9 * first[k] + 0.1 * g, 0.999 * second[k] + 0.001 * g**2
                mean, square = first[k] / (1 - 0.9 ** (step + 1)), second[k] / (1 - 0.999 ** (step + 1))
                direction = mean / (np.sqrt(square) + 1e-8)
            theta[k] = theta[k] - rate * (direction + decay * theta[k])
    for mine, wanted in zip(jax.tree.leaves(net), theta, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=0, atol=1e-5)  # float32 rounding


def test_layers_of_a_convolutional_network_are_numbered_alike() -> None:
    """Oracle: plain SGD on a gradient of ones; P1's rates for Table 2."""
    rates = (0.25, 0.15, 0.1, 0.08, 0.05)
    net = build_network(load_config("cifar10-small"), (32, 32, 3), 10)
    optimizer = build_optimizer(OptimizerConfig.model_validate({"learning_rates": rates}), 10)
    gradient = jax.tree.map(jnp.ones_like, eqx.filter(net, eqx.is_inexact_array))
    update, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
    moved = [
        (float(leaf.min()), float(leaf.max()))
        for part in (*update.connections, update.readout)
        for leaf in jax.tree.leaves(part)
    ]
    assert np.allclose(moved, [(-rate, -rate) for rate in rates for _ in ("weight", "bias")])


def test_the_cosine_schedule_ends_at_zero() -> None:
    """Oracle: `½ (1 + cos πt/T)` at t = 0, T/2, T."""
    section = {"name": "sgd", "learning_rate": 0.4, "schedule": "cosine"}
    optimizer = build_optimizer(OptimizerConfig.model_validate(section), 10)
    state, sizes = optimizer.init(jnp.asarray(0.0)), []
    for _ in range(11):
        update, state = optimizer.update(jnp.asarray(1.0), state, jnp.asarray(0.0))
        sizes.append(-float(update))
    assert np.allclose([sizes[0], sizes[5], sizes[10]], [0.4, 0.2, 0.0], atol=1e-7)


def test_equal_optimisers_are_one_object() -> None:
    """Oracle: identity; jit keeps compiled steps by it."""
    one, other = (load_config("mnist-mlp", ["training.seed=3"]).optimizer for _ in range(2))
    assert build_optimizer(one, 10) is build_optimizer(other, 10)


def test_a_convolutional_network_is_as_configured() -> None:
    chosen = ["data.name=cifar-10", "network={kind='convnet', channels=[3, 4, 5], pools=[1, 3], pooling='average'}"]
    config = load_config("digits-mlp", chosen)
    net = build_network(config, (32, 32, 3), 10)
    assert net.layer_shapes == ((16, 16, 3), (16, 16, 4), (7, 7, 5))
    assert [type(connection.pooling).__name__ for connection in net.connections] == [
        "AveragePooling",
        "NoneType",
        "AveragePooling",
    ]
    padding = "network.padding=['SAME', 'SAME', 'SAME', 'SAME']"
    hot = load_config("cifar10-small", ["network.pooling=softmax", "network.temperature=10.0", padding])
    net = build_network(hot, (32, 32, 3), 10)
    assert net.layer_shapes[-1] == (2, 2, 64) and net.connections[0].pooling == SoftmaxPooling(temperature=10.0)
    with pytest.raises(ConfigError, match=r"network\.channels: nothing is left of a map of 1×1 after a 3×3 conv"):
        build_network(load_config("cifar10-small"), (8, 8, 1), 10)


def test_mixed_precision_is_of_both_solvers() -> None:
    config = load_config("cifar10-small", ["network.dtype=mixed"])
    built = build_estimator(config.estimator, mixed=True)
    free = hp.Anderson(depth=3, tolerance=1e-1, max_steps=60)
    nudged = hp.Anderson(depth=3, tolerance=4e-3, max_steps=30, fallback=False)
    expected = hp.Holomorphic(2, 0.25, solver=hp.Mixed(free), nudged_solver=hp.Mixed(nudged))
    assert eqx.tree_equal(built, expected)
    assert nudged_default(hp.Mixed(free, 0.5)).rough_tolerance == 0.5


def test_residual_and_feed_forward_networks_are_as_configured() -> None:
    """Oracle: what the builders make of the same settings, leaf by leaf."""
    resnet = "network={kind='resnet', channels=[3, 4], blocks=1, strength=0.25, activation='tanh'}"
    rates = "optimizer={learning_rates=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]}"
    config = load_config("cifar10-small", [resnet, rates, "training.seed=5"])
    key = jax.random.fold_in(jax.random.key(5), 2**32 - 1)
    settings = {"blocks": 1, "strength": 0.25, "activation": "tanh", "key": key}
    assert eqx.tree_equal(build_network(config, (8, 8, 3), 10), hp.resnet((8, 8, 3), (3, 4), 10, **settings))
    forward = ["network.feedback=off", "network.activation=relu", "estimator={name='backpropagation'}"]
    config = load_config("cifar10-small", forward)
    net = build_network(config, (32, 32, 3), 10)
    assert not net.feedback and net.activation == hp.ReLU()
    assert isinstance(build_estimator(config.estimator), hp.Backpropagation)
    with pytest.raises(ConfigError, match=r"network\.feedback = 'off' leaves nothing to settle, .*'holomorphic'"):
        load_config("cifar10-small", forward[:2])
    with pytest.raises(ConfigError, match=r"'backpropagation' is of feed-forward networks: set network\.feedback"):
        load_config("cifar10-small", forward[2:])
    with pytest.raises(ConfigError, match=r"network\.start = 'zeros' has no meaning with network\.feedback = 'off'"):
        load_config("cifar10-small", [*forward, "network.start=zeros"])


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("network.padding=['SAME']", "network.padding must be one for each of the 4 convolutions"),
        ("network.pools=[2, 5]", "network.pools must be numbers of convolutions, 1 … 4, got 5"),
        (
            "network={kind='convnet'}",
            "network.channels is missing: give a list, not empty, of which each is",
        ),
        ("network={kind='mlp'}", "network.hidden is missing: give a list, not empty, of which each is an integer ≥ 1"),
        (
            "network={kind='convnet', channels=[4], pooling='max', temperature=2.0}",
            "network.temperature = 2 has no meaning with network.pooling = 'max', only with 'softmax'",
        ),
    ],
)
def test_convolutions_that_cannot_be_are_refused(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("cifar10-small", [override])
    assert str(caught.value).startswith(line)


def test_max_pooling_is_no_place_for_a_circle() -> None:
    with pytest.raises(ConfigError, match=r"network\.pooling = 'max' is not holomorphic, which estimator\.points"):
        load_config("cifar10-small", ["network.pooling=max", "estimator.points=4"])
    assert load_config("cifar10-small", ["network.pooling=max"]).network.pooling == "max"


def test_float64_reaches_the_parameters() -> None:
    with jax.enable_x64(True):
        net = build_network(load_config("digits-mlp", ["network.dtype=float64"]), (8, 8, 1), 10)
    assert net.connections[0].weight.dtype == np.float64


def test_accumulated_gradients_move_once_by_their_mean() -> None:
    """Oracle: plain descent with momentum by hand; in between nothing moves."""
    config = OptimizerConfig.model_validate({"learning_rate": 0.5, "momentum": 0.5})
    optimizer = accumulated(config, 6, 3)
    assert accumulated(config, 6, 3) is optimizer and accumulated(config, 6, 1) is build_optimizer(config, 6)
    parameters, gradients = jnp.zeros(2), np.arange(12.0).reshape(6, 2)
    state, seen = optimizer.init(parameters), []
    for gradient in gradients:
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(jnp.asarray(gradient), state, parameters)
        parameters = parameters + updates
        seen.append(np.asarray(parameters))
    first, second = gradients[:3].mean(0), gradients[3:].mean(0)
    np.testing.assert_allclose(
        seen, [[0, 0]] * 2 + [-first / 2] * 3 + [-first / 2 - (first / 2 + second) / 2], rtol=1e-6
    )

"""From a configuration to the objects it names: data, network, solver, estimator, optimiser."""

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from holoprop.data.augmentation import Augmentation
from holoprop.data.dataset import Dataset, Split
from holoprop.data.loading import load_dataset
from holoprop.data.preparation import Preparation
from holoprop.experiments.config import Config
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.data_config import DataConfig
from holoprop.experiments.estimator_config import EstimatorConfig
from holoprop.experiments.network_config import NetworkConfig
from holoprop.experiments.optimizers import accumulated
from holoprop.experiments.schedules import cosine_schedule
from holoprop.gradient.continual import AbstractContinualEstimator, Continual
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.finite_difference import Centered, OneSided
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import ForwardResponse, Implicit
from holoprop.gradient.nudged import nudged_default
from holoprop.gradient.oscillation import OnlineOscillation, Oscillation
from holoprop.gradient.stencil import Stencil
from holoprop.gradient.unrolled import Backpropagation, Unrolled
from holoprop.network.build import feedforward, loop_mlp, mlp
from holoprop.network.build_conv import convnet, resnet
from holoprop.network.layered import LayeredNetwork
from holoprop.network.pooling import SoftmaxPooling, pooling_named
from holoprop.settling.anderson import Anderson
from holoprop.settling.mixed import Mixed
from holoprop.settling.plain import Alternating, Picard
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import Noise, TimeSteps
from holoprop.symmetry.homeostatic import Homeostatic
from holoprop.symmetry.kolen_pollack import KolenPollack

# `fit` folds step numbers into the seed's key; this is none of them, so the weights share no randomness with a step.
_WEIGHTS = 2**32 - 1


class Experiment(NamedTuple):
    """What a configuration describes, ready to run.

    **Attributes:** `dataset`; `train` and `test`: its parts, shortened as configured; `prepare`: makes inputs of their
    pixels, in [0, 1] or normalised, `(n, features)` or, for convolutions, `(n, height, width, channels)`; `net`, at its
    initial weights; `estimator`; `optimizer`; `augment`: what is done to batches of training inputs, if anything.
    """

    dataset: Dataset
    train: Split
    test: Split
    prepare: Preparation
    net: LayeredNetwork
    estimator: AbstractEstimator
    optimizer: optax.GradientTransformation
    augment: Augmentation | None = None

    def samples(self, split: Split, index: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs, as the network takes them, and labels of some samples of `train` or `test`."""
        return np.asarray(self.prepare(jnp.asarray(split.pixels(index)))), split.labels[index]


def build_experiment(config: Config) -> Experiment:
    """Build everything a configuration names; data that are not on this machine are downloaded.

    To be called under `jax.enable_x64(config.network.dtype == "float64")`, as `run_training` does.

    **Raises:** `DataError` for data that cannot be had or are damaged; `ConfigError` for files that need not be the
    official ones (`data.verify = false`) and hold fewer samples than the configuration asks for.
    """
    data, training = config.data, config.training
    dataset = load_dataset(data.name, verify=data.verify)
    train = _shortened(dataset.train, "train", data)
    if training.batch_size > len(train):
        raise ConfigError(
            f"training.batch_size must be at most {len(train)}, the training samples of {data.name} in use, got "
            f"{training.batch_size}"
        )
    steps = training.epochs * (len(train) // training.batch_size)
    estimator = build_estimator(config.estimator, steps=steps, mixed=config.network.dtype == "mixed")
    if isinstance(estimator, AbstractContinualEstimator):
        steps *= estimator.updates
    flat = config.network.hidden is not None
    dtype = "float64" if config.network.dtype == "float64" else "float32"
    return Experiment(
        dataset=dataset,
        train=train,
        test=_shortened(dataset.test, "test", data),
        prepare=Preparation(train.scale, data.mean, data.std, flat=flat, dtype=dtype),
        net=build_network(config, dataset.image_shape, dataset.classes),
        estimator=estimator,
        optimizer=accumulated(config.optimizer, steps, training.accumulate, dtype),
        augment=build_augmentation(data, dataset.image_shape, flat=flat),
    )


def build_augmentation(data: DataConfig, image_shape: tuple[int, int, int], *, flat: bool) -> Augmentation | None:
    """Return what is done to batches of training inputs, normalised already; `None` if that is nothing.

    Images are padded with black, which normalising has moved away from 0.
    """
    if not (data.crop_padding or data.flip):
        return None
    black = Preparation(mean=data.mean, std=data.std)(jnp.zeros((1, 1, 1, image_shape[-1]), jnp.uint8))
    return Augmentation(data.crop_padding, data.flip, tuple(black.ravel().tolist()), image_shape if flat else None)


def build_network(config: Config, image_shape: tuple[int, int, int], classes: int) -> LayeredNetwork:
    """Return the network at its initial weights, which depend on `training.seed` alone.

    **Raises:** `ConfigError` if nothing is left of the images after so many convolutions.
    """
    network = config.network
    common: dict[str, Any] = {
        "activation": network.activation,
        "cost": network.cost,
        "weight_scale": network.weight_scale,
        "weight_std": network.weight_std,
        "key": jax.random.fold_in(jax.random.key(config.training.seed), _WEIGHTS),
        **_given(start=network.start),
    }
    net = _network(network, image_shape, classes, common)
    return feedforward(net, activation=network.activation) if network.feedback == "off" else net


def _network(
    network: NetworkConfig, image_shape: tuple[int, int, int], classes: int, common: dict[str, Any]
) -> LayeredNetwork:
    if network.feedback == "free":
        common |= {"feedback": "free", **_given(angle=network.angle)}
    if network.hidden is not None:
        dense = loop_mlp if network.kind == "loop_mlp" else mlp
        return dense(math.prod(image_shape), network.hidden, classes, **common)
    assert network.channels is not None
    if network.kind == "resnet":
        shape = _given(kernel=network.kernel, blocks=network.blocks, strength=network.strength)
        return resnet(image_shape, network.channels, classes, **shape, **common)
    assert network.pooling is not None
    pooling = pooling_named(network.pooling)
    if network.temperature is not None:
        pooling = SoftmaxPooling(temperature=network.temperature)
    shape = _given(kernel=network.kernel, padding=network.padding, pools=network.pools)
    try:
        return convnet(image_shape, network.channels, classes, pooling=pooling, **shape, **common)
    except ValueError as error:
        raise ConfigError(f"network.channels: {error}") from None


def build_estimator(estimator: EstimatorConfig, *, steps: int = 1, mixed: bool = False) -> AbstractEstimator:
    """Return the estimator with its solvers, and what is done to its gradient for the sake of symmetry.

    **Arguments:** `steps`: of the run, over which a schedule falls; `mixed`: whether solvers that settle to a tolerance
    do so in mixed precision.
    """
    built = _estimator(estimator, mixed=mixed)
    if estimator.kolen_pollack is not None:
        built = KolenPollack(estimator=built, decay=estimator.kolen_pollack)
    if estimator.homeostasis is not None:
        weight: Any = estimator.homeostasis
        if estimator.homeostasis_schedule == "cosine":
            weight = cosine_schedule(weight, steps)
        own = _given(samples=estimator.homeostasis_samples, form=estimator.homeostasis_form)
        built = Homeostatic(estimator=built, weight=weight, **own)
    return built


def _estimator(estimator: EstimatorConfig, *, mixed: bool) -> AbstractEstimator:
    solver: AbstractSolver = _solver(estimator, estimator.tolerance, estimator.max_steps)
    if mixed:
        solver = Mixed(solver)
    noise = None if estimator.noise is None else Noise(estimator.noise)
    if estimator.free_steps is not None:
        solver = TimeSteps(estimator.free_steps, noise=noise, **_given(window=estimator.window))
    common: dict[str, Any] = {"solver": solver, "unsettled": estimator.unsettled}
    if estimator.name == "implicit":
        return Implicit(**common)
    if estimator.name == "forward_response":
        return ForwardResponse(**common)
    if estimator.name == "backpropagation":
        return Backpropagation(**common)
    if estimator.name == "unrolled":
        return Unrolled(**common, **_given(steps=estimator.steps))
    stepping = {"dwell": estimator.dwell, "dt": estimator.dt, "noise": noise}
    if estimator.name == "continual":
        return Continual(**common, **_given(beta=estimator.beta, stretches=estimator.stretches, **stepping))
    if estimator.name in ("oscillation", "online_oscillation"):
        turning = OnlineOscillation if estimator.name == "online_oscillation" else Oscillation
        circle = {"points": estimator.points, "radius": estimator.radius, "periods": estimator.periods}
        return turning(**common, **_given(form=estimator.form, **circle, **stepping))
    common |= _given(form=estimator.form, asymmetry=estimator.asymmetry)
    given = _given(tolerance=estimator.nudged_tolerance, max_steps=estimator.nudged_max_steps)
    if given:
        nudged = nudged_default(solver)
        if isinstance(nudged, Mixed):
            common["nudged_solver"] = Mixed(dataclasses.replace(nudged.solver, **given))
        else:
            common["nudged_solver"] = dataclasses.replace(nudged, **given)
    if estimator.nudged_steps is not None:
        common["nudged_solver"] = TimeSteps(estimator.nudged_steps, noise=noise, **_given(window=estimator.window))
    if estimator.name == "stencil":
        return Stencil(**common, **_given(points=estimator.points, beta=estimator.beta))
    if estimator.name == "holomorphic":
        circle = {
            "points": estimator.points,
            "radius": estimator.radius,
            "tolerance": estimator.gradient_tolerance,
            "points_per_batch": estimator.points_per_batch,
        }
        return Holomorphic(**common, **_given(**circle))
    finite_difference = OneSided if estimator.name == "one_sided" else Centered
    return finite_difference(**common, **_given(beta=estimator.beta))


def _solver(estimator: EstimatorConfig, tolerance: float | None, max_steps: int) -> AbstractSolver:
    if estimator.solver == "alternating":
        return Alternating(tolerance=tolerance, max_steps=max_steps)
    if estimator.solver == "picard":
        return Picard(tolerance=tolerance, max_steps=max_steps, **_given(damping=estimator.damping))
    return Anderson(tolerance=tolerance, max_steps=max_steps, **_given(depth=estimator.depth))


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _shortened(split: Split, part: Literal["train", "test"], data: DataConfig) -> Split:
    limit = data.train_limit if part == "train" else data.test_limit
    if limit is not None and limit > len(split):
        raise ConfigError(
            f"data.{part}_limit must be at most {len(split)}, the {part} samples of {data.name} here, got {limit}"
        )
    return split if limit is None else split.subset(slice(limit))

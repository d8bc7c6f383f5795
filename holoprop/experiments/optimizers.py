"""From the section `[optimizer]` to the optimiser of a run."""

import functools
from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import optax

from holoprop.experiments.optimizer_config import OptimizerConfig
from holoprop.experiments.schedules import learning_rate_schedule
from holoprop.experiments.variants import VARIANTS


# A compiled step is kept for its optimiser object, so equal optimisers must be one object or each run compiles anew.
@functools.cache
def build_optimizer(optimizer: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Return the optimiser of a run of `steps` steps (continual estimators take several for each batch).

    Optax's optimiser of the configured name, but for `sgd`: with it, decoupled weight decay adds
    `−rate · weight_decay · θ`, to biases too. Where the configuration has a number for each layer, a network's
    connections and readout each get an optimiser of their own. Before that the gradient is clipped, as a whole.

    **Raises:** `ConfigError` for a warm-up that does not fit into the run.
    """
    clips = [optax.clip(optimizer.clip_value)] if optimizer.clip_value is not None else []
    clips += [optax.clip_by_global_norm(optimizer.clip_norm)] if optimizer.clip_norm is not None else []
    moving = _by_layer(optimizer, steps)
    return optax.chain(*clips, moving) if clips else moving


@functools.cache
def accumulated(
    optimizer: OptimizerConfig, steps: int, accumulate: int, dtype: str = "float32"
) -> optax.GradientTransformation:
    """Return the optimiser of a run of `steps` steps, which moves once in `accumulate` of them, by the mean gradient.

    **Arguments:** `dtype`: in which gradients are added up.

    **Raises:** as `build_optimizer`.
    """
    if accumulate == 1:
        return build_optimizer(optimizer, steps)
    moving = build_optimizer(optimizer, max(1, steps // accumulate))
    several = optax.MultiSteps(moving, every_k_schedule=accumulate, accumulator_dtype=dtype)
    return several.gradient_transformation()


def _by_layer(optimizer: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """One optimiser for all parameters, or one for each layer."""
    rates, decays = optimizer.learning_rates, optimizer.weight_decays
    rate, decay = optimizer.learning_rate or 0.0, optimizer.weight_decay or 0.0
    if rates is None and decays is None:
        return _uniform_optimizer(optimizer, rate, decay, steps)
    layers = len(rates or decays or ())
    pairs = zip(rates or (rate,) * layers, decays or (decay,) * layers, strict=True)
    parts: dict[Hashable, optax.GradientTransformation] = {
        layer: _uniform_optimizer(optimizer, *pair, steps) for layer, pair in enumerate(pairs)
    }
    return optax.partition(parts, _layer_numbers)


def _layer_numbers(net: Any) -> Any:
    """The number of the layer, in place of each parameter: connections from 0, then the readout."""
    connections = tuple(jax.tree.map(lambda _, i=i: i, each) for i, each in enumerate(net.connections))
    readout = jax.tree.map(lambda _: len(connections), net.readout)
    return eqx.tree_at(lambda net: (net.connections, net.readout), net, (connections, readout))


def _uniform_optimizer(
    optimizer: OptimizerConfig, peak: float, decay: float, steps: int
) -> optax.GradientTransformation:
    """One learning rate and one weight decay for all parameters."""
    rate = learning_rate_schedule(optimizer, peak, steps)
    options: dict[str, Any] = dict(optimizer.options or ())
    if optimizer.name == "sgd":
        # Momentum comes first: decay that went through it would no longer be decoupled.
        parts = [optax.trace(optimizer.momentum, **options)] if optimizer.momentum else []
        parts += [optax.add_decayed_weights(decay)] if decay else []
        return optax.chain(*parts, optax.scale_by_learning_rate(rate))
    if optimizer.name == "sm3":
        # Optax's own takes a number for its learning rate, but no schedule.
        return optax.chain(optax.scale_by_sm3(optimizer.momentum or 0.0), optax.scale_by_learning_rate(rate))
    if "weight_decay" in VARIANTS["optimizer", "name"][optimizer.name]:
        options["weight_decay"] = decay
    if optimizer.momentum is not None:
        options["momentum"] = optimizer.momentum
    return getattr(optax, optimizer.name)(rate, **options)

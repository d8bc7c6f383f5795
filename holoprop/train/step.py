"""One training step: estimate the gradient, let the optimiser move the parameters, say what happened.

A step in which no sample was kept, or whose gradient or new parameters are not finite, moves nothing: neither the
parameters nor the optimiser's state (momentum would otherwise go on moving them). With `unsettled="raise"` neither does
one in which some sample did not settle. Continual estimators get an optimiser's step at each of their increments; all
of them are taken back in the same cases.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float, Int, Key, Num, PRNGKeyArray, PyTree

from holoprop.gradient.continual import AbstractContinualEstimator
from holoprop.gradient.estimate import AbstractEstimator, Estimate
from holoprop.network.base import AbstractNetwork, Inputs, Targets, parameter_dtype
from holoprop.network.cost import one_hot
from holoprop.settling.substrate import Programmed

Augment = Callable[[Array, PRNGKeyArray], Array]
"""What is done to a batch of training inputs before a step: a traceable function of the batch and a key."""
Prepare = Callable[[Array], Array]
"""What makes inputs of what is stored, such as pixels: a traceable function of a batch."""

# No estimator folds so large a number into its key, so the images share no randomness with the noise.
_AUGMENTATION = 2**32 - 1


class TrainState(eqx.Module):
    """What training carries from step to step: network, optimiser state, estimator memory."""

    net: Any
    optimizer_state: PyTree
    memory: PyTree


class StepMetrics(eqx.Module):
    """What one step saw, as scalars on the device.

    **Attributes:** `loss` and `accuracy` are means over the kept samples (NaN if none), `kept` their number,
    `unsettled` the share that did not settle, `gradient_norm` the Euclidean norm over all parameters, `residual_log10`
    the mean log10 of the free residuals that are finite (NaN if none is), `finite` their number, `sweeps` the mean
    number of steps of the free phase, `moved` whether the parameters were updated.
    """

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    kept: Int[Array, ""]
    unsettled: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    residual_log10: Float[Array, ""]
    finite: Int[Array, ""]
    sweeps: Float[Array, ""]
    moved: Bool[Array, ""]


def initial_train_state(
    net: AbstractNetwork | Programmed,
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
    batch_size: int,
) -> TrainState:
    """Return the state before the first step."""
    memory = None if isinstance(net, Programmed) else estimator.init(net, batch_size)
    return TrainState(net, optimizer.init(_parameters(net)), memory)


class Recipe(eqx.Module):
    """What every step of a run does with its batch.

    **Attributes:** `estimator`, `optimizer`; `prepare`: makes inputs of the batch; `augment`: is then done to them;
    `label_smoothing` `ε`: targets are `(1 − ε)` one-hot `+ ε/classes`; `everywhere`: how what a step returns lies on
    several devices.
    """

    estimator: AbstractEstimator
    optimizer: optax.GradientTransformation
    prepare: Prepare | None = None
    augment: Augment | None = None
    label_smoothing: float = 0.0
    everywhere: NamedSharding | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and less than 1, got {self.label_smoothing}")

    def inputs(self, x: Array, key: PRNGKeyArray) -> Array:
        """Return the inputs of a step; traceable."""
        x = jnp.asarray(x) if self.prepare is None else self.prepare(jnp.asarray(x))
        return x if self.augment is None else self.augment(x, jax.random.fold_in(key, _AUGMENTATION))

    def targets(self, net: AbstractNetwork | Programmed, y: Targets) -> Targets:
        """Return labels as they are, or smoothed targets `(batch, classes)`."""
        if not self.label_smoothing:
            return y
        dtype = jnp.result_type(float) if isinstance(net, Programmed) else parameter_dtype(net)
        return one_hot(jnp.asarray(y), net.classes, dtype) * (1 - self.label_smoothing) + (
            self.label_smoothing / net.classes
        )


def train_step(
    state: TrainState,
    x: Inputs,
    y: Targets,
    key: PRNGKeyArray,
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
    augment: Augment | None = None,
    *,
    prepare: Prepare | None = None,
    label_smoothing: float = 0.0,
) -> tuple[TrainState, StepMetrics]:
    """Take one step on a batch; compiled once per batch shape (a substrate that is not jittable settles on the host).

    **Arguments:** `state`: from `initial_train_state`, of the same `estimator` and `optimizer`; `x`:
    `(batch, *input_shape)`, or what `prepare` makes that of; `y`: integer labels `(batch,)`; `key`: for estimators that
    draw noise, and for `augment`, what is done to the inputs first, such as an `Augmentation`; `prepare`: makes inputs
    of what is stored, such as a `Preparation`; `label_smoothing`: as in `fit`.

    **Returns:** the new state and the step's metrics.

    **Raises:** `ValueError` for a `label_smoothing` outside [0, 1).
    """
    return take_step(state, x, y, key, Recipe(estimator, optimizer, prepare, augment, label_smoothing))


def take_step(
    state: TrainState, x: Inputs, y: Targets, key: PRNGKeyArray, recipe: Recipe
) -> tuple[TrainState, StepMetrics]:
    """Take one step by a recipe, as `train_step` does."""
    if not (isinstance(state.net, Programmed) and not state.net.jittable):
        return _compiled_step(state, x, y, key, recipe)
    if recipe.augment is not None or recipe.prepare is not None:
        # On the host a device may be double where JAX is single.
        stored = np.asarray(x).dtype
        x = np.asarray(_compiled_inputs(x, key, recipe), stored if stored.kind == "f" else None)
    target = np.asarray(recipe.targets(state.net, y))
    estimate = recipe.estimator(state.net, x, target, key=key, memory=state.memory)
    return _compiled_move(state, estimate, y, recipe)


@eqx.filter_jit
def take_steps(
    states: TrainState,
    x: Num[Array | np.ndarray, "runs batch ..."],
    y: Int[Array | np.ndarray, "runs batch"],
    keys: Key[Array, " runs"],
    recipe: Recipe,
) -> tuple[TrainState, StepMetrics]:
    """Take one step of several runs at once: everything has a leading axis of runs, and so have the results."""
    lead = (eqx.if_array(0), 0, 0, 0, None)
    return eqx.filter_vmap(_step, in_axes=lead)(states, jnp.asarray(x), jnp.asarray(y), keys, recipe)


@eqx.filter_jit
def _compiled_step(state, x, y, key, recipe) -> tuple[TrainState, StepMetrics]:
    result = _step(state, x, y, key, recipe)
    return result if recipe.everywhere is None else eqx.filter_shard(result, recipe.everywhere)


@eqx.filter_jit
def _compiled_move(state, estimate, y, recipe) -> tuple[TrainState, StepMetrics]:
    return _move(state, estimate, y, recipe.estimator, recipe.optimizer)


@eqx.filter_jit
def _compiled_inputs(x, key, recipe) -> Array:
    return recipe.inputs(x, key)


def _step(state: TrainState, x: Array, y: Targets, key: PRNGKeyArray, recipe: Recipe) -> tuple[TrainState, StepMetrics]:
    estimator, optimizer = recipe.estimator, recipe.optimizer
    x, target = recipe.inputs(x, key), recipe.targets(state.net, y)
    if isinstance(estimator, AbstractContinualEstimator):
        return _move_continually(state, x, y, target, key, estimator, optimizer)
    return _move(state, estimator(state.net, x, target, key=key, memory=state.memory), y, estimator, optimizer)


def _move(
    state: TrainState,
    estimate: Estimate,
    y: Targets,
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, StepMetrics]:
    """Move the parameters by an estimate, if it is one to move by."""
    net, optimizer_state = _updated(state.net, state.optimizer_state, estimate.gradient, optimizer)
    return _judged(state, TrainState(net, optimizer_state, estimate.memory), estimate, y, estimator)


def _move_continually(
    state: TrainState,
    x: Inputs,
    y: Targets,
    target: Targets,
    key: PRNGKeyArray,
    estimator: AbstractContinualEstimator,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, StepMetrics]:
    """Move the parameters at each increment of an estimate, and take it all back if it is not one to move by."""
    x, target = estimator.prepare(state.net, x, target)

    def move(net: Any, optimizer_state: PyTree, increment: Any) -> tuple[Any, PyTree]:
        return _updated(net, optimizer_state, increment, optimizer)

    estimate, net, optimizer_state = estimator.run(
        state.net, x, target, move, state.optimizer_state, key=key, memory=state.memory
    )
    return _judged(state, TrainState(net, optimizer_state, estimate.memory), estimate, y, estimator)


def _updated(
    net: Any, optimizer_state: PyTree, gradient: Any, optimizer: optax.GradientTransformation
) -> tuple[Any, PyTree]:
    """Return the network and the optimiser's state after a step along `gradient`."""
    if isinstance(net, Programmed):
        gradient = Programmed(net.device, gradient)
    # Optax counts on JAX's default promotion (Adam raises a float to an integer power), whatever the caller has set.
    with jax.numpy_dtype_promotion("standard"):
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, _parameters(net))
    return eqx.apply_updates(net, updates), optimizer_state


def _judged(
    state: TrainState, proposed: TrainState, estimate: Estimate, y: Targets, estimator: AbstractEstimator
) -> tuple[TrainState, StepMetrics]:
    """Return the proposed state, or the old one if something in it is not to be trusted; and what the step saw."""
    kept = estimate.certificate.kept
    norm = jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(estimate.gradient)))
    # Of the new parameters too: were they not finite, no sample would settle any more, and all be masked from then on.
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(_parameters(proposed.net))]
    moved = jnp.any(kept) & jnp.isfinite(norm) & jnp.isfinite(estimate.loss) & jnp.all(jnp.stack(finite))
    if estimator.unsettled == "raise":
        moved = moved & (estimate.certificate.unsettled_share == 0)
    new = jax.tree.map(lambda a, b: jnp.where(moved, a, b) if eqx.is_array(a) else a, proposed, state)
    right = (jnp.argmax(estimate.logits, -1).astype(jnp.int32) == jnp.asarray(y).astype(jnp.int32)) & kept
    count = jnp.sum(kept.astype(norm.dtype))
    residual = estimate.rest.residual
    measured = jnp.isfinite(residual)
    logs = jnp.log10(jnp.where(measured, jnp.maximum(residual, jnp.finfo(residual.dtype).tiny), 1))
    metrics = StepMetrics(
        loss=estimate.loss,
        accuracy=jnp.sum(right.astype(norm.dtype)) / count,
        kept=jnp.sum(kept.astype(jnp.int32)),
        unsettled=estimate.certificate.unsettled_share,
        gradient_norm=norm,
        residual_log10=jnp.sum(logs) / jnp.sum(measured.astype(logs.dtype)),
        finite=jnp.sum(measured.astype(jnp.int32)),
        sweeps=jnp.mean(estimate.rest.steps.astype(norm.dtype)),
        moved=moved,
    )
    return new, metrics


def _parameters(net: AbstractNetwork | Programmed) -> Any:
    return eqx.filter(net, eqx.is_inexact_array)

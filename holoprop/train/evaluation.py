"""Evaluation: the free phase alone, on every sample.

Nothing is masked: a sample that did not settle counts as it stands.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from holoprop.data.batches import padded_batches
from holoprop.gradient.measured import finite_samples
from holoprop.gradient.nudged import read_out
from holoprop.network.base import AbstractNetwork, Inputs, Targets, parameter_dtype
from holoprop.network.cost import one_hot
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint, check_inputs
from holoprop.settling.rest import Status
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.substrate import Substrate
from holoprop.settling.time_stepping import TimeSteps
from holoprop.train.devices import Devices
from holoprop.train.step import Prepare


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a network makes of a labelled set, sample by sample.

    **Attributes:** `loss` (mean cost) and `accuracy` (share in [0, 1]); `labels` `(n,)`, `logits` `(n, classes)`,
    `residual`, `steps`, `status` `(n,)` of the free rest states, all numpy; `unsettled_share`.
    """

    loss: float
    accuracy: float
    labels: np.ndarray
    logits: np.ndarray
    residual: np.ndarray
    steps: np.ndarray
    status: np.ndarray
    unsettled_share: float

    @property
    def top5_accuracy(self) -> float:
        """Share of samples whose label is among the five largest logits; ties count against it."""
        true = np.take_along_axis(self.logits, self.labels[:, None], -1)
        # Not "as large": a logit that is not a number is above none, and must not count as right.
        return float(((~(self.logits < true)).sum(-1) <= 5).mean())


def evaluate(
    net: AbstractNetwork | Substrate,
    x: Any,
    y: np.ndarray,
    *,
    solver: AbstractSolver | None = None,
    batch_size: int = 256,
    prepare: Prepare | None = None,
    devices: Devices = Devices(),
) -> Evaluation:
    """Settle the free phase of every sample and compare the readout with the labels.

    **Arguments:** `net`: a network or a `Substrate` (which has its own solver and tells no residual: NaN); `x`:
    `(n, *input_shape)` real; `y`: integer labels `(n,)`; `solver`: default `Anderson()`, its noise, if it has
    any, left out; `batch_size`: samples at once; `prepare`: makes inputs of what is stored in `x`, such as a
    `Preparation`; `devices`: that share a batch.

    **Returns:** an `Evaluation`; samples that did not settle are counted like the others, and their share is reported.

    **Raises:** `ValueError` if shapes do not fit or there are no samples.
    """
    if len(x) != len(y):
        raise ValueError(f"x holds {len(x)} samples but y holds {len(y)}")
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels must be integers of shape (n,), got {y.dtype} of shape {y.shape}")
    first = jnp.asarray(x[:1])
    if not isinstance(net, Substrate):
        check_inputs(net, first if prepare is None else prepare(first))
    solver = Anderson() if solver is None else solver
    if isinstance(solver, TimeSteps):
        solver = dataclasses.replace(solver, noise=None)
    parts = []
    for index, valid in padded_batches(len(x), batch_size, multiple=devices.count):
        count = int(np.sum(valid))
        if isinstance(net, Substrate):
            stored = jnp.asarray(x[index])
            batch = _measure_batch(net, x[index] if prepare is None else np.asarray(prepare(stored)), y[index])
        else:
            own = index[devices.part(len(index))]
            inputs, labels = devices.share((x[own], y[own]))
            batch = _evaluate_batch(net, inputs, labels, solver, prepare, devices.everywhere)
        parts.append([np.asarray(part)[:count] for part in batch])
    logits, losses, residual, steps, status = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Evaluation(
        loss=float(losses.mean(dtype=np.float64)),
        accuracy=float((logits.argmax(-1) == y).mean()),
        labels=y,
        logits=logits,
        residual=residual,
        steps=steps,
        status=status,
        unsettled_share=float(((status != Status.settled) & (status != Status.not_applicable)).mean()),
    )


@eqx.filter_jit
def _evaluate_batch(
    net: AbstractNetwork,
    x: Inputs,
    y: Targets,
    solver: AbstractSolver,
    prepare: Prepare | None,
    everywhere: NamedSharding | None,
) -> tuple[jax.Array, ...]:
    x = jnp.asarray(x) if prepare is None else prepare(jnp.asarray(x))
    rest = settle_problem(FixedPoint.of(net, x), solver)
    logits, losses = read_out(net, rest.state, one_hot(jnp.asarray(y), net.classes, parameter_dtype(net)))
    result = logits, losses, rest.residual, rest.steps, rest.status
    return result if everywhere is None else eqx.filter_shard(result, everywhere)


def _measure_batch(substrate: Substrate, x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
    target = np.eye(substrate.classes)[y]
    parameters = substrate.parameters if substrate.jittable else jax.tree.map(np.asarray, substrate.parameters)
    activities = substrate.settle(parameters, x, target, 0.0)
    status = np.where(finite_samples(activities, len(x)), Status.not_applicable, Status.diverged).astype(np.int32)
    residual, steps = np.full(len(x), np.nan, np.float32), np.zeros(len(x), np.int32)
    return substrate.logits(activities), substrate.cost(activities, target), residual, steps, status

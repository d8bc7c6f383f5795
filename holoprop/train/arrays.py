"""The arrays that a network is trained on, checked once before anything is computed."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from holoprop.network.base import AbstractNetwork, parameter_dtype
from holoprop.settling.fixed_point import check_inputs
from holoprop.settling.substrate import Programmed
from holoprop.train.step import Prepare

Arrays = tuple[Any, np.ndarray]
"""Inputs `(n, *shape)` and labels `(n,)`; inputs may be anything that gives a batch for an array of indices."""


def checked_arrays(
    net: AbstractNetwork | Programmed, data: Arrays, batch_size: int, prepare: Prepare | None = None
) -> Arrays:
    """Return inputs, in the network's precision unless they are yet to be prepared, and labels.

    **Arguments:** `data`: inputs `(n, *shape)` and integer labels `(n,)`; `prepare`: what makes inputs of what is
    stored, if anything: then `x` stays as it is, and may be an array that is not in memory.

    **Raises:** `ValueError`, one line, for shapes, labels or numbers that do not fit the network.
    """
    x, y = data[0] if prepare is not None else np.asarray(data[0]), np.asarray(data[1])
    if not isinstance(net, Programmed):
        check_inputs(net, x[:1] if prepare is None else prepare(jnp.asarray(x[:1])))
    if len(x) != len(y):
        raise ValueError(f"x holds {len(x)} samples but y holds {len(y)}")
    if len(x) < batch_size:
        raise ValueError(f"batch_size must be at most the number of samples, got {batch_size} for {len(x)} samples")
    if not np.issubdtype(y.dtype, np.integer) or y.ndim != 1:
        raise ValueError(f"labels must be integers of shape (n,), got {y.dtype} of shape {y.shape}")
    if y.min() < 0 or y.max() >= net.classes:
        raise ValueError(f"labels must be in 0…{net.classes - 1}, got {y.min()}…{y.max()}")
    if prepare is not None:
        return x, y
    x = x.astype(parameter_dtype(net), copy=False)
    if not np.isfinite(x).all():
        raise ValueError(f"inputs must be finite: {int((~np.isfinite(x)).sum())} values are NaN or infinite")
    return x, y

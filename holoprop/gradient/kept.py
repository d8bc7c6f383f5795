"""Means over the samples that are kept: those that did not settle have no say, and cannot make a NaN of the others'."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from holoprop.network.base import State
from holoprop.settling.solver import where_sample


def sample_weights(kept: Bool[Array, " batch"], dtype: jnp.dtype) -> Float[Array, " batch"]:
    """Return `1/(number kept)` for kept samples and 0 for the others (all 0 if none is kept)."""
    return kept.astype(dtype) / jnp.maximum(jnp.sum(kept.astype(dtype)), 1)


def mean_kept(values: Float[Array, " batch"], kept: Bool[Array, " batch"]) -> Float[Array, ""]:
    """Return the mean of the kept values, NaN if there is none."""
    total = jnp.sum(jnp.where(kept, values, 0))
    return total / jnp.sum(kept.astype(values.dtype))


def drop(state: State, kept: Array, lead: int) -> State:
    """Return the state with zeros in place of samples not kept: their weight is 0, but 0 · NaN is not."""
    keep = jnp.broadcast_to(kept, state[0].shape[:lead])
    return where_sample(keep, state, jax.tree.map(jnp.zeros_like, state))

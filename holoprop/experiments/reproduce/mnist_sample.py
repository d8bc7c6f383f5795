"""The first training images of MNIST and P1's network on them, as in its Figure 3."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from holoprop.data.loading import load_dataset
from holoprop.gradient.estimate import Estimate
from holoprop.gradient.implicit import Implicit
from holoprop.network.build import mlp
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson

BATCH = 10


def first_images() -> tuple[Float[Array, "10 784"], Int[Array, "10"]]:
    """Return the first ten training images of MNIST, in [0, 1], and their labels.

    **Raises:** `DataError` if MNIST is not there and cannot be downloaded.
    """
    split = load_dataset("mnist").train
    return jnp.asarray(split.inputs(slice(0, BATCH), flatten=True)), jnp.asarray(split.labels[:BATCH])


def published_network(seed: int) -> LayeredNetwork:
    """Return 784-256-256-10 with weights of standard deviation 0.05 (P1's `sc`)."""
    return mlp(784, (256, 256), 10, weight_std=0.05, key=jax.random.key(seed))


def exact_estimate(net: LayeredNetwork, x: Float[Array, "batch 784"], y: Int[Array, " batch"]) -> Estimate:
    """Return the exact gradient, the implicit one."""
    return Implicit(solver=Anderson(tolerance=1e-6))(net, x, y)

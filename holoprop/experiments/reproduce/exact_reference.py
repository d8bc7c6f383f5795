"""The exact gradient that estimates are compared with: in double precision, at the rest state they started from."""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from holoprop.gradient.implicit import Implicit
from holoprop.network.base import AbstractNetwork, State
from holoprop.settling.anderson import Anderson
from holoprop.settling.run import settle

Tree = TypeVar("Tree", bound=PyTree)


def exact_gradient_near(net: AbstractNetwork, x: Array, y: Int[Array, " batch"], state: State) -> AbstractNetwork:
    """Return the implicit gradient, float64, at the rest state that is reached from `state`.

    A network with several rest states must be in the same one as when the estimate was made, whatever its precision.

    **Arguments:** `x`: inputs `(batch, *net.input_shape)`; `y`: labels `(batch,)`; `state`: free states, layers
    `(batch, *shape)`.

    **Returns:** the gradient of the mean loss over all samples, as a pytree of the network's type.

    **Raises:** `UnsettledError` if there is no such rest state, or the adjoint solve fails: then nothing is exact.
    """
    labels = np.asarray(y)
    with jax.enable_x64(True):
        net, x, state = in_precision((net, x, state), "float64")
        rest = settle(net, x, solver=Anderson(tolerance=1e-12), state=state, throw=True)
        return Implicit(unsettled="raise").at_rest(net, x, labels, rest).gradient


def in_precision(tree: Tree, dtype: str) -> Tree:
    """Return the same numbers in a precision that is by now the default one."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf).astype(dtype)), tree)

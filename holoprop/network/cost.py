"""The cost `C(o, y)` of the logits `o` against the target `y`, holomorphic in `o`.

On the contour the logits are complex, so softmax and logarithm are the complex ones: no absolute value, no conjugate.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Inexact, Int, Num


class AbstractCost(eqx.Module):
    """A cost of one sample, complex-differentiable in the logits."""

    @abc.abstractmethod
    def __call__(self, logits: Inexact[Array, " classes"], target: Float[Array, " classes"]) -> Inexact[Array, ""]:
        """Return `C(o, y)`: a scalar of the logits' dtype; `target` is one-hot (or any real vector of that length)."""


class CrossEntropy(AbstractCost):
    """Softmax cross-entropy, `C = log Σ_j e^{o_j} − Σ_j y_j o_j` (for `Σ_j y_j = 1`); `∂C/∂o = softmax(o) − y`."""

    def __call__(self, logits: Inexact[Array, " classes"], target: Float[Array, " classes"]) -> Inexact[Array, ""]:
        """Return the cross-entropy in nats, a scalar of the logits' dtype."""
        shift = lax.stop_gradient(jnp.max(logits.real)).astype(logits.dtype)
        return jnp.log(jnp.sum(jnp.exp(logits - shift))) + shift - jnp.sum(target.astype(logits.dtype) * logits)


class SquaredError(AbstractCost):
    """Half the squared error, `C = ½ Σ_j (o_j − y_j)²`; `∂C/∂o = o − y`. (The square, not the modulus: holomorphic.)"""

    def __call__(self, logits: Inexact[Array, " classes"], target: Float[Array, " classes"]) -> Inexact[Array, ""]:
        """Return half the sum of squares, a scalar of the logits' dtype."""
        difference = logits - target.astype(logits.dtype)
        return jnp.sum(difference * difference) / 2


COSTS: dict[str, AbstractCost] = {"cross_entropy": CrossEntropy(), "squared_error": SquaredError()}


def cost_named(name: str | AbstractCost) -> AbstractCost:
    """Return the cost called `name` (`cross_entropy`, `squared_error`), or `name` itself if it is one already.

    **Raises:** `ValueError` naming the known costs if there is none of that name.
    """
    if isinstance(name, AbstractCost):
        return name
    if name not in COSTS:
        raise ValueError(f"unknown cost {name!r}; choose one of {', '.join(COSTS)}")
    return COSTS[name]


def one_hot(y: Num[Array, "..."], classes: int, dtype: jnp.dtype) -> Float[Array, "batch classes"]:
    """Turn integer labels `(batch,)` into one-hot rows `(batch, classes)`; one-hot or soft targets pass through.

    **Raises:** `ValueError` if `y` is neither integer labels of shape `(batch,)` nor targets of shape
    `(batch, classes)`, or if a label is not in `0 … classes − 1` (not seen under `jit`).
    """
    if y.ndim == 2 and y.shape[1] == classes:
        return y.astype(dtype)
    if y.ndim == 1 and jnp.issubdtype(y.dtype, jnp.integer):
        labels: Int[Array, " batch"] = y
        if not isinstance(labels, Tracer) and labels.size and not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(f"labels must be in 0 … {classes - 1}, got {labels.min()} … {labels.max()}")
        return jax.nn.one_hot(labels, classes, dtype=dtype)
    raise ValueError(
        f"y must be integer labels of shape (batch,) or one-hot rows of shape (batch, {classes}), "
        f"got {y.dtype} of shape {y.shape}"
    )

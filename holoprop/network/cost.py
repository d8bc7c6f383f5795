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

from holoprop.network.named import named


class AbstractCost(eqx.Module):
    """A cost `C(o, y)` of one sample, complex-differentiable in the logits `o`.

    A nudge β adds `−β ∂C/∂s_L` to the drive of the last layer. Subclasses write `__call__` in operations that are
    holomorphic in the logits: no `abs`, `conj` or `.real` of them.
    """

    @abc.abstractmethod
    def __call__(self, logits: Inexact[Array, " classes"], target: Float[Array, " classes"]) -> Inexact[Array, ""]:
        """Return `C(o, y)`: a scalar of the logits' dtype; `target` is one-hot (or any real vector of that length)."""


class CrossEntropy(AbstractCost):
    """Softmax cross-entropy, `C = log Σ_j e^{o_j} − Σ_j y_j o_j`, in nats; `∂C/∂o = softmax(o) − y`.

    For targets with `Σ_j y_j = 1`, one-hot or soft. Logits `o`: `(classes,)`, real or complex; target `y`:
    `(classes,)`, real. Complex logits use the complex exponential and the principal branch of the logarithm: `C` is
    holomorphic wherever `Σ_j e^{o_j}` stays off the negative real axis. Logits of any size are safe: the largest real
    part is subtracted first.

    Source: P1 (arXiv 2209.00530), the cost of all its experiments.
    """

    def __call__(self, logits: Inexact[Array, " classes"], target: Float[Array, " classes"]) -> Inexact[Array, ""]:
        """Return the cross-entropy in nats, a scalar of the logits' dtype."""
        shift = lax.stop_gradient(jnp.max(logits.real)).astype(logits.dtype)
        return jnp.log(jnp.sum(jnp.exp(logits - shift))) + shift - jnp.sum(target.astype(logits.dtype) * logits)


class SquaredError(AbstractCost):
    """Half the squared error, `C = ½ Σ_j (o_j − y_j)²`; `∂C/∂o = o − y`.

    Logits `o`: `(classes,)`, real or complex; target `y`: `(classes,)`, real, any values. It is the square, not the
    squared modulus, so `C` is holomorphic everywhere, and complex for complex logits.

    Source: the cost of classic equilibrium propagation, Scellier & Bengio 2017 (arXiv 1602.05179).
    """

    def __call__(self, logits: Inexact[Array, " classes"], target: Float[Array, " classes"]) -> Inexact[Array, ""]:
        """Return half the sum of squares, a scalar of the logits' dtype."""
        difference = logits - target.astype(logits.dtype)
        return jnp.sum(difference * difference) / 2


COSTS: dict[str, AbstractCost] = {"cross_entropy": CrossEntropy(), "squared_error": SquaredError()}


def cost_named(name: str | AbstractCost) -> AbstractCost:
    """Return the cost called `name` (`cross_entropy`, `squared_error`), or `name` itself if it is one already.

    **Raises:** `ValueError` naming the known costs if there is none of that name.
    """
    return named("cost", COSTS, name)


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

"""Training with homeostasis: any estimator's gradient, and beside it that of the homeostatic penalty."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.checks import refuse_feedforward
from holoprop.gradient.estimate import AbstractEstimator, AbstractWrappedEstimator, Estimate
from holoprop.network.base import AbstractNetwork
from holoprop.network.layered import LayeredNetwork
from holoprop.symmetry.penalty import HomeostasisForm, homeostasis

Weight = float | Callable[[Array], Array]
"""A number, or a schedule: a function of the number of steps that were taken."""
_NOISE = 2**32 - 2
"""The number folded into the key: the penalty's noise is none of the estimator's."""


class Homeostatic(AbstractWrappedEstimator):
    """An estimator whose gradient has the homeostatic penalty's added: `g + w ∇ℒ_homeo`.

    `ℒ_homeo = E_ε[‖Jε‖² − εᵀJ²ε]/n = ‖J − Jᵀ‖²_F/(2n)` at the free rest states of the estimate, over the kept samples.
    The estimate's `loss` stays the task's; `penalty` is `ℒ_homeo`.

    **Arguments:**

    - `estimator`: any that has rest states.
    - `weight`: `w ≥ 0`, or a schedule, such as Optax has: a function of the number of steps that were taken.
    - `samples`, `form`: random vectors for each sample, and how the penalty is estimated, as in `homeostasis`.

    It needs a `key` at every call. Its memory is the estimator's and the number of steps.

    **Raises:** `ValueError` for a weight that is negative or not finite, `samples` below 1, another word for the form;
    when called, without a key, or for a network whose Jacobian is symmetric, or feed-forward.

    Source: P2 (arXiv 2309.02214), `jac_reg_coef` in its code: 1 (dense), 0.1 (loop), 15 and 10 (convolutional).

    ```python
    est = hp.Homeostatic(hp.Holomorphic(points=2), weight=1.0)
    est(net, x, y, key=jax.random.key(0)).penalty
    ```
    """

    estimator: AbstractEstimator
    weight: Weight
    samples: int
    form: HomeostasisForm | None

    def __init__(
        self,
        estimator: AbstractEstimator,
        weight: Weight = 1.0,
        samples: int = 5,
        form: HomeostasisForm | None = None,
    ) -> None:
        if not callable(weight) and not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be at least 0 and finite, got {weight}")
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        if form not in (None, "local", "jacobian"):
            raise ValueError(f"form must be 'local', 'jacobian' or None, got {form!r}")
        self.estimator, self.weight, self.samples, self.form = estimator, weight, samples, form

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if the estimator cannot be used on `net`, or there is no asymmetry to take away."""
        self.estimator.check(net)
        refuse_feedforward(net, "Homeostatic")
        if net.is_energy:
            raise ValueError("an energy network's Jacobian is symmetric: there is nothing for homeostasis to do")
        if self.form == "local" and not isinstance(net, LayeredNetwork):
            raise ValueError(f"{type(net).__name__} is not made of connections: use form='jacobian'")

    def init(self, net: AbstractNetwork, batch_size: int) -> PyTree:
        """Return the estimator's memory before the first step, and 0 steps."""
        return self.estimator.init(net, batch_size), jnp.zeros((), jnp.int32)

    def estimate(
        self,
        net: AbstractNetwork,
        x: Float[Array, "batch ..."],
        target: Float[Array, "batch classes"],
        *,
        key: PRNGKeyArray | None,
        memory: PyTree,
    ) -> Estimate:
        """Return the estimate for inputs `x` and one-hot `target`; traceable."""
        if key is None:
            raise ValueError("Homeostatic draws random vectors: pass key=jax.random.key(0)")
        inner, step = (None, jnp.zeros((), jnp.int32)) if memory is None else memory
        estimate = self.estimator.estimate(net, x, target, key=key, memory=inner)
        own = jax.random.fold_in(key, _NOISE)
        found = homeostasis(
            net, estimate.rest, x, samples=self.samples, key=own, form=self.form, kept=estimate.certificate.kept
        )
        weight = jnp.asarray(self.weight(step) if callable(self.weight) else self.weight).astype(found.penalty.dtype)
        gradient = jax.tree.map(lambda g, h: g + weight * h, estimate.gradient, found.gradient)
        return estimate.replaced(gradient=gradient, memory=(estimate.memory, step + 1), penalty=found.penalty)

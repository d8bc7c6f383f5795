"""Kolen–Pollack learning: forward and feedback weights get the same update and decay, and so come to agree.

    ΔW = −η (g_W + d W),        ΔV = −η (g_Wᵀ + d V),        W − Vᵀ ← (1 − η d)(W − Vᵀ).

The known alternative to homeostasis: it takes that both synapses of a pair see the same update, and leaves directed
connections as they are.
"""

import dataclasses
from typing import TypeGuard

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from holoprop.gradient.estimate import AbstractEstimator, AbstractWrappedEstimator, Estimate
from holoprop.network.base import AbstractNetwork
from holoprop.network.connection import Dense
from holoprop.network.conv import Conv
from holoprop.network.feedback import as_feedback
from holoprop.network.layered import LayeredNetwork
from holoprop.symmetry.homeostatic import Homeostatic


class KolenPollack(AbstractWrappedEstimator):
    """An estimator whose feedback weights take the forward ones' gradient, and both decay: `g_V = g_Wᵀ + d V`.

    `W − Vᵀ` then shrinks by `1 − η d` at each step of plain gradient descent with learning rate `η`.

    **Arguments:** `estimator`: any that has rest states; `decay`: `d ≥ 0`, of the weights of connections with free
    feedback, forward and back.

    **Raises:** `ValueError` for a decay that is negative or not finite, or a `Homeostatic` inside (it goes outside);
    when called, for a network without free feedback.

    Source: Kolen & Pollack 1994 (ICNN, 1375); Akrout et al. 2019 (arXiv 1904.05391).

    ```python
    hp.fit(net, hp.KolenPollack(hp.Holomorphic(points=2), decay=1e-2), optax.sgd(0.05), (x, y), epochs=3, batch_size=20)
    ```
    """

    estimator: AbstractEstimator
    decay: float

    def __init__(self, estimator: AbstractEstimator, decay: float = 1e-3) -> None:
        if not 0 <= decay < float("inf"):
            raise ValueError(f"decay must be at least 0 and finite, got {decay}")
        if isinstance(estimator, Homeostatic):
            raise ValueError(
                "KolenPollack overwrites the feedback's gradient, that of homeostasis too: wrap the other way round, "
                "Homeostatic(KolenPollack(estimator))"
            )
        self.estimator, self.decay = estimator, decay

    def check(self, net: AbstractNetwork) -> None:
        """Raise `ValueError` if the estimator cannot be used on `net`, or it has no free feedback."""
        self.estimator.check(net)
        if not isinstance(net, LayeredNetwork) or not any(map(_is_free, net.connections)):
            raise ValueError("Kolen–Pollack learning is of free feedback weights, and this network has none")

    def init(self, net: AbstractNetwork, batch_size: int) -> PyTree:
        """Return the estimator's memory before the first step."""
        return self.estimator.init(net, batch_size)

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
        assert isinstance(net, LayeredNetwork)
        estimate = self.estimator.estimate(net, x, target, key=key, memory=memory)
        pairs = zip(net.connections, estimate.gradient.connections, strict=True)
        connections = tuple(self._symmetric(own, gradient) if _is_free(own) else gradient for own, gradient in pairs)
        return estimate.replaced(gradient=dataclasses.replace(estimate.gradient, connections=connections))

    def _symmetric(self, own: Dense | Conv, gradient: Dense | Conv) -> Dense | Conv:
        assert own.feedback is not None
        back = as_feedback(own, gradient.weight) + self.decay * own.feedback
        return dataclasses.replace(gradient, weight=gradient.weight + self.decay * own.weight, feedback=back)


def _is_free(connection: object) -> TypeGuard[Dense | Conv]:
    return isinstance(connection, Dense | Conv) and connection.feedback is not None

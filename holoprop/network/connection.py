"""Connections between layers: a forward product into the layer above and a backward product into the layer below.

A connection with *tied* feedback sends `Wᵀ` back where it sends `W` forward; it then contributes the term
`s_target · forward(s_source)` to the potential `Φ`, and both its products are derivatives of that one term.
"""

import abc
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float, Inexact

from holoprop.network.product import check_affine, real_product


class AbstractConnection(eqx.Module):
    """A connection from a source layer to a target layer, on the activities of one sample.

    `tied` says that feedback is the transpose of the forward product, so that the connection has a potential: its term
    `s' · forward(s)` of `Φ`, with `backward(s') = ∂/∂s [s' · forward(s)]`.

    Source: P1 (arXiv 2209.00530), `Φ = Σ_l s_{l+1} · (W_l s_l + b_l)`; free feedback is P2's (arXiv 2309.02214).
    """

    tied: ClassVar[bool]

    @property
    @abc.abstractmethod
    def source_shape(self) -> tuple[int, ...]:
        """Shape of the source layer's activities."""

    @property
    @abc.abstractmethod
    def target_shape(self) -> tuple[int, ...]:
        """Shape of the target layer's activities."""

    @abc.abstractmethod
    def forward(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Drive of the target layer: `source_shape → target_shape`, in the dtype of `source`."""

    @abc.abstractmethod
    def backward(self, target: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Drive of the source layer: `target_shape → source_shape`, in the dtype of `target`."""


class Dense(AbstractConnection):
    """All-to-all connection with tied feedback: forward `W s + b`, backward `Wᵀ s'`; term `s' · (W s + b)` of `Φ`.

    **Attributes:**

    - `weight`: `(in, out)`, real (stored input-first, so the forward product is `s @ weight`).
    - `bias`: `(out,)`, real, of the weight's dtype.

    Activities may be real or complex and are of the weight's precision; products have their dtype (`real_product`).

    **Raises:** `ValueError` if the weight is no matrix or the bias has not one entry per column of it.

    Source: P1 (arXiv 2209.00530), `Φ = Σ_l s_{l+1} · (W_l s_l + b_l)`.

    ```python
    hp.Dense(jnp.zeros((784, 256)), jnp.zeros(256)).forward(x).shape  # (256,)
    ```
    """

    weight: Float[Array, "in out"]
    bias: Float[Array, " out"]
    tied: ClassVar[bool] = True
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_affine("a dense connection", self.weight, self.bias, "(in, out)", "(out,)")

    @property
    def source_shape(self) -> tuple[int, ...]:
        """`(in,)`."""
        return (self.weight.shape[0],)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """`(out,)`."""
        return (self.weight.shape[1],)

    def forward(self, source: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `W s + b`: `(in,) → (out,)`, real or complex."""
        return real_product(source, self.weight) + self.bias.astype(source.dtype)

    def backward(self, target: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `Wᵀ s'`: `(out,) → (in,)`, real or complex."""
        return real_product(target, self.weight.T)

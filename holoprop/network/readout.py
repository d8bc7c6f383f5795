"""The readout: from the last layer's activities to logits. It is not a settled layer."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float, Inexact

from holoprop.network.product import real_product


class Readout(eqx.Module):
    """Linear readout of the last layer, `o = W_o s_L + b_o`.

    **Attributes:**

    - `weight`: `(units of the last layer, classes)`, real.
    - `bias`: `(classes,)`, real.
    """

    weight: Float[Array, "units classes"]
    bias: Float[Array, " classes"]
    keeps_real_weights: ClassVar[bool] = True

    def __call__(self, s: tuple[Inexact[Array, "..."], ...]) -> Inexact[Array, " classes"]:
        """Return the logits `(classes,)` of one sample's state (a tuple of layers; the last is flattened h, w, c)."""
        return real_product(s[-1].reshape(-1), self.weight) + self.bias.astype(s[-1].dtype)

"""The readout: from the last layer's activities to logits. It is not a settled layer."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float, Inexact

from holoprop.network.product import check_affine, real_product


class Readout(eqx.Module):
    """Linear readout of the last layer, `o = W_o s_L + b_o`.

    **Attributes:**

    - `weight`: `(units of the last layer, classes)`, real (stored input-first: `o = s_L @ weight + bias`).
    - `bias`: `(classes,)`, real, of the weight's dtype.

    Logits have the dtype of the activities, complex on a contour.

    **Raises:** `ValueError` if the weight is no matrix or the bias has not one entry per column of it.

    Source: P1 (arXiv 2209.00530): the output is read out and is not a dynamical layer.
    """

    weight: Float[Array, "units classes"]
    bias: Float[Array, " classes"]
    keeps_real_weights: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_affine("a readout", self.weight, self.bias, "(units, classes)", "(classes,)")

    def __call__(self, s: tuple[Inexact[Array, "..."], ...]) -> Inexact[Array, " classes"]:
        """Return the logits `(classes,)` of one sample's state (a tuple of layers; the last is flattened h, w, c)."""
        return real_product(s[-1].reshape(-1), self.weight) + self.bias.astype(s[-1].dtype)

"""Activation functions, and whether they continue to the complex plane.

Holomorphic EP needs `σ` complex-differentiable on the contour. Every smooth activation here is built on one function,
the logistic `1/(1 + e^{−z})`, so real and complex inputs share their formula. `HardSigmoid` and `ReLU` are here to
show what non-holomorphic activations do: contour estimators refuse them for more than two points.
"""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Inexact

from holoprop.network.named import named


class AbstractActivation(eqx.Module):
    """An elementwise activation function `σ`.

    `holomorphic` says that `σ` is complex-differentiable, `increasing` that it is monotone on the real line (then each
    half-sweep of alternating updates minimises the energy exactly over its block).
    """

    holomorphic: ClassVar[bool]
    increasing: ClassVar[bool]

    @abc.abstractmethod
    def __call__(self, z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `σ(z)` elementwise: any shape, real or complex, same dtype out."""


class Sigmoid(AbstractActivation):
    """The steep, shifted logistic function `σ(z) = 1/(1 + e^{−4z+2})` (P1, `my_sigmoid(-4, 2)`); slope 1 at z = ½."""

    holomorphic: ClassVar[bool] = True
    increasing: ClassVar[bool] = True

    def __call__(self, z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `1/(1 + e^{−4z+2})`, any shape, real or complex."""
        return logistic(4 * z - 2)


class DoubleSilu(AbstractActivation):
    """`σ(z) = ½z·s(z) + (1 − ½z)·s(z − 2)`, `s` the logistic function (P1 `my_holotanh(1)`, P2 `dsilu`).

    Nearly the hard sigmoid `clip(z/2, 0, 1)`, made holomorphic; not monotone (it dips below 0 and rises above 1).
    """

    holomorphic: ClassVar[bool] = True
    increasing: ClassVar[bool] = False

    def __call__(self, z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `½z·s(z) + (1 − ½z)·s(z − 2)`, any shape, real or complex."""
        # Written with the difference of the two, which vanishes for large |Re z| and leaves no z − z to cancel.
        late = logistic(z - 2)
        return late + z / 2 * (logistic(z) - late)


class Tanh(AbstractActivation):
    """The hyperbolic tangent, `σ(z) = tanh z = 2 s(2z) − 1`."""

    holomorphic: ClassVar[bool] = True
    increasing: ClassVar[bool] = True

    def __call__(self, z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `tanh z`, any shape, real or complex."""
        return 2 * logistic(2 * z) - 1 if jnp.iscomplexobj(z) else jnp.tanh(z)


class Silu(AbstractActivation):
    """The sigmoid-weighted linear unit, `σ(z) = z·s(z)` (Elfwing et al. 2018, arXiv 1702.03118)."""

    holomorphic: ClassVar[bool] = True
    increasing: ClassVar[bool] = False

    def __call__(self, z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `z/(1 + e^{−z})`, any shape, real or complex."""
        return z * logistic(z)


class Softplus(AbstractActivation):
    """The smooth rectifier, `σ(z) = log(1 + e^z)`; its branch points are at `z = iπ(2k+1)`."""

    holomorphic: ClassVar[bool] = True
    increasing: ClassVar[bool] = True

    def __call__(self, z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `log(1 + e^z)`, any shape, real or complex, without overflow."""
        if not jnp.iscomplexobj(z):
            return jax.nn.softplus(z)
        # log(1 + e^z) = z + log(1 + e^{-z}): take the side on which the exponential decays.
        right = z.real > 0
        return jnp.where(right, z, jnp.zeros_like(z)) + jnp.log1p(jnp.exp(jnp.where(right, -z, z)))


class HardSigmoid(AbstractActivation):
    """The clipped ramp `σ(z) = clip(z/2, 0, 1)` of P1's non-holomorphic controls (`my_hardtanh`)."""

    holomorphic: ClassVar[bool] = False
    increasing: ClassVar[bool] = True

    def __call__(self, z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `clip(z/2, 0, 1)`; complex inputs have the clip applied to the real part and keep the slope there."""
        if not jnp.iscomplexobj(z):
            return jnp.clip(z / 2, 0, 1)
        inside = ((z.real > 0) & (z.real < 2)).astype(z.real.dtype)
        return lax.complex(jnp.clip(z.real / 2, 0, 1), inside * z.imag / 2)


class ReLU(AbstractActivation):
    """The rectifier `σ(z) = max(z, 0)`, not holomorphic."""

    holomorphic: ClassVar[bool] = False
    increasing: ClassVar[bool] = True

    def __call__(self, z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `max(z, 0)`; complex inputs are kept where their real part is positive."""
        return jnp.where(z.real > 0, z, jnp.zeros_like(z))


ACTIVATIONS: dict[str, AbstractActivation] = {
    "sigmoid": Sigmoid(),
    "double_silu": DoubleSilu(),
    "tanh": Tanh(),
    "silu": Silu(),
    "softplus": Softplus(),
    "hard_sigmoid": HardSigmoid(),
    "relu": ReLU(),
}


def activation_named(name: str | AbstractActivation) -> AbstractActivation:
    """Return the activation called `name`, or `name` itself if it is one already.

    **Raises:** `ValueError` naming the known activations if there is none of that name.
    """
    return named("activation", ACTIVATIONS, name)


def logistic(z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """The logistic function `s(z) = 1/(1 + e^{−z})`, elementwise, real or complex, without overflow.

    Complex inputs are computed on real and imaginary parts, `z = a + ib`: with `e = exp(−|a|)` and `s(z) = 1 − s(−z)`,
    so that neither side of the real axis overflows. Poles at `z = iπ(2k+1)`.
    """
    if not jnp.iscomplexobj(z):
        return jax.nn.sigmoid(z)
    a, b = z.real, z.imag
    decay = jnp.exp(-jnp.abs(a))
    sine, cosine = sincos(b)
    # s(|a| + ib') with b' = ±b: 1 / (1 + e^{-|a|} e^{-ib'}), then reflected where a < 0.
    p, q = 1 + decay * cosine, decay * sine
    scale = 1 / (p * p + q * q)
    return lax.complex(jnp.where(a < 0, 1 - p * scale, p * scale), q * scale)


def sincos(angle: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Sine and cosine of real angles in radians, elementwise.

    In float64 they are `jnp.sin` and `jnp.cos`. In float32 the angle is reduced to `|h| ≤ π/4`, and two Taylor
    polynomials and two doublings give both, to 1e-6 absolute for `|angle| ≤ 1e3`: arithmetic alone, which vectorises
    and fuses with its surroundings.
    """
    if angle.dtype != jnp.float32:
        return jnp.sin(angle), jnp.cos(angle)
    turns = jnp.round(angle * np.float32(1 / (2 * np.pi)))
    # 2π in two parts: turns·6.28125 is exact for |turns| < 2^14.
    h = (angle - turns * np.float32(6.28125) - turns * np.float32(2 * np.pi - 6.28125)) * np.float32(0.25)
    h2 = h * h
    sine = h * (1 + h2 * (-1 / 6 + h2 * (1 / 120 + h2 * (-1 / 5040 + h2 / 362880))))
    # 1 − cos, so that the doublings do not cancel for small angles.
    versine = h2 * (1 / 2 + h2 * (-1 / 24 + h2 * (1 / 720 - h2 / 40320)))
    for _ in range(2):
        sine, versine = 2 * sine * (1 - versine), 2 * sine * sine
    return sine, 1 - versine

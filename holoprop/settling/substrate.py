"""Substrates: physical devices, or simulators with their own solver, that come to rest under a real nudge.

A substrate relaxes to a stationary point of its total energy `F(θ, x, y, β, s) = E(θ, x, s) + β C(o(s), y)`, with the
signs of the rest of the package: a positive nudge β lowers the cost, and an electrical network feels it as currents
`−β ∂C/∂s`. It need not know complex numbers, JAX or derivatives of its own dynamics; what can be measured is enough.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


@runtime_checkable
class Substrate(Protocol):
    """What a device must offer for `Stencil`, `Centered`, `OneSided` and `fit` to train it.

    **Attributes:**

    - `parameters`: the pytree of real arrays `θ` to begin with. Estimators hand parameters back explicitly; a device
      that holds state writes them to its hardware in `settle`.
    - `classes`: number of logits.
    - `jittable`: whether the methods are JAX functions that may be traced (the substrate is then an Equinox module, or
      hashable). Otherwise they are called on the host, one after the other, with numpy arrays and Python floats.

    An input is any array with a leading batch axis; targets `y` are always rows `(batch, classes)`, one-hot for
    integer labels (float64 on the host). *Activities* are a pytree of arrays with the leading batch axis: whatever the
    last three methods need to know of a rest state. Nobody else looks inside. A sample that did not come to rest says
    so by activities that are not finite; it is then masked, kept or raised for, as the estimator's `unsettled` says.

    **A trained readout.** `C` may depend on parameters too. They are then part of `parameters`, and their gradient is
    that of the total energy, `∂F/∂θ = ∂E/∂θ + β ∂C/∂θ`; such a substrate keeps `β` and `y` among its activities.
    """

    @property
    def parameters(self) -> PyTree:
        """The parameters `θ` to begin with."""
        ...

    @property
    def classes(self) -> int:
        """Number of logits."""
        ...

    @property
    def jittable(self) -> bool:
        """Whether the methods may be traced by JAX."""
        ...

    def settle(self, parameters: PyTree, x: Any, y: Any, beta: Any) -> PyTree:
        """Return the activities of a batch at rest under the real nudge `beta`, a scalar; `y` is ignored where it is 0.

        **Arguments:** `x`: `(batch, …)`; `y`: `(batch, classes)`.
        """
        ...

    def energy_gradient(self, parameters: PyTree, x: Any, activities: PyTree, weights: Any) -> PyTree:
        """Return `Σ_b w_b ∂F/∂θ(θ, x_b, s_b)`, a pytree like `parameters`: the explicit derivative at fixed activities.

        **Arguments:** `weights`: `(batch,)`, `1/batch` each for the mean over the batch; samples left out have 0, and
        activities of 0.
        """
        ...

    def logits(self, activities: PyTree) -> Any:
        """Return the logits `o(s)`, `(batch, classes)`."""
        ...

    def cost(self, activities: PyTree, y: Any) -> Any:
        """Return the cost `C(o(s), y)` of each sample, `(batch,)`: the one that β multiplies."""
        ...


class Programmed(eqx.Module):
    """A substrate with parameters of its own in place of the first ones: what training moves, and `fit` returns.

    It is a substrate too: estimators and `evaluate` take it as they take the device. As a pytree it holds nothing but
    `parameters`.

    **Arguments:** `device`: a substrate; `parameters`: a pytree like `device.parameters`.
    """

    parameters: PyTree
    _device: "_ByIdentity" = eqx.field(static=True)

    def __init__(self, device: Substrate, parameters: PyTree) -> None:
        if isinstance(device, Programmed):
            device = device.device
        self.parameters, self._device = parameters, _ByIdentity(device)

    @classmethod
    def of(cls, substrate: Substrate) -> "Programmed":
        """Return a substrate with its own first parameters, as JAX arrays of the default precision."""
        return cls(substrate, jax.tree.map(jnp.asarray, substrate.parameters))

    @property
    def device(self) -> Substrate:
        """The device itself, as it was given."""
        return self._device.value

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.device.classes

    @property
    def jittable(self) -> bool:
        """Whether the device's methods may be traced by JAX."""
        return self.device.jittable

    def settle(self, parameters: PyTree, x: Any, y: Any, beta: Any) -> PyTree:
        """Settle the device: see `Substrate`."""
        return self.device.settle(parameters, x, y, beta)

    def energy_gradient(self, parameters: PyTree, x: Any, activities: PyTree, weights: Any) -> PyTree:
        """Return the device's `Σ_b w_b ∂F/∂θ`: see `Substrate`."""
        return self.device.energy_gradient(parameters, x, activities, weights)

    def logits(self, activities: PyTree) -> Any:
        """Return the device's logits."""
        return self.device.logits(activities)

    def cost(self, activities: PyTree, y: Any) -> Any:
        """Return the device's cost of each sample."""
        return self.device.cost(activities, y)


class _ByIdentity:
    """A device as a static field: compared by identity, since devices may hold arrays."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)

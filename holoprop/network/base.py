"""The contract of a network: what settles, what drives it, and what is read out.

A network has layers with activities `s = (s_1, …, s_L)`, a clamped input and parameters `θ`; each layer has a drive
`a_l(θ, x, s)`, the input to its activation, and a rest state satisfies `s = σ(a(s))`. An *energy network* has a
potential `Φ(θ, x, s)` with `a = ∂Φ/∂s`. All methods take **one sample**; settling and estimators map them over batches.
"""

import abc
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Num

from holoprop.network.activation import AbstractActivation
from holoprop.network.cost import AbstractCost

State = tuple[Inexact[Array, "..."], ...]
"""Activities of each layer, first to last."""
Inputs = Num[Array | np.ndarray, "batch ..."]
"""A batch of inputs, as users pass it."""
Targets = Num[Array | np.ndarray, "batch ..."]
"""Integer labels `(batch,)`, or one-hot rows `(batch, classes)`, as users pass them."""
Products = dict[int, Inexact[Array, "..."]]
"""What connections have made of the layers they start from, by the connection's index."""
Nudge = float | complex | Inexact[Array | np.ndarray, "..."]
"""A nudge β: one number, or an array with one for each sample, or for each point and sample."""
Net = TypeVar("Net", bound=eqx.Module)


class AbstractNetwork(eqx.Module):
    """A network with its own dynamics, at rest where `s = σ(a(s))`: subclass it with what has no default here.

    That is `input_shape`, `layer_shapes` and `classes` (properties or class attributes), the method `drive`, a
    `readout`, and the fields `activation` and `cost`. `clamp`, `initial`, `blocks` and `drive_block` may be replaced
    too.

    Parameters are the class's real array fields. `drive` and `potential` are called with those parameters cast to the
    state's dtype, so that `W @ s` works on the contour, unless `keeps_real_weights` says that the class multiplies real
    weights by complex states itself (as the built-in connections and readout do, at half the arithmetic); a field that
    is such a module keeps its real weights too.

    `readout(s)` returns the logits `o(s_L)`, shape `(classes,)`: a method, or a field that holds a callable module.

    **Raises:** `ValueError` when it is first settled or trained, if it has no real array among its fields, some
    parameter is complex, or `blocks` is no partition of the layers.

    Source: P2 (arXiv 2309.02214), the vector field `F(θ, u, x)`; here in activities, `s = σ(u)`.

    ```python
    class Loop(hp.AbstractNetwork):
        w_in: jax.Array  # (5, 6)
        w: jax.Array  # (6, 6), not symmetric
        readout: hp.Readout  # of 6 units
        activation: hp.AbstractActivation = hp.Tanh()
        cost: hp.AbstractCost = hp.CrossEntropy()
        input_shape = (5,)
        layer_shapes = ((6,),)
        classes = 3

        def drive(self, c, s):
            return (c @ self.w_in + s[0] @ self.w,)
    ```
    """

    activation: eqx.AbstractVar[AbstractActivation]
    cost: eqx.AbstractVar[AbstractCost]
    readout: eqx.AbstractVar[Any]
    keeps_real_weights: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""

    @property
    @abc.abstractmethod
    def layer_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each layer's activities, first to last."""

    @property
    @abc.abstractmethod
    def classes(self) -> int:
        """Number of logits."""

    @property
    def is_energy(self) -> bool:
        """Whether the drive is the gradient of a potential; if so, `potential(c, s)` is there."""
        return False

    @property
    def holomorphic(self) -> bool:
        """Whether the drive and the activation are complex-differentiable; by default the activation decides."""
        return self.activation.holomorphic

    def potential_difference(self, c: Inexact[Array, "..."], s: State, rested: State) -> Inexact[Array, ""]:
        """Return `Φ(c, s) − Φ(c, rested)`, of which estimators take the derivative by the parameters.

        Both are states of one sample, layers of `layer_shapes`; `s` is real or complex, and so is what is returned, of
        its dtype; `rested` is real or that. By default it is just that difference, whose derivative sums what both have
        in common twice; a network that can do without overrides it, as `LayeredNetwork` does, and estimates from small
        nudges in float32 are then up to thirty times as precise.

        **Raises:** `ValueError` if there is no `potential`.
        """
        potential = getattr(self, "potential", None)
        if potential is None:
            raise ValueError(f"{type(self).__name__} says that it is an energy network, so it needs potential(c, s)")
        still = tuple(start.astype(layer.dtype) for start, layer in zip(rested, s, strict=True))
        return potential(c, s) - potential(c, still)

    def transposed(self) -> "AbstractNetwork | None":
        """Return a network of the same layers and `blocks` with the transposed Jacobian, or `None`.

        With `J` that of this network's drive, `drive(c, s)` of the other is `Jᵀ s` where `c` is zero. There is one
        where the drive is affine in the state, `a(s) = a(0) + J s`; by default that is not relied upon. With it a
        response with the transposed Jacobian costs no more than the network's own.
        """
        return None

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """A partition of the layers (indices from 0) that may be updated in turn; by default one block of all.

        A sweep updates the blocks in order, each from the newest activities of the others and all its layers at once.
        Every layer belongs to exactly one block; no block is empty. With more than one, no layer of the first block may
        drive itself or another of the first, unless the network keeps products: solvers take it to be at rest once it
        is updated, and do not look again. (A last layer that a nudge makes drive itself they do look at.)

        With two blocks of which the first does not drive itself, the residual that solvers report is `‖σ(a(s)) − s‖` of
        the state returned. Else it is the change in one more sweep, of all blocks, or, with three or more of which the
        first does not drive itself, of all but that: it vanishes at the same rest states, but a later block has then
        moved by what earlier ones moved, so away from rest it is of that size and not equal to it.
        """
        return (tuple(range(len(self.layer_shapes))),)

    def clamp(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return `c`, what of the input stays fixed while settling; by default `x` itself."""
        return x

    def initial(self, c: Inexact[Array, "..."]) -> State:
        """Return the state from which settling begins if none is given, in the dtype of `c`; by default zeros."""
        return tuple(jnp.zeros(shape, c.dtype) for shape in self.layer_shapes)

    @abc.abstractmethod
    def drive(self, c: Inexact[Array, "..."], s: State) -> State:
        """Return the drive `a_l(c, s)` of each layer, with the layers' shapes and the state's dtype."""

    def drive_block(self, c: Inexact[Array, "..."], s: State, block: int) -> State:
        """Return the drives of the layers in `blocks[block]`, in that order; by default that part of `drive`."""
        drives = self.drive(c, s)
        return tuple(drives[layer] for layer in self.blocks[block])

    @property
    def kept_products(self) -> tuple[int, ...]:
        """The products that one sweep hands to the next, by their index; by default none.

        With `products` and `drive_block_from` it is how the built-in networks compute nothing twice. A product must be
        kept if a sweep, which renews those of the last block's layers when it begins and those of every other block's
        when that has been updated, reads it before.
        """
        return ()

    def products(self, s: State, layers: Iterable[int]) -> Products:
        """Return what connections make of the activities of `layers`, for `drive_block_from`; by default nothing."""
        del s, layers
        return {}

    def drive_block_from(self, c: Inexact[Array, "..."], s: State, products: Products, block: int) -> State:
        """Return `drive_block(c, s, block)`, with the help of products that are already there."""
        del products
        return self.drive_block(c, s, block)


class AbstractEnergyNetwork(AbstractNetwork):
    """A network defined by its potential `Φ(θ, c, s)`: one method, and the drive is its gradient.

    `a = ∂Φ/∂s`, so rest states are stationary points of the energy `E(u) = Σ[u·σ(u) − ∫σ(u) du] − Φ(σ(u))`, `s = σ(u)`.

    On the contour `potential` is differentiated as a holomorphic function, so write it without `abs`, `conj`, `.real`.

    Source: P1 (arXiv 2209.00530), the primitive `Φ`.
    """

    @property
    def is_energy(self) -> bool:
        """Always true: the drive is `∂Φ/∂s`."""
        return True

    @abc.abstractmethod
    def potential(self, c: Inexact[Array, "..."], s: State) -> Inexact[Array, ""]:
        """Return the scalar `Φ(c, s)`, in the state's dtype."""

    def drive(self, c: Inexact[Array, "..."], s: State) -> State:
        """Return `∂Φ/∂s`; not to be overridden."""
        return jax.grad(self.potential, argnums=1, holomorphic=jnp.iscomplexobj(s[0]))(c, s)


def initial_state(net: AbstractNetwork, lead: tuple[int, ...], dtype: jnp.dtype) -> State:
    """Return a state of zeros with leading axes `lead`: where an oscillation begins, whatever the network's start."""
    return tuple(jnp.zeros(lead + shape, dtype) for shape in net.layer_shapes)


def parameter_dtype(net: eqx.Module) -> np.dtype:
    """Return the common dtype of the network's parameters.

    **Raises:** `ValueError` if there are none, or some are complex.
    """
    leaves = jax.tree.leaves(eqx.filter(net, eqx.is_inexact_array))
    if not leaves:
        raise ValueError("the network has no real array among its fields: there is nothing to train")
    dtype = np.result_type(*(np.dtype(leaf.dtype) for leaf in leaves))
    if np.issubdtype(dtype, np.complexfloating):
        raise ValueError(f"parameters must be real, got {dtype}; on the contour only states are complex")
    return dtype


def complex_dtype(net: eqx.Module) -> np.dtype:
    """Return the complex dtype of the parameters' precision: complex64 for float32, complex128 for float64."""
    return np.result_type(parameter_dtype(net), np.complex64)


def in_dtype(net: Net, dtype: jnp.dtype) -> Net:
    """Return the network with its parameters cast to `dtype`, except in parts of it that `keeps_real_weights`."""
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf,
        net,
        is_leaf=lambda part: getattr(part, "keeps_real_weights", False),
    )

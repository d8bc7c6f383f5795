"""The fixed-point problem `s = σ(a(s) − β ∂C/∂s_L)` of a batch, as solvers see it.

One object holds everything that stays fixed while the state moves: the network, the clamped input (its drive is
computed once), the targets and the nudges. Its methods take and return batched states; the network's single-sample
methods are mapped *inside* the solver's one loop.

With an `anchor`, the free rest state, nudged states respond with the transposed Jacobian (`transposing.py`).
"""

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int, Num, PyTree

from holoprop.network.base import (
    AbstractNetwork,
    Inputs,
    Nudge,
    Products,
    State,
    Targets,
    complex_dtype,
    in_dtype,
    parameter_dtype,
)
from holoprop.network.cost import one_hot
from holoprop.settling.transposing import Anchor, away_from, transposing_drive

Carry = tuple[Inexact[Array, "..."], ...]
"""What one sweep hands to the next: activities of each layer, then the products that the network keeps."""


class FixedPoint(eqx.Module):
    """The map `s ↦ σ(a(s) − β ∂C/∂s_L)` for a batch of inputs, and for all nudges of a contour at once.

    `FixedPoint.of(net, x, y, beta)` checks what it is given; the constructor takes everything as it is.

    **Attributes:**

    - `net`: the network.
    - `clamped`: `(batch, …)`, what `net.clamp` made of the inputs.
    - `target`: `(batch, classes)` or `None` in the free phase.
    - `beta`: nudges, `(batch,)` or `(points, batch)`, real or complex, or `None` in the free phase. States then have
      the same leading axes and dtype.
    - `anchor`: the free rest state `s_0` and its drive, if nudged states are to respond with the transposed Jacobian:
      `s = σ(a(s) + (Jᵀ − J)(s − s_0) − β ∂C/∂s_L)`, `J` at `s_0`; else `None`.
    """

    net: AbstractNetwork
    clamped: Inexact[Array, "..."]
    target: Float[Array, "... classes"] | None
    beta: Inexact[Array, "..."] | None
    anchor: Anchor | None = None

    @classmethod
    def of(
        cls,
        net: AbstractNetwork,
        x: Inputs,
        y: Targets | None = None,
        beta: Nudge = 0.0,
    ) -> "FixedPoint":
        """Pose the problem for inputs `x`, targets `y` and nudge `beta`: a number, `(batch,)` or `(points, batch)`.

        **Raises:** `ValueError` if `x` does not fit the network, `y` or `beta` do not fit `x`, a nudge is given without
        targets, or the network's `blocks` are no partition of its layers.
        """
        dtype = parameter_dtype(net)
        check_blocks(net)
        x = check_inputs(net, x).astype(dtype)
        clamped = jax.vmap(net.clamp)(x)
        if isinstance(beta, int | float | complex) and beta == 0:
            return cls(net, clamped, None, None)
        if y is None:
            raise ValueError("a nudge beta needs targets y: pass integer labels or one-hot rows")
        beta = jnp.asarray(beta)
        beta = beta.astype(complex_dtype(net) if jnp.iscomplexobj(beta) else dtype)
        batch = x.shape[0]
        if beta.ndim > 2 or beta.shape[-1:] not in ((), (batch,)):
            raise ValueError(f"beta must be a number or of shape ({batch},) or (points, {batch}), got {beta.shape}")
        if beta.ndim < 2:
            beta = jnp.broadcast_to(beta, (batch,))
        target = one_hot(jnp.asarray(y), net.classes, dtype)
        if target.shape[0] != batch:
            raise ValueError(f"x holds {batch} samples but y holds {target.shape[0]}")
        return cls(net, clamped, target, beta)

    def nudged(self, target: Float[Array, "batch classes"], beta: Inexact[Array, "..."]) -> "FixedPoint":
        """Return the problem under nudges `beta`, `(batch,)` or `(points, batch)`, towards one-hot `target`."""
        return dataclasses.replace(self, target=target, beta=beta)

    def anchored(self, rested: State) -> "FixedPoint":
        """Return the problem whose nudged states respond with the transposed Jacobian of the free ones, `rested`."""
        free = FixedPoint(self.net, self.clamped, None, None)
        drive = None if self.net.transposed() is None else free._batched(FixedPoint._drives, rested)
        return dataclasses.replace(self, anchor=Anchor(rested, drive))

    @property
    def lead(self) -> tuple[int, ...]:
        """Leading axes of every state: `(batch,)` or `(points, batch)`."""
        return self.clamped.shape[:1] if self.beta is None else self.beta.shape

    @property
    def dtype(self) -> jnp.dtype:
        """Dtype of the states: real in the free phase and under real nudges, complex on a contour."""
        return parameter_dtype(self.net) if self.beta is None else self.beta.dtype

    @property
    def size(self) -> int:
        """Number of neurons of one sample."""
        return sum(math.prod(shape) for shape in self.net.layer_shapes)

    def initial(self) -> State:
        """Return the state from which settling begins if none is given: `net.initial` of every sample."""
        one = jax.vmap(in_dtype(self.net, self.dtype).initial)(self.clamped.astype(self.dtype))
        return tuple(jnp.broadcast_to(layer, (*self.lead, *layer.shape[1:])) for layer in one)

    def update(self, state: State, disturbance: State | None = None) -> State:
        """Return `σ(a(s) − β ∂C/∂s_L + disturbance)`, all layers at once (one synchronous step)."""
        return self._batched(FixedPoint._update_sample, (state, disturbance))

    def carry(self, state: State) -> Carry:
        """Return what one sweep hands to the next: the layers, then the products that the network keeps."""
        kept = self.net.kept_products
        if not kept:
            return state
        # The last block's are made when a sweep begins.
        layers = [layer for block in self.net.blocks[:-1] for layer in block]
        products = self._batched(lambda sample, s: sample.net.products(s, layers), state)
        return (*state, *(products[i] for i in kept))

    @property
    def carry_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each part of the carry, of one sample."""
        if not self.net.kept_products:
            return self.net.layer_shapes
        layers = tuple(jax.ShapeDtypeStruct(shape, parameter_dtype(self.net)) for shape in self.net.layer_shapes)
        made = eqx.filter_eval_shape(lambda net, s: net.products(s, range(len(s))), self.net, layers)
        return (*self.net.layer_shapes, *(made[i].shape for i in self.net.kept_products))

    @property
    def carried(self) -> tuple[int, ...]:
        """The parts of the carry that count as the state of the iteration: what is compared, and what is accelerated.

        Layers of all blocks but the first, whose old values a sweep does not read. Where the first block drives itself
        every part counts: what is read of it is in its products, but its residual is in its layers.
        """
        blocks = self.net.blocks
        if self._first_block_drives_itself or len(blocks) == 1:
            return tuple(range(len(self.net.layer_shapes) + len(self.net.kept_products)))
        return tuple(sorted(layer for block in blocks[1:] for layer in block))

    @property
    def _first_block_drives_itself(self) -> bool:
        """Through products that are recalled on the way down, or, as the last layer, through the nudge."""
        nudged = self.beta is not None and len(self.net.layer_shapes) - 1 in self.net.blocks[0]
        return bool(self.net.kept_products) or nudged

    def sweep(self, carry: Carry) -> tuple[Carry, Float[Array, "*lead"]]:
        """Update the network's blocks in turn; return the carry after and the residual of `lead_in(carry)`.

        With at most two blocks, the first block of `lead_in(carry)` is at rest given the second, so its residual
        `‖σ(a(s)) − s‖` is what the last block is about to move. With more blocks, or a first block that drives itself,
        it is the change of all carried layers, later ones having seen what earlier ones did: it vanishes at the same
        states, but is no residual. Each connection's product and its transpose are computed once.

        **Arguments:** `carry`: as `carry(state)` makes it, each part `(*lead, *shape)` with a shape of `carry_shapes`.

        **Raises:** `ValueError` if parts are missing.
        """
        if (given := len(carry)) != (wanted := len(self.net.layer_shapes) + len(self.net.kept_products)):
            raise ValueError(
                f"a sweep takes {wanted} parts, layers and products, got {given}: pass problem.carry(state)"
            )
        after = self._batched(FixedPoint._sweep_sample, carry)
        layers = [part for part in self.carried if part < len(self.net.layer_shapes)]
        return after, norm(tuple(after[layer] - carry[layer] for layer in layers), len(self.lead))

    def lead_in(self, carry: Carry) -> State:
        """Return the carry's layers, the first block brought to rest given the others if it does not drive itself."""
        state = carry[: len(self.net.layer_shapes)]
        if len(self.net.blocks) == 1 or self._first_block_drives_itself:
            return state
        return self._batched(lambda sample, s: sample._with_block(s, {}, 0), state)

    def take(self, samples: Int[Array, " some"]) -> "FixedPoint":
        """Return the problem of some of the samples, by their index in the flattened leading axes."""
        batch = self.clamped.shape[0]
        return FixedPoint(
            self.net,
            self.clamped[samples % batch],
            None if self.target is None else self.target[samples % batch],
            None if self.beta is None else self.beta.reshape(-1)[samples],
            jax.tree.map(lambda layer: layer[samples % batch], self.anchor),
        )

    def residual(self, state: State) -> Float[Array, "*lead"]:
        """Return `‖σ(a(s) − β ∂C/∂s_L) − s‖` per sample, over all layers."""
        return norm(difference(self.update(state), state), len(self.lead))

    def _batched(self, f: Callable[..., Any], state: PyTree) -> Any:
        """Map `f(sample, state)`, `sample` being the problem of one sample, over all leading axes."""
        net = in_dtype(self.net, self.dtype)
        # The free state knows no anchor: it is that itself.
        anchor = None if self.beta is None else jax.tree.map(lambda layer: layer.astype(self.dtype), self.anchor)
        clamped = self.clamped.astype(self.dtype)
        mapped: Callable[..., Any] = lambda c, y, b, at, s: f(FixedPoint(net, c, y, b, at), s)  # noqa: E731
        if len(self.lead) == 2:
            mapped = jax.vmap(jax.vmap(mapped), in_axes=(None, None, 0, None, 0))
        else:
            mapped = jax.vmap(mapped)
        return mapped(clamped, self.target, self.beta, anchor, state)

    # From here on `self` is the problem of one sample, as `_batched` makes it.

    def _update_sample(self, state: tuple[State, State | None]) -> State:
        net, (s, disturbance) = self.net, state
        drives = self._responding_drives(s)
        drives = (*drives[:-1], self._nudged(drives[-1], s))
        if disturbance is not None:
            drives = _added(drives, disturbance)
        return tuple(net.activation(a) for a in drives)

    def _sweep_sample(self, carry: Carry) -> Carry:
        net = self.net
        count, blocks, kept = len(net.layer_shapes), net.blocks, net.kept_products
        s, products = carry[:count], dict(zip(kept, carry[count:], strict=True))
        products |= net.products(s, blocks[-1])
        for block in range(len(blocks)):
            s = self._with_block(s, products, block)
            if block + 1 < len(blocks):
                products |= net.products(s, blocks[block])
        return (*s, *(products[i] for i in kept))

    def _with_block(self, s: State, products: Products, block: int) -> State:
        net, layers, last = self.net, self.net.blocks[block], len(s) - 1
        drives = self._responding_drives(s, products, block)
        moved = {
            layer: net.activation(self._nudged(a, s) if layer == last else a)
            for layer, a in zip(layers, drives, strict=True)
        }
        return tuple(moved.get(i, layer) for i, layer in enumerate(s))

    def _drives(self, s: State, products: Products | None = None, block: int | None = None) -> State:
        """The drives of all layers, or of a block."""
        if block is None:
            return self.net.drive(self.clamped, s)
        return self.net.drive_block_from(self.clamped, s, products or {}, block)

    def _responding_drives(self, s: State, products: Products | None = None, block: int | None = None) -> State:
        """The same, with an anchor with the Jacobian transposed there: `a(s) + (Jᵀ − J)(s − s_0)`."""
        anchor = self.anchor
        if anchor is None:
            return self._drives(s, products, block)
        layers = range(len(s)) if block is None else self.net.blocks[block]
        transposed = self.net.transposed()
        if transposed is None or anchor.drive is None:
            added = transposing_drive(self._drives, lambda s: self._drives(s, None, block), anchor, s, layers)
            return _added(self._drives(s, products, block), added)
        responding = FixedPoint(transposed, jnp.zeros_like(self.clamped), None, None)
        return _added(tuple(anchor.drive[i] for i in layers), responding._drives(away_from(anchor, s), None, block))

    def _nudged(self, drive: Array, s: State) -> Array:
        if self.target is None or self.beta is None:
            return drive
        return drive - self.beta * cost_gradient(self.net, s, self.target)


def _added(a: State, b: State) -> State:
    return tuple(p + q for p, q in zip(a, b, strict=True))


def cost_gradient(net: AbstractNetwork, s: State, target: Float[Array, " classes"]) -> Inexact[Array, "..."]:
    """Return `∂C/∂s_L` of one sample, holomorphic in the state; with cross-entropy `W_oᵀ (softmax(o) − y)`."""

    def cost(last: Array) -> Array:
        return net.cost(net.readout((*s[:-1], last)), target)

    return jax.grad(cost, holomorphic=jnp.iscomplexobj(s[-1]))(s[-1])


def check_inputs(net: AbstractNetwork, x: Num[Array | np.ndarray, "..."]) -> Array:
    """Return `x` as an array of shape `(batch, *net.input_shape)`.

    **Raises:** `ValueError` if its shape or kind is another.
    """
    x = jnp.asarray(x)
    if x.ndim != 1 + len(net.input_shape) or x.shape[1:] != net.input_shape:
        raise ValueError(
            f"x must have shape (batch, {', '.join(map(str, net.input_shape))}), got {x.shape}"
            + ("; add the batch axis with x[None]" if x.shape == net.input_shape else "")
        )
    if x.shape[0] == 0:
        raise ValueError("x holds no sample: its batch axis has length 0")
    if jnp.iscomplexobj(x):
        raise ValueError(f"inputs must be real, got {x.dtype}")
    return x


def check_blocks(net: AbstractNetwork) -> None:
    """Raise `ValueError` unless the network's `blocks` hold each of its layers exactly once, and no block is empty.

    A layer left out would never be updated, one named twice would be counted as carried while it is not.
    """
    layers = range(len(net.layer_shapes))
    try:
        blocks = [[operator.index(layer) for layer in block] for block in net.blocks]
    except TypeError:
        blocks = []
    if sorted(layer for block in blocks for layer in block) != list(layers) or not all(blocks):
        every = ", ".join(map(str, layers))
        raise ValueError(
            f"blocks must be tuples that hold each layer ({every}) exactly once, none of them empty, got {net.blocks}"
        )


def difference(a: State, b: State) -> State:
    """Return `a − b`, layer by layer."""
    return tuple(p - q for p, q in zip(a, b, strict=True))


def norm(state: State, lead: int) -> Float[Array, "*lead"]:
    """Return the Euclidean norm over all layers of each sample; `lead` is the number of leading axes."""
    total = sum(jnp.sum((a.real**2 + a.imag**2) if jnp.iscomplexobj(a) else a * a, range(lead, a.ndim)) for a in state)
    return jnp.sqrt(jnp.asarray(total))

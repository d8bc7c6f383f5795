"""Products of complex activities with real weights.

A state on the contour is complex, a weight is real. Complex arithmetic would treat the weight as complex too and spend
four (or three) real products; two are enough:

    s W = (Re s) W + i (Im s) W,

done as **one** real matrix product whose rows are the real and the imaginary parts, stacked along the batch.
Every built-in connection goes through `real_product`, so this is the only place that knows.

Weights in bfloat16 stand for products of low precision: activities are rounded to bfloat16 too, sums are made in
the precision that the activities had, which is that of the result.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact


def real_product(
    s: Inexact[Array, "*lead inner"], weight: Float[Array, "inner outer"]
) -> Inexact[Array, "*lead outer"]:
    """Multiply real or complex activities by a real weight matrix, `s @ weight`.

    For complex `s` the product is `(Re s) W + i (Im s) W`, computed as one real product of twice as many rows.

    **Arguments:**

    - `s`: activities, shape `(..., inner)`, real or complex.
    - `weight`: real matrix, shape `(inner, outer)`; cast to the precision of `s`, but for bfloat16, to which `s` is
      rounded.

    **Returns:** array of shape `(..., outer)` and the dtype of `s`.

    **Raises:** `TypeError` if the shapes do not fit (from `jax.numpy.matmul`).

    Source: linearity alone. JAX would promote the weight to complex (as P1's code does by casting its parameters), and
    a complex product costs four real ones, or three by Gauss's trick.
    """
    if not jnp.iscomplexobj(s):
        return multiply(s, operand(weight, s.dtype))
    pair = multiply(jnp.stack([s.real, s.imag], axis=-2), operand(weight, s.real.dtype))
    return lax.complex(pair[..., 0, :], pair[..., 1, :])


def multiply(a: Float[Array, "*lead inner"], weight: Float[Array, "inner outer"]) -> Float[Array, "*lead outer"]:
    """Return `a @ weight` in the dtype of `a`; with a weight in bfloat16 by products of that precision."""
    return jnp.matmul(a.astype(weight.dtype), weight, preferred_element_type=a.dtype)


def operand(weight: Float[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Return the weight as it enters a product: in `dtype`, unless it asks for low precision by being in bfloat16."""
    return weight if weight.dtype == jnp.bfloat16 else weight.astype(dtype)


def check_affine(what: str, weight: Array, bias: Array | None, matrix: str, vector: str) -> None:
    """Raise `ValueError` unless `weight` has as many axes as `matrix` names, and `bias` one entry for each of the last.

    **Arguments:** `what`: of whom the message speaks; `matrix`, `vector`: the shapes in words.
    """
    shape, entries = jnp.shape(weight), jnp.shape(weight)[-1:] if bias is None else jnp.shape(bias)
    if len(shape) != len(matrix.split(",")) or entries != shape[-1:]:
        raise ValueError(
            f"{what} needs a weight of shape {matrix} and a bias of shape {vector}, got {shape} and {entries}"
        )

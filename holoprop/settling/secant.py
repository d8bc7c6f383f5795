"""The memory of Anderson acceleration: past differences, their Gram matrix, and the small least-squares problem.

Complex vectors are kept as real pairs `[Re, Im]` of twice the length, so that every inner product is a real one:
`⟨a, b⟩ = a·b + i a·(Jb)` with `J[p, q] = [q, −p]`. The Gram matrix grows by one row a step; the system of at most
eight unknowns is solved by a rolled loop of eliminations over the whole batch at once.
"""

import math

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int

from holoprop.settling.fixed_point import Carry, FixedPoint


class SecantHistory(eqx.Module):
    """The last `depth` normalised differences of `f = G(x) − x` and of `g = G(x)`, per sample.

    **Attributes** (`k` is the number of mixed values, doubled if complex):

    - `df`, `dg`: `(*lead, depth, k)` real; both divided by `‖Δf‖`.
    - `gram`: `(*lead, depth, depth)`, `⟨Δf_i, Δf_j⟩`.
    - `right`: `(*lead, depth)`, `⟨Δf_i, f⟩` for the newest `f`.
    - `valid`: `(*lead, depth)`, which columns belong to this sample's present history.
    - `f`, `g`: `(*lead, k)`, the last evaluation; `begun`: `(*lead,)`, whether there was one.
    - `slot`: the column that the next difference replaces.
    """

    df: Float[Array, "*lead depth k"]
    dg: Float[Array, "*lead depth k"]
    gram: Inexact[Array, "*lead depth depth"]
    valid: Bool[Array, "*lead depth"]
    f: Float[Array, "*lead k"]
    g: Float[Array, "*lead k"]
    right: Inexact[Array, "*lead depth"]
    begun: Bool[Array, "*lead"]
    slot: Int[Array, ""]

    @classmethod
    def empty(cls, problem: FixedPoint, depth: int) -> "SecantHistory":
        """Return a history of nothing, for the mixed values of `problem`."""
        lead = problem.lead
        every = problem.carry_shapes
        shapes = [every[part] for part in problem.carried]
        k = sum(math.prod(shape) for shape in shapes) * (2 if jnp.issubdtype(problem.dtype, jnp.complexfloating) else 1)
        real = jnp.finfo(problem.dtype).dtype
        return cls(
            df=jnp.zeros((*lead, depth, k), real),
            dg=jnp.zeros((*lead, depth, k), real),
            gram=jnp.zeros((*lead, depth, depth), problem.dtype),
            valid=jnp.zeros((*lead, depth), bool),
            f=jnp.zeros((*lead, k), real),
            g=jnp.zeros((*lead, k), real),
            right=jnp.zeros((*lead, depth), problem.dtype),
            begun=jnp.zeros(lead, bool),
            slot=jnp.zeros((), jnp.int32),
        )

    def push(
        self, x: Float[Array, "*lead k"], g: Float[Array, "*lead k"], forget: Bool[Array, "*lead"]
    ) -> "SecantHistory":
        """Return the history after evaluating `g = G(x)`; samples in `forget` lose what came before."""
        f = g - x
        df, dg = f - self.f, g - self.g
        length = jnp.sqrt(jnp.sum(df * df, -1))
        usable = self.begun & ~forget & (length > 0) & jnp.isfinite(length) & jnp.isfinite(jnp.sum(dg, -1))
        scale = jnp.where(usable, 1 / length, 0)[..., None]
        df = jnp.where(usable[..., None], df * scale, 0)
        dg = jnp.where(usable[..., None], dg * scale, 0)
        depth = self.valid.shape[-1]
        here = jnp.arange(depth, dtype=jnp.int32) == self.slot
        all_df = _put(self.df, df, self.slot)
        row, right = self._inner(all_df, df, f)
        gram = jnp.where(here, row[..., :, None], self.gram)
        gram = jnp.where(here[:, None], row.conj()[..., None, :], gram)
        return SecantHistory(
            df=all_df,
            dg=_put(self.dg, dg, self.slot),
            gram=gram,
            valid=jnp.where(here, usable[..., None], self.valid & ~forget[..., None]),
            f=f,
            g=g,
            right=right,
            begun=jnp.isfinite(jnp.sum(g, -1)),
            slot=(self.slot + 1) % depth,
        )

    def propose(self) -> Float[Array, "*lead k"]:
        """Return the accelerated iterate `g − Σ_j γ_j Δg_j` with `γ = argmin ‖f − Σ_j γ_j Δf_j‖`."""
        depth = self.valid.shape[-1]
        unit = jnp.eye(depth, dtype=self.gram.dtype)
        both = self.valid[..., :, None] & self.valid[..., None, :]
        # Columns have unit length, so a multiple of the rounding error is a relative regularisation.
        matrix = jnp.where(both, self.gram, unit) + 10 * float(jnp.finfo(self.gram.dtype).eps) * unit
        right = jnp.where(self.valid, self.right, 0)
        gamma = solve_hermitian(matrix, right)
        if not jnp.iscomplexobj(gamma):
            return self.g - jnp.einsum("...m,...mk->...k", gamma, self.dg)
        parts = jnp.einsum("...mc,...mk->...ck", jnp.stack([gamma.real, gamma.imag], -1), self.dg)
        return self.g - parts[..., 0, :] + _rotate(parts[..., 1, :])

    def _inner(
        self, columns: Float[Array, "*lead depth k"], *vectors: Float[Array, "*lead k"]
    ) -> list[Inexact[Array, "*lead depth"]]:
        # Vector by vector: on CPUs a product with two of them at a time takes six times as long.
        def product(v: Float[Array, "*lead k"]) -> Float[Array, "*lead depth"]:
            return jnp.einsum("...mk,...k->...m", columns, v)

        if not jnp.iscomplexobj(self.gram):
            return [product(v) for v in vectors]
        return [lax.complex(product(v), product(_rotate(v))) for v in vectors]


def pack(problem: FixedPoint, carry: Carry) -> Float[Array, "*lead k"]:
    """Return the carried parts as one real vector per sample, real parts before imaginary ones."""
    lead = problem.lead
    parts = [carry[part].reshape(*lead, -1) for part in problem.carried]
    if jnp.issubdtype(problem.dtype, jnp.complexfloating):
        parts = [a.real for a in parts] + [a.imag for a in parts]
    return jnp.concatenate(parts, -1) if len(parts) > 1 else parts[0]


def unpack(problem: FixedPoint, vector: Float[Array, "*lead k"], carry: Carry) -> Carry:
    """Return `carry` with the carried parts taken from `vector`: the inverse of `pack`."""
    if jnp.issubdtype(problem.dtype, jnp.complexfloating):
        half = vector.shape[-1] // 2
        vector = lax.complex(vector[..., :half], vector[..., half:])
    parts, start = list(carry), 0
    for part in problem.carried:
        shape = parts[part].shape
        stop = start + math.prod(shape[len(problem.lead) :])
        parts[part] = vector[..., start:stop].reshape(shape)
        start = stop
    return tuple(parts)


def solve_hermitian(matrix: Inexact[Array, "*lead n n"], right: Inexact[Array, "*lead n"]) -> Inexact[Array, "*lead n"]:
    """Solve small positive definite Hermitian systems by Gauss–Jordan elimination, the whole batch at once.

    Definite matrices need no pivoting. The loop is rolled, so that its size to the compiler does not grow with `n`.
    """
    n = right.shape[-1]
    unit = jnp.eye(n, dtype=matrix.dtype)

    def eliminate(i: Int[Array, ""], table: Inexact[Array, "*lead n m"]) -> Inexact[Array, "*lead n m"]:
        row = lax.dynamic_index_in_dim(table, i, table.ndim - 2)
        column = lax.dynamic_index_in_dim(table, i, table.ndim - 1)
        row = row / lax.dynamic_index_in_dim(row, i, row.ndim - 1)
        return table - (column - lax.dynamic_index_in_dim(unit, i, 1)) * row

    return lax.fori_loop(0, n, eliminate, jnp.concatenate([matrix, right[..., None]], -1))[..., n]


def _put(columns: Float[Array, "*lead depth k"], v: Float[Array, "*lead k"], slot: Int[Array, ""]) -> Array:
    return lax.dynamic_update_slice_in_dim(columns, v[..., None, :], slot, columns.ndim - 2)


def _rotate(v: Float[Array, "*lead k"]) -> Float[Array, "*lead k"]:
    half = v.shape[-1] // 2
    return jnp.concatenate([v[..., half:], -v[..., :half]], -1)

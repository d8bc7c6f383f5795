"""The functional Jacobian `J = ∂a/∂s` at a rest state: its symmetric and antisymmetric parts, and what they do.

    S = (J + Jᵀ)/2,        A = (J − Jᵀ)/2,        measure ‖S‖/(‖S‖ + ‖A‖): 1 if symmetric, ½ of a one-way network.

With `M = J − D⁻¹` the response to a nudge and the error vector are `δ = M⁻¹ ∂C/∂s` and `λ = M⁻ᵀ ∂C/∂s`, so that

    δ = (S_M + A)⁻¹ (S_M − A) λ = λ − 2 S_M⁻¹ A λ + …,      S_M = S − D⁻¹,

a series that converges where `‖S_M⁻¹A‖ < 1` (P2). For small networks everything is computed as matrices; the norms of
large ones are estimated from products with random vectors.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from holoprop.gradient.linear_response import flatten, jacobian_products, slope_at
from holoprop.network.base import AbstractNetwork, Inputs, State, Targets
from holoprop.network.cost import one_hot
from holoprop.settling.fixed_point import FixedPoint, check_inputs, cost_gradient
from holoprop.settling.rest import Rest
from holoprop.settling.run import check_state

_LARGEST = 4096
"""Neurons of which a Jacobian is still written out as a matrix."""


@dataclasses.dataclass(frozen=True)
class SymmetryMeasure:
    """How symmetric the Jacobian is, per sample; numpy.

    **Attributes:** `symmetric`, `antisymmetric`: `(batch,)`, the Frobenius norms `‖S‖`, `‖A‖`; `measure`:
    `‖S‖/(‖S‖ + ‖A‖)`, NaN where `J = 0`.
    """

    symmetric: np.ndarray
    antisymmetric: np.ndarray

    @property
    def measure(self) -> np.ndarray:
        """`‖S‖/(‖S‖ + ‖A‖)` of each sample, `(batch,)`."""
        with np.errstate(invalid="ignore"):
            return self.symmetric / (self.symmetric + self.antisymmetric)


@dataclasses.dataclass(frozen=True)
class JacobianAnalysis:
    """What asymmetry does to the response at a rest state, per sample; numpy, double precision.

    **Attributes** (`n` neurons):

    - `jacobian`: `(batch, n, n)`, `J = ∂a/∂s`, layers one after the other.
    - `eigenvalues`: `(batch, n)`, complex, of `DJ`: settling contracts synchronously if all lie inside the unit circle.
    - `symmetry`: the `SymmetryMeasure`.
    - `error`, `response`: `(batch, n)`, `λ` and `δ`.
    - `first_order`: `(batch, n)`, `λ − 2 S_M⁻¹ A λ`, what P2's expansion makes of `δ`.
    - `contraction`: `(batch,)`, `‖S_M⁻¹ A‖₂`; the expansion applies where it is below 1 (`applies`).
    """

    jacobian: np.ndarray
    eigenvalues: np.ndarray
    symmetry: SymmetryMeasure
    error: np.ndarray
    response: np.ndarray
    first_order: np.ndarray
    contraction: np.ndarray

    @property
    def applies(self) -> np.ndarray:
        """Where the expansion converges, `‖S_M⁻¹ A‖₂ < 1`, `(batch,)`."""
        return self.contraction < 1

    @property
    def bias(self) -> np.ndarray:
        """`‖δ − λ‖/‖λ‖`, the relative error of the response, `(batch,)`."""
        return np.linalg.norm(self.response - self.error, axis=1) / np.linalg.norm(self.error, axis=1)

    @property
    def first_order_bias(self) -> np.ndarray:
        """`2‖S_M⁻¹ A λ‖/‖λ‖`, what the expansion's first order says of it, `(batch,)`; worth it where it `applies`."""
        return np.linalg.norm(self.first_order - self.error, axis=1) / np.linalg.norm(self.error, axis=1)


def functional_jacobian(net: AbstractNetwork, x: Inputs, rest: Rest) -> Float[Array, "batch n n"]:
    """Return `J = ∂a/∂s` at free rest states as matrices, layers one after the other.

    **Arguments:** `x`: inputs `(batch, *net.input_shape)`, real; `rest`: of `settle(net, x)`.

    **Returns:** `(batch, n, n)`, rows drives, columns activities, in the network's precision.

    **Raises:** `ValueError` for shapes that do not fit, rest states that are not finite, or a network of more than 4096
    neurons.

    Source: P2 (arXiv 2309.02214), there of `F = a − u`; in activity coordinates that is `J − I`.

    ```python
    hp.functional_jacobian(net, x, hp.settle(net, x)).shape  # (batch, n, n)
    ```
    """
    return _jacobian(net, _checked(net, x, rest), rest.state)


def symmetry_measure(
    net: AbstractNetwork,
    x: Inputs,
    rest: Rest,
    *,
    samples: int | None = None,
    key: PRNGKeyArray | None = None,
    field: bool = False,
) -> SymmetryMeasure:
    """Return the norms of the symmetric and the antisymmetric part of `J`.

    `S = (J + Jᵀ)/2`, `A = (J − Jᵀ)/2`, Frobenius norms.

    **Arguments:**

    - `x`, `rest`: inputs and their free rest states, as in `functional_jacobian`.
    - `samples`: `None`: from the matrix itself; else from so many random vectors `ε ~ N(0, I)` for each sample of the
      batch, by `‖A‖² = E‖(Jε − Jᵀε)/2‖²` and so for `S` (Hutchinson), for networks of any size.
    - `key`: JAX random key of those vectors.
    - `field`: of the vector field `F = a − s`, whose Jacobian is `J − I`, in place of the drive. That is what P2 plots:
      a loop without reciprocal edges has `‖S‖ = ‖A‖` in `J` whatever its weights, in `J − I` the weaker the more
      symmetric.

    **Returns:** a `SymmetryMeasure`.

    **Raises:** `ValueError` for shapes that do not fit, `samples` below 1 or without a key, or, without `samples`, more
    than 4096 neurons.

    Source: P2 (arXiv 2309.02214), Fig. 4c.

    ```python
    hp.symmetry_measure(net, x, rest, samples=20, key=jax.random.key(0)).measure
    ```
    """
    clamped = _checked(net, x, rest, dense=samples is None)
    if samples is None:
        moments = _dense_moments(net, clamped, rest.state)
    else:
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        if key is None:
            raise ValueError("random vectors need a key: pass key=jax.random.key(0)")
        moments = _estimated_moments(net, clamped, rest.state, samples, key)
    even, odd, trace = (np.asarray(moment, np.float64) for moment in moments)
    if field:  # ‖S − I‖²; A is that of J
        even = np.maximum(even + sum(layer[0].size for layer in rest.state) - 2 * trace, 0)
    return SymmetryMeasure(np.sqrt(even), np.sqrt(odd))


def analyse_jacobian(net: AbstractNetwork, x: Inputs, y: Targets, rest: Rest) -> JacobianAnalysis:
    """Return what the Jacobian at free rest states does to the error vector.

    `(I − D Jᵀ) λ = −D ∂C/∂s`, `(I − D J) δ = −D ∂C/∂s`, and `δ ≈ λ − 2 S_M⁻¹ A λ` with `S_M = S − D⁻¹`.

    **Arguments:** `x`, `rest`: as in `functional_jacobian`; `y`: integer labels `(batch,)` or one-hot rows.

    **Returns:** a `JacobianAnalysis`.

    **Raises:** `ValueError` for shapes that do not fit, or a network of more than 4096 neurons.

    Source: P2 (arXiv 2309.02214), the asymmetry bias.

    ```python
    analysis = hp.analyse_jacobian(net, x, y, hp.settle(net, x))
    analysis.bias, analysis.first_order_bias, analysis.applies
    ```
    """
    clamped = _checked(net, x, rest)
    target = one_hot(jnp.asarray(y), net.classes, clamped.dtype)
    if len(target) != len(clamped):
        raise ValueError(f"x holds {len(clamped)} samples but y holds {len(target)}")
    jacobian = np.asarray(_jacobian(net, clamped, rest.state), np.float64)
    slope, pull = (np.asarray(part, np.float64) for part in _slope_and_pull(net, clamped, target, rest.state))
    n, transposed = jacobian.shape[1], jacobian.transpose(0, 2, 1)
    scaled = slope[:, :, None] * jacobian
    error = np.linalg.solve(np.eye(n) - slope[:, :, None] * transposed, -(slope * pull)[..., None])
    response = np.linalg.solve(np.eye(n) - scaled, -(slope * pull)[..., None])
    symmetric, antisymmetric = (jacobian + transposed) / 2, (jacobian - transposed) / 2
    # S_M⁻¹ A = (D S − I)⁻¹ D A, without dividing by a slope that may be 0.
    ratio = np.linalg.solve(slope[:, :, None] * symmetric - np.eye(n), slope[:, :, None] * antisymmetric)
    norms = SymmetryMeasure(*(np.linalg.norm(part, axis=(1, 2)) for part in (symmetric, antisymmetric)))
    return JacobianAnalysis(
        jacobian=jacobian,
        eigenvalues=np.linalg.eigvals(scaled),
        symmetry=norms,
        error=error[..., 0],
        response=response[..., 0],
        first_order=(error - 2 * ratio @ error)[..., 0],
        contraction=np.linalg.norm(ratio, 2, axis=(1, 2)),
    )


def error_alignment(mine: State, theirs: State) -> np.ndarray:
    """Return the cosine of two error vectors layer by layer, the mean over the samples in which neither vanishes.

    `cos_l = mean_b ⟨e_lb, f_lb⟩/(‖e_lb‖‖f_lb‖)`.

    **Arguments:** `mine`, `theirs`: layers `(batch, …)`, real, such as `estimate.response` of two estimators.

    **Returns:** `(layers,)`, float64; NaN for a layer that vanishes throughout.

    **Raises:** `ValueError` if the layers' shapes differ, or one is `None` (an energy form has no error vector).

    Source: P2 (arXiv 2309.02214), Fig. 3 and Fig. 4d, l.

    ```python
    hp.error_alignment(estimate.response, hp.Implicit()(net, x, y).response)
    ```
    """
    if mine is None or theirs is None:
        raise ValueError("energy forms have no error vector: use form='vector-field', ForwardResponse or Implicit")
    if [jnp.shape(a) for a in mine] != [jnp.shape(b) for b in theirs]:
        raise ValueError("the two error vectors belong to different networks or batches: their shapes differ")
    cosines = []
    for a, b in zip(mine, theirs, strict=True):
        p, q = (np.asarray(part, np.float64).reshape(len(part), -1) for part in (a, b))
        size = np.linalg.norm(p, axis=1) * np.linalg.norm(q, axis=1)
        known = size != 0  # what is not a number is known to be none
        cosines.append(np.mean((p * q).sum(1)[known] / size[known]) if known.any() else np.nan)
    return np.array(cosines)


def _checked(net: AbstractNetwork, x: Inputs, rest: Rest, *, dense: bool = True) -> Array:
    """Return the clamped inputs, or raise `ValueError`."""
    x = check_inputs(net, x)
    check_state(net, (x.shape[0],), rest.state)
    problem = FixedPoint.of(net, x)
    finite = np.isfinite(np.asarray(rest.residual))
    if not finite.all():
        raise ValueError(
            f"{int((~finite).sum())} of {finite.size} rest states are not finite: leave those samples out first"
        )
    if dense and problem.size > _LARGEST:
        raise ValueError(
            f"a Jacobian of {problem.size} neurons is too large to be written out (at most {_LARGEST}): pass samples"
        )
    return problem.clamped


@eqx.filter_jit
def _jacobian(net: AbstractNetwork, clamped: Array, state: State) -> Array:
    def sample(c: Array, s: State) -> Array:
        rows = jax.jacrev(lambda s: net.drive(c, s))(s)
        return jnp.block(
            [
                [block.reshape(a.size, b.size) for block, b in zip(row, s, strict=True)]
                for row, a in zip(rows, s, strict=True)
            ]
        )

    return jax.vmap(sample)(clamped, state)


@eqx.filter_jit
def _dense_moments(net: AbstractNetwork, clamped: Array, state: State) -> tuple[Array, Array, Array]:
    """Return `‖S‖²`, `‖A‖²` and `tr J` of each sample.

    Of the parts themselves: as the difference of `‖J‖²` and `tr J²` a small one would be rounding.
    """
    jacobian = _jacobian(net, clamped, state)
    transposed = jacobian.swapaxes(1, 2)
    even, odd = (jnp.sum(part**2, (1, 2)) / 4 for part in (jacobian + transposed, jacobian - transposed))
    return even, odd, jnp.trace(jacobian, axis1=1, axis2=2)


@eqx.filter_jit
def _estimated_moments(
    net: AbstractNetwork, clamped: Array, state: State, samples: int, key: PRNGKeyArray
) -> tuple[Array, Array, Array]:
    def sample(c: Array, s: State, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        _, forward, transpose = jacobian_products(net, c, s)

        def one(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
            keys = jax.random.split(key, len(s))
            noise = tuple(jax.random.normal(k, layer.shape, layer.dtype) for k, layer in zip(keys, s, strict=True))
            ahead, back = forward(noise), transpose(noise)
            even = sum(jnp.sum((a + b) ** 2) for a, b in zip(ahead, back, strict=True))
            odd = sum(jnp.sum((a - b) ** 2) for a, b in zip(ahead, back, strict=True))
            trace = sum(jnp.sum(a * e) for a, e in zip(ahead, noise, strict=True))
            return jnp.asarray(even) / 4, jnp.asarray(odd) / 4, jnp.asarray(trace)

        even, odd, trace = jax.vmap(one)(jax.random.split(key, samples))
        return jnp.mean(even), jnp.mean(odd), jnp.mean(trace)

    return jax.vmap(sample)(clamped, state, jax.random.split(key, clamped.shape[0]))


@eqx.filter_jit
def _slope_and_pull(net: AbstractNetwork, clamped: Array, target: Array, state: State) -> tuple[Array, Array]:
    """Return `D` and `∂C/∂s`, `(batch, n)`."""

    def sample(c: Array, y: Array, s: State) -> tuple[Array, Array]:
        pull = (*(jnp.zeros_like(layer) for layer in s[:-1]), cost_gradient(net, s, y))
        return flatten(slope_at(net, net.drive(c, s))), flatten(pull)

    return jax.vmap(sample)(clamped, target, state)

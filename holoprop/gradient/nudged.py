"""From nudges to a gradient: settle at every nudge, then one weighted sum of `∂F/∂θ`.

All estimators of energy networks are of the form

    g = Re Σ_k w_k ∂F/∂θ(s_k, β_k),      ∂F/∂θ = −∂Φ/∂θ + β ∂C/∂θ,

the finite-difference ones and the contour alike; they differ in the nudges `β_k` and the weights `w_k`. The sum is one
reverse-mode derivative of one scalar, so that each connection's gradient is a single matrix product over all
points and samples. As `Re Σ_k w_k = 0`, the free phase's counted in, it is taken of `Φ(s_k) − Φ(s_0)`, which leaves
less rounding to be magnified by `1/β` (`potential_difference`). Without a potential the response takes the place of
`∂F/∂θ` (`error_vector.py`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact, PRNGKeyArray, PyTree

from holoprop.gradient.asymmetry import predicted_asymmetry
from holoprop.gradient.certificate import Certificate, certify
from holoprop.gradient.error_vector import gradient_of_error, response_of
from holoprop.gradient.estimate import Estimate, RealNudges, Unsettled
from holoprop.gradient.form import Asymmetry, Form, corrects, uses_energy
from holoprop.gradient.kept import drop, mean_kept, sample_weights
from holoprop.gradient.spectrum import Spectrum, circle_spectrum
from holoprop.network.base import AbstractNetwork, State, in_dtype, parameter_dtype
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint, difference
from holoprop.settling.mixed import Mixed
from holoprop.settling.rest import Rest
from holoprop.settling.run import settle_problem
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import keyed


class Reading(NamedTuple):
    """How an estimate is read off its states: in which form, with or without a correction, of which samples."""

    form: Form
    asymmetry: Asymmetry
    unsettled: Unsettled


def estimate_from_nudges(
    net: AbstractNetwork,
    x: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    nudges: RealNudges,
    solver: AbstractSolver,
    nudged_solver: AbstractSolver | None,
    reading: Reading,
    key: PRNGKeyArray | None,
) -> Estimate:
    """Settle at real nudges and return the estimate `Σ_k w_k ∂F/∂θ(s_{β_k}, β_k) + w_0 ∂F/∂θ(s_0, 0)` over the batch.

    Without a potential: that of the response `Σ_k w_k (s_{β_k} − s_0)`.

    **Arguments:** `nudges`: `β_k`, `w_k` and `w_0`, each a number or `(batch,)`; `nudged_solver`: by default
    `nudged_default(solver)`; `key`: of the solvers' noise. A pair `±β` is a circle of two points, with its spectrum.
    """
    dtype = parameter_dtype(net)
    x, target = x.astype(dtype), target.astype(dtype)

    def per_sample(value: Any) -> Float[Array, " batch"]:
        return jnp.broadcast_to(jnp.asarray(value), x.shape[:1]).astype(dtype)

    betas, weights = (jnp.stack([per_sample(value) for value in values]) for values in nudges[:2])
    problem = FixedPoint.of(net, x)
    free = settle_problem(problem, keyed(solver, key, 0))
    if corrects(net, reading.asymmetry):
        problem = problem.anchored(free.state)
    nudged_solver = keyed(nudged_solver or nudged_default(solver), key, 1)
    nudged = settle_nudged(problem, target, betas, repeat(free.state, betas.shape[0]), nudged_solver)
    spectrum = None
    if len(nudges.betas) == 2 and nudges.free_weight is None:
        spectrum = circle_spectrum(free, nudged.state, mismatch(problem, target, betas, nudged), betas, 2)
    return conclude(problem, x, target, free, nudged, betas, weights, reading, spectrum=spectrum)


def conclude(
    problem: FixedPoint,
    x: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    free: Rest,
    nudged: Rest,
    betas: Inexact[Array, "points batch"],
    weights: Inexact[Array, "points batch"],
    reading: Reading,
    *,
    spectrum: Spectrum | None = None,
    memory: PyTree = None,
    points_per_batch: int | None = None,
) -> Estimate:
    """Return the estimate that rest states and nudged states tell, averaged over the kept samples.

    **Arguments:** `problem`: of the nudged states, but for target and nudge; `betas`, `weights`: `β_k`, `w_k`; the free
    state's is `w_0 = −Re Σ_k w_k`; `reading`: in which form; `spectrum`: of the circle, if it is one.
    """
    net, response, asymmetry = problem.net, None, None
    energy = uses_energy(net, reading.form)
    if not energy:
        response = response_of(free, nudged.state, weights)
        if not (net.is_energy or corrects(net, reading.asymmetry)):
            asymmetry = predicted_asymmetry(problem, target, free.state, response)
    certificate = certify(free, nudged, betas, reading.unsettled, spectrum, asymmetry=asymmetry)
    if energy:
        terms = nudged.state, betas, weights
        gradient = _energy_gradient(net, x, target, free, *terms, certificate, reading, points_per_batch)
    else:
        assert response is not None
        gradient = gradient_of_error(net, x, target, free.state, response, certificate.kept)
    logits, losses = read_out(net, free.state, target)
    loss = mean_kept(losses, certificate.kept)
    return Estimate(gradient, loss, logits, free, certificate, memory, response)


def _energy_gradient(
    net: AbstractNetwork,
    x: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    free: Rest,
    states: State,
    betas: Inexact[Array, "points batch"],
    weights: Inexact[Array, "points batch"],
    certificate: Certificate,
    reading: Reading,
    points_per_batch: int | None,
) -> Any:
    """Return `Re Σ_k w_k [∂F/∂θ(s_k, β_k) − ∂F/∂θ(s_0, 0)]`, the mean over the kept samples."""
    share, rested = sample_weights(certificate.kept, x.dtype), free.state
    if reading.unsettled != "keep":
        (x,), (target,) = drop((x,), certificate.kept, 1), drop((target,), certificate.kept, 1)
        states, rested = drop(states, certificate.kept, 2), drop(rested, certificate.kept, 1)
        betas = jnp.where(certificate.kept, betas, 0)
        weights = jnp.where(certificate.kept, weights, 0)
    scale = (weights * share.astype(weights.dtype)).astype(betas.dtype)
    return weighted_gradient(net, x, target, states, scale, scale * betas, rested, points_per_batch)


def weighted_gradient(
    net: AbstractNetwork,
    x: Float[Array, "batch ..."],
    target: Float[Array, "batch classes"],
    states: State,
    weights: Inexact[Array, "points batch"],
    cost_weights: Inexact[Array, "points batch"],
    rested: State | None = None,
    points_per_batch: int | None = None,
) -> Any:
    """Return `Re Σ_{k,b} [−w_kb ∂Φ/∂θ(x_b, s_kb) + v_kb ∂C/∂θ(s_kb, y_b)]`, real, as a pytree of the network's type.

    With `rested`, states `(batch, …)`, of `Φ(s) − Φ(rested)` in place of `Φ(s)`: the same where the real parts of the
    weights add up to 0, or all of the weights if `rested` is complex.
    `states` hold leading axes `(points, batch)` and are constants here: their dependence on `θ` is what the nudges
    measure. With `points_per_batch` the sum is made of so many points at a time.
    """
    points, most = weights.shape[0], points_per_batch
    if most is not None and most < points:

        def part(first: Array | int, count: int) -> Any:
            several, w, v = jax.tree.map(
                lambda a: lax.dynamic_slice_in_dim(a, first, count), (states, weights, cost_weights)
            )
            return weighted_gradient(net, x, target, several, w, v, rested)

        count = points // most
        total = lax.fori_loop(
            1, count, lambda i, total: jax.tree.map(jnp.add, total, part(i * most, most)), part(0, most)
        )
        left = points - count * most
        return total if not left else jax.tree.map(jnp.add, total, part(count * most, left))

    def scalar(net: Any) -> Array:
        clamped = jax.vmap(net.clamp)(x).astype(weights.dtype)
        typed = in_dtype(net, weights.dtype)

        def sample(c: Array, y: Array, start: State | None, s: State, w: Array, v: Array) -> Array:
            potential = typed.potential(c, s) if start is None else typed.potential_difference(c, s, start)
            return v * typed.cost(typed.readout(s), y) - w * potential

        values = jax.vmap(jax.vmap(sample), in_axes=(None, None, None, 0, 0, 0))(
            clamped, target, rested, states, weights, cost_weights
        )
        return jnp.sum(values.real)

    return eqx.filter_grad(scalar)(net)


def read_out(
    net: AbstractNetwork, state: State, target: Float[Array, "batch classes"]
) -> tuple[Float[Array, "batch classes"], Float[Array, " batch"]]:
    """Return the logits and the cost of each sample at a free rest state."""
    logits = jax.vmap(lambda s: net.readout(s))(state)
    return logits, jax.vmap(net.cost)(logits, target)


def nudged_default(solver: AbstractSolver) -> AbstractSolver:
    """Return the solver of the nudged phases when none is given: the free one's, without Anderson's fallback stages.

    Nudged phases start close to rest and settle in a few sweeps. A sample that has not after 60 is most likely beyond
    its radius of convergence, where a rest state found by hundreds of plain sweeps may be on another branch.
    """
    if isinstance(solver, Mixed):
        return Mixed(nudged_default(solver.solver), solver.rough_tolerance)
    if not isinstance(solver, Anderson):
        return solver
    return Anderson(
        depth=solver.depth,
        tolerance=solver.tolerance,
        max_steps=min(solver.max_steps, 60),
        patience=solver.patience,
        fallback=False,
    )


def settle_nudged(
    problem: FixedPoint,
    target: Array,
    betas: Inexact[Array, "points batch"],
    start: State,
    solver: AbstractSolver,
    points_per_batch: int | None = None,
) -> Rest:
    """Settle the samples of a free problem at the nudges, from `start`, `(points, batch, …)`; all at once, or so many.

    A few at a time take the memory of a few, but the states themselves, and longer.
    """

    def settled(betas: Array, start: State) -> Rest:
        return settle_problem(problem.nudged(target, betas), solver, start)

    return in_pieces(settled, points_per_batch, betas, start)


def mismatch(
    problem: FixedPoint,
    target: Array,
    betas: Inexact[Array, "points batch"],
    rest: Rest,
    points_per_batch: int | None = None,
) -> State:
    """Return `σ(a(s) − β ∂C/∂s_L) − s` at nudged rest states, `(points, batch, …)`: what the solver left undone."""

    def missed(betas: Array, state: State) -> State:
        return difference(problem.nudged(target, betas).update(state), state)

    return in_pieces(missed, points_per_batch, betas, rest.state)


def in_pieces(f: Callable[..., Any], most: int | None, *arrays: PyTree) -> Any:
    """Apply a function of arrays with leading axis `points` to at most so many points at a time, in turn."""
    points = jax.tree.leaves(arrays)[0].shape[0]
    if most is None or most >= points:
        return f(*arrays)
    whole = points // most * most
    pieces = jax.tree.map(lambda a: a[:whole].reshape(whole // most, most, *a.shape[1:]), arrays)
    done = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), lax.map(lambda piece: f(*piece), pieces))
    if whole == points:
        return done
    rest = f(*jax.tree.map(lambda a: a[whole:], arrays))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), done, rest)


def repeat(state: State, points: int) -> State:
    """Return the state with a leading axis of `points` equal copies."""
    return tuple(jnp.broadcast_to(s, (points, *s.shape)) for s in state)

"""Solvers taken apart. Oracles: `settle` itself for single steps, numpy's linear algebra, a count of traces."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.settling.secant import SecantHistory, pack, solve_hermitian, unpack
from holoprop.settling.solver import default_tolerance

SIZES, BATCH = (6, 10, 8, 3), 5
X = np.random.default_rng(1).uniform(size=(BATCH, SIZES[0]))
LABELS = np.arange(BATCH, dtype=np.int32) % 3


@pytest.mark.parametrize("solver", [hp.Picard(), hp.Alternating(), hp.Anderson()], ids=lambda s: type(s).__name__)
def test_single_steps_by_hand_equal_settle(x64, chain, solver):
    net = chain(SIZES, scale=1.0, seed=4, dtype=np.float64)
    problem = hp.FixedPoint.of(net, X)
    start = tuple(jnp.zeros((BATCH, n)) for n in SIZES[1:3])
    step = eqx.filter_jit(lambda progress: solver.step(problem, progress))
    progress = solver.init(problem, start)
    np.testing.assert_array_equal(progress.residual, np.inf)
    count = 0
    while not solver.terminate(progress).all():
        before, progress = progress, step(progress)
        count += 1
        ended = np.asarray(solver.terminate(before))
        # What has ended stays as it is.
        np.testing.assert_array_equal(progress.residual[ended], before.residual[ended])
        np.testing.assert_array_equal(progress.steps, np.asarray(before.steps) + ~ended)
    rest, reference = solver.finish(problem, progress), hp.settle(net, X, solver=solver)
    assert count == int(reference.steps.max())
    np.testing.assert_array_equal(rest.status, reference.status)
    np.testing.assert_array_equal(rest.steps, reference.steps)
    for mine, theirs in zip(rest.state, reference.state, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)


class Counting(hp.AbstractNetwork):
    """A network that counts how often its drive is traced."""

    weight: jax.Array
    readout: hp.Readout
    activation: hp.AbstractActivation = hp.Tanh()
    cost: hp.AbstractCost = hp.SquaredError()
    traces: ClassVar[list[int]] = [0]
    input_shape: ClassVar = (3,)
    layer_shapes: ClassVar = ((3,),)
    classes: ClassVar = 2

    def drive(self, c, s):
        self.traces[0] += 1
        return (c + s[0] @ self.weight,)


def test_nothing_is_traced_twice():
    """Other numbers of the same shapes, nudges given as numbers among them, compile nothing anew."""
    rng = np.random.default_rng(0)

    def net():
        weight, out = (jnp.asarray(rng.normal(size=shape).astype("f4") * 0.2) for shape in ((3, 3), (3, 2)))
        return Counting(weight, hp.Readout(out, jnp.zeros(2)))

    def x():
        return rng.uniform(size=(4, 3)).astype("f4")

    def traces(*arguments):
        before = Counting.traces[0]
        hp.settle(net(), x(), *arguments, solver=hp.Picard())
        return Counting.traces[0] - before

    y = np.zeros(4, np.int32)
    assert traces() > 0 and traces() == 0 and traces(None, 0j) == 0
    assert traces(y, 0.1) > 0 and [traces(y, beta) for beta in (0.2, -0.3, np.float64(0.1))] == [0, 0, 0]
    assert traces(y, 0.1j) > 0 and [traces(y, beta) for beta in (0.2 - 0.1j, np.complex128(1j))] == [0, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_solve_hermitian(x64, n, dtype):
    """Oracle: `numpy.linalg.solve`."""
    rng = np.random.default_rng(n)

    def normal(*shape):
        return (
            rng.normal(size=shape) + 1j * rng.normal(size=shape) if dtype == np.complex128 else rng.normal(size=shape)
        )

    factor, right = normal(3, 4, n, n + 2), normal(3, 4, n)
    matrix = factor @ factor.conj().swapaxes(-1, -2)
    solution = jax.jit(solve_hermitian)(jnp.asarray(matrix), jnp.asarray(right))
    assert solution.dtype == dtype
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right[..., None])[..., 0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("beta", [0.1, 0.1j], ids=["real", "complex"])
def test_unpack_undoes_pack(x64, chain, beta):
    """The carried layer of a two-layer chain is the last one."""
    problem = hp.FixedPoint.of(chain(SIZES, dtype=np.float64), X, LABELS, beta)
    assert problem.carried == (1,)
    rng = np.random.default_rng(0)
    state = tuple(jnp.asarray(rng.normal(size=(BATCH, n)) * (1 + 10 * beta)) for n in SIZES[1:3])
    vector = pack(problem, state)
    assert vector.dtype == np.float64 and vector.shape == (BATCH, 8 * (1 + isinstance(beta, complex)))
    back = unpack(problem, vector, tuple(jnp.zeros_like(layer) for layer in state))
    np.testing.assert_array_equal(back[1], state[1])
    np.testing.assert_array_equal(back[0], 0)


@pytest.mark.parametrize("beta", [0.1, 0.1j], ids=["real", "complex"])
def test_proposal_is_the_multisecant_step(x64, chain, beta):
    """Oracle: `g − ΔG γ` with `γ` from `numpy.linalg.lstsq` on the last three differences."""
    problem = hp.FixedPoint.of(chain(SIZES, dtype=np.float64), X, LABELS, beta)
    rng = np.random.default_rng(0)
    imaginary = isinstance(beta, complex)
    width = 8 * (1 + imaginary)
    points, images = rng.normal(size=(2, 5, BATCH, width))
    history = SecantHistory.empty(problem, 3)
    push = eqx.filter_jit(lambda history, x, g: history.push(x, g, jnp.zeros(BATCH, bool)))
    for x, g in zip(points, images, strict=True):
        history = push(history, jnp.asarray(x), jnp.asarray(g))
    proposal = np.asarray(eqx.filter_jit(lambda history: history.propose())(history))

    def number(v):
        return v[..., :8] + 1j * v[..., 8:] if imaginary else v

    f, g = number(images - points), number(images)
    for i in range(BATCH):
        df, dg = np.diff(f[:, i], axis=0)[-3:].T, np.diff(g[:, i], axis=0)[-3:].T
        gamma = np.linalg.lstsq(df, f[-1, i], rcond=None)[0]
        np.testing.assert_allclose(number(proposal)[i], g[-1, i] - dg @ gamma, rtol=1e-10, atol=1e-10)


def test_default_tolerance():
    """`√neurons · 1e-6` in float32, `√neurons · 1e-11` in float64, complex alike."""
    for dtype, unit in (("f4", 1e-6), ("c8", 1e-6), ("f8", 1e-11), ("c16", 1e-11)):
        np.testing.assert_allclose(default_tolerance(np.dtype(dtype), 64), 8 * unit)


@pytest.mark.parametrize(("dtype", "eps"), [(jnp.float16, 2**-10), (jnp.bfloat16, 2**-7)])
def test_default_tolerance_follows_the_precision(dtype, eps):
    """Of half precision too, by the same multiple of its rounding error as in float32."""
    np.testing.assert_allclose(default_tolerance(jnp.dtype(dtype), 64), 8 * 1e-6 * eps / 2**-23)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_default_tolerance_can_be_met(x64, chain, dtype):
    """Oracle: synchronous updates in numpy, which stop moving at a residual far below it."""
    rest = hp.settle(chain(SIZES, scale=1.0, seed=4, dtype=dtype), X, solver=hp.Picard())
    tolerance = default_tolerance(np.dtype(dtype), 18)
    assert rest.settled.all() and rest.residual.max() <= tolerance
    further = hp.settle(chain(SIZES, scale=1.0, seed=4, dtype=dtype), X, solver=hp.Picard(tolerance=tolerance / 4))
    assert further.settled.all()

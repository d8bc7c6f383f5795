"""Mixed precision. Oracle: the same solver in full precision, and the residual of the network itself."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.bench.counting import SweepCounter
from holoprop.network.product import real_product
from holoprop.settling.mixed import rounded
from holoprop.settling.run import settle_problem
from tests.settling.compiled import problem_of, residual


def network(kind):
    key = jax.random.key(0)
    if kind == "dense":
        return hp.mlp(12, (16, 16), 5, weight_scale=1.5, key=key)
    return hp.convnet((8, 8, 2), (4, 128, 6), 5, padding="SAME", pools=(1,), key=key)


def inputs(net):
    return np.random.default_rng(0).normal(size=(6, *net.input_shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "solver"),
    [("dense", hp.Anderson(tolerance=1e-4)), ("convolutional", hp.Alternating(tolerance=1e-4))],
    ids=["dense", "convolutional"],
)
def test_the_state_at_the_end_is_that_of_full_precision(kind, solver):
    net = network(kind)
    x, y = inputs(net), np.arange(6) % 5
    for beta in (0.0, 0.3j) if kind == "dense" else (0.3j,):
        mixed, full = (
            hp.settle(net, x, None if beta == 0 else y, beta, solver=each) for each in (hp.Mixed(solver), solver)
        )
        assert mixed.settled.all()
        problem = problem_of(net, x, None if beta == 0 else y, beta)
        assert (residual(problem, mixed.state) < 3e-4).all()
        for a, b in zip(mixed.state, full.state, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)


def test_the_first_stage_is_of_low_precision_and_the_second_starts_where_it_ends():
    """Oracle: the two stages by hand. Where the first is enough, the second only looks: one sweep more."""
    net = network("dense")
    x, solver = inputs(net), hp.Alternating(tolerance=0.5)
    # The input's drive is made once, in full precision.
    low = eqx.filter_jit(settle_problem)(rounded(problem_of(net, x)), hp.Alternating(tolerance=0.2))
    mixed = hp.settle(net, x, solver=hp.Mixed(solver, rough_tolerance=0.2))
    second = hp.settle(net, x, solver=solver, state=low.state)
    for a, b in zip(mixed.state, second.state, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_array_equal(mixed.steps, low.steps + second.steps)
    np.testing.assert_array_equal(second.steps, 1)


def test_products_are_rounded_to_eight_bits_and_summed_in_full():
    """Oracle: float64 products of the rounded factors; real and complex, dense and convolved both ways."""
    rng = np.random.default_rng(0)
    s, w = rng.normal(size=(5, 300)).astype(np.float32), rng.normal(size=(300, 4)).astype(np.float32)
    low = jnp.asarray(w).astype(jnp.bfloat16)

    def eight(a):
        return np.asarray(jnp.asarray(a).astype(jnp.bfloat16).astype(jnp.float32), np.float64)

    found = real_product(jnp.asarray(s), low)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, eight(s) @ eight(w), rtol=1e-4, atol=1e-4)
    found = real_product(jnp.asarray(s + 1j * s[::-1]), low)
    np.testing.assert_allclose(found, (eight(s) + 1j * eight(s[::-1])) @ eight(w), rtol=1e-4, atol=1e-4)
    for size, inner in ((10, 128), (10, 3), (4, 3)):
        kernel = rng.normal(size=(3, 3, inner, 5)).astype(np.float32)
        maps = rng.normal(size=(size, size, inner)).astype(np.float32)
        back = rng.normal(size=(size, size, 5)).astype(np.float32)
        rough = hp.Conv(jnp.asarray(kernel).astype(jnp.bfloat16), jnp.zeros(5), (size, size))
        exact = hp.Conv(jnp.asarray(eight(kernel), jnp.float32), jnp.zeros(5), (size, size))
        for a, b in (
            (rough.product(jnp.asarray(maps)), exact.product(jnp.asarray(eight(maps), jnp.float32))),
            (rough.down(jnp.asarray(back)), exact.down(jnp.asarray(eight(back), jnp.float32))),
        ):
            assert a.dtype == jnp.float32
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_gradient_and_certificate_are_unharmed():
    net = network("convolutional")
    x, y = inputs(net), np.arange(6) % 5
    estimates = [
        hp.Holomorphic(4, 0.3, solver=solver)(net, x, y) for solver in (hp.Mixed(hp.Alternating()), hp.Alternating())
    ]
    assert hp.alignment(estimates[0].gradient, estimates[1].gradient).total.cosine > 1 - 1e-6
    np.testing.assert_array_equal(estimates[0].certificate.verdict, estimates[1].certificate.verdict)


def test_a_tolerance_that_is_none_is_refused():
    with pytest.raises(ValueError, match="tolerance must be positive"):
        hp.Mixed(hp.Anderson(), rough_tolerance=0.0)


def test_solvers_without_a_stage_of_low_precision_are_refused():
    for solver in (hp.TimeSteps(20), hp.Mixed(hp.Anderson())):
        with pytest.raises(ValueError, match="has no stage of low precision"):
            hp.Mixed(solver)


def test_it_is_a_solver_like_others():
    """In evaluation, counted by the benchmarks, replaced field by field. Oracle: the solver itself."""
    net = network("dense")
    x, y, solver = inputs(net), np.arange(6) % 5, hp.Mixed(hp.Alternating(tolerance=1e-3))
    result = hp.evaluate(net, x, y, solver=solver)
    rest = hp.settle(net, x, solver=solver)
    np.testing.assert_array_equal(result.steps, rest.steps)
    assert result.unsettled_share == 0
    estimate, sweeps = SweepCounter(hp.Holomorphic(2, 0.3, solver=solver))(net, jnp.asarray(x), jnp.asarray(y))
    assert sweeps.free == estimate.rest.steps.sum() == rest.steps.sum()
    assert dataclasses.replace(solver, rough_tolerance=0.5).rough_tolerance == 0.5

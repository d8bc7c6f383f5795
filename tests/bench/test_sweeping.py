"""Sweeps against bare convolutions: what is timed, and what the share means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.bench.flops import Flops
from holoprop.bench.sweeping import SweepRate, free_sweep_rate, nudged_sweep_rate

SOLVER = hp.Alternating(tolerance=1e-3)


@pytest.fixture(scope="module")
def net():
    return hp.convnet((12, 12, 1), (3, 4, 5), 3, padding="SAME", key=jax.random.key(0))


def batch():
    return jax.random.uniform(jax.random.key(1), (2, 12, 12, 1)), jnp.arange(2)


def test_share_is_of_the_faster_way_of_each():
    # By hand: sweeps of 8 GFLOP in 4 s; convolutions of 6 GFLOP, in 1 s up and 2 s down at their fastest.
    names = ("sweeps", "1/up/library", "1/up/package", "1/down/library", "1/down/package")
    rate = SweepRate(dict.fromkeys(names, lambda: None), 8_000_000_000, 6_000_000_000)
    assert rate.gflops(dict(zip(names, (4.0, 1.0, 9.0, 7.0, 2.0), strict=True))) == (2.0, 2.0)


@pytest.mark.parametrize(("points", "lanes", "is_complex"), [(2, 4, False), (4, 2, True), (8, 6, True)])
def test_nudged_sweeps_are_counted(net, points, lanes, is_complex):
    # Two samples at both real points, or at the complex ones of the half circle.
    rate = nudged_sweep_rate(net, *batch(), points, 0.5, solver=SOLVER)
    flops = Flops.of(net)
    assert rate.sweep_flops == 10 * lanes * flops.sweep(nudged=True, complex_state=is_complex)
    assert rate.bare_flops == 2 * lanes * (2 if is_complex else 1) * flops.inner
    state = rate.functions["sweeps"]()
    dtype = jnp.complex64 if is_complex else jnp.float32
    assert all(layer.dtype == dtype and layer.shape[0] * layer.shape[1] == lanes for layer in state[:3])


def test_a_fixed_number_of_sweeps_comes_to_rest(net):
    # Oracle: the solver's own loop; ten sweeps are more than it takes.
    x, _ = batch()
    state = free_sweep_rate(net, x, solver=SOLVER).functions["sweeps"]()
    rest = hp.settle(net, x, solver=SOLVER)
    assert int(rest.steps.max()) <= 10
    for mine, theirs in zip(state, rest.state, strict=False):
        np.testing.assert_allclose(mine, theirs, atol=2e-3)


def test_both_ways_of_a_convolution_agree(net):
    functions = free_sweep_rate(net, batch()[0], solver=SOLVER).functions
    pairs = {name.rpartition("/")[0] for name in functions} - {""}
    assert pairs == {"1/up", "1/down", "2/up", "2/down"}
    for pair in pairs:
        np.testing.assert_allclose(functions[f"{pair}/library"](), functions[f"{pair}/package"](), atol=1e-4)


def test_dense_connections_have_no_convolutions():
    net = hp.mlp(4, (3, 2), 2, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"bare convolutions are of convolutional networks, but connections\[1\]"):
        free_sweep_rate(net, jnp.zeros((2, 4)), solver=SOLVER)

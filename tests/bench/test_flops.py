"""The FLOP model against XLA's own count of the compiled program, and against sums by hand."""

import jax
import jax.numpy as jnp
import pytest

import holoprop as hp
from holoprop.bench.flops import Flops, Sweeps
from holoprop.gradient.nudged import weighted_gradient

BATCH = 4
# XLA also counts elementwise work (biases, activations, softmax): some 30 operations a unit, about 100 a complex one,
# against 1024 or 2048 in the products of each. The model leaves it out.
ELEMENTWISE = 0.1


@pytest.fixture(scope="module")
def net():
    """A network whose matrix products dwarf its elementwise work."""
    return hp.mlp(300, (256, 256, 256), 10, key=jax.random.key(0))


def counted(function, *arguments):
    """XLA's count for the compiled function."""
    return jax.jit(lambda *a: function(*a)).lower(*arguments).compile().cost_analysis()["flops"]


def one_hot():
    return jax.nn.one_hot(jnp.arange(BATCH), 10)


@pytest.mark.parametrize("beta", [None, 0.1, 0.1j], ids=["free", "real", "complex"])
def test_sweep(net, beta):
    betas = None if beta is None else jnp.full((BATCH,), beta)
    problem = hp.FixedPoint(net, jnp.zeros((BATCH, 256)), None if beta is None else one_hot(), betas)
    state = tuple(jnp.zeros((BATCH, 256), problem.dtype) for _ in range(3))
    wanted = BATCH * Flops.of(net).sweep(nudged=beta is not None, complex_state=isinstance(beta, complex))
    assert wanted <= counted(problem.update, state) <= (1 + ELEMENTWISE) * wanted


def test_input_drive(net):
    wanted = BATCH * Flops.of(net).input_drive
    assert wanted <= counted(jax.vmap(net.clamp), jnp.zeros((BATCH, 300))) <= (1 + ELEMENTWISE) * wanted


@pytest.mark.parametrize("unit", [(1.0, -1.0), (1.0j, 0.6 + 0.8j, -0.6 + 0.8j)], ids=["real", "complex"])
def test_gradient(net, unit):
    points = jnp.asarray(unit)
    weights = jnp.broadcast_to(points[:, None], (len(unit), BATCH))
    state = tuple(jnp.ones((len(unit), BATCH, 256), points.dtype) for _ in range(3))
    real = 0 if jnp.iscomplexobj(points) else len(unit)
    wanted = BATCH * Flops.of(net).gradient(real_points=real, complex_points=len(unit) - real)
    spent = counted(weighted_gradient, net, jnp.ones((BATCH, 300)), one_hot(), state, weights, weights)
    # The parameter gradients are also scaled and summed, elementwise, at the size of the weights.
    assert wanted <= spent <= 1.25 * wanted


def test_training_step_is_the_sum_of_its_parts():
    # By hand for 5-3-2 and 4 classes: drive 2·5·3 = 30, inner 2·3·2 = 12, logits 2·2·4 = 16, a sweep 24 (nudged 56,
    # complex 112), gradient 30 + (1 + 2·2)·(12 + 32) = 250.
    net = hp.mlp(5, (3, 2), 4, key=jax.random.key(0))
    flops = Flops.of(net).training_step(
        batch=7, sweeps=Sweeps(free=100, real=10, complex=1), real_points=1, complex_points=2
    )
    assert flops == 7 * (30 + 16 + 250) + 100 * 24 + 10 * 56 + 112

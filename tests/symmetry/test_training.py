"""Training towards symmetry. Oracles: the sum of the two gradients, and what gradient descent does to `W − Vᵀ`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import holoprop as hp

ESTIMATOR = hp.Holomorphic(2, 0.1, solver=hp.Alternating())


@pytest.fixture(scope="module")
def case():
    net = hp.mlp(7, (6, 5, 4), 4, feedback="free", key=jax.random.key(2))
    rng = np.random.default_rng(3)
    return net, rng.random((8, 7)).astype(np.float32), rng.integers(0, 4, 8)


def test_gradient_is_the_sum_and_the_weight_follows_its_schedule(case):
    net, x, y = case
    schedule = optax.linear_schedule(0.0, 3.0, 3)
    estimator = hp.Homeostatic(ESTIMATOR, weight=schedule, samples=3)
    plain, memory = ESTIMATOR(net, x, y), estimator.init(net, 8)
    for step in range(3):
        estimate = estimator(net, x, y, key=jax.random.key(step), memory=memory)
        memory = estimate.memory
        always = hp.Homeostatic(ESTIMATOR, weight=1.0, samples=3)(net, x, y, key=jax.random.key(step))
        for got, one, none in zip(*(jax.tree.leaves(each.gradient) for each in (estimate, always, plain)), strict=True):
            np.testing.assert_allclose(got, none + step * (one - none), rtol=1e-4, atol=1e-6)
        assert float(estimate.penalty) == float(always.penalty) > 0 and float(estimate.loss) == float(plain.loss)
    assert int(memory[1]) == 3


@pytest.mark.parametrize(
    "build",
    [lambda key: hp.mlp(7, (6, 5, 4), 4, feedback="free", key=key), lambda key: hp.loop_mlp(7, (6, 5, 4), 4, key=key)],
    ids=["dense", "loop"],
)
def test_homeostasis_makes_the_jacobian_symmetric(case, build):
    """By descent on the penalty alone the measure rises: to 1 where every edge has a partner."""
    _, x, y = case
    net = build(jax.random.key(2))
    estimator = hp.Homeostatic(ESTIMATOR, weight=5.0)
    before = hp.symmetry_measure(net, x, hp.settle(net, x)).measure.mean()
    trained = hp.fit(net, estimator, optax.sgd(0.1), (np.tile(x, (20, 1)), np.tile(y, 20)), epochs=10, batch_size=8).net
    after = hp.symmetry_measure(trained, x, hp.settle(trained, x))
    if build(jax.random.key(2)).graph[-1] == (3, 1):
        # No partner to agree with: what can shrink is the antisymmetric part, with the symmetric one.
        assert after.antisymmetric.mean() < 0.7 * hp.symmetry_measure(net, x, hp.settle(net, x)).antisymmetric.mean()
    else:
        assert before < 0.65 and after.measure.mean() > 0.95


def test_kolen_pollack_difference_decays_as_known(x64):
    """With plain gradient descent at rate η the difference is `(1 − ηd)^k` times what it was."""
    net = hp.convnet((8, 8, 2), (4, 6), 3, padding="SAME", feedback="free", key=jax.random.key(2))
    rng = np.random.default_rng(3)
    x, y = rng.random((8, 8, 8, 2)), rng.integers(0, 3, 8)
    trained = hp.fit(
        net,
        hp.KolenPollack(ESTIMATOR, decay=2.0),
        optax.sgd(0.05),
        (np.tile(x, (3, 1, 1, 1)), np.tile(y, 3)),
        epochs=4,
        batch_size=8,
    ).net

    def difference(net):
        return net.connections[1].weight - net.connections[1].feedback

    np.testing.assert_allclose(difference(trained), 0.9**12 * difference(net), rtol=1e-9, atol=1e-12)


def test_refusals(unchecked, case):
    net, x, y = case
    tied = hp.mlp(7, (6, 5), 4, key=jax.random.key(0))
    for build, message in (
        (lambda: hp.Homeostatic(ESTIMATOR, weight=-1.0), "weight must be at least 0 and finite, got -1.0"),
        (lambda: hp.Homeostatic(ESTIMATOR, samples=0), "samples must be at least 1, got 0"),
        (lambda: hp.Homeostatic(ESTIMATOR, form="none"), "form must be 'local', 'jacobian' or None, got 'none'"),
        (lambda: hp.Homeostatic(ESTIMATOR)(net, x, y), "Homeostatic draws random vectors: pass key="),
        (lambda: hp.Homeostatic(ESTIMATOR).check(tied), "an energy network's Jacobian is symmetric"),
        (lambda: hp.KolenPollack(ESTIMATOR, decay=-1.0), "decay must be at least 0 and finite, got -1.0"),
        (lambda: hp.KolenPollack(hp.Homeostatic(ESTIMATOR)), "wrap the other way round"),
        (
            lambda: hp.Homeostatic(hp.Implicit()).check(hp.feedforward(net)),
            "Homeostatic needs a network that settles, and this one is feed-forward",
        ),
        (lambda: hp.KolenPollack(ESTIMATOR).check(tied), "Kolen–Pollack learning is of free feedback weights"),
        (
            lambda: hp.KolenPollack(ESTIMATOR).check(hp.loop_mlp(7, (6, 5, 4), 4, key=jax.random.key(0))),
            "Kolen–Pollack learning is of free feedback weights",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            build()


def test_memory_of_the_inner_estimator_is_carried(case):
    net, x, y = case
    estimator = hp.Homeostatic(hp.Holomorphic(2, solver=hp.Alternating()))
    memory = estimator.init(net, 8)
    estimate = estimator(net, x, y, key=jax.random.key(0), memory=memory)
    assert bool(estimate.memory[0].known) and eqx.tree_equal(memory[1], jnp.zeros((), jnp.int32))
    fresh = estimator(net, x, y, key=jax.random.key(0)).memory
    assert bool(fresh[0].known) and int(fresh[1]) == 1

"""Oracle: the same estimator on the settled samples alone.

A broken estimate must never be silent: samples that did not settle are left out (and counted), kept, or reported by
an exception.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp


@pytest.fixture(scope="module")
def some_unsettled():
    """A network of large weights and a step limit that some samples meet and some do not."""
    net = hp.mlp(12, (20, 20), 4, weight_scale=2.0, key=jax.random.key(5))
    x = jax.random.uniform(jax.random.key(1), (12, 12))
    y = jnp.arange(12, dtype=jnp.int32) % 4
    steps = np.asarray(hp.settle(net, x, solver=hp.Alternating()).steps)
    solver = hp.Alternating(max_steps=int(np.median(steps)))
    settled = np.asarray(hp.settle(net, x, solver=solver).settled)
    assert 0 < settled.sum() < len(settled)
    return net, x, y, solver, settled


def test_masked_means_are_over_the_kept_samples(some_unsettled):
    net, x, y, solver, settled = some_unsettled
    nudged = hp.Alternating(max_steps=2000)
    estimate = hp.Holomorphic(4, 0.01, solver=solver, nudged_solver=nudged)(net, x, y)
    kept = np.asarray(estimate.certificate.kept)
    assert not kept[~settled].any() and kept.any()
    np.testing.assert_allclose(estimate.certificate.unsettled_share, 1 - kept.mean(), rtol=1e-6)
    alone = hp.Holomorphic(4, 0.01, solver=solver, nudged_solver=nudged)(net, x[kept], y[kept])
    np.testing.assert_allclose(estimate.loss, alone.loss, rtol=1e-6)
    # float32 over a circle of radius 0.01: rounding is divided by the radius.
    assert hp.alignment(estimate.gradient, alone.gradient).total.relative_error < 1e-3


def test_raise_names_what_did_not_settle(some_unsettled):
    net, x, y, solver, settled = some_unsettled
    with pytest.raises(
        hp.UnsettledError, match=rf"free phase: {(~settled).sum()} of 12 did not settle \(\d+ max_steps"
    ):
        hp.Implicit(solver=solver, unsettled="raise")(net, x, y)


def test_keep_uses_every_sample(some_unsettled):
    net, x, y, solver, _ = some_unsettled
    estimate = hp.Implicit(solver=solver, unsettled="keep")(net, x, y)
    assert bool(estimate.certificate.kept.all()) and float(estimate.certificate.unsettled_share) > 0
    logits = np.asarray(estimate.logits, np.float64)
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(12), np.asarray(y)]
    np.testing.assert_allclose(estimate.loss, losses.mean(), rtol=1e-5)


def test_no_sample_kept_gives_no_gradient(some_unsettled):
    net, x, y, _, _ = some_unsettled
    estimate = hp.Holomorphic(4, 0.1, solver=hp.Picard(max_steps=1))(net, x, y)
    assert not estimate.certificate.kept.any() and float(estimate.certificate.unsettled_share) == 1
    assert np.isnan(estimate.loss)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(estimate.gradient))


def test_diverged_samples_do_not_poison_the_others(some_unsettled):
    net, x, y, _, _ = some_unsettled
    spoiled = x.at[3].set(jnp.inf)
    estimator = hp.Holomorphic(4, 0.01)
    estimate = estimator(net, spoiled, y)
    assert int(estimate.certificate.free_status[3]) == hp.Status.diverged
    others = np.delete(np.arange(12), 3)
    alone = estimator(net, x[others], y[others])
    assert bool(alone.certificate.kept.all())
    np.testing.assert_array_equal(estimate.certificate.kept, np.arange(12) != 3)
    np.testing.assert_allclose(estimate.loss, alone.loss, rtol=1e-6)
    np.testing.assert_allclose(estimate.logits[others], alone.logits, rtol=1e-5, atol=1e-5)
    # float32 over a circle of radius 0.01: rounding is divided by the radius.
    assert hp.alignment(estimate.gradient, alone.gradient).total.relative_error < 1e-3


def test_certificate_is_per_sample_and_point(some_unsettled):
    net, x, y, _, _ = some_unsettled
    c = hp.Holomorphic(6, 0.05)(net, x, y).certificate
    assert c.betas.shape == c.point_residual.shape == c.point_status.shape == (4, 12)
    assert c.free_residual.shape == c.free_status.shape == c.kept.shape == (12,)
    np.testing.assert_allclose(np.abs(c.betas), 0.05, rtol=1e-6)
    assert (np.asarray(c.settled) == np.asarray(c.kept)).all()

"""One step. Oracles: the estimator called by itself, plain SGD written out, no change after a step that fails."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import holoprop as hp
from holoprop.train.checkpoint import load_checkpoint
from holoprop.train.step import initial_train_state, train_step

KEY = jax.random.key(0)
MOMENTUM = optax.sgd(0.1, momentum=0.9)
UNSETTLED = hp.Holomorphic(points=2, solver=hp.Picard(max_steps=1))


@pytest.fixture(scope="module")
def batch(problem):
    x, y = problem.train
    return x[: problem.batch_size], y[: problem.batch_size]


def test_sgd_step_follows_the_estimate(problem, batch):
    """`net − lr·gradient`, and metrics of the estimate it was taken with."""
    estimate = problem.estimator(problem.net, *batch)
    state = initial_train_state(problem.net, problem.estimator, problem.sgd, problem.batch_size)
    new, metrics = train_step(state, *batch, KEY, problem.estimator, problem.sgd)
    expected = jax.tree.map(lambda p, g: p - problem.learning_rate * g, problem.net, estimate.gradient)
    for moved, wanted, old in zip(*map(jax.tree.leaves, (new.net, expected, problem.net)), strict=True):
        # Compiled apart, so equal up to rounding: of the settled states, divided by the radius 0.1.
        np.testing.assert_allclose(moved, wanted, rtol=0, atol=2e-5)
        assert np.abs(np.asarray(moved) - np.asarray(old)).max() > 1e-3
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(estimate.gradient)])
    np.testing.assert_allclose(metrics.gradient_norm, np.linalg.norm(flat), rtol=1e-3)
    np.testing.assert_allclose(metrics.loss, estimate.loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.accuracy, (np.argmax(estimate.logits, 1) == batch[1]).mean())
    np.testing.assert_allclose(metrics.sweeps, np.mean(estimate.rest.steps))
    np.testing.assert_allclose(metrics.residual_log10, np.log10(estimate.rest.residual).mean(), rtol=0.05)
    assert (int(metrics.kept), float(metrics.unsettled), bool(metrics.moved)) == (problem.batch_size, 0, True)


def test_a_step_on_augmented_inputs(problem, batch):
    """Oracle: the step on what the documented key makes of the batch, and not the one on the batch as it is."""
    x, y = batch
    moved = problem.augment(jnp.asarray(x), jax.random.fold_in(KEY, 2**32 - 1))
    assert (np.asarray(moved) != x).any()
    state = initial_train_state(problem.net, problem.estimator, problem.sgd, problem.batch_size)
    new, metrics = train_step(state, x, y, KEY, problem.estimator, problem.sgd, problem.augment)
    wanted, expected = train_step(state, moved, y, KEY, problem.estimator, problem.sgd)
    other, _ = train_step(state, x, y, KEY, problem.estimator, problem.sgd)
    for mine, right, wrong in zip(*map(jax.tree.leaves, (new.net, wanted.net, other.net)), strict=True):
        # Compiled apart, as above.
        np.testing.assert_allclose(mine, right, rtol=0, atol=2e-5)
        assert np.abs(np.asarray(mine) - np.asarray(wrong)).max() > 1e-4
    np.testing.assert_allclose(metrics.loss, expected.loss, rtol=1e-5)


def test_the_test_set_is_evaluated_as_it_is(problem):
    """Oracle: `evaluate` on the arrays that were handed in."""
    result = problem.fit(test=problem.test, augment=problem.augment)
    evaluation = hp.evaluate(result.net, *problem.test, solver=hp.Picard())
    assert result.history[-1]["test_loss"] == evaluation.loss


class Taking:
    """A device on the host that keeps what it was given, at rest at its inputs."""

    parameters: ClassVar = {"w": np.ones(2)}
    classes, jittable = 2, False

    def __init__(self):
        self.seen = []

    def settle(self, parameters, x, y, beta):
        self.seen.append(x)
        return x * parameters["w"] + beta * y

    def energy_gradient(self, parameters, x, activities, weights):
        return {"w": weights @ activities}

    def logits(self, activities):
        return activities

    def cost(self, activities, y):
        return ((activities - y) ** 2).sum(1)


def test_a_device_on_the_host_is_given_augmented_inputs():
    """Oracle: the augmentation by itself, with the documented key; in the precision of the inputs."""
    device, augment = Taking(), hp.Augmentation(1, image_shape=(1, 2, 1))
    estimator, optimizer = hp.Centered(), optax.sgd(0.1)
    state = initial_train_state(hp.Programmed.of(device), estimator, optimizer, 6)
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6) % 2
    train_step(state, x, y, KEY, estimator, optimizer, augment)
    moved = np.asarray(augment(jnp.asarray(x), jax.random.fold_in(KEY, 2**32 - 1)))
    assert (moved != x).any()
    for seen in device.seen:
        assert seen.dtype == np.float64
        np.testing.assert_array_equal(seen, moved)


def test_smoothed_labels(problem, batch):
    """Oracle: the estimate for the soft targets themselves; accuracies are of the labels."""
    x, y = batch
    soft = jax.nn.one_hot(y, 3) * 0.7 + 0.1
    estimate, plain = problem.estimator(problem.net, x, soft), problem.estimator(problem.net, x, y)
    state = initial_train_state(problem.net, problem.estimator, problem.sgd, problem.batch_size)
    _, metrics = train_step(state, x, y, KEY, problem.estimator, problem.sgd, label_smoothing=0.3)
    np.testing.assert_allclose(metrics.loss, estimate.loss, rtol=1e-5)
    assert abs(float(metrics.loss) - float(plain.loss)) > 1e-3
    np.testing.assert_allclose(metrics.accuracy, (np.argmax(estimate.logits, 1) == y).mean())
    for wrong in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"label_smoothing must be at least 0 and less than 1, got {wrong}"):
            train_step(state, x, y, KEY, problem.estimator, problem.sgd, label_smoothing=wrong)


def test_no_sample_kept_moves_nothing(problem, batch, assert_identical):
    """Neither the parameters nor the momentum, which by itself would go on moving them."""
    state = initial_train_state(problem.net, UNSETTLED, MOMENTUM, problem.batch_size)
    state = eqx.tree_at(lambda s: s.optimizer_state, state, jax.tree.map(jnp.ones_like, state.optimizer_state))
    new, metrics = train_step(state, *batch, KEY, UNSETTLED, MOMENTUM)
    assert_identical(new, state)
    assert (int(metrics.kept), float(metrics.unsettled), bool(metrics.moved)) == (0, 1, False)
    assert np.isnan(metrics.loss) and np.isnan(metrics.accuracy) and float(metrics.gradient_norm) == 0


def test_no_sample_kept_is_recorded(problem, tmp_path, records, assert_identical):
    result = problem.fit(estimator=UNSETTLED, optimizer=MOMENTUM, folder=tmp_path, log_every=1)
    assert_identical(result.net, problem.net)
    *steps, epoch = records(tmp_path)
    assert len(steps) == problem.steps_per_epoch
    for record in steps:
        assert (record["loss"], record["accuracy"], record["kept"], record["moved"]) == (None, None, 0, False)
    assert (epoch["train_loss"], epoch["train_accuracy"], epoch["unsettled"]) == (None, None, 1)


def test_residuals_that_are_not_finite_are_left_out_of_their_mean(problem, batch):
    """Oracle: the mean over the others in numpy, three steps from zeros; two inputs are NaN, and so their residuals."""
    x, y = batch
    few = hp.Picard(max_steps=3)
    estimator = hp.Holomorphic(points=2, radius=0.1, solver=few, unsettled="keep")
    residual = np.asarray(hp.settle(problem.net, x, solver=few).residual)
    spoiled = np.where(np.arange(len(x))[:, None] < 2, np.float32(np.nan), x)
    state = initial_train_state(problem.net, estimator, problem.sgd, problem.batch_size)
    _, metrics = train_step(state, spoiled, y, KEY, estimator, problem.sgd)
    assert int(metrics.finite) == 3
    np.testing.assert_allclose(metrics.residual_log10, np.log10(residual[2:]).mean(), rtol=1e-3)


STRICT = hp.Holomorphic(points=2, radius=0.1, solver=hp.Picard(max_steps=1), unsettled="raise")


def test_with_raise_an_unsettled_sample_moves_nothing(problem, batch, assert_identical):
    """Even if others settled."""
    steps = np.asarray(hp.settle(problem.net, batch[0], solver=hp.Picard()).steps)
    estimator = hp.Holomorphic(
        points=2,
        radius=0.1,
        solver=hp.Picard(max_steps=int(steps.max()) - 1),
        nudged_solver=hp.Picard(),
        unsettled="raise",
    )
    state = initial_train_state(problem.net, estimator, MOMENTUM, problem.batch_size)
    new, metrics = train_step(state, *batch, KEY, estimator, MOMENTUM)
    assert_identical(new, state)
    assert 0 < int(metrics.kept) < problem.batch_size and not metrics.moved


def test_with_raise_an_unsettled_sample_ends_the_run(problem, tmp_path, records, assert_identical):
    """At the first step here, whether metrics are fetched at every step or only at the end of the epoch."""
    for log_every in (1, 50):
        with pytest.raises(
            hp.UnsettledError, match=r"^step 1: 5 of 5 samples did not settle: raise max_steps"
        ) as raised:
            problem.fit(estimator=STRICT, folder=tmp_path / "new", log_every=log_every, checkpoint_every=2)
        assert "\n" not in str(raised.value)
        assert records(tmp_path / "new") == [] and not (tmp_path / "new" / "checkpoint.eqx").exists()
    problem.fit(folder=tmp_path / "old")
    before = (tmp_path / "old" / "checkpoint.eqx").read_bytes()
    with pytest.raises(hp.UnsettledError, match=r"^step 5: 5 of 5 .* settle; the last good checkpoint is kept: raise"):
        problem.fit(estimator=STRICT, folder=tmp_path / "old", epochs=2, resume=True)
    assert (tmp_path / "old" / "checkpoint.eqx").read_bytes() == before


def test_with_raise_and_all_settled_training_is_as_ever(problem, assert_identical):
    """Oracle: the run that leaves unsettled samples out, of which there are none."""
    strict = dataclasses.replace(problem.estimator, unsettled="raise")
    assert_identical(problem.fit(estimator=strict).net, problem.fit().net)


class Reckless(hp.AbstractCost):
    """The squared error, but infinite where a logit exceeds 30."""

    def __call__(self, logits, target):
        error = logits - target.astype(logits.dtype)
        return jnp.sum(error * error) / jnp.where(jnp.max(logits.real) > 30, 0, 2).astype(logits.dtype)


def test_a_loss_that_is_not_finite_ends_the_run(problem, tmp_path, records):
    """The last good checkpoint is kept: of the step before the one the message names."""
    net = eqx.tree_at(lambda net: net.cost, problem.net, Reckless())
    estimator = hp.Holomorphic(points=2, radius=0.1, solver=hp.Picard(), unsettled="keep")
    optimizer = optax.sgd(5.0)
    with pytest.raises(hp.TrainingError, match=r"^step \d+: loss, gradient or parameters are not finite") as raised:
        problem.fit(
            net=net,
            estimator=estimator,
            optimizer=optimizer,
            epochs=50,
            folder=tmp_path,
            log_every=1,
            checkpoint_every=1,
        )
    message = str(raised.value)
    assert message.endswith("the last good checkpoint is kept: lower the learning rate or the radius")
    assert "\n" not in message
    failed = int(message.split(":")[0].removeprefix("step "))
    assert failed > 2
    assert max(record["step"] for record in records(tmp_path)) == failed - 1
    like = initial_train_state(net, estimator, optimizer, problem.batch_size)
    state, header = load_checkpoint(tmp_path / "checkpoint.eqx", like)
    assert header["step"] == failed - 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.net))
    # Without a folder there is no checkpoint to speak of.
    with pytest.raises(hp.TrainingError, match=r"gradient norm [^;]+\): lower the learning rate or the radius$"):
        problem.fit(net=net, estimator=estimator, optimizer=optimizer, epochs=50)


def test_parameters_that_overflow_end_the_run(problem, tmp_path):
    """With a finite gradient, so that nothing but the new parameters tells; the checkpoint stays, to the byte."""
    problem.fit(folder=tmp_path)
    before = (tmp_path / "checkpoint.eqx").read_bytes()
    overflowing = optax.chain(optax.scale(1e30), optax.scale(-1e30))
    like = initial_train_state(problem.net, problem.estimator, overflowing, problem.batch_size)
    with pytest.raises(hp.TrainingError, match=r"^step 5: loss, gradient or parameters are not finite \(loss \d"):
        problem.fit(optimizer=overflowing, folder=tmp_path, epochs=2, resume=True)
    assert (tmp_path / "checkpoint.eqx").read_bytes() == before
    assert load_checkpoint(tmp_path / "checkpoint.eqx", like)[1]["step"] == 4

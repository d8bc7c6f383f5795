"""Substrates in the estimators and the training loop. Oracles: a quadratic energy in closed form, the same network as
an `AbstractEnergyNetwork`, plain gradient descent written out, samples that do not settle left out by hand.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import holoprop as hp


@dataclasses.dataclass(eq=False)
class Springs:
    """`E = ½k‖s‖² − s·xW`, `C = ½‖s − y‖²`: rest at `s = (xW + βy)/(k + β)`, on the host in float64.

    Its loss is `½‖xW/k − y‖²`, so `dℒ/dW = xᵀ(xW/k − y)/k` and `dℒ/dk = −(xW/k − y)·xW/k²` per sample. A sample whose
    first input is above 100 does not come to rest.
    """

    parameters: dict
    classes: int = 2
    jittable: bool = False
    calls: int = 0

    def settle(self, parameters, x, y, beta):
        for each in (x, y, *jax.tree.leaves(parameters)):
            assert isinstance(each, np.ndarray)
        assert isinstance(beta, float)
        self.calls += 1
        w, k = (np.asarray(parameters[name], np.float64) for name in ("w", "k"))
        state = (x @ w + beta * y) / (k + beta)
        return {"s": np.where(x[:, :1] > 100, np.nan, state)}

    def energy_gradient(self, parameters, x, activities, weights):
        s = activities["s"]
        return {"w": -np.einsum("b,bi,bo->io", weights, x, s), "k": 0.5 * weights @ (s**2).sum(1)}

    def logits(self, activities):
        return activities["s"]

    def cost(self, activities, y):
        return 0.5 * ((activities["s"] - y) ** 2).sum(1)


class JaxSprings(eqx.Module):
    """The same as an Equinox module, to be traced; with a trained offset of the readout, `C = ½‖s + b − y‖²`."""

    parameters: dict
    classes: int = 2
    jittable: bool = True

    def settle(self, parameters, x, y, beta):
        w, k, b = parameters["w"], parameters["k"], parameters["b"]
        beta = jnp.asarray(beta, x.dtype)
        s = (x @ w + beta * (y.astype(x.dtype) - b)) / (k + beta)
        # The cost's own gradient needs the nudge and the target.
        return {"o": s + b, "s": s, "pull": beta * (s + b - y.astype(x.dtype))}

    def energy_gradient(self, parameters, x, activities, weights):
        s, weights = activities["s"], weights.astype(x.dtype)
        return {
            "w": -jnp.einsum("b,bi,bo->io", weights, x, s),
            "k": weights @ jnp.sum(s**2, 1) / 2,
            "b": weights @ activities["pull"],
        }

    def logits(self, activities):
        return activities["o"]

    def cost(self, activities, y):
        return jnp.sum((activities["o"] - y.astype(activities["o"].dtype)) ** 2, 1) / 2


def problem():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0], np.int32)
    return {"w": rng.normal(size=(3, 2)), "k": np.array(1.5)}, x, y


def exact(parameters, x, y) -> dict[str, Any]:
    w, k, target = parameters["w"], parameters["k"], np.eye(2)[y]
    off = x @ w / k - target
    return {"w": x.T @ off / k / len(x), "k": -(off * (x @ w)).sum() / k**2 / len(x)}


def relative_error(a, b):
    # As numpy: where JAX counts in float32 it would round.
    return hp.alignment(jax.tree.map(np.asarray, a), jax.tree.map(np.asarray, b)).total.relative_error


def test_what_is_a_substrate():
    parameters, _, _ = problem()
    assert isinstance(Springs(parameters), hp.Substrate)
    assert isinstance(hp.Programmed.of(Springs(parameters)), hp.Substrate)
    assert not isinstance(hp.mlp(3, (4,), 2, key=jax.random.key(0)), hp.Substrate)


@pytest.mark.parametrize(
    ("estimator", "settlings", "error"),
    [
        # The k-derivative of ½s² has a pole at β = −k, so errors are about (β/k)^order.
        (hp.OneSided(0.01), 2, 3e-2),
        (hp.Centered(0.01), 3, 2e-4),
        (hp.Stencil(2, 0.01), 3, 2e-4),
        (hp.Stencil(4, 0.01), 5, 1e-8),
        (hp.Stencil(6, 0.01), 7, 1e-11),
    ],
)
def test_estimators_on_the_host(estimator, settlings, error):
    """Closed form, to the order of each; float64 all the way though JAX itself counts in float32 here."""
    parameters, x, y = problem()
    device = Springs(parameters)
    estimate = estimator(device, x, y)
    assert device.calls == settlings
    assert all(type(leaf) is np.ndarray or isinstance(leaf, np.float64) for leaf in estimate.gradient.values())
    assert estimate.gradient["w"].dtype == np.float64
    assert relative_error(estimate.gradient, exact(parameters, x, y)) < error
    free = x @ parameters["w"] / 1.5
    np.testing.assert_allclose(estimate.logits, free, rtol=1e-5)
    np.testing.assert_allclose(estimate.loss, (0.5 * (free - np.eye(2)[y]) ** 2).sum() / 6, rtol=1e-5)


def test_jittable_substrate_under_jit(x64):
    """Closed form; the offset of the readout is a parameter whose gradient comes with the nudge."""
    parameters, x, y = problem()
    parameters["b"] = np.array([0.3, -0.2])
    net = JaxSprings(jax.tree.map(jnp.asarray, parameters))
    estimator = hp.Stencil(6, 0.05)
    outside = estimator(net, x, y)
    inside = eqx.filter_jit(lambda net, x: estimator(net, x, y).gradient)(net, jnp.asarray(x))
    off = x @ parameters["w"] / 1.5 + parameters["b"] - np.eye(2)[y]
    truth = {"w": x.T @ off / 1.5 / 6, "k": -(off * (x @ parameters["w"])).sum() / 1.5**2 / 6, "b": off.mean(0)}
    assert relative_error(outside.gradient, truth) < 1e-8
    assert relative_error(inside, truth) < 1e-8
    np.testing.assert_allclose(outside.loss, (off**2).sum() / 12, rtol=1e-12)


def test_the_same_gradient_as_a_network_of_the_package(x64):
    """A device that settles by the package's own solver has the gradient of the network itself."""
    net = hp.mlp(5, (6, 4), 3, key=jax.random.key(0))
    x, y = jax.random.uniform(jax.random.key(1), (4, 5)), jnp.array([0, 1, 2, 0], jnp.int32)

    class Simulated:
        parameters, classes, jittable = net, 3, False

        def settle(self, parameters, x, y, beta):
            typed = jax.tree.map(jnp.asarray, parameters)
            rest = hp.settle(typed, jnp.asarray(x), jnp.asarray(y), beta, solver=hp.Alternating(tolerance=1e-13))
            logits = jax.vmap(typed.readout)(rest.state)
            return (*map(np.asarray, rest.state), np.asarray(logits), np.full(len(x), beta), y)

        def energy_gradient(self, parameters, x, activities, weights):
            *state, _, beta, y = (jnp.asarray(each) for each in activities)

            def energy(net):
                each = jax.vmap(lambda x, s, b, y: b * net.cost(net.readout(s), y) - net.potential(net.clamp(x), s))(
                    jnp.asarray(x), tuple(state), beta, y
                )
                return jnp.sum(jnp.asarray(weights) * each)

            return jax.tree.map(np.asarray, jax.grad(energy)(jax.tree.map(jnp.asarray, parameters)))

        def logits(self, activities):
            return activities[-3]

        def cost(self, activities, y):
            return np.asarray(jax.vmap(net.cost)(jnp.asarray(activities[-3]), jnp.asarray(y)))

    measured = hp.Stencil(4, 0.1)(Simulated(), x, y)
    solver = hp.Alternating(tolerance=1e-13)
    computed = hp.Stencil(4, 0.1, solver=solver, nudged_solver=solver)(net, x, y)
    assert relative_error(jax.tree.leaves(measured.gradient), jax.tree.leaves(computed.gradient)) < 1e-9
    np.testing.assert_allclose(measured.loss, computed.loss, rtol=1e-9)


def test_samples_that_do_not_settle():
    """Masked: what the others alone give. Kept: not finite. Raised."""
    parameters, x, y = problem()
    bad = x.copy()
    bad[2, 0] = 1000
    rest = np.arange(6) != 2
    masked = hp.Stencil(4, 0.01)(Springs(parameters), bad, y)
    alone = hp.Stencil(4, 0.01)(Springs(parameters), x[rest], y[rest])
    np.testing.assert_allclose(masked.gradient["w"], alone.gradient["w"], rtol=1e-5)
    np.testing.assert_allclose(masked.loss, alone.loss, rtol=1e-6)
    np.testing.assert_array_equal(masked.certificate.kept, rest)
    assert hp.Status(int(masked.rest.status[2])) is hp.Status.diverged
    kept = hp.Stencil(4, 0.01, unsettled="keep")(Springs(parameters), bad, y)
    assert np.isnan(kept.gradient["w"]).any()
    with pytest.raises(hp.UnsettledError, match="1 of 6 did not settle"):
        hp.Stencil(4, 0.01, unsettled="raise")(Springs(parameters), bad, y)


def test_what_is_refused():
    parameters, x, y = problem()
    for estimator in (hp.Holomorphic(points=4), hp.Implicit(), hp.Oscillation()):
        with pytest.raises(ValueError, match=f"{type(estimator).__name__} needs more than a substrate can do"):
            estimator(Springs(parameters), x, y)
        with pytest.raises(ValueError, match="needs more than a substrate can do"):
            hp.fit(Springs(parameters), estimator, optax.sgd(0.1), (x, y), epochs=1, batch_size=2)
    with pytest.raises(ValueError, match="Springs is not jittable: call the estimator outside jit"):
        jax.jit(lambda x: hp.Centered()(Springs(parameters), x, y).loss)(x)
    with pytest.raises(ValueError, match=r"one-hot rows of shape \(batch, 2\)"):
        hp.Centered()(Springs(parameters), x, np.eye(3)[y])


@pytest.mark.parametrize("jittable", [False, True])
def test_fit_is_gradient_descent(jittable, tmp_path, x64):
    """Plain SGD on the closed form, written out; with a checkpoint that resumes to the same end."""
    parameters, x, y = problem()
    parameters["k"] = np.array(2.0)
    if jittable:
        start: Any = JaxSprings(jax.tree.map(jnp.asarray, parameters | {"b": np.zeros(2)}))
    else:
        start = Springs(parameters)
    run: dict[str, Any] = {"train": (x, y), "batch_size": 6, "test": (x, y), "folder": tmp_path}
    estimator = hp.Stencil(6, 0.05)
    hp.fit(start, estimator, optax.sgd(0.1), epochs=2, **run)
    result = hp.fit(start, estimator, optax.sgd(0.1), epochs=4, resume=True, **run)
    wanted = {name: value.copy() for name, value in parameters.items()}
    offset = np.zeros(2)
    for _ in range(4):
        off = x @ wanted["w"] / wanted["k"] + offset - np.eye(2)[y]
        gradient = {
            "w": x.T @ off / wanted["k"] / 6,
            "k": -(off * (x @ wanted["w"])).sum() / wanted["k"] ** 2 / 6,
        }
        offset = offset - 0.1 * off.mean(0) * jittable
        wanted = {name: wanted[name] - 0.1 * gradient[name] for name in wanted}
    for name, value in wanted.items():
        np.testing.assert_allclose(result.net.parameters[name], value, rtol=1e-7)
    assert isinstance(result.net, hp.Programmed) and result.net.device is start
    final = hp.evaluate(result.net, x, y)
    loss = 0.5 * ((x @ wanted["w"] / wanted["k"] + offset - np.eye(2)[y]) ** 2).sum() / 6
    np.testing.assert_allclose([final.loss, result.history[-1]["test_loss"]], loss, rtol=1e-6)
    assert final.unsettled_share == 0

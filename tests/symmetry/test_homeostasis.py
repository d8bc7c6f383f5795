"""The homeostatic penalty. Oracles: the dense Jacobian `½‖J − Jᵀ‖²` per neuron and its automatic derivative."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

BUILDERS = {
    "dense": (lambda key: hp.mlp(7, (6, 5, 4), 4, feedback="free", key=key), (7,)),
    "loop": (lambda key: hp.loop_mlp(7, (6, 5, 4), 4, key=key), (7,)),
    "convolutional": (
        lambda key: hp.convnet((6, 6, 1), (2, 3), 3, padding="SAME", feedback="free", weight_scale=2.0, key=key),
        (6, 6, 1),
    ),
}


@pytest.fixture(scope="module", params=BUILDERS)
def case(request):
    """A network, its inputs, rest states, and the dense penalty and its gradient at those."""
    build, shape = BUILDERS[request.param]
    with jax.enable_x64(True):
        net = build(jax.random.key(2))
        # Biases too, so that pooling does not see the two directions alike.
        net = jax.tree.map(lambda a: a + 0.1 if a.ndim == 1 else a, net)
        x = jnp.asarray(np.random.default_rng(3).random((3, *shape)))
        rest = hp.settle(net, x, throw=True)

        @eqx.filter_jit
        @eqx.filter_value_and_grad
        def dense(net):
            def sample(x, s):
                c = net.clamp(x)
                sizes = [layer.size for layer in s]
                rows = jax.jacrev(lambda s: net.drive(c, s))(s)
                j = jnp.block([[rows[i][k].reshape(sizes[i], sizes[k]) for k in range(len(s))] for i in range(len(s))])
                return jnp.sum((j - j.T) ** 2) / 2 / sum(sizes)

            return jnp.mean(jax.vmap(sample)(x, rest.state))

        penalty, gradient = dense(net)
    return net, x, rest, float(penalty), gradient


@pytest.mark.parametrize("form", ["local", "jacobian"])
def test_unbiased(x64, case, form):
    """The mean over many ε tends to the dense value, within four standard errors, and so does the gradient."""
    net, x, rest, penalty, gradient = case
    draws = [
        hp.homeostasis(net, rest, x, samples=100, key=jax.random.fold_in(jax.random.key(4), k), form=form)
        for k in range(20)
    ]
    values = np.array([float(draw.penalty) for draw in draws])
    assert abs(values.mean() - penalty) < 4 * values.std(ddof=1) / np.sqrt(len(values))
    assert values.std(ddof=1) < 0.1 * penalty
    mean = jax.tree.map(lambda *g: sum(g) / len(g), *(draw.gradient for draw in draws))
    agreement = hp.alignment(mean, gradient).total
    assert agreement.cosine > 0.999 and agreement.relative_error < 0.05


def test_local_form_is_never_negative(x64, case):
    """It is a sum of squares, where the other is a difference that a single ε may take below 0."""
    net, x, rest, _, _ = case
    keys = jax.random.split(jax.random.key(5), 20)
    assert min(float(hp.homeostasis(net, rest, x, samples=1, key=key).penalty) for key in keys) > 0


def test_local_rule_of_a_dense_synapse(x64):
    """`ΔW ∝ ε mᵀ`, `ΔV ∝ −m εᵀ` with the mismatch `m = Wᵀε − Vε`: noise before, mismatch after. Oracle: numpy."""
    net = hp.mlp(7, (6, 5), 4, feedback="free", key=jax.random.key(2))
    x = jnp.asarray(np.random.default_rng(3).random((2, 7)))
    rest = hp.settle(net, x, throw=True)
    noise = tuple(jnp.asarray(np.random.default_rng(6).normal(size=(1, 2, n))) for n in (6, 5))
    found = hp.homeostasis(net, rest, x, noise=noise, form="local").gradient.connections[1]
    w, v = (np.asarray(part) for part in (net.connections[1].weight, net.connections[1].feedback))
    eps = np.asarray(noise[0])[0]
    m = eps @ w - eps @ v.T
    np.testing.assert_allclose(found.weight, 2 * eps.T @ m / (2 * 11), rtol=1e-10)
    np.testing.assert_allclose(found.feedback, -2 * m.T @ eps / (2 * 11), rtol=1e-10)


def test_both_forms_vanish_for_symmetric_weights(x64):
    net = hp.mlp(7, (6, 5), 4, feedback="free", angle=0.0, key=jax.random.key(2))
    x = jnp.asarray(np.random.default_rng(3).random((2, 7)))
    rest = hp.settle(net, x, throw=True)
    local = hp.homeostasis(net, rest, x, key=jax.random.key(0), form="local")
    assert float(local.penalty) < 1e-28
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(local.gradient)) < 1e-14
    many = hp.homeostasis(net, rest, x, key=jax.random.key(0), samples=5000, form="jacobian")
    size = float(jnp.sum(net.connections[1].weight ** 2)) / 11
    assert abs(float(many.penalty)) < 0.1 * size


def test_samples_left_out_have_no_say(x64):
    net = hp.mlp(7, (6, 5), 4, feedback="free", key=jax.random.key(2))
    x = np.random.default_rng(3).random((3, 7))
    rest = hp.settle(net, x, throw=True)
    broken = hp.Rest(tuple(s.at[1].set(jnp.nan) for s in rest.state), rest.residual, rest.steps, rest.status)
    kept = jnp.asarray([True, False, True])
    noise = tuple(jnp.asarray(np.random.default_rng(6).normal(size=(2, 3, n))) for n in (6, 5))
    for form in ("local", "jacobian"):
        found = hp.homeostasis(net, broken, x, noise=noise, form=form, kept=kept)
        two = hp.Rest(
            tuple(s[::2] for s in rest.state), *(leaf[::2] for leaf in (rest.residual, rest.steps, rest.status))
        )
        alone = hp.homeostasis(net, two, x[::2], noise=tuple(e[:, ::2] for e in noise), form=form)
        np.testing.assert_allclose(found.penalty, alone.penalty, rtol=1e-12)
        assert hp.alignment(found.gradient, alone.gradient).total.relative_error < 1e-12


def test_refusals(unchecked, case):
    net, x, rest, *_ = case
    for arguments, message in (
        ({"form": "global", "key": jax.random.key(0)}, "form must be 'local', 'jacobian' or None, got 'global'"),
        ({"samples": 0, "key": jax.random.key(0)}, "samples must be at least 1, got 0"),
        ({}, "homeostasis draws random vectors: pass key="),
    ):
        with pytest.raises(ValueError, match=message):
            hp.homeostasis(net, rest, x, **arguments)

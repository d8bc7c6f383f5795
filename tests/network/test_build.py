"""`mlp`. Oracle: the moments of the normal distribution truncated at ±2, whose deviation is 0.8796."""

import math

import jax
import numpy as np
import pytest

import holoprop as hp

DENSITY = math.exp(-2) / math.sqrt(2 * math.pi)
DEVIATION = math.sqrt(1 - 4 * DENSITY / math.erf(math.sqrt(2)))
KEY = 7


def build(**options):
    return hp.mlp(300, (200, 40), 10, key=jax.random.key(KEY), **options)


def weights(net):
    return [connection.weight for connection in net.connections] + [net.readout.weight]


@pytest.fixture(scope="module")
def default():
    return build()


def test_weights_are_truncated_at_two_deviations(default):
    assert round(DEVIATION, 2) == 0.88
    for weight, fan_in in zip(weights(default), (300, 200, 40), strict=True):
        std = fan_in**-0.5
        w = np.asarray(weight, np.float64)
        assert np.abs(w).max() <= 2 * std * (1 + 1e-6)
        # Five standard errors of the mean and of the deviation (kurtosis < 3) of so many draws.
        assert abs(w.mean()) < 5 * DEVIATION * std / math.sqrt(w.size)
        assert abs(w.std() / (DEVIATION * std) - 1) < 5 / math.sqrt(2 * w.size)


def test_shapes_and_defaults(default):
    assert default.input_shape == (300,) and default.layer_shapes == ((200,), (40,)) and default.classes == 10
    assert [w.shape for w in weights(default)] == [(300, 200), (200, 40), (40, 10)]
    assert (
        default.is_energy and isinstance(default.activation, hp.Sigmoid) and isinstance(default.cost, hp.CrossEntropy)
    )
    for bias in [c.bias for c in default.connections] + [default.readout.bias]:
        np.testing.assert_array_equal(bias, np.zeros(bias.shape))
    assert {leaf.dtype for leaf in jax.tree.leaves(default)} == {np.dtype(np.float32)}


def test_scale_multiplies_every_weight(default):
    for scaled, weight in zip(weights(build(weight_scale=2.5)), weights(default), strict=True):
        np.testing.assert_allclose(scaled, 2.5 * np.asarray(weight), rtol=1e-6)


def test_std_replaces_the_fan_in(default):
    """Before `weight_scale`, which still multiplies."""
    net = build(weight_std=0.05, weight_scale=2.0)
    for weight, reference, fan_in in zip(weights(net), weights(default), (300, 200, 40), strict=True):
        np.testing.assert_allclose(weight, 0.1 * fan_in**0.5 * np.asarray(reference), rtol=1e-5)


def test_the_key_decides(default):
    again, other = build(), hp.mlp(300, (200, 40), 10, key=jax.random.key(KEY + 1))
    for a, b, c in zip(weights(default), weights(again), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (np.asarray(a) != np.asarray(c)).mean() > 0.99


def test_layers_of_one_shape_differ():
    net = hp.mlp(40, (40, 40), 40, key=jax.random.key(0))
    first, second, third = weights(net)
    for a, b in ((first, second), (second, third), (third, first)):
        assert (np.asarray(a) != np.asarray(b)).mean() > 0.99


def test_float64_where_jax_is_told_so(x64):
    net = hp.mlp(40, (40,), 40, activation="tanh", cost="squared_error", key=jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(net)} == {np.dtype(np.float64)}
    assert isinstance(net.activation, hp.Tanh) and isinstance(net.cost, hp.SquaredError)
    # Drawn in float64, not cast from float32.
    assert (np.asarray(net.readout.weight) != np.asarray(net.readout.weight).astype(np.float32)).mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": ()}, r"^hidden must name at least one layer, got \(\)$"),
        ({"inputs": 0}, "^inputs must be at least 1, got 0$"),
        ({"hidden": (3, -1)}, "^hidden must be at least 1, got -1$"),
        ({"classes": 0}, "^classes must be at least 1, got 0$"),
        ({"weight_scale": -1.0}, "^weight_scale must be finite and not negative, got -1.0$"),
        ({"weight_scale": math.inf}, "^weight_scale must be finite and not negative, got inf$"),
        ({"weight_std": math.nan}, "^weight_std must be finite and not negative, got nan$"),
        ({"activation": "gelu"}, "^unknown activation 'gelu'; choose one of sigmoid, "),
        ({"cost": "mse"}, "^unknown cost 'mse'; choose one of "),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        hp.mlp(**{"inputs": 40, "hidden": (40,), "classes": 10, "key": jax.random.key(0), **arguments})

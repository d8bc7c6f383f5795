"""Configurations without weight symmetry. Oracle: the objects one would write by hand, and the lines to be read."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

import holoprop as hp
from holoprop.experiments.building import build_estimator, build_network
from holoprop.experiments.config import parse_config
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.estimator_config import EstimatorConfig


def configured(network: dict[str, Any], estimator: dict[str, Any] | None = None) -> Any:
    return parse_config(
        {
            "name": "x",
            "network": network,
            "estimator": estimator or {},
            "training": {"epochs": 1, "batch_size": 20, "seed": 3},
            "optimizer": {"learning_rate": 0.1},
        }
    )


def test_networks_are_those_of_the_builders() -> None:
    key = jax.random.fold_in(jax.random.key(3), 2**32 - 1)
    common = {"activation": "sigmoid", "key": key}
    for network, wanted in (
        ({"hidden": [6, 5], "feedback": "free"}, hp.mlp(64, (6, 5), 10, feedback="free", **common)),
        (
            {"hidden": [6, 5], "feedback": "free", "angle": 30.0},
            hp.mlp(64, (6, 5), 10, feedback="free", angle=30.0, **common),
        ),
        ({"kind": "loop_mlp", "hidden": [6, 5]}, hp.loop_mlp(64, (6, 5), 10, **common)),
    ):
        assert eqx.tree_equal(build_network(configured(network), (8, 8, 1), 10), wanted)
    conv = {"kind": "convnet", "channels": [3, 4], "padding": ["SAME", "SAME"], "feedback": "free", "angle": 45.0}
    wanted = hp.convnet((8, 8, 1), (3, 4), 10, padding="SAME", feedback="free", angle=45.0, **common)
    assert eqx.tree_equal(build_network(configured(conv), (8, 8, 1), 10), wanted)


def test_estimators_are_wrapped_as_they_say() -> None:
    def build(steps: int = 1, **section: Any) -> hp.AbstractEstimator:
        return build_estimator(EstimatorConfig.model_validate(section), steps=steps)

    assert build(name="forward_response") == hp.ForwardResponse()
    assert build(points=6, radius=0.2, asymmetry="correct") == hp.Holomorphic(6, 0.2, asymmetry="correct")
    assert build(name="one_sided", form="vector-field") == hp.OneSided(form="vector-field")
    assert build(name="oscillation", form="vector-field", unsettled="keep") == hp.Oscillation(form="vector-field")
    assert build(radius=0.2, gradient_tolerance=0.05) == hp.Holomorphic(radius=0.2, tolerance=0.05)
    inner = hp.Holomorphic()
    assert build(homeostasis=2.0) == hp.Homeostatic(inner, 2.0)
    assert build(kolen_pollack=1e-3, homeostasis=1.0, homeostasis_samples=3, homeostasis_form="jacobian") == (
        hp.Homeostatic(hp.KolenPollack(inner, 1e-3), 1.0, 3, "jacobian")
    )
    falling = build(steps=100, homeostasis=2.0, homeostasis_schedule="cosine")
    assert isinstance(falling, hp.Homeostatic) and callable(falling.weight)
    np.testing.assert_allclose([falling.weight(k) for k in (0, 50, 100, 200)], [2, 1, 0, 0], atol=1e-6)


FREE = {"hidden": [6, 5], "feedback": "free"}
REFUSED = {
    "angle": (
        {"hidden": [6], "angle": 30.0},
        {},
        "network.angle = 30 has no meaning without network.feedback = 'free'",
    ),
    "one layer": (
        {"hidden": [6], "feedback": "free"},
        {},
        "network.feedback = 'free' needs at least two layers, got [6]",
    ),
    "short loop": (
        {"kind": "loop_mlp", "hidden": [6]},
        {},
        "network.hidden must name at least two layers for a loop, got [6]",
    ),
    "residual": (
        {"kind": "resnet", "channels": [4], "feedback": "free"},
        {},
        "network.feedback = 'free' is not to be had with network.kind = 'resnet': use 'tied'",
    ),
    "loop with feedback": (
        {"kind": "loop_mlp", "hidden": [6, 5], "feedback": "free"},
        {},
        "network.feedback = 'free' has no meaning with network.kind = 'loop_mlp', only with mlp, convnet or resnet",
    ),
    "symmetric homeostasis": (
        {"hidden": [6]},
        {"homeostasis": 1.0},
        "estimator.homeostasis is of networks that settle without symmetric weights: use network.kind = 'mlp' or "
        "'convnet' with network.feedback = 'free'",
    ),
    "nothing to correct": (
        {"hidden": [6]},
        {"asymmetry": "correct"},
        "estimator.asymmetry = 'correct' has nothing to correct in a network with symmetric weights: leave it out",
    ),
    "energy and correction": (
        FREE,
        {"asymmetry": "correct", "form": "energy"},
        "estimator.asymmetry = 'correct' has nothing to correct with estimator.form = 'energy': leave one out",
    ),
    "no potential": (
        FREE,
        {"name": "continual"},
        "estimator.name = 'continual' needs a potential, which this network does not have: use estimator.name = "
        "'holomorphic' or 'oscillation' with estimator.form = 'vector-field'",
    ),
    "schedule of nothing": (
        FREE,
        {"homeostasis_schedule": "cosine"},
        "estimator.homeostasis_schedule has no meaning without estimator.homeostasis, a weight",
    ),
    "loop of Kolen and Pollack": (
        {"kind": "loop_mlp", "hidden": [6, 5]},
        {"kolen_pollack": 1e-3},
        "estimator.kolen_pollack is of free feedback weights, which a loop does not have",
    ),
    "led and given": (
        FREE,
        {"radius": 0.2, "gradient_tolerance": 0.1, "nudged_tolerance": 1e-3},
        "estimator.gradient_tolerance leads the tolerance of nudged states on a fixed circle: leave out "
        "estimator.tolerance, nudged_tolerance and nudged_steps",
    ),
}


@pytest.mark.parametrize(("network", "estimator", "line"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_go_together_is_one_line(network: dict, estimator: dict, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(network, estimator)
    assert str(caught.value) == line

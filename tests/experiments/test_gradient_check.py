"""The gradient check: exact against itself, close where theory says so, and honest about samples left out."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import holoprop as hp
from holoprop.experiments.config import Config
from holoprop.experiments.gradient_check import check_gradient, compare_with_implicit, describe_estimator

Tiny = Callable[..., Config]


@pytest.fixture(scope="module")
def batch() -> tuple[Any, np.ndarray, np.ndarray]:
    """A small network with two settled layers, and ten random samples."""
    rng = np.random.default_rng(0)
    net = hp.mlp(6, (5, 4), 3, key=jax.random.key(0))
    return net, rng.random((10, 6), np.float32), rng.integers(0, 3, 10)


def test_a_circle_agrees_with_the_implicit_gradient(tiny: Tiny) -> None:
    """Oracle: theory; the bias of four points at radius 0.1 is O(10⁻⁴), float32 adds about 10⁻³ at worst."""
    check = check_gradient(tiny("network.hidden=[12, 8]"), samples=8)
    assert check["total"]["cosine"] >= 0.9999
    assert check["total"]["relative_error"] < 5e-3
    assert check["samples"] == 8
    assert check["estimator"] == "Holomorphic(points=4, radius=0.1)"
    names = [
        f"{layer}.{kind}" for layer in ("connections[0]", "connections[1]", "readout") for kind in ("weight", "bias")
    ]
    assert [each["name"] for each in check["parameters"]] == names
    assert [layer["name"] for layer in check["layers"]] == ["connections[0]", "connections[1]", "readout"]
    certificate = check["certificate"]
    assert certificate["points"] == ["0.1+0j", "-0.1+0j", "0+0.1j"]
    assert np.shape(certificate["free_residual"]) == (8,)
    assert np.shape(certificate["point_residual"]) == (3, 8)
    assert certificate["free_status"] == ["settled"] * 8
    assert certificate["unsettled_share"] == 0


def test_the_reference_agrees_with_itself(batch: tuple[Any, np.ndarray, np.ndarray]) -> None:
    """Oracle: identity."""
    check = compare_with_implicit(batch[0], hp.Implicit(), batch[1], batch[2])
    assert check["total"]["relative_error"] == 0
    assert check["total"]["cosine"] == pytest.approx(1)
    assert check["certificate"]["points"] == []


def test_a_larger_nudge_agrees_less(batch: tuple[Any, np.ndarray, np.ndarray]) -> None:
    """Oracle: the bias of a one-sided difference is O(β)."""
    errors = [
        compare_with_implicit(batch[0], hp.OneSided(beta=beta), batch[1], batch[2])["total"]["relative_error"]
        for beta in (0.05, 0.5)
    ]
    assert 5 < errors[1] / errors[0] < 20


def test_both_gradients_are_over_the_samples_that_settled(batch: tuple[Any, np.ndarray, np.ndarray]) -> None:
    """Oracle: the same comparison on those samples alone. Without it the error would be that of two different means."""
    net, x, y = batch
    steps = np.asarray(hp.settle(net, x, solver=hp.Alternating()).steps)
    # So many free sweeps that some samples settle and some do not; the nudged states have all they want.
    limit = int(np.sort(steps)[len(steps) // 2])
    estimator = hp.Centered(beta=0.05, solver=hp.Alternating(max_steps=limit), nudged_solver=hp.Alternating())
    settled = steps <= limit
    assert 0 < settled.sum() < len(x)
    check = compare_with_implicit(net, estimator, x, y)
    alone = compare_with_implicit(net, estimator, x[settled], y[settled])
    assert check["samples"] == settled.sum() == alone["samples"]
    assert check["total"] == alone["total"]
    assert check["total"]["cosine"] > 0.999
    assert check["certificate"]["unsettled_share"] == pytest.approx(1 - settled.mean())
    assert [status == "settled" for status in check["certificate"]["free_status"]] == settled.tolist()


def test_layers_are_made_of_their_parameters(batch: tuple[Any, np.ndarray, np.ndarray]) -> None:
    """Oracle: the definitions of a layer's cosine and relative error, from the two gradients."""
    net, x, y = batch
    estimator = hp.OneSided(beta=0.5)
    check = compare_with_implicit(net, estimator, x, y)
    gradient, truth = estimator(net, x, y).gradient, hp.Implicit()(net, x, y).gradient
    mine, exact = (np.concatenate([np.ravel(g.readout.weight), g.readout.bias]) for g in (gradient, truth))
    cosine = mine @ exact / (np.linalg.norm(mine) * np.linalg.norm(exact))
    error = np.linalg.norm(mine - exact) / np.linalg.norm(exact)
    wanted = {"cosine": pytest.approx(cosine, rel=1e-5), "relative_error": pytest.approx(error, rel=1e-5)}
    assert check["layers"][2] == {"name": "readout", **wanted}


def test_the_reference_does_not_settle_as_the_estimator_does(
    batch: tuple[Any, np.ndarray, np.ndarray], x64: None
) -> None:
    """Oracle: `Implicit` in float64 at a tolerance of 1e-12; a loose tolerance of the estimator shows in full."""
    net, x, y = hp.mlp(6, (5, 4), 3, key=jax.random.key(0)), batch[1].astype(np.float64), batch[2]
    loose = hp.Holomorphic(points=4, radius=0.1, solver=hp.Alternating(tolerance=0.05))
    truth = hp.Implicit(solver=hp.Alternating(tolerance=1e-12))(net, x, y)
    error = hp.alignment(loose(net, x, y).gradient, truth.gradient).total.relative_error
    check = compare_with_implicit(net, loose, x, y)
    assert error > 1e-2
    assert check["total"]["relative_error"] == pytest.approx(error, rel=1e-6)
    # Nor does it leave out what only the estimator's own reference could not settle.
    exact = compare_with_implicit(net, hp.Implicit(solver=hp.Alternating(tolerance=0.05)), x, y)
    assert exact["total"]["relative_error"] > 1e-3


def test_the_certificate_comes_along(batch: tuple[Any, np.ndarray, np.ndarray]) -> None:
    """Oracle: that of the estimate itself, sample by sample; the nudges are those of the median radius."""
    net, x, y = batch
    for estimator in (hp.Holomorphic(), hp.Holomorphic(points=6, radius=0.4)):
        certificate = estimator(net, x, y).certificate
        told = compare_with_implicit(net, estimator, x, y)["certificate"]
        assert told["text"] == certificate.text()
        verdicts = [hp.Verdict(int(verdict)).name for verdict in certificate.verdict]
        assert told["verdicts"] == {verdict.name: verdicts.count(verdict.name) for verdict in hp.Verdict}
        assert sum(told["verdicts"].values()) == 10
        radius = np.median(np.abs(certificate.betas[0]))
        assert told["median_radius"] == pytest.approx(radius)
        assert told["median_predicted_error"] == pytest.approx(np.median(certificate.predicted_error))
        limit = np.median(certificate.spectrum.radius_of_convergence)
        assert told["median_radius_of_convergence"] == pytest.approx(limit)
        points = np.array([complex(text) for text in told["points"]])
        turn = 2 * np.pi / estimator.points
        np.testing.assert_allclose(np.sort(np.angle(points)), turn * np.arange(len(points)), atol=1e-5)
        np.testing.assert_allclose(np.abs(points), radius, rtol=1e-5)
    assert told["verdicts"]["outside_radius"] > 0


def test_an_estimator_without_a_circle_predicts_nothing(batch: tuple[Any, np.ndarray, np.ndarray]) -> None:
    told = compare_with_implicit(batch[0], hp.OneSided(beta=-0.2), batch[1], batch[2])["certificate"]
    assert (told["verdicts"]["unknown"], told["median_radius"]) == (10, pytest.approx(0.2))
    assert told["median_predicted_error"] is told["median_radius_of_convergence"] is None
    told = compare_with_implicit(batch[0], hp.Implicit(), batch[1], batch[2])["certificate"]
    assert (told["verdicts"]["ok"], told["median_radius"], told["points"]) == (10, None, [])


def test_where_nothing_settles_there_is_nothing_to_tell(batch: tuple[Any, np.ndarray, np.ndarray]) -> None:
    """Oracle: one sweep from zeros is far from rest, for every sample."""
    check = compare_with_implicit(batch[0], hp.Centered(solver=hp.Alternating(max_steps=1)), batch[1], batch[2])
    assert check["samples"] == 0
    assert check["total"] == {"cosine": None, "relative_error": None}
    assert check["certificate"]["unsettled_share"] == 1


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (hp.Holomorphic(points=6, radius=0.4), "Holomorphic(points=6, radius=0.4)"),
        (hp.Holomorphic(points=6), "Holomorphic(points=6, radius='auto')"),
        (hp.OneSided(beta=-0.2), "OneSided(beta=-0.2)"),
        (hp.Implicit(), "Implicit()"),
        (hp.Unrolled(steps=7), "Unrolled(steps=7)"),
    ],
)
def test_estimators_in_words_are_how_one_writes_them(estimator: hp.AbstractEstimator, words: str) -> None:
    """Oracle: evaluating the words gives the estimator back."""
    assert describe_estimator(estimator) == words
    assert eval(words, vars(hp)) == estimator

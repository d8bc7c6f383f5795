"""Published experiments at the scale of seconds. Oracles: the published numbers, and arithmetic by hand.

A few, which need little time. All of them run at this scale in `make reproduce`, which ends in failure where a claim of
one does.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from holoprop.data.dataset import DataError
from holoprop.experiments.reproduce import automatic_circle, mnist_sample
from holoprop.experiments.reproduce.automatic_circle import gains, ratios
from holoprop.experiments.reproduce.calibration import within_ten
from holoprop.experiments.reproduce.drawn_networks import Shape, draw_activation, draw_hidden
from holoprop.experiments.reproduce.outcome import SCALES, Claim, Outcome, Table
from holoprop.experiments.reproduce.registry import EXPERIMENTS, find_experiment, run_experiment
from holoprop.experiments.reproduce.runner import Report, Runner
from holoprop.experiments.reproduce.storing import read_outcome, write_outcome
from holoprop.experiments.reproduce.toy import fc2, relative_error, toy_gradient, toy_network

FIXTURE = Path(__file__).parents[1] / "fixtures" / "p1_toy_f64.npz"


@pytest.fixture(autouse=True)
def forget_compiled() -> Iterator[None]:
    yield
    jax.clear_caches()


def _check(outcome: Outcome) -> None:
    """What holds of every outcome: claims hold, numbers are stored, and nothing is computed twice."""
    assert outcome.claims and [claim for claim in outcome.claims if not claim.holds] == []
    assert outcome.reproduced and outcome.scale == "smoke" and outcome.seconds > 0
    assert outcome.tables and outcome.settings and outcome.environment["jax"]
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in outcome.arrays.values())


@pytest.mark.parametrize(
    ("value", "relation", "limit", "holds"),
    [
        (1.0, "≤", 1.0, True),
        (1.0, "<", 1.0, False),
        (1.0, "≥", 1.0, True),
        (1.0, ">", 1.0, False),
        (math.inf, "≥", 50.0, True),
        (math.nan, "≤", 1.0, False),
        (math.nan, "≥", 1.0, False),
    ],
)
def test_claims_are_decided_by_their_numbers(value, relation, limit, holds) -> None:
    assert Claim("x", value, relation, limit, "by hand").holds is holds


def test_other_relations_and_ragged_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="relation must be one of"):
        Claim("x", 1.0, "=", 1.0, "by hand")
    with pytest.raises(ValueError, match="must have 2 cells"):
        Table("x", ("a", "b"), [(1,)])


def test_an_outcome_without_claims_is_not_reproduced() -> None:
    empty = Outcome("x", "x", "x", "smoke", {}, [], [], {}, 0.0, {})
    assert not empty.reproduced


def test_outcomes_survive_the_disk(tmp_path: Path) -> None:
    claims = [Claim("fails", math.nan, "≤", 1.0, "by hand"), Claim("holds", 0.5, "≤", 1.0, "by hand")]
    tables = [Table("t", ("a", "b"), [(1, None), ("x", 2.5)])]
    arrays = {"z": np.array([1 + 2j]), "words": np.array(["σ"])}
    outcome = Outcome("x", "X", "by hand", "small", {"N": 4}, claims, tables, arrays, 1.5, {"jax": "0"})
    write_outcome(tmp_path / "new", outcome)
    again = read_outcome(tmp_path / "new")
    assert [claim.holds for claim in again.claims] == [False, True] and not again.reproduced
    assert (again.tables, again.settings, again.seconds) == (tables, {"N": 4}, 1.5)
    np.testing.assert_array_equal(again.arrays["z"], arrays["z"])
    (tmp_path / "new" / "outcome.json").write_text('{"name": "x"}')
    with pytest.raises(ValueError, match="damaged"):
        read_outcome(tmp_path / "new")


def test_every_experiment_can_be_loaded_and_says_what_it_needs() -> None:
    assert len({each.name for each in EXPERIMENTS}) == len(EXPERIMENTS)
    for each in EXPERIMENTS:
        assert callable(each.load()) and tuple(each.minutes) == SCALES and each.title and each.source


@pytest.mark.parametrize(("name", "scale", "words"), [("nix", "smoke", "no experiment"), ("hep-fig2c", "x", "scale")])
def test_unknown_names_and_scales_are_refused(name, scale, words) -> None:
    with pytest.raises(ValueError, match=words):
        run_experiment(name, scale)


def test_the_toy_is_the_published_one(x64) -> None:
    """Oracle: the fixture, computed with the authors' code."""
    numbers = np.load(FIXTURE)
    net, x, y = toy_network(np.float64)
    np.testing.assert_array_equal(x, numbers["x"])
    np.testing.assert_array_equal(y, numbers["y"])
    for index, part in enumerate((*net.connections, net.readout), 1):
        np.testing.assert_array_equal(part.weight, numbers[f"params/fc_{index}/w"])
        np.testing.assert_array_equal(part.bias, numbers[f"params/fc_{index}/b"])
    # The fixture's truth is 100 steps of backpropagation.
    assert relative_error(fc2(toy_gradient()), numbers["grad_bp/fc_2/w"]) < 1e-8


def test_fig2a_is_an_orbit_of_the_published_size() -> None:
    outcome = run_experiment("hep-fig2a", "smoke")
    _check(outcome)
    assert outcome.arrays["layer_1"].shape == outcome.arrays["layer_2"].shape == (24, 4)


def test_fig2b_has_the_published_lobes() -> None:
    outcome = run_experiment("hep-fig2b", "smoke")
    _check(outcome)
    assert outcome.arrays["residual"].shape == (61, 61)


def test_fig2c_reproduces_the_published_errors() -> None:
    outcome = run_experiment("hep-fig2c", "smoke")
    _check(outcome)
    # Cauchy's mean of one synapse is the gradient that the estimator gives; P1 prints 3.0898e-3.
    means, gradient = outcome.arrays["means"], outcome.arrays["gradient"]
    np.testing.assert_allclose(means, gradient, rtol=5e-4)
    np.testing.assert_allclose(gradient, 3.0898e-3, rtol=1e-5)


def test_fig2d_is_exact_up_to_the_radius_and_says_where_it_ends() -> None:
    outcome = run_experiment("hep-fig2d", "smoke")
    _check(outcome)
    assert outcome.arrays["betas"].max() < 0.92


@pytest.mark.data
def test_fig3ab_reproduces_the_published_curves_from_one_computation() -> None:
    first = run_experiment("hep-fig3a", "smoke")
    _check(first)
    second = run_experiment("hep-fig3b", "smoke")
    _check(second)
    np.testing.assert_array_equal(first.arrays["residuals"], second.arrays["residuals"])
    assert second.seconds < 1


@pytest.mark.parametrize("name", ["hep-fig3a", "hep-fig3c"])
def test_absent_data_is_said_in_one_line(name, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise DataError(f"{name} is not here")

    monkeypatch.setattr(mnist_sample, "load_dataset", absent)
    with pytest.raises(DataError, match="mnist is not here"):
        run_experiment(name, "smoke", seed=5)


def test_calibration_holds_on_a_drawn_network() -> None:
    outcome = run_experiment("calibration", "smoke")
    _check(outcome)
    assert len(outcome.arrays["error"]) == 24


def test_automatic_circle_holds_on_a_drawn_network() -> None:
    outcome = run_experiment("automatic-circle", "smoke")
    _check(outcome)
    assert outcome.arrays["fixed"].shape == (1, 1, 1, 12)


def test_shapes_of_the_automatic_circle_are_drawn_from_one_stream_and_joined_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Oracle: the second shape, drawn after the first by hand; and parts that hold their own number."""
    rng = np.random.default_rng(7)
    for _ in range(2):
        hidden, activation = draw_hidden(rng, (16, 32, 64, 128)), draw_activation(rng)
        shape = Shape(30, hidden, 5, activation, float(rng.choice([0.5, 1, 1.5, 2])))
        _, x, y, _ = automatic_circle._draw_at_rest(rng, shape)
    ((found, _, inputs, labels, _),) = automatic_circle._drawn(7, 1, 1)
    assert found == shape
    np.testing.assert_array_equal(inputs, x)
    np.testing.assert_array_equal(labels, y)

    def part(report: Report, *, shape: int, seed: int, scale: str) -> dict[str, np.ndarray]:
        rows = np.full((2, 1, 1), float(shape + 1))
        names = ("automatic", "first_step", "lowest_radius", "highest_radius")
        fixed = np.ones((2, 1, 1, len(automatic_circle.RADII)))
        words = np.array([f"{shape}, {k}" for k in range(2)])
        redrawn, outside = np.array([shape, 0]), np.zeros((2, 1, 1), bool)
        return {**dict.fromkeys(names, rows), "fixed": fixed, "words": words, "redrawn": redrawn, "outside": outside}

    setting = (automatic_circle.SETTINGS[0],)
    monkeypatch.setitem(automatic_circle._SIZES, "smoke", (3, 2, (4,), setting))
    monkeypatch.setattr(automatic_circle, "errors_of_shape", part)
    joined = automatic_circle.run("smoke", None, Runner())
    assert joined.arrays["words"].tolist() == ["0, 0", "0, 1", "1, 0", "1, 1", "2, 0", "2, 1"]
    assert ratios(joined.arrays)[:, 0, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert joined.settings["drawn again"].startswith("3, ")


def test_samples_count_as_near_within_ten_or_when_both_are_as_good_as_none() -> None:
    arrays = {
        "error": np.array([1e-3, 1e-3, 1e-12, 1e-12, 0.0, np.nan]),
        "predicted": np.array([9e-3, 11e-3, 1e-10, 1e-9, 1e-12, 1e-3]),
        "attainable": np.full(6, 2e-10),
    }
    assert within_ten(arrays).tolist() == [True, False, True, False, True, False]


def test_ratios_and_gains_are_to_the_best_and_to_the_published_radius() -> None:
    arrays = {
        "radii": np.array([0.1, 0.4, 1.0]),
        "fixed": np.array([[[[2.0, 8.0, np.nan]]], [[[2.0, np.nan, 1.0]]]]),
        "automatic": np.array([[[4.0]], [[0.5]]]),
    }
    assert ratios(arrays).ravel().tolist() == [2.0, 0.5]
    assert gains(arrays).ravel().tolist() == [2.0, math.inf]


def test_a_failed_claim_is_reported_as_failed() -> None:
    outcome = Outcome("x", "x", "x", "smoke", {}, [Claim("x", 2.0, "≤", 1.0, "by hand")], [], {}, 0.0, {})
    assert not outcome.reproduced
    assert dataclasses.replace(outcome, claims=[Claim("x", 1.0, "≤", 1.0, "by hand")]).reproduced


def test_names_are_found() -> None:
    assert find_experiment("hep-fig3c").data == "mnist"


def test_exact_without_symmetry_where_it_is_corrected() -> None:
    """Oracle: the claims, which compare with implicit gradients; and that aliasing falls as `r^N`."""
    outcome = run_experiment("exact-without-symmetry", "smoke")
    _check(outcome)
    corrected = outcome.arrays["corrected"]
    assert (corrected[:, 0] > 1e-6).all() and (corrected[:, 1] < 1e-10).all()

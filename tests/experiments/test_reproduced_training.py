"""Experiments that train: what they claim of curves made by hand, and a run of theirs on a data set made by hand."""

import dataclasses

import jax
import numpy as np
import pytest

from holoprop.experiments.reproduce import (
    corrected_training,
    courses,
    hep_table1,
    jacobian_fig3,
    jacobian_fig4,
    jacobian_table1,
)
from holoprop.experiments.reproduce.common_noise import CommonNoise
from holoprop.experiments.reproduce.courses import Data
from holoprop.experiments.reproduce.outcome import Claim
from holoprop.experiments.reproduce.registry import run_experiment
from holoprop.experiments.reproduce.runner import Runner, silent
from holoprop.network.build import mlp
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.time_stepping import Noise


def _said(claims: list[Claim]) -> list[tuple[float, bool]]:
    return [(round(claim.value, 6), claim.holds) for claim in claims]


@pytest.mark.parametrize("panel", ["a-d", "e-h"])
def test_fig4_claims_of_homeostasis_and_correction(panel: str) -> None:
    """Two seeds; the last epoch counts; of several weights of homeostasis the first is the published one."""
    kinds = jacobian_fig4.PANELS[panel].kinds
    weak = panel == "e-h"
    assert kinds == ("generalised", *(["homeostasis 0.1"] if weak else []), "homeostasis 1", "corrected", "exact")
    measure, error = np.full((len(kinds), 2, 3), 0.6), np.full((len(kinds), 2, 3), 15.0)
    alignment = np.full((len(kinds), 2, 3, 3), 0.3)
    measure[-3, :, -1], measure[0, :, -1] = 0.9, (0.5, 0.7)
    alignment[-3, :, 0] = 0.1
    alignment[-3, :, -1] += (0.2, 0.1, -0.01)
    error[1, :, -1] = 14.0, 14.5
    error[-2, :, -1] = 13.0, 13.6
    error[-1, :, -1] = 13.2, 12.0
    found = jacobian_fig4._claims(kinds, {"measure": measure, "error": error, "alignment": alignment}, "small")
    assert _said(found) == [
        *([(0.0, True)] if weak else []),
        (0.3, True),
        *([(0.0, False)] if weak else []),
        (0.19, True),
        (-0.75, True),
        *([(0.0, False)] if weak else []),
        (-0.01, False),
        (1.6, False),
        (0.7, False),
    ]


def test_corrected_training_claims_of_errors_and_of_gradients() -> None:
    """One network, two seeds; the last epoch counts, but of gradients every epoch."""
    error = np.full((1, 2, 3, 4), 20.0)
    error[..., -1] = [[[13.0, 13.1, 13.2], [12.9, 12.0, 12.3]]]
    off = np.full((1, 2, 4), 1e-7)
    off[0, 1, 2] = 3e-4
    found = corrected_training._claims({"error": error, "off": off})
    assert _said(found) == [(0.6, False), (3e-4, False)]


def test_nearly_equal_networks_are_a_ten_millionth_apart(x64: None) -> None:
    net = mlp(30, (40, 20), 10, key=jax.random.key(0))
    other = corrected_training._nearly(net, 3)
    assert 0.9e-7 < corrected_training._distance(other, net) < 1.1e-7


def test_a_single_seed_has_no_deviation() -> None:
    assert courses.over_seeds(np.array([3.184])) == "3.18"
    assert courses.over_seeds(np.array([1.0, 3.0])) == "2.00 ± 1.00"
    assert courses.over_seeds(np.array([1.0, 3.0]), 2.0) == "2.00 ± 2.00"


def test_table1_claims_of_the_circle_against_one_nudge() -> None:
    methods = np.array(hep_table1.METHODS)
    last = np.array([[2.0, 2.3, 2.1, 2.4], [89.0, 3.6, 2.2, 2.1]])
    error = np.repeat(np.stack([last + 1, last], -1)[:, :, None], 3, 2)  # noises, methods, seeds, epochs
    claims = hep_table1._claims({"methods": methods, "error": error}, "small")
    assert _said(claims) == [(0.4, True), (89.0, True), (1.4, True), (0.1, True)]
    error[1, 2] += 1.0
    assert [claim.holds for claim in hep_table1._claims({"methods": methods, "error": error}, "small")] == [
        True,
        True,
        False,
        False,
    ]
    assert len(hep_table1._claims({"methods": methods, "error": error}, "smoke")) == 1


def test_common_noise_is_one_draw_for_the_batch_and_of_the_size_asked_for() -> None:
    """Oracle: the sample variance over 900 neurons; points of a circle draw for themselves."""
    net = mlp(4, (900,), 2, key=jax.random.key(0))
    x, y = np.zeros((3, 4), np.float32), np.zeros(3, np.int32)
    problem = FixedPoint.of(net, x, y, np.full((2, 3), 0.1, np.float32))
    drawn = np.asarray(CommonNoise(0.5).draw(problem, jax.random.key(1))[0])
    assert drawn.shape == (2, 3, 900) and drawn.std() == pytest.approx(0.5, rel=0.1)
    np.testing.assert_array_equal(drawn, np.repeat(drawn[:, :1], 3, 1))
    assert abs(np.corrcoef(drawn[0, 0], drawn[1, 0])[0, 1]) < 0.2
    alone = np.asarray(Noise(0.5).draw(problem, jax.random.key(1))[0])
    assert abs(np.corrcoef(alone[0, 0], alone[0, 1])[0, 1]) < 0.2


def test_p2s_table1_claims_that_points_take_the_bias_away() -> None:
    rows = np.array(jacobian_table1.ROWS)
    last = np.linspace(16.0, 14.0, len(rows))
    error = np.repeat(np.stack([last + 1, last], -1)[:, None], 2, 1)
    claims = jacobian_table1._claims({"rows": rows, "error": error}, "small")
    at = dict(zip(jacobian_table1.ROWS, last, strict=True))
    wanted = (
        at["6 points, β = 0.5"] - at["1 point, β = 0.5"],
        abs(at["6 points, β = 0.05"] - at["infinitesimal"]),
        at["online"] - at["6 points, β = 0.5"],
    )
    np.testing.assert_allclose([claim.value for claim in claims], wanted)
    assert [claim.holds for claim in claims] == [True, False, False]
    assert isinstance(jacobian_table1._estimator("1 point, β = 0.5", jacobian_table1._SIZES["small"]).beta, float)


@pytest.fixture
def blobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten classes of 784 pixels, each around a point of its own: a few steps tell them apart."""
    rng = np.random.default_rng(0)
    centres = rng.random((10, 784)) < 0.2

    def load(train: int | None, test: int | None, name: str = "") -> Data:
        def part(count: int) -> tuple[np.ndarray, np.ndarray]:
            labels = rng.integers(0, 10, count)
            noise = 0.2 * rng.random((count, 784))
            return np.clip(centres[labels] + noise, 0, 1).astype(np.float32), labels.astype(np.int32)

        return Data(part(train or 100), part(test or 100))

    monkeypatch.setattr(Data, "load", staticmethod(load))


@pytest.mark.usefixtures("blobs")
def test_courses_of_every_kind_on_blobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a loop learns in two short epochs, in every way: shapes, less error than guessing, homeostasis at work."""
    monkeypatch.setitem(jacobian_fig4._SIZES, "smoke", (2, 1000, 100, 1, (12, 10), 20.0))
    monkeypatch.setattr(courses, "_COMPARED", 20)
    found = jacobian_fig4.run_loop("smoke", 3, Runner(silent))
    arrays, kinds = found.arrays, 5
    assert arrays["error"].shape == arrays["measure"].shape == arrays["angle"].shape == (kinds, 1, 3)
    assert arrays["alignment"].shape == (kinds, 1, 3, 2) and arrays["unsettled"].shape == (kinds, 1, 2)
    assert np.isnan(arrays["error"][:, :, 0]).all() and (arrays["error"][-2:, :, -1] < 45).all()
    # All begin as one network; the stronger the homeostasis, the more symmetric it ends.
    np.testing.assert_allclose(arrays["measure"][:, 0, 0], arrays["measure"][0, 0, 0])
    plain, weak, strong = arrays["measure"][:3, 0, -1]
    assert plain < weak < strong
    assert [row[0] for row in found.tables[0].rows] == arrays["kinds"].tolist()
    assert found.settings["seeds"] == "3"


@pytest.mark.usefixtures("blobs")
def test_angles_on_blobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 0 degrees response and error are one before training, at 90 they are not."""
    monkeypatch.setitem(jacobian_fig3._SIZES, "smoke", ((0, 90), 1, 300, 100, 1, (12, 10)))
    monkeypatch.setattr(courses, "_COMPARED", 20)
    outcome = run_experiment("jacobian-fig3", "smoke", seed=1)
    alignment = outcome.arrays["alignment"]
    assert alignment.shape == (2, 2, 1, 2, 2)
    assert (alignment[:, 0, 0, 0] > 0.999).all() and (alignment[:, 1, 0, 0, 0] < 0.9).all()
    np.testing.assert_allclose(outcome.arrays["angle"][:, :, 0, 0], [[0, 90], [0, 90]], atol=8)
    assert dataclasses.is_dataclass(outcome) and len(outcome.tables[0].rows) == 4

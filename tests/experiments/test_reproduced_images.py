"""Experiments on images: what they claim of curves made by hand, and runs of theirs on images made by hand."""

from pathlib import Path

import jax
import numpy as np
import pytest

from holoprop.data.dataset import Dataset, Split
from holoprop.data.synthetic import synthesise_imagenet32
from holoprop.experiments import building
from holoprop.experiments.config import Config
from holoprop.experiments.reproduce import (
    during_training,
    hep_fig4ab,
    hep_fig4c,
    hep_table2,
    jacobian_images,
    preset_courses,
)
from holoprop.experiments.reproduce.outcome import Claim
from holoprop.experiments.reproduce.preset_courses import preset_course, preset_with, train_part
from holoprop.experiments.reproduce.runner import Runner, silent

TINY = {
    "network.channels": [4, 4, 4, 4],
    "data.train_limit": 100,
    "data.test_limit": 40,
    "training.epochs": 2,
    "training.check_gradient": None,
}


def _said(claims: list[Claim]) -> list[tuple[float, bool]]:
    return [(round(claim.value, 6), claim.holds) for claim in claims]


@pytest.fixture
def stripes(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 as it might be: every class a colour of its own and noise."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (10, 1, 1, 3))

    def part(count: int) -> Split:
        labels = np.arange(count, dtype=np.int32) % 10
        images = np.clip(colours[labels] + rng.integers(-20, 20, (count, 32, 32, 3)), 0, 255).astype(np.uint8)
        return Split(images, labels)

    names = tuple("abcdefghij")
    dataset = Dataset("cifar-10", part(200), part(60), names, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    monkeypatch.setattr(building, "load_dataset", lambda name, **_: dataset)


@pytest.mark.usefixtures("stripes")
def test_a_course_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """Oracle: the same course in one piece, and a shorter one, which is its beginning."""
    short = preset_with("cifar10-small", TINY | {"optimizer.schedule": "constant", "training.epochs": 1})
    long = preset_with("cifar10-small", TINY | {"optimizer.schedule": "constant"})
    begun = preset_course(short, silent, tmp_path / "run")
    again = preset_course(long, silent, tmp_path / "run")
    alone = preset_course(long, silent, None)
    for name in ("error", "train_error", "unsettled", "sweeps", "residual"):
        np.testing.assert_array_equal(again[name], alone[name])
        np.testing.assert_array_equal(begun[name], alone[name][: len(begun[name])])
    assert alone["error"].shape == (3,) and np.isnan(alone["error"][0]) and "angle" not in alone


@pytest.mark.usefixtures("stripes")
def test_a_course_measures_feedback_and_error_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 0 degrees: before training response and error are one, and learning moves the feedback."""
    monkeypatch.setattr(preset_courses, "_COMPARED", 5)
    small = {"network.channels": [4, 4], "network.feedback": "free", "network.angle": 0, "estimator.homeostasis": 15}
    config = preset_with("cifar10-small", TINY | small).to_toml()
    course = train_part(silent, label="x", config=config, feedback=True)
    assert course["angle"].shape == (3,) and course["alignment"].shape == (3, 2)
    np.testing.assert_allclose(course["angle"][0], 0, atol=1e-3)
    np.testing.assert_allclose(course["alignment"][0], 1, atol=1e-3)
    assert (course["angle"][1:] > 0.01).all() and (course["alignment"] <= 1).all()


def test_fig4il_claims_of_angle_and_error_vectors() -> None:
    angle = np.array([[[0.0, 40.0]], [[0.0, 12.0]]])
    alignment = np.zeros((2, 1, 2, 3))
    alignment[:, 0, -1] = [[0.2, 0.3, 1.0], [0.5, 0.9, 0.9]]
    found = {"angle": angle, "alignment": alignment}
    assert _said(jacobian_images._fig4il_claims(found)) == [(28.0, True), (0.3, True)]


def test_rows_of_p2s_table_are_presets_with_the_published_changes() -> None:
    config = jacobian_images._config("cifar-10", "circle, homeostasis", 0, 3, "paper")
    assert (config.estimator.name, config.estimator.points, config.estimator.homeostasis) == ("holomorphic", 2, 15)
    assert (config.network.feedback, config.network.angle, config.training.seed) == ("free", 0, 3)
    config = jacobian_images._config("cifar-10", "corrected", 90, 0, "paper")
    assert (config.estimator.asymmetry, config.estimator.homeostasis, config.network.angle) == ("correct", None, 90)
    figure = jacobian_images._config("cifar-10", "infinitesimal", 0, 0, "paper", figure=True)
    assert (figure.training.epochs, figure.optimizer.learning_rates) == (90, (0.125, 0.075, 0.05, 0.04, 0.025))
    config = jacobian_images._config("imagenet32", "infinitesimal, homeostasis", 0, 0, "paper")
    assert (config.estimator.name, config.estimator.homeostasis, config.training.epochs) == ("forward_response", 10, 90)
    assert config.data.std == pytest.approx((0.3435, 0.336, 0.3375))
    symmetric = jacobian_images._config("cifar-10", "symmetric", 0, 0, "paper")
    assert symmetric == hep_table2.published_config("cifar-10", "hEP", 0) and symmetric.network.feedback == "tied"
    assert jacobian_images._config("cifar-100", "exact", 0, 0, "small").data.name == "cifar-100-subset"


def test_rows_of_p1s_table_are_presets_with_the_published_changes() -> None:
    config = hep_table2._config("cifar-100", "hEP", 2, "paper")
    assert (config.data.name, config.optimizer.weight_decay, config.training.seed) == ("cifar-100", 1e-2, 2)
    assert config.data.std == pytest.approx((1.5 * 0.2673, 1.5 * 0.2564, 1.5 * 0.2762), abs=2e-3)
    config = hep_table2._config("imagenet32", "BP", 0, "paper")
    assert (config.network.feedback, config.training.batch_size, config.optimizer.weight_decay) == ("off", 256, 5e-4)
    config = hep_table2._config("cifar-10", "BP", 0, "small")
    assert (config.estimator.name, config.network.activation) == ("backpropagation", "relu")
    hard = hep_fig4c._config(hep_fig4c.KINDS[0], 0, "paper").network
    assert (hard.activation, hard.pooling, hard.temperature) == ("hard_sigmoid", "max", None)
    assert hep_fig4c._config(hep_fig4c.KINDS[2], 0, "paper").estimator.points == 4


def test_table2_claims_of_homeostasis_and_correction() -> None:
    rows = [(90, "circle"), (90, "circle, homeostasis"), (90, "corrected"), (90, "exact")]
    rows += [(0, "circle"), (0, "circle, homeostasis")]
    last = np.array([70.0, 58.0, 50.0, 51.0, 60.0, 55.0])
    angles, names = zip(*rows, strict=True)
    error = np.repeat(np.stack([last + 5, last], -1)[:, None], 2, 1)
    found = {"from": np.array(angles), "rows": np.array(names), "error": error}
    assert _said(jacobian_images._table_claims("cifar-10", found, "paper")) == [
        (12, True),
        (8, True),
        (5, True),
        (1, True),
    ]
    found["error"] = found["error"][:3]
    found["from"], found["rows"] = found["from"][:3], found["rows"][:3]
    assert [claim.holds for claim in jacobian_images._table_claims("cifar-10", found, "paper")] == [
        True,
        True,
        False,
        False,
    ]


def test_table2_claims_on_few_test_images_ask_for_more_than_their_noise() -> None:
    """Lifts of two points are not seen on the thousand images of the part of CIFAR-100."""
    rows = [(90, "circle"), (90, "circle, homeostasis"), (90, "corrected"), (0, "circle"), (0, "circle, homeostasis")]
    angles, names = zip(*rows, strict=True)
    for lift, seen in ((2.0, False), (3.0, True)):
        last = np.array([94.0, 94.0 - lift, 94.0 - lift, 94.0, 94.0 - lift])
        found = {"from": np.array(angles), "rows": np.array(names), "error": np.repeat(last[:, None, None], 2, 2)}
        claims = jacobian_images._table_claims("cifar-100", found, "small")
        assert [claim.holds for claim in claims] == [seen, True, seen]


def test_table2_claims_of_holomorphic_ep_and_backpropagation() -> None:
    error = np.array([[[np.nan, 50.0, 12.0, 12.4]], [[np.nan, 40.0, 11.0, 11.2]]])
    claims = hep_table2._claims("cifar-10", {"error": error}, "paper")
    assert _said(claims) == [(1.2, True), (87.6, True), (88.8, True), (88.0, False), (89.0, True)]
    assert _said(hep_table2._claims("cifar-10", {"error": error - 0.4}, "paper"))[3] == (88.4, True)
    # Alike, but both near guessing.
    assert [claim.holds for claim in hep_table2._claims("cifar-100", {"error": error / 2 + 92}, "small")] == [
        True,
        False,
        False,
    ]


def _fig4a_arrays(end: float = 1.0) -> dict[str, np.ndarray]:
    """Errors `(β/b)^N` above a floor `a/β`, as a float32 gradient has them: good from the one to the other."""
    betas = np.geomspace(1e-4, 100, 50)
    points = np.array([1, 2, 4, 20, 1, 2])
    cosine = np.full((6, 50), 0.9)
    for k, n in enumerate(points[:4].tolist()):
        low, high = hep_fig4ab._RANGES[n]
        cosine[k] = np.where((betas >= low) & (betas <= end * high), 1 - 1e-7 * n, 0.99)
    error = np.array([(betas / 20) ** n for n in points.tolist()])
    kinds = np.array(["holomorphic"] * 4 + ["hard"] * 2)
    return {
        "betas": betas,
        "points": points,
        "kinds": kinds,
        "cosine": cosine,
        "error": error,
        "unsettled": np.zeros(6),
    }


def test_fig4a_claims_of_slopes_and_of_the_ends_of_the_ranges() -> None:
    """Oracle: powers of the nudge, whose slopes are known, and ranges that end where the published ones do."""
    arrays = _fig4a_arrays()
    arrays["cosine"][0, np.abs(np.log(arrays["betas"])).argmin()] = 0.99
    claims = hep_fig4ab.fig4a_claims(arrays, "paper")
    assert all(claim.holds for claim in claims)
    slopes = [claim for claim in claims if claim.text.startswith("slope")]
    np.testing.assert_allclose([claim.value for claim in slopes], 0, atol=1e-9)
    ends = [claim for claim in claims if "over it" in claim.text or "off by a factor" in claim.text]
    # The grid's step is a factor of 1.33.
    assert len(ends) == 8 and all(1 <= claim.value < 1.33 for claim in ends)
    # What is good at smaller nudges than the published gradient, or rounds worse, is told apart.
    for factor, hold in ((0.1, True), (3.0, False)):
        arrays["betas"] = _fig4a_arrays()["betas"] * factor
        smallest = [claim for claim in hep_fig4ab.fig4a_claims(arrays, "paper") if "smallest nudge" in claim.text]
        assert [claim.holds for claim in smallest] == [hold] * 4
    shorter = [claim for claim in hep_fig4ab.fig4a_claims(_fig4a_arrays(0.3), "paper") if "largest nudge" in claim.text]
    assert [claim.holds for claim in shorter if "off by a factor" in claim.text] == [False] * 4


def test_fig4a_claims_fail_where_nothing_is_a_number_or_at_rest() -> None:
    """A network without a complex derivative whose gradients are all NaN is not one with a wrong gradient."""
    arrays = _fig4a_arrays()
    arrays["cosine"][5] = np.nan
    arrays["unsettled"][4] = 3.0
    claims = hep_fig4ab.fig4a_claims(arrays, "small")
    hard = next(claim for claim in claims if claim.text.startswith("hard"))
    assert np.isnan(hard.value) and not hard.holds
    assert (claims[-1].value, claims[-1].holds) == (3.0, False) and claims[-1].text.endswith("(hard)")
    # Nor is one whose reference is no gradient, however far from it.
    arrays = _fig4a_arrays()
    arrays["unsettled"][5] = 1.0
    hard = next(claim for claim in hep_fig4ab.fig4a_claims(arrays, "small") if claim.text.startswith("hard"))
    assert np.isnan(hard.value) and not hard.holds


def test_fig4b_claims_of_each_nudge() -> None:
    """Oracle: the published values themselves, and ten times them."""
    lost = np.array([[1e-4, 3.3e-5, 3.2e-3], [1e-4, 6e-7, 1.1e-6], [1e-4, 6e-7, 0.0]])
    arrays = {
        "points": np.array([1, 2, 4]),
        "kinds": np.array(["holomorphic"] * 3),
        "cosine": 1 - lost,
        "unsettled": np.zeros(3),
    }
    assert all(claim.holds for claim in hep_fig4ab.fig4b_claims(arrays, "paper"))
    arrays["cosine"] = 1 - 10 * (lost + 1e-6)
    held = [claim.holds for claim in hep_fig4ab.fig4b_claims(arrays, "paper")]
    assert held == [True, True, False, False, False, False, False, False, True]


def test_fig4c_claims_of_the_best_epoch() -> None:
    train = np.array([[[np.nan, 20.0, 14.0, 15.0]], [[np.nan, 9.0, 8.0, 6.5]], [[np.nan, 7.0, 4.0, 8.0]]])
    assert _said(hep_fig4c._claims({"train_error": train}, "small")) == [(7.5, True), (2.5, True)]
    assert _said(hep_fig4c._claims({"train_error": train[[0, 2, 1]]}, "small")) == [(10.0, True), (-2.5, False)]
    # Published: 14.6 ± 3.2, 6.5 ± 0.7, 4.3 ± 0.3.
    assert _said(hep_fig4c._claims({"train_error": train + 0.4}, "paper"))[:3] == [
        (0.2, True),
        (0.4, True),
        (0.1, True),
    ]
    assert not hep_fig4c._claims({"train_error": train + 2.0}, "paper")[1].holds


def test_imagenet_runs_from_files_in_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows for data that are not at hand, on a synthetic set of the official form; top-5 errors are below top-1."""
    synthesise_imagenet32(tmp_path / "data", images=200, test_images=40)
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOLOPROP_CACHE", str(tmp_path / "cache"))

    def unverified(preset: str, changes: dict) -> Config:
        return preset_with(preset, changes | TINY | {"data.verify": False})

    monkeypatch.setattr(hep_table2, "preset_with", unverified)
    found = hep_table2.run_imagenet32("smoke", None, Runner(silent))
    assert found.arrays["error"].shape == found.arrays["top5"].shape == (2, 1, 3)
    assert (found.arrays["top5"][..., 1:] <= found.arrays["error"][..., 1:]).all()
    assert found.settings["data"].startswith("imagenet32")
    jax.clear_caches()


def test_estimators_along_training_are_judged_where_there_is_an_exact_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second epoch has none and is left out; an estimate that is not a number lacks all there is."""
    names = during_training._SIZES["smoke"].estimators
    lost = np.array([[1e-2, np.nan, 0.5], [1e-4, np.nan, np.nan], [1e-7, np.nan, 1e-6]])
    course = {"lost": lost, "error": np.array([np.nan, 9.0, 5.0])}
    monkeypatch.setattr(Runner, "parts", lambda *_, **__: [course])
    found = during_training.run_cosines("smoke", None, Runner())
    assert names[2] == during_training.AUTOMATIC
    assert _said(found.claims) == [(1e-6, True), (5e5, True)]
    assert found.tables[0].rows[1][-1] == 1.0 and found.settings["epochs left out"].startswith("1,")
    assert found.tables[1].rows == [("5.00", "5.00", 2)]


def test_solvers_along_training_are_judged_by_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = np.array([[20.0, 30.0, 60.0], [10.0, 12.0, 14.0], [8.0, 10.0, 12.0]])
    settled = np.array([[1.0, 1.0, 0.9], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    course = {"sweeps": sweeps, "settled": settled, "error": np.array([np.nan, 9.0, 5.0])}
    monkeypatch.setattr(Runner, "parts", lambda *_, **__: [course])
    found = during_training.run_settling("small", None, Runner())
    assert _said(found.claims) == [(2.5, True), (100.0, True), (3.0, True)]
    assert found.tables[0].rows[0][-1] == "90 %"

"""The pictures of a run. Oracle: the numbers in its files, read off the drawn lines and bars."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from holoprop.report.curves import learning_curves
from holoprop.report.drawing import COLOURS, STYLE, decades_around, inline_svg
from holoprop.report.figures import (
    LEAST_DIFFERENCE,
    accuracy_figure,
    alignment_figure,
    circle_figure,
    cosine_figure,
    loss_figure,
    residual_histogram,
    sweeps_figure,
    unsettled_figure,
)
from holoprop.report.records import EpochRecord, GradientCheck, Run, StepRecord, read_run
from holoprop.report.wording import date, duration, power_of_ten, scientific

CSS = (STYLE.parent / "page.css").read_text(encoding="utf-8")


def _line(figure: Figure, label: str) -> np.ndarray:
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == label]
    return np.array([line.get_xdata(), line.get_ydata()], np.float64).T


def _check(run: Run) -> GradientCheck:
    assert run.check is not None
    return run.check


def _figures(run: Run) -> list[Figure]:
    check = _check(run)
    assert run.evaluation is not None
    return [
        loss_figure(run, "nats"),
        accuracy_figure(run),
        unsettled_figure(run),
        sweeps_figure(run),
        alignment_figure(check.total, check.parameters),
        residual_histogram(run.evaluation.residual, 1e-5),
        circle_figure(check.certificate, 1e-5, 1e-4),
    ]


def test_learning_curves_draw_the_records(finished: Path) -> None:
    run = read_run(finished)
    loss, accuracy, unsettled = loss_figure(run, "nats"), accuracy_figure(run), unsettled_figure(run)
    at = [record.epoch for record in run.epochs]
    for figure, label, name, factor in (
        (loss, "training", "train_loss", 1),
        (loss, "test", "test_loss", 1),
        (accuracy, "training", "train_accuracy", 100),
        (accuracy, "test", "test_accuracy", 100),
        (unsettled, "training", "unsettled", 100),
        (unsettled, "test", "test_unsettled", 100),
        (sweeps_figure(run), "training", "sweeps", 1),
    ):
        values = [factor * getattr(record, name) for record in run.epochs]
        np.testing.assert_allclose(_line(figure, label), np.array([at, values]).T)
    # 70 steps an epoch.
    np.testing.assert_allclose(_line(loss, "single steps")[:, 0], [record.step / 70 for record in run.steps])
    np.testing.assert_allclose(_line(loss, "single steps")[:, 1], [record.loss for record in run.steps])


def test_the_cosine_of_each_epoch_is_drawn_as_what_is_missing_to_one(finished: Path) -> None:
    run = read_run(finished)
    cosines = [1 - 0.02 / 2**i for i in range(len(run.epochs) - 1)] + [1.0]
    run.epochs[:] = [
        EpochRecord(**(record.model_dump() | {"cosine": cosine}))
        for record, cosine in zip(run.epochs, cosines, strict=True)
    ]
    drawn = _line(cosine_figure(run), "test samples")
    np.testing.assert_allclose(drawn[:, 1], [*(1 - np.array(cosines[:-1])), LEAST_DIFFERENCE])
    assert "cosine of the gradient to the exact one" in str(learning_curves(run))


def test_epochs_of_which_no_sample_settled_leave_gaps(finished: Path) -> None:
    run = read_run(finished)
    nothing = {"loss": None, "accuracy": None, "train_loss": None, "train_accuracy": None}
    run.epochs[2:] = [EpochRecord(**(record.model_dump() | nothing)) for record in run.epochs[2:]]
    assert np.isnan(_line(loss_figure(run, "nats"), "training")[2:, 1]).all()
    assert np.isfinite(_line(loss_figure(run, "nats"), "training")[:2, 1]).all()
    run.steps[:] = [StepRecord(**(record.model_dump() | nothing)) for record in run.steps]
    run.epochs.clear()
    assert len(loss_figure(run, "nats").axes[0].lines) == 0


def test_loss_axis_is_logarithmic_only_where_a_loss_can_be(finished: Path) -> None:
    run = read_run(finished)
    assert loss_figure(run, "nats").axes[0].get_yscale() == "log"
    run.steps[0].loss = 0.0
    assert loss_figure(run, "nats").axes[0].get_yscale() == "linear"


def test_alignment_draws_one_minus_cosine(finished: Path) -> None:
    check = _check(read_run(finished))
    axes = alignment_figure(check.total, check.parameters).axes[0]
    points = {int(line.get_ydata()[0]): line.get_xdata()[0] for line in axes.lines if line.get_marker() in "<Do"}
    labels = {
        int(place): label.get_text() for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }
    for each in [*check.parameters, check.total]:
        (place,) = [place for place, label in labels.items() if label == each.name]
        assert each.cosine is not None
        assert points[place] == pytest.approx(np.log10(max(1 - each.cosine, LEAST_DIFFERENCE)))


def test_histogram_counts_every_sample_on_its_side_of_the_tolerance() -> None:
    """Oracle: counted by hand. Zeros have a bar of their own, what is not finite has none."""
    residual = np.array([0, 0, 1e-7, 2e-6, 9e-6, 1.1e-5, 3e-3, np.nan, np.inf], np.float32)
    bars = residual_histogram(residual, 1e-5).axes[0].patches
    counts = {name: sum(bar.get_height() for bar in bars if bar.get_facecolor() == mpl.colors.to_rgba(colour))
              for name, colour in COLOURS.items()}  # fmt: skip
    assert {name: count for name, count in counts.items() if count} == {"blue": 5, "vermilion": 2}
    assert [bar.get_height() for bar in bars if bar.get_x() < -8] == [2]


def test_all_residuals_zero_make_one_bar() -> None:
    bars = residual_histogram(np.zeros(360), None).axes[0].patches
    assert [bar.get_height() for bar in bars if bar.get_height()] == [360]


def test_points_on_the_circle_are_ordered_by_angle(finished: Path) -> None:
    """Oracle: four points, of which three are settled; stored at 0°, 90°, 180° here, shuffled before drawing."""
    certificate = _check(read_run(finished)).certificate
    certificate.points = [certificate.points[k] for k in (2, 0, 1)]
    certificate.point_residual = [certificate.point_residual[k] for k in (2, 0, 1)]
    axes = circle_figure(certificate, 1e-5, 1e-5).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["free", "0°", "90°", "180°"]
    assert axes.get_xlabel() == "nudge β = 0.1·exp(iφ), φ (degrees)"
    dots = [np.sort(np.asarray(line.get_ydata(), np.float64)) for line in axes.lines if line.get_marker() == "."]
    for place, stored in ((1, 1), (2, 2), (3, 0)):
        np.testing.assert_allclose(dots[place], np.sort(np.log10(certificate.point_residual[stored])))


def test_real_nudges_are_written_as_numbers(finished: Path) -> None:
    certificate = _check(read_run(finished)).certificate
    certificate.points, certificate.point_residual = [0.2 + 0j, -0.2 + 0j], certificate.point_residual[:2]
    axes = circle_figure(certificate, None, None).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["free", "0.2", "-0.2"]


def test_every_axis_has_a_label_with_a_unit(finished: Path) -> None:
    def bare(axes: Axes) -> list[str]:
        labels = [axes.get_xlabel(), axes.get_ylabel()]
        # Counts of epochs and samples are their own unit; parameters along an axis have none.
        return [label for label in labels if label not in ("epoch", "test samples", "") and "(" not in label]

    assert [bare(figure.axes[0]) for figure in _figures(read_run(finished))] == [[]] * 7


def test_pictures_follow_the_colours_of_the_page(finished: Path) -> None:
    """Oracle: the style sheet of the page, which must define every colour for light and dark paper."""
    light, dark = CSS.split("prefers-color-scheme: dark")
    for name, value in COLOURS.items():
        assert f"--{name}: {value};" in light
        assert f"--{name}: #" in dark
    for figure in _figures(read_run(finished)):
        fixed = re.sub(r"var\(--[a-z]+, #[0-9a-f]{6}\)", "", inline_svg(figure, "picture", "a picture"))
        assert re.findall(r"(?:fill|stroke): *#[0-9a-f]+", fixed) == []


def test_drawing_leaves_matplotlib_as_it_was(finished: Path) -> None:
    """Settings before and after are the same, and a user's own do not show."""
    before = dict(mpl.rcParams)
    plain = [inline_svg(figure, "picture", "") for figure in _figures(read_run(finished))]
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "text.color": "white"}):
        assert [inline_svg(figure, "picture", "") for figure in _figures(read_run(finished))] == plain


def test_pyplot_is_not_used(finished: Path) -> None:
    """Oracle: the modules that a fresh interpreter has loaded after writing a page."""
    script = (
        "import sys, pathlib, holoprop.report; holoprop.report.write_report(pathlib.Path(sys.argv[1]));"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script, finished], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "False"), run.stderr


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e-6], (-8, -6)),
        ([2e-7, 3e-3], (-7, -2)),
        ([5.0], (-1, 1)),
        ([1e-300, 1e30], (-300, 30)),
        ([np.nan, 2e-7, 3e-3], (-7, -2)),
        ([np.nan], (-2, 0)),
    ],
)
def test_decades_enclose_the_values(values: list[float], expected: tuple[int, int]) -> None:
    assert decades_around(np.array(values)) == expected


def test_numbers_are_worded() -> None:
    """Oracle: written out by hand."""
    assert [duration(s) for s in (0.123456, 4.1, 99.96, 200.0, 7500.0)] == [
        "0.123 s",
        "4.1 s",
        "100 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert [scientific(x) for x in (4.4e-4, 1.0, 9.96e-5, 0.0)] == ["4.4·10⁻⁴", "1.0·10⁰", "1.0·10⁻⁴", "0"]
    assert power_of_ten(-16) == "10⁻¹⁶"
    assert date("2026-01-01T01:30:00+02:00") == "2025-12-31 23:30:00 UTC"
    assert date("some day") == "some day"

"""The page of a sweep. Oracles: the rows it was given, read off lines, cells and the table; no file but itself."""

import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holoprop.experiments.sweep.folder import begin_sweep, read_sweep
from holoprop.experiments.sweep.grid import parse_axis
from holoprop.experiments.sweep.plan import plan_trials
from holoprop.experiments.sweep.table import Row, SweepResults, write_results
from holoprop.report.sweep import render_sweep_page, write_sweep_page
from holoprop.report.sweep_figures import sweep_picture
from tests.experiments.sweep.rows import made, result
from tests.report.reading import read_page

Results = Callable[..., SweepResults]
RATE, WIDTH, SEED = "optimizer.learning_rate", "network.hidden", "training.seed"


def _axes(results: SweepResults):
    picture = sweep_picture(results)
    assert picture is not None
    return picture.figure.axes[0]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Make results from `(point, best accuracy)` each."""
    return functools.partial(made, tmp_path)


def test_one_numeric_key_is_a_line_through_the_means_of_seeds(results: Results) -> None:
    some = results(
        ({RATE: 1.0, SEED: 0}, 0.7),
        ({RATE: 1.0, SEED: 1}, 0.9),
        ({RATE: 0.01, SEED: 0}, 0.5),
        ({RATE: 0.1, SEED: 0}, None),
    )
    axes = _axes(some)
    lines = {str(line.get_label()): np.array([line.get_xdata(), line.get_ydata()]).T for line in axes.lines}
    np.testing.assert_allclose(lines["best epoch, mean"], [[0.01, 50], [1, 80]])
    np.testing.assert_allclose(lines["last epoch, mean"], [[0.01, 49], [1, 79]])
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", RATE)
    assert _axes(results(({RATE: 1}, 0.7), ({RATE: 2}, 0.9))).get_xscale() == "linear"


def test_two_keys_are_a_map_with_the_best_framed(results: Results) -> None:
    some = results(
        *(({RATE: rate, WIDTH: width}, best) for rate, width, best in [
            (0.1, "[64]", 0.8), (0.1, "[8]", None), (0.01, "[64]", 0.6), (0.01, "[8]", 0.9)
        ])
    )  # fmt: skip
    axes = _axes(some)
    # Numbers in their order, lists in that of the grid.
    np.testing.assert_allclose(np.ma.filled(axes.images[0].get_array(), np.nan), [[60, 90], [80, np.nan]])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0.01", "0.1"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["[64]", "[8]"]
    assert [text.get_text() for text in axes.texts] == ["60.0", "90.0", "80.0", "–"]
    assert axes.patches[0].get_xy() == (0.5, -0.5)


def test_anything_else_is_the_trials_from_best_to_worst(results: Results) -> None:
    some = results(
        *(({"network.activation": name}, best) for name, best in [("tanh", 0.5), ("silu", 0.9), ("relu", None)])
    )
    axes = _axes(some)
    best = next(line for line in axes.lines if line.get_label() == "best epoch")
    labels = dict(zip(axes.get_yticks(), (text.get_text() for text in axes.get_yticklabels()), strict=True))
    drawn = {labels[y]: x for x, y in zip(best.get_xdata(), best.get_ydata(), strict=True)}
    assert drawn == {"silu": pytest.approx(90), "tanh": pytest.approx(50)}
    assert labels[max(labels)] == "silu"
    many = results(*(({"a.b": 1, "a.c": 1, "a.d": i}, i / 100) for i in range(60)))
    picture = sweep_picture(many)
    assert picture is not None and picture.caption.startswith("The best 40 of 60 trials, ")


def test_the_page_shows_every_trial_and_the_best(tmp_path: Path) -> None:
    axes = [parse_axis(f"{RATE}=0.1,0.2,0.3")]
    trials = plan_trials("digits-mlp", axes)
    begin_sweep(tmp_path / "mine", "digits-mlp", axes, trials, resume=False, overwrite=False)
    rows = [
        Row(trials[0].name, trials[0].point, 0, "done", tries=1, result=result(0.75, 0.7)),
        Row(trials[1].name, trials[1].point, 0, "done", tries=2, result=result(0.875, 0.85, cosine=None)),
        Row(trials[2].name, trials[2].point, 0, "failed", "loss <b>inf</b> & lost", 1),
    ]
    write_results(SweepResults(tmp_path / "mine", (RATE,), rows))
    report = tmp_path / "mine" / "trials" / trials[0].name / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("")
    text = write_sweep_page(tmp_path / "mine").read_text(encoding="utf-8")
    page = read_page(text)
    tiles = {tile.one("dt").text: (tile.one("b").text, tile.one("small").text) for tile in page.one("dl").all("div")}
    assert tiles == {
        "best test accuracy": ("87.50 %", "in epoch 2"),
        "in its last epoch": ("85.00 %", "epoch 3"),
        "best trial": ("002", "learning_rate 0.2"),
        "trials done": ("2 of 3", "1 failed"),
        "training time": ("25 s", "of all trials together"),
    }
    shown = [[cell.text for cell in row.children] for row in page.one("section", id="trials").all("tbody")[0].all("tr")]
    assert shown == [
        ["001", "0.1", "75.00 %", "2", "70.00 %", "0.2500", "0.99999", "0.00 %", "12.5 s", "done"],
        ["002", "0.2", "87.50 %", "2", "85.00 %", "0.2500", "–", "0.00 %", "12.5 s", "done, 2 tries"],
        ["003", "0.3", *["–"] * 7, "failed"],
    ]
    bold = [row.one("th").text for row in page.one("section", id="trials").all("tbody")[0].all("tr") if row.all("b")]
    assert bold == ["002"]
    assert "loss <b>inf</b> & lost" in [cell.text for cell in page.all("td")]
    assert [link.attributes["href"] for link in page.all("a")] == [f"trials/{trials[0].name}/report.html"]
    assert "learning_rate = 0.2" in page.one("section", id="configuration").one("code").text
    assert page.one("", class_="warning").text.startswith("Unfinished. Trials: 1 failed.")
    # It loads nothing and runs nothing, and the same files give the same page.
    assert not re.findall(r"url\((?!#)|@import|https?:", text) and not {each.tag for each in page.all()} & {
        "script",
        "link",
    }
    assert write_sweep_page(tmp_path / "mine").read_text(encoding="utf-8") == text


def test_a_sweep_of_which_nothing_is_done_has_a_page_too(tmp_path: Path) -> None:
    axes = [parse_axis("training.seed=1,2")]
    trials = plan_trials("digits-mlp", axes)
    begin_sweep(tmp_path / "s", "digits-mlp", axes, trials, resume=False, overwrite=False)
    rows = [Row(trial.name, trial.point, 0, "missing") for trial in trials]
    page = read_page(render_sweep_page(read_sweep(tmp_path / "s"), SweepResults(tmp_path / "s", (SEED,), rows)))
    assert (
        page.one("section", id="picture").one("", class_="absent").text == "There is nothing to draw: no trial is done."
    )
    assert "2 not run yet" in page.one("", class_="warning").text

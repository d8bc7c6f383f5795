"""The page of the resistor network. Oracles: the numbers it was given, and that it needs nothing from outside."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from holoprop.experiments.resistor import Conductances
from holoprop.experiments.resistor_learning import BETAS, Learning, ResistorExperiment
from holoprop.report.resistor import conductance_figure, gradient_error_figure, write_resistor_page


@pytest.fixture
def result() -> ResistorExperiment:
    rng = np.random.default_rng(0)
    betas = np.array(BETAS)
    history = [{"train_loss": 0.5 / n, "test_loss": 0.6 / n, "test_accuracy": 1 - 0.1 / n} for n in (1, 2, 3)]

    def learning(points: int) -> Learning:
        errors = np.where(betas < 0.3, 20 * betas**points, np.nan)
        return Learning(points, history, 0.9667, errors, 20 * 0.03**points)

    def conductances() -> Conductances:
        return Conductances(rng.uniform(size=(130, 5)), rng.uniform(size=(5, 4)))

    runs = [learning(2), learning(4)]
    return ResistorExperiment((3, 8), 285, 72, 0.03, betas, 20, 5, runs, conductances(), conductances())


def test_the_page_needs_nothing_from_outside(result: ResistorExperiment, tmp_path: Path) -> None:
    page = write_resistor_page(result, tmp_path / "new" / "resistor.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page) and "<script" not in page and "<nav" not in page
    for text in ("96.7 %", "1.8·10⁻²", "1.6·10⁻⁵", "∝ β⁴", "no stable rest state"):
        assert text in page
    again = write_resistor_page(result, tmp_path / "again.html").read_text(encoding="utf-8")
    assert page == again


def test_curves_are_the_errors(result: ResistorExperiment) -> None:
    axes = gradient_error_figure(result).axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    for run in result.runs:
        drawn = np.asarray(lines[f"{run.points} nudges"].get_ydata())
        np.testing.assert_allclose(drawn, np.log10(run.errors[np.isfinite(run.errors)]))


def test_nothing_stable_is_drawn_too(result: ResistorExperiment, tmp_path: Path) -> None:
    lost = [dataclasses.replace(run, errors=np.full_like(run.errors, np.nan)) for run in result.runs]
    write_resistor_page(dataclasses.replace(result, runs=lost), tmp_path / "resistor.html")


def test_maps_are_differences_of_conductances(result: ResistorExperiment) -> None:
    before = conductance_figure(result).axes[0].images[0].get_array()
    assert before is not None and before.shape == (8, 5 * 9 - 1)
    tops = [result.initial.input[0, node] - result.initial.input[65, node] for node in range(5)]
    np.testing.assert_allclose(sorted(np.asarray(before)[0, ::9]), sorted(tops))

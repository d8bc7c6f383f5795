"""Pages of experiments. Oracles: the numbers they were given, and that they need nothing from outside."""

import base64
import dataclasses
import hashlib
import math
import re
from pathlib import Path

import numpy as np
import pytest

from holoprop.experiments.reproduce.outcome import Table
from holoprop.experiments.reproduce.registry import EXPERIMENTS
from holoprop.report.interactive import scripts
from holoprop.report.markup import table
from holoprop.report.reproduction import hep_fig2c, hep_fig3ab
from holoprop.report.reproduction.headlines import HEADLINES, headline
from holoprop.report.reproduction.page import number, render_outcome_page, write_outcome_page
from tests.report.outcomes import outcome_of


@pytest.mark.parametrize("name", [each.name for each in EXPERIMENTS])
def test_pages_need_nothing_from_outside_and_say_what_failed(name: str, tmp_path: Path) -> None:
    page = write_outcome_page(outcome_of(name), tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    marked = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', marked) and "<nav" not in page
    # What runs are the scripts that the page's policy names, and nothing else.
    own = scripts() if "<details" in marked else []
    assert re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL) == own
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in own]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and re.findall(r"'sha256-([^']*)'", policy[1]) == hashes
    assert page.count(">FAILS<") == 2 and page.count(">holds<") == 1 and "1 of 3" in page and "2 claims fail" in page
    for text in (
        "A &lt;title&gt;",
        "cosine of &lt;all&gt;",
        "1 − 2.0·10⁻⁸",
        "2.5·10⁻⁴",
        "Side by side",
        "0.55",
        "83.4 s",
    ):
        assert text in page
    assert "<svg" in page and page == render_outcome_page(outcome_of(name))


def test_a_page_without_failures_says_reproduced() -> None:
    outcome = outcome_of("hep-fig2d")
    page = render_outcome_page(dataclasses.replace(outcome, claims=outcome.claims[:1]))
    assert "reproduced" in page and "FAILS" not in page and "claims fail" not in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        ("words", "words"),
        (24, "24"),
        (0.0, "0"),
        (3.0, "3"),
        (0.00025, "2.5·10⁻⁴"),
        (0.5512345, "0.5512"),
        (0.99999, "0.99999"),
        (1 - 1.1e-8, "1 − 1.1·10⁻⁸"),
    ],
)
def test_numbers_are_shown_as_a_person_reads_them(value, text) -> None:
    assert number(value) == text


def test_orbits_are_drawn_where_they_are() -> None:
    outcome = outcome_of("hep-fig2c")
    axes = hep_fig2c.pictures(outcome)[0].figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    orbit = 1e3 * outcome.arrays["orbits"][0]
    np.testing.assert_allclose(np.asarray(lines["orbit"].get_xdata())[:-1], orbit.real)
    np.testing.assert_allclose(np.asarray(lines["mean"].get_xdata()), [3.0])


def test_curves_of_figure_3a_are_the_medians() -> None:
    outcome = outcome_of("hep-fig3a")
    axes = hep_fig3ab.gradient_pictures(outcome)[0].figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    wanted = np.median(np.log10(outcome.arrays["lost"][1]), axis=0)
    np.testing.assert_allclose(np.asarray(lines["T_osc = 100"].get_ydata()), wanted)
    low, high = axes.get_ylim()
    assert low > high  # upwards is better


def test_every_experiment_has_a_number_that_stands_for_it() -> None:
    """Oracle: tables and claims made by hand."""
    assert set(HEADLINES) == {each.name for each in EXPERIMENTS}
    columns = ("β", "published", "here")
    table = Table("x", columns, [(0.01, 2e-6, 3e-6), (0.1, 5.4e-7, 7.7e-7)])
    found = dataclasses.replace(outcome_of("hep-fig2c"), tables=[table])
    assert headline(found) == ("relative error of the gradient, β = 0.1", "5.4·10⁻⁷", "7.7·10⁻⁷")
    # A smaller scale need not have the row.
    assert headline(dataclasses.replace(found, tables=[Table("x", columns, [(0.5, 1.0, 2.0)])]))[1:] == ("–", "–")
    sweep = outcome_of("hep-fig3c")
    assert headline(sweep)[1:] == ("0.9989", number(sweep.claims[0].value))


def test_columns_of_words_are_set_as_words() -> None:
    """The first column is a heading anyway; a dash or a digit makes a column one of numbers."""
    page = str(table(("angle", "way", "error", "best"), [("90", "circle", "1.2", "–"), ("0", "exact", "3.4", "a")]))
    assert re.findall(r'<t[hd][^>]*class="words"[^>]*>([^<]*)', page) == ["way", "circle", "exact"]

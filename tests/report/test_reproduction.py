"""Pages of experiments. Oracles: the numbers they were given, and that they need nothing from outside."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest

from holoprop.experiments.reproduce import jacobian_table1
from holoprop.experiments.reproduce.outcome import Claim, Outcome, Table
from holoprop.experiments.reproduce.registry import EXPERIMENTS
from holoprop.gradient.certificate import Verdict
from holoprop.report.reproduction import hep_fig2c, hep_fig3ab
from holoprop.report.reproduction.page import number, render_outcome_page, write_outcome_page
from holoprop.settling.rest import Status

PUBLISHED = np.array([[0.01, 0.9], [0.5, 0.95]])


def _arrays(name: str) -> dict[str, np.ndarray]:
    """Arrays of the shapes that the experiment returns."""
    rng = np.random.default_rng(0)
    unit = np.exp(2j * np.pi * np.arange(24) / 24)
    if name == "hep-fig2a":
        return {f"layer_{layer}": 7e-3 * unit[:, None] * rng.random(4) for layer in (1, 2)}
    if name == "hep-fig2b":
        residual = 10.0 ** rng.uniform(-11, 0, (7, 7))
        steps, status = np.full((7, 7), 200), np.where(residual < 1e-9, Status.settled, Status.max_steps)
        side = np.linspace(-1.5, 1.5, 7)
        plane = {"residual": residual, "steps": steps, "status": status, "free_status": np.zeros(1, np.int32)}
        return {"real": side, "imag": side, **plane}
    if name == "hep-fig2c":
        small = np.array([1e-5, 1e-6, 1e-7, 1e-5])
        return {
            "betas": np.array([0.001, 0.01, 0.1, 0.5]),
            "orbits": 3e-3 * (unit + 0.3 * unit**2)[None] * np.ones((4, 1)),
            "means": np.full(4, 3e-3),
            "gradient": np.array(3e-3),
            **{f"errors_{kind}": small for kind in ("float32", "float64", "one_point")},
            "published_errors": 2 * small,
            "published_one_point_errors": 2 * small,
        }
    if name == "hep-fig2d":
        betas = np.linspace(0.01, 2, 50)
        return {
            "betas": betas,
            "one_point": 1 - betas / 10,
            "circle": np.where(betas < 0.6, 1.0, 0.98),
            "verdicts": np.where(betas < 0.6, Verdict.ok, Verdict.outside_radius),
            "predicted": np.where(betas < 0.6, 1e-12, 1e6),
            "published_one_point": PUBLISHED,
            "published_circle": PUBLISHED,
        }
    if name in ("hep-fig3a", "hep-fig3b"):
        dwells = np.array([5, 10, 20])
        return {
            "dwells": dwells,
            "lost": 10.0 ** -(dwells[:, None, None] / 10 + np.arange(4) / 4 + rng.random((3, 5, 1))),
            "residuals": 10.0 ** -(1 + dwells[:, None] / 10 + rng.random((3, 5))),
            "published_dwells": dwells,
            "published_periods": np.array([1, 3, 10, 40]),
            "published_lost": np.array([[0.1, 0.01, 1e-3, 0.0]] * 3),
            "published_residuals": 10.0 ** -(1 + dwells / 10),
        }
    if name == "hep-fig3c":
        betas = np.linspace(0.01, 4, 6)
        return {
            "betas": betas,
            "one_point": np.full((2, 6), 0.9),
            "circle": np.full((2, 6), 0.999),
            "automatic": np.full((2, 3), 0.998),
            "automatic_radius": rng.uniform(0.5, 2, (2, 10)),
            "published_one_point": PUBLISHED,
            "published_circle": PUBLISHED,
        }
    if name in ("hep-fig4a", "hep-fig4b"):
        kinds, points = (
            (["holomorphic"] * 3 + ["hard"], [1, 2, 4, 2]) if name == "hep-fig4a" else (["holomorphic"] * 3, [1, 2, 4])
        )
        betas = np.array([0.01, 0.1, 1.0])
        cosine = 1 - 10.0 ** rng.uniform(-9, -1, (len(kinds), 3))
        return {
            "betas": betas,
            "kinds": np.array(kinds),
            "points": np.array(points),
            "cosine": cosine,
            "layers": np.repeat(cosine[..., None], 7, -1),
        }
    if name == "calibration":
        error = 10.0 ** rng.uniform(-15, 0, 40)
        error[:2] = 0.0, np.nan
        verdict = np.arange(40) % 6
        return {"error": error, "predicted": 2 * error, "verdict": verdict, "points": np.repeat([4, 8], 20)}
    if name == "automatic-circle-mnist":
        return {
            "points": np.array([4, 10]),
            "steps": np.arange(0, 600, 100),
            "automatic": 10.0 ** rng.uniform(-9, -6, (2, 6)),
            "fixed": 10.0 ** rng.uniform(-4, 0, (2, 6)),
            "radii": np.sort(10.0 ** rng.uniform(-2, 0, (2, 6, 3)), axis=-1),
        }
    if name == "exact-without-symmetry":
        points = np.array([2, 4, 16])
        return {
            "points": points,
            "corrected": 10.0 ** -(points / 1.5 + np.arange(3)[:, None]),
            "plain": np.full((3, 3), 0.4),
        }
    if name == "hep-table1":
        return {"methods": np.array(["one point, β = 0.1", "circle"]), "error": rng.uniform(2, 90, (2, 2, 3, 5))}
    if name == "jacobian-fig2":
        time = np.arange(400)
        return {
            "points": np.array([1, 2, 4, 8]),
            "betas": np.geomspace(0.01, 1, 4),
            "errors": 10.0 ** rng.uniform(-16, 0, (4, 4)),
            "raw": 0.3 + 0.1 * np.cos(time / 13),
            "average": 0.3 + 0.1 / (1 + time),
            "free": np.array(0.3),
        }
    if name == "jacobian-table1":
        return {
            "rows": np.array(jacobian_table1.ROWS),
            "error": rng.uniform(10, 30, (11, 2, 4)),
        }
    if name.startswith("jacobian-fig"):
        runs = (2, 3, 2) if name == "jacobian-fig3" else (4, 2)  # algorithms, angles, seeds; or ways to train, seeds
        error = rng.uniform(10, 30, (*runs, 4))
        error[..., 0] = np.nan
        return {
            "angles": np.array([0, 45, 90]),
            "kinds": np.array(["generalised", "homeostasis 1", "corrected", "exact"]),
            "error": error,
            "angle": rng.uniform(0, 90, (*runs, 4)),
            "measure": rng.uniform(0.5, 1, (*runs, 4)),
            "alignment": rng.uniform(-0.2, 1, (*runs, 4, 3)),
        }
    fixed = 10.0 ** rng.uniform(-12, -1, (3, 2, 2, 12))
    fixed[0, 0, 0, -1] = np.nan
    return {
        "radii": np.geomspace(1e-3, 1.6, 12),
        "points": np.array([2, 4]),
        "settings": np.array(["float64", "noise"]),
        "fixed": fixed,
        "automatic": fixed.min(-1, where=np.isfinite(fixed), initial=1) * 2,
        "lowest_radius": np.full((3, 2, 2), 0.01),
        "highest_radius": np.full((3, 2, 2), 0.1),
    }


def _outcome(name: str) -> Outcome:
    claims = [
        Claim("cosine of <all>", 0.99999998, "≥", 0.99999, "by hand"),
        Claim("error", 2.5e-4, "≤", 1e-5, "by hand"),
        Claim("unknown", math.nan, "≤", 1.0, "by hand"),
    ]
    tables = [Table("Side by side", ("β", "published", "here"), [(0.001, 0.55, 0.25), ("automatic", None, 3e-7)])]
    settings, environment = (
        {"points N": 24, "seed": None},
        {"jax": "0.10", "x64": False, "date": "2026-11-21T08:00:00Z"},
    )
    return Outcome(name, "A <title>", "P1", "small", settings, claims, tables, _arrays(name), 83.4, environment)


@pytest.mark.parametrize("name", [each.name for each in EXPERIMENTS])
def test_pages_need_nothing_from_outside_and_say_what_failed(name: str, tmp_path: Path) -> None:
    page = write_outcome_page(_outcome(name), tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page) and "<script" not in page and "<nav" not in page
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
    assert "<svg" in page and page == render_outcome_page(_outcome(name))


def test_a_page_without_failures_says_reproduced() -> None:
    outcome = _outcome("hep-fig2d")
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
    outcome = _outcome("hep-fig2c")
    axes = hep_fig2c.pictures(outcome)[0].figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    orbit = 1e3 * outcome.arrays["orbits"][0]
    np.testing.assert_allclose(np.asarray(lines["orbit"].get_xdata())[:-1], orbit.real)
    np.testing.assert_allclose(np.asarray(lines["mean"].get_xdata()), [3.0])


def test_curves_of_figure_3a_are_the_medians() -> None:
    outcome = _outcome("hep-fig3a")
    axes = hep_fig3ab.gradient_pictures(outcome)[0].figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    wanted = np.median(np.log10(outcome.arrays["lost"][1]), axis=0)
    np.testing.assert_allclose(np.asarray(lines["T_osc = 100"].get_ydata()), wanted)
    low, high = axes.get_ylim()
    assert low > high  # upwards is better

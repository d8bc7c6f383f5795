"""Outcomes of every experiment made by hand: arrays of the shapes that it returns, a claim of each kind, a table."""

import math

import numpy as np

from holoprop.experiments.reproduce import during_training, hep_fig4c, hep_table2, jacobian_table1
from holoprop.experiments.reproduce.outcome import Claim, Outcome, Table
from holoprop.gradient.certificate import Verdict
from holoprop.settling.rest import Status

PUBLISHED = np.array([[0.01, 0.9], [0.5, 0.95]])


def arrays_of(name: str) -> dict[str, np.ndarray]:
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
    if name == "hep-fig4c":
        kinds = np.array(hep_fig4c.KINDS)
        return {"kinds": kinds, **{part: rng.uniform(2, 90, (3, 2, 5)) for part in ("error", "train_error")}}
    if name.startswith("hep-table2"):
        methods = np.array(hep_table2.METHODS)
        return {"methods": methods, **{part: rng.uniform(2, 90, (2, 2, 5)) for part in ("error", "train_error")}}
    if name.startswith("jacobian-table2"):
        rows = np.array(["circle", "circle, homeostasis", "corrected", "circle", "symmetric"])
        return {"rows": rows, "from": np.array([90, 90, 90, 0, 0]), "error": rng.uniform(2, 90, (5, 2, 4))}
    if name == "jacobian-fig4il":
        parts = {part: rng.uniform(0, 1, (2, 2, 4)) for part in ("error", "angle")}
        rows = np.array(["infinitesimal", "infinitesimal, homeostasis"])
        return {"rows": rows, "alignment": rng.uniform(0, 1, (2, 2, 4, 4)), **parts}
    if name == "corrected-training":
        off = {part: 10.0 ** rng.uniform(-9, -3, (2, 2, 5)) for part in ("off", "off_fixed")}
        courses = {"apart": 10.0 ** rng.uniform(-9, -3, (2, 2, 3, 5)), "error": rng.uniform(10, 20, (2, 2, 3, 5))}
        return {"networks": np.array(["loop", "other"]), **off, **courses}
    if name == "cosine-in-training":
        names = np.array(list(during_training.ESTIMATORS))
        return {"estimators": names, "lost": 10.0 ** rng.uniform(-9, 0, (len(names), 5))}
    if name == "settling-in-training":
        return {"solvers": np.array(list(during_training.SOLVERS)), "sweeps": rng.uniform(5, 90, (3, 5))}
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


def outcome_of(name: str) -> Outcome:
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
    return Outcome(name, "A <title>", "P1", "small", settings, claims, tables, arrays_of(name), 83.4, environment)

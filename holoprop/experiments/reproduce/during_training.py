"""What training does to a network's gradients and rest states: every estimator and every solver, after each epoch.

One network learns MNIST, by the automatic circle; along its way all estimators are asked for the gradient of the same
images, and all solvers for the same rest states. Training shrinks the radius of convergence and slows settling, which
neither P1 nor P2 shows: accuracies of single epochs hide it.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from holoprop.experiments.building import Experiment
from holoprop.experiments.config import Config
from holoprop.experiments.reproduce.exact_reference import exact_gradient_near
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.preset_courses import preset_course, preset_with
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner
from holoprop.gradient.agreement import alignment
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.finite_difference import Centered, OneSided
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.oscillation import Oscillation
from holoprop.gradient.stencil import Stencil
from holoprop.gradient.unrolled import Unrolled
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.plain import Alternating, Picard
from holoprop.settling.rest import UnsettledError
from holoprop.settling.run import settle
from holoprop.settling.solver import AbstractSolver

_KEEP: dict[str, Any] = {"unsettled": "keep"}
ESTIMATORS: dict[str, AbstractEstimator] = {
    "one point, β = 0.4": OneSided(beta=0.4, **_KEEP),
    "one point, β = 0.01": OneSided(beta=0.01, **_KEEP),
    "two points, β = 0.4": Centered(beta=0.4, **_KEEP),
    "circle, N = 10, β = 0.4": Holomorphic(points=10, radius=0.4, **_KEEP),
    "circle, N = 4, automatic": Holomorphic(points=4, **_KEEP),
    "four real nudges, β ≤ 0.1": Stencil(points=4, beta=0.1, **_KEEP),
    "oscillation, N = 10, β = 0.4": Oscillation(points=10, radius=0.4, dwell=30, periods=3, **_KEEP),
    "100 unrolled steps": Unrolled(steps=100, **_KEEP),
}
"""The estimators that are compared, with P1's nudges and others."""
SOLVERS: dict[str, AbstractSolver] = {
    "plain": Picard(tolerance=1e-4, max_steps=2000),
    "alternating": Alternating(tolerance=1e-4, max_steps=2000),
    "Anderson": Anderson(tolerance=1e-4, max_steps=2000),
}
"""Plain steps as the papers take them, layers in turn, and the accelerated ones, which are the default."""
AUTOMATIC = "circle, N = 4, automatic"
"""The estimator that is claimed to stay exact, by its name."""
_P1 = "circle, N = 10, β = 0.4"
_FEW = ("one point, β = 0.4", _P1, AUTOMATIC)
_IMAGES = 20


@dataclasses.dataclass(frozen=True)
class _Size:
    epochs: int
    train: int
    estimators: tuple[str, ...] = tuple(ESTIMATORS)


_SIZES: dict[Scale, _Size] = {
    "smoke": _Size(1, 200, _FEW),
    "small": _Size(10, 10_000),
    "paper": _Size(50, 60_000),
}


def run_cosines(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Compare every estimator's gradient with the exact one; arrays are `(estimators, epochs + 1)`."""
    (arrays,) = runner.parts(cosines, [{"seed": seed or 0, "scale": scale}], long=True)
    names = _SIZES[scale].estimators
    arrays["estimators"] = np.array(names)
    # An estimate that is not even a number lacks all there is; without an exact gradient nothing is known of any.
    known = ~np.isnan(arrays["lost"]).all(0)
    counted = np.nan_to_num(arrays["lost"][:, known], nan=1.0) if known.any() else np.full((len(names), 1), np.nan)
    lost = dict(zip(names, counted, strict=True))
    source = "this project"
    claims = [
        Claim(
            "1 − cosine of the automatic circle of four points, worst of all epochs",
            float(np.max(lost[AUTOMATIC])),
            "≤",
            1e-3,
            source,
        ),
        Claim(
            "one point at β = 0.4: 1 − cosine at its worst over that of the automatic circle at its worst",
            float(np.max(lost["one point, β = 0.4"]) / np.max(lost[AUTOMATIC])),
            "≥",
            10.0,
            source,
        ),
    ]
    if scale != "smoke":
        claims.append(
            Claim(
                "log10 of 1 − cosine of the automatic circle less that of P1's fixed ten points, mean over epochs",
                float(np.mean(_logarithm(lost[AUTOMATIC]) - _logarithm(lost[_P1]))),
                "<",
                0.0,
                source,
            )
        )
    columns = ("estimator", "before training", "after one epoch", "after the last", "worst")
    rows = [
        (name, *(float(each[k]) for k in (0, min(1, len(each) - 1), -1)), float(each.max()))
        for name, each in lost.items()
    ]
    table = Table("1 − cosine to the exact gradient while a network learns", columns, rows)
    settings = _settings(scale, seed) | {"epochs left out": f"{int((~known).sum())}, for want of an exact gradient"}
    return Findings(settings, claims, [table, _accuracy(arrays)], arrays)


def run_settling(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Count what every solver needs to rest; arrays are `(solvers, epochs + 1)`."""
    (arrays,) = runner.parts(settling, [{"seed": seed or 0, "scale": scale}], long=True)
    arrays["solvers"] = np.array(list(SOLVERS))
    sweeps = dict(zip(SOLVERS, arrays["sweeps"], strict=True))
    claims = [
        Claim(
            "plain steps over accelerated ones, the fewest of all epochs",
            float((sweeps["plain"] / sweeps["Anderson"]).min()),
            "≥",
            1.5,
            "this project",
        ),
        Claim(
            "share of images that accelerated steps bring to rest, percent, lowest of all epochs",
            float(100 * arrays["settled"][list(SOLVERS).index("Anderson")].min()),
            "≥",
            100.0,
            "this project",
        ),
    ]
    if scale != "smoke":
        claims.append(
            Claim(
                "plain steps to rest after training over those before: settling slows down",
                float(sweeps["plain"][-1] / sweeps["plain"][0]),
                ">",
                1.0,
                "P1 (arXiv 2209.00530), residuals of its learning curves rise",
            )
        )
    columns = ("solver", "before training", "after one epoch", "after the last", "at rest then", "worst")
    rows = [
        (
            name,
            *(f"{sweeps[name][k]:.1f}" for k in (0, 1, -1)),
            f"{100 * arrays['settled'][s, -1]:.0f} %",
            f"{100 * arrays['settled'][s].min():.0f} %",
        )
        for s, name in enumerate(SOLVERS)
    ]
    table = Table("Steps to rest, mean over images; an alternating step updates every layer once", columns, rows)
    return Findings(_settings(scale, seed), claims, [table, _accuracy(arrays)], arrays)


def cosines(report: Report, *, seed: int, scale: Scale, folder: Path | None = None) -> Arrays:
    """Return `1 − cosine` to the exact gradient of every estimator before training and after each epoch.

    NaN of all of them where some image comes to no rest state, so that there is no exact gradient.
    """
    names = _SIZES[scale].estimators

    def measure(net: LayeredNetwork, experiment: Experiment) -> dict[str, float]:
        x, y = _images(experiment)
        rest = settle(net, x, solver=Anderson(tolerance=1e-5))
        try:
            exact = exact_gradient_near(net, x, y, rest.state)
        except UnsettledError:
            return dict.fromkeys(names, float("nan"))
        return {name: 1 - alignment(ESTIMATORS[name](net, x, y).gradient, exact).total.cosine for name in names}

    course = preset_course(_config(seed, scale), report, folder, measure)
    return {"lost": np.stack([course[name] for name in names]), "error": course["error"], "seconds": course["seconds"]}


def settling(report: Report, *, seed: int, scale: Scale, folder: Path | None = None) -> Arrays:
    """Return the mean steps to rest, and the share of images at rest, of every solver, before and after each epoch."""

    def measure(net: LayeredNetwork, experiment: Experiment) -> dict[str, float]:
        x, _ = _images(experiment)
        rests = {name: settle(net, x, solver=solver) for name, solver in SOLVERS.items()}
        steps = {f"{name} sweeps": float(rest.steps.mean()) for name, rest in rests.items()}
        return steps | {f"{name} settled": float(rest.settled.mean()) for name, rest in rests.items()}

    course = preset_course(_config(seed, scale), report, folder, measure)
    counts = {kind: np.stack([course[f"{name} {kind}"] for name in SOLVERS]) for kind in ("sweeps", "settled")}
    return {**counts, "error": course["error"], "seconds": course["seconds"]}


def _images(experiment: Experiment) -> tuple[Array, Array]:
    x, y = experiment.samples(experiment.test, slice(_IMAGES))
    return jnp.asarray(x), jnp.asarray(y)


def _logarithm(lost: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(lost, 1e-16))


def _config(seed: int, scale: Scale) -> Config:
    size = _SIZES[scale]
    changes: dict[str, Any] = {"training.epochs": size.epochs, "data.train_limit": size.train, "training.seed": seed}
    if scale == "smoke":
        changes["data.test_limit"] = 500
    return preset_with("mnist-mlp", changes | {"estimator.points": 4, "estimator.radius": "auto"})


def _settings(scale: Scale, seed: int | None) -> dict[str, object]:
    size = _SIZES[scale]
    return {
        "preset": "mnist-mlp, trained with the automatic circle of four points",
        "data": f"MNIST, {size.train} training samples; measured on the first {_IMAGES} test images",
        "training": f"{size.epochs} epochs",
        "seed": seed or 0,
        "precision": "float32; the exact gradient and the cosine in float64",
    }


def _accuracy(arrays: Arrays) -> Table:
    error = arrays["error"]
    best = int(np.nanargmin(error))
    return Table(
        "Test error of the network, percent",
        ("last epoch", "best epoch", "that was epoch"),
        [(f"{error[-1]:.2f}", f"{error[best]:.2f}", best)],
    )

"""P1's Figure 2d: cosine to the true gradient against the nudge, for the classic one-point estimate and 30 points.

The one-point estimate departs from the true gradient at once; the circle is exact up to the radius of convergence, near
0.6 here, and falls behind it. The certificate says so without knowing the true gradient. Beyond the radius some points
do not come to rest, and what is found there depends on the time steps taken: as published 100, from the free state.
"""

import jax
import numpy as np

from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Report
from holoprop.experiments.reproduce.toy import toy_gradient, toy_network
from holoprop.gradient.agreement import alignment
from holoprop.gradient.certificate import Verdict
from holoprop.gradient.finite_difference import OneSided
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.settling.time_stepping import TimeSteps

POINTS = 30
STEPS = 100
EXACT = 0.99999
"""The cosine above which the circle counts as exact."""

_BETAS = np.linspace(0.01, 2, 50)
_ONE_POINT = {0.01: 0.9998, 0.21: 0.9865, 0.42: 0.9444, 0.58: 0.892, 0.90: 0.811}
_CIRCLE = {0.01: 1.0, 0.21: 1.0, 0.42: 1.0, 0.58: 1.0, 0.62: 0.9973, 0.90: 0.978}


def run(scale: Scale, seed: int | None, report: Report) -> Findings:
    """Sweep the nudge over 0.01 … 2; at `smoke` up to 0.9 only.

    Network and sample are the published ones, so `seed` changes nothing.
    """
    del seed
    truth = toy_gradient()
    betas = _BETAS[_BETAS < 0.92] if scale == "smoke" else _BETAS
    one, circle, verdicts, limits, predicted = [], [], [], [], []
    with jax.enable_x64(True):
        net, x, y = toy_network(np.float64)
        steps = TimeSteps(STEPS)
        for beta in betas.tolist():
            single = OneSided(beta=beta, solver=steps, unsettled="keep")(net, x, y)
            around = Holomorphic(points=POINTS, radius=beta, solver=steps, unsettled="keep")(net, x, y)
            one.append(alignment(single.gradient, truth).total.cosine)
            circle.append(alignment(around.gradient, truth).total.cosine)
            verdicts.append(int(around.certificate.verdict[0]))
            predicted.append(float(around.certificate.predicted_error[0]))
            spectrum = around.certificate.spectrum
            limits.append(float("nan") if spectrum is None else float(spectrum.radius_of_convergence[0]))
    report(f"{len(betas)} nudges")
    verdict = np.array(verdicts)
    arrays = {
        "betas": betas,
        "one_point": np.array(one),
        "circle": np.array(circle),
        "verdicts": verdict,
        "predicted": np.array(predicted),
        "limits": np.array(limits),
        "published_one_point": np.array(list(_ONE_POINT.items())),
        "published_circle": np.array(list(_CIRCLE.items())),
    }
    settings = {
        "network": "6-4-4-4, sigmoid(4z − 2), the published weights and sample",
        "points N": POINTS,
        "time steps": f"{STEPS} free, and {STEPS} from there at each point",
        "precision": "float64",
        "nudges": f"{len(betas)} from {betas[0]:g} to {betas[-1]:.3g}",
    }
    return Findings(settings, _claims(arrays), [_table(arrays)], arrays)


def _claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    betas, cosines, verdicts = arrays["betas"], arrays["circle"], arrays["verdicts"]
    source = "limit: this project; P1 Fig. 2d, published result files"
    inside = betas < 0.585
    falls = int(np.argmax(cosines < EXACT))
    warned = np.flatnonzero(verdicts == Verdict.outside_radius)
    first = betas[warned[0]] if warned.size else np.nan
    # The published nudges are those of the grid, to two digits.
    known = [float(arrays["one_point"][_nearest(betas, beta)]) for beta in _ONE_POINT]
    around = [float(cosines[_nearest(betas, beta)]) for beta in _CIRCLE]
    return [
        Claim(f"smallest cosine of {POINTS} points up to β = 0.58", float(cosines[inside].min()), "≥", EXACT, source),
        Claim(
            "smallest cosine from there to β = 0.9: visibly falling",
            float(cosines[~inside & (betas < 0.92)].min()),
            "≤",
            0.98,
            source,
        ),
        Claim(
            f"|first β called outside the radius − first β with a cosine below {EXACT}| (the grid's step is 0.04)",
            float(abs(first - betas[falls])),
            "≤",
            0.01,
            "this project",
        ),
        Claim(
            "nudges from there on that the certificate calls ok",
            float((verdicts[falls:] == Verdict.ok).sum()),
            "≤",
            0.0,
            "this project",
        ),
        Claim(
            "largest deviation of the one-point cosine from the published one",
            max(abs(a - b) for a, b in zip(known, _ONE_POINT.values(), strict=True)),
            "≤",
            0.003,
            "P1 Fig. 2d, published result files",
        ),
        Claim(
            f"the same of {POINTS} points, inside the radius and beyond it",
            max(abs(a - b) for a, b in zip(around, _CIRCLE.values(), strict=True)),
            "≤",
            1e-4,
            "limit: this project, the published digits; P1 Fig. 2d, published result files",
        ),
        Claim(
            "cosine at β = 0.62 (published 0.9973)",
            float(cosines[_nearest(betas, 0.62)]),
            "<",
            0.998,
            "P1 Fig. 2d, published result files",
        ),
    ]


def _nearest(betas: np.ndarray, beta: float) -> int:
    return int(np.abs(betas - beta).argmin())


def _table(arrays: dict[str, np.ndarray]) -> Table:
    betas = arrays["betas"]
    rows = []
    for beta, published in _CIRCLE.items():
        at = _nearest(betas, beta)
        rows.append(
            (
                f"{betas[at]:.3f}",
                f"{published:.4f}",
                f"{arrays['circle'][at]:.4f}",
                f"{_ONE_POINT[beta]:.4f}" if beta in _ONE_POINT else None,
                f"{arrays['one_point'][at]:.4f}",
                Verdict(int(arrays["verdicts"][at])).words,
            )
        )
    columns = ("β", f"{POINTS} points, published", "here", "one point, published", "here", "the certificate says")
    return Table("Cosine to the true gradient, at the nudges whose published values are known", columns, rows)

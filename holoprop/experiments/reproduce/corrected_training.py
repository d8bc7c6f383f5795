"""Training by the corrected circle is training by the exact gradient, without weight symmetry.

Networks that begin as one and see the same batches: one trained by the implicit gradient, one by the circle with
`(Jᵀ − J)(s − s_0)` in the nudged phase, and, for what such a comparison can tell, one more by the implicit gradient
from weights that are 1e-7 off. A loop learns chaotically: two exact courses part within an epoch, so that the distance
of the weights, which is drawn, claims nothing. What does is the gradient itself, compared along the exact course.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np

from holoprop.experiments.reproduce.courses import BATCH, Data, Extent, errors_of, samples, trained
from holoprop.experiments.reproduce.jacobian_fig4 import PANELS
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner
from holoprop.gradient.agreement import alignment
from holoprop.gradient.certificate import Verdict
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import Implicit
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.train.loop import fit

NETWORKS = {"loop": "e-h", "feedback at 90 degrees": "a-d"}
"""The panels of P2's Figure 4 that the networks and their optimisers are of."""
KINDS = ("exact", "exact, begun 1e-7 off", "corrected")
_OFF = 1e-7
"""Standard deviation of the factors, less one, that the second course's weights begin multiplied by."""
_SOLVER = Anderson(tolerance=1e-9, max_steps=2000)
"""With steps enough for all: a sample that one of the courses left out would part them."""
_POINTS, _RADIUS = 4, 0.02
"""A small circle: in double precision rounding leaves room for it, and its aliasing is 1e-7 where the sample is not so
near to losing its rest state that even this circle is too large, as its certificate then says."""
_COMPARED = 200
"""Test samples that gradients are compared on."""


@dataclasses.dataclass(frozen=True)
class _Size(Extent):
    layers: tuple[int, ...] = (256, 256, 10)
    networks: tuple[str, ...] = tuple(NETWORKS)
    rate: float = 1.0


_SIZES: dict[Scale, _Size] = {
    "smoke": _Size(1, 1000, 200, 1, (16, 12, 10), ("loop",), 20.0),
    "small": _Size(10, None, None, 2, networks=("loop",)),
    "paper": _Size(50, None, None, 5),
}


def run(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Train all; arrays are `(networks, seeds, epochs + 1)`, `error` and `apart` `(networks, seeds, kinds, …)`."""
    size, numbers = _SIZES[scale], runner.seeds(seed, _SIZES[scale].seeds)
    arrays = trained(
        runner,
        train_courses,
        [{"network": network, "seed": each, "scale": scale} for network in size.networks for each in numbers],
        (len(size.networks), len(numbers)),
    )
    arrays["networks"] = np.array(size.networks)
    settings = {
        "network": f"784-{'-'.join(map(str, size.layers))}, sigmoid(4z − 2), 10×10 readout",
        "data": f"Fashion-MNIST, {samples(size.train, size.test)}",
        "training": f"{size.epochs} epochs, batches of {BATCH}, the optimisers of P2's Figure 4",
        "corrected": f"{_POINTS} points, radius {_RADIUS:g}",
        "exact": "the implicit gradient, matrix-free",
        "gradients": f"of {_COMPARED} test samples, at the weights of the exact course before training and after each "
        f"epoch; automatic radius: {_POINTS} points, sample by sample",
        "withdrawn": "the claim that the corrected weights stay within 1 % of the exact course's: they ended 57 % "
        "apart, and so do two exact courses begun 1e-7 apart, which are drawn beside it",
        "seeds": ", ".join(map(str, numbers)),
        "precision": f"float64, residuals of {_SOLVER.tolerance:g}",
    }
    return Findings(settings, _claims(arrays), [_table(arrays), _gradients(arrays)], arrays)


def train_courses(report: Report, *, network: str, seed: int, scale: Scale) -> Arrays:
    """Train a network in every way.

    **Returns:** `error`, of the test samples, and `apart`, the relative distance of the weights from those of the exact
    course, `(kinds, epochs + 1)`; `off`, `off_fixed`, the relative error of the corrected gradient with the automatic
    radius and with the one that is trained with, and `outside`, the share of samples whose certificate says that they
    are outside the latter's radius of convergence, `(epochs + 1,)`; `unsettled`, `(kinds, epochs)`.
    """
    size, panel = _SIZES[scale], PANELS[NETWORKS[network]]
    exact = Implicit(solver=_SOLVER, dense_limit=0, tolerance=1e-9)
    fixed, automatic = (
        Holomorphic(points=_POINTS, radius=radius, solver=_SOLVER, nudged_solver=_SOLVER, asymmetry="correct")
        for radius in (_RADIUS, "auto")
    )
    with jax.enable_x64(True):
        loaded = Data.load(size.train, size.test)
        train, test = ((x.astype(np.float64), y) for x, y in (loaded.train, loaded.test))
        first = panel.build(size.layers)(jax.random.key(seed))
        begun: dict[str, tuple[LayeredNetwork, AbstractEstimator]] = {
            "exact": (first, exact),
            "exact, begun 1e-7 off": (_nearly(first, seed), exact),
            "corrected": (first, fixed),
        }
        # One object for all, or each course compiles its step anew.
        optimizer = panel.optimizer(size.rate * panel.rate)
        courses = {kind: [jax.tree.map(np.asarray, net)] for kind, (net, _) in begun.items()}
        errors, unsettled = [], []
        for kind in KINDS:
            net, estimator = begun[kind]

            def examine(net: LayeredNetwork, kind: str = kind) -> dict[str, Any]:
                # On the host, and only as long as it takes to compare them.
                courses[kind].append(jax.tree.map(np.asarray, net))
                report(f"{network}, seed {seed}, {kind}: epoch {len(courses[kind]) - 1} of {size.epochs} is over")
                return {}

            history = fit(
                net,
                estimator,
                optimizer,
                train,
                epochs=size.epochs,
                batch_size=BATCH,
                seed=seed,
                test=test,
                examine=examine,
            ).history
            errors.append([np.nan, *(100 * (1 - record["test_accuracy"]) for record in history)])
            unsettled.append([record["unsettled"] for record in history])
        apart = [
            [_distance(mine, true) for mine, true in zip(courses[kind], courses["exact"], strict=True)]
            for kind in KINDS
        ]
        x, y = test[0][:_COMPARED], test[1][:_COMPARED]
        compared = []
        for net in courses["exact"]:
            truth = exact(net, x, y).gradient
            estimates = [estimator(net, x, y) for estimator in (automatic, fixed)]
            outside = np.mean(np.asarray(estimates[1].certificate.verdict) == Verdict.outside_radius)
            compared.append([*(_distance(estimate.gradient, truth) for estimate in estimates), outside])
    off, off_fixed, outside = np.array(compared).T
    return {
        "apart": np.array(apart),
        "error": np.array(errors),
        "unsettled": np.array(unsettled),
        "off": off,
        "off_fixed": off_fixed,
        "outside": outside,
    }


def _nearly(net: LayeredNetwork, seed: int) -> LayeredNetwork:
    """Return the network with every weight multiplied by a random factor near to 1."""
    weights, rest = eqx.partition(net, eqx.is_inexact_array)
    rng = np.random.default_rng(seed)
    return eqx.combine(jax.tree.map(lambda w: w * (1 + _OFF * rng.standard_normal(w.shape)), weights), rest)


def _distance(mine: LayeredNetwork, true: LayeredNetwork) -> float:
    return alignment(mine, true).total.relative_error


def _claims(arrays: Arrays) -> list[Claim]:
    last = arrays["error"][..., -1]
    return [
        Claim(
            "test error after the last epoch, corrected from exact, in points, worst seed",
            float(np.abs(last[..., 2] - last[..., 0]).max()),
            "≤",
            0.5,
            "this project",
        ),
        Claim(
            "relative error of the corrected gradient along the exact course, automatic radius, worst of all epochs",
            float(arrays["off"].max()),
            "≤",
            1e-4,
            "this project",
        ),
    ]


def _table(arrays: Arrays) -> Table:
    rows = []
    for n, network in enumerate(arrays["networks"].tolist()):
        for k, kind in enumerate(KINDS):
            last, best = errors_of(arrays["error"][n, :, k])
            apart = f"{arrays['apart'][n, :, k, -1].max():.1e}" if k else None
            unsettled = f"{100 * arrays['unsettled'][n, :, k].max():.2f} %"
            rows.append((network, kind, last, best, apart, unsettled, f"{arrays['seconds'][n].mean() / 60:.1f}"))
    columns = (
        "network",
        "training",
        "test error, last (%)",
        "best (%)",
        "weights from exact, worst seed",
        "most unsettled",
        "minutes, all three",
    )
    return Table("After training; means over seeds, ± their standard deviation", columns, rows)


def _gradients(arrays: Arrays) -> Table:
    rows = [
        (
            network,
            f"{arrays['off'][n].max():.1e}",
            f"{np.median(arrays['off_fixed'][n]):.1e}",
            f"{arrays['off_fixed'][n].max():.1e}",
            f"{100 * arrays['outside'][n].max():.1f} %",
        )
        for n, network in enumerate(arrays["networks"].tolist())
    ]
    columns = (
        "network",
        "automatic radius, worst",
        f"radius {_RADIUS:g}, median",
        "worst",
        "samples that its certificate says are outside the radius of convergence, most",
    )
    return Table("Relative error of the corrected gradient along the exact course, of all epochs", columns, rows)

"""Training by the corrected circle is training by the exact gradient: weight for weight, without weight symmetry.

Two networks that begin as one and see the same batches, one trained by the circle with `(Jᵀ − J)(s − s_0)` in the
nudged phase, the other by the implicit gradient. In double precision the two gradients are equal to seven digits, so
that what is left between the networks is what learning makes of the eighth.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from holoprop.experiments.reproduce.courses import BATCH, Data, Extent, errors_of, samples, seeds_from, trained
from holoprop.experiments.reproduce.jacobian_fig4 import PANELS
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner
from holoprop.gradient.agreement import alignment
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import Implicit
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.train.loop import fit

NETWORKS = {"loop": "e-h", "feedback at 90 degrees": "a-d"}
"""The panels of P2's Figure 4 that the networks and their optimisers are of."""
_SOLVER = Anderson(tolerance=1e-9, max_steps=2000)
"""With steps enough for all: a sample that one of the two left out would part them."""
_POINTS, _RADIUS = 4, 0.02
"""A small circle: in double precision rounding leaves room for it, and its aliasing is 1e-7."""


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
    """Train the pairs; arrays are `(networks, seeds, epochs + 1)`, of errors `(networks, seeds, 2, epochs + 1)`."""
    size, numbers = _SIZES[scale], seeds_from(seed, _SIZES[scale].seeds)
    arrays = trained(
        runner,
        train_pair,
        [{"network": network, "seed": each, "scale": scale} for network in size.networks for each in numbers],
        (len(size.networks), size.seeds),
    )
    arrays["networks"] = np.array(size.networks)
    settings = {
        "network": f"784-{'-'.join(map(str, size.layers))}, sigmoid(4z − 2), 10×10 readout",
        "data": f"Fashion-MNIST, {samples(size.train, size.test)}",
        "training": f"{size.epochs} epochs, batches of {BATCH}, the optimisers of P2's Figure 4",
        "corrected": f"{_POINTS} points, radius {_RADIUS:g}",
        "exact": "the implicit gradient, matrix-free",
        "seeds": ", ".join(map(str, numbers)),
        "precision": f"float64, residuals of {_SOLVER.tolerance:g}",
    }
    return Findings(settings, _claims(arrays), [_table(arrays)], arrays)


def train_pair(report: Report, *, network: str, seed: int, scale: Scale) -> Arrays:
    """Train two networks that begin as one; return the relative distance of their weights, and their test errors."""
    size, panel = _SIZES[scale], PANELS[NETWORKS[network]]
    estimators: dict[str, AbstractEstimator] = {
        "exact": Implicit(solver=_SOLVER, dense_limit=0, tolerance=1e-9),
        "corrected": Holomorphic(
            points=_POINTS, radius=_RADIUS, solver=_SOLVER, nudged_solver=_SOLVER, asymmetry="correct"
        ),
    }
    with jax.enable_x64(True):
        loaded = Data.load(size.train, size.test)
        train, test = ((x.astype(np.float64), y) for x, y in (loaded.train, loaded.test))
        courses: dict[str, list[LayeredNetwork]] = {}
        errors, unsettled = [], []
        for kind, estimator in estimators.items():
            net = panel.build(size.layers)(jax.random.key(seed))
            courses[kind] = [net]

            def examine(net: LayeredNetwork, kind: str = kind) -> dict[str, Any]:
                # On the host, and only as long as it takes to compare them.
                courses[kind].append(jax.tree.map(np.asarray, net))
                report(f"{network}, seed {seed}, {kind}: epoch {len(courses[kind]) - 1} of {size.epochs} is over")
                return {}

            history = fit(
                net,
                estimator,
                panel.optimizer(size.rate * panel.rate),
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
            alignment(mine, true).total.relative_error
            for mine, true in zip(courses["corrected"], courses["exact"], strict=True)
        ]
    return {"apart": np.array(apart), "error": np.array(errors), "unsettled": np.array(unsettled)}


def _claims(arrays: Arrays) -> list[Claim]:
    last = arrays["error"][..., -1]
    return [
        Claim(
            "test error after the last epoch, corrected from exact, in points, worst seed",
            float(np.abs(last[..., 1] - last[..., 0]).max()),
            "≤",
            0.5,
            "this project",
        ),
        Claim(
            "relative distance of their weights then, worst seed",
            float(arrays["apart"][..., -1].max()),
            "≤",
            0.01,
            "this project",
        ),
    ]


def _table(arrays: Arrays) -> Table:
    rows = []
    for n, network in enumerate(arrays["networks"].tolist()):
        for k, kind in enumerate(("exact", "corrected")):
            last, best = errors_of(arrays["error"][n, :, k])
            apart = f"{arrays['apart'][n, :, -1].max():.1e}" if k else None
            unsettled = f"{100 * arrays['unsettled'][n, :, k].max():.2f} %"
            rows.append((network, kind, last, best, apart, unsettled, f"{arrays['seconds'][n].mean() / 60:.1f}"))
    columns = (
        "network",
        "training",
        "test error, last (%)",
        "best (%)",
        "weights apart, worst seed",
        "most unsettled",
        "minutes, both",
    )
    return Table("After training; means over seeds, ± their standard deviation", columns, rows)

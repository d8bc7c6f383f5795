"""P2's Figure 4: homeostasis brings the Jacobian to symmetry, and what a correction makes of the same networks.

Four ways to train networks without symmetric weights, from the same weights on the same batches: generalised EP with an
infinitesimal nudge, the same with Jacobian homeostasis, the circle with `(Jᵀ − J)(s − s_0)` in the nudged phase, and
the exact gradient. Fig. 4a–d: reciprocal edges at 90 degrees; e–h: a loop without any.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
import optax

from holoprop.experiments.reproduce.courses import (
    BATCH,
    FEEDBACK,
    FINE,
    TOLERANCE,
    Build,
    Data,
    course_cells,
    course_columns,
    course_of,
    errors_of,
    exact,
    infinitesimal,
    samples,
    trained,
)
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.network.build import loop_mlp, mlp
from holoprop.settling.anderson import Anderson
from holoprop.symmetry.homeostatic import Homeostatic

_SIZES: dict[Scale, tuple[int, int | None, int | None, int, tuple[int, ...], float]] = {
    "smoke": (3, 2000, 200, 1, (16, 12, 10), 20.0),
    "small": (10, None, None, 2, (256, 256, 10), 1.0),
    "paper": (50, None, None, 5, (256, 256, 10), 1.0),
}
"""Epochs, training and test samples, seeds, layers, factor on the learning rate: few steps have to be large ones."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """One row of the figure: its networks, optimiser and the weights of homeostasis, rising."""

    build: Callable[..., Build]
    network: str
    optimizer: Callable[[float], optax.GradientTransformation]
    rate: float
    training: str
    weights: tuple[float, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The ways to train, by name."""
        return ("generalised", *(f"homeostasis {weight:g}" for weight in self.weights), "corrected", "exact")


def _reciprocal(layers: tuple[int, ...]) -> Build:
    return lambda key: mlp(784, layers, 10, feedback="free", angle=90.0, key=key)


def _loop(layers: tuple[int, ...]) -> Build:
    return lambda key: loop_mlp(784, layers, 10, key=key)


PANELS = {
    "a-d": Panel(
        _reciprocal, "feedback at 90 degrees", functools.partial(optax.adamw, weight_decay=0.0), 1e-4, "AdamW", (1.0,)
    ),
    "e-h": Panel(
        _loop,
        "a loop, one way, the last layer back to the first",
        functools.partial(optax.sgd, momentum=0.9),
        0.01,
        "SGD, momentum 0.9, rate",
        (0.1, 1.0),
    ),
}
"""P2 has a weight of 0.1 for the loop; what a stronger one does is seen beside it."""


def run_reciprocal(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Run Fig. 4a–d; arrays are `(kinds, seeds, epochs + 1, …)`."""
    return _run("a-d", scale, seed, runner)


def run_loop(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Run Fig. 4e–h; arrays are `(kinds, seeds, epochs + 1, …)`."""
    return _run("e-h", scale, seed, runner)


def _run(name: str, scale: Scale, seed: int | None, runner: Runner) -> Findings:
    panel, (epochs, train, test, seeds, layers, factor) = PANELS[name], _SIZES[scale]
    numbers = runner.seeds(seed, seeds)
    arrays = trained(
        runner,
        train_one,
        [{"panel": name, "kind": kind, "seed": each, "scale": scale} for kind in panel.kinds for each in numbers],
        (len(panel.kinds), len(numbers)),
    )
    settings = {
        "network": f"784-{'-'.join(map(str, layers))}, sigmoid(4z − 2), 10×10 readout; {panel.network}",
        **({} if name == "e-h" else {"feedback": FEEDBACK}),
        "data": f"Fashion-MNIST, {samples(train, test)}",
        "training": f"{epochs} epochs, batches of {BATCH}, {panel.training} {factor * panel.rate:g}",
        "homeostasis": f"weight {' or '.join(f'{w:g}' for w in panel.weights)}, 5 random vectors a sample, local form",
        "corrected": "4 points on the automatic circle",
        "seeds": ", ".join(map(str, numbers)),
        "precision": f"float32, residuals of {TOLERANCE:g}, corrected and exact of {FINE:g}",
    }
    tables = [_table(panel.kinds, arrays)]
    return Findings(settings, _claims(panel.kinds, arrays, scale), tables, {"kinds": np.array(panel.kinds), **arrays})


def train_one(report: Report, *, panel: str, kind: str, seed: int, scale: Scale) -> Arrays:
    """Train one network of a panel in one of the ways, and return its course."""
    epochs, train, test, _, layers, factor = _SIZES[scale]
    row = PANELS[panel]
    return course_of(
        row.build(layers)(jax.random.key(seed)),
        _estimator(kind),
        row.optimizer(factor * row.rate),
        Data.load(train, test),
        epochs=epochs,
        seed=seed,
        report=lambda line: report(f"{kind}, seed {seed}: {line}"),
    )


def _estimator(kind: str) -> AbstractEstimator:
    if kind == "corrected":
        return Holomorphic(points=4, solver=Anderson(tolerance=FINE), asymmetry="correct")
    if kind == "exact":
        return exact(FINE)
    if kind == "generalised":
        return infinitesimal()
    return Homeostatic(estimator=infinitesimal(), weight=float(kind.removeprefix("homeostasis ")))


def _claims(kinds: tuple[str, ...], arrays: Arrays, scale: Scale) -> list[Claim]:
    homeostatic, corrected, true = range(1, len(kinds) - 2), -2, -1
    last = {name: arrays[name][:, :, -1].mean(1) for name in ("measure", "error", "alignment")}
    # A few large steps of a small network on 200 test samples show the direction only; a strong homeostasis takes their
    # couplings away.
    smoke = scale == "smoke"
    homeostatic = homeostatic[:1] if smoke else homeostatic
    published, source = homeostatic[0], "P2 (arXiv 2309.02214), Fig. 4"
    claims = [
        Claim(
            f"symmetry measure at the end, {kinds[k]} less generalised",
            float(last["measure"][k] - last["measure"][0]),
            "≥",
            0.0 if k != homeostatic[-1] else 0.02 if smoke else 0.1,
            f"limit: this project; {source}" if k == published else f"this project: {source}, has a smaller weight",
        )
        for k in homeostatic
    ]
    for k in homeostatic:
        risen = last["alignment"][k] - arrays["alignment"][k, :, 0].mean(0)
        claims.append(
            Claim(
                f"cosine of response and error, {kinds[k]}, at the end less before training, worst layer",
                float(risen.min()),
                ">",
                0.0,
                "this project",
            )
        )
    if not smoke:
        claims.append(
            Claim(
                f"test error at the end, {kinds[published]} less generalised, in points",
                float(last["error"][published] - last["error"][0]),
                "<",
                0.0,
                source,
            )
        )
    claims += [
        Claim(
            f"cosine of response and error at the end, {kinds[k]} less generalised, worst layer",
            float((last["alignment"][k] - last["alignment"][0]).min()),
            ">",
            0.0,
            source,
        )
        for k in homeostatic
    ]
    if not smoke:
        apart = np.abs(arrays["error"][corrected, :, -1] - arrays["error"][true, :, -1]).max()
        of_means = abs(last["error"][corrected] - last["error"][true])
        text = "test error of the corrected circle from that of the exact gradient, in points"
        claims += [
            Claim(f"{text}, worst seed", float(apart), "≤", 0.5, "this project"),
            Claim(f"{text}, means over seeds", float(of_means), "≤", 0.5, "this project"),
        ]
    return claims


def _table(kinds: tuple[str, ...], arrays: Arrays) -> Table:
    rows = []
    for k, kind in enumerate(kinds):
        rows.append(
            (
                kind,
                *errors_of(arrays["error"][k]),
                f"{arrays['measure'][k, :, -1].mean():.3f}",
                # A loop has no feedback that belongs to a connection.
                None if np.isnan(angle := arrays["angle"][k, :, -1].mean()) else f"{angle:.1f}",
                *course_cells(arrays, (k,)),
            )
        )
    columns = (
        "training",
        "test error, last (%)",
        "best (%)",
        "symmetry measure",
        "feedback angle",
        *course_columns(arrays),
    )
    return Table("After training; means over seeds, ± their standard deviation", columns, rows)

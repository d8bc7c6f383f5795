"""P2's Figure 3: what the initial angle of the feedback does, to exact learning and to generalised EP.

784-256-256-10 with feedback weights of its own, at 0 to 90 degrees to the transposed forward ones, is trained with the
exact gradient and with generalised EP of an infinitesimal nudge. After each epoch: the angle of the feedback, and the
cosine of the response and the error vector, layer by layer.
"""

import jax
import numpy as np
import optax

from holoprop.experiments.reproduce.courses import (
    BATCH,
    FEEDBACK,
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
from holoprop.network.build import mlp

ALGORITHMS = ("exact", "generalised")
_LAYERS = (256, 256, 10)
_SIZES: dict[Scale, tuple[tuple[int, ...], int, int | None, int | None, int, tuple[int, ...]]] = {
    "smoke": ((0, 90), 1, 500, 200, 1, (16, 12, 10)),
    "small": (tuple(range(0, 91, 15)), 5, 20_000, 5_000, 1, _LAYERS),
    "paper": (tuple(range(0, 91, 15)), 50, None, None, 3, _LAYERS),
}
"""Angles, epochs, training and test samples, seeds, layers."""
_CHOSEN = "five epochs, because after two the smallest cosine was still 0.04, and falling"


def run(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Train one network for each algorithm, angle and seed; arrays are `(algorithms, angles, seeds, epochs + 1, …)`."""
    angles, epochs, train, test, seeds, layers = _SIZES[scale]
    numbers = runner.seeds(seed, seeds)
    arrays = trained(
        runner,
        train_one,
        [
            {"algorithm": algorithm, "angle": angle, "seed": each, "scale": scale}
            for algorithm in ALGORITHMS
            for angle in angles
            for each in numbers
        ],
        (len(ALGORITHMS), len(angles), len(numbers)),
    )
    arrays["angles"] = np.array(angles)
    settings = {
        "network": f"784-{'-'.join(map(str, layers))}, sigmoid(4z − 2), 10×10 readout, feedback of its own",
        "feedback": FEEDBACK,
        "data": f"Fashion-MNIST, {samples(train, test)}",
        "training": f"{epochs} epochs, batches of {BATCH}, SGD 0.01, momentum 0.9",
        **({"chosen": _CHOSEN} if scale == "small" else {}),
        "seeds": ", ".join(map(str, numbers)),
    }
    return Findings(settings, _claims(arrays, scale), [_table(arrays)], arrays)


def train_one(report: Report, *, algorithm: str, angle: int, seed: int, scale: Scale) -> Arrays:
    """Train one network, and return its course."""
    _, epochs, train, test, _, layers = _SIZES[scale]
    return course_of(
        mlp(784, layers, 10, feedback="free", angle=float(angle), key=jax.random.key(seed)),
        exact() if algorithm == "exact" else infinitesimal(),
        optax.sgd(0.01, momentum=0.9),
        Data.load(train, test),
        epochs=epochs,
        seed=seed,
        report=lambda line: report(f"{algorithm}, {angle} degrees, seed {seed}: {line}"),
    )


def _claims(arrays: dict[str, np.ndarray], scale: Scale) -> list[Claim]:
    end = arrays["alignment"][:, :, :, -1].mean(2)  # algorithms, angles, layers
    begin = arrays["alignment"][:, :, :, 0].mean(2)
    source = "P2 (arXiv 2309.02214), Fig. 3"
    claims = [
        Claim(
            "cosine of response and error at 0 degrees, before training, worst layer",
            begin[0, 0].min(),
            "≥",
            0.999,
            source,
        ),
        Claim("the same at 90 degrees, mean over layers: far from aligned", begin[0, -1].mean(), "≤", 0.9, source),
        *(
            Claim(
                f"{algorithm} learning from 0 degrees: cosine after training less before, mean over layers (degrades)",
                float((end[a, 0] - begin[a, 0]).mean()),
                "<",
                0.0,
                source,
            )
            for a, algorithm in enumerate(ALGORITHMS)
        ),
        Claim(
            "test error of generalised EP less that of exact learning, in points, at 90 degrees",
            float((arrays["error"][1, -1, :, -1] - arrays["error"][0, -1, :, -1]).mean()),
            "≥",
            0.0,
            source,
        ),
    ]
    if scale == "smoke":
        # Too little is learnt.
        return claims
    return [
        *claims,
        Claim(
            "exact learning: smallest cosine after training, all angles and layers (it turns negative)",
            float(end[0].min()),
            "<",
            0.0,
            source,
        ),
    ]


def _table(arrays: dict[str, np.ndarray]) -> Table:
    rows = []
    for a, algorithm in enumerate(ALGORITHMS):
        for k, angle in enumerate(arrays["angles"].tolist()):
            rows.append(
                (
                    algorithm,
                    angle,
                    f"{arrays['angle'][a, k, :, -1].mean():.1f}",
                    *errors_of(arrays["error"][a, k]),
                    *course_cells(arrays, (a, k)),
                )
            )
    columns = (
        "learning",
        "angle at first",
        "at last",
        "test error, last (%)",
        "best (%)",
        *course_columns(arrays),
    )
    return Table(
        "After training: feedback angle in degrees, test error, cosine of response and error vector", columns, rows
    )

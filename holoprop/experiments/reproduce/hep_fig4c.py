"""P1's Figure 4c: what a complex derivative is worth in training, a VGG of six convolutions on CIFAR-10.

At a nudge of size 1 two points on a holomorphic network are biased a little, four hardly; with a clipped activation and
pooling by maxima the estimate is not exact at any nudge, and the network fits its training set less well.
"""

import dataclasses
from typing import Any

import numpy as np

from holoprop.experiments.config import Config
from holoprop.experiments.reproduce.courses import Extent, over_seeds, samples
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.preset_courses import preset_with, train_configs
from holoprop.experiments.reproduce.runner import Arrays, Runner

KINDS = ("not holomorphic, N = 2", "holomorphic, N = 2", "holomorphic, N = 4")
"""The bars: network and points."""
PUBLISHED = {KINDS[0]: (14.6, 3.2, 19.65), KINDS[1]: (6.5, 0.7, 15.55), KINDS[2]: (4.3, 0.3, 14.40)}
"""Training error of the best epoch, twice its standard deviation, test error of the last epoch, in percent."""
_SOURCE = "P1 (arXiv 2209.00530), Fig. 4c, published result files"


@dataclasses.dataclass(frozen=True)
class _Size(Extent):
    """How much is trained; `narrowing`: of the channels."""

    narrowing: int = 1
    batch: int = 128
    kinds: tuple[str, ...] = KINDS


_SIZES: dict[Scale, _Size] = {
    "smoke": _Size(1, 100, 20, 1, 16, 20, KINDS[:2]),
    "small": _Size(3, 6_000, 2_000, 1, 16, 25),
    "paper": _Size(90, None, None, 3),
}
_CHANNELS = (128, 128, 256, 256, 512, 512)


def run(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Train each kind with each seed; arrays are `(kinds, seeds, epochs + 1)`."""
    size, numbers = _SIZES[scale], runner.seeds(seed, _SIZES[scale].seeds)
    runs = [(f"{kind}, seed {each}", _config(kind, each, scale)) for kind in size.kinds for each in numbers]
    arrays = train_configs(runner, runs, (len(size.kinds), len(numbers)))
    arrays["kinds"] = np.array(size.kinds)
    config = _config(KINDS[1], 0, scale)
    settings = {
        "network": f"VGG-6, {'-'.join(map(str, config.network.channels or ()))}, 3×3, pools after 1, 3 and 5",
        "holomorphic": "double SiLU, softmax pooling at temperature 10",
        "not holomorphic": "clipped activation, max pooling",
        "nudge": "β = 1",
        "data": f"CIFAR-10, {samples(size.train, size.test)}",
        "training": f"{size.epochs} epochs, batches of {size.batch}, {config.optimizer.name}",
        "seeds": ", ".join(map(str, numbers)),
        "precision": "float32",
    }
    return Findings(settings, _claims(arrays, scale), [_table(arrays)], arrays)


def _config(kind: str, seed: int, scale: Scale) -> Config:
    size = _SIZES[scale]
    changes: dict[str, Any] = {
        "training.seed": seed,
        "estimator.points": 4 if kind == KINDS[2] else 2,
        # Where nothing is holomorphic there may be no state of rest; errors are to be of the same samples.
        "estimator.unsettled": "keep",
    }
    if kind == KINDS[0]:
        changes |= {
            "network.pooling": "max",
            "network.temperature": None,
            "network.activation": "hard_sigmoid",
        }
    if scale != "paper":
        changes |= {
            "network.channels": [count // size.narrowing for count in _CHANNELS],
            "data.train_limit": size.train,
            "data.test_limit": size.test,
            "data.crop_padding": 0,
            # Few steps have to be large ones.
            "data.std": [0.15, 0.15, 0.15],
            "optimizer.name": "adamw",
            "optimizer.learning_rates": None,
            "optimizer.weight_decays": None,
            "optimizer.learning_rate": 2e-3,
            "optimizer.weight_decay": 1e-2,
            "training.epochs": size.epochs,
            "training.batch_size": size.batch,
            "training.checkpoint_every": None,
        }
    return preset_with("cifar10-vgg6", changes)


def _claims(arrays: Arrays, scale: Scale) -> list[Claim]:
    if scale == "smoke":
        # Five steps of a narrow network teach nothing yet.
        return [
            Claim(
                "training samples that the holomorphic network does not settle on, percent (P1 drops none)",
                float(100 * arrays["unsettled"][1].max()),
                "≤",
                1.0,
                _SOURCE,
            )
        ]
    error = np.nanmin(arrays["train_error"], -1).mean(-1)
    published = [
        Claim(
            f"training error, {kind}, best epoch, percent: off the published {PUBLISHED[kind][0]:g} by",
            abs(float(error[k]) - PUBLISHED[kind][0]),
            "≤",
            PUBLISHED[kind][1],
            f"{_SOURCE}: two standard deviations",
        )
        for k, kind in enumerate(KINDS)
        if scale == "paper"
    ]
    # Of 6,000 samples, which a quarter are right.
    least, source = (
        (1.6, f"limit: this project, two standard errors; {_SOURCE}") if scale == "small" else (0.0, _SOURCE)
    )
    return [
        *published,
        Claim(
            "training error without a complex derivative less that with, two points, in points (published 8.1)",
            float(error[0] - error[1]),
            ">",
            least,
            source,
        ),
        Claim(
            "training error of two points less that of four, in points (published 2.2)",
            float(error[1] - error[2]),
            ">",
            least,
            source,
        ),
    ]


def _table(arrays: Arrays) -> Table:
    rows = []
    for k, kind in enumerate(arrays["kinds"].tolist()):
        best = np.nanmin(arrays["train_error"][k], -1)
        rows.append(
            (
                kind,
                f"{PUBLISHED[kind][0]:.1f} ± {PUBLISHED[kind][1]:.1f}",
                over_seeds(best, 2.0),
                f"{arrays['train_error'][k, :, -1].mean():.2f}",
                f"{PUBLISHED[kind][2]:.2f}",
                f"{arrays['error'][k, :, -1].mean():.2f}",
                f"{100 * arrays['unsettled'][k].max():.2f} %",
                f"{arrays['residual'][k, :, -1].mean():.1f}",
                f"{arrays['seconds'][k].mean() / 60:.1f}",
            )
        )
    columns = (
        "network and points",
        "training error (%), best epoch, published",
        "here",
        "last epoch, here",
        "test error (%), last epoch, published",
        "here",
        "most unsettled",
        "log10 residual",
        "minutes",
    )
    return Table("Errors in percent; means over seeds, ± two standard deviations", columns, rows)

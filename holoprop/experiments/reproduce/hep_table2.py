"""P1's Table 2: holomorphic EP with two points, and backpropagation through a feed-forward network of the same shapes.

Four convolutions, each followed by pooling, on CIFAR-10, CIFAR-100 and ImageNet 32×32. P1 prints the best epoch; here
the last one stands beside it.
"""

import dataclasses
from typing import Any

import numpy as np

from holoprop.data.registry import find_source
from holoprop.experiments.config import Config
from holoprop.experiments.reproduce.courses import Extent, over_seeds, samples
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.preset_courses import preset_with, train_configs
from holoprop.experiments.reproduce.runner import Arrays, Runner

METHODS = ("hEP", "BP")
"""Holomorphic EP, and backpropagation through a feed-forward network."""


@dataclasses.dataclass(frozen=True)
class _Set:
    """A data set, and what P1 has for it.

    **Attributes:** `name`: of what is trained on at paper scale; `part`: below it; `classes`; `changes`: to the preset
    `cifar10-p1` or `cifar10-p1-bp`; published accuracies of hEP and BP in percent: `best` and `top5` of the best
    epoch, `last` of the last one.
    """

    name: str
    part: str
    classes: int
    changes: dict[str, Any]
    best: tuple[float, float]
    last: tuple[float, float]
    top5: tuple[float, float]


def _widened(name: str) -> list[float]:
    """P1's deviations of the channels: half as much again as those of the images."""
    deviations = find_source(name).std
    assert deviations is not None
    return [round(1.5 * deviation, 5) for deviation in deviations]


_SETS = {
    "cifar-10": _Set("cifar-10", "cifar-10", 10, {}, (88.56, 88.34), (88.45, 88.33), (99.52, 99.42)),
    "cifar-100": _Set(
        "cifar-100",
        "cifar-100-subset",
        100,
        {"data.std": _widened("cifar-100"), "optimizer.weight_decay": 1e-2},
        (61.62, 62.01),
        (61.57, 61.94),
        (86.01, 86.09),
    ),
    "imagenet32": _Set(
        "imagenet32",
        "imagenet32",
        1000,
        # As in the preset imagenet32-p1.
        {"data.std": [0.3435, 0.336, 0.3375], "training.batch_size": 256, "optimizer.weight_decay": 5e-4},
        (36.51, 37.19),
        (36.49, 37.19),
        (60.79, 60.90),
    ),
}


@dataclasses.dataclass(frozen=True)
class _Size(Extent):
    """Epochs, samples, seeds, and channels of the convolutions."""

    channels: tuple[int, ...]


_SIZES: dict[Scale, _Size] = {
    "smoke": _Size(3, 600, 100, 1, (8, 8, 8, 8)),
    "small": _Size(5, 20_000, 5_000, 1, (32, 64, 64, 64)),
    "paper": _Size(90, None, None, 3, (128, 256, 512, 512)),
}
_DEVIATIONS = {"cifar-10": 0.2, "cifar-100": 0.1, "imagenet32": 0.3}
"""Between P1's seeds, in points."""
_SOURCE = "P1 (arXiv 2209.00530), Table 2"


def run_cifar10(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Train on CIFAR-10; arrays are `(methods, seeds, epochs + 1)`."""
    return _run("cifar-10", scale, seed, runner)


def run_cifar100(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Train on CIFAR-100, below paper scale on the part of it that is at hand."""
    return _run("cifar-100", scale, seed, runner)


def run_imagenet32(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Train on ImageNet 32×32."""
    return _run("imagenet32", scale, seed, runner)


def _run(dataset: str, scale: Scale, seed: int | None, runner: Runner) -> Findings:
    size, numbers = _SIZES[scale], runner.seeds(seed, _SIZES[scale].seeds)
    runs = [(f"{method}, seed {each}", _config(dataset, method, each, scale)) for method in METHODS for each in numbers]
    arrays = train_configs(runner, runs, (len(METHODS), len(numbers)))
    arrays["methods"] = np.array(METHODS)
    hep = _config(dataset, "hEP", 0, scale)
    settings = {
        "network": f"convolutions of {'-'.join(map(str, size.channels))} channels, 3×3, {hep.network.pooling} pooling",
        "hEP": f"double SiLU, N = {hep.estimator.points}, β = {hep.estimator.radius:g}; BP: ReLU, no feedback",
        "data": f"{hep.data.name}, {samples(hep.data.train_limit, hep.data.test_limit)}",
        "training": f"{size.epochs} epochs, batches of {hep.training.batch_size}, {hep.optimizer.name}, of both",
        "seeds": ", ".join(map(str, numbers)) + (" (P1's hEP: 0, 10, 20)" if dataset == "imagenet32" else ""),
        "precision": "float32",
    }
    return Findings(settings, _claims(dataset, arrays, scale), [_table(dataset, arrays)], arrays)


def published_config(dataset: str, method: str, seed: int) -> Config:
    """Return P1's settings of a row of the table: `cifar-10`, `cifar-100` or `imagenet32`, `hEP` or `BP`."""
    row = _SETS[dataset]
    changes = {"data.name": row.name, "training.seed": seed, "training.check_gradient": None, **row.changes}
    return preset_with("cifar10-p1" if method == "hEP" else "cifar10-p1-bp", changes)


def published_data(dataset: str) -> dict[str, Any]:
    """Return a data set's name and the deviations that its channels are divided by, as changes to a preset."""
    row = _SETS[dataset]
    return {"data.name": row.name, **{key: value for key, value in row.changes.items() if key == "data.std"}}


def part_at_hand(dataset: str, train: int | None, test: int | None) -> dict[str, Any]:
    """Return changes to a preset by which at most so many samples are taken, of CIFAR-100 from a part of it."""
    source = find_source(_SETS[dataset].part)
    limits = {"data.train_limit": (train, source.train), "data.test_limit": (test, source.test)}
    chosen = {key: min((n for n in both if n is not None), default=None) for key, both in limits.items()}
    return {"data.name": source.name, **chosen}


def _config(dataset: str, method: str, seed: int, scale: Scale) -> Config:
    if scale == "paper":
        return published_config(dataset, method, seed)
    size = _SIZES[scale]
    changes: dict[str, Any] = {
        "training.seed": seed,
        "training.check_gradient": None,
        "training.epochs": size.epochs,
        "network.channels": size.channels,
        **part_at_hand(dataset, size.train, size.test),
    }
    if method == "BP":
        changes |= {
            "network.activation": "relu",
            "network.feedback": "off",
            "estimator.name": "backpropagation",
            **dict.fromkeys(("estimator.depth", "estimator.tolerance", "estimator.max_steps")),
        }
    return preset_with("cifar10-small", changes)


def _claims(dataset: str, arrays: Arrays, scale: Scale) -> list[Claim]:
    if scale == "smoke":
        # Some fifty steps: both are on their way.
        first, last = (arrays["train_error"][..., epoch].mean(-1) for epoch in (1, -1))
        return [
            Claim(
                f"training error of {name}, first epoch less last, in points",
                float(first[k] - last[k]),
                ">",
                0.0,
                "this project",
            )
            for k, name in enumerate(METHODS)
        ]
    row = _SETS[dataset]
    hep, bp = (float(100 - arrays["error"][k, :, -1].mean()) for k in range(2))
    guessing = 100 / row.classes
    claims = [
        Claim(
            f"top-1 accuracy of BP less that of hEP, last epoch, in points (published {row.last[1] - row.last[0]:.2f})",
            bp - hep,
            "≤",
            1.5,
            _SOURCE,
        ),
        *(
            Claim(f"top-1 accuracy of {name}, percent (guessing: {guessing:g})", value, "≥", 3 * guessing, _SOURCE)
            for name, value in (("hEP", hep), ("BP", bp))
        ),
    ]
    if scale == "paper":
        best, allowed = np.nanmax(100 - arrays["error"], -1).mean(-1), _DEVIATIONS[dataset]
        claims += [
            Claim(
                f"top-1 accuracy of {name}, best epoch, percent (published {row.best[k]:.2f})",
                float(best[k]),
                "≥",
                round(row.best[k] - allowed, 2),
                f"{_SOURCE}, less its deviation, {allowed:g}",
            )
            for k, name in enumerate(METHODS)
        ]
    return claims


def _table(dataset: str, arrays: Arrays) -> Table:
    row, rows = _SETS[dataset], []
    for k, method in enumerate(METHODS):
        accuracy = 100 - arrays["error"][k]
        best, last = np.nanmax(accuracy, -1), accuracy[:, -1]
        top5 = f"{100 - np.nanmin(arrays['top5'][k], -1).mean():.2f}" if "top5" in arrays else None
        rows.append(
            (
                method,
                f"{row.best[k]:.2f}",
                over_seeds(best),
                f"{row.last[k]:.2f}",
                over_seeds(last),
                f"{row.top5[k]:.2f}",
                top5,
                f"{arrays['train_error'][k, :, -1].mean():.2f}",
                f"{100 * arrays['unsettled'][k].max():.2f} %",
                f"{arrays['residual'][k, :, -1].mean():.1f}" if method == "hEP" else None,
                f"{arrays['seconds'][k].mean() / 60:.1f}",
            )
        )
    columns = (
        "method",
        "top-1 (%), best epoch, published",
        "here",
        "last epoch, published",
        "here",
        "top-5 (%), best epoch, published",
        "here",
        "training error (%)",
        "most unsettled",
        "log10 residual",
        "minutes",
    )
    return Table("Test accuracy; means over seeds, ± their standard deviation", columns, rows)

"""P1's Table 2: holomorphic EP with two points, and backpropagation through a feed-forward network of the same shapes.

Four convolutions, each followed by pooling, on CIFAR-10, CIFAR-100 and ImageNet 32×32. P1 prints the best epoch; here
the last one stands beside it.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from holoprop.data.registry import find_source
from holoprop.experiments.reproduce.courses import samples, seeds_from, trained
from holoprop.experiments.reproduce.image_courses import image_course, preset_with
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner

METHODS = ("hEP", "BP")


@dataclasses.dataclass(frozen=True)
class _Set:
    """A data set, by the name under which it is loaded at each scale, and what P1 has for it.

    **Attributes:** `batch`, `decay`: of the paper; `seeds`: of hEP and BP; `best` and `last`: published top-1 accuracy
    in percent of hEP and BP, best epoch and last.
    """

    names: dict[Scale, str]
    batch: int
    decay: float
    best: dict[str, float]
    last: dict[str, float]


_SETS = {
    "cifar-10": _Set(
        dict.fromkeys(("smoke", "small", "paper"), "cifar-10"),
        128,
        2e-3,
        {"hEP": 88.56, "BP": 88.34},
        {"hEP": 88.45, "BP": 88.33},
    ),
    "cifar-100": _Set(
        {"smoke": "cifar-100-subset", "small": "cifar-100-subset", "paper": "cifar-100"},
        128,
        1e-2,
        {"hEP": 61.62, "BP": 62.01},
        {"hEP": 61.57, "BP": 61.94},
    ),
    "imagenet32": _Set(
        dict.fromkeys(("smoke", "small", "paper"), "imagenet32"),
        256,
        5e-4,
        {"hEP": 36.51, "BP": 37.19},
        {"hEP": 36.16, "BP": 37.19},
    ),
}


@dataclasses.dataclass(frozen=True)
class _Size:
    """`changes` to the preset; epochs, samples, seeds."""

    epochs: int
    train: int | None
    test: int | None
    seeds: int
    channels: tuple[int, ...]


_SIZES: dict[Scale, _Size] = {
    "smoke": _Size(3, 600, 100, 1, (8, 8, 8, 8)),
    "small": _Size(5, 20_000, 5_000, 1, (32, 64, 64, 64)),
    "paper": _Size(90, None, None, 3, (128, 256, 512, 512)),
}
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
    size, numbers = _SIZES[scale], seeds_from(seed, _SIZES[scale].seeds)
    arrays = trained(
        runner,
        train_one,
        [
            {"dataset": dataset, "method": method, "seed": each, "scale": scale}
            for method in METHODS
            for each in numbers
        ],
        (len(METHODS), size.seeds),
        long=True,
    )
    arrays["methods"] = np.array(METHODS)
    hep = _config(dataset, "hEP", 0, scale)
    settings = {
        "network": f"convolutions of {'-'.join(map(str, size.channels))} channels, 3×3, {hep.network.pooling} pooling",
        "hEP": f"double SiLU, N = {hep.estimator.points}, β = {hep.estimator.radius:g}; BP: ReLU, no feedback",
        "data": f"{hep.data.name}, {samples(hep.data.train_limit, hep.data.test_limit)}",
        "training": f"{size.epochs} epochs, batches of {hep.training.batch_size}, {hep.optimizer.name}",
        "seeds": ", ".join(map(str, numbers)),
        "precision": "float32",
    }
    return Findings(settings, _claims(dataset, arrays, scale), [_table(dataset, arrays)], arrays)


def train_one(
    report: Report, *, dataset: str, method: str, seed: int, scale: Scale, folder: Path | None = None
) -> Arrays:
    """Train one network as a row has it, and return its course."""
    config = _config(dataset, method, seed, scale)
    return image_course(config, lambda line: report(f"{method}, seed {seed}: {line}"), folder)


def _config(dataset: str, method: str, seed: int, scale: Scale) -> Any:
    size, row = _SIZES[scale], _SETS[dataset]
    source = find_source(row.names[scale])
    changes: dict[str, Any] = {"data.name": source.name, "training.seed": seed, "training.check_gradient": None}
    if scale == "paper":
        changes |= {"training.batch_size": row.batch, "optimizer.weight_decay": row.decay}
        if dataset != "cifar-10":
            assert source.std is not None
            changes["data.std"] = [round(1.5 * deviation, 5) for deviation in source.std]
        return preset_with("cifar10-p1" if method == "hEP" else "cifar10-p1-bp", changes)
    available = source.train if scale == "small" else size.train
    assert size.train is not None and size.test is not None and available is not None
    changes |= {
        "network.channels": size.channels,
        "data.train_limit": min(size.train, available),
        "data.test_limit": min(size.test, source.test),
        "training.epochs": size.epochs,
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
    hep, bp = (100 - arrays["error"][k, :, -1].mean() for k in range(2))
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
    claims = [
        Claim(
            "top-1 accuracy of BP less that of hEP, last epoch, in points "
            f"(published {row.last['BP'] - row.last['hEP']:.2f})",
            float(bp - hep),
            "≤",
            1.5,
            _SOURCE,
        )
    ]
    if scale == "paper":
        best = float(np.nanmax(100 - arrays["error"][0], -1).mean())
        claims.append(
            Claim("top-1 accuracy of hEP, best epoch, percent", best, "≥", row.best["hEP"] - 1.0, f"{_SOURCE}, less 1")
        )
    return claims


def _table(dataset: str, arrays: Arrays) -> Table:
    row, rows = _SETS[dataset], []
    for k, method in enumerate(METHODS):
        accuracy = 100 - arrays["error"][k]
        best, last = np.nanmax(accuracy, -1), accuracy[:, -1]
        top5 = 100 - arrays["top5"][k, :, -1].mean() if "top5" in arrays else np.nan
        rows.append(
            (
                method,
                f"{row.best[method]:.2f}",
                f"{best.mean():.2f} ± {best.std():.2f}",
                f"{row.last[method]:.2f}",
                f"{last.mean():.2f} ± {last.std():.2f}",
                float(round(top5, 2)),
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
        "top-5 (%)",
        "training error (%)",
        "most unsettled",
        "log10 residual",
        "minutes",
    )
    return Table("Test accuracy; means over seeds, ± their standard deviation", columns, rows)

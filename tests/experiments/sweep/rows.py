"""Sweeps without training: rows as trials leave them, and the small configuration that real ones are made of."""

from pathlib import Path
from typing import Any

from holoprop.experiments.sweep.table import Row, SweepResults
from holoprop.experiments.sweep.trial import TrialResult

TINY = (
    "network.hidden=[6]",
    "estimator.name=implicit",
    "estimator.solver=alternating",
    "data.train_limit=40",
    "data.test_limit=20",
    "training.epochs=1",
    "training.batch_size=20",
    "optimizer.schedule=constant",
)
"""The demo, small enough to run eight of it on a cluster."""


def result(best: float, last: float | None = None, **others: Any) -> TrialResult:
    """A result with these test accuracies."""
    given = {
        "epochs": 3,
        "test_accuracy": best if last is None else last,
        "test_loss": 0.25,
        "best_test_accuracy": best,
        "best_epoch": 2,
        "train_accuracy": 0.99,
        "train_loss": 0.01,
        "unsettled": 0.0,
        "cosine": 0.99999,
        "seconds": 12.5,
        "tries": 1,
    }
    return TrialResult(**{**given, **others})


def made(folder: Path, *trials: tuple[dict[str, Any], float | None]) -> SweepResults:
    """Results from `(point, best accuracy)` each; an accuracy of `None` is a trial that failed."""
    rows = []
    for number, (point, best) in enumerate(trials, 1):
        name, seed = f"{number:03d}-x", point.get("training.seed", 0)
        if best is None:
            rows.append(Row(name, point, seed, "failed", "step 3: <it> diverged", 3))
        else:
            rows.append(Row(name, point, seed, "done", tries=1, result=result(best, best - 0.01)))
    return SweepResults(folder, tuple(trials[0][0]), rows)

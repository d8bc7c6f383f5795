"""Training runs of the papers' small networks, and what is measured after each epoch."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from holoprop.data.loading import load_dataset
from holoprop.experiments.reproduce.runner import Arrays, Compute, Report, Runner
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.implicit import ForwardResponse, Implicit
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.run import settle
from holoprop.symmetry.angle import feedback_angle
from holoprop.symmetry.jacobian import error_alignment, symmetry_measure
from holoprop.train.loop import fit

BATCH = 50
FEEDBACK = "drawn with the norm of the forward weights (P2: by the fan-in of the backward ones)"
_MEASURED = 10
"""Test samples whose Jacobians are measured, as in P2."""
_COMPARED = 100
"""Test samples whose error vectors are compared."""
TOLERANCE = 1e-4
"""Residuals of networks of 522 neurons; the responses of such states are right to 1e-4 or so."""
FINE = 1e-5
"""Where two estimates of one gradient are to lead to one network: they are apart by 1e-4, not by 1e-3."""


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much is trained at a scale: `epochs`; `train` and `test` samples, `None`: all; `seeds`, so many of them."""

    epochs: int
    train: int | None
    test: int | None
    seeds: int


@dataclasses.dataclass(frozen=True)
class Data:
    """Images, flat and in [0, 1], and labels: `train` and `test` are pairs of the two."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @classmethod
    def load(cls, train: int | None, test: int | None, name: str = "fashion-mnist") -> "Data":
        """Load the first `train` and `test` samples of a data set, `None`: all.

        **Raises:** `DataError` if the data set is not there and cannot be downloaded.
        """
        dataset = load_dataset(name)
        parts = ((dataset.train, train), (dataset.test, test))
        first, second = ((s.inputs(slice(n), flatten=True), s.labels[:n]) for s, n in parts)
        return cls(first, second)


def exact(tolerance: float = TOLERANCE) -> Implicit:
    """Return the exact estimator as it is trained with: matrix-free, which is faster for batches."""
    return Implicit(solver=Anderson(tolerance=tolerance), dense_limit=0, tolerance=tolerance)


def infinitesimal() -> ForwardResponse:
    """Return generalised EP with an infinitesimal nudge, P2's `N = 0`."""
    return ForwardResponse(solver=Anderson(tolerance=TOLERANCE), dense_limit=0, tolerance=TOLERANCE)


def course_of(
    net: LayeredNetwork,
    estimator: AbstractEstimator,
    optimizer: optax.GradientTransformation,
    data: Data,
    *,
    epochs: int,
    seed: int,
    report: Report,
    measure: bool = True,
    batch: int = BATCH,
) -> Arrays:
    """Train and return what was measured before the first epoch and after each, by name.

    **Returns:** `(epochs + 1,)`: `error` of the test samples in percent, NaN at first; unless `measure` is false,
    `angle` of the feedback in degrees, `measure` of the symmetry of `J − I`; `(epochs + 1, layers)`: `alignment`, the
    cosine of response and error vector; `(epochs,)`: `unsettled`, the share of training samples that were left out.
    """
    measured = [_measure(net, data) if measure else {}]

    def examine(net: LayeredNetwork) -> dict[str, float | None]:
        measured.append(_measure(net, data) if measure else {})
        report(f"epoch {len(measured) - 1} of {epochs} is over")
        return {}

    history = fit(
        net,
        estimator,
        optimizer,
        data.train,
        epochs=epochs,
        batch_size=batch,
        seed=seed,
        test=data.test,
        examine=examine,
    ).history
    report(f"test error {100 * (1 - history[-1]['test_accuracy']):.2f} %")
    course = {name: np.array([each[name] for each in measured]) for name in measured[0]}
    course["error"] = np.array([np.nan, *(100 * (1 - record["test_accuracy"]) for record in history)])
    course["unsettled"] = np.array([record["unsettled"] for record in history])
    return course


def _measure(net: LayeredNetwork, data: Data) -> dict[str, object]:
    x, y = (part[:_COMPARED] for part in data.test)
    few = x[:_MEASURED]
    measure = symmetry_measure(net, few, settle(net, few, solver=Anderson(tolerance=TOLERANCE)), field=True).measure
    response, error = (each(net, x, y).response for each in (infinitesimal(), exact()))
    assert response is not None and error is not None
    return {
        "angle": feedback_angle(net).total,
        "measure": float(np.mean(measure)),
        "alignment": error_alignment(response, error),
    }


def samples(train: int | None, test: int | None) -> str:
    """Return how many samples `Data.load` takes, in words."""
    return f"{'all' if train is None else train} training and {'all' if test is None else test} test samples"


def trained(
    runner: Runner,
    compute: Compute,
    settings: Sequence[Mapping[str, Any]],
    shape: tuple[int, ...],
    *,
    long: bool = False,
) -> Arrays:
    """Return the courses of all runs, each quantity with leading axes of that `shape`, in the order of `settings`."""
    courses = runner.parts(compute, settings, long=long)
    stacked = {name: np.stack([course[name] for course in courses]) for name in courses[0]}
    return {name: values.reshape(*shape, *values.shape[1:]) for name, values in stacked.items()}


def over_seeds(values: np.ndarray, deviations: float = 1.0) -> str:
    """Return what a table says of `values`, `(seeds,)`: `mean ± deviations · σ`, of a single seed the number alone."""
    spread = f" ± {deviations * values.std():.2f}" if values.size > 1 else ""
    return f"{values.mean():.2f}{spread}"


def errors_of(error: np.ndarray) -> tuple[str, str]:
    """Return what a table says of test errors `(seeds, epochs + 1)`: of the last epoch, and the mean of the best."""
    return over_seeds(error[:, -1]), f"{np.nanmin(error, 1).mean():.2f}"


def course_columns(arrays: Arrays) -> tuple[str, ...]:
    """Return the columns of what `course_cells` returns."""
    layers = arrays["alignment"].shape[-1]
    return (*(f"cosine, layer {layer + 1}" for layer in range(layers)), "most unsettled", "minutes")


def course_cells(arrays: Arrays, at: tuple[int, ...]) -> tuple[str, ...]:
    """Return what a table says besides of the runs `arrays[…][at]`, `(seeds, …)`: alignment at the end, cost."""
    return (
        *(f"{cosine:.3f}" for cosine in arrays["alignment"][at][:, -1].mean(0)),
        f"{100 * arrays['unsettled'][at].max():.2f} %",
        f"{arrays['seconds'][at].mean() / 60:.1f}",
    )


Build = Callable[[jax.Array], LayeredNetwork]
"""A network from a key."""

"""The resistor network learns two digits from its response to nudges; its gradient is compared with the exact one.

Two questions: does it learn with `Stencil(points)`, and how does the gradient's error fall with the nudge β? With
`2m` nudges it falls as `β^{2m}`, until the nudge nears the smallest at which a rest state is lost.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optax
from jaxtyping import Float

from holoprop.data.loading import load_dataset
from holoprop.experiments.resistor import Conductances, ResistorNetwork
from holoprop.gradient.agreement import alignment
from holoprop.gradient.stencil import Stencil
from holoprop.settling.substrate import Programmed
from holoprop.train.evaluation import evaluate
from holoprop.train.loop import fit

BETAS = tuple(float(beta) for beta in np.geomspace(1e-3, 1, 19))
"""The nudges of the error curves."""


@dataclasses.dataclass(frozen=True)
class Learning:
    """One training run and the exactness of its estimator.

    **Attributes:** `points` of the stencil; `history`, one record an epoch as `fit` writes them; `test_accuracy`,
    share; `errors`, `(len(betas),)`, relative error of the gradient of the untrained network at each nudge, NaN where
    some sample did not settle; `error`, that at the β trained with.
    """

    points: int
    history: list[dict[str, Any]]
    test_accuracy: float
    errors: Float[np.ndarray, " betas"]
    error: float


@dataclasses.dataclass(frozen=True)
class ResistorExperiment:
    """Everything that the picture shows.

    **Attributes:** `digits`, the two classes; `train_samples`, `test_samples`; `beta` trained with; `betas` of the
    error curves; `samples` that they are means over; `hidden` nodes; `runs`, one a stencil; `initial` and `trained`
    conductances in mS, the latter of the last run.
    """

    digits: tuple[int, int]
    train_samples: int
    test_samples: int
    beta: float
    betas: Float[np.ndarray, " betas"]
    samples: int
    hidden: int
    runs: list[Learning]
    initial: Conductances
    trained: Conductances


def run_resistor(
    points: Sequence[int] = (2, 4),
    *,
    digits: tuple[int, int] = (3, 8),
    hidden: int = 16,
    beta: float = 0.03,
    epochs: int = 10,
    batch_size: int = 20,
    learning_rate: float = 0.05,
    samples: int = 20,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> ResistorExperiment:
    """Train one resistor network with each stencil on two of scikit-learn's digits, and measure gradient errors.

    **Arguments:** `points`: of the stencils, each even; `hidden`: nodes; `beta`: the largest nudge; `learning_rate`: of
    Adam; `samples`: test samples for the error curves; `progress`: told a line a run.

    **Raises:** `ValueError` for points that `Stencil` refuses, or digits that are not two different ones of 0 … 9.
    """
    if len(set(digits)) != 2 or not all(0 <= digit <= 9 for digit in digits):
        raise ValueError(f"digits must be two different ones of 0 … 9, got {digits}")
    if not points:
        raise ValueError("points must name at least one stencil")
    stencils = [Stencil(points=count, beta=beta) for count in points]
    train, test = two_digits(digits)
    network = ResistorNetwork.create(train[0].shape[1], hidden, seed=seed)
    x, y = test[0][:samples], np.eye(2)[test[1][:samples]]
    truth = network.exact_gradient(network.parameters, x, y)

    def error(count: int, nudge: float) -> float:
        estimate = Stencil(points=count, beta=nudge)(network, x, y)
        if not bool(np.all(estimate.certificate.kept)):
            return float("nan")
        return alignment(estimate.gradient, truth).total.relative_error

    runs, net = [], Programmed.of(network)
    for stencil in stencils:
        result = fit(
            Programmed.of(network),
            stencil,
            optax.adam(learning_rate),
            train,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            test=test,
        )
        net = result.net
        accuracy = evaluate(net, *test).accuracy
        errors = np.array([error(stencil.points, nudge) for nudge in BETAS])
        run = Learning(stencil.points, result.history, accuracy, errors, error(stencil.points, beta))
        runs.append(run)
        if progress is not None:
            progress(f"Stencil(points={run.points}): trained for {epochs} epochs")
    initial, trained = (
        Conductances(*(np.logaddexp(0, np.asarray(theta, np.float64)) for theta in parameters))
        for parameters in (network.parameters, net.parameters)
    )
    return ResistorExperiment(
        digits, len(train[0]), len(test[0]), beta, np.array(BETAS), len(x), hidden, runs, initial, trained
    )


def two_digits(digits: tuple[int, int]) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return the train and test samples of two of scikit-learn's digits: inputs `(n, 64)` in [0, 1], labels 0 and 1."""
    data = load_dataset("digits")

    def choose(split: Any) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.flatnonzero(np.isin(split.labels, digits))
        return split.inputs(chosen, flatten=True), (split.labels[chosen] == digits[1]).astype(np.int32)

    return choose(data.train), choose(data.test)

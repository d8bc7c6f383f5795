"""How exact is the gradient that a configuration trains with? Its estimator against `Implicit`, on the same samples.

    cosine = ⟨g, g*⟩/(‖g‖‖g*‖),    relative error = ‖g − g*‖/‖g*‖,    g* = dℒ/dθ at the free rest state

The certificate of the estimate comes along, so that what it predicts can be held against what is true, and a poor
agreement be told from a poorly settled state.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from holoprop.experiments.building import build_experiment
from holoprop.experiments.config import Config
from holoprop.gradient.agreement import Agreement, alignment
from holoprop.gradient.certificate import Certificate, Verdict
from holoprop.gradient.estimate import AbstractEstimator, AbstractWrappedEstimator
from holoprop.gradient.implicit import Implicit
from holoprop.gradient.led_tolerance import ToleranceMemory
from holoprop.network.base import AbstractNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.rest import Status
from holoprop.train.checkpoint import load_checkpoint
from holoprop.train.step import initial_train_state

_LEADING = 10
"""Calls after which a led tolerance is where training has it: it changes at most fourfold in each."""


def check_gradient(config: Config, *, samples: int = 20, folder: Path | None = None) -> dict[str, Any]:
    """Compare a configuration's estimator with the implicit gradient on its first test samples.

    **Arguments:** `samples`: how many, at most; `folder`: a run of this configuration whose trained network to take in
    place of a fresh one.

    **Returns:** what `compare_with_implicit` does.

    **Raises:** `ValueError` for `samples < 1` and for estimators that do not fit the network; `CheckpointError`,
    `DataError`.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    with jax.enable_x64(config.network.dtype == "float64"):
        experiment = build_experiment(config)
        net, estimator = experiment.net, experiment.estimator
        if folder is not None:
            like = initial_train_state(net, estimator, experiment.optimizer, config.training.batch_size)
            net = load_checkpoint(folder / "checkpoint.eqx", like)[0].net
        x, y = experiment.samples(experiment.test, slice(samples))
        return compare_with_implicit(net, estimator, x, y, key=jax.random.key(config.training.seed))


def compare_with_implicit(
    net: AbstractNetwork,
    estimator: AbstractEstimator,
    x: np.ndarray,
    y: np.ndarray,
    *,
    key: PRNGKeyArray | None = None,
) -> dict[str, Any]:
    """Compare an estimator with the implicit gradient on one batch; samples that either cannot settle are left out.

    The reference is `Implicit(solver=Anderson())`, whatever the estimator settles with: it settles to its own tight
    tolerance, so that a loose one, or a solver that ends elsewhere, shows in the comparison.

    **Arguments:** `x`: inputs `(n, *input_shape)`; `y`: integer labels `(n,)`; `key`: of the estimator's noise.

    **Returns:** a dictionary ready for JSON: `reference`, `samples` (compared), `estimator` (in words), `total`,
    `layers` and `parameters` (one entry each) and `certificate`, of all samples, left out ones too: its residuals, the
    nudges, `text` (the whole in one line), `verdicts` (samples by verdict) and, over samples, `median_predicted_error`,
    `median_radius` and `median_radius_of_convergence`. What there is none of is `None`.

    **Raises:** `ValueError` if the estimator does not fit the network.
    """
    # What is added to the gradient for other reasons is not the estimator's error.
    while isinstance(estimator, AbstractWrappedEstimator):
        estimator = estimator.estimator
    # A batch is to be reported on, not to be given up.
    estimator = dataclasses.replace(estimator, unsettled="mask")
    reference = Implicit(solver=Anderson())
    memory = _led(net, estimator, x, y, key)
    estimate, truth = estimator(net, x, y, key=key, memory=memory), reference(net, x, y)
    certificate = estimate.certificate
    kept = np.asarray(certificate.kept) & np.asarray(truth.certificate.kept)
    if kept.any() and not kept.all():
        # Both gradients are means over samples, so they must be over the same ones.
        estimate = estimator(net, x[kept], y[kept], key=key, memory=memory)
        truth = reference(net, x[kept], y[kept])
    compared = alignment(estimate.gradient, truth.gradient)
    nothing = {"cosine": None, "relative_error": None}

    def listed(agreements: dict[str, Agreement]) -> list[dict[str, Any]]:
        return [
            {"name": name, **(dataclasses.asdict(each) if kept.any() else nothing)} for name, each in agreements.items()
        ]

    return {
        "reference": "implicit",
        "samples": int(kept.sum()),
        "estimator": describe_estimator(estimator),
        "total": dataclasses.asdict(compared.total) if kept.any() else nothing,
        "layers": listed(compared.layers),
        "parameters": listed(compared.parameters),
        "certificate": _describe_certificate(certificate),
    }


def _led(
    net: AbstractNetwork, estimator: AbstractEstimator, x: np.ndarray, y: np.ndarray, key: PRNGKeyArray | None
) -> ToleranceMemory | None:
    """Return the memory of an estimator whose tolerance is led, where that has come to; others begin without.

    Its first step is one of the solver's own tolerance, which is tighter than any that training uses.
    """
    memory = estimator.init(net, len(x))
    if not isinstance(memory, ToleranceMemory):
        return None
    for _ in range(_LEADING):
        memory = estimator(net, x, y, key=key, memory=memory).memory
    return memory


def describe_estimator(estimator: AbstractEstimator) -> str:
    """Return an estimator in words, as one would write it: `Holomorphic(points=4, radius='auto')`."""
    numbers = {
        field.name: value
        for field in dataclasses.fields(estimator)
        if field.name in ("points", "radius", "beta", "steps") and (value := getattr(estimator, field.name)) is not None
    }
    return f"{type(estimator).__name__}({', '.join(f'{name}={value!r}' for name, value in numbers.items())})"


def _describe_certificate(certificate: Certificate) -> dict[str, Any]:
    radii, verdict = np.abs(np.asarray(certificate.betas)), np.asarray(certificate.verdict)
    spectrum = certificate.spectrum
    return {
        "text": certificate.text(),
        "verdicts": {each.name: int((verdict == each).sum()) for each in Verdict},
        "median_predicted_error": _median(np.asarray(certificate.predicted_error)),
        "median_radius": _median(radii),
        "median_radius_of_convergence": None
        if spectrum is None
        else _median(np.asarray(spectrum.radius_of_convergence)),
        "free_residual": np.asarray(certificate.free_residual).tolist(),
        "point_residual": np.asarray(certificate.point_residual).tolist(),
        "free_status": [Status(status).name for status in np.asarray(certificate.free_status).tolist()],
        "unsettled_share": float(certificate.unsettled_share),
        "points": [_complex_text(beta) for beta in _median_nudges(np.asarray(certificate.betas))],
    }


def _median(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None


def _median_nudges(betas: np.ndarray) -> list[complex]:
    """The nudges `(points, batch)` of one sample, at the median radius: an automatic circle has one for each sample."""
    return [complex(beta[0] / abs(beta[0]) * np.median(np.abs(beta))) for beta in betas]


def _complex_text(value: complex) -> str:
    # Six digits of its size hide what the cast to float32 added; adding 0 turns −0 into 0.
    digits = 6 - math.ceil(math.log10(abs(value)))
    return f"{round(value.real, digits) + 0.0:g}{round(value.imag, digits) + 0.0:+g}j"

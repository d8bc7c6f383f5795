"""The automatic circle while a network learns: P1's on MNIST, against P1's fixed radius at every hundredth step.

The network is trained with the automatic circle, its memory handed from step to step; at each check both circles are
asked for the same batch's gradient and compared with the exact one, in double precision.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from holoprop.data.batches import epoch_batches
from holoprop.experiments.building import build_experiment
from holoprop.experiments.reproduce.automatic_circle import P1_RADIUS
from holoprop.experiments.reproduce.exact_reference import exact_gradient_near
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner
from holoprop.experiments.sources import load_config
from holoprop.gradient.agreement import alignment
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.network.base import AbstractNetwork, State
from holoprop.settling.rest import UnsettledError
from holoprop.train.step import initial_train_state, train_step

PRESET = "mnist-mlp"
_EVERY = 100
_SIZES: dict[Scale, tuple[int, int, tuple[int, ...]]] = {
    "smoke": (20, 10, (4,)),
    "small": (3000, _EVERY, (4, 10)),
    "paper": (9000, _EVERY, (4, 10)),
}
"""Steps, steps between checks, numbers of points."""


def run(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Train once for each number of points, and measure `1 − cosine` of both circles, `(circles, checks)`."""
    steps, every, circles = _SIZES[scale]
    training = load_config(PRESET).training
    seed = training.seed if seed is None else seed
    parts = runner.parts(train_one, [{"points": points, "seed": seed, "scale": scale} for points in circles])
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0] if name != "seconds"}
    arrays |= {"points": np.array(circles), "steps": np.arange(0, steps + 1, every)}
    settings = {
        "preset": f"{PRESET}, trained with the automatic circle",
        "batch": training.batch_size,
        "steps": f"{steps}, checked at every {every}th",
        "checks left out": f"{int((~arrays['checked']).sum())}, because some sample came to no rest state",
        "points N": ", ".join(map(str, circles)),
        "seed": seed,
        "precision": "float32; the exact gradient and the cosine in float64",
    }
    return Findings(settings, _claims(arrays), [_table(arrays)], arrays)


def train_one(report: Report, *, points: int, seed: int, scale: Scale) -> Arrays:
    """Train with the automatic circle of so many points.

    **Returns:** `automatic`, `fixed`: 1 − cosine; `predicted`, `true`: relative error of the automatic circle;
    `outside`: the share of samples with a radius of convergence below P1's; `checked`, `(checks,)`; `radii`: smallest,
    median and largest, `(checks, 3)`.
    """
    steps, every, _ = _SIZES[scale]
    config = load_config(PRESET, [f"training.seed={seed}"])
    experiment, training = build_experiment(config), config.training
    x, y = experiment.samples(experiment.train)
    checks = steps // every + 1
    found = {name: np.full(checks, np.nan) for name in ("automatic", "fixed", "predicted", "true")}
    radii, outside, checked = np.full((checks, 3), np.nan), np.zeros(checks), np.zeros(checks, bool)
    automatic = Holomorphic(points=points, unsettled="keep")
    fixed = Holomorphic(points=points, radius=P1_RADIUS, unsettled="keep")
    state = initial_train_state(experiment.net, automatic, experiment.optimizer, training.batch_size)
    key = jax.random.key(training.seed)
    batches = itertools.chain.from_iterable(
        epoch_batches(len(x), training.batch_size, seed=training.seed, epoch=epoch) for epoch in itertools.count()
    )
    for step in range(steps + 1):
        chosen = next(batches)
        batch = jnp.asarray(x[chosen]), jnp.asarray(y[chosen])
        if step % every == 0:
            k = step // every
            own, other = automatic(state.net, *batch, memory=state.memory), fixed(state.net, *batch)
            exact = _exact(state.net, batch, own.rest.state)
            if exact is None:
                report(f"{points} points, step {step}: some sample has no rest state, so no exact gradient")
            else:
                checked[k] = True
                for name, estimate in (("automatic", own), ("fixed", other)):
                    found[name][k] = 1 - alignment(estimate.gradient, exact).total.cosine
                found["predicted"][k] = float(own.certificate.batch_error)
                found["true"][k] = alignment(own.gradient, exact).total.relative_error
                radii[k] = np.quantile(np.abs(np.asarray(own.certificate.betas[0])), [0, 0.5, 1])
                spectrum = other.certificate.spectrum
                assert spectrum is not None
                outside[k] = np.mean(np.asarray(spectrum.radius_of_convergence) < P1_RADIUS)
                report(
                    f"{points} points, step {step}: 1 − cosine {found['automatic'][k]:.1e}, "
                    f"at r = {P1_RADIUS:g} {found['fixed'][k]:.1e}"
                )
        state, _ = train_step(state, *batch, jax.random.fold_in(key, step), automatic, experiment.optimizer)
    return {**found, "radii": radii, "outside": outside, "checked": checked}


def _exact(net: AbstractNetwork, batch: tuple[Array, Array], state: State) -> AbstractNetwork | None:
    """Return the exact gradient, or `None` if there is none because some sample comes to no rest state."""
    try:
        return exact_gradient_near(net, *batch, state)
    except UnsettledError:
        return None


def worst_ratios(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return, for each number of points, the largest ratio of the two circles' `1 − cosine`: below 1, never worse.

    NaN where no check had an exact gradient.
    """
    # A gradient that is not even a number is worse by any factor.
    fixed = np.where(np.isnan(arrays["fixed"]), np.inf, arrays["fixed"])
    return np.fmax.reduce(np.where(arrays["checked"], arrays["automatic"] / fixed, np.nan), axis=-1)


def _claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    return [
        Claim(
            f"{points} points: 1 − cosine of the automatic circle over that of r = {P1_RADIUS:g}, worst of "
            f"{int(checked.sum())} checks",
            float(ratio),
            "≤",
            1.0,
            "this project",
        )
        for points, ratio, checked in zip(
            arrays["points"].tolist(), worst_ratios(arrays), arrays["checked"], strict=True
        )
    ]


def _table(arrays: dict[str, np.ndarray]) -> Table:
    rows = []
    for c, points in enumerate(arrays["points"].tolist()):
        known = arrays["checked"][c]
        own, other = arrays["automatic"][c, known], arrays["fixed"][c, known]
        low, high = arrays["radii"][c, known, 0].min(), arrays["radii"][c, known, 2].max()
        rows.append(
            (
                points,
                *(float(value) for lack in (own, other) for value in (np.median(lack), lack.max())),
                f"{low:.2g} to {high:.2g}",
                float(np.median(arrays["predicted"][c, known] / arrays["true"][c, known])),
                f"{100 * arrays['outside'][c, known].mean():.1f} %",
            )
        )
    columns = (
        "N",
        "automatic, median",
        "worst",
        f"r = {P1_RADIUS:g}, median",
        "worst",
        "automatic radii",
        "predicted over true error, median",
        f"samples with R < {P1_RADIUS:g}",
    )
    return Table("1 − cosine to the exact gradient while the network learns", columns, rows)

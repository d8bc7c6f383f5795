"""Calibration of the certificate: the predicted against the true relative error of each sample's gradient.

Networks, inputs and nudges are drawn from a seed: widths, depths, activations, weight scales, both costs, |β| from 0.01
to 1.5, so that some circles are tiny and others enclose singularities. The truth is the implicit gradient; solvers go
to 1e-12 in float64.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from holoprop.experiments.reproduce.drawn_networks import Shape, draw_activation, draw_batch, draw_hidden
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Report
from holoprop.gradient.certificate import Verdict
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import Implicit
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.plain import Alternating
from holoprop.settling.solver import AbstractSolver

TOLERANCE = 1e-12
"""Of the solver, per neuron."""
RADII = (0.01, 1.5)
ATTAINABLE = 6.0
"""An error below so many tolerances, over the response, is as good as none: there the prediction need not match."""
SEED = 301

_SIZES: dict[Scale, tuple[int, int, tuple[int, ...]]] = {
    "smoke": (1, 24, (4,)),
    "small": (12, 24, (4, 6, 8)),
    "paper": (60, 24, (4, 6, 8)),
}
_VERDICTS = [verdict for verdict in Verdict if verdict is not Verdict.unknown]
_SOURCE = "this project"


def run(scale: Scale, seed: int | None, report: Report) -> Findings:
    """Measure true and predicted errors of `networks × batch × circles` samples."""
    count, batch, circles = _SIZES[scale]
    rng = np.random.default_rng(SEED if seed is None else seed)
    records: list[np.ndarray] = []
    words: list[str] = []
    with jax.enable_x64(True):
        for index in range(count):
            shape = _draw_shape(rng)
            words.append(shape.words)
            net = shape.network(int(rng.integers(1 << 30)))
            x, y = draw_batch(rng, shape, batch, signed=bool(rng.random() < 0.5))
            target = jax.nn.one_hot(y, shape.classes, dtype=x.dtype)
            tolerance = TOLERANCE * float(np.sqrt(sum(shape.hidden)))
            # At the scale of seconds plain alternation, which compiles in a fraction of Anderson's time.
            solver = Alternating(tolerance=tolerance) if scale == "smoke" else Anderson(tolerance=tolerance)
            truth = _exact(net, x, target, solver)
            for points in circles:
                radius = jnp.asarray(np.exp(rng.uniform(np.log(RADII[0]), np.log(RADII[1]), batch)))
                said, error = _estimate(net, x, target, radius, truth, points, solver)
                records.append(_record(said, error, radius, points, tolerance, index))
            report(f"network {index + 1} of {count}: {shape.words}")
            # Each network compiles its own programs; kept all, they would fill the memory.
            jax.clear_caches()
    arrays = {name: np.concatenate([r[name] for r in records]) for name in records[0].dtype.names or ()}
    arrays["words"] = np.array(words)
    settings = {
        "networks": f"{count} drawn: 1 to 3 layers of 8 to 128, weights × 0.5 to 2.5",
        "samples": len(arrays["error"]),
        "points N": ", ".join(map(str, circles)),
        "radius": f"{RADII[0]} to {RADII[1]}, log-uniform, for each sample",
        "solver": "plain alternation" if scale == "smoke" else "Anderson",
        "solver's tolerance": f"{TOLERANCE:g} per neuron (root mean square)",
        "seed": SEED if seed is None else seed,
        "exact gradient": "implicit",
        "precision": "float64",
    }
    return Findings(settings, _claims(arrays), [_table(arrays, circles)], arrays)


def within_ten(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return for which samples truth and prediction are within a factor 10, or both as good as none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.abs(np.log10(arrays["error"] / arrays["predicted"])) < 1
    return near | ((arrays["error"] < arrays["attainable"]) & (arrays["predicted"] < arrays["attainable"]))


def within_three(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return for which samples the true error is at most 3 times the prediction; not where either is NaN."""
    return arrays["error"] <= 3 * arrays["predicted"]


def _draw_shape(rng: np.random.Generator) -> Shape:
    return Shape(
        inputs=int(rng.choice([10, 50])),
        hidden=draw_hidden(rng, (8, 16, 32, 64, 128)),
        classes=int(rng.choice([3, 10])),
        activation=draw_activation(rng),
        weight_scale=float(rng.choice([0.5, 1, 1.5, 2, 2.5])),
        cost=str(rng.choice(["cross_entropy", "squared_error"], p=[0.75, 0.25])),
    )


@eqx.filter_jit
def _exact(net: LayeredNetwork, x: Array, target: Array, solver: AbstractSolver) -> LayeredNetwork:
    """Exact gradients, one for each sample: leaves `(batch, …)`."""
    estimator = Implicit(solver=solver, unsettled="keep")

    def sample(x: Array, target: Array) -> LayeredNetwork:
        return estimator.estimate(net, x[None], target[None], key=None, memory=None).gradient

    return jax.vmap(sample)(x, target)


@eqx.filter_jit
def _estimate(
    net: LayeredNetwork,
    x: Array,
    target: Array,
    radius: Float[Array, " batch"],
    truth: LayeredNetwork,
    points: int,
    solver: AbstractSolver,
) -> tuple[dict[str, Float[Array, " batch"]], Float[Array, " batch"]]:
    """What the certificates say, and true relative errors, for each sample."""

    def sample(x: Array, target: Array, radius: Array) -> tuple[LayeredNetwork, dict[str, Array]]:
        # Its gradient is wanted even where it did not settle, its verdict as by default.
        whole = Holomorphic(points=points, radius=1.0, solver=solver, unsettled="keep")
        estimator = eqx.tree_at(lambda e: e.radius, whole, radius)
        estimate = estimator.estimate(net, x[None], target[None], key=None, memory=None)
        certificate, spectrum = estimate.certificate, estimate.certificate.spectrum
        assert spectrum is not None
        said = {
            "predicted": certificate.predicted_error[0],
            "verdict": certificate.verdict[0],
            "limit": spectrum.radius_of_convergence[0],
            "first": spectrum.norms[0, 1],
        }
        return estimate.gradient, said

    gradients, said = jax.vmap(sample)(x, target, radius)

    def squares(tree: LayeredNetwork) -> Array:
        return sum((jnp.sum(leaf.reshape(len(x), -1) ** 2, 1) for leaf in jax.tree.leaves(tree)), jnp.zeros(len(x)))

    wrong = jax.tree.map(jnp.subtract, gradients, truth)
    return said, jnp.sqrt(squares(wrong) / squares(truth))


def _record(
    said: dict[str, Array], error: Array, radius: Array, points: int, tolerance: float, network: int
) -> np.ndarray:
    """One row a sample."""
    columns = {
        "error": np.asarray(error),
        "predicted": np.asarray(said["predicted"]),
        "verdict": np.asarray(said["verdict"]),
        "radius": np.asarray(radius),
        "limit": np.asarray(said["limit"]),
        "attainable": ATTAINABLE * tolerance / np.asarray(said["first"]),
        "points": np.full(len(error), points),
        "network": np.full(len(error), network),
    }
    rows = np.zeros(len(error), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    return rows


def _claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    error, verdict = arrays["error"], arrays["verdict"]
    ok, settled = verdict == Verdict.ok, verdict != Verdict.unsettled
    good = within_three(arrays)
    return [
        Claim(
            "share of settled samples with a true error within 10× of the prediction, or both below tolerance",
            float(within_ten(arrays)[settled].mean()),
            "≥",
            0.95,
            _SOURCE,
        ),
        Claim(
            "share of the samples called ok whose true error is at most 3 times the prediction",
            float(good[ok].mean()) if ok.any() else float("nan"),
            "≥",
            0.99,
            _SOURCE,
        ),
        Claim(
            "samples called ok whose true error is above 0.3",
            float((ok & ~(error <= 0.3)).sum()),
            "≤",
            0.0,
            _SOURCE,
        ),
    ]


def _table(arrays: dict[str, np.ndarray], circles: tuple[int, ...]) -> Table:
    rows = []
    for points in (*circles, None) if len(circles) > 1 else circles:
        chosen = np.ones(len(arrays["error"]), bool) if points is None else arrays["points"] == points
        each = {name: value[chosen] for name, value in arrays.items() if name != "words"}
        verdict = each["verdict"]
        ok, settled = verdict == Verdict.ok, verdict != Verdict.unsettled
        rows.append(
            (
                "all" if points is None else points,
                int(chosen.sum()),
                f"{100 * within_ten(each)[settled].mean():.1f} %",
                f"{100 * within_ten(each).mean():.1f} %",
                f"{100 * within_three(each)[ok].mean():.1f} %" if ok.any() else None,
                *(int((verdict == v).sum()) for v in _VERDICTS),
            )
        )
    columns = (
        "N",
        "samples",
        "within 10×, settled",
        "within 10×, all",
        "ok: at most 3×",
        *(v.words for v in _VERDICTS),
    )
    return Table("Shares and verdicts", columns, rows)

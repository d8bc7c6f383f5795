"""Exact gradients without weight symmetry: the error of the circle against its points, corrected and not.

Three networks of which none has a potential: dense layers with random feedback, a loop without reciprocal edges,
convolutions with softmax pooling and random feedback. Uncorrected, the error is that of asymmetry whatever the circle;
with `(Jᵀ − J)(s − s_0)` in the nudged phase it falls as `r^N` until nothing but rounding is left.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Report
from holoprop.gradient.agreement import alignment
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import ForwardResponse, Implicit
from holoprop.network.build import loop_mlp, mlp
from holoprop.network.build_conv import convnet
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.plain import Alternating

NETWORKS = ("dense", "loop", "convolutional")
_POINTS: dict[Scale, tuple[int, ...]] = {
    "smoke": (2, 16),
    "small": (2, 3, 4, 6, 8, 12, 16),
    "paper": (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16),
}
_BATCH = 10
_TOLERANCE = 1e-13
_SEED = 3
_RADIUS = {"dense": 0.1, "loop": 0.1, "convolutional": 0.2}
"""Well inside every sample's radius of convergence; larger ones need more points."""


def run(scale: Scale, seed: int | None, report: Report) -> Findings:
    """Measure relative errors to the implicit gradient, `(networks, points)`, in float64 on random inputs.

    At `smoke` of the dense network alone.
    """
    seed, points = _SEED if seed is None else seed, _POINTS[scale]
    networks = NETWORKS[:1] if scale == "smoke" else NETWORKS
    errors = {name: np.full((len(networks), len(points)), np.nan) for name in ("corrected", "plain", "predicted")}
    bias = np.full(len(networks), np.nan)
    solver = Alternating(tolerance=_TOLERANCE, max_steps=5000)
    with jax.enable_x64(True):
        for n, name in enumerate(networks):
            net, x, y = _problem(name, seed)
            exact = Implicit(solver=solver, unsettled="raise")(net, x, y)
            forward = ForwardResponse(solver=solver, unsettled="raise")(net, x, y)
            bias[n] = alignment(forward.gradient, exact.gradient).total.relative_error
            for k, count in enumerate(points):
                plain = Holomorphic(points=count, radius=_RADIUS[name], solver=solver, unsettled="raise")
                corrected = dataclasses.replace(plain, asymmetry="correct")
                for kind, circle in (("corrected", corrected), ("plain", plain)):
                    estimate = circle(net, x, y)
                    errors[kind][n, k] = alignment(estimate.gradient, exact.gradient).total.relative_error
                    if kind == "corrected":
                        errors["predicted"][n, k] = float(estimate.certificate.batch_error)
            report(f"{name}: bias of asymmetry {bias[n]:.2g}, corrected {errors['corrected'][n, -1]:.1e}")
    arrays = {"points": np.array(points), "bias": bias, **errors}
    settings = {
        "dense": "12-24-16-8, feedback at 90 degrees, readout of 8",
        "loop": "12 → 24 → 16 → 8 → 24, one way",
        "convolutional": "8×8×2, channels 6 and 10, softmax pooling, feedback at 90 degrees",
        "samples": f"{_BATCH}, random",
        "radius": ", ".join(f"{name} {radius:g}" for name, radius in _RADIUS.items()),
        "precision": f"float64, residuals of {_TOLERANCE:g}",
        "seed": seed,
    }
    return Findings(settings, _claims(arrays), [_table(arrays)], arrays)


def _problem(name: str, seed: int) -> tuple[LayeredNetwork, jax.Array, jax.Array]:
    key, rng = jax.random.key(seed), np.random.default_rng(seed)
    if name == "convolutional":
        net = convnet((8, 8, 2), (6, 10), 8, padding="SAME", feedback="free", weight_scale=1.5, key=key)
    elif name == "loop":
        net = loop_mlp(12, (24, 16, 8), 8, key=key)
    else:
        net = mlp(12, (24, 16, 8), 8, feedback="free", key=key)
    x = jnp.asarray(rng.random((_BATCH, *net.input_shape)))
    return net, x, jnp.asarray(rng.integers(0, net.classes, _BATCH))


def _claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    claims = []
    for n, name in enumerate(NETWORKS[: len(arrays["bias"])]):
        last = arrays["points"][-1]
        claims.append(
            Claim(
                f"{name}: relative error of the corrected circle, N = {last}",
                float(arrays["corrected"][n, -1]),
                "≤",
                1e-10,
                "this project; Scurria et al. 2026 for infinitesimal nudges",
            )
        )
        claims.append(
            Claim(
                f"{name}: error of the plain circle over that of asymmetry alone, smallest of all N",
                float((arrays["plain"][n] / arrays["bias"][n]).min()),
                "≥",
                0.8,
                "P2 (arXiv 2309.02214): the bias that no circle removes",
            )
        )
    return claims


def _table(arrays: dict[str, np.ndarray]) -> Table:
    rows = [
        (name, f"{bias:.3g}", *(f"{error:.1e}" for error in corrected))
        for name, bias, corrected in zip(NETWORKS, arrays["bias"], arrays["corrected"], strict=False)
    ]
    columns = ("network", "uncorrected, any N", *(f"corrected, N = {n}" for n in arrays["points"]))
    return Table("Relative error to the exact gradient", columns, rows)

"""P1's Figure 4a and b: how exact the gradient of a deep network is, by the size of the nudge and the points around it.

A VGG of six convolutions, untrained, on 32×32 images. With `N` points the error falls as `|β|^N` until rounding ends
it, so that more points admit larger nudges; without a complex derivative (clipped activation, pooling by maxima) no
nudge is right. P1 took ImageNet 32×32; for untrained weights CIFAR-10 does as well, whose official files can be had.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from holoprop.data.loading import load_dataset
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner
from holoprop.gradient.agreement import alignment
from holoprop.gradient.estimate import AbstractEstimator
from holoprop.gradient.finite_difference import OneSided
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import Implicit
from holoprop.network.build_conv import convnet
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson

_CHANNELS = (128, 128, 256, 256, 512, 512)
_CLASSES = 1000
_SEED = 3
WIDE_ENOUGH = 1e-3
"""P1's ranges are those of nudges with 1 − cosine below this."""


@dataclasses.dataclass(frozen=True)
class _Size:
    """`narrowing`: of the channels; `batch`; `betas`, `around`, `hard` (points): of Fig. 4a; `points`: of Fig. 4b.

    `steps`: the most that each of the solver's stages takes, holomorphic and hard. At full size those are P1's, since
    the largest nudges have no rest state, and looking for one would take hours; where there is one, ten steps find it.
    """

    narrowing: int
    batch: int
    betas: tuple[float, ...]
    around: tuple[int, ...]
    points: tuple[int, ...]
    hard: tuple[int, ...] = (1, 2)
    steps: tuple[int, int] = (500, 500)

    def solver(self, kind: str) -> Anderson:
        return Anderson(max_steps=self.steps[kind == "hard"])


_SIZES: dict[Scale, _Size] = {
    "smoke": _Size(16, 2, (0.3, 1.0, 2.0), (1, 2), (1, 2), (2,)),
    "small": _Size(4, 4, tuple(np.geomspace(1e-3, 30, 19).tolist()), (1, 2, 4, 8), (1, 2, 4, 6, 8)),
    "paper": _Size(
        1, 16, tuple(np.geomspace(1e-4, 100, 50).tolist()), (1, 2, 4, 20), (1, *range(2, 21, 2)), steps=(20, 50)
    ),
}
THREE = (0.01, 0.1, 1.0)
"""The nudges of Fig. 4b."""
_RANGES = {1: (0.004, 0.47), 2: (0.0017, 4.5), 4: (0.003, 10.5), 20: (0.005, 18.4)}
_AT_ONE = {1: 3.2e-3, 2: 1.1e-6}
_SLOPES = {1: (0.27, 2.6, 0.1), 2: (0.83, 4.5, 0.2), 4: (4.5, 14.0, 0.4)}
"""Where the published error falls as `|β|^N`, and how far from `N` the slope may be here."""
_BEST_HARD = {1: 6.7e-3, 2: 1.8e-3}
_SOURCE = "P1 (arXiv 2209.00530), Fig. 4a, published result files"


def run_fig4a(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Sweep the nudge; arrays are `(kinds of curve, nudges, layers)` and `(kinds of curve, nudges)`."""
    size, first = _SIZES[scale], _SEED if seed is None else seed
    curves = [*(("holomorphic", points) for points in size.around), *(("hard", points) for points in size.hard)]
    arrays = _curves(runner, curves, size.betas, first, scale)
    claims = _slopes(arrays) if scale != "smoke" else []
    largest = {points: _largest(arrays, points) for points in size.around}
    claims += [
        Claim(
            "hard activation and pooling: smallest 1 − cosine at any nudge, 2 points (published 1.8e-3)",
            float(_lost(arrays, "hard", 2).min()),
            "≥",
            1e-3,
            _SOURCE,
        ),
        Claim(
            "1 − cosine of two points at the nudge nearest to 1 less that of one point",
            float(_near_one(arrays, 2) - _near_one(arrays, 1)),
            "<",
            0.0,
            _SOURCE,
        ),
    ]
    if 4 in size.around:
        claims.append(Claim("1 − cosine of four points there", _near_one(arrays, 4), "≤", 1e-6, _SOURCE))
        claims += [
            Claim(
                f"largest nudge with 1 − cosine < {WIDE_ENOUGH:g}, {more} points over {fewer}",
                largest[more] / largest[fewer],
                ">",
                1.0,
                _SOURCE,
            )
            for fewer, more in ((1, 2), (2, 4))
        ]
    table = Table(
        f"Nudges with 1 − cosine < {WIDE_ENOUGH:g}",
        ("points", "published", "here", "1 − cosine near β = 1"),
        [
            (points, _range(_RANGES.get(points)), _range(_reach(arrays, points)), f"{_near_one(arrays, points):.1e}")
            for points in size.around
        ],
    )
    hard = Table(
        "Without a complex derivative: smallest 1 − cosine at any nudge",
        ("points", "published", "here"),
        [(points, f"{_BEST_HARD[points]:.1e}", f"{_lost(arrays, 'hard', points).min():.1e}") for points in size.hard],
    )
    return Findings(_settings(size, first), claims, [table, hard], arrays)


def run_fig4b(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Sweep the points at three nudges; arrays as those of Fig. 4a."""
    size, first = _SIZES[scale], _SEED if seed is None else seed
    arrays = _curves(runner, [("holomorphic", points) for points in size.points], THREE, first, scale)
    lost = np.maximum(1 - arrays["cosine"], 0)
    one = {points: float(lost[k, THREE.index(1.0)]) for k, points in enumerate(size.points)}
    claims = [
        Claim("β = 1: 1 − cosine of one point (published 3.2e-3)", one[1], "≥", 1e-3, _SOURCE),
        Claim("β = 1: 1 − cosine of two points over that of one (published 3e-4)", one[2] / one[1], "≤", 0.01, _SOURCE),
    ]
    claims += [
        Claim(f"β = 1: 1 − cosine of {points} points (published 0)", one[points], "≤", 1e-6, _SOURCE)
        for points in size.points
        if points >= 4
    ]
    table = Table(
        "1 − cosine",
        ("points", "β = 1, published", *(f"β = {beta:g}" for beta in THREE)),
        [
            (points, f"{_AT_ONE[points]:.1e}" if points in _AT_ONE else "0", *(f"{each:.1e}" for each in lost[k]))
            for k, points in enumerate(size.points)
        ],
    )
    return Findings(_settings(size, first), claims, [table], arrays)


def curve(report: Report, *, kind: str, points: int, betas: str, seed: int, scale: Scale) -> Arrays:
    """Return cosine and relative error of a gradient at each nudge, in total and layer by layer.

    **Arguments:** `kind`: `holomorphic`, or `hard`; `betas`: the nudges, with commas between them.
    """
    size = _SIZES[scale]
    net, (x, y) = _network(kind, size, seed), _images(size.batch, seed)
    solver = size.solver(kind)
    truth = Implicit(solver=solver, unsettled="keep")(net, x, y)
    cosines, errors, layers = [], [], []
    for beta in map(float, betas.split(",")):
        found = alignment(_gradient(points, jnp.asarray(beta, x.dtype), net, x, y, solver), truth.gradient)
        cosines.append(found.total.cosine)
        errors.append(found.total.relative_error)
        layers.append([layer.cosine for layer in found.layers.values()])
        report(f"{kind}, N = {points}, β = {beta:.3g}: 1 − cosine {1 - cosines[-1]:.1e}")
    return {"cosine": np.array(cosines), "error": np.array(errors), "layers": np.array(layers)}


@eqx.filter_jit
def _gradient(
    points: int, beta: jax.Array, net: LayeredNetwork, x: jax.Array, y: jax.Array, solver: Anderson
) -> LayeredNetwork:
    """Return the estimated gradient; the nudge is traced, so that one program serves all of a curve."""
    estimator: AbstractEstimator
    # Not by their constructors, which check the nudge and so must know it.
    if points == 1:
        estimator = eqx.tree_at(lambda e: e.beta, OneSided(solver=solver, unsettled="keep"), beta)
    else:
        circle = Holomorphic(points=points, radius=1.0, solver=solver, unsettled="keep")
        estimator = eqx.tree_at(lambda e: e.radius, circle, beta)
    return estimator(net, x, y).gradient


def _network(kind: str, size: _Size, seed: int) -> LayeredNetwork:
    return convnet(
        (32, 32, 3),
        [count // size.narrowing for count in _CHANNELS],
        _CLASSES,
        pools=(1, 3, 5),
        padding=("SAME", "SAME", "SAME", "VALID", "SAME", "VALID"),
        pooling="softmax" if kind == "holomorphic" else "max",
        activation="double_silu" if kind == "holomorphic" else "hard_sigmoid",
        key=jax.random.key(seed),
    )


def _images(count: int, seed: int) -> tuple[jax.Array, jax.Array]:
    """The first test images of CIFAR-10, each channel with mean 0 and deviation 1, and labels drawn for them."""
    pixels = load_dataset("cifar-10").test.inputs(slice(0, count))
    pixels = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
    return jnp.asarray(pixels), jax.random.randint(jax.random.key(seed), (count,), 0, _CLASSES)


def _curves(
    runner: Runner, curves: list[tuple[str, int]], betas: tuple[float, ...], seed: int, scale: Scale
) -> dict[str, np.ndarray]:
    listed = ",".join(map(repr, betas))
    parts = runner.parts(
        curve,
        [{"kind": kind, "points": points, "betas": listed, "seed": seed, "scale": scale} for kind, points in curves],
    )
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    kinds, points = zip(*curves, strict=True)
    return {"betas": np.array(betas), "kinds": np.array(kinds), "points": np.array(points), **arrays}


def _settings(size: _Size, seed: int) -> dict[str, object]:
    channels = "-".join(str(count // size.narrowing) for count in _CHANNELS)
    return {
        "network": f"VGG-6, {channels}, 3×3, pools after 1, 3 and 5, {_CLASSES} classes, untrained",
        "holomorphic": "double SiLU, softmax pooling",
        "hard": "clipped activation, max pooling",
        "data": f"{size.batch} test images of CIFAR-10, labels drawn (P1: ImageNet 32×32)",
        "exact gradient": "implicit",
        "precision": "float32, every state at rest where there is one",
        "sweeps": f"at most {size.steps[0]}, hard {size.steps[1]}, of each kind: accelerated, plain, damped",
        "seed": seed,
    }


def _of(arrays: Arrays, kind: str, points: int) -> int:
    return int(np.flatnonzero((arrays["kinds"] == kind) & (arrays["points"] == points))[0])


def _lost(arrays: Arrays, kind: str, points: int) -> np.ndarray:
    """`1 − cosine` of a curve; what is not a number is as bad as can be."""
    return np.nan_to_num(np.maximum(1 - arrays["cosine"][_of(arrays, kind, points)], 0), nan=1.0)


def _near_one(arrays: Arrays, points: int) -> float:
    return float(_lost(arrays, "holomorphic", points)[np.abs(np.log(arrays["betas"])).argmin()])


def _reach(arrays: Arrays, points: int) -> tuple[float, float] | None:
    """The smallest and the largest nudge that is good enough."""
    good = arrays["betas"][_lost(arrays, "holomorphic", points) < WIDE_ENOUGH]
    return (float(good.min()), float(good.max())) if good.size else None


def _largest(arrays: Arrays, points: int) -> float:
    reach = _reach(arrays, points)
    return float("nan") if reach is None else reach[1]


def _range(reach: tuple[float, float] | None) -> str | None:
    return None if reach is None else f"{reach[0]:.2g} to {reach[1]:.2g}"


def _slopes(arrays: Arrays) -> list[Claim]:
    """How steeply the relative error rises with the nudge, where the published one does so."""
    claims = []
    for points, (low, high, allowed) in _SLOPES.items():
        error = arrays["error"][_of(arrays, "holomorphic", points)]
        within = (arrays["betas"] >= low) & (arrays["betas"] <= high) & np.isfinite(error)
        slope = np.nan
        if within.sum() >= 2:
            slope = np.polyfit(np.log(arrays["betas"][within]), np.log(error[within]), 1)[0]
        claims.append(
            Claim(
                f"slope of the error from N = {points}, β = {low:g} to {high:g}",
                float(abs(slope - points)),
                "≤",
                allowed,
                _SOURCE,
            )
        )
    return claims

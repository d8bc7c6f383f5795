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
from holoprop.settling.rest import Status

_CHANNELS = (128, 128, 256, 256, 512, 512)
_CLASSES = 1000
_SEED = 3
WIDE_ENOUGH = 1e-3
"""P1's ranges are those of nudges with 1 − cosine below this."""


@dataclasses.dataclass(frozen=True)
class _Size:
    """`narrowing`: of the channels; `batch`; `betas`, `around`, `hard` (points): of Fig. 4a; `points`: of Fig. 4b.

    `steps`: the most that each of the solver's stages takes, holomorphic and hard. At full size few, since the largest
    nudges have no rest state, and looking for one would take hours.
    """

    narrowing: int
    batch: int
    betas: tuple[float, ...]
    around: tuple[int, ...]
    points: tuple[int, ...]
    hard: tuple[int, ...] = (1, 2)
    steps: tuple[int, int] = (500, 500)

    def solver(self, kind: str, tolerance: float | jax.Array) -> Anderson:
        return Anderson(max_steps=self.steps[kind == "hard"], tolerance=tolerance)


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
_AT_TENTH = {1: 3.3e-5, 2: 6e-7}
_AT_HUNDREDTH = 2e-4
"""What Fig. 4b shows of 1 − cosine at β = 1, 0.1 and 0.01: by points (as with two, so with more), the last at most."""
_SLOPES = {1: (0.27, 2.6, 0.1), 2: (0.83, 4.5, 0.2), 4: (4.5, 14.0, 0.4)}
"""Where the published error falls as `|β|^N`, and how far from `N` the slope may be here."""
_BEST_HARD = {1: 6.7e-3, 2: 1.8e-3}
_SOURCE = "P1 (arXiv 2209.00530), Fig. {}, published result files"
_TOLERANCES = (3e-6, 1e-5)
"""The least residual, about all that float32 allows, and the largest; between them `1e-4 β`, as `1/β` magnifies it."""
_PIECE = 10
"""Nudges of a curve that are one part."""
_NEAR = 2.0
"""The factor within which a number of the paper is met, at its full size."""


def run_fig4a(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Sweep the nudge; arrays are `(kinds of curve, nudges, layers)` and `(kinds of curve, nudges)`."""
    size, first = _SIZES[scale], _SEED if seed is None else seed
    curves = [*(("holomorphic", points) for points in size.around), *(("hard", points) for points in size.hard)]
    arrays = _curves(runner, curves, size.betas, first, scale)
    claims = fig4a_claims(arrays, scale)
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
        [(points, f"{_BEST_HARD[points]:.1e}", f"{_smallest(arrays, 'hard', points):.1e}") for points in size.hard],
    )
    return Findings(_settings(size, first), claims, [table, hard], arrays)


def run_fig4b(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Sweep the points at three nudges; arrays as those of Fig. 4a."""
    size, first = _SIZES[scale], _SEED if seed is None else seed
    arrays = _curves(runner, [("holomorphic", points) for points in size.points], THREE, first, scale)
    table = Table(
        "1 − cosine",
        ("points", *(words for beta in THREE for words in (f"β = {beta:g}, published", "here"))),
        [(points, *_row_of_4b(arrays, points)) for points in size.points],
    )
    return Findings(_settings(size, first), fig4b_claims(arrays, scale), [table], arrays)


def _row_of_4b(arrays: Arrays, points: int) -> list[str]:
    lost = _lost(arrays, "holomorphic", points)
    at_one = f"{_AT_ONE[points]:.1e}" if points in _AT_ONE else "0"
    published = ("2e-05 to 2e-04", f"{_AT_TENTH[min(points, 2)]:.1e}", at_one)
    return [cell for known, here in zip(published, lost, strict=True) for cell in (known, f"{here:.1e}")]


def fig4a_claims(arrays: Arrays, scale: Scale) -> list[Claim]:
    """Return the claims on Fig. 4a that can hold at a scale: the paper's numbers themselves only at its own size."""
    source = _SOURCE.format("4a")
    own = f"limit: this project; {source}"
    around = [int(n) for n, kind in zip(arrays["points"], arrays["kinds"], strict=True) if kind == "holomorphic"]
    reach = {points: _reach(arrays, points) or (np.nan, np.nan) for points in around}
    claims = _slopes(arrays) if scale != "smoke" else []
    claims += [
        Claim(
            "hard activation and pooling: smallest 1 − cosine at any nudge, 2 points (published 1.8e-3)",
            np.nan if arrays["unsettled"][_of(arrays, "hard", 2)] else _smallest(arrays, "hard", 2),
            "≥",
            1e-3,
            own,
        ),
        Claim(
            "1 − cosine of two points at the nudge nearest to 1 less that of one point",
            _near_one(arrays, 2) - _near_one(arrays, 1),
            "<",
            0.0,
            source,
        ),
    ]
    if 4 in around:
        claims.append(Claim("1 − cosine of four points there (published 0)", _near_one(arrays, 4), "≤", 1e-6, own))
        claims += [
            Claim(
                f"largest nudge with 1 − cosine < {WIDE_ENOUGH:g}, {more} points over {fewer}",
                reach[more][1] / reach[fewer][1],
                ">",
                1.0,
                source,
            )
            for fewer, more in ((1, 2), (2, 4))
        ]
    if scale == "paper":
        for points, published in _RANGES.items():
            words = f"{points} point{'s'[: points - 1]}: {{}} nudge with 1 − cosine < {WIDE_ENOUGH:g}, published {{:g}}"
            # The largest is of the estimate's bias, which is what it is; the smallest of rounding, which can be less.
            smallest, largest = (found / known for found, known in zip(reach[points], published, strict=True))
            claims += [
                Claim(f"{words.format('smallest', published[0])}, over it", float(smallest), "≤", _NEAR, own),
                Claim(
                    f"{words.format('largest', published[1])}, off by a factor of",
                    float(max(largest, 1 / largest)),
                    "≤",
                    _NEAR,
                    own,
                ),
            ]
    return [*claims, _at_rest(arrays)]


def fig4b_claims(arrays: Arrays, scale: Scale) -> list[Claim]:
    """Return the claims on Fig. 4b that can hold at a scale, as `fig4a_claims`."""
    source = _SOURCE.format("4b")
    own = f"limit: this project; {source}"
    lost = {points: _lost(arrays, "holomorphic", points) for points in arrays["points"].tolist()}
    hundredth, tenth, one = (THREE.index(beta) for beta in (0.01, 0.1, 1.0))
    claims = [
        Claim("β = 1: 1 − cosine of one point (published 3.2e-3)", float(lost[1][one]), "≥", 1e-3, own),
        Claim(
            "β = 1: 1 − cosine of two points over that of one (published 3e-4)",
            float(lost[2][one] / lost[1][one]),
            "≤",
            0.01,
            own,
        ),
    ]
    claims += [
        Claim(
            f"β = 1: 1 − cosine of {points} points (published 0)",
            float(each[one]),
            "≤",
            1e-6,
            own,
        )
        for points, each in lost.items()
        if points >= 4
    ]
    if scale == "paper":
        more = [each for points, each in lost.items() if points > 1]
        claims += [
            Claim(
                "β = 1: 1 − cosine of one point over the published one, either way",
                float(max(lost[1][one] / _AT_ONE[1], _AT_ONE[1] / lost[1][one])),
                "≤",
                _NEAR,
                own,
            ),
            Claim("β = 1: 1 − cosine of two points", float(lost[2][one]), "≤", _NEAR * _AT_ONE[2], source),
            Claim("β = 0.1: 1 − cosine of one point", float(lost[1][tenth]), "≤", _NEAR * _AT_TENTH[1], source),
            Claim(
                "β = 0.1: 1 − cosine of more points, the worst",
                float(np.max([each[tenth] for each in more])),
                "≤",
                _NEAR * _AT_TENTH[2],
                source,
            ),
            Claim(
                "β = 0.01: 1 − cosine, the worst (published: noise, 2e-5 to 2e-4)",
                float(np.max([each[hundredth] for each in lost.values()])),
                "≤",
                _AT_HUNDREDTH,
                source,
            ),
        ]
    return [*claims, _at_rest(arrays)]


def _at_rest(arrays: Arrays) -> Claim:
    worst = arrays["kinds"][arrays["unsettled"].argmax()]
    return Claim(
        f"samples without a rest state for the exact gradient, worst network ({worst})",
        float(arrays["unsettled"].max()),
        "≤",
        0.0,
        "this project",
    )


def curve(report: Report, *, kind: str, points: int, betas: str, seed: int, scale: Scale) -> Arrays:
    """Return cosine and relative error of a gradient at each nudge, in total and layer by layer.

    **Arguments:** `kind`: `holomorphic`, or `hard`; `betas`: the nudges, with commas between them.
    """
    size = _SIZES[scale]
    net, (x, y) = _network(kind, size, seed), _images(size.batch, seed)
    truth = Implicit(solver=size.solver(kind, _TOLERANCES[0]), unsettled="keep")(net, x, y)
    cosines, errors, layers = [], [], []
    for beta in map(float, betas.split(",")):
        nudge, tolerance = (jnp.asarray(each, x.dtype) for each in (beta, np.clip(1e-4 * beta, *_TOLERANCES)))
        found = alignment(_gradient(points, nudge, net, x, y, size.solver(kind, tolerance)), truth.gradient)
        cosines.append(found.total.cosine)
        errors.append(found.total.relative_error)
        layers.append([layer.cosine for layer in found.layers.values()])
        report(f"{kind}, N = {points}, β = {beta:.3g}: 1 − cosine {1 - cosines[-1]:.1e}")
    unsettled = np.array(float((truth.certificate.free_status != Status.settled).sum()))
    return {
        "cosine": np.array(cosines),
        "error": np.array(errors),
        "layers": np.array(layers),
        "unsettled": unsettled,
    }


@eqx.filter_jit
def _gradient(
    points: int, beta: jax.Array, net: LayeredNetwork, x: jax.Array, y: jax.Array, solver: Anderson
) -> LayeredNetwork:
    """Return the estimated gradient; nudge and tolerance are traced, so that one program serves all of a curve."""
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
    # A part is what is lost at most to an interruption: of many points some minutes.
    pieces = [",".join(map(repr, betas[first : first + _PIECE])) for first in range(0, len(betas), _PIECE)]
    parts = runner.parts(
        curve,
        [
            {"kind": kind, "points": points, "betas": piece, "seed": seed, "scale": scale}
            for kind, points in curves
            for piece in pieces
        ],
    )
    whole = [parts[first : first + len(pieces)] for first in range(0, len(parts), len(pieces))]
    arrays = {
        name: np.stack([np.concatenate([part[name] for part in each]) for each in whole])
        for name in ("cosine", "error", "layers")
    }
    arrays["unsettled"] = np.array([each[0]["unsettled"] for each in whole])
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
        "precision": "float32",
        "sweeps": f"at most {size.steps[0]}, hard {size.steps[1]}, of each kind: accelerated, plain, damped",
        "residuals": f"1e-4 β, from {_TOLERANCES[0]:g} to {_TOLERANCES[1]:g}",
        "seed": seed,
    }


def _of(arrays: Arrays, kind: str, points: int) -> int:
    return int(np.flatnonzero((arrays["kinds"] == kind) & (arrays["points"] == points))[0])


def _lost(arrays: Arrays, kind: str, points: int) -> np.ndarray:
    """`1 − cosine` of a curve."""
    return np.maximum(1 - arrays["cosine"][_of(arrays, kind, points)], 0)


def _smallest(arrays: Arrays, kind: str, points: int) -> float:
    """The smallest `1 − cosine` of a curve; NaN if none of it is a number."""
    return float(np.fmin.reduce(_lost(arrays, kind, points)))


def _near_one(arrays: Arrays, points: int) -> float:
    return float(_lost(arrays, "holomorphic", points)[np.abs(np.log(arrays["betas"])).argmin()])


def _reach(arrays: Arrays, points: int) -> tuple[float, float] | None:
    """The smallest and the largest nudge that is good enough."""
    good = arrays["betas"][_lost(arrays, "holomorphic", points) < WIDE_ENOUGH]
    return (float(good.min()), float(good.max())) if good.size else None


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
                _SOURCE.format("4a"),
            )
        )
    return claims

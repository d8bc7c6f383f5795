"""The automatic circle against fixed radii: is one setting for all as good as a radius tuned for each network?

In each of four settings (two solver tolerances in float64, float32, noise) and for 2, 4 and 8 points the relative error
of the mean gradient on the automatic circle is set beside that of the best radius of a list, which is known only
because the exact gradient is. The automatic circle has no memory of earlier steps, except under noise, where that is
how it learns; its error at the first step is given too.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float

from holoprop.experiments.reproduce.drawn_networks import Shape, draw_activation, draw_batch, draw_hidden
from holoprop.experiments.reproduce.exact_reference import exact_gradient_near, in_precision
from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Arrays, Report, Runner
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.network.layered import LayeredNetwork
from holoprop.settling.anderson import Anderson
from holoprop.settling.plain import Alternating
from holoprop.settling.run import settle
from holoprop.settling.solver import AbstractSolver
from holoprop.settling.time_stepping import Noise, TimeSteps

RADII = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.5, 1.0, 1.6)
P1_RADIUS = 0.4
"""P1 trains with this one, whatever the network."""
SEED = 1101
"""Networks that were not looked at while the circle was being built."""
_BATCH = 16
_STD = 0.01
_DRAWS = 4
"""Draws of the noise; the error is their root mean square."""
_STEPS = 8
"""Steps of the automatic circle before it is measured under noise, where a single one does not show enough."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What limits the exactness besides the circle: precision, the solver's tolerance, noise.

    With `plain` the solver is plain alternation, which compiles in a fraction of Anderson's time.
    """

    name: str
    dtype: str
    tolerance: float | None
    noisy: bool = False
    plain: bool = False

    def estimator(self, points: int, radius: float | None) -> Holomorphic:
        """Return the estimator with a fixed radius, or the automatic one for `None`."""
        solver = Alternating(tolerance=self.tolerance) if self.plain else Anderson(tolerance=self.tolerance)
        nudged: AbstractSolver | None = TimeSteps(60, noise=Noise(_STD)) if self.noisy else None
        return Holomorphic(
            points=points,
            radius="auto" if radius is None else radius,
            solver=solver,
            nudged_solver=nudged,
            unsettled="keep",
        )


SETTINGS = (
    Setting("float64, tolerance 1e-12", "float64", 1e-12),
    Setting("float64, tolerance 1e-6", "float64", 1e-6),
    Setting("float32", "float32", None),
    Setting("noise 0.01", "float64", 1e-6, noisy=True),
)

_SIZES: dict[Scale, tuple[int, int, tuple[int, ...], tuple[Setting, ...]]] = {
    "smoke": (1, 1, (4,), (dataclasses.replace(SETTINGS[0], plain=True),)),
    "small": (5, 2, (2, 4, 8), SETTINGS),
    "paper": (10, 3, (2, 4, 8), SETTINGS),
}
_SOURCE = "this project"


def run(scale: Scale, seed: int | None, runner: Runner) -> Findings:
    """Measure relative errors, `(networks, settings, circles)`, on the automatic circle and at each fixed radius."""
    shapes, each, circles, settings = _SIZES[scale]
    seed = SEED if seed is None else seed
    parts = runner.parts(errors_of_shape, [{"shape": shape, "seed": seed, "scale": scale} for shape in range(shapes)])
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "seconds"}
    redrawn = int(arrays.pop("redrawn").sum())
    arrays |= {
        "radii": np.array(RADII),
        "points": np.array(circles),
        "settings": np.array([setting.name for setting in settings]),
        "noisy": np.array([setting.noisy for setting in settings]),
    }
    described = {
        "networks": f"{shapes * each} drawn: 1 to 3 layers of 16 to 128, weights × 0.5 to 2",
        "drawn again": f"{redrawn}, because some sample came to no rest state: then there is no exact gradient",
        "batch": _BATCH,
        "fixed radii": ", ".join(f"{radius:g}" for radius in RADII),
        "points N": ", ".join(map(str, circles)),
        "automatic circle": f"one setting for all; no memory, except under noise: of {_STEPS} steps",
        "noise": f"standard deviation {_STD} on the drive, 60 steps at each point, {_DRAWS} draws",
        "seed": seed,
        "solver": "plain alternation" if settings[0].plain else "Anderson",
        "exact gradient": "implicit, float64",
    }
    return Findings(described, _claims(arrays), _tables(arrays), arrays)


def errors_of_shape(report: Report, *, shape: int, seed: int, scale: Scale) -> Arrays:
    """Measure the networks of the shape of that number, which share their compiled programs.

    **Returns:** `words`, `redrawn`, `(networks,)`; `automatic`, `first_step`, `lowest_radius`, `highest_radius`,
    `outside`, `(networks, settings, circles)`; `fixed`, `(networks, settings, circles, radii)`.
    """
    shapes, each, circles, settings = _SIZES[scale]
    drawn = _drawn(seed, shape, each)
    size = (each, len(settings), len(circles))
    fixed, automatic = np.full((*size, len(RADII)), np.nan), np.full(size, np.nan)
    lowest, highest, outside = np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, bool)
    cold = np.full(size, np.nan)
    for index, (_, net, x, y, _) in enumerate(drawn):
        for s, setting in enumerate(settings):
            with jax.enable_x64(setting.dtype == "float64"):
                error = _error_of(*in_precision((net, x), setting.dtype), y, setting)
                for c, points in enumerate(circles):
                    at = (index, s, c)
                    for k, radius in enumerate(RADII):
                        fixed[(*at, k)] = error(setting.estimator(points, radius))[0]
                    automatic[at], radii, limits = error(setting.estimator(points, None))
                    cold[at] = automatic[at]
                    if setting.noisy:
                        automatic[at], radii, limits = error(setting.estimator(points, None), _STEPS)
                    lowest[at], highest[at] = radii.min(), radii.max()
                    outside[at] = bool(np.any(limits < P1_RADIUS))
            ratio = np.array2string(automatic[index, s] / np.fmin.reduce(fixed[index, s], -1), precision=2)
            report(f"network {shape * each + index + 1} of {shapes * each}, {setting.name}: {ratio}")
    jax.clear_caches()
    return {
        "words": np.array([each.words for each, *_ in drawn]),
        "redrawn": np.array([again for *_, again in drawn]),
        "fixed": fixed,
        "automatic": automatic,
        "first_step": cold,
        "lowest_radius": lowest,
        "highest_radius": highest,
        "outside": outside,
    }


def _drawn(seed: int, shape: int, count: int) -> list[tuple[Shape, LayeredNetwork, Array, Array, int]]:
    """Return the networks of the shape of that number, `count` of each shape, with a batch for each (`_draw_at_rest`).

    All shapes before it are drawn as well, from the same stream: so each has its own whoever computes it.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(shape + 1):
        hidden, activation = draw_hidden(rng, (16, 32, 64, 128)), draw_activation(rng)
        drawn = []
        for _ in range(count):
            one = Shape(30, hidden, 5, activation, float(rng.choice([0.5, 1, 1.5, 2])))
            drawn.append((one, *_draw_at_rest(rng, one)))
    return drawn


def ratios(arrays: dict[str, np.ndarray]) -> Float[np.ndarray, "networks settings circles"]:
    """Return the automatic circle's error over that of the best fixed radius."""
    return arrays["automatic"] / np.fmin.reduce(arrays["fixed"], -1)


def gains(arrays: dict[str, np.ndarray]) -> Float[np.ndarray, "networks settings circles"]:
    """Return how many times smaller the automatic circle's error is than that at P1's radius."""
    at = int(np.flatnonzero(arrays["radii"] == P1_RADIUS)[0])
    with np.errstate(invalid="ignore"):
        # A gradient that is not even a number is worse by any factor.
        return np.where(np.isnan(arrays["fixed"][..., at]), np.inf, arrays["fixed"][..., at] / arrays["automatic"])


def _draw_at_rest(rng: np.random.Generator, shape: Shape) -> tuple[LayeredNetwork, Array, Array, int]:
    """Return a network and a batch of which every sample has a rest state, and how many were drawn in vain."""
    with jax.enable_x64(True):
        again = 0
        while True:
            net = shape.network(int(rng.integers(1 << 30)))
            x, y = draw_batch(rng, shape, _BATCH)
            if bool(settle(net, x, solver=Anderson(tolerance=1e-12)).settled.all()):
                return net, x, y, again
            again += 1


def _error_of(
    net: LayeredNetwork, x: Array, y: Array, setting: Setting
) -> Callable[..., tuple[float, np.ndarray, np.ndarray]]:
    """A function of an estimator and of how many steps it has learnt from, none by default.

    It returns the relative error of the mean gradient, the radii, and the estimated radii of convergence.
    """
    free = settle(net, x, solver=setting.estimator(2, None).solver)
    truth = exact_gradient_near(net, x, y, free.state)
    right = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(truth)]
    size = np.sqrt(sum((leaf**2).sum() for leaf in right))
    keys = jax.random.split(jax.random.key(5), _STEPS + _DRAWS)

    def error(estimator: Holomorphic, steps: int = 0) -> tuple[float, np.ndarray, np.ndarray]:
        squares, certificate, memory = [], None, None
        for key in keys[:steps]:
            memory = estimator(net, x, y, key=key, memory=memory).memory
        for key in keys[_STEPS:] if setting.noisy else keys[:1]:
            estimate = estimator(net, x, y, key=key, memory=memory)
            memory = estimate.memory if steps else None
            found = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(estimate.gradient)]
            squares.append(sum(((a - b) ** 2).sum() for a, b in zip(found, right, strict=True)))
            certificate = estimate.certificate
        assert certificate is not None and certificate.spectrum is not None
        radii = np.abs(np.asarray(certificate.betas[0]))
        return float(np.sqrt(np.mean(squares)) / size), radii, np.asarray(certificate.spectrum.radius_of_convergence)

    return error


def _claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    ratio, gain = ratios(arrays), gains(arrays)
    claims = []
    for s, setting in enumerate(arrays["settings"]):
        when = f", after {_STEPS} steps" if arrays["noisy"][s] else ""
        text = f"{setting}{when}: worst ratio of the automatic circle's error to that of the best fixed radius"
        claims.append(Claim(text, float(ratio[:, s].max()), "≤", 3.0, _SOURCE))
    several = arrays["points"] >= 4
    chosen = arrays["outside"] & several[None, None] & ~arrays["noisy"][None, :, None]
    if chosen.any():
        claims.append(
            Claim(
                f"smallest gain over r = {P1_RADIUS:g}, N ≥ 4, no noise, in the {int(chosen.sum())} cases where that "
                "lies outside some sample's estimated radius of convergence",
                float(gain[chosen].min()),
                "≥",
                50.0,
                _SOURCE,
            )
        )
    return claims


def _tables(arrays: dict[str, np.ndarray]) -> list[Table]:
    ratio, gain = ratios(arrays), gains(arrays)
    # A radius at which nothing settled is no candidate.
    best = np.where(np.isnan(arrays["fixed"]), np.inf, arrays["fixed"]).argmin(-1)
    summary, cases = [], []
    for s, setting in enumerate(arrays["settings"].tolist()):
        for c, points in enumerate(arrays["points"].tolist()):
            own = ratio[:, s, c]
            first = arrays["first_step"][:, s, c] / np.fmin.reduce(arrays["fixed"][:, s, c], -1)
            within = f"{int((own <= 3).sum())} of {len(own)}"
            summary.append((setting, points, float(np.median(own)), float(own.max()), within, float(first.max())))
            for index, words in enumerate(arrays["words"].tolist()):
                at = (index, s, c)
                if ratio[at] > 3 or (arrays["outside"][at] and points >= 4 and gain[at] < 50):
                    low, high = arrays["lowest_radius"][at], arrays["highest_radius"][at]
                    cases.append(
                        (
                            words,
                            setting,
                            points,
                            float(arrays["fixed"][at][best[at]]),
                            f"{arrays['radii'][best[at]]:g}",
                            float(arrays["automatic"][at]),
                            f"{low:.3g} to {high:.3g}",
                            float(ratio[at]),
                            float(gain[at]),
                        )
                    )
    columns = ("setting", "N", "median ratio", "worst ratio", "within 3×", "worst at the first step")
    tables = [Table("The automatic circle's error over that of the best fixed radius", columns, summary)]
    if cases:
        columns = (
            "network",
            "setting",
            "N",
            "best fixed error",
            "at r",
            "automatic error",
            "its radii",
            "ratio",
            f"gain over r = {P1_RADIUS:g}",
        )
        title = f"Cases with a ratio above 3, or a gain below 50 where r = {P1_RADIUS:g} lies outside"
        tables.append(Table(title, columns, cases))
    return tables

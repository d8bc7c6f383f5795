"""The section `[estimator]`: where the gradient comes from, how states settle, and what is done for symmetry."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from holoprop.experiments.section import Count, Finite, NotNegative, Positive, Section
from holoprop.experiments.variants import completed


class EstimatorConfig(Section, frozen=True):
    """`[estimator]`: where the gradient comes from, and how states settle."""

    name: Literal[
        "holomorphic",
        "one_sided",
        "centered",
        "stencil",
        "oscillation",
        "online_oscillation",
        "continual",
        "implicit",
        "forward_response",
        "backpropagation",
        "unrolled",
    ] = "holomorphic"
    """The estimator."""
    points: Annotated[int, Field(ge=2)] | Literal["auto"] | None = None
    """Points on the circle, or "auto" (holomorphic; oscillation: at least 3); or nudges, an even number (stencil)."""
    radius: Positive | Literal["auto"] | None = None
    """Radius of the circle, or "auto": each sample's own (holomorphic; oscillation: a number)."""
    points_per_batch: Count | None = None
    """So many points settle at once, to bound the memory; without it all of them (holomorphic)."""
    gradient_tolerance: Positive | None = None
    """The relative error that is good enough: leads an automatic circle, or else how far states settle that are given
    no tolerance (holomorphic)."""
    beta: Finite | None = None
    """The nudge (one_sided, continual: not 0; centered, stencil: positive, the largest)."""
    dwell: Count | None = None
    """Time steps at each point (oscillation), or of each stretch (continual)."""
    periods: Count | None = None
    """Turns around the circle that one estimate averages over (oscillation)."""
    stretches: Count | None = None
    """Stretches of the nudged phase, each with a weight update of its own (continual)."""
    dt: Annotated[float, Field(gt=0, le=1)] | None = None
    """Time step in units of the neurons' time constant (oscillation, continual)."""
    noise: NotNegative | None = None
    """Standard deviation of the noise on every drive at every time step; elsewhere it needs nudged_steps."""
    free_steps: Count | None = None
    """Take so many time steps to the free state instead of settling to a tolerance."""
    nudged_steps: Count | None = None
    """Take so many time steps to each nudged state instead of settling to a tolerance."""
    window: Count | None = None
    """Average states over the last so many of those time steps."""
    steps: Count | None = None
    """Settling steps to differentiate through (unrolled)."""
    solver: Literal["anderson", "alternating", "picard"] = "anderson"
    """How states settle."""
    depth: Annotated[int, Field(ge=1, le=8)] | None = None
    """Past differences to mix (anderson)."""
    damping: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the old state kept at each step (picard)."""
    tolerance: Positive | None = None
    """Residual at which a state has settled; without it √neurons · 1e-6, in float64 1e-11, or as gradient_tolerance
    asks."""
    max_steps: Count = 500
    """Steps after which a state is given up."""
    nudged_tolerance: Positive | None = None
    """The tolerance of nudged states; without it that of the free one."""
    nudged_max_steps: Count | None = None
    """The step limit of nudged states; without it that of the free one, with anderson at most 60."""
    form: Literal["energy", "vector-field"] | None = None
    """What the gradient is read off; without it the energy, where there is one (estimators that nudge)."""
    asymmetry: Literal["ignore", "correct"] | None = None
    """Whether nudged states respond as the network does, or as errors do (estimators with a free and nudged states)."""
    homeostasis: NotNegative | None = None
    """Weight of the homeostatic penalty, the Jacobian's asymmetry per neuron, in the gradient; without it none."""
    homeostasis_samples: Count | None = None
    """Random vectors for each sample that it is estimated with; without it 5."""
    homeostasis_form: Literal["local", "jacobian"] | None = None
    """How it is estimated: connection by connection, the default, or as P2 does."""
    homeostasis_schedule: Literal["constant", "cosine"] | None = None
    """Whether its weight stays, the default, or falls to 0 over the run along half a cosine."""
    kolen_pollack: NotNegative | None = None
    """Decay of forward and feedback weights, which then share the forward gradient; without it they do not."""
    unsettled: Literal["mask", "keep", "raise"] = "mask"
    """What happens to samples that do not settle."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        # Ahead of the type checks: this one point has an estimator of its own to point to.
        if isinstance(given, Mapping) and type(points := given.get("points")) is int and points == 1:
            raise ValueError(
                "estimator.points must be an integer ≥ 2, got 1; for one nudge and a free phase set "
                'estimator.name = "one_sided"'
            )
        return completed(completed(given, "estimator", "name"), "estimator", "solver")

    @model_validator(mode="after")
    def _check_beta(self) -> "EstimatorConfig":
        if self.name in ("one_sided", "continual") and self.beta == 0:
            raise ValueError(f"estimator.beta must be a number other than 0, got {self.beta}")
        if self.name in ("centered", "stencil") and self.beta is not None and self.beta <= 0:
            raise ValueError(f"estimator.beta must be a number > 0 for estimator.name = {self.name!r}, got {self.beta}")
        return self

    @model_validator(mode="after")
    def _check_circle(self) -> "EstimatorConfig":
        if self.name == "stencil" and (self.points == "auto" or (self.points or 2) % 2):
            raise ValueError(
                f"estimator.points must be an even number for estimator.name = 'stencil', got {self.points!r}"
            )
        if self.name == "holomorphic" and self.points == "auto" and self.radius != "auto":
            raise ValueError(
                f"estimator.points = 'auto' goes with estimator.radius = 'auto', got {self.radius}: fix both or neither"
            )
        if self.name in ("oscillation", "online_oscillation"):
            if self.points is not None and (self.points == "auto" or self.points < 3):
                raise ValueError(
                    f"estimator.points must be an integer ≥ 3 for estimator.name = {self.name!r}, got {self.points!r}"
                )
            if isinstance(self.radius, str):
                raise ValueError(
                    f"estimator.radius must be a number > 0 for estimator.name = {self.name!r}, got 'auto'"
                )
        return self

    @model_validator(mode="after")
    def _check_symmetry(self) -> "EstimatorConfig":
        for key in ("homeostasis_samples", "homeostasis_form", "homeostasis_schedule"):
            if getattr(self, key) is not None and self.homeostasis is None:
                raise ValueError(f"estimator.{key} has no meaning without estimator.homeostasis, a weight")
        for key in ("homeostasis", "kolen_pollack"):
            if getattr(self, key) is not None and self.name in ("online_oscillation", "continual", "backpropagation"):
                raise ValueError(f"estimator.{key} does not go with estimator.name = {self.name!r}: leave it out")
        if self.gradient_tolerance is not None and self.radius != "auto":
            given = {"nudged_tolerance": self.nudged_tolerance, "tolerance": self.tolerance, "steps": self.nudged_steps}
            if any(value is not None for value in given.values()):
                raise ValueError(
                    "estimator.gradient_tolerance leads the tolerance of nudged states on a fixed circle: leave out "
                    "estimator.tolerance, nudged_tolerance and nudged_steps"
                )
        if self.form == "energy" and self.asymmetry == "correct":
            raise ValueError(
                "estimator.asymmetry = 'correct' has nothing to correct with estimator.form = 'energy': leave one out"
            )
        return self

    @model_validator(mode="after")
    def _check_steps(self) -> "EstimatorConfig":
        if self.name in ("holomorphic", "one_sided", "centered"):
            if self.nudged_steps is None and (self.noise is not None or self.window is not None):
                key = "noise" if self.noise is not None else "window"
                raise ValueError(f"estimator.{key} is for states that take time steps: set estimator.nudged_steps too")
            if self.nudged_steps is not None and (self.nudged_tolerance or self.nudged_max_steps):
                key = "nudged_tolerance" if self.nudged_tolerance else "nudged_max_steps"
                raise ValueError(f"estimator.{key} has no meaning with estimator.nudged_steps: leave one of them out")
            fewest = min(steps for steps in (self.nudged_steps, self.free_steps, 10**9) if steps is not None)
            if self.window is not None and self.window > fewest:
                raise ValueError(
                    f"estimator.window must be at most the {fewest} steps it is taken from, got {self.window}"
                )
        return self

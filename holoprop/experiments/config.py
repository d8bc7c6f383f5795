"""What a run is, in five sections, checked before anything is computed.

A configuration is TOML with the sections `network`, `estimator`, `data`, `training` and `optimizer`. Keys that only
some variants take (a circle has `radius`, a finite difference `beta`) are filled in for the chosen one and refused for
the others, so that the resolved configuration says all that mattered and nothing that did not.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from holoprop.experiments.config_error import ConfigError, complaint
from holoprop.experiments.data_config import DataConfig
from holoprop.experiments.network_config import NetworkConfig
from holoprop.experiments.section import AS_TUPLE, Count, Finite, NotNegative, Positive, Section
from holoprop.experiments.variants import VARIANTS, completed
from holoprop.network.activation import ACTIVATIONS


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


class TrainingConfig(Section, frozen=True):
    """`[training]`: how long, in which pieces."""

    epochs: Count
    """Passes over the training samples."""
    batch_size: Count
    """Samples a step; the last, incomplete batch of an epoch is left out."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the initial weights, the order of the samples, their augmentation and the estimator's noise."""
    log_every: Count = 50
    """Steps between two records of steps."""
    checkpoint_every: Count | None = None
    """Steps between checkpoints, besides the one after each epoch."""
    check_gradient: Count | None = None
    """After each epoch, compare the gradient of so many test samples with the implicit one, and record the cosine."""


class OptimizerConfig(Section, frozen=True):
    """`[optimizer]`: how the gradient moves the parameters; names as Optax's."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    """The optimiser."""
    learning_rate: Positive | None = None
    """The step size."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1), AS_TUPLE] | None = None
    """In place of learning_rate: that of each connection, first to last, and of the readout."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Whether the step size stays, or falls to 0 over the run along half a cosine."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the last update carried on (sgd)."""
    weight_decay: NotNegative | None = None
    """Decoupled weight decay, multiplied by the learning rate (sgd, adamw)."""
    weight_decays: Annotated[tuple[NotNegative, ...], Field(min_length=1), AS_TUPLE] | None = None
    """In place of weight_decay: that of each connection, first to last, and of the readout (sgd, adamw)."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        filled = completed(given, "optimizer", "name")
        # One for each layer leaves nothing for the default to say.
        if isinstance(given, Mapping) and given.get("weight_decays") is not None and given.get("weight_decay") is None:
            filled = {**filled, "weight_decay": None}
        return filled

    @model_validator(mode="after")
    def _check_layers(self) -> "OptimizerConfig":
        if self.learning_rate is None and self.learning_rates is None:
            raise ValueError(
                "optimizer.learning_rate is missing: give a finite number > 0, or optimizer.learning_rates, one for "
                "each connection and the readout"
            )
        for one, many in (("learning_rate", "learning_rates"), ("weight_decay", "weight_decays")):
            if getattr(self, one) is not None and getattr(self, many) is not None:
                raise ValueError(f"optimizer.{one} and optimizer.{many} exclude each other: leave one of them out")
        return self


class Config(Section, frozen=True):
    """A whole run. Make one by `parse_config` or `load_config`, whose errors are one line."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The run's name, and that of its folder."""
    network: NetworkConfig
    """What settles."""
    estimator: EstimatorConfig
    """Where the gradient comes from."""
    data: DataConfig = Field(default_factory=DataConfig)
    """What is learnt."""
    training: TrainingConfig
    """How long, in which pieces."""
    optimizer: OptimizerConfig
    """How the gradient moves the parameters."""

    @model_validator(mode="after")
    def _check_together(self) -> "Config":
        points, activation = self.estimator.points or 2, self.network.activation
        points = 2 if self.estimator.name == "stencil" else points
        if points != 2 and not ACTIVATIONS[activation].holomorphic:
            smooth = ", ".join(name for name, each in ACTIVATIONS.items() if each.holomorphic)
            raise ValueError(
                f"network.activation = {activation!r} is not holomorphic, which estimator.points = {points} needs: "
                f"use one of {smooth}, or estimator.points = 2"
            )
        if points != 2 and self.network.pooling == "max":
            raise ValueError(
                f"network.pooling = 'max' is not holomorphic, which estimator.points = {points} needs: use softmax or "
                "average, or estimator.points = 2"
            )
        connections = self.network.connections
        for key, values in (
            ("learning_rates", self.optimizer.learning_rates),
            ("weight_decays", self.optimizer.weight_decays),
        ):
            if values is not None and len(values) != connections + 1:
                raise ValueError(
                    f"optimizer.{key} must be one for each of {connections} connections and the readout, "
                    f"{connections + 1} in all, got {len(values)}"
                )
        self._check_feedback()
        stepped = self.estimator.free_steps is not None or self.estimator.name in (
            "oscillation",
            "online_oscillation",
            "continual",
            "backpropagation",
        )
        if self.network.dtype == "mixed" and stepped:
            raise ValueError(
                "network.dtype = 'mixed' is for states that settle to a tolerance, and "
                f"estimator.name = {self.estimator.name!r} takes time steps, or none: use 'float32'"
            )
        size, samples = self.training.batch_size, self.data.train_samples
        if size > samples:
            raise ValueError(
                f"training.batch_size must be at most {samples}, the training samples of {self.data.name} in use, "
                f"got {size}"
            )
        return self

    def _check_feedback(self) -> None:
        network, estimator = self.network, self.estimator
        if network.feedback == "off":
            if estimator.name not in ("backpropagation", "implicit", "unrolled"):
                raise ValueError(
                    f"network.feedback = 'off' leaves nothing to settle, which estimator.name = {estimator.name!r} "
                    "needs: use one of backpropagation, implicit, unrolled"
                )
            if network.start is not None:
                raise ValueError(
                    f"network.start = {network.start!r} has no meaning with network.feedback = 'off': leave it out"
                )
        elif estimator.name == "backpropagation":
            raise ValueError(
                "estimator.name = 'backpropagation' is of feed-forward networks: set network.feedback = 'off', or use "
                "'implicit', the exact gradient of a network that settles"
            )
        if network.has_potential or network.feedback == "off":
            for key in ("homeostasis", "kolen_pollack"):
                if getattr(estimator, key) is not None:
                    raise ValueError(
                        f"estimator.{key} is of networks that settle without symmetric weights: use network.kind = "
                        "'mlp' or 'convnet' with network.feedback = 'free'"
                    )
            if estimator.asymmetry == "correct":
                raise ValueError(
                    "estimator.asymmetry = 'correct' has nothing to correct in a network with symmetric weights: leave "
                    "it out"
                )
            return
        if estimator.form == "energy" or estimator.name in ("online_oscillation", "continual"):
            what = "form = 'energy'" if estimator.form == "energy" else f"name = {estimator.name!r}"
            raise ValueError(
                f"estimator.{what} needs a potential, which this network does not have: use estimator.name = "
                "'holomorphic' or 'oscillation' with estimator.form = 'vector-field'"
            )
        if network.feedback != "free" and estimator.kolen_pollack is not None:
            raise ValueError("estimator.kolen_pollack is of free feedback weights, which a loop does not have")

    def to_toml(self) -> str:
        """Return the configuration as TOML that `load_config` reads back to an equal one; unset keys are left out."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def parse_config(tree: Mapping[str, Any]) -> Config:
    """Check a configuration given as nested dictionaries.

    **Arguments:** `tree`: `name` and the five sections, as a TOML file would hold them.

    **Returns:** the `Config`, defaults filled in.

    **Raises:** `ConfigError`, one line with the key, its value and what is allowed.

    ```python
    parse_config({
        "name": "small", "network": {"hidden": [32]}, "estimator": {}, "data": {"name": "digits"},
        "training": {"epochs": 2, "batch_size": 20}, "optimizer": {"learning_rate": 0.1},
    })
    ```
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(complaint(error, tree, Config, VARIANTS)) from None

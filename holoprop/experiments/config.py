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
from holoprop.experiments.section import AS_TUPLE, Count, Finite, Layers, NotNegative, Positive, Section
from holoprop.experiments.variants import VARIANTS, completed
from holoprop.network.activation import ACTIVATIONS

Padding = Literal["SAME", "VALID"]


class NetworkConfig(Section, frozen=True):
    """`[network]`: what settles."""

    kind: Literal["mlp", "convnet", "resnet"] = "mlp"
    """Dense layers, convolutions, or convolutions with residual connections; feedback is tied."""
    hidden: Layers | None = None
    """Units in each settled layer (mlp)."""
    channels: Layers | None = None
    """Channels of each settled layer (convnet), or of each stage (resnet)."""
    kernel: Count | None = None
    """Side of the square kernels (convnet, resnet)."""
    blocks: Count | None = None
    """Residual blocks in each stage (resnet)."""
    strength: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Of connections that skip, in drive per activity (resnet)."""
    padding: Annotated[tuple[Padding, ...], Field(min_length=1), AS_TUPLE] | None = None
    """Of each convolution; without it SAME, but VALID in the last (convnet)."""
    pools: Annotated[tuple[Count, ...], AS_TUPLE] | None = None
    """The convolutions, from 1, that are followed by pooling; without it all of them (convnet)."""
    pooling: Literal["softmax", "average", "max"] | None = None
    """How 2×2 windows are pooled (convnet)."""
    temperature: Positive | None = None
    """Of softmax pooling; without it 1 (convnet)."""
    start: Literal["zeros", "feedforward"] | None = None
    """Where settling begins; without it zeros (mlp), or one pass without feedback (convnet, resnet); oscillations begin
    at zeros."""
    feedback: bool = True
    """Whether layers are driven from above; without, the network is feed-forward, for backpropagation or implicit."""
    activation: Literal["sigmoid", "double_silu", "tanh", "silu", "softplus", "hard_sigmoid", "relu"] = "sigmoid"
    """The activation of every layer."""
    cost: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    """The cost of the readout."""
    weight_scale: NotNegative = 1.0
    """Factor on every initial weight."""
    weight_std: NotNegative | None = None
    """Standard deviation of the initial weights in place of 1/√fan-in."""
    dtype: Literal["float32", "mixed", "float64"] = "float32"
    """Precision of parameters and states; "mixed" is float32 whose first sweeps multiply in bfloat16."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        return completed(given, "network", "kind")

    @model_validator(mode="after")
    def _check_layers(self) -> "NetworkConfig":
        key, layers = ("hidden", self.hidden) if self.kind == "mlp" else ("channels", self.channels)
        if layers is None:
            raise ValueError(f"network.{key} is missing: give a list, not empty, of which each is an integer ≥ 1")
        if self.padding is not None and len(self.padding) != len(layers):
            raise ValueError(f"network.padding must be one for each of the {len(layers)} convolutions")
        if self.pools is not None and max(self.pools, default=1) > len(layers):
            raise ValueError(f"network.pools must be numbers of convolutions, 1 … {len(layers)}, got {max(self.pools)}")
        if self.temperature is not None and self.pooling != "softmax":
            raise ValueError(
                f"network.temperature = {self.temperature:g} has no meaning with network.pooling = {self.pooling!r}, "
                "only with 'softmax'"
            )
        return self

    @property
    def connections(self) -> int:
        """The number of connections, the one from the input included."""
        layers = self.hidden or self.channels or ()
        return 1 + 3 * len(layers) * (self.blocks or 1) if self.kind == "resnet" else len(layers)


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
    """The relative error that is good enough: leads an automatic circle, or else how far states settle that are given no
    tolerance (holomorphic)."""
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
        exact = ("backpropagation", "implicit", "unrolled")
        if not self.network.feedback and self.estimator.name not in exact:
            raise ValueError(
                f"network.feedback = false leaves no energy, which estimator.name = {self.estimator.name!r} needs: use "
                f"one of {', '.join(exact)}"
            )
        if not self.network.feedback and self.network.start is not None:
            raise ValueError(
                f"network.start = {self.network.start!r} has no meaning with network.feedback = false: leave it out"
            )
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
        if self.network.feedback and self.estimator.name == "backpropagation":
            raise ValueError(
                "estimator.name = 'backpropagation' is of feed-forward networks: set network.feedback = false, or use "
                "'implicit', the exact gradient of a network that settles"
            )
        size, samples = self.training.batch_size, self.data.train_samples
        if size > samples:
            raise ValueError(
                f"training.batch_size must be at most {samples}, the training samples of {self.data.name} in use, "
                f"got {size}"
            )
        return self

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

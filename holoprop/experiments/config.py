"""What a run is, in five sections, checked before anything is computed.

A configuration is TOML with the sections `network`, `estimator`, `data`, `training` and `optimizer`. Keys that only
some variants take (a circle has `radius`, a finite difference `beta`) are filled in for the chosen one and refused for
the others, so that the resolved configuration says all that mattered and nothing that did not.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from holoprop.experiments.config_error import ConfigError, complaint
from holoprop.experiments.data_config import DataConfig
from holoprop.experiments.estimator_config import EstimatorConfig
from holoprop.experiments.network_config import NetworkConfig
from holoprop.experiments.optimizer_config import OptimizerConfig
from holoprop.experiments.section import Section
from holoprop.experiments.training_config import TrainingConfig
from holoprop.experiments.variants import VARIANTS
from holoprop.network.activation import ACTIVATIONS


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
        if samples is not None and size > samples:
            raise ValueError(
                f"training.batch_size must be at most {samples}, the training samples of {self.data.name} in use, "
                f"got {size}"
            )
        if self.training.accumulate > 1 and self.estimator.name in ("online_oscillation", "continual"):
            raise ValueError(
                f"training.accumulate = {self.training.accumulate} adds up batches, and estimator.name = "
                f"{self.estimator.name!r} moves the weights within each: use 1"
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

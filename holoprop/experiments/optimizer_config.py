"""The section `[optimizer]`: how the gradient moves the parameters."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, WithJsonSchema, model_validator

from holoprop.experiments.optimizer_options import checked_options
from holoprop.experiments.section import AS_TUPLE, NotNegative, Positive, Section
from holoprop.experiments.variants import VARIANTS, completed

Moment = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)]
"""A number of steps, or a share of the run."""
Options = Annotated[
    tuple[tuple[str, bool | int | float], ...],
    PlainSerializer(lambda pairs: dict(pairs), return_type=dict[str, bool | int | float]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["number", "boolean"]}}),
]
"""A table of options, kept as pairs in the order of their names."""


class OptimizerConfig(Section, frozen=True):
    """`[optimizer]`: how the gradient moves the parameters; names as Optax's."""

    name: Literal[
        "sgd",
        "adam",
        "adamw",
        "adabelief",
        "adadelta",
        "adafactor",
        "adagrad",
        "adamax",
        "adamaxw",
        "adan",
        "amsgrad",
        "fromage",
        "lamb",
        "lars",
        "lion",
        "nadam",
        "nadamw",
        "novograd",
        "optimistic_adam_v2",
        "optimistic_gradient_descent",
        "radam",
        "rmsprop",
        "sign_sgd",
        "signum",
        "sm3",
        "yogi",
    ] = "sgd"
    """The optimiser."""
    learning_rate: Positive | None = None
    """The step size."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1), AS_TUPLE] | None = None
    """In place of learning_rate: that of each connection, first to last, and of the readout."""
    schedule: Literal["constant", "cosine", "linear", "exponential", "step"] = "constant"
    """Whether the step size stays, or falls over the run: along half a cosine, a line, an exponential, or by steps."""
    warmup: Moment | None = None
    """Before that it rises from 0 along a line, for so many steps, or so large a share of the run."""
    end_share: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The share of the step size that is left at the end of the run (cosine, linear, exponential)."""
    boundaries: Annotated[tuple[Moment, ...], Field(min_length=1), AS_TUPLE] | None = None
    """When it falls: after so many steps each, or such shares of the run (step)."""
    factor: Positive | None = None
    """By what it is multiplied each time (step)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the last update carried on (sgd, adafactor, lars, rmsprop, sm3)."""
    weight_decay: NotNegative | None = None
    """Weight decay: decoupled and times the learning rate (sgd, adamw), or what Optax's optimiser means by it."""
    weight_decays: Annotated[tuple[NotNegative, ...], Field(min_length=1), AS_TUPLE] | None = None
    """In place of weight_decay: that of each connection, first to last, and of the readout."""
    options: Options | None = None
    """Further keyword arguments of Optax's optimiser: numbers, true and false."""
    clip_value: Positive | None = None
    """Each number of the gradient is brought into ± this, first of all."""
    clip_norm: Positive | None = None
    """The gradient is scaled down to this norm, over all parameters, where it is larger; then comes the optimiser."""

    @property
    def depends_on_length(self) -> bool:
        """Whether a step size depends on how long the run is, so that a longer run is another run from the start."""
        shares = isinstance(self.warmup, float) or any(isinstance(each, float) for each in self.boundaries or ())
        return shares or self.schedule in ("cosine", "linear", "exponential")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        filled = completed(completed(given, "optimizer", "name"), "optimizer", "schedule")
        if not isinstance(given, Mapping):
            return filled
        # One for each layer leaves nothing for the default to say.
        if given.get("weight_decays") is not None and given.get("weight_decay") is None:
            filled = {**filled, "weight_decay": None}
        name = filled.get("name", "sgd")
        if filled.get("options") is not None and isinstance(name, str) and name in VARIANTS["optimizer", "name"]:
            filled = {**filled, "options": checked_options(name, filled["options"]) or None}
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

    @model_validator(mode="after")
    def _check_schedule(self) -> "OptimizerConfig":
        if self.schedule == "exponential" and self.end_share == 0:
            raise ValueError(
                "optimizer.end_share must be > 0 with optimizer.schedule = 'exponential', which never comes to 0, got 0"
            )
        if self.schedule != "step":
            return self
        if self.boundaries is None:
            raise ValueError(
                "optimizer.boundaries is missing, which optimizer.schedule = 'step' needs: give numbers of steps, or "
                "shares of the run, such as [0.5, 0.75]"
            )
        kinds = {type(each) for each in self.boundaries}
        if len(kinds) > 1 or any(a >= b for a, b in pairwise(self.boundaries)):
            raise ValueError(
                f"optimizer.boundaries must increase, and be all steps or all shares of the run, got "
                f"{list(self.boundaries)}"
            )
        return self

"""The section `[network]`: which layers settle, how they are joined, and how they begin."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from holoprop.experiments.section import AS_TUPLE, Count, Layers, NotNegative, Positive, Section
from holoprop.experiments.variants import completed

Padding = Literal["SAME", "VALID"]


class NetworkConfig(Section, frozen=True):
    """`[network]`: what settles."""

    kind: Literal["mlp", "loop_mlp", "convnet", "resnet"] = "mlp"
    """Dense layers, dense layers that drive each other in a circle, convolutions, or with residual connections."""
    hidden: Layers | None = None
    """Units in each settled layer (mlp; loop_mlp: at least two)."""
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
    feedback: Literal["tied", "free", "off"] | None = None
    """What drives layers from above: the transposed weights, weights of their own (mlp, convnet), or nothing: a
    feed-forward network, for backpropagation or implicit."""
    angle: Annotated[float, Field(ge=0, le=180)] | None = None
    """Initial angle of free feedback weights to the transposed forward ones, in degrees; without it 90."""
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
        dense = self.kind in ("mlp", "loop_mlp")
        key, layers = ("hidden", self.hidden) if dense else ("channels", self.channels)
        if layers is None:
            raise ValueError(f"network.{key} is missing: give a list, not empty, of which each is an integer ≥ 1")
        if self.kind == "loop_mlp" and len(layers) < 2:
            raise ValueError(f"network.hidden must name at least two layers for a loop, got {list(layers)}")
        if self.kind == "resnet" and self.feedback == "free":
            raise ValueError("network.feedback = 'free' is not to be had with network.kind = 'resnet': use 'tied'")
        if self.feedback == "free" and len(layers) < 2:
            raise ValueError(f"network.feedback = 'free' needs at least two layers, got {list(layers)}")
        if self.angle is not None and self.feedback != "free":
            raise ValueError(f"network.angle = {self.angle:g} has no meaning without network.feedback = 'free'")
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
        if self.kind == "loop_mlp":
            return len(layers) + 1
        return 1 + 3 * len(layers) * (self.blocks or 1) if self.kind == "resnet" else len(layers)

    @property
    def has_potential(self) -> bool:
        """Whether it is an energy network."""
        return self.kind != "loop_mlp" and self.feedback == "tied"

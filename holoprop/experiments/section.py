"""What the sections of a configuration are made of: their base class, and the numbers and lists that keys take."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
# TOML has lists only; a frozen model wants a tuple.
AS_TUPLE = BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
Layers = Annotated[tuple[Count, ...], Field(min_length=1), AS_TUPLE]
"""Units or channels of each layer."""


class Section(BaseModel, frozen=True):
    """A section: no keys but its own, no value of another type, and never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

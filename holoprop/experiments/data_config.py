"""The section `[data]`: which images, how many, normalised how, and moved and mirrored how in training."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from holoprop.data.registry import SOURCES, find_source
from holoprop.experiments.section import AS_TUPLE, Count, Finite, Positive, Section


class DataConfig(Section, frozen=True):
    """`[data]`: what is learnt."""

    name: str = "digits"
    """The data set; `holoprop data list` shows them."""
    verify: bool = True
    """Whether its files must be the official ones; false takes others of the same names and form, and their number."""
    train_limit: Count | None = None
    """Use only the first so many training samples."""
    test_limit: Count | None = None
    """Use only the first so many test samples."""
    normalize: bool = False
    """Whether inputs x become (x − mean)/std, channel by channel."""
    mean: Annotated[tuple[Finite, ...], Field(min_length=1), AS_TUPLE] | None = None
    """Of each channel, where pixels run from 0 to 1; without it that of the set's training images (normalize)."""
    std: Annotated[tuple[Positive, ...], Field(min_length=1), AS_TUPLE] | None = None
    """Standard deviation of each channel; without it that of the set's training images (normalize)."""
    crop_padding: Annotated[int, Field(ge=0)] = 0
    """Black pixels put on each side of a training image before a crop of its own size, at random; 0 for no crop."""
    flip: bool = False
    """Whether training images are mirrored left to right at random."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("normalize") is not True:
            return given
        source = SOURCES.get(str(given.get("name", "digits")))
        own = {} if source is None else {"mean": source.mean, "std": source.std}
        return {**own, **{key: value for key, value in given.items() if value is not None}}

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return find_source(name).name

    @model_validator(mode="after")
    def _check_limits(self) -> "DataConfig":
        source = find_source(self.name)
        for part, limit, most in (("train", self.train_limit, source.train), ("test", self.test_limit, source.test)):
            if self.verify and limit is not None and limit > most:
                raise ValueError(
                    f"data.{part}_limit must be at most {most}, the {part} samples of {self.name}, got {limit}"
                )
        return self

    @model_validator(mode="after")
    def _check_images(self) -> "DataConfig":
        *sides, channels = find_source(self.name).image_shape
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and not self.normalize:
                raise ValueError(f"data.{key} = {list(values)} has no meaning without data.normalize = true")
            if values is not None and len(values) != channels:
                raise ValueError(
                    f"data.{key} must be one for each channel of {self.name}, {channels} in all, got {len(values)}"
                )
        if self.crop_padding >= min(sides):
            raise ValueError(
                f"data.crop_padding must be less than {min(sides)}, the pixels along a side of {self.name}, "
                f"got {self.crop_padding}"
            )
        return self

    @property
    def train_samples(self) -> int | None:
        """The number of training samples in use, or at most; `None` if only the files can tell."""
        return self.train_limit or (find_source(self.name).train if self.verify else None)

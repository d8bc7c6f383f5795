"""A data set: labelled images, split into train and test, kept as whole pixel values.

Pixels stay `uint8` in memory, a quarter of what float32 would take; networks get `x = pixel / scale`, which lies in
[0, 1], or, normalised, `(x − mean) / std`, channel by channel.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from holoprop.data.reading import ImageReader, Index


class DataError(ValueError):
    """Data that are missing, damaged or not what they should be; its message is one line and names the way out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The images and labels of one part of a data set; both are read-only.

    **Attributes:**

    - `images`: `(n, height, width, channels)` uint8, 0 … `scale`; a file mapped into memory stays on the disk.
    - `labels`: `(n,)` int32, from 0; any integer dtype is accepted and cast.
    - `scale`: the pixel value that becomes an input of 1.

    **Raises:** `DataError` for other shapes or dtypes, no samples, counts that differ, negative labels, or pixels
    above `scale`.
    """

    images: np.ndarray
    labels: np.ndarray
    scale: int = 255
    _reader: ImageReader = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype != np.uint8:
            raise DataError(
                f"images must be uint8 of shape (n, height, width, channels), got {images.dtype} of shape "
                f"{images.shape}"
            )
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(f"labels must be integers of shape (n,), got {labels.dtype} of shape {labels.shape}")
        if len(images) != len(labels):
            raise DataError(f"every image needs one label, got {len(images)} images and {len(labels)} labels")
        if not images.size:
            raise DataError(f"a split needs at least one image with at least one pixel, got shape {images.shape}")
        if not 1 <= self.scale <= 255:
            raise DataError(f"scale must be in 1 … 255, got {self.scale}")
        if self.scale < 255 and images.max() > self.scale:
            raise DataError(f"pixels must not exceed scale = {self.scale}, got {images.max()}")
        for label in (labels.min(), labels.max()):
            if not 0 <= label < 2**31:
                raise DataError(f"labels must lie in 0 … 2³¹ − 1, got {label}")
        object.__setattr__(self, "images", _read_only(images))
        object.__setattr__(self, "_reader", ImageReader(self.images))
        object.__setattr__(self, "labels", _read_only(np.asarray(labels).astype(np.int32)))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def __repr__(self) -> str:
        height, width, channels = self.images.shape[1:]
        return f"Split({len(self)} images of {height}×{width}×{channels}, scale={self.scale})"

    def pixels(self, index: Index = slice(None)) -> UInt8[np.ndarray, "n height width channels"]:
        """Return the images at `index` (a slice or integers) as they are, whole pixel values.

        Of a file mapped into memory it is a copy, and nothing else of the file stays in this process's memory.
        """
        return self._reader[index]

    @property
    def stored(self) -> np.ndarray | ImageReader:
        """What `fit` and `evaluate` take batches of pixels from: the images, or their reader if a file is mapped."""
        return self._reader if self._reader.mapped else self.images

    def inputs(
        self,
        index: Index = slice(None),
        *,
        flatten: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> Float32[np.ndarray, "n *shape"]:
        """Return `x = pixel / scale` of all samples, or of those at `index`; with `mean` and `std`, `(x − mean) / std`.

        **Arguments:** `index`: a slice or integers; `flatten`: `(n, height·width·channels)`, for dense networks, in
        place of `(n, height, width, channels)`; `mean`, `std`: one number a channel, in units of `x`, for example
        `dataset.mean` and `dataset.std`.

        **Returns:** a new float32 array, with values in [0, 1] unless normalised.

        **Raises:** `DataError` if `mean` or `std` is not one for each channel, or a deviation is not positive.

        ```python
        train = hp.load_dataset("mnist").train
        x, y = train.inputs(flatten=True), train.labels
        result = hp.fit(net, estimator, optimizer, (x, y), epochs=3, batch_size=20)
        ```
        """
        inputs = np.divide(self.pixels(index), np.float32(self.scale), dtype=np.float32)
        inputs = normalized(inputs, mean, std)
        return inputs.reshape(len(inputs), -1) if flatten else inputs

    def subset(self, index: Index) -> "Split":
        """Return the samples at `index` (a slice or integers) as a split of its own.

        **Raises:** `DataError` if that leaves no samples.
        """
        return Split(self.images[index], self.labels[index], self.scale)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A named classification task on images.

    **Attributes:**

    - `name`: as in `load_dataset(name)`.
    - `train`, `test`: a `Split` each.
    - `class_names`: one a class, in the order of the labels.
    - `mean`, `std`: of the training inputs, one number a channel, to normalise by:
      `dataset.train.inputs(mean=dataset.mean, std=dataset.std)`; `None` where they are not known.

    **Raises:** `DataError` if the splits differ in image shape or scale, or a label has no class name.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.train.images.shape[1:] != self.test.images.shape[1:] or self.train.scale != self.test.scale:
            raise DataError(f"{self.name}: train and test images must be alike, got {self.train} and {self.test}")
        largest = max(int(self.train.labels.max()), int(self.test.labels.max()))
        if largest >= self.classes:
            raise DataError(
                f"{self.name}: labels must be below {self.classes}, the number of class names, got {largest}"
            )

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def features(self) -> int:
        """The number of inputs of a dense network, `height·width·channels`."""
        return math.prod(self.image_shape)


def normalized(
    inputs: Float32[np.ndarray, "*shape channels"], mean: Sequence[float] | None, std: Sequence[float] | None
) -> Float32[np.ndarray, "*shape channels"]:
    """Return `(x − mean) / std`, channel by channel, in place; without `mean` or `std` that part is left out.

    **Raises:** `DataError` if `mean` or `std` is not one for each channel, or a deviation is not positive.
    """
    channels = inputs.shape[-1]
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != channels:
            raise DataError(f"{name} must be one for each of {channels} channels, got {len(values)}")
    if mean is not None:
        inputs -= np.asarray(mean, np.float32)
    if std is not None:
        if min(std) <= 0:
            raise DataError(f"std must be positive, got {min(std)}")
        inputs /= np.asarray(std, np.float32)
    return inputs


def _read_only(array: np.ndarray) -> np.ndarray:
    # A view, so that the caller's own array stays as writable as it was.
    view = array.view()
    view.flags.writeable = False
    return view

"""The python batches of CIFAR: pickled dicts of images, plane by plane, and labels.

`data` is `(n, 3072)` uint8, for each image 1024 red, 1024 green and 1024 blue values, row by row; `labels` is a list of
`n` integers from 0. CIFAR-100 has two such lists, `fine_labels` of 100 classes and `coarse_labels` of 20.

Source: the format as its authors describe it on the CIFAR page (Krizhevsky 2009).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from holoprop.data.dataset import DataError
from holoprop.data.pickles import read_pickle


def read_cifar_batches(
    paths: Sequence[Path], *, image_shape: tuple[int, int, int], classes: int, label_key: str = "labels"
) -> tuple[UInt8[np.ndarray, "n height width channels"], Int32[np.ndarray, " n"]]:
    """Read batches and put them one after the other.

    **Arguments:** `paths`: of the batches; `image_shape`: height, width and channels that the images must have;
    `classes`: labels must lie in 0 … `classes` − 1; `label_key`: the name of the labels.

    **Returns:** images `(n, height, width, channels)` uint8 and labels `(n,)` int32.

    **Raises:** `DataError`, one line that names the file, if one cannot be read, is no pickle of plain values, or holds
    other shapes, dtypes, counts or labels.
    """
    parts = [_read_batch(path, image_shape, classes, label_key) for path in paths]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def from_planes(
    rows: UInt8[np.ndarray, "n pixels"], image_shape: tuple[int, int, int]
) -> UInt8[np.ndarray, "n height width channels"]:
    """Return rows of planes as images, a pixel's channels side by side."""
    height, width, channels = image_shape
    return np.ascontiguousarray(rows.reshape(-1, channels, height, width).transpose(0, 2, 3, 1))


def batch_entry(batch: Any, key: str, path: Path) -> Any:
    """Return what a batch holds under `key`, whichever Python wrote it.

    **Raises:** `DataError` if it is no dict with that key.
    """
    # Written by Python 2 its keys are bytes, by Python 3 strings.
    if isinstance(batch, dict):
        for form in (key.encode(), key):
            if form in batch:
                return batch[form]
    raise DataError(f"{path} must hold a dict with {key!r}; is it another set's file?")


def _read_batch(
    path: Path, image_shape: tuple[int, int, int], classes: int, label_key: str
) -> tuple[UInt8[np.ndarray, "n height width channels"], Int32[np.ndarray, " n"]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    batch = read_pickle(content, path)
    data, labels = batch_entry(batch, "data", path), batch_entry(batch, label_key, path)
    height, width, channels = image_shape
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (height * width * channels,):
        found = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{path} must hold uint8 rows of {height * width * channels}, but its data are {found}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{path} must hold a list of whole labels, but its {label_key} are something else")
    if len(labels) != len(data):
        raise DataError(f"{path} holds {len(data)} images, but {len(labels)} labels")
    wrong = [label for label in labels if not 0 <= label < classes]
    if wrong:
        raise DataError(f"{path} has label {wrong[0]}, but there are {classes} classes, from 0")
    return from_planes(data, image_shape), np.asarray(labels, np.int32)

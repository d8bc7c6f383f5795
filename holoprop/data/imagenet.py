"""The batches of ImageNet 32×32, pickled or as npz, opened one at a time and read piece by piece.

`data` is `(n, 3072)` uint8, plane by plane like CIFAR's; `labels` are `n` integers from 1; `mean`, in the training
files, is `(3072,)`, the mean image of all training files together.

Source: Chrabaszcz, Loshchilov & Hutter 2017 (arXiv 1707.08819) and the scripts published with it.
"""

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, UInt8

from holoprop.data.cifar import batch_entry
from holoprop.data.dataset import DataError
from holoprop.data.npz import Npz
from holoprop.data.pickles import read_pickle

_ROWS = 1024


class Batch(NamedTuple):
    """An opened batch.

    **Attributes:** `labels`: `(n,)`, from 0; `mean`: `(pixels,)` as the file states it, if it does; `rows`: yields
    `(k, pixels)` uint8, plane by plane, `n` rows in all.
    """

    labels: Int32[np.ndarray, " n"]
    mean: Float64[np.ndarray, " pixels"] | None
    rows: Iterator[UInt8[np.ndarray, "rows pixels"]]


@contextlib.contextmanager
def open_batch(path: Path, *, pixels: int, classes: int, first_label: int = 1) -> Iterator[Batch]:
    """Open a batch for as long as the context lasts; of an npz file, no more than a piece is in memory at a time.

    **Arguments:** `path`: an npz file if it ends in `.npz`, else a pickle; `pixels`: the length of a row; `classes`:
    labels must lie in `first_label` … `first_label + classes − 1`.

    **Raises:** `DataError`, one line that names the file, if it cannot be read, is damaged, or holds other shapes,
    dtypes, counts or labels.
    """
    if path.suffix == ".npz":
        with Npz(path) as arrays:
            dtype, shape = arrays.described("data")
            _check_rows(dtype, shape, pixels, path)
            labels = _labels(arrays.read("labels"), shape[0], classes, first_label, path)
            mean = _mean(arrays.read("mean"), pixels, path) if "mean" in arrays else None
            yield Batch(labels, mean, arrays.rows("data", _ROWS))
        return
    try:
        # Mapped, since a batch of 400 MB fits into memory twice, but not many more times.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            content = read_pickle(mapped, path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        # An empty file cannot be mapped.
        raise error if isinstance(error, DataError) else DataError(f"{path} is empty; fetch it again") from None
    data = batch_entry(content, "data", path)
    if not isinstance(data, np.ndarray):
        raise DataError(f"{path} must hold uint8 rows of {pixels}, but its data are {type(data).__name__}")
    _check_rows(data.dtype, data.shape, pixels, path)
    labels = _labels(batch_entry(content, "labels", path), len(data), classes, first_label, path)
    mean = _mean(content["mean"], pixels, path) if "mean" in content else None
    yield Batch(labels, mean, (data[start : start + _ROWS] for start in range(0, len(data), _ROWS)))


def _check_rows(dtype: np.dtype, shape: tuple[int, ...], pixels: int, path: Path) -> None:
    if dtype != np.uint8 or shape[1:] != (pixels,):
        raise DataError(f"{path} must hold uint8 rows of {pixels}, but its data are {dtype} of shape {shape}")
    if not shape[0]:
        raise DataError(f"{path} holds no images")


def _labels(found: Any, count: int, classes: int, first: int, path: Path) -> Int32[np.ndarray, " n"]:
    whole = isinstance(found, list) and all(type(label) is int and abs(label) < 2**31 for label in found)
    labels = np.asarray(found, np.int64) if whole else found
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"{path} must hold a list of whole labels, but its labels are something else")
    if len(labels) != count:
        raise DataError(f"{path} holds {count} images, but {len(labels)} labels")
    wrong = (labels < first) | (labels >= first + classes)
    if wrong.any():
        raise DataError(f"{path} has label {labels[wrong][0]}, but there are {classes} classes, from {first}")
    return (labels.astype(np.int64) - first).astype(np.int32)


def _mean(found: Any, pixels: int, path: Path) -> Float64[np.ndarray, " pixels"]:
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.size != pixels:
        raise DataError(f"{path} must hold a mean of {pixels} numbers, but its mean is something else")
    mean = found.reshape(pixels).astype(np.float64)
    if not np.isfinite(mean).all():
        raise DataError(f"{path} holds a mean that is no number; fetch it again")
    return mean

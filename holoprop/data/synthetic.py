"""A set in the official format of ImageNet 32×32, made on the spot, to try out what the real one is too large for.

Each class has a pattern of its own, a smooth random field `p_c`, and an image is the pattern under noise,

    x = p_c + n,      32 ≤ p_c ≤ 175,      n ~ U{0 … 80},      c ~ U{1 … 1000},

so classes can be learnt, and whole numbers need no rounding. A piece of a batch is a function of (seed, batch, piece)
alone: the images are made twice, once to sum them up for the mean that every file states, once to be written.
"""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from holoprop.data.conversion import ConversionProgress
from holoprop.data.dataset import DataError
from holoprop.data.registry import find_source

_PIECE = 4096
_NOISE = 81
_LOWEST, _HIGHEST = 32, 175
# Cells of the field along a side; between them it is interpolated.
_CELLS = 4


def synthesise_imagenet32(
    folder: str | os.PathLike[str],
    *,
    images: int = 50_000,
    test_images: int = 5_000,
    seed: int = 0,
    npz: bool = False,
    progress: ConversionProgress | None = None,
) -> list[Path]:
    """Make ten training batches and one of test images under `folder/imagenet32`.

    They are not the official files: `HOLOPROP_DATA=folder` and `load_dataset("imagenet32", verify=False)` load them, in
    a configuration `data.verify = false`.

    **Arguments:** `images`, `test_images`: how many, the former at least 10; `seed`: of everything random; `npz`: npz
    files in place of pickles; `progress`: is told `(file, images done, images in it)`.

    **Returns:** the files.

    **Raises:** `DataError`, one line, if there is such a file already or the folder cannot be written; `ValueError` for
    too few images.
    """
    if images < 10 or test_images < 1:
        raise ValueError(f"images must be at least 10 and test_images at least 1, got {images} and {test_images}")
    source = find_source("imagenet32")
    root = Path(folder).expanduser() / source.name
    ending = ".npz" if npz else ""
    paths = [root / f"{file.name}{ending}" for file in source.files]
    if there := [path for path in paths if path.exists()]:
        raise DataError(f"{there[0]} is there already: choose another folder")
    # As the official batches are: all alike, the last one with the rest.
    sizes = [images // 10] * 9 + [images - 9 * (images // 10)]
    patterns = class_patterns(len(source.class_names), source.image_shape, seed)
    sums = sum(
        rows.sum(0, dtype=np.int64)
        for batch, size in enumerate(sizes)
        for rows, _ in _pieces(patterns, size, seed, batch)
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        for batch, (path, size) in enumerate(zip(paths, [*sizes, test_images], strict=True)):
            data, labels = np.empty((size, patterns.shape[1]), np.uint8), np.empty(size, np.int64)
            done = 0
            for rows, numbers in _pieces(patterns, size, seed, batch):
                data[done : done + len(rows)], labels[done : done + len(rows)] = rows, numbers
                done += len(rows)
                if progress is not None:
                    progress(path.name, done, size)
            _write(path, data, labels, None if batch == 10 else np.asarray(sums / images))
    except OSError as error:
        raise DataError(f"cannot write to {root}: {error.strerror}; choose another folder") from None
    return paths


def class_patterns(classes: int, image_shape: tuple[int, int, int], seed: int) -> UInt8[np.ndarray, "classes pixels"]:
    """Return the patterns of all classes, plane by plane, each a smooth random field of its own."""
    height, width, channels = image_shape
    cells = np.random.default_rng([seed, 0]).random((classes, channels, _CELLS, _CELLS), np.float32)
    rows, columns = (_interpolation(size) for size in (height, width))
    fields = np.einsum("yi,ncij,xj->ncyx", rows, cells, columns, optimize=True)
    return (_LOWEST + np.rint(fields * (_HIGHEST - _LOWEST))).astype(np.uint8).reshape(classes, -1)


def _interpolation(size: int) -> np.ndarray:
    """The share of each cell in each of `size` points, linear in between."""
    place = np.linspace(0, _CELLS - 1, size)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(_CELLS))).astype(np.float32)


def _pieces(
    patterns: UInt8[np.ndarray, "classes pixels"], size: int, seed: int, batch: int
) -> Iterator[tuple[UInt8[np.ndarray, "rows pixels"], Int64[np.ndarray, " rows"]]]:
    """The rows of a batch and their labels, from 1, a piece at a time."""
    for piece, start in enumerate(range(0, size, _PIECE)):
        rng = np.random.default_rng([seed, 1, batch, piece])
        count = min(_PIECE, size - start)
        labels = rng.integers(1, len(patterns) + 1, count)
        noise = rng.integers(0, _NOISE, (count, patterns.shape[1]), np.uint8)
        yield patterns[labels - 1] + noise, labels


def _write(path: Path, data: np.ndarray, labels: np.ndarray, mean: np.ndarray | None) -> None:
    """Write a batch, which takes its place once it is whole."""
    stated: dict[str, Any] = {} if mean is None else {"mean": mean}
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        if path.suffix == ".npz":
            np.savez(file, data=data, labels=labels, **stated)
        else:
            pickle.dump({"data": data, "labels": labels.tolist(), **stated}, file, protocol=3)
    os.replace(partial, path)

"""Sets that are too large to be read at once: converted, once, into arrays that are mapped into memory.

Batches are converted one after the other. Each is brought to the disk before the manifest lists it, so a conversion
that is killed at any moment goes on behind the last whole batch. What comes out is compared with what is known of the
files: their checksums, or else the mean of each colour, and the mean image that they state,

    |mean of all training images − stated mean| ≤ 0.01 of 255, at every pixel.
"""

import contextlib
import dataclasses
import hashlib
import logging
import math
import os
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from holoprop.data.cache import cached_folder, difference, has_checksum, missing_line, source_paths
from holoprop.data.cifar import from_planes
from holoprop.data.dataset import DataError
from holoprop.data.files import alone
from holoprop.data.imagenet import open_batch
from holoprop.data.registry import find_source
from holoprop.data.source import Source, SourceFile
from holoprop.data.stored import (
    HEADER,
    PARTS,
    Kind,
    Manifest,
    Part,
    StoredBatch,
    array_header,
    array_path,
    arrays_reach,
    read_manifest,
    stored_folders,
    whole_manifest,
    write_manifest,
)

ConversionProgress = Callable[[str, int, int], None]

Files = dict[str, list[tuple[SourceFile, Path]]]

# Exact arithmetic on both sides leaves rounding only; one image in a million that is another changes more.
_MEAN_TOLERANCE = 0.01

_LOG = logging.getLogger(__name__)


def convert_dataset(
    name: str,
    *,
    cache: str | os.PathLike[str] | None = None,
    verify: bool = True,
    progress: ConversionProgress | None = None,
) -> Path:
    """Convert a data set that is too large to be read at once, or what a conversion that was stopped has left to do.

    **Arguments:** `name`: as in `available_datasets`; `cache`: a folder in place of the user cache; `verify`: whether
    the files must be the official ones; `progress`: is told `(file, images done, images in it)`.

    **Returns:** the folder with the arrays.

    **Raises:** `DataError`, one line, for a set that needs no conversion, files that are absent, damaged or not the
    official ones, and a cache that cannot be written.
    """
    source = find_source(name)
    if source.format != "imagenet32":
        raise DataError(f"{name} needs no conversion: it is read from its files as they are")
    found = source_paths(source, cache)
    folders = stored_folders(cached_folder(source, cache))
    candidates = [folders[True]] if verify else [folders[True], folders[False]]
    paths = [path for path in found.values() if path is not None]
    if len(paths) < len(found):
        # The files may have been deleted once they were converted.
        for each in candidates:
            if whole_manifest(each, source.image_shape) is not None:
                return each
        missing = next(file for file, path in found.items() if path is None)
        raise DataError(missing_line(source, missing, cache))
    folder = candidates[-1]
    files: Files = {"train": list(zip(source.files, paths, strict=True))[:-1], "test": [(source.files[-1], paths[-1])]}
    try:
        for each in candidates:
            if _is_of(whole_manifest(each, source.image_shape), files):
                return each
        with alone(folder):
            # Another process may have done it meanwhile.
            if not _is_of(whole_manifest(folder, source.image_shape), files):
                if progress is None:
                    _LOG.warning("%s: %d files are converted into %s, once", name, len(paths), folder)
                _convert(folder, source, files, official=verify, progress=progress)
    except OSError as error:
        raise DataError(
            f"cannot write the arrays of {name} to {folder}: {error.strerror}; set HOLOPROP_CACHE to another folder"
        ) from None
    return folder


def _identity(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return path.name, stat.st_size, stat.st_mtime_ns


def _is_of(manifest: Manifest | None, files: Files) -> bool:
    """Whether the arrays were made of these very files."""
    if manifest is None:
        return False
    return manifest.identities == {part: [_identity(path) for _, path in files[part]] for part in PARTS}


def _begun(folder: Path, files: Files, source: Source, *, official: bool) -> Manifest:
    """Return what an earlier conversion of the same files has done, or a fresh manifest, which then is the folder's."""
    manifest = read_manifest(folder)
    if manifest is not None and manifest.official == official and not manifest.complete:
        done = manifest.identities
        same = all(done[part] == [_identity(path) for _, path in files[part][: len(done[part])]] for part in PARTS)
        if same and arrays_reach(folder, manifest, source.image_shape):
            return manifest
    manifest = Manifest(official)
    # Before anything in the arrays is overwritten that an older manifest vouches for.
    write_manifest(folder, manifest)
    # A training run that reads the old arrays keeps them: new ones are new files.
    for part in PARTS:
        for kind in typing.get_args(Kind):
            array_path(folder, part, kind).unlink(missing_ok=True)
    return manifest


def _convert(
    folder: Path, source: Source, files: Files, *, official: bool, progress: ConversionProgress | None
) -> None:
    manifest = _begun(folder, files, source, official=official)
    for part in PARTS:
        for file, path in files[part][len(getattr(manifest, part)) :]:
            if official and has_checksum(path, file) and (problem := difference(path, file)) is not None:
                raise DataError(
                    f"{problem}; get it again, or take it as it is with verify=False, in a configuration "
                    "data.verify = false"
                )
            manifest = _append(folder, part, path, source, manifest, progress)
            write_manifest(folder, manifest)
    _check_counts(manifest, source)
    sure = official and all(has_checksum(path, file) for part in PARTS for file, path in files[part])
    if not sure:
        _check_mean(manifest, files["train"][0][1])
        if official:
            _check_known_mean(manifest, source)
    for part in PARTS:
        count = manifest.samples(part)
        arrays: dict[Kind, tuple[tuple[int, ...], str]] = {
            "images": ((count, *source.image_shape), "|u1"),
            "labels": ((count,), "<i4"),
        }
        for kind, (shape, dtype) in arrays.items():
            with array_path(folder, part, kind).open("r+b") as file:
                file.write(array_header(shape, dtype))
                _sync(file)
    write_manifest(folder, dataclasses.replace(manifest, complete=True, pixel_sums=(), stated=()))


def _append(
    folder: Path, part: Part, path: Path, source: Source, manifest: Manifest, progress: ConversionProgress | None
) -> Manifest:
    """Write a batch behind the others, bring it to the disk, and return the manifest that lists it."""
    pixels, start = math.prod(source.image_shape), manifest.samples(part)
    sums = np.array(manifest.pixel_sums, np.int64) if manifest.pixel_sums else np.zeros(pixels, np.int64)
    name, size, modified = _identity(path)
    digest, written = hashlib.sha256(), 0
    with (
        open_batch(path, pixels=pixels, classes=len(source.class_names), first_label=source.first_label) as batch,
        _opened(array_path(folder, part, "images"), HEADER + start * pixels) as images,
        _opened(array_path(folder, part, "labels"), HEADER + start * 4) as labels,
    ):
        for rows in batch.rows:
            content = from_planes(rows, source.image_shape).reshape(-1).data
            images.write(content)
            digest.update(content)
            sums += rows.sum(0, dtype=np.int64)
            written += len(rows)
            if progress is not None:
                progress(path.name, written, len(batch.labels))
        numbers = batch.labels.astype("<i4").tobytes()
        labels.write(numbers)
        for file in (images, labels):
            _sync(file)
        done = StoredBatch(
            name, size, modified, len(batch.labels), digest.hexdigest(), hashlib.sha256(numbers).hexdigest()
        )
        if part == "test":
            return dataclasses.replace(manifest, test=(*manifest.test, done))
        stated = manifest.stated
        if batch.mean is not None:
            before = np.array(stated) if stated else 0.0
            stated = tuple((before + batch.mean * len(batch.labels)).tolist())
        return dataclasses.replace(
            manifest, train=(*manifest.train, done), pixel_sums=tuple(sums.tolist()), stated=stated
        )


def _check_counts(manifest: Manifest, source: Source) -> None:
    found = tuple(manifest.samples(part) for part in PARTS)
    if manifest.official and found != (source.train, source.test):
        raise DataError(
            f"{source.name} has {source.train:,} training and {source.test:,} test images, but these files hold "
            f"{found[0]:,} and {found[1]:,}; get them again, or take them as they are with verify=False, in a "
            "configuration data.verify = false"
        )


def _check_mean(manifest: Manifest, path: Path) -> None:
    if not manifest.stated:
        return
    count = manifest.samples("train")
    apart = np.abs(np.array(manifest.pixel_sums) - np.array(manifest.stated)).max() / count
    if apart > _MEAN_TOLERANCE:
        raise DataError(
            f"the training images beside {path} have another mean than their files state, by up to {apart:.2g} of 255: "
            "they are damaged, or not all of one set; get them again"
        )


def _check_known_mean(manifest: Manifest, source: Source) -> None:
    """Files whose checksum nobody states are taken for the official ones if their colours are, to three digits."""
    sums = np.array(manifest.pixel_sums, np.float64).reshape(source.image_shape[2], -1)
    found = sums.mean(1) / manifest.samples("train") / 255
    if np.abs(found - source.mean).max() > 1e-3:
        raise DataError(
            f"the training images have the mean {np.round(found, 4).tolist()}, and those of {source.name} have "
            f"{list(source.mean)}: these are others; take them as they are with verify=False, in a configuration "
            "data.verify = false"
        )


@contextlib.contextmanager
def _opened(path: Path, position: int) -> Iterator[IO[bytes]]:
    """A file to be written from a position on; what lay behind it goes."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(position)
        file.seek(position)
        yield file


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())

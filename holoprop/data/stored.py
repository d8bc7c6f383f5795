"""Arrays of a large data set on the disk, written once and mapped into memory from then on.

    <folder>/manifest.json                        what was converted: batch by batch, its file, samples, checksums
    <folder>/train-images.npy, test-images.npy    (n, height, width, channels) uint8
    <folder>/train-labels.npy, test-labels.npy    (n,) int32, from 0

The manifest is the truth: what lies in an array behind the batches that it lists is not there yet.
"""

import dataclasses
import hashlib
import json
import math
import struct
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from holoprop.data.dataset import DataError, Split
from holoprop.data.files import write_atomic

Part = Literal["train", "test"]
Kind = Literal["images", "labels"]
PARTS: tuple[Part, Part] = ("train", "test")

# Bytes of every array's header: room enough for any shape, so that it can be rewritten in place.
HEADER = 128

_FORMAT = 1
_CHUNK = 1 << 22


class StoredBatch(NamedTuple):
    """A batch that was converted: the file it came from, and the sha256 of its images and of its labels.

    **Attributes:** `file`, `size`, `modified`: the file's name, bytes, and time of change in nanoseconds; `samples`;
    `images`, `labels`: hexadecimal digests.
    """

    file: str
    size: int
    modified: int
    samples: int
    images: str
    labels: str

    @property
    def identity(self) -> tuple[str, int, int]:
        """By what the batch's file is known again."""
        return self.file, self.size, self.modified


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What is in a folder of arrays.

    **Attributes:** `official`: whether the files were made sure to be the official ones; `complete`: whether all
    batches are there; `train`, `test`: batches; `pixel_sums`, `stated`: while converting, for each pixel the sum over
    the training images so far, and of the mean that their files state, once for each image.
    """

    official: bool
    complete: bool = False
    train: tuple[StoredBatch, ...] = ()
    test: tuple[StoredBatch, ...] = ()
    pixel_sums: tuple[int, ...] = ()
    stated: tuple[float, ...] = ()

    def samples(self, part: Part) -> int:
        """Return how many samples of a part are there."""
        return sum(batch.samples for batch in getattr(self, part))

    @property
    def identities(self) -> dict[str, list[tuple[str, int, int]]]:
        """By what the converted files are known again, part by part."""
        return {part: [batch.identity for batch in getattr(self, part)] for part in PARTS}


class StoredCheck(NamedTuple):
    """What `check_stored` says of an array: its file, whether it is whole, and a line for people."""

    file: str
    ok: bool
    message: str


def stored_folders(root: Path) -> dict[bool, Path]:
    """Return the folders for arrays of official files (`True`) and of others (`False`) in a data set's cache."""
    return {True: root / "arrays", False: root / "arrays-unverified"}


def read_manifest(folder: Path) -> Manifest | None:
    """Return a folder's manifest, or `None` if there is none or it is damaged: then nothing in the folder counts."""
    try:
        found = json.loads((folder / "manifest.json").read_bytes())
        if found.pop("format") != _FORMAT:
            return None
        for part in PARTS:
            found[part] = tuple(StoredBatch(**batch) for batch in found[part])
        for key in ("pixel_sums", "stated"):
            found[key] = tuple(found[key])
        return Manifest(**found)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest in place of the folder's old one, as a whole.

    **Raises:** `OSError` as the file system does.
    """
    found = dataclasses.asdict(manifest)
    for part in PARTS:
        found[part] = [batch._asdict() for batch in getattr(manifest, part)]
    write_atomic(folder / "manifest.json", json.dumps({"format": _FORMAT, **found}, indent=1).encode())


def array_path(folder: Path, part: Part, kind: Kind) -> Path:
    """Return where an array is."""
    return folder / f"{part}-{kind}.npy"


def array_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """Return the header of an array of `dtype` (`"|u1"`, `"<i4"`), `HEADER` bytes long."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER - 10) + text.ljust(HEADER - 11).encode() + b"\n"


def whole_manifest(folder: Path, image_shape: tuple[int, int, int]) -> Manifest | None:
    """Return the manifest of a folder whose arrays are all there, to the byte; `None` of any other."""
    manifest = read_manifest(folder)
    if manifest is None or not manifest.complete:
        return None
    return manifest if arrays_reach(folder, manifest, image_shape, exactly=True) else None


def arrays_reach(folder: Path, manifest: Manifest, image_shape: tuple[int, int, int], *, exactly: bool = False) -> bool:
    """Return whether the arrays have all the bytes that the manifest lists, or even no others behind them."""
    for part in PARTS:
        count = manifest.samples(part)
        for kind, width in _widths(image_shape).items():
            try:
                size = array_path(folder, part, kind).stat().st_size
            except OSError:
                size = 0
            if size < HEADER + width * count and (count or exactly):
                return False
            if size > HEADER + width * count and exactly:
                return False
    return True


def open_stored(folder: Path, image_shape: tuple[int, int, int]) -> tuple[Split, Split]:
    """Return the training and test split in a folder; their images stay on the disk, mapped into memory.

    **Raises:** `DataError`, one line, if the arrays are not whole or of another shape.
    """
    manifest = whole_manifest(folder, image_shape)
    if manifest is None:
        raise DataError(f"{folder} holds no whole arrays; delete it to have them converted again")
    splits = []
    for part in PARTS:
        count = manifest.samples(part)
        try:
            images = np.load(array_path(folder, part, "images"), mmap_mode="r", allow_pickle=False)
            labels = np.load(array_path(folder, part, "labels"), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{folder} holds damaged arrays ({type(error).__name__}); delete it to have them converted again"
            ) from None
        if images.shape != (count, *image_shape) or labels.shape != (count,):
            raise DataError(f"{folder} holds arrays of other shapes; delete it to have them converted again")
        splits.append(Split(images, labels))
    train, test = splits
    return train, test


def check_stored(folder: Path, image_shape: tuple[int, int, int]) -> list[StoredCheck]:
    """Compare every byte of the arrays in a folder with the manifest's checksums; nothing is changed.

    **Returns:** one check an array; none if nothing was converted.
    """
    manifest = read_manifest(folder)
    if manifest is None or not manifest.complete:
        return []
    origin = "the official files" if manifest.official else "files that are not the official ones"
    checks = []
    for part in PARTS:
        for kind, width in _widths(image_shape).items():
            path = array_path(folder, part, kind)
            problem = _problem(path, [(each.samples * width, getattr(each, kind)) for each in getattr(manifest, part)])
            name = f"{folder.name}/{path.name}"
            line = f"{path} {problem}; delete {folder} to have it converted again" if problem else ""
            checks.append(StoredCheck(name, problem is None, line or f"whole, {path}, converted from {origin}"))
    return checks


def _widths(image_shape: tuple[int, int, int]) -> dict[Kind, int]:
    """Bytes of a sample in each array."""
    return {"images": math.prod(image_shape), "labels": 4}


def _problem(path: Path, pieces: list[tuple[int, str]]) -> str | None:
    """What sets an array apart from what was written."""
    try:
        with path.open("rb") as file:
            file.seek(HEADER)
            for size, expected in pieces:
                digest = hashlib.sha256()
                while size and (content := file.read(min(size, _CHUNK))):
                    digest.update(content)
                    size -= len(content)
                if digest.hexdigest() != expected:
                    return "has changed since it was converted"
            return "has bytes left over" if file.read(1) else None
    except OSError as error:
        return f"cannot be read: {error.strerror}"

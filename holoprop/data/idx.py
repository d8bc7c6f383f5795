"""IDX files, the format of MNIST: a header, then one array, everything big-endian.

    0x00 0x00, dtype code, number of dimensions d      4 bytes
    size of each dimension                             4·d bytes, unsigned
    items, last dimension fastest                      exactly (product of the sizes)·(bytes an item)

A file may be gzipped; that is told from its first bytes, not from its name. Nothing in the header is believed until
the bytes behind it are there, so a forged one costs no memory.
"""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from holoprop.data.dataset import DataError
from holoprop.data.limits import DEFLATE_RATIO, MAX_BYTES

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
# Every NumPy has room for as many; the published sets have 1 or 3.
_MAX_DIMENSIONS = 32
_FETCH_AGAIN = "fetch it again"
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> Shaped[np.ndarray, "..."]:
    """Read an IDX file, gzipped or plain.

    **Returns:** its array, in the machine's byte order.

    **Raises:** `DataError`, one line that names the file, if it is absent, unreadable, truncated or corrupt, has
    bytes left over, is empty, claims more than 2 GiB, or is not an IDX file at all.

    **Source:** the format as its authors describe it on the MNIST page (LeCun, Cortes & Burges).
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            size = os.fstat(raw.fileno()).st_size
            if not zipped:
                return _parse(raw, path, size)
            with gzip.GzipFile(fileobj=raw) as file:
                return _parse(file, path, size * DEFLATE_RATIO)
    except EOFError:
        raise DataError(f"{path} is truncated: its gzip stream breaks off; {_FETCH_AGAIN}") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is corrupt ({_one_line(error)}); {_FETCH_AGAIN}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or _one_line(error)}") from None


def read_idx_pair(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    image_shape: tuple[int, int, int],
    classes: int,
) -> tuple[UInt8[np.ndarray, "n height width channels"], Int32[np.ndarray, " n"]]:
    """Read an IDX file of grey images and the one of their labels.

    **Arguments:** `images`, `labels`: paths; `image_shape`: height, width and channels that the images must have;
    `classes`: labels must lie in 0 … `classes` − 1.

    **Returns:** images `(n, height, width, 1)` uint8 and labels `(n,)` int32.

    **Raises:** `DataError`, one line, as `read_idx`, and if shapes, dtypes, counts or labels are not as told.
    """
    x, y = read_idx(images), read_idx(labels)
    expected = image_shape[:2] if image_shape[2] == 1 else image_shape
    if x.dtype != np.uint8 or x.ndim != 1 + len(expected) or x.shape[1:] != expected:
        shape = " × ".join(map(str, expected))
        raise DataError(
            f"{images} must hold uint8 images of {shape}, but holds {x.dtype} of shape {x.shape}; "
            f"is it another set's file?"
        )
    if y.dtype != np.uint8 or y.ndim != 1:
        raise DataError(f"{labels} must hold one uint8 label a sample, but holds {y.dtype} of shape {y.shape}")
    if len(x) != len(y):
        raise DataError(f"{images} holds {len(x)} images, but {labels} holds {len(y)} labels; use two files of one set")
    if y.max() >= classes:
        where = int(np.argmax(y >= classes))
        raise DataError(f"{labels} has label {y[where]} at position {where}, but there are {classes} classes, from 0")
    return x.reshape(len(x), *image_shape), y.astype(np.int32)


@runtime_checkable
class _Readable(Protocol):
    """What a plain file and a gzip stream share."""

    def read(self, size: int, /) -> bytes: ...


def _parse(file: _Readable, path: Path, most: int) -> np.ndarray:
    """The array in an open file that can hold at most `most` bytes."""
    start = file.read(4)
    if len(start) < 4:
        raise DataError(f"{path} is truncated: {len(start)} bytes where a header of 4 begins; {_FETCH_AGAIN}")
    if start[:2] != b"\x00\x00" or start[2] not in _DTYPES or not 1 <= start[3] <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path} is not an IDX file: it begins with 0x{start.hex()}, expected 0x0000, a dtype code 0x08 … 0x0e "
            f"and the number of dimensions"
        )
    dtype, dimensions = np.dtype(_DTYPES[start[2]]), start[3]
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f"{path} is truncated: its header breaks off; {_FETCH_AGAIN}")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    expected = math.prod(shape) * dtype.itemsize
    if not expected:
        raise DataError(f"{path} is empty: its header says shape {shape}")
    if expected > MAX_BYTES:
        raise DataError(f"{path} claims {expected:,} bytes (shape {shape}), more than the {MAX_BYTES:,} that are read")
    present = most - len(start) - len(header)
    if expected > present:
        raise DataError(
            f"{path} is truncated: its header says shape {shape}, {expected:,} bytes, but at most "
            f"{max(present, 0):,} follow; {_FETCH_AGAIN}"
        )
    payload = _read_at_most(file, expected)
    if len(payload) < expected:
        raise DataError(
            f"{path} is truncated: its header says shape {shape}, {expected:,} bytes, but {len(payload):,} follow; "
            f"{_FETCH_AGAIN}"
        )
    # Reading on is also what makes gzip compare its checksum.
    if file.read(1):
        raise DataError(f"{path} has bytes left over behind the {expected:,} its header announces (shape {shape})")
    array = np.frombuffer(payload, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_at_most(file: _Readable, count: int) -> bytearray:
    # Piece by piece: one large read would allocate everything asked for before it knows how much there is.
    payload = bytearray()
    while len(payload) < count:
        piece = file.read(min(_CHUNK, count - len(payload)))
        if not piece:
            break
        payload += piece
    return payload


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

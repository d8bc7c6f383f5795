"""Arrays in npz files of unknown origin: a zip of `.npy` files, read piece by piece and never as pickles.

    name.npy    magic string, version 1.0, length of the header     10 bytes
                header: a dict of descr, fortran_order, shape        as text
                items                                                exactly (product of the shape)·(bytes an item)

Nothing in a header is believed until the sizes around it agree: the shape with what the zip says of the unzipped file,
that with what its zipped bytes can stand for, and those with the bytes there are. So a forged header or a zip bomb
costs no memory.
"""

import contextlib
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from holoprop.data.dataset import DataError
from holoprop.data.limits import DEFLATE_RATIO, MAX_BYTES

_MOST_ARRAYS = 64
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<>=|]?(?:b1|[iu][1248]|f[248]))', 'fortran_order': (True|False), "
    rb"'shape': \(([\d, L]{0,200})\),? *\} *\n"
)
_CHUNK = 1 << 20


@runtime_checkable
class _Stream(Protocol):
    """What is read of a file in a zip."""

    def read(self, size: int, /) -> bytes: ...


class _Layout(NamedTuple):
    """What the header of one array says, checked; `start`: the bytes before its items."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int


class Npz:
    """An opened npz file: `with Npz(path) as arrays: arrays.read("labels")`.

    **Raises:** `DataError`, one line that names the file, from here and from every method, if the file cannot be read,
    is no zip of plain arrays, is truncated or corrupt, or claims more than it can hold.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told():
            self._size = path.stat().st_size
            self._zip = zipfile.ZipFile(path)
        self._entries: dict[str, zipfile.ZipInfo] = {}
        entries = self._zip.infolist()
        if len(entries) > _MOST_ARRAYS:
            raise DataError(f"{path} holds {len(entries)} files, more than the {_MOST_ARRAYS} that are read")
        for entry in entries:
            if entry.filename in self._entries:
                raise DataError(f"{path} holds {entry.filename[:80]!r} twice; fetch it again")
            self._entries[entry.filename] = entry

    def __enter__(self) -> "Npz":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._entries

    def described(self, name: str) -> tuple[np.dtype, tuple[int, ...]]:
        """Return dtype and shape of an array, of which no more than its header is read."""
        with self._open(name) as (_, layout):
            return layout.dtype, layout.shape

    def read(self, name: str) -> Shaped[np.ndarray, "..."]:
        """Return an array, in the machine's byte order."""
        with self._open(name) as (stream, layout):
            content = bytearray()
            for piece in self._pieces(name, stream, math.prod(layout.shape) * layout.dtype.itemsize, _CHUNK):
                content += piece
            array = np.frombuffer(content, layout.dtype).reshape(layout.shape, order="F" if layout.fortran else "C")
        return array.astype(layout.dtype.newbyteorder("="), copy=False)

    def rows(self, name: str, count: int) -> Iterator[Shaped[np.ndarray, "rows ..."]]:
        """Return an iterator over an array, `count` rows at a time, which never holds more than those in memory."""
        with self._open(name) as (stream, layout):
            if layout.fortran or not layout.shape:
                raise DataError(f"{self.path} must hold {name!r} row by row, but holds it column by column")
            width = math.prod(layout.shape[1:]) * layout.dtype.itemsize
            for piece in self._pieces(name, stream, layout.shape[0] * width, count * width):
                yield np.frombuffer(piece, layout.dtype).reshape(-1, *layout.shape[1:])

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[tuple[_Stream, _Layout]]:
        entry = self._entries.get(f"{name}.npy")
        if entry is None:
            raise DataError(f"{self.path} must hold an array {name!r}; is it another set's file?")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{self.path} is zipped by another method than npz files are")
        with self._told(), self._zip.open(entry) as stream:
            yield stream, self._layout(name, entry, stream)

    def _layout(self, name: str, entry: zipfile.ZipInfo, stream: _Stream) -> _Layout:
        start = stream.read(10)
        if start[:8] != _MAGIC:
            raise DataError(f"{self.path} holds {name!r} in another form than arrays of numbers have")
        (length,) = struct.unpack("<H", start[8:])
        found = _HEADER.fullmatch(stream.read(length))
        if found is None:
            raise DataError(f"{self.path} holds {name!r}, which is no array of numbers, or has a damaged header")
        dtype = np.dtype(found[1].decode("ascii"))
        shape = tuple(int(size) for size in re.findall(r"\d+", found[3].decode("ascii")))
        expected = math.prod(shape) * dtype.itemsize
        if expected > MAX_BYTES:
            raise DataError(
                f"{self.path} claims {expected:,} bytes for {name!r} (shape {shape}), more than the {MAX_BYTES:,} "
                "that are read"
            )
        packed = min(entry.compress_size, self._size)
        most = packed if entry.compress_type == zipfile.ZIP_STORED else packed * DEFLATE_RATIO
        if entry.file_size != 10 + length + expected or entry.file_size > most:
            raise DataError(
                f"{self.path} claims {expected:,} bytes for {name!r} (shape {shape}), but holds other than that; "
                "fetch it again"
            )
        if len(shape) > 32:
            raise DataError(f"{self.path} holds {name!r} of {len(shape)} dimensions, more than the 32 that are read")
        return _Layout(dtype, shape, found[2] == b"True", 10 + length)

    def _pieces(self, name: str, stream: _Stream, expected: int, size: int) -> Iterator[bytes]:
        left = expected
        while left:
            piece = _read_exactly(stream, min(size, left))
            left -= len(piece)
            yield piece
        # Reading on is also what makes zipfile compare the checksum.
        if stream.read(1):
            raise DataError(f"{self.path} has bytes left over behind {name!r}; fetch it again")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn whatever a damaged zip makes of its readers into one line."""
        try:
            yield
        except DataError:
            raise
        except (EOFError, zlib.error, zipfile.BadZipFile, struct.error) as error:
            raise DataError(f"{self.path} is no whole npz file ({type(error).__name__}); fetch it again") from None
        except (ValueError, RuntimeError, LookupError, TypeError, OverflowError) as error:
            raise DataError(f"{self.path} is no whole npz file ({type(error).__name__}); fetch it again") from None
        except MemoryError:
            raise DataError(f"{self.path} claims more than it holds; fetch it again") from None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or type(error).__name__}") from None


def _read_exactly(stream: _Stream, count: int) -> bytes:
    content = stream.read(count)
    while 0 < len(content) < count:
        more = stream.read(count - len(content))
        if not more:
            break
        content += more
    if len(content) < count:
        raise EOFError
    return content

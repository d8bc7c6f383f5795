"""Pickled data files of unknown origin, read without running anything of theirs.

A pickle is a program for a small stack machine, and it may name any function of any module and call it. So it is read
twice: first its instructions are listed, and refused if data have no use for one of them, if a size has no bytes behind
it, or if they could take for ever; then Python's own unpickler follows them, and what it finds under the few names that
are left are functions of ours, which make NumPy's arrays of numbers and nothing else.
"""

import io
import math
import mmap
import pickle
import pickletools
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from holoprop.data.dataset import DataError

_USELESS = (
    *("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "DUP"),
    *("EMPTY_SET", "ADDITEMS", "FROZENSET", "NEXT_BUFFER", "READONLY_BUFFER"),
)
_INSTRUCTIONS = frozenset(each.name for each in pickletools.opcodes if each.proto <= 5).difference(_USELESS)
_OPCODES = {each.code.encode("latin1"): each for each in pickletools.opcodes}
_TUPLES = frozenset(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"))
_MOST_TUPLES = 10_000
"""An array needs five. Nested deeper, hashing one could overflow the interpreter's stack."""


def read_pickle(content: bytes | mmap.mmap, path: Path) -> Any:
    """Read a pickle of arrays, dicts, lists, tuples, numbers and strings; strings of Python 2 come as bytes.

    **Arguments:** `content`: the file, in memory or mapped into it; `path`: what it is called in messages.

    **Raises:** `DataError`, one line, if it asks for anything else, is truncated or corrupt; nothing of it is run.
    """
    try:
        with warnings.catch_warnings():
            # Of escapes in a damaged text that no letter has.
            warnings.simplefilter("ignore")
            _check_instructions(content)
            return _Unpickler(content).load()
    except _RefusedError as refused:
        raise DataError(
            f"{path} asks for {refused}, but a data file holds arrays and plain values only; nothing of it was run: "
            "fetch the official file"
        ) from None
    except (MemoryError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} claims more than it holds ({type(error).__name__}); fetch it again") from None
    # A damaged pickle can fail in any way, deep inside.
    except Exception as error:
        raise DataError(f"{path} is no whole pickle ({type(error).__name__}); fetch it again") from None


class _RefusedError(Exception):
    """A name or an instruction that data have no use for; its text, from the file, becomes one short line."""

    def __str__(self) -> str:
        return str(self.args[0]).encode("unicode_escape").decode("ascii")[:80]


def _check_instructions(content: bytes | mmap.mmap) -> None:
    """Raise unless every instruction is harmless, whole, and of a cost that the length of the file bounds."""
    stored, tuples, before = 0, 0, ""
    stored_tuples: set[int] = set()
    for name, argument in _listed(content):
        if name not in _INSTRUCTIONS:
            raise _RefusedError(argument.replace(" ", ".") if name in ("INST", "PERSID") else name)
        if name == "GLOBAL" and tuple(argument.split(" ")) not in _ADMITTED:
            raise _RefusedError(argument.replace(" ", "."))
        if name in _TUPLES:
            tuples += 1
            if tuples > _MOST_TUPLES:
                raise MemoryError
        elif name.endswith("PUT") or name == "MEMOIZE":
            place = stored if argument is None else argument
            # Python numbers them from 0 or 1; memory is set aside up to the largest number.
            if not 0 <= place <= stored + 1:
                raise MemoryError
            stored += 1
            if before in _TUPLES:
                stored_tuples.add(place)
        elif name.endswith("GET") and argument in stored_tuples:
            # Each made of the one before twice, sixty of them would take an age to hash.
            raise _RefusedError("a tuple twice")
        before = name


def _listed(content: bytes | mmap.mmap) -> Iterator[tuple[str, Any]]:
    """The instructions up to the last, each with its argument; as `pickletools.genops`, for which text is ASCII."""
    file = _opened(content)
    name = ""
    while name != "STOP":
        instruction = _OPCODES[file.read(1)]
        name = instruction.name
        if name == "STRING":
            # A line in quotes, with any byte in it; what it says is the unpickler's to read.
            if not file.readline().endswith(b"\n"):
                raise EOFError
            yield name, None
        else:
            yield name, instruction.arg and instruction.arg.reader(cast(Any, file))


def _opened(content: bytes | mmap.mmap) -> io.BytesIO | mmap.mmap:
    """A file to be read from its beginning; it gives no more than it has, however much is asked of it."""
    if isinstance(content, bytes):
        return io.BytesIO(content)
    content.seek(0)
    return content


class _Unpickler(pickle.Unpickler):
    """Python's own, with functions of ours under the names that arrays are pickled with."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        super().__init__(_opened(content), encoding="bytes")
        # What conversions may make: a text that is stored once could be converted over and over.
        self._allowance = 2 * len(content) + 1024

    def find_class(self, module: str, name: str) -> Any:
        """Return what an admitted name stands for; nothing is imported."""
        if (module, name) not in _ADMITTED:
            raise _RefusedError(f"{module}.{name}")
        admitted = _ADMITTED[module, name]
        return _Function(self._encode) if admitted is _ENCODE else admitted

    def _encode(self, text: str, encoding: str | bytes) -> bytes:
        """Return bytes as Python 3 writes them into pickles that Python 2 can read."""
        if encoding not in ("latin1", b"latin1"):
            raise _RefusedError("a conversion of text")
        self._allowance -= len(text)
        if self._allowance < 0:
            raise MemoryError
        return text.encode("latin1")


class _Function:
    """What a pickle may call; without attributes that it could set."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError("a state of something else than an array")


class _Dtype:
    """A dtype of numbers; its byte order arrives after it."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "=", "|"):
            raise ValueError
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array that believes no state before it has looked at it."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        _check_array(shape, kind, raw)
        # Large ones share these bytes.
        super().__setstate__(cast(Any, (1, shape, kind.dtype, bool(fortran), raw)))


def _check_array(shape: Any, kind: Any, raw: Any) -> None:
    """Raise unless an array of the shape and dtype has just these bytes."""
    known = type(shape) is tuple and all(type(size) is int and size >= 0 for size in shape)
    if not known or type(kind) is not _Dtype or type(raw) not in (bytes, bytearray):
        raise TypeError
    if math.prod(shape) * kind.dtype.itemsize != len(raw):
        raise ValueError


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Return the empty array that numpy's own function would, to be filled by its state."""
    del shape, code
    if kind is not _NDARRAY:
        raise _RefusedError("an array of an unknown class")
    return _Array((0,), np.uint8)


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Return an array as protocol 5 makes it."""
    _check_array(shape, kind, raw)
    return np.frombuffer(raw, kind.dtype).reshape(shape, order=order)


def _dtype(code: Any, *flags: Any) -> _Dtype:
    """Return a dtype of numbers: no objects, whose items could be anything, and no records."""
    del flags
    name = code.decode("ascii") if isinstance(code, bytes) else code
    if not isinstance(name, str) or not re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f[248])", name):
        raise _RefusedError(f"an array of {str(name)[:20]!r}")
    return _Dtype(np.dtype(name))


def _scalar(kind: Any, raw: Any) -> Any:
    """Return one number, as NumPy's own numbers are written."""
    if type(kind) is not _Dtype or type(raw) is not bytes or len(raw) != kind.dtype.itemsize:
        raise ValueError
    return np.frombuffer(raw, kind.dtype)[0].item()


_NDARRAY, _ENCODE = object(), object()
_FUNCTIONS = {
    ("multiarray", "_reconstruct"): _reconstruct,
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): _from_buffer,
}
_ADMITTED: dict[tuple[str, ...], Any] = {
    ("_codecs", "encode"): _ENCODE,
    # Called for no bytes, as Python 3 writes them into pickles that Python 2 can read.
    ("__builtin__", "bytes"): _Function(lambda: b""),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Function(_dtype),
} | {
    # NumPy 1 and 2.
    (f"{package}.{module}", name): _Function(function)
    for package in ("numpy.core", "numpy._core")
    for (module, name), function in _FUNCTIONS.items()
}

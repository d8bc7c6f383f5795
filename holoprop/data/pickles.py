"""Pickled data files of unknown origin, read without running anything of theirs.

A pickle is a program: it may name any function of any module and call it. Data files need arrays and plain values only,
so every other name is refused before it is looked up, and arrays are rebuilt by a function of ours that believes no
size it has not got the bytes for.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from holoprop.data.dataset import DataError


def read_pickle(content: bytes, path: Path) -> Any:
    """Read a pickle of arrays, dicts, lists, tuples, numbers and strings; strings of Python 2 come as bytes.

    **Arguments:** `content`: the file; `path`: what it is called in messages.

    **Raises:** `DataError`, one line, if it asks for anything else, is truncated or corrupt; nothing of it is run.
    """
    try:
        return _Restricted(io.BytesIO(content), encoding="bytes").load()
    except _RefusedError as refused:
        raise DataError(
            f"{path} asks for {refused}, but a data file holds arrays and plain values only; nothing of it was run: "
            "fetch the official file"
        ) from None
    # A damaged pickle can fail in any of these ways, deep inside.
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(f"{path} is no whole pickle ({type(error).__name__}); fetch it again") from None
    except (MemoryError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} claims more than it holds ({type(error).__name__}); fetch it again") from None


class _RefusedError(Exception):
    """A name that data have no use for."""


class _ArrayClass:
    """Stands for `numpy.ndarray` where a pickle names it: to be passed on, not to be called."""


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Return the empty array that numpy's own function would, to be filled by its state."""
    del shape, code
    if kind is not _ArrayClass:
        raise _RefusedError("an array of an unknown class")
    return np.ndarray((0,), np.uint8)


def _dtype(code: Any, *flags: Any) -> np.dtype:
    """Return a dtype of numbers: no objects, whose items could be anything, and no records."""
    del flags
    name = code.decode("ascii") if isinstance(code, bytes) else code
    found = np.dtype(name) if isinstance(name, str) else None
    if found is None or found.kind not in "biuf":
        raise _RefusedError(f"an array of {name!r}")
    return found


def _encode(text: Any, encoding: Any) -> bytes:
    """Return bytes as Python 3 writes them into pickles that Python 2 can read."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise _RefusedError("a conversion of text")
    return text.encode("latin1")


_ADMITTED = {
    ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _dtype,
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _RefusedError(f"{module}.{name}")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        del pid
        raise _RefusedError("an object outside the file")

"""Reading pickles. Oracle: Python's own pickling, on what is harmless; refusals on what is not."""

import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.dataset import DataError
from holoprop.data.pickles import read_pickle

VALUES = [
    None,
    [True, False, 0, 1, -1, 255, 256, 70_000, -(2**31), 2**40, -(2**100), 0.5, float("inf")],
    {"a": (), "b": (1,), "c": (1, 2), "d": (1, 2, 3), "e": (1, 2, 3, 4), b"f": [[], {}, {1: {2: 3}}], 7: "ſß\n"},
    [b"", b"bytes", bytes(range(256)) * 5, "x" * 300][1:],
]


def read(content: bytes):
    return read_pickle(content, Path("a.pkl"))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES)
def test_plain_values_come_back(protocol: int, value: object) -> None:
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(2000, dtype=np.uint8).reshape(20, 100),
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.arange(4, dtype=">i4"),
        np.zeros((0, 3), np.float32),
    ],
    ids=["large", "floats", "column by column", "big-endian", "empty"],
)
def test_arrays_come_back(protocol: int, array: np.ndarray) -> None:
    """Also as NumPy 1 called its functions, as in every published file."""
    content = pickle.dumps(array, protocol)
    older = content.replace(b"numpy._core", b"numpy.core")
    if protocol >= 4:
        # These count the letters of a name, and those of a frame, which may be left out.
        older = re.sub(rb"\x8c.(numpy\.core\.\w+)", lambda found: b"\x8c%c%s" % (len(found[1]), found[1]), older)
        older = older[:2] + older[11:]
    for written in (content, older):
        found = read(written)
        np.testing.assert_array_equal(found, array)
        assert found.dtype == pickle.loads(pickle.dumps(array, protocol)).dtype


def test_what_is_stored_twice_is_one_object() -> None:
    row = np.arange(3.0)
    first, second = read(pickle.dumps([row, row], 2))
    assert first is second
    assert read(pickle.dumps([np.int64(5), np.float32(0.5)], 2)) == [5, 0.5]


def test_strings_of_python_2_are_bytes() -> None:
    """Oracle: the instructions of Python 2's own writers, by hand."""
    assert read(b"(dp0\nS'data'\np1\nS'\\x00\\xff'\np2\ns.") == {b"data": b"\x00\xff"}
    assert read(b"\x80\x02}q\x01(U\x04dataq\x02T\x02\x00\x00\x00\x00\xffq\x03u.") == {b"data": b"\x00\xff"}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"cos\nsystem\n(U\x04truetR.", "a.pkl asks for os.system, but a data file holds arrays and plain values only"),
        (b"(ios\nsystem\n.", "a.pkl asks for os.system, but"),
        (b"(cos\nsystem\no.", "a.pkl asks for os.system, but"),
        (b"Pname\n.", "a.pkl asks for name, but"),
        (b"NQ.", "a.pkl asks for BINPERSID, but"),
        (b"\x82\x01.", "a.pkl asks for EXT1, but"),
        (b"\x8f.", "a.pkl asks for EMPTY_SET, but"),
        (b"]}b.", "a.pkl is no whole pickle (AttributeError); fetch it again"),
        (b"](K\x01tb.", "a.pkl is no whole pickle (UnpicklingError); fetch it again"),
        (b"N)R.", "a.pkl is no whole pickle (TypeError); fetch it again"),
        (b"cnumpy\nndarray\n)R.", "a.pkl is no whole pickle (TypeError); fetch it again"),
        (b"cnumpy\ndtype\n(U\x03O16tR.", "a.pkl asks for an array of 'O16', but"),
        (b".", "a.pkl is no whole pickle (UnpicklingError); fetch it again"),
        (b"h\x05.", "a.pkl is no whole pickle (UnpicklingError); fetch it again"),
        (b"", "a.pkl is no whole pickle (KeyError); fetch it again"),
        # A key of nested tuples, whose hash would take 2⁶⁰ steps.
        (b"}(tq\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"K\x01s.", "a.pkl asks for a tuple twice, but"),
        # And one that is nested so deep that hashing it would overflow the stack.
        (b"})" + b"\x85" * 10**6 + b"K\x01s.", "a.pkl claims more than it holds (MemoryError); fetch it again"),
        # One text, converted a hundred thousand times.
        (
            b"(X" + struct.pack("<I", 10**5) + b"x" * 10**5 + b"q\x00" + b"c_codecs\nencode\nq\x01U\x06latin1q\x02"
            b"" + b"h\x01h\x00h\x02\x86R" * 10**5 + b"t.",
            "a.pkl claims more than it holds (MemoryError); fetch it again",
        ),
    ],
)
def test_everything_else_is_refused(content: bytes, line: str) -> None:
    with pytest.raises(DataError) as caught:
        read(content)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)

"""IDX files. Oracle: a writer and a reference reader of the test's own, after the published description."""

import gzip
import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from holoprop.data.dataset import DataError
from holoprop.data.idx import read_idx, read_idx_pair

Encode = Callable[[np.ndarray], bytes]
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
ANY_ARRAY = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One path for all examples of a property."""
    return tmp_path_factory.mktemp("idx") / "some-idx-ubyte"


def reference(content: bytes) -> np.ndarray | None:
    """The array in a file's content, or None if it is no whole IDX file."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except Exception:
            return None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in DTYPES or content[3] == 0:
        return None
    start = 4 + 4 * content[3]
    if len(content) < start:
        return None
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    dtype = np.dtype(DTYPES[content[2]]).newbyteorder(">")
    if math.prod(shape) == 0 or len(content) != start + math.prod(shape) * dtype.itemsize:
        return None
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def refused(path: Path, *words: str) -> None:
    """`read_idx` refuses the file in one line that names it and holds the words."""
    with pytest.raises(DataError) as caught:
        read_idx(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@settings(max_examples=60)
@given(array=ANY_ARRAY, zipped=st.booleans())
def test_round_trip_byte_for_byte(file: Path, encode_idx: Encode, array: np.ndarray, zipped: bool) -> None:
    """What is read is what was written, bit for bit (NaNs too), in the machine's own byte order."""
    content = encode_idx(array)
    file.write_bytes(gzip.compress(content, 1) if zipped else content)
    read = read_idx(file)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert encode_idx(read) == content


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file's content after a few cuts, insertions and changed bytes, the first ones more often than others."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        near, far = st.integers(0, min(16, len(data))), st.integers(0, len(data))
        at = draw(near | far)
        kind = draw(st.sampled_from(["change", "insert", "cut", "truncate"]))
        if kind == "change":
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=6))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 6))]
        else:
            del data[at:]
    return bytes(data)


@settings(max_examples=300)
@given(data=st.data(), array=ANY_ARRAY, zipped=st.booleans())
def test_damaged_files_load_right_or_are_refused(
    file: Path, encode_idx: Encode, data: st.DataObject, array: np.ndarray, zipped: bool
) -> None:
    """Oracle: the reference reader; nothing but `DataError` ever comes out."""
    content = encode_idx(array)
    content = data.draw(damaged(gzip.compress(content, mtime=0) if zipped else content))
    file.write_bytes(content)
    expected = reference(content)
    if expected is None:
        refused(file)
    else:
        read = read_idx(file)
        assert (read.shape, encode_idx(read)) == (expected.shape, encode_idx(expected))


@settings(max_examples=100)
@given(content=st.binary(max_size=40).map(lambda tail: b"\0\0" + tail) | st.binary(max_size=40))
def test_arbitrary_bytes_load_right_or_are_refused(file: Path, encode_idx: Encode, content: bytes) -> None:
    file.write_bytes(content)
    expected = reference(content)
    if expected is None:
        refused(file)
    else:
        assert encode_idx(read_idx(file)) == encode_idx(expected)


def test_each_fault_has_its_own_line(tmp_path: Path, encode_idx: Encode) -> None:
    path = tmp_path / "images.gz"
    good = encode_idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    zipped = gzip.compress(good)
    refused(path, "No such file")
    refused(tmp_path, "cannot be read")
    for content, *words in (
        (b"", "truncated"),
        (good[:9], "truncated", "header"),
        (good[:-1], "truncated", "24 bytes", "at most 23", "fetch"),
        (good + b"x", "left over"),
        (zipped[:-9], "truncated", "gzip"),
        (zipped[:-8] + b"\0" * 8, "corrupt", "CRC"),
        (zipped + b"junk", "corrupt"),
        (gzip.compress(good[:-1]), "truncated", "23 follow"),
        (gzip.compress(good + b"x"), "left over"),
        (b"\x89PNG\r\n\x1a\n" + good, "not an IDX file", "0x89504e47"),
        (b"<html><body>404", "not an IDX file"),
        (b"\0\0\x0a" + good[3:], "not an IDX file"),
        (b"\0\0\x08\x00", "not an IDX file"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "not an IDX file"),
        (encode_idx(np.zeros((0, 28, 28), np.uint8)), "empty"),
    ):
        path.write_bytes(content)
        refused(path, *words)


@pytest.mark.parametrize(
    ("shape", "follows", "zipped"),
    [
        ((2**32 - 1,) * 3, 10, False),
        ((60_000, 28, 28), 1000, False),
        ((2**32 - 1, 2**32 - 1), 1000, True),
        # Believable for the size of the file, but not there.
        ((40_000, 28, 28), 40_000, True),
        # 60 MB of zeros behind a header for ten bytes: a decompression bomb.
        ((10,), 60_000_000, True),
    ],
)
def test_a_header_alone_costs_no_memory(tmp_path: Path, shape: tuple[int, ...], follows: int, zipped: bool) -> None:
    """The peak stays below two pieces of 1 MiB and some small change, whatever the header says."""
    content = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    noise = np.random.default_rng(0).bytes(follows) if follows < 10**6 else bytes(follows)
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(content + noise, 1) if zipped else content + noise)
    tracemalloc.start()
    try:
        refused(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * 2**20


def test_pair_is_returned_in_the_order_written(tmp_path: Path, encode_idx: Encode) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 6), np.uint8)
    labels = np.array([0, 9, 3, 3, 1, 2, 9], np.uint8)
    (tmp_path / "x").write_bytes(encode_idx(images))
    (tmp_path / "y").write_bytes(gzip.compress(encode_idx(labels)))
    x, y = read_idx_pair(tmp_path / "x", tmp_path / "y", image_shape=(4, 6, 1), classes=10)
    np.testing.assert_array_equal(x, images[..., None])
    np.testing.assert_array_equal(y, labels)
    assert (x.dtype, y.dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((3, 4, 4), "u1"), np.array([0, 1], "u1"), ("3 images", "2 labels")),
        (np.zeros((3, 4, 4), "u1"), np.array([0, 10, 1], "u1"), ("label 10", "position 1", "10 classes")),
        (np.zeros((3, 4, 4), "u1"), np.array([0, 1, 1], "i4"), ("labels-file", "int32")),
        (np.zeros((3, 4, 4), "u1"), np.zeros((3, 1), "u1"), ("labels-file", "(3, 1)")),
        (np.zeros((3, 4, 5), "u1"), np.zeros(3, "u1"), ("4 × 4", "(3, 4, 5)")),
        (np.zeros((3, 4, 4, 1), "u1"), np.zeros(3, "u1"), ("4 × 4", "(3, 4, 4, 1)")),
        (np.zeros((3, 4, 4), "f4"), np.zeros(3, "u1"), ("uint8", "float32")),
        # The two files given the wrong way round.
        (np.zeros(3, "u1"), np.zeros((3, 4, 4), "u1"), ("images-file", "(3,)")),
    ],
)
def test_files_that_do_not_belong_together(
    tmp_path: Path, encode_idx: Encode, images: np.ndarray, labels: np.ndarray, words: tuple[str, ...]
) -> None:
    """Each is a whole IDX file; the message names the file at fault and what is wrong with it."""
    (tmp_path / "images-file").write_bytes(encode_idx(images))
    (tmp_path / "labels-file").write_bytes(encode_idx(labels))
    with pytest.raises(DataError) as caught:
        read_idx_pair(tmp_path / "images-file", tmp_path / "labels-file", image_shape=(4, 4, 1), classes=10)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)

"""Damaged and hostile files: thousands of mutations, each read right or refused in one line, and nothing is run.

Oracles: the checksums inside zips and gzips, by which a mutation either changes nothing or is noticed; a second decoder
of plain IDX files; what can be said of any content (shapes, ranges, no more bytes than the file has); the memory
allocated, in bounds.
"""

import contextlib
import gzip
import io
import pickle
import struct
import tomllib
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from holoprop.data.cifar import read_cifar_batches
from holoprop.data.dataset import DataError
from holoprop.data.idx import read_idx
from holoprop.data.imagenet import open_batch
from holoprop.data.svhn import read_svhn
from holoprop.experiments.config import Config, parse_config
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.sources import load_config, preset_text

SHAPE = (4, 5, 3)
RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (6, *SHAPE), np.uint8)
ROWS = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2).reshape(6, -1))
LABELS = [3, 9, 1, 1, 10, 5]
EXTREME = [struct.pack(code, value) for code in ("<I", ">I", "<Q") for value in (0, 1, 2**31 - 1, 2**31, 2**32 - 1)]
EXTREME += [struct.pack("<Q", 2**63 - 1), struct.pack("<q", -1), struct.pack("<I", 1 << 29)]
# Base files have a few kilobytes; what is read of a forged one takes a few megabytes at most.
MOST_MEMORY = 16_000_000


def mutations(base: bytes, count: int, seed: int, snippets: tuple[bytes, ...] = ()) -> Iterator[bytes]:
    """Flips, truncations, insertions, deletions, repetitions, forged sizes, and the snippets put anywhere."""
    rng = np.random.default_rng([seed, len(base)])
    for kind in rng.integers(0, 7 if snippets else 6, count):
        content, place = bytearray(base), int(rng.integers(0, len(base)))
        span = int(rng.integers(1, 40))
        if kind == 0:
            for where in rng.integers(0, len(base), rng.integers(1, 5)):
                content[where] ^= int(rng.integers(1, 256))
        elif kind == 1:
            del content[place:]
        elif kind == 2:
            content[place:place] = rng.bytes(span)
        elif kind == 3:
            del content[place : place + span]
        elif kind == 4:
            content[place:place] = content[place : place + span]
        elif kind == 5:
            forged = EXTREME[rng.integers(0, len(EXTREME))]
            content[place : place + len(forged)] = forged
        else:
            content[place:place] = snippets[rng.integers(0, len(snippets))]
        yield bytes(content)


def read_all(
    cases: Iterator[bytes], path: Path, read: Callable[[Path], object], right: Callable[[object, bytes], None]
) -> tuple[int, int]:
    """Read each case from a file; return how many were read and how many refused."""
    counts = [0, 0]
    tracemalloc.start()
    try:
        for content in cases:
            path.write_bytes(content)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                found = read(path)
            except (DataError, ConfigError) as error:
                line = str(error)
                assert line and "\n" not in line and len(line) < 600, line
                counts[1] += 1
            else:
                right(found, content)
                counts[0] += 1
            assert tracemalloc.get_traced_memory()[1] - before < MOST_MEMORY
    finally:
        tracemalloc.stop()
    return counts[0], counts[1]


def test_idx_files(tmp_path: Path, encode_idx: Callable[[np.ndarray], bytes]) -> None:
    """600 mutations. Oracle: of plain files, NumPy's reading of what follows the header; of gzipped ones, their CRC."""
    plain = encode_idx(IMAGES[..., 0])

    def decoded(found: object, content: bytes) -> None:
        code, dimensions = content[2], content[3]
        assert isinstance(found, np.ndarray) and found.ndim == dimensions
        items = np.frombuffer(content[4 + 4 * dimensions :], {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4"}.get(code, "u1"))
        if code in (8, 9, 11, 12):
            np.testing.assert_array_equal(found.ravel(), items)

    read, refused = read_all(mutations(plain, 300, 1), tmp_path / "idx", read_idx, decoded)
    assert read > 20 and refused > 100

    def same(found: object, content: bytes) -> None:
        np.testing.assert_array_equal(np.asarray(found), IMAGES[..., 0])

    zipped = mutations(gzip.compress(plain, mtime=0), 300, 2)
    read, refused = read_all(zipped, tmp_path / "idx.gz", read_idx, same)
    assert read > 0 and refused > 200


def hostile(mark: Path) -> tuple[bytes, ...]:
    """Instructions that would make a file, if anything ran them, and some that would take memory or time."""
    text = f"open({str(mark)!r}, 'w')".encode()
    short = bytes([len(text)]) + text
    return (
        b"c__builtin__\neval\n(U" + short + b"tR.",
        b"cbuiltins\nexec\n(X" + struct.pack("<I", len(text)) + text + b"tR",
        b"(cposix\nsystem\nS'touch " + str(mark).encode() + b"'\no",
        b"(S'touch " + str(mark).encode() + b"'\nios\nsystem\n",
        b"\x8c\x02os\x8c\x06system\x93(U" + short + b"tR",
        b"c_codecs\nencode\n(Vx\nVlatin1\ntR",
        b"r\xff\xff\xff\x5f",
        b"p99999999999999999999\n",
        b"\x96" + struct.pack("<Q", 1 << 40),
        b"\x8e" + struct.pack("<Q", 1 << 40),
        b"2(tq\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"K\x01s",
        b"\x82\x01",
        b"P1\n",
        b"Q",
    )


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_pickles(tmp_path: Path, protocol: int) -> None:
    """800 mutations in all. Oracle: shapes and ranges hold, from bytes that are there; no file is made."""
    mark = tmp_path / "mark"
    labels = [label - 1 for label in LABELS]
    # Text as Python 2 wrote it, for the oldest protocols.
    content = {b"data": ROWS, b"labels": labels, b"filenames": ["a.png"] * 6, b"batch_label": "one"}
    base = pickle.dumps(content, protocol)

    def read(path: Path) -> object:
        return read_cifar_batches([path], image_shape=SHAPE, classes=10)

    def possible(found: object, content: bytes) -> None:
        assert isinstance(found, tuple)
        images, labels = found
        assert images.shape[1:] == SHAPE and images.dtype == np.uint8 and labels.shape == (len(images),)
        assert ((labels >= 0) & (labels < 10)).all() and images.nbytes <= len(content)

    cases = mutations(base, 200, protocol, hostile(mark))
    read_count, refused = read_all(cases, tmp_path / "batch", read, possible)
    assert read_count > 0 and refused > 80 and not mark.exists()
    for snippet in hostile(mark):
        for start in (base[:2] if protocol >= 2 else b"", base[:-1]):
            (tmp_path / "batch").write_bytes(start + snippet + b".")
            # What merely stores something for later, and never asks for it, does no harm.
            with contextlib.suppress(DataError):
                read(tmp_path / "batch")
    assert not mark.exists()


def imagenet_batch(path: Path) -> object:
    with open_batch(path, pixels=60, classes=1000) as batch:
        return np.concatenate(list(batch.rows)), batch.labels, batch.mean


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_files(tmp_path: Path, save: Callable[..., None]) -> None:
    """600 mutations in all. Oracle: the zip's own checksums, by which what loads is what was written."""
    stream = io.BytesIO()
    save(stream, data=ROWS, labels=np.array(LABELS), mean=ROWS.mean(0))

    def same(found: object, content: bytes) -> None:
        assert isinstance(found, tuple)
        for part, expected in zip(found[:2], (ROWS, np.array(LABELS) - 1), strict=True):
            np.testing.assert_array_equal(part, expected)
        # An array under another name is not there.
        assert found[2] is None or (found[2] == ROWS.mean(0)).all()

    objects = io.BytesIO()
    np.save(objects, np.array([None, "x"], object), allow_pickle=True)
    cases = mutations(stream.getvalue(), 300, 3, (objects.getvalue(), b"PK\x01\x02", b"PK\x05\x06" + bytes(18)))
    read, refused = read_all(cases, tmp_path / "batch.npz", imagenet_batch, same)
    assert read > 0 and refused > 150


def test_matlab_files(tmp_path: Path) -> None:
    """200 mutations. Oracle: shapes and ranges hold whatever loads, from no more bytes than can be there."""
    scipy.io.savemat(
        tmp_path / "a.mat", {"X": IMAGES.transpose(1, 2, 3, 0), "y": np.array([LABELS]).T}, do_compression=True
    )
    base = (tmp_path / "a.mat").read_bytes()

    def possible(found: object, content: bytes) -> None:
        assert isinstance(found, tuple)
        images, labels = found
        assert images.shape[1:] == SHAPE and labels.shape == (len(images),)
        assert ((labels >= 0) & (labels < 10)).all()

    cases = mutations(base, 200, 4)
    _, refused = read_all(cases, tmp_path / "b.mat", lambda path: read_svhn(path, image_shape=SHAPE), possible)
    assert refused > 80


WORDS = (b"'''", b'"', b"[[", b"]", b"= ", b"1e999", b"nan", b"-0", b"\\u0000", b"\xff", b"9" * 5000, b"[" * 2000)
WORDS += (b"1979-05-27T07:32:00", b"true", b"{a = 1}", b"\n[data]\n", b"\r", b"\x00", b"# ", "ſ".encode())


@pytest.mark.parametrize("name", ["digits-mlp", "cifar10-small"])
def test_toml_files(tmp_path: Path, name: str) -> None:
    """500 mutations in all. Oracle: what is accepted means the same when it is written out and read again."""
    base = preset_text(name).encode()

    def again(found: object, content: bytes) -> None:
        assert isinstance(found, Config)
        assert parse_config(tomllib.loads(found.to_toml())) == found

    cases = mutations(base, 250, 5, WORDS)
    read, refused = read_all(cases, tmp_path / "run.toml", load_config, again)
    assert read > 5 and refused > 100

"""CIFAR's python batches and the archive they come in. Oracle: files pickled here as the published ones are."""

import dataclasses
import hashlib
import io
import os
import pickle
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.archive import unpack
from holoprop.data.cache import available_datasets, fetch_dataset, verify_dataset
from holoprop.data.cifar import read_cifar_batches
from holoprop.data.dataset import DataError
from holoprop.data.loading import load_dataset
from holoprop.data.pickles import read_pickle
from holoprop.data.registry import SOURCES
from holoprop.data.source import SourceFile

SHAPE = (4, 5, 3)


def images(n, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def batch(x, labels, **more):
    planes = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return {b"data": np.ascontiguousarray(planes), b"labels": labels, b"filenames": [b"a.png"] * len(x), **more}


def put(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def read(*paths):
    return read_cifar_batches(paths, image_shape=SHAPE, classes=10)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_batches_are_read_plane_by_plane_and_joined(tmp_path: Path, protocol: int) -> None:
    x = images(5)
    if protocol >= 3:  # Python 3 writes its keys as strings
        first = {"data": batch(x[:2], [3, 9])[b"data"], "labels": [3, 9]}
    else:
        first = batch(x[:2], [3, 9])
    paths = put(tmp_path / "one", first, protocol), put(tmp_path / "two", batch(x[2:], [0, 1, 2]))
    found, labels = read(*paths)
    np.testing.assert_array_equal(found, x)
    assert labels.tolist() == [3, 9, 0, 1, 2] and labels.dtype == np.int32 and found.dtype == np.uint8


class Malicious:
    """Pickles to a call of whatever it is given."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    # Under protocol 2 the names are Python 2's.
    [(os.mkdir, "posix.mkdir"), (exec, "__builtin__.exec"), (eval, "__builtin__.eval"), (np.fromfile, "numpy")],
)
def test_a_malicious_file_is_refused_and_nothing_is_run(tmp_path: Path, function, name: str) -> None:
    mark = tmp_path / "mark"
    target = f"open({str(mark)!r}, 'w')" if function in (exec, eval) else str(mark)
    path = put(tmp_path / "bad", batch(images(1), [0], more=Malicious(function, target)))
    with pytest.raises(DataError) as raised:
        read(path)
    line = str(raised.value)
    assert line.startswith(f"{path} asks for {name}") and "nothing of it was run" in line and "\n" not in line
    assert not mark.exists()


def test_arrays_of_objects_and_forged_sizes_are_refused(tmp_path: Path) -> None:
    objects = np.empty(1, object)
    for item, line in ((Malicious(exec, "raise SystemExit"), "__builtin__.exec"), ("x", "an array of '[|]?O")):
        objects[0] = item
        with pytest.raises(DataError, match=rf"asks for {line}"):
            read(put(tmp_path / "objects", {b"data": objects, b"labels": [0]}))
    # A thousand million million rows, and not a byte of them.
    whole = pickle.dumps(images(2, shape=(1, 1, 1)), 2)
    huge = whole.replace(pickle.dumps((2, 1, 1, 1), 2)[2:-3], pickle.dumps((10**15, 1, 1, 1), 2)[2:-3])
    assert huge != whole
    with pytest.raises(DataError, match=r"huge is no whole pickle|huge claims more than it holds"):
        read_pickle(huge, tmp_path / "huge")


@pytest.mark.parametrize("cut", [1, 10, 60, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    content = pickle.dumps(batch(images(3), [1, 2, 3]), 2)
    (tmp_path / "short").write_bytes(content[:cut])
    with pytest.raises(DataError, match="short is no whole pickle"):
        read(tmp_path / "short")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ([1, 2], "must hold a dict with 'data'; is it another set's file?"),
        ({b"data": images(1)}, "must hold a dict with 'labels'; is it another set's file?"),
        ({b"data": b"bytes", b"labels": [0]}, "must hold uint8 rows of 60, but its data are bytes"),
        (batch(images(1, shape=(2, 2, 3)), [0]), "must hold uint8 rows of 60, but its data are uint8 of shape (1, 12)"),
        ({b"data": np.zeros((1, 60)), b"labels": [0]}, "but its data are float64 of shape (1, 60)"),
        (batch(images(2), [0]), "holds 2 images, but 1 labels"),
        (batch(images(2), [0, 10]), "has label 10, but there are 10 classes, from 0"),
        (batch(images(2), [0, -1]), "has label -1, but there are 10 classes, from 0"),
        (batch(images(2), [0, 1.5]), "must hold a list of whole labels"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content, line: str) -> None:
    with pytest.raises(DataError) as raised:
        read(put(tmp_path / "other", content))
    assert str(raised.value).startswith(f"{tmp_path / 'other'} ") and line in str(raised.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere cannot be read: No such file"):
        read(tmp_path / "nowhere")


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A set of six batches of 32×32×3, known to the registry as CIFAR-10, and the bytes of its archive."""
    x = images(12, shape=(32, 32, 3))
    names = [file.name for file in SOURCES["cifar-10"].files]
    contents = {name: pickle.dumps(batch(x[2 * i : 2 * i + 2], [i, 9 - i]), 2) for i, name in enumerate(names)}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in {**contents, "../outside": b"x", "cifar-10-batches-py/readme.html": b"hello"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

    def described(name, content):
        return SourceFile(name, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")

    content = stream.getvalue()
    source = dataclasses.replace(
        SOURCES["cifar-10"],
        files=tuple(described(*item) for item in contents.items()),
        archive=described("cifar-10-python.tar.gz", content),
        mirrors=(),
    )
    monkeypatch.setitem(SOURCES, "cifar-10", source)
    return x, contents, content


def test_folder_and_archive_hold_the_same(tmp_path: Path, packed, monkeypatch: pytest.MonkeyPatch) -> None:
    x, contents, archive = packed
    for place, files in (("folder", contents), ("archive", {"cifar-10-python.tar.gz": archive})):
        for name, content in files.items():
            path = tmp_path / place / "cifar-10" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / place))
        assert {row.source.name: row.place for row in available_datasets()}["cifar-10"] == "HOLOPROP_DATA"
        assert all(check.ok for check in verify_dataset("cifar-10"))
        data = load_dataset("cifar-10")
        np.testing.assert_array_equal(data.train.images, x[:10])
        np.testing.assert_array_equal(data.test.images, x[10:])
        assert data.train.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    # Unpacked into the cache, and only what is wanted.
    unpacked = sorted(path.name for path in (tmp_path / "cache" / "cifar-10").rglob("*") if path.is_file())
    assert unpacked == sorted(Path(name).name for name in contents)
    assert not (tmp_path / "cache" / "outside").exists()


def test_an_archive_is_unpacked_once_by_whoever_comes_first(
    tmp_path: Path, packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four at a time, as workers of a sweep are; each waits for the one that unpacks, and none sees half of a file."""
    x, _, archive = packed
    (tmp_path / "given" / "cifar-10").mkdir(parents=True)
    (tmp_path / "given" / "cifar-10" / "cifar-10-python.tar.gz").write_bytes(archive)
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "given"))
    calls = []

    def slowly(*arguments, **options):
        calls.append(arguments[0])
        time.sleep(0.2)
        unpack(*arguments, **options)

    monkeypatch.setattr("holoprop.data.cache.unpack", slowly)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: load_dataset("cifar-10").train.images, range(4)))
    assert len(calls) == 1
    for images in found:
        np.testing.assert_array_equal(images, x[:10])


def test_damaged_archives_are_refused(tmp_path: Path, packed, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, archive = packed
    path = tmp_path / "data" / "cifar-10" / "cifar-10-python.tar.gz"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "data"))
    path.write_bytes(archive[: len(archive) // 2])
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is not the official file"):
        load_dataset("cifar-10")
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is damaged \(\w+\); fetch it again"):
        load_dataset("cifar-10", verify=False)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as short:
        info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        info.size = 3
        short.addfile(info, io.BytesIO(b"abc"))
    path.write_bytes(stream.getvalue())
    with pytest.raises(DataError, match=r"lacks cifar-10-batches-py/data_batch_2, .*test_batch; fetch it again"):
        load_dataset("cifar-10", verify=False)


def test_a_wrong_batch_is_not_believed(tmp_path: Path, packed, monkeypatch: pytest.MonkeyPatch) -> None:
    _, contents, _ = packed
    for name, content in contents.items():
        path = tmp_path / "data" / "cifar-10" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    path.write_bytes(pickle.dumps(batch(images(2, shape=(32, 32, 3)), [1, 1]), 2))
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match="test_batch is not the official file"):
        fetch_dataset("cifar-10")
    assert load_dataset("cifar-10", verify=False).test.labels.tolist() == [1, 1]

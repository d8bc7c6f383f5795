"""SVHN's MATLAB files. Oracle: scipy's own writer, and the layout as the authors describe it."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from holoprop.data.dataset import DataError
from holoprop.data.loading import load_dataset
from holoprop.data.registry import SOURCES
from holoprop.data.source import SourceFile
from holoprop.data.svhn import read_svhn

SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(3).integers(0, 256, (5, *SHAPE), np.uint8)
LABELS = np.array([[1], [10], [9], [10], [2]], np.uint8)


def put(path: Path, x: object = IMAGES.transpose(1, 2, 3, 0), y: object = LABELS, **options) -> Path:
    scipy.io.savemat(path, {"X": x, "y": y}, **options)
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_images_come_first_and_ten_is_zero(tmp_path: Path, compressed: bool, dtype: type) -> None:
    path = put(tmp_path / "a.mat", y=LABELS.astype(dtype), do_compression=compressed)
    images, labels = read_svhn(path, image_shape=SHAPE)
    np.testing.assert_array_equal(images, IMAGES)
    assert labels.tolist() == [1, 0, 9, 0, 2] and labels.dtype == np.int32 and images.flags.c_contiguous


@pytest.mark.parametrize(
    ("x", "y", "line"),
    [
        (
            IMAGES,
            LABELS,
            "must hold uint8 images of shape (32, 32, 3, 'n'), but its X is uint8 of shape (5, 32, 32, 3)",
        ),
        (IMAGES.transpose(1, 2, 3, 0) / 1.0, LABELS, "but its X is float64 of shape (32, 32, 3, 5)"),
        (IMAGES.transpose(1, 2, 3, 0), LABELS[1:], "must hold one label for each of 5 images, but its y is uint8 of"),
        (IMAGES.transpose(1, 2, 3, 0), LABELS - 1, "has label 0, but labels are 1 … 10, where 10 is the digit 0"),
        (IMAGES.transpose(1, 2, 3, 0), LABELS + 1, "has label 11, but labels are 1 … 10"),
        (IMAGES.transpose(1, 2, 3, 0), LABELS / 2, "has label 0.5, but labels are 1 … 10"),
        (IMAGES.transpose(1, 2, 3, 0), LABELS * np.nan, "has label nan, but labels are 1 … 10"),
        (IMAGES.transpose(1, 2, 3, 0), "text", "must hold one label for each of 5 images, but its y is <U4 of shape"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, x: np.ndarray, y: object, line: str) -> None:
    path = put(tmp_path / "a.mat", x, y)
    with pytest.raises(DataError) as caught:
        read_svhn(path, image_shape=SHAPE)
    assert str(caught.value).startswith(f"{path} ") and line in str(caught.value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.mat", do_compression=True)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(DataError, match="is no whole MATLAB file"):
        read_svhn(path, image_shape=SHAPE)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(500))
    with pytest.raises(DataError, match=r"is a MATLAB file of version 7\.3, but SVHN's are of version 5"):
        read_svhn(path, image_shape=SHAPE)
    scipy.io.savemat(path, {"X": IMAGES})
    with pytest.raises(DataError, match="must hold the arrays X and y, but lacks y; is it another set's file"):
        read_svhn(path, image_shape=SHAPE)
    with pytest.raises(DataError, match="cannot be read: No such file or directory"):
        read_svhn(tmp_path / "nowhere.mat", image_shape=SHAPE)
    # The number of images sits behind the array's name; forged, it claims 2³¹ of them.
    content = put(path).read_bytes()
    size = np.array([*SHAPE, 5], "<i4").tobytes()
    path.write_bytes(content.replace(size, np.array([*SHAPE, 2**31 - 1], "<i4").tobytes()))
    with pytest.raises(DataError, match=r"claims shape \(32, 32, 3, 2147483647\) for X, more than it can hold"):
        read_svhn(path, image_shape=SHAPE)


def test_the_set_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data" / "svhn"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / "data"))
    files = []
    for name in ("train_32x32.mat", "test_32x32.mat"):
        content = put(folder / name).read_bytes()
        files.append(SourceFile(name, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}"))
    with pytest.raises(
        DataError, match=r"train_32x32\.mat is not the official file: expected sha256 435e94d69a87fde4…"
    ):
        load_dataset("svhn")
    monkeypatch.setitem(SOURCES, "svhn", dataclasses.replace(SOURCES["svhn"], files=tuple(files)))
    data = load_dataset("svhn")
    assert data.class_names == tuple("0123456789") and data.test.labels.tolist() == [1, 0, 9, 0, 2]
    np.testing.assert_array_equal(data.train.images, IMAGES)

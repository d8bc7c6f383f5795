"""Batches of ImageNet 32×32. Oracle: files written as the authors' published scripts write them."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.dataset import DataError
from holoprop.data.imagenet import open_batch

ROWS = np.random.default_rng(2).integers(0, 256, (2500, 12), np.uint8)
LABELS = np.random.default_rng(3).integers(1, 1001, 2500)
LABELS[:2] = 1, 1000
MEAN = ROWS.mean(0)


def put(path: Path, data: object = ROWS, labels: object = LABELS, **more: object) -> Path:
    if path.suffix == ".npz":
        np.savez(path, data=np.asarray(data), labels=np.asarray(labels), **more)
    else:
        whole = labels.tolist() if isinstance(labels, np.ndarray) else labels
        path.write_bytes(pickle.dumps({"data": data, "labels": whole, **more}, 3))
    return path


def opened(path: Path):
    return open_batch(path, pixels=12, classes=1000)


@pytest.mark.parametrize("name", ["train_data_batch_1", "train_data_batch_1.npz"])
def test_rows_come_in_pieces_and_labels_from_zero(tmp_path: Path, name: str) -> None:
    with opened(put(tmp_path / name, mean=MEAN)) as batch:
        pieces = list(batch.rows)
        assert [len(piece) for piece in pieces] == [1024, 1024, 452]
        np.testing.assert_array_equal(np.concatenate(pieces), ROWS)
        np.testing.assert_array_equal(batch.labels, LABELS - 1)
        assert batch.mean is not None and batch.labels.dtype == np.int32
        np.testing.assert_array_equal(batch.mean, MEAN)
    with opened(put(tmp_path / name)) as batch:
        assert batch.mean is None


@pytest.mark.parametrize("name", ["val_data", "val_data.npz"])
@pytest.mark.parametrize(
    ("data", "labels", "more", "line"),
    [
        (ROWS[:, :6], LABELS, {}, "must hold uint8 rows of 12, but its data are uint8 of shape (2500, 6)"),
        (ROWS[:3] / 2, LABELS[:3], {}, "must hold uint8 rows of 12, but its data are float64 of shape (3, 12)"),
        (ROWS[:0], LABELS[:0], {}, "holds no images"),
        (ROWS, LABELS[:7], {}, "holds 2500 images, but 7 labels"),
        (ROWS, LABELS - 1, {}, "has label 0, but there are 1000 classes, from 1"),
        (ROWS, LABELS + 1, {}, "has label 1001, but there are 1000 classes, from 1"),
        (ROWS, LABELS / 2, {}, "must hold a list of whole labels, but its labels are something else"),
        (ROWS, LABELS, {"mean": MEAN[:3]}, "must hold a mean of 12 numbers, but its mean is something else"),
        (ROWS, LABELS, {"mean": MEAN * np.nan}, "holds a mean that is no number; fetch it again"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, name: str, data, labels, more, line: str) -> None:
    path = put(tmp_path / name, data, labels, **more)
    with pytest.raises(DataError) as caught, opened(path):
        pass
    assert str(caught.value) == f"{path} {line}"


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    for name, content, line in (
        ("a", b"<html>", "is no whole pickle"),
        ("a", b"hello", "asks for OBJ, but a data file holds arrays and plain values only"),
        ("a.npz", b"hello", "is no whole npz file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=line), opened(tmp_path / name):
            pass
        with pytest.raises(DataError, match="cannot be read: No such file"), opened(tmp_path / f"no-{name}"):
            pass
    path = put(tmp_path / "text", "text", [1])
    with pytest.raises(DataError, match="must hold uint8 rows of 12, but its data are str"), opened(path):
        pass
    (tmp_path / "a").write_bytes(pickle.dumps({"data": ROWS}, 3))
    with pytest.raises(DataError, match="must hold a dict with 'labels'"), opened(tmp_path / "a"):
        pass

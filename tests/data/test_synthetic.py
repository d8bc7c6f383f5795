"""The set that imitates ImageNet 32×32. Oracle: Python's own unpickling, and the format as its authors describe it."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.dataset import DataError
from holoprop.data.synthetic import class_patterns, synthesise_imagenet32


def digests(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_batches_are_in_the_official_format(tmp_path: Path) -> None:
    """Ten training files, the last with the rest, each with the mean of all of them; one test file without."""
    seen: dict[str, int] = {}
    paths = synthesise_imagenet32(
        tmp_path, images=107, test_images=9, progress=lambda name, done, total: seen.update({name: total - done})
    )
    assert [path.name for path in paths] == [*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"]
    assert seen == dict.fromkeys((path.name for path in paths), 0)
    batches = [pickle.loads(path.read_bytes()) for path in paths]
    assert [len(batch["data"]) for batch in batches] == [10] * 9 + [17, 9]
    train = np.concatenate([batch["data"] for batch in batches[:10]])
    for batch in batches:
        assert batch["data"].dtype == np.uint8 and batch["data"].shape[1] == 3072
        assert type(batch["labels"]) is list and all(type(label) is int for label in batch["labels"])
        assert all(1 <= label <= 1000 for label in batch["labels"])
        assert ("mean" in batch) == (batch is not batches[10])
    for batch in batches[:10]:
        np.testing.assert_allclose(batch["mean"], train.mean(0), rtol=1e-12)
    assert len(np.unique(train, axis=0)) == 107


def test_it_is_the_same_each_time_and_in_both_forms(tmp_path: Path) -> None:
    first = synthesise_imagenet32(tmp_path / "a", images=30, test_images=3)
    assert digests(first) == digests(synthesise_imagenet32(tmp_path / "b", images=30, test_images=3))
    assert digests(first) != digests(synthesise_imagenet32(tmp_path / "c", images=30, test_images=3, seed=1))
    zipped = synthesise_imagenet32(tmp_path / "d", images=30, test_images=3, npz=True)
    for pickled, path in zip(first, zipped, strict=True):
        assert path.name == f"{pickled.name}.npz"
        batch = pickle.loads(pickled.read_bytes())
        with np.load(path, allow_pickle=False) as arrays:
            assert set(arrays) == set(batch)
            for key in arrays:
                np.testing.assert_array_equal(arrays[key], batch[key])


def test_classes_can_be_learnt(tmp_path: Path) -> None:
    """Oracle: the nearest of the classes' patterns; noise moves an image by far less than two patterns are apart."""
    patterns = class_patterns(1000, (32, 32, 3), 0).astype(np.float32)
    (path,) = synthesise_imagenet32(tmp_path, images=10, test_images=100)[-1:]
    batch = pickle.loads(path.read_bytes())
    images = batch["data"].astype(np.float32) - 40
    distance = (images**2).sum(1)[:, None] - 2 * images @ patterns.T + (patterns**2).sum(1)
    assert (distance.argmin(1) + 1 == batch["labels"]).mean() == 1


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images must be at least 10 and test_images at least 1, got 9 and 1"):
        synthesise_imagenet32(tmp_path, images=9, test_images=1)
    paths = synthesise_imagenet32(tmp_path, images=10, test_images=1)
    with pytest.raises(DataError, match=r"train_data_batch_1 is there already: choose another folder"):
        synthesise_imagenet32(tmp_path, images=10, test_images=1)
    with pytest.raises(DataError, match=r"cannot write to .*: .*; choose another folder"):
        synthesise_imagenet32(paths[0], images=10, test_images=1)

"""Reading batches in bounded memory. Oracle: plain indexing, and what the system says this process has in memory."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.dataset import Split
from holoprop.data.reading import ImageReader

IMAGES = np.random.default_rng(1).integers(0, 256, (40, 4, 4, 3), np.uint8)
INDICES = [
    *(slice(None), slice(3, 20, 4), slice(5, 5), slice(None, None, -1), slice(-3, 99)),
    *(np.array([7, 3, 3, -1]), [1, 0], np.array([2, 5], np.uint8)),
]


def mapped(path: Path, images: np.ndarray = IMAGES) -> np.ndarray:
    np.save(path, images)
    return np.load(path, mmap_mode="r")


def test_a_reader_indexes(tmp_path: Path) -> None:
    """In memory as well as on the disk; views of the mapped file are read where they are in it."""
    on_disk = mapped(tmp_path / "a.npy")
    views = {
        "memory": IMAGES,
        "file": on_disk,
        "later": on_disk[5:],
        "every third": on_disk[2::3],
        "backwards": on_disk[::-1],
        "array": np.asarray(on_disk)[4:],
        "a part of each": on_disk[:, 1:3],
        "split": Split(on_disk, np.zeros(40, int)).subset(slice(7, 30)).images,
    }
    for name, images in views.items():
        reader = ImageReader(images)
        assert len(reader) == len(images) and reader.mapped == (name != "memory")
        for index in (*INDICES, np.arange(len(images)) % 3 == 0):
            found = reader[index]
            np.testing.assert_array_equal(found, np.asarray(images)[index])
            assert type(found) is np.ndarray
            assert name == "memory" or not np.may_share_memory(found, on_disk)
        assert reader[[]].shape == (0, *images.shape[1:]) if name != "memory" else True
    assert not ImageReader(on_disk[np.arange(3)]).mapped
    assert not ImageReader(on_disk.copy()).mapped
    np.testing.assert_array_equal(copy.deepcopy(ImageReader(on_disk))[slice(2)], IMAGES[:2])


@pytest.mark.parametrize("index", [[40], [-41], [0.5], np.zeros(3, bool), np.zeros((2, 2), int)])
def test_images_that_there_are_not_are_refused(tmp_path: Path, unchecked: None, index) -> None:
    with pytest.raises(IndexError):
        ImageReader(mapped(tmp_path / "a.npy"))[index]


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    """The mapping itself would end the process with a signal."""
    reader = ImageReader(mapped(tmp_path / "a.npy"))
    os.truncate(tmp_path / "a.npy", 1000)
    np.testing.assert_array_equal(reader[slice(0, 5)], IMAGES[:5])
    with pytest.raises(OSError, match="has become shorter"):
        reader[[39]]


def test_a_split_of_a_mapped_file_stays_on_the_disk(tmp_path: Path) -> None:
    """Oracle: the split's images share memory with the mapping, also as a subset by a slice."""
    on_disk = mapped(tmp_path / "a.npy")
    split = Split(on_disk, np.arange(40))
    assert np.shares_memory(split.images, on_disk) and np.shares_memory(split.subset(slice(9)).images, on_disk)
    np.testing.assert_array_equal(split.pixels([4, 2]), IMAGES[[4, 2]])
    np.testing.assert_array_equal(split.inputs([4, 2]), (IMAGES[[4, 2]] / np.float32(255)).astype(np.float32))
    assert type(split.pixels()) is np.ndarray and not np.shares_memory(split.pixels(), on_disk)


def resident(path: Path) -> int:
    """Kilobytes of a mapped file that count as this process's memory."""
    total, here = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            here = line.endswith(str(path))
        elif here and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def test_nothing_of_the_file_stays_in_memory(tmp_path: Path) -> None:
    """12 MB read at random and in order; looked at through the mapping, all of them stay."""
    if not Path("/proc/self/smaps").exists():
        return
    path = tmp_path / "a.npy"
    on_disk = mapped(path, np.zeros((4_000, 32, 32, 3), np.uint8))
    before, reader = resident(path), ImageReader(on_disk)
    for step, index in enumerate(np.random.default_rng(0).permutation(4_000).reshape(-1, 50)):
        reader[index]
        reader[slice(50 * step, 50 * step + 50)]
    assert resident(path) <= before + 64
    on_disk.max()
    assert resident(path) > 11_000

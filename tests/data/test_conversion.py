"""Converting what is too large to be read at once. Oracle: the images and labels that the files were made of."""

import dataclasses
import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.cache import available_datasets, fetch_dataset, verify_dataset
from holoprop.data.cifar import from_planes
from holoprop.data.conversion import convert_dataset
from holoprop.data.dataset import DataError
from holoprop.data.loading import load_dataset
from holoprop.data.reading import ImageReader
from holoprop.data.registry import SOURCES
from holoprop.data.source import SourceFile
from holoprop.data.synthetic import synthesise_imagenet32

IMAGES, TEST_IMAGES = 43, 6


@dataclasses.dataclass
class Made:
    """A synthetic set, under HOLOPROP_DATA, and what it holds."""

    folder: Path
    cache: Path
    train: np.ndarray
    labels: np.ndarray

    @property
    def arrays(self) -> Path:
        return self.cache / "imagenet32" / "arrays-unverified"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    def build(name: str = "data", **options: object) -> Made:
        files = synthesise_imagenet32(tmp_path / name, images=IMAGES, test_images=TEST_IMAGES, **options)
        batches = [np.load(path) if path.suffix else pickle.loads(path.read_bytes()) for path in files[:10]]
        monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path / name))
        rows = np.concatenate([batch["data"] for batch in batches])
        labels = np.concatenate([batch["labels"] for batch in batches]) - 1
        return Made(tmp_path / name / "imagenet32", tmp_path / "cache", from_planes(rows, (32, 32, 3)), labels)

    return build


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def load():
    return load_dataset("imagenet32", verify=False)


def converted(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}


@pytest.mark.parametrize("npz", [False, True])
def test_images_come_out_as_they_went_in(make: Callable[..., Made], npz: bool) -> None:
    """And stay on the disk, read-only; converted once, whoever loads them."""
    made = make(npz=npz)
    data = load()
    np.testing.assert_array_equal(data.train.pixels(), made.train)
    np.testing.assert_array_equal(data.train.labels, made.labels)
    assert (len(data.test), data.classes, data.class_names[6]) == (TEST_IMAGES, 1000, "class 0007")
    assert isinstance(data.train.images, np.memmap) and not data.train.images.flags.writeable
    reader = ImageReader(data.train.images)
    np.testing.assert_array_equal(reader[np.array([40, 3])], made.train[[40, 3]])
    before = converted(made.arrays)
    np.testing.assert_array_equal(load().train.images, made.train)
    assert converted(made.arrays) == before and len(before) == 4
    assert np.load(made.arrays / "train-images.npy").shape == (IMAGES, 32, 32, 3)


def test_an_unofficial_set_is_refused_unless_it_may_be_any(
    make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pickled ones by their checksum, npz by their number; the line names the way out for Python and configurations."""
    made = make()
    line = refusal(lambda: load_dataset("imagenet32"))
    assert line.startswith(
        f"{made.folder / 'train_data_batch_1'} is not the official file: expected md5 6c4495e65cd24a8c"
    )
    assert line.endswith("or take it as it is with verify=False, in a configuration data.verify = false")
    assert not (made.cache / "imagenet32/arrays/train-images.npy").exists()
    make("npz", npz=True)
    line = refusal(lambda: load_dataset("imagenet32"))
    assert line.startswith("imagenet32 has 1,281,167 training and 50,000 test images, but these files hold 43 and 6; ")
    # Of the right number, it is told by its colours.
    source = dataclasses.replace(SOURCES["imagenet32"], train=IMAGES, test=TEST_IMAGES)
    monkeypatch.setitem(SOURCES, "imagenet32", source)
    line = refusal(lambda: load_dataset("imagenet32"))
    assert line.startswith("the training images have the mean [") and "those of imagenet32 have [0.4811, " in line
    assert refusal(lambda: convert_dataset("mnist")) == (
        "mnist needs no conversion: it is read from its files as they are"
    )


def test_official_files_are_verified_once(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a registry that knows the files made here; unverified loading takes the verified arrays as well."""
    made = make()
    files = tuple(
        SourceFile(path.name, None, f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}")
        for path in (made.folder / file.name for file in SOURCES["imagenet32"].files)
    )
    source = dataclasses.replace(SOURCES["imagenet32"], files=files, train=IMAGES, test=TEST_IMAGES)
    monkeypatch.setitem(SOURCES, "imagenet32", source)
    np.testing.assert_array_equal(load_dataset("imagenet32").train.images, made.train)
    load()
    assert sorted(path.name for path in (made.cache / "imagenet32").iterdir()) == ["arrays"]
    checks = verify_dataset("imagenet32")
    assert len(checks) == 15 and all(check.ok for check in checks)
    assert checks[-1].message.endswith("test-labels.npy, converted from the official files")
    assert next(iter(fetch_dataset("imagenet32").values())) == made.folder / "train_data_batch_1"
    monkeypatch.setitem(SOURCES, "imagenet32", dataclasses.replace(source, train=IMAGES + 1))
    (made.folder / "val_data").touch()
    assert "has 44 training and 6 test images, but these files hold 43 and 6" in refusal(
        lambda: load_dataset("imagenet32")
    )


def test_files_may_lie_as_they_were_unzipped_and_go_once_converted(
    make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make()
    for inner, pattern in (("Imagenet32_train", "train*"), ("Imagenet32_val", "val*")):
        (made.folder / inner).mkdir()
        for path in list(made.folder.glob(pattern)):
            path.rename(made.folder / inner / path.name)
    assert len(load().train) == IMAGES
    monkeypatch.delenv("HOLOPROP_DATA")
    place = {row.source.name: row.place for row in available_datasets()}
    assert place["imagenet32"] == "converted" and place["cifar-100"] == "not downloaded"
    np.testing.assert_array_equal(load().train.images, made.train)
    line = refusal(lambda: load_dataset("imagenet32"))
    assert line.startswith(
        "imagenet32 cannot be downloaded, and train_data_batch_1 is not here: log in at image-net.org"
    )
    assert str(made.cache / "imagenet32") in line and "HOLOPROP_DATA" in line
    assert refusal(lambda: fetch_dataset("imagenet32")) == line
    assert refusal(lambda: fetch_dataset("cifar-100-subset")).startswith("cifar-100-subset cannot be downloaded, and ")


def test_other_files_are_converted_anew(make: Callable[..., Made]) -> None:
    first, second = make(), make("other", seed=1)
    assert not np.array_equal(first.train, second.train)
    np.testing.assert_array_equal(load().train.images, second.train)
    make_again = second.folder / "train_data_batch_3"
    batch = pickle.loads(make_again.read_bytes())
    batch["labels"] = [7] * len(batch["labels"])
    make_again.write_bytes(pickle.dumps(batch, 3))
    assert load().train.labels[8:12].tolist() == [6, 6, 6, 6]


def test_damage_is_noticed(make: Callable[..., Made]) -> None:
    """In a file by the mean that all files state; in an array by its size when loading, by its checksum on request."""
    made = make()
    load()
    assert [check.ok for check in verify_dataset("imagenet32")] == [False] * 11 + [True] * 4
    images = made.arrays / "train-images.npy"
    content = bytearray(images.read_bytes())
    content[5000] ^= 1
    images.write_bytes(bytes(content))
    bad = [check for check in verify_dataset("imagenet32")[11:] if not check.ok]
    assert [check.file for check in bad] == ["arrays-unverified/train-images.npy"]
    assert "has changed since it was converted; delete" in bad[0].message
    images.write_bytes(bytes(content[:-1]))
    np.testing.assert_array_equal(load().train.images, made.train)
    (made.arrays / "manifest.json").write_text(json.dumps({"format": 1, "train": [{}]}))
    np.testing.assert_array_equal(load().train.images, made.train)

    path = made.folder / "train_data_batch_2"
    batch = pickle.loads(path.read_bytes())
    batch["data"][1, 77] ^= 128
    path.write_bytes(pickle.dumps(batch, 3))
    line = refusal(load)
    assert line.startswith(f"the training images beside {made.folder / 'train_data_batch_1'} have another mean than ")
    # 128 of one of 43 images.
    assert "by up to 3 of 255: they are damaged" in line
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(load).startswith(f"{path} is no whole pickle")


def test_a_cache_that_cannot_be_written_is_named(make: Callable[..., Made]) -> None:
    made = make()
    made.cache.write_text("in the way")
    assert refusal(load).startswith(f"cannot write the arrays of imagenet32 to {made.arrays}: Not a directory; set ")


KILLED = """
import os, signal, sys
from pathlib import Path
import holoprop.data.conversion as conversion
import holoprop.data.files as files
from holoprop.data.cache import verify_dataset
from holoprop.data.stored import whole_manifest

cache = Path(sys.argv[1])

def convert(last):
    # Every call that brings something to the disk, and every piece, is a moment to die at.
    count = 0
    def moment(*arguments):
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
    sync, replace = os.fsync, os.replace
    os.fsync = lambda descriptor: (moment(), sync(descriptor))
    os.replace = lambda *paths: (moment(), replace(*paths), moment())
    conversion.convert_dataset("imagenet32", cache=cache, verify=False, progress=moment)
    os._exit(0)

deaths = 0
# The k-th attempt gets k moments further than where the last one died, at first not even a batch.
for attempt in range(1, 200):
    child = os.fork()
    if not child:
        convert(attempt)
    status = os.waitpid(child, 0)[1]
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    assert whole_manifest(cache / "imagenet32/arrays-unverified", (32, 32, 3)) is None or attempt > 5
    deaths += 1
# Two at once: one of them waits for the other.
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        conversion.convert_dataset("imagenet32", cache=cache / "two", verify=False, progress=lambda *_: None)
        os._exit(0)
    children.append(child)
statuses = [os.waitpid(child, 0)[1] for child in children]
checks = [check.ok for place in (cache, cache / "two") for check in verify_dataset("imagenet32", cache=place)[-4:]]
print(deaths, statuses, checks)
"""


def test_it_survives_being_killed_at_any_moment(make: Callable[..., Made]) -> None:
    """SIGKILL at every call that writes; then two processes at once. Oracle: the images that went in."""
    made = make()
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(made.cache)], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    deaths, rest = run.stdout.split(" ", 1)
    assert int(deaths) > 8
    assert rest.strip() == f"{[0, 0]} {[True] * 8}"
    for place in (made.cache, made.cache / "two"):
        data = load_dataset("imagenet32", cache=place, verify=False)
        np.testing.assert_array_equal(data.train.images, made.train)
        np.testing.assert_array_equal(data.train.labels, made.labels)

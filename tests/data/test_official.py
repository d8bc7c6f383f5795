"""The official files, where `HOLOPROP_DATA` holds them. Oracle: what publishers and literature say of them."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from holoprop.data.cache import available_datasets, fetch_dataset, verify_dataset
from holoprop.data.dataset import DataError
from holoprop.data.loading import load_dataset
from holoprop.data.pickles import read_pickle

pytestmark = pytest.mark.data

# As published with the files, so independent of the registry's sha256; train images, labels, test images, labels.
MD5 = {
    "mnist": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    # The five batches to train on, then the test batch.
    "cifar-10": (
        "c99cafc152244af753f735de768cd75f",
        "d4bba439e000b95fd0a9bffe97cbabec",
        "54ebc095f3ab1f0389bbae665268c751",
        "634d18415352ddfa80567beed471001a",
        "482c414d41f54cd18b22e5b47cb7c3cb",
        "40351d587109b95175f43aff81a1287e",
    ),
    # A tenth of CIFAR-100, made for tests: train, test.
    "cifar-100-subset": ("e62c5ebca4e272bdd38875a67c67c63d", "3e77f541bcdb194466bbbf63efe09f30"),
}
NAMES = list(MD5)


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_names_the_published_files(name: str, tmp_path: Path) -> None:
    """A file that passes our sha256 has the published md5, so the two say the same."""
    assert [check for check in verify_dataset(name) if not check.ok] == []
    files = fetch_dataset(name, cache=tmp_path)
    assert tuple(hashlib.md5(path.read_bytes()).hexdigest() for path in files.values()) == MD5[name]
    root = Path(os.environ["HOLOPROP_DATA"])
    assert list(files.values()) == [root / name / file for file in files]
    assert {row.source.name: row.place for row in available_datasets()}[name] == "HOLOPROP_DATA"
    assert {row.source.name: row.source.size for row in available_datasets()}[name] == sum(
        path.stat().st_size for path in files.values()
    )


# Mean and deviation of the train inputs are those by which the field normalises these sets.
@pytest.mark.parametrize(
    ("name", "mean", "deviation", "first_labels"),
    [
        ("mnist", 0.1307, 0.3081, [5, 0, 4, 1, 9]),
        ("fashion-mnist", 0.2860, 0.3530, [9, 0, 0, 3, 0]),
    ],
)
def test_arrays_are_the_known_ones(name: str, mean: float, deviation: float, first_labels: list[int]) -> None:
    data = load_dataset(name)
    assert (len(data.train), len(data.test), data.image_shape, data.classes) == (60_000, 10_000, (28, 28, 1), 10)
    # Integer sums of pixels and their squares, exact, in place of 188 MB of float32.
    histogram = np.bincount(data.train.images.ravel(), minlength=256) / data.train.images.size
    values = np.arange(256) / 255
    assert abs(histogram @ values - mean) < 5e-5
    assert abs(np.sqrt(histogram @ values**2 - (histogram @ values) ** 2) - deviation) < 5e-5
    assert (data.mean, data.std) == ((mean,), (deviation,))
    assert data.train.labels[:5].tolist() == first_labels
    inputs = data.test.inputs(flatten=True)
    assert (inputs.shape, inputs.dtype, inputs.min(), inputs.max()) == ((10_000, 784), np.float32, 0, 1)


def test_class_sizes() -> None:
    """Fashion-MNIST has equal classes; MNIST's sizes are those its literature lists."""
    fashion, mnist = load_dataset("fashion-mnist"), load_dataset("mnist")
    assert np.bincount(fashion.train.labels).tolist() == [6000] * 10
    assert np.bincount(fashion.test.labels).tolist() == [1000] * 10
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.train.labels).tolist() == train
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_cifar_10_is_the_known_one() -> None:
    """Oracle: the channel means and deviations by which the field normalises it, equal classes, the first labels."""
    data = load_dataset("cifar-10")
    assert (len(data.train), len(data.test), data.image_shape, data.classes) == (50_000, 10_000, (32, 32, 3), 10)
    histogram = np.stack([np.bincount(data.train.images[..., c].ravel(), minlength=256) for c in range(3)])
    share, values = histogram / (50_000 * 1024), np.arange(256) / 255
    mean = share @ values
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=5e-5)
    np.testing.assert_allclose(np.sqrt(share @ values**2 - mean**2), [0.2470, 0.2435, 0.2616], atol=5e-5)
    assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    # The smaller deviations that some divide by, P1 among them: within an image, the mean over images.
    within = [data.train.inputs(slice(i, i + 2500)).std((1, 2), ddof=1).mean(0) for i in range(0, 50_000, 2500)]
    np.testing.assert_allclose(np.mean(within, 0), [0.2023, 0.1994, 0.2010], atol=5e-5)
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    assert [data.class_names[label] for label in data.train.labels[:4]] == ["frog", "truck", "truck", "deer"]


def test_the_subset_of_cifar_100_is_in_its_format() -> None:
    """Oracle: 50 and 10 images of each of 100 classes; the official file of names, by its published md5."""
    data = load_dataset("cifar-100-subset")
    assert (len(data.train), len(data.test), data.image_shape, data.classes) == (5_000, 1_000, (32, 32, 3), 100)
    assert np.bincount(data.train.labels).tolist() == [50] * 100
    assert np.bincount(data.test.labels).tolist() == [10] * 100
    meta = (Path(os.environ["HOLOPROP_DATA"]) / "cifar-100-subset/cifar-100-python/meta").read_bytes()
    assert hashlib.md5(meta).hexdigest() == "7973b15100ade9c7d40fb424638fde48"
    names = read_pickle(meta, Path("meta"))[b"fine_label_names"]
    assert data.class_names == tuple(name.decode() for name in names)
    # The field's numbers are those of all 50,000 images; a tenth of them lies within four standard errors.
    inputs = data.train.inputs()
    np.testing.assert_allclose(inputs.mean((0, 1, 2)), data.mean, atol=0.012)
    np.testing.assert_allclose(inputs.std((0, 1, 2)), data.std, atol=0.012)


def test_the_subset_is_never_taken_for_cifar_100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: its files under the official name are refused in one line, and let in only unverified."""
    (tmp_path / "cifar-100").symlink_to(Path(os.environ["HOLOPROP_DATA"]) / "cifar-100-subset")
    monkeypatch.setenv("HOLOPROP_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        load_dataset("cifar-100")
    line = str(caught.value)
    path = tmp_path / "cifar-100/cifar-100-python/train"
    assert line.startswith(f"{path} is not the official file: expected sha256 735e79b04f092ca3… (155,249,918 bytes)")
    assert line.endswith("load_dataset('cifar-100', verify=False)") and "\n" not in line
    assert [check.ok for check in verify_dataset("cifar-100")] == [False, False]
    assert len(load_dataset("cifar-100", verify=False).train) == 5_000

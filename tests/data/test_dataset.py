"""Splits, data sets and the built-in digits. Oracle: arithmetic by hand, and scikit-learn's own arrays."""

import hashlib

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given

from holoprop.data import digits
from holoprop.data.dataset import DataError, Dataset, Split
from holoprop.data.digits import digits_problem, read_digits, stratified_choice
from holoprop.data.loading import load_dataset
from holoprop.data.registry import SOURCES, find_source

IMAGES = np.arange(24, dtype=np.uint8).reshape(3, 2, 2, 2)
LABELS = np.array([2, 0, 1])


def test_inputs_are_pixels_over_scale() -> None:
    """Oracle: the quotient in float64, rounded once."""
    split = Split(IMAGES, LABELS, 24)
    inputs = split.inputs()
    np.testing.assert_array_equal(inputs, (IMAGES.astype(np.float64) / 24).astype(np.float32))
    assert inputs.dtype == np.float32
    assert inputs.shape == (3, 2, 2, 2)
    np.testing.assert_array_equal(split.inputs(flatten=True), inputs.reshape(3, 8))
    np.testing.assert_array_equal(split.inputs([2, 0]), inputs[[2, 0]])
    np.testing.assert_array_equal(split.inputs(slice(1, 3), flatten=True), inputs[1:].reshape(2, 8))


def test_normalised_inputs_are_shifted_and_scaled_by_channel() -> None:
    """Oracle: the quotient in float64, to float32's rounding; afterwards a whole split has mean 0 and deviation 1."""
    split = Split(IMAGES, LABELS, 24)
    inputs = split.inputs(mean=(0.25, 0.5), std=(0.5, 0.125))
    expected = (IMAGES / 24 - [0.25, 0.5]) / [0.5, 0.125]
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, expected, rtol=0, atol=1e-6)
    flat = split.inputs([2, 0], flatten=True, mean=(0.25, 0.5), std=(0.5, 0.125))
    np.testing.assert_array_equal(flat, inputs[[2, 0]].reshape(2, 8))
    x = split.inputs()
    unit = split.inputs(mean=x.mean((0, 1, 2)).tolist(), std=x.std((0, 1, 2)).tolist())
    np.testing.assert_allclose(unit.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(unit.std((0, 1, 2)), 1, atol=1e-6)
    for bad, message in (
        ({"mean": (0.5,)}, "mean must be one for each of 2 channels, got 1"),
        ({"std": (1.0, 1.0, 1.0)}, "std must be one for each of 2 channels, got 3"),
        ({"std": (1.0, 0.0)}, "std must be positive, got 0.0"),
    ):
        with pytest.raises(DataError) as caught:
            split.inputs(**bad)
        assert str(caught.value) == message


def test_digits_have_the_mean_and_deviation_that_the_registry_gives() -> None:
    """Oracle: scikit-learn's arrays; the registry rounds to four digits."""
    data = load_dataset("digits")
    inputs = data.train.inputs()
    assert data.mean == find_source("digits").mean and data.std == find_source("digits").std
    np.testing.assert_allclose(data.mean, inputs.mean(dtype=np.float64), atol=5e-5)
    np.testing.assert_allclose(data.std, inputs.std(dtype=np.float64), atol=5e-5)


def test_every_pixel_value_maps_into_the_unit_interval() -> None:
    split = Split(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), np.zeros(1, int))
    inputs = split.inputs(flatten=True)[0]
    np.testing.assert_array_equal(inputs, (np.arange(256) / 255).astype(np.float32))
    assert (inputs[0], inputs[-1]) == (0, 1)


def test_a_split_is_read_only_and_leaves_the_callers_arrays_alone() -> None:
    images = IMAGES.copy()
    split = Split(images, LABELS)
    with pytest.raises(ValueError, match="read-only"):
        split.images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        split.labels[0] = 0
    images[0, 0, 0, 0] = 7
    assert split.labels.dtype == np.int32
    assert len(split) == 3
    assert repr(split) == "Split(3 images of 2×2×2, scale=255)"


def test_subset_keeps_images_with_their_labels() -> None:
    subset = Split(IMAGES, LABELS, 24).subset(np.array([1, 2]))
    np.testing.assert_array_equal(subset.images, IMAGES[1:])
    np.testing.assert_array_equal(subset.labels, LABELS[1:])
    assert subset.scale == 24
    with pytest.raises(DataError, match="at least one image"):
        subset.subset(slice(0, 0))


@pytest.mark.parametrize(
    ("images", "labels", "scale", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, 255, "uint8 .* got float32"),
        (IMAGES[..., 0], LABELS, 255, r"got uint8 of shape \(3, 2, 2\)"),
        (IMAGES, LABELS.astype(float), 255, "integers .* got float64"),
        (IMAGES, LABELS[:, None], 255, r"shape \(3, 1\)"),
        (IMAGES, LABELS[:2], 255, "3 images and 2 labels"),
        (IMAGES[:0], LABELS[:0], 255, "at least one image"),
        (IMAGES, LABELS, 0, "scale must be in 1 … 255, got 0"),
        (IMAGES, LABELS, 16, "must not exceed scale = 16, got 23"),
        (IMAGES, LABELS - 1, 255, "labels must lie in .* got -1"),
        (IMAGES, LABELS + 2**40, 255, "labels must lie in .* got 1099511627776"),
    ],
)
def test_splits_that_make_no_sense(images: np.ndarray, labels: np.ndarray, scale: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(images, labels, scale)


def test_dataset_tells_its_sizes_and_refuses_mismatches() -> None:
    split = Split(IMAGES, LABELS)
    data = Dataset("own", split, split, ("a", "b", "c"))
    assert (data.classes, data.image_shape, data.features) == (3, (2, 2, 2), 8)
    with pytest.raises(DataError, match=r"own: labels must be below 2, .* got 2"):
        Dataset("own", split, split, ("a", "b"))
    with pytest.raises(DataError, match="must be alike"):
        Dataset("own", split, Split(IMAGES[:, :1], LABELS), ("a", "b", "c"))
    with pytest.raises(DataError, match="must be alike"):
        Dataset("own", split, Split(IMAGES, LABELS, 100), ("a", "b", "c"))


def test_digits_are_scikit_learns() -> None:
    """Both parts together hold each of the 1,797 originals once, and inputs are pixel / 16."""
    data = load_dataset("digits")
    original = sklearn.datasets.load_digits()
    assert (len(data.train), len(data.test), data.image_shape, data.classes) == (1437, 360, (8, 8, 1), 10)
    inputs = np.concatenate([data.train.inputs(flatten=True), data.test.inputs(flatten=True)])
    labels = np.concatenate([data.train.labels, data.test.labels])
    expected = np.column_stack([original.data / 16, original.target])
    found = np.column_stack([inputs, labels])
    np.testing.assert_array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])


def test_digits_split_is_stratified_and_never_moves() -> None:
    """Shares by hand: 360·n_c/1797 is 35.66 … 36.66; the fingerprint was taken when the split was first fixed."""
    train, test = read_digits()
    counts = np.bincount(sklearn.datasets.load_digits().target)
    assert np.abs(np.bincount(test.labels) - 360 * counts / 1797).max() < 1
    fingerprint = hashlib.sha256(test.images.tobytes() + train.images.tobytes()).hexdigest()
    assert fingerprint == "e3f6fe177fe6df5bb24bb2550176ca058ef195bbac9c16eb4b6de765a3ee4969"
    again = read_digits()
    np.testing.assert_array_equal(again[1].images, test.images)


def test_changed_digits_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert digits_problem() is None
    images, labels = digits._original()
    monkeypatch.setattr(digits, "_original", lambda: (images, (labels + 1) % 10))
    assert "have changed: expected sha256 87ff0c9e40dc7e2c" in (digits_problem() or "")
    with pytest.raises(DataError, match="have changed: expected sha256 87ff0c9e40dc7e2c"):
        load_dataset("digits")
    monkeypatch.undo()
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda return_X_y: (np.zeros((5, 64)), np.zeros(5)))
    assert "got (5, 64)" in (digits_problem() or "")
    with pytest.raises(DataError, match=r"got \(5, 64\)"):
        load_dataset("digits")


@given(
    labels=hnp.arrays(np.int32, st.integers(2, 60), elements=st.integers(0, 4)),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_stratified_choice_keeps_every_share(labels: np.ndarray, share: float, seed: int) -> None:
    """Property: exactly `count` distinct samples, and each class within one of its exact share."""
    count = 1 + int(share * (len(labels) - 2))
    chosen = stratified_choice(labels, count, np.random.default_rng(seed))
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    exact = count * np.bincount(labels, minlength=5) / len(labels)
    assert np.abs(np.bincount(labels[chosen], minlength=5) - exact).max() < 1
    np.testing.assert_array_equal(chosen, stratified_choice(labels, count, np.random.default_rng(seed)))


def test_stratified_choice_leaves_something_on_both_sides() -> None:
    for count in (0, 3, -1):
        with pytest.raises(DataError, match=f"1 … 2, .* got {count}"):
            stratified_choice(np.array([0, 1, 1]), count, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mnits",
            "unknown data set 'mnits', known are cifar-10, cifar-100, cifar-100-subset, digits, fashion-mnist, "
            "imagenet32, mnist, svhn; did you mean 'mnist'?",
        ),
        ("Fashion_MNIST", "did you mean 'fashion-mnist'?"),
        ("../mnist", "unknown data set '../mnist'"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(name)
    assert message in str(caught.value)


def test_registry_is_whole() -> None:
    """Every set that is downloaded has its files with checksums and mirrors on different hosts; the others say how."""
    assert list(SOURCES) == [
        *("digits", "mnist", "fashion-mnist", "svhn", "cifar-10", "cifar-100", "cifar-100-subset", "imagenet32"),
    ]
    for source in list(SOURCES.values())[1:]:
        names = [file.name.rpartition("/")[2].split("-")[0] for file in source.files]
        assert (
            names
            == {
                "idx": ["train", "train", "t10k", "t10k"],
                "svhn": ["train_32x32.mat", "test_32x32.mat"],
                "cifar": ["train", "test"]
                if source.label_key == "fine_labels"
                else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"],
                "imagenet32": [*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"],
            }[source.format]
        )
        published = (*source.files, *filter(None, [source.archive]))
        lengths = {(file.algorithm, len(bytes.fromhex(file.digest))) for file in published}
        assert lengths in ({("sha256", 32)}, {("md5", 16)})
        assert all(file.size is None or file.size > 4000 for file in published)
        assert bool(source.mirrors) != bool(source.how)
        assert len({url.split("/")[2] for url in source.mirrors}) == len(source.mirrors)
        # Nobody but the publisher is known to offer SVHN's files as they are.
        assert len(source.mirrors) >= (2 if source.name != "svhn" else 1) or source.how
        assert all(url.endswith("/") for url in source.mirrors)
        assert len(set(source.class_names)) == len(source.class_names) in (10, 100, 1000)

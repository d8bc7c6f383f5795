"""Augmentation. Oracle: slices of padded images in numpy, one sample at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.data.augmentation import random_crop, random_flip

KEY = jax.random.key(7)
FILL = (-1.0, 0.25)
SHAPE = (5, 4, 2)
# Every pixel is another number, so an image tells where it was cut from.
IMAGES = np.arange(60 * 40, dtype=np.float32).reshape(60, *SHAPE)


def cuts(image: np.ndarray, padding: int, fill: tuple[float, ...]) -> dict[tuple[int, int], np.ndarray]:
    """All that can be cut out of one padded image, by the corner."""
    height, width, channels = image.shape
    padded = np.empty((height + 2 * padding, width + 2 * padding, channels), np.float32)
    padded[:] = fill
    padded[padding : padding + height, padding : padding + width] = image
    corners = [(a, b) for a in range(2 * padding + 1) for b in range(2 * padding + 1)]
    return {(a, b): padded[a : a + height, b : b + width] for a, b in corners}


def corner_of(image: np.ndarray, padding: int, fill: tuple[float, ...], cropped: np.ndarray) -> tuple[int, int]:
    """The one corner at which `cropped` was cut out of `image`."""
    found = [corner for corner, cut in cuts(image, padding, fill).items() if (cut == cropped).all()]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("fill", [None, FILL])
def test_crops_are_parts_of_padded_images(fill: tuple[float, ...] | None) -> None:
    """Each sample has a corner of its own, and all nine are drawn; 60 draws miss one with probability 0.8 %."""
    cropped = np.asarray(random_crop(jnp.asarray(IMAGES), 1, fill=fill, key=KEY))
    assert cropped.dtype == np.float32
    pairs = zip(IMAGES, cropped, strict=True)
    corners = [corner_of(image, 1, fill or (0.0, 0.0), each) for image, each in pairs]
    assert len(set(corners)) == 9


def test_flips_mirror_half_of_the_images() -> None:
    """The others stay; of 60 fair draws fewer than 15 or more than 45 come once in ten thousand."""
    flipped = np.asarray(random_flip(jnp.asarray(IMAGES), key=KEY))
    mirrored = (flipped == IMAGES[:, :, ::-1]).all((1, 2, 3))
    assert (flipped[~mirrored] == IMAGES[~mirrored]).all()
    assert 15 <= mirrored.sum() <= 45


def test_every_sample_is_cut_and_then_mirrored_by_draws_of_its_own() -> None:
    """Oracle: some cut of each image, or its mirror image; place and mirroring show no dependence."""
    out = np.asarray(hp.Augmentation(2, flip=True, fill=FILL)(jnp.asarray(IMAGES), KEY))
    seen = set()
    for image, each in zip(IMAGES, out, strict=True):
        mirrored = not any((cut == each).all() for cut in cuts(image, 2, FILL).values())
        seen.add((corner_of(image, 2, FILL, each[:, ::-1] if mirrored else each), mirrored))
    assert len(seen) > 25  # more than there are corners


def test_the_key_is_all_that_draws_depend_on() -> None:
    """The same key gives the same batch, compiled or not; that of another step another one; nothing asked for, none."""
    augment, base, x = hp.Augmentation(2, flip=True), jax.random.key(0), jnp.asarray(IMAGES)
    batches = [np.asarray(augment(x, jax.random.fold_in(base, step))) for step in range(3)]
    compiled = np.asarray(jax.jit(augment)(x, jax.random.fold_in(base, 1)))
    np.testing.assert_array_equal(compiled, batches[1])
    for other in (0, 2):
        moved = (batches[1] != batches[other]).any((1, 2, 3))
        assert moved.mean() > 0.8  # two of 50 equally likely images agree once in 50
    np.testing.assert_array_equal(hp.Augmentation()(x, KEY), IMAGES)


def test_flat_inputs_are_the_same_images() -> None:
    """Oracle: the images in their own shape."""
    whole = hp.Augmentation(1, flip=True, fill=FILL)(jnp.asarray(IMAGES), KEY)
    flat = hp.Augmentation(1, flip=True, fill=FILL, image_shape=SHAPE)(jnp.asarray(IMAGES.reshape(60, 40)), KEY)
    np.testing.assert_array_equal(flat, np.asarray(whole).reshape(60, 40))


def test_double_precision(x64: None) -> None:
    """Oracle: parts of padded images, as above; the dtype stays."""
    out = np.asarray(hp.Augmentation(1, fill=FILL)(jnp.asarray(IMAGES, jnp.float64), KEY))
    assert out.dtype == np.float64
    for image, each in zip(IMAGES, out, strict=True):
        corner_of(image, 1, FILL, each)


def test_equal_augmentations_share_a_compiled_step() -> None:
    """Oracle: equality and hash, by which a compiled step is found again."""
    one, other = hp.Augmentation(2, fill=FILL), hp.Augmentation(2, fill=FILL)
    assert one == other and hash(one) == hash(other)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^crop_padding must not be negative, got -1$"):
        hp.Augmentation(-1)
    line = r"^augmentation needs x of shape \(batch, height, width, channels\), got \(60, 40\): give it the image_shape"
    with pytest.raises(ValueError, match=line):
        hp.Augmentation(1)(jnp.asarray(IMAGES.reshape(60, 40)), KEY)

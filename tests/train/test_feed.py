"""The input pipeline. Oracle: the order of `epoch_batches`, and arrays indexed by hand."""

import numpy as np

from holoprop.data.batches import epoch_batches
from holoprop.data.preparation import Preparation
from holoprop.train.devices import Devices
from holoprop.train.feed import Feed

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (23, 4, 3, 2), np.uint8)
LABELS = RNG.integers(0, 5, 23).astype(np.int32)


def test_batches_come_in_the_order_of_the_seed():
    """In memory, mapped and resident alike, from any step on."""
    mapped = np.lib.stride_tricks.as_strided(PIXELS)
    for resident in (False, True):
        for start in (0, 3):
            feed = Feed.of(mapped, LABELS, 5, 7, Devices(), resident=resident)
            order = epoch_batches(23, 5, seed=7, epoch=2, start=start)
            batches = list(feed.epoch(2, start))
            assert len(batches) == 4 - start
            for (x, y), index in zip(batches, order, strict=True):
                np.testing.assert_array_equal(x, PIXELS[index])
                np.testing.assert_array_equal(y, LABELS[index])
                assert x.dtype == np.uint8
    other = feed.of_seed(8)
    assert not np.array_equal(next(other.epoch(2))[1], next(Feed.of(PIXELS, LABELS, 5, 7, Devices()).epoch(2))[1])


def test_a_host_keeps_its_arrays():
    """On the CPU a copy on the device would only take memory."""
    assert not Feed.of(PIXELS, LABELS, 5, 0, Devices()).resident


def test_pixels_become_what_the_data_set_makes_of_them():
    """Oracle: `Split.inputs`, in numpy."""
    from holoprop.data.dataset import Split

    split, numbers = Split(PIXELS, LABELS), {"mean": (0.4, 0.5), "std": (0.2, 0.3)}
    for flat in (False, True):
        inputs = Preparation(255, **numbers, flat=flat)(PIXELS)
        np.testing.assert_allclose(inputs, split.inputs(flatten=flat, **numbers), rtol=0, atol=1e-6)
    np.testing.assert_allclose(Preparation(255)(PIXELS), split.inputs(), rtol=0, atol=1e-7)

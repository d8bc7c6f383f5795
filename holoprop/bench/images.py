"""What benchmarks look at: the first images of a data set where its files are, else random ones; no downloads."""

import jax
import jax.numpy as jnp
import numpy as np

from holoprop.data.cache import available_datasets
from holoprop.data.dataset import DataError
from holoprop.data.loading import load_dataset

Batch = tuple[jax.Array, jax.Array]

_DATASETS = {((784,), 10): ("mnist", "MNIST"), ((32, 32, 3), 10): ("cifar-10", "CIFAR-10")}
"""By the shape of an input and the number of classes: the data set and how it is called."""
_INK = 0.19
"""The share of pixels of MNIST that are not blank."""


def first_batches(shape: tuple[int, ...], classes: int, batch: int, batches: int) -> tuple[list[Batch], str]:
    """Return the first training images of the data set of that shape, in batches, and what they are.

    In place of a data set whose files are not there: random pixels in [0, 1), as sparse as MNIST's if they come in a
    row, all of them lit if they come as a map.

    **Arguments:** `shape`: of an input, `(pixels,)` or `(height, width, channels)`; `classes`: number of labels;
    `batch`, `batches`: samples of each, and how many.
    """
    count = batch * batches
    images, labels, name = _load(shape, classes, count)
    if images is None or labels is None:
        rng = np.random.default_rng(0)
        sparse = len(shape) == 1
        lit = rng.random((count, *shape)) < (_INK if sparse else 1)
        images = np.where(lit, rng.random((count, *shape)), 0).astype(np.float32)
        labels = rng.integers(0, classes, count).astype(np.int32)
        name = "random sparse images" if sparse else "random images"
    parts = [slice(i * batch, (i + 1) * batch) for i in range(batches)]
    return [(jnp.asarray(images[part]), jnp.asarray(labels[part])) for part in parts], name


def _load(shape: tuple[int, ...], classes: int, count: int) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    source, name = _DATASETS.get((shape, classes), ("", ""))
    try:
        places = {each.source.name: each.place for each in available_datasets()}
        if places.get(source, "not downloaded") == "not downloaded":
            return None, None, ""
        train = load_dataset(source).train
    except DataError:
        return None, None, ""
    return train.inputs(slice(0, count), flatten=len(shape) == 1), train.labels[:count], name

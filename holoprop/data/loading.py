"""A data set by its name: find its files, make sure of them, read them."""

import os

from holoprop.data.cache import dataset_files
from holoprop.data.cifar import read_cifar_batches
from holoprop.data.dataset import Dataset, Split
from holoprop.data.digits import read_digits
from holoprop.data.idx import read_idx_pair
from holoprop.data.registry import find_source


def load_dataset(name: str, *, cache: str | os.PathLike[str] | None = None, verify: bool = True) -> Dataset:
    """Load a data set: `digits` (built in), `mnist`, `fashion-mnist` or `cifar-10`.

    Each file is looked for under `HOLOPROP_DATA/<name>/`, then in the user cache (`HOLOPROP_CACHE` where that is
    set), and is else downloaded into the cache.

    **Arguments:**

    - `name`: as in `available_datasets()`.
    - `cache`: a folder in place of the user cache.
    - `verify`: whether the files must be the official ones. False lets other files of the same names in, which must
      still be whole files of the set's format, with images and labels of its shape and classes.

    **Returns:** a `Dataset`; its labels are integers, its images whole pixel values (`dataset.train.inputs()` gives
    numbers in [0, 1]).

    **Raises:** `DataError`, one line with the way out: an unknown name; a file that is absent and cannot be
    downloaded, has another checksum, is truncated, corrupt or of another shape.

    ```python
    data = hp.load_dataset("digits")
    x, y = data.train.inputs(flatten=True), data.train.labels      # (1437, 64) float32, (1437,) int32
    ```
    """
    source = find_source(name)
    if not source.files:
        train, test = read_digits()
        return Dataset(name, train, test, source.class_names, source.mean, source.std)
    paths = dataset_files(name, cache=cache, verify=verify)
    shape, classes = source.image_shape, len(source.class_names)
    if source.format == "cifar":
        parts = [
            read_cifar_batches(batches, image_shape=shape, classes=classes) for batches in (paths[:-1], paths[-1:])
        ]
    else:
        parts = [read_idx_pair(*pair, image_shape=shape, classes=classes) for pair in (paths[:2], paths[2:])]
    train, test = (Split(*part) for part in parts)
    return Dataset(name, train, test, source.class_names, source.mean, source.std)

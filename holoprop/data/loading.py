"""A data set by its name: find its files, make sure of them, read them."""

import os

from holoprop.data.cache import dataset_files
from holoprop.data.cifar import read_cifar_batches
from holoprop.data.conversion import convert_dataset
from holoprop.data.dataset import Dataset, Split
from holoprop.data.digits import read_digits
from holoprop.data.idx import read_idx_pair
from holoprop.data.registry import find_source
from holoprop.data.stored import open_stored
from holoprop.data.svhn import read_svhn


def load_dataset(name: str, *, cache: str | os.PathLike[str] | None = None, verify: bool = True) -> Dataset:
    """Load a data set: `digits` (built in), `mnist`, `fashion-mnist`, `svhn`, `cifar-10`, `cifar-100`, `imagenet32`.

    Each file is looked for under `HOLOPROP_DATA/<name>/`, then in the user cache (`HOLOPROP_CACHE` where that is
    set), and is else downloaded into the cache. `imagenet32` cannot be downloaded without an account; when it is loaded
    for the first time it is converted, and from then on its images stay on the disk, mapped into memory. There is also
    `cifar-100-subset`, a tenth of CIFAR-100 for tests, which is never taken for `cifar-100`.

    **Arguments:**

    - `name`: as in `available_datasets()`.
    - `cache`: a folder in place of the user cache.
    - `verify`: whether the files must be the official ones. False lets other files of the same names in, which must
      still be whole files of the set's format, with images and labels of its shape and classes; there may be any number
      of samples.

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
    if source.format == "imagenet32":
        train, test = open_stored(convert_dataset(name, cache=cache, verify=verify), source.image_shape)
        return Dataset(name, train, test, source.class_names, source.mean, source.std)
    paths = dataset_files(name, cache=cache, verify=verify)
    shape, classes = source.image_shape, len(source.class_names)
    if source.format == "cifar":
        parts = [
            read_cifar_batches(batches, image_shape=shape, classes=classes, label_key=source.label_key)
            for batches in (paths[:-1], paths[-1:])
        ]
    elif source.format == "svhn":
        parts = [read_svhn(path, image_shape=shape) for path in paths]
    else:
        parts = [read_idx_pair(*pair, image_shape=shape, classes=classes) for pair in (paths[:2], paths[2:])]
    train, test = (Split(*part) for part in parts)
    return Dataset(name, train, test, source.class_names, source.mean, source.std)

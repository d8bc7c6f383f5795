"""Batches as index arrays: shuffled for training, in order for evaluation; every batch of one shape where it can be.

The order of an epoch is a function of (seed, epoch) alone, `default_rng([seed, epoch]).permutation(n)`, so a run that
is resumed in the middle of an epoch sees exactly the samples it would have seen.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int


def batch_count(n: int, batch_size: int, *, drop_last: bool = True) -> int:
    """Return how many batches an epoch over `n` samples has, with or without the last, incomplete one.

    **Raises:** `ValueError` if `n` or `batch_size` is below 1, or if nothing is left without the incomplete batch.
    """
    for name, value in (("n", n), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if drop_last and batch_size > n:
        raise ValueError(f"batch_size {batch_size} exceeds the {n} samples there are: choose a smaller one")
    return n // batch_size if drop_last else -(-n // batch_size)


def epoch_batches(
    n: int, batch_size: int, *, seed: int, epoch: int, start: int = 0, drop_last: bool = True
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Return an iterator over the batches of one shuffled epoch.

    **Arguments:**

    - `n`: the number of samples; `batch_size`: samples a batch.
    - `seed`, `epoch`: what the order depends on; neither is negative.
    - `start`: batches to leave out at the beginning, to go on where a run stopped.
    - `drop_last`: leave out the last batch if it is incomplete.

    **Returns:** an iterator over indices `(batch_size,)`; each sample occurs at most once.

    **Raises:** `ValueError` at once, not on first use, for sizes below 1, negative seeds, or a `start` behind the
    epoch's end.
    """
    count = batch_count(n, batch_size, drop_last=drop_last)
    for name, value in (("seed", seed), ("epoch", epoch)):
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
    if not 0 <= start <= count:
        raise ValueError(f"start must be in 0 … {count}, the batches of an epoch, got {start}")
    order = np.random.default_rng([seed, epoch]).permutation(n)
    return (order[i * batch_size : (i + 1) * batch_size] for i in range(start, count))


def padded_batches(
    n: int, batch_size: int, *, multiple: int = 1
) -> Iterator[tuple[Int[np.ndarray, " batch"], Bool[np.ndarray, " batch"]]]:
    """Return an iterator over all samples in order, the last batch filled up so that compiled code sees one shape.

    **Arguments:** `n`: the number of samples; `batch_size`: samples a batch, at most `n` of which are used; `multiple`:
    of this number, to which the size is rounded up, such as the devices that share a batch.

    **Returns:** an iterator over pairs of indices and a mask, both `(min(batch_size, n),)` or, rounded up, some more;
    the mask is False where an index (that of the last sample) merely fills up.

    **Raises:** `ValueError` at once for sizes below 1.
    """
    batch_count(n, batch_size, drop_last=False)
    batch_count(multiple, 1)
    size = -(-min(batch_size, n) // multiple) * multiple
    return _padded(n, size)


def _padded(n: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, n, size):
        index = np.arange(start, start + size)
        yield np.minimum(index, n - 1), index < n

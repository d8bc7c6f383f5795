"""The input pipeline: which samples make up which step, and how they come to the devices.

The samples of a step depend on (seed, epoch, step) alone (`data/batches.py`), so that a run goes on exactly where it
stopped, on as many processes and devices as there are: each process reads its own rows of every batch. Pixels travel as
they are stored, one byte each, and become inputs inside the compiled step (`data/preparation.py`). Accelerators keep a
set that fits in their memory there, and are sent indices only.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from holoprop.data.batches import epoch_batches
from holoprop.train.devices import Devices

RESIDENT_SHARE = 0.25
"""Of a device's memory, what a data set may fill."""


@dataclasses.dataclass(frozen=True)
class Feed:
    """Batches of a training set in the order of a seed.

    **Attributes:** `x`: inputs or pixels `(n, *shape)`, an array, a memory-mapped one, or anything that an array of
    indices gives a batch of; `y`: labels `(n,)`; `batch_size`: samples a step, on all processes together; `seed`: of
    the order; `devices`; `resident`: `x` and `y` are on the devices.
    """

    x: Any
    y: Any
    batch_size: int
    seed: int
    devices: Devices
    resident: bool = False

    @classmethod
    def of(
        cls, x: Any, y: np.ndarray, batch_size: int, seed: int, devices: Devices, *, resident: bool | None = None
    ) -> "Feed":
        """Return the feed of a set; `resident=None`: on accelerators with room for it, the set is kept there."""
        if resident is None:
            resident = isinstance(x, np.ndarray) and _fits(x.nbytes + y.nbytes)
        if resident:
            x, y = jax.device_put((np.asarray(x), np.asarray(y)), devices.everywhere)
        return cls(x, y, batch_size, seed, devices, resident)

    def of_seed(self, seed: int) -> "Feed":
        """Return the feed of the same set in the order of another seed."""
        return dataclasses.replace(self, seed=seed)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Any, Any]]:
        """Return an iterator over the batches `(x, y)` of an epoch, from its step `start` on."""
        order = epoch_batches(len(self.y), self.batch_size, seed=self.seed, epoch=epoch, start=start, drop_last=True)
        return map(self._resident_batch if self.resident else self._batch, order)

    def _batch(self, index: np.ndarray) -> tuple[Any, Any]:
        own = index[self.devices.part(len(index))]
        return self.devices.share((self.x[own], self.y[own]))

    def _resident_batch(self, index: np.ndarray) -> tuple[Any, Any]:
        own = index[self.devices.part(len(index))]
        return _taken(self.x, self.y, self.devices.share(own.astype(np.int32)))


@jax.jit
def _taken(x: jax.Array, y: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.take(x, index, axis=0), jnp.take(y, index, axis=0)


def _fits(size: int) -> bool:
    """Whether an accelerator has room for so many bytes; the host's memory needs no copy of the host's arrays."""
    device = jax.local_devices()[0]
    memory = None if device.platform == "cpu" else device.memory_stats()
    return memory is not None and size <= RESIDENT_SHARE * memory.get("bytes_limit", 0)

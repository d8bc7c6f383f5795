"""On which devices a run computes: the batch shared out among them, everything else on each.

One mesh axis, `batch`; XLA finds the collectives. With `d` devices on all hosts, each gets `batch_size/d` samples of
every batch, and parameters, optimiser state and memory are copies that stay equal. Means over the batch are over all
of it, so a run computes what it would on one device, but for rounding.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run; make one by `Devices.of`.

    **Attributes:** `mesh`: with the one axis `batch`, over the devices of all processes; `None` for one device, where
    there is nothing to share.
    """

    mesh: Mesh | None = None

    @classmethod
    def of(cls, devices: int | Sequence[Any] | None = None) -> "Devices":
        """Return the devices of a run.

        **Arguments:** `devices`: how many of this machine's, or which, as `jax.devices()` gives them; `None`: all, of
        all processes.

        **Raises:** `ValueError` for more devices than there are, or a part of them where there are several processes.
        """
        every = jax.devices()
        if isinstance(devices, int):
            if not 1 <= devices <= len(every):
                raise ValueError(
                    f"devices must be in 1 … {len(every)}, the {every[0].platform} devices that JAX finds here, "
                    f"got {devices}"
                )
            chosen = every[:devices]
        else:
            chosen = every if devices is None else list(devices)
        if jax.process_count() > 1 and len(chosen) != len(every):
            raise ValueError(
                f"with {jax.process_count()} processes a run takes all their {len(every)} devices, got {len(chosen)}"
            )
        if len(chosen) == 1:
            # The default device needs no word, another one has to be named.
            return cls(None if chosen[0] == every[0] else Mesh(np.asarray(chosen), ("batch",)))
        return cls(Mesh(np.asarray(chosen), ("batch",)))

    @property
    def count(self) -> int:
        """The number of devices."""
        return 1 if self.mesh is None else self.mesh.size

    def check(self, batch_size: int) -> None:
        """Raise `ValueError` unless `batch_size` can be shared out evenly."""
        if batch_size % self.count:
            raise ValueError(
                f"batch_size must be a multiple of {self.count}, the devices that share it, got {batch_size}: choose "
                "another one, or fewer devices"
            )

    @property
    def everywhere(self) -> NamedSharding | None:
        """How an array lies that is whole on each device."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def part(self, size: int) -> slice:
        """Return which of a batch's `size` samples this process has to provide: those of its own devices."""
        if self.mesh is None:
            return slice(0, size)
        own = [i for i, device in enumerate(self.mesh.devices.flat) if device.process_index == jax.process_index()]
        share = size // self.count
        return slice(own[0] * share, (own[-1] + 1) * share)

    def share(self, batch: Any) -> Any:
        """Return arrays of this process's part of a batch, `(part, …)`, as one batch over all devices."""
        if self.mesh is None:
            return batch
        sharding = NamedSharding(self.mesh, PartitionSpec("batch"))
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, np.asarray(a)), batch)

    def copy(self, tree: Tree) -> Tree:
        """Return a pytree whose arrays are whole on each device; every process has to bring the same ones."""
        sharding = self.everywhere
        if sharding is None:
            return tree

        def spread(leaf: Any) -> Any:
            if not eqx.is_array(leaf):
                return leaf
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(spread(jax.random.key_data(leaf)))
            whole = np.asarray(leaf)
            return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

        return jax.tree.map(spread, tree)

    def meet(self, where: str) -> None:
        """Wait until all processes have come here, if there are several."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(where)

    def local(self, tree: Tree) -> Tree:
        """Return a pytree of copies as an array of one device, for what this process does on its own."""
        if self.mesh is None:
            return tree
        return jax.tree.map(lambda leaf: leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf, tree)


def start_processes(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join this process to the others of a run on several hosts; before anything else is computed.

    **Arguments:** `coordinator`: address and port of the first process, `"host:port"`; `processes`: how many there are;
    `process`: which one this is, from 0. On clusters that JAX knows (Slurm, Open MPI, Cloud TPU) all may be left out.

    **Returns:** nothing; from then on `jax.devices()` are those of all processes.

    **Raises:** `ValueError`, one line, if they do not find each other.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the processes of the run do not come together: {' '.join(str(error).split())}") from None

"""What the machine can do, and how long a function takes on it.

A step time says little without the machine: the yardstick is its own rate of matrix products, float32 mostly,

    rate = 2n³ / (seconds of one n × n × n product),

taken in the same run. Functions that are to be compared are timed in turns, round after round, so that a machine that
drifts (clock, heat, neighbours) drifts for all of them.
"""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from holoprop.experiments.environment import processor


def gemm(size: int = 2048, dtype: DTypeLike = jnp.float32) -> tuple[Callable[[], Any], float]:
    """Return a compiled matrix product to be timed, and its floating-point operations, `2·size³`.

    Its operands are drawn from a normal distribution; `size` is large enough to be bound by arithmetic, not by memory.
    In float32 the precision is that of `jax.default_matmul_precision`.
    """
    a, b = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
    product = jax.jit(jnp.matmul)
    product(a, b).block_until_ready()
    return lambda: product(a, b), 2.0 * size**3


def time_in_turns(
    functions: Mapping[str, Callable[[], Any]], *, rounds: int = 7, at_least: float = 0.3
) -> dict[str, float]:
    """Time functions in turns; return the median seconds of one call of each.

    In each round every function is called once untimed (it has to find caches warm as in a training loop, not
    as its neighbour left them), then timed over as many calls as fill `at_least` seconds.

    **Arguments:** `functions`: by name; each returns arrays, whose completion is waited for; `rounds`: at least 1.

    **Raises:** `ValueError` for fewer rounds.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            jax.block_until_ready(function())
            calls, start = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - start < at_least:
                jax.block_until_ready(function())
                calls += 1
            seconds[name].append((time.perf_counter() - start) / calls)
    return {name: statistics.median(values) for name, values in seconds.items()}


def describe_machine() -> dict[str, str | int]:
    """Return what identifies this machine and its compiler: what a compiled program depends on."""
    device = jax.devices()[0]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "device": f"{device.platform} {device.device_kind}",
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }

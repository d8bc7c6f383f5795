"""Compiling against the clock, and keeping what took minutes to compile.

A compile is timed as a user meets it the first time: tracing, lowering and XLA's own work, JAX's persistent compilation
cache switched off. Unrolled schedules take so long that the result is stored, per machine and compiler, together with
the seconds that it took; a later run loads both.
"""

import contextlib
import dataclasses
import hashlib
import json
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache

from holoprop.bench.machine import describe_machine
from holoprop.data.files import cache_root, write_atomic
from holoprop.gradient.estimate import AbstractEstimator


@dataclasses.dataclass(frozen=True)
class CompiledFunction:
    """An executable and what it took to make it.

    **Attributes:** `run`: takes the arguments that it was compiled for; `seconds`, `cpu_seconds`: of the compile, on
    the wall and summed over cores; `peak_mb`: see `peak_megabytes`; `stored`: whether it came from an earlier run.
    """

    run: Callable[..., Any]
    seconds: float
    cpu_seconds: float
    peak_mb: float
    stored: bool = False

    def run_in_turn(self, net: Any, batches: Iterable[tuple[Any, Any]]) -> None:
        """Run a training step on one batch `(x, y)` after the other, from the same network."""
        for x, y in batches:
            # As in training, where a step waits for the parameters of the last: the runtime would else overlap them.
            jax.block_until_ready(self.run(net, x, y))


def training_step(estimator: AbstractEstimator, learning_rate: float) -> Callable[[Any, Any, Any], Any]:
    """Return the step that our side takes from `(net, x, y)`: `θ ← θ − η g`; what it draws is the same every time."""

    def step(net: Any, x: Any, y: Any) -> Any:
        return jax.tree.map(
            lambda p, g: p - learning_rate * g, net, estimator(net, x, y, key=jax.random.key(0)).gradient
        )

    return step


def compile_timed(function: Callable[..., Any], *arguments: Any) -> CompiledFunction:
    """Compile `function` for these arguments (arrays or pytrees of them) from nothing, against the clock."""
    with _no_persistent_cache():
        # A new jit object each time, so that an earlier call's trace is not found.
        fresh = jax.jit(lambda *a: function(*a))
        start, start_cpu = time.perf_counter(), time.process_time()
        run = fresh.lower(*arguments).compile()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    return CompiledFunction(run, seconds, cpu_seconds, peak_megabytes(run))


def compile_stored(
    name: str, function: Callable[..., Any], *arguments: Any, source: str, folder: Path | None = None
) -> CompiledFunction:
    """Load `function`, compiled for these arguments, from an earlier run on this machine, else compile and store it.

    The executable takes the same arguments and returns the leaves of the result, as a list.

    **Arguments:**

    - `name`: of the files.
    - `source`: whatever the program depends on besides machine, compiler and shapes: its code, its settings. If any of
      these changes, it is compiled anew.
    - `folder`: in place of `bench_cache()`.

    A store that cannot be read or written costs a compile, never the benchmark.
    """
    shapes = [(leaf.shape, str(leaf.dtype)) for leaf in map(jax.typeof, jax.tree.leaves(arguments))]
    facts = {**describe_machine(), "shapes": str(shapes), "source": hashlib.sha256(source.encode()).hexdigest()}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    stem = (bench_cache() if folder is None else folder) / f"{name}-{digest}"
    # Only lists of arrays can be stored: the structure of a network does not survive pickling.
    leaves, structure = jax.tree.flatten(arguments)

    def flat(*leaves: Any) -> list[Any]:
        return jax.tree.leaves(function(*jax.tree.unflatten(structure, leaves)))

    compiled = _load(stem) or _store(stem, compile_timed(flat, *leaves), facts)
    return dataclasses.replace(compiled, run=lambda *arguments: compiled.run(*jax.tree.leaves(arguments)))


def bench_cache() -> Path:
    """Return the folder of stored executables: `bench` under `HOLOPROP_CACHE`, or else under the user cache."""
    return cache_root() / "bench"


def peak_megabytes(run: jax.stages.Compiled) -> float:
    """Return the memory an executable needs while it runs, in MB (1e6 bytes): arguments, results and temporaries.

    These are the compiler's own buffer assignments. They are exact and the same every time, where the process's peak
    resident set holds the interpreter, both sides of a comparison and whatever ran before. What libraries allocate
    inside a call is not seen.
    """
    sizes: Any = run.memory_analysis()
    if sizes is None:
        return float("nan")
    total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return (total - sizes.alias_size_in_bytes) / 1e6


@contextlib.contextmanager
def _no_persistent_cache() -> Iterator[None]:
    before = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_compilation_cache", False)
    # JAX looks at that switch only once in a process unless it is told to look again.
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def _load(stem: Path) -> CompiledFunction | None:
    try:
        facts = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        payload, in_tree, out_tree = pickle.loads(stem.with_suffix(".pickle").read_bytes())
        run = serialize_executable.deserialize_and_load(payload, in_tree, out_tree)
        return CompiledFunction(run, facts["compile_s"], facts["compile_cpu_s"], facts["peak_mb"], stored=True)
    except FileNotFoundError:
        return None
    except Exception:
        # Truncated, from an interrupted run, or unreadable for this compiler: whatever it is, compiling cures it.
        return None


def _store(stem: Path, compiled: CompiledFunction, facts: dict[str, Any]) -> CompiledFunction:
    run: Any = compiled.run
    try:
        payload = pickle.dumps(serialize_executable.serialize(run))
        times = {"compile_s": compiled.seconds, "compile_cpu_s": compiled.cpu_seconds, "peak_mb": compiled.peak_mb}
        stem.parent.mkdir(parents=True, exist_ok=True)
        # The JSON last: it is what says that the executable is whole.
        write_atomic(stem.with_suffix(".pickle"), payload)
        write_atomic(stem.with_suffix(".json"), json.dumps({**times, **facts}, indent=2).encode())
    except (OSError, ValueError, NotImplementedError, jax.errors.JaxRuntimeError):
        # Nowhere to write, or a backend that cannot serialise: the next run compiles again.
        pass
    return compiled

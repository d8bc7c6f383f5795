"""What every test runs under: the CPU unless told otherwise, strict dtype promotion, no deadline per random example."""

import os

# Before jax is imported, which reads it once. holoprop itself is not imported here: jaxtyping's hook must come first.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import gc
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")

# Tracing makes many small objects that stay, and compiled programs need not know the line that each of their
# instructions came from: both cost time and change nothing.
gc.set_threshold(100_000, 20, 100)
jax.config.update("jax_traceback_in_locations_limit", 0)

# The first example of a jitted function pays for its compilation, so a deadline per example would fail at random.
hypothesis.settings.register_profile("holoprop", deadline=None)
hypothesis.settings.load_profile("holoprop")


@pytest.fixture
def x64() -> Iterator[None]:
    """Make float64 the default dtype for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape checks that only tests run under: what users see is the package's own message."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True, scope="module")
def few_compiled_functions() -> Iterator[None]:
    """Forget compiled functions before there are too many for one process.

    Each keeps a few memory maps, of which Linux allows a process 65,530; beyond that the compiler crashes.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 20_000:
        jax.clear_caches()


def pytest_report_header() -> str:
    """Say at the top of the run whether tests on the official data sets take part."""
    folder = os.environ.get("HOLOPROP_DATA")
    return f"official data sets: {folder or 'HOLOPROP_DATA is not set, so tests marked data are left out'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked ``data`` where no official data sets are."""
    if os.environ.get("HOLOPROP_DATA"):
        return
    left_out = [item for item in items if item.get_closest_marker("data")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("data")]

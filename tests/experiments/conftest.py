"""A configuration small enough to train in every test that needs one."""

from collections.abc import Callable, Iterator

import jax
import pytest

from holoprop.experiments.config import Config
from holoprop.experiments.sources import load_config

# Plain alternation compiles in a fraction of Anderson's time; what these tests are about does not depend on it.
TINY = (
    "network.hidden=[12]",
    "estimator.points=4",
    "estimator.radius=0.1",
    "estimator.solver=alternating",
    "estimator.tolerance=none",
    "data.train_limit=60",
    "data.test_limit=40",
    "training.epochs=2",
    "training.batch_size=20",
    "training.log_every=1",
    "optimizer.name=sgd",
    "optimizer.schedule=constant",
)


@pytest.fixture
def tiny() -> Callable[..., Config]:
    """Make the demo's configuration with 12 neurons, 60 + 40 samples, two epochs of three steps, and what is passed."""

    def make(*overrides: str) -> Config:
        return load_config("digits-mlp", [*TINY, *overrides], name="tiny")

    return make


@pytest.fixture(autouse=True, scope="session")
def keep_compiled() -> Iterator[None]:
    """The runs of these tests share their compiled steps."""
    yield
    jax.clear_caches()

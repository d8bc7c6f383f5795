"""One tiny problem for all tests of training, so that its step is compiled once (optimisers compare by identity)."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import holoprop as hp

SIZES, CLASSES = (6, 8, 5), 3
SAMPLES, BATCH_SIZE = 23, 5
STEPS_PER_EPOCH = SAMPLES // BATCH_SIZE


class Remembering(hp.AbstractEstimator):
    """An estimator that draws noise and remembers its calls; both show in its gradient."""

    inner: hp.Holomorphic
    solver: hp.AbstractSolver
    unsettled: str = "mask"

    def check(self, net):
        self.inner.check(net)

    def init(self, net, batch_size):
        return jnp.zeros((), jnp.float32)

    def estimate(self, net, x, target, *, key, memory):
        estimate = self.inner.estimate(net, x, target, key=None, memory=None)
        calls = memory + 1

        def disturb(g):
            return g * (1 + 0.1 * calls) + 0.01 * jax.random.normal(key, g.shape, g.dtype)

        return dataclasses.replace(estimate, gradient=jax.tree.map(disturb, estimate.gradient), memory=calls)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A network, data, and what to train it with."""

    net: hp.LayeredNetwork
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    estimator: hp.AbstractEstimator
    noisy: hp.AbstractEstimator
    sgd: optax.GradientTransformation
    adam: optax.GradientTransformation
    augment: hp.Augmentation
    batch_size: int = BATCH_SIZE
    steps_per_epoch: int = STEPS_PER_EPOCH
    learning_rate: float = 0.5

    def fit(self, **options: Any) -> hp.FitResult:
        """Train for an epoch with plain SGD, unless `options` say otherwise."""
        options = {
            "net": self.net,
            "estimator": self.estimator,
            "optimizer": self.sgd,
            "train": self.train,
            "epochs": 1,
            "batch_size": self.batch_size,
            **options,
        }
        return hp.fit(**options)


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Return the records of `metrics.jsonl`, which must be strict JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def timeless_records(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records without the seconds, the one thing that no two runs have in common."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def assert_identical_trees(a: Any, b: Any) -> None:
    """Require the same structure and, to the bit, the same arrays."""
    a, b = eqx.filter(a, eqx.is_array), eqx.filter(b, eqx.is_array)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert p.dtype == q.dtype
        np.testing.assert_array_equal(p, q)


@pytest.fixture(scope="session")
def problem() -> Problem:
    """The one problem."""
    rng = np.random.default_rng(0)

    def arrays(fan_in: int, fan_out: int) -> tuple:
        weight = rng.normal(size=(fan_in, fan_out)) / np.sqrt(fan_in)
        return jnp.asarray(weight.astype(np.float32)), jnp.zeros(fan_out, jnp.float32)

    net = hp.LayeredNetwork(
        (hp.Dense(*arrays(6, 8)), hp.Dense(*arrays(8, 5))),
        hp.Readout(*arrays(5, CLASSES)),
        hp.Sigmoid(),
        hp.CrossEntropy(),
    )

    def samples(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.uniform(size=(n, 6)).astype(np.float32)
        return x, np.argmax(x[:, :CLASSES], 1)

    inner = hp.Holomorphic(points=2, radius=0.1, solver=hp.Picard())
    return Problem(
        net=net,
        train=samples(SAMPLES),
        test=samples(9),
        estimator=inner,
        noisy=Remembering(inner, inner.solver),
        sgd=optax.sgd(0.5),
        adam=optax.adam(0.02),
        augment=hp.Augmentation(1, flip=True, fill=(-1.0,), image_shape=(2, 3, 1)),
    )


@pytest.fixture(scope="session")
def records():
    """Reads and checks `metrics.jsonl`."""
    return read_records


@pytest.fixture(scope="session")
def timeless():
    """Drops the seconds of records."""
    return timeless_records


@pytest.fixture(scope="session")
def assert_identical():
    """Compares two pytrees bit by bit."""
    return assert_identical_trees

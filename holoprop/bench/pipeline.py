"""How many samples a second the input pipeline brings to the device, and how many the training step takes.

    headroom = (samples/s of the pipeline alone) / (samples/s of the training step)

Batches in the order of a seed, from arrays in memory, from a file mapped into memory, and, where Grain is installed,
from its loader over the same arrays. The pixels are random: none of this depends on what they show.
"""

import dataclasses
import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import jax
import numpy as np
import optax

from holoprop.bench.row import Notice, render_table
from holoprop.data.preparation import Preparation
from holoprop.data.reading import ImageReader
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.network.build_conv import convnet
from holoprop.settling.anderson import Anderson
from holoprop.train.devices import Devices
from holoprop.train.feed import Feed
from holoprop.train.step import Recipe, initial_train_state, take_step


@dataclasses.dataclass(frozen=True)
class PipelineSetting:
    """What is measured: `samples` of `shape` in `classes`, `batch` a step, a network of `channels`; `seconds` each."""

    samples: int = 50_000
    shape: tuple[int, int, int] = (32, 32, 3)
    classes: int = 10
    batch: int = 128
    channels: tuple[int, ...] = (32, 64, 64, 64)
    seconds: float = 3.0


class PipelineRow(TypedDict):
    """One way to read batches; plain JSON values.

    `way`; `samples_per_s` of the pipeline alone; `step_samples_per_s` of the training step; `headroom`, their ratio.
    """

    way: str
    samples_per_s: float
    step_samples_per_s: float
    headroom: float


def run_pipeline(setting: PipelineSetting | None = None, progress: Notice | None = None) -> list[PipelineRow]:
    """Measure the pipeline by each way to read, and the training step that it feeds.

    **Returns:** one `PipelineRow` each.
    """
    setting = setting or PipelineSetting()

    def tell(what: str) -> None:
        if progress:
            progress(f"pipeline: {what}")

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (setting.samples, *setting.shape), np.uint8)
    labels = rng.integers(0, setting.classes, setting.samples).astype(np.int32)
    tell("the training step")
    step_rate = _step_rate(setting, images, labels)
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, images)
        mapped = ImageReader(np.load(path, mmap_mode="r"))
        ways: dict[str, Callable[[int], Iterator[tuple[Any, Any]]]] = {
            "arrays": Feed.of(images, labels, setting.batch, 0, Devices()).epoch,
            "mapped file": Feed.of(mapped, labels, setting.batch, 0, Devices()).epoch,
        }
        if jax.default_backend() != "cpu":
            ways["on the device"] = Feed.of(images, labels, setting.batch, 0, Devices(), resident=True).epoch
        if importlib.util.find_spec("grain") is not None:
            ways["grain"] = _grain(images, labels, setting.batch)
        for way, epoch in ways.items():
            tell(f"reading by way of {way}")
            rates[way] = _rate(epoch, setting)
    return [
        PipelineRow(way=w, samples_per_s=r, step_samples_per_s=step_rate, headroom=r / step_rate)
        for w, r in rates.items()
    ]


def render_pipeline(rows: Sequence[PipelineRow], width: int = 140) -> str:
    """Return the rows as a text table at most `width` characters wide."""
    lines = [
        (row["way"], f"{row['samples_per_s']:,.0f}", f"{row['step_samples_per_s']:,.0f}", f"{row['headroom']:,.0f}x")
        for row in rows
    ]
    return render_table(("read from", "samples/s", "the step's", "headroom"), lines, width)


def _rate(epoch: Callable[[int], Iterator[tuple[Any, Any]]], setting: PipelineSetting) -> float:
    count, number, began = 0, 0, time.perf_counter()
    while True:
        for x, y in epoch(number):
            jax.block_until_ready(jax.device_put((x, y)))
            count += len(y)
            elapsed = time.perf_counter() - began
            if elapsed >= setting.seconds:
                return count / elapsed
        number += 1


def _step_rate(setting: PipelineSetting, images: np.ndarray, labels: np.ndarray) -> float:
    net = convnet(setting.shape, setting.channels, setting.classes, pooling="average", key=jax.random.key(0))
    solver = Anderson(depth=3, tolerance=1e-1, max_steps=60)
    nudged = Anderson(depth=3, tolerance=4e-3, max_steps=30)
    estimator = Holomorphic(points=2, radius=0.25, solver=solver, nudged_solver=nudged)
    recipe = Recipe(estimator, optax.sgd(1e-3), Preparation(255))
    state = initial_train_state(net, estimator, recipe.optimizer, setting.batch)
    x, y, key = images[: setting.batch], labels[: setting.batch], jax.random.key(0)
    state, metrics = take_step(state, x, y, key, recipe)
    jax.block_until_ready(metrics.loss)
    steps, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < setting.seconds or not steps:
        state, metrics = take_step(state, x, y, key, recipe)
        jax.block_until_ready(metrics.loss)
        steps += 1
    return steps * setting.batch / elapsed


def _grain(images: np.ndarray, labels: np.ndarray, batch: int) -> Callable[[int], Iterator[tuple[Any, Any]]]:
    # Optional, to be measured against: no dependency.
    grain = importlib.import_module("grain")

    class Source:
        def __len__(self) -> int:
            return len(labels)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return images[index], labels[index]

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        shuffled = grain.MapDataset.source(Source()).shuffle(seed=number)
        return iter(shuffled.batch(batch, drop_remainder=True).to_iter_dataset())

    return epoch

"""A whole benchmark on a tiny network: the row's fields, and what they must be by definition."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.bench import benchmark_names, render_rows, run_benchmarks
from holoprop.bench.convolutional import FREE_FEEDBACK, FULL_SIZE, ConvnetBenchmark, run_convnet
from holoprop.bench.counting import SweepCounter, Work
from holoprop.bench.dense import MlpBenchmark, run_mlp
from holoprop.bench.flops import Flops, Sweeps
from holoprop.bench.images import first_batches
from holoprop.bench.published import PublishedSchedule
from holoprop.bench.published_field import PublishedField
from holoprop.bench.quoted import Quoted, baseline_note

FIELDS = {
    "name",
    "step_s",
    "baseline_step_s",
    "speedup",
    "compile_s",
    "baseline_compile_s",
    "cosine",
    "baseline_cosine",
    "peak_mb",
    "gflops",
    "gemm_gflops",
    "gemm_share",
    "sweep_mflop",
    "sweep_mb",
    "free_sweeps",
    "nudged_sweeps",
}
CONVOLUTIONAL = {
    "sweep_gflops",
    "conv_gflops",
    "conv_share",
    "free_sweep_gflops",
    "free_conv_gflops",
    "free_conv_share",
    "baseline_timed_s",
    "note",
}
TINY = MlpBenchmark(
    "tiny",
    sizes=(20, 12, 12),
    classes=3,
    batch=4,
    batches=1,
    schedule=PublishedSchedule(3, 3, points=2, radius=0.4),
    rounds=1,
    at_least=0.01,
    gemm_size=64,
)
TINY_CONVNET = ConvnetBenchmark(
    "tiny-convnet",
    PublishedSchedule(100, 20, points=2, radius=1.0, complex_throughout=True),
    solver=hp.Alternating(tolerance=1e-4),
    nudged_solver=hp.Alternating(tolerance=1e-5),
    in_shape=(8, 8, 2),
    channels=(4, 6),
    classes=3,
    batch=2,
    batches=1,
    timed=(30, 10),
    quoted=Quoted(step_s=1e-9, gemm_gflops=1.0),
    rounds=1,
    at_least=0.01,
    gemm_size=64,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tiny benchmark's row and the lines of its progress; its store goes to a temporary folder."""
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLOPROP_CACHE", str(tmp_path_factory.mktemp("cache")))
        row = run_mlp(TINY, lines.append)
    return row, lines


def test_row_has_the_documented_fields(tiny):
    row, lines = tiny
    assert set(row) == FIELDS
    assert json.loads(json.dumps(row)) == row
    assert all(type(row[name]) is float and math.isfinite(row[name]) for name in FIELDS - {"name"})
    assert all(line.startswith("tiny: ") for line in lines) and lines


def test_row_is_consistent(tiny):
    # Definitions of the ratios; a cosine is at most 1, and that of a settled estimate on this network is near it.
    row, _ = tiny
    assert row["speedup"] == row["baseline_step_s"] / row["step_s"]
    assert row["gemm_share"] == pytest.approx(row["gflops"] / row["gemm_gflops"])
    assert all(row[name] > 0 for name in FIELDS - {"name"})
    assert row["baseline_cosine"] <= 1 + 1e-6
    assert 0.9 < row["cosine"] <= 1 + 1e-6


@pytest.fixture(scope="module")
def tiny_convnet(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLOPROP_CACHE", str(tmp_path_factory.mktemp("cache")))
        return run_convnet(TINY_CONVNET, lambda line: None)


def test_convolutional_row_has_the_documented_fields(tiny_convnet):
    row = tiny_convnet
    assert set(row) == FIELDS | CONVOLUTIONAL | {"real_baseline_step_s"}
    assert json.loads(json.dumps(row)) == row
    numbers = set(row) - {"name", "note"}
    assert all(type(row[name]) is float and math.isfinite(row[name]) and row[name] > 0 for name in numbers)


def test_convolutional_row_is_consistent(tiny_convnet):
    # Definitions; 50 of 140 steps are timed. Both sides settle, on one circle, to what float32 tells apart.
    row = tiny_convnet
    assert row["baseline_step_s"] == pytest.approx(140 / 50 * row["baseline_timed_s"])
    assert row["speedup"] == pytest.approx(row["baseline_step_s"] / row["step_s"])
    assert row["conv_share"] == pytest.approx(row["sweep_gflops"] / row["conv_gflops"])
    assert row["free_conv_share"] == pytest.approx(row["free_sweep_gflops"] / row["free_conv_gflops"])
    assert row["cosine"] > 0.9999 and row["baseline_cosine"] > 0.9999
    assert row["note"].startswith("baseline timed at 50 of 140 steps") and "baseline off" in row["note"]
    assert "without complex numbers" in row["note"]


def test_row_with_free_feedback_and_a_penalty(tmp_path, monkeypatch):
    """P2's schedule in place of P1's: 40 of 120 steps are timed; the penalty's own time is not scaled."""
    monkeypatch.setenv("HOLOPROP_CACHE", str(tmp_path))
    schedule = PublishedField(80, 20, samples=3)
    row = run_convnet(
        dataclasses.replace(TINY_CONVNET, schedule=schedule, timed=(20, 10), quoted=None), lambda line: None
    )
    assert set(row) == FIELDS | CONVOLUTIONAL
    assert row["cosine"] > 0.9999 and row["baseline_cosine"] > 0.999
    assert row["baseline_timed_s"] <= row["baseline_step_s"] <= 3 * row["baseline_timed_s"] * 1.0001
    assert row["note"] == "baseline timed at 40 of 120 steps, in compiled loops"


def test_full_size_is_the_published_network():
    # P1, Table 2: T1 = 250, T2 = 60, a circle of 1; the steps that are timed are 50 and 15.
    assert [each.name for each in FULL_SIZE] == ["convnet-n2", "convnet-n2-x1.5", "convnet-n4", "convnet-n4-x1.5"]
    for benchmark in FULL_SIZE:
        schedule = benchmark.schedule
        assert (schedule.free_steps, schedule.nudged_steps, schedule.radius) == (250, 60, 1.0)
        assert (benchmark.timed_schedule.free_steps, benchmark.timed_schedule.nudged_steps) == (50, 15)
        assert schedule.complex_throughout and benchmark.timed_schedule.points == schedule.points
        assert benchmark.channels == (128, 256, 512, 512) and benchmark.batch == 4
    # P2, Table 2: T1 = 250, T2 = 40, two points on a circle of 1, weight 15 and 5 random vectors.
    assert [each.name for each in FREE_FEEDBACK] == ["convnet-free", "convnet-free-homeostasis"]
    for benchmark, samples in zip(FREE_FEEDBACK, (0, 5), strict=True):
        assert benchmark.schedule == PublishedField(250, 40, 1.0, homeostasis=15.0, samples=samples)
        assert benchmark.schedule.steps == 330 and benchmark.timed_schedule.steps == 66


def test_work_by_hand():
    # 5-3-2 and 4 classes, two samples, four points (two real ones, one complex): the model's sum for these sweeps.
    net, sweeps = hp.mlp(5, (3, 2), 4, key=jax.random.key(0)), Sweeps(free=10, real=8, complex=4)
    work = Work.of(net, 2, 4, sweeps)
    model = Flops.of(net)
    assert work.flops == model.training_step(batch=2, sweeps=sweeps, real_points=2, complex_points=1)
    assert (work.free_sweeps, work.nudged_sweeps) == (5, 2)
    assert (work.sweep_mflop, work.sweep_mb) == (24e-6, model.sweep_bytes(batch=2) / 1e6)
    assert Work.mean([work, Work(0.0, 1.0, 4.0, 24e-6, 0.0)]).free_sweeps == 3


def test_sweeps_are_counted_as_the_estimate_reports_them():
    # Oracle: the free phase's own count in the estimate; nudged phases take at least a sweep per sample and point.
    net = hp.mlp(12, (6, 6), 3, key=jax.random.key(0))
    x, y = jax.random.uniform(jax.random.key(1), (5, 12)), jnp.arange(5) % 3
    estimator = hp.Holomorphic(points=4, radius=0.4, solver=hp.Picard(), nudged_solver=hp.Picard())
    counter = SweepCounter(estimator)
    for _ in range(2):  # counts start anew
        estimate, sweeps = counter(net, x, y)
        assert sweeps.free == int(estimate.rest.steps.sum())
        assert sweeps.real >= 2 * 5 and sweeps.complex >= 5
    assert hp.alignment(estimate.gradient, estimator(net, x, y).gradient).total.relative_error < 1e-6


@pytest.mark.parametrize(("factor", "off"), [(0.69, True), (0.71, False), (1.0, False), (1.29, False), (1.31, True)])
def test_baseline_off_beyond_thirty_percent(factor, off):
    # At half the quoted rate twice the quoted time is expected.
    note = baseline_note(Quoted(step_s=0.1, gemm_gflops=400.0), 0.2 * factor, 200.0)
    assert (note is not None) == off
    if note:
        assert note.startswith("baseline off: ") and "expected 200 ms" in note
    assert baseline_note(None, 0.2 * factor, 200.0) is None


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """No data sets: an empty cache, in which nothing may be downloaded."""
    monkeypatch.delenv("HOLOPROP_DATA", raising=False)
    monkeypatch.setenv("HOLOPROP_CACHE", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_sparse_images_where_mnist_is_not(no_data):
    # 19 % of random pixels are on (four standard deviations).
    batches, name = first_batches((784,), 10, 20, 2)
    assert name == "random sparse images"
    x = np.stack([x for x, _ in batches])
    assert x.shape == (2, 20, 784) and x.min() == 0 and x.max() < 1
    assert abs((x > 0).mean() - 0.19) < 4 * (0.19 * 0.81 / x.size) ** 0.5


def test_inputs_are_random_images_where_cifar_is_not(no_data):
    ((x, y),), name = first_batches((32, 32, 3), 10, 4, 1)
    assert name == "random images" and x.shape == (4, 32, 32, 3) and y.shape == (4,)
    assert (np.asarray(x) > 0).mean() > 0.99


@pytest.mark.data
def test_inputs_are_the_first_images_where_cifar_is():
    batches, name = first_batches((32, 32, 3), 10, 4, 2)
    train = hp.load_dataset("cifar-10").train
    assert name == "CIFAR-10"
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), train.inputs(slice(0, 8)))
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), train.labels[:8])


def test_table_shows_every_row_and_note(tiny, tiny_convnet):
    row, _ = tiny
    text = render_rows([row, {**row, "name": "other", "note": "baseline off: [a] reason"}, tiny_convnet])
    assert text.count("tiny-convnet") == 3  # steps, sweeps, note
    assert f"({tiny_convnet['conv_share']:.0%})" in text and "–" in text
    assert "other: baseline off: [a] reason" in text.splitlines()
    assert any(line.lstrip().startswith("tiny ") and f"{row['speedup']:.1f}×" in line for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 140


def test_unknown_benchmarks_are_named_before_anything_runs():
    names = ["mlp-table1", "mlp-table1-mixed", *(each.name for each in (*FULL_SIZE, *FREE_FEEDBACK))]
    with pytest.raises(ValueError, match=rf"^unknown benchmark 'mlp'; known are {', '.join(names)}$"):
        run_benchmarks(["mlp-table1", "mlp"])
    assert benchmark_names() == names

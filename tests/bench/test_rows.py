"""A whole benchmark on a tiny network: the row's fields, and what they must be by definition."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp
from holoprop.bench import benchmark_names, dense, render_rows, run_benchmarks
from holoprop.bench.counting import SweepCounter
from holoprop.bench.dense import MlpBenchmark, Quoted, baseline_note, run_mlp
from holoprop.bench.published import PublishedSchedule

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


def test_sweeps_are_counted_as_the_estimate_reports_them():
    # Oracle: the free phase's own count in the estimate; nudged phases take at least a sweep per sample and point.
    net = hp.mlp(12, (6, 6), 3, key=jax.random.key(0))
    x, y = jax.random.uniform(jax.random.key(1), (5, 12)), jnp.arange(5) % 3
    estimator = hp.Holomorphic(points=4, solver=hp.Picard(), nudged_solver=hp.Picard())
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


def test_inputs_are_sparse_images_where_mnist_is_not(monkeypatch, tmp_path):
    # Nothing is downloaded: an empty cache means random images, 19 % of their pixels on (four standard deviations).
    monkeypatch.delenv("HOLOPROP_DATA", raising=False)
    monkeypatch.setenv("HOLOPROP_CACHE", str(tmp_path))
    batches, name = dense._batches(MlpBenchmark("any", batches=2))
    assert name == "random sparse images" and list(tmp_path.iterdir()) == []
    x = np.stack([x for x, _ in batches])
    assert x.shape == (2, 20, 784) and x.min() == 0 and x.max() < 1
    assert abs((x > 0).mean() - 0.19) < 4 * (0.19 * 0.81 / x.size) ** 0.5


def test_table_shows_every_row_and_note(tiny):
    row, _ = tiny
    text = render_rows([row, {**row, "name": "other", "note": "baseline off: [a] reason"}])
    assert "other: baseline off: [a] reason" in text.splitlines()
    assert any(line.lstrip().startswith("tiny ") and f"{row['speedup']:.1f}×" in line for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 140


def test_unknown_benchmarks_are_named_before_anything_runs():
    with pytest.raises(ValueError, match=r"^unknown benchmark 'mlp'; known are mlp-table1, mlp-table1-mixed$"):
        run_benchmarks(["mlp-table1", "mlp"])
    assert benchmark_names() == ["mlp-table1", "mlp-table1-mixed"]

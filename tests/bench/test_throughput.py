"""Throughput: a run of a tiny network, whose rows have to agree with their own definitions."""

import json

import pytest

from holoprop import bench, cli
from holoprop.bench.throughput import PRECISIONS, Throughput, render_throughput, run_throughput

TINY = Throughput(
    in_shape=(8, 8, 2),
    channels=(4, 6),
    classes=3,
    batch=6,
    tolerance=1e-4,
    nudged_tolerance=1e-5,
    images=600,
    gemm_size=64,
    rounds=1,
    at_least=0.01,
)


@pytest.fixture(scope="module")
def rows():
    return run_throughput(TINY, precisions=tuple(PRECISIONS))


def test_rows(rows):
    assert [row["precision"] for row in rows] == list(PRECISIONS)
    assert json.loads(json.dumps(rows)) == rows
    for row in rows:
        assert row["samples_per_s"] == pytest.approx(6 / row["step_s"])
        assert row["epoch_s"] == pytest.approx(100 * row["step_s"])
        assert row["gemm_share"] == pytest.approx(row["gflops"] / row["gemm_gflops"])
        # Settled to what float32 tells apart, in every precision: the last sweeps are never in bfloat16.
        assert row["cosine"] > 0.9999
    # On a CPU the first two are the same; the stage in low precision has sweeps of its own.
    assert rows[0]["free_sweeps"] == rows[1]["free_sweeps"] < rows[2]["free_sweeps"]


def test_a_cpu_has_no_tensorfloat32(monkeypatch):
    lines = []
    monkeypatch.setattr("holoprop.bench.throughput.time_in_turns", lambda functions, **_: dict.fromkeys(functions, 1.0))
    rows = run_throughput(TINY, lines.append)
    assert [row["precision"] for row in rows] == ["float32", "mixed"]
    assert lines[1:3] == ["throughput: compiling a step in float32", "throughput: compiling a step in mixed"]
    # A step of a second: 6 samples a second, 100 s an epoch.
    assert (rows[0]["samples_per_s"], rows[0]["epoch_s"]) == (6, 100)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"^unknown precision 'float16'; known are float32, tensorfloat32, mixed$"):
        run_throughput(TINY, precisions=("float32", "float16"))


def test_command_prints_the_table(rows, monkeypatch, capsys):
    batches = []

    def run(setting, progress):
        batches.append(setting.batch)
        return rows

    monkeypatch.setattr(bench, "run_throughput", run)
    calls = ((["--throughput"], render_throughput(rows)), (["--throughput", "--batch", "7", "--json"], None))
    for arguments, wanted in calls:
        with pytest.raises(SystemExit) as ended:
            cli.main(["bench", *arguments])
        out = capsys.readouterr().out
        assert ended.value.code == 0
        assert out.rstrip("\n") == wanted if wanted else json.loads(out) == rows
    assert batches == [128, 7]
    assert max(map(len, render_throughput(rows).splitlines())) <= 140


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--throughput", "--only", "mlp-table1"], "--throughput measures a network of its own: leave out --only"),
        (["--throughput", "--growth"], "--growth and --throughput are two measurements: choose one"),
        (["--throughput", "--batch", "0"], "--batch must be at least 1, got 0"),
        (["--batch", "4"], "--batch is of --throughput, other benchmarks have batches of their own: leave it out"),
    ],
)
def test_one_measurement_at_a_time(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"holoprop: {line}\n"

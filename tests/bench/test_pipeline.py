"""The benchmark of the input pipeline. Oracle: its own ratio, and the table's columns."""

from holoprop.bench.pipeline import PipelineSetting, render_pipeline, run_pipeline


def test_every_way_is_measured_against_the_step():
    told = []
    setting = PipelineSetting(samples=64, shape=(8, 8, 1), classes=3, batch=16, channels=(2, 3), seconds=0.05)
    rows = run_pipeline(setting, told.append)
    assert [row["way"] for row in rows][:2] == ["arrays", "mapped file"]
    for row in rows:
        assert row["samples_per_s"] > 0 and row["headroom"] == row["samples_per_s"] / row["step_samples_per_s"]
    lines = render_pipeline(rows).splitlines()
    assert "read from" in lines[0] and len(lines) >= len(rows) + 1
    assert told[0] == "pipeline: the training step" and len(told) == 1 + len(rows)

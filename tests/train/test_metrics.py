"""Metrics. Oracles: the strict JSON of the standard, means in numpy over the samples they are said to be over."""

import json
import math

import numpy as np
import pytest

from holoprop.train.metrics import EpochMeans, MetricsFile, percent


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def step(number):
    return {"kind": "step", "step": number}


def epoch(number, at):
    return {"kind": "epoch", "epoch": number, "step": at}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_becomes_null(tmp_path, records, value):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    assert file.write({"loss": value, "kept": 0, "name": "a"}) == {"loss": None, "kept": 0, "name": "a"}
    file.write({"loss": 0.1})
    assert records(tmp_path) == [{"loss": None, "kept": 0, "name": "a"}, {"loss": 0.1}]
    assert MetricsFile(None).write({"loss": value}) == {"loss": None}


def test_records_after_the_checkpoint_are_dropped(tmp_path):
    """Steps by their number; ends of epochs by theirs, for one may have come at the checkpoint's very step."""
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    written = [step(2), step(4), epoch(1, 4), step(6), step(8), epoch(2, 8), step(10)]
    for record in written:
        file.write(record)
    path.write_text(path.read_text() + '{"kind": "st')
    MetricsFile(path, keep_until=8, epochs=2)
    assert lines(path) == written[:6]
    MetricsFile(path, keep_until=8, epochs=1)
    assert lines(path) == written[:5]
    MetricsFile(path, keep_until=5, epochs=1).write(step(5))
    assert lines(path) == [*written[:3], step(5)]
    MetricsFile(path)
    assert lines(path) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_missing_file_is_begun(tmp_path):
    MetricsFile(tmp_path / "metrics.jsonl", keep_until=5).write(step(6))
    assert lines(tmp_path / "metrics.jsonl") == [step(6)]


def random_steps():
    rng = np.random.default_rng(0)
    kept = np.array([20, 0, 7, 13])
    names = ("loss", "accuracy", "unsettled", "residual_log10", "sweeps")
    table = {name: rng.normal(size=4) for name in names}
    # A mean over nothing.
    table["loss"][1] = table["accuracy"][1] = math.nan
    # In the last step every sample diverged, in the one before a few did.
    table["finite"] = np.array([20, 20, 14, 0])
    table["residual_log10"][3] = math.nan
    return kept, table


def test_epoch_means_are_weighted_by_the_samples_they_are_over():
    kept, table = random_steps()
    means = EpochMeans()
    for i in range(4):
        means.add(20, {"kept": float(kept[i]), **{name: float(values[i]) for name, values in table.items()}})
    record = means.record()
    some = kept > 0
    for name, source in (("train_loss", "loss"), ("train_accuracy", "accuracy")):
        np.testing.assert_allclose(record[name], np.average(table[source][some], weights=kept[some]))
    finite = table["residual_log10"][:3], table["finite"][:3]
    np.testing.assert_allclose(record["residual_log10"], np.average(finite[0], weights=finite[1]))
    for name in ("unsettled", "sweeps"):
        np.testing.assert_allclose(record[name], table[name].mean())


def test_an_epoch_of_nothing_has_no_means():
    means = EpochMeans()
    nothing = {"kept": 0.0, "loss": math.nan, "accuracy": math.nan, "residual_log10": math.nan, "finite": 0.0}
    means.add(5, {**nothing, "unsettled": 1.0, "sweeps": 1.0})
    record = means.record()
    assert math.isnan(record["train_loss"]) and math.isnan(record["train_accuracy"]) and record["unsettled"] == 1
    assert all(math.isnan(value) for name, value in EpochMeans().record().items() if name != "seconds")


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.975, 2, "97.50 %"),
        (1.0, 1, "100.0 %"),
        (0.0, 1, "0.0 %"),
        (0.0001, 1, "<0.1 %"),
        (0.0001, 2, "0.01 %"),
        (1e-6, 2, "<0.01 %"),
        (None, 2, "–"),
    ],
)
def test_shares_in_percent(share, digits, text):
    """By hand; what is not nothing does not read as nothing."""
    assert percent(share, digits) == text

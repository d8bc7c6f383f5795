"""Traces of training steps. Oracle: the calls of the compiled step that the trace itself names, and their number."""

import gzip
import json
from pathlib import Path

import pytest

import holoprop as hp


def traced_steps(folder: Path) -> int:
    """How often the compiled step was called, by the one trace in a folder; JAX writes down a call twice, nested."""
    (path,) = folder.rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    calls = [each for each in events if each.get("name") == "PjitFunction(_compiled_step)"]
    count, end = 0, 0.0
    for each in sorted(calls, key=lambda each: each["ts"]):
        if each["ts"] >= end:
            count, end = count + 1, each["ts"] + each["dur"]
    return count


def test_the_steps_asked_for_are_traced_and_nothing_changes(problem, tmp_path, assert_identical):
    """Steps 2 to 5 of 8, the epoch ending after 4; where training ends first, the trace does too."""
    plain = problem.fit(epochs=2)
    profiler = hp.Profiler(tmp_path / "some", 2, 5)
    assert_identical(problem.fit(epochs=2, profiler=profiler).net, plain.net)
    assert profiler.traced == traced_steps(tmp_path / "some") == 4
    assert list((tmp_path / "some").rglob("*.xplane.pb"))
    profiler = hp.Profiler(tmp_path / "rest", 7, 99)
    problem.fit(epochs=2, profiler=profiler)
    assert profiler.traced == traced_steps(tmp_path / "rest") == 2


def test_training_that_ends_before_leaves_no_trace(problem, tmp_path):
    profiler = hp.Profiler(tmp_path / "none", 5, 6)
    problem.fit(profiler=profiler)
    assert profiler.traced == 0 and not (tmp_path / "none").exists()


@pytest.mark.parametrize(("first", "last"), [(0, 3), (5, 4)])
def test_steps_that_cannot_be(tmp_path, first, last):
    with pytest.raises(ValueError, match=rf"^first and last must be steps, 1 ≤ first ≤ last, got {first} and {last}$"):
        hp.Profiler(tmp_path, first, last)

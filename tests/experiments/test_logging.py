"""Logs of a run. Oracle: `metrics.jsonl`, whose numbers event files and W&B's own files must hold, each step once."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import SessionLog

from holoprop.experiments.logging.event_files import EventFiles
from holoprop.experiments.logging.scalars import scalars, training_seconds
from holoprop.experiments.logging.together import Together, with_logs
from holoprop.experiments.logging.weights_and_biases import WeightsAndBiases
from holoprop.train.loop import ProgressDisplay
from holoprop.train.metrics import MetricsFile
from tests.experiments.event_reading import read_events

PER_EPOCH = 3


def step(number: int, seconds: float, **changes: Any) -> dict[str, Any]:
    epoch = 1 + (number - 1) // PER_EPOCH
    return {
        "kind": "step", "step": number, "epoch": epoch, "loss": 1 / number, "moved": True, "seconds": seconds, **changes
    }  # fmt: skip


def epoch(number: int, seconds: float) -> dict[str, Any]:
    return {"kind": "epoch", "epoch": number, "step": number * PER_EPOCH, "test_accuracy": 0.9, "seconds": seconds}


# A mean over nothing is null.
WHOLE = [
    step(1, 5.0), step(2, 6.0, loss=None), step(3, 7.0), epoch(1, 7.5),
    step(4, 1.0), step(5, 2.0), step(6, 3.0), epoch(2, 3.5),
]  # fmt: skip


def tell(display: ProgressDisplay, folder: Path, records: list[dict[str, Any]], at: int = 0, epochs: int = 0) -> None:
    """What `fit` does with a display and with `metrics.jsonl`, for a run resumed at a step."""
    metrics = MetricsFile(folder / "metrics.jsonl", keep_until=at or None, epochs=epochs)
    display.begin(2, PER_EPOCH, at)
    for record in records:
        metrics.write(record)
        {"step": display.step, "epoch": display.epoch}[record["kind"]](record)


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def curves(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [
        (event.step, {value.tag: value.simple_value for value in event.summary.value})
        for event in read_events(folder / "events")
        if event.HasField("summary")
    ]


def assert_event_files_hold(folder: Path, records: list[dict[str, Any]]) -> None:
    wanted = [(record["step"], scalars(record)) for record in records]
    found = curves(folder)
    assert [step for step, _ in found] == [step for step, _ in wanted]
    for (_, mine), (_, theirs) in zip(found, wanted, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6)  # TensorBoard keeps single precision


def test_what_of_a_record_is_logged() -> None:
    """Oracle: by hand."""
    assert scalars(WHOLE[1]) == {"step/moved": 1.0, "step/seconds": 6.0}
    assert scalars(WHOLE[3]) == {"epoch/test_accuracy": 0.9, "epoch/seconds": 7.5}
    assert training_seconds(WHOLE) == [5.0, 6.0, 7.0, 7.5, 8.5, 9.5, 10.5, 11.0]


def test_event_files_hold_the_records(tmp_path: Path) -> None:
    display = EventFiles(tmp_path)
    assert isinstance(display, ProgressDisplay)
    tell(display, tmp_path, WHOLE)
    # Before the end, too, all of an epoch that has ended can be read.
    assert_event_files_hold(tmp_path, WHOLE)
    display.end()
    assert_event_files_hold(tmp_path, written(tmp_path))
    assert not any(event.HasField("session_log") for event in read_events(tmp_path / "events"))


@pytest.mark.parametrize("first", [True, False], ids=["logged from the start", "not logged before"])
def test_a_resumed_run_has_every_step_once(tmp_path: Path, first: bool) -> None:
    """Killed after step 5, its last checkpoint at step 3; who is watching is told to forget what was shown."""
    before = EventFiles(tmp_path) if first else Together()
    tell(before, tmp_path, WHOLE[:6])
    display = EventFiles(tmp_path)
    tell(display, tmp_path, WHOLE[4:], at=3, epochs=1)
    display.end()
    before.end()
    assert written(tmp_path) == WHOLE
    assert_event_files_hold(tmp_path, WHOLE)
    starts = [event for event in read_events(tmp_path / "events") if event.HasField("session_log")]
    assert [(event.step, event.session_log.status) for event in starts] == [(0, SessionLog.START)]
    dates = [event.wall_time for event in read_events(tmp_path / "events") if event.HasField("summary")]
    # What came before is dated back by the seconds of training between: to step 1 from the end of its epoch.
    assert dates[3] - dates[0] == pytest.approx(2.5, abs=0.1)
    assert dates == sorted(dates)


def wandb_rows(folder: Path) -> list[dict[str, float]]:
    """The rows in W&B's own file of the one run that lies there, as its reader reads them."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    # A process of W&B's own writes the file; that has it all once it has the run's end.
    end = time.monotonic() + 60
    while True:
        records = []
        for path in folder.glob("wandb/offline-run-*/run-*.wandb"):
            store = DataStore()
            # The reader asserts that what it reads is whole.
            with contextlib.suppress(AssertionError), contextlib.closing(store):
                store.open_for_scan(str(path))
                while (data := store.scan_data()) is not None:
                    records.append(Record.FromString(data))
        if any(record.WhichOneof("record_type") == "exit" for record in records) or time.monotonic() > end:
            break
        time.sleep(0.1)
    return [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]


def test_weights_and_biases_holds_the_records_of_a_resumed_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked, nothing is sent: the run lies in its folder, under one identity from its first part on."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config = {"name": "small", "network": {"hidden": [8]}}
    display = WeightsAndBiases(tmp_path, config)
    assert isinstance(display, ProgressDisplay)
    tell(display, tmp_path, WHOLE[:6])
    identity = display.run.id
    display.end()
    display = WeightsAndBiases(tmp_path, config)
    tell(display, tmp_path, WHOLE[4:], at=3, epochs=1)
    assert (display.run.id, display.run.name, dict(display.run.config)) == (identity, "small", config)
    assert display.run.offline
    display.end()
    rows = wandb_rows(tmp_path)
    assert [row["_step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        wanted = [scalars(record) for record in WHOLE if record["step"] == row["_step"]]
        found = {name: value for name, value in row.items() if not name.startswith("_")}
        assert found == {name: value for each in wanted for name, value in each.items()}


def test_wandb_mode_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: W&B's own word for a run that writes nothing."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    display = WeightsAndBiases(tmp_path, {"name": "small"})
    tell(display, tmp_path, WHOLE)
    assert display.run.disabled
    display.end()
    assert [path.name for path in (tmp_path / "wandb").iterdir()] == ["run-id"]


def test_a_missing_wandb_is_named_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Any
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ValueError) as caught:
        with_logs(Together(), tiny(), tmp_path / "run", wandb=True)
    assert str(caught.value) == "Weights & Biases needs the package wandb: pip install 'holoprop[wandb]'"
    assert list(tmp_path.iterdir()) == []


class Listener:
    """A display that takes notes in a list of all, and may fail at the end."""

    def __init__(self, name: str, notes: list[tuple], fails: bool = False) -> None:
        self.name, self.notes, self.fails = name, notes, fails

    def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        self.notes.append((self.name, "begin", epochs, steps_per_epoch, step))

    def step(self, record: dict[str, Any]) -> None:
        self.notes.append((self.name, "step", record["step"]))

    def epoch(self, record: dict[str, Any]) -> None:
        self.notes.append((self.name, "epoch", record["epoch"]))

    def end(self) -> None:
        self.notes.append((self.name, "end"))
        if self.fails:
            raise RuntimeError(f"{self.name} broke")


def test_together_passes_everything_on_and_ends_all(tmp_path: Path, tiny: Any) -> None:
    """Oracle: by hand; the failure of one keeps no other from ending."""
    notes: list[tuple] = []
    display = Together(Listener("a", notes, fails=True), Listener("b", notes))
    display.begin(2, 3, 1)
    display.step(WHOLE[0])
    display.epoch(WHOLE[3])
    with pytest.raises(RuntimeError, match="a broke"):
        display.end()
    assert notes == [
        (name, *what) for what in [("begin", 2, 3, 1), ("step", 1), ("epoch", 1), ("end",)] for name in ("a", "b")
    ]
    plain = Listener("c", notes)
    assert with_logs(plain, tiny(), tmp_path) is plain
    both = with_logs(plain, tiny(), tmp_path, tensorboard=True)
    assert isinstance(both, Together) and [type(each) for each in both.displays] == [EventFiles, Listener]

"""TensorBoard's event files: every number of `metrics.jsonl` as a curve over the steps.

A run that is resumed rewrites them from `metrics.jsonl`: they hold what those lines hold, each step once, whether or
not the parts of the run before were logged, and however they ended. A TensorBoard that is watching is told to forget
the curves it has.
"""

import time
from pathlib import Path
from typing import Any

from holoprop.experiments.logging.scalars import scalars, training_seconds
from holoprop.train.metrics import read_records

_FLUSH_SECONDS = 10


class EventFiles:
    """A display that writes the records of a run to `folder/events`, under `step/…` and `epoch/…`.

    The records from before it was resumed are dated back by the seconds of training between them and the beginning.

    ```python
    hp.fit(net, estimator, optimizer, (x, y), epochs=3, batch_size=20, folder=folder, progress=EventFiles(folder))
    ```
    """

    def __init__(self, folder: Path) -> None:
        """Write to `folder`, that of the run; nothing is touched before training begins."""
        self.folder = folder

    def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        """Training starts at `step`."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore

        events = self.folder / "events"
        events.mkdir(parents=True, exist_ok=True)
        for path in events.glob("events.out.tfevents.*"):
            path.unlink()
        # Not the package's `SummaryWriter`: it writes from a thread, where a full disk would go unnoticed.
        self.writer = EventsWriter(str(events / "events"))
        if step:
            # To who has read the former files: drop everything from step 0 on.
            start = SessionLog(status=SessionLog.START)
            self.writer.write_event(Event(session_log=start, step=0, wall_time=time.time()))
        records = read_records(self.folder / "metrics.jsonl")
        seconds = training_seconds(records)
        for record, second in zip(records, seconds, strict=True):
            self._write(record, time.time() - (seconds[-1] - second))
        self._flush()

    def step(self, record: dict[str, Any]) -> None:
        """Some steps were taken; `record` is the last one's."""
        self._write(record, time.time())
        if time.monotonic() - self.flushed > _FLUSH_SECONDS:
            self._flush()

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch ended."""
        self._write(record, time.time())
        self._flush()

    def end(self) -> None:
        """Training ended, however it did."""
        self.writer.close()

    def _write(self, record: dict[str, Any], date: float) -> None:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record).items()]
        self.writer.write_event(Event(summary=Summary(value=values), step=record["step"], wall_time=date))

    def _flush(self) -> None:
        self.writer.flush()
        self.flushed = time.monotonic()

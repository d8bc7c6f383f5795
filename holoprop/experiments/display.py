"""What a person sees while a network trains: one moving bar on a terminal, some plain lines anywhere else."""

import math
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from holoprop.train.loop import ProgressDisplay
from holoprop.train.metrics import percent

_LINES = 50
"""A log of a long run gets about this many lines of epochs …"""
_SECONDS = 30.0
"""… and within long epochs one line in this many seconds."""


def training_display(console: Console | None = None) -> ProgressDisplay:
    """Return a display for `run_training` or `fit`.

    **Arguments:** `console`: where to; by default standard error, so that standard output holds results only.
    """
    console = console or Console(file=sys.stderr)
    return TrainingBar(console) if console.is_terminal else TrainingLines(console)


class TrainingBar:
    """A progress bar over all steps with loss, accuracy, share unsettled, test accuracy and time left."""

    def __init__(self, console: Console) -> None:
        """Prepare the bar; it appears with `begin`."""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
        )

    def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        """Training starts at `step`."""
        self.epochs, self.tested = epochs, ""
        self.task = self.bar.add_task(
            "compiling", total=epochs * steps_per_epoch, completed=step, facts="(the first step takes some seconds)"
        )
        self.bar.start()

    def step(self, record: dict[str, Any]) -> None:
        """Some steps were taken; `record` is the last one's."""
        facts = _facts(record["loss"], record["accuracy"], record["unsettled"]) + self.tested
        description = f"epoch {record['epoch']}/{self.epochs}"
        self.bar.update(self.task, completed=record["step"], description=description, facts=facts)

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch ended."""
        self.tested = _tested(record)
        facts = _facts(record["train_loss"], record["train_accuracy"], record["unsettled"]) + self.tested
        self.bar.update(self.task, completed=record["step"], facts=facts)

    def end(self) -> None:
        """Training ended, however it did."""
        self.bar.stop()


class TrainingLines:
    """Plain lines: about fifty epochs, and within an epoch one line every half minute."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self.console = console

    def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        """Training starts at `step`."""
        self.epochs, self.total, self.first = epochs, epochs * steps_per_epoch, step
        self.every = math.ceil(epochs / _LINES)
        self.begun = self.printed = time.monotonic()
        self.latest = step

    def step(self, record: dict[str, Any]) -> None:
        """Some steps were taken; `record` is the last one's."""
        self.latest = record["step"]
        if time.monotonic() - self.printed >= _SECONDS:
            facts = _facts(record["loss"], record["accuracy"], record["unsettled"])
            self._print(f"epoch {record['epoch']}/{self.epochs} · step {record['step']} · {facts}{self._left()}")

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch ended."""
        self.latest = record["step"]
        if record["epoch"] % self.every == 0 or record["epoch"] == self.epochs:
            facts = _facts(record["train_loss"], record["train_accuracy"], record["unsettled"])
            self._print(f"epoch {record['epoch']}/{self.epochs} · {facts}{_tested(record)}{self._left()}")

    def end(self) -> None:
        """Training ended, however it did."""

    def _print(self, text: str) -> None:
        self.printed = time.monotonic()
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _left(self) -> str:
        done = self.latest - self.first
        if not done or self.latest >= self.total:
            return ""
        seconds = (time.monotonic() - self.begun) / done * (self.total - self.latest)
        minutes, seconds = divmod(round(seconds), 60)
        return f" · {minutes}:{seconds:02d} left"


def _tested(record: dict[str, Any]) -> str:
    tested = f" · test {percent(record['test_accuracy'], 1)}" if "test_accuracy" in record else ""
    return tested + (f" · cosine {record['cosine']:.4f}" if record.get("cosine") is not None else "")


def _facts(loss: float | None, accuracy: float | None, unsettled: float | None) -> str:
    shown = "no sample kept" if loss is None else f"loss {loss:.4f}"
    return f"{shown} · accuracy {percent(accuracy, 1)} · unsettled {percent(unsettled, 1)}"

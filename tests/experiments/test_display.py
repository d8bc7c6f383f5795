"""What a person sees while a network trains: rendered at a fixed width, and counted."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from holoprop.experiments import display
from holoprop.experiments.display import TrainingBar, TrainingLines, training_display


def step(number: int, epoch: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "step", "step": number, "epoch": epoch, "loss": 0.51234, "accuracy": 0.9, "unsettled": 0.0, **changes
    }  # fmt: skip


def epoch(number: int, steps: int, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "epoch", "epoch": number, "step": number * steps, "train_loss": 0.4, "train_accuracy": 0.875,
        "unsettled": 0.0001, "test_accuracy": 0.97, **changes,
    }  # fmt: skip


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=110, force_terminal=terminal, color_system=None, legacy_windows=False)


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def test_a_terminal_gets_a_bar_and_a_file_gets_lines() -> None:
    assert isinstance(training_display(console(terminal=True)), TrainingBar)
    assert isinstance(training_display(console(terminal=False)), TrainingLines)


def test_the_bar_shows_loss_accuracy_share_unsettled_test_accuracy_and_time_left() -> None:
    """Oracle: the last frame, rendered as text at a fixed width."""
    screen = console(terminal=True)
    bar = TrainingBar(screen)
    bar.begin(epochs=4, steps_per_epoch=10, step=0)
    bar.epoch(epoch(1, 10))
    bar.step(step(20, 2, unsettled=0.25))
    bar.end()
    # Without the codes that move the cursor.
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text(screen).rpartition("\r")[2])
    for part in ("epoch 2/4", "50%", "loss 0.5123", "accuracy 90.0 %", "unsettled 25.0 %", "test 97.0 %", ":"):
        assert part in last
    assert max(len(line) for line in last.splitlines()) <= 110


def test_a_resumed_bar_starts_where_the_run_stood() -> None:
    bar = TrainingBar(console(terminal=True))
    bar.begin(epochs=4, steps_per_epoch=10, step=30)
    assert bar.bar.tasks[0].percentage == 75
    bar.end()


@pytest.mark.parametrize(("epochs", "lines"), [(1, 1), (3, 3), (50, 50), (51, 26), (1000, 50), (1001, 48)])
def test_a_log_has_about_fifty_lines_however_long_the_run(epochs: int, lines: int) -> None:
    """Oracle: every ⌈epochs/50⌉-th epoch, and the last."""
    file = console(terminal=False)
    plain = TrainingLines(file)
    plain.begin(epochs=epochs, steps_per_epoch=2, step=0)
    for number in range(1, epochs + 1):
        plain.step(step(2 * number - 1, number))
        plain.epoch(epoch(number, 2))
    plain.end()
    printed = text(file).splitlines()
    assert len(printed) == lines
    assert printed[-1] == (f"epoch {epochs}/{epochs} · loss 0.4000 · accuracy 87.5 % · unsettled <0.1 % · test 97.0 %")


def test_a_long_epoch_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a clock that goes one second a step; a line each thirty seconds, with the time left to the end."""
    clock = iter(range(10_000))
    monkeypatch.setattr(display.time, "monotonic", lambda: float(next(clock)))
    file = console(terminal=False)
    plain = TrainingLines(file)
    plain.begin(epochs=1, steps_per_epoch=300, step=0)
    for number in range(1, 301):
        plain.step(step(number))
    printed = text(file).splitlines()
    assert 8 <= len(printed) <= 10
    assert printed[0].startswith("epoch 1/1 · step 30 · loss 0.5123 · accuracy 90.0 % · unsettled 0.0 % · 4:")


def test_a_step_without_kept_samples_says_so() -> None:
    """Its loss and accuracy are `None`, as in the metrics."""
    file = console(terminal=False)
    plain = TrainingLines(file)
    plain.begin(epochs=1, steps_per_epoch=1, step=0)
    plain.epoch(epoch(1, 1, train_loss=None, train_accuracy=None, unsettled=1.0))
    assert "no sample kept · accuracy – · unsettled 100.0 %" in text(file)

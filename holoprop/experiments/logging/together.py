"""Several displays in place of one: what a person sees, and the logs that were asked for."""

import contextlib
from pathlib import Path
from typing import Any

from holoprop.experiments.config import Config
from holoprop.train.loop import ProgressDisplay


class Together:
    """A display that passes on to others, in their order, what it is told; each is told of the end, come what may."""

    def __init__(self, *displays: ProgressDisplay) -> None:
        """Pass on to `displays`."""
        self.displays = displays

    def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        """Training starts at `step`."""
        for display in self.displays:
            display.begin(epochs, steps_per_epoch, step)

    def step(self, record: dict[str, Any]) -> None:
        """Some steps were taken; `record` is the last one's."""
        for display in self.displays:
            display.step(record)

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch ended."""
        for display in self.displays:
            display.epoch(record)

    def end(self) -> None:
        """Training ended, however it did."""
        with contextlib.ExitStack() as ends:
            for display in reversed(self.displays):
                ends.callback(display.end)


def with_logs(
    display: ProgressDisplay, config: Config, folder: Path, *, tensorboard: bool = False, wandb: bool = False
) -> ProgressDisplay:
    """Return `display` together with the logs of a run.

    **Arguments:** `display`: what a person sees; `config`, `folder`: the run's; `tensorboard`: write event files to
    `events/` there; `wandb`: write a run of Weights & Biases to `wandb/` there.

    **Raises:** `ValueError`, one line, if the package that a log needs is not installed.
    """
    logs: list[ProgressDisplay] = []
    if tensorboard:
        from holoprop.experiments.logging.event_files import EventFiles

        logs.append(EventFiles(folder))
    if wandb:
        from holoprop.experiments.logging.weights_and_biases import WeightsAndBiases

        logs.append(WeightsAndBiases(folder, config.model_dump(mode="json", exclude_none=True)))
    # The display comes last: a log that cannot begin is said on a terminal that no bar has been drawn on yet.
    return Together(*logs, display) if logs else display

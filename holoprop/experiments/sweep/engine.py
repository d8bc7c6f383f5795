"""What runs trials, and how often: an engine starts tries and says how they ended, `run_trials` decides on another.

An engine's own retries are not used: Ray, for one, repeats a task that was killed for its memory without end, and
counts none of it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from holoprop.experiments.sweep.trial import Ending, Trial


@runtime_checkable
class Engine(Protocol):
    """Where trials run. Leaving the context stops those under way, each at a checkpoint if it gets that far."""

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self, trial: Trial, folder: Path, tries: int) -> None:
        """Run `attempt` on a trial in its `folder`, now or when there is room; `tries`: which try this is."""
        ...

    def wait(self) -> tuple[Trial, Ending]:
        """Wait until one of the tries started has ended, and return how."""
        ...


def run_trials(
    engine: Engine,
    trials: Sequence[Trial],
    folder: Path,
    *,
    retries: int,
    ended: Callable[[Trial, Ending, int], None],
    progress: Callable[[str], None],
) -> None:
    """Run trials until each has a result or a fault that stays.

    **Arguments:** `engine`: entered already; `folder`: in which each trial has its own; `retries`: how often each may
    be started again after its worker died; `ended`: is told each trial's last ending and how many tries it took;
    `progress`: is told of retries.
    """
    tries = {trial.name: 1 for trial in trials}
    for trial in trials:
        engine.start(trial, folder / trial.name, 1)
    left = len(trials)
    while left:
        trial, ending = engine.wait()
        count = tries[trial.name]
        if ending.fault is not None and ending.again and count <= retries:
            progress(f"{trial.name}: {ending.fault}; trying again ({count} of {retries})")
            tries[trial.name] = count + 1
            engine.start(trial, folder / trial.name, count + 1)
        else:
            left -= 1
            ended(trial, ending, count)

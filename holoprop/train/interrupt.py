"""Being asked to stop, as a question between steps: a run that stops does so where it can be taken up again.

Python raises `KeyboardInterrupt` wherever it happens to be: between a step and the count of steps, or in the middle of
adding up metrics. Here the first signal only sets a flag; the second Ctrl-C raises at once. Clusters ask by SIGTERM, or
by SIGUSR1 some time before they kill, and give a run a limit of time, which it had better keep itself.
"""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

import jax
import numpy as np


class StoppedError(RuntimeError):
    """A run was asked to stop before its end, and did: what it had reached is in its checkpoint, if it has a folder."""


class Interrupt:
    """A context in which a request to stop is remembered, in `reason`, to be looked for between steps.

    SIGINT (Ctrl-C), SIGTERM, SIGUSR1, or `seconds` that have passed. On leaving, the former handlers are back; a Ctrl-C
    becomes `KeyboardInterrupt`, any other reason `StoppedError`. Nothing is changed outside the main thread, which gets
    no signals, and where a program has handlers of its own.

    **Arguments:** `seconds`: from now, after which to stop; `None`: no limit.

    ```python
    with Interrupt(seconds=3600) as interrupt:
        while not interrupt.pressed:
            work()
    ```
    """

    def __init__(self, seconds: float | None = None) -> None:
        """Nobody has asked yet."""
        self.reason: str | None = None
        self._end = None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._former: dict[int, object] = {}

    @property
    def pressed(self) -> bool:
        """Whether to stop before the next step; with several processes, ask `agreed` instead."""
        if self.reason is None and self._end is not None and time.monotonic() >= self._end:
            self.reason = f"the time limit of {_duration(self._seconds or 0)}"
        return self.reason is not None

    def agreed(self) -> bool:
        """Whether any process was asked to stop: all get the same answer, so all must ask at the same step."""
        if jax.process_count() == 1:
            return self.pressed
        from jax.experimental import multihost_utils

        asked = bool(np.any(multihost_utils.process_allgather(np.asarray(self.pressed))))
        if asked and self.reason is None:
            self.reason = "a request to another process"
        return asked

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number, untouched in _SIGNALS.items():
                if signal.getsignal(number) is untouched:
                    self._former[number] = untouched
                    signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._former:
            signal.signal(number, _SIGNALS[number])
        self._former = {}
        if self.reason is None or kind is not None:
            return
        if self.reason == signal.Signals.SIGINT.name:
            raise KeyboardInterrupt
        raise StoppedError(f"stopped by {self.reason}")

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.reason == signal.Signals.SIGINT.name:
            signal.default_int_handler(number, frame)
        self.reason = signal.Signals(number).name


# What to take over, and from whom alone: a handler that a program has set itself stays.
_SIGNALS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
if hasattr(signal, "SIGUSR1"):
    _SIGNALS[signal.SIGUSR1] = signal.SIG_DFL


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"

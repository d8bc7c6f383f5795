"""Ctrl-C as a question between steps: a run that is interrupted stops where it can be taken up again, bit for bit.

Python raises `KeyboardInterrupt` wherever it happens to be: between a step and the count of steps, or in the middle of
adding up metrics. Here the first signal only sets a flag; the second one raises at once.
"""

import signal
import threading
from types import FrameType, TracebackType


class Interrupt:
    """A context in which the first SIGINT is remembered in `pressed`, and the second one raises `KeyboardInterrupt`.

    On leaving, the former handler is back, and a signal that nobody acted upon raises `KeyboardInterrupt`. Nothing is
    changed outside the main thread, which gets no signals, and where a program has a handler of its own.

    ```python
    with Interrupt() as interrupt:
        while not interrupt.pressed:
            work()
    ```
    """

    def __init__(self) -> None:
        """Nothing was pressed yet."""
        self.pressed = False
        self._installed = False

    def __enter__(self) -> "Interrupt":
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._remember)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False
        if self.pressed and kind is None:
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            signal.default_int_handler(number, frame)
        self.pressed = True

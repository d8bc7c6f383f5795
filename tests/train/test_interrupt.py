"""Ctrl-C and other requests to stop; signals are real ones, sent to this process.

Oracle: the run that was never interrupted, bit for bit.
"""

import os
import signal
import threading

import numpy as np
import pytest

from holoprop.train import bookkeeping, loop
from holoprop.train.interrupt import Interrupt, StoppedError


def press():
    """Do what the terminal does at Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


class Listener:
    """A display that presses Ctrl-C when it is shown a step `at` or the end of an epoch `after`."""

    def __init__(self, at=-1, after=-1, times=1):
        self.at, self.after, self.times, self.ended = at, after, times, False

    def begin(self, epochs, steps_per_epoch, step):
        self.begun = step

    def step(self, record):
        if record["step"] == self.at:
            for _ in range(self.times):
                press()

    def epoch(self, record):
        if record["epoch"] == self.after:
            press()

    def end(self):
        self.ended = True


@pytest.fixture(autouse=True)
def restored():
    """Every test starts with Python's own handler, and must leave it so."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(scope="module")
def run(problem):
    """Runs three epochs of four steps, with records at every second step of an epoch and with noise."""

    def call(folder, **options):
        defaults = {"estimator": problem.noisy, "optimizer": problem.adam, "test": problem.test, "epochs": 3}
        return problem.fit(**{**defaults, "log_every": 2, "folder": folder, **options})

    return call


@pytest.fixture(scope="module")
def straight(run, tmp_path_factory):
    """The uninterrupted run and its folder."""
    folder = tmp_path_factory.mktemp("straight")
    return run(folder), folder


@pytest.fixture
def assert_goes_on(run, straight, records, timeless, assert_identical):
    """Resumes a run and compares all of it with the uninterrupted one; returns the step at which it went on."""
    reference, whole = straight

    def compare(folder):
        listener = Listener()
        result = run(folder, resume=True, progress=listener)
        assert_identical(
            (result.net, result.optimizer_state, result.memory),
            (reference.net, reference.optimizer_state, reference.memory),
        )
        assert timeless(result.history) == timeless(reference.history)
        assert timeless(records(folder)) == timeless(records(whole))
        return listener.begun

    return compare


@pytest.mark.parametrize("at", [2, 4, 6])
def test_the_step_is_finished_and_saved(run, tmp_path, assert_goes_on, at):
    """In the middle of an epoch and at its end, before its evaluation."""
    listener = Listener(at=at)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=listener)
    assert listener.ended and assert_goes_on(tmp_path) == at


def test_after_an_epoch(run, tmp_path, assert_goes_on):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Listener(after=2))
    assert assert_goes_on(tmp_path) == 8


@pytest.mark.parametrize("call", [0, 2, 4])
def test_between_a_step_and_its_count(run, tmp_path, monkeypatch, assert_goes_on, call):
    """Pressed inside a step, at which nothing is due to be recorded: it is counted, and leaves no record of its own."""
    take, calls = loop.take_step, []

    def step(*arguments):
        result = take(*arguments)
        if len(calls) == call:
            press()
        calls.append(1)
        return result

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "take_step", step)
        run(tmp_path)
    assert assert_goes_on(tmp_path) == call + 1


@pytest.mark.parametrize("call", [0, 11, 25])
def test_while_metrics_are_fetched(run, tmp_path, monkeypatch, assert_goes_on, call):
    """Where the host waits for the device, so where most signals arrive: no step is added up twice."""
    calls = []

    class Pressing:
        """`numpy`, but the first time that this many values have been fetched, Ctrl-C is pressed."""

        ndarray = np.ndarray

        @staticmethod
        def asarray(value):
            if len(calls) == call:
                press()
            calls.append(1)
            return np.asarray(value)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(bookkeeping, "np", Pressing)
        run(tmp_path)
    assert assert_goes_on(tmp_path) in (2, 4)


def test_during_an_evaluation(run, tmp_path, monkeypatch, assert_goes_on):
    """The epoch comes to its end first; pressed twice, it is evaluated on resuming."""
    evaluate = bookkeeping.evaluate
    for times, folder in ((1, tmp_path / "once"), (2, tmp_path / "twice")):

        def pressed(*arguments, times=times, **more):
            for _ in range(times):
                press()
            return evaluate(*arguments, **more)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(bookkeeping, "evaluate", pressed)
            run(folder)
        assert assert_goes_on(folder) == 4


def test_twice_raises_at_once(run, tmp_path, assert_goes_on):
    """Nothing is saved then, and the run goes on from the last checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Listener(at=6, times=2))
    assert assert_goes_on(tmp_path) == 4


def test_outside_the_main_thread_nothing_is_installed(run, tmp_path, straight, assert_identical):
    """Python allows it there only; training works as ever."""
    seen, results = [], []

    class Looking(Listener):
        def step(self, record):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=lambda: results.append(run(tmp_path, progress=Looking())))
    thread.start()
    thread.join()
    assert_identical(results[0].net, straight[0].net)
    assert set(seen) == {signal.default_int_handler}


def test_a_programs_own_handler_stays():
    def own(number, frame):
        calls.append(number)

    calls = []
    signal.signal(signal.SIGINT, own)
    try:
        with Interrupt() as interrupt:
            press()
        assert not interrupt.pressed and calls == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_error_under_way_is_not_hidden_by_an_interrupt():
    with pytest.raises(RuntimeError, match="worse"), Interrupt():
        press()
        raise RuntimeError("worse")


def test_an_interrupt_that_nobody_asked_for_is_raised_in_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupt():
        press()
        done.append(True)
    assert done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_cluster_asks(run, tmp_path, assert_goes_on, number):
    """What Slurm and others send some time before they kill."""

    class Asked(Listener):
        def step(self, record):
            if record["step"] == 6:
                os.kill(os.getpid(), number)

    with pytest.raises(StoppedError, match=f"^stopped by {signal.Signals(number).name}$"):
        run(tmp_path, progress=Asked())
    assert signal.getsignal(number) is signal.SIG_DFL
    assert assert_goes_on(tmp_path) == 6


def test_the_time_is_up(run, tmp_path, assert_goes_on):
    """Before the first step, by a limit that no step can keep: what is left is a run to begin, or to go on with."""
    with pytest.raises(StoppedError, match=r"^stopped by the time limit of 1e-09 s$"):
        run(tmp_path, time_limit=1e-9)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Listener(at=4))
    with pytest.raises(StoppedError, match=r"^stopped by the time limit of 2 min$"), Interrupt(120.0) as interrupt:
        assert not interrupt.pressed
        interrupt._end -= 120
        assert interrupt.pressed and interrupt.agreed()
    assert assert_goes_on(tmp_path) == 4

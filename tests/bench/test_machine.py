"""Stopwatch and store: against functions whose duration or result is known."""

import itertools
import json
import math
import os

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

import holoprop as hp
from holoprop.bench import machine
from holoprop.bench.compiled import bench_cache, compile_stored, compile_timed
from holoprop.bench.machine import describe_machine, gemm, time_in_turns


def test_gemm_counts_multiplications_and_additions():
    product, flops = gemm(8)
    assert flops == 8 * 8 * (8 + 8)
    assert product().shape == (8, 8)


class Clock:
    """A clock that only what is timed moves on."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def work(self, *durations):
        """A function whose calls take these seconds, in turn."""
        durations = itertools.cycle(durations)

        def call():
            self.now += next(durations)

        return call


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(machine, "time", clock)
    return clock


def test_seconds_of_one_call(clock):
    # By definition: as many calls as fill 10 s, whose mean is that of one.
    seconds = time_in_turns({"short": clock.work(2.0), "long": clock.work(16.0)}, rounds=3, at_least=10.0)
    assert seconds == {"short": 2.0, "long": 16.0}
    assert clock.now == 3 * (2 + 5 * 2 + 16 + 16)


def test_the_median_of_the_rounds_without_the_first_call(clock):
    # Untimed and timed in turn: 100 is never seen, and one round out of three is slow.
    times = (100, 1, 100, 50, 100, 3)
    assert time_in_turns({"a": clock.work(*times)}, rounds=3, at_least=0.0) == {"a": 3}


def test_functions_are_timed_in_turns():
    calls = []
    time_in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, at_least=0.0)
    # Once untimed and once timed, function by function, round by round.
    assert calls == ["a", "a", "b", "b"] * 2


def test_at_least_one_round():
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        time_in_turns({}, rounds=0)


def test_machine_is_described_in_json():
    described = describe_machine()
    assert json.loads(json.dumps(described)) == described
    assert described["jax"] == jax.__version__ and described["cores"] >= 1


def test_compile_is_timed_and_sized():
    compiled = compile_timed(lambda a, b: a @ b, jnp.ones((100, 50)), jnp.ones((50, 10)))
    assert compiled.run(jnp.ones((100, 50)), jnp.ones((50, 10)))[0, 0] == 50
    assert compiled.seconds > 0 and compiled.cpu_seconds > 0 and not compiled.stored
    # Two arguments and a result in float32, and whatever copies the compiler makes of them at most.
    arrays = 4 * (100 * 50 + 50 * 10 + 100 * 10) / 1e6
    assert arrays <= compiled.peak_mb <= 2 * arrays


def test_jax_own_cache_is_off_while_compiling_and_on_again_afterwards(tmp_path):
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    argument = jnp.ones(7)
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        compile_timed(lambda a: a * 3 + 1.25, argument)
        assert list(tmp_path.iterdir()) == []
        jax.jit(lambda a: a * 3 + 2.25)(argument).block_until_ready()
        assert list(tmp_path.iterdir()) != []
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


class TestStore:
    """A stored executable gives what the fresh one gives, and is used only for what it was compiled for."""

    net = hp.mlp(3, (2,), 2, key=jax.random.key(0))
    argument = jnp.arange(5.0)

    def compile(self, folder, source="one", argument=None):
        argument = self.argument if argument is None else argument

        def function(net, a):
            return {"square": a * a, "net": net}

        return compile_stored("square", function, self.net, argument, source=source, folder=folder)

    def test_second_run_reuses_executable_and_seconds(self, tmp_path):
        first, second = self.compile(tmp_path / "new"), self.compile(tmp_path / "new")
        assert (first.stored, second.stored) == (False, True)
        assert (second.seconds, second.cpu_seconds, second.peak_mb) == (first.seconds, first.cpu_seconds, first.peak_mb)
        for compiled in (first, second):
            *leaves, square = compiled.run(self.net, self.argument)
            assert square.tolist() == [0, 1, 4, 9, 16]
            assert [leaf.shape for leaf in leaves] == [(3, 2), (2,), (2, 2), (2,)]

    def test_other_source_or_shape_is_compiled_anew(self, tmp_path):
        self.compile(tmp_path)
        assert not self.compile(tmp_path, source="two").stored
        assert not self.compile(tmp_path, argument=jnp.arange(6.0)).stored

    @pytest.mark.parametrize("suffix", [".json", ".pickle"])
    def test_damaged_store_costs_a_compile(self, tmp_path, suffix):
        self.compile(tmp_path)
        (path,) = tmp_path.glob(f"*{suffix}")
        path.write_bytes(path.read_bytes()[:20])
        again = self.compile(tmp_path)
        assert not again.stored and again.run(self.net, self.argument)[-1][4] == 16
        assert self.compile(tmp_path).stored

    def test_nothing_is_left_beside_the_store(self, tmp_path, monkeypatch):
        # Nor where the disk is full: the folder's contents, and then an executable that still runs.
        self.compile(tmp_path)
        assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".pickle"]

        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        compiled = self.compile(tmp_path / "full")
        assert not compiled.stored and compiled.run(self.net, self.argument)[-1][4] == 16
        assert list((tmp_path / "full").iterdir()) == []

    def test_nowhere_to_write_costs_nothing_but_the_store(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        compiled = self.compile(tmp_path / "file")
        assert not compiled.stored and math.isfinite(compiled.seconds)

    def test_folder_follows_the_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOLOPROP_CACHE", str(tmp_path))
        assert bench_cache() == tmp_path / "bench"

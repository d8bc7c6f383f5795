"""Stopwatch and store: against functions whose duration or result is known."""

import json
import math
import time

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

import holoprop as hp
from holoprop.bench.compiled import bench_cache, compile_stored, compile_timed
from holoprop.bench.machine import describe_machine, gemm, gemm_rate, time_in_turns


def test_gemm_rate_is_a_rate():
    # No machine that runs this multiplies matrices at less than 10 MFLOP/s or more than 1 EFLOP/s.
    assert 0.01 < gemm_rate(size=128, rounds=1) < 1e9


def test_gemm_counts_multiplications_and_additions():
    product, flops = gemm(8)
    assert flops == 8 * 8 * (8 + 8)
    assert product().shape == (8, 8)


def test_sleepers_take_as_long_as_they_sleep():
    # A sleep lasts at least as long as asked; the other bound leaves room for a busy machine.
    seconds = time_in_turns(
        {"short": lambda: time.sleep(0.002), "long": lambda: time.sleep(0.01)}, rounds=3, at_least=0.01
    )
    assert 0.002 <= seconds["short"] < 0.2
    assert 0.01 <= seconds["long"] < 0.2


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

    def test_nowhere_to_write_costs_nothing_but_the_store(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        compiled = self.compile(tmp_path / "file")
        assert not compiled.stored and math.isfinite(compiled.seconds)

    def test_folder_follows_the_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOLOPROP_CACHE", str(tmp_path))
        assert bench_cache() == tmp_path / "bench"

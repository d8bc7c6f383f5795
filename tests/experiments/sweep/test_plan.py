"""Trials checked before any starts. Oracles: the line a person reads; the configuration of each point by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.sources import list_presets, load_config
from holoprop.experiments.sweep.grid import parse_axis
from holoprop.experiments.sweep.plan import check_buildable, plan_trials


def _plan(*grid: str, source: str = "digits-mlp", overrides: tuple[str, ...] = ()) -> list:
    return plan_trials(source, [parse_axis(text) for text in grid], overrides)


def test_each_trial_is_the_configuration_with_its_values() -> None:
    trials = _plan("estimator.points=none,8", "training.seed=3,4", overrides=("training.epochs=2",))
    assert [trial.point for trial in trials] == [
        {"estimator.points": points, "training.seed": seed} for points in (4, 8) for seed in (3, 4)
    ]
    wanted = load_config(
        "digits-mlp", ["training.epochs=2", "estimator.points=8", "training.seed=3"], name=trials[2].name
    )
    assert trials[2].config == wanted


@pytest.mark.parametrize(
    ("grid", "overrides", "line"),
    [
        (
            ["training.seed=1,2", "optimizer.learning_rate=0.1,-1"],
            (),
            "trial 002 (training.seed=1, optimizer.learning_rate=-1): optimizer.learning_rate must be a finite number "
            "> 0, got -1",
        ),
        (
            ["estimator.pionts=4"],
            (),
            "trial 001 (estimator.pionts=4): unknown key estimator.pionts = 4: [estimator] takes ",
        ),
        (
            ["training.seed=1,2", "network.channels=[8],[8, 8, 8, 8]"],
            ("network.kind=convnet", "network.hidden=none"),
            "trial 002 (training.seed=1, network.channels=[8, 8, 8, 8]): network.channels: ",
        ),
        (
            ["optimizer.warmup=10,70"],
            ("training.epochs=2", "training.batch_size=50"),
            "trial 002 (optimizer.warmup=70): optimizer.warmup must be less than the 56 steps of the run, got 70",
        ),
        (["training.seed=1,2"], ("training.seed=3",), "training.seed is given by --set and by --grid: leave out one"),
        (["training.seed=1,0x1"], (), "trials 001-seed-1 and 002-seed-0x1 are the same run: leave out one of their"),
    ],
)
def test_a_trial_that_cannot_be_is_named(grid: list[str], overrides: tuple[str, ...], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _plan(*grid, overrides=overrides)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_fault_of_no_trial_names_none() -> None:
    with pytest.raises(ConfigError, match=r"^unknown preset 'digit-mlp': "):
        _plan("training.seed=1", source="digit-mlp")
    with pytest.raises(ConfigError, match=r"^training\.epochs must be an integer"):
        _plan("training.seed=1", overrides=("training.epochs=0",))


@pytest.mark.parametrize("preset", [preset.name for preset in list_presets()])
def test_every_preset_can_be_built(preset: str) -> None:
    check_buildable(load_config(preset))


def test_planning_touches_no_device() -> None:
    """Else the sweep would hold the memory that its workers need. Oracle: JAX itself, told to use what is not there."""
    script = (
        "from holoprop.experiments.sweep.grid import parse_axis\n"
        "from holoprop.experiments.sweep.plan import plan_trials\n"
        "print(len(plan_trials('digits-mlp', [parse_axis('training.seed=1,2')])))\n"
        "import jax\n"
        "try:\n"
        "    jax.devices()\n"
        "except RuntimeError:\n"
        "    print('no device')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "JAX_PLATFORMS": "rocm"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split("\n") == ["2", "no device", ""], run.stderr

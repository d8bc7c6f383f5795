"""Optimisers, options, schedules and clipping. Oracles: Optax called by hand, closed forms, lines word for word."""

import inspect
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import holoprop as hp
from holoprop.experiments.config import Config, parse_config
from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.optimizer_config import OptimizerConfig
from holoprop.experiments.optimizer_options import optimizer_options
from holoprop.experiments.optimizers import build_optimizer
from holoprop.experiments.run_folder import begin_folder, check_folder
from holoprop.experiments.schedules import learning_rate_schedule
from holoprop.experiments.sources import load_config
from holoprop.experiments.training import run_training
from holoprop.experiments.variants import VARIANTS

NAMES = tuple(VARIANTS["optimizer", "name"])
RATE, STEPS = 0.05, 20


def section(**keys: Any) -> OptimizerConfig:
    return OptimizerConfig.model_validate({"learning_rate": RATE, **keys})


def slope(parameters: dict[str, Any]) -> dict[str, Any]:
    """The gradient of `½ Σ k θ²`, with k = 1, 2, …"""
    return jax.tree.map(lambda p: p * (1 + jnp.arange(p.size, dtype=p.dtype).reshape(p.shape)), parameters)


def descend(optimizer: optax.GradientTransformation, parameters: Any, steps: int = 3) -> tuple[Any, Any, Any]:
    """Some steps down the quadratic, as training takes them; also the optimiser's state before and after."""
    before = state = optimizer.init(parameters)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(steps):
            update, state = optimizer.update(slope(parameters), state, parameters)
            parameters = jax.tree.map(lambda p, u: p + u, parameters, update)
    return parameters, before, state


def assert_the_same_descent(mine: optax.GradientTransformation, by_hand: optax.GradientTransformation) -> None:
    """In single and in double precision; training needs states that keep their dtypes, too."""
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            start = {
                "w": jnp.asarray([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0]], dtype),
                "b": jnp.asarray([0.7, -0.2], dtype),
            }
            # One compiled function for both: what the compiler does to the one it does to the other.
            (end, before, after), (wanted, _, _) = jax.jit(lambda p: (descend(mine, p), descend(by_hand, p)))(start)
        for name in start:
            assert end[name].dtype == dtype
            np.testing.assert_array_equal(end[name], wanted[name])
        assert (np.sign(start["w"] - end["w"]) == np.sign(start["w"])).all()  # downhill
        assert [leaf.dtype for leaf in jax.tree.leaves(before)] == [leaf.dtype for leaf in jax.tree.leaves(after)]


@pytest.mark.parametrize("name", NAMES)
def test_every_optimiser_is_optax_s(name: str) -> None:
    """Oracle: Optax's function of that name with its own defaults, bit for bit."""
    assert_the_same_descent(build_optimizer(section(name=name), STEPS), getattr(optax, name)(RATE))


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_optax_s(name: str) -> None:
    """Oracle: the signatures. A later Optax that changes a default is noticed here."""
    parameters = inspect.signature(getattr(optax, name)).parameters
    own = {key: value for key, value in VARIANTS["optimizer", "name"][name].items() if key != "weight_decays"}
    if name == "sgd":
        own = {}  # decay is ours, and no momentum is 0
    for key in ("momentum", "weight_decay"):
        assert (key in parameters and name != "sgd") == (key in own)
    assert own == {key: parameters[key].default for key in own}
    assert not {"learning_rate", "momentum", "weight_decay", "mask", "mu_dtype"} & set(optimizer_options(name))


OPTIONS: dict[str, tuple[dict[str, Any], Callable[[], optax.GradientTransformation]]] = {
    "numbers": (
        {"name": "adam", "options": {"b1": 0.8, "eps": 1, "nesterov": True}},
        lambda: optax.adam(RATE, b1=0.8, eps=1.0, nesterov=True),
    ),
    "an integer": (
        {"name": "adafactor", "momentum": 0.5, "options": {"min_dim_size_to_factor": 2, "weight_decay_rate": 0.01}},
        lambda: optax.adafactor(RATE, min_dim_size_to_factor=2, momentum=0.5, weight_decay_rate=0.01),
    ),
    "nesterov's momentum": (
        {"name": "sgd", "momentum": 0.9, "options": {"nesterov": True}},
        lambda: optax.sgd(RATE, 0.9, nesterov=True),
    ),
    "momentum": (
        {"name": "rmsprop", "momentum": 0.9, "options": {"centered": True}},
        lambda: optax.rmsprop(RATE, momentum=0.9, centered=True),
    ),
    "weight decay": ({"name": "lamb", "weight_decay": 0.3}, lambda: optax.lamb(RATE, weight_decay=0.3)),
}


@pytest.mark.parametrize(("keys", "by_hand"), OPTIONS.values(), ids=OPTIONS)
def test_options_reach_optax(keys: dict[str, Any], by_hand: Callable[[], optax.GradientTransformation]) -> None:
    assert_the_same_descent(build_optimizer(section(**keys), STEPS), by_hand())


def test_options_survive_toml_and_are_part_of_a_key() -> None:
    """Oracle: equality with what was written, in whatever order; overrides reach into the table."""
    options = ["optimizer={name='adam', learning_rate=0.1}", "optimizer.options.b2=0.5", "optimizer.options.b1=1"]
    config = load_config("digits-mlp", options)
    assert tomllib.loads(config.to_toml())["optimizer"]["options"] == {"b1": 1.0, "b2": 0.5}
    again = parse_config(tomllib.loads(config.to_toml()))
    assert again == config and hash(again.optimizer) == hash(config.optimizer)
    assert build_optimizer(again.optimizer, 5) is build_optimizer(config.optimizer, 5)
    # Another optimiser has other options; none at all are no options.
    assert load_config("digits-mlp", [*options[:1], "optimizer.options={}"]).optimizer.options is None
    text = config.to_toml()
    path_free = parse_config({**tomllib.loads(text), "optimizer": {"name": "sgd", "learning_rate": 0.1}})
    assert path_free.optimizer.options is None


def test_another_optimiser_drops_the_options(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(load_config("cifar10-small", ["optimizer.options.b1=0.8"]).to_toml(), encoding="utf-8")
    assert load_config(path, ["optimizer.name=adamw"]).optimizer.options == (("b1", 0.8),)
    assert load_config(path, ["optimizer.name=lion"]).optimizer.options is None


ETA, T, W = 0.4, 40, 8


def after(step: int) -> float:
    return (step - W) / (T - W)


SHAPES: dict[str, tuple[dict[str, Any], Callable[[int], float]]] = {
    "constant": ({"schedule": "constant"}, lambda t: ETA),
    "cosine": ({"schedule": "cosine"}, lambda t: ETA * (1 + np.cos(np.pi * after(t))) / 2),
    "part of a cosine": (
        {"schedule": "cosine", "end_share": 0.1},
        lambda t: ETA * (0.1 + 0.9 * (1 + np.cos(np.pi * after(t))) / 2),
    ),
    "linear": ({"schedule": "linear", "end_share": 0.25}, lambda t: ETA * (0.25 + 0.75 * (1 - after(t)))),
    "exponential": ({"schedule": "exponential"}, lambda t: ETA * 0.01 ** after(t)),
    "steps": (
        {"schedule": "step", "boundaries": [20, 30], "factor": 0.5},
        lambda t: ETA * 0.5 ** ((t >= 20) + (t >= 30)),
    ),
    "shares": (
        {"schedule": "step", "boundaries": [0.5, 0.75]},
        lambda t: ETA * 0.1 ** ((t >= 20) + (t >= 30)),
    ),
}


@pytest.mark.parametrize("warmup", [W, W / T])
@pytest.mark.parametrize(("keys", "form"), SHAPES.values(), ids=SHAPES)
def test_schedules(keys: dict[str, Any], form: Callable[[int], float], warmup: float) -> None:
    """Oracle: the closed forms, after a rise along a line of the eight steps before."""
    schedule = learning_rate_schedule(section(warmup=warmup, **keys), ETA, T)
    assert callable(schedule)
    with jax.numpy_dtype_promotion("standard"):
        rates = jax.vmap(schedule)(jnp.arange(T + 1))
    wanted = [ETA * t / W if t < W else form(t) for t in range(T + 1)]
    np.testing.assert_allclose(rates, wanted, rtol=1e-5, atol=1e-7)  # float32 rounding


def test_without_warmup_a_constant_rate_is_a_number_and_a_schedule_begins_at_its_height() -> None:
    """Oracle: what runs of before had, so that their numbers stay the same; `½ (1 + cos πt/T)` to the bit."""
    assert learning_rate_schedule(section(), ETA, T) == ETA
    schedule = learning_rate_schedule(section(schedule="cosine"), ETA, T)
    assert callable(schedule)
    steps = jnp.arange(T + 1)
    turn = jnp.minimum(steps, T).astype(float) * (np.pi / T)
    np.testing.assert_array_equal(schedule(steps), ETA / 2 * (1 + jnp.cos(turn)))
    short = learning_rate_schedule(section(schedule="step", boundaries=[0.5, 0.6]), ETA, 2)
    assert callable(short)
    with jax.numpy_dtype_promotion("standard"):
        assert [float(short(t)) for t in range(3)] == pytest.approx([ETA, 0.01 * ETA, 0.01 * ETA])


@pytest.mark.parametrize("layered", [False, True])
def test_clipping_comes_first_and_is_of_the_whole_gradient(layered: bool) -> None:
    """Oracle: `g ← clip(g, ±v)`, then `g ← g · min(1, n/‖g‖)` over all layers, in numpy; SGD shows what is left."""
    net = hp.mlp(3, (4,), 2, key=jax.random.key(0))
    rates = (0.1, 0.2) if layered else (0.1, 0.1)
    keys: dict[str, Any] = {"learning_rates": rates} if layered else {"learning_rate": 0.1}
    rng = np.random.default_rng(0)
    gradient = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), net)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(gradient)]

    def left(leaves: list[np.ndarray], value: float, norm: float) -> list[np.ndarray]:
        leaves = [leaf.clip(-value, value) for leaf in leaves]
        length = np.sqrt(sum((leaf**2).sum() for leaf in leaves))
        return [leaf * min(1, norm / length) for leaf in leaves]

    for clips, value, norm in (
        ({"clip_value": 0.5}, 0.5, np.inf),
        ({"clip_norm": 1.5}, np.inf, 1.5),
        ({"clip_value": 0.5, "clip_norm": 1.5}, 0.5, 1.5),
        ({"clip_norm": 1e3}, np.inf, 1e3),
    ):
        optimizer = build_optimizer(OptimizerConfig.model_validate({**keys, **clips}), STEPS)
        with jax.numpy_dtype_promotion("standard"):
            update, _ = jax.jit(optimizer.update)(gradient, optimizer.init(net), net)
        for mine, wanted, rate in zip(
            jax.tree.leaves(update), left(leaves, value, norm), np.repeat(rates, 2), strict=True
        ):
            np.testing.assert_allclose(mine, -rate * wanted, rtol=1e-5, atol=1e-7)  # float32 rounding


REFUSED = {
    "an unknown option": (
        ["optimizer={name='nadam', learning_rate=0.1, options={epsilon=0.9}}"],
        "unknown option optimizer.options.epsilon = 0.9: nadam takes b1, b2, eps, eps_root, nesterov; "
        "did you mean 'eps'?",
    ),
    "an option of an optimiser without": (
        ["optimizer={name='sign_sgd', learning_rate=0.1, options={beta=0.9}}"],
        "unknown option optimizer.options.beta = 0.9: sign_sgd has no options",
    ),
    "an option that has a key": (
        ["optimizer={name='lion', learning_rate=0.1, options={weight_decay=0.9}}"],
        "optimizer.options.weight_decay = 0.9 has a key of its own: set optimizer.weight_decay",
    ),
    "a word for a number": (
        ["optimizer={name='lion', learning_rate=0.1, options={b1='big'}}"],
        "optimizer.options.b1 must be a finite number, got 'big'",
    ),
    "a number for true": (
        ["optimizer={name='adam', learning_rate=0.1, options={nesterov=1}}"],
        "optimizer.options.nesterov must be true or false, got 1",
    ),
    "half an integer": (
        ["optimizer={name='adafactor', learning_rate=0.1, options={min_dim_size_to_factor=0.5}}"],
        "optimizer.options.min_dim_size_to_factor must be an integer, got 0.5",
    ),
    "no table": (["optimizer.options=3"], "optimizer.options must be a table of keyword arguments, got 3"),
    "an unknown optimiser": (
        ["optimizer.name=adamv"],
        f"optimizer.name must be one of {', '.join(NAMES)}, got 'adamv'; did you mean 'adam'?",
    ),
    "a negative clip": (["optimizer.clip_norm=-1"], "optimizer.clip_norm must be a finite number > 0, got -1"),
    "a warm-up that never ends": (
        ["optimizer.warmup=1.0"],
        "optimizer.warmup must be an integer ≥ 1 or a finite number > 0 and < 1, got 1.0",
    ),
    "a share of the wrong schedule": (
        ["optimizer.schedule=constant", "optimizer.end_share=0.1"],
        "optimizer.end_share = 0.1 has no meaning with optimizer.schedule = 'constant', only with cosine, linear or "
        "exponential",
    ),
    "an exponential to nothing": (
        ["optimizer.schedule=exponential", "optimizer.end_share=0"],
        "optimizer.end_share must be > 0 with optimizer.schedule = 'exponential', which never comes to 0, got 0",
    ),
    "steps without boundaries": (
        ["optimizer.schedule=step"],
        "optimizer.boundaries is missing, which optimizer.schedule = 'step' needs: give numbers of steps, or shares of "
        "the run, such as [0.5, 0.75]",
    ),
    "boundaries that fall": (
        ["optimizer.schedule=step", "optimizer.boundaries=[30, 20]"],
        "optimizer.boundaries must increase, and be all steps or all shares of the run, got [30, 20]",
    ),
    "boundaries of two kinds": (
        ["optimizer.schedule=step", "optimizer.boundaries=[0.5, 20]"],
        "optimizer.boundaries must increase, and be all steps or all shares of the run, got [0.5, 20]",
    ),
}


@pytest.mark.parametrize(("overrides", "line"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("digits-mlp", overrides)
    assert str(caught.value) == line


def test_a_warmup_as_long_as_the_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer\.warmup must be less than the 20 steps of the run, got 20$"):
        build_optimizer(section(warmup=20), STEPS)


@pytest.mark.parametrize(
    ("overrides", "tied"),
    [
        (("optimizer.warmup=2",), False),
        (("optimizer.warmup=0.4",), True),
        (("optimizer.schedule=linear",), True),
        (("optimizer.schedule=step", "optimizer.boundaries=[3, 5]"), False),
        (("optimizer.schedule=step", "optimizer.boundaries=[0.5]"), True),
    ],
)
def test_what_is_measured_in_shares_ties_a_run_to_its_length(
    tmp_path: Path, tiny: Callable[..., Config], overrides: tuple[str, ...], tied: bool
) -> None:
    begin_folder(tmp_path, tiny(*overrides))
    longer = tiny(*overrides, "training.epochs=9")
    if tied:
        with pytest.raises(ValueError, match=r"training\.epochs was 2 there and is 9 here$"):
            check_folder(tmp_path, longer, resume=True, overwrite=False)
    else:
        check_folder(tmp_path, longer, resume=True, overwrite=False)


# As written by the version before options, warm-up and clipping came: nothing of them in it.
FORMER = """
name = "former"
[network]
kind = "mlp"
hidden = [12]
[estimator]
name = "holomorphic"
[data]
name = "digits"
[training]
epochs = 2
batch_size = 20
seed = 0
log_every = 50
[optimizer]
name = "adamw"
learning_rate = 0.001
schedule = "cosine"
weight_decay = 0.3
"""


def test_a_former_run_s_configuration_is_still_valid_and_means_the_same() -> None:
    """Oracle: the optimiser as that version built it, bit for bit, state for state."""
    optimizer = build_optimizer(parse_config(tomllib.loads(FORMER)).optimizer, T)

    def cosine(step: Any) -> Any:
        return 0.001 / 2 * (1 + jnp.cos(jnp.minimum(jnp.asarray(step), T).astype(float) * (np.pi / T)))

    former = optax.adamw(cosine, weight_decay=0.3)
    assert_the_same_descent(optimizer, former)
    zeros = jnp.zeros(3)
    assert jax.tree.structure(optimizer.init(zeros)) == jax.tree.structure(former.init(zeros))


def test_a_run_with_all_of_it_trains_and_resumes(tmp_path: Path, tiny: Callable[..., Config]) -> None:
    """Oracle: the uninterrupted run, bit for bit. Optimisers whose state is not made of moments alone do checkpoint."""
    config = tiny(
        "estimator={name='implicit', solver='alternating'}",
        "optimizer={name='adafactor', learning_rates=[0.05, 0.02], schedule='step', boundaries=[4], warmup=2, "
        "clip_norm=0.5, clip_value=0.1, momentum=0.9, options={decay_rate=0.7}}",
    )
    whole = run_training(config, tmp_path / "whole")

    class Stop:
        def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None: ...
        def step(self, record: dict[str, Any]) -> None: ...
        def epoch(self, record: dict[str, Any]) -> None:
            raise KeyboardInterrupt

        def end(self) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        run_training(config, tmp_path / "cut", progress=Stop())
    again = run_training(config, tmp_path / "cut", resume=True)
    for mine, wanted in zip(jax.tree.leaves(again.fit.net), jax.tree.leaves(whole.fit.net), strict=True):
        np.testing.assert_array_equal(mine, wanted)
    assert all(np.isfinite(record["train_loss"]) for record in whole.fit.history)

"""A run from configuration to folder: all files, each telling the same story; resumed as if never interrupted."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import holoprop as hp
from holoprop.data.loading import load_dataset
from holoprop.experiments.building import build_experiment
from holoprop.experiments.config import Config
from holoprop.experiments.gradient_check import check_gradient
from holoprop.experiments.run_folder import FILES, read_run_config
from holoprop.experiments.training import RunResult, run_training

Tiny = Callable[..., Config]


class Interrupting:
    """A display that interrupts training, as a person would, at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def begin(self, epochs: int, steps_per_epoch: int, step: int) -> None:
        pass

    def step(self, record: dict[str, Any]) -> None:
        if record["step"] == self.at:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, record: dict[str, Any]) -> None:
        pass

    def end(self) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path, tiny: Tiny) -> RunResult:
    """A whole run."""
    return run_training(tiny(), tmp_path / "whole")


def records(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run but for the seconds, which no two runs share."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def test_a_run_writes_all_its_files(run: RunResult) -> None:
    """Oracle: the list of files; the report is the reporter's."""
    assert sorted(path.name for path in run.folder.iterdir()) == sorted(set(FILES) - {"report.html"})
    assert [record["kind"] for record in records(run.folder)] == ["step", "step", "step", "epoch"] * 2
    assert json.loads((run.folder / "gradient_check.json").read_text()) == run.gradient_check
    assert run.cosine is not None
    assert run.cosine >= 0.9999
    assert read_run_config(run.folder) == run.config
    assert run.best_epoch["test_accuracy"] == max(record["test_accuracy"] for record in run.fit.history)
    assert run.seconds > 0


def test_the_evaluation_adds_up(run: RunResult) -> None:
    """Oracle: the data set, and the accuracy of the last epoch's record."""
    test = load_dataset("digits").test
    with np.load(run.folder / "evaluation.npz", allow_pickle=False) as arrays:
        evaluation = dict(arrays)
    confusion = evaluation["confusion"]
    assert confusion.shape == (10, 10)
    assert (confusion.sum(1) == np.bincount(test.labels[:40], minlength=10)).all()
    assert np.trace(confusion) / 40 == pytest.approx(run.test_accuracy)
    assert run.test_accuracy == run.fit.history[-1]["test_accuracy"]
    wrong = len(evaluation["true"])
    assert wrong == min(40 - np.trace(confusion), 32)
    assert (evaluation["true"] != evaluation["predicted"]).all()
    assert (np.diff(evaluation["confidence"]) <= 0).all()
    assert evaluation["confidence"].min() >= 0.1  # the largest of ten shares
    assert evaluation["images"].shape == (wrong, 8, 8)
    assert (evaluation["images"].min(), evaluation["images"].max()) == (0, 1)
    assert (evaluation["residual"] < 1e-4).all()
    for image, label in zip(evaluation["images"], evaluation["true"], strict=True):
        places = (test.inputs(slice(40))[..., 0] == image).all((1, 2))
        assert label in test.labels[:40][places]


def test_an_interrupted_run_resumes_as_if_it_had_not_been(run: RunResult, tmp_path: Path, tiny: Tiny) -> None:
    """Oracle: the uninterrupted run, bit for bit: metrics, parameters, evaluation, gradient check."""
    folder = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        run_training(tiny(), folder, progress=Interrupting(at=4))
    assert not (folder / "evaluation.npz").exists()
    again = run_training(tiny(), folder, resume=True)
    assert records(folder) == records(run.folder)
    assert again.gradient_check == run.gradient_check
    assert (folder / "evaluation.npz").read_bytes() == (run.folder / "evaluation.npz").read_bytes()
    assert arrays(again) == arrays(run)


def test_normalised_and_augmented_images(tmp_path: Path, tiny: Tiny) -> None:
    """Per-layer rates and all. Oracles: the uninterrupted run, bit for bit; the pixels as they were; the check anew."""
    config = tiny(
        "data={name='digits', train_limit=60, test_limit=40, normalize=true, crop_padding=1, flip=true}",
        "optimizer={name='sgd', momentum=0.9, learning_rates=[0.1, 0.05], weight_decays=[1e-3, 2e-3]}",
    )
    whole = run_training(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_training(config, tmp_path / "resumed", progress=Interrupting(at=4))
    again = run_training(config, tmp_path / "resumed", resume=True)
    assert records(tmp_path / "resumed") == records(tmp_path / "whole")
    assert arrays(again) == arrays(whole)
    assert check_gradient(read_run_config(whole.folder), folder=whole.folder) == whole.gradient_check
    # What is evaluated are the normalised test images, neither moved nor mirrored; what is shown, their pixels.
    test = load_dataset("digits").test
    x = test.inputs(slice(40), flatten=True, mean=config.data.mean, std=config.data.std)
    logits = hp.evaluate(whole.fit.net, x, test.labels[:40], solver=hp.Alternating()).logits
    # Normalised by numpy here, inside the compiled evaluation there: equal up to rounding.
    np.testing.assert_allclose(whole.evaluation.logits, logits, rtol=0, atol=1e-5)
    pixels = test.inputs(slice(40))[..., 0]
    with np.load(whole.folder / "evaluation.npz", allow_pickle=False) as stored:
        assert len(stored["images"])
        for image in stored["images"]:
            assert (pixels == image).all((1, 2)).any()


def test_a_finished_run_goes_on_for_more_epochs(tmp_path: Path, tiny: Tiny) -> None:
    """Oracle: the run that had them from the start."""
    longer = run_training(tiny("training.epochs=3"), tmp_path / "longer")
    run_training(tiny(), tmp_path / "grown")
    grown = run_training(tiny("training.epochs=3"), tmp_path / "grown", resume=True)
    assert records(grown.folder) == records(longer.folder)
    assert arrays(grown) == arrays(longer)
    assert read_run_config(grown.folder).training.epochs == 3


def test_the_gradient_is_checked_after_each_epoch(tmp_path: Path, tiny: Tiny) -> None:
    """Oracle: the check at the end of the run, of the same network and samples."""
    checked = run_training(tiny("training.check_gradient=20", "training.epochs=2"), tmp_path / "checked")
    cosines = [record["cosine"] for record in checked.fit.history]
    assert cosines[-1] == checked.cosine != cosines[0]
    assert [record["cosine"] for record in records(tmp_path / "checked") if record["kind"] == "epoch"] == cosines


def test_a_trained_run_can_be_checked_again(run: RunResult) -> None:
    """Oracle: the check that the run itself made of its trained network."""
    assert check_gradient(read_run_config(run.folder), folder=run.folder) == run.gradient_check


def test_training_is_the_configured_descent(run: RunResult) -> None:
    """Oracle: exact gradients and the configured update written out in numpy, in the documented order of the samples.

    `v ← m v + g`, `θ ← θ − η (v + λ θ)`; the estimate's error, about 10⁻³ a step, is all that sets the two apart.
    """
    experiment, optimizer = build_experiment(run.config), run.config.optimizer
    rate, momentum, decay = optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay
    assert momentum == 0.9 and decay
    (x, y), exact = experiment.samples(experiment.train), hp.Implicit()
    leaves, structure = jax.tree.flatten(experiment.net)
    start, velocity = [np.asarray(leaf) for leaf in leaves], [np.zeros(leaf.shape, np.float32) for leaf in leaves]
    losses = []
    for epoch in range(2):
        order = np.random.default_rng([0, epoch]).permutation(60)
        for index in order.reshape(3, 20):
            estimate = exact(jax.tree.unflatten(structure, leaves), x[index], y[index])
            losses.append(float(estimate.loss))
            velocity = [
                momentum * v + np.asarray(g) for v, g in zip(velocity, jax.tree.leaves(estimate.gradient), strict=True)
            ]
            leaves = [p - rate * (v + decay * p) for p, v in zip(leaves, velocity, strict=True)]
    means = [record["train_loss"] for record in run.fit.history]
    assert means == pytest.approx(np.reshape(losses, (2, 3)).mean(1), rel=1e-3)
    for mine, wanted, before in zip(jax.tree.leaves(run.fit.net), leaves, start, strict=True):
        moved = np.linalg.norm(wanted - before)
        assert moved > 1e-2
        assert np.linalg.norm(mine - wanted) < 5e-3 * moved


def test_float64_is_for_the_run_alone(tmp_path: Path, tiny: Tiny) -> None:
    """Oracle: the recorded precision, and residuals that float32 cannot reach."""
    result = run_training(tiny("network.dtype=float64", "training.epochs=1"), tmp_path / "double")
    assert json.loads((tmp_path / "double" / "environment.json").read_text())["x64"] is True
    assert max(result.gradient_check["certificate"]["point_residual"][0]) < 1e-9
    assert not jax.config.read("jax_enable_x64")


def arrays(run: RunResult) -> list[bytes]:
    """Every bit that training moves: parameters, optimiser state, estimator memory."""
    return [
        np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((run.fit.net, run.fit.optimizer_state, run.fit.memory))
    ]

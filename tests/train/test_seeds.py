"""Several seeds at once. Oracle: `fit` with each seed by itself."""

import jax
import numpy as np
import pytest

import holoprop as hp


@pytest.fixture(scope="module")
def nets():
    return [hp.mlp(6, (8, 5), 3, key=jax.random.key(seed)) for seed in (3, 4, 5)]


@pytest.fixture(scope="module")
def options(problem):
    return {"epochs": 2, "batch_size": problem.batch_size, "test": problem.test, "log_every": 2}


class Stopping:
    """A display that ends the training when it is shown the end of an epoch."""

    def begin(self, epochs, steps_per_epoch, step):
        self.begun = step

    def step(self, record):
        pass

    def epoch(self, record):
        raise KeyboardInterrupt

    def end(self):
        pass


def test_each_is_what_it_would_be_alone(problem, nets, options, tmp_path, records, timeless, assert_identical):
    """Parameters and history to rounding; and a stopped training goes on to the bit as one that was not."""
    arguments = (problem.noisy, problem.adam, problem.train)
    together = hp.fit_seeds(nets, *arguments, seeds=(3, 4, 5), folder=tmp_path / "whole", **options)
    assert len({result.history[-1]["test_loss"] for result in together}) == 3
    for net, seed, result in zip(nets, (3, 4, 5), together, strict=True):
        alone = hp.fit(net, *arguments, seed=seed, **options)
        assert result.step == alone.step == 8
        for mine, wanted in zip(jax.tree.leaves(result.net), jax.tree.leaves(alone.net), strict=True):
            np.testing.assert_allclose(mine, wanted, rtol=0, atol=2e-3)
        for own, reference in zip(result.history, alone.history, strict=True):
            assert own.keys() == reference.keys()
            assert own["test_loss"] == pytest.approx(reference["test_loss"], abs=1e-3)
        own = records(tmp_path / "whole" / f"seed-{seed}")
        assert [record["kind"] for record in own] == ["step", "step", "epoch"] * 2
        assert timeless([record for record in own if record["kind"] == "epoch"]) == timeless(result.history)
    half = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        hp.fit_seeds(nets, *arguments, seeds=(3, 4, 5), folder=half, progress=Stopping(), **options)
    resumed = hp.fit_seeds(nets, *arguments, seeds=(3, 4, 5), folder=half, resume=True, **options)
    for result, reference in zip(resumed, together, strict=True):
        assert_identical((result.net, result.memory), (reference.net, reference.memory))
        assert timeless(result.history) == timeless(reference.history)
    for seed in (3, 4, 5):
        there, here = (timeless(records(folder / f"seed-{seed}")) for folder in (tmp_path / "whole", half))
        assert there == here


def test_seeds_and_networks_have_to_fit(problem, nets, options):
    arguments = (problem.estimator, problem.sgd, problem.train)
    for seeds in ((1, 2), (1, 1, 2), (-1, 0, 1)):
        with pytest.raises(ValueError, match="seeds must be different, not negative, and one for each of 3 networks"):
            hp.fit_seeds(nets, *arguments, seeds=seeds, **options)
    other = hp.mlp(6, (8, 5), 3, activation="tanh", key=jax.random.key(0))
    with pytest.raises(ValueError, match="must be of one architecture: these differ"):
        hp.fit_seeds([nets[0], other], *arguments, seeds=(0, 1), **options)

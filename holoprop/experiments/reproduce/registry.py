"""The experiments by name: what each shows, what it needs, and how it is run."""

import dataclasses
import importlib
import math
import time
from collections.abc import Callable
from pathlib import Path

from holoprop.experiments.environment import describe_environment
from holoprop.experiments.memory import peak_memory
from holoprop.experiments.reproduce.outcome import Findings, Outcome, Scale, check_scale
from holoprop.experiments.reproduce.runner import Report, Runner, check_counts, silent


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment that can be run by its name.

    **Attributes:** `name`; `title`: one line that says what it shows; `source`: of what is expected; `data`: the data
    set that it needs, or `None`; `minutes`: about how long it takes on two cores, by scale; `module` and `function`:
    what computes it, `function(scale, seed, runner) → Findings`; `draws`: whether anything is drawn at random;
    `memory`: about how many GiB each worker holds at small scale.
    """

    name: str
    title: str
    source: str
    data: str | None
    minutes: dict[Scale, float]
    module: str
    function: str = "run"
    draws: bool = True
    memory: float = 1.5

    @property
    def several(self) -> bool:
        """Whether it has rows that are trained with several seeds each."""
        return self.module in _OF_ROWS

    def load(self) -> Callable[[Scale, int | None, Runner], Findings]:
        """Import what computes the experiment, and return it."""
        return getattr(importlib.import_module(f"{__package__}.{self.module}"), self.function)


_OF_ROWS = {
    *("corrected_training", "hep_fig4c", "hep_table1", "hep_table2"),
    *("jacobian_fig3", "jacobian_fig4", "jacobian_images", "jacobian_table1"),
}


def _minutes(smoke: float, small: float, paper: float) -> dict[Scale, float]:
    return {"smoke": smoke, "small": small, "paper": paper}


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        "hep-fig2a",
        "Orbits: as the nudge goes around its circle, every neuron goes around one of its own",
        "P1 (arXiv 2209.00530), Fig. 2a",
        None,
        _minutes(0.1, 0.1, 0.1),
        "hep_fig2a",
        draws=False,
        memory=0.7,
    ),
    Experiment(
        "hep-fig2b",
        "The stability map: where in the complex plane of nudges a network comes to rest",
        "P1 (arXiv 2209.00530), Fig. 2b",
        None,
        _minutes(0.1, 0.2, 1.0),
        "hep_fig2b",
        draws=False,
        memory=0.7,
    ),
    Experiment(
        "hep-fig2c",
        "The gradient as the first Fourier coefficient of an orbit, for nudges from 0.001 to 0.5",
        "P1 (arXiv 2209.00530), Fig. 2c",
        None,
        _minutes(0.2, 0.3, 0.3),
        "hep_fig2c",
        draws=False,
        memory=0.8,
    ),
    Experiment(
        "hep-fig2d",
        "Cosine to the true gradient against the nudge: one point and 30 points on the circle",
        "P1 (arXiv 2209.00530), Fig. 2d",
        None,
        _minutes(0.1, 0.2, 0.3),
        "hep_fig2d",
        draws=False,
        memory=0.8,
    ),
    Experiment(
        "hep-fig3a",
        "Continuous time: the gradient over periods of the always-on oscillation",
        "P1 (arXiv 2209.00530), Fig. 3a",
        "mnist",
        _minutes(0.2, 1.0, 3.0),
        "hep_fig3ab",
        "run_fig3a",
    ),
    Experiment(
        "hep-fig3b",
        "Continuous time: how far the network follows its nudge, against the time steps per period",
        "P1 (arXiv 2209.00530), Fig. 3b",
        "mnist",
        _minutes(0.2, 1.0, 3.0),
        "hep_fig3ab",
        "run_fig3b",
    ),
    Experiment(
        "hep-fig3c",
        "Noise: cosine to the true gradient against the nudge, one point and 15 points on the circle",
        "P1 (arXiv 2209.00530), Fig. 3c",
        "mnist",
        _minutes(0.2, 1.0, 3.0),
        "hep_fig3c",
    ),
    Experiment(
        "hep-fig4a",
        "Deep networks: exactness of the gradient against the nudge, by points, with and without a complex derivative",
        "P1 (arXiv 2209.00530), Fig. 4a",
        "cifar-10",
        _minutes(0.5, 6.0, 90.0),
        "hep_fig4ab",
        "run_fig4a",
        memory=2.0,
    ),
    Experiment(
        "hep-fig4b",
        "Deep networks: exactness of the gradient against the points on the circle",
        "P1 (arXiv 2209.00530), Fig. 4b",
        "cifar-10",
        _minutes(0.3, 5.0, 15.0),
        "hep_fig4ab",
        "run_fig4b",
        memory=2.0,
    ),
    Experiment(
        "hep-fig4c",
        "What a complex derivative is worth in training, a VGG on CIFAR-10",
        "P1 (arXiv 2209.00530), Fig. 4c",
        "cifar-10",
        _minutes(0.7, 20.0, 100000.0),
        "hep_fig4c",
        memory=2.0,
    ),
    Experiment(
        "hep-table1",
        "MNIST with one nudge, on a circle and in continuous time, without and with noise",
        "P1 (arXiv 2209.00530), Table 1",
        "mnist",
        _minutes(0.7, 100.0, 20000.0),
        "hep_table1",
    ),
    Experiment(
        "hep-table2",
        "CIFAR-10: holomorphic EP and backpropagation",
        "P1 (arXiv 2209.00530), Table 2",
        "cifar-10",
        _minutes(0.5, 20.0, 60000.0),
        "hep_table2",
        "run_cifar10",
        memory=2.0,
    ),
    Experiment(
        "hep-table2-cifar100",
        "CIFAR-100: holomorphic EP and backpropagation",
        "P1 (arXiv 2209.00530), Table 2",
        "cifar-100",
        _minutes(0.5, 10.0, 60000.0),
        "hep_table2",
        "run_cifar100",
        memory=2.0,
    ),
    Experiment(
        "hep-table2-imagenet32",
        "ImageNet 32×32: holomorphic EP and backpropagation",
        "P1 (arXiv 2209.00530), Table 2",
        "imagenet32",
        _minutes(0.5, 20.0, 1500000.0),
        "hep_table2",
        "run_imagenet32",
        memory=2.0,
    ),
    Experiment(
        "calibration",
        "The certificate: predicted against true error of the gradient, sample by sample",
        "holoprop: acceptance of the certificate",
        None,
        _minutes(0.5, 4.0, 30.0),
        "calibration",
    ),
    Experiment(
        "automatic-circle",
        "The automatic circle against every fixed radius, without tuning",
        "holoprop: acceptance of the automatic circle",
        None,
        _minutes(0.5, 40.0, 60.0),
        "automatic_circle",
    ),
    Experiment(
        "automatic-circle-mnist",
        "The automatic circle while a network learns MNIST, against P1's fixed radius at every hundredth step",
        "holoprop: acceptance of the automatic circle",
        "mnist",
        _minutes(0.5, 20.0, 60.0),
        "automatic_circle_mnist",
    ),
    Experiment(
        "cosine-in-training",
        "Every estimator's cosine to the exact gradient while a network learns",
        "holoprop: beyond the papers",
        "mnist",
        _minutes(0.5, 30.0, 120.0),
        "during_training",
        "run_cosines",
    ),
    Experiment(
        "settling-in-training",
        "What it takes to rest while a network learns, with plain and with accelerated steps",
        "holoprop: beyond the papers",
        "mnist",
        _minutes(0.3, 5.0, 120.0),
        "during_training",
        "run_settling",
    ),
    Experiment(
        "exact-without-symmetry",
        "The circle without weight symmetry: exact with a correction, biased without",
        "holoprop: acceptance of the correction",
        None,
        _minutes(0.7, 5.0, 8.0),
        "exact_without_symmetry",
    ),
    Experiment(
        "corrected-training",
        "Without weight symmetry: training by the corrected circle and by the exact gradient, side by side",
        "holoprop: acceptance of the correction",
        "fashion-mnist",
        _minutes(0.7, 60.0, 1200.0),
        "corrected_training",
    ),
    Experiment(
        "jacobian-fig2",
        "Without weight symmetry: the response from finite nudges, and from an oscillation without a free phase",
        "P2 (arXiv 2309.02214), Fig. 2",
        "fashion-mnist",
        _minutes(0.5, 1.0, 1.0),
        "jacobian_fig2",
    ),
    Experiment(
        "jacobian-table1",
        "Generalised EP at finite nudges, by the points on the circle and their size",
        "P2 (arXiv 2309.02214), Table 1",
        "fashion-mnist",
        _minutes(1.5, 20.0, 20000.0),
        "jacobian_table1",
    ),
    Experiment(
        "jacobian-fig3",
        "The angle of the feedback: what it does to exact learning and to generalised EP",
        "P2 (arXiv 2309.02214), Fig. 3",
        "fashion-mnist",
        _minutes(1.0, 15.0, 3000.0),
        "jacobian_fig3",
    ),
    Experiment(
        "jacobian-fig4ad",
        "Homeostasis and correction of networks with random feedback",
        "P2 (arXiv 2309.02214), Fig. 4a–d",
        "fashion-mnist",
        _minutes(1.5, 60.0, 800.0),
        "jacobian_fig4",
        "run_reciprocal",
    ),
    Experiment(
        "jacobian-fig4eh",
        "Homeostasis and correction of a loop without reciprocal edges",
        "P2 (arXiv 2309.02214), Fig. 4e–h",
        "fashion-mnist",
        _minutes(1.5, 60.0, 800.0),
        "jacobian_fig4",
        "run_loop",
    ),
    Experiment(
        "jacobian-fig4il",
        "Homeostasis in a convolutional network on CIFAR-10: feedback angle and error vectors",
        "P2 (arXiv 2309.02214), Fig. 4i–l",
        "cifar-10",
        _minutes(0.7, 40.0, 200000.0),
        "jacobian_images",
        "run_fig4il",
        memory=2.0,
    ),
    Experiment(
        "jacobian-table2",
        "CIFAR-10 without weight symmetry: homeostasis and correction",
        "P2 (arXiv 2309.02214), Table 2",
        "cifar-10",
        _minutes(0.7, 110.0, 1000000.0),
        "jacobian_images",
        "run_table2",
        memory=2.0,
    ),
    Experiment(
        "jacobian-table2-cifar100",
        "CIFAR-100 without weight symmetry: homeostasis and correction",
        "P2 (arXiv 2309.02214), Table 2",
        "cifar-100",
        _minutes(0.7, 20.0, 1000000.0),
        "jacobian_images",
        "run_table2_cifar100",
        memory=2.0,
    ),
    Experiment(
        "jacobian-table2-imagenet32",
        "ImageNet 32×32 without weight symmetry: homeostasis and correction",
        "P2 (arXiv 2309.02214), Table 2",
        "imagenet32",
        _minutes(0.7, 60.0, 9000000.0),
        "jacobian_images",
        "run_table2_imagenet32",
        memory=2.0,
    ),
)

SKIPPED = (
    "P2's predictive-coding experiment is left out: its settings are not published where we could look. Figures 1 of "
    "both papers are drawings."
)
"""What of the papers is not among them."""


def find_experiment(name: str) -> Experiment:
    """Return the experiment of that name.

    **Raises:** `ValueError`, one line, if there is none.
    """
    for experiment in EXPERIMENTS:
        if experiment.name == name:
            return experiment
    raise ValueError(f"there is no experiment {name!r}: choose from {', '.join(each.name for each in EXPERIMENTS)}")


def run_experiment(
    name: str,
    scale: str = "small",
    *,
    seed: int | None = None,
    seeds: int | None = None,
    progress: Report = silent,
    folder: Path | None = None,
    workers: int = 1,
) -> Outcome:
    """Run an experiment and return its outcome, claims that fail included.

    **Arguments:** `scale`: `smoke`, `small` or `paper`; `seed`: of what is drawn at random, by default the published
    one, and the first of several; `seeds`: so many of them for each row of a table; `progress`: told a line now and
    then; `folder`: where an experiment of several runs keeps those that are done, to go on from there if it is
    interrupted; `workers`: so many of its runs at a time (see `Runner`).

    **Raises:** `ValueError` for an unknown name or scale, no worker, a negative seed, or any for an experiment that
    draws nothing, `seeds` below 1, or any for one that has no such rows; `DataError` if the data set is absent;
    `ChildProcessError` if a worker process is killed.
    """
    experiment, scale = find_experiment(name), check_scale(scale)
    if seed is not None and not experiment.draws:
        raise ValueError(f"{name} draws nothing at random: leave the seed out, got {seed}")
    check_counts(seed, seeds, workers)
    if seeds is not None and not experiment.several:
        raise ValueError(f"{name} has no rows of several seeds: leave --seeds out, got {seeds}")
    runner, begun = Runner(progress, folder, workers, count=seeds), time.perf_counter()
    found = experiment.load()(scale, seed, runner)
    return Outcome(
        name=name,
        title=experiment.title,
        source=experiment.source,
        scale=scale,
        settings=found.settings,
        claims=found.claims,
        tables=found.tables,
        arrays=found.arrays,
        seconds=time.perf_counter() - begun + runner.earlier,
        environment=describe_environment() | _memory(),
    )


def _memory() -> dict[str, str]:
    """What is known of the memory: the process may have run other experiments before."""
    most = peak_memory()
    return {} if math.isnan(most) else {"peak_memory": f"{most:.1f} GiB, this process or a worker of it so far"}

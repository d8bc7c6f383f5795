"""Pictures of `hep-fig2a`: neurons on their orbits, and their real parts over two periods."""

from holoprop.experiments.reproduce.outcome import Outcome
from holoprop.report.orbits import paths_figure, traces_figure
from holoprop.report.reproduction.picture import Picture


def pictures(outcome: Outcome) -> list[Picture]:
    """Return the two panels of the paper, of the first layer."""
    first = outcome.arrays["layer_1"]
    return [
        Picture(
            paths_figure(first),
            "orbits",
            "orbits of the first layer's neurons in the complex plane",
            "The neurons of the first layer while the nudge goes once around its circle; a dot where the turn begins. "
            "Each goes around a circle of its own, bent a little by higher harmonics.",
        ),
        Picture(
            traces_figure(first),
            "traces",
            "real parts of the same neurons over two periods",
            "Their real parts over two periods: what a device would see.",
        ),
    ]

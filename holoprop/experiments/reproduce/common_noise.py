"""The noise of P1's experiments (arXiv 2209.00530)."""

from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.time_stepping import Noise


class CommonNoise(Noise):
    """Noise that is drawn once for all samples of a batch, as the authors' code does: it does not average out."""

    def drawn_for(self, problem: FixedPoint) -> tuple[int, ...]:
        """Return the leading axes with one sample in place of the batch."""
        return (*problem.lead[:-1], 1)

"""The section `[training]`: how long, in which pieces."""

from typing import Annotated

from pydantic import Field

from holoprop.experiments.section import Count, Section


class TrainingConfig(Section, frozen=True):
    """`[training]`: how long, in which pieces."""

    epochs: Count
    """Passes over the training samples."""
    batch_size: Count
    """Samples a step; the last, incomplete batch of an epoch is left out."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the initial weights, the order of the samples, their augmentation and the estimator's noise."""
    log_every: Count = 50
    """Steps between two records of steps."""
    checkpoint_every: Count | None = None
    """Steps between checkpoints, besides the one after each epoch."""
    check_gradient: Count | None = None
    """After each epoch, compare the gradient of so many test samples with the implicit one, and record the cosine."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of every target that is spread evenly over all classes."""
    accumulate: Count = 1
    """Batches whose mean gradient makes one step of the optimiser, so that larger ones need no more memory."""
    keep: Count = 1
    """Of the last so many epochs the checkpoints stay, besides that of the best one."""

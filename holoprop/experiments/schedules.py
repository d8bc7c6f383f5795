"""How the learning rate changes over a run: warm-up, then constant, or falling to a share `e` of its height `η`.

With `u = (t − w)/(T − w)`, of `T` steps and `w` of warm-up, `η_t = η t/w` for `t < w`, then

    cosine:       η (e + (1 − e) ½ (1 + cos πu))
    linear:       η (e + (1 − e) (1 − u))
    exponential:  η eᵘ
    step:         η fᵏ after k boundaries
"""

from collections import Counter
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from holoprop.experiments.config_error import ConfigError
from holoprop.experiments.optimizer_config import OptimizerConfig


def learning_rate_schedule(optimizer: OptimizerConfig, peak: float, steps: int) -> optax.ScalarOrSchedule:
    """Return the learning rate of a run of `steps` steps: `peak` itself, or a function of the step.

    Optax calls that function under JAX's standard dtype promotion, as training does.

    **Raises:** `ConfigError`, one line, for a warm-up as long as the run or longer.
    """
    warmup = 0 if optimizer.warmup is None else max(1, _steps(optimizer.warmup, steps))
    if warmup >= steps and optimizer.warmup is not None:
        raise ConfigError(f"optimizer.warmup must be less than the {steps} steps of the run, got {warmup}")
    falling = _falling(optimizer, peak, warmup, steps)
    if not warmup:
        return falling
    after = falling if callable(falling) else optax.constant_schedule(falling)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def _falling(optimizer: OptimizerConfig, peak: float, warmup: int, steps: int) -> optax.ScalarOrSchedule:
    """What comes after the warm-up, as a function of the steps since its end."""
    end, left = optimizer.end_share or 0.0, steps - warmup
    match optimizer.schedule:
        case "cosine":
            return cosine_schedule(peak, left, end)
        case "linear":
            return optax.linear_schedule(peak, peak * end, left)
        case "exponential":
            return optax.exponential_decay(peak, left, end, end_value=peak * end)
        case "step":
            # In a short run two boundaries may fall on one step.
            falls = Counter(_steps(each, steps) - warmup for each in optimizer.boundaries or ())
            factor = 1.0 if optimizer.factor is None else optimizer.factor
            return optax.piecewise_constant_schedule(peak, {step: factor**count for step, count in falls.items()})
    return peak


def cosine_schedule(rate: float, steps: int, end: float = 0.0) -> optax.Schedule:
    """Return the schedule `rate · (end + (1 − end) · ½ (1 + cos πt/steps))`; `end` is the share left at its end."""

    # Optax's own mixes dtypes, which JAX's strict promotion refuses.
    def schedule(step: Any) -> Any:
        turn = jnp.minimum(jnp.asarray(step), steps).astype(float) * (np.pi / steps)
        falling = rate * (1 - end) / 2 * (1 + jnp.cos(turn))
        return falling + rate * end if end else falling

    return schedule


def _steps(moment: int | float, steps: int) -> int:
    """A number of steps, where it was given as a share of all."""
    return moment if isinstance(moment, int) else round(moment * steps)

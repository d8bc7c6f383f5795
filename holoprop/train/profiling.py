"""A trace of some training steps: where the time goes, on the host and on the device, as JAX records it.

The first steps compile, so the trace begins a little later; it is short, because a trace is large and slows what it
looks at. Before and after it nothing is changed.
"""

from pathlib import Path
from typing import Any

import jax


class Profiler:
    """Traces the steps `first … last` of a call of `fit`, counted from 1, into a folder.

    What it leaves there opens in Perfetto (`trace.json.gz`) and in TensorBoard's profile plugin (`xplane.pb`).

    **Attributes:** `folder`, `first`, `last`; `traced`: how many steps have been, or are being, traced.

    **Raises:** `ValueError` unless `1 ≤ first ≤ last`.

    ```python
    hp.fit(net, estimator, optimizer, (x, y), epochs=3, batch_size=20, profiler=hp.Profiler(folder))
    ```
    """

    def __init__(self, folder: Path, first: int = 3, last: int = 8) -> None:
        """Write to `folder`, which is made then."""
        if not 1 <= first <= last:
            raise ValueError(f"first and last must be steps, 1 ≤ first ≤ last, got {first} and {last}")
        self.folder, self.first, self.last = folder, first, last
        self.traced = 0
        self._step, self._running = 0, False

    def before_step(self, state: Any) -> None:
        """Begin or end the trace if it is time; `state`: the arrays that the next step starts from."""
        self._step += 1
        if self._step == self.first:
            # What was set going before is not to be in the trace.
            jax.block_until_ready(state)
            jax.profiler.start_trace(self.folder)
            self._running = True
        elif self._step > self.last:
            self.finish(state)
        self.traced += self._running

    def finish(self, state: Any) -> None:
        """End the trace, if one is under way, as soon as the arrays `state` are there."""
        if self._running:
            self._running = False
            jax.block_until_ready(state)
            jax.profiler.stop_trace()

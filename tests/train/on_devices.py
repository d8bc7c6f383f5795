"""A short training whose losses are printed as JSON: run by itself, on as many devices and processes as it is told.

python on_devices.py [COORDINATOR PROCESSES PROCESS]
"""

import json
import sys

import jax
import numpy as np
import optax

import holoprop as hp

STEPS, BATCH = 50, 16


class Losses:
    """A display that writes down every loss."""

    def __init__(self):
        self.losses = []

    def begin(self, epochs, steps_per_epoch, step):
        pass

    def step(self, record):
        self.losses.append(record["loss"])

    def epoch(self, record):
        self.record = record

    def end(self):
        pass


def main() -> None:
    if sys.argv[1:]:
        hp.start_processes(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (STEPS * BATCH, 2, 3, 1), np.uint8)
    labels = (pixels.reshape(-1, 6).argmax(-1) % 3).astype(np.int32)
    net = hp.mlp(6, (8, 5), 3, key=jax.random.key(0))
    losses = Losses()
    result = hp.fit(
        net,
        hp.Holomorphic(points=2, radius=0.2, solver=hp.Alternating()),
        optax.adam(0.01),
        (pixels, labels),
        epochs=1,
        batch_size=BATCH,
        test=(pixels[:21], labels[:21]),
        prepare=hp.Preparation(255, mean=(0.5,), std=(0.25,), flat=True),
        augment=hp.Augmentation(flip=True, image_shape=(2, 3, 1)),
        label_smoothing=0.1,
        log_every=1,
        progress=losses,
    )
    if jax.process_index() == 0:
        print(json.dumps({
            "devices": len(jax.devices()),
            "processes": jax.process_count(),
            "losses": losses.losses,
            "test_loss": losses.record["test_loss"],
            "test_accuracy": losses.record["test_accuracy"],
            "weight": np.asarray(result.net.connections[0].weight).tolist(),
        }))  # fmt: skip


if __name__ == "__main__":
    main()

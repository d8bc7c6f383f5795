"""Run folders as a finished training run leaves them, without training: the same files for the same arguments."""

import json
from pathlib import Path

import numpy as np

CONFIG = """\
name = "{name}"

[network]
kind = "mlp"
hidden = [
    256,
    64,
]
activation = "double_silu"
cost = "cross_entropy"
weight_scale = 1.0
dtype = "float32"

[estimator]
name = "holomorphic"
points = {points}
radius = 0.1
solver = "anderson"
depth = 5
max_steps = 500
unsettled = "mask"

[data]
name = "{data}"

[training]
epochs = {epochs}
batch_size = 20
seed = 7
log_every = 10

[optimizer]
name = "sgd"
learning_rate = 0.1
schedule = "cosine"
momentum = 0.9
weight_decay = 0.001
"""

STEPS_PER_EPOCH = 70
LAYERS = ("connections[0]", "connections[1]", "readout")
PARAMETERS = (
    "connections[0].weight",
    "connections[0].bias",
    "connections[1].weight",
    "connections[1].bias",
    "readout.weight",
    "readout.bias",
)


def write_run(
    folder: Path,
    *,
    name: str = "digits-mlp",
    data: str = "digits",
    epochs: int = 12,
    points: int = 4,
    image_shape: tuple[int, ...] = (8, 8),
    classes: int = 10,
    test_samples: int = 360,
    mistakes: int = 13,
) -> Path:
    """Write the folder of a finished run and return it; `image_shape` is `(h, w)` or `(h, w, 3)`."""
    random = np.random.default_rng(2209)
    folder.mkdir(parents=True, exist_ok=True)
    text = CONFIG.format(name=name, points=points, data=data, epochs=epochs)
    (folder / "config.toml").write_text(text, encoding="utf-8")
    confusion = _confusion(random, classes, test_samples, mistakes)
    last = float(np.trace(confusion) / confusion.sum())
    lines = [json.dumps(record) for record in _metrics(random, epochs, last)]
    (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(_environment()), encoding="utf-8")
    (folder / "gradient_check.json").write_text(json.dumps(_check(random, points)), encoding="utf-8")
    shown = min(mistakes, 32)
    wrong = np.argwhere(confusion * (1 - np.eye(classes, dtype=int)))
    pairs = wrong[np.arange(shown) % max(len(wrong), 1)] if shown else np.zeros((0, 2), int)
    residual = 1.8e-5 * 10 ** (-np.abs(random.normal(0.15, 0.35, test_samples)))
    residual[: test_samples // 100] = 4e-5
    np.savez_compressed(
        folder / "evaluation.npz",
        confusion=confusion,
        images=np.stack([_image(image_shape, k) for k in range(shown)]) if shown else np.zeros((0, *image_shape)),
        true=pairs[:, 0].astype(np.int32),
        predicted=pairs[:, 1],
        confidence=random.uniform(0.4, 0.999, shown),
        residual=residual.astype(np.float32),
    )
    return folder


def _metrics(random: np.random.Generator, epochs: int, last_accuracy: float) -> list[dict]:
    records: list[dict] = []
    for epoch in range(1, epochs + 1):
        loss = 0.05 + 2.2 * np.exp(-1.1 * epoch**0.7)
        unsettled = 0.002 * max(0, epoch - 4)
        for step in range((epoch - 1) * STEPS_PER_EPOCH + 10, epoch * STEPS_PER_EPOCH + 1, 10):
            records.append(
                {
                    "kind": "step",
                    "step": step,
                    "epoch": epoch,
                    "loss": float(loss * random.uniform(0.6, 1.6)),
                    "accuracy": float(np.round(20 * random.uniform(1 - 0.4 / epoch, 1)) / 20),
                    "kept": 20,
                    "unsettled": unsettled,
                    "gradient_norm": float(loss),
                    "seconds": 0.01 * step,
                }
            )
        test = last_accuracy if epoch == epochs else last_accuracy - 0.3 / epoch**1.5 + (0.02 if epoch == 9 else 0)
        records.append(
            {
                "kind": "epoch",
                "epoch": epoch,
                "step": epoch * STEPS_PER_EPOCH,
                "train_loss": float(loss),
                "train_accuracy": float(1 - 0.35 / epoch**1.2),
                "unsettled": unsettled,
                "residual_log10": -5.2,
                "sweeps": 11.5,
                "seconds": 1.25,
                "test_loss": float(0.08 + loss),
                "test_accuracy": float(test),
                "test_unsettled": unsettled / 2,
            }
        )
    return records


def _check(random: np.random.Generator, points: int) -> dict:
    samples, settled_points = 20, points // 2 + 1
    distance = [2.1e-8, 6.4e-9, 3.3e-7, 1.2e-7, 5.0e-12, -2.2e-16]
    betas = 0.1 * np.exp(2j * np.pi * np.arange(settled_points) / points)
    residual = 1.5e-5 * 10 ** (-np.abs(random.normal(0.3, 0.5, (1 + settled_points, samples))))
    return {
        "reference": "implicit",
        "samples": samples - 1,
        "estimator": f"Holomorphic(points={points}, radius=0.1)",
        "total": {"cosine": 1 - 9.7e-8, "relative_error": 4.4e-4},
        "layers": [
            {"name": each, "cosine": 1 - d, "relative_error": float(np.sqrt(2 * d))}
            for each, d in zip(LAYERS, distance[::2], strict=True)
        ],
        "parameters": [
            {"name": each, "cosine": 1 - d, "relative_error": float(np.sqrt(2 * abs(d)))}
            for each, d in zip(PARAMETERS, distance, strict=True)
        ],
        "certificate": {
            "free_residual": [0.0, 9e-5, *residual[0, 2:].tolist()],
            "point_residual": residual[1:].tolist(),
            "free_status": ["settled", "two_cycle", *["settled"] * (samples - 2)],
            "unsettled_share": 0.05,
            "points": [f"{round(beta.real, 6) + 0.0:g}{round(beta.imag, 6) + 0.0:+g}j" for beta in betas],
        },
    }


def _environment() -> dict:
    return {
        "holoprop": "0.1.0",
        "jax": "0.10.2",
        "jaxlib": "0.10.2",
        "equinox": "0.13.8",
        "optax": "0.2.8",
        "numpy": "2.4.6",
        "python": "3.11.7",
        "platform": "Linux-6.18.44-x86_64-with-glibc2.36",
        "device": "cpu: cpu (2 CPU cores)",
        "x64": False,
        "date": "2026-11-20T21:32:07+00:00",
    }


def _confusion(random: np.random.Generator, classes: int, samples: int, mistakes: int) -> np.ndarray:
    confusion = np.diag(np.full(classes, (samples - mistakes) // classes))
    confusion[0, 0] += samples - mistakes - confusion.sum()
    for k in range(mistakes):
        true = int(random.integers(classes))
        # Every third mistake is the same one, so that there is a most frequent one to name.
        pair = (4 % classes, 9 % classes) if k % 3 == 0 else (true, (true + int(random.integers(1, classes))) % classes)
        confusion[pair] += 1
    return confusion


def _image(shape: tuple[int, ...], which: int) -> np.ndarray:
    """A bright ring with a gap: shape and place of the gap differ from image to image."""
    down, across = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    ring = np.exp(-(((np.hypot(down, across) - 0.6) / 0.22) ** 2))
    gap = np.abs(np.angle(np.exp(1j * (np.arctan2(down, across) - which)))) > 0.7
    image = ring * gap
    if len(shape) == 2:
        return image.astype(np.float32)
    colour = 0.5 + 0.5 * np.cos(which + np.array([0.0, 2.0, 4.0]))
    return (0.25 + 0.75 * image[..., None] * colour).astype(np.float32)

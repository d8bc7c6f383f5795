"""Keys of a configuration that only some choices take: a circle has `radius`, a finite difference `beta`."""

from collections.abc import Mapping
from typing import Any

_NUDGED: dict[str, Any] = {"nudged_tolerance": None, "nudged_max_steps": None}
_FORMS: dict[str, Any] = {"form": None, "asymmetry": "ignore"}
_STEPPED: dict[str, Any] = {"free_steps": None, "nudged_steps": None, "noise": None, "window": None}
_TURNING: dict[str, Any] = {"points": 10, "radius": 0.4, "dwell": 30, "periods": 3, "dt": 1.0, "noise": None}


def _decay(default: float) -> dict[str, Any]:
    return {"weight_decay": default, "weight_decays": None}


VARIANTS: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("network", "kind"): {
        "mlp": {"hidden": None, "feedback": "tied", "angle": None},
        "loop_mlp": {"hidden": None},
        "convnet": {
            "channels": None,
            "kernel": 3,
            "padding": None,
            "pools": None,
            "pooling": "softmax",
            "temperature": None,
            "feedback": "tied",
            "angle": None,
        },
        "resnet": {"channels": None, "kernel": 3, "blocks": 1, "strength": 0.5, "feedback": "tied"},
    },
    ("estimator", "name"): {
        "holomorphic": {
            "points": 4,
            "radius": "auto",
            "gradient_tolerance": None,
            "points_per_batch": None,
            **_FORMS,
            **_NUDGED,
            **_STEPPED,
        },
        "one_sided": {"beta": 0.1, **_FORMS, **_NUDGED, **_STEPPED},
        "centered": {"beta": 0.1, **_FORMS, **_NUDGED, **_STEPPED},
        "stencil": {"points": 4, "beta": 0.1, **_FORMS, **_NUDGED},
        "oscillation": {**_TURNING, "form": None},
        "online_oscillation": _TURNING,
        "continual": {"beta": 0.1, "stretches": 20, "dwell": 1, "dt": 1.0, "noise": None},
        "implicit": {},
        "forward_response": {},
        "backpropagation": {},
        "unrolled": {"steps": 100},
    },
    ("estimator", "solver"): {"anderson": {"depth": 5}, "alternating": {}, "picard": {"damping": 0.0}},
    ("optimizer", "name"): {
        "sgd": {"momentum": 0.0, **_decay(0.0)},
        "adam": {},
        "adamw": _decay(1e-4),
        "adabelief": {},
        "adadelta": _decay(0.0),
        "adafactor": {"momentum": None},
        "adagrad": {},
        "adamax": {},
        "adamaxw": _decay(1e-4),
        "adan": _decay(0.0),
        "amsgrad": {},
        "fromage": {},
        "lamb": _decay(0.0),
        "lars": {"momentum": 0.9, **_decay(0.0)},
        "lion": _decay(1e-3),
        "nadam": {},
        "nadamw": _decay(1e-4),
        "novograd": _decay(0.0),
        "optimistic_adam_v2": {},
        "optimistic_gradient_descent": {},
        "radam": {},
        "rmsprop": {"momentum": None},
        "sign_sgd": {},
        "signum": {},
        "sm3": {"momentum": 0.9},
        "yogi": {},
    },
    ("optimizer", "schedule"): {
        "constant": {},
        "cosine": {"end_share": 0.0},
        "linear": {"end_share": 0.0},
        "exponential": {"end_share": 0.01},
        "step": {"boundaries": None, "factor": 0.1},
    },
}
"""By the key that chooses: which other keys of its section each choice takes, and their defaults."""


def completed(given: Any, section: str, chooser: str) -> Any:
    """Fill in what the chosen variant takes, refuse what only others take; the type checks see to what is no choice.

    **Arguments:** `given`: the keys of a section; `section`, `chooser`: its name, and the key that chooses.

    **Raises:** `ValueError`, one line, for a key of another variant.
    """
    if not isinstance(given, Mapping):
        return given
    variants = VARIANTS[section, chooser]
    chosen = given.get(chooser, next(iter(variants)))
    if not isinstance(chosen, str) or chosen not in variants:
        return given
    own = variants[chosen]
    present = {key: value for key, value in given.items() if value is not None}
    for key, value in present.items():
        takers = [name for name, keys in variants.items() if key in keys]
        if takers and key not in own:
            raise ValueError(
                f"{section}.{key} = {value!r} has no meaning with {section}.{chooser} = {chosen!r}, "
                f"only with {' or '.join(filter(None, (', '.join(takers[:-1]), takers[-1])))}"
            )
    return {**own, **present}

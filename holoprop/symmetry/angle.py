"""The feedback angle: how far feedback weights are from the transposed forward ones."""

import dataclasses
import math

import numpy as np

from holoprop.network.connection import Dense
from holoprop.network.conv import Conv
from holoprop.network.feedback import as_feedback
from holoprop.network.layered import LayeredNetwork


@dataclasses.dataclass(frozen=True)
class FeedbackAngle:
    """Angles between transposed forward and feedback weights, in degrees, from 0 to 180.

    **Attributes:** `total`: of the weights of all such connections as one vector, NaN if there are none; `connections`:
    of each, by its name, such as `"connections[1]"`.
    """

    total: float
    connections: dict[str, float]


def feedback_angle(net: LayeredNetwork) -> FeedbackAngle:
    """Return the angles between transposed forward and feedback weights, `arccos(⟨Wᵀ, V⟩/(‖W‖‖V‖))`, in degrees.

    Connections with tied feedback are at 0; those that send nothing back, and the one from the input, have no angle.

    **Arguments:** `net`: of dense connections and convolutions, at any stage of training.

    **Returns:** a `FeedbackAngle`, on the host, accumulated in float64.

    Source: P2 (arXiv 2309.02214), Fig. 3 and Fig. 4k.

    ```python
    hp.feedback_angle(hp.mlp(784, (256, 256), 10, feedback="free", angle=30.0, key=key)).total  # 30.0
    ```
    """
    forward, back, angles = [], [], {}
    for i, connection in enumerate(net.connections):
        if i == 0 or not net.feedback or not isinstance(connection, Dense | Conv):
            continue
        straight = np.asarray(as_feedback(connection, connection.weight), np.float64).ravel()
        free = connection.feedback
        sent = straight if free is None else np.asarray(free, np.float64).ravel()
        forward.append(straight)
        back.append(sent)
        angles[f"connections[{i}]"] = _angle(straight, sent)
    if not angles:
        return FeedbackAngle(math.nan, {})
    return FeedbackAngle(_angle(np.concatenate(forward), np.concatenate(back)), angles)


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    size = np.linalg.norm(a) * np.linalg.norm(b)
    if not size > 0:
        return math.nan
    # By the half-angle form, as arccos cannot tell small angles from 0.
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return math.degrees(2 * math.atan2(float(np.linalg.norm(a - b)), float(np.linalg.norm(a + b))))

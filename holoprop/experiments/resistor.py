"""A worked substrate: a nonlinear resistor network that finds its own node voltages and learns from nudges.

Input lines are clamped; trainable conductances `g` tie each hidden node to every line and every output, and a pair of
antiparallel diodes, `i(v) = I_s sinh(v/V_T)`, ties each node to the ground. Kirchhoff's current law makes the node
voltages the minimum of the co-content (Millar 1951), which is the energy of equilibrium propagation:

    E(g, x, v) = Σ_edges ½ g (Δv)² + Σ_nodes I_s V_T [cosh(v/V_T) − 1],        ∂E/∂g = ½ (Δv)²

Each class has two output nodes, and its logit is `A (v⁺ − v⁻)`, since conductances cannot be negative; for the same
reason each pixel drives two lines, `+a(2x − 1)` and `−a(2x − 1)`. The nudge is a current `−β ∂C/∂v` into each output
node. Source of the idea: Kendall et al. 2020 (arXiv 2006.01981).

Everything here is plain numpy in float64: the network stands for a device, and nothing differentiates it.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Voltages = Float[np.ndarray, "batch nodes"]


class Conductances(NamedTuple):
    """What is trained: `θ` with conductances `g = log(1 + e^θ)` in mS, so that they stay positive.

    **Attributes:** `input`: `(lines, hidden)`, from the clamped lines; `output`: `(hidden, 2·classes)`.
    """

    input: Float[np.ndarray, "lines hidden"]
    output: Float[np.ndarray, "hidden outputs"]


@dataclasses.dataclass(frozen=True, eq=False)
class ResistorNetwork:
    """A simulated two-layer resistor network with diodes: a `Substrate` that is not jittable.

    Activities are the voltages of all free nodes, `(batch, hidden + 2·classes)`; a sample whose Newton iteration does
    not reach the tolerance, or ends where the energy has no minimum, gets NaN.

    **Arguments:**

    - `parameters`: the first `Conductances`; `create` draws them.
    - `classes`: the number of output pairs.
    - `amplitude`: `a`, in V, of the input lines; `gain`: `A`, logits per V of the differential output amplifiers.
    - `saturation_current`: `I_s` in mA; `thermal_voltage`: `V_T` in V.
    - `tolerance`: the largest current, in mA, that a node at rest may be out of balance by; `max_steps` of Newton.
    """

    parameters: Conductances
    classes: int = 2
    amplitude: float = 3.0
    gain: float = 4.0
    saturation_current: float = 0.1
    thermal_voltage: float = 0.5
    tolerance: float = 1e-12
    max_steps: int = 100
    jittable: bool = dataclasses.field(default=False, init=False)

    @classmethod
    def create(cls, inputs: int, hidden: int, classes: int = 2, *, seed: int = 0) -> "ResistorNetwork":
        """Return a network with random conductances: about 0.09 mS to the input lines and 0.5 mS to the outputs."""
        rng = np.random.default_rng(seed)
        lines = 2 * (inputs + 1)
        theta = Conductances(rng.normal(-2.5, 0.5, (lines, hidden)), rng.normal(-0.5, 0.5, (hidden, 2 * classes)))
        return cls(theta, classes)

    def settle(
        self, parameters: Conductances, x: Float[np.ndarray, "batch inputs"], y: np.ndarray, beta: float
    ) -> Voltages:
        """Return the node voltages, in V, at which all currents balance under nudge currents `−β ∂C/∂v`.

        Damped Newton iterations on each sample, from 0 V; a step moves no voltage by more than `2 V_T`.
        """
        matrix, current = self._circuit(parameters, x, y, float(beta))
        tolerance = max(self.tolerance, 8 * np.finfo(np.float64).eps * float(np.abs(current).max()))
        v = np.zeros_like(current)
        balanced = np.zeros(len(v), bool)
        for _ in range(self.max_steps):
            # cosh overflows for a sample that runs away; it ends as NaN below.
            excess = v @ matrix - current + self._diode(v)
            balanced = np.abs(excess).max(1) <= tolerance
            if balanced.all():
                break
            step = -_solve(matrix + self._diode_slope(v), excess)
            shrink = np.minimum(1, 2 * self.thermal_voltage / np.maximum(np.abs(step).max(1), 1e-300))
            v = np.where(balanced[:, None], v, v + shrink[:, None] * step)
        if beta < 0:
            # A negative nudge feeds the outputs back positively; a balance that is not stable is not a rest state.
            slope = matrix + self._diode_slope(np.where(balanced[:, None], v, 0))
            balanced &= np.linalg.eigvalsh(slope)[:, 0] > 0
        return np.where(balanced[:, None], v, np.nan)

    def energy_gradient(
        self,
        parameters: Conductances,
        x: Float[np.ndarray, "batch inputs"],
        activities: Voltages,
        weights: Float[np.ndarray, " batch"],
    ) -> Conductances:
        """Return `Σ_b w_b ∂E/∂θ = Σ_b w_b ½ (Δv_b)² dg/dθ`, in mS·V²: what local voltmeters could measure."""
        return self._edges(parameters, x, activities, activities, weights / 2)

    def logits(self, activities: Voltages) -> Float[np.ndarray, "batch classes"]:
        """Return `A (v⁺ − v⁻)` of each class, `(batch, classes)`."""
        return activities @ self._readout().T

    def cost(self, activities: Voltages, y: np.ndarray) -> Float[np.ndarray, " batch"]:
        """Return half the squared error of the logits, `½ Σ_j (o_j − y_j)²`, `(batch,)`."""
        return 0.5 * ((self.logits(activities) - y) ** 2).sum(1)

    def energy(
        self, parameters: Conductances, x: Float[np.ndarray, "batch inputs"], activities: Voltages
    ) -> Float[np.ndarray, " batch"]:
        """Return the co-content `E(g, x, v)` of each sample, `(batch,)`, in mS·V²; nothing else here uses it."""
        (first, second), (hidden, outputs) = _conductances(parameters), self._split(activities)
        lines = self._lines(x)
        between = 0.5 * np.einsum("ih,bih->b", first, (lines[:, :, None] - hidden[:, None]) ** 2)
        between += 0.5 * np.einsum("ho,bho->b", second, (hidden[:, :, None] - outputs[:, None]) ** 2)
        diodes = self.saturation_current * self.thermal_voltage * (np.cosh(activities / self.thermal_voltage) - 1)
        return between + diodes.sum(1)

    def exact_gradient(
        self, parameters: Conductances, x: Float[np.ndarray, "batch inputs"], y: np.ndarray
    ) -> Conductances:
        """Return the exact gradient of the mean cost, by the adjoint circuit: what no device could measure.

        `∂²E/∂v² · λ = −∂C/∂v` at the free voltages, then `dC/dg = Δv·Δλ` on each edge.

        **Arguments:** `y`: one-hot rows `(batch, classes)`.
        """
        v = self.settle(parameters, x, y, 0.0)
        matrix, _ = self._circuit(parameters, x, y, 0.0)
        pull = (self.logits(v) - y) @ self._readout()
        adjoint = -_solve(matrix + self._diode_slope(v), pull)
        return self._edges(parameters, x, v, adjoint, np.full(len(v), 1 / len(v)))

    def _lines(self, x: np.ndarray) -> Float[np.ndarray, "batch lines"]:
        """Voltages of the clamped lines: pixels, a constant one, and the negatives of both."""
        x = np.asarray(x, np.float64).reshape(len(x), -1)
        expected = len(self.parameters.input) // 2 - 1
        if x.shape[1] != expected:
            raise ValueError(f"the network has {expected} inputs, got samples of {x.shape[1]}")
        half = self.amplitude * np.concatenate([2 * x - 1, np.ones((len(x), 1))], 1)
        return np.concatenate([half, -half], 1)

    def _circuit(self, parameters: Conductances, x: np.ndarray, y: np.ndarray, beta: float) -> tuple:
        """Nodal matrix in mS, nudge included, and the currents in mA that clamped lines and targets send in."""
        first, second = _conductances(parameters)
        hidden, readout = first.shape[1], self._readout()
        matrix = np.diag(np.concatenate([first.sum(0) + second.sum(1), second.sum(0)]))
        matrix[:hidden, hidden:] = -second
        matrix[hidden:, :hidden] = -second.T
        current = np.zeros((len(x), len(matrix)))
        current[:, :hidden] = self._lines(x) @ first
        if beta:
            matrix, current = matrix + beta * readout.T @ readout, current + beta * np.asarray(y, np.float64) @ readout
        return matrix, current

    def _readout(self) -> Float[np.ndarray, "classes nodes"]:
        """The matrix of `A (v⁺ − v⁻)` on all nodes: class k has the outputs `k` and `classes + k`."""
        unit = self.gain * np.eye(self.classes)
        return np.concatenate([np.zeros((self.classes, self.parameters.input.shape[1])), unit, -unit], 1)

    def _split(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hidden = self.parameters.input.shape[1]
        return v[:, :hidden], v[:, hidden:]

    def _edges(
        self, parameters: Conductances, x: np.ndarray, v: np.ndarray, u: np.ndarray, weights: np.ndarray
    ) -> Conductances:
        """`Σ_b w_b Δv Δu` on every edge, times `dg/dθ`; clamped lines have `u = v` if `u` are voltages, else 0."""
        lines = self._lines(x)
        clamped = lines if u is v else np.zeros_like(lines)
        (vh, vo), (uh, uo) = self._split(v), self._split(u)
        slope = [1 / (1 + np.exp(-np.asarray(theta, np.float64))) for theta in parameters]
        return Conductances(
            slope[0] * _products(lines, vh, clamped, uh, weights), slope[1] * _products(vh, vo, uh, uo, weights)
        )

    def _diode(self, v: np.ndarray) -> np.ndarray:
        return self.saturation_current * np.sinh(v / self.thermal_voltage)

    def _diode_slope(self, v: np.ndarray) -> np.ndarray:
        slope = self.saturation_current / self.thermal_voltage * np.cosh(v / self.thermal_voltage)
        return slope[:, :, None] * np.eye(v.shape[1])


def _conductances(parameters: Conductances) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.logaddexp(0, np.asarray(theta, np.float64)) for theta in parameters)
    return first, second


def _products(va: np.ndarray, vb: np.ndarray, ua: np.ndarray, ub: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`Σ_b w_b (va_i − vb_j)(ua_i − ub_j)`, `(i, j)`, without an array of batch × i × j."""
    w = weights[:, None]
    own = (w * va * ua).sum(0)[:, None] + (w * vb * ub).sum(0)
    return own - (w * va).T @ ub - (w * ua).T @ vb


def _solve(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.linalg.solve(matrices, right[..., None])[..., 0]

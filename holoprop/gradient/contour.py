"""The circle of nudges and the sums over it.

`N` points `β_k = r·e^{2πik/N}` go once around a circle; the first Fourier coefficient of a holomorphic function on it is
`(1/N) Σ_k f(β_k)/β_k`, which equals `f'(0)` up to `O(r^N)` (Cauchy; P1). Real parameters and inputs give
`s(β̄) = conj s(β)`, so the points with `Im β ≥ 0` suffice: `⌊N/2⌋ + 1` of them, the complex ones counted twice.
"""

import numpy as np
from jaxtyping import Complex, Float


def half_circle(points: int) -> tuple[Complex[np.ndarray, " half"] | Float[np.ndarray, " half"], Float[np.ndarray, " half"]]:
    """Return the unit-circle points `e^{2πik/N}` with non-negative imaginary part, and how often each counts.

    **Arguments:** `points`: the number `N ≥ 2` of points of the whole circle.

    **Returns:** `(unit, multiplicity)`, each of length `⌊N/2⌋ + 1`; `unit` is real for `N = 2`, where nothing is complex.

    **Raises:** `ValueError` for fewer than two points.
    """
    if points < 2:
        raise ValueError(f"a contour needs at least 2 points, got {points}; for one nudge use OneSided")
    if points == 2:
        return np.array([1.0, -1.0]), np.array([1.0, 1.0])
    k = np.arange(points // 2 + 1)
    unit = np.exp(2j * np.pi * k / points)
    # Exactly real where it should be, so that conjugate symmetry holds to the last bit.
    multiplicity = np.where((k == 0) | (2 * k == points), 1.0, 2.0)
    unit = np.where(multiplicity == 1.0, np.round(unit.real), unit)
    return unit, multiplicity

"""The circle of nudges and the sums over it.

`N` points `β_k = r·e^{2πik/N}` go once around a circle; the first Fourier coefficient of a holomorphic function on it
is `(1/N) Σ_k f(β_k)/β_k`, which equals `f'(0)` up to `O(r^N)` (Cauchy; P1). Real parameters and inputs give
`s(β̄) = conj s(β)`, so the points with `Im β ≥ 0` suffice: `⌊N/2⌋ + 1` of them, the complex ones counted twice.
"""

import numpy as np


def half_circle(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit-circle points `e^{2πik/N}` with non-negative imaginary part, and how often each counts.

    **Arguments:** `points`: the number `N ≥ 2` of points of the whole circle.

    **Returns:** `(unit, multiplicity)`, each of length `⌊N/2⌋ + 1`. The real points come first: 1, then −1 if `N` is
    even; each counts once, the complex ones, in the order of their angle, twice. For `N = 2` nothing is complex and
    `unit` is real.

    **Raises:** `ValueError` for fewer than two points.
    """
    if points < 2:
        raise ValueError(f"a contour needs at least 2 points, got {points}; for one nudge use OneSided")
    real = [1.0] if points % 2 else [1.0, -1.0]
    k = np.arange(1, (points + 1) // 2)
    unit = np.concatenate([real, np.exp(2j * np.pi * k / points)]) if points > 2 else np.array(real)
    return unit, np.where(np.isreal(unit), 1.0, 2.0)


def settled_points(points: int) -> tuple[int, int]:
    """Return how many points of `half_circle(points)` are real, and how many complex."""
    _, multiplicity = half_circle(points)
    real = int((multiplicity == 1).sum())
    return real, multiplicity.size - real


def whole_circle(points: int) -> np.ndarray:
    """Return all `N` unit-circle points `e^{2πik/N}` in the order of their angle; real for `N = 2`.

    **Raises:** `ValueError` for fewer than two points.
    """
    if points < 2:
        raise ValueError(f"a contour needs at least 2 points, got {points}; for one nudge use OneSided")
    return np.exp(2j * np.pi * np.arange(points) / points) if points > 2 else np.array([1.0, -1.0])

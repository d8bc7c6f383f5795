"""P1's Figure 2b: where in the complex plane of nudges the toy network comes to rest.

The residual after 200 plain steps from the free rest state, on a grid of nudges. It is dark almost everywhere but for
two lobes on the right, in which no stable rest state is near the free one; the circle of |β| = 0.4 passes them by.
"""

import jax
import jax.numpy as jnp
import numpy as np

from holoprop.experiments.reproduce.outcome import Claim, Findings, Scale, Table
from holoprop.experiments.reproduce.runner import Report
from holoprop.experiments.reproduce.toy import toy_network
from holoprop.gradient.stability import stability_map
from holoprop.settling.anderson import Anderson
from holoprop.settling.plain import Picard
from holoprop.settling.run import settle

EXTENT = 1.5
SHOWN = 1.0
"""The published picture is cropped to ± this."""
CIRCLE = 0.4
STEPS = 200
_MOVING = 1e-3
"""The residual above which a nudge counts as unstable: it falls by orders of magnitude everywhere else."""
_RESOLUTION: dict[Scale, int] = {"smoke": 61, "small": 301, "paper": 1001}
_MIRRORED = 8
"""Nudges along each side of a coarser grid in the lower half, which the map itself takes from the upper one."""
_TIP = 0.67 + 0.15j
_REACH = (0.25, 0.95)


def run(scale: Scale, seed: int | None, report: Report) -> Findings:
    """Map the plane; `seed` changes nothing, since network and sample are the published ones."""
    del seed
    resolution = _RESOLUTION[scale]
    with jax.enable_x64(True):
        net, x, y = toy_network(np.float64)
        plane = stability_map(net, x, y, EXTENT, resolution, solver=Picard(max_steps=STEPS))
        mirrored = _mirrored(plane.real, plane.imag, plane.residual[0])
    report(f"{resolution}² nudges")
    residual, right, up = plane.residual[0], *np.meshgrid(plane.real, plane.imag)
    betas = right + 1j * up
    step = 2 * EXTENT / (resolution - 1)
    moving = (up > 0) & ~(residual < _MOVING)
    lobe = moving & (np.abs(right) <= SHOWN) & (up <= SHOWN)
    if not lobe.any():
        tip, low, high, nearest = complex(np.nan), np.nan, np.nan, np.nan
    else:
        tip = complex(betas[lobe][np.argmin(up[lobe])])
        low, high, nearest = right[lobe].min(), right[lobe].max(), np.abs(betas[lobe]).min()
    source = "P1 Fig. 2b, read off the published image"
    claims = [
        Claim(
            f"largest residual at nudges of size {CIRCLE:g} and less",
            float(np.nan_to_num(residual[np.abs(betas) <= CIRCLE], nan=np.inf).max()),
            "≤",
            1e-6,
            source,
        ),
        Claim(
            "the unstable lobe's tip nearest to the real axis: distance from 0.67 + 0.15i",
            abs(tip - _TIP),
            "≤",
            0.06 + step,
            source,
        ),
        Claim("left end of the lobes' real parts from 0.25", float(abs(low - _REACH[0])), "≤", 0.06 + step, source),
        # One-sided: where a lobe goes beyond the picture, it ends there.
        Claim(
            "right end of the lobes' real parts within the published picture, which ends at 1 (published 0.95)",
            float(high),
            "≥",
            _REACH[1] - 0.06 - step,
            source,
        ),
        Claim(
            f"the two halves of the plane are conjugate: largest difference of residuals, {_MIRRORED}² nudges of the "
            "lower half settled for themselves",
            mirrored,
            "≤",
            1e-12,
            "this project",
        ),
    ]
    table = Table(
        "The unstable lobe of the upper half plane",
        ("", "published", "here"),
        [
            ("tip", "0.67 + 0.15i", f"{tip.real:.2f} + {tip.imag:.2f}i"),
            ("real parts from", f"{_REACH[0]:g}", f"{low:.2f}"),
            ("to", f"{_REACH[1]:g}", f"{high:.2f}"),
            ("to, beyond the picture", None, f"{right[moving].max():.2f}" if moving.any() else None),
            ("smallest unstable nudge |β|", None, f"{nearest:.3f}"),
        ],
    )
    settings = {
        "network": "6-4-4-4, sigmoid(4z − 2), the published weights and sample",
        "nudges": f"{resolution} × {resolution}, {EXTENT:g} to each side",
        "time steps at each": f"at most {STEPS}",
        "precision": "float64",
    }
    arrays = {
        "real": plane.real,
        "imag": plane.imag,
        "residual": residual,
        "steps": plane.steps[0],
        "status": plane.status[0],
        "free_status": plane.free_status,
    }
    return Findings(settings, claims, [table], arrays)


def _mirrored(real: np.ndarray, imag: np.ndarray, residual: np.ndarray) -> float:
    """Settle nudges of the lower half as the map does those of the upper, and compare residuals with their conjugates'.

    In double precision. Not by logarithms, in which the rounding of states, 1e-16, is much of a residual of 1e-11.
    """
    columns = np.linspace(0, len(real) - 1, _MIRRORED).round().astype(int)
    rows = np.linspace(0, len(imag) // 2 - 1, _MIRRORED).round().astype(int)
    net, x, y = toy_network(np.float64)
    free = settle(net, x, solver=Anderson()).state
    nudges = (real[None, columns] + 1j * imag[rows, None]).reshape(-1, 1)
    start = tuple(jnp.broadcast_to(s, (len(nudges), *s.shape)).astype(complex) for s in free)
    below = settle(net, x, y, jnp.asarray(nudges), solver=Picard(max_steps=STEPS), state=start).residual[:, 0]
    above = residual[::-1][np.ix_(rows, columns)].reshape(-1)
    # A state that grew beyond all numbers is one in both halves or in none.
    both = np.nan_to_num(np.stack([below, above]), nan=1e300, posinf=1e300)
    return float(np.abs(both[0] - both[1]).max())

"""The turning nudge. Oracles: the published implementation, the implicit gradient, one long run against two short."""

import numpy as np
import pytest

import holoprop as hp
from tests.gradient.test_published import published_gradient, toy  # noqa: F401 (a fixture)


@pytest.mark.parametrize("beta", [0.001, 0.01, 0.1, 0.5])
def test_the_published_oscillation(toy, beta):  # noqa: F811
    """Three turns of ten points from zero, 30 steps each: gradient and last state."""
    net, x, y, numbers = toy
    estimate = hp.Oscillation(points=10, radius=beta, dwell=30, periods=3)(net, x, y)
    published = published_gradient(net, numbers, f"grad_osc/N10/Tdyn30/Tplas3/beta{beta}")
    for name, agreement in hp.alignment(estimate.gradient, published).parameters.items():
        # The first turn still carries the way from zero, divided by the radius.
        assert agreement.relative_error < 1e-9, name
    for i, state in enumerate(estimate.memory):
        np.testing.assert_allclose(state, numbers[f"osc_last_state/beta{beta}/{i}"], rtol=0, atol=1e-12)

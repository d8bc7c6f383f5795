"""The stability map and orbits. Oracles: `settle`, closed forms with a known singularity, P1's figure 2."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

FIXTURE = Path(__file__).parents[1] / "fixtures" / "p1_toy_f64.npz"


class Scalar(hp.AbstractEnergyNetwork):
    """One neuron, σ(z) = z² or z, squared error: its rest state is a quadratic or linear equation in closed form.

    Drive `b + w·s − β (s − y)`; with σ = identity, `s_β = (b + βy)/(1 − w + β)`, a pole at `β = w − 1`.
    """

    bias: jax.Array
    weight: jax.Array
    activation: hp.AbstractActivation
    cost: hp.AbstractCost = hp.SquaredError()
    input_shape = (1,)
    layer_shapes = ((1,),)
    classes = 1

    def potential(self, c, s):
        return jnp.sum(self.bias * s[0] + self.weight * s[0] * s[0] / 2 + 0 * c)

    def readout(self, s):
        return s[0]


class Identity(hp.AbstractActivation):
    holomorphic = True

    def __call__(self, z):
        return z


class Square(hp.AbstractActivation):
    holomorphic = True

    def __call__(self, z):
        return z * z


def scalar(activation, weight=0.5, bias=0.1, dtype=None):
    return Scalar(jnp.asarray([bias], dtype), jnp.asarray([weight], dtype), activation)


X, Y = np.zeros((1, 1)), np.ones((1, 1))


@pytest.fixture
def toy(x64):
    numbers = np.load(FIXTURE)

    def layer(name):
        return jnp.asarray(numbers[f"params/{name}/w"]), jnp.asarray(numbers[f"params/{name}/b"])

    net = hp.LayeredNetwork(
        (hp.Dense(*layer("fc_1")), hp.Dense(*layer("fc_2"))),
        hp.Readout(*layer("fc_3")),
        hp.Sigmoid(),
        hp.CrossEntropy(),
    )
    return net, jnp.asarray(numbers["x"]), jnp.asarray(numbers["y"])


def test_plain_steps_settle_where_they_contract(x64):
    """`s ↦ b + ws − β(s − y)` contracts exactly where `|w − β| < 1`: a disc around `w`."""
    found = hp.stability_map(scalar(Identity()), X, Y, 2.0, 21, solver=hp.Picard(max_steps=2000))
    factor = np.abs(0.5 - found.betas)
    sure = np.abs(factor - 1) > 0.02
    assert found.residual.shape == found.steps.shape == found.status.shape == (1, 21, 21)
    np.testing.assert_array_equal(found.settled[0][sure], (factor < 1)[sure])
    np.testing.assert_allclose(found.stable_radius, 0.5, atol=0.11)  # the pole at w − 1; the grid's spacing is 0.2/√2
    # A residual falls by the factor at each step, from `|β (s_0 − y)|` to the tolerance.
    one = found.steps[0][sure & (factor < 0.9) & (np.abs(found.betas) > 0)]
    start = (np.abs(found.betas) * 0.8)[sure & (factor < 0.9) & (np.abs(found.betas) > 0)]
    rate = factor[sure & (factor < 0.9) & (np.abs(found.betas) > 0)]
    expected = np.where(rate > 0, np.log(1e-11 / start) / np.log(np.maximum(rate, 1e-300)), 0)
    np.testing.assert_allclose(one, np.ceil(np.maximum(expected, 0)) + 1, atol=1.01)


def test_orbit_of_a_pole_is_its_power_series(x64):
    """`s_β = (b + βy)/(1 − w + β)`: coefficients `c_j ∝ (−r/R)^j` with `R = 1 − w`."""
    radius, limit = 0.2, 0.5
    orbit = hp.circle_orbit(scalar(Identity()), X, Y, radius, 16, solver=hp.Picard())
    beta = np.asarray(orbit.betas[:, 0])
    np.testing.assert_allclose(beta, radius * np.exp(2j * np.pi * np.arange(16) / 16), atol=1e-15)
    exact = (0.1 + beta) / (0.5 + beta)
    np.testing.assert_allclose(orbit.state[0][:, 0, 0], exact, atol=1e-10)
    np.testing.assert_allclose(orbit.response[0][:, 0, 0], exact - 0.2, atol=1e-10)
    norms = np.asarray(orbit.spectrum.norms[0])
    np.testing.assert_allclose(norms[2:9] / norms[1:8], radius / limit, rtol=1e-6)
    assert np.asarray(orbit.status).max() == 0 and orbit.free.settled.all()


@pytest.mark.parametrize("points", [4, 5])
def test_orbits_of_odd_and_even_circles_agree_with_settle(toy, points):
    net, x, y = toy
    plain = hp.Picard()
    orbit = hp.circle_orbit(net, x, y, 0.1, points, solver=plain)
    rest = hp.settle(net, x, y, orbit.betas, solver=plain, throw=True)
    for mine, each in zip(orbit.state, rest.state, strict=True):
        np.testing.assert_allclose(mine, each, atol=1e-9)
    np.testing.assert_allclose(orbit.radius, 0.1)
    assert orbit.residual.shape == (points, 1)


def test_square_root_branch_point(x64):
    """σ(z) = z², drive `b + w s − βs + βy`, y = 0: `s = (b + k s)²`, `k = w − β`, real while `1 − 4bk > 0`.

    The rest state ends in a branch point at `β = w − 1/(4b)`; circles below it are estimated to converge.
    """
    net = scalar(Square(), weight=0.4, bias=0.3)
    end = abs(0.4 - 1 / (4 * 0.3))
    spectrum = hp.circle_orbit(net, X, 0 * Y, end / 2, 24, solver=hp.Picard()).spectrum
    np.testing.assert_allclose(spectrum.radius_of_convergence, end, rtol=0.15)
    found = hp.stability_map(net, X, 0 * Y, (-0.6, 0.2, -0.2, 0.2), (33, 5), solver=hp.Picard(max_steps=3000))
    beyond = found.real < 0.4 - 1 / (4 * 0.3) - 0.01
    below = (found.real > 0.4 - 1 / (4 * 0.3) + 0.01) & (found.real <= 0.2)
    assert not found.settled[0, 2, beyond].any() and found.settled[0, 2, below].all()


@pytest.mark.parametrize("solver", [None, hp.Alternating(), hp.TimeSteps(30)])
def test_map_on_the_real_axis_is_settle(toy, solver):
    net, x, y = toy
    found = hp.stability_map(net, x, y, (-0.4, 0.4, -0.1, 0.1), (5, 3), solver=solver, chunk=4)
    free = hp.settle(net, x)
    for column, beta in enumerate(found.real):
        rest = hp.settle(net, x, y, complex(beta), solver=solver or hp.Picard(max_steps=200), state=free.state)
        assert found.steps[0, 1, column] == rest.steps[0]
        assert found.status[0, 1, column] == rest.status[0]
        np.testing.assert_allclose(found.residual[0, 1, column], rest.residual[0], rtol=1e-3, atol=1e-14)


def test_conjugate_halves_agree_with_a_map_that_has_no_symmetry(toy):
    net, x, y = toy
    both = hp.stability_map(net, x, y, (0.1, 0.9, -0.5, 0.5), (5, 5))
    for name in ("residual", "steps", "status"):
        np.testing.assert_array_equal(getattr(both, name), getattr(both, name)[:, ::-1])
    lower = hp.stability_map(net, x, y, (0.1, 0.9, -0.5, -0.25), (5, 2))
    np.testing.assert_array_equal(lower.status[0], both.status[0, :2])
    np.testing.assert_allclose(lower.imag, both.imag[:2])


def test_chunks_and_companions_change_nothing(toy):
    net, x, y = toy
    x, y = jnp.concatenate([x, 0.5 * x]), jnp.concatenate([y, y[:, ::-1]])
    whole = hp.stability_map(net, x, y, 0.5, 5)
    parts = hp.stability_map(net, x, y, 0.5, 5, chunk=4)
    alone = hp.stability_map(net, x[1:], y[1:], 0.5, 5)
    np.testing.assert_array_equal(whole.steps, parts.steps)
    np.testing.assert_array_equal(whole.steps[1:], alone.steps)
    assert whole.residual.shape == (2, 5, 5)


def test_lobes_of_the_toy_lie_where_the_paper_has_them(toy):
    """P1 figure 2b: two unstable lobes at Re β ≈ .25–.95 with tips at about .67 ± .15i; |β| ≈ .4 in the stable area.

    Seen where 200 plain steps leave a residual above 1e-6, which is what shows in float32.
    """
    found = hp.stability_map(*toy, extent=1.0, resolution=81)
    light, beta = found.residual[0] > 1e-6, found.betas
    upper = light & (beta.imag > 0)
    tip = beta[upper][np.argmin(beta[upper].imag)]
    assert abs(tip - (0.67 + 0.15j)) < 0.08
    assert 0.2 <= beta[light].real.min() <= 0.3 and 0.9 <= beta[light].real.max() <= 1.05
    assert not light[np.abs(beta) <= 0.5].any() and found.stable_radius[0] > 0.4
    assert not light[np.abs(beta.imag) < 0.05].any()  # two lobes, not one


def test_float32_stays_float32():
    net = scalar(Identity(), dtype=jnp.float32)
    found = hp.stability_map(net, X, Y, 0.3, 3)
    assert found.residual.dtype == found.real.dtype == np.float32 and found.settled.all()
    assert np.isinf(found.stable_radius).all()
    assert hp.circle_orbit(net, X, Y, 0.2, 8, solver=hp.Picard()).state[0].dtype == np.complex64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"extent": 0.0}, "extent must be a positive number.*got 0.0"),
        ({"extent": (1.0, -1.0, 0.0, 1.0)}, "extent must be"),
        ({"extent": float("nan")}, "extent must be"),
        ({"extent": (0.0, 1.0)}, "extent must be"),
        ({"resolution": 1}, "resolution must be an integer of at least 2.*got 1"),
        ({"resolution": (3, 1)}, "resolution must be"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"solver": hp.TimeSteps(5, noise=hp.Noise(0.1))}, "without noise"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        hp.stability_map(scalar(Identity()), X, Y, **arguments)
    assert "\n" not in str(error.value)


def test_what_is_not_holomorphic_is_refused():
    net = hp.mlp(3, (4,), 2, activation="hard_sigmoid", key=jax.random.key(0))
    x, y = np.zeros((1, 3)), np.array([0])
    for function in (hp.stability_map, hp.circle_orbit):
        with pytest.raises(ValueError, match="HardSigmoid is not holomorphic: use a smooth activation"):
            function(net, x, y)
    smooth = hp.mlp(3, (4,), 2, key=jax.random.key(0))
    with pytest.raises(ValueError, match="radius must be"):
        hp.circle_orbit(smooth, x, y, -0.1)

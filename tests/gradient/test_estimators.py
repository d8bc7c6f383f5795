"""Oracles: the implicit gradient, finite differences of the loss, and the orders of bias known in closed form."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import holoprop as hp
from holoprop.gradient import linear_response
from holoprop.gradient.contour import half_circle

# Alternating compiles in half the time of Anderson; that both find the same rest states is tested in settling.
TIGHT = hp.Alternating(tolerance=1e-13, max_steps=5000)


def relative_error(estimator, net, x, y, truth):
    return hp.alignment(estimator(net, x, y).gradient, truth.gradient).total.relative_error


@pytest.fixture(scope="module")
def wide():
    """784-256-256-10 in float64 at 1/√fan-in, 20 uniform inputs: the network of P1's Table 1."""
    with jax.enable_x64(True):
        net = hp.mlp(784, (256, 256), 10, key=jax.random.key(0))
        x = jax.random.uniform(jax.random.key(1), (20, 784))
        y = jnp.arange(20, dtype=jnp.int32) % 10
        yield net, x, y, hp.Implicit(solver=TIGHT)(net, x, y)


def test_published_setting_is_exact_inside_the_radius(wide):
    # For this seed the circle of radius 0.4 lies inside every sample's radius of convergence: the spectrum decays.
    net, x, y, truth = wide
    estimator = hp.Holomorphic(points=10, radius=0.4, solver=TIGHT, nudged_solver=TIGHT)
    assert relative_error(estimator, net, x, y, truth) <= 1e-4


SMALL = {"OneSided": 1, "Centered": 2, "Holomorphic4": 4, "Holomorphic6": 6}


@pytest.fixture(scope="module")
def mild():
    """A network of small weights, whose radius of convergence lies between 1.5 and 4 for every sample."""
    with jax.enable_x64(True):
        net = hp.mlp(20, (16, 16), 4, weight_scale=0.6, key=jax.random.key(2))
        x = jax.random.uniform(jax.random.key(1), (8, 20))
        y = jnp.arange(8, dtype=jnp.int32) % 4
        yield net, x, y, hp.Implicit(solver=TIGHT)(net, x, y)


def test_radius_of_convergence_of_the_mild_network(mild):
    # The ratio of neighbouring Taylor coefficients of the state tends to 1/R; read off a circle well inside.
    net, x, y, _ = mild
    points, radius = 64, 1.0
    betas = radius * np.exp(2j * np.pi * np.arange(points) / points)
    rest = hp.settle(net, x, y, jnp.asarray(np.repeat(betas[:, None], 8, 1)), solver=TIGHT, throw=True)
    states = np.concatenate([np.asarray(s).reshape(points, 8, -1) for s in rest.state], -1)
    size = np.linalg.norm(np.fft.fft(states, axis=0) / points, axis=-1)
    decay = (size[6] / size[18]) ** (1 / 12)
    assert (decay > 1.5).all() and (decay < 4).all(), decay


@pytest.mark.parametrize("name", SMALL)
def test_order_of_the_bias(mild, name):
    net, x, y, truth = mild
    order = SMALL[name]
    amplitudes = np.geomspace(0.05, 0.4, 7)
    errors = []
    for amplitude in map(float, amplitudes):
        if name == "OneSided":
            estimator = hp.OneSided(amplitude, solver=TIGHT, nudged_solver=TIGHT)
        elif name == "Centered":
            estimator = hp.Centered(amplitude, solver=TIGHT, nudged_solver=TIGHT)
        else:
            estimator = hp.Holomorphic(order, amplitude, solver=TIGHT, nudged_solver=TIGHT)
        errors.append(relative_error(estimator, net, x, y, truth))
    above = np.asarray(errors) > 1e-11  # below, rounding and the solver's tolerance take over
    assert above.sum() >= 3
    slope = np.polyfit(np.log(amplitudes[above]), np.log(np.asarray(errors)[above]), 1)[0]
    assert abs(slope - order) <= 0.15, (slope, errors)


def test_centered_is_two_points_on_the_circle(mild):
    net, x, y, _ = mild
    a = hp.Centered(0.2, solver=TIGHT)(net, x, y).gradient
    b = hp.Holomorphic(2, 0.2, solver=TIGHT)(net, x, y).gradient
    assert hp.alignment(a, b).total.relative_error < 1e-12


def test_odd_numbers_of_points(mild):
    net, x, y, truth = mild
    errors = [relative_error(hp.Holomorphic(n, 0.4, solver=TIGHT), net, x, y, truth) for n in (3, 5, 7)]
    assert errors[0] > 10 * errors[1] and errors[1] > 10 * errors[2]
    assert errors[2] < 1e-4


@pytest.mark.parametrize(
    ("hidden", "cost"), [((6,), "cross_entropy"), ((6, 5), "squared_error"), ((6, 5, 4), "cross_entropy")]
)
def test_gradient_is_the_derivative_of_the_loss(x64, hidden, cost):
    net = hp.mlp(5, hidden, 3, cost=cost, activation="tanh", weight_scale=0.5, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (4, 5))
    y = jnp.array([0, 1, 2, 1], jnp.int32)
    implicit = hp.Implicit(solver=TIGHT)(net, x, y)
    contour = hp.Holomorphic(8, 0.1, solver=TIGHT)(net, x, y)
    assert hp.alignment(contour.gradient, implicit.gradient).total.relative_error < 1e-7
    # Directional derivative of the settled loss by central differences, accurate to about 1e-9 at this step.
    direction = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), implicit.gradient)
    step = 1e-5
    loss = [
        hp.Implicit(solver=TIGHT)(jax.tree.map(lambda p, d, h=h: p + h * d, net, direction), x, y).loss
        for h in (step, -step)
    ]
    slope = sum(
        jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(implicit.gradient), jax.tree.leaves(direction), strict=True)
    )
    np.testing.assert_allclose((loss[0] - loss[1]) / (2 * step), slope, rtol=1e-6)


def test_iterative_adjoint_equals_the_factorised_one(wide, monkeypatch):
    """Oracle: the factorised system, for BiCGStab, and for GMRES where that gave up; of GMRES no sample goes on for
    long once its residual is small (41 cycles when it did)."""
    net, x, y, truth = wide
    cycles, solve = [], lx.linear_solve

    def counted(*arguments, **options):
        solution = solve(*arguments, **options)
        jax.debug.callback(lambda n: cycles.append(int(n)), solution.stats["num_steps"])
        return solution

    monkeypatch.setattr(lx, "linear_solve", counted)
    # Estimators that differ in something are compiled anew.
    for products, limit in ((linear_response._PRODUCTS, 0), (0, 1)):
        monkeypatch.setattr(linear_response, "_PRODUCTS", products)
        iterative = hp.Implicit(solver=TIGHT, dense_limit=limit)(net, x, y)
        jax.effects_barrier()
        assert bool(iterative.certificate.kept.all())
        assert hp.alignment(iterative.gradient, truth.gradient).total.relative_error < 1e-9
        assert len(cycles) == (0 if products else 20)
    assert max(cycles) <= 8, cycles


def test_one_hot_and_integer_targets_agree(mild):
    net, x, y, _ = mild
    a = hp.Holomorphic(4, 0.2)(net, x, y).gradient
    b = hp.Holomorphic(4, 0.2)(net, x, jax.nn.one_hot(y, 4)).gradient
    assert hp.alignment(a, b).total.relative_error == 0


@pytest.mark.parametrize("points", [2, 3, 4, 7, 10])
def test_half_circle_is_half_of_the_circle(points):
    # Closed form: with conjugates added, all N-th roots of unity, each once; their m-th powers sum to 0 or N.
    unit, multiplicity = half_circle(points)
    assert len(unit) == points // 2 + 1 and multiplicity.sum() == points
    for m in range(1, 2 * points):
        total = (multiplicity * unit**m).sum().real
        np.testing.assert_allclose(total, points if m % points == 0 else 0, atol=1e-12)


def test_gradient_applies_with_optax(mild):
    import equinox as eqx
    import optax

    net, x, y, _ = mild
    estimate = hp.Holomorphic(4, 0.2)(net, x, y)
    optimizer = optax.sgd(0.5)
    updates, _ = optimizer.update(estimate.gradient, optimizer.init(eqx.filter(net, eqx.is_array)))
    moved = eqx.apply_updates(net, updates)
    np.testing.assert_allclose(
        moved.connections[0].weight,
        net.connections[0].weight - 0.5 * estimate.gradient.connections[0].weight,
        rtol=1e-14,
    )
    assert hp.Implicit()(moved, x, y).loss < estimate.loss


def test_at_rest_is_the_gradient_of_the_rest_state_that_is_given(x64):
    """Oracle: finite differences of the loss, settling from that state; the network has two of them for one input."""
    net = hp.mlp(3, (6, 6), 2, activation="tanh", weight_scale=3.0, key=jax.random.key(4))
    x, y = jnp.zeros((1, 3)), jnp.zeros(1, jnp.int32)
    one = tuple(jnp.ones((1, *shape)) for shape in net.layer_shapes)
    rests = [hp.settle(net, x, solver=TIGHT, state=jax.tree.map(lambda s, k=k: k * s, one)) for k in (1.0, -1.0)]
    assert all(bool(rest.settled.all()) for rest in rests)
    assert np.abs(np.asarray(rests[0].state[-1] - rests[1].state[-1])).max() > 0.1
    direction = hp.mlp(3, (6, 6), 2, activation="tanh", key=jax.random.key(5))
    for rest in rests:

        def loss(h: float, state=rest.state) -> float:
            moved = jax.tree.map(lambda p, d: p + h * d, net, direction)
            logits = moved.readout(tuple(s[0] for s in hp.settle(moved, x, solver=TIGHT, state=state).state))
            return float(moved.cost(logits, jnp.asarray([1.0, 0.0])))

        gradient = hp.Implicit().at_rest(net, x, y, rest).gradient
        slope = sum(float(jnp.sum(a * b)) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
        assert slope == pytest.approx((loss(1e-5) - loss(-1e-5)) / 2e-5, rel=1e-6)


def test_at_rest_wants_states_that_fit(mild):
    net, x, y, truth = mild
    same = hp.Implicit(solver=TIGHT).at_rest(net, x, y, truth.rest)
    np.testing.assert_allclose(same.gradient.connections[0].weight, truth.gradient.connections[0].weight, rtol=1e-12)
    with pytest.raises(ValueError, match="state must hold layers of shapes"):
        hp.Implicit().at_rest(net, x[:3], y[:3], truth.rest)
    halfway = hp.settle(net, x, solver=hp.Alternating(max_steps=1))
    with pytest.raises(hp.UnsettledError, match="free phase"):
        hp.Implicit(unsettled="raise").at_rest(net, x, y, halfway)

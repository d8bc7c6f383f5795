"""How settling may end. Oracles: numpy's iteration of the same equation, and networks that cannot rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import holoprop as hp

SIZES, BATCH = (6, 10, 8, 3), 5
X = np.random.default_rng(1).uniform(size=(BATCH, SIZES[0]))


@pytest.fixture
def net(x64, chain):
    return chain(SIZES, scale=1.5, seed=4, dtype=np.float64)


@pytest.fixture(scope="module")
def heavy(chain):
    """A network of weights ×5 on which most samples never settle synchronously."""
    return chain((64, 128, 128, 10), scale=5.0, seed=6), np.random.default_rng(0).uniform(size=(20, 64)).astype("f4")


def test_two_cycles_are_recognised(heavy, update):
    """Oracle: in numpy, the state reported moves with one update and is back after two."""
    net, x = heavy
    rest = hp.settle(net, x, solver=hp.Picard())
    cycling = np.asarray(rest.status) == hp.Status.two_cycle
    assert cycling.sum() > 10 and not (np.asarray(rest.status) == hp.Status.max_steps).any()
    assert rest.steps[cycling].max() < 500
    state = [np.asarray(layer)[cycling] for layer in rest.state]
    once = update(net, x[cycling], state)
    twice = update(net, x[cycling], once)

    def moved(to):
        return np.sqrt(sum((np.abs(a - b) ** 2).sum(-1) for a, b in zip(to, state, strict=True)))

    np.testing.assert_allclose(moved(once), np.asarray(rest.residual)[cycling], rtol=1e-4)
    assert (moved(twice) < 2e-3 * moved(once)).all() and moved(once).min() > 0.1


@pytest.mark.parametrize("solver", [hp.Alternating(), hp.Picard(damping=0.5)], ids=["alternating", "damped"])
def test_alternating_and_damping_settle_them(heavy, residual, solver):
    net, x = heavy
    rest = hp.settle(net, x, solver=solver)
    assert rest.settled.all()
    # The tolerance in float32 and what rounding adds.
    assert residual(net, x, rest.state).max() < 2 * np.sqrt(256) * 1e-6


@pytest.mark.parametrize(
    ("solver", "steps"),
    [
        (hp.Picard(max_steps=3), 3),
        (hp.Picard(damping=0.3, max_steps=3), 3),
        (hp.Alternating(max_steps=3), 3),
        (hp.Anderson(max_steps=3, fallback=False), 3),
        (hp.Anderson(max_steps=3), 9),
    ],
    ids=["Picard", "damped", "Alternating", "Anderson without fallback", "Anderson, three stages"],
)
def test_step_limit(net, residual, solver, steps):
    """Oracle: numpy's residual of the state returned, which is far from rest."""
    rest = hp.settle(net, X, solver=solver)
    np.testing.assert_array_equal(rest.status, hp.Status.max_steps)
    np.testing.assert_array_equal(rest.steps, steps)
    np.testing.assert_allclose(rest.residual, residual(net, X, rest.state), rtol=1e-10)
    assert rest.residual.min() > 1e-8 and not rest.settled.any()


def test_throw(net):
    with pytest.raises(hp.UnsettledError) as raised:
        hp.settle(net, X, solver=hp.Picard(max_steps=3), throw=True)
    message = str(raised.value)
    assert message.startswith("settle: 5 of 5 did not settle (5 max_steps; largest residual ")
    assert message.endswith("raise max_steps, relax the tolerance, damp the solver or shrink the weights")
    assert "\n" not in message
    assert hp.settle(net, X, solver=hp.Picard(), throw=True).settled.all()


@pytest.mark.parametrize("solver", [hp.Picard(), hp.Alternating(), hp.Anderson()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_inputs_that_are_not_finite_harm_no_other_sample(net, solver, poison):
    """Oracle: the same batch without the poison, to the bit."""
    clean, spoiled = hp.settle(net, X, solver=solver), X.copy()
    spoiled[2] = poison
    rest = hp.settle(net, spoiled, solver=solver)
    np.testing.assert_array_equal(rest.status, [0, 0, hp.Status.diverged, 0, 0])
    others = np.array([0, 1, 3, 4])
    for mine, theirs in zip(
        (*rest.state, rest.steps, rest.residual), (*clean.state, clean.steps, clean.residual), strict=True
    ):
        np.testing.assert_array_equal(mine[others], theirs[others])
    with pytest.raises(hp.UnsettledError, match=r"^settle: 1 of 5 did not settle \(1 diverged; largest residual"):
        hp.settle(net, spoiled, solver=solver, throw=True)


@pytest.mark.parametrize("solver", [hp.Picard(), hp.Anderson()], ids=lambda s: type(s).__name__)
def test_a_start_that_is_not_finite_harms_no_other_sample(net, solver):
    start = [np.zeros((BATCH, n)) for n in SIZES[1:3]]
    start[1][3] = np.nan
    rest = hp.settle(net, X, solver=solver, state=tuple(map(jnp.asarray, start)))
    np.testing.assert_array_equal(rest.status, [0, 0, 0, hp.Status.diverged, 0])
    clean = hp.settle(net, X, solver=solver)
    for mine, theirs in zip(rest.state, clean.state, strict=True):
        np.testing.assert_allclose(mine[np.array([0, 1, 2, 4])], theirs[np.array([0, 1, 2, 4])], rtol=0, atol=1e-10)


@pytest.mark.parametrize("solver", [hp.Picard(), hp.Alternating(), hp.Anderson()], ids=lambda s: type(s).__name__)
def test_growth_without_bound_is_divergence(solver):
    """Two rectifiers that excite each other fourfold a round have no rest state: they double for ever."""
    net = hp.LayeredNetwork(
        (hp.Dense(jnp.ones((1, 1)), jnp.zeros(1)), hp.Dense(jnp.full((1, 1), 2.0), jnp.zeros(1))),
        hp.Readout(jnp.ones((1, 2)), jnp.zeros(2)),
        hp.ReLU(),
        hp.SquaredError(),
    )
    rest = hp.settle(net, np.array([[0.0], [1.0]], np.float32), solver=solver)
    np.testing.assert_array_equal(rest.status, [hp.Status.settled, hp.Status.diverged])
    assert float(rest.residual[1]) > 1e6


def test_nudges_that_do_not_fit(net, unchecked):
    y = np.zeros(BATCH, np.int32)
    for arguments, message in [
        ((None, 0.1), "a nudge beta needs targets y"),
        ((y[:3], 0.1), "x holds 5 samples but y holds 3"),
        ((y, np.zeros(3)), r"beta must be a number or of shape \(5,\) or \(points, 5\), got \(3,\)"),
        ((y, np.zeros((5, 2))), r"beta must be a number or of shape \(5,\) or \(points, 5\), got \(5, 2\)"),
        ((y, np.zeros((2, 2, 5))), r"beta must be a number or of shape \(5,\) or \(points, 5\), got \(2, 2, 5\)"),
        ((y, np.nan), "beta must be finite, got nan"),
        ((y, jnp.asarray(np.inf)), "beta must be finite, got inf"),
        ((y, jnp.full(BATCH, np.nan)), "beta must be finite, got "),
        ((np.zeros(BATCH), 0.1), r"y must be integer labels of shape \(batch,\)"),
    ]:
        with pytest.raises(ValueError, match="^" + message) as raised:
            hp.settle(net, X, *arguments)
        assert "\n" not in str(raised.value)


def test_inputs_that_do_not_fit(net):
    for x, message in [
        (X[0], r"x must have shape \(batch, 6\), got \(6,\); add the batch axis with x\[None\]"),
        (X[:, :5], r"x must have shape \(batch, 6\), got \(5, 5\)"),
        (X[:0], "x holds no sample"),
        (X + 0j, "inputs must be real, got complex128"),
    ]:
        with pytest.raises(ValueError, match="^" + message):
            hp.settle(net, x)
    with pytest.raises(
        ValueError, match=r"^state must hold layers of shapes \[\(5, 10\), \(5, 8\)\], got \[\(5, 8\)\]"
    ):
        hp.settle(net, X, state=(jnp.zeros((5, 8)),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hp.Picard(damping=1.0), r"damping must be in \[0, 1\), got 1.0"),
        (lambda: hp.Picard(damping=-0.1), r"damping must be in \[0, 1\), got -0.1"),
        (lambda: hp.Picard(tolerance=0.0), "tolerance must be positive, got 0.0"),
        (lambda: hp.Alternating(tolerance=-1e-6), "tolerance must be positive, got -1e-06"),
        (lambda: hp.Alternating(max_steps=0), "max_steps must be at least 1, got 0"),
        (lambda: hp.Anderson(depth=0), "depth must be from 1 to 8, got 0"),
        (lambda: hp.Anderson(depth=9), "depth must be from 1 to 8, got 9"),
        (lambda: hp.Anderson(patience=0), "patience must be at least 1, got 0"),
        (lambda: hp.Anderson(tolerance=float("nan")), "tolerance must be positive, got nan"),
        (
            lambda: hp.Anderson(tolerance=float("inf")),
            "tolerance must be finite, got inf: every state would count as settled",
        ),
        (
            lambda: hp.Picard(tolerance=float("inf")),
            "tolerance must be finite, got inf: every state would count as settled",
        ),
    ],
)
def test_solvers_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_integer_inputs_settle_like_floats(net):
    """Pixels come as uint8."""
    whole = (X * 10).astype(np.uint8)
    a, b = hp.settle(net, whole, solver=hp.Picard()), hp.settle(net, whole.astype(float), solver=hp.Picard())
    for mine, theirs in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(mine, theirs)

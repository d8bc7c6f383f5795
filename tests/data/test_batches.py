"""Batches. Oracle: that every sample occurs exactly once, and the equation of the order."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from holoprop.data.batches import batch_count, epoch_batches, padded_batches

SIZES = {"n": st.integers(1, 50), "batch_size": st.integers(1, 12)}


@given(**SIZES, seed=st.integers(0, 2**64), epoch=st.integers(0, 10**6))
def test_an_epoch_visits_every_sample_once(n: int, batch_size: int, seed: int, epoch: int) -> None:
    """Oracle: `default_rng([seed, epoch]).permutation(n)`, cut into pieces."""
    batches = list(epoch_batches(n, batch_size, seed=seed, epoch=epoch, drop_last=False))
    np.testing.assert_array_equal(np.concatenate(batches), np.random.default_rng([seed, epoch]).permutation(n))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n))
    assert len(batches) == batch_count(n, batch_size, drop_last=False)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    if batch_size <= n:
        whole = list(epoch_batches(n, batch_size, seed=seed, epoch=epoch))
        assert len(whole) == batch_count(n, batch_size) == n // batch_size
        np.testing.assert_array_equal(np.concatenate(whole), np.concatenate(batches)[: len(whole) * batch_size])


@given(**SIZES, start=st.integers(0, 60), drop_last=st.booleans())
def test_an_epoch_is_resumed_where_it_stopped(n: int, batch_size: int, start: int, drop_last: bool) -> None:
    n = max(n, batch_size)
    whole = list(epoch_batches(n, batch_size, seed=3, epoch=1, drop_last=drop_last))
    start = min(start, len(whole))
    rest = list(epoch_batches(n, batch_size, seed=3, epoch=1, start=start, drop_last=drop_last))
    assert [list(batch) for batch in rest] == [list(batch) for batch in whole[start:]]


def test_orders_differ_between_epochs_and_seeds() -> None:
    """Of 40! orders no two of nine are alike, and (seed, epoch) = (0, 1) is not (1, 0)."""
    orders = {
        tuple(np.concatenate(list(epoch_batches(40, 10, seed=seed, epoch=epoch))))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


@given(**SIZES)
def test_padded_batches_have_one_shape_and_keep_the_order(n: int, batch_size: int) -> None:
    pairs = list(padded_batches(n, batch_size))
    assert {(index.shape, valid.shape) for index, valid in pairs} == {((min(batch_size, n),),) * 2}
    np.testing.assert_array_equal(np.concatenate([index[valid] for index, valid in pairs]), np.arange(n))
    assert all((index[~valid] == n - 1).all() for index, valid in pairs)
    assert all(valid.all() for _, valid in pairs[:-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": 11}, "batch_size 11 exceeds the 10 samples"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"epoch": -2}, "epoch must not be negative, got -2"),
        ({"start": 4}, "start must be in 0 … 3, .* got 4"),
        ({"start": -1}, "start must be in 0 … 3, .* got -1"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments: dict[str, int], message: str) -> None:
    """At the call, not when the first batch is asked for."""
    with pytest.raises(ValueError, match=message):
        epoch_batches(**{"n": 10, "batch_size": 3, "seed": 0, "epoch": 0, **arguments})


@pytest.mark.parametrize(("n", "batch_size"), [(0, 3), (3, 0), (-1, 3)])
def test_padded_batches_refuse_bad_sizes_at_once(n: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        padded_batches(n, batch_size)

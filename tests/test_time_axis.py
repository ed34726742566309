"""Steps in groups: every step belongs to one, and a mean is that of all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rnnshapes.render.time_axis import balanced_groups, group_means, group_size, groups_of

COUNTS = [1, 2, 9, 10, 11, 35, 70, 71, 5_000, 100_000]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("most", [1, 10, 35])
def test_groups_are_as_small_as_fit(count: int, most: int) -> None:
    """One smaller, and there would be too many."""
    size = group_size(count, most)
    assert -(-count // size) <= most
    assert size == 1 or -(-count // (size - 1)) > most


@pytest.mark.parametrize("count", COUNTS)
def test_every_step_is_in_one_group(count: int) -> None:
    """Neighbours stand together, and no group is empty."""
    for edges in (groups_of(7, count), balanced_groups(min(count, 35), count)):
        assert (edges[0], edges[-1]) == (0, count)
        assert (np.diff(edges) > 0).all()
    assert (np.diff(groups_of(7, count))[:-1] == 7).all()
    assert np.ptp(np.diff(balanced_groups(min(count, 35), count))) <= 1


def expected(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The means of (units, steps), group by group."""
    means = np.full((len(values), len(edges) - 1), np.nan)
    for group, (start, stop) in enumerate(pairwise(edges)):
        counted = np.arange(start, stop)[weights[start:stop] > 0]
        if len(counted):
            means[:, group] = np.average(values[:, counted], axis=1, weights=weights[counted])
    return means


@pytest.mark.parametrize("count", COUNTS)
def test_means_are_of_all_steps_that_count(count: int) -> None:
    """Nothing is sampled, and a step of weight 0 may hold anything."""
    rng = np.random.default_rng(3)
    values = rng.standard_normal((4, count))
    edges = balanced_groups(min(count, 35), count)
    for weights in (np.ones(count), (rng.random(count) < 0.5).astype(float), rng.random(count)):
        wanted = expected(values, weights, edges)
        for hidden in (0.0, np.nan, np.inf):
            means, totals = group_means(np.where(weights > 0, values, hidden), weights, edges)
            np.testing.assert_allclose(means, wanted, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(totals, np.add.reduceat(weights, edges[:-1]))


def test_means_of_large_numbers_do_not_overflow() -> None:
    """The sum of a group would be infinite."""
    values = np.full((2, 1_000), 1.7e308)
    means, _ = group_means(values, np.ones(1_000), groups_of(100, 1_000))
    np.testing.assert_allclose(means, 1.7e308)


def test_one_bad_step_spoils_only_its_group() -> None:
    """A mean of NaN is NaN."""
    values = np.ones((1, 30))
    values[0, 12] = np.nan
    means, _ = group_means(values, np.ones(30), groups_of(10, 30))
    np.testing.assert_array_equal(means, [[1, np.nan, 1]])


def test_means_along_both_axes_are_means_of_blocks() -> None:
    """Groups may differ in size, and some numbers do not count."""
    rng = np.random.default_rng(5)
    values, weights = rng.standard_normal((23, 11)), (rng.random((23, 11)) < 0.7).astype(float)
    means, totals = group_means(values, weights, groups_of(5, 23), axis=0)
    means, totals = group_means(means, totals, groups_of(4, 11), axis=1)
    for row, column in np.ndindex(means.shape):
        block = np.s_[5 * row : 5 * row + 5, 4 * column : 4 * column + 4]
        assert totals[row, column] == weights[block].sum() > 0
        wanted = np.average(values[block], weights=weights[block])
        assert means[row, column] == pytest.approx(wanted)

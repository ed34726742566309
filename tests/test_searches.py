"""What the search for an explanation tries, and what it says of a port that nothing explains."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes.port import diagnosis
from rnnshapes.port.diagnosis import diagnose
from rnnshapes.port.explanation import Diagnosis
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.location import Extent
from tests.helpers.handmade import Port, weights_of
from tests.helpers.tried import base_of, hypothesis_of

SIZES: dict[str, Any] = {"N": 2, "T": 5, "D": 3, "M": 4, "K": 6, "cell": "simple"}
Array = np.ndarray
WHOLE = Extent(differing=60)


@cache
def noisy(size: float = 1.0) -> Hypothesis:
    """Return a port of random numbers."""
    base = base_of(**SIZES)
    noise = np.random.default_rng(1).uniform(-size, size, (2, 5, 6))
    return base.map_quantities(lambda q: replace(q, values=q.values + noise))


@cache
def searched(extent: Extent, *, deep: bool = True) -> Diagnosis:
    return diagnose(noisy(), "float32", extent=extent, deep=deep)


@pytest.mark.parametrize(
    ("extent", "deep", "pairs", "complete", "weights_tried"),
    [
        (WHOLE, True, "all", True, True),
        (WHOLE._replace(is_isolated=True, unit=("y_hat", 2)), True, "", True, True),
        (WHOLE._replace(in_head=True), True, "head", False, False),
        (WHOLE, False, "", True, False),
    ],
)
def test_how_much_is_tried_follows_from_the_extent(
    extent: Extent, deep: bool, pairs: str, complete: bool, weights_tried: bool
) -> None:
    found = searched(extent, deep=deep)
    assert found.explanations == ()
    assert (found.pairs, found.complete, found.weights_tried) == (pairs, complete, weights_tried)
    assert not found.cut_off
    assert not found.too_few_numbers


def test_pairs_are_more_than_single_mistakes() -> None:
    every, head = searched(WHOLE), searched(WHOLE._replace(in_head=True))
    alone = searched(WHOLE, deep=False)
    assert alone.tried <= head.tried < every.tried
    assert every.tried > 2 * alone.tried


@pytest.mark.parametrize("deep", [False, True])
def test_a_search_that_takes_long_is_cut_off(deep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_MOST_WORK", 100)
    found = diagnose(noisy(), "float32", extent=WHOLE, deep=deep)
    assert (found.cut_off, found.complete) == (True, False)
    assert found.tried < searched(WHOLE, deep=False).tried


def unexplained(noise: float, bias: float = 2.0, **sizes: Any) -> tuple[Diagnosis, Array, Array]:
    """Return what is said of a mistake beside noise, the difference, and what is left of it."""
    spec = {**SIZES, **sizes}
    golden = rnnshapes.golden(**spec).arrays
    weights = weights_of(golden, "simple_rnn")
    wrong = Port("simple", "float64", bias=bias).run(weights, golden["x"])["y_hat"]
    right = golden["y_hat"]
    rms = np.sqrt(np.mean((wrong - right) ** 2)) if bias != 1 else 1.0
    left = noise * rms * np.random.default_rng(2).choice([-1.0, 1.0], right.shape)
    base = hypothesis_of({"y_hat": (wrong + left).astype("f")}, **spec)
    extent = Extent(differing=right.size)
    found = diagnose(base, "float32", extent=extent, deep=False)
    assert found.explanations == ()
    return found, np.abs(wrong + left - right), np.abs(left)


@pytest.mark.parametrize("noise", [1e-3, 0.02, 0.2])
def test_a_mistake_beside_noise_is_near(noise: float) -> None:
    """What is left of the difference is measured."""
    found, _, left = unexplained(noise)
    assert [mistake.id for mistake in found.nearest] == ["bias.twice"]
    assert found.max_abs == pytest.approx(left.max(), rel=1e-2)


@pytest.mark.parametrize(("noise", "bias"), [(0.6, 2.0), (0.3, 1.0)])
def test_the_network_is_nearest_to_much_noise(noise: float, bias: float) -> None:
    found, difference, _ = unexplained(noise, bias)
    assert found.nearest == ()
    assert found.max_abs == pytest.approx(difference.max(), rel=1e-3)


@pytest.mark.parametrize(("count", "named"), [(6, True), (5, False)])
def test_few_numbers_have_no_near_mistake(count: int, named: bool) -> None:
    """Twelve numbers are enough, ten are not."""
    found, *_ = unexplained(0.25, N=1, T=2, K=count)
    assert bool(found.nearest) == named

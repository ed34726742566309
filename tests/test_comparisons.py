"""One reported quantity beside the expected numbers and their bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnshapes.port.compare import (
    Comparison,
    Pattern,
    compare_quantities,
    compare_with,
    fully_reported,
    is_stepwise,
)
from tests.helpers.handmade import SIZES
from tests.helpers.tried import base_of, hypothesis_of

Array = np.ndarray
RIGHT = np.random.default_rng(0).uniform(0.2, 0.9, (3, 9, 2))


def compared(
    values: Array, expected: Array = RIGHT, bound: Any = 1e-3, rounding: float = 0.0
) -> Comparison:
    (quantity,) = hypothesis_of({"y_hat": RIGHT}, **SIZES).quantities
    quantity = replace(quantity, values=values, rounding=np.full(values.shape, rounding))
    return compare_with(quantity, expected, np.broadcast_to(bound, expected.shape))


def off(*errors: tuple[Any, float]) -> Array:
    values = RIGHT.copy()
    for at, error in errors:
        values[at] += error
    return values


def test_the_first_difference_is_the_earliest() -> None:
    """By step, then by sample; the largest ratio is another."""
    found = compared(off(((2, 3, 1), 0.004), ((1, 5, 0), 0.5), ((0, 3, 1), -0.002)))
    assert (found.first.sample, found.first.t, found.first.unit) == (0, 3, 1)
    assert found.first_values == pytest.approx((RIGHT[0, 3, 1] - 0.002, RIGHT[0, 3, 1]))
    assert (found.index.sample, found.index.t, found.index.unit) == (1, 5, 0)
    assert found.ratio == pytest.approx(500)
    assert (found.differing, found.compared, found.left_out, found.wide) == (3, 54, 0, 0)
    assert found.max_abs == pytest.approx(0.5)
    assert found.pattern == Pattern((0, 1), (0, 1, 2), (3, 5), (3, 9, 2), (1,))
    assert found.bits == pytest.approx(np.log2(4) + np.log2(500) + np.log2(2))
    assert found.bound == pytest.approx(1e-3)
    assert (found.agrees, found.passed, found.only_zeros) == (False, False, False)


@pytest.mark.parametrize(("error", "agrees"), [(0.99e-3, True), (1.01e-3, False)])
def test_numbers_within_their_bound_agree(error: float, agrees: bool) -> None:
    found = compared(off(((1, 2, 0), error)))
    assert (found.agrees, found.passed, found.differing) == (agrees, agrees, int(not agrees))
    assert (found.first is None) == (found.first_values is None) == agrees
    assert found.pattern.steps == (() if agrees else (2,))
    assert found.bits == pytest.approx(0 if agrees else np.log2(1.01))
    assert compared(off(((1, 2, 0), error)), rounding=1e-3).agrees


def test_steps_with_wide_bounds_are_left_out() -> None:
    """Unless a number is far off; a bound of more than the largest number says nothing."""
    bound = np.full((3, 9, 2), 1e-3)
    bound[1, 4, 1] = 2 * RIGHT.max()
    found = compared(RIGHT, bound=bound)
    assert (found.compared, found.left_out, found.agrees) == (52, 2, True)
    found = compared(off(((1, 4, 0), 0.015)), bound=bound)
    assert (found.compared, found.left_out, found.differing) == (52, 2, 0)
    found = compared(off(((1, 4, 0), 0.017)), bound=bound)
    assert (found.compared, found.left_out, found.differing) == (53, 1, 1)
    bound[1, 4, 1] = np.inf
    assert compared(RIGHT, bound=bound).left_out == 2


def test_infinite_numbers_are_left_out() -> None:
    expected = RIGHT.copy()
    expected[2, 8, 1] = np.inf
    found = compared(RIGHT, expected)
    assert (found.compared, found.left_out, found.max_abs) == (53, 1, np.inf)


def test_more_has_to_be_compared_than_left_out() -> None:
    bound = np.full((3, 9, 2), 1e-3)
    bound[:, :4] = 2.0
    assert compared(RIGHT, bound=bound).agrees
    bound[:, 4, :] = 2.0
    found = compared(RIGHT, bound=bound)
    assert (found.compared, found.left_out) == (24, 30)
    assert not found.agrees
    nothing = compared(RIGHT, bound=2.0)
    assert (nothing.compared, nothing.bound, nothing.agrees) == (0, 0.0, False)
    assert nothing.ratio < 0


def test_zeros_are_compared_exactly_or_by_their_bound() -> None:
    zeros = np.zeros((3, 9, 2))
    found = compared(zeros, zeros, bound=1e-30)
    assert (found.only_zeros, found.agrees, found.compared) == (True, True, 54)
    assert compared(zeros + 1e-4, zeros).agrees
    wrong = zeros.copy()
    wrong[0, 1, 0] = 0.1
    assert compared(wrong, zeros).differing == 1


def test_zeros_among_wide_bounds_prove_nothing() -> None:
    """The only numbers with a narrow bound are 0."""
    expected = np.where(np.arange(9)[:, None] < 2, RIGHT, 0.0)
    bound = np.where(np.arange(9)[:, None] < 2, 5.0, 1e-3) * np.ones((3, 9, 2))
    assert compared(expected, expected, bound=bound).compared == 0


@pytest.mark.parametrize(
    ("wide", "left_out", "is_wide"),
    [(0, 0, False), (27, 0, True), (26, 0, False), (18, 18, True), (18, 17, False)],
)
def test_most_numbers_have_to_prove_something(wide: int, left_out: int, is_wide: bool) -> None:
    found = replace(compared(RIGHT), wide=wide, left_out=left_out)
    assert (found.is_wide, found.passed, found.agrees) == (is_wide, not is_wide, True)
    assert not replace(found, shape="shape").passed


# --- Which numbers follow in one step -------------------------------------------------------------

FORWARD, BACKWARD = (f"bidirectional/{way}_lstm" for way in ("forward", "backward"))


@pytest.mark.parametrize(
    ("what", "spec", "names", "stepwise"),
    [
        ("lstm.h lstm.c", {}, ["lstm"], True),
        ("lstm.h", {}, [], False),
        ("lstm.h lstm.c y_hat", {}, ["lstm"], False),
        ("lstm.h lstm.c lstm_1.h lstm_1.c", {"M": [4, 5]}, ["lstm"], False),
        (f"{FORWARD}.h {FORWARD}.c", {"bidirectional": True}, [FORWARD], True),
        (f"{FORWARD}.h {FORWARD}.c {BACKWARD}.h", {"bidirectional": True}, [FORWARD], False),
    ],
)
def test_all_states_of_a_recurrence_are_proven_stepwise(
    what: str, spec: dict[str, Any], names: list[str], stepwise: bool
) -> None:
    base = base_of(**{**SIZES, "cell": "lstm", **spec}, what=what)
    assert [one.name for one in fully_reported(base)] == names
    assert is_stepwise(base) == stepwise
    checks = compare_quantities(base, "float64")
    proven = [quantity.name in names for quantity in base.quantities]
    assert [check.proven for check in checks] == proven
    assert all(check.passed for check in checks)
    last = base.map_quantities(lambda q: q.at_steps(slice(-1, None), np.array([8])))
    assert list(fully_reported(last)) == []
    assert not is_stepwise(last)


def test_narrow_arrays_are_compared_in_their_own_dtype() -> None:
    base = base_of(**SIZES)
    off_by_little = base.map_quantities(lambda q: replace(q, values=q.values * (1 + 2e-4)))
    (wide,) = compare_quantities(off_by_little, "float32")
    narrow = off_by_little.map_quantities(lambda q: replace(q, narrow_dtype="float16"))
    (short,) = compare_quantities(narrow, "float32")
    assert (wide.agrees, short.agrees, short.narrow_dtype) == (False, True, "float16")
    (stated,) = compare_quantities(narrow, "bfloat16")
    assert stated.bound > 2 * short.bound

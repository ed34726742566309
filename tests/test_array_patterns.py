"""What an array of recovered numbers looks like beside the expected one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from rnnshapes.port.hypothesis import Where
from rnnshapes.port.recovery.array_patterns import RecoveredArray, patterns
from rnnshapes.port.recovery.number_mistakes import number_mistake

Array = np.ndarray
RNG = np.random.default_rng(5)
KERNEL, RECURRENT = RNG.uniform(-1, 1, (3, 8)), RNG.uniform(-1, 1, (4, 8))
BIAS, ROWS = RNG.uniform(0.2, 1, 8), RNG.uniform(0.2, 1, (2, 8))
GATES = ("a", "b")
#: Keys and expected arrays of a cell of two gates and four units.
ARRAYS = {"Wx": KERNEL, "Wh": RECURRENT, "bh": BIAS}
NAMES = {"Wx": "kernel", "Wh": "recurrent_kernel", "bh": "bias", "b": "bias"}


def looks(
    key: str,
    found: Array,
    *,
    error: Any = 1e-6,
    gates: tuple[str, ...] = GATES,
    expected: Any = None,
) -> list[tuple[str, Where]]:
    """Return id and place of each pattern that makes the recovered numbers."""
    right = ARRAYS[key] if expected is None else expected
    errors = np.broadcast_to(error, right.shape)
    where = Where("rnn", None, NAMES[key])
    recovered = RecoveredArray(key, "it", where, gates, right, right, found, errors)
    result = []
    for mistake, array in patterns(recovered):
        assert array.shape == right.shape
        if np.all(np.abs(array - found) <= errors) and not np.array_equal(array, right):
            result.append((mistake.id, mistake.where))
            assert mistake.fix
    return result


def of_units(a: Array, order: list[int]) -> Array:
    """Return the columns of other units, in each gate."""
    return a.reshape(-1, 4)[:, order].reshape(a.shape)


def place(key: str, **fields: Any) -> Where:
    return Where("rnn", None, NAMES[key])._replace(**fields)


@pytest.mark.parametrize("key", ARRAYS)
@pytest.mark.parametrize("order", [[1, 0, 2, 3], [3, 0, 1, 2], [2, 2, 2, 2], [0, 1, 1, 3]])
def test_other_units_are_permuted(key: str, order: list[int]) -> None:
    found = looks(key, of_units(ARRAYS[key], order))
    assert found == [("weights.permuted", place(key))]


@pytest.mark.parametrize("key", ARRAYS)
def test_units_that_are_not_known_stay(key: str) -> None:
    error = np.where(np.arange(8) % 4 >= 2, np.inf, 1e-6)
    found = of_units(ARRAYS[key], [1, 0, 2, 3])
    found = np.where(np.isinf(error), 9.0, found)
    assert ("weights.permuted", place(key)) in looks(key, found, error=error)


@pytest.mark.parametrize("key", ["Wx", "Wh"])
def test_other_rows_are_permuted_or_omitted(key: str) -> None:
    a = ARRAYS[key]
    cyclic = looks(key, np.roll(a, 1, axis=0))
    assert cyclic == [("input.permuted" if key == "Wx" else "weights.permuted", place(key))]
    assert looks(key, a[[0, 0, *range(2, len(a))]]) == [("weights.permuted", place(key))]
    for rows in ([1], [0, 2]):
        kept = np.isin(np.arange(len(a)), rows, invert=True)
        assert looks(key, a * kept[:, None])[0] == ("weights.row_omitted", place(key))
    moved = np.concatenate([a[1:], 0 * a[:1]])
    assert looks(key, moved) == [("weights.permuted", place(key))]


def test_rows_of_unknown_units_are_ignored() -> None:
    error = np.where(np.arange(8) % 4 >= 2, np.inf, 1e-6)
    found = np.where(np.isinf(error), 9.0, RECURRENT[[1, 0, 3, 2]])
    assert looks("Wh", found, error=error)[-1] == ("weights.permuted", place("Wh"))


@pytest.mark.parametrize("key", ARRAYS)
def test_the_first_number_in_each_place_is_permuted(key: str) -> None:
    a = ARRAYS[key]
    assert ("weights.permuted", place(key)) in looks(key, np.full_like(a, a.ravel()[0]))


@pytest.mark.parametrize("key", ARRAYS)
def test_zeros_have_a_gate_or_a_unit(key: str) -> None:
    a, omitted = ARRAYS[key], "bias.omitted" if key == "bh" else "weights.omitted"
    columns = np.arange(8)
    for number, gate in enumerate(GATES):
        (one, *_) = looks(key, a * (columns // 4 != number))
        assert one == (omitted, place(key, gate=gate))
    (one, *_) = looks(key, a * (columns % 4 != 3))
    assert one == ("weights.omitted", place(key, unit=3))
    (one, *_) = looks(key, a * (columns % 4 < 2))
    assert one == ("weights.omitted", place(key))


def test_bias_of_a_dense_layer_has_no_rows() -> None:
    columns = np.arange(8)
    for changed, expected in (
        (BIAS[[1, 0, *range(2, 8)]], ("weights.permuted", place("b"))),
        (BIAS * (columns != 3), ("weights.omitted", place("b", unit=3))),
    ):
        assert looks("b", changed, gates=(), expected=BIAS) == [expected]


def test_two_gates_of_three_have_no_single_gate() -> None:
    a = RNG.uniform(0.2, 1, (3, 12))
    found = a * (np.arange(12) // 4 == 1)
    (one, *_) = looks("Wx", found, gates=("a", "b", "c"), expected=a)
    assert one == ("weights.omitted", place("Wx"))


@pytest.mark.parametrize("key", ARRAYS)
def test_small_numbers_are_pruned_from_two_on(key: str) -> None:
    a = ARRAYS[key]
    sizes = np.sort(np.abs(a).ravel())
    for count, ids in ((1, []), (2, ["weights.pruned"]), (3, ["weights.pruned"])):
        found = looks(key, np.where(np.abs(a) <= sizes[count - 1], 0, a))
        assert [id_ for id_, _ in found] == ids


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.5, 0.5, True),
        (-0.437, 0.437, True),
        (-0.4, 0.6, True),
        (-0.5, np.inf, True),
        (-np.inf, 0.5, True),
        (-np.inf, "largest", False),
    ],
)
def test_numbers_are_clipped_to_one_or_two_limits(low: Any, high: Any, expected: bool) -> None:
    """One smaller number is none."""
    if high == "largest":
        high = np.sort(RECURRENT.ravel())[-2] * 0.3 + RECURRENT.max() * 0.7
    found = looks("Wh", np.clip(RECURRENT, low, high))
    assert [id_ for id_, _ in found] == ["weights.clipped"] * expected


#: Of nine rows, three units and one number of 0.3456: the key, what is done, and words of the text.
WORDS: list[tuple[str, Callable[[Array], Array], list[str]]] = [
    ("Wx", lambda a: a[:, [1, 0, 2]], ["unit 1 for unit 0", "unit 0 for unit 1"]),
    ("Wx", lambda a: a[:, [2, 2, 2]], ["unit 2 for unit 0", "unit 2 for unit 1"]),
    ("Wx", lambda a: a[[1, *range(1, 9)]], ["row 1 for row 0"]),
    ("Wx", lambda a: a * (np.arange(9) != 7)[:, None], ["row 7"]),
    ("Wx", lambda a: a * (np.arange(9) > 1)[:, None], ["rows 0, 1"]),
    ("Wx", lambda a: np.r_[a[[1]], 0 * a[[1]], a[2:]], ["row 1 for row 0, 0 for row 1"]),
    ("Wx", lambda a: a[[8, *range(8)]], ["features of x", "8, 0, 1, 2, 3, 4, 5, 6, …"]),
    ("Wh", lambda a: a[[2, 0, 1]], ["its units", "2, 0, 1"]),
    ("bh", lambda a: a * [1, 0, 1], ["unit 1"]),
    ("bh", lambda a: a * [0, 1, 0], ["units 0, 2"]),
    ("Wx", lambda a: np.where(np.abs(a) <= 0.3456, 0, a), ["0.3456"]),
    ("Wx", lambda a: np.clip(a, -0.43, 0.43), ["±0.43"]),
    ("Wx", lambda a: np.clip(a, -0.37, 0.5), ["[-0.37, 0.5]"]),
    ("Wx", lambda a: np.clip(a, -0.37, np.inf), ["[-0.37, inf]"]),
]


@pytest.mark.parametrize(("key", "change", "words"), WORDS)
def test_numbers_of_a_pattern_are_said(key: str, change: Any, words: list[str]) -> None:
    rng = np.random.default_rng(2)
    right = rng.uniform(-1, 1, {"Wx": (9, 3), "Wh": (3, 3), "bh": (3,)}[key])
    right.flat[-2] = 0.3456
    errors = np.full(right.shape, 1e-6)
    recovered = RecoveredArray(key, "it", place(key), (), right, right, change(right), errors)
    (text, *_) = [m.text for m, a in patterns(recovered) if np.allclose(a, change(right), 0, 1e-6)]
    assert [word for word in words if word not in text] == []


def test_limits_have_as_few_digits_as_errors_allow() -> None:
    """What is recovered is off by up to 1e-3, the limits are not."""
    right = np.clip(RECURRENT, -0.41, 0.6)
    found = right + RNG.uniform(-1e-3, 1e-3, right.shape)
    where = place("Wh")
    recovered = RecoveredArray(
        "Wh", "it", where, GATES, RECURRENT, RECURRENT, found, 0 * found + 1e-3
    )
    clipped = [a for mistake, a in patterns(recovered) if mistake.id == "weights.clipped"]
    assert sum(np.array_equal(a, right) for a in clipped) == 1


def test_one_clipped_number_needs_a_round_limit() -> None:
    right = np.array([[0.31, 0.85, -0.2], [0.12, -0.45, 0.64]])
    for limit, ids in ((0.7, {"weights.clipped"}), (0.72, set())):
        found = looks("Wx", np.minimum(right, limit), gates=(), expected=right)
        assert {id_ for id_, _ in found} == ids


@pytest.mark.parametrize("largest", [0.4, 0.9, 1.8, 4.0])
def test_summed_rows_of_a_bias_are_searched(largest: float) -> None:
    """So that usual limits are tried, and each size up to which numbers are 0."""
    where, right = Where("gru", None, "bias"), largest * ROWS
    limit = {0.4: 0.25, 0.9: 0.5, 1.8: 1.0, 4.0: 2.0}[largest]
    sizes = np.sort(right.ravel())
    for changed, id_ in (
        (np.clip(right, -limit, limit), "weights.clipped"),
        *((np.where(right <= sizes[at], 0, right), "weights.pruned") for at in (1, 2, -2)),
    ):
        sums = [np.stack([a.sum(0), 0 * a[0]]) for a in (right, changed)]
        errors = np.full((2, 8), 1e-6)
        recovered = RecoveredArray("bh", "it", where, GATES, right, *sums, errors)
        found = [mistake.id for mistake, a in patterns(recovered) if np.allclose(a, changed)]
        assert found == [id_]


# --- Single numbers -----------------------------------------------------------------------------


def wrong_at(*places: tuple[int, ...], by: float = 0.25) -> Array:
    changed = RECURRENT.copy()
    for at in places:
        changed[at] += by
    return changed


@pytest.mark.parametrize(
    ("stored", "id_", "gate", "unit"),
    [
        (wrong_at((2, 6)), "weights.one_wrong", "b", 2),
        (wrong_at((0, 3)), "weights.one_wrong", "a", 3),
        (wrong_at((2, 6), (1, 5)), "weights.other", "b", None),
        (wrong_at((2, 6), (1, 1)), "weights.other", None, None),
        (wrong_at((2, 6), by=1e-9), "weights.one_wrong", "b", 2),
        (RECURRENT.astype("f2").astype(float), "weights.float16", None, None),
        (RECURRENT.astype(ml_dtypes.bfloat16).astype(float), "weights.bfloat16", None, None),
        (RECURRENT + RNG.normal(0, 1e-4, (4, 8)), "weights.other", None, None),
    ],
)
def test_wrong_numbers_have_gate_and_unit(
    stored: Array, id_: str, gate: str | None, unit: int | None
) -> None:
    mistake = number_mistake(RECURRENT, stored, place("Wh"), GATES)
    assert (mistake.id, mistake.where) == (id_, place("Wh", gate=gate, unit=unit))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("axis", [None, 0])
def test_rounded_numbers_are_on_a_grid(bits: int, axis: int | None) -> None:
    scale = np.abs(RECURRENT).max(axis, keepdims=True) / (2 ** (bits - 1) - 1)
    stored = np.rint(RECURRENT / scale) * scale
    assert number_mistake(RECURRENT, stored, place("Wh"), GATES).id == "weights.quantized"


def test_rounded_numbers_may_overflow() -> None:
    """To infinity, which is far from right."""
    right = 1e5 * RECURRENT
    with np.errstate(over="ignore"):
        stored = right.astype("float16").astype(float)
    assert np.isinf(stored).any()
    assert number_mistake(right, stored, place("Wh"), GATES).id == "weights.float16"


def test_few_wrong_numbers_of_many_are_single_ones() -> None:
    """Two of a hundred are few, three are not."""
    right = RNG.uniform(0.5, 1, 100)
    for count, id_ in ((2, "weights.one_wrong"), (3, "weights.other")):
        stored = right.copy()
        stored[:count] *= 3
        mistake = number_mistake(right, stored, place("bh"))
        assert (mistake.id, mistake.where.unit) == (id_, None)


def test_numbers_within_their_error_are_right() -> None:
    """Of two that are off, one may be by so much."""
    stored = wrong_at((2, 6), (1, 5))
    error = np.zeros((4, 8))
    error[1, 5] = 0.5
    mistake = number_mistake(RECURRENT, stored, place("Wh"), GATES, error=error)
    assert (mistake.id, mistake.where.unit) == ("weights.one_wrong", 2)

"""What explains the arrays that a port must have, beside the expected ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from rnnshapes.port.hypothesis import Hypothesis, Where
from rnnshapes.port.recovery.equations import UNDECIDED_ERROR, RecoveredWeights
from rnnshapes.port.recovery.recovered_mistakes import Explained, explained_arrays
from tests.helpers.handmade import LAYERS, scaled
from tests.helpers.tried import base_of

Array = np.ndarray
Change = Callable[[Array], Array]
SIZES: dict[str, Any] = {"N": 2, "T": 5, "D": 4, "M": 3, "K": 1}
NAMES = {"Wx": "kernel", "Wh": "recurrent_kernel", "bh": "bias"}
GATES = {"simple": "h", "lstm": "ifco", "gru": "zrh"}


@cache
def base(cell: str) -> Hypothesis:
    """Return a port of a recurrence whose bias is not zero."""
    found = base_of(**SIZES, cell=cell)
    bias = np.random.default_rng(9).uniform(-0.9, 0.9, found.weights[LAYERS[cell]]["bh"].shape)
    return found.with_arrays(LAYERS[cell], {"bh": bias.astype("f")})


def expected(cell: str, key: str) -> Array:
    return np.asarray(base(cell).weights[LAYERS[cell]][key], "d")


def recovered(cell: str, arrays: dict[str, Array], error: float, **errors: Array) -> Any:
    network = base(cell).network
    (weights,) = [la.groups[LAYERS[cell]] for la in network.layers if LAYERS[cell] in la.groups]
    off = {key: np.full(array.shape, error) for key, array in arrays.items()} | errors
    return RecoveredWeights(LAYERS[cell], weights, arrays, off)


def changed(cell: str, error: float = 1e-7, **changes: Change) -> tuple[Explained | None, Any]:
    """Return the explanation of arrays with these changes, and the arrays."""
    arrays = {key: change(expected(cell, key)) for key, change in changes.items()}
    return explained_arrays(base(cell), recovered(cell, arrays, error)), arrays


def by_gate(*factors: float) -> Change:
    return lambda a: a * np.repeat(factors, a.shape[-1] // len(factors))


def by_row(*factors: float) -> Change:
    return lambda a: a * np.array(factors)[:, None]


def to_multiples(scale: float, whole: Change) -> Change:
    return lambda a: whole(a / scale) * scale


def rounded(bits: int, axis: int | None = None) -> Change:
    """Return what rounds to signed integers with the largest number at the largest integer."""

    def change(a: Array) -> Array:
        scale = np.abs(a).max(axis, keepdims=True) / (2 ** (bits - 1) - 1)
        return np.rint(a / scale) * scale

    return change


def power_of_2(axis: int | None) -> Change:
    """Return what rounds to integers of 8 bits with the smallest power of 2 as a scale."""

    def change(a: Array) -> Array:
        scale = 2.0 ** np.ceil(np.log2(np.abs(a).max(axis, keepdims=True) / 127))
        return np.rint(a / scale) * scale

    return change


def saturated(bits: int) -> Change:
    """Return what rounds three times an array to fractional bits between -1 and 1."""
    one = 2.0**bits
    return lambda a: np.clip(np.rint(a * one), -one, one - 1) / one


def reordered(stored: tuple[int, ...], read: tuple[int, ...], gates: int) -> Change:
    """Return what reads a buffer of rows, gates and units in another order of axes."""

    def change(a: Array) -> Array:
        sizes = (len(a), gates, a.shape[1] // gates)
        buffer = np.transpose(a.reshape(sizes), stored).ravel()
        return np.moveaxis(buffer.reshape([sizes[axis] for axis in read]), (0, 1, 2), read).reshape(
            a.shape
        )

    return change


def with_gates(a: Array, order: tuple[int, ...]) -> Array:
    """Return an array with its blocks of columns in another order."""
    blocks = np.split(a, len(order), axis=-1)
    return np.concatenate([blocks[number] for number in order], axis=-1)


def exchanged(a: Array) -> Array:
    return a.reshape(-1, 3)[:, [0, 2, 1]].reshape(a.shape)


def pruned(a: Array) -> Array:
    return a * (np.abs(a) > 0.4)


def clipped(a: Array) -> Array:
    return np.clip(a, -0.3, 0.3)


#: The cell, the key, what is done to the array, the id, and words of the text.
CASES: list[tuple[str, str, Change, str, list[str]]] = [
    *(("lstm", key, lambda a: 0.3 * a, "weights.scaled", ["by 0.3"]) for key in ("Wh", "bh")),
    ("lstm", "Wh", lambda a: 0 * a + 1e-8, "weights.row_omitted", ["rows 0, 1, 2"]),
    ("lstm", "Wx", lambda a: -0.7 * a, "input.scaled", ["by -0.7"]),
    ("gru", "bh", lambda a: 1.75 * a, "weights.scaled", ["by 1.75"]),
    ("gru", "Wx", by_gate(0.5, 0.4, 1), "weights.scaled", ["z by 0.5, r by 0.4"]),
    ("gru", "Wh", by_gate(1, 1, 3), "weights.scaled", ["h by 3"]),
    ("lstm", "bh", by_gate(1, 1.5, 2.5, 1), "weights.scaled", ["f by 1.5, c by 2.5"]),
    ("gru", "bh", by_gate(0.25, 1, 2), "weights.scaled", ["z by 0.25, h by 2"]),
    ("lstm", "Wx", by_row(1, 0.5, 0.25, 0), "input.scaled", ["1, 0.5, 0.25, 0"]),
    *(
        ("simple", key, rounded(bits, axis), "weights.quantized", [f"int{bits}", of])
        for key, axis, of in (
            *(("Wx", None, "each array"), ("Wh", None, "each array"), ("bh", None, "each array")),
            *(("Wx", 0, "each column"), ("Wh", 0, "each column")),
        )
        for bits in (4, 6, 8, 10, 12, 16)
    ),
    *(
        ("lstm", "Wx", power_of_2(axis), "weights.quantized", ["int8", "power of two", of])
        for axis, of in ((None, "each array"), (0, "each column"))
    ),
    *(
        ("simple", "Wh", to_multiples(2.0**-n, np.rint), "weights.quantized", [f"2^-{n}"])
        for n in (3, 6, 9, 15)
    ),
    *(
        ("simple", "Wh", to_multiples(10.0**-n, np.rint), "weights.quantized", [f"10^-{n}"])
        for n in (1, 2, 3, 5)
    ),
    ("simple", "Wx", to_multiples(2.0**-6, np.rint), "weights.quantized", ["int8", "0.01562"]),
    ("simple", "Wx", to_multiples(0.01, np.trunc), "weights.quantized", ["toward 0", "10^-2"]),
    ("simple", "Wx", to_multiples(2.0**-7, np.floor), "weights.quantized", ["down", "2^-7"]),
    ("lstm", "Wx", reordered((2, 0, 1), (0, 1, 2), 4), "layout.flat_buffer", ["(units, rows"]),
    ("lstm", "Wh", reordered((1, 0, 2), (2, 1, 0), 4), "layout.flat_buffer", ["(gates, rows"]),
    (
        "lstm",
        "Wx",
        lambda a: with_gates(reordered((2, 0, 1), (0, 1, 2), 4)(a), (1, 2, 0, 3)),
        "layout.flat_buffer",
        ["(units, rows", "of f, c, i, o"],
    ),
    ("lstm", "Wx", lambda a: with_gates(a, (1, 1, 0, 3)), "gates.order", ["of f, f, i, o"]),
    (
        "lstm",
        "Wh",
        lambda a: with_gates(reordered((1, 0, 2), (2, 1, 0), 4)(a), (3, 2, 0, 3)),
        "layout.flat_buffer",
        ["(gates, rows", "of o, c, i, o"],
    ),
    ("gru", "Wx", lambda a: a[[2, 0, 3, 1]], "input.permuted", ["2, 0, 3, 1"]),
    ("lstm", "Wx", exchanged, "weights.permuted", [": unit 2 for unit 1, unit 1 for unit 2"]),
    *(("lstm", key, pruned, "weights.pruned", ["up to 0."]) for key in ("Wx", "Wh", "bh")),
    *(("simple", key, clipped, "weights.clipped", ["±0.3"]) for key in ("Wx", "Wh", "bh")),
    ("simple", "Wx", scaled((2, 1), -1.5), "weights.one_wrong", ["1 number", "[2, 1]"]),
    ("gru", "Wh", scaled((2, 4), -1.5), "weights.one_wrong", ["1 number", "[2, 4]"]),
    ("lstm", "bh", scaled(7, 2.5), "weights.one_wrong", ["1 number", "[7]"]),
]


@pytest.mark.parametrize(("cell", "key", "change", "id_", "words"), CASES)
def test_one_mistake_explains_one_array(
    cell: str, key: str, change: Change, id_: str, words: list[str]
) -> None:
    found, arrays = changed(cell, **{key: change})
    assert found is not None
    (mistake,) = found.mistakes
    assert (mistake.id, mistake.where.layer, mistake.where.array) == (id_, LAYERS[cell], NAMES[key])
    assert [word for word in words if word not in mistake.text] == []
    assert set(found.arrays) == {key}
    assert np.allclose(found.arrays[key], arrays[key], rtol=0, atol=1e-6)


def test_an_array_of_a_direction_names_it() -> None:
    group = "bidirectional/backward_gru"
    port = base_of(**SIZES, cell="gru", bidirectional=True)
    (weights,) = [la.groups[group] for la in port.network.layers if group in la.groups]
    wrong = {"Wx": 2.5 * np.asarray(port.weights[group]["Wx"], "d")}
    errors = {"Wx": np.full((4, 9), 1e-7)}
    found = explained_arrays(port, RecoveredWeights(group, weights, wrong, errors))
    assert found is not None
    (mistake,) = found.mistakes
    assert mistake.where == Where("bidirectional", "backward", "kernel")
    assert "backward" in mistake.text
    np.testing.assert_allclose(found.arrays["Wx"], wrong["Wx"])


@pytest.mark.parametrize("bits", [7, 15])
def test_saturated_fractions_overflow(bits: int) -> None:
    """Of a bias of which some numbers are larger than 1."""
    large = base("simple").with_arrays("simple_rnn", {"bh": np.array([1.7, -1.2, 0.314159])})
    wrong = saturated(bits)(np.array([1.7, -1.2, 0.314159]))
    found = explained_arrays(large, recovered("simple", {"bh": wrong}, 1e-7))
    assert found is not None
    assert [mistake.id for mistake in found.mistakes] == ["weights.overflow"]
    assert f"{bits} fractional bits" in found.mistakes[0].text


@pytest.mark.parametrize("cell", GATES)
def test_arrays_that_agree_are_not_explained(cell: str) -> None:
    same = changed(cell, **dict.fromkeys(NAMES, lambda a: a + 1e-8))
    assert same[0] is None


def test_an_array_that_agrees_has_no_mistake() -> None:
    found, _ = changed("lstm", Wx=lambda a: a, bh=lambda a: 2.5 * a)
    assert found is not None
    assert [mistake.id for mistake in found.mistakes] == ["weights.scaled"]
    assert set(found.arrays) == {"bh"}


def test_each_array_has_a_mistake_of_its_own() -> None:
    found, _ = changed("lstm", Wh=lambda a: 1.25 * a, bh=rounded(6))
    assert found is not None
    assert [(m.id, m.where.array) for m in found.mistakes] == [
        *(("weights.scaled", "recurrent_kernel"), ("weights.quantized", "bias")),
    ]


def test_one_known_mistake_explains_all_arrays() -> None:
    """Rather than one for each of them."""

    def turned(a: Array) -> Array:
        blocks = np.split(a, 4, axis=-1)
        return np.concatenate([blocks[k] for k in (1, 0, 2, 3)], axis=-1)

    found, arrays = changed("lstm", **dict.fromkeys(NAMES, turned))
    assert found is not None
    assert [mistake.id for mistake in found.mistakes] == ["gates.order"]
    assert all(np.array_equal(found.arrays[key], arrays[key]) for key in NAMES)


@pytest.mark.parametrize(("factor", "plausible"), [(8.0, True), (12.0, False)])
def test_huge_weights_stand_for_an_open_gate(factor: float, plausible: bool) -> None:
    found, _ = changed("lstm", Wh=lambda a: factor * a)
    assert (found is not None) == plausible


def test_weights_in_place_of_zeros_may_be_large() -> None:
    """Of an expected bias of 0, up to a size of 1."""
    zero = base("simple").with_arrays("simple_rnn", {"bh": np.zeros(3)})
    for size, plausible in ((0.9, True), (1.1, False)):
        wrong = recovered("simple", {"bh": size * np.array([1, -1, 1.0])}, 1e-7)
        assert (explained_arrays(zero, wrong) is not None) == plausible


def test_error_of_zeros_is_no_percentage() -> None:
    zero = base("simple").with_arrays("simple_rnn", {"bh": np.zeros(3)})
    found = explained_arrays(zero, recovered("simple", {"bh": np.array([0.3, -0.7, 0.123])}, 1e-7))
    assert found is not None
    (mistake,) = found.mistakes
    assert (mistake.id, mistake.where.array) == ("weights.other", "bias")
    assert ("%" in mistake.text, "zeros" in mistake.text) == (False, True)


def test_grid_finer_than_errors_is_not_named() -> None:
    """Numbers on it cannot be told from others."""
    for error, ids in ((1e-6, ["weights.quantized"]), (1e-4, ["weights.other"])):
        found, _ = changed("simple", error, Wx=to_multiples(2.0**-11, np.floor))
        assert found is not None
        assert [mistake.id for mistake in found.mistakes] == ids


def test_numbers_that_nothing_decides_hide_no_grid() -> None:
    """Though they are more than half of all."""
    errors = np.full((4, 3), UNDECIDED_ERROR)
    errors[1] = 1e-7
    wrong = to_multiples(2.0**-9, np.floor)(expected("simple", "Wx"))
    found = explained_arrays(base("simple"), recovered("simple", {"Wx": wrong}, 0, Wx=errors))
    assert found is not None
    assert [mistake.id for mistake in found.mistakes] == ["weights.quantized"]


def test_a_gate_of_a_sum_of_rows_may_be_left_out() -> None:
    """All of the sum is taken from the first row."""
    wrong = expected("gru", "bh")
    wrong[0, 3:6] = -wrong[1, 3:6]
    errors = np.repeat([[1e-7], [0.0]], 9, axis=1)
    errors[1, 6:] = 1e-7
    found = explained_arrays(base("gru"), recovered("gru", {"bh": wrong}, 0, bh=errors))
    assert found is not None
    assert [(mistake.id, mistake.where.gate) for mistake in found.mistakes] == [
        ("bias.omitted", "r")
    ]
    assert np.array_equal(found.arrays["bh"], expected("gru", "bh") * (np.arange(9) // 3 != 1))


def test_one_zero_beside_expected_ones_is_not_pruned() -> None:
    right = expected("simple", "Wx")
    order = np.argsort(np.abs(right), axis=None)
    right.flat[order[0]] = 0.0
    wrong = right.copy()
    wrong.flat[order[1]] = 0.0
    found = explained_arrays(
        base("simple").with_arrays("simple_rnn", {"Wx": right}),
        recovered("simple", {"Wx": wrong}, 1e-7),
    )
    assert found is not None
    assert [mistake.id for mistake in found.mistakes] == ["weights.one_wrong"]


def test_other_numbers_are_measured_in_percent() -> None:
    """The root of the mean square of what is off, as a share of what is expected."""
    rng = np.random.default_rng(3)
    off = {key: 0.025 * rng.choice([-1.0, 1.0], expected("gru", key).shape) for key in ("Wx", "Wh")}
    wrong = {
        key: expected("gru", key) + noise * np.sqrt(np.mean(expected("gru", key) ** 2))
        for key, noise in off.items()
    }
    found = explained_arrays(base("gru"), recovered("gru", wrong, 1e-7))
    assert found is not None
    (mistake,) = found.mistakes
    assert mistake.id == "weights.other"
    assert mistake.where.array is None
    assert "2.5 % (kernel), 2.5 % (recurrent_kernel)" in mistake.text
    one = explained_arrays(base("gru"), recovered("gru", {"Wx": wrong["Wx"]}, 1e-7))
    assert one is not None
    assert one.mistakes[0].where.array == "kernel"
    twice = {"Wx": 3.5 * expected("gru", "Wx")[:, rng.permutation(9)]}
    far = explained_arrays(base("gru"), recovered("gru", twice, 1e-7))
    assert far is not None
    size = np.linalg.norm(twice["Wx"] - expected("gru", "Wx")) / np.linalg.norm(
        expected("gru", "Wx")
    )
    assert f"{100 * size:.0f} %" in far.mistakes[0].text


def test_other_numbers_of_some_units_are_not_explained() -> None:
    """Those of the others are not known."""
    rng = np.random.default_rng(3)
    wrong = expected("simple", "Wx") * rng.uniform(0.9, 1.1, (4, 3))
    errors = np.full((4, 3), 1e-7)
    errors[:, 1] = np.inf
    assert (
        explained_arrays(base("simple"), recovered("simple", {"Wx": wrong}, 0, Wx=errors)) is None
    )
    wrong = np.where(np.isinf(errors), 7.0, 2.5 * expected("simple", "Wx"))
    wrong[:, 1] = expected("simple", "Wx")[:, 1]
    found = explained_arrays(base("simple"), recovered("simple", {"Wx": wrong}, 0, Wx=errors))
    assert found is not None
    assert "by 2.5" in found.mistakes[0].text
    assert np.allclose(found.arrays["Wx"], 2.5 * expected("simple", "Wx"))


def test_bias_rows_count_separately_in_last_gate_only() -> None:
    """The states of a GRU tell the sum of both rows of its bias for z and r, and both of h."""
    for factor, at, id_ in (
        *((1.5, 2, "weights.scaled"), (1.5, 5, "weights.scaled")),
        *((1.5, 7, "weights.other"), (1.0, 8, "weights.other")),
    ):
        found = factor * expected("gru", "bh")
        found[:, at] += [0.5, -0.5]
        explained = explained_arrays(base("gru"), recovered("gru", {"bh": found}, 1e-7))
        assert explained is not None
        assert [mistake.id for mistake in explained.mistakes] == [id_]
    assert (
        changed("gru", bh=lambda a: a + 0.5 * np.array([[1], [-1]]) * (np.arange(9) < 6))[0] is None
    )

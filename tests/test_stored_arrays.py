"""What is wrong with an array that a weight file has for one of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnshapes.port.hypothesis import Where
from rnnshapes.port.weight_files.matching import are_equal, as_stored, pytorch_shape
from rnnshapes.port.weight_files.mistakes import bias_mistake, plain_mistake

Array = np.ndarray
RNG = np.random.default_rng(7)
IFCO, ZRH = ("i", "f", "c", "o"), ("z", "r", "h")
BIAS, ROWS = RNG.uniform(0.5, 1, 8), RNG.uniform(0.5, 1, (2, 6))
NONE, NO_ROW = np.zeros(8), np.zeros(6)
FORGET = np.repeat([0.0, 1, 0, 0], 2)
AT = Where("rnn", None, "bias")


def of_gates(a: Array, order: list[int]) -> Array:
    return np.concatenate([np.split(a, len(order))[k] for k in order])


def wrong(a: Array, *at: int) -> Array:
    changed = a.copy()
    changed[list(at)] += 0.25
    return changed


@pytest.mark.parametrize(
    ("bx", "bh", "id_", "gate", "unit", "word"),
    [
        (NONE, NONE, "bias.omitted", None, None, ""),
        (BIAS, BIAS, "bias.twice", None, None, ""),
        (2 * BIAS, NONE, "bias.twice", None, None, ""),
        (BIAS + FORGET, NONE, "bias.forget_again", "f", None, ""),
        (NONE, BIAS + FORGET, "bias.forget_again", "f", None, ""),
        (BIAS, FORGET, "bias.forget_again", "f", None, ""),
        (of_gates(BIAS, [0, 1, 3, 2]), NONE, "gates.order", None, None, "i c f o, not i o f c"),
        (of_gates(BIAS, [1, 0, 2, 3]), NONE, "gates.order", None, None, "f o i c, not i o f c"),
        (of_gates(BIAS, [2, 0, 1, 3]), NONE, "gates.order", None, None, "c o i f, not i o f c"),
        (wrong(BIAS, 5), NONE, "weights.one_wrong", "c", 1, "[5]"),
        (NONE, wrong(BIAS, 6), "weights.one_wrong", "o", 0, "[6]"),
        (BIAS + 0.5 * FORGET, NONE, "weights.other", "f", None, "all of gate f: at [2]"),
    ],
)
def test_a_wrong_bias_is_told(
    bx: Array, bh: Array, id_: str, gate: str | None, unit: int | None, word: str
) -> None:
    """The sum of both of the file; its gates are in ONNX's order."""
    mistake = bias_mistake(BIAS, bx, bh, AT, IFCO, ("i", "o", "f", "c"))
    assert (mistake.id, mistake.where) == (id_, AT._replace(gate=gate, unit=unit))
    assert word in mistake.text
    assert mistake.fix


def test_a_bias_without_gates_has_no_forget_gate() -> None:
    mistake = bias_mistake(BIAS, BIAS + 1, NONE, AT, (), ())
    assert mistake.id == "weights.other"


@pytest.mark.parametrize(
    ("bx", "bh", "id_", "gate", "unit", "words"),
    [
        (NO_ROW, NO_ROW, "bias.omitted", None, None, ""),
        (ROWS[1], ROWS[0], "bias.rows_exchanged", None, None, ""),
        (ROWS[0], NO_ROW, "bias.recurrent_row_omitted", None, None, ""),
        (NO_ROW, ROWS[1], "bias.input_row_omitted", None, None, ""),
        (ROWS.sum(0), NO_ROW, "bias.rows_summed", None, None, ""),
        (of_gates(ROWS[0], [1, 0, 2]), ROWS[1], "gates.order", None, None, "z r h, not r z h"),
        (ROWS[0], of_gates(ROWS[1], [2, 1, 0]), "gates.order", None, None, "r h z, not r z h"),
        (ROWS[0], of_gates(ROWS[1], [1, 2, 0]), "gates.order", None, None, "h r z, not r z h"),
        (wrong(ROWS[0], 3), ROWS[1], "weights.one_wrong", "r", 1, "[row 0, 3]"),
        (ROWS[0], wrong(ROWS[1], 4), "weights.one_wrong", "h", 0, "[row 1, 4]"),
        (ROWS[0], wrong(ROWS[1], 0, 1), "weights.other", "z", None, "[row 1, 0]"),
    ],
)
def test_two_wrong_rows_are_told(
    bx: Array, bh: Array, id_: str, gate: str | None, unit: int | None, words: str
) -> None:
    mistake = bias_mistake(ROWS, bx, bh, AT, ZRH, ("r", "z", "h"))
    assert (mistake.id, mistake.where) == (id_, AT._replace(gate=gate, unit=unit))
    assert words in mistake.text
    assert mistake.fix


KERNEL, SQUARE, VECTOR = (RNG.uniform(0.5, 1, shape) for shape in ((3, 5), (4, 4), (6,)))


@pytest.mark.parametrize(
    ("values", "stored", "forms", "is_table", "id_"),
    [
        (KERNEL, KERNEL, [], False, "layout.transposed"),
        (SQUARE, SQUARE, [SQUARE.T], False, "layout.transposed"),
        (KERNEL, KERNEL.T, [], True, "layout.transposed"),
        (KERNEL, KERNEL.reshape(5, 3), [KERNEL.reshape(5, 3).T], False, "layout.flat_buffer"),
        (KERNEL, wrong(KERNEL, 2).T, [wrong(KERNEL, 2)], False, "weights.other"),
        (SQUARE, wrong(SQUARE, 2).T, [wrong(SQUARE, 2)], False, "weights.other"),
        (KERNEL, wrong(KERNEL, 2), [], True, "weights.other"),
        (KERNEL, wrong(KERNEL, 2).T, [], False, "weights.other"),
        (VECTOR, wrong(VECTOR, 2), [wrong(VECTOR, 2)], False, "weights.one_wrong"),
        (VECTOR, VECTOR[::-1], [VECTOR[::-1]], False, "weights.other"),
        (np.array(2.0), np.array(3.0), [np.array(3.0)], False, "weights.one_wrong"),
    ],
)
def test_a_wrong_array_is_told(
    values: Array, stored: Array, forms: list[Array], is_table: bool, id_: str
) -> None:
    where = Where("head", None, "kernel")
    mistake = plain_mistake(values, stored, forms, where, is_table=is_table)
    assert mistake.id == id_
    assert mistake.where._replace(unit=None) == where
    if id_ == "layout.transposed":
        assert ("not transposed" in mistake.text) != is_table
        assert ("W.T" in mistake.fix) != is_table
    elif stored.ndim > 1 and id_ == "weights.other":
        assert f"{values.shape[1]} numbers differ: at [2, 0]" in mistake.text


@pytest.mark.parametrize(
    ("keras", "torch"),
    [((3, 5), (5, 3)), ((7,), (7,)), ((2, 3, 5), (5, 3, 2)), ((2, 4, 3, 5), (5, 3, 2, 4))],
)
def test_kernels_of_pytorch_have_their_outputs_first(keras: Any, torch: Any) -> None:
    assert pytorch_shape(keras) == torch


def test_arrays_are_equal_in_shape_and_numbers() -> None:
    last = KERNEL.copy()
    last[-1, -1] += 1
    assert are_equal(KERNEL, KERNEL.copy())
    assert are_equal(np.array(2.0), np.array(2.0))
    assert not are_equal(KERNEL, last)
    assert not are_equal(KERNEL, KERNEL.reshape(5, 3))
    assert not are_equal(KERNEL[:1], KERNEL)
    assert not are_equal(np.array(2.0), np.array(3.0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_numbers_are_as_the_file_holds_them(dtype: str) -> None:
    """And it is said if they are rounded."""
    numbers, half = np.array([1 / 3, 0.5]), np.array([0.5, -0.25])
    stored, words = as_stored(numbers, dtype)
    assert stored.dtype == np.float64
    assert stored[0] != numbers[0] == pytest.approx(stored[0], rel=1e-2)
    assert stored[1] == 0.5
    assert dtype in words
    assert as_stored(half, dtype)[1] == ""
    for other in ("float64", "int8"):
        exact, words = as_stored(numbers, other)
        assert (exact.tolist(), words) == (numbers.tolist(), "")

"""How numbers, shapes and lists are written for people."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnshapes.forward.difference import Index
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.structure import Fact
from rnnshapes.network.summary import Gate
from rnnshapes.render import number_text, palette, phrases

#: A function, what it is given, and what it returns.
TEXTS: list[tuple[Any, tuple[Any, ...], Any]] = [
    *((number_text.count_text, (n,), text) for n, text in ((0, "0"), (1234567, "1,234,567"))),
    (number_text.count_text, (None,), "?"),
    (number_text.size_text, (None,), "nothing"),
    (number_text.size_text, (1234,), "1,234"),
    (number_text.size_text, ((3, 4),), "(3, 4)"),
    (number_text.decimal_text, (-0.123456789,), "-0.12345679"),
    (number_text.decimal_text, (9999.5,), "9999.50000000"),
    (number_text.decimal_text, (1e4,), "1.00000000e+04"),
    (number_text.decimal_text, (-123456.0,), "-1.23456000e+05"),
    (number_text.decimal_text, (math.nan,), "nan"),
    (number_text.decimal_text, (-math.inf,), "-inf"),
    (number_text.magnitude_text, (0.0,), "0"),
    (number_text.magnitude_text, (1.25e-8,), "1.2e-08"),
    (number_text.share_text, (None,), "none"),
    (number_text.share_text, (0.0,), "0 %"),
    (number_text.share_text, (0.001,), "1 %"),
    (number_text.share_text, (0.35,), "35 %"),
    (number_text.share_text, (10.0,), "1000 %"),
    (number_text.share_text, (10.6,), "11 ×"),
    (number_text.share_text, (966516.2,), "966,516 ×"),
    (number_text.share_text, (1.2e6,), "1e+06 ×"),
    (number_text.share_text, (math.nan,), "NaN"),
    (number_text.share_text, (math.inf,), "infinite"),
    (number_text.shapes_text, (("N", "D"), (1, 3)), "(N, D) = (1, 3)"),
    (number_text.shapes_text, ((3, 16), (3, 16)), "(3, 16)"),
    (
        number_text.operation_text,
        ((("N", "D"), ("D", "M")), "·", ("N", "M")),
        "(N, D)·(D, M) → (N, M)",
    ),
    (number_text.operation_text, (((2, 3), (3,)), "+", (2, 3)), "(2, 3) + (3,) → (2, 3)"),
    (number_text.operation_text, (((2, 3),), "tanh", (2, 3)), "(2, 3)"),
    (number_text.operation_text, (((2, 3),), "sum", (2,)), "(2, 3) → (2,)"),
    (phrases.listed_text, (["a"],), "a"),
    (phrases.listed_text, (["a", "b"],), "a and b"),
    (phrases.listed_text, (["a", "b", "c"],), "a, b and c"),
    (phrases.names_text, ([f"l{i}" for i in range(8)],), "l0, l1, l2, l3, l4, l5, l6, l7"),
    (
        phrases.names_text,
        ([f"l{i}" for i in range(10)],),
        "l0, l1, l2, l3, l4, l5, l6, l7 and 2 more",
    ),
    (phrases.input_text, ("x",), ""),
    (phrases.input_text, ("random, seed 0",), "x: random, seed 0"),
    (phrases.format_text, ("a.onnx", ".onnx", "ONNX"), "ONNX"),
    (phrases.format_text, ("A.ONNX", ".onnx", "ONNX"), "ONNX"),
    (phrases.format_text, ("a.bin", ".onnx", "ONNX"), "ONNX"),
    (phrases.format_text, ("a.pt", "state_dict", "PyTorch"), "state_dict of PyTorch"),
    (phrases.index_cell, (None,), ""),
    (phrases.index_cell, (Index(1, None, 3),), "1, -, 3"),
    (phrases.index_cell, (Index(1, 0, 3),), "1, 0, 3"),
    (phrases.index_record, (None,), None),
    (phrases.index_record, (Index(1, None, 3),), {"sample": 1, "t": None, "unit": 3}),
    (phrases.ratio_cells, (None,), ("none", "")),
    (phrases.ratio_cells, (0.12345,), ("0.123", number_text.ratio_bar(0.12345))),
    (
        phrases.gates_text,
        ([Gate("i", (0, 5), 1), Gate("f", (5, 10), 1)], 2),
        "i [:, 0:5] · f [:, 5:10]",
    ),
    (
        phrases.gates_text,
        ([Gate("i", (0, 5), 0), Gate("f", (5, 10), 0)], 3, "; "),
        "i [0:5, :, :]; f [5:10, :, :]",
    ),
    (phrases.verdict_lines, ("OK", ["one"], 9), ["OK  one"]),
    (phrases.verdict_lines, ("OK", ["one", "two", "three"], 13), ["OK  one · two", "  three"]),
    (phrases.verdict_lines, ("OK", ["one", "two", "three"], 12), ["OK  one", "  two", "  three"]),
    (phrases.verdict_lines, ("OK", ["one", "two", "six"], 11), ["OK  one", "  two · six"]),
]


@pytest.mark.parametrize(("function", "given", "expected"), TEXTS)
def test_texts_have_their_form(function: Any, given: Any, expected: Any) -> None:
    assert function(*given) == expected


@pytest.mark.parametrize(("expected", "found"), [((5, 2), (2, 5)), (7, 31)])
def test_facts_show_what_both_sides_have(expected: Any, found: Any) -> None:
    text = phrases.fact_text(Fact("dense/kernel", "", expected, found))
    assert text.index("dense/kernel") < text.index(str(expected)) < text.index(str(found))


def test_a_chain_has_the_layers_that_are_called() -> None:
    network = from_sizes(N=2, T=6, D=3, M=[4, 7], cell="gru")
    (other, *_) = from_sizes(M=9, cell="lstm").layers
    text = phrases.network_text(network)
    assert text == "Input((T, D)) → GRU(M1) → GRU(M2) → Dense(K)   N=2 T=6 D=3 M1=4 M2=7 K=2"
    assert phrases.network_text(replace(network, uncalled=(other,))) == text


def test_sixteen_colours_tell_text_from_its_background() -> None:
    for back in palette.CATEGORIES:
        for colour in ("#000000", "#FFFFFF", *palette.CATEGORIES):
            text, background = palette.sixteen(colour, back)
            assert background
            assert (text != background) or colour == back
    assert palette.sixteen("", "") == ("", "")


@settings(deadline=None)
@given(st.floats(-1e300, 1e300), st.integers(-40, 40))
def test_different_numbers_have_different_texts(value: float, steps: int) -> None:
    """With as few digits as that needs."""
    other = value
    for _ in range(abs(steps)):
        other = float(np.nextafter(other, math.copysign(math.inf, steps)))
    one, two = number_text.distinct_texts(value, other)
    if value == other:
        assert one == two
        np.testing.assert_equal(float(one), value)
    else:
        assert one != two
        assert float(one) == pytest.approx(value, rel=1e-8, abs=1e-8)
        assert float(two) == pytest.approx(other, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(
    ("one", "other", "texts"),
    [
        (0.5, 0.25, ("0.50000000", "0.25000000")),
        (0.123456789, 0.123456788, ("0.123456789", "0.123456788")),
        (20000.0000001, 20000.0, ("2.00000000000e+04", None)),
        (1e-30, 2e-30, ("1e-30", "2e-30")),
    ],
)
def test_texts_have_digits_to_tell_them_apart(one, other, texts) -> None:
    found = number_text.distinct_texts(one, other)
    if texts[1] is None:
        assert [len(text) for text in found] == [len("2.00000000000e+04")] * 2
    else:
        assert found == texts


@settings(deadline=None)
@given(st.floats(0, 3) | st.sampled_from([0.0, 1.0, math.inf, math.nan]))
def test_bar_is_as_long_as_the_ratio(ratio: float) -> None:
    """Rounded up to half a character."""
    bar = number_text.ratio_bar(ratio)
    if not ratio <= 1:
        assert bar == number_text.ratio_bar(1.0) + ">"
        return
    full, empty = number_text.ratio_bar(1.0)[0], number_text.ratio_bar(0.0)[0]
    assert len(bar) == number_text.BAR
    half = len(bar) - bar.count(full) - bar.count(empty)
    assert half <= 1
    assert 2 * bar.count(full) + half == math.ceil(16 * ratio)
    assert bar.rstrip(empty).strip(full) == bar[bar.count(full) : bar.count(full) + half]

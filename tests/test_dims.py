"""The algebra of named sizes: exact, canonical, and readable."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnshapes.ops.dims import Dim, product, shape_text, total

N, T, D, M, K = (Dim.named(name) for name in "NTDMK")
NAMES = ("N", "T", "D", "M", "K", "M1", "M2")
SIZES = st.fixed_dictionaries({name: st.integers(1, 10**12) for name in NAMES})
DIMS = st.recursive(
    st.sampled_from(NAMES).map(Dim.named) | st.integers(0, 5).map(Dim.of),
    lambda parts: st.tuples(parts, parts, st.sampled_from("+*")).map(
        lambda p: p[0] + p[1] if p[2] == "+" else p[0] * p[1]
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (M * (D + M + 1), "M(D+M+1)"),
        (D * M + M * M + M, "M(D+M+1)"),
        (M * D, "D·M"),
        (M * M, "M·M"),
        (M * K, "M·K"),
        (4 * M, "4M"),
        (4 * M * (D + M + 1), "4M(D+M+1)"),
        (3 * M * (D + M + 2), "3M(D+M+2)"),
        (N * T * (D * M + M * M), "N·T·M(D+M)"),
        (D + 1, "D+1"),
        (Dim.of(7), "7"),
        (Dim.of(1), "1"),
        (M + -1 * M, "0"),
        (2 * D + 4 * M, "2(D+2M)"),
    ],
)
def test_common_factors_stand_in_front(dim: Dim, text: str) -> None:
    assert str(dim) == text


#: A formula, as text and with numbers for its names.
WRITTEN: list[tuple[Dim, str, str]] = [
    (4 * M * (D + M + 1), "4M(D+M+1)", "4·5·(3+5+1)"),
    (M * (D + M + 1), "M(D+M+1)", "5·(3+5+1)"),
    (M + 0, "M", "5"),
    (2 * M, "2M", "2·5"),
    (T + -1 * M, "T-M", "10-5"),
    (T + -1, "T-1", "10-1"),
    (-1 * M, "-M", "-5"),
    (-2 * D + -4 * M, "2(-D-2M)", "2·(-3-2·5)"),
    (N * M + M, "M(N+1)", "5·(?+1)"),
    (Dim.of(7), "7", "7"),
    (Dim.of(-1), "-1", "-1"),
    (Dim.of(0), "0", "0"),
    (Dim.named("M2") * Dim.named("M1"), "M1·M2", "6·7"),
    (K * Dim.named("Q") * M * D * Dim.named("T'"), "T'·D·M·K·Q", "8·3·5·2·9"),
    (T * T * D + T * T * T, "T·T(T+D)", "10·10·(10+3)"),
    (Dim.named("Q") + K + M + D + T * K, "T·K+D+M+K+Q", "10·2+3+5+2+9"),
    (2 * T * M + 4 * T * M * M + -6 * T, "2T(2M·M+M-3)", "2·10·(2·5·5+5-3)"),
]


@pytest.mark.parametrize(("dim", "text", "numbers"), WRITTEN, ids=[each[1] for each in WRITTEN])
def test_numbers_replace_the_names_of_sizes(dim: Dim, text: str, numbers: str) -> None:
    """The longest products come first, and names in the order in which data meets them."""
    sizes = {"N": None, "T": 10, "D": 3, "M": 5, "K": 2, "M1": 6, "M2": 7, "T'": 8, "Q": 9}
    assert (str(dim), dim.with_numbers(sizes)) == (text, numbers)
    names = dict.fromkeys(re.findall(r"[A-Z][\d']?", text))
    assert dim.names == set(names)
    if "?" not in numbers:
        product = re.sub(r"(?<=\d)\(", "·(", numbers).replace("·", "*")
        assert dim.value(sizes) == eval(product)  # noqa: S307 - our own text


def test_formula_is_divided_into_equal_parts() -> None:
    assert [(6 * M + 3).divided(3), (4 * M * K).divided(4), M.divided(1)] == [2 * M + 1, M * K, M]
    for dim, parts in ((6 * M + 3, 2), (M, 2)):
        with pytest.raises(ValueError, match=str(parts)):
            dim.divided(parts)


def test_only_numbers_and_formulas_are_equal() -> None:
    assert Dim.of(5) == 5
    assert Dim.of(M) is M
    assert M not in (5, "M", None, K, 2 * M)
    assert Dim.of(0) not in (None, "", (), 1, M)
    assert len({M, M + 0, K, Dim.of(5)}) == 3
    assert (D * M + 2).terms == ((("D", "M"), 1), ((), 2))


@given(DIMS, DIMS, SIZES)
def test_evaluating_commutes_with_arithmetic(a: Dim, b: Dim, sizes: dict) -> None:
    """Integers may be of any size."""
    assert (a + b).value(sizes) == a.value(sizes) + b.value(sizes)
    assert (a * b).value(sizes) == a.value(sizes) * b.value(sizes)


@given(DIMS, DIMS, DIMS)
def test_equal_formulas_are_equal_and_print_alike(a: Dim, b: Dim, c: Dim) -> None:
    """The order in which a formula was built leaves no trace."""
    left, right = a * (b + c), c * a + b * a
    assert left == right
    assert hash(left) == hash(right)
    assert str(left) == str(right)


@given(DIMS, SIZES)
def test_printed_formula_evaluates_to_its_value(dim: Dim, sizes: dict) -> None:
    text = re.sub(r"(?<=[\w)])\(", "*(", str(dim).replace("·", "*"))
    text = re.sub(r"(?<![\w])(\d+)(?=[A-Z])", r"\1*", text)
    assert eval(text, {}, dict(sizes)) == dim.value(sizes)  # noqa: S307 - our own text


def test_open_size_opens_only_its_terms() -> None:
    """N = None makes N·M open, and leaves M·M as it is."""
    sizes = {"N": None, "M": 5}
    assert (N * M).value(sizes) is None
    assert (M * M).value(sizes) == 25


def test_name_without_size_raises() -> None:
    """A forgotten size is not an open one."""
    with pytest.raises(KeyError):
        (M * K).value({"M": 5})


def test_empty_product_is_1_and_sum_0() -> None:
    assert product(()) == 1
    assert total(()) == 0


def test_shapes_print_like_tuples() -> None:
    """A single axis keeps its comma, an open axis is a question mark."""
    assert shape_text((N, T, D)) == "(N, T, D)"
    assert shape_text((M,)) == "(M,)"
    assert shape_text((None, 5)) == "(?, 5)"

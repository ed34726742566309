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
def test_a_formula_is_written_with_what_its_terms_share_in_front(dim: Dim, text: str) -> None:
    """The text is the one that a textbook would print."""
    assert str(dim) == text


@given(DIMS, DIMS, SIZES)
def test_evaluating_is_the_same_before_and_after_combining(a: Dim, b: Dim, sizes: dict) -> None:
    """Values of sums and products are sums and products of values, for integers of any size."""
    assert (a + b).value(sizes) == a.value(sizes) + b.value(sizes)
    assert (a * b).value(sizes) == a.value(sizes) * b.value(sizes)


@given(DIMS, DIMS, DIMS)
def test_equal_formulas_are_equal_and_print_alike(a: Dim, b: Dim, c: Dim) -> None:
    """The order and the form in which a formula was built leave no trace."""
    left, right = a * (b + c), c * a + b * a
    assert left == right
    assert hash(left) == hash(right)
    assert str(left) == str(right)


@given(DIMS, SIZES)
def test_the_text_says_what_the_value_is(dim: Dim, sizes: dict) -> None:
    """Reading the printed formula as arithmetic gives the number."""
    text = re.sub(r"(?<=[\w)])\(", "*(", str(dim).replace("·", "*"))
    text = re.sub(r"(?<![\w])(\d+)(?=[A-Z])", r"\1*", text)
    assert eval(text, {}, dict(sizes)) == dim.value(sizes)  # noqa: S307 - our own text


def test_an_open_size_leaves_only_what_depends_on_it_open() -> None:
    """N = None makes N·M open, and leaves M·M as it is."""
    sizes = {"N": None, "M": 5}
    assert (N * M).value(sizes) is None
    assert (M * M).value(sizes) == 25


def test_a_name_without_a_size_is_an_error() -> None:
    """A forgotten size is not taken for an open one."""
    with pytest.raises(KeyError):
        (M * K).value({"M": 5})


def test_products_and_sums_of_none_are_one_and_zero() -> None:
    """As in arithmetic."""
    assert product(()) == 1
    assert total(()) == 0


def test_shapes_are_written_as_python_writes_them() -> None:
    """A single axis keeps its comma, an open axis is a question mark."""
    assert shape_text((N, T, D)) == "(N, T, D)"
    assert shape_text((M,)) == "(M,)"
    assert shape_text((None, 5)) == "(?, 5)"

"""Sizes are checked once, with a message that teaches."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from rnnshapes import InputError
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.sizes import check_size, index_range_text, remedy_for_unknown_size
from tests.helpers.commands import mentioning


@pytest.mark.parametrize("value", [1, 7, np.int64(3), 2**63 - 1])
def test_whole_numbers_from_1_are_sizes(value: Any) -> None:
    assert check_size("T", value) == int(value)
    assert type(check_size("T", value)) is int


@pytest.mark.parametrize(
    "value", [0, -1, 2.0, 2.5, "3", True, None, 2**63, 10**5000, -(10**5000), "9" * 9999], ids=type
)
def test_other_values_are_no_sizes(value: Any) -> None:
    """The message names the size and the value."""
    with pytest.raises(InputError, match=mentioning("T", "time steps", "1")) as error:
        check_size("T", value)
    assert len(str(error.value)) < 150


def test_empty_list_of_m_is_refused() -> None:
    with pytest.raises(InputError, match="M"):
        from_sizes(M=[])


def test_default_sizes() -> None:
    assert dict(from_sizes().sizes) == {"N": 1, "T": 10, "D": 3, "M": 5, "K": 2}
    assert dict(from_sizes(T=4, M=[7, 8]).sizes) == {
        "N": 1, "T": 4, "D": 3, "M1": 7, "M2": 8, "K": 2,
    }  # fmt: skip


def test_network_is_frozen() -> None:
    """It is validated once."""
    net = from_sizes()
    with pytest.raises(AttributeError):
        net.dtype = "float64"  # type: ignore[misc]
    net.sizes["T"] = 0
    assert net.sizes["T"] == 10


def test_open_sizes_are_set_and_fixed_ones_not() -> None:
    net = from_sizes()
    assert net.with_sizes(T=10) == net
    with pytest.raises(InputError, match=mentioning("T", "10", "11")):
        net.with_sizes(T=11)


@pytest.mark.parametrize(
    ("name", "present", "absent"),
    [
        ("T", ("--T", "--input"), (".npz",)),
        ("T2", ("--T", "--input", ".npz"), ("--T2",)),
        ("T'", ("--T",), ("--T'", "--input")),
        ("F", ("F",), ("--",)),
    ],
)
def test_unknown_size_has_a_remedy(name: str, present: Any, absent: Any) -> None:
    text = remedy_for_unknown_size(name)
    assert all(word in text for word in present)
    assert not any(word in text for word in absent)


@pytest.mark.parametrize(("count", "numbers"), [(4, ["0", "3", "4"]), (1, ["0", "1"])])
def test_range_of_indices_ends_before_the_size(count: int, numbers: list[str]) -> None:
    assert re.findall(r"\d+", index_range_text("T", count)) == numbers

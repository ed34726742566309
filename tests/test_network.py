"""Sizes are checked once, with a message that teaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnshapes import InputError
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.sizes import check_size


@pytest.mark.parametrize("value", [1, 7, np.int64(3), 2**63 - 1])
def test_whole_numbers_from_1_to_the_largest_axis_are_sizes(value: Any) -> None:
    """Also NumPy's integers."""
    assert check_size("T", value) == int(value)
    assert type(check_size("T", value)) is int


@pytest.mark.parametrize(
    "value", [0, -1, 2.0, 2.5, "3", True, None, 2**63, 10**5000, -(10**5000), "9" * 9999], ids=type
)
def test_anything_else_is_not(value: Any) -> None:
    """The message names the size, what it counts, and what was expected."""
    with pytest.raises(
        InputError, match=r"T \(time steps\) is a whole number of at least 1"
    ) as error:
        check_size("T", value)
    assert len(str(error.value)) < 150


def test_a_network_without_a_recurrent_layer_is_refused() -> None:
    """An empty list of M."""
    with pytest.raises(InputError, match="M"):
        from_sizes(M=[])


def test_sizes_left_out_have_their_defaults() -> None:
    """N=1 T=10 D=3 M=5 K=2."""
    assert dict(from_sizes().sizes) == {"N": 1, "T": 10, "D": 3, "M": 5, "K": 2}
    assert dict(from_sizes(T=4, M=[7, 8]).sizes) == {
        "N": 1, "T": 4, "D": 3, "M1": 7, "M2": 8, "K": 2,
    }  # fmt: skip


def test_a_network_cannot_be_changed() -> None:
    """It is validated once, so it has to stay what it was."""
    net = from_sizes()
    with pytest.raises(AttributeError):
        net.dtype = "float64"  # type: ignore[misc]
    net.sizes["T"] = 0
    assert net.sizes["T"] == 10


def test_an_open_size_can_be_given_and_a_fixed_one_cannot_be_changed() -> None:
    """T = 10 stays 10."""
    net = from_sizes()
    assert net.with_sizes(T=10) == net
    with pytest.raises(InputError, match="T is 10 in this model, not 11"):
        net.with_sizes(T=11)

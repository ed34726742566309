"""``verify --against``: intermediates by golden name, and the first line that differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes.errors import InputError
from tests.helpers.handmade import SIZES, Arrays

FORMS: list[dict[str, Any]] = [
    {"cell": "simple"},
    {"cell": "lstm", "M": [5, 6]},
    {"cell": "gru", "bidirectional": True},
    {"cell": "gru", "reset_after": False, "go_backwards": True},
]


def intermediates(form: dict[str, Any], dtype: str = "float32") -> Arrays:
    """What a port may give: all but the weights and x."""
    golden = rnnshapes.golden(**SIZES | form).arrays
    weights = ("kernel", "bias")
    return {
        name: values.astype(dtype)
        for name, values in golden.items()
        if not name.endswith(weights) and name != "x"
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_right_intermediates_agree(form: dict[str, Any], dtype: str) -> None:
    port = intermediates(form, dtype)
    result = rnnshapes.verify(**SIZES | form, against=port)
    assert (result.verdict, result.unknown_arrays) == ("agrees", ())
    assert len(result.checks) == len(port)


@pytest.mark.parametrize(
    ("form", "name", "unit", "gate"),
    [
        ({"cell": "lstm"}, "lstm.x Wx", 5 + 3, "f"),
        ({"cell": "lstm"}, "lstm.z_o", 3, "o"),
        ({"cell": "gru"}, "gru.x_h + r × h_h", 3, "h"),
        ({"cell": "lstm", "M": [5, 6]}, "lstm_1.gate_f", 3, "f"),
        ({"cell": "simple"}, "simple_rnn.h Wh", 3, None),
    ],
)
def test_wrong_line_is_named(form: dict[str, Any], name: str, unit: int, gate: str | None) -> None:
    """With its gate, its unit, and the first step at which it differs."""
    port = intermediates(form)
    port[name][1, 4:, unit] += 1e-3
    result = rnnshapes.verify(**SIZES | form, against=port)
    assert not result.passed
    (where,) = result.to_dict()["where"]
    layer, _, line = name.partition(".")
    assert (where["layer"], where["array"], where["gate"]) == (layer, line, gate)
    assert (where["unit"], where["step"]) == (3, 4)
    assert where["text"] in " ".join(repr(result).split())


def test_unknown_operands_leave_a_line_out() -> None:
    """Without h, the product of x can be compared, and a gate only with that of the network."""
    port = intermediates({"cell": "gru"})
    given = {name: port[name] for name in ("gru.x Wx", "gru.gate_z", "y_hat")}
    result = rnnshapes.verify(**SIZES, cell="gru", against=given)
    assert result.passed
    assert len(result.checks) == 2
    given["gru.x Wx"][2, 0, 0] += 1e-3
    assert not rnnshapes.verify(**SIZES, cell="gru", against=given).passed
    given |= {"gru.x Wx": port["gru.x Wx"], "gru.gate_z": port["gru.gate_z"] + 1e-3}
    with pytest.raises(InputError, match=r"gru\.gate_z"):
        rnnshapes.verify(**SIZES, cell="gru", against=given)


def test_intermediate_of_another_shape_is_refused() -> None:
    port = intermediates({"cell": "lstm"})
    for values in (port["lstm.z_i"][:, :-1], np.full((3, 9, 5), np.nan, "f")):
        with pytest.raises(InputError, match=r"lstm\.z_i"):
            rnnshapes.verify(**SIZES, cell="lstm", against={**port, "lstm.z_i": values})

"""``verify --against``: intermediates by golden name, and the first line that differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.errors import InputError
from rnnshapes.port.arrays import read_port
from rnnshapes.port.intermediates import compare_intermediates
from tests.helpers.handmade import SIZES, Arrays
from tests.helpers.models import randomized
from tests.helpers.tried import hypothesis_of

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


def compared(port: Arrays, model: Any = None, **spec: Any) -> Any:
    """Compare the intermediates alone, without a search for what explains a difference."""
    base = hypothesis_of(port, **({"model": model, "N": 3} if model else {**SIZES, **spec}))
    return compare_intermediates(
        base.network, base.weights, base.xs, read_port(port), base.quantities, "float32"
    )


#: The gate of each line in which it can be told, and the columns before its block.
LINES: list[tuple[dict[str, Any], str, dict[str, tuple[str | None, int]]]] = [
    ({"cell": "simple"}, "simple_rnn", {}),
    ({"cell": "lstm"}, "lstm", {"x Wx": ("f", 5), "h Wh": ("o", 15)}),
    ({"cell": "gru"}, "gru", {"x Wx": ("h", 10), "h Wh": ("r", 5)}),
    ({"cell": "gru", "reset_after": False}, "gru", {"x Wx": ("r", 5)}),
]


@pytest.mark.parametrize(("form", "layer", "blocks"), LINES)
def test_each_wrong_line_is_located(form: dict[str, Any], layer: str, blocks: Any) -> None:
    """With its gate, unit and step, and the lines before it; only checks of lines are given."""
    port = intermediates(form, "float64")
    lines = [name for name in port if name.startswith(f"{layer}.")]
    states = {f"{layer}.{key}" for key in "hc"}
    for name in lines:
        line = name.partition(".")[2]
        if line == "h":  # h Wh of the next step differs, too
            continue
        gate, before = blocks.get(line, (line.rpartition("_")[2], 0))
        wrong = port[name].copy()
        wrong[1, 4, before + 3] += 1e-3
        found = compared({**port, name: wrong}, **form)
        assert found.names == set(lines)
        assert len(found.checks) == len(set(lines) - states)
        ((where, text, *_),) = found.locations
        earlier = [each.partition(".")[2] for each in lines[: lines.index(name)]]
        few = earlier if len(earlier) <= 4 else [earlier[-1], str(len(earlier) - 1)]
        assert all(each in text.partition(";")[2] for each in few)
        assert (where.layer, where.array, where.unit, where.step) == (layer, line, 3, 4)
        known = line in blocks or ("_" in name and len(gate) == 1 and gate in "ifcozrh")
        assert where.gate == (gate if known and layer != "simple_rnn" else None)
        for check in found.checks:
            if f" {line} " in check.quantity:
                assert (check.differing, check.error is not None) == (1, True)


def test_lines_of_one_sample_may_lack_its_axis() -> None:
    golden = rnnshapes.golden(**{**SIZES, "N": 1}, cell="gru").arrays
    port = {name: golden[name].astype("f") for name in ("gru.h", "gru.gate_z", "gru.x Wx")}
    flat = {name: values if name == "gru.h" else values[0] for name, values in port.items()}
    for given in (port, flat):
        found = compared(given, cell="gru", N=1)
        assert (found.names, found.locations) == ({"gru.gate_z", "gru.x Wx", "gru.h"}, ())


def test_unknown_states_leave_their_lines_out() -> None:
    """Of two layers, h of the first one is the input of the second."""
    spec: dict[str, Any] = {"cell": "lstm", "M": [5, 6]}
    port = intermediates(spec)
    every = {name for name in port if ".x Wx" in name or ".z_" in name}
    states = {"lstm.h", "lstm_1.h"}

    def names(*given: str) -> set[str]:
        return set(compared({n: port[n] for n in (*given, "y_hat")}, **spec).names) & every

    first = {name for name in every if name.startswith("lstm.")}
    assert names(*every) == {"lstm.x Wx"}
    assert names(*every, "lstm.h") == first | {"lstm_1.x Wx"}
    assert names(*every, "lstm_1.h") == {"lstm.x Wx"}
    assert names(*every, *states) == every
    port["lstm.h"] = port["lstm.h"][:, -1]
    assert names(*every, *states) == {"lstm.x Wx"}


def test_line_with_unknown_numbers_has_no_error() -> None:
    """A state that is hardly known leaves its next step out."""
    port = intermediates({"cell": "gru"}, "float64")
    port["gru.h Wh"][1, 2, 3] += 1e-3
    base = hypothesis_of(port, **SIZES, cell="gru")
    unknown = np.zeros((3, 9, 5))
    unknown[2, 4] = 1e6
    for left_out, rounding in ((0, 0 * unknown), (15, unknown)):
        quantities = [replace(q, rounding=rounding) if q.key == "h" else q for q in base.quantities]
        found = compare_intermediates(
            base.network, base.weights, base.xs, read_port(port), quantities, "float32"
        )
        (check,) = (check for check in found.checks if " h Wh " in check.quantity)
        assert (check.differing, check.left_out) == (1, left_out)
        assert (check.error is None) == bool(left_out)


def sequence(units: int, **options: Any) -> Any:
    return la.SimpleRNN(units, return_sequences=True, **options)


@pytest.mark.parametrize(
    ("layers", "is_compared"),
    [
        ((la.SimpleRNN(5, name="rnn"),), True),
        ((la.SimpleRNN(5, stateful=True, name="rnn"),), False),
        ((la.Masking(0.0), la.SimpleRNN(5, name="rnn")), False),
        ((la.Dense(4), la.SimpleRNN(5, name="rnn")), False),
        (
            (la.Bidirectional(la.SimpleRNN(2, return_sequences=True)), la.SimpleRNN(5, name="rnn")),
            False,
        ),
        (
            (
                la.SimpleRNN(4, go_backwards=True, return_sequences=True),
                la.SimpleRNN(5, name="rnn"),
            ),
            False,
        ),
    ],
)
def test_lines_need_a_known_input(layers: Any, is_compared: bool) -> None:
    """Steps that may be masked, and states that are kept, have none."""
    model = randomized(keras.Sequential([keras.Input((9, 4), batch_size=3), *layers]))
    golden = rnnshapes.golden(model, N=3, keras=False).arrays
    port = {n: a for n, a in golden.items() if "." in n and not n.endswith("_initial")}
    assert ("rnn.x Wx" in compared(port, model=model).names) == is_compared


def test_long_runs_are_compared_to_their_end() -> None:
    """So many numbers are computed in parts."""
    spec: dict[str, Any] = {"cell": "gru", "M": 40, "T": 900}
    port = intermediates(spec, "float64")
    assert not any(check.differing for check in compared(port, **spec).checks)
    port["gru.gate_z"][2, 899, 1] += 1e-3
    (location,) = compared(port, **spec).locations
    assert location.where[3:] == ("z", 1, 899)

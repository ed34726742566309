"""``verify --against``: stacks whose layers start from the port's own h of the layer before."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import LAYERS, Port, explained, weights_of

SIZES: dict[str, Any] = {"N": 2, "T": 7, "D": 3, "M": [4, 5], "K": 2}
Arrays = dict[str, np.ndarray]


def ported(first: Port, second: Port, *, repeated: bool = False) -> tuple[dict[str, Any], Arrays]:
    """Return the sizes of a stack, and h of both layers and y_hat by a port of each."""
    sizes = {**SIZES, "cell": first.cell}
    golden = rnnshapes.golden(**sizes).arrays
    name = LAYERS[first.cell]
    h = first.run(weights_of(golden, name, head=""), golden["x"])["h"]
    passed_on = np.repeat(h[:, -1:], h.shape[1], axis=1) if repeated else h
    found = second.run(weights_of(golden, f"{name}_1"), passed_on)
    return sizes, {f"{name}.h": h, f"{name}_1.h": found["h"], "y_hat": found["y_hat"]}


def layers_of(result: Any) -> list[tuple[str, str]]:
    """Return id and layer of every explanation in JSON."""
    return [(one["id"], one["where"]["layer"]) for one in result.to_dict()["diagnosis"]]


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_right_stacks_agree_layer_by_layer(cell: str) -> None:
    sizes, port = ported(Port(cell), Port(cell))
    result = rnnshapes.verify(**sizes, against=port)
    assert result.passed
    proven = [check.proven for check in result.checks]
    assert proven == [cell != "lstm", cell != "lstm", False]  # c of an LSTM is missing


@pytest.mark.parametrize(
    ("cell", "first", "id_"),
    [
        ("lstm", {"order": ("i", "o", "f", "c")}, "gates.order"),
        ("gru", {"activation": "relu"}, "activation.other"),
    ],
)
def test_two_layers_have_two_explanations(cell: str, first: dict[str, Any], id_: str) -> None:
    sizes, port = ported(Port(cell, **first), Port(cell, bias=0, head_bias=False))
    result = rnnshapes.verify(**sizes, against=port)
    name = LAYERS[cell]
    assert sorted(layers_of(result)) == sorted(
        [(id_, name), ("bias.omitted", f"{name}_1"), ("head.bias", "dense")]
    )
    assert len(result.diagnosis.explanations) == 1


def test_a_layer_behind_a_wrong_one_agrees() -> None:
    sizes, port = ported(Port("gru", bias=2), Port("gru"))
    result = rnnshapes.verify(**sizes, against={k: port[k] for k in ("gru.h", "gru_1.h")})
    assert [check.agrees for check in result.checks] == [False, True]
    assert layers_of(result) == [("bias.twice", "gru")]


def test_layers_joined_wrongly_are_named() -> None:
    sizes, port = ported(Port("simple"), Port("simple"), repeated=True)
    result = rnnshapes.verify(**sizes, against=port)
    assert explained(result) == [("stack.last_repeated",)]


def test_rounded_text_is_not_passed_on_as_exact(tmp_path: Path) -> None:
    sizes, port = ported(Port("gru"), Port("gru"))
    file = tmp_path / "port.json"
    text = json.dumps({name: values.tolist() for name, values in port.items()})
    file.write_text(re.sub(r"-?\d\.\d+(e-\d+)?", lambda number: f"{float(number[0]):.4f}", text))
    assert rnnshapes.verify(**sizes, against=file).passed

"""``verify --against``: numbers that are scaled, shifted or wrong are measured and located."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from tests.helpers.activations import sigmoid
from tests.helpers.handmade import LAYERS, Port, explained, scaled, weights_of
from tests.helpers.models import randomized, sequential

SIZES: dict[str, Any] = {"N": 3, "T": 8, "D": 4, "M": 5, "K": 2, "seed": 2}
Array = np.ndarray


#: The columns of a gate.
GATE = [np.s_[..., 5 * k : 5 * k + 5] for k in range(4)]
#: The cell, what is changed and how, the id, and the layer, array, gate and unit of the mistake.
CASES: list[tuple[str, str, Any, str, tuple[Any, ...]]] = [
    ("gru", "recurrent_kernel", scaled(np.s_[2], 0.6), "weights.scaled", (None, 2)),
    ("gru", "recurrent_kernel", scaled(np.s_[4], -1.3), "weights.scaled", (None, 4)),
    ("lstm", "recurrent_kernel", scaled(np.s_[3], 0.0), "weights.row_omitted", (None, 3)),
    ("gru", "recurrent_kernel", scaled(GATE[1], 0.6), "weights.scaled", ("r", None)),
    ("lstm", "kernel", scaled(GATE[2], 1.4), "weights.scaled", ("c", None)),
    ("lstm", "bias", scaled(GATE[3], 0.5), "weights.scaled", ("o", None)),
    ("lstm", "bias", scaled(GATE[0], 0.0), "bias.omitted", ("i", None)),
    ("gru", "kernel", scaled(GATE[0], 0.0), "weights.omitted", ("z", None)),
    ("gru", "recurrent_kernel", scaled(np.s_[:], 0.7), "weights.scaled", (None, None)),
    ("simple", "bias", scaled(np.s_[:], 0.6), "weights.scaled", (None, None)),
    ("lstm", "kernel", scaled(np.s_[1, 13], -1.0), "weights.one_wrong", ("c", 3)),
    ("gru", "bias", scaled(np.s_[1, 6], 3.0), "weights.one_wrong", ("r", 1)),
    ("simple", "kernel", scaled(np.s_[2, 4], 0.0), "weights.one_wrong", (None, 4)),
    ("simple", "W", scaled(np.s_[3, 1], 2.0), "weights.one_wrong", (None, 1)),
    ("simple", "b", scaled(np.s_[0], 3.0), "weights.one_wrong", (None, 0)),
    ("simple", "W", scaled(np.s_[:], 0.8), "weights.scaled", (None, None)),
    ("simple", "b", scaled(np.s_[:], 0.3), "weights.scaled", (None, None)),
]


@pytest.mark.parametrize(("cell", "name", "change", "id_", "place"), CASES)
def test_scaled_and_wrong_weights_are_located(
    cell: str, name: str, change: Any, id_: str, place: tuple[Any, ...]
) -> None:
    golden = rnnshapes.golden(**SIZES, cell=cell).arrays
    weights = weights_of(golden, LAYERS[cell])
    weights[name] = change(weights[name])
    y_hat = Port(cell).run(weights, golden["x"])["y_hat"]
    result = rnnshapes.verify(**SIZES, cell=cell, against={"y_hat": y_hat})
    assert explained(result) == [(id_,)]
    (one,) = result.to_dict()["diagnosis"]
    where = one["where"]
    array = {"W": "kernel", "b": "bias"}.get(name, name)
    layer = "dense" if name in "Wb" else LAYERS[cell]
    found = [where[key] for key in ("layer", "array", "gate", "unit")]
    assert found == [layer, array, *place]


@pytest.mark.parametrize("unit", [0, 3])
def test_one_weight_before_a_single_output_is_located(unit: int) -> None:
    """The unit of y_hat is none of the recurrence."""
    sizes = {**SIZES, "K": 1, "cell": "simple"}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, "simple_rnn")
    weights["kernel"] = scaled(np.s_[2, unit], 1.7)(weights["kernel"])
    y_hat = Port("simple").run(weights, golden["x"])["y_hat"]
    result = rnnshapes.verify(**sizes, against={"y_hat": y_hat})
    assert explained(result) == [("weights.one_wrong",)]
    where = result.to_dict()["diagnosis"][0]["where"]
    assert (where["array"], where["unit"]) == ("kernel", unit)


#: What is done to z and to y of a head, and numbers that are measured.
OUTPUTS: list[tuple[str, Any, Any, tuple[str, ...]]] = [
    ("sigmoid", None, lambda y: y + 0.75, ("0.75",)),
    ("sigmoid", None, lambda y: 2.5 * y, ("2.5",)),
    ("sigmoid", None, lambda y: y * [1.5, 0.25, 1.0], ("1.5", "0.25")),
    ("sigmoid", None, lambda y: 1.25 * y - 0.5, ("1.25", "0.5")),
    ("sigmoid", None, lambda y: y + np.array([0, 0.5, 0]), ("0.5",)),
    ("sigmoid", lambda z: 0.3 * z, None, ("0.3",)),
    ("linear", None, lambda y: 1.75 * y, ("1.75",)),
    ("linear", None, lambda y: y - 0.625, ("-0.625",)),
]


@pytest.mark.parametrize(("activation", "of_z", "of_y", "words"), OUTPUTS)
def test_scaled_outputs_are_measured(
    activation: str, of_z: Any, of_y: Any, words: tuple[str, ...]
) -> None:
    layers = [
        la.SimpleRNN(5, return_sequences=True, name="rnn"),
        la.Dense(3, activation, name="head"),
    ]
    model = randomized(sequential(*layers, shape=(8, 4)), seed=2)
    golden = rnnshapes.golden(model, N=3).arrays
    z = golden["rnn.h"].astype(float) @ golden["head/kernel"] + golden["head/bias"]
    z = z if of_z is None else of_z(z)
    y = z if activation == "linear" else sigmoid(z)
    y = y if of_y is None else of_y(y)
    result = rnnshapes.verify(model, N=3, against={"y_hat": y.astype("f")})
    assert explained(result) == [("head.scaled",)]
    (one,) = result.to_dict()["diagnosis"]
    assert one["where"]["layer"] == "head"
    assert [word for word in words if word not in one["text"]] == []


@pytest.mark.parametrize(
    ("factor", "shift", "number"),
    [
        *((2.0, 0.0, "2"), (100.0, 0.0, "100"), (0.5, 0.0, "0.5"), (1.0, -0.75, "-0.75")),
        (1 / 255, 0.0, "1/255"),
    ],
)
def test_scaled_x_is_measured(factor: float, shift: float, number: str) -> None:
    golden = rnnshapes.golden(**SIZES).arrays
    x = (golden["x"] * factor + shift).astype("f")
    y_hat = Port("simple").run(weights_of(golden, "simple_rnn"), x)["y_hat"]
    result = rnnshapes.verify(**SIZES, against={"y_hat": y_hat})
    assert explained(result) == [("input.shifted" if shift else "input.scaled",)]
    (one,) = result.to_dict()["diagnosis"]
    assert one["where"]["array"] == "x"
    assert number in one["text"]


#: The start of h of each layer: one number for all units, or one for each.
STARTS = [(0.5, 0.5), (0.5, 0.0), (0.0, 0.5), ("units", 0.0), (0.0, "units")]


@pytest.mark.parametrize("starts", STARTS)
def test_starts_of_layers_are_measured(starts: tuple[Any, Any]) -> None:
    """From the output alone."""
    sizes = {**SIZES, "cell": "simple", "M": [4, 4], "return_sequences": True}
    golden = rnnshapes.golden(**sizes).arrays
    x = golden["x"]
    for name, start in zip(("simple_rnn", "simple_rnn_1"), starts, strict=True):
        units = np.float32([0.25, -0.5, 0.75, -0.125]) if start == "units" else np.float32(start)
        first = np.broadcast_to(units, (3, 4)).astype("f")
        found = Port("simple").run(weights_of(golden, name), x, start=first)
        x = found["h"]
    result = rnnshapes.verify(**sizes, against={"y_hat": found["y_hat"]})
    assert explained(result) == [("state.starts_nonzero",)]
    text = result.diagnosis.explanations[0].text
    assert ("0.25, -0.5, 0.75" if "units" in starts else "0.5") in text
    names = [name for name in ("simple_rnn_1", "simple_rnn ") if name in f"{text} "]
    assert len(names) == (0 if starts[0] == starts[1] else 1)

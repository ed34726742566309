"""Keras's weights against files of PyTorch and ONNX: the conversion, or the mistake."""

from __future__ import annotations

import csv
import functools
import itertools
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError
from rnnshapes.load.foreign.model import open_foreign_file
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.weight_files.matching import as_stored
from rnnshapes.render import schemas
from tests.helpers import foreign
from tests.helpers.cells import LAYERS
from tests.helpers.foreign import message, onnx_file, onnx_node, written
from tests.helpers.models import randomized, sequential
from tests.helpers.port_layouts import in_onnx, in_pytorch
from tests.helpers.results import as_json

SIZES: dict[str, Any] = {"N": 1, "T": 2, "D": 3, "M": 5, "K": 2}
VALIDATOR = jsonschema.Draft202012Validator(schemas.schema("verify"))
KINDS = {"simple": "RNN", "lstm": "LSTM", "gru": "GRU"}
Arrays = dict[str, np.ndarray]


def pytorch_arrays(cell: str, **options: Any) -> Arrays:
    """Return the state_dict of the network by sizes, with its random weights."""
    return dict(_pytorch_arrays(cell, tuple(options.items())))


@functools.cache
def _pytorch_arrays(cell: str, more: tuple[tuple[str, Any], ...]) -> Arrays:
    options = dict(more)
    golden = dict(rnnshapes.golden(cell=cell, **{**SIZES, **options}).arrays)
    name = LAYERS[cell]
    names = [name]
    if options.get("bidirectional"):
        names = [f"bidirectional/{way}_{name}" for way in ("forward", "backward")]
    if options.get("use_bias") is False:  # zeros in a GRU of PyTorch
        golden[f"{name}/bias"] = np.zeros((2, 15))
    arrays = {f"rnn.{key}": array for key, array in in_pytorch(cell, golden, names).items()}
    arrays["fc.weight"] = golden["dense/kernel"].T.copy()
    arrays["fc.bias"] = golden["dense/bias"]
    return {key: np.ascontiguousarray(a, dtype="float32") for key, a in arrays.items()}


def compared(tmp_path: Path, arrays: Arrays, cell: str, **options: Any) -> dict[str, Any]:
    """Return the JSON of the comparison with a .pt file of these arrays."""
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    result = rnnshapes.verify(cell=cell, against=path, **{**SIZES, **options})
    record = as_json(result)
    VALIDATOR.validate(record)
    assert record["passed"] is not bool(record["diagnosis"])
    return record


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("cell", KINDS)
def test_right_weights_pass(cell: str, options: dict[str, Any], tmp_path: Path) -> None:
    arrays = pytorch_arrays(cell, **options)
    record = compared(tmp_path, arrays, cell, **options)
    assert record["passed"]
    assert record["unjudged"] == []
    assert len(record["checks"]) == 3 * (1 + bool(options)) + 2
    assert sum(check["compared"] for check in record["checks"]) > 0
    orders = {check["rule"].partition("gates ")[2] for check in record["checks"][:-2]}
    assert orders == {"r z h" if cell == "gru" else ""}
    half = {name: a.astype("float16") for name, a in arrays.items()}
    record = compared(tmp_path, half, cell, **options)
    assert record["passed"]
    assert "float16" in record["checks"][0]["rule"]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_stored_numbers_are_rounded_to_their_dtype(dtype: str) -> None:
    values = np.array([[1 / 3, 0.5], [-0.25, 1e-3]])
    stored, words = as_stored(values, dtype)
    assert np.array_equal(stored, values.astype(dtype).astype("float64"))
    assert bool(words) == (dtype != "float64")
    assert as_stored(np.array([0.5]), dtype)[1] == ""


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_biases_may_be_added(dtype: str, tmp_path: Path) -> None:
    """Each number of the file, and that of Keras, may be off by the spacing of their dtype."""
    arrays = {name: a.astype(dtype) for name, a in pytorch_arrays("lstm").items()}
    bias = arrays["rnn.bias_ih_l0"]
    part = 0.3 * bias.astype(float)
    arrays["rnn.bias_hh_l0"] = part.astype(dtype)
    for steps, passed in ((0, True), (2, True), (4, False)):
        off = steps * np.finfo(dtype).eps * (np.arange(20) == 13)
        arrays["rnn.bias_ih_l0"] = ((bias - part) * (1 + off)).astype(dtype)
        record = compared(tmp_path, arrays, "lstm")
        assert record["passed"] is passed
        rules = [(check["rule"] or "").partition(",")[0] for check in record["checks"]]
        assert rules[2] == ("sum of both biases" if passed else "")


def compared_with_onnx(*arguments: Any, **options: Any) -> list[str]:
    """Return the ids of mistakes in an ONNX file."""
    return [mistake.id for mistake in mistakes_of_onnx(*arguments, **options)]


def mistakes_of_onnx(
    tmp_path: Path, cell: str, attributes: Any, change: Any = dict, **options: Any
) -> tuple[Mistake, ...]:
    """Return the mistakes in an ONNX file with these attributes, and the right weights.

    The weights may be changed.
    """
    golden = rnnshapes.golden(cell=cell, **SIZES, **options).arrays
    name = LAYERS[cell]
    names = [name]
    if options.get("bidirectional"):
        names = [f"bidirectional/{way}_{name}" for way in ("forward", "backward")]
    arrays = {key: a.astype("float32") for key, a in in_onnx(cell, golden, names).items()}
    arrays = change(arrays) | {"w": golden["dense/kernel"], "b": golden["dense/bias"]}
    nodes = [
        onnx_node(KINDS[cell], ["X", "W", "R", "B"], ["Y"], hidden_size=5, **attributes),
        onnx_node("MatMul", ["Y", "w"], ["z"]),
        onnx_node("Add", ["z", "b"], ["y"]),
    ]
    path = written(tmp_path / "m.onnx", onnx_file(nodes, arrays))
    result = rnnshapes.verify(cell=cell, against=path, **SIZES, **options)
    VALIDATOR.validate(as_json(result))
    assert result.passed is not bool(result.mistakes)
    layer = "bidirectional" if len(names) > 1 else name
    assert {mistake.where.layer for mistake in result.mistakes} <= {layer}
    params = rnnshapes.inspect(cell=cell, **SIZES, **options).params
    assert sum(check.compared for check in result.checks) == params
    for mistake in result.mistakes:
        if mistake.id == "direction.reversed":
            in_file, in_keras = mistake.text.split(";")
            backwards = attributes["direction"] == "reverse"
            assert ("in reverse" in in_file, "in reverse" in in_keras) == (backwards, not backwards)
            assert ("in reverse" in mistake.fix) is not backwards
        elif mistake.id.startswith("gru"):
            assert f"linear_before_reset={int(mistake.id == 'gru.reset_before')}" in mistake.fix
    return result.mistakes


@pytest.mark.parametrize("cell", KINDS)
def test_onnx_weights_pass(cell: str, tmp_path: Path) -> None:
    before: dict[str, Any] = {"linear_before_reset": 1} if cell == "gru" else {}
    assert compared_with_onnx(tmp_path, cell, before) == []
    if cell == "gru":
        assert compared_with_onnx(tmp_path, cell, {}) == ["gru.reset_before"]
        assert compared_with_onnx(tmp_path, cell, {}, reset_after=False) == []
        ids = compared_with_onnx(tmp_path, cell, before, reset_after=False)
        assert ids == ["gru.reset_after"]


def test_flat_kernel_of_onnx_is_named(tmp_path: Path) -> None:
    """Its gates are in another order than those of Keras."""

    def flat(arrays: Arrays) -> Arrays:
        return {**arrays, "W": arrays["W"][0].T.reshape(arrays["W"].shape)}

    assert compared_with_onnx(tmp_path, "lstm", {}, flat) == ["layout.flat_buffer"]


TANH = {"simple": ["Tanh"], "lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"]}
ACTIVATIONS = {
    "simple": ["activation"],
    "lstm": ["recurrent_activation", "activation", "state_activation"],
    "gru": ["recurrent_activation", "activation"],
}


@pytest.mark.parametrize("cell", KINDS)
def test_every_activation_is_compared(cell: str, tmp_path: Path) -> None:
    before: dict[str, Any] = {"linear_before_reset": 1} if cell == "gru" else {}
    before["direction"] = "bidirectional"
    right = TANH[cell] * 2
    for number in range(len(right)):
        names = [*right[:number], "Relu", *right[number + 1 :]]
        attributes = {**before, "activations": names}
        (found,) = mistakes_of_onnx(tmp_path, cell, attributes, bidirectional=True)
        way, option = [*itertools.product(("forward", "backward"), ACTIVATIONS[cell])][number]
        assert (found.id, found.where) == ("activation.other", Where("bidirectional", way))
        in_file, in_keras = found.text.split(", and ")
        assert (in_file.split()[0], "relu" in in_file) == (option, True)
        assert right[number].lower() in in_keras
    attributes = {**before, "activations": right}
    assert compared_with_onnx(tmp_path, cell, attributes, bidirectional=True) == []


SIXTH = {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_alpha": [1 / 6]}
FIFTH = {**SIXTH, "activation_alpha": [0.2]}


def gate_activation(name: str, *constants: float) -> dict[str, list[Any]]:
    """Return the attributes of an LSTM with this activation of its gates, its alpha and beta."""
    keys = ("activation_alpha", "activation_beta")
    alpha_beta = {key: [each] for key, each in zip(keys, constants, strict=False)}
    return {"activations": [name, "Tanh", "Tanh"], **alpha_beta}


@pytest.mark.parametrize(
    ("attributes", "recurrent_activation", "ids"),
    [
        ({"clip": 2.5}, "sigmoid", ["activation.clipped"]),
        ({"input_forget": 1}, "sigmoid", ["lstm.gates_coupled"]),
        ({"input_forget": 1, "clip": 2.5}, "sigmoid", ["lstm.gates_coupled", "activation.clipped"]),
        (SIXTH, "hard_sigmoid", []),
        (FIFTH, "hard_sigmoid", ["activation.other"]),
        (SIXTH, "sigmoid", ["activation.other"]),
        (gate_activation("Elu", 1.0), "elu", []),
        (gate_activation("Elu", 0.5), "elu", ["activation.other"]),
        (gate_activation("LeakyRelu", 0.2), "leaky_relu", []),
        (gate_activation("LeakyRelu", 0.1), "leaky_relu", ["activation.other"]),
        (gate_activation("LeakyRelu", 0.2), "linear", ["activation.other"]),
        (gate_activation("Affine", 1.0, 0.0), "linear", []),
        (gate_activation("Affine", 1.0, 0.5), "linear", ["activation.other"]),
        (gate_activation("HardSigmoid", 1 / 6, 0.5), "hard_sigmoid", []),
        (gate_activation("HardSigmoid", 1 / 6, 0.25), "hard_sigmoid", ["activation.other"]),
        (gate_activation("Softplus"), "softplus", []),
    ],
)
def test_options_of_the_operator_are_compared(
    attributes: Any, recurrent_activation: str, ids: list[str], tmp_path: Path
) -> None:
    options = {"recurrent_activation": recurrent_activation}
    assert compared_with_onnx(tmp_path, "lstm", attributes, **options) == ids


def test_bias_that_keras_lacks_must_be_zero(tmp_path: Path) -> None:
    arrays = pytorch_arrays("gru", use_bias=False)
    assert compared(tmp_path, arrays, "gru", use_bias=False)["passed"]
    arrays["rnn.bias_hh_l0"][7] = 0.5
    record = compared(tmp_path, arrays, "gru", use_bias=False)
    (mistake,) = record["diagnosis"]
    assert mistake["id"] == "bias.other"
    assert (mistake["where"]["layer"], mistake["where"]["array"]) == ("gru", "bias")
    counts = [check["compared"] for check in record["checks"] if check["name"].startswith("gru")]
    assert counts == [3 * 15, 5 * 15, 15]


@pytest.mark.parametrize("use_bias", [False, True])
def test_recurrence_that_the_file_lacks_is_missing(use_bias: bool, tmp_path: Path) -> None:
    """Each array of it, in each direction; nothing of them is compared."""
    options = {"bidirectional": True, "use_bias": use_bias}
    record = compared(tmp_path, pytorch_arrays("lstm"), "lstm", **options)
    missing = [
        (one["where"]["direction"], one["where"]["array"])
        for one in record["diagnosis"]
        if one["id"] == "weights.missing" and one["where"]["direction"]
    ]
    arrays = ["kernel", "recurrent_kernel", *(["bias"] if use_bias else [])]
    assert missing == list(itertools.product(("forward", "backward"), arrays))
    absent = [check for check in record["checks"] if check["name"].startswith("bidirectional")]
    assert [check["compared"] for check in absent] == [0] * len(missing)


@pytest.mark.parametrize(
    ("cell", "D", "M", "options"),
    [
        ("gru", 3, 5, {}),
        ("lstm", 4, 5, {}),
        ("lstm", 3, 6, {}),
        ("lstm", 3, 5, {"both": True}),
        ("lstm", 3, 5, {"proj_size": 2}),
    ],
)
def test_recurrence_of_other_sizes_is_none(
    cell: str, D: int, M: int, options: dict[str, Any], tmp_path: Path
) -> None:
    """Though it has the name of the layer."""
    arrays = foreign.state_dict(cell, D, M, prefix="lstm.", **options)
    head = {name: a for name, a in pytorch_arrays("lstm").items() if name.startswith("fc.")}
    record = compared(tmp_path, {**head, **arrays}, "lstm")
    ids = [one["id"] for one in record["diagnosis"]]
    assert ids == ["weights.missing"] * 3 + ["weights.extra"]
    assert record["unjudged"] == list(arrays)


@pytest.mark.parametrize("backwards", [False, True])
def test_direction_is_compared(backwards: bool, tmp_path: Path) -> None:
    for direction in ("forward", "reverse"):
        ids = compared_with_onnx(tmp_path, "lstm", {"direction": direction}, go_backwards=backwards)
        right = backwards is (direction == "reverse")
        assert ids == ([] if right else ["direction.reversed"])


def test_pytorch_has_no_reverse_alone(tmp_path: Path) -> None:
    arrays = pytorch_arrays("gru", go_backwards=True)
    record = compared(tmp_path, arrays, "gru", go_backwards=True)
    (found,) = record["diagnosis"]
    assert found["id"] == "direction.reversed"
    assert "sequence forward" in found["text"].partition(";")[0]
    assert "reverse x" in found["cure"]


def test_directions_of_pytorch_have_one_activation(tmp_path: Path) -> None:
    def of(activation: str) -> keras.Model:
        backward = la.SimpleRNN(5, activation, go_backwards=True)
        layer = la.Bidirectional(la.SimpleRNN(5, "relu"), backward_layer=backward, name="rnn")
        return randomized(keras.Sequential([keras.Input((4, 3)), layer]))

    path = tmp_path / "w.safetensors"
    rnnshapes.convert(of("relu"), path)
    assert rnnshapes.verify(of("relu"), against=path).passed
    found = [(one.id, one.where) for one in rnnshapes.verify(of("tanh"), against=path).mistakes]
    assert found == [("activation.other", Where("rnn", "backward"))]


def swapped(name: str, order: tuple[int, ...]) -> Callable[[Arrays], Arrays]:
    """Return a change that takes the blocks of rows in another order."""

    def change(arrays: Arrays) -> Arrays:
        blocks = np.split(arrays[name], len(order))
        return {**arrays, name: np.concatenate([blocks[place] for place in order])}

    return change


def changed(name: str, function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    """Return a change of one array."""

    def change(arrays: Arrays) -> Arrays:
        array = np.ascontiguousarray(function(arrays[name].copy()), dtype="float32")
        return {**arrays, name: array}

    return change


def plus_one(bias: np.ndarray) -> np.ndarray:
    bias[5:10] += 1
    return bias


def one_wrong(kernel: np.ndarray) -> np.ndarray:
    kernel[7, 2] += 0.01
    return kernel


def small(kernel: np.ndarray) -> np.ndarray:
    kernel[1, 3] += 0.005
    return kernel


def int8(kernel: np.ndarray) -> np.ndarray:
    scale = np.abs(kernel).max() / 127
    return np.rint(kernel / scale) * scale


def exchanged(arrays: Arrays, name: str, other: str) -> Arrays:
    return {**arrays, name: arrays[other], other: arrays[name]}


W, R, B, H = (f"rnn.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
#: Mistakes in one array: cell, options, change, id, array in Keras.
MISTAKES: dict[str, tuple[str, dict[str, Any], Callable[[Arrays], Arrays], str, str]] = {
    "kernel's gates": ("lstm", {}, swapped(W, (0, 3, 1, 2)), "gates.order", "kernel"),
    "gates of R": ("gru", {}, swapped(R, (1, 0, 2)), "gates.order", "recurrent_kernel"),
    "gates of b": ("lstm", {}, swapped(B, (0, 2, 1, 3)), "gates.order", "bias"),
    "gates of row 1": ("gru", {}, swapped(H, (1, 0, 2)), "gates.order", "bias"),
    "flat": (
        "lstm",
        {},
        changed(W, lambda a: a.T.reshape(a.shape)),
        "layout.flat_buffer",
        "kernel",
    ),
    "square blocks": (
        "lstm",
        {},
        changed(R, lambda a: np.concatenate([block.T for block in np.split(a, 4)])),
        "layout.transposed",
        "recurrent_kernel",
    ),
    "no bias": ("simple", {}, changed(B, np.zeros_like), "bias.omitted", "bias"),
    "bias twice": ("lstm", {}, lambda a: {**a, H: a[B]}, "bias.twice", "bias"),
    "forget bias": ("lstm", {}, changed(B, plus_one), "bias.forget_again", "bias"),
    "rows": ("gru", {}, lambda a: exchanged(a, B, H), "bias.rows_exchanged", "bias"),
    "row 1": ("gru", {}, changed(H, np.zeros_like), "bias.recurrent_row_omitted", "bias"),
    "rows added": (
        "gru",
        {},
        lambda a: {**a, B: a[B] + a[H], H: 0 * a[H]},
        "bias.rows_summed",
        "bias",
    ),
    "directions": (
        "gru",
        {"bidirectional": True},
        lambda a: exchanged(a, R, f"{R}_reverse"),
        "direction.weights_exchanged",
        "recurrent_kernel",
    ),
    "no rows": (
        "gru",
        {},
        lambda a: {**a, B: 0 * a[B], H: 0 * a[H]},
        "bias.omitted",
        "bias",
    ),
    "row 0": ("gru", {}, changed(B, np.zeros_like), "bias.input_row_omitted", "bias"),
    "gates of row 0": ("gru", {}, swapped(B, (1, 0, 2)), "gates.order", "bias"),
    "other row": ("gru", {}, changed(H, lambda a: a[::-1]), "weights.other", "bias"),
    "flat, of gates": (
        "gru",
        {},
        changed(W, lambda a: a.T.reshape(a.shape)),
        "layout.flat_buffer",
        "kernel",
    ),
    "flat, in the order of Keras": (
        "gru",
        {},
        changed(W, lambda a: np.concatenate([a[5:10], a[:5], a[10:]]).T.reshape(a.shape)),
        "layout.flat_buffer",
        "kernel",
    ),
    "one number": ("lstm", {}, changed(W, one_wrong), "weights.one_wrong", "kernel"),
    "one of few": ("simple", {}, changed("fc.weight", small), "weights.one_wrong", "kernel"),
    "int8": ("lstm", {}, changed(W, int8), "weights.quantized", "kernel"),
    "float16": ("lstm", {}, changed(W, lambda a: a.astype("e")), "weights.float16", "kernel"),
    "near": ("lstm", {}, changed(W, lambda a: a * 1.001), "weights.other", "kernel"),
    "other": ("lstm", {}, changed(R, lambda a: a[::-1, ::-1]), "weights.other", "recurrent_kernel"),
    "head": ("lstm", {}, changed("fc.bias", lambda a: a + 1), "weights.other", "bias"),
    "flat head": (
        "lstm",
        {},
        changed("fc.weight", lambda a: a.T.reshape(a.shape)),
        "layout.flat_buffer",
        "kernel",
    ),
    "missing head": (
        "lstm",
        {},
        lambda a: {k: v for k, v in a.items() if k != "fc.bias"},
        "weights.missing",
        "bias",
    ),
}


@pytest.mark.parametrize(
    ("cell", "blocks", "order"), [("lstm", (0, 3, 1, 2), "i o f c"), ("gru", (1, 2, 0), "z h r")]
)
def test_order_of_gates_in_the_file_is_named(
    cell: str, blocks: tuple[int, ...], order: str, tmp_path: Path
) -> None:
    record = compared(tmp_path, swapped(W, blocks)(pytorch_arrays(cell)), cell)
    (one,) = record["diagnosis"]
    assert one["id"] == "gates.order"
    assert f" {order}," in one["text"]


@pytest.mark.parametrize("cell", KINDS)
def test_exchanged_directions_are_named(cell: str, tmp_path: Path) -> None:
    arrays = pytorch_arrays(cell, bidirectional=True)
    for name in (W, R, B, H):
        arrays = exchanged(arrays, name, f"{name}_reverse")
    record = compared(tmp_path, arrays, cell, bidirectional=True)
    found = [one["id"] for one in record["diagnosis"]]
    assert found == ["direction.weights_exchanged"] * 6


def biases_of_both(cell: str, function: Callable[..., list[np.ndarray]]) -> keras.Model:
    """Return a model of a cell in both directions, whose biases a function makes of its own."""
    layer = {"lstm": la.LSTM, "gru": la.GRU}[cell](5)
    model = model_of(la.Bidirectional(layer, name="rnn"))
    weights = model.get_weights()
    weights[2], weights[5] = function(weights[2], weights[5])
    model.set_weights(weights)
    return model


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bias_of_a_right_direction_is_not_exchanged(cell: str, tmp_path: Path) -> None:
    """Both directions have one bias in Keras; in the file, the second one is right."""
    model = biases_of_both(cell, lambda one, other: [one, one])
    arrays = state_of(model)
    arrays[B] = np.random.default_rng(3).standard_normal(arrays[B].shape).astype("float32")
    found = [(m.id, m.where) for m in against_model(tmp_path, model, arrays).mistakes]
    at = Where("rnn", "forward", "bias", found[0][1].gate)
    assert found == [("weights.other", at)]


def test_wrong_number_is_no_exchange_of_directions(tmp_path: Path) -> None:
    """The first bias of Keras is 0, as the second one of the file, which is left out."""
    model = biases_of_both("lstm", lambda one, other: [0 * one, other])
    arrays = state_of(model)
    arrays[B][7], arrays[f"{B}_reverse"] = 0.5, 0 * arrays[B]
    found = [(m.id, m.where.direction) for m in against_model(tmp_path, model, arrays).mistakes]
    assert found == [("weights.one_wrong", "forward"), ("bias.omitted", "backward")]


def test_reversed_layer_may_come_first_in_keras(tmp_path: Path) -> None:
    """ONNX has the other order."""

    def of(reverse: bool) -> keras.Model:
        forward, backward = (la.GRU(5, go_backwards=way) for way in (reverse, not reverse))
        layer = la.Bidirectional(forward, backward_layer=backward, name="rnn")
        return randomized(keras.Sequential([keras.Input((4, 3)), layer]))

    rnnshapes.convert(of(True), path := tmp_path / "m.onnx")
    assert rnnshapes.verify(of(True), against=path).passed
    wrong = rnnshapes.verify(of(False), against=path)
    assert {mistake.id for mistake in wrong.mistakes} == {"direction.weights_exchanged"}
    assert {mistake.where.direction for mistake in wrong.mistakes} == {"forward", "backward"}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_named_with_its_array(name: str, tmp_path: Path) -> None:
    cell, options, change, id_, array = MISTAKES[name]
    record = compared(tmp_path, change(pytorch_arrays(cell, **options)), cell, **options)
    assert {found["id"] for found in record["diagnosis"]} == {id_}
    assert {found["where"]["array"] for found in record["diagnosis"]} == {array}
    directions = {"forward", "backward"} if options else {None}
    assert {found["where"]["direction"] for found in record["diagnosis"]} == directions


def test_right_array_elsewhere_is_not_taken(tmp_path: Path) -> None:
    """Both biases of Keras are 0; one number of one of them is not, in the file."""
    model = keras.Sequential([keras.Input((5,)), la.Dense(5, name="a"), la.Dense(5, name="b")])
    arrays = state_of(model)
    arrays["a.bias"][3] = 0.5
    found = [(m.id, m.where) for m in against_model(tmp_path, model, arrays).mistakes]
    assert found == [("weights.one_wrong", Where("a", None, "bias", None, 3))]


def test_wrong_number_is_located(tmp_path: Path) -> None:
    record = compared(tmp_path, changed(W, one_wrong)(pytorch_arrays("lstm")), "lstm")
    (found,) = record["diagnosis"]
    assert (found["where"]["gate"], found["where"]["unit"]) == ("f", 2)


def test_square_head_has_to_be_transposed(tmp_path: Path) -> None:
    arrays = pytorch_arrays("gru", K=5)
    assert compared(tmp_path, arrays, "gru", K=5)["passed"]
    record = compared(tmp_path, changed("fc.weight", np.transpose)(arrays), "gru", K=5)
    assert [found["id"] for found in record["diagnosis"]] == ["layout.transposed"]


def test_layers_of_a_stack_keep_their_order(tmp_path: Path) -> None:
    sizes = {**SIZES, "D": 4, "M": [4, 4, 4]}
    golden = rnnshapes.golden(cell="lstm", **sizes).arrays
    arrays = {"fc.weight": golden["dense/kernel"].T.copy(), "fc.bias": golden["dense/bias"]}
    for order, ids in (((0, 1, 2), set()), ((1, 0, 2), {"stack.layers_swapped"})):
        for place, number in enumerate(order):
            layer = "lstm" if number == 0 else f"lstm_{number}"
            for name, array in in_pytorch("lstm", golden, [layer]).items():
                stored = np.ascontiguousarray(array, dtype="float32")
                arrays[f"rnn.{name.replace('_l0', f'_l{place}')}"] = stored
        record = compared(tmp_path, arrays, "lstm", D=4, M=[4, 4, 4])
        assert {found["id"] for found in record["diagnosis"]} == ids


def test_pytorch_has_no_reset_before(tmp_path: Path) -> None:
    golden = rnnshapes.golden(cell="gru", reset_after=False, **SIZES).arrays
    arrays = {
        name: np.ascontiguousarray(a, dtype="float32")
        for name, a in in_pytorch("gru", golden, ["gru"]).items()
    }
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    result = rnnshapes.verify(cell="gru", reset_after=False, against=path, **SIZES)
    (mistake,) = (each for each in result.mistakes if each.id == "gru.reset_after")
    assert "reset_after=True" in mistake.fix


def test_projection_to_the_same_size_fails(tmp_path: Path) -> None:
    arrays = pytorch_arrays("lstm")
    arrays["rnn.weight_hr_l0"] = np.eye(5, dtype="float32")
    (found,) = compared(tmp_path, arrays, "lstm")["diagnosis"]
    assert found["id"] == "lstm.projected"


def test_command_tells_the_verdict(tmp_path: Path, run) -> None:
    path = written(tmp_path / "m.pt", foreign.torch_file(pytorch_arrays("lstm")))
    sizes = ("--cell", "lstm", "--D", "3", "--M", "5", "--K", "2")
    done = run("verify", *sizes, "--against", path)
    assert (done.status, done.out.split()[0]) == (0, "AGREES")
    assert run("verify", *sizes, "--against", path, "--seed", "1").status == 1
    assert run("verify", *sizes, "--against", path, "--dtype", "float32").status == 2
    assert run("verify", path, "--against", path).status == 2
    assert run("verify", *sizes, "--against", tmp_path / "none.onnx").status == 2


def test_csv_has_the_checks_of_json(tmp_path: Path, run) -> None:
    arrays = pytorch_arrays("gru")
    arrays["rnn.weight_hh_l0"] = arrays["rnn.weight_hh_l0"][::-1].copy()
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    sizes = [part for name, size in SIZES.items() for part in (f"--{name}", size)]
    command = ["verify", *sizes, "--cell", "gru", "--against", path, "--format"]
    found = {kind: run(*command, kind) for kind in ("json", "csv")}
    assert {result.status for result in found.values()} == {1}
    checks = json.loads(found["json"].out)["checks"]
    rows = list(csv.DictReader(found["csv"].out.splitlines()))
    for check, row in zip(checks, rows, strict=True):
        assert [row["name"], row["passed"]] == [check["name"], str(check["passed"]).lower()]
        assert row["arrays"].split(", ") == check["arrays"]
        assert bool(row["id"]) is not check["passed"]


def test_layer_at_each_step_has_its_own_name(tmp_path: Path) -> None:
    model = model_of(la.TimeDistributed(la.Dense(2, name="head"), name="steps"))
    arrays = state_of(model)
    result = against_model(tmp_path, model, arrays)
    assert [check.name for check in result.checks] == ["steps/head/kernel", "steps/head/bias"]
    wrong = against_model(tmp_path, model, changed("steps.bias", lambda a: a + 1)(arrays))
    assert [mistake.where for mistake in wrong.mistakes] == [Where("steps", None, "bias")]


def test_missing_kernel_is_named_with_its_shapes(tmp_path: Path) -> None:
    """That of Keras, and that which the file would have."""
    model = model_of(la.Conv1D(4, 2, use_bias=False, name="conv"), shape=(6, 3))
    (mistake,) = against_model(tmp_path, model, {"far.weight": np.ones((2, 9), "f4")}).mistakes
    assert (mistake.id, mistake.where) == ("weights.missing", Where("conv", None, "kernel"))
    assert all(shape in mistake.text for shape in ("(2, 3, 4)", "(4, 3, 2)"))


def test_file_without_weights_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.pt", b"no weights")
    with pytest.raises(InputError):
        rnnshapes.verify(against=path)


def model_of(*layers: Any, shape: tuple[int | None, ...] = (4, 5)) -> keras.Model:
    """Return a sequential model with random weights."""
    return randomized(keras.Sequential([keras.Input(shape), *layers]))


def state_of(model: keras.Model, names: dict[str, str] | None = None) -> Arrays:
    """Return the state_dict of a model, with other names of its layers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        rnnshapes.convert(model, path)
        with open_foreign_file(path) as file:
            assert file is not None
            tensors = [a.tensor for m in file.contents.modules for n in m.layers for a in n.arrays]
            tensors += [tensor for other in file.contents.others for tensor in other.tensors]
            arrays = {t.name: t.read().reshape(t.shape).copy() for t in tensors}
    split = {name: name.partition(".") for name in arrays}
    return {(names or {}).get(a, a) + "." + b: arrays[n] for n, (a, _, b) in split.items()}


def against_model(tmp_path: Path, model: keras.Model, arrays: Arrays) -> Any:
    return rnnshapes.verify(model, against=written(tmp_path / "m.pt", foreign.torch_file(arrays)))


@pytest.mark.parametrize("kind", ["lstm", "dense"])
def test_layers_are_matched_by_name(kind: str, tmp_path: Path) -> None:
    make = {"lstm": lambda name: la.LSTM(5, return_sequences=True, name=name)}
    make["dense"] = lambda name: la.Dense(5, name=name)
    model = model_of(make[kind]("a"), make[kind]("b"))
    right = against_model(tmp_path, model, state_of(model))
    assert (right.passed, right.assumptions) == (True, ())
    wrong = against_model(tmp_path, model, state_of(model, {"a": "b", "b": "a"}))
    arrays = ["kernel", "recurrent_kernel"] if kind == "lstm" else ["kernel", "bias"]
    found = [one for one in wrong.mistakes if one.where.array in arrays]
    assert [one.where for one in found] == [Where(a, None, b) for a in "ab" for b in arrays]
    assert {one.id for one in found} == {"stack.layers_swapped"}
    places = [one.text.rpartition(" ")[2].partition(".")[0] for one in found]
    assert places == ["b"] * 2 + ["a"] * 2
    other = against_model(tmp_path, model, state_of(model, {"a": "p", "b": "q"}))
    assert other.passed
    (assumed,) = other.assumptions
    assert "p, q" in assumed


def test_only_layers_of_one_size_have_no_order(tmp_path: Path) -> None:
    """The others are told apart by cell, features, units and directions."""
    x, y = keras.Input((4, 3)), keras.Input((4, 2))
    alike = [la.LSTM(5, name=name)(x) for name in "ab"] + [la.Dense(5, name=n)(x) for n in "cd"]
    others = [la.LSTM(6)(x), la.GRU(5)(x), la.Bidirectional(la.LSTM(5))(x), la.LSTM(5)(y)]
    model = randomized(keras.Model([x, y], [*alike, *others, la.Dense(6)(x)]))
    names = {layer.name: f"m{number}" for number, layer in enumerate(model.layers)}
    result = against_model(tmp_path, model, state_of(model, names))
    assert result.passed
    said = [{*re.findall(r"\bm\d+", text)} for text in result.assumptions]
    assert said == [{names[a], names[b]} for a, b in ("ab", "cd")]


@pytest.mark.parametrize("number", [0, 1])
def test_layers_differ_by_either_kernel(number: int, tmp_path: Path) -> None:
    """Also where their first rows are the same; the file rounds, and has another order."""
    model = model_of(*(la.LSTM(5, return_sequences=True, name=name) for name in "ab"))
    weights = model.get_layer("a").get_weights()
    weights[number][1:] *= 0.5
    model.get_layer("b").set_weights(weights)
    arrays = state_of(model, {"a": "q", "b": "p"})
    arrays = {name: arrays[name].astype("float16") for name in sorted(arrays)}
    result = against_model(tmp_path, model, arrays)
    assert result.passed
    assert [check.arrays[0][0] for check in result.checks] == ["q"] * 3 + ["p"] * 3


def test_wrong_layers_match_in_order_of_stacks(tmp_path: Path) -> None:
    """``net.10`` comes behind ``net.2``, and another stack behind both."""
    model = model_of(*(la.Dense(5, name=name) for name in "abcd"), shape=(5,))
    names = dict(zip("abcd", ("net.2", "net.10", "top.1", "top.3"), strict=True))
    arrays = {
        name: (a[[1, 0, 2, 3, 4]] if name.endswith("weight") else a)
        for name, a in state_of(model, names).items()
    }
    arrays = {name: arrays[name] for name in sorted(arrays)}
    result = against_model(tmp_path, model, arrays)
    assert [m.id for m in result.mistakes] == ["weights.other"] * 4
    kernels = [check.arrays for check in result.checks if check.name.endswith("kernel")]
    assert kernels == [(f"{name}.weight",) for name in names.values()]


def test_transposed_tables_keep_their_names(tmp_path: Path) -> None:
    inputs = [keras.Input((4,)) for _ in "ab"]
    tables = [la.Embedding(7, 3, name=name)(x) for name, x in zip("ab", inputs, strict=True)]
    model = randomized(keras.Model(inputs, la.Concatenate()(tables)))
    arrays = {name: np.ascontiguousarray(a.T) for name, a in state_of(model).items()}
    arrays = {name: arrays[name] for name in sorted(arrays, reverse=True)}
    found = [(m.id, m.where.layer) for m in against_model(tmp_path, model, arrays).mistakes]
    assert found == [("layout.transposed", "a"), ("layout.transposed", "b")]


def onnx_stack(tmp_path: Path, model: keras.Model, kernel: Arrays, order: str) -> Any:
    """Return the comparison with LSTMs and products in an order, under names of others."""
    nodes, arrays, x = [], {}, "X"
    for name in order:
        layer = model.get_layer(name)
        weights = dict(
            zip(("kernel", "recurrent_kernel", "bias"), layer.get_weights(), strict=False)
        )
        if isinstance(layer, la.LSTM):
            golden = {f"{name}/{key}": array for key, array in weights.items()}
            own = in_onnx("lstm", golden, [name])
            inputs = [f"{key}{name}" for key in own]
            nodes.append(onnx_node("LSTM", [x, *inputs], [f"Y{name}"], hidden_size=5))
            arrays |= {f"{key}{name}": array for key, array in own.items()}
        else:
            arrays[f"w{name}"], arrays[f"b{name}"] = weights["kernel"], weights["recurrent_kernel"]
            nodes.append(onnx_node("MatMul", [x, f"w{name}"], [f"z{name}"]))
            nodes.append(onnx_node("Add", [f"z{name}", f"b{name}"], [f"Y{name}"]))
        nodes[-1 if isinstance(layer, la.LSTM) else -2] += message((3, "badc"["abcd".index(name)]))
        x = f"Y{name}"
    arrays = {name: np.ascontiguousarray(a, "float32") for name, a in {**arrays, **kernel}.items()}
    return rnnshapes.verify(model, against=written(tmp_path / "m.onnx", onnx_file(nodes, arrays)))


@pytest.fixture(scope="module")
def stack() -> keras.Model:
    lstms = [la.LSTM(5, return_sequences=True, name=name) for name in "ab"]
    return model_of(*lstms, la.Dense(5, name="c"), la.Dense(5, name="d"))


def test_onnx_has_an_order(stack: keras.Model, tmp_path: Path) -> None:
    assert onnx_stack(tmp_path, stack, {}, "abcd").passed
    assert onnx_stack(tmp_path, stack, {}, "abcd").assumptions == ()
    for order, layer in (("bacd", "b"), ("abdc", "d")):
        result = onnx_stack(tmp_path, stack, {}, order)
        (mistake,) = result.mistakes
        assert (mistake.id, mistake.where) == ("stack.layers_swapped", Where(layer))
        (check,) = (check for check in result.checks if not check.rule)
        assert (check.arrays, check.compared) == ((), 0)


@pytest.mark.parametrize("follows", [False, True])
def test_layers_side_by_side_have_no_order(follows: bool, tmp_path: Path) -> None:
    """A layer follows another one also if it takes its states alone."""
    x, y = keras.Input((4, 5)), keras.Input((3, 5))
    _, *states = la.LSTM(5, return_state=True, name="a")(x)
    last = la.LSTM(5, name="b")(y, initial_state=states if follows else None)
    model = randomized(keras.Model([x, y], [last, *states]))
    result = against_model(tmp_path, model, state_of(model, {"a": "net.1", "b": "net.0"}))
    found = [(mistake.id, mistake.where) for mistake in result.mistakes]
    assert found == ([("stack.layers_swapped", Where("b"))] if follows else [])
    assert len(result.assumptions) == (not follows)


@pytest.mark.parametrize("order", ["cd", "dc"])
def test_arrays_of_other_operators_change_no_order(order: str, tmp_path: Path) -> None:
    """Of right numbers, in either order, and of wrong ones."""
    model = model_of(la.Dense(3, name="c"), la.Dense(3, name="d"), shape=(3,))
    arrays = {f"{layer.name}{n}": a for layer in model.layers for n, a in enumerate(layer.weights)}
    nodes = [onnx_node("PRelu", ["X", "slope"], ["y"])]
    nodes += [onnx_node("Gemm", ["y", f"{name}0", f"{name}1"], ["y"]) for name in order]
    found = []
    for error in (0, 1):
        values = {name: np.asarray(array) + np.float32(error) for name, array in arrays.items()}
        data = onnx_file(nodes, {"slope": np.ones(7, "f4"), **values})
        found.append(rnnshapes.verify(model, against=written(tmp_path / "m.onnx", data)))
    right, wrong = found
    swapped = [("stack.layers_swapped", "d")] if order == "dc" else []
    assert [(mistake.id, mistake.where.layer) for mistake in right.mistakes] == swapped
    assert [mistake.id for mistake in wrong.mistakes] == ["weights.other"] * 4
    names = [f"{name}{n}" for name in order for n in (0, 1)]
    assert [check.arrays for check in wrong.checks] == [(name,) for name in names]


def test_square_kernel_of_onnx_has_one_orientation(stack: keras.Model, tmp_path: Path) -> None:
    kernel = stack.get_layer("c").get_weights()[0]
    wrong = onnx_stack(tmp_path, stack, {"wc": kernel.T}, "abcd")
    assert [mistake.id for mistake in wrong.mistakes] == ["layout.transposed"]
    assert wrong.assumptions == ()  # the graph says the order also of a wrong layer


@pytest.mark.parametrize("op_type", ["Gemm", "Transpose"])
def test_orientation_follows_from_the_operator(op_type: str, tmp_path: Path) -> None:
    model = model_of(la.Dense(5, name="c"), shape=(5,))
    kernel, bias = model.get_weights()
    nodes = [onnx_node("Gemm", ["X", "w", "b"], ["y"], transB=1)]
    if op_type == "Transpose":
        nodes = [
            onnx_node("Transpose", ["w"], ["t"]),
            onnx_node("MatMul", ["X", "t"], ["z"]),
            onnx_node("Add", ["z", "b"], ["y"]),
        ]
    for array, is_right in ((kernel.T, True), (kernel, False)):
        arrays = {"w": np.ascontiguousarray(array, "float16"), "b": bias}
        path = written(tmp_path / "m.onnx", onnx_file(nodes, arrays))
        result = rnnshapes.verify(model, against=path)
        if op_type == "Gemm":
            assert (result.passed, result.assumptions) == (is_right, ())
        else:
            (assumed,) = result.assumptions
            assert "w" in assumed
            assert assumed.endswith("transposed" if is_right else "as it is")


def test_roles_of_a_normalization_are_compared(tmp_path: Path) -> None:
    model = model_of(la.Dense(3, name="fc"), la.BatchNormalization(name="bn"))
    arrays = state_of(model)
    assert against_model(tmp_path, model, arrays).passed
    for names in (("weight", "running_var"), ("bias", "running_mean")):
        wrong = exchanged(arrays, *(f"bn.{name}" for name in names))
        result = against_model(tmp_path, model, wrong)
        assert [mistake.id for mistake in result.mistakes] == ["weights.other"] * 2
        assert [one.text.rpartition(" bn.")[2] for one in result.mistakes] == [*names[::-1]]


def test_arrays_of_the_file_alone_may_fail(tmp_path: Path) -> None:
    arrays = pytorch_arrays("lstm")
    more = {name.replace("rnn.", "rnn2."): a for name, a in arrays.items() if "rnn." in name}
    record = compared(tmp_path, {**arrays, **more}, "lstm")
    assert [found["id"] for found in record["diagnosis"]] == ["weights.extra"]
    check = record["checks"][-1]
    assert (check["name"], check["arrays"], check["compared"]) == ("rnn2", [*more], 0)
    layers = la.Dense(3, use_bias=False, name="fc"), la.BatchNormalization(scale=False, name="bn")
    model = model_of(*layers)
    arrays = state_of(model)
    for bias, scale in ((0, 1), (1, 1), (0, 2)):
        more = {"fc.bias": np.full(3, bias, "float32"), "bn.weight": np.full(3, scale, "float32")}
        result = against_model(tmp_path, model, {**arrays, **more})
        assert result.passed is ((bias, scale) == (0, 1))
        wrong = {"fc.bias": bias != 0, "bn.weight": scale != 1}
        assert [check[:4] for check in result.checks if check.mistake] == [
            (name, (name,), "", 3) for name in wrong if wrong[name]
        ]
        found = [(mistake.id, mistake.where) for mistake in result.mistakes]
        assert found == [("weights.extra", Where(array=name)) for name in wrong if wrong[name]]


def test_names_tell_layers_of_inner_models_apart(tmp_path: Path) -> None:
    """Of one size, they need no order in the file."""
    stack = [la.GRU(4, return_sequences=True, name=name) for name in ("one", "two")]
    inner = sequential(*stack, shape=(5, 4))
    inner.name = "enc"
    model = randomized(sequential(inner, la.Dense(2), shape=(5, 4)))
    rnnshapes.convert(model, tmp_path / "w.safetensors")
    result = rnnshapes.verify(model, against=tmp_path / "w.safetensors")
    assert (result.passed, result.assumptions) == (True, ())


def test_numbers_tell_more_than_names_of_parts(tmp_path: Path) -> None:
    """The file has no bias under the name of the layer, and both of its arrays elsewhere."""
    model = model_of(la.Dense(2, name="fc"), shape=(3,))
    arrays = {**state_of(model, {"fc": "head"}), "fc.weight": np.ones((2, 3), "f4")}
    result = against_model(tmp_path, model, arrays)
    assert (result.passed, result.unknown_arrays) == (True, ("fc.weight",))


def test_wrong_array_takes_no_right_one(tmp_path: Path) -> None:
    model = model_of(
        *(la.LSTM(5, return_sequences=True) for _ in range(2)), la.Dense(5), la.Dense(5)
    )
    names = {layer.name: f"m{number}" for number, layer in enumerate(model.layers)}
    arrays = state_of(model, names)
    for name in ("m0.weight_ih_l0", "m2.weight"):
        wrong = {**arrays, name: arrays[name] + np.float32(0.5)}
        (mistake,) = against_model(tmp_path, model, wrong).mistakes
        assert mistake.id == "weights.other"


def test_kernels_of_images_are_transposed(tmp_path: Path) -> None:
    model = model_of(la.Conv2D(3, (2, 4), name="conv"), shape=(6, 7, 5))
    kernel, bias = model.get_weights()
    arrays = {"conv.weight": np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), "conv.bias": bias}
    assert against_model(tmp_path, model, arrays).passed


@pytest.mark.filterwarnings("error")
def test_nan_in_a_file_never_passes(tmp_path: Path) -> None:
    arrays = foreign.state_dict("lstm")
    arrays["weight_hh_l0"].view("uint32")[3, 2] = 0x7FA00000  # a signalling NaN
    path = written(tmp_path / "nan.pt", foreign.torch_file(arrays))
    assert not rnnshapes.verify(against=path, cell="lstm", D=3, M=5).passed


def checked(result: Any) -> list[tuple[Any, ...]]:
    """Return the name, arrays, rule and count of numbers of each check."""
    return [(check.name, check.arrays, check.rule, check.compared) for check in result.checks]


def test_each_array_has_its_own_rule(tmp_path: Path) -> None:
    layers = (
        la.Embedding(7, 3, name="words"),
        la.Conv1D(4, 2, name="conv"),
        la.Bidirectional(la.GRU(5, return_sequences=True, name="gru"), name="both"),
        la.LSTM(6, use_bias=False, return_sequences=True, name="rnn"),
        la.LSTM(3, return_sequences=True, name="lstm"),
        la.SimpleRNN(2, name="plain"),
        la.Dense(3, name="fc"),
    )
    model = model_of(*layers, shape=(4,))
    arrays = state_of(model)
    fc, plain = arrays["fc.bias"].astype("float16"), arrays["plain.bias_ih_l0"]
    arrays |= {"fc.bias": fc, "plain.bias_ih_l0": 0 * plain, "plain.bias_hh_l0": plain}
    result = against_model(tmp_path, model, arrays)
    gru = [
        (
            f"both/{way}_gru/{name}",
            tuple(f"both.{a}_l0{end}" for a in of),
            f"{rule}, gates r z h",
            n,
        )
        for way, end in (("forward", ""), ("backward", "_reverse"))
        for name, of, rule, n in (
            ("kernel", ["weight_ih"], "transposed", 4 * 15),
            ("recurrent_kernel", ["weight_hh"], "transposed", 5 * 15),
            ("bias", ["bias_ih", "bias_hh"], "row 0, row 1", 2 * 15),
        )
    ]
    assert checked(result) == [
        *gru,
        ("rnn/kernel", ("rnn.weight_ih_l0",), "transposed", 10 * 24),
        ("rnn/recurrent_kernel", ("rnn.weight_hh_l0",), "transposed", 6 * 24),
        ("lstm/kernel", ("lstm.weight_ih_l0",), "transposed", 6 * 12),
        ("lstm/recurrent_kernel", ("lstm.weight_hh_l0",), "transposed", 3 * 12),
        ("lstm/bias", ("lstm.bias_ih_l0", "lstm.bias_hh_l0"), "first bias, second 0", 12),
        ("plain/kernel", ("plain.weight_ih_l0",), "transposed", 3 * 2),
        ("plain/recurrent_kernel", ("plain.weight_hh_l0",), "transposed", 2 * 2),
        ("plain/bias", ("plain.bias_ih_l0", "plain.bias_hh_l0"), "second bias, first 0", 2),
        ("words/embeddings", ("words.weight",), "as it is", 7 * 3),
        ("conv/kernel", ("conv.weight",), "transposed", 2 * 3 * 4),
        ("conv/bias", ("conv.bias",), "as it is", 4),
        ("fc/kernel", ("fc.weight",), "transposed", 2 * 3),
        ("fc/bias", ("fc.bias",), "as it is, rounded to float16", 3),
    ]
    assert (result.passed, result.unknown_arrays, result.assumptions) == (True, (), ())
    assert (result.framework, result.kind) == ("PyTorch", "state_dict")
    assert result.path == str(tmp_path / "m.pt")


def test_file_without_recurrence_passes_on_warnings(tmp_path: Path) -> None:
    """Each is an assumption, unless a recurrence of the file is compared."""
    model = model_of(la.Dense(2, name="fc"), shape=(3,))
    kernel, bias = model.get_weights()
    head = [onnx_node("MatMul", ["X", "w"], ["z"]), onnx_node("Add", ["z", "b"], ["y"])]
    lstm = onnx_node("LSTM", ["x", "W", "R", "B"], ["h"], hidden_size=5, layout=1)
    arrays = {"w": kernel, "b": bias, **foreign.onnx_weights("lstm")}
    for node, count in ((onnx_node("Loop", ["n"], ["h"]), 1), (lstm, 0)):
        path = written(tmp_path / "m.onnx", onnx_file([node, *head], arrays))
        with open_foreign_file(path) as file:
            assert file is not None
            warnings = file.contents.warnings
        assert len(warnings) == 1
        assert rnnshapes.verify(model, against=path).assumptions == warnings[:count]


def test_onnx_file_holds_all_options_but_epsilon(tmp_path: Path) -> None:
    layers = (
        la.Bidirectional(la.SimpleRNN(4, "relu"), merge_mode="sum", name="rnn"),
        la.LayerNormalization(epsilon=0.02, name="norm"),
    )
    rnnshapes.convert(model := model_of(*layers), path := tmp_path / "m.onnx")
    (said,) = rnnshapes.verify(model, against=path).assumptions
    assert "norm" in said
    assert "0.02" in said
    model = model_of(la.Conv1D(4, 2, strides=3, padding="same", name="conv"), shape=(6, 3))
    kernel, bias = model.get_weights()
    arrays = {"w": np.ascontiguousarray(kernel.T), "b": bias}
    written(path, onnx_file([onnx_node("Conv", ["x", "w", "b"], ["y"])], arrays))
    result = rnnshapes.verify(model, against=path)
    assert (result.passed, result.assumptions) == (True, ())


def test_arrays_without_weights_are_listed(tmp_path: Path) -> None:
    model = model_of(la.Dense(3, name="fc"), la.BatchNormalization(name="bn"))
    arrays = state_of(model)
    more = {"bn.num_batches_tracked": np.int64(7).reshape(()), "far.weight": np.ones((2, 9), "f4")}
    result = against_model(tmp_path, model, {**arrays, **more})
    assert result.passed
    assert result.unknown_arrays == ("far.weight",)
    assert against_model(tmp_path, model, arrays).unknown_arrays == ()


def test_nothing_to_compare_is_no_agreement(tmp_path: Path) -> None:
    result = against_model(tmp_path, model_of(la.Dropout(0.5)), {"w.weight": np.ones((2, 9), "f4")})
    assert (result.passed, result.checks, result.unknown_arrays) == (False, (), ("w.weight",))


def test_kernel_of_another_layer_is_named(tmp_path: Path) -> None:
    model = model_of(*(la.LSTM(5, return_sequences=True, name=name) for name in "ab"))
    arrays = state_of(model)
    wrong = exchanged(arrays, "a.weight_hh_l0", "b.weight_hh_l0")
    mistakes = against_model(tmp_path, model, wrong).mistakes
    assert [(m.id, m.where.layer, m.where.array) for m in mistakes] == [
        ("stack.layers_swapped", "a", "recurrent_kernel"),
        ("stack.layers_swapped", "b", "recurrent_kernel"),
    ]
    assert ["b" in m.text.split() for m in mistakes] == [True, False]


@pytest.mark.parametrize("sizes", [(7, 3), (5, 5)])
def test_transposed_table_is_named(sizes: tuple[int, int], tmp_path: Path) -> None:
    model = model_of(la.Embedding(*sizes, name="words"), shape=(4,))
    arrays = state_of(model)
    assert against_model(tmp_path, model, arrays).passed
    table = np.ascontiguousarray(arrays["words.weight"].T)
    (mistake,) = against_model(tmp_path, model, {"words.weight": table}).mistakes
    assert (mistake.id, mistake.where.array) == ("layout.transposed", "embeddings")
    kernel = model_of(la.Dense(5, name="fc", use_bias=False), shape=(5,))
    (other,) = against_model(tmp_path, kernel, {"fc.weight": kernel.get_weights()[0]}).mistakes
    assert other.id == mistake.id
    assert other.text != mistake.text
    assert other.fix != mistake.fix


def test_kernel_of_pytorch_is_transposed_by_any_name(tmp_path: Path) -> None:
    model = model_of(la.Dense(5, name="fc", use_bias=False), shape=(5,))
    (kernel,) = model.get_weights()
    right = against_model(tmp_path, model, {"fc.own": np.ascontiguousarray(kernel.T)})
    assert (right.passed, right.assumptions) == (True, ())
    wrong = against_model(tmp_path, model, {"fc.own": kernel})
    assert [mistake.id for mistake in wrong.mistakes] == ["layout.transposed"]


def test_order_of_a_layer_is_one_mistake(tmp_path: Path) -> None:
    lstms = [la.LSTM(5, return_sequences=True, name=name) for name in "abc"]
    mistakes = onnx_stack(tmp_path, model_of(*lstms), {}, "cba").mistakes
    assert [(m.id, m.where.layer) for m in mistakes] == [
        ("stack.layers_swapped", "b"),
        ("stack.layers_swapped", "c"),
    ]


@pytest.mark.parametrize("ending", [".onnx", ".safetensors"])
def test_only_open_options_are_said(ending: str, tmp_path: Path) -> None:
    windows = (  # not in ONNX here
        la.Conv1D(5, 2, strides=2, padding="same", name="conv"),
        la.MaxPooling1D(2, strides=1, padding="same", name="without weights"),
    )
    layers = (
        *(() if ending == ".onnx" else windows),
        la.Bidirectional(
            la.SimpleRNN(4, "relu", return_sequences=True), merge_mode="sum", name="rnn"
        ),
        la.LayerNormalization(epsilon=0.02, name="norm"),
        la.Bidirectional(la.LSTM(3), name="other"),
    )
    model = model_of(*layers)
    rnnshapes.convert(model, path := tmp_path / f"w{ending}")
    said = rnnshapes.verify(model, against=path).assumptions
    assert len(said) == (1 if ending == ".onnx" else 5)
    options = [text.split()[-1] for text in said if "conv" in text]
    assert options == ([] if ending == ".onnx" else ["padding='same'", "strides=2"])
    assert any("0.02" in text and "norm" in text for text in said)
    assert not any("other" in text for text in said)


def test_bias_of_the_other_direction_is_named(tmp_path: Path) -> None:
    arrays = pytorch_arrays("lstm", bidirectional=True)
    for name in (B, H):
        arrays = exchanged(arrays, name, f"{name}_reverse")
    found = compared(tmp_path, arrays, "lstm", bidirectional=True)["diagnosis"]
    assert [one["id"] for one in found] == ["direction.weights_exchanged"] * 2
    assert {one["where"]["direction"] for one in found} == {"forward", "backward"}
    arrays = pytorch_arrays("lstm", bidirectional=True)
    arrays[B], arrays[H] = arrays[H], arrays[B]
    assert compared(tmp_path, arrays, "lstm", bidirectional=True)["passed"]


def test_cells_of_one_layer_are_compared_apart(tmp_path: Path) -> None:
    stacked = model_of(la.RNN([la.LSTMCell(4), la.LSTMCell(6)], name="rnn"))
    apart = model_of(la.LSTM(4, return_sequences=True, name="p"), la.LSTM(6, name="q"))
    apart.set_weights(stacked.get_weights())
    arrays = state_of(apart)
    result = against_model(tmp_path, stacked, arrays)
    assert result.passed
    assert len({check.name for check in result.checks}) == 6
    (mistake,) = against_model(tmp_path, stacked, changed("q.weight_hh_l0", small)(arrays)).mistakes
    assert mistake.where.array == "recurrent_kernel"


@pytest.mark.parametrize(("weight", "ids"), [(0.5, ["lstm.peepholes"]), (0.0, [])])
def test_peepholes_of_onnx_are_a_mistake(weight: float, ids: list[str], tmp_path: Path) -> None:
    """Those of 0 add nothing."""
    model = model_of(la.LSTM(5, name="rnn"))
    weights = zip(("kernel", "recurrent_kernel", "bias"), model.get_weights(), strict=True)
    arrays = in_onnx("lstm", {f"rnn/{key}": array for key, array in weights}, ["rnn"])
    inputs = ["X", "W", "R", "B", "", "", "", "P"]
    values = {name: np.ascontiguousarray(a, "float32") for name, a in arrays.items()}
    values["P"] = np.full((1, 15), weight, "float32")
    for more, activations in (([], TANH["lstm"]), (["activation.other"], ["Tanh"] * 3)):
        nodes = [onnx_node("LSTM", inputs, ["Y"], hidden_size=5, activations=activations)]
        path = written(tmp_path / "m.onnx", onnx_file(nodes, values))
        result = rnnshapes.verify(model, against=path)
        found = [(mistake.id, mistake.where.layer) for mistake in result.mistakes]
        assert found == [(id_, "rnn") for id_ in (*more, *ids)]
        assert result.passed == (not more and not ids)


@pytest.mark.parametrize("error", [0.0, 0.5])
def test_wrong_array_elsewhere_is_compared(error: float, tmp_path: Path) -> None:
    """Nothing but its shape says that it is the bias; of two wrong ones, it is the first."""
    model = model_of(la.Dense(2, name="fc"), shape=(3,))
    kernel, bias = model.get_weights()
    nodes = [
        onnx_node("MatMul", ["X", "w"], ["m"]),
        onnx_node("Identity", ["m"], ["n"]),
        onnx_node("Add", ["n", "b"], ["y"]),
        onnx_node("Add", ["y", "more"], ["z"]),
    ]
    arrays = {"w": kernel, "b": bias + np.float32(error), "more": np.full(2, 7.0, "f4")}
    path = written(tmp_path / "m.onnx", onnx_file(nodes, arrays))
    result = rnnshapes.verify(model, against=path)
    found = [(mistake.id, mistake.where.array) for mistake in result.mistakes]
    assert found == ([("weights.other", "bias")] if error else [])
    assert [check.arrays for check in result.checks] == [("w",), ("b",)]
    assert result.unknown_arrays == ("more",)


def test_each_wrong_array_is_compared_once(tmp_path: Path) -> None:
    """Nothing says which of them is which."""
    model = model_of(la.LayerNormalization(name="norm"), shape=(3,))
    arrays = {"g": np.full(3, 7.0, "f4"), "b": np.full(3, 9.0, "f4")}
    data = onnx_file([onnx_node("Own", ["X", "g", "b"], ["y"])], arrays)
    result = rnnshapes.verify(model, against=written(tmp_path / "m.onnx", data))
    assert sorted(check.arrays for check in result.checks) == [("b",), ("g",)]


def test_right_arrays_elsewhere_come_first(tmp_path: Path) -> None:
    """Nothing but shapes and numbers says which of two biases each is."""
    model = model_of(la.Dense(3, name="c"), la.Dense(3, name="d"), shape=(3,))
    (w, b), (v, c) = (model.get_layer(name).get_weights() for name in "cd")
    nodes = [
        onnx_node("MatMul", ["X", "w"], ["m"]),
        onnx_node("MatMul", ["m", "v"], ["n"]),
        onnx_node("Identity", ["n"], ["o"]),
        onnx_node("Add", ["o", "c"], ["p"]),
        onnx_node("Add", ["p", "b"], ["y"]),
    ]
    path = written(tmp_path / "m.onnx", onnx_file(nodes, {"w": w, "v": v, "b": b, "c": c}))
    result = rnnshapes.verify(model, against=path)
    assert result.passed
    assert [check.arrays for check in result.checks] == [("w",), ("b",), ("v",), ("c",)]

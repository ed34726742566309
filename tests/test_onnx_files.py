"""ONNX files: recurrent operators are inspected and computed without ONNX, or refused."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import InputError, memory
from rnnshapes.load.foreign import network, onnx_constants, protobuf
from rnnshapes.load.foreign.model import open_foreign_file
from rnnshapes.network.weights import bind_all
from tests.helpers import foreign
from tests.helpers.activations import sigmoid
from tests.helpers.foreign import message, onnx_file, onnx_node, onnx_weights, written
from tests.helpers.port_layouts import onnx_scan

KINDS = {"simple": "RNN", "lstm": "LSTM", "gru": "GRU"}
ORDERS = {"simple": [], "lstm": ["i", "o", "f", "c"], "gru": ["z", "r", "h"]}
X = np.random.default_rng(5).standard_normal((2, 4, 3)).astype("float32")


def operator(cell: str, arrays: Any = None, *, inputs: Any = None, **attributes: Any) -> bytes:
    """Return a file of one operator."""
    arrays = onnx_weights(cell) if arrays is None else arrays
    names = ["X", *(name if name in arrays else "" for name in "WRB")]
    names += ["", "", "", "P"] if "P" in arrays else []
    node = onnx_node(KINDS[cell], inputs or names, ["Y"], **attributes)
    return onnx_file([node], arrays)


def states(path: Path, x: np.ndarray = X) -> np.ndarray:
    """Return h of each direction, (dirs, N, T, M)."""
    trace = rnnshapes.trace(path, x=x, show="all")
    return np.stack([layer.states["h"] for layer in trace.layers])


@pytest.mark.parametrize("cell", KINDS)
def test_operator_is_shown_in_its_own_layout(cell: str, tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", operator(cell, hidden_size=5))
    found = json.loads(json.dumps(rnnshapes.inspect(path).to_dict()))
    (layer,) = found["layers"]
    assert layer["params"] == foreign.GATES[cell] * 5 * (3 + 5 + 2)
    assert found["file"]["framework"] == "ONNX"
    kernel, recurrent, bias = layer["weights"]
    assert [weight["name"].split("/")[1] for weight in layer["weights"]] == ["W", "R", "B"]
    assert kernel["shape"] == [1, 5 * foreign.GATES[cell], 3]
    assert bias["shape"] == [1, 10 * foreign.GATES[cell]]
    for weight in (kernel, recurrent):
        assert [gate["name"] for gate in weight["gates"]] == ORDERS[cell]
        assert {gate["axis"] for gate in weight["gates"]} <= {1}
    halves = [f"{half}_{gate}" for half in ("Wb", "Rb") for gate in ORDERS[cell]]
    assert [gate["name"] for gate in bias["gates"]] == (halves or ["Wb", "Rb"])


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("cell", KINDS)
def test_trace_is_what_onnx_documents(cell: str, direction: str, tmp_path: Path) -> None:
    for before in (0, 1)[: 1 + (cell == "gru")]:
        arrays = onnx_weights(cell, dirs=1 + (direction == "bidirectional"), seed=2)
        more = {"linear_before_reset": before} if cell == "gru" else {}
        data = operator(cell, arrays, direction=direction, hidden_size=5, **more)
        path = written(tmp_path / "m.onnx", data)
        expected = onnx_scan(cell, X.swapaxes(0, 1).astype("f8"), arrays, direction, before)
        expected = expected.transpose(1, 2, 0, 3)
        np.testing.assert_allclose(states(path), expected, rtol=1e-9, atol=1e-12)
        output = np.concatenate(expected, axis=-1)  # at the steps of x, also in reverse
        np.testing.assert_allclose(rnnshapes.trace(path, x=X).output, output, rtol=1e-9, atol=1e-12)


def test_options_of_an_lstm_change_its_equation(tmp_path: Path) -> None:
    """Peepholes, one gate for i and f, clip, and activations with constants."""
    arrays = onnx_weights("lstm", seed=3)
    arrays["P"] = np.random.default_rng(4).uniform(-1, 1, (1, 15)).astype("float32")
    options = {
        "clip": 0.75,
        "input_forget": 1,
        "activations": ["HardSigmoid", "Elu", "ScaledTanh"],
        "activation_alpha": [0.25, 0.5, 0.75],
        "activation_beta": [0.5, 1.5],
    }
    path = written(tmp_path / "m.onnx", operator("lstm", arrays, hidden_size=5, **options))
    W, R, (Wb, Rb) = arrays["W"][0].T, arrays["R"][0].T, np.split(arrays["B"][0], 2)
    p_i, p_o, _ = np.split(arrays["P"][0], 3)
    h = c = np.zeros((2, 5))
    expected = []
    for t in range(4):
        z = X[:, t].astype("f8") @ W + h @ R + Wb + Rb
        z_i, z_o, _, z_c = np.split(z, 4, axis=1)
        i = np.clip(0.25 * np.clip(z_i + p_i * c, -0.75, 0.75) + 0.5, 0, 1)
        g = np.clip(z_c, -0.75, 0.75)
        c = (1 - i) * c + i * np.where(g > 0, g, 0.5 * np.expm1(g))
        o = np.clip(0.25 * np.clip(z_o + p_o * c, -0.75, 0.75) + 0.5, 0, 1)
        h = o * 0.75 * np.tanh(1.5 * c)
        expected.append(h)
    np.testing.assert_allclose(states(path)[0], np.stack(expected, axis=1), rtol=1e-9)
    assert rnnshapes.inspect(path).params == sum(a.size for a in arrays.values())


ACTIVATIONS = {
    "Relu": lambda z: np.maximum(z, 0),
    "Softsign": lambda z: z / (1 + abs(z)),
    "Sigmoid": sigmoid,
    "HardSigmoid": lambda z: np.clip(0.2 * z + 0.5, 0, 1),
    "LeakyRelu": lambda z: np.where(z > 0, z, 0.01 * z),
    "Affine": lambda z: 0.25 * z + 0.5,
    "ThresholdedRelu": lambda z: np.where(z > 0.25, z, 0),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_has_onnx_constants(name: str, tmp_path: Path) -> None:
    arrays = {name: a for name, a in onnx_weights("simple").items() if name != "B"}
    constants = {"Affine": ([0.25], [0.5]), "ThresholdedRelu": ([0.25], [])}.get(name, ([], []))
    names = ("activation_alpha", "activation_beta")
    options = {key: list(v) for key, v in zip(names, constants, strict=True) if v}
    path = written(tmp_path / "m", operator("simple", arrays, activations=[name], **options))
    found = states(path, X[:, :1])[0, :, 0]
    expected = ACTIVATIONS[name](X[:, 0].astype("f8") @ arrays["W"][0].T)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_weights_computed_from_constants_are_found(tmp_path: Path) -> None:
    """As exporters write both directions: slices, unsqueezed and joined."""
    arrays = onnx_weights("gru", dirs=2)
    stored = {"R": arrays["R"], "axes": np.array([0])}
    stored |= {"W0": arrays["W"][0], "W1": arrays["W"][1].T.copy(), "all": arrays["B"].reshape(-1)}
    stored |= {"start": np.array([30]), "end": np.array([2**40]), "step": np.array([1])}
    nodes = [
        onnx_node("Unsqueeze", ["W0", "axes"], ["a"]),
        onnx_node("Transpose", ["W1"], ["w1"], perm=[1, 0]),
        onnx_node("Unsqueeze", ["w1"], ["b"], axes=[0]),
        onnx_node("Concat", ["a", "b"], ["W"], axis=0),
        onnx_node("Slice", ["all"], ["B0"], starts=[0], ends=[30], axes=[0]),
        onnx_node("Slice", ["all", "start", "end", "axes", "step"], ["B1"]),  # since opset 10
        onnx_node("Unsqueeze", ["B0"], ["c"], axes=[0]),
        onnx_node("Unsqueeze", ["B1"], ["d"], axes=[0]),
        onnx_node("Concat", ["c", "d"], ["B"], axis=0),
    ]
    node = onnx_node("GRU", ["X", "W", "R", "B"], ["Y"], direction="bidirectional", hidden_size=5)
    path = written(tmp_path / "m.onnx", onnx_file([*nodes, node], stored))
    assert rnnshapes.inspect(path).params == sum(a.size for a in arrays.values())
    expected = onnx_scan("gru", X.swapaxes(0, 1).astype("f8"), arrays, "bidirectional")
    np.testing.assert_allclose(states(path), expected.transpose(1, 2, 0, 3), rtol=1e-9)


def test_traps_are_named(tmp_path: Path) -> None:
    gru = operator("gru", hidden_size=5).replace(b"hand", b"pytorch"[:4])
    files = {
        "layout=1": operator("lstm", hidden_size=5, layout=1),
        "linear_before_reset=0": gru.replace(b"pyto", b"hand"),
    }
    for word, data in files.items():
        notes = rnnshapes.inspect(written(tmp_path / "m.onnx", data)).to_dict()
        texts = [*notes["file"]["notes"], *notes["layers"][0]["notes"]]
        assert any(word in text for text in texts), word
    node = onnx_node("GRU", ["X", "W", "R", "B"], ["Y"], hidden_size=5)
    data = onnx_file([node], onnx_weights("gru"), producer="pytorch")
    (warning,) = rnnshapes.inspect(written(tmp_path / "m.onnx", data)).file.notes
    assert "onnxscript#2852" in warning


def test_other_weights_are_counted(tmp_path: Path) -> None:
    arrays = onnx_weights("lstm") | {"fc.weight": np.ones((5, 2), "float32")}
    arrays |= {"shape": np.array([1, 2])}
    nodes = [
        onnx_node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=5),
        onnx_node("Reshape", ["Y", "shape"], ["h"]),
        onnx_node("MatMul", ["h", "fc.weight"], ["y"]),
    ]
    result = rnnshapes.inspect(written(tmp_path / "m.onnx", onnx_file(nodes, arrays)))
    assert [layer.type for layer in result.layers] == ["LSTM", "MatMul"]
    assert result.params == 20 * (3 + 5 + 2) + 10


# --- Broken and hostile files -------------------------------------------------------------------


def test_wrong_operators_contradict(tmp_path: Path, run) -> None:
    wrong = {
        "W": {"arrays": onnx_weights("lstm", M=4), "hidden_size": 5},
        "hidden_size": {"hidden_size": -1},
        "direction": {"direction": "up"},
        "clip": {"clip": -1.0},
        "activation": {"activations": ["Swish"]},
        "ScaledTanh": {"activations": ["ScaledTanh"]},
        "constants": {"inputs": ["X", "a", "b"]},
        "no weights": {"inputs": ["X", "W"]},
        "names": {"activations": [1, 2, 3]},
        "alpha": {"activation_alpha": ["x"]},
        "list": {"activations": "Tanh"},
        "gates": {"arrays": onnx_weights("gru")},
    }
    for options in wrong.values():
        path = written(tmp_path / "m.onnx", operator("lstm", **options))
        assert run("inspect", path).status == 1, options
        assert run("trace", path, "--T", "2").status == 2


def test_axes_may_come_from_constant_nodes(tmp_path: Path) -> None:
    arrays = onnx_weights("gru")
    stored = {"W": arrays["W"], "r": arrays["R"][0], "b": arrays["B"].T.copy()}
    nodes = [
        onnx_node("Constant", [], ["zero"], value_ints=[0]),
        onnx_node("Constant", [], ["one"], value=np.array([1])),
        onnx_node("Unsqueeze", ["r", "zero"], ["R"]),
        onnx_node("Squeeze", ["b", "one"], ["flat"]),
        onnx_node("Unsqueeze", ["flat", "zero"], ["B"]),
        onnx_node("GRU", ["X", "W", "R", "B"], ["Y"], hidden_size=5),
    ]
    path = written(tmp_path / "m.onnx", onnx_file(nodes, stored))
    expected = onnx_scan("gru", X.swapaxes(0, 1).astype("f8"), arrays, "forward")
    np.testing.assert_allclose(states(path), expected.transpose(1, 2, 0, 3), rtol=1e-9)


def test_inputs_that_are_left_out_are_named(tmp_path: Path) -> None:
    plain = rnnshapes.inspect(written(tmp_path / "m.onnx", operator("lstm"))).layers[0].notes
    for more in (["lengths"], ["", "h"], ["", "", "c"]):
        content = operator("lstm", inputs=["X", "W", "R", "B", *more])
        notes = rnnshapes.inspect(written(tmp_path / "m.onnx", content)).layers[0].notes
        assert len(notes) == len(plain) + 1


def test_external_numbers_are_not_read(tmp_path: Path) -> None:
    secret = written(tmp_path / "secret", b"\0" * 240)
    outside = message((1, 1), (1, 20), (1, 3), (2, 1), (8, "W"))
    outside += message((13, message((1, "location"), (2, str(secret)))), (14, 1))
    arrays = {name: a for name, a in onnx_weights("lstm").items() if name != "W"}
    node = onnx_node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=5)
    tensors = [(5, foreign.onnx_tensor(name, array)) for name, array in arrays.items()]
    graph = message((1, node), (5, outside), *tensors)
    path = written(tmp_path / "m.onnx", message((1, 9), (7, graph)))
    assert rnnshapes.inspect(path).file.notes
    with pytest.raises(InputError, match=r"m\.onnx.*another file"):
        rnnshapes.trace(path, T=2)


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    good = operator("lstm", hidden_size=5)
    tensor = message((1, 2**62), (1, 2**62), (2, 1), (8, "a"), (9, b"1234"))
    bad = {
        "cut": good[: len(good) // 2],
        "no graph": message((1, 9), (2, "me")),
        "groups": b"\x08\x09\x0b",
        "long varint": b"\x08" + b"\xff" * 11,
        "two graphs": message((1, 9), (7, b""), (7, b"")),
        "huge array": message((1, 9), (7, message((5, tensor)))),
        "negative size": message((1, 9), (7, message((5, message((1, -1), (2, 1)))))),
        "an integer for a name": message((1, 9), (7, message((1, message((4, 7)))))),
        "a long name": message((1, 9), (7, message((1, message((3, "a" * 20_000)))))),
        "text": b"hello",
    }
    for name, data in bad.items():
        with pytest.raises(InputError) as caught:
            rnnshapes.inspect(written(tmp_path / "m.onnx", data))
        assert str(caught.value).isprintable(), name


def test_constants_beyond_memory_are_refused(tmp_path: Path, monkeypatch, run) -> None:
    nodes = [
        onnx_node("Concat", ["big"] * 6, ["joined"], axis=2),
        onnx_node("Slice", ["joined"], ["r"], starts=[0], ends=[5], axes=[2]),
        onnx_node("LSTM", ["X", "W", "r"], ["Y"], hidden_size=5),
    ]
    arrays = onnx_weights("lstm") | {"big": np.zeros((1, 20, 5000), "float32")}
    path = written(tmp_path / "m.onnx", onnx_file(nodes, arrays))
    for available, status in ((5 * 10**6, 0), (4 * 10**6, 3)):
        monkeypatch.setattr(memory, "available", lambda limit=available: limit)
        assert run("trace", path, "--T", "2").status == status


@pytest.mark.parametrize("first", ["R", "none"])
def test_growing_constants_are_not_computed(first: str, tmp_path: Path, run) -> None:
    """Each Concat joins its input with itself: 2**60 numbers, or as many times none."""
    names = [first, *(f"a{number}" for number in range(60))]
    nodes = [
        onnx_node("Concat", [before, before], [after], axis=1)
        for before, after in itertools.pairwise(names)
    ]
    nodes.append(onnx_node("Concat", ["a59", "R"], ["more"], axis=1))
    nodes.append(onnx_node("Slice", ["more"], ["r"], starts=[0], ends=[20], axes=[1]))
    nodes.append(onnx_node("LSTM", ["X", "W", "r"], ["Y"], hidden_size=5))
    arrays = onnx_weights("lstm") | {"none": np.zeros((1, 0, 5), "float32")}
    path = written(tmp_path / "m.onnx", onnx_file(nodes, arrays))
    assert run("inspect", path).status == 1


def test_bad_axes_make_no_constant(tmp_path: Path, run) -> None:
    bad = [
        onnx_node("Squeeze", ["number"], ["B"], axes=[0]),
        onnx_node("Concat", ["number", "number"], ["B"], axis=0),
        onnx_node("Unsqueeze", ["row"], ["B"], axes=[0, 0]),
        onnx_node("Unsqueeze", ["row"], ["B"], axes=[2]),
        onnx_node("Squeeze", ["row"], ["B"], axes=[0]),
        onnx_node("Slice", ["both"], ["B"], starts=[0, 0], ends=[40, 40], axes=[1, -1]),
    ]
    arrays = onnx_weights("lstm")
    arrays |= {"both": arrays.pop("B"), "number": np.ones((), "float32")}
    arrays["row"] = arrays["both"][0]
    node = onnx_node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=5)
    for each in bad:
        path = written(tmp_path / "m.onnx", onnx_file([each, node], arrays))
        assert run("inspect", path).status == 1


def test_shared_weights_are_converted_once(tmp_path: Path) -> None:
    nodes = [onnx_node("LSTM", ["X", "W", "R"], [y], hidden_size=4) for y in "yz"]
    path = written(tmp_path / "m.onnx", onnx_file(nodes, onnx_weights("lstm", 3, 4)))
    with open_foreign_file(path) as file:
        assert file is not None
        weights = file.weights()
    first, second = weights.values()
    assert np.shares_memory(first["Wh"], second["Wh"])
    first_bound, second_bound = bind_all(weights, weights, "float64").values()
    assert first_bound.Wh.dtype == "float64"
    assert first_bound.Wh is second_bound.Wh is not first_bound.Wx


def test_shared_sources_are_visited_once(tmp_path: Path) -> None:
    parts = [f"a{number}" for number in range(3000)]
    nodes = [onnx_node("Identity", ["one"], [part]) for part in parts]
    nodes.append(onnx_node("Concat", parts, ["all"], axis=0))
    nodes += [onnx_node("Add", ["all"], ["y"])] * 10_000
    data = onnx_file(nodes, {"one": np.ones(1, "float32")})
    path, start = written(tmp_path / "m.onnx", data), time.process_time()
    assert rnnshapes.inspect(path).params == 1
    assert time.process_time() - start < 4


@pytest.mark.parametrize(("field", "part"), [(1, b"\1" * 1000), (7, b"\0" * 4000)])
def test_numbers_in_lists_are_counted(field: int, part: bytes, tmp_path: Path, monkeypatch) -> None:
    """Of dims of an array, and of numbers of an attribute."""
    monkeypatch.setattr(protobuf, "MOST_FIELDS", 9_000)
    for count in (8, 9):
        content = message(*[(field, part)] * count)
        graph = message((5, content)) if field == 1 else message((1, message((5, content))))
        path, text = written(tmp_path / "m.onnx", message((1, 9), (7, graph))), ""
        try:
            rnnshapes.inspect(path)
        except InputError as error:
            text = str(error)
        assert ("9,000" in text) == (count == 9)


def test_arrays_of_other_dtypes_are_allowed(tmp_path: Path) -> None:
    node = onnx_node("LSTM", ["X", "W", "R"], ["Y"], hidden_size=5)
    arrays = onnx_weights("lstm")
    tensors = [(5, foreign.onnx_tensor(name, arrays[name])) for name in "WR"]
    other = message((1, 2), (2, 13), (8, "seed"), (9, bytes(16)))  # uint64
    data = message((1, 9), (7, message((1, node), *tensors, (5, other))))
    assert rnnshapes.inspect(written(tmp_path / "m.onnx", data)).agrees


def test_integer_weights_contradict(tmp_path: Path, run) -> None:
    arrays = onnx_weights("lstm")
    texts = {"value_floats": ["a"] * 40}
    files = [
        operator("lstm", {**arrays, "W": arrays["W"].astype("int64")}, hidden_size=5),
        onnx_file(
            [
                onnx_node("Constant", [], ["b"], **texts),
                onnx_node("Unsqueeze", ["b"], ["B"], axes=[0]),
                onnx_node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=5),
            ],
            {"W": arrays["W"], "R": arrays["R"]},
        ),
    ]
    for data in files:
        path = written(tmp_path / "m.onnx", data)
        assert run("inspect", path).status == 1
        assert run("trace", path, "--T", "2").status == 2


def test_limits_have_two_sides(tmp_path: Path, monkeypatch) -> None:
    arrays = onnx_weights("lstm")
    nodes = [
        onnx_node("Identity", ["R"], ["r"]),
        onnx_node("Slice", ["r"], ["s"], starts=[0], ends=[20], axes=[1]),
        onnx_node("LSTM", ["X", "W", "s", "B"], ["Y"], hidden_size=5),
        onnx_node("LSTM", ["X", "W", "R", "B"], ["Z"], hidden_size=5),
    ]
    path = written(tmp_path / "m.onnx", onnx_file(nodes, arrays))
    fields: list[int] = []
    each = protobuf.Messages.fields

    def counted(self: protobuf.Messages, span: protobuf.Span) -> Any:
        for field in each(self, span):
            fields.append(field.number)
            yield field

    with monkeypatch.context() as patch:
        patch.setattr(protobuf.Messages, "fields", counted)
        assert rnnshapes.inspect(path).agrees
    for module, name, most in (
        (protobuf, "MOST_FIELDS", len(fields)),
        (protobuf, "MOST_TEXT", len("graph") + 2),
        (network, "MOST_LAYERS", 2),
        (onnx_constants, "MOST_DEPTH", 2),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, most if name != "MOST_TEXT" else 11)
            assert rnnshapes.inspect(path).agrees, name
            patch.setattr(module, name, most - 1 if name != "MOST_TEXT" else 10)
            if name == "MOST_DEPTH":
                assert not rnnshapes.inspect(path).agrees
            else:
                with pytest.raises(InputError):
                    rnnshapes.inspect(path)

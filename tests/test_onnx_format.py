"""The parts of an ONNX file: messages, arrays, constants, sizes, and what other operators take."""

from __future__ import annotations

import io
import operator
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.foreign import onnx_writer
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.model import open_foreign_file
from rnnshapes.load.foreign.modules import OtherModule
from rnnshapes.load.foreign.onnx_constants import add_constants
from rnnshapes.load.foreign.onnx_file import read_onnx
from rnnshapes.load.foreign.onnx_graph import OnnxModel, is_onnx, layer_name, read_model
from rnnshapes.load.foreign.onnx_sizes import Axis, ComputedSizes, match_reshape, product
from rnnshapes.load.foreign.protobuf import ByteSpan, Messages, encode
from rnnshapes.load.foreign.tensors import FLOATS, ITEM_BYTES, Tensor, check_shape, decode
from rnnshapes.ops.onnx_ops import OnnxGraph, OnnxNode, OnnxValue
from tests.helpers.foreign import (
    message,
    onnx_file,
    onnx_node,
    onnx_tensor,
    onnx_weights,
    written,
)

Arrays = dict[str, np.ndarray]

# --- Messages -------------------------------------------------------------------------------------

FIELDS: list[tuple[int, Any]] = [
    (1, 0),
    (2, 127),
    (3, 128),
    (16, 2**40 + 5),
    (4, -1),
    (5, -(2**63)),
    (6, 2**63 - 1),
    (7, 0.5),
    (8, -3.25),
    (9, "text, ä"),
    (10, ""),
    (11, b"\x00\xff" * 700),
]


def test_fields_are_written_and_read(source_of: Any) -> None:
    data = encode(*FIELDS)
    assert data == message(*FIELDS)
    messages = Messages(source_of(b"xyz" + data))
    fields = list(messages.fields(ByteSpan(3, 3 + len(data))))
    assert [field.number for field in fields] == [number for number, _ in FIELDS]
    for field, (_, value) in zip(fields, FIELDS, strict=True):
        if isinstance(value, int):
            assert field.integer == value
        elif isinstance(value, float):
            assert field.real == value
        elif isinstance(value, str):
            assert messages.text(field) == value
        else:
            span = field.span
            assert messages.source.read(span.start, span.size) == value


def test_lists_are_packed_or_one_by_one(source_of: Any) -> None:
    data = encode((1, encode((1, 3))[1:] + b"\x96\x01" + b"\xff" * 9 + b"\x01"), (1, 7))
    data += encode((2, struct.pack("<3f", 0.5, -1.5, 2.0)), (2, 4.5))
    messages = Messages(source_of(data))
    first, alone, reals, real = messages.fields(ByteSpan(0, len(data)))
    assert messages.integers(first) == [3, 150, -1]
    assert messages.integers(alone) == [7]
    assert messages.reals(reals) == [0.5, -1.5, 2.0]
    assert messages.reals(real) == [4.5]


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"\x0d\x00\x00", "real"),
        (b"\x09" + bytes(8), "real"),
        (b"\x08\x01", "real"),
        (b"\x0a\x01\x00", "integer"),
        (b"\x08\x01", "span"),
        (b"\x0b", "span"),
        (b"\x0a\x05ab", "span"),
        (b"\x08", "integer"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "integer"),
        (b"\x0a\x05abcde", "reals"),
    ],
)
def test_damaged_field_is_refused(data: bytes, read: str, source_of: Any) -> None:
    messages = Messages(source_of(data))
    read_one = messages.reals if read == "reals" else operator.attrgetter(read)
    with pytest.raises(InputError):
        list(map(read_one, messages.fields(ByteSpan(0, len(data)))))


# --- Arrays ---------------------------------------------------------------------------------------

STORED: dict[str, tuple[list[tuple[int, Any]], np.ndarray | None]] = {
    "float32": ([(1, 2), (2, 1), (9, struct.pack("<2f", 1.5, -2))], np.array([1.5, -2], "f4")),
    "float64": ([(1, 1), (2, 11), (9, struct.pack("<d", 0.1))], np.array([0.1])),
    "float16": ([(1, 1), (2, 10), (9, b"\x00\x3c")], np.array([1], "f2")),
    "bfloat16": ([(1, 2), (2, 16), (9, b"\x80\x3f\x00\xc0")], np.array([1, -2], "f4")),
    "int64": ([(1, 1), (2, 7), (9, struct.pack("<q", -5))], np.array([-5])),
    "int32": ([(1, 1), (2, 6), (9, struct.pack("<i", -5))], np.array([-5], "i4")),
    "int16": ([(1, 1), (2, 5), (9, struct.pack("<h", -5))], np.array([-5], "i2")),
    "int8": ([(1, 2), (2, 3), (9, b"\xff\x01")], np.array([-1, 1], "i1")),
    "uint8": ([(1, 2), (2, 2), (9, b"\xff\x01")], np.array([255, 1], "u1")),
    "bool": ([(1, 2), (2, 9), (9, b"\x00\x01")], np.array([False, True])),
    "matrix": ([(1, 2), (1, 1), (2, 1), (9, struct.pack("<2f", 1, 2))], np.array([[1], [2]], "f4")),
    "packed sizes": ([(1, b"\x02\x01"), (2, 1), (9, bytes(8))], np.zeros((2, 1), "f4")),
    "number": ([(2, 1), (9, struct.pack("<f", 3))], np.array(3, "f4")),
    "floats": ([(1, 2), (2, 1), (4, struct.pack("<2f", 1.5, -2))], np.array([1.5, -2], "f4")),
    "doubles": ([(1, 1), (2, 11), (10, struct.pack("<d", 0.1))], np.array([0.1])),
    "integers": ([(1, 2), (2, 7), (7, b"\x03\x04")], np.array([3, 4])),
    "doubles of float32": ([(1, 1), (2, 1), (10, struct.pack("<d", 0.1))], None),
    "nothing": ([(1, 1), (2, 1)], None),
    "text": ([(1, 1), (2, 8), (9, b"ab")], None),
    "integers of another shape": ([(1, 3), (2, 7), (7, b"\x03\x04")], None),
    "in another file": ([(1, 1), (2, 1), (9, bytes(4)), (14, 1)], None),
    "in no other file": ([(1, 1), (2, 1), (9, bytes(4)), (14, 0)], np.zeros(1, "f4")),
    "at another place": ([(1, 1), (2, 1), (9, bytes(4)), (13, b"")], None),
}


@pytest.mark.parametrize("name", STORED)
def test_array_is_read_as_stored(name: str, source_of: Any) -> None:
    fields, expected = STORED[name]
    graph = message((5, message(*fields, (8, "a"))))
    model = read_model(source_of(message((1, 9), (7, graph))))
    assert list(model.arrays) == ["a"]
    assert model.external == (["a"] if name.startswith(("in another", "at another")) else [])
    if expected is None:
        with pytest.raises(InputError, match=r"\ba\b"):
            model.arrays["a"].read()
        return
    found = model.arrays["a"].read()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert model.arrays["a"].shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("extra", [b"", b"\0"])
def test_array_has_the_bytes_of_its_shape(extra: bytes, source_of: Any) -> None:
    fields = [(1, 2), (2, 1), (9, bytes(7) + extra), (8, "a")]
    data = message((1, 9), (7, message((5, message(*fields)))))
    if extra:
        assert read_model(source_of(data)).arrays["a"].count == 2
    else:
        with pytest.raises(InputError):
            read_model(source_of(data))


@pytest.mark.parametrize("dtype", [*ITEM_BYTES])
def test_numbers_have_the_bytes_of_their_dtype(dtype: str) -> None:
    data = bytes(range(1, 17)) if dtype != "bool" else bytes([0, 1] * 8)
    for big in (False, True):
        values = decode(data, dtype, big_endian=big)
        assert len(values) * ITEM_BYTES[dtype] == 16
        if dtype == "bfloat16":
            pairs = [data[i : i + 2] if big else data[i : i + 2][::-1] for i in range(0, 16, 2)]
            expected = np.array([struct.unpack(">f", pair + b"\0\0")[0] for pair in pairs], "f4")
        else:
            expected = np.frombuffer(data, np.dtype(dtype).newbyteorder("><"[not big]))
            assert values.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(values, expected)
    assert (dtype in FLOATS) is ("float" in dtype)


def test_shape_is_a_list_of_sizes() -> None:
    for shape in ([], [0], [2**63 - 1], (3, 4), [1] * 32):
        assert check_shape(shape, "a") == tuple(shape)
    for wrong in ([-1], [2**63], [True], [1.0], ["1"], [None], 3, "3", [1] * 33):
        with pytest.raises(InputError, match=r"\ba\b"):
            check_shape(wrong, "a")


# --- Graphs ---------------------------------------------------------------------------------------


def test_graph_is_read_with_all_of_its_parts(source_of: Any) -> None:
    values = {"alpha": 0.5, "axis": -1, "mode": "up", "perm": [1, 0], "scales": [0.5, 2.0]}
    node = onnx_node("Op", ["x", "", "W"], ["y", ""], **values, names=["a", "b"])
    node += message((3, "part/op"), (7, "own"))
    shape = {"x": (2, "time", 3, 0), "z": ()}
    arrays = {"W": np.ones((2, 3), "f4"), "": np.ones(4, "f4")}
    data = onnx_file([node], arrays, "me", ("x", "z", ""), ("y", "q"), shape)
    model = read_model(source_of(data))
    assert model.producer == "me"
    (found,) = model.nodes
    assert (found.op_type, found.name, found.domain) == ("Op", "part/op", "own")
    assert found.inputs == ["x", "", "W"]
    assert found.outputs[0] == "y"
    assert "" not in found.outputs
    assert found.attributes == {**values, "names": ["a", "b"]}
    (nameless,) = model.inputs.keys() - {"x", "z"}
    assert nameless
    assert model.inputs == {"x": (2, None, 3, None), "z": (), nameless: ()}
    assert "" not in model.arrays
    assert model.outputs == ["y", "q"]
    assert layer_name(found) == "part.op"
    assert [layer_name(OnnxNode("Op")), layer_name(OnnxNode("Op"), 3)] == ["op", "op3"]


def test_descriptions_are_passed_over(source_of: Any) -> None:
    """Those of a model, its graph, values, types, nodes, attributes and arrays."""

    def data(*numbers: int) -> bytes:
        model, graph, value, kind, shape, node, attribute, array = (
            [(number, "\x0a\x02ab")] * (number > 0) for number in numbers
        )
        dims = message((1, message((1, 3), *shape)), *shape)
        typed = message((1, message((1, 1), (2, dims))), *kind)
        x = message((1, "x"), (2, typed), *value)
        alpha = message((1, "alpha"), (3, 2), *attribute)
        op = message((1, "x"), (2, "y"), (3, "own"), (4, "Op"), (5, alpha), *node)
        w = message((1, 1), (2, 1), (8, "w"), (9, struct.pack("<f", 0.5)), *array)
        return message((1, 9), *model, (7, message((1, op), (5, w), (11, x), (12, x), *graph)))

    plain, described = (
        read_model(source_of(data(*numbers))) for numbers in ([0] * 8, [6, 10, 3, 6, 3, 6, 13, 12])
    )
    assert plain.inputs == {"x": (3,)}
    assert described.arrays.pop("w").read() == plain.arrays.pop("w").read() == 0.5
    assert described == plain


def test_attribute_may_be_an_array_or_long(source_of: Any) -> None:
    array = np.array([[1.5, 2]], "f4")
    node = onnx_node("Op", [], ["y"], value=array, short="a" * 199, long="a" * 200)
    model = read_model(source_of(onnx_file([node])))
    attributes = model.nodes[0].attributes
    np.testing.assert_array_equal(attributes["value"].read(), array)
    assert (attributes["short"], attributes["long"]) == ("a" * 199, "")


#: The keys of the fields 2 to 8 of ModelProto, of which 5 is an integer.
KEYS = (2 << 3 | 2, 3 << 3 | 2, 4 << 3 | 2, 5 << 3, 6 << 3 | 2, 7 << 3 | 2, 8 << 3 | 2)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        *((bytes([8, 9, key]), key in KEYS) for key in range(0x11, 0x44)),
        (b"\x08\x01\x3a", True),
        (b"\x08\x7f\x42", True),
        (b"\x08\x00\x12", False),
        (b"\x08\x80\x12", False),
        (b"\x08\x09\x13", False),
        (b"\x0a\x09\x12", False),
        (b"\x08\x09", False),
    ],
)
def test_beginning_of_a_file_shows_its_format(head: bytes, expected: bool, source_of: Any) -> None:
    assert is_onnx(source_of(head)) is expected
    assert is_onnx(source_of(head + bytes(9))) is (expected or head == b"")


def test_parts_of_a_file_end_where_it_ends(source_of: Any) -> None:
    source = source_of(b"abcde")
    assert (source.size, source.read(1, 3), source.read(5, 0)) == (5, b"bcd", b"")
    assert (source.head(3), source.head(9)) == (b"abc", b"abcde")
    for start, count in ((-1, 2), (1, -1), (1, 5), (6, 0)):
        with pytest.raises(InputError):
            source.read(start, count)


def test_file_may_become_shorter_while_it_is_read(tmp_path: Path) -> None:
    source = ByteSource(written(tmp_path / "m.onnx", b"abcde"))
    (tmp_path / "m.onnx").write_bytes(b"ab")
    assert source.read(0, 2) == b"ab"
    with pytest.raises(InputError):
        source.read(1, 3)
    source.close()


def written_graph() -> tuple[OnnxGraph, list[OnnxValue], list[OnnxValue]]:
    graph = OnnxGraph()
    graph.array("W", np.arange(6, dtype="f4").reshape(2, 3))
    graph.array("n", np.array([3, -4]))
    graph.add("Gemm", "x", "W", outputs=2, name="dense", alpha=0.1, transB=1, perm=[1, -2])
    graph.add("Op", "n", mode="up", scales=[0.3, 2.0], modes=["a"])
    ends = [OnnxValue("x", "float32", ("N", 3)), OnnxValue("i", "int64", (2,))]
    return graph, ends, [OnnxValue("y", "float32", ("N", "T", 5))]


def test_written_graph_is_read_again(source_of: Any, tmp_path: Path) -> None:
    graph, inputs, outputs = written_graph()
    stream = io.BytesIO()
    onnx_writer.write_model(stream, graph, inputs, outputs)
    path = written(tmp_path / "m.onnx", stream.getvalue())
    assert onnx_writer.is_written(path, graph)
    model = read_model(source_of(stream.getvalue()))
    assert model.producer == "rnnshapes"
    assert model.inputs == {"x": (None, 3), "i": (2,)}
    assert model.outputs == ["y"]
    for change in (
        {"nodes": graph.nodes[:1]},
        {"nodes": [replace(graph.nodes[0], attributes={"alpha": 0.2}), graph.nodes[1]]},
        {"nodes": [replace(graph.nodes[0], inputs=["x"]), graph.nodes[1]]},
        {"arrays": {"W": graph.arrays["W"]}},
        {"arrays": {**graph.arrays, "W": graph.arrays["W"] + 1}},
        {"arrays": {**graph.arrays, "W": graph.arrays["W"].reshape(3, 2)}},
        {"arrays": {**graph.arrays, "W": graph.arrays["W"].view("i4")}},
    ):
        other = OnnxGraph()
        other.nodes, other.arrays = graph.nodes, graph.arrays
        for name, value in change.items():
            setattr(other, name, value)
        assert not onnx_writer.is_written(path, other), change


def test_written_fields_are_those_of_onnx() -> None:
    """The numbers of ``onnx.proto``, also of types of attributes, which the reader skips."""
    graph, inputs, outputs = written_graph()
    stream = io.BytesIO()
    onnx_writer.write_model(stream, graph, inputs, outputs)
    dense = {"alpha": [(2, 0.1), (20, 1)], "transB": [(3, 1), (20, 2)]}
    dense["perm"] = [(8, 1), (8, -2), (20, 7)]
    op = {"mode": [(4, "up"), (20, 3)], "scales": [(7, 0.3), (7, 2.0), (20, 6)]}
    op["modes"] = [(9, "a"), (20, 8)]
    nodes = [
        (1, message(*named, *((5, message((1, name), *own)) for name, own in attributes.items())))
        for named, attributes in (
            ([(1, "x"), (1, "W"), (2, "/Gemm"), (2, "/Gemm:1"), (3, "dense"), (4, "Gemm")], dense),
            ([(1, "n"), (2, "/Op"), (3, "/Op"), (4, "Op")], op),
        )
    ]
    kernel, numbers = np.arange(6, dtype="<f4").tobytes(), np.array([3, -4], "<i8").tobytes()
    arrays = [
        (5, message((1, 2), (1, 3), (2, 1), (8, "W"), (9, kernel))),
        (5, message((1, 2), (2, 7), (8, "n"), (9, numbers))),
    ]
    ends = []
    for field, name, kind, sizes in (
        (11, "x", 1, [(2, "N"), (1, 3)]),
        (11, "i", 7, [(1, 2)]),
        (12, "y", 1, [(2, "N"), (2, "T"), (1, 5)]),
    ):
        shape = message(*((1, message(size)) for size in sizes))
        ends.append((field, message((1, name), (2, message((1, message((1, kind), (2, shape))))))))
    whole = message(*nodes, (2, "rnnshapes"), *arrays, *ends)
    opset = message((1, ""), (2, 17))
    assert stream.getvalue() == message((1, 8), (2, "rnnshapes"), (8, opset), (7, whole))


def test_large_graph_is_refused(source_of: Any, monkeypatch: Any) -> None:
    graph, inputs, outputs = written_graph()
    onnx_writer.write_model(stream := io.BytesIO(), graph, inputs, outputs)
    data = stream.getvalue()
    fields = Messages(source_of(data)).fields(ByteSpan(0, len(data)))
    (size,) = (field.span.size for field in fields if field.number == 7)
    monkeypatch.setattr(onnx_writer, "MOST_BYTES", size)
    onnx_writer.write_model(again := io.BytesIO(), graph, inputs, outputs)
    assert again.getvalue() == data
    monkeypatch.setattr(onnx_writer, "MOST_BYTES", size - 1)
    with pytest.raises(UnsupportedError):
        onnx_writer.write_model(io.BytesIO(), graph, inputs, outputs)


# --- Constants ------------------------------------------------------------------------------------

W = np.arange(24, dtype="f4").reshape(2, 3, 4)
ROW, ONES = W[:, :1, :1], W[:1, :, :1]
#: Operator, arrays of its inputs, attributes, and what it computes; ``None`` for no constant.
CONSTANTS: list[tuple[str, list[Any], dict[str, Any], Any]] = [
    ("Identity", [W], {}, W),
    ("Unsqueeze", [W], {"axes": [0]}, W[None]),
    ("Unsqueeze", [W], {"axes": [-1, 1]}, W[:, None, :, :, None]),
    ("Unsqueeze", [W, [0, 4]], {}, W[None, :, :, :, None]),
    ("Unsqueeze", [W], {"axes": [4]}, None),
    ("Unsqueeze", [W], {"axes": 1}, None),
    ("Unsqueeze", [W], {"axes": [0, -5]}, None),
    ("Squeeze", [ROW], {}, ROW[:, 0, 0]),
    ("Squeeze", [ROW], {"axes": [1]}, ROW[:, 0]),
    ("Squeeze", [ROW], {"axes": [-1]}, ROW[:, :, 0]),
    ("Squeeze", [ROW, [2, 1]], {}, ROW[:, 0, 0]),
    ("Squeeze", [ROW], {"axes": [0]}, None),
    ("Squeeze", [ROW], {"axes": [3]}, None),
    ("Squeeze", [ROW], {"axes": [1, -2]}, None),
    ("Transpose", [W], {}, W.T),
    ("Transpose", [W], {"perm": [1, 2, 0]}, W.transpose(1, 2, 0)),
    ("Transpose", [W], {"perm": [0, 1]}, None),
    ("Transpose", [W], {"perm": [0, 0, 1]}, None),
    ("Concat", [W, W[:1]], {"axis": 0}, np.concatenate([W, W[:1]])),
    ("Concat", [W, W[:, :, :3], W], {"axis": -1}, np.concatenate([W, W[:, :, :3], W], -1)),
    ("Concat", [W, W[:1]], {"axis": 1}, None),
    ("Concat", [W, W[0]], {"axis": 0}, None),
    ("Concat", [W], {"axis": 0}, W),
    ("Concat", [W, W[:, :2]], {"axis": 0}, None),
    ("Concat", [W[0], W[0, :, 0]], {"axis": 1}, None),
    ("Concat", [W], {"axis": 3}, None),
    ("Concat", [W], {}, None),
    ("Slice", [W], {"starts": [1], "ends": [3], "axes": [1]}, W[:, 1:3]),
    ("Slice", [W], {"starts": [0, 1], "ends": [1, 9]}, W[:1, 1:]),
    ("Slice", [W], {"starts": [-2], "ends": [2**60], "axes": [-1]}, W[:, :, -2:]),
    ("Slice", [W, [0], [3], [2]], {}, W[:, :, :3]),
    ("Slice", [W, [0], [9], [2], [2]], {}, W[:, :, ::2]),
    ("Slice", [W, [-1], [-(2**60)], [2], [-1]], {}, W[:, :, ::-1]),
    ("Slice", [W, [3], [0], [2], [-2]], {}, W[:, :, 3:0:-2]),
    ("Slice", [W, [0], [-9], [2]], {}, W[:, :, :0]),
    ("Slice", [W, [0], [2], [0], [0]], {}, None),
    ("Slice", [W], {"starts": [0], "ends": [1, 2], "axes": [0]}, None),
    ("Slice", [W], {"starts": [0], "ends": [1], "axes": [3]}, None),
    ("Slice", [W, W, [3], [2]], {}, None),
    ("Add", [W, W], {}, None),
    ("Identity", [], {}, None),
]


@pytest.mark.parametrize(("kind", "inputs", "attributes", "expected"), CONSTANTS)
def test_constant_is_computed(kind: str, inputs: Any, attributes: Any, expected: Any) -> None:
    arrays = {f"a{i}": np.asarray(each) for i, each in enumerate(inputs)}
    model = OnnxModel(
        nodes=[OnnxNode(kind, inputs=list(arrays), outputs=["y"], attributes=attributes)],
        arrays={n: Tensor(n, str(a.dtype), a.shape, lambda a=a: a) for n, a in arrays.items()},
    )
    sources = add_constants(model, 10**6)
    if expected is None:
        assert "y" not in model.arrays
        return
    assert sources == {"y": tuple(arrays)}
    found = model.arrays["y"]
    assert (found.dtype, found.shape) == (str(expected.dtype), expected.shape)
    np.testing.assert_array_equal(found.read(), expected)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"value_int": 3}, np.array(3)),
        ({"value_ints": [3, -4]}, np.array([3, -4])),
        ({"value_float": 0.5}, np.array(0.5, "f4")),
        ({"value_floats": [0.5, 2.0]}, np.array([0.5, 2.0], "f4")),
        ({"value_string": "a"}, None),
        ({"value_ints": [3, "a"]}, None),
        ({}, None),
    ],
)
def test_constant_node_is_an_array(attributes: dict[str, Any], expected: Any) -> None:
    node = OnnxNode("Constant", outputs=["y"], attributes=attributes)
    model = OnnxModel(nodes=[node])
    assert add_constants(model, 0) == ({} if expected is None else {"y": ()})
    if expected is not None:
        found = model.arrays["y"].read()
        assert (found.dtype, model.arrays["y"].shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)


def test_constants_of_other_operators_are_left(tmp_path: Path) -> None:
    tensor = Tensor("a", "float32", (1,), lambda: np.ones(1, "f4"))
    for node in (
        OnnxNode("Identity", domain="own", inputs=["a"], outputs=["y"]),
        OnnxNode("Identity", inputs=["a"], outputs=["y", "z"]),
        OnnxNode("Identity", inputs=["x"], outputs=["y"]),
        OnnxNode("Identity", inputs=["a"], outputs=["a"]),
    ):
        model = OnnxModel(nodes=[node], arrays={"a": tensor})
        assert add_constants(model, 10**6) == {}
        assert model.arrays == {"a": tensor}
    model = OnnxModel(
        nodes=[OnnxNode("Identity", domain="ai.onnx", inputs=["", "a", "a"], outputs=["y"])],
        arrays={"a": tensor},
    )
    assert add_constants(model, 10**6) == {"y": ("a",)}


# --- Sizes ----------------------------------------------------------------------------------------


def integers(name: str, values: Any, dtype: str = "int64") -> Tensor:
    array = np.array(values, dtype)
    return Tensor(name, dtype, array.shape, lambda: array)


#: Operator, inputs, attributes, result; "n" is of a tensor of (T, N, 1, 4).
SIZES: list[tuple[str, list[str], dict[str, Any], tuple[int | str, ...] | None]] = [
    ("Cast", ["n"], {}, ("T", "N", 1, 4)),
    ("Identity", ["n"], {}, ("T", "N", 1, 4)),
    ("Reshape", ["n", "4"], {}, ("T", "N", 1, 4)),
    ("Squeeze", ["2", "0"], {}, (2,)),
    ("Unsqueeze", ["2", "0"], {}, (2,)),
    ("Concat", ["n", "2", "n"], {}, ("T", "N", 1, 4, 2, "T", "N", 1)),
    ("Concat", ["2", "n"], {}, (2, "T", "N", 1, 4)),
    ("Gather", ["n", "1"], {}, ("N",)),
    ("Gather", ["n", "-1"], {}, (4,)),
    ("Gather", ["n", "3 1"], {}, (4, "N")),
    ("Gather", ["n", "4"], {}, None),
    ("Gather", ["n", "-5"], {}, None),
    ("Gather", ["n"], {}, None),
    ("Gather", ["n", "n"], {}, None),
    ("Slice", ["n", "1", "3"], {}, ("N", 1)),
    ("Slice", ["n", "1", "-1"], {}, ("N", 1)),
    ("Slice", ["n", "1", "3", "0"], {}, ("N", 1)),
    ("Slice", ["n", "1", "3", "0", "1"], {}, ("N", 1)),
    ("Slice", ["n", "1", "3", "1"], {}, None),
    ("Slice", ["n", "0", "4", "0", "2"], {}, None),
    ("Slice", ["n", "1"], {}, None),
    ("Slice", ["n", "3 1", "4"], {}, None),
    ("Mul", ["2", "3"], {}, (6,)),
    ("Mul", ["n", "2"], {}, None),
    ("Mul", ["3 1", "2"], {}, None),
    ("Mul", ["2"], {}, None),
    ("ReduceProd", ["3 1"], {}, (3,)),
    ("ReduceProd", ["n"], {}, None),
    ("Add", ["2", "3"], {}, None),
    ("Cast", ["none"], {}, None),
    ("Concat", ["2", "none"], {}, None),
    ("Cast", ["real"], {}, None),
    ("Concat", ["n", "n", "2"], {}, None),
]


@pytest.mark.parametrize(("kind", "inputs", "attributes", "expected"), SIZES)
def test_sizes_are_computed(kind: str, inputs: Any, attributes: Any, expected: Any) -> None:
    numbers = {text: integers(text, int(text)) for text in ("0", "1", "2", "3", "4", "-1", "-5")}
    more = {"3 1": integers("3 1", [3, 1]), "real": integers("real", 2, "float32")}
    sizes = ComputedSizes({**numbers, **more}, {})
    sizes.add_shape(OnnxNode("Shape", outputs=["n"]), ("T", "N", 1, 4))
    name = "n" if inputs != ["n", "2", "n"] else "m"
    if name == "m":  # at most eight sizes
        sizes.add_shape(OnnxNode("Shape", outputs=["m"], attributes={"end": 3}), ("T", "N", 1, 4))
        inputs = ["n", "2", "m"]
    node = OnnxNode(kind, inputs=inputs, outputs=["y"], attributes=attributes)
    sizes.add(node)
    assert sizes.of("y") == expected
    sizes.add(replace(node, domain="own", outputs=["own"]))
    assert sizes.of("own") is None
    sizes.add(replace(node, domain="ai.onnx", outputs=["standard"]))
    assert sizes.of("standard") == expected


def test_sizes_have_the_letters_of_their_axes() -> None:
    sizes = ComputedSizes({"seven": integers("seven", [7])}, {"made": ("seven",)})
    for name, more in {"all": {}, "middle": {"start": 1, "end": 3}, "end": {"start": -1}}.items():
        sizes.add_shape(OnnxNode("Shape", outputs=[name], attributes=more), ("0", "1", "2", 5))
    assert sizes.of("middle") == ("1", "2")
    assert sizes.of("end") == (5,)
    for wrong in ({"start": "a"}, {"end": 1.5}):
        sizes.add_shape(OnnxNode("Shape", outputs=["wrong"], attributes=wrong), ("0", 5))
        assert sizes.of("wrong") is None
    sizes.add(OnnxNode("Mul", inputs=["seven", "end"], outputs=["product"]))
    sizes.rename({"0": "T", "1": "N", "2": 3})
    assert sizes.of("all") == ("T", "N", 3, 5)
    assert sizes.of("middle") == ("N", 3)
    assert sizes.of("product") == (35,)
    assert sizes.of("seven") == (7,)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], 1),
        ([2, 3], 6),
        (["T", "N"], "NT"),
        (["N", 1], "N"),
        (["N", 2], None),
        (["N", 0], None),
        ([0, 3], 0),
        ([2**48], 2**48),
        ([2**48, 2], None),
        (["N"] * 8, "N" * 8),
        (["N"] * 9, None),
    ],
)
def test_product_of_open_sizes_has_their_letters(sizes: Any, expected: Any) -> None:
    assert product(sizes) == expected


TIME, SAMPLES, WAYS, UNITS = Axis("T", 5, True), Axis("N", None, True), Axis("D", 2), Axis("F", 4)


@pytest.mark.parametrize(
    ("axes", "sizes", "old", "expected"),
    [
        ([TIME, SAMPLES, WAYS, UNITS], (0, 0, -1), "TNDF", ("T", "N", "DF")),
        ([TIME, SAMPLES, WAYS, UNITS], ("T", "N", 8), "TNDF", ("T", "N", "DF")),
        ([TIME, SAMPLES, WAYS, UNITS], (-1, 8), "TNDF", ("TN", "DF")),
        ([TIME, SAMPLES, WAYS, UNITS], ("NT", 2, 4), "TNDF", ("TN", "D", "F")),
        ([TIME, SAMPLES, WAYS, UNITS], ("T", "N", 2, 4), "TNDF", ("T", "N", "D", "F")),
        ([TIME, SAMPLES, WAYS, UNITS], (-1, "N", 8), "TNDF", ("T", "N", "DF")),
        ([TIME, SAMPLES, WAYS, UNITS], ("N", "T", 8), "TNDF", None),
        ([TIME, SAMPLES, WAYS, UNITS], (-1, -1, 8), "TNDF", None),
        ([TIME, SAMPLES, WAYS, UNITS], (0, -1, 0), "TNDF", None),
        ([TIME, SAMPLES, WAYS, UNITS], ("T", "N", 4), "TNDF", None),
        ([TIME, SAMPLES, WAYS, UNITS], (0, 0, 0, 0), "TNDF", ("T", "N", "D", "F")),
        ([TIME, SAMPLES, WAYS, UNITS], (0, 0, 0, 0, 1), "TNDF", None),
        ([TIME, SAMPLES, WAYS, UNITS], (), "TNDF", None),
        ([TIME, SAMPLES, UNITS], (5, -1, 4), "TNF", ("T", "N", "F")),
        ([TIME, SAMPLES, UNITS], (6, -1, 4), "TNF", None),
        ([TIME, SAMPLES, UNITS], (5, 3, 4), "TNF", None),
        ([TIME, SAMPLES, UNITS], (-1, 4), "TNF", ("TN", "F")),
        ([TIME, SAMPLES, UNITS], (0, -1), "TNF", ("T", "NF")),
        ([TIME, SAMPLES, UNITS], (-1, 20), "TNF", None),
        ([SAMPLES, UNITS], (-1, 0), "NF", ("N", "F")),
        ([SAMPLES, UNITS], (-1, 4), "NF", ("N", "F")),
        ([SAMPLES, UNITS], (-1,), "NF", ("NF",)),
    ],
)
def test_reshape_joins_axes_in_order(axes: Any, sizes: Any, old: str, expected: Any) -> None:
    assert match_reshape(axes, sizes, tuple(old)) == expected


# --- What other operators take --------------------------------------------------------------------


def contents(tmp_path: Path, nodes: list[bytes], arrays: Arrays, **more: Any) -> Any:
    source = ByteSource(written(tmp_path / "m.onnx", onnx_file(nodes, arrays, **more)))
    try:
        return read_onnx(source)
    finally:
        source.close()


VECTOR, MATRIX = np.ones(3, "f4"), np.ones((3, 3), "f4")
RECURRENT = ["x", "W", "R", "B"]
OTHERS: list[tuple[str, dict[str, Any], list[str], dict[str, str]]] = [
    ("MatMul", {}, ["x", "M"], {"M": "kernel"}),
    ("MatMul", {}, ["M", "x"], {"M": "weight"}),
    ("MatMul", {"transB": 1}, ["x", "M"], {"M": "kernel"}),
    ("Gemm", {}, ["x", "M", "v"], {"M": "kernel", "v": "bias"}),
    ("Gemm", {"transB": 1}, ["x", "M", "v"], {"M": "weight", "v": "bias"}),
    ("Conv", {}, ["x", "M", "v"], {"M": "weight", "v": "bias"}),
    ("Gather", {}, ["M", "x"], {"M": "table"}),
    ("LayerNormalization", {}, ["x", "v", "w"], {"v": "weight", "w": "bias"}),
    (
        "BatchNormalization",
        {},
        ["x", "v", "w", "m", "s"],
        {"v": "weight", "w": "bias", "m": "running_mean", "s": "running_var"},
    ),
    ("PRelu", {}, ["x", "v"], {}),
]


@pytest.mark.parametrize(("kind", "attributes", "inputs", "roles"), OTHERS)
def test_weights_of_an_operator_have_roles(
    kind: str, attributes: Any, inputs: list[str], roles: dict[str, str], tmp_path: Path
) -> None:
    arrays = {"M": MATRIX, "v": VECTOR, "w": VECTOR, "m": VECTOR, "s": VECTOR}
    arrays = {name: array for name, array in arrays.items() if name in inputs}
    (module,) = contents(tmp_path, [onnx_node(kind, inputs, ["y"], **attributes)], arrays).others
    assert module.class_name == kind
    assert sorted(tensor.name for tensor in module.tensors) == sorted(arrays)
    assert {name: role for name, role in module.roles.items() if name in arrays} == roles


@pytest.mark.parametrize("kind", ["MatMul", "Gemm", "Conv", "Gather", "Add", "Mul"])
def test_constant_nodes_are_weights_of_products(kind: str, tmp_path: Path) -> None:
    """Those of other operators, such as a scale, are none."""
    nodes = [
        onnx_node("Constant", [], ["M"], value=MATRIX),
        onnx_node(kind, ["M", "x"] if kind == "Gather" else ["x", "M"], ["y"]),
    ]
    assert len(contents(tmp_path, nodes, {}).others) == (kind != "Mul")


def named(others: tuple[OtherModule, ...]) -> list[tuple[str, list[str]]]:
    return [(each.class_name, [tensor.name for tensor in each.tensors]) for each in others]


def test_bias_belongs_to_the_product_before_it(tmp_path: Path) -> None:
    product = onnx_node("MatMul", ["x", "M"], ["z"])
    arrays = {"M": MATRIX, "v": VECTOR, "n": np.array([1, 2])}
    for second, expected in [
        (onnx_node("Add", ["z", "v"], ["y"]), [("MatMul", ["M", "v"])]),
        (onnx_node("Add", ["v", "z"], ["y"]), [("MatMul", ["M", "v"])]),
        (onnx_node("Add", ["x", "v"], ["y"]), [("MatMul", ["M"]), ("Add", ["v"])]),
        (onnx_node("Mul", ["z", "v"], ["y"]), [("MatMul", ["M"]), ("Mul", ["v"])]),
        (onnx_node("Add", ["z", "n"], ["y"]), [("MatMul", ["M"])]),
        (onnx_node("Add", ["z", "M"], ["y"]), [("MatMul", ["M"])]),
    ]:
        assert named(contents(tmp_path, [product, second], arrays).others) == expected
    arrays["N"] = MATRIX
    second = onnx_node("Add", ["z", "N"], ["y"])
    others = contents(tmp_path, [product, second], arrays).others
    assert named(others) == [("MatMul", ["M"]), ("Add", ["N"])]


def test_operator_of_another_domain_is_no_recurrence(tmp_path: Path) -> None:
    """Its arrays are those of any other operator."""
    node = onnx_node("LSTM", RECURRENT, ["Y"], hidden_size=5)
    for domain, operators in (("ai.onnx", []), ("own", [("LSTM", ["B", "R", "W"])])):
        found = contents(tmp_path, [node + message((7, domain))], onnx_weights("lstm"))
        assert named(found.others) == operators
        assert len(found.modules) == (not operators)


def test_initial_zeros_are_no_weights(tmp_path: Path) -> None:
    arrays = onnx_weights("gru") | {"h0": np.zeros((1, 1, 5), "f4"), "h1": np.ones((1, 1, 5), "f4")}
    for name, count in (("h0", 0), ("h1", 1)):
        nodes = [
            onnx_node("Expand", [name, "n"], ["h"]),
            onnx_node("GRU", ["X", "W", "R", "B", "", "h"], ["Y"], hidden_size=5),
        ]
        found = contents(tmp_path, nodes, {**arrays, "n": np.array([1, 2, 5])})
        assert len(found.others) == count
        assert bool(found.modules[0].layers[0].runtime_differences) is bool(count)


#: Nodes, the producer, and words that the warnings hold, one each.
WARNED: dict[str, tuple[list[bytes], str, list[str]]] = {
    "none": ([onnx_node("GRU", RECURRENT, ["Y"], linear_before_reset=1)], "pytorch", []),
    "reset before": ([onnx_node("GRU", RECURRENT, ["Y"])], "PyTorch", ["onnxscript#2852"]),
    "reset before, of another": ([onnx_node("GRU", RECURRENT, ["Y"])], "keras", []),
    "another cell": ([onnx_node("LSTM", RECURRENT, ["Y"])], "pytorch", []),
    "samples first": ([onnx_node("LSTM", RECURRENT, ["Y"], layout=1)], "", ["openvino#37820"]),
    "steps first": ([onnx_node("LSTM", RECURRENT, ["Y"], layout=0)], "", []),
    "activations left out": (
        [onnx_node("LSTM", RECURRENT, ["Y"])],
        "tf2onnx",
        ["tensorflow-onnx#2211"],
    ),
    "activations": (
        [onnx_node("LSTM", RECURRENT, ["Y"], activations=["Sigmoid", "Tanh", "Tanh"])],
        "tf2onnx",
        [],
    ),
    "loop": ([onnx_node("Loop", ["x"], ["y"])], "", ["Loop"]),
    "scans": ([onnx_node("Scan", ["x"], ["y"]), onnx_node("Loop", ["y"], ["z"])], "", ["1 more"]),
    "a scan first": ([onnx_node(kind, ["x"], ["y"]) for kind in ("Scan", "Loop")], "", ["Scan"]),
    "unrolled": (
        [onnx_node("MatMul", [a, "M"], [b]) for a, b in ("xa", "ab", "by")],
        "",
        ["3 nodes multiply by M"],
    ),
    "twice by Gemm": ([onnx_node("Gemm", ["x", "M"], [b]) for b in "ab"], "", ["2 nodes"]),
    "products of two arrays": (
        [onnx_node("MatMul", ["x", "M"], ["a"]), onnx_node("MatMul", ["a", "N"], ["y"])],
        "",
        [],
    ),
    "products with one bias": (
        [onnx_node("Gemm", ["x", name, "B"], [name + "x"]) for name in "MN"],
        "",
        [],
    ),
    "an array from the left": ([onnx_node("MatMul", ["M", "x"], [b]) for b in "ab"], "", []),
    "one array twice, and a recurrence": (
        [
            onnx_node("LSTM", RECURRENT, ["Y"]),
            *(onnx_node("MatMul", ["x", "M"], [b]) for b in "ab"),
        ],
        "",
        [],
    ),
}


@pytest.mark.parametrize("name", WARNED)
def test_traps_of_exporters_are_named(name: str, tmp_path: Path) -> None:
    nodes, producer, words = WARNED[name]
    gates = "gru" if nodes[0] == WARNED["none"][0][0] or "reset" in name else "lstm"
    arrays = {**onnx_weights(gates), "M": MATRIX, "N": MATRIX}
    found = contents(tmp_path, nodes, arrays, producer=producer)
    assert len(found.warnings) == len(words)
    assert all(word in text for word, text in zip(words, found.warnings, strict=True))
    assert found.contradictions == ()


def test_arrays_in_other_files_are_counted(source_of: Any) -> None:
    inside = onnx_tensor("a", VECTOR)
    outside = [message((1, 1), (2, 1), (8, name), (14, 1)) for name in "bc"]
    for count in (0, 1, 2):
        parts = [(5, part) for part in (inside, *outside[:count])]
        data = message((1, 9), (7, message(*parts)))
        warnings = read_onnx(source_of(data)).warnings
        assert len(warnings) == (count > 0)
        assert all(str(count) in text for text in warnings)


@pytest.mark.parametrize(
    ("inputs", "kind", "said"),
    [
        ([], "LSTM", ""),
        (["", "h1"], "LSTM", "states"),
        (["", "", "h1"], "LSTM", "states"),
        (["", "h0", "h0"], "LSTM", ""),
        (["h1"], "GRU", "sequence_lens"),
        (["", "h0", "h1"], "GRU", ""),
    ],
)
def test_what_trace_ignores_is_said(inputs: Any, kind: str, said: str, tmp_path: Path) -> None:
    arrays = onnx_weights(kind.lower()) | {"h0": np.zeros((1, 1, 5), "f4")}
    arrays["h1"] = arrays["h0"] + 1
    node = onnx_node(kind, [*RECURRENT, *inputs], ["Y"], hidden_size=5)
    (module,) = contents(tmp_path, [node], arrays).modules
    reasons = module.layers[0].runtime_differences
    assert said in reasons
    assert bool(reasons) is bool(said)


def test_states_in_another_file_are_no_zeros(source_of: Any) -> None:
    node = onnx_node("GRU", [*RECURRENT, "", "h"], ["Y"])
    tensors = [onnx_tensor(name, array) for name, array in onnx_weights("gru").items()]
    tensors.append(message((1, 1), (1, 1), (1, 5), (2, 1), (8, "h"), (14, 1)))
    data = message((1, 9), (7, message((1, node), *((5, each) for each in tensors))))
    (module,) = read_onnx(source_of(data)).modules
    assert "states" in module.layers[0].runtime_differences


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_float16_weights_have_runtime_differences(dtype: str, tmp_path: Path) -> None:
    """``trace`` computes in float32, a runtime in float16."""
    arrays = {name: array.astype(dtype) for name, array in onnx_weights("lstm").items()}
    (module,) = contents(tmp_path, [onnx_node("LSTM", RECURRENT, ["Y"])], arrays).modules
    reasons = module.layers[0].runtime_differences
    assert bool(reasons) is (dtype == "float16")
    assert ("float16" in reasons) is (dtype == "float16")


@pytest.mark.parametrize("clip", [0.5, None])
def test_operator_has_the_options_of_its_attributes(clip: float | None, tmp_path: Path) -> None:
    arrays = onnx_weights("lstm") | {"P": np.ones((1, 15), "f4")}
    more: dict[str, Any] = {} if clip is None else {"clip": clip}
    nodes = [
        onnx_node("LSTM", ["x", "W", "R", "", "", "", "", "P"], ["Y"], input_forget=1, **more),
        onnx_node("LSTM", RECURRENT, ["Z"]),
    ]
    first, second = contents(tmp_path, nodes, arrays).modules
    cells = [module.layers[0].cell for module in (first, second)]
    assert [cell.use_bias for cell in cells] == [False, True]
    assert [cell.peepholes for cell in cells] == [True, False]
    assert [cell.coupled for cell in cells] == [True, False]
    assert [cell.clip is None for cell in cells] == [clip is None, True]
    notes = [len(module.layers[0].notes) for module in (first, second)]
    assert notes == [1, 0]
    assert [module.name for module in (first, second)] == ["lstm", "lstm1"]


def test_two_functions_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    names = ["LeakyRelu", "leakyrelu", "ThresholdedRelu", "LeakyRelu", "Tanh", "Elu"]
    node = onnx_node(
        "LSTM",
        RECURRENT,
        ["Y"],
        direction="bidirectional",
        activations=names,
        activation_alpha=[0.1, 0.2, 0.3, 0.1],
    )
    (module,) = contents(tmp_path, [node], onnx_weights("lstm", dirs=2)).modules
    forward, backward = module.layers[0].cells
    own = dict(forward.functions)
    used = (forward.recurrent_activation, forward.activation, forward.state_activation)
    assert used == ("leaky_relu", "leaky_relu'", "thresholded_relu")
    assert [own[name].slope for name in used[:2]] == pytest.approx([0.1, 0.2])
    assert own[used[2]].threshold == pytest.approx(0.3)
    assert dict(backward.functions)[backward.recurrent_activation].slope == pytest.approx(0.1)
    assert backward.activation == "tanh"
    assert dict(backward.functions)[backward.state_activation].alpha == 1.0


def test_sizes_of_an_operator_are_checked(tmp_path: Path) -> None:
    good = onnx_weights("lstm")
    wrong: list[tuple[Arrays, dict[str, Any]]] = [
        ({**good, "W": good["W"][0]}, {}),
        ({**good, "R": np.array(0.5, "f4")}, {}),
        ({**good, "W": good["W"][:, :, :0]}, {}),
        ({**good, "W": good["W"][:, :16]}, {}),
        (good, {"hidden_size": 4}),
        (good, {"hidden_size": 0}),
        (good, {"hidden_size": "5"}),
        (good, {"direction": "bidirectional"}),
        (good, {"direction": 1}),
        (good, {"clip": 0.0}),
        (good, {"clip": float("inf")}),
        (good, {"clip": 1}),
        (good, {"activations": ["Affine", "Tanh", "Tanh"], "activation_alpha": [1.0]}),
        (good, {"activations": ["ThresholdedRelu"]}),
    ]
    for arrays, attributes in wrong:
        found = contents(tmp_path, [onnx_node("LSTM", RECURRENT, ["Y"], **attributes)], arrays)
        assert len(found.contradictions) == 1, attributes
        assert found.modules == ()
    for attributes in ({}, {"hidden_size": 5}, {"direction": "reverse"}, {"clip": 1e-3}):
        found = contents(tmp_path, [onnx_node("LSTM", RECURRENT, ["Y"], **attributes)], good)
        assert found.contradictions == ()
    small = contents(tmp_path, [onnx_node("LSTM", RECURRENT, ["Y"])], onnx_weights("lstm", 3, 1))
    assert small.modules[0].layers[0].cell.units.value({}) == 1


def test_number_of_steps_is_that_of_the_graph(tmp_path: Path) -> None:
    node = onnx_node("GRU", RECURRENT, ["", "h"], hidden_size=5)
    squeeze = onnx_node("Squeeze", ["h"], ["y"], axes=[0])
    for steps in (7, "time"):
        data = onnx_file(
            [node, squeeze], onnx_weights("gru"), "", ("x",), ("y",), {"x": (steps, "n", 3)}
        )
        path = written(tmp_path / "m.onnx", data)
        with open_foreign_file(path) as file:
            assert file is not None
            assert file.contents.steps == (7 if steps == 7 else None)
        assert rnnshapes.inspect(path, N=2, **({} if steps == 7 else {"T": 7})).layers

"""Writer of ONNX files, without ONNX: a graph of nodes with its arrays.

Source: ``onnx/onnx.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from rnnshapes.errors import UnsupportedError
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.onnx_graph import read_model
from rnnshapes.load.foreign.onnx_schema import (
    ATTRIBUTE_TYPES,
    DIMENSION,
    DTYPES,
    TENSOR_TYPE,
    AttributeField,
    DimensionField,
    GraphField,
    ModelField,
    NodeField,
    OpsetField,
    TensorField,
    TensorTypeField,
    ValueField,
)
from rnnshapes.load.foreign.protobuf import Encodable, encode, encode_head
from rnnshapes.ops.onnx_ops import OPSET, OnnxGraph, OnnxNode, OnnxValue

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: The version of the format that has this version of the operators.
_IR_VERSION = 8
_PRODUCER = "rnnshapes"
_NUMBERS = MappingProxyType({dtype: number for number, dtype in DTYPES.items()})
#: Fields of attributes, by the type of the value, and by that of the items of a list.
_SINGLE = {float: AttributeField.FLOAT, int: AttributeField.INT, str: AttributeField.STRING}
_LISTS = {float: AttributeField.FLOATS, int: AttributeField.INTS, str: AttributeField.STRINGS}
#: A protobuf file may not be larger; some of it is around the graph.
MOST_BYTES = 2**31 - 1000


def write_model(
    stream: BinaryIO, graph: OnnxGraph, inputs: Sequence[OnnxValue], outputs: Sequence[OnnxValue]
) -> None:
    """Write a model whose one graph has these inputs and outputs.

    Raises:
        UnsupportedError: It is larger than such a file may be.
    """
    head = encode(
        *((GraphField.NODE, _node(node)) for node in graph.nodes),
        (GraphField.NAME, _PRODUCER),
    )
    tail = encode(
        *((GraphField.INPUT, _value(value)) for value in inputs),
        *((GraphField.OUTPUT, _value(value)) for value in outputs),
    )
    tensors = list(_tensors(graph.arrays))
    size = len(head) + len(tail) + sum(len(before) + array.nbytes for before, array in tensors)
    if size > MOST_BYTES:
        raise UnsupportedError(f"it would have {size:,} bytes, and ONNX files have at most 2 GiB")
    opset = encode((OpsetField.DOMAIN, ""), (OpsetField.VERSION, OPSET))
    stream.write(encode((ModelField.IR_VERSION, _IR_VERSION), (ModelField.PRODUCER, _PRODUCER)))
    stream.write(encode((ModelField.OPSET, opset)))
    stream.write(encode_head(ModelField.GRAPH, size) + head)
    for before, array in tensors:
        stream.write(before)
        stream.write(array.tobytes())
    stream.write(tail)


def is_written(path: Path, graph: OnnxGraph) -> bool:
    """Return whether a file holds exactly this graph, by the reader of ONNX files."""
    source = ByteSource(path)
    try:
        model = read_model(source)
        return (
            len(model.nodes) == len(graph.nodes)
            and all(map(_same_node, model.nodes, graph.nodes))
            and model.arrays.keys() == graph.arrays.keys()
            and all(
                _same_array(model.arrays[name].read(), array)
                for name, array in graph.arrays.items()
            )
        )
    finally:
        source.close()


def _same_node(node: OnnxNode, other: OnnxNode) -> bool:
    """Return whether two nodes are the same, with numbers in float32."""
    attributes = {name: _in_float32(value) for name, value in other.attributes.items()}
    return node == replace(other, attributes=attributes)


def _in_float32(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_float32(each) for each in value]
    return struct.unpack("<f", struct.pack("<f", value))[0] if isinstance(value, float) else value


def _same_array(array: Array, other: Array) -> bool:
    is_alike = array.dtype == other.dtype and array.shape == other.shape
    return is_alike and array.tobytes() == other.tobytes()


def _tensors(arrays: Mapping[str, Array]) -> Iterator[tuple[bytes, Array]]:
    """Yield each array, little-endian, behind the bytes that come before its numbers."""
    for name, array in arrays.items():
        fields = encode(
            *((TensorField.DIMS, size) for size in array.shape),
            (TensorField.DATA_TYPE, _NUMBERS[str(array.dtype)]),
            (TensorField.NAME, name),
        ) + encode_head(TensorField.RAW_DATA, array.nbytes)
        head = encode_head(GraphField.INITIALIZER, len(fields) + array.nbytes)
        yield head + fields, array.astype(array.dtype.newbyteorder("<"), copy=False)


def _node(node: OnnxNode) -> bytes:
    return encode(
        *((NodeField.INPUT, name) for name in node.inputs),
        *((NodeField.OUTPUT, name) for name in node.outputs),
        (NodeField.NAME, node.name),
        (NodeField.OP_TYPE, node.op_type),
        *((NodeField.ATTRIBUTE, _attribute(*each)) for each in node.attributes.items()),
    )


def _attribute(name: str, value: Any) -> bytes:
    values: list[Encodable] = value if isinstance(value, list) else [value]
    kinds = _LISTS if isinstance(value, list) else _SINGLE
    number = kinds[type(values[0])]
    fields = ((number, each) for each in values)
    kind = (AttributeField.TYPE, ATTRIBUTE_TYPES[number])
    return encode((AttributeField.NAME, name), *fields, kind)


def _value(value: OnnxValue) -> bytes:
    dims = (
        encode((DimensionField.SYMBOL if isinstance(size, str) else DimensionField.VALUE, size))
        for size in value.shape
    )
    tensor = encode(
        (TensorTypeField.ELEMENT, _NUMBERS[value.dtype]),
        (TensorTypeField.SHAPE, encode(*((DIMENSION, dim) for dim in dims))),
    )
    kind = encode((TENSOR_TYPE, tensor))
    return encode((ValueField.NAME, value.name), (ValueField.TYPE, kind))

"""The graph of an ONNX file: nodes with their attributes, and arrays.

Source: ``onnx/onnx.proto``. Numbers in other files are never looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, cast

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.onnx_schema import (
    DIMENSION,
    DTYPES,
    TENSOR_TYPE,
    AttributeField,
    DimensionField,
    GraphField,
    ModelField,
    NodeField,
    TensorField,
    TensorTypeField,
    ValueField,
)
from rnnshapes.load.foreign.protobuf import ByteSpan, Field, Messages
from rnnshapes.load.foreign.tensors import ITEM_BYTES, Tensor, check_shape, decode
from rnnshapes.ops.onnx_ops import OnnxNode

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: Lists of numbers in TensorProto that stand for ``raw_data``, by their field: item and dtype.
_LISTS = MappingProxyType({TensorField.FLOATS: "float32", TensorField.DOUBLES: "float64"})
#: The fields that lead from the type of a value to the sizes of its axes.
_TO_DIMENSIONS = (TENSOR_TYPE, TensorTypeField.SHAPE, DIMENSION)
#: Why numbers are not read, and what to do.
IN_OTHER_FILES = (
    "are in another file, which is not read; save the model as one file (in PyTorch: "
    "torch.onnx.export(…, external_data=False))"
)
#: The name of what has none, such as an output that is left out: no text in a file is equal to it,
#: so that an input that is left out, whose name is empty, is never taken for it.
_NAMELESS = "\n"
DeclaredShape = tuple[int | None, ...]


@dataclass
class OnnxModel:
    """What is read of a model: who wrote it, its nodes in order, and its arrays by name.

    ``external`` are the names of arrays whose numbers are in other files. ``inputs`` have the
    sizes that the graph declares, by name: ``None`` for an open one. ``outputs`` are names.
    """

    producer: str = ""
    nodes: list[OnnxNode] = field(default_factory=list)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    external: list[str] = field(default_factory=list)
    inputs: dict[str, DeclaredShape] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


def layer_name(node: OnnxNode, number: int = 0) -> str:
    """Return the name of a node as that of a layer, in which a slash has another meaning."""
    name = node.name.strip("/").replace("/", ".")
    return name or f"{node.op_type.lower()}{number or ''}"


def is_onnx(source: ByteSource) -> bool:
    """Return whether a file begins as ONNX does: with a version, then a producer or a graph."""
    head = source.head(3)
    is_version = len(head) == 3 and head[0] == 0x08 and 0 < head[1] < 0x80
    return is_version and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)


def read_model(source: ByteSource) -> OnnxModel:
    """Return the graph of a file. Raises InputError if it is damaged, or no ONNX."""
    reader = _Reader(source)
    model, graphs = OnnxModel(), []
    for each in reader.messages.fields(ByteSpan(0, source.size)):
        if each.number == ModelField.PRODUCER:
            model.producer = reader.messages.text(each)
        elif each.number == ModelField.GRAPH:
            graphs.append(each.span)
    if len(graphs) != 1:
        raise InputError("it is no ONNX model: it has no graph")
    reader.add_graph(model, graphs[0])
    model.external = reader.external
    return model


class _Reader:
    def __init__(self, source: ByteSource) -> None:
        self.messages = Messages(source)
        self.external: list[str] = []

    def add_graph(self, model: OnnxModel, span: ByteSpan) -> None:
        """Add nodes, arrays, inputs and outputs of a graph to a model."""
        for each in self.messages.fields(span):
            if each.number == GraphField.NODE:
                model.nodes.append(self.node(each.span))
            elif each.number == GraphField.INITIALIZER:
                tensor = self.tensor(each.span)
                if tensor.name in model.arrays:
                    raise InputError(f"two of its arrays are called {tensor.name:.60}")
                model.arrays[tensor.name or _NAMELESS] = tensor
            elif each.number == GraphField.INPUT:
                name, sizes = self.value(each.span)
                model.inputs[name or _NAMELESS] = sizes
            elif each.number == GraphField.OUTPUT:
                model.outputs.append(self.value(each.span)[0])

    def value(self, span: ByteSpan) -> tuple[str, DeclaredShape]:
        """Return name and sizes in the description of an input or an output."""
        name, sizes = "", []
        for each in self.messages.fields(span):
            if each.number == ValueField.NAME:
                name = self.messages.text(each)
            elif each.number == ValueField.TYPE:
                sizes = [self._size(dim) for dim in self._inside(each, *_TO_DIMENSIONS)]
        return name, tuple(sizes)

    def _inside(self, field: Field, number: int, *more: int) -> Iterator[Field]:
        """Yield the fields that a path of numbers leads to, from a field that is a message."""
        for each in self.messages.fields(field.span):
            if each.number == number:
                yield from self._inside(each, *more) if more else (each,)

    def _size(self, dimension: Field) -> int | None:
        """Return the size of an axis; ``None`` if it is open."""
        sizes = [each.integer for each in self._inside(dimension, DimensionField.VALUE)]
        return sizes[-1] if sizes and sizes[-1] > 0 else None

    def node(self, span: ByteSpan) -> OnnxNode:
        """Return a node."""
        node = OnnxNode()
        for each in self.messages.fields(span):
            if each.number == NodeField.INPUT:
                node.inputs.append(self.messages.text(each))
            elif each.number == NodeField.OUTPUT:
                node.outputs.append(self.messages.text(each) or _NAMELESS)
            elif each.number == NodeField.NAME:
                node.name = self.messages.text(each)
            elif each.number == NodeField.OP_TYPE:
                node.op_type = self.messages.text(each)
            elif each.number == NodeField.ATTRIBUTE:
                name, value = self.attribute(each.span)
                node.attributes[name] = value
            elif each.number == NodeField.DOMAIN:
                node.domain = self.messages.text(each)
        return node

    def attribute(self, span: ByteSpan) -> tuple[str, Any]:
        """Return name and value of an attribute; ``None`` for graphs, which are not read."""
        name, value = "", cast("Any", None)
        floats: list[float] = []
        ints: list[int] = []
        strings: list[str] = []
        for each in self.messages.fields(span):
            if each.number == AttributeField.NAME:
                name = self.messages.text(each)
            elif each.number == AttributeField.FLOAT:
                value = each.real
            elif each.number == AttributeField.INT:
                value = each.integer
            elif each.number == AttributeField.STRING:
                value = self.messages.text(each) if each.span.size < 200 else ""
            elif each.number == AttributeField.TENSOR:
                value = self.tensor(each.span)
            elif each.number == AttributeField.FLOATS:
                floats += self.messages.reals(each)
            elif each.number == AttributeField.INTS:
                ints += self.messages.integers(each)
            elif each.number == AttributeField.STRINGS:
                strings.append(self.messages.text(each))
        return name, next((part for part in (floats, ints, strings) if part), value)

    def tensor(self, span: ByteSpan) -> Tensor:
        """Return an array, of which the numbers stay in the file."""
        shape: list[int] = []
        last: dict[int, Field] = {}
        for each in self.messages.fields(span):
            if each.number == TensorField.DIMS:
                shape += self.messages.integers(each)
            last[each.number] = each
        name = self.messages.text(last[TensorField.NAME]) if TensorField.NAME in last else ""
        kind = last[TensorField.DATA_TYPE].integer if TensorField.DATA_TYPE in last else 0
        dtype, dims = DTYPES.get(kind, f"type {kind}"), check_shape(shape, name)
        is_external = TensorField.EXTERNAL_DATA in last or (
            TensorField.DATA_LOCATION in last and last[TensorField.DATA_LOCATION].integer != 0
        )
        if is_external:
            self.external.append(name)
        read = self._external(name) if is_external else self._reader(name, dtype, dims, last)
        return Tensor(name, dtype, dims, read)

    def _external(self, name: str) -> Callable[[], Array]:
        return partial(_refuse, name, IN_OTHER_FILES)

    def _reader(
        self, name: str, dtype: str, shape: tuple[int, ...], fields: dict[int, Field]
    ) -> Callable[[], Array]:
        """Return what reads the numbers of an array, from its fields by number."""
        if TensorField.RAW_DATA not in fields and dtype == "int64" and TensorField.INT64S in fields:
            return partial(self._integers, name, fields[TensorField.INT64S], shape)
        lists = [fields[n] for n, kind in _LISTS.items() if n in fields and kind == dtype]
        data = fields.get(TensorField.RAW_DATA, lists[0] if lists else None)
        if data is None or not isinstance(data.value, ByteSpan):
            return partial(_refuse, name, "are stored in a form that is not read")
        if dtype not in ITEM_BYTES:
            return partial(_refuse, name, f"are of {dtype}, which is not read")
        if data.value.size != math.prod(shape) * ITEM_BYTES[dtype]:
            raise InputError(f"{name:.60} has {data.value.size:,} bytes: its shape needs others")
        return partial(self._values, data.value, dtype, shape)

    def _values(self, data: ByteSpan, dtype: str, shape: tuple[int, ...]) -> Array:
        raw = self.messages.source.read(data.start, data.size)
        return decode(raw, dtype).reshape(shape)

    def _integers(self, name: str, numbers: Field, shape: tuple[int, ...]) -> Array:
        import numpy as np

        values = np.array(self.messages.integers(numbers), np.int64)
        if values.size != math.prod(shape):
            raise InputError(f"{name:.60} has {values.size} numbers, which do not fit its shape")
        return values.reshape(shape)


def _refuse(name: str, reason: str) -> NoReturn:
    raise InputError(f"the numbers of {name:.60} {reason}")

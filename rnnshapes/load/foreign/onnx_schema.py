"""Numbers of the fields of ONNX's messages, for the reader and the writer.

Source: ``onnx/onnx.proto``.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType


class ModelField(IntEnum):
    """Fields of ModelProto."""

    IR_VERSION = 1
    PRODUCER = 2
    GRAPH = 7
    OPSET = 8


class OpsetField(IntEnum):
    """Fields of OperatorSetIdProto."""

    DOMAIN = 1
    VERSION = 2


class GraphField(IntEnum):
    """Fields of GraphProto."""

    NODE = 1
    NAME = 2
    INITIALIZER = 5
    INPUT = 11
    OUTPUT = 12


class NodeField(IntEnum):
    """Fields of NodeProto."""

    INPUT = 1
    OUTPUT = 2
    NAME = 3
    OP_TYPE = 4
    ATTRIBUTE = 5
    DOMAIN = 7


class AttributeField(IntEnum):
    """Fields of AttributeProto."""

    NAME = 1
    FLOAT = 2
    INT = 3
    STRING = 4
    TENSOR = 5
    FLOATS = 7
    INTS = 8
    STRINGS = 9
    TYPE = 20


class TensorField(IntEnum):
    """Fields of TensorProto."""

    DIMS = 1
    DATA_TYPE = 2
    FLOATS = 4
    INT64S = 7
    NAME = 8
    RAW_DATA = 9
    DOUBLES = 10
    EXTERNAL_DATA = 13
    DATA_LOCATION = 14


class ValueField(IntEnum):
    """Fields of ValueInfoProto."""

    NAME = 1
    TYPE = 2


class TensorTypeField(IntEnum):
    """Fields of TypeProto.Tensor, which is field 1 of TypeProto."""

    ELEMENT = 1
    SHAPE = 2


class DimensionField(IntEnum):
    """Fields of TensorShapeProto.Dimension, which is field 1 of TensorShapeProto."""

    VALUE = 1
    SYMBOL = 2


#: The one field of TypeProto, and of TensorShapeProto, that is used.
TENSOR_TYPE = DIMENSION = 1
#: The values of AttributeField.TYPE, by the field that holds the attribute.
ATTRIBUTE_TYPES = MappingProxyType(
    {
        AttributeField.FLOAT: 1,
        AttributeField.INT: 2,
        AttributeField.STRING: 3,
        AttributeField.FLOATS: 6,
        AttributeField.INTS: 7,
        AttributeField.STRINGS: 8,
    }
)
#: Dtypes by their numbers in TensorProto.
DTYPES = MappingProxyType(
    {
        1: "float32",
        2: "uint8",
        3: "int8",
        5: "int16",
        6: "int32",
        7: "int64",
        9: "bool",
        10: "float16",
        11: "float64",
        16: "bfloat16",
    }
)

"""Arrays of a .safetensors file: eight bytes of length, a header of JSON, then the numbers.

Source: https://github.com/huggingface/safetensors (the format, and ``safetensors/src/tensor.rs``).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.tensors import ITEM_BYTES, Tensor, check_shape, decode
from rnnshapes.load.saved import untrusted_json

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

MOST_HEADER = 16 * 2**20
_DTYPES = MappingProxyType(
    {
        "F64": "float64",
        "F32": "float32",
        "F16": "float16",
        "BF16": "bfloat16",
        "I64": "int64",
        "I32": "int32",
        "I16": "int16",
        "I8": "int8",
        "U8": "uint8",
        "BOOL": "bool",
    }
)


def is_safetensors(source: ByteSource) -> bool:
    """Return whether a file begins as such a file does."""
    head = source.head(9)
    if len(head) < 9 or head[8:] != b"{":
        return False
    is_whole = 2 <= int.from_bytes(head[:8], "little") <= source.size - 8
    return is_whole or source.path.suffix.lower() == ".safetensors"


def read_tensors(source: ByteSource) -> list[Tensor]:
    """Return all arrays, in the order of their numbers in the file.

    Raises:
        InputError: It breaks a rule of the format, or has an unusually large header.
    """
    (length,) = struct.unpack("<Q", source.read(0, 8))
    if length > MOST_HEADER:
        raise InputError(f"its header of {length:,} bytes is larger than {MOST_HEADER:,}")
    if length > source.size - 8:
        raise InputError(f"it is cut off: {length:,} bytes of header are not in it; copy it again")
    header = untrusted_json.parse(source.read(8, length), "its header", unique_keys=True)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise InputError("the __metadata__ in its header is not an object")
    start = 8 + length
    found = [_entry(untrusted_json.printable(name), entry) for name, entry in header.items()]
    found.sort(key=lambda entry: entry[1])
    end = 0
    for name, (first, last), _, _ in found:
        if first != end:
            raise InputError(f"the numbers of {name:.60} do not begin where those before end")
        end = last
    if end != source.size - start:
        raise InputError(f"its arrays need {end:,} bytes, and {source.size - start:,} follow")
    return [
        Tensor(name, dtype, shape, partial(_values, source, start + first, last - first, dtype))
        for name, (first, last), dtype, shape in found
    ]


def write_tensors(stream: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write arrays to a file, in their order."""
    import json

    names = {dtype: name for name, dtype in _DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        dtype, shape = names[str(array.dtype)], list(array.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at a multiple of eight bytes
    stream.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        stream.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, int], str, tuple[int, ...]]:
    """Return name, offsets, dtype and shape of an array."""
    if not isinstance(entry, dict):
        raise InputError(f"{name:.60} in its header is not an array")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry.get("dtype"), str) else None
    if dtype is None:
        raise InputError(f"{name:.60} is of the unknown dtype {entry.get('dtype')!r:.40}")
    shape = check_shape(entry.get("shape"), name)
    offsets = check_shape(entry.get("data_offsets"), f"the offsets of {name}")
    first, last = offsets if len(offsets) == 2 else (0, -1)
    if last - first != math.prod(shape) * ITEM_BYTES[dtype]:
        raise InputError(f"the offsets of {name:.60} do not fit its shape and dtype")
    return name, (first, last), dtype, shape


def _values(source: ByteSource, start: int, count: int, dtype: str) -> Array:
    return decode(source.read(start, count), dtype)

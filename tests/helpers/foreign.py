"""Weight files of PyTorch and ONNX made by hand, and what PyTorch computes from them.

A state_dict is a dict of arrays by name. No framework is needed.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.port_layouts import torch_step

Arrays = dict[str, np.ndarray]
#: Number of blocks of rows by the name of the cell.
GATES = {"simple": 1, "lstm": 4, "gru": 3}
_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64"}
_STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
}


def state_dict(
    cell: str,
    D: int = 3,
    M: int = 5,
    *,
    layers: int = 1,
    both: bool = False,
    bias: bool = True,
    proj_size: int = 0,
    prefix: str = "",
    seed: int = 0,
    dtype: str = "float32",
) -> Arrays:
    """Return random weights as ``torch.nn.RNN``, ``LSTM`` or ``GRU`` names and shapes them."""
    rng, width = np.random.default_rng(seed), GATES[cell] * M
    state = proj_size or M
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(layers):
        features = D if k == 0 else state * (1 + both)
        for end in ("", "_reverse")[: 1 + both]:
            shapes[f"weight_ih_l{k}{end}"] = (width, features)
            shapes[f"weight_hh_l{k}{end}"] = (width, state)
            if bias:
                shapes[f"bias_ih_l{k}{end}"] = shapes[f"bias_hh_l{k}{end}"] = (width,)
            if proj_size:
                shapes[f"weight_hr_l{k}{end}"] = (proj_size, M)
    return {
        prefix + name: rng.uniform(-0.7, 0.7, shape).astype(dtype) for name, shape in shapes.items()
    }


def torch_output(cell: str, x: np.ndarray, w: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return ``output`` (N, T, dirs·M) of the last layer, as ``torch.nn`` documents it."""
    x = x.astype("float64")
    for k in range(sum(name.startswith("weight_ih") and "reverse" not in name for name in w)):
        ends = [end for end in ("", "_reverse") if f"weight_ih_l{k}{end}" in w]
        x = np.concatenate([_torch_layer(cell, x, w, k, end) for end in ends], axis=-1)
    return x


def _torch_layer(
    cell: str, x: np.ndarray, w: Mapping[str, np.ndarray], k: int, end: str
) -> np.ndarray:
    own = {f"{name}_l0{end}": w.get(f"{name}_l{k}{end}") for name in ("weight_ih", "weight_hh")}
    rows = len(own[f"weight_ih_l0{end}"])  # type: ignore[arg-type]
    for name in ("bias_ih", "bias_hh"):
        own[f"{name}_l0{end}"] = w.get(f"{name}_l{k}{end}", np.zeros(rows))
    projection = w.get(f"weight_hr_l{k}{end}")
    n, steps = x.shape[:2]
    h: Any = np.zeros((n, own[f"weight_hh_l0{end}"].shape[1]))  # type: ignore[union-attr]
    c: Any = np.zeros((n, rows // GATES[cell]))
    states: dict[int, np.ndarray] = {}
    for t in range(steps)[:: -1 if end else 1]:
        h, c = torch_step(cell, x[:, t], h, c, own, end)  # type: ignore[arg-type]
        h = h if projection is None else h @ projection.T
        states[t] = h
    return np.stack([states[t] for t in range(steps)], axis=1)


def safetensors(arrays: Mapping[str, np.ndarray], padding: int = 0) -> bytes:
    """Return a .safetensors file."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        raw = array.tobytes()
        header[name] = {  # type: ignore[assignment]
            "dtype": _DTYPES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + data


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _numbers(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"


def pickled_tensor(key: str, array: np.ndarray, **changes: Any) -> bytes:
    """Return the opcodes of a tensor; ``changes`` are other offset, shape, strides, length."""
    strides = tuple(step // array.itemsize for step in array.strides)
    given = {"offset": 0, "shape": array.shape, "strides": strides, "length": array.size, **changes}
    storage = f"ctorch\n{_STORAGES[str(array.dtype)]}\n".encode()
    identity = b"(" + _text("storage") + storage + _text(key) + _text("cpu")
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (identity + _number(given["length"]) + b"tQ")
        + (_number(given["offset"]) + _numbers(given["shape"]) + _numbers(given["strides"]))
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def pickled_dict(items: Mapping[str, bytes]) -> bytes:
    """Return the opcodes of an OrderedDict, with opcodes for its values."""
    pairs = b"".join(_text(name) + value for name, value in items.items())
    return b"ccollections\nOrderedDict\n)R(" + pairs + b"u"


def torch_zip(pickle: bytes, storages: Mapping[str, bytes], **more: bytes) -> bytes:
    """Return a .pt file with a pickle, of which this adds begin and end, and storages."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickle + b".")
        archive.writestr("archive/byteorder", "little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
        for name, data in more.items():
            archive.writestr(f"archive/{name}", data)
    return content.getvalue()


def torch_file(arrays: Mapping[str, np.ndarray], nested: str = "") -> bytes:
    """Return a .pt file of a state_dict, or of a checkpoint that has it under a name."""
    numbered = list(enumerate(arrays.items()))
    pickle = pickled_dict({name: pickled_tensor(str(i), a) for i, (name, a) in numbered})
    if nested:
        optimizer = pickled_dict({"state": pickled_dict({}), "lr": b"G" + struct.pack(">d", 0.1)})
        pickle = pickled_dict({nested: pickle, "optimizer": optimizer, "epoch": _number(3)})
    return torch_zip(pickle, {str(i): a.tobytes() for i, (_, a) in numbered})


def written(path: Path, data: bytes) -> Path:
    """Write a file, and return its path."""
    path.write_bytes(data)
    return path


# --- ONNX ---------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    number, raw = number % 2**64, b""
    while number > 0x7F:
        raw += bytes([number & 0x7F | 0x80])
        number >>= 7
    return raw + bytes([number])


def message(*fields: tuple[int, Any]) -> bytes:
    """Return a protobuf message of fields: integers, floats, texts or messages."""
    raw = b""
    for number, value in fields:
        if isinstance(value, int):
            raw += _varint(number << 3) + _varint(value)
        elif isinstance(value, float):
            raw += _varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            data = value.encode() if isinstance(value, str) else value
            raw += _varint(number << 3 | 2) + _varint(len(data)) + data
    return raw


def onnx_tensor(name: str, array: np.ndarray) -> bytes:
    """Return a TensorProto."""
    kinds = {"float32": 1, "int64": 7, "float16": 10, "float64": 11}
    dims = [(1, size) for size in array.shape]
    return message(*dims, (2, kinds[str(array.dtype)]), (8, name), (9, array.tobytes()))


def onnx_node(op_type: str, inputs: list[str], outputs: list[str], **attributes: Any) -> bytes:
    """Return a NodeProto, with attributes of integers, numbers, texts, lists and arrays."""
    fields: list[tuple[int, Any]] = [(1, name) for name in inputs]
    fields += [(2, name) for name in outputs] + [(4, op_type)]
    for name, value in attributes.items():
        each = value if isinstance(value, list) else [value]
        kinds = {int: (3, 8), float: (2, 7), str: (4, 9), np.ndarray: (5, 10)}
        number = kinds[type(each[0])][isinstance(value, list)]
        parts = [(number, onnx_tensor("", v) if isinstance(v, np.ndarray) else v) for v in each]
        fields.append((5, message((1, name), *parts)))
    return message(*fields)


def onnx_file(
    nodes: list[bytes],
    arrays: Mapping[str, np.ndarray] | None = None,
    producer: str = "hand",
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    shapes: Mapping[str, tuple[int | str, ...]] | None = None,
) -> bytes:
    """Return an ONNX file with nodes and initializers, and named inputs and outputs.

    ``shapes`` are those that it declares of its inputs.
    """
    tensors = [(5, onnx_tensor(name, array)) for name, array in (arrays or {}).items()]
    ends = [(11, _onnx_value(name, (shapes or {}).get(name, ()))) for name in inputs]
    ends += [(12, message((1, name))) for name in outputs]
    graph = message(*((1, node) for node in nodes), (2, "graph"), *tensors, *ends)
    return message((1, 9), (2, producer), (7, graph), (8, message((1, ""), (2, 17))))


def _onnx_value(name: str, shape: tuple[int | str, ...]) -> bytes:
    dims = [(1, message((1 if isinstance(size, int) else 2, size))) for size in shape]
    return message((1, name), (2, message((1, message((1, 1), (2, message(*dims)))))))


def onnx_weights(cell: str, D: int = 3, M: int = 5, dirs: int = 1, seed: int = 0) -> Arrays:
    """Return W, R and B of an operator."""
    rng, rows = np.random.default_rng(seed), GATES[cell] * M
    shapes = {"W": (dirs, rows, D), "R": (dirs, rows, M), "B": (dirs, 2 * rows)}
    return {k: rng.uniform(-0.7, 0.7, shape).astype("float32") for k, shape in shapes.items()}

"""Arrays of a .pt or .pth file: a zip archive of a pickle and of storages.

Source: ``torch/serialization.py`` and ``caffe2/serialize/inline_container.cc``.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.tensors import ITEM_BYTES, Tensor, check_shape, decode
from rnnshapes.load.foreign.torch_pickle import ADVICE, StoredTensor, read_pickle
from rnnshapes.load.foreign.zip_directory import Member, read_directory
from rnnshapes.load.saved.untrusted_json import printable

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

MOST_PICKLE = 16 * 2**20
#: How deep dicts in a checkpoint are searched for a state_dict, and how many values.
MOST_DEPTH, MOST_VALUES = 4, 200_000
#: Largest ratio of the size of all tensors to that of the file; tensors may share a storage.
MOST_SHARED = 32
_PICKLE = "data.pkl"
#: The keys that lead to a dict.
_Path = tuple[str | int, ...]
_SAVE_AGAIN = "load it in PyTorch, and save model.state_dict()"
#: The first bytes of files that PyTorch wrote before 1.6, and of other pickles.
_OLD_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def older_format(source: ByteSource) -> str:
    """Return what is wrong with a file of an older format, or an empty text."""
    head = source.head(512)
    if head.startswith(_OLD_MAGIC):
        return f"it is of a PyTorch before 1.6; {_SAVE_AGAIN} again"
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5":
        return f"it is a pickle, which could run code and is not read; {_SAVE_AGAIN}"
    if head[257:262] == b"ustar":
        return f"it is of a PyTorch before 0.4; {_SAVE_AGAIN} again"
    return ""


def torch_members(source: ByteSource) -> dict[str, Member] | None:
    """Return the members of an archive that PyTorch wrote; ``None`` for any other archive."""
    members = read_directory(source)
    names = {name.partition("/")[2] for name in members}
    if "config.json" in members or not names & {_PICKLE, "archive_format", "data.json"}:
        return None
    return members


def read_tensors(source: ByteSource, members: dict[str, Member]) -> tuple[list[Tensor], str]:
    """Return the arrays of the state_dict in a file, and where in a checkpoint it is.

    Raises:
        InputError: It holds no state_dict, several, or more than weights.
    """
    prefix = _prefix(members)
    content = read_pickle(members[f"{prefix}{_PICKLE}"].read(source, MOST_PICKLE))
    state_dict, path = _state_dict(content)
    order = members.get(f"{prefix}byteorder")
    big_endian = order is not None and order.read(source, 16).strip() == b"big"
    tensors, total = [], 0
    for key, stored in state_dict.items():
        name = printable(str(key))
        shape = _checked(name, stored)
        total += math.prod(shape) * ITEM_BYTES[stored.storage.dtype]
        member = members.get(f"{prefix}data/{stored.storage.key}")
        needed = stored.storage.length * ITEM_BYTES[stored.storage.dtype]
        if member is None or not member.is_plain or member.size < needed:
            raise InputError(f"the numbers of {name:.60} are not in it, or fewer than it says")
        if member.header + member.size > source.size:
            raise InputError(f"it ends before the numbers of {name:.60}")
        read = partial(_values, source, member, stored, shape, big_endian=big_endian)
        tensors.append(Tensor(name, stored.storage.dtype, shape, read))
    if total > MOST_SHARED * source.size:
        raise InputError(
            f"its tensors share storages: together they are more than {MOST_SHARED} times as large "
            "as the file; save {name: tensor.clone() for name, tensor in state_dict.items()}"
        )
    return tensors, path


def _prefix(members: dict[str, Member]) -> str:
    """Return the folder of the one pickle of weights."""
    folders = {name.partition("/")[0] + "/" for name in members}
    if len(folders) != 1:
        raise InputError("it has several folders, which no file of PyTorch has")
    (prefix,) = folders
    names = {name.removeprefix(prefix) for name in members}
    if "archive_format" in names or _PICKLE not in names:
        raise InputError(f"it is an exported program (.pt2); {_SAVE_AGAIN}")
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise InputError(
            "it is TorchScript, a program with its weights; load it with torch.jit.load, and save "
            "its state_dict()"
        )
    return str(prefix)


def _state_dict(content: Any) -> tuple[dict[Any, StoredTensor], str]:
    """Return the one dict of tensors, and its path in a checkpoint."""
    if isinstance(content, StoredTensor):
        raise InputError("it holds a single tensor; save model.state_dict()")
    if not isinstance(content, dict):
        raise InputError(ADVICE)
    found: list[tuple[_Path, dict[Any, StoredTensor]]] = []
    seen: set[int] = set()
    level: list[tuple[_Path, dict[Any, Any]]] = [((), content)]
    values = 0
    for _ in range(MOST_DEPTH):
        below: list[tuple[_Path, dict[Any, Any]]] = []
        for path, part in level:
            if id(part) in seen:
                continue
            seen.add(id(part))
            values += len(part)
            if values > MOST_VALUES:
                raise InputError(f"it has more than {MOST_VALUES:,} values; save the state_dict")
            tensors = {key: v for key, v in part.items() if isinstance(v, StoredTensor)}
            if _is_state_dict(path, tensors):
                found.append((path, tensors))
            below += [((*path, key), v) for key, v in part.items() if isinstance(v, dict)]
        level = below
    return _chosen(found)


def _is_state_dict(path: _Path, part: dict[Any, StoredTensor]) -> bool:
    """Return whether these are the weights of a model, with a matrix among them.

    An optimizer keeps the tensors of each parameter under its number.
    """
    key = path[-1] if path else ""
    is_number = isinstance(key, int) or (len(key) < 20 and key.isdecimal())
    return not is_number and any(len(tensor.shape) > 1 for tensor in part.values())


def _chosen(
    models: list[tuple[_Path, dict[Any, StoredTensor]]],
) -> tuple[dict[Any, StoredTensor], str]:
    if not models:
        raise InputError(f"it holds no state_dict, whose values are tensors; {_SAVE_AGAIN}")
    if len(models) > 1:
        names = ", ".join(_text(path)[:40] or "the top" for path, _ in models[:4])
        raise InputError(f"it holds several state_dicts ({names}); save the one that you mean")
    ((path, part),) = models
    return part, _text(path)


def _text(path: _Path) -> str:
    return printable(".".join(map(str, path)))


def _checked(name: str, stored: StoredTensor) -> tuple[int, ...]:
    """Return the shape of a tensor whose numbers lie within its storage."""
    shape, strides = check_shape(stored.shape, name), check_shape(stored.strides, name)
    offset, count = check_shape((stored.offset, stored.storage.length), name)
    if len(shape) != len(strides):
        raise InputError(f"{name:.60} has {len(shape)} axes and {len(strides)} strides")
    if 0 not in shape:
        if offset + _span(stored) > count:
            raise InputError(f"{name:.60} reaches beyond its storage")
        if math.prod(shape) > count:
            raise InputError(f"{name:.60} repeats its numbers; save a contiguous copy of it")
    return shape


def _span(stored: StoredTensor) -> int:
    """Return how many numbers of its storage lie from the first of a tensor to its last."""
    steps = zip(stored.shape, stored.strides, strict=True)
    return 1 + sum((size - 1) * stride for size, stride in steps)


def _values(
    source: ByteSource,
    member: Member,
    stored: StoredTensor,
    shape: tuple[int, ...],
    *,
    big_endian: bool,
) -> Array:
    """Return the numbers of a tensor, in its shape."""
    import numpy as np

    from rnnshapes import memory

    if 0 in shape:
        return decode(b"", stored.storage.dtype).reshape(shape)
    item, span = ITEM_BYTES[stored.storage.dtype], _span(stored)
    memory.require(2 * span * max(4, item), f"reading {span:,} numbers")
    data = source.read(member.start(source) + stored.offset * item, span * item)
    numbers = decode(data, stored.storage.dtype, big_endian=big_endian)
    strides = tuple(stride * numbers.itemsize for stride in stored.strides)
    return np.lib.stride_tricks.as_strided(numbers, shape, strides).copy()

"""Arrays that an ONNX graph computes from constants before a recurrent operator takes them.

PyTorch's exporters stack and join the weights of both directions with such operators.
Source: ``docs/Operators.md`` of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.onnx_graph import OnnxModel
from rnnshapes.load.foreign.tensors import ITEM_BYTES, MOST_AXES, Tensor
from rnnshapes.ops.onnx_ops import OnnxNode

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: How many operators may follow each other, and how often the bytes of the file may be moved.
MOST_DEPTH, MOST_MOVED = 64, 16

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Rearrangement:
    """What an operator does to shapes, and to arrays."""

    shape: Shape
    function: Callable[[Sequence[Array]], Array]


def add_constants(model: OnnxModel, size: int) -> dict[str, tuple[str, ...]]:
    """Add the arrays that nodes compute from constants, and return what each comes from.

    That of a Constant node comes from nothing.

    Args:
        model: The model, to whose arrays they are added.
        size: The size of its file in bytes, which limits the bytes that are moved for an array.
    """
    sources: dict[str, tuple[str, ...]] = {}
    costs = {name: (0, _cost(tensor)) for name, tensor in model.arrays.items()}
    for node in model.nodes:
        if len(node.outputs) != 1 or node.domain not in ("", "ai.onnx"):
            continue
        (name,) = node.outputs
        if name in model.arrays:
            continue
        if node.op_type == "Constant":
            tensor = _constant(name, node.attributes)
        else:
            tensor = _computed(model, name, node, costs)
        if tensor is None:
            continue
        depth, cost = 0, _cost(tensor)
        sources[name] = ()
        if node.op_type != "Constant":
            inputs = list(filter(None, node.inputs))
            sources[name] = tuple(dict.fromkeys(inputs))
            before = [costs[each] for each in inputs]
            depth = 1 + max(each[0] for each in before)
            cost += sum(each[1] for each in before)
        if depth <= MOST_DEPTH and cost <= MOST_MOVED * (size + 1024):
            model.arrays[name], costs[name] = tensor, (depth, cost)
    return sources


def _constant(name: str, attributes: dict[str, Any]) -> Tensor | None:
    """Return the array of a Constant node."""
    value = attributes.get("value")
    if isinstance(value, Tensor):
        return Tensor(name, value.dtype, value.shape, value.read)
    for key, kind, dtype in (("value_int", int, "int64"), ("value_float", float, "float32")):
        for value in (attributes.get(key), attributes.get(f"{key}s")):
            numbers = value if isinstance(value, list) else [value]
            if all(isinstance(number, kind) for number in numbers):
                return _of_numbers(name, value, dtype)
    return None


def _of_numbers(name: str, number: Any, dtype: str) -> Tensor:
    def read() -> Array:
        import numpy as np

        return np.array(number, dtype)

    return Tensor(name, dtype, (len(number),) if isinstance(number, list) else (), read)


def _cost(tensor: Tensor) -> int:
    """Return the bytes of an array, and some for each time that it is read, also if it is empty."""
    return 64 + tensor.count * ITEM_BYTES.get(tensor.dtype, 8)


def _computed(
    model: OnnxModel, name: str, node: OnnxNode, costs: Mapping[str, tuple[int, int]]
) -> Tensor | None:
    """Return what a node computes from constants; ``None`` if it is not one of these nodes."""
    make = _OPERATORS.get(node.op_type)
    inputs = [model.arrays.get(each) for each in node.inputs if each]
    if make is None or not inputs or any(each is None for each in inputs):
        return None
    arrays = [each for each in inputs if each is not None]
    data = arrays if node.op_type == "Concat" else arrays[:1]
    if any(costs[each.name][0] for each in arrays[len(data) :]):
        return None  # only constants of the file itself are indices
    try:
        made = make(arrays, node.attributes)
    except (LookupError, ValueError, TypeError, OverflowError):
        return None  # not a valid node: its output is no constant
    if len(made.shape) > MOST_AXES:
        return None

    def read() -> Array:
        from rnnshapes import memory

        memory.require(2 * _cost(tensor), f"computing {name:.60}")
        return made.function([array.read() for array in data])

    tensor = Tensor(name, arrays[0].dtype, made.shape, read)
    return tensor


def _numbers(arrays: Sequence[Tensor], position: int, attribute: Any) -> list[int] | None:
    """Return whole numbers from an input, or from an attribute in older versions."""
    if len(arrays) > position:
        tensor = arrays[position]
        if tensor.dtype not in ("int64", "int32") or tensor.count > MOST_AXES:
            raise ValueError("these are no indices")
        try:
            return [int(number) for number in tensor.read().reshape(-1)]
        except InputError as error:
            raise ValueError(str(error)) from None
    return None if attribute is None else list(attribute)


def _axes(axes: Sequence[Any], rank: int) -> list[int]:
    """Return axes counted from the front. Raises ValueError for a bad or a repeated one."""
    if not all(isinstance(axis, int) and -rank <= axis < rank for axis in axes):
        raise ValueError("no such axis")
    positive = [axis % rank for axis in axes]
    if len(set(positive)) < len(positive):
        raise ValueError("an axis twice")
    return positive


def _identity(arrays: Sequence[Tensor], attributes: dict[str, Any]) -> _Rearrangement:
    return _Rearrangement(arrays[0].shape, lambda values: values[0])


def _unsqueeze(arrays: Sequence[Tensor], attributes: dict[str, Any]) -> _Rearrangement:
    axes = _numbers(arrays, 1, attributes.get("axes")) or []
    rank = len(arrays[0].shape) + len(axes)
    new, rest = set(_axes(axes, rank)), iter(arrays[0].shape)
    shape = tuple(1 if axis in new else next(rest) for axis in range(rank))
    return _Rearrangement(shape, lambda values: values[0].reshape(shape))


def _squeeze(arrays: Sequence[Tensor], attributes: dict[str, Any]) -> _Rearrangement:
    old = arrays[0].shape
    axes = _numbers(arrays, 1, attributes.get("axes"))
    ones = {axis for axis, size in enumerate(old) if size == 1}
    gone = ones if axes is None else set(_axes(axes, len(old)))
    if not gone <= ones:
        raise ValueError("an axis is not of size 1")
    shape = tuple(size for axis, size in enumerate(old) if axis not in gone)
    return _Rearrangement(shape, lambda values: values[0].reshape(shape))


def _transpose(arrays: Sequence[Tensor], attributes: dict[str, Any]) -> _Rearrangement:
    old = arrays[0].shape
    order = attributes.get("perm") or list(range(len(old)))[::-1]
    if sorted(order) != list(range(len(old))):
        raise ValueError("no permutation")
    return _Rearrangement(tuple(old[axis] for axis in order), lambda v: v[0].transpose(order))


def _concat(arrays: Sequence[Tensor], attributes: dict[str, Any]) -> _Rearrangement:
    shapes = [array.shape for array in arrays]
    (axis,) = _axes([attributes["axis"]], len(shapes[0]))
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(rest) != 1:
        raise ValueError("shapes that do not fit")
    length = sum(shape[axis] for shape in shapes)
    shape = (*shapes[0][:axis], length, *shapes[0][axis + 1 :])

    def join(values: Sequence[Array]) -> Array:
        import numpy as np

        return np.concatenate(list(values), axis=axis)

    return _Rearrangement(shape, join)


def _slice(arrays: Sequence[Tensor], attributes: dict[str, Any]) -> _Rearrangement:
    starts = _numbers(arrays, 1, attributes.get("starts")) or []
    ends = _numbers(arrays, 2, attributes.get("ends")) or []
    old = arrays[0].shape
    axes = _axes(_numbers(arrays, 3, attributes.get("axes")) or range(len(starts)), len(old))
    steps = _numbers(arrays, 4, None) or [1] * len(starts)
    slices = [slice(None)] * len(old)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        slices[axis] = slice(start, end, step)
    shape = tuple(len(range(*part.indices(n))) for part, n in zip(slices, old, strict=True))
    return _Rearrangement(shape, lambda values: values[0][tuple(slices)])


_OPERATORS = MappingProxyType(
    {
        "Identity": _identity,
        "Unsqueeze": _unsqueeze,
        "Squeeze": _squeeze,
        "Transpose": _transpose,
        "Concat": _concat,
        "Slice": _slice,
    }
)

"""Sizes that an ONNX graph computes from shapes, and what Reshape does with them.

Exporters write Shape, Slice, Gather, Mul and Concat before a Reshape, to keep the number of
samples and of time steps open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.tensors import Tensor
from rnnshapes.ops.onnx_ops import OnnxNode

#: A size: a number, or the letters of open axes, whose sizes are multiplied.
Size = int | str
Sizes = tuple[Size, ...]
#: More axes, and more numbers, than a tensor around a recurrence has.
_MOST_AXES, _MOST_NUMBERS = 8, 2**48


class Axis(NamedTuple):
    """An axis of a tensor: its letter, its size if it is known, and whether others are allowed."""

    letter: str
    number: int | None
    is_open: bool = False

    @property
    def size(self) -> Size:
        """The size as a Shape node returns it."""
        return self.letter if self.is_open or self.number is None else self.number


class ComputedSizes:
    """The integers of a graph, by name: constants, shapes, and what is computed from both.

    A single number and a list of one are not told apart.

    Args:
        arrays: The arrays of the graph.
        sources: Of those that it computes from others, the names of these.
    """

    def __init__(
        self, arrays: Mapping[str, Tensor], sources: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._arrays, self._sources = arrays, sources
        self._computed: dict[str, Sizes] = {}

    def of(self, name: str) -> Sizes | None:
        """Return the integers of this name; ``None`` if they are not known."""
        tensor = self._arrays.get(name)
        if tensor is None or self._sources.get(name):
            return self._computed.get(name)
        if tensor.dtype not in ("int64", "int32") or tensor.count > _MOST_AXES:
            return None
        try:
            return tuple(int(number) for number in tensor.read().reshape(-1))
        except InputError:  # its numbers are not in the file
            return None

    def add_shape(self, node: OnnxNode, shape: Sizes) -> None:
        """Note the output of a Shape node whose input has this shape."""
        start, end = (node.attributes.get(key, other) for key, other in (("start", 0), ("end", 8)))
        if isinstance(start, int) and isinstance(end, int):
            self._computed |= dict.fromkeys(node.outputs, shape[start:end])

    def rename(self, letters: Mapping[str, Size]) -> None:
        """Give open axes other letters, or their sizes."""
        computed, self._computed = self._computed, {}
        for name, old in computed.items():
            new = [product([letters[n] for n in s]) if isinstance(s, str) else s for s in old]
            sizes = tuple(size for size in new if size is not None)
            if len(sizes) == len(old):
                self._computed[name] = sizes

    def add(self, node: OnnxNode) -> None:
        """Note the output of a node that computes sizes from sizes."""
        function = _OPERATORS.get(node.op_type)
        is_standard = node.domain in ("", "ai.onnx")
        if function is None or not is_standard or len(node.inputs) > _MOST_AXES:
            return
        inputs = [self.of(name) for name in node.inputs]
        known = [sizes for sizes in inputs if sizes is not None]
        if not known or len(known) < len(inputs):
            return
        sizes = function(known, node.attributes)
        if sizes is not None and len(sizes) <= _MOST_AXES:
            self._computed |= dict.fromkeys(node.outputs, sizes)


def _first(inputs: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes | None:
    return inputs[0]


def _concat(inputs: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes | None:
    return sum(inputs, ())


def _gather(inputs: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes | None:
    if len(inputs) != 2:
        return None
    data, indices = inputs
    if not all(isinstance(n, int) and -len(data) <= n < len(data) for n in indices):
        return None
    return tuple(data[int(number)] for number in indices)


def _slice(inputs: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes | None:
    if len(inputs) < 3 or inputs[3:] not in ([], [(0,)], [(0,), (1,)]):
        return None
    ends = [each[0] if len(each) == 1 else "" for each in inputs[1:3]]
    if not all(isinstance(end, int) for end in ends):
        return None
    return inputs[0][slice(*map(int, ends))]


def product(sizes: Sequence[Size]) -> Size | None:
    """Return the product of sizes.

    Returns:
        The product; ``None`` for that of a number and an open axis, and if no tensor has it.
    """
    letters = "".join(sorted(size for size in sizes if isinstance(size, str)))
    number = math.prod(size for size in sizes if isinstance(size, int))
    if (letters and number != 1) or len(letters) > _MOST_AXES or abs(number) > _MOST_NUMBERS:
        return None
    return letters or number


def _mul(inputs: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes | None:
    if [len(sizes) for sizes in inputs] != [1, 1]:
        return None
    return _reduce_prod([inputs[0] + inputs[1]], attributes)


def _reduce_prod(inputs: Sequence[Sizes], attributes: Mapping[str, Any]) -> Sizes | None:
    size = product(inputs[0])
    return None if size is None else (size,)


_OPERATORS: Mapping[str, Callable[[Sequence[Sizes], Mapping[str, Any]], Sizes | None]] = (
    MappingProxyType(
        {
            "Cast": _first,
            "Identity": _first,
            "Reshape": _first,
            "Squeeze": _first,
            "Unsqueeze": _first,
            "Concat": _concat,
            "Gather": _gather,
            "Slice": _slice,
            "Mul": _mul,
            "ReduceProd": _reduce_prod,
        }
    )
)


def match_reshape(axes: Sequence[Axis], sizes: Sizes, old: Sequence[str]) -> tuple[str, ...] | None:
    """Return the old axes that Reshape joins into each new axis.

    Reshape keeps numbers in their order, so that a new axis takes axes that follow each other.

    Args:
        axes: The axes one by one.
        sizes: The new sizes: 0 copies that of the old axis there, and -1 is the rest.
        old: The letters of the axes that the tensor has now.

    Returns:
        The letters of each new axis; ``None`` if the sizes do not say it, or not uniquely.
    """
    if sizes.count(-1) > 1:
        return None
    groupings = [
        groups
        for groups in _divided(axes, len(sizes))
        if all(_fits(*each, old) for each in zip(range(len(sizes)), groups, sizes, strict=True))
    ]
    return (
        tuple("".join(axis.letter for axis in g) for g in groupings[0])
        if len(groupings) == 1
        else None
    )


def _divided(axes: Sequence[Axis], parts: int) -> Iterator[list[Sequence[Axis]]]:
    """Yield the ways to divide axes into parts, in their order."""
    if 0 < parts <= len(axes) <= _MOST_AXES:
        for ends in combinations(range(1, len(axes)), parts - 1):
            bounds = [0, *ends, len(axes)]
            yield [axes[a:b] for a, b in pairwise(bounds)]


def _fits(position: int, group: Sequence[Axis], size: Size, old: Sequence[str]) -> bool:
    if size == -1:
        return True
    if size == 0:
        return position < len(old) and "".join(axis.letter for axis in group) == old[position]
    if isinstance(size, str):
        return product([axis.size for axis in group]) == size
    numbers = [axis.number for axis in group if axis.number is not None]
    return len(numbers) == len(group) and math.prod(numbers) == size

"""Whether data fits a network, and if not, in the words of N, T and D, what would make it fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load.inputs import ArrayInput, array_input, read_input
from rnnshapes.network.graph import MEANING, Network, Node
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.normalization import Embedding
from rnnshapes.ops.dims import shape_text

#: A shape as the model wants it, ``None`` where any size will do.
Wanted = tuple[int | None, ...]
_ORDINALS = ("first", "second", "third", "fourth")


def match_input(
    network: Network, x: Any, stated: Mapping[str, object]
) -> tuple[Network, list[ArrayInput]]:
    """The network with the sizes of the data, and the data with the axes that it takes.

    For several inputs ``x`` is a list, a mapping by name, or a .npz file with an array for each.
    ``stated`` are sizes that the user gave. Raises InputError, which says what would fit, for
    data of another shape, and where data, model and sizes contradict each other.
    """
    found = []
    for node, part in zip(network.inputs, _parts(network, x), strict=True):
        layer = node.layer
        assert isinstance(layer, Input)
        data = _shaped(part, node, network)
        names = [str(dim) for dim in layer.shape]  # T says it of T1 and of T2
        check_stated_sizes(
            data, {n: stated.get(n, stated.get(n.rstrip("0123456789"))) for n in names}
        )
        if layer.integers:
            _check_indices(network, node, data)
        named = zip(layer.shape, data.array.shape, strict=True)
        network = network.with_sizes(**{str(dim): n for dim, n in named if dim.names})
        found.append(data)
    return network, found


def _parts(network: Network, x: Any) -> list[ArrayInput]:
    nodes = network.inputs
    if len(nodes) == 1 and not isinstance(x, Mapping):
        return [_data(x, "x")]
    names = ", ".join(node.name for node in nodes)
    if isinstance(x, str | Path):
        if Path(x).suffix.lower() != ".npz":
            raise InputError(
                f"{x}: the model has {len(nodes)} inputs; give a .npz file with an array for "
                f"each, by their names: {names}"
            )
        return [read_input(Path(x), None, node.name) for node in nodes]
    values = list(x.values()) if isinstance(x, Mapping) else list(x)
    if len(values) != len(nodes):
        raise InputError(
            f"the model has {len(nodes)} inputs ({names}), {len(values)} were given; "
            "give x as a list with one array for each"
        )
    return [_data(value, f"x[{i}]") for i, value in enumerate(values)]


def _data(x: Any, name: str) -> ArrayInput:
    return read_input(Path(x), None) if isinstance(x, str | Path) else array_input(x, name, None)


def check_stated_sizes(data: ArrayInput, stated: Mapping[str, object]) -> None:
    """Raise InputError, naming both, if a size that the user gave contradicts the data."""
    shape = data.array.shape
    for (name, size), found in zip(stated.items(), shape, strict=True):
        if size is not None and size != found:
            raise InputError(
                f"{data.description}: its shape {shape_text(stated)} is {shape_text(shape)}, "
                f"so {name} ({_meaning(name)}) is {found}, but {name} was given as {size} "
                f"(--{name} {size}); leave {name} out or give other data"
            )


def _meaning(name: str) -> str:
    return MEANING.get(name[0], "of this input")


def _shaped(data: ArrayInput, node: Node, network: Network) -> ArrayInput:
    """The data with the axis of samples that a single one may leave out."""
    layer = node.layer
    assert isinstance(layer, Input)
    wanted = network.numbers(layer.shape)
    if layer.integers and data.description.lower().endswith(".csv") and data.array.shape[-1] == 1:
        data = replace(data, array=data.array[..., 0])  # a line is a step, and has one index
        data = data if data.array.ndim > 1 else replace(data, array=data.array[None])
    shape = data.array.shape
    if _fits(shape, wanted):
        return data
    if _fits((1, *shape), wanted):
        return replace(data, array=data.array[None])
    axes = shape_text(layer.shape)
    advice = next(_changes(shape, layer, wanted), "no one change of its axes would make it fit")
    raise InputError(
        f"{data.description}: its shape is {shape_text(shape)}, and the model takes {axes} = "
        f"{shape_text(['N', *wanted[1:]] if wanted[0] is None else wanted)}; {advice}"
    )


def _fits(shape: Sequence[int], wanted: Wanted) -> bool:
    return len(shape) == len(wanted) and all(
        size in (None, found) for found, size in zip(shape, wanted, strict=True)
    )


def _changes(shape: tuple[int, ...], layer: Input, wanted: Wanted) -> Iterator[str]:
    """Changes of which each alone would make it fit, the most likely first."""
    yield from _turned(shape, "", wanted)
    if _fits((*shape, 1), wanted):
        yield "the axis of features is missing: x[..., None] has one"
    yield from _turned((1, *shape), "[None]", wanted)
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    for axis in reversed(ones):
        left = (*shape[:axis], *shape[axis + 1 :])
        if _fits(left, wanted) or _fits((1, *left), wanted):
            yield f"its {_ordinal(axis)} axis, of size 1, is not wanted: x.squeeze({axis})"
    yield from _resized(shape, layer, wanted)


def _turned(shape: tuple[int, ...], lead: str, wanted: Wanted) -> Iterator[str]:
    """Another order of the axes."""
    for order in itertools.permutations(range(len(shape))) if len(shape) == len(wanted) else ():
        turned = [shape[axis] for axis in order]
        if _fits(turned, wanted):
            one = f"x{lead}.transpose{order}"
            yield f"its axes are in another order: {one} has shape {shape_text(turned)}"


def _resized(shape: tuple[int, ...], layer: Input, wanted: Wanted) -> Iterator[str]:
    """Changes that cut numbers, or give them other axes."""
    rank, last = len(wanted), wanted[-1]
    names = [str(dim) for dim in layer.shape]
    if rank == 3 and last is not None and len(shape) == 2 and shape[-1] % last == 0:
        steps = shape[-1] // last
        if steps > 1 and wanted[1] in (None, steps):
            yield f"if a row is {steps} steps of {last} features: x.reshape(-1, {steps}, {last})"
    if len(shape) not in (rank - 1, rank):
        yield f"it has {len(shape)} axes, and {rank} are wanted ({', '.join(names)})"
        return
    full = shape if len(shape) == rank else (1, *shape)
    wrong = [axis for axis in range(rank) if wanted[axis] not in (None, full[axis])]
    if len(wrong) != 1:
        return
    axis, size, found = wrong[0], wanted[wrong[0]] or 0, full[wrong[0]]
    what = f"{names[axis]} ({_meaning(names[axis])}) is {found}, and {size} {_be(size)} wanted"
    cut = f"x[..., {{}}{size}]" if axis == rank - 1 else f"x[:, {{}}{size}]"
    if found == size + 1 and axis == rank - 1:
        yield f"{what}: if its first column is an index or a time, x[..., 1:] is without it"
    elif found > size:
        yield f"{what}: leave {found - size} out, as {cut.format(':')} does"
    else:
        yield f"{what}: {size - found} {_be(size - found)} missing"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _ordinal(axis: int) -> str:
    return _ORDINALS[axis] if axis < len(_ORDINALS) else f"{axis + 1}th"


def _check_indices(network: Network, node: Node, data: ArrayInput) -> None:
    position = network.nodes.index(node)
    tables = [
        network.count(n.layer.words)
        for n in network.nodes
        if isinstance(n.layer, Embedding) and n.sources[0].node == position
    ]
    if not tables:  # what takes them is not derived
        return
    words = min(tables)
    numbers = data.array
    wrong = ~((numbers == np.floor(numbers)) & (numbers >= 0) & (numbers < words))
    if wrong.any():
        sample, t = np.unravel_index(int(np.argmax(wrong)), wrong.shape)[:2]
        raise InputError(
            f"{data.description}: indices for an Embedding are whole numbers from 0 to "
            f"{words - 1}; at sample {sample}, t {t} there is {numbers[sample, t]:g}"
        )

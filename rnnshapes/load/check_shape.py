"""Checks that data fits a network; if not, the message says what would make it fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load.inputs import ArrayInput, layers_fed_by, load, read_input
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.embedding import Embedding
from rnnshapes.network.sizes import SIZE_MEANINGS
from rnnshapes.ops.dims import shape_text

#: The shape that a model takes, with ``None`` for an axis of any size.
ExpectedShape = tuple[int | None, ...]
_ORDINALS = ("first", "second", "third", "fourth")


def match_input(
    network: Network, x: Any, stated: Mapping[str, object]
) -> tuple[Network, list[ArrayInput]]:
    """Return the network with the sizes of the data, and the data with the axes that it takes.

    Args:
        network: The network; some of its sizes may be open.
        x: An array or a file. For several inputs a list, a mapping by their names, or a .npz
            file with an array for each.
        stated: Sizes that the user gave, by their names.

    Raises:
        InputError: The data has another shape (the message says what would fit), or data, model
            and sizes contradict each other.
    """
    inputs = []
    for node, raw in zip(network.inputs, _input_arrays(network, x), strict=True):
        layer = node.layer
        assert isinstance(layer, Input)
        data = _with_sample_axis(raw, node, network)
        names = [str(dim) for dim in layer.shape]  # T states it for T1 and T2
        sizes = [(name, stated.get(name, stated.get(name.rstrip("0123456789")))) for name in names]
        check_stated_sizes(data, sizes)
        if layer.integers:
            _check_indices(network, node, data)
        axes = zip(layer.shape, data.array.shape, strict=True)
        network = network.with_sizes(**{str(dim): n for dim, n in axes if dim.names})
        inputs.append(data)
    return network, inputs


def _input_arrays(network: Network, x: Any) -> list[ArrayInput]:
    """Return the data for each input of the network, as it was given."""
    nodes = network.inputs
    if len(nodes) == 1 and not isinstance(x, Mapping):
        return [load(x, "x")]
    names = ", ".join(node.name for node in nodes)
    if isinstance(x, str | Path):
        if Path(x).suffix.lower() != ".npz":
            raise InputError(
                f"{x}: the model has {len(nodes)} inputs; give a .npz file with an array for "
                f"each, by their names: {names}"
            )
        return [read_input(Path(x), node.name) for node in nodes]
    if isinstance(x, Mapping) and len(nodes) > 1:
        if set(x) != {node.name for node in nodes}:
            raise InputError(
                f"the model has the inputs {names}; the dictionary has "
                f"{', '.join(map(str, x)) or 'none'}; give it an array for each, by these names"
            )
        x = {node.name: x[node.name] for node in nodes}
    values = list(x.values() if isinstance(x, Mapping) else x)
    if len(values) != len(nodes):
        raise InputError(
            f"the model has {len(nodes)} inputs ({names}), {len(values)} were given; "
            "give x as a list with one array for each"
        )
    return [load(value, f"x[{i}]") for i, value in enumerate(values)]


def check_stated_sizes(data: ArrayInput, stated: Sequence[tuple[str, object]]) -> None:
    """Raise InputError if a size that the user gave contradicts the data.

    Args:
        data: The data.
        stated: The name of each axis of the data, and the size that was given for it or ``None``.
    """
    names, shape = [name for name, _ in stated], data.array.shape
    for (name, size), actual in zip(stated, shape, strict=True):
        if size is not None and size != actual:
            raise InputError(
                f"{data.description}: its shape {shape_text(names)} is {shape_text(shape)}, "
                f"so {name} ({_meaning(name)}) is {actual}, but {name} was given as {size} "
                f"(--{name} {size}); leave {name} out or give other data"
            )


def _meaning(name: str) -> str:
    return SIZE_MEANINGS.get(name[0], "of this input")


def _with_sample_axis(data: ArrayInput, node: Node, network: Network) -> ArrayInput:
    """Return the data with the axis of samples, which a single sample may lack.

    Raises InputError, with a change that would make it fit, for data of another shape.
    """
    layer = node.layer
    assert isinstance(layer, Input)
    expected = network.shape_numbers(layer.shape)
    if layer.integers and data.description.lower().endswith(".csv") and data.array.shape[-1] == 1:
        data = replace(data, array=data.array[..., 0])  # a line is a step, and has one index
        data = data if data.array.ndim > 1 else replace(data, array=data.array[None])
    shape = data.array.shape
    if _fits(shape, expected):
        return data
    if _fits((1, *shape), expected):
        return replace(data, array=data.array[None])
    axes = shape_text(layer.shape)
    advice = next(_changes(shape, layer, expected), "no one change of its axes would make it fit")
    raise InputError(
        f"{data.description}: its shape is {shape_text(shape)}, and the model takes {axes} = "
        f"{shape_text(['N', *expected[1:]] if expected[0] is None else expected)}; {advice}"
    )


def _fits(shape: Sequence[int], expected: ExpectedShape) -> bool:
    return len(shape) == len(expected) and all(
        size in (None, actual) for actual, size in zip(shape, expected, strict=True)
    )


def _changes(shape: tuple[int, ...], layer: Input, expected: ExpectedShape) -> Iterator[str]:
    """Yield changes of which each alone would make it fit, the most likely first."""
    yield from _transposed(shape, "", expected)
    if _fits((*shape, 1), expected):
        yield "add the feature axis: x[..., None]"
    yield from _transposed((1, *shape), "[None]", expected)
    for axis in (axis for axis in reversed(range(len(shape))) if shape[axis] == 1):
        squeezed = (*shape[:axis], *shape[axis + 1 :])
        if _fits(squeezed, expected):
            yield f"remove its {_ordinal(axis)} axis of size 1: x.squeeze({axis})"
    yield from _resized(shape, layer, expected)


def _transposed(shape: tuple[int, ...], index: str, expected: ExpectedShape) -> Iterator[str]:
    """Yield other orders of the axes; ``index`` is the code that gives x this shape."""
    for order in itertools.permutations(range(len(shape))) if len(shape) == len(expected) else ():
        transposed = [shape[axis] for axis in order]
        if _fits(transposed, expected):
            code = f"x{index}.transpose{order}"
            yield f"its axes are in another order: {code} has shape {shape_text(transposed)}"


def _resized(shape: tuple[int, ...], layer: Input, expected: ExpectedShape) -> Iterator[str]:
    """Yield changes that remove numbers, or give them other axes."""
    rank, features = len(expected), expected[-1]
    names = [str(dim) for dim in layer.shape]
    if rank == 3 and features is not None and len(shape) == 2 and shape[-1] % features == 0:
        steps = shape[-1] // features
        if steps > 1 and expected[1] in (None, steps):
            code = f"x.reshape(-1, {steps}, {features})"
            yield f"if a row is {steps} steps of {features} features: {code}"
    if len(shape) not in (rank - 1, rank):
        yield f"it has {len(shape)} axes, and {rank} are expected ({', '.join(names)})"
        return
    full = shape if len(shape) == rank else (1, *shape)
    wrong = [axis for axis in range(rank) if expected[axis] not in (None, full[axis])]
    if len(wrong) != 1:
        return
    axis, size, actual = wrong[0], expected[wrong[0]] or 0, full[wrong[0]]
    fact = f"{names[axis]} ({_meaning(names[axis])}) is {actual}, and {size} {_be(size)} expected"
    cut = f"x[..., {{}}{size}]" if axis == rank - 1 else f"x[:, {{}}{size}]"
    if actual == size + 1 and axis == rank - 1:
        yield f"{fact}: if its first column is an index or a time, x[..., 1:] is without it"
    elif actual > size:
        yield f"{fact}: leave {actual - size} out, as {cut.format(':')} does"
    else:
        yield f"{fact}: {size - actual} {_be(size - actual)} missing"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _ordinal(axis: int) -> str:
    return _ORDINALS[axis] if axis < len(_ORDINALS) else f"{axis + 1}th"


def _check_indices(network: Network, node: Node, data: ArrayInput) -> None:
    """Raise InputError for an index that an Embedding fed by this input does not have."""
    users = layers_fed_by(network, node)
    tables = [network.count(user.words) for user in users if isinstance(user, Embedding)]
    if not tables:  # the layer that takes the indices is unsupported
        return
    words = min(tables)
    indices = data.array
    wrong = ~((indices == np.floor(indices)) & (indices >= 0) & (indices < words))
    if wrong.any():
        sample, t, *inner = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        raise InputError(
            f"{data.description}: indices for an Embedding are integers from 0 to {words - 1}; "
            f"at sample {sample}, t {t} there is {indices[(sample, t, *inner)]:g}"
        )

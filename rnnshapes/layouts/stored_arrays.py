"""Recurrent layers in the layout of a framework: symbolic shapes, gates and numbers of each array.

PyTorch's arrays are called ``weight_ih_l0``, those of the second direction end in ``_reverse``;
ONNX's arrays hold both directions.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rnnshapes.cells.cell import Cell, Weight
from rnnshapes.errors import UnsupportedError
from rnnshapes.layouts.equation_parts import from_parts
from rnnshapes.layouts.frameworks import layout_of
from rnnshapes.layouts.layout import CellLayout, stored_weight
from rnnshapes.network.layers.base import Direction, Layer
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim

#: The frameworks in whose layout recurrent layers can be written, beside Keras.
FRAMEWORKS = ("PyTorch", "ONNX")
#: What the names of PyTorch's arrays end in, for each direction.
_ENDS = ("_l0", "_l0_reverse")


def lay_out(layer: Layer, weights: Weights, framework: str) -> list[tuple[Weight, Array]]:
    """Return the arrays of a recurrent layer as a framework has them.

    A second bias that Keras does not have is zeros.

    Args:
        layer: The layer.
        weights: The weights of the network.
        framework: ``PyTorch`` or ``ONNX``.

    Raises:
        UnsupportedError: the framework has no such cell.
    """
    directions = sorted(layer.directions, key=lambda direction: direction.reverse)
    cells = [_cell(layer, direction, framework) for direction in directions]
    kinds = {(type(c), c.units, c.use_bias, getattr(c, "reset_after", None)) for c in cells}
    if len(kinds) > 1:
        reason = "its directions differ in cell, units, use_bias or reset_after"
        raise _refused(layer, framework, reason)
    layout = _layout(layer, cells[0], framework)
    parts = [_parts(d, cell, weights) for d, cell in zip(directions, cells, strict=True)]
    held = {part for array in layout.arrays for part in array.parts}
    names = {weight.key: weight.name for weight in directions[0].weights}
    if unheld := sorted(names[part] for part in set(parts[0]) - held):
        raise _refused(layer, framework, f"{layout.class_name} has no {', '.join(unheld)}")
    return list(_arrays(layout, directions, cells[0], parts))


def stored_names(layer: Layer) -> Iterator[str]:
    """Yield the names that the arrays of a recurrent layer have in any framework."""
    for framework, cell in itertools.product(FRAMEWORKS, layer.cells):
        with contextlib.suppress(KeyError):
            for array in layout_of(framework, cell.name).arrays:
                ends = ("",) if array.by_direction else _ENDS
                yield from (array.name + end for end in ends)


def _arrays(
    layout: CellLayout,
    directions: Sequence[Direction],
    cell: Cell,
    parts: Sequence[Mapping[str, Array]],
) -> Iterator[tuple[Weight, Array]]:
    """Yield each array that holds parts of the equation: of all directions, or of one."""
    sizes = {"D": directions[0].features, "M": cell.units, "P": cell.output}
    sizes["dirs"] = Dim.of(len(directions))
    for array in layout.arrays:
        if not set(array.parts) <= set(parts[0]):
            continue
        index = directions[0].index.rstrip("→←")
        groups: list[tuple[str, str, Sequence[Mapping[str, Array]]]] = [(array.name, index, parts)]
        if not array.by_direction:
            groups = [
                (array.name + end, direction.index, [own])
                for end, direction, own in zip(_ENDS, directions, parts, strict=False)
            ]
        for name, index, own_parts in groups:
            values = from_parts(array, own_parts, layout.gates, cell.gate_names)
            yield stored_weight(array, layout, sizes, name, index), np.ascontiguousarray(values)


def _parts(direction: Direction, cell: Cell, weights: Weights) -> dict[str, Array]:
    """Return the parts of the equation, with a bias of the input and one of the state."""
    own = {key: np.asarray(values) for key, values in weights[direction.name].items()}
    if cell.use_bias and "bx" not in own:
        bias = own["bh"]
        own["bx"], own["bh"] = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    return own


def _cell(layer: Layer, direction: Direction, framework: str) -> Cell:
    """Return the only cell of a direction."""
    cells = list(direction.cell.cells_by_suffix.values())
    if len(cells) > 1:
        raise _refused(layer, framework, "the layer has a stack of cells; use a layer each")
    return cells[0]


def _layout(layer: Layer, cell: Cell, framework: str) -> CellLayout:
    """Return the layout of a cell."""
    try:
        layout = layout_of(framework, cell.name)
    except KeyError:
        raise _refused(layer, framework, f"it has no {cell.class_name}") from None
    if framework == "PyTorch" and getattr(cell, "reset_after", True) is False:
        raise _refused(
            layer, framework, "its GRU applies r after the product with Wh (reset_after)"
        )
    return layout


def _refused(layer: Layer, framework: str, reason: str) -> UnsupportedError:
    return UnsupportedError(
        f"layer {layer.name!r} ({layer.label}) has no layout in {framework}: {reason}"
    )

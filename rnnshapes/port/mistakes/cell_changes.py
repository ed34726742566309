"""Changes of cells and of their arrays, in all recurrences of a hypothesis or in some of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rnnshapes.cells.cell import BaseCell, Cell
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, recast

Arrays = dict[str, Array]
#: Takes a cell and its arrays, by key, and returns both as a port with a mistake has them; as they
#: are, if the cell cannot have that mistake.
CellChange = Callable[[Cell, Arrays], tuple[Cell, Arrays]]
#: The arrays of a cell in Keras, by their keys.
ARRAY_NAMES = {"Wx": "kernel", "Wh": "recurrent_kernel", "bh": "bias"}


# --- Changes ------------------------------------------------------------------------------------


def array_change(
    read: Callable[[Array], Array], *keys: str, gates: tuple[str, ...] | None = None
) -> CellChange:
    """Return a change that reads some arrays otherwise, by their keys, or all.

    ``gates`` are those of the cells that can have the mistake; by default all can.
    """

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        if gates not in (None, cell.gate_names):
            return cell, arrays
        return cell, {key: read(a) if key in keys or not keys else a for key, a in arrays.items()}

    return change


def block_change(read: Callable[[Array, int], Array], *keys: str) -> CellChange:
    """Return a change that reads some arrays otherwise, or all, as :func:`array_change` does.

    ``read`` takes the number of blocks, too.

    An array has a block of columns for each gate; that of a cell without gates is one block.
    """

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        count = max(1, len(cell.gate_names))
        return cell, {
            key: read(a, count) if key in keys or not keys else a for key, a in arrays.items()
        }

    return change


def step_change(step: Callable[..., Any], *names: str) -> CellChange:
    """Return a change of the step of all cells that have states or gates with these names.

    Args:
        step: Takes the cell, its right step, and what a step takes: ops, x Wx, states, weights.
        names: The names of states and gates.
    """

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        if not {*names} <= {*cell.state_names, *cell.gate_names}:
            return cell, arrays
        kind = type(cell)

        def changed(self: Any, *arguments: Any) -> Any:
            return step(self, partial(kind.step, self), *arguments)

        return recast(cell, step=changed), arrays

    return change


class WithLet:
    """An interpreter with another ``let``, which sees each value of an equation by its name."""

    def __init__(self, ops: Any, let: Callable[[str, Any], Any]) -> None:
        self.ops, self.let = ops, let

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)


# --- Hypotheses with changed cells --------------------------------------------------------------


def changed_cells(hypothesis: Hypothesis, mistake: Mistake, change: CellChange) -> Variations:
    """Yield the mistake with the hypothesis whose cells have it, unless none can have it."""
    changed = with_change(hypothesis, change)
    if changed is not None:
        yield mistake, changed


def with_change(hypothesis: Hypothesis, change: CellChange) -> Hypothesis | None:
    """Return the hypothesis with every cell changed, or ``None`` where nothing changes."""
    weights = dict(hypothesis.weights)
    cells: dict[str, BaseCell] = {}
    touched = set()
    # A layer that is called again has the same cell each time.
    for name, direction in {one.name: one for one in directions_of(hypothesis)}.items():
        cell, changed = _changed_cell(direction, weights[name], change)
        if differ(changed, weights[name]):
            weights[name] = {**weights[name], **changed}
            touched.add(name)
        if cell != direction.cell:
            touched.add(name)
            cells[name] = cell
    if not touched:
        return None
    network = _with_cells(hypothesis.network, cells) if cells else hypothesis.network
    return replace(hypothesis, network=network, weights=weights, touched=frozenset(touched))


def one_array_of(
    hypothesis: Hypothesis, id_: str, name: str, other: str, where: Where
) -> Variations:
    """Give a group of weights one array of another group, if both have one shape."""
    for key, array_name in _differing_arrays(hypothesis, name, other):
        text = f"{name} has the {array_name} of {other}"
        mistake = Mistake(id_, text, where._replace(array=array_name))
        array = hypothesis.weights[other][key]
        yield mistake, hypothesis.with_arrays(name, {key: array})


def exchanged_arrays(
    hypothesis: Hypothesis, id_: str, name: str, other: str, where: Where
) -> Variations:
    """Exchange one array of two groups of weights, if both have one shape."""
    for key, array_name in _differing_arrays(hypothesis, name, other):
        mistake = Mistake(
            id_,
            f"the {array_name} of {name} and that of {other} are exchanged",
            where._replace(array=array_name),
            f"give {name} and {other} each its own {array_name}",
        )
        own, others = (hypothesis.weights[group][key] for group in (name, other))
        changed = hypothesis.with_arrays(name, {key: others})
        yield mistake, changed.with_arrays(other, {key: own})


def _differing_arrays(hypothesis: Hypothesis, name: str, other: str) -> Iterator[tuple[str, str]]:
    """Yield key and name of each array of one shape, and other numbers, in both groups."""
    own, others = hypothesis.weights[name], hypothesis.weights[other]
    for key in (key for key in ARRAY_NAMES if key in own and key in others):
        same = own[key].shape == others[key].shape
        if same and not np.array_equal(own[key], others[key]):
            yield key, ARRAY_NAMES[key]


def _with_cells(network: Network, cells: Mapping[str, BaseCell]) -> Network:
    """Return the network with other cells, by the names of their directions."""

    def direction_of(direction: Direction) -> Direction:
        return replace(direction, cell=cells.get(direction.name, direction.cell))

    nodes = [
        replace(node, layer=node.layer.map_directions(direction_of))
        if isinstance(node.layer, RecurrentLayer)
        else node
        for node in network.nodes
    ]
    return network.with_nodes(tuple(nodes))


def _changed_cell(
    direction: Direction, weights: Mapping[str, Array], change: CellChange
) -> tuple[BaseCell, Arrays]:
    """Return the changed cell of a direction, and the weights that are changed."""
    cells: dict[str, Cell] = {}
    changed_weights: Arrays = {}
    for suffix, cell in direction.cell.cells_by_suffix.items():
        keys = [key.removesuffix(suffix) for key in weights if key.endswith(suffix)]
        # A port adds to a bias in its own arithmetic, which may be float64.
        arrays = {key: np.asarray(weights[key + suffix], np.float64) for key in keys}
        cells[suffix], changed = change(cell, dict(arrays))
        changed_weights |= {
            key + suffix: array for key, array in changed.items() if array is not arrays.get(key)
        }
    remaining = iter(cells.values())
    return direction.cell.map_cells(lambda _: next(remaining)), changed_weights


def differ(some: Mapping[str, Array], others: Mapping[str, Array]) -> bool:
    """Return whether any array differs from that of the same key among the others."""
    return any(
        others[key] is not a and not np.array_equal(others[key], a) for key, a in some.items()
    )


def with_directions(
    hypothesis: Hypothesis,
    position: int,
    make: Callable[[Direction], Direction],
    names: Collection[str] | None = None,
) -> Hypothesis:
    """Return the hypothesis with other recurrences in a layer, all or those with these names."""
    layer: Any = hypothesis.network.nodes[position].layer
    changed = layer.map_directions(lambda d: make(d) if names is None or d.name in names else d)
    return hypothesis.with_whole_layer(position, changed)


# --- Cells of a hypothesis ----------------------------------------------------------------------


def directions_of(hypothesis: Hypothesis) -> list[Direction]:
    """Return the direction of every recurrence that the next mistake concerns."""
    recurrences = [d for node in hypothesis.network.recurrent for _, d in node.scans]
    return [direction for direction in recurrences if hypothesis.concerns(direction.name)]


def cells_of(hypothesis: Hypothesis) -> list[Cell]:
    """Return one cell of each kind that the next mistake concerns."""
    cells: dict[tuple[object, ...], Cell] = {}
    for direction in directions_of(hypothesis):
        for cell in direction.cell.cells_by_suffix.values():
            cells.setdefault((type(cell), *cell.keras_options.values()), cell)
    return list(cells.values())


def gates_of(hypothesis: Hypothesis) -> dict[tuple[str, ...], str]:
    """Return the gates that the cells have, each with the name of such a cell."""
    return {cell.gate_names: cell.name for cell in cells_of(hypothesis) if cell.gate_names}

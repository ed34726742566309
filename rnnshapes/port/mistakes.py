"""Known mistakes of ports: each turns a hypothesis about a port into another one.

Sources: the documentation of torch.nn.LSTM and torch.nn.GRU, of ONNX's LSTM and GRU, and of
Keras 1 and 2. Mistakes in the equation of one cell are in the cell's own module
(:class:`rnnshapes.cells.cell.Variant`), mistakes about time in
:mod:`rnnshapes.port.time_mistakes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.cells.cell import BaseCell, Cell
from rnnshapes.layouts.frameworks import frameworks_by_order
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.activations import Array
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port import time_mistakes
from rnnshapes.port.hypothesis import Hypothesis, Mistake

Arrays = dict[str, Array]
#: Takes a cell and its weights, by key, and returns both as a port with a mistake has them, or
#: ``None`` where the cell cannot have that mistake.
CellChange = Callable[[Cell, Arrays], tuple[Cell, Arrays] | None]
_FORTRAN = "read column by column (Fortran order)"


def hypotheses(base: Hypothesis, *, after: str | None = None) -> Iterator[Hypothesis]:
    """Yield the hypothesis with one more mistake, of every family that it has no mistake of.

    ``after`` names a family: then only mistakes of later families are added.
    """
    first = 0 if after is None else FAMILIES.index(after) + 1
    for family, variations in _FAMILIES[first:]:
        if family not in base.families:
            for mistake, changed in variations(base):
                yield changed.with_mistake(family, mistake)


# --- Cells and their weights --------------------------------------------------------------------


def _with_change(hypothesis: Hypothesis, change: CellChange) -> Hypothesis | None:
    """Return the hypothesis with every cell changed, or ``None`` where nothing changes."""
    weights = {name: dict(arrays) for name, arrays in hypothesis.weights.items()}
    cells: dict[str, BaseCell] = {}  # a layer that is called again has the same cell each time

    def direction_of(direction: Direction) -> Direction:
        if direction.name not in cells:
            cells[direction.name] = _changed_cell(direction, weights[direction.name], change)
        return replace(direction, cell=cells[direction.name])

    nodes = [
        replace(node, layer=node.layer.map_directions(direction_of))
        if isinstance(node.layer, RecurrentLayer)
        else node
        for node in hypothesis.network.nodes
    ]
    before = {d.name: d.cell for node in hypothesis.network.recurrent for _, d in node.scans}
    same_weights = not any(_differ(weights[n], hypothesis.weights[n]) for n in cells)
    if cells == before and same_weights:
        return None
    network = hypothesis.network.with_nodes(tuple(nodes))
    return replace(hypothesis, network=network, weights=weights)


def _changed_cell(direction: Direction, weights: Arrays, change: CellChange) -> BaseCell:
    """Return the changed cell of a direction; its weights are changed in place."""
    cells = {}
    for suffix, cell in direction.cell.cells_by_suffix.items():
        keys = [w.key.removesuffix(suffix) for w in direction.weights if w.key.endswith(suffix)]
        # A port adds to a bias in its own arithmetic, which may be float64.
        arrays = {key: np.array(weights[key + suffix], np.float64) for key in keys}
        changed = change(cell, arrays)
        cells[suffix] = cell if changed is None else changed[0]
        if changed is not None:
            weights |= {key + suffix: array for key, array in changed[1].items()}
    remaining = iter(cells.values())
    return direction.cell.map_cells(lambda _: next(remaining))


def _differ(some: Mapping[str, Array], others: Mapping[str, Array]) -> bool:
    """Return whether arrays of the same keys differ anywhere."""
    return any(some[key] is not a and not np.array_equal(some[key], a) for key, a in others.items())


def _cells(hypothesis: Hypothesis) -> Iterator[Cell]:
    """Yield each kind of cell once."""
    seen = set()
    for node in hypothesis.network.recurrent:
        for _, direction in node.scans:
            for cell in direction.cell.cells_by_suffix.values():
                if (key := (type(cell), *cell.keras_options.values())) not in seen:
                    seen.add(key)
                    yield cell


def _changed(
    hypothesis: Hypothesis, changes: Iterable[tuple[Mistake, CellChange]]
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Yield each mistake that changes at least one cell."""
    for mistake, change in changes:
        changed = _with_change(hypothesis, change)
        if changed is not None:
            yield mistake, changed


def _gate_orders(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take the gates in every other order."""
    gated = {cell.gate_names: cell.name for cell in _cells(hypothesis) if cell.gate_names}
    for gates, name in gated.items():
        frameworks = frameworks_by_order(name)
        for order in itertools.permutations(gates):
            if order != gates:
                owners = ", ".join(f"{owner}'s" for owner in frameworks.get(order, ()))
                whose = f" ({owners})" if owners else ""
                read, right = ", ".join(order), ", ".join(gates)
                text = f"the gates are read as {read}{whose}; Keras has {right}"
                change = _reordered(gates, order)
                yield from _changed(hypothesis, [(Mistake("gates.order", text), change)])


def _reordered(gates: tuple[str, ...], order: tuple[str, ...]) -> CellChange:
    """Return a change that takes for each gate the block where ``order`` has it."""
    positions = [order.index(gate) for gate in gates]

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        if cell.gate_names != gates:
            return None
        blocks = {key: np.split(a, len(gates), axis=-1) for key, a in arrays.items()}
        return cell, {
            key: np.concatenate([of_array[position] for position in positions], axis=-1)
            for key, of_array in blocks.items()
        }

    return change


def _layouts(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Read the kernels transposed, or column by column."""
    names = {"Wx": "kernel", "Wh": "recurrent_kernel"}
    for key, name in names.items():
        transposed = Mistake("layout.transposed", f"{name} is transposed")
        yield from _changed(hypothesis, [(transposed, _transposed(key))])
        # One square block that is read column by column is a transposed one.
        if any(cell.gate_names for cell in _cells(hypothesis)) or key == "Wx":
            fortran = Mistake("layout.fortran", f"{name} is {_FORTRAN}")
            yield from _changed(hypothesis, [(fortran, _column_by_column(key))])
    every = hypothesis
    for key in names:
        every = _with_change(every, _column_by_column(key)) or every
    weights = {name: dict(arrays) for name, arrays in every.weights.items()}
    for name in _dense_names(hypothesis):
        weights[name] |= {"W": _by_columns(weights[name]["W"])}
    mistake = Mistake("layout.fortran", f"every kernel is {_FORTRAN}")
    yield mistake, replace(every, weights=weights)


def _dense_names(hypothesis: Hypothesis) -> list[str]:
    """Return the names of the layers after the last recurrence that have a matrix."""
    network, weights = hypothesis.network, hypothesis.weights
    names = dict.fromkeys(network.nodes[position].layer.name for position in network.head)
    matrices = {name: weights.get(name, {}).get("W") for name in names}
    return [name for name, matrix in matrices.items() if matrix is not None and matrix.ndim == 2]


def _by_columns(values: Array) -> Array:
    """Return a matrix whose rows were written and are read as its columns."""
    return values.reshape(values.shape[::-1]).T


def _transposed(key: str) -> CellChange:
    """Return a change that transposes each gate's block of one kernel."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        count = max(1, len(cell.gate_names))
        if arrays[key].shape[0] * count != arrays[key].shape[1]:
            return None  # its blocks are not square
        transposed = [block.T for block in np.split(arrays[key], count, axis=1)]
        return cell, {**arrays, key: np.concatenate(transposed, axis=1)}

    return change


def _column_by_column(key: str) -> CellChange:
    """Return a change that reads one kernel column by column."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        return cell, {**arrays, key: _by_columns(arrays[key])}

    return change


def _biases(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Leave the bias out, add it twice, or make a mistake about the bias of one cell."""

    def scaled(factor: int) -> CellChange:
        def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
            return (cell, {**arrays, "bh": arrays["bh"] * factor}) if cell.use_bias else None

        return change

    changes = [
        (Mistake("bias.omitted", "the bias of the recurrent layer is left out"), scaled(0)),
        (Mistake("bias.twice", "the bias of the recurrent layer is added twice"), scaled(2)),
    ]
    yield from _changed(hypothesis, changes)
    yield from _variants(hypothesis, "bias")


def _variants(hypothesis: Hypothesis, family: str) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Yield the mistakes of one family that the cells themselves list."""
    for kind in _cells(hypothesis):
        for position, variant in enumerate(kind.variants):
            if variant.family == family:
                mistake = Mistake(variant.id, variant.text)
                yield from _changed(hypothesis, [(mistake, _variant(kind, position))])


def _variant(kind: Cell, position: int) -> CellChange:
    """Return a change to the variant at this position, for cells of the same class as ``kind``."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        if type(cell) is not type(kind) or len(cell.variants) <= position:
            return None
        variant = cell.variants[position]
        return variant.cell, variant.arrays(arrays)

    return change


#: Activations that ports have in place of the right one, by option of the cell.
_OTHER_ACTIVATIONS = {
    "activation": ("tanh", "relu", "linear", "sigmoid", "hard_tanh", "softsign", "elu"),
    "recurrent_activation": ("sigmoid", "hard_sigmoid", KERAS2_HARD_SIGMOID, "tanh", "linear"),
}
_ACTIVATION_TEXTS = {
    "hard_sigmoid": "Keras 3's hard_sigmoid, clip(z/6 + 0.5)",
    KERAS2_HARD_SIGMOID: "the older hard_sigmoid, clip(0.2 z + 0.5)",
    "linear": "none (linear)",
}


def _activations(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Replace the activation of the state, or exchange it with that of the gates."""
    yield from _other_activations(hypothesis, "activation")
    text = "activation and recurrent_activation are exchanged"
    yield from _changed(hypothesis, [(Mistake("activation.exchanged", text), _exchanged)])


def _gate_activations(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Replace the activation of the gates."""
    yield from _other_activations(hypothesis, "recurrent_activation")


def _other_activations(hypothesis: Hypothesis, option: str) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Replace the activation that an option of the cell names by each other one."""
    cells = [cell for cell in _cells(hypothesis) if option in cell.keras_options]
    right = dict.fromkeys(str(cell.keras_options[option]) for cell in cells)
    whose = " or ".join(_ACTIVATION_TEXTS.get(name, name) for name in right)
    for name in _OTHER_ACTIVATIONS[option]:
        text = f"{option} is {_ACTIVATION_TEXTS.get(name, name)}, not {whose}"
        mistake = Mistake("activation.other", text)
        yield from _changed(hypothesis, [(mistake, _activated(option, name))])


def _activated(option: str, name: str) -> CellChange:
    """Return a change of one option to the activation ``name``."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        if cell.keras_options.get(option, name) == name:
            return None
        options: dict[str, Any] = {option: name}
        return replace(cell, **options), arrays

    return change


def _exchanged(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
    """Return the cell with its two activations exchanged, if it has two that differ."""
    options = cell.keras_options
    inner, outer = options.get("recurrent_activation"), options["activation"]
    if inner in (None, outer):
        return None
    exchanged: dict[str, Any] = {"activation": inner, "recurrent_activation": outer}
    return replace(cell, **exchanged), arrays


# --- Layers after the last recurrence -----------------------------------------------------------


def _heads(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Leave out the bias or the activation of a layer of the head, or misread its kernel."""
    for position in hypothesis.network.head:
        layer = hypothesis.network.nodes[position].layer
        arrays = dict(hypothesis.weights.get(layer.name, {}))
        changes: list[tuple[Mistake, Arrays]] = []
        if "b" in arrays:
            mistake = Mistake("head.bias", f"the bias of {layer.name} is left out")
            changes.append((mistake, {"b": arrays["b"] * 0}))
        kernel = arrays.get("W")
        if kernel is not None and kernel.ndim == 2:
            square = kernel.shape[0] == kernel.shape[1]
            id_, how = (
                ("layout.transposed", "transposed") if square else ("layout.fortran", _FORTRAN)
            )
            mistake = Mistake(id_, f"the kernel of {layer.name} is {how}")
            changes.append((mistake, {"W": _by_columns(kernel)}))
        for mistake, changed in changes:
            if _differ(changed, {key: arrays[key] for key in changed}):
                weights = {**hypothesis.weights, layer.name: {**arrays, **changed}}
                yield mistake, replace(hypothesis, weights=weights)
        if layer.activations not in ((), ("linear",)) and hasattr(layer, "activation"):
            nodes = list(hypothesis.network.nodes)
            linear: dict[str, Any] = {"activation": "linear"}
            changed_layer: Any = replace(layer, **linear)
            nodes[position] = replace(nodes[position], layer=changed_layer)
            network = hypothesis.network.with_nodes(tuple(nodes))
            text = f"the activation of {layer.name} ({layer.activations[0]}) is left out"
            yield Mistake("head.activation", text), replace(hypothesis, network=network)


# --- All families -------------------------------------------------------------------------------


def _other_quantities(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take an array without a name for another quantity of the same shape."""
    if len(hypothesis.quantities) == 1:
        (quantity,) = hypothesis.quantities
        for other in quantity.alternatives:
            text = f"the array is not {quantity.text}, but {other.text}"
            yield Mistake("quantity.other", text), replace(hypothesis, quantities=(other,))


def _rounded_weights(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Round every weight to float16 or bfloat16."""
    for dtype in ("float16", "bfloat16"):
        weights = {
            group: {
                key: PRECISIONS[dtype].rounded(np.asarray(a, np.float64))
                for key, a in arrays.items()
            }
            for group, arrays in hypothesis.weights.items()
        }
        if any(_differ(weights[group], arrays) for group, arrays in hypothesis.weights.items()):
            mistake = Mistake(f"weights.{dtype}", f"the weights are rounded to {dtype}")
            yield mistake, replace(hypothesis, weights=weights)


_FAMILIES: tuple[tuple[str, Callable[[Hypothesis], Iterator[tuple[Mistake, Hypothesis]]]], ...] = (
    ("quantity", _other_quantities),
    ("kernel", _layouts),  # a port reads a kernel before it splits it into gates
    ("gates", _gate_orders),
    ("bias", _biases),  # before "cell", which may turn a bias of two rows into one row
    ("cell", lambda hypothesis: _variants(hypothesis, "cell")),
    ("activation", _activations),
    ("recurrent_activation", _gate_activations),
    ("head", _heads),
    ("mask", time_mistakes.ignored_masks),
    ("time", time_mistakes.misplaced_time),
    ("carried", time_mistakes.carried_states),
    ("axes", time_mistakes.swapped_axes),
    ("weights", _rounded_weights),
)
#: What mistakes are about, in the order in which a port makes them, and in which they are tried.
FAMILIES = tuple(family for family, _ in _FAMILIES)

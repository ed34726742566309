"""How ports are known to differ: each convention makes another reading of a network.

Sources: the documentation of torch.nn.LSTM and torch.nn.GRU, of ONNX's LSTM and GRU, and of
Keras 1 and 2. What concerns one cell alone stands in its own file
(:class:`rnnshapes.cells.cell.Variant`), what concerns time in :mod:`rnnshapes.port.time_mistakes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.cells.cell import BaseCell, Cell, Weight
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.activations import Array
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port import time_mistakes
from rnnshapes.port.hypothesis import Reading

Arrays = dict[str, Array]
#: A cell and its arrays, with their descriptions by key; the same, as a port may have it.
CellChange = Callable[[Cell, Arrays, Mapping[str, Weight]], tuple[Cell, Arrays] | None]


def readings(reading: Reading) -> Iterator[Reading]:
    """The reading under each convention of a family that it is not yet of."""
    for family, convention in _CONVENTIONS:
        if family not in reading.families:
            for said, made in convention(reading):
                yield made.called(family, said)


# --- Cells and their weights --------------------------------------------------------------------


def _changed(reading: Reading, change: CellChange) -> Reading | None:
    """Every cell changed to which the change applies; ``None`` where that makes no difference."""
    weights = {name: dict(arrays) for name, arrays in reading.weights.items()}
    found: dict[str, BaseCell] = {}  # a layer that is called again has the same cell each time

    def direction_of(direction: Direction) -> Direction:
        if direction.name not in found:
            found[direction.name] = _changed_cells(direction, weights[direction.name], change)
        return replace(direction, cell=found[direction.name])

    nodes = [
        replace(node, layer=node.layer.map_directions(direction_of))
        if isinstance(node.layer, RecurrentLayer)
        else node
        for node in reading.network.nodes
    ]
    cells = {d.name: d.cell for node in reading.network.recurrent for _, d in node.scans}
    if found == cells and not any(_differ(weights[name], reading.weights[name]) for name in found):
        return None
    return replace(reading, network=replace(reading.network, nodes=tuple(nodes)), weights=weights)


def _changed_cells(direction: Direction, weights: Arrays, change: CellChange) -> BaseCell:
    """The cells of a recurrence as a port may have them; their weights are changed in place."""
    cells = {}
    for suffix, cell in direction.cell.cells_by_suffix.items():
        known = {
            w.key.removesuffix(suffix) if suffix else w.key: w
            for w in direction.weights
            if w.key.endswith(suffix)
        }
        # What a port adds to a bias it adds in its own arithmetic, which may be float64.
        own = {key: np.array(weights[key + suffix], np.float64) for key in known}
        made = change(cell, own, known)
        cells[suffix] = cell if made is None else made[0]
        weights |= {} if made is None else {key + suffix: a for key, a in made[1].items()}
    left = iter(cells.values())
    return direction.cell.map_cells(lambda _: next(left))


def _differ(some: Mapping[str, Array], others: Mapping[str, Array]) -> bool:
    return any(some[key] is not a and not np.array_equal(some[key], a) for key, a in others.items())


def _cells(reading: Reading) -> Iterator[Cell]:
    """Each kind of cell once."""
    seen = set()
    for node in reading.network.recurrent:
        for _, direction in node.scans:
            for cell in direction.cell.cells_by_suffix.values():
                if (key := (type(cell), *cell.keras_options.values())) not in seen:
                    seen.add(key)
                    yield cell


def _all(reading: Reading, changes: Mapping[str, CellChange]) -> Iterator[tuple[str, Reading]]:
    for said, change in changes.items():
        made = _changed(reading, change)
        if made is not None:
            yield said, made


def _gate_orders(reading: Reading) -> Iterator[tuple[str, Reading]]:
    orders = {c.gate_names: c.gate_orders for c in _cells(reading) if c.gate_names}
    for parts, others in orders.items():
        named = {order: name for name, order in others.items()}
        for order in itertools.permutations(parts):
            if order != parts:
                whose = f" ({named[order]}'s)" if order in named else ""
                said = f"the gates are read in the order {', '.join(order)}{whose}"
                yield from _all(reading, {said: _reordered(parts, order)})


def _reordered(parts: tuple[str, ...], order: tuple[str, ...]) -> CellChange:
    """Each gate takes the block that stands where the port looks for it."""
    places = [order.index(part) for part in parts]

    def change(
        cell: Cell, arrays: Arrays, known: Mapping[str, Weight]
    ) -> tuple[Cell, Arrays] | None:
        if cell.gate_names != parts:
            return None
        blocks = {key: np.split(a, len(parts), axis=-1) for key, a in arrays.items()}
        return cell, {
            key: np.concatenate([found[place] for place in places], axis=-1)
            for key, found in blocks.items()
        }

    return change


def _kernels(reading: Reading) -> Iterator[tuple[str, Reading]]:
    names = {"Wx": "kernel", "Wh": "recurrent_kernel"}
    for key, name in names.items():
        yield from _all(reading, {f"{name} is transposed": _transposed(key)})
        if any(cell.gate_names for cell in _cells(reading)) or key == "Wx":
            said = f"{name} is read column by column (Fortran's order)"
            yield from _all(reading, {said: _column_by_column(key)})
    made = reading
    for key in names:
        made = _changed(made, _column_by_column(key)) or made
    weights = {name: dict(arrays) for name, arrays in made.weights.items()}
    for own in _dense(reading).values():
        weights[own] |= {"W": _by_columns(weights[own]["W"])}
    yield "every kernel is read column by column (Fortran's order)", replace(made, weights=weights)


def _dense(reading: Reading) -> dict[int, str]:
    """The layers behind the last recurrence that have a matrix, by position."""
    found = {place: reading.network.nodes[place].layer.name for place in reading.network.head}
    matrices = {name: reading.weights.get(name, {}).get("W") for name in found.values()}
    return {
        place: name
        for place, name in found.items()
        if (matrix := matrices[name]) is not None and matrix.ndim == 2
    }


def _by_columns(values: Array) -> Array:
    """The same numbers, as one reads them who takes columns for rows."""
    return values.reshape(values.shape[::-1]).T


def _transposed(key: str) -> CellChange:
    def change(
        cell: Cell, arrays: Arrays, known: Mapping[str, Weight]
    ) -> tuple[Cell, Arrays] | None:
        count = max(1, len(cell.gate_names))
        if arrays[key].shape[0] * count != arrays[key].shape[1]:
            return None  # its blocks are not square
        turned = [block.T for block in np.split(arrays[key], count, axis=1)]
        return cell, {**arrays, key: np.concatenate(turned, axis=1)}

    return change


def _column_by_column(key: str) -> CellChange:
    def change(
        cell: Cell, arrays: Arrays, known: Mapping[str, Weight]
    ) -> tuple[Cell, Arrays] | None:
        return cell, {**arrays, key: _by_columns(arrays[key])}

    return change


def _biases(reading: Reading) -> Iterator[tuple[str, Reading]]:
    def scaled(factor: int) -> CellChange:
        def change(
            cell: Cell, arrays: Arrays, known: Mapping[str, Weight]
        ) -> tuple[Cell, Arrays] | None:
            return (cell, {**arrays, "bh": arrays["bh"] * factor}) if cell.use_bias else None

        return change

    yield from _all(
        reading,
        {
            "the bias of the recurrent layer is left out": scaled(0),
            "the bias of the recurrent layer is added twice": scaled(2),
        },
    )
    yield from _of_cells(reading, "bias")


def _of_cells(reading: Reading, family: str) -> Iterator[tuple[str, Reading]]:
    """What the cells themselves say of their ports."""
    for kind in _cells(reading):
        for place, variant in enumerate(kind.variants):
            if variant.family == family:

                def change(
                    cell: Cell,
                    arrays: Arrays,
                    known: Mapping[str, Weight],
                    kind: Cell = kind,
                    place: int = place,
                ) -> tuple[Cell, Arrays] | None:
                    if type(cell) is not type(kind) or len(cell.variants) <= place:
                        return None
                    own = cell.variants[place]
                    return own.cell, own.arrays(arrays)

                yield from _all(reading, {variant.text: change})


#: What may stand where another activation should: by its name, what it is taken for.
_INSTEAD = {
    "activation": ("tanh", "relu", "linear", "sigmoid", "hard_tanh", "softsign", "elu"),
    "recurrent_activation": ("sigmoid", "hard_sigmoid", KERAS2_HARD_SIGMOID, "tanh", "linear"),
}
_CALLED = {
    "hard_sigmoid": "Keras 3's hard_sigmoid, clip(z/6 + 0.5)",
    KERAS2_HARD_SIGMOID: "the older hard_sigmoid, clip(0.2 z + 0.5)",
    "linear": "none at all",
}


def _activations(reading: Reading) -> Iterator[tuple[str, Reading]]:
    yield from _instead(reading, "activation")
    yield from _all(reading, {"activation and recurrent_activation are exchanged": _exchanged})


def _gate_activations(reading: Reading) -> Iterator[tuple[str, Reading]]:
    yield from _instead(reading, "recurrent_activation")


def _instead(reading: Reading, option: str) -> Iterator[tuple[str, Reading]]:
    for name in _INSTEAD[option]:
        said = f"{option} is {_CALLED.get(name, name)}"
        yield from _all(reading, {said: _activated(option, name)})


def _activated(option: str, name: str) -> CellChange:
    def change(
        cell: Cell, arrays: Arrays, known: Mapping[str, Weight]
    ) -> tuple[Cell, Arrays] | None:
        if cell.keras_options.get(option, name) == name:
            return None
        changes: dict[str, Any] = {option: name}
        return replace(cell, **changes), arrays

    return change


def _exchanged(
    cell: Cell, arrays: Arrays, known: Mapping[str, Weight]
) -> tuple[Cell, Arrays] | None:
    options = cell.keras_options
    inner, outer = options.get("recurrent_activation"), options["activation"]
    if inner in (None, outer):
        return None
    changes: dict[str, Any] = {"activation": inner, "recurrent_activation": outer}
    return replace(cell, **changes), arrays


# --- The layers behind --------------------------------------------------------------------------


_LINEAR: dict[str, Any] = {"activation": "linear"}


def _heads(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """Dense layers behind the last recurrence: their bias, kernel and activation."""
    for place in reading.network.head:
        layer = reading.network.nodes[place].layer
        arrays = dict(reading.weights.get(layer.name, {}))
        changes = {}
        if "b" in arrays:
            changes[f"the bias of {layer.name} is left out"] = {"b": arrays["b"] * 0}
        kernel = arrays.get("W")
        if kernel is not None and kernel.ndim == 2:
            square = kernel.shape[0] == kernel.shape[1]
            how = "transposed" if square else "read column by column (Fortran's order)"
            changes[f"the kernel of {layer.name} is {how}"] = {"W": _by_columns(kernel)}
        for said, changed in changes.items():
            if not _differ(changed, {key: arrays[key] for key in changed}):
                continue
            weights = {**reading.weights, layer.name: {**arrays, **changed}}
            yield said, replace(reading, weights=weights)
        if layer.activations not in ((), ("linear",)) and hasattr(layer, "activation"):
            nodes = list(reading.network.nodes)
            changed_layer: Any = replace(layer, **_LINEAR)
            nodes[place] = replace(nodes[place], layer=changed_layer)
            network = replace(reading.network, nodes=tuple(nodes))
            said = f"the activation of {layer.name} ({layer.activations[0]}) is left out"
            yield said, replace(reading, network=network)


# --- All of it -----------------------------------------------------------------------------------


def _quantities(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """An array without a name may be another quantity of the same shape."""
    if len(reading.claims) == 1:
        (claim,) = reading.claims
        for other in claim.others:
            yield (
                f"the array is not {claim.text}, but {other.text}",
                replace(reading, claims=(other,)),
            )


def _rounded_weights(reading: Reading) -> Iterator[tuple[str, Reading]]:
    for name in ("float16", "bfloat16"):
        weights = {
            group: {
                key: PRECISIONS[name].rounded(np.asarray(a, np.float64)) for key, a in own.items()
            }
            for group, own in reading.weights.items()
        }
        if any(_differ(weights[group], own) for group, own in reading.weights.items()):
            yield f"the weights are rounded to {name}", replace(reading, weights=weights)


_CONVENTIONS: tuple[tuple[str, Callable[[Reading], Iterator[tuple[str, Reading]]]], ...] = (
    ("quantity", _quantities),
    ("kernel", _kernels),  # is read before its gates are told apart
    ("gates", _gate_orders),
    ("bias", _biases),  # of two rows, as long as there are two
    ("cell", lambda reading: _of_cells(reading, "cell")),
    ("activation", _activations),
    ("recurrent_activation", _gate_activations),
    ("head", _heads),
    ("mask", time_mistakes.unmasked),
    ("time", time_mistakes.times_of_x),
    ("carried", time_mistakes.carried_over),
    ("axes", time_mistakes.axes),
    ("weights", _rounded_weights),
)
#: What conventions are about, in the order in which they are tried.
FAMILIES = tuple(family for family, _ in _CONVENTIONS)

"""Known mistakes of ports about the order of gates."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np

from rnnshapes.layouts.frameworks import frameworks_by_order
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where
from rnnshapes.port.mistakes.cell_changes import ARRAY_NAMES, array_change, changed_cells, gates_of


def gate_orders(hypothesis: Hypothesis) -> Variations:
    """Take the gates in every other order."""
    for gates, name in gates_of(hypothesis).items():
        frameworks = frameworks_by_order(name)
        for order in _other_orders(gates):
            owners = ", ".join(f"{owner}'s" for owner in frameworks.get(order, ()))
            whose = f" ({owners})" if owners else ""
            text = f"the gates are read as {', '.join(order)}{whose}; Keras has {', '.join(gates)}"
            mistake = Mistake("gates.order", text, own_fix=_reordering(gates, order, "W"))
            change = array_change(partial(_reordered, gates=gates, order=order), gates=gates)
            yield from changed_cells(hypothesis, mistake, change)


def gate_orders_of_arrays(hypothesis: Hypothesis) -> Variations:
    """Take the gates of one array, or of one row of a bias, in every other order."""
    for gates in gates_of(hypothesis):
        right = ", ".join(gates)
        for order, (key, name) in itertools.product(_other_orders(gates), ARRAY_NAMES.items()):
            text = f"the gates of {name} are read as {', '.join(order)}; Keras has {right}"
            fix = _reordering(gates, order, name)
            mistake = Mistake(f"gates.order.{name}", text, Where(array=name), fix)
            change = array_change(partial(_reordered, gates=gates, order=order), key, gates=gates)
            yield from changed_cells(hypothesis, mistake, change)
        for order, row in itertools.product(_other_orders(gates), (0, 1)):
            text = f"the gates of bias[{row}] are read as {', '.join(order)}; Keras has {right}"
            fix = _reordering(gates, order, f"bias[{row}]")
            mistake = Mistake("gates.order.bias", text, Where(array="bias"), fix)
            change = array_change(
                partial(_reordered_row, row=row, gates=gates, order=order), "bh", gates=gates
            )
            yield from changed_cells(hypothesis, mistake, change)


def _other_orders(gates: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (order for order in itertools.permutations(gates) if order != gates)


def _reordering(gates: tuple[str, ...], order: tuple[str, ...], name: str) -> str:
    """Return code that reorders Keras's blocks into the order that the port reads."""
    positions = tuple(gates.index(gate) for gate in order)
    array = "each array W" if name == "W" else name
    blocks = f"np.split({name}, {len(gates)}, -1)"
    return f"replace {array} by np.concatenate([{blocks}[k] for k in {positions}], -1)"


def _reordered(array: Array, gates: tuple[str, ...], order: tuple[str, ...]) -> Array:
    """Return an array whose block of each gate is the one where ``order`` has this gate."""
    positions = [order.index(gate) for gate in gates]
    blocks = array.reshape(*array.shape[:-1], len(gates), -1)
    return blocks[..., positions, :].reshape(array.shape)


def _reordered_row(bias: Array, row: int, gates: tuple[str, ...], order: tuple[str, ...]) -> Array:
    """Return a bias with one of its rows reordered, if it has two."""
    if bias.ndim == 1:
        return bias
    rows = bias.copy()
    rows[row] = _reordered(bias[row], gates, order)
    return rows


def repeated_gates(hypothesis: Hypothesis) -> Variations:
    """Read the block of one gate for another one, too, in every array or in one."""
    for gates in gates_of(hypothesis):
        for (number, gate), (source, other) in itertools.permutations(enumerate(gates), 2):
            read = partial(_repeated, count=len(gates), number=number, source=source)
            fix = f"read gate {gate} from columns {number} * M to {number + 1} * M"
            for keys in ((), *((key,) for key in ARRAY_NAMES)):
                name = ARRAY_NAMES[keys[0]] if keys else None
                what = f" of {name}" if name else ""
                text = f"gates {gate} and {other} both read the block{what} of gate {other}"
                mistake = Mistake("gates.repeated", text, Where(array=name, gate=gate), fix)
                change = array_change(read, *keys, gates=gates)
                yield from changed_cells(hypothesis, mistake, change)


def _repeated(array: Array, count: int, number: int, source: int) -> Array:
    """Return an array of so many blocks in which one is replaced by another."""
    blocks = np.split(array, count, axis=-1)
    blocks[number] = blocks[source]
    return np.concatenate(blocks, axis=-1)

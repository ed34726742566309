"""Known mistakes of ports that read parts of a cell's arrays at the wrong index.

Each function yields mistakes with the change that they make to a cell and its weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import CellChange, Mistake, Where

#: Reads one array otherwise.
Reader = Callable[[Array], Array]


def repeated_gates(
    gates: tuple[str, ...], names: Mapping[str, str]
) -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that one gate reads the block of another, in every array or in one.

    Args:
        gates: The gates, in Keras's order.
        names: The names of the arrays, by key.
    """
    for gate, other in itertools.permutations(gates, 2):
        for keys in (tuple(names), *((key,) for key in names)):
            alone = len(keys) == 1
            what = f" of {names[keys[0]]}" if alone else ""
            text = f"gates {gate} and {other} both read the block{what} of gate {other}"
            where = Where(array=names[keys[0]] if alone else None, gate=gate)
            number = gates.index(gate)
            fix = f"read gate {gate} from columns {number} * M to {number + 1} * M"
            yield Mistake("gates.repeated", text, where, fix), _repeated(gates, gate, other, keys)


def _repeated(gates: tuple[str, ...], gate: str, other: str, keys: tuple[str, ...]) -> CellChange:
    """Return a change after which a gate has the block of another one, in some arrays."""

    def read(array: Array) -> Array:
        blocks = np.split(array, len(gates), axis=-1)
        blocks[gates.index(gate)] = blocks[gates.index(other)]
        return np.concatenate(blocks, axis=-1)

    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        return _read(cell, arrays, read, keys) if cell.gate_names == gates else None

    return change


def shifted_arrays(names: Mapping[str, str]) -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that an array is read one number, column or row too early or too late, or cut short.

    ``names`` are the names of the arrays, by key.
    """
    for (key, name), step in itertools.product(names.items(), (1, -1)):
        index = "i + 1" if step == 1 else "i - 1"
        readers: dict[str, Reader] = {
            f"{name} is read at {index} of its buffer, not at i; beyond it, 0": _buffer(step, 0.0),
            f"{name} is read at {index} of its buffer, not at i, cyclically": _buffer(step, 1.0),
            f"column {index} of {name} is read for column i, cyclically": _rolled(step, -1),
        }
        for text, read in readers.items():
            where = Where(array=name)
            fix = f"check the offset of {name} in its buffer"
            yield Mistake("weights.shifted", text, where, fix), _with(read, key)
    name, where = names["Wh"], Where(array=names["Wh"])
    for step in (1, -1):
        text = f"the rows of {name} are shifted by one: row m {'-+'[step > 0]} 1 is read at m"
        yield Mistake("weights.permuted", text, where), _with(_rolled(step, 0), "Wh")
    for row, which in ((-1, "last"), (0, "first")):
        text = f"the {which} row of {name} is left out: the sum over the units of h is too short"
        fix = "sum over all units of h: m = 0 … M-1"
        yield Mistake("weights.row_omitted", text, where, fix), _with(_without_row(row), "Wh")


def exchanged_kernels(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
    """Exchange kernel and recurrent kernel, if they have one shape."""
    if arrays["Wx"].shape != arrays["Wh"].shape:
        return None
    return cell, {**arrays, "Wx": arrays["Wh"], "Wh": arrays["Wx"]}


def _with(read: Reader, *keys: str) -> CellChange:
    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        return _read(cell, arrays, read, keys)

    return change


def _read(
    cell: Cell, arrays: dict[str, Array], read: Reader, keys: tuple[str, ...]
) -> tuple[Cell, dict[str, Array]]:
    """Return the cell with some arrays read otherwise."""
    return cell, {**arrays, **{key: read(arrays[key]) for key in keys if key in arrays}}


def _buffer(step: int, rest: float) -> Reader:
    """Return a reader at an offset; beyond the end it reads the other end, times ``rest``."""

    def read(array: Array) -> Array:
        flat = np.roll(array.reshape(-1), -step)
        flat[-1 if step == 1 else 0] *= rest
        return flat.reshape(array.shape)

    return read


def _rolled(step: int, axis: int) -> Reader:
    return lambda array: np.roll(array, -step, axis)


def _without_row(row: int) -> Reader:
    def read(array: Array) -> Array:
        rows = array.copy()
        rows[row] = 0.0
        return rows

    return read

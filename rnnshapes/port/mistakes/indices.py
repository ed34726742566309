"""Known mistakes of ports that read a part of an array at another index, or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where
from rnnshapes.port.mistakes.cell_changes import (
    ARRAY_NAMES,
    Arrays,
    CellChange,
    array_change,
    block_change,
    changed_cells,
    gates_of,
)
from rnnshapes.port.mistakes.gates import repeated_gates

#: Rows are padded to multiples of so many numbers, which fit into a vector register.
_STRIDES = (4, 8, 16, 32)
#: Of so many units, each is tried alone.
_MOST_UNITS = 32
#: So many columns are read for others at most, and so many numbers of a buffer are lost.
_MOST_COLUMNS, _MOST_LOST = 600, 65
_OTHER_KERNEL = {"Wx": "Wh", "Wh": "Wx"}
_KERNEL, _RECURRENT = ARRAY_NAMES["Wx"], ARRAY_NAMES["Wh"]
_ALL_UNITS, _ALL_FEATURES = "sum over all units of h: m = 0 … M-1", "multiply x[d] by row d"
_SPLIT = "split z at multiples of M"


def misread_parts(hypothesis: Hypothesis) -> Variations:
    """Read blocks, columns or rows at the wrong index, or one kernel for the other."""
    yield from repeated_gates(hypothesis)
    for gates in gates_of(hypothesis):
        for number, gate in enumerate(gates):
            where = Where(array=_RECURRENT, gate=gate)
            mistake = Mistake(
                "layout.transposed", f"gate {gate} of {_RECURRENT} is transposed", where
            )
            change = array_change(partial(_with_transposed, number=number), "Wh", gates=gates)
            yield from changed_cells(hypothesis, mistake, change)
    for mistakes in _MISTAKES:
        for mistake, change in mistakes():
            yield from changed_cells(hypothesis, mistake, change)
    text = "the kernels are stacked as [Wx; Wh], but multiply [h, x]"
    mistake = Mistake("layout.concatenation", text)
    yield from changed_cells(hypothesis, mistake, _stacked_kernels)
    text = "kernel and recurrent_kernel are exchanged: Wx multiplies h, and Wh multiplies x"
    mistake = Mistake("layout.kernels_exchanged", text)
    yield from changed_cells(hypothesis, mistake, _exchanged_kernels)


def misread_units(hypothesis: Hypothesis) -> Variations:
    """Leave out a unit, or read a row for another one, or a column of a gate for another unit's."""
    units = max((len(a["Wh"]) for a in hypothesis.weights.values() if "Wh" in a), default=0)
    if units <= _MOST_UNITS:
        for mistake, change in _single_units(units):
            yield from changed_cells(hypothesis, mistake, change)
    for gates in gates_of(hypothesis) or [()]:
        numbers: list[int | None] = [None, *range(len(gates))]
        if len(numbers) * units * (units - 1) > _MOST_COLUMNS:
            continue
        for number, unit, other in itertools.product(numbers, range(units), range(units)):
            if unit == other:
                continue
            gate = None if number is None else gates[number]
            whose = f"unit {unit}" if gate is None else f"gate {gate} of unit {unit}"
            text = f"{whose} has the weights of unit {other}, in every array"
            fix = "read column gate * M + unit of every array"
            mistake = Mistake("weights.permuted", text, Where(gate=gate, unit=unit), fix)
            read = partial(_copied_column, number=number, unit=unit, other=other)
            change = array_change(partial(read, gates=max(1, len(gates))), gates=gates)
            yield from changed_cells(hypothesis, mistake, change)


def _copied_column(values: Array, gates: int, number: int | None, unit: int, other: int) -> Array:
    """Return an array with the column of one unit for that of another, in one gate or in all."""
    blocks = np.array(np.split(values, gates, -1))
    if max(unit, other) < blocks.shape[-1]:
        some = slice(None) if number is None else number
        blocks[some, ..., unit] = blocks[some, ..., other]
    return np.concatenate(list(blocks), -1)


def short_buffers(hypothesis: Hypothesis) -> Variations:
    """Read zeros for the last numbers of an array, as from a buffer that is too short."""
    for key, name in ARRAY_NAMES.items():
        arrays = [a[key] for a in hypothesis.weights.values() if key in a]
        for count in range(2, min(max((a.size for a in arrays), default=0), _MOST_LOST)):
            text = f"the buffer of {name} is {count} numbers too short: the last ones are 0"
            fix = f"copy all of {name}, to its last number"
            mistake = Mistake("weights.buffer_short", text, Where(array=name), fix)
            yield from changed_cells(hypothesis, mistake, _short_buffer(key, count))


def _short_buffer(key: str, count: int) -> CellChange:
    """Return a change that sets the last numbers of an array to 0.

    It leaves out what is another mistake: one row, all rows beyond those of the other kernel, and
    whole gates of a bias.
    """

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        flat = arrays[key].reshape(-1).copy()
        row = arrays[key].shape[-1]
        known = {row, (len(arrays[key]) - len(arrays[_OTHER_KERNEL.get(key, key)])) * row}
        if key == "bh":
            gate = row // max(1, len(cell.gate_names))
            known = set(range(gate, len(flat), gate))
        if count in known or count >= len(flat):
            return cell, arrays
        flat[-count:] = 0.0
        return cell, {**arrays, key: flat.reshape(arrays[key].shape)}

    return change


#: Mistakes, each with the change that it makes to a cell and its arrays.
_Changes = Iterator[tuple[Mistake, CellChange]]


def _single_units(units: int) -> _Changes:
    """Leave out all weights of one unit, or read one row of the recurrent kernel for the next."""
    for unit in range(units):
        where = Where(unit=unit)
        if 0 < unit < units - 1:  # the first and the last one are common in every cell
            text = f"unit {unit} is not computed: its weights, or its states, are 0"
            fix = "loop over all units: m = 0 … M-1"
            mistake = Mistake("state.unit_omitted", text, where, fix)
            yield mistake, block_change(partial(_without_unit, unit=unit))
        for other in (unit - 1, unit + 1):
            if 0 <= other < units:
                text = f"{_RECURRENT} is read with row {other} for row {unit}"
                at = where._replace(array=_RECURRENT)
                mistake = Mistake("weights.permuted", text, at)
                yield mistake, array_change(partial(_copied_row, unit=unit, other=other), "Wh")


def _without_unit(array: Array, gates: int, unit: int) -> Array:
    """Return an array with zeros in the columns of one unit."""
    columns = np.arange(array.shape[-1]) % (array.shape[-1] // gates)
    kept: Array = array * (columns != unit)
    return kept


def _copied_row(array: Array, unit: int, other: int) -> Array:
    rows = array.copy()
    if max(unit, other) < len(rows):
        rows[unit] = rows[other]
    return rows


def _shifted_arrays() -> _Changes:
    """Read an array a number, a column or a row too early or too late."""
    for (key, name), step in itertools.product(ARRAY_NAMES.items(), (1, -1)):
        index = "i + 1" if step == 1 else "i - 1"
        fix = f"check the offset of {name} in its buffer"
        shifted = f"{name} is read at {index} of its buffer, not at i"
        for text, read in (
            (f"{shifted}; beyond it, 0", _buffer(step, 0.0)),
            (f"{shifted}, cyclically", _buffer(step, 1.0)),
            (f"column {index} of {name} is read for column i, cyclically", _rolled(step, -1)),
        ):
            mistake = Mistake("weights.shifted", text, Where(array=name), fix)
            yield mistake, array_change(read, key)
    for key, following in (("Wx", "Wh"), ("Wh", "bh")):
        name = ARRAY_NAMES[key]
        text = (
            f"{name} is read one row late in a buffer of all arrays: its last row is the first "
            f"one of {ARRAY_NAMES[following]}"
        )
        fix = f"check the offset of {name} in its buffer"
        mistake = Mistake("weights.shifted", text, Where(array=name), fix)
        yield mistake, _read_one_row_late(key, following)


def _lost_signs() -> _Changes:
    """Read weights without their signs."""
    for keys in (("Wx",), ("Wh",), ("bh",), ("Wx", "Wh", "bh")):
        names = " and ".join(ARRAY_NAMES[key] for key in keys)
        where = Where(array=names if len(keys) == 1 else None)
        mistake = Mistake("weights.sign_lost", f"the minus signs of {names} are lost", where)
        yield mistake, array_change(np.abs, *keys)


def _misplaced_rows() -> _Changes:
    """Read the rows of a kernel shifted or in reverse."""
    where = Where(array=_RECURRENT)
    for step, row in ((1, "m + 1"), (-1, "m - 1")):
        text = f"the rows of {_RECURRENT} are shifted by one: row {row} is read at m"
        for more, read in (("", _rolled(step, 0)), ("; beyond it, 0", _rows_beyond(step))):
            mistake = Mistake("weights.permuted", f"{text}{more}", where)
            yield mistake, array_change(read, "Wh")
        of_x = row.replace("m", "d")
        text = f"the rows of {_KERNEL} are shifted by one: row {of_x} is read at d; beyond it, 0"
        mistake = Mistake("weights.permuted", text, Where(array=_KERNEL), _ALL_FEATURES)
        yield mistake, array_change(_rows_beyond(step), "Wx")
    mistake = Mistake("weights.permuted", f"the rows of {_RECURRENT} are in reverse", where)
    yield mistake, array_change(lambda rows: rows[::-1], "Wh")


def _split_elsewhere() -> _Changes:
    """Split z into gates at other columns."""
    for step, column, which in ((1, "i + 1", "late"), (-1, "i - 1", "early")):
        text = f"column {column} of every array is read for column i, cyclically"
        fix = "split z at 0, M, 2 M, …: it begins at column 0"
        mistake = Mistake("weights.shifted", text, own_fix=fix)
        yield mistake, array_change(_rolled(step, -1))
        text = f"all gates but the first are split one column too {which}"
        mistake = Mistake("weights.shifted", text, own_fix=_SPLIT)
        yield mistake, block_change(partial(_split_beside, step=step))
    text = "the gates are split at multiples of D, not of M"
    yield Mistake("gates.stride", text), _with_gates_at_features


def _omitted_rows() -> _Changes:
    """Leave out rows of a kernel, as a loop does that is too short."""
    where = Where(array=_RECURRENT)
    for row, which in ((-1, "last"), (0, "first")):
        text = f"the {which} row of {_RECURRENT} is left out: the sum over the units is too short"
        mistake = Mistake("weights.row_omitted", text, where, _ALL_UNITS)
        yield mistake, array_change(_without_row(row), "Wh")
    text = f"the sum over the units of h has D terms, not M: rows of {_RECURRENT} are left out"
    mistake = Mistake("weights.row_omitted", text, where, _ALL_UNITS)
    yield mistake, _with_as_many_rows("Wh", "Wx")
    text = f"the sum over the features of x has M terms, not D: rows of {_KERNEL} are left out"
    mistake = Mistake("weights.row_omitted", text, Where(array=_KERNEL), _ALL_FEATURES)
    yield mistake, _with_as_many_rows("Wx", "Wh")


def _strides() -> _Changes:
    """Read rows that begin at another distance in their buffer."""
    for keys in (("Wx",), ("Wh",), ("Wx", "Wh")):
        names = " and ".join(ARRAY_NAMES[key] for key in keys)
        where = Where(array=names if len(keys) == 1 else None)
        text = f"the rows of {names} are read as if each had the columns of one gate"
        mistake = Mistake("layout.row_stride", text, where)
        yield mistake, block_change(_with_stride_of_block, *keys)
        for multiple, stored in itertools.product(_STRIDES, (False, True)):
            read = "stored with padding" if stored else "read as if padded"
            more = ", and read as if not padded" if stored else ""
            text = f"the rows of {names} are {read} to a multiple of {multiple} columns{more}"
            mistake = Mistake("layout.row_stride", text, where)
            yield mistake, array_change(partial(_repadded, multiple=multiple, stored=stored), *keys)


def _with_as_many_rows(key: str, other: str) -> CellChange:
    """Return a change that leaves out two rows or more of a kernel that another one lacks."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        count, rows = len(arrays[other]), arrays[key].copy()
        if len(rows) - count < 2:  # one row is another mistake
            return cell, arrays
        rows[count:] = 0.0
        return cell, {**arrays, key: rows}

    return change


def _repadded(values: Array, multiple: int, *, stored: bool) -> Array:
    """Return a matrix whose rows are padded to a multiple of columns, in its buffer or as read.

    Beyond the buffer, it is 0.
    """
    rows, columns = values.shape
    padded = -(-columns // multiple) * multiple
    distances = (padded, columns) if stored else (columns, padded)
    starts, first = (np.arange(rows)[:, None] * distance for distance in distances)
    buffer = np.zeros(2 * rows * padded)
    buffer[starts + np.arange(columns)] = values
    return np.asarray(buffer[first + np.arange(columns)])


def _with_stride_of_block(values: Array, blocks: int) -> Array:
    """Return a kernel whose rows begin one block apart in its buffer, not all of its blocks."""
    rows, columns = values.shape
    starts = np.arange(rows) * (columns // blocks)
    return np.asarray(values.reshape(-1)[starts[:, None] + np.arange(columns)])


def _with_gates_at_features(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
    """Return arrays whose blocks begin D columns apart, not M; beyond the last column, 0."""
    gates, units, features = len(cell.gate_names), len(arrays["Wh"]), len(arrays["Wx"])
    if gates < 2 or units == features:
        return cell, arrays
    columns = (np.arange(gates)[:, None] * features + np.arange(units)).reshape(-1)
    inside = columns < gates * units
    read = np.where(inside, columns, 0)
    return cell, {key: array[..., read] * inside for key, array in arrays.items()}


def _split_beside(values: Array, gates: int, step: int) -> Array:
    """Return an array whose blocks but the first begin one column early or late, cyclically."""
    width = values.shape[-1] // gates
    return np.concatenate(
        [values[..., :width], np.roll(values, -step, axis=-1)[..., width:]], axis=-1
    )


def _read_one_row_late(key: str, following: str) -> CellChange:
    """Return a change of one array to what stands one row later in a buffer of all arrays."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        if following not in arrays:
            return cell, arrays
        next_row = np.atleast_2d(arrays[following])[:1]
        return cell, {**arrays, key: np.concatenate([arrays[key][1:], next_row])}

    return change


def _rows_beyond(step: int) -> Callable[[Array], Array]:
    """Return a reader of rows at an offset; beyond the first and the last one it reads 0."""

    def read(array: Array) -> Array:
        rows = np.roll(array, -step, axis=0)
        rows[-1 if step == 1 else 0] = 0.0
        return rows

    return read


def _with_transposed(kernel: Array, number: int) -> Array:
    """Return a recurrent kernel whose block of one gate is transposed."""
    units = len(kernel)
    changed = np.array(kernel)
    block = slice(number * units, (number + 1) * units)
    changed[:, block] = kernel[:, block].T
    return changed


def _stacked_kernels(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
    """Take the rows of both kernels, one after the other, for those of h and then of x."""
    rows = np.concatenate([arrays["Wx"], arrays["Wh"]])
    units = len(arrays["Wh"])
    if len(arrays["Wx"]) == units:  # then they are exchanged
        return cell, arrays
    return cell, {**arrays, "Wh": rows[:units], "Wx": rows[units:]}


def _exchanged_kernels(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
    """Exchange kernel and recurrent kernel, if they have one shape."""
    if arrays["Wx"].shape != arrays["Wh"].shape:
        return cell, arrays
    return cell, {**arrays, "Wx": arrays["Wh"], "Wh": arrays["Wx"]}


def _buffer(step: int, rest: float) -> Callable[[Array], Array]:
    """Return a reader at an offset; beyond the end it reads the other end, times ``rest``."""

    def read(array: Array) -> Array:
        flat = np.roll(array.reshape(-1), -step)
        flat[-1 if step == 1 else 0] *= rest
        return flat.reshape(array.shape)

    return read


def _rolled(step: int, axis: int) -> Callable[[Array], Array]:
    return lambda array: np.roll(array, -step, axis)


def _without_row(row: int) -> Callable[[Array], Array]:
    def read(array: Array) -> Array:
        rows = array.copy()
        rows[row] = 0.0
        return rows

    return read


_MISTAKES = (
    *(_shifted_arrays, _misplaced_rows, _split_elsewhere, _omitted_rows, _strides, _lost_signs),
)

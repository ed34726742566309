"""Known mistakes of ports that read an array's buffer in another order or at another index."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
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
    with_change,
)
from rnnshapes.port.mistakes.gates import repeated_gates

FORTRAN = "read column by column (Fortran order)"
#: The axes of a kernel, as they are stored in Keras, and what to do if they are not read so.
AXES = ("rows", "gates", "units")
ROWS_GATES_UNITS = "an array is (rows, gates, units), row by row"
FLAT = "a flat buffer of (columns, rows), as PyTorch stores it, read as (rows, columns)"


# --- Other orders -------------------------------------------------------------------------------


def layouts(hypothesis: Hypothesis) -> Variations:
    """Read the kernels transposed, column by column, or as flat buffers of their transposes."""
    kernels = {key: name for key, name in ARRAY_NAMES.items() if key != "bh"}
    gated = bool(gates_of(hypothesis))
    orders = (("layout.fortran", FORTRAN, by_columns), ("layout.flat_buffer", FLAT, as_flat))
    for key, name in kernels.items():
        where = Where(array=name)
        mistake = Mistake("layout.transposed", f"{name} is transposed", where)
        yield from changed_cells(hypothesis, mistake, block_change(_transposed, key))
        # One square block that is read column by column is a transposed one.
        for id_, how, read in orders if gated or key == "Wx" else ():
            mistake = Mistake(id_, f"{name} is {how}", where)
            yield from changed_cells(hypothesis, mistake, array_change(read, key))
    for id_, how, read in orders:
        changed = with_change(hypothesis, array_change(read, *kernels))
        if gated and changed is not None:
            yield Mistake(id_, f"kernel and recurrent_kernel are {how}"), changed
        if hypothesis.scope is None and (dense := _dense_names(hypothesis)):
            changed = changed or hypothesis
            weights = dict(changed.weights)
            for name in dense:
                weights[name] = {**weights[name], "W": read(weights[name]["W"])}
            every = replace(changed, weights=weights, touched=frozenset())
            yield Mistake(id_, f"every kernel is {how}"), every


def interleaved(hypothesis: Hypothesis) -> Variations:
    """Take the gates of each unit side by side, where Keras has blocks, or the reverse."""
    stored = "the gates are read interleaved by unit, but stored as one block per gate"
    read_as = "the gates are read as one block per gate, but stored interleaved by unit"
    for read, sizes, text in (
        (_unit_by_unit, "G, M", stored),
        (_gate_by_gate, "M, G", read_as),
    ):
        fix = f"W = W.reshape(*W.shape[:-1], {sizes}).swapaxes(-1, -2).reshape(W.shape)"
        for keys in (tuple(ARRAY_NAMES), ("Wx", "Wh"), ("Wx",), ("Wh",), ("bh",)):
            names = " and ".join(ARRAY_NAMES[key] for key in keys)
            where = Where(array=names if len(keys) == 1 else None)
            what = "" if len(keys) == len(ARRAY_NAMES) else f", in {names}"
            mistake = Mistake("layout.interleaved", f"{text}{what}", where, fix)
            yield from changed_cells(hypothesis, mistake, block_change(read, *keys))


def other_axes(hypothesis: Hypothesis) -> Variations:
    """Read the buffer of an array with its axes, rows, gates and units, in another order."""
    if not gates_of(hypothesis):
        return
    for stored, read in itertools.permutations(itertools.permutations(range(3)), 2):
        text = f"a buffer of {axes_text(stored)}, read as {axes_text(read)}"
        for keys in (("Wx", "Wh"), ("Wx",), ("Wh",), ("bh",)):
            names = " and ".join(ARRAY_NAMES[key] for key in keys)
            what = f"{names} are each" if len(keys) > 1 else f"{names} is"
            where = Where(array=None if len(keys) > 1 else names)
            mistake = Mistake("layout.flat_buffer", f"{what} {text}", where, ROWS_GATES_UNITS)
            change = block_change(partial(_read_as, stored=stored, read=read), *keys)
            yield from changed_cells(hypothesis, mistake, change)


def axes_text(axes: Sequence[int]) -> str:
    """Return the axes of a kernel in words, in this order."""
    return f"({', '.join(AXES[axis] for axis in axes)})"


def reordered_axes(blocks: Array, stored: Sequence[int], read: Sequence[int]) -> Array:
    """Return an array (rows, gates, units) that is stored in one order of axes, and read in one."""
    buffer = blocks.transpose(stored).reshape([blocks.shape[axis] for axis in read])
    return buffer.transpose(np.argsort(read))


def _read_as(values: Array, gates: int, stored: Sequence[int], read: Sequence[int]) -> Array:
    if values.ndim == 1:  # a bias of one row
        return values
    blocks = values.reshape(len(values), gates, -1)
    return reordered_axes(blocks, stored, read).reshape(values.shape)


def _dense_names(hypothesis: Hypothesis) -> list[str]:
    """Return the names of the layers after the last recurrence that have a matrix."""
    network, weights = hypothesis.network, hypothesis.weights
    names = dict.fromkeys(network.nodes[position].layer.name for position in network.head)
    matrices = {name: weights.get(name, {}).get("W") for name in names}
    return [name for name, matrix in matrices.items() if matrix is not None and matrix.ndim == 2]


def by_columns(values: Array) -> Array:
    """Return a matrix whose rows were written and are read as its columns."""
    return values.reshape(values.shape[::-1]).T


def as_flat(values: Array) -> Array:
    """Return a matrix whose columns were written and are read as its rows."""
    return np.ascontiguousarray(values.T).reshape(values.shape)


def _unit_by_unit(values: Array, gates: int) -> Array:
    """Return what a port takes for blocks (…, G M) that reads blocks as gates unit by unit."""
    parts = values.reshape(*values.shape[:-1], -1, gates)
    return np.swapaxes(parts, -1, -2).reshape(values.shape)


def _gate_by_gate(values: Array, gates: int) -> Array:
    """Return what a port takes for blocks (…, G M) that reads gates unit by unit as blocks."""
    parts = values.reshape(*values.shape[:-1], gates, -1)
    return np.swapaxes(parts, -1, -2).reshape(values.shape)


def _transposed(kernel: Array, blocks: int) -> Array:
    """Return a kernel whose blocks are transposed, if they are square."""
    if kernel.shape[0] * blocks != kernel.shape[1]:
        return kernel
    return np.concatenate([block.T for block in np.split(kernel, blocks, axis=1)], axis=1)


# --- Other indices ------------------------------------------------------------------------------


def misread_parts(hypothesis: Hypothesis) -> Variations:
    """Read blocks, columns or rows at the wrong index, or one kernel for the other."""
    yield from repeated_gates(hypothesis)
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
            yield from changed_cells(hypothesis, mistake, array_change(read, key))
    name, where = ARRAY_NAMES["Wh"], Where(array=ARRAY_NAMES["Wh"])
    for step in (1, -1):
        text = f"the rows of {name} are shifted by one: row m {'-+'[step > 0]} 1 is read at m"
        for more, read in (("", _rolled(step, 0)), ("; beyond it, 0", _rows_beyond(step))):
            mistake = Mistake("weights.permuted", f"{text}{more}", where)
            yield from changed_cells(hypothesis, mistake, array_change(read, "Wh"))
        text = f"column i {'-+'[step > 0]} 1 of every array is read for column i, cyclically"
        fix = "split z at multiples of M"
        mistake = Mistake("weights.shifted", text, own_fix=fix)
        yield from changed_cells(hypothesis, mistake, array_change(_rolled(step, -1)))
    mistake = Mistake("weights.permuted", f"the rows of {name} are in reverse", where)
    yield from changed_cells(hypothesis, mistake, array_change(lambda rows: rows[::-1], "Wh"))
    text = "the gates are split at multiples of D, not of M"
    mistake = Mistake("gates.stride", text, own_fix="split z at multiples of M")
    yield from changed_cells(hypothesis, mistake, _with_gates_at_features)
    for row, which in ((-1, "last"), (0, "first")):
        text = f"the {which} row of {name} is left out: the sum over the units of h is too short"
        fix = "sum over all units of h: m = 0 … M-1"
        mistake = Mistake("weights.row_omitted", text, where, fix)
        yield from changed_cells(hypothesis, mistake, array_change(_without_row(row), "Wh"))
    text = f"the sum over the units of h has D terms, not M: rows of {name} are left out"
    fix = "sum over all units of h: m = 0 … M-1"
    mistake = Mistake("weights.row_omitted", text, where, fix)
    yield from changed_cells(hypothesis, mistake, _with_as_many_rows("Wh", "Wx"))
    text = "the sum over the features of x has M terms, not D: rows of kernel are left out"
    fix = "sum over all features of x: d = 0 … D-1"
    mistake = Mistake("weights.row_omitted", text, Where(array="kernel"), fix)
    yield from changed_cells(hypothesis, mistake, _with_as_many_rows("Wx", "Wh"))
    for keys in (("Wx",), ("Wh",), ("Wx", "Wh")):
        names = " and ".join(ARRAY_NAMES[key] for key in keys)
        text = f"the rows of {names} are read as if each had the columns of one gate"
        mistake = Mistake("layout.row_stride", text, Where(array=names if len(keys) == 1 else None))
        yield from changed_cells(hypothesis, mistake, block_change(_with_stride_of_block, *keys))
    for gates in gates_of(hypothesis):
        for number, gate in enumerate(gates):
            text, at = f"gate {gate} of {name} is transposed", where._replace(gate=gate)
            mistake = Mistake("layout.transposed", text, at)
            change = array_change(partial(_with_transposed, number=number), "Wh", gates=gates)
            yield from changed_cells(hypothesis, mistake, change)
    text = "the kernels are stacked as [Wx; Wh], but multiply [h, x]"
    mistake = Mistake("layout.concatenation", text, own_fix="multiply [x, h] by [Wx; Wh]")
    yield from changed_cells(hypothesis, mistake, _stacked_kernels)
    text = "kernel and recurrent_kernel are exchanged: Wx multiplies h, and Wh multiplies x"
    mistake = Mistake("layout.kernels_exchanged", text)
    yield from changed_cells(hypothesis, mistake, _exchanged_kernels)


def _with_as_many_rows(key: str, other: str) -> CellChange:
    """Return a change that leaves out two rows or more of a kernel that another one lacks."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        count, rows = len(arrays[other]), arrays[key].copy()
        if len(rows) - count < 2:  # one row is another mistake
            return cell, arrays
        rows[count:] = 0.0
        return cell, {**arrays, key: rows}

    return change


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
    block = kernel[:, number * units : (number + 1) * units]
    if block.shape == (units, units):
        changed[:, number * units : (number + 1) * units] = block.T
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

"""Known mistakes of ports that read the buffer of an array in another order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where
from rnnshapes.port.mistakes.cell_changes import (
    ARRAY_NAMES,
    array_change,
    block_change,
    changed_cells,
    gates_of,
    with_change,
)

FORTRAN = "read column by column (Fortran order)"
#: The axes of an array, as they are stored in Keras.
AXES = ("rows", "gates", "units")
FLAT = "a flat buffer of (columns, rows), as PyTorch stores it, read as (rows, columns)"


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
        if changed is not None:
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
            if keys == ("Wh",) and _transposes_blocks(stored, read):
                continue  # known by a plainer name
            mistake = Mistake("layout.flat_buffer", f"{what} {text}", where, axes_fix(stored))
            change = block_change(partial(_read_as, stored=stored, read=read), *keys)
            yield from changed_cells(hypothesis, mistake, change)


def axes_text(axes: Sequence[int]) -> str:
    """Return the axes of a kernel in words, in this order."""
    return f"({', '.join(AXES[axis] for axis in axes)})"


def axes_fix(stored: Sequence[int]) -> str:
    """Return code that reads a buffer with its axes in this order."""
    sizes = ", ".join(AXES[axis] for axis in stored)
    order = ", ".join(str(axis) for axis in np.argsort(stored))
    return f"W = buffer.reshape({sizes}).transpose({order}).reshape(rows, gates * units)"


def reordered_axes(blocks: Array, stored: Sequence[int], read: Sequence[int]) -> Array:
    """Return an array (rows, gates, units) that is stored in one order of axes, and read in one."""
    buffer = blocks.transpose(stored).reshape([blocks.shape[axis] for axis in read])
    return buffer.transpose(np.argsort(read))


def _transposes_blocks(stored: Sequence[int], read: Sequence[int]) -> bool:
    """Return whether square blocks are read transposed, but in their places."""
    blocks = np.arange(2 * 3 * 2).reshape(2, 3, 2)
    return np.array_equal(reordered_axes(blocks, stored, read), blocks.transpose(2, 1, 0))


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

"""Known mistakes of ports that read rows of a kernel, or of a bias, at a wrong index."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where
from rnnshapes.port.mistakes.cell_changes import (
    ARRAY_NAMES,
    array_change,
    cells_of,
    changed_cells,
    gates_of,
)
from rnnshapes.port.mistakes.layout import axes_text, reordered_axes

#: Rows of a buffer are padded to multiples of so many numbers.
_MULTIPLES = (4, 8, 16, 32)


def other_rows(hypothesis: Hypothesis) -> Variations:
    """Read the rows of a kernel one too early or too late, or as if they were padded."""
    name = ARRAY_NAMES["Wx"]
    for step, sign in ((1, "-"), (-1, "+")):
        text = f"the rows of {name} are shifted by one: row d {sign} 1 is read at d; beyond it, 0"
        fix = f"check the offset of {name} in its buffer"
        mistake = Mistake("weights.permuted", text, Where(array=name), fix)
        change = array_change(partial(_shifted, step=step), "Wx")
        yield from changed_cells(hypothesis, mistake, change)
    widths = {len(cell.gate_names) or 1 for cell in cells_of(hypothesis)}
    units = {len(a["Wh"]) for a in hypothesis.weights.values() if "Wh" in a}
    for columns in sorted({g * m for g, m in itertools.product(widths, units)}):
        for keys in (("Wx", "Wh"), ("Wx",), ("Wh",)):
            names = " and ".join(ARRAY_NAMES[key] for key in keys)
            where = Where(array=names if len(keys) == 1 else None)
            for text, read in _paddings(columns):
                mistake = Mistake("layout.row_stride", f"the rows of {names} {text}", where)
                yield from changed_cells(hypothesis, mistake, array_change(read, *keys))


def _shifted(array: Array, step: int) -> Array:
    """Return an array whose rows are moved, with zeros before or behind them."""
    rows = np.roll(array, step, axis=0)
    rows[0 if step > 0 else -1] = 0.0
    return rows


def _paddings(columns: int) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Yield how rows of so many columns are misread if the port or the file alone pads them.

    Beside the words stands what reads a kernel so.
    """
    for width in dict.fromkeys(-(-columns // multiple) * multiple for multiple in _MULTIPLES):
        for stored, read in ((columns, width), (width, columns)) if width > columns else ():
            text = f"are read {read} numbers apart, but are stored {stored} apart"
            yield text, partial(_reread, columns=columns, stored=stored, read=read)


def _reread(array: Array, columns: int, stored: int, read: int) -> Array:
    """Return rows that are stored so many numbers apart, and read so many apart; beyond, zeros."""
    if array.shape[1] != columns:
        return array
    buffer = np.zeros(len(array) * max(stored, read))
    for number, row in enumerate(array):
        buffer[number * stored : number * stored + columns] = row
    starts = np.arange(len(array)) * read
    return np.asarray(buffer[starts[:, None] + np.arange(columns)])


def other_axes_of_biases(hypothesis: Hypothesis) -> Variations:
    """Read the buffer of a bias of two rows with its axes in another order."""
    for gates in gates_of(hypothesis):
        for stored, read in itertools.permutations(itertools.permutations(range(3)), 2):
            if stored[0] == read[0] == 0:  # gates that are interleaved
                continue
            text = f"bias is a buffer of {axes_text(stored)}, read as {axes_text(read)}"
            fix = "bias is (rows, gates, units), row by row: one of x, and one of h"
            mistake = Mistake("layout.flat_buffer", text, Where(array="bias"), fix)
            axes = partial(_with_axes, count=len(gates), stored=stored, read=read)
            yield from changed_cells(hypothesis, mistake, array_change(axes, "bh", gates=gates))


def _with_axes(bias: Array, count: int, stored: tuple[int, ...], read: tuple[int, ...]) -> Array:
    """Return a bias of two rows whose buffer is read with its axes in another order."""
    if bias.ndim == 1:
        return bias
    blocks = bias.reshape(len(bias), count, -1)
    return reordered_axes(blocks, stored, read).reshape(bias.shape)

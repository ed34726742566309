"""The form in which a layout is described: data, from which readers and tables are made.

The parts of a cell are those of its equation, in Keras's orientation and order of gates: ``Wx``
(D, GM), ``Wh`` (M, GM), the bias ``bx`` of the input and ``bh`` of the state (GM,), the projection
``Wp`` (M, P), and an LSTM's peepholes ``P``. G is the number of gates, 1 for a cell without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rnnshapes.cells.cell import Weight
from rnnshapes.ops.dims import Dim, Shape, total

#: Symbolic shape of each part.
PARTS = MappingProxyType(
    {
        "Wx": ("D", "GM"),
        "Wh": ("M", "GM"),
        "bx": ("GM",),
        "bh": ("GM",),
        "Wp": ("M", "P"),
        "P": ("3M",),
    }
)


@dataclass(frozen=True)
class ArrayLayout:
    """One array of a framework.

    Attributes:
        name: Its name; ``{gate}`` stands for a gate where each gate has an array of its own.
        parts: The parts that it holds, one after the other: in rows of one kernel, or in the last
            axis of a bias.
        transposed: Whether a matrix has the gates in its rows.
        by_direction: Whether its first axis counts directions.
        gates: The order of its gates, where it is not that of the cell.
        stacked: Whether its parts are rows of a new first axis.
    """

    name: str
    parts: tuple[str, ...]
    transposed: bool = False
    by_direction: bool = False
    gates: tuple[str, ...] = ()
    stacked: bool = False

    @property
    def dims(self) -> tuple[str, ...]:
        """Symbolic shape: ``("dirs", "GM", "D")``."""
        shapes = [PARTS[part] for part in self.parts]
        (first, *rest), count = shapes[0], len(shapes)
        if count > 1 and not self.stacked:
            first = f"{count}{first}" if not rest else "+".join(shape[0] for shape in shapes)
        dims = [first, *rest]
        if "{gate}" in self.name or len(self.gates) == 1:
            dims[-1] = "M"
        dims = dims[::-1] if self.transposed else dims
        lead = ["dirs"] if self.by_direction else [str(count)] if self.stacked else []
        return (*lead, *dims)


@dataclass(frozen=True)
class CellLayout:
    """A cell of a framework: its class, its order of gates, and its arrays.

    Attributes:
        framework: The framework, as its makers write it.
        cell: The cell, by its name on the command line.
        class_name: The framework's class or operator.
        gates: The order of its gates, by Keras's letters.
        arrays: Its arrays.
        candidate: Its letter for the candidate, where it is not Keras's.
        remarks: What its code adds to the weights, or computes otherwise.
    """

    framework: str
    cell: str
    class_name: str
    gates: tuple[str, ...]
    arrays: tuple[ArrayLayout, ...]
    candidate: str = ""
    remarks: str = ""

    def array(self, name: str) -> ArrayLayout:
        """Return the array of this name. Raises KeyError if there is none."""
        return {array.name: array for array in self.arrays}[name]

    @property
    def order_text(self) -> str:
        """The gates in their order: ``i f g o (g is c)``."""
        if not self.candidate:
            return " ".join(self.gates)
        letters = " ".join(map(self.letter, self.gates))
        return f"{letters} ({self.candidate} is {self._candidate_gate})"

    def letter(self, gate: str) -> str:
        """Return the framework's letter for a gate, by Keras's."""
        return self.candidate if self.candidate and gate == self._candidate_gate else gate

    @property
    def candidate_text(self) -> str:
        """What the candidate is called: ``c~ is PyTorch's g``; empty if it is as in Keras."""
        if not self.candidate:
            return ""
        return f"{self._candidate_gate}~ is {self.framework}'s {self.candidate}"

    @property
    def _candidate_gate(self) -> str:
        return next(gate for gate in self.gates if gate in ("c", "h"))


def shape_in(array: ArrayLayout, gates: int, sizes: Mapping[str, Dim]) -> Shape:
    """Return the symbolic shape of an array.

    Args:
        array: The array.
        gates: The number of gates of the cell, 1 for a cell without.
        sizes: The sizes D, M, P and dirs of the cell; P is that of its state, M unless projected.
    """
    dims = tuple(total(_term(t, gates, sizes) for t in text.split("+")) for text in array.dims)
    if array.parts == ("Wh",):  # the state may be a projected one
        return tuple(sizes["P"] if dim == sizes["M"] else dim for dim in dims)
    return dims


def stored_weight(
    array: ArrayLayout, layout: CellLayout, sizes: Mapping[str, Dim], name: str, index: str
) -> Weight:
    """Return an array with its symbolic shape, its symbols, and the gates along their axis.

    Args:
        array: The array.
        layout: The layout of its cell.
        sizes: The sizes D, M, P and dirs of the cell; P is that of its state, M unless projected.
        name: The name of the array.
        index: What its symbols end in.
    """
    base = index.rstrip("→←")
    arrow = index.removeprefix(base)
    symbols = " ".join(f"{part}{base}{'ᵀ' * array.transposed}{arrow}" for part in array.parts)
    gates = array.gates or (layout.gates if array.parts[0] != "Wp" else ())
    if len(array.parts) > 1:  # ONNX's own names for both halves of B
        gates = tuple(f"{half}_{gate}" for half in ("Wb", "Rb") for gate in gates)
        gates = gates or ("Wb", "Rb")
    dims = shape_in(array, max(1, len(layout.gates)), sizes)
    return Weight(symbols, name, dims, gates, gate_axis=-2 if array.transposed else -1)


def _term(text: str, gates: int, sizes: Mapping[str, Dim]) -> Dim:
    """Return the size that ``2GM`` stands for."""
    count, many, name = re.fullmatch(r"(\d*)(G?)([A-Za-z]*)", text).groups()  # type: ignore[union-attr]
    size = sizes[name] if name else Dim.of(1)
    return size * (int(count or 1) * (gates if many else 1))

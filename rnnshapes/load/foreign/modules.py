"""Recurrent modules of a file, with the arrays that they consist of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rnnshapes.cells.frameworks import FrameworkCell
from rnnshapes.layouts.layout import ArrayLayout, CellLayout
from rnnshapes.load.foreign.tensors import Tensor

#: Modules without recurrence that are shown one by one.
MOST_OTHERS = 200
#: No model has modules deeper in each other.
MOST_DEPTH = 20


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array of a recurrent layer, and how the framework lays it out.

    ``name`` is its name within the module. ``direction`` is the one that it belongs to; ``None``
    if it holds all of them.
    """

    name: str
    layout: ArrayLayout
    tensor: Tensor
    direction: int | None = None


@dataclass(frozen=True, eq=False)
class ModuleLayer:
    """One layer of a stack: a cell in one direction or in both.

    ``cells``, one for each direction, have numbers for their sizes. ``reverse`` tells for each
    direction whether it processes the sequence in reverse. ``notes`` are remarks on what the file
    does not say, and ``runtime_differences`` why a runtime
    computes other numbers than trace.
    """

    cells: tuple[FrameworkCell, ...]
    features: int
    reverse: tuple[bool, ...]
    arrays: tuple[StoredArray, ...]
    notes: tuple[str, ...]
    runtime_differences: str = ""

    @property
    def cell(self) -> FrameworkCell:
        """The cell of the first direction, whose sizes are those of both."""
        return self.cells[0]


@dataclass(frozen=True, eq=False)
class Module:
    """A recurrent module: its layers, each of which feeds the next one."""

    name: str
    layout: CellLayout
    layers: tuple[ModuleLayer, ...]

    def layer_name(self, number: int) -> str:
        """Return the name of a layer: that of the module, with a number in a stack."""
        return self.name if len(self.layers) == 1 else f"{self.name}.l{number}"


@dataclass(frozen=True, eq=False)
class OtherModule:
    """Arrays that belong to no recurrence, with what their names and shapes suggest.

    ``roles`` are what arrays are for, by their names: ``weight`` (a matrix as in PyTorch, or a
    scale), ``kernel`` (a matrix as in Keras), ``table``, ``bias``, ``running_mean`` and
    ``running_var``. Those of which the file does not say it are left out.
    """

    name: str
    class_name: str
    tensors: tuple[Tensor, ...]
    roles: Mapping[str, str] = field(default_factory=dict)


def joined(others: Sequence[OtherModule]) -> tuple[OtherModule, ...]:
    """Return at most ``MOST_OTHERS`` modules: those inside the same one are joined, if need be.

    Joined ones have no roles.
    """
    if len(others) <= MOST_OTHERS:
        return tuple(others)
    parts = [other.name.split(".", MOST_DEPTH) for other in others]
    for depth in range(MOST_DEPTH, -1, -1):
        groups: dict[str, list[OtherModule]] = {}
        for path, other in zip(parts, others, strict=True):
            groups.setdefault(".".join(path[:depth]) or "(others)", []).append(other)
        if len(groups) <= MOST_OTHERS:
            break
    return tuple(_as_one(name, group) for name, group in groups.items())


def _as_one(name: str, group: Sequence[OtherModule]) -> OtherModule:
    kind = f"{len(group)} modules" if len(group) > 1 else group[0].class_name
    return OtherModule(name, kind, tuple(tensor for other in group for tensor in other.tensors))


@dataclass(frozen=True, eq=False)
class ChainRecurrence:
    """A recurrent module in the graph of a file, by its number, and what it passes on."""

    module: int
    return_sequences: bool = True
    merge_mode: str = "concat"


@dataclass(frozen=True, eq=False)
class ChainDense:
    """A dense layer in the graph of a file: its arrays, and the activation behind it."""

    name: str
    kernel: Tensor
    is_transposed: bool
    bias: Tensor | None
    activation: str = "linear"


ChainLayer = ChainRecurrence | ChainDense


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    ``warnings`` are for the user, such as traps of a format; ``contradictions`` say in what the
    arrays do not fit together. ``chain`` are the layers of its graph, one after the other; it is
    empty where the graph is not known, or has other layers. ``steps`` is the T that this graph
    takes; ``None`` if it is open.
    """

    framework: str
    kind: str
    modules: tuple[Module, ...]
    others: tuple[OtherModule, ...]
    warnings: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    chain: tuple[ChainLayer, ...] = ()
    steps: int | None = None

"""What every cell has: the interface that the rest of the package knows it by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from rnnshapes.ops.dims import Dim, Shape, product
from rnnshapes.ops.interface import CellOps, Tensor

#: What a recurrence carries from step to step, by name.
CellState = Mapping[str, Tensor]


@dataclass(frozen=True)
class Weight:
    """One array that a layer owns.

    ``key`` is its name in the equation (``Wx``), ``name`` its name in Keras (``kernel``),
    ``dims`` its symbolic shape. ``gates`` divide its last axis into equal parts, in this order;
    ``rows`` name what its first axis holds. ``learned`` is false for statistics.
    """

    key: str
    name: str
    dims: Shape
    gates: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    learned: bool = True

    @property
    def count(self) -> Dim:
        """How many parameters it holds."""
        return product(self.dims)


class Variant(NamedTuple):
    """A known mistake in ports of a cell, and the cell as such a port computes it.

    ``id`` names the mistake for programs (``gru.z_complement``), ``text`` for people. ``family``
    is what it is about (``bias``, ``cell``); ``arrays`` changes the weights, by key.
    """

    id: str
    text: str
    family: str
    cell: Cell
    arrays: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict


class StepResult(NamedTuple):
    """What one step yields: the output, the states that are carried on, and the gates."""

    output: Tensor
    states: dict[str, Tensor]
    gates: dict[str, Tensor]


class BaseCell(ABC):
    """One step of recurrence, with names and sizes of what it owns and carries.

    ``keras_class`` names the Keras layer, ``default_name`` is Keras's own name for one.
    """

    keras_class: ClassVar[str]
    default_name: ClassVar[str]

    @property
    @abstractmethod
    def output(self) -> Dim:
        """The size of the output."""

    @property
    @abstractmethod
    def states(self) -> dict[str, Dim]:
        """What is carried from step to step, with sizes, in Keras's order."""

    @property
    @abstractmethod
    def output_state(self) -> str:
        """Which of the states is the output."""

    @property
    @abstractmethod
    def gates(self) -> dict[str, Dim]:
        """The gates with their sizes."""

    @property
    @abstractmethod
    def label(self) -> str:
        """``LSTM(M)``."""

    @property
    @abstractmethod
    def activations(self) -> tuple[str, ...]:
        """The names of the activations, that of the state first."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What to say of options that change no equation."""

    @property
    @abstractmethod
    def cells_by_suffix(self) -> Mapping[str, Cell]:
        """The cells in it, by what the keys of their weights end in."""

    @abstractmethod
    def map_cells(self, make: Callable[[Cell], Cell]) -> BaseCell:
        """The same with other cells."""

    @abstractmethod
    def weights(self, features: Dim) -> tuple[Weight, ...]:
        """The weights for inputs of ``features``, in Keras's order."""

    @abstractmethod
    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        """What one step needs of x_t alone, so that it can be computed for many t at once."""

    @abstractmethod
    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        """Step t, from the projected x_t and the states of t-1."""


@dataclass(frozen=True)
class Cell(BaseCell):
    """A cell of ``units``. The other fields are options of the Keras layer, by Keras's names.

    ``state_names`` are the values carried from step to step, of which the first is the output;
    ``gate_names`` are the gates, which divide the last axis of the kernels, in this order;
    ``gate_meanings`` says what each is called, ``gate_orders`` in which order others have them.
    """

    units: Dim
    activation: str = "tanh"
    use_bias: bool = True

    state_names: ClassVar[tuple[str, ...]] = ("h",)
    gate_names: ClassVar[tuple[str, ...]] = ()
    gate_meanings: ClassVar[tuple[str, ...]] = ()
    gate_orders: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})

    @property
    def output(self) -> Dim:
        return self.units

    @property
    def states(self) -> dict[str, Dim]:
        return dict.fromkeys(self.state_names, self.units)

    @property
    def output_state(self) -> str:
        return self.state_names[0]

    @property
    def gates(self) -> dict[str, Dim]:
        return dict.fromkeys(self.gate_names, self.units)

    @property
    def label(self) -> str:
        return f"{self.keras_class}({self.units})"

    @property
    def keras_options(self) -> dict[str, Any]:
        """The options of the Keras layer, without units."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "units"}

    @property
    def activations(self) -> tuple[str, ...]:
        options = self.keras_options
        return tuple(options[name] for name in options if name.endswith("activation"))

    @property
    def notes(self) -> tuple[str, ...]:
        named = zip(self.gate_names, self.gate_meanings, strict=True)
        return (f"gates: {', '.join(' '.join(pair) for pair in named)}",) if self.gate_names else ()

    @property
    def cells_by_suffix(self) -> Mapping[str, Cell]:
        return {"": self}

    def map_cells(self, make: Callable[[Cell], Cell]) -> Cell:
        return make(self)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """How ports are known to differ from it, apart from what may happen to any cell."""
        return ()

    def weights(self, features: Dim) -> tuple[Weight, ...]:
        width = max(1, len(self.gate_names)) * self.units
        kernels = (
            Weight("Wx", "kernel", (features, width), self.gate_names),
            Weight("Wh", "recurrent_kernel", (self.units, width), self.gate_names),
        )
        return (*kernels, self.bias(width)) if self.use_bias else kernels

    def bias(self, width: Dim) -> Weight:
        """The bias of a cell that has one."""
        return Weight("bh", "bias", (width,), self.gate_names)

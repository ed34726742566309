"""The interface of a cell, by which the rest of the package knows it."""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Self

from rnnshapes.ops.dims import Dim, Shape, product
from rnnshapes.ops.interface import CellOps, Tensor

#: What a cell carries from step to step, by name.
CellState = Mapping[str, Tensor]
#: Returns the number of a symbolic size.
SizeOf = Callable[[Dim], int]


@dataclass(frozen=True)
class KerasSpec:
    """A layer or cell to build in Keras: its class and its arguments.

    An argument, or each of a list of them, may be a KerasSpec or a layer itself. Without a
    ``name`` Keras chooses one.
    """

    class_name: str
    arguments: Mapping[str, Any]
    name: str = ""


@dataclass(frozen=True)
class Weight:
    """One array that a layer owns.

    Attributes:
        key: Its name in the equation: ``Wx``.
        name: Its name in Keras: ``kernel``.
        dims: Its symbolic shape.
        gates: The gates, which divide an axis into equal parts in this order.
        rows: The names of what its first axis holds.
        gate_axis: The axis that the gates divide; the last one in Keras.
        learned: Whether training changes it; false for statistics.
    """

    key: str
    name: str
    dims: Shape
    gates: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    learned: bool = True
    gate_axis: int = -1

    @property
    def count(self) -> Dim:
        """The number of parameters in it."""
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


class WrongEquation:
    """The methods of a cell that a port with a mistake has instead of its own."""


def wrong_equation(id_: str, text: str, **methods: Any) -> tuple[str, str, type]:
    """Return the id and the text of a mistake, and a class with the methods of such a port."""
    return id_, text, type("WrongEquation", (WrongEquation,), methods)


def _wrong_methods(kind: type) -> set[str]:
    """Return the names of the methods that a class of wrong ones holds itself."""
    own = vars(kind) if issubclass(kind, WrongEquation) else {}
    return {name for name in own if not name.startswith("__")}


class StepResult(NamedTuple):
    """The result of one step: the output, the states that are carried on, and the gates."""

    output: Tensor
    states: dict[str, Tensor]
    gates: dict[str, Tensor]


class BaseCell(ABC):
    """The interface that a single cell and a stack of cells share.

    ``class_name`` is the class of the layer around the cell in Keras, ``default_name`` the name
    that Keras gives to a layer of this class.
    """

    class_name: ClassVar[str]
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
        """The name of the state that is the output."""

    @property
    @abstractmethod
    def gates(self) -> dict[str, Dim]:
        """The gates with their sizes."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The class with its size: ``LSTM(M)``."""

    @property
    @abstractmethod
    def activations(self) -> tuple[str, ...]:
        """The names of the activations, that of the state first."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """Remarks on the gates, and on options that change no equation."""

    @property
    @abstractmethod
    def cells_by_suffix(self) -> Mapping[str, Cell]:
        """The single cells, by the suffix of their weights' keys."""

    @abstractmethod
    def map_cells(self, make: Callable[[Cell], Cell]) -> BaseCell:
        """Return a copy with each single cell replaced by ``make(cell)``."""

    @abstractmethod
    def weights(self, features: Dim) -> tuple[Weight, ...]:
        """Return the weights for inputs of ``features``, in Keras's order."""

    @abstractmethod
    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        """Compute what one step needs of x_t alone, so that it can be done for many t at once."""

    @abstractmethod
    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        """Compute step t from the projected x_t and the states of t-1."""

    def states_after_masked(self, state: CellState) -> CellState:
        """Return the states after a masked step: those before it."""
        return state

    @abstractmethod
    def keras_cell(self, size_of: SizeOf) -> KerasSpec:
        """Return how Keras builds the cell alone."""

    @abstractmethod
    def keras_layer(self, size_of: SizeOf, **options: Any) -> KerasSpec:
        """Return how Keras builds a layer with this cell; ``options`` are those of the layer."""


@dataclass(frozen=True)
class Cell(BaseCell):
    """A single cell of ``units``. Its other fields are options of the Keras layer, by name.

    A subclass with a ``name`` of its own is a cell that users can choose; the other class
    attributes say what Keras and others know of it.

    Attributes:
        name: Its name on the command line: ``lstm``.
        year: The year of its publication; cells are listed in this order.
        in_keras: Whether Keras has it. If not, it is computed in NumPy alone.
        state_names: The values carried from step to step, the output first.
        gate_names: The gates, which divide the last axis of the kernels in this order.
        gate_meanings: What each gate is called.
        keras1_gate_order: The order in which Keras 1 wrote one kernel, recurrent kernel and
            bias for each gate; empty if it wrote them as Keras 3 does.
        cudnn_class: The class of its layer for CuDNN in Keras 2, if there was one.
    """

    units: Dim
    activation: str = "tanh"
    use_bias: bool = True

    name: ClassVar[str]
    year: ClassVar[int]
    in_keras: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    gate_names: ClassVar[tuple[str, ...]] = ()
    gate_meanings: ClassVar[tuple[str, ...]] = ()
    keras1_gate_order: ClassVar[tuple[str, ...]] = ()
    cudnn_class: ClassVar[str | None] = None

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
        return f"{self.class_name}({self.units})"

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return the names of the options, without units."""
        return tuple(f.name for f in fields(cls) if f.name != "units")

    @classmethod
    def with_all_switches(cls, units: Dim) -> Iterator[Self]:
        """Yield the cell with each combination of its options that are true or false."""
        names = [f.name for f in fields(cls) if isinstance(f.default, bool)]
        for values in itertools.product((True, False), repeat=len(names)):
            switches: dict[str, Any] = dict(zip(names, values, strict=True))
            yield cls(units, **switches)

    @property
    def keras_options(self) -> dict[str, Any]:
        """The options of the Keras layer, without units."""
        return {name: getattr(self, name) for name in self.option_names()}

    @property
    def activations(self) -> tuple[str, ...]:
        options = self.keras_options
        return tuple(options[name] for name in options if name.endswith("activation"))

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.gate_names:
            return self.option_notes
        named = zip(self.gate_names, self.gate_meanings, strict=True)
        return (f"gates: {', '.join(' '.join(pair) for pair in named)}", *self.option_notes)

    @property
    def option_notes(self) -> tuple[str, ...]:
        """Remarks on options of Keras that change no equation."""
        return ()

    @property
    def cells_by_suffix(self) -> Mapping[str, Cell]:
        return {"": self}

    def map_cells(self, make: Callable[[Cell], Cell]) -> Cell:
        return make(self)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The known mistakes in ports of this cell, apart from those of any cell."""
        return ()

    def weights(self, features: Dim) -> tuple[Weight, ...]:
        width = max(1, len(self.gate_names)) * self.units
        kernels = (
            Weight("Wx", "kernel", (features, width), self.gate_names),
            Weight("Wh", "recurrent_kernel", (self.units, width), self.gate_names),
        )
        return (*kernels, self.bias(width)) if self.use_bias else kernels

    def bias(self, width: Dim) -> Weight:
        """Return the bias of a cell that has one."""
        return Weight("bh", "bias", (width,), self.gate_names)

    def add_bias(self, z: Tensor, w: Any) -> Tensor:
        """Return z with the bias of the input and of the state, if the cell has one."""
        return z + w.bh if self.use_bias else z

    @functools.cached_property
    def activation_names(self) -> Mapping[str, str]:
        """The name of the activation that computes each value.

        It is a gate, a candidate, h of a cell without gates, or, by the key c, what o multiplies.
        """
        return {}

    def activate(self, ops: CellOps, use: str, z: Tensor) -> Tensor:
        """Apply the activation that gives the value ``use``: see :attr:`activation_names`."""
        return ops.activate(self.activation_names[use], z)

    def with_methods_of(self, kind: type) -> Any:
        """Return the cell with the wrong methods of ``kind``.

        It is unchanged if another wrong equation replaces one of these methods already.
        """
        replaced = {name for base in type(self).__mro__ for name in _wrong_methods(base)}
        if replaced & _wrong_methods(kind):
            return self
        return _derived(kind, type(self))(**{f.name: getattr(self, f.name) for f in fields(self)})

    def keras_cell(self, size_of: SizeOf) -> KerasSpec:
        return KerasSpec(f"{self.class_name}Cell", self._keras_arguments(size_of))

    def keras_layer(self, size_of: SizeOf, **options: Any) -> KerasSpec:
        return KerasSpec(self.class_name, {**self._keras_arguments(size_of), **options})

    def _keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        """Return the arguments of the class in Keras.

        Initializers are set, since Keras's own one for recurrent kernels takes O(M³) and draws
        from the user's random numbers.
        """
        initializers = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "seed": 0}
        return {**self.keras_options, "units": size_of(self.units), **initializers}


@functools.cache
def _derived(kind: type, cell: type[Cell]) -> type[Cell]:
    """Return a class with the methods of ``kind``, and all else of ``cell``."""
    return type(kind.__name__, (kind, cell), {})

"""What every cell has: the interface that the rest of the package knows it by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

from rnnshapes.ops.dims import Dim, Shape, product

#: Keras's names of the activations that every reading knows.
ACTIVATIONS = (
    *("tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_tanh", "relu6", "leaky_relu"),
    *("elu", "selu", "celu", "softplus", "softsign", "log_sigmoid", "exponential"),
    *("sparse_plus", "sparse_sigmoid", "soft_shrink", "hard_shrink"),
    *("silu", "hard_silu", "mish", "gelu", "tanh_shrink", "squareplus"),
    *("softmax", "log_softmax"),
)
#: What Keras 1 and 2 called hard_sigmoid, in models that they saved.
KERAS2_HARD_SIGMOID = "keras2_hard_sigmoid"
#: Any value of a reading: an array, a symbolic tensor, a bounded number.
Tensor = Any
#: What a recurrence carries from step to step, by name.
States = Mapping[str, Tensor]


class Ops(Protocol):
    """What a reading hands to a cell's equation beside ``@``, ``+``, ``-``, ``*`` and ``1 - a``."""

    def activate(self, name: str, z: Tensor) -> Tensor:
        """The activation ``name`` of ``z``, element by element."""

    def split(self, z: Tensor, base: str, parts: tuple[str, ...]) -> list[Tensor]:
        """The last axis in equal parts, which are written ``base_part``."""

    def rows(self, b: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        """What the first axis holds, one after the other, by their names."""

    def let(self, name: str, value: Tensor) -> Tensor:
        """The same value, written ``name_t`` from here on."""

    def within(self, suffix: str) -> Ops:
        """The same for a part of the layer, whose names end in ``suffix``."""


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


class Step(NamedTuple):
    """What one step yields: the output, the states that are carried on, and the gates."""

    output: Tensor
    states: dict[str, Tensor]
    gates: dict[str, Tensor]


class Steps(ABC):
    """One step of recurrence, with names and sizes of what it owns and carries.

    ``keras_class`` names the Keras layer, ``base`` is Keras's own name for one.
    """

    keras_class: ClassVar[str]
    base: ClassVar[str]

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
    def single(self) -> Mapping[str, Cell]:
        """The cells in it, by what the keys of their weights end in."""

    @abstractmethod
    def with_cells(self, make: Callable[[Cell], Cell]) -> Steps:
        """The same with other cells."""

    @abstractmethod
    def weights(self, features: Dim) -> tuple[Weight, ...]:
        """The weights for inputs of ``features``, in Keras's order."""

    @abstractmethod
    def project(self, ops: Ops, x: Tensor, w: Any) -> Tensor:
        """What one step needs of x_t alone, so that it can be computed for many t at once."""

    @abstractmethod
    def step(self, ops: Ops, xz: Tensor, state: States, w: Any) -> Step:
        """Step t, from the projected x_t and the states of t-1."""


@dataclass(frozen=True)
class Cell(Steps):
    """A cell of ``units``. The other fields are options of the Keras layer, by Keras's names.

    ``carried`` are the values carried from step to step, of which the first is the output;
    ``parts`` are the gates, which divide the last axis of the kernels, in this order;
    ``meanings`` says what each is called, ``orders`` in which order others have them.
    """

    units: Dim
    activation: str = "tanh"
    use_bias: bool = True

    carried: ClassVar[tuple[str, ...]] = ("h",)
    parts: ClassVar[tuple[str, ...]] = ()
    meanings: ClassVar[tuple[str, ...]] = ()
    orders: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})

    @property
    def output(self) -> Dim:
        return self.units

    @property
    def states(self) -> dict[str, Dim]:
        return dict.fromkeys(self.carried, self.units)

    @property
    def output_state(self) -> str:
        return self.carried[0]

    @property
    def gates(self) -> dict[str, Dim]:
        return dict.fromkeys(self.parts, self.units)

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
        named = zip(self.parts, self.meanings, strict=True)
        return (f"gates: {', '.join(' '.join(pair) for pair in named)}",) if self.parts else ()

    @property
    def single(self) -> Mapping[str, Cell]:
        return {"": self}

    def with_cells(self, make: Callable[[Cell], Cell]) -> Cell:
        return make(self)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """How ports are known to differ from it, apart from what may happen to any cell."""
        return ()

    def weights(self, features: Dim) -> tuple[Weight, ...]:
        width = max(1, len(self.parts)) * self.units
        kernels = (
            Weight("Wx", "kernel", (features, width), self.parts),
            Weight("Wh", "recurrent_kernel", (self.units, width), self.parts),
        )
        return (*kernels, self.bias(width)) if self.use_bias else kernels

    def bias(self, width: Dim) -> Weight:
        """The bias of a cell that has one."""
        return Weight("bh", "bias", (width,), self.parts)

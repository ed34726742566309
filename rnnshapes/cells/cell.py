"""What every cell has: the interface that the rest of the package knows it by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from rnnshapes.algebra.dims import Dim, Shape, product

#: Keras's names of the activations that every reading knows.
ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear")
#: Any value of a reading: an array, a symbolic tensor, a bounded number.
Tensor = Any


class Ops(Protocol):
    """The operations a reading hands to an equation beside ``@``, ``+``, ``*`` and ``1 - a``."""

    def activate(self, name: str, z: Tensor) -> Tensor:
        """The activation ``name`` of ``z``, element by element."""

    def split(self, z: Tensor, base: str, parts: tuple[str, ...]) -> list[Tensor]:
        """The last axis in equal parts, which are written ``base_part``."""

    def rows(self, b: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        """What the first axis holds, one after the other, by their names."""

    def let(self, name: str, value: Tensor) -> Tensor:
        """The same value, written ``name_t`` from here on."""


@dataclass(frozen=True)
class Weight:
    """One array that a layer owns.

    ``key`` is its name in the equation (``Wx``), ``name`` its name in Keras (``kernel``),
    ``dims`` its symbolic shape. ``gates`` divide its last axis into equal parts, in this order;
    ``rows`` name what its first axis holds.
    """

    key: str
    name: str
    dims: Shape
    gates: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @property
    def count(self) -> Dim:
        """How many parameters it holds."""
        return product(self.dims)


class Step(NamedTuple):
    """What one step yields: the output, the states that are carried on, and the gates."""

    output: Tensor
    states: dict[str, Tensor]
    gates: dict[str, Tensor]


@dataclass(frozen=True)
class Cell(ABC):
    """One step of recurrence. The fields are options of the Keras layer, by Keras's names.

    ``keras_class`` names that layer, ``base`` is Keras's own name for one; ``states`` are the
    values carried from step to step, of which the first is the output; ``gates`` divide the
    last axis of the kernels, in this order.
    """

    activation: str = "tanh"
    use_bias: bool = True

    keras_class: ClassVar[str]
    base: ClassVar[str]
    states: ClassVar[tuple[str, ...]] = ("h",)
    gates: ClassVar[tuple[str, ...]] = ()

    @property
    def keras_options(self) -> dict[str, Any]:
        """The options of the Keras layer."""
        return asdict(self)

    def weights(self, features: Dim, units: Dim) -> tuple[Weight, ...]:
        """The weights for inputs of ``features`` and a state of ``units``, in Keras's order."""
        width = max(1, len(self.gates)) * units
        kernels = (
            Weight("Wx", "kernel", (features, width), self.gates),
            Weight("Wh", "recurrent_kernel", (units, width), self.gates),
        )
        return (*kernels, self.bias(width)) if self.use_bias else kernels

    def bias(self, width: Dim) -> Weight:
        """The bias of a cell that has one."""
        return Weight("bh", "bias", (width,), self.gates)

    @abstractmethod
    def project(self, ops: Ops, x: Tensor, w: Any) -> Tensor:
        """What one step needs of x_t alone, so that it can be computed for many t at once."""

    @abstractmethod
    def step(self, ops: Ops, xz: Tensor, state: dict[str, Tensor], w: Any) -> Step:
        """Step t, from the projected x_t and the states of t-1."""

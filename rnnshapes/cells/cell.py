"""What every cell has: the interface that the rest of the package knows it by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from rnnshapes.algebra.dims import Dim, Shape, product

#: Any value of a reading: an array, a symbolic tensor, a bounded number.
Tensor = Any


class Ops(Protocol):
    """The operations a reading hands to an equation beside ``@``, ``+`` and ``*``."""

    def activate(self, name: str, z: Tensor) -> Tensor:
        """The activation ``name`` of ``z``, element by element."""


@dataclass(frozen=True)
class Weight:
    """One array that a layer owns.

    ``key`` is its name in the equation (``Wx``), ``name`` its name in Keras (``kernel``),
    ``dims`` its symbolic shape.
    """

    key: str
    name: str
    dims: Shape

    @property
    def count(self) -> Dim:
        """How many parameters it holds."""
        return product(self.dims)


@dataclass(frozen=True)
class Cell(ABC):
    """One step of recurrence. The fields are options of the Keras layer, by Keras's names.

    ``keras_class`` names that layer; ``states`` are the values carried from step to step, of
    which the first is the layer's output.
    """

    activation: str = "tanh"
    use_bias: bool = True

    keras_class: ClassVar[str]
    states: ClassVar[tuple[str, ...]]

    @property
    def keras_options(self) -> dict[str, Any]:
        """The options of the Keras layer."""
        return asdict(self)

    @abstractmethod
    def weights(self, features: Dim, units: Dim) -> tuple[Weight, ...]:
        """The weights for inputs of ``features`` and a state of ``units``, in Keras's order."""

    @abstractmethod
    def project(self, ops: Ops, x: Tensor, w: Any) -> Tensor:
        """What one step needs of x_t alone, so that it can be computed for many t at once."""

    @abstractmethod
    def step(self, ops: Ops, xz: Tensor, state: dict[str, Tensor], w: Any) -> dict[str, Tensor]:
        """All named values of step t, from the projected x_t and the states of t-1."""

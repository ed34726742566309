"""What every layer has: the interface that the rest of the package knows it by."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from rnnshapes.cells.cell import BaseCell, Weight
from rnnshapes.errors import RnnshapesError
from rnnshapes.ops.dims import Dim, Shape, total
from rnnshapes.ops.interface import LayerOps, Tensor

#: The number behind a symbolic size.
SizeOf = Callable[[Dim], int]


class UnsupportedError(RnnshapesError):
    """This layer, or an option of it, is not derived; the message says which."""


class Masks(NamedTuple):
    """Which steps count: of the layer's input, and of its output; ``None`` for all."""

    before: Any = None
    after: Any = None


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One recurrence of a layer: a cell that reads the time steps in one direction.

    ``name`` is that of its group of weights, ``index`` tells its symbols apart.
    """

    name: str
    index: str
    features: Dim
    cell: BaseCell
    reverse: bool = False

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The weights of the cell."""
        return self.cell.weights(self.features)


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """A layer as the network knows it.

    ``index`` tells several layers of a kind apart in symbols (``Wx1``, ``W0``). ``output_symbol``
    is what its output is called, "" where it is what came in. A ``stepwise`` layer does to the
    last axis at one time step what it does at any other. ``trainable_count`` is how many of its
    parameters Keras trains, where only some of its parts are. ``computes_in`` is the short
    format in which it computes, if it does.
    """

    name: str
    index: str = ""
    trainable: bool = True
    trainable_count: int | None = None
    computes_in: str = ""

    keras_class: ClassVar[str] = ""
    output_symbol: ClassVar[str] = "y"
    stepwise: ClassVar[bool] = True
    passes_mask: ClassVar[bool] = True

    @property
    def type(self) -> str:
        """The name of the Keras layer."""
        return self.keras_class

    @property
    def label(self) -> str:
        """``Dense(K)``."""
        return self.type

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The weights, in the order of Keras's ``get_weights()``."""
        return ()

    @property
    def groups(self) -> Mapping[str, tuple[Weight, ...]]:
        """The weights by the name of the part that owns them."""
        return {self.name: self.weights}

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The recurrences in it."""
        return ()

    @property
    def activations(self) -> tuple[str, ...]:
        """The names of its activations."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of options that change no equation."""
        return ()

    @property
    def upcasts(self) -> bool:
        """Whether it computes in float32 where it is to compute in a short format."""
        return False

    @property
    def rounds_input(self) -> bool:
        """Whether its input is rounded to the format in which it computes."""
        return True

    @property
    def makes_mask(self) -> bool:
        """Whether it says itself which steps count."""
        return False

    @property
    def equation_lines(self) -> int:
        """About how many lines its equation takes."""
        return 1

    @property
    def declared_shapes(self) -> tuple[Shape, ...] | None:
        """The shapes of the outputs of a layer that is not derived, as the model has them."""
        return None

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        """New sizes: from which size each follows, and how."""
        return {}

    @property
    def count(self) -> Dim:
        """How many parameters the layer has."""
        return total(weight.count for group in self.groups.values() for weight in group)

    def index_of(self, group: str) -> str:
        """What the symbols of a group of weights end in."""
        found = [d.index for d in self.directions if d.name == group]
        return found[0] if found else self.index

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        """What the layer makes of its inputs, in any reading."""
        raise NotImplementedError(f"{self.type} has no equation of this kind")

    def with_inputs(self, shapes: Sequence[Shape], new_steps: Callable[[], Dim]) -> Layer:
        """The same layer with the same weights, called again on tensors of other shapes."""
        return self

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        """Which steps of the output count, from arrays; ``None`` for all."""
        return masks[0] if self.passes_mask and masks else None

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        """What Keras's class takes beside the name."""
        raise NotImplementedError(f"{self.type} cannot be built")


@dataclass(frozen=True, kw_only=True)
class NamedLayer(Layer):
    """One of several layers of Keras of the same kind: ``keras_name`` says which."""

    keras_name: str

    @property
    def type(self) -> str:
        return self.keras_name

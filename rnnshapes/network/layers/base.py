"""The interface of a layer, by which the rest of the package knows it."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from rnnshapes.cells.cell import BaseCell, Cell, CellState, KerasSpec, SizeOf, Weight
from rnnshapes.errors import UnsupportedError
from rnnshapes.ops.dims import Dim, Shape, total
from rnnshapes.ops.interface import LayerOps, Tensor

if TYPE_CHECKING:
    from rnnshapes.network.layers.config import LayerConfig


#: Why a layer is not supported after a comparison.
CALLED_ON_BOOLEANS = "its input is Boolean; cast it to numbers first"


class Masks(NamedTuple):
    """The steps that count, of each input of a layer and of its output; ``None`` for all."""

    inputs: Sequence[Any] = ()
    output: Any = None

    @property
    def input(self) -> Any:
        """The mask of the first input."""
        return self.of(0)

    @property
    def any(self) -> bool:
        """Whether any input or the output has a mask."""
        return any(mask is not None for mask in (*self.inputs, self.output))

    def of(self, number: int) -> Any:
        """Return the mask of an input; ``None`` where it has none."""
        return self.inputs[number] if number < len(self.inputs) else None

    def map(self, function: Callable[[Any], Any]) -> Masks:
        """Return the masks with a function applied to each that is there."""
        each = [None if mask is None else function(mask) for mask in (*self.inputs, self.output)]
        return Masks(each[:-1], each[-1])


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One recurrence of a layer: a cell that processes the time steps in one direction.

    ``name`` is that of its group of weights, ``index`` tells its symbols apart. With ``reverse``
    it starts at the last step. ``restarts`` are time steps at which a wrong port starts again from
    the initial states; Keras has none. They count from the start of the sequence, which has to be
    computed in one block.
    """

    restarts: ClassVar[Collection[int]] = ()

    name: str
    index: str
    features: Dim
    cell: BaseCell
    reverse: bool

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The weights of the cell."""
        return self.cell.weights(self.features)

    def counted_steps(self, mask: Any) -> Any:
        """Return which steps count, (B, N), from the mask of the input; ``None`` if all do."""
        return mask

    def states_after_masked(self, before: CellState, after: CellState) -> CellState:
        """Return the states after a masked step: those ``before`` it, as its cell has them.

        ``after`` are those that it would have if it counted.
        """
        return self.cell.states_after_masked(before)


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """A layer of a network.

    A subclass with ``keras_classes`` is a layer that is supported: ``from_config`` makes it from
    what Keras writes, ``keras_arguments`` is what Keras builds it from, ``call`` its equation.

    Attributes:
        name: The name of the layer.
        index: Tells several layers of a kind apart in symbols (``Wx1``, ``W0``).
        trainable: Whether Keras trains it.
        trainable_count: The number of trained parameters, where Keras trains only some parts.
        computes_in: The floating-point dtype in which it computes; empty for that of the network.
        keras_classes: The classes in Keras that it stands for.
        output_symbol: The symbol of the output of such layers.
        passes_mask: Whether its output has the mask of its input.
        uses_mask: Whether its numbers depend on a mask.
        call_inputs: The names of its inputs, where Keras calls it on several tensors.
        call_options: The names of further arguments of a call that are supported.
        sequence_classes: Those of the classes that take sequences (N, T, features) alone.
        takes_booleans: Whether it may be called on Booleans, such as the result of a comparison.
    """

    name: str
    index: str = ""
    trainable: bool = True
    trainable_count: int | None = None
    computes_in: str = ""

    keras_classes: ClassVar[tuple[str, ...]] = ()
    output_symbol: ClassVar[str] = "y"
    passes_mask: ClassVar[bool] = True
    uses_mask: ClassVar[bool] = False
    call_inputs: ClassVar[tuple[str, ...]] = ()
    call_options: ClassVar[tuple[str, ...]] = ()
    sequence_classes: ClassVar[tuple[str, ...]] = ()
    takes_booleans: ClassVar[bool] = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        """Make the layer from its config.

        Raises UnsupportedError for an option or an input that is not supported. Any of
        AttributeError, LookupError, OverflowError, TypeError and ValueError says that Keras has
        not written this config.
        """
        raise UnsupportedError(f"{config.class_name} is not supported")

    @property
    def type(self) -> str:
        """The class of the layer in Keras."""
        return self.keras_classes[0]

    @property
    def symbol(self) -> str:
        """The symbol of its output; "" where its output is its input."""
        return self.output_symbol

    @property
    def label(self) -> str:
        """The class with its size: ``Dense(K)``."""
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
    def cells(self) -> tuple[Cell, ...]:
        """The cells in it, also those of a stack."""
        return tuple(c for d in self.directions for c in d.cell.cells_by_suffix.values())

    @property
    def activations(self) -> tuple[str, ...]:
        """The names of its activations."""
        return ()

    @property
    def call_arguments(self) -> Mapping[str, Any]:
        """The arguments beside its inputs with which Keras calls it.

        LAST_INPUT stands for the last one of the inputs.
        """
        return {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on options that change no equation."""
        return ()

    @property
    def is_boolean(self) -> bool:
        """Whether its output is Boolean, 1 or 0."""
        return False

    @property
    def casts_to(self) -> str | None:
        """The dtype of its output; None for that in which it computes."""
        return None

    @property
    def dtype_16bit(self) -> str:
        """The 16-bit dtype in which it computes, or an empty text."""
        return self.computes_in if self.computes_in.endswith("float16") else ""

    @property
    def upcasts(self) -> bool:
        """Whether it computes in float32 even under a policy of a 16-bit dtype."""
        return False

    @property
    def stepwise(self) -> bool:
        """Whether it does to the last axis at one time step what it does at any other."""
        return True

    @property
    def last_step(self) -> bool:
        """Whether its output is the last step of its input."""
        return False

    @property
    def rounds_input(self) -> bool:
        """Whether its input is rounded to the dtype in which it computes."""
        return True

    @property
    def takes_list(self) -> bool:
        """Whether Keras calls it on a list of inputs."""
        return False

    @property
    def makes_mask(self) -> bool:
        """Whether it decides which steps count."""
        return False

    def new_mask_axes(self, shape: Shape) -> int:
        """Return the number of axes of the mask that it makes for an output of this shape, or 0."""
        return len(shape) - 1 if self.makes_mask else 0

    @property
    def equation_lines(self) -> int:
        """The approximate number of lines of its equation."""
        return 1

    @property
    def declared_shapes(self) -> tuple[Shape, ...] | None:
        """The output shapes of an unsupported layer, as the model has them; else ``None``."""
        return None

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        """New sizes by name: the size that each follows from, and the function from it."""
        return {}

    @property
    def count(self) -> Dim:
        """The number of its parameters."""
        return total(weight.count for group in self.groups.values() for weight in group)

    def index_of(self, group: str) -> str:
        """Return what the symbols of a group of weights end in."""
        indices = [d.index for d in self.directions if d.name == group]
        return indices[0] if indices else self.index

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        """Compute the output from the inputs, in any interpreter; a tuple of several outputs."""
        raise NotImplementedError(f"{self.type} has no equation of this kind")

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        """Return the shapes of its inputs with its own names for sizes.

        A layer that is called again has its names from the first call; where two axes are
        equal, the layer has one name for both.
        """
        features = getattr(self, "features", None)
        if features is None or self.symbol == "e":
            return shapes
        return [(*shape[:-1], features) for shape in shapes]

    def with_inputs(self, shapes: Sequence[Shape], new_steps: Callable[[], Dim]) -> Layer:
        """Return the same layer with the same weights, called again on tensors of other shapes."""
        return self

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        """Compute the mask of the output from arrays; ``None`` if every step counts."""
        return masks[0] if self.passes_mask and masks else None

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        """Return the arguments of the class in Keras, without name and dtype."""
        raise NotImplementedError(f"{self.type} cannot be built")

    def keras_spec(self, size_of: SizeOf) -> KerasSpec:
        """Return how Keras builds the layer."""
        return KerasSpec(self.type, self.keras_arguments(size_of))


@dataclass(frozen=True, kw_only=True)
class LayerOfClass(Layer):
    """A layer that stands for several classes in Keras: ``keras_class`` is the one at hand."""

    keras_class: str

    @property
    def type(self) -> str:
        return self.keras_class


@dataclass(frozen=True, kw_only=True)
class Broadcast(Layer):
    """Base class of layers that repeat axes of length 1 of their inputs.

    ``unit_axes`` are those whose length has a name, as K of ``Dense(1)``: (input, axis from the
    last).
    """

    unit_axes: tuple[tuple[int, int], ...]

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        return with_unit_axes(shapes, self.unit_axes)


def with_unit_axes(shapes: Sequence[Shape], axes: Sequence[tuple[int, int]]) -> list[Shape]:
    """Return shapes with the length 1, without a name, at ``axes``: (shape, axis)."""
    changed = [list(shape) for shape in shapes]
    for number, axis in axes:
        changed[number][axis] = Dim.of(1)
    return [tuple(shape) for shape in changed]

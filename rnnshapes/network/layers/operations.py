"""Operations of functional models, which are no layers in Keras.

Sources: ``keras/src/ops/numpy.py`` and ``keras/src/ops/nn.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LARGEST, OPERATION, LayerConfig, Source
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Selection


@dataclass(frozen=True, kw_only=True)
class Operation(Layer):
    """An operation of Keras, called with ``arguments``; it has no weights, and passes no mask on.

    Attributes:
        keras_class: The class in Keras, without its module.
        arguments: The positional arguments; a :class:`Source` stands for a tensor.
        options: The arguments by name.
        functions: The function in ``keras.ops`` of each class in Keras.
    """

    keras_class: str
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...] = ()

    functions: ClassVar[Mapping[str, str]] = {}
    passes_mask = False
    takes_list = True

    @property
    def type(self) -> str:
        return self.keras_class

    def call_keras(self, ops: Any, inputs: Sequence[Any]) -> Any:
        """Call the operation in ``ops``, which is ``keras.ops``, on these tensors."""
        function = getattr(ops, self.functions[self.type])
        return function(*fill_in(self.arguments, inputs), **dict(self.options))


def described(config: LayerConfig) -> dict[str, Any]:
    """Return the fields of an operation that its description in Keras decides."""
    keras_class = config.class_name.removeprefix(OPERATION)
    return {"keras_class": keras_class, "arguments": config.arguments, **config.shared}


def require_one_tensor(config: LayerConfig) -> None:
    """Raise UnsupportedError for an operation that is called on anything but one tensor."""
    if config.arguments != (Source(0),) or len(config.shapes) != 1:
        raise UnsupportedError("it is called with more than one tensor, which is not supported")


def fill_in(arguments: Any, tensors: Sequence[Any]) -> Any:
    """Return arguments with the tensors in their places."""
    if isinstance(arguments, Source):
        return tensors[arguments.number]
    if isinstance(arguments, list | tuple):
        return type(arguments)(fill_in(part, tensors) for part in arguments)
    return arguments


@dataclass(frozen=True, kw_only=True)
class GetItem(Operation):
    """``x[key]``, by integers, slices, ``...`` and None.

    ``last_step`` says that it is the last step of a sequence whose steps depend on none after
    them; ``stepwise``, that it cuts the last axis alone. ``cut_time`` is the number of time
    steps before, where it cuts some of them.
    """

    selection: Selection
    last_step: bool = False
    stepwise: bool = False
    cut_time: Dim | None = None

    keras_classes = (f"{OPERATION}GetItem",)
    functions: ClassVar = {"GetItem": "get_item"}
    output_symbol = "g"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        source, key = config.arguments
        if source != Source(0) or len(config.shapes) != 1:
            raise UnsupportedError("it is indexed by a tensor, which is not supported")
        key = tuple(key) if isinstance(key, list | tuple) else (key,)
        _require_key(key)
        parts = _part_of_each_axis(key, len(config.shapes[0]))
        if parts[0] != WHOLE:
            raise UnsupportedError("it selects or moves samples, which is not supported")
        options: dict[str, Any] = {**described(config), "arguments": (Source(0), key)}
        axes = len(parts)
        if config.causal and parts == [WHOLE, -1, *[WHOLE] * (axes - 2)]:
            selection = Selection(key, (None,) * len(key))
            return cls(selection=selection, last_step=True, stepwise=True, **options)
        cut = _CutAxes(config)
        if (
            isinstance(parts[-1], slice)
            and parts[:-1] == [WHOLE] * (axes - 1)
            and not cut.is_time(axes - 1)
        ):
            last = Selection((Ellipsis, parts[-1]), (None, cut.length(axes - 1, parts[-1])))
            return cls(selection=last, stepwise=True, **options)
        lengths, axis = [], 0
        for part in parts:
            lengths.append(None if part is None else cut.length(axis, part))
            axis += part is not None
        return cls(
            selection=Selection(tuple(parts), tuple(lengths)), cut_time=cut.cut_time, **options
        )

    @property
    def label(self) -> str:
        return f"GetItem{Selection(self.arguments[1], (None,) * len(self.arguments[1]))}"

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        if self.cut_time is None:
            return {}
        steps, part = self.selection.lengths[1], self.selection.key[1]
        return {str(steps): (self.cut_time, lambda size: len(range(*part.indices(size))))}

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return inputs[0] if self.last_step else ops.rearrange(inputs[0], self.selection)


def _require_key(key: tuple[Any, ...]) -> None:
    """Raise UnsupportedError for a key that holds anything but integers, slices, … and None."""
    for part in key:
        values = (part.start, part.stop, part.step) if isinstance(part, slice) else (part,)
        is_plain = all(n is None or (type(n) is int and abs(n) < 2**31) for n in values)
        is_cut = isinstance(part, slice) and part.step == 0
        if not (part is Ellipsis or is_plain) or is_cut:
            raise UnsupportedError(f"it is indexed by {part!r:.40}, which is not supported")
    if sum(part is Ellipsis for part in key) > 1:
        raise UnsupportedError("it is indexed by more than one ellipsis")


def _part_of_each_axis(key: tuple[Any, ...], axes: int) -> list[Any]:
    """Return the key with a part for each axis: ``...`` written out, and None for a new axis."""
    parts = list(key)
    missing = axes - sum(part is not None and part is not Ellipsis for part in parts)
    if missing < 0:
        raise UnsupportedError(f"it has {axes} axes, and is indexed by more")
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[at : at + 1] = [WHOLE] * missing
    return parts


class _CutAxes:
    """The lengths of the axes of an input that is indexed."""

    def __init__(self, config: LayerConfig) -> None:
        self.config, self.shape = config, config.shapes[0]
        self.cut_time: Dim | None = None

    def is_time(self, axis: int) -> bool:
        """Return whether an axis is that of time."""
        return axis == 1 and len(self.shape) > 2

    def length(self, axis: int, part: Any) -> Dim | None:
        """Return the new length of an axis; ``None`` where it stays as it is, or goes away."""
        dim = self.shape[axis]
        size = self.config.names.value(dim)
        if isinstance(part, int):
            if size is not None and not -size <= part < size:
                raise ContradictionError(f"index {part} is out of range for {size}")
            return None
        if part.start is None and part.stop is None and part.step in (None, 1, -1):
            return None
        if (part.start, part.stop) == (-1, None) and part.step in (None, 1):
            return Dim.of(1)
        count = None if size is None else len(range(*part.indices(size)))
        if count == 0:
            raise UnsupportedError("it selects nothing")
        if self.is_time(axis):
            self.cut_time = dim
            return self.config.names.primed()
        if count is None:
            raise UnsupportedError(f"{dim}, of which it selects a part, is unknown")
        return dim if count == size else Dim.of(count)


@dataclass(frozen=True, kw_only=True)
class Arithmetic(Operation):
    """The sum, the difference or the product of two tensors, or of a tensor and a number.

    With ``aligned`` the shapes are equal; otherwise axes of length 1 are repeated.
    """

    aligned: bool
    stepwise: bool = True

    keras_classes = tuple(f"{OPERATION}{name}" for name in ("Add", "Subtract", "Multiply"))
    functions: ClassVar = {"Add": "add", "Subtract": "subtract", "Multiply": "multiply"}
    output_symbol = "m"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        _require_operands(config)
        shapes = config.shapes
        same = all(map(config.is_same_size, *shapes)) if len(shapes) > 1 else True
        repeated = all(1 in dims or dims[0] == dims[-1] for dims in zip(*shapes, strict=True))
        if not (same or repeated):
            raise UnsupportedError("its tensors may have different sizes, which is not supported")
        timed = len(shapes[0]) > 2
        stepwise = same or not timed or shapes[0][1] == shapes[-1][1]
        return cls(aligned=same, stepwise=stepwise, **described(config))

    @property
    def label(self) -> str:
        numbers = [part for part in self.arguments if not isinstance(part, Source)]
        return f"{self.type}({numbers[0]:g})" if numbers else self.type

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        tensors = ops.aligned(inputs) if self.aligned and len(inputs) > 1 else inputs
        left, right = fill_in(self.arguments, tensors)
        if self.type == "Subtract":
            return left - right
        if not isinstance(self.arguments[0], Source):  # a number is written behind the tensor
            left, right = right, left
        return left + right if self.type == "Add" else left * right


def _require_operands(config: LayerConfig) -> None:
    """Raise UnsupportedError unless operands are two tensors of one rank, or one and a number."""
    operands = config.arguments
    sources = [part for part in operands if isinstance(part, Source)]
    numbers = [part for part in operands if type(part) in (int, float)]
    if len(operands) != 2 or len(sources) + len(numbers) != 2 or len(sources) != len(config.shapes):
        raise UnsupportedError("its operands are not tensors or numbers, which is not supported")
    if any(not abs(number) < LARGEST for number in numbers):
        raise UnsupportedError(f"its operand {numbers[0]!r:.40} is not a number of float32")
    if len({len(shape) for shape in config.shapes}) > 1:
        raise UnsupportedError("its tensors have different numbers of axes, which is not supported")


@dataclass(frozen=True, kw_only=True)
class ActivationOperation(Operation):
    """An activation, called as a function."""

    functions: ClassVar = {
        name: name.lower()
        for name in ("Elu", "Gelu", "Relu", "Sigmoid", "Silu", "Softmax", "Softplus", "Tanh")
    }
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = "a"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        config.require(alpha=1.0, approximate=False, axis=-1)
        options = tuple((k, config.options[k]) for k in ("approximate",) if k in config.options)
        return cls(options=options, **described(config))

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.functions[self.type],)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.activate(self.activations[0], inputs[0])


@dataclass(frozen=True, kw_only=True)
class Reduction(Operation):
    """The mean, or the largest value, over all time steps."""

    functions: ClassVar = {"Mean": "mean", "Max": "max"}
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = "p"
    stepwise = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        config.require_sequence()
        config.require(keepdims=False, initial=None)
        axis = config.options.get("axis")
        if axis not in (1, -2, [1], [-2]):
            raise UnsupportedError(f"axis={axis!r:.40} is not supported, only that of time")
        return cls(options=(("axis", 1),), **described(config))

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.mean(inputs[0], 1) if self.type == "Mean" else ops.max(inputs[0], 1)

"""Operations of functional models, which are no layers in Keras.

Sources: ``keras/src/ops/numpy.py`` and ``keras/src/ops/nn.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, repeat, zip_longest
from typing import Any, ClassVar, Self

from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.activations import activate_along, relu_function
from rnnshapes.network.layers.base import (
    CALLED_ON_BOOLEANS,
    Broadcast,
    Layer,
    Masks,
    with_unit_axes,
)
from rnnshapes.network.layers.config import (
    LARGEST,
    OPERATION,
    LayerConfig,
    Source,
    as_float32,
    require_axes,
)
from rnnshapes.network.layers.merging import Join
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction, einsum_sums_in_float16
from rnnshapes.ops.dims import Dim, Shape, product
from rnnshapes.ops.elementwise import (
    ABS,
    ELU,
    EXP,
    EXPM1,
    LOG,
    LOG1P,
    SQRT,
    SQUARE,
    Clip,
    Elementwise,
    LeakyReLU,
    Power,
)
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Rearrangement, Reshaped, Selection, Transposed

#: The equations of more parts would be unreadable.
MOST_PARTS = 32


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

    functions: ClassVar[Mapping[str, str]]
    passes_mask = False
    takes_list = True

    @property
    def type(self) -> str:
        return self.keras_class

    def call_keras(self, keras: Any, inputs: Sequence[Any]) -> Any:
        """Call the operation of ``keras`` on these tensors."""
        function = getattr(keras.ops, self.functions[self.type])
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
    if isinstance(arguments, Constant):
        return arguments.array()
    if isinstance(arguments, list | tuple):
        return type(arguments)(fill_in(part, tensors) for part in arguments)
    return arguments


@dataclass(frozen=True, kw_only=True)
class GetItem(Operation):
    """``x[key]``, by integers, slices, ``...`` and None.

    ``last_step`` says that it is the last step of a sequence whose steps depend on none after
    them; ``stepwise``, that it cuts the last axis alone. ``cut_time`` holds the number of time
    steps before, the slice of them, and their number after, where it cuts some of them.
    """

    selection: Selection
    last_step: bool = False
    stepwise: bool = False
    cut_time: tuple[Dim, slice, Dim] | None = None
    is_boolean: bool = False

    keras_classes = (f"{OPERATION}GetItem",)
    functions: ClassVar = {"GetItem": "get_item"}
    output_symbol = "g"
    takes_booleans = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        source, key = config.arguments
        if source != Source(0) or len(config.shapes) != 1:
            raise UnsupportedError("it is indexed by a tensor, which is not supported")
        key = tuple(key) if isinstance(key, list | tuple) else (key,)
        _require_key(key)
        parts = _part_of_each_axis(key, config.rank)
        if parts[0] != WHOLE:
            raise UnsupportedError("it selects or moves samples, which is not supported")
        options: dict[str, Any] = {**described(config), "arguments": (Source(0), key)}
        options["is_boolean"] = any(config.boolean_inputs)
        axes = len(parts)
        if config.causal and parts == [WHOLE, -1, WHOLE]:
            selection = Selection(key, (None,) * len(key))
            return cls(selection=selection, last_step=True, stepwise=True, **options)
        cut = _CutAxes(config)
        if isinstance(parts[-1], slice) and parts[:-1] == [WHOLE] * (axes - 1):
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
        before, part, after = self.cut_time
        return {str(after): (before, lambda size: len(range(*part.indices(size))))}

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
        self.config, self.shape = config, config.shape
        self.cut_time: tuple[Dim, slice, Dim] | None = None

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
            after = self.config.names.primed()
            self.cut_time = dim, part, after
            return after
        if count is None:
            raise UnsupportedError(f"{dim}, of which it selects a part, is unknown")
        return dim if count == size else Dim.of(count)


@dataclass(frozen=True, kw_only=True)
class Combination(Broadcast, Operation):
    """Tensors, numbers and arrays combined element by element.

    ``stepwise`` is False if an operand has a different time axis,
    ``added_along`` is the axis along which Keras adds an array where NumPy takes another.
    """

    stepwise: bool = True
    is_boolean: bool = False
    added_along: int | None

    functions: ClassVar = {
        "Add": "add",
        "Subtract": "subtract",
        "Multiply": "multiply",
        "Divide": "divide",
        "TrueDivide": "true_divide",
        "Maximum": "maximum",
        "Minimum": "minimum",
        "Greater": "greater",
        "GreaterEqual": "greater_equal",
        "Less": "less",
        "LessEqual": "less_equal",
        "Equal": "equal",
        "NotEqual": "not_equal",
        "LogicalAnd": "logical_and",
        "LogicalOr": "logical_or",
        "LogicalXor": "logical_xor",
        "Where": "where",
    }
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = "m"
    takes_booleans = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        name = config.class_name.removeprefix(OPERATION)
        operands = tuple(map(_without_samples, config.arguments, repeat(config.rank)))
        _require_operands(config, name, operands)
        shapes, rank = config.shapes, config.rank
        if any(len(shape) != rank for shape in shapes):
            raise UnsupportedError(
                "its tensors have different numbers of axes: the samples of one would meet the "
                "steps of the other"
            )
        constants = [part for part in operands if isinstance(part, Constant)]
        if any(len(constant.sizes) >= rank for constant in constants):
            raise UnsupportedError("its array has an axis for samples: it needs fewer axes than x")
        arrays = [constant.shape for constant in constants]
        unit_axes = config.unit_axes(arrays)
        _require_broadcast(config, [*with_unit_axes(shapes, unit_axes), *arrays])
        added_along = None
        if name == "Add" and isinstance(operands[1], Constant):
            added_along = _bias_axis(config, operands[1])
        if added_along is not None:
            sizes = (max(operands[1].sizes), *(1,) * (rank - 1 - added_along))
            operands = (operands[0], replace(operands[1], sizes=sizes))
        same_time = rank < 3 or all(config.is_same_size(shapes[0][1], s[1]) for s in shapes[1:])
        constants = [part for part in operands if isinstance(part, Constant)]
        by_step = all(len(constant.sizes) <= max(1, rank - 2) for constant in constants)
        fields = {**described(config), "arguments": operands}
        is_boolean = name in _RELATIONS or name in _LOGIC
        return cls(
            stepwise=same_time and by_step,
            is_boolean=is_boolean,
            added_along=added_along,
            unit_axes=unit_axes,
            **fields,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        if self.added_along is None:
            return ()
        return (f"Keras adds the array as a bias, along axis {self.added_along}",)

    @property
    def label(self) -> str:
        constants = [part for part in self.arguments if not isinstance(part, Source)]
        texts = ", ".join(map(_operand_text, constants))
        return f"{self.type}({texts})" if constants else self.type

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        numbers = (int, float) if self.type in _ARITHMETIC else ()
        rounded = self.type in _RELATIONS  # Keras makes a float32 of a number to compare with
        operands = [_tensor_of(part, ops, inputs, numbers, rounded) for part in self.arguments]
        if all(type(part) not in numbers for part in operands):
            operands = list(ops.aligned(operands))
        if self.type in _RELATIONS:
            return ops.compare(_RELATIONS[self.type], *operands)
        if self.type in ("Add", "Multiply") and type(operands[0]) in numbers:
            operands.reverse()  # in the equation, a number stands after the tensor
        return {**_ARITHMETIC, **_LOGIC, **_CHOICE}[self.type](ops, *operands)


def _is_true(ops: LayerOps, x: Tensor) -> Tensor:
    """Return 1 where a number is not 0."""
    return ops.compare("!=", x, ops.constant(_ZERO, x))


_ZERO = Constant((0.0,), (), "float64")
_Function = Mapping[str, Callable[..., Tensor]]
_ARITHMETIC: _Function = {
    "Add": lambda ops, left, right: left + right,
    "Subtract": lambda ops, left, right: left - right,
    "Multiply": lambda ops, left, right: left * right,
    "Divide": lambda ops, left, right: left / right,
    "TrueDivide": lambda ops, left, right: left / right,
}
_RELATIONS: Mapping[str, str] = {
    "Greater": ">",
    "GreaterEqual": ">=",
    "Less": "<",
    "LessEqual": "<=",
    "Equal": "==",
    "NotEqual": "!=",
}
_LOGIC: _Function = {
    "LogicalAnd": lambda ops, left, right: ops.minimum(_is_true(ops, left), _is_true(ops, right)),
    "LogicalOr": lambda ops, left, right: ops.maximum(_is_true(ops, left), _is_true(ops, right)),
    "LogicalXor": lambda ops, left, right: ops.compare(
        "!=", _is_true(ops, left), _is_true(ops, right)
    ),
}
_CHOICE: _Function = {
    "Maximum": lambda ops, left, right: ops.maximum(left, right),
    "Minimum": lambda ops, left, right: ops.minimum(left, right),
    "Where": lambda ops, condition, left, right: ops.choose(condition, left, right),
}


def _bias_axis(config: LayerConfig, array: Constant) -> int | None:
    """Return the axis of x along which Keras adds an array, if NumPy would take another."""
    x = config.shape
    axes = config.bias_axes(x, array.shape)
    if axes is None or axes[0] == axes[1]:
        return None
    if axes[1] is None or not config.is_same_size(x[axes[0]], Dim.of(max(array.sizes))):
        config.require_plain_add(x, array.shape)
    return axes[1]


def _without_samples(part: Any, rank: int) -> Any:
    """Return an array without an axis of length 1 in the place of the samples."""
    is_full = isinstance(part, Constant) and len(part.sizes) == rank and part.sizes[0] == 1
    return replace(part, sizes=part.sizes[1:]) if is_full else part


def _tensor_of(
    part: Any, ops: LayerOps, inputs: Sequence[Tensor], numbers: tuple[type, ...], rounded: bool
) -> Tensor:
    """Return an operand: a tensor, or a number of one of the types ``numbers``."""
    if isinstance(part, Source):
        return inputs[part.number]
    if isinstance(part, Constant):
        return ops.constant(part, inputs[0])
    if type(part) in numbers:
        return part
    return ops.constant(
        Constant((as_float32(part) if rounded else part,), (), "float64"), inputs[0]
    )


def _operand_text(part: Any) -> str:
    return str(part) if isinstance(part, Constant) else f"{part:g}"


def _require_operands(config: LayerConfig, name: str, operands: Sequence[Any]) -> None:
    """Raise UnsupportedError unless operands are tensors, numbers and arrays that fit."""
    sources = [part for part in operands if isinstance(part, Source)]
    numbers = [part for part in operands if type(part) in (int, float)]
    constants = [part for part in operands if isinstance(part, Constant)]
    known, count = len(sources) + len(numbers) + len(constants), 3 if name == "Where" else 2
    if not len(operands) == known == count or not 0 < len(sources) == len(config.shapes):
        raise UnsupportedError("its operands are not tensors or numbers, which is not supported")
    if any(not abs(number) < LARGEST for number in numbers):
        raise UnsupportedError(f"its operand {numbers[0]!r:.40} does not fit into float32")
    chosen = operands[1:] if name == "Where" else operands
    if name not in _LOGIC:
        for part in chosen:
            if isinstance(part, Constant):
                _require_dtype(config, part)
        if not any(_is_float(config, part) for part in chosen):
            raise UnsupportedError("it computes with Booleans or integers only")
    if name in (*_RELATIONS, *_CHOICE) and any(
        isinstance(part, Source) and not _is_float(config, part) for part in chosen
    ):
        raise UnsupportedError(CALLED_ON_BOOLEANS)


def _is_float(config: LayerConfig, part: Any) -> bool:
    """Return whether an operand makes the result one of floating-point numbers."""
    if isinstance(part, Source):
        return not any(config.boolean_inputs[part.number : part.number + 1])
    return (part.dtype if isinstance(part, Constant) else type(part).__name__).startswith("float")


def _require_dtype(config: LayerConfig, constant: Constant) -> None:
    """Raise UnsupportedError for an array in whose dtype Keras would compute."""
    wider = {"float64": (), "float32": ("float64",)}.get(config.computes_in, ("float32", "float64"))
    if constant.dtype in wider or not constant.dtype.startswith(("float", "int", "uint")):
        raise UnsupportedError(
            f"its array is of dtype {constant.dtype}, in which Keras then computes; "
            "cast it to that of the tensors"
        )


def _require_broadcast(config: LayerConfig, shapes: Sequence[Shape]) -> None:
    """Raise UnsupportedError for axes that may have different sizes, and are not of length 1."""
    for dims in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=Dim.of(1)):
        longer = [dim for dim in dims if dim != 1]
        if not all(config.is_same_size(longer[0], dim) for dim in longer):
            raise UnsupportedError("its tensors may have different sizes, which is not supported")


# --- Functions of each number --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Pointwise(Operation):
    """A function of each number."""

    is_boolean: bool = False

    functions: ClassVar = {
        "Absolute": "absolute",
        "Negative": "negative",
        "Square": "square",
        "Sqrt": "sqrt",
        "Exp": "exp",
        "Log": "log",
        "Reciprocal": "reciprocal",
        "Log1p": "log1p",
        "Expm1": "expm1",
        "Rsqrt": "rsqrt",
        "LogicalNot": "logical_not",
    }
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = "m"
    takes_booleans = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        is_boolean = config.class_name.endswith("LogicalNot")
        if any(config.boolean_inputs) and not is_boolean:
            raise UnsupportedError(CALLED_ON_BOOLEANS)
        return cls(is_boolean=is_boolean, **described(config))

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return _POINTWISE[self.type](ops, inputs[0])


_POINTWISE: Mapping[str, Callable[[LayerOps, Tensor], Tensor]] = {
    "Absolute": lambda ops, x: ops.elementwise(x, ABS),
    "Negative": lambda ops, x: -x,
    "Square": lambda ops, x: ops.elementwise(x, SQUARE),
    "Sqrt": lambda ops, x: ops.elementwise(x, SQRT),
    "Exp": lambda ops, x: ops.elementwise(x, EXP),
    "Log": lambda ops, x: ops.elementwise(x, LOG),
    "Reciprocal": lambda ops, x: 1.0 / x,
    "Log1p": lambda ops, x: ops.elementwise(x, LOG1P),
    "Expm1": lambda ops, x: ops.elementwise(x, EXPM1),
    "Rsqrt": lambda ops, x: ops.rsqrt(x),
    "LogicalNot": lambda ops, x: ops.compare("==", x, ops.constant(_ZERO, x)),
}


@dataclass(frozen=True, kw_only=True)
class ClipOperation(Operation):
    """Each number, but no less than ``lowest`` and no more than ``highest``."""

    lowest: float
    highest: float

    functions: ClassVar = {"Clip": "clip"}
    keras_classes = (f"{OPERATION}Clip",)
    output_symbol = "m"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        lowest, highest = config.options["x_min"], config.options["x_max"]
        if any(type(n) not in (int, float) or not abs(n) < LARGEST for n in (lowest, highest)):
            raise UnsupportedError(f"it clips to {lowest!r:.20} and {highest!r:.20}")
        options = (("x_min", lowest), ("x_max", highest))
        return cls(
            lowest=float(lowest), highest=float(highest), options=options, **described(config)
        )

    @property
    def label(self) -> str:
        return f"Clip({self.lowest:g}, {self.highest:g})"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.elementwise(inputs[0], Clip(self.lowest, self.highest))


@dataclass(frozen=True, kw_only=True)
class PowerOperation(Operation):
    """A tensor to the power of a number above 0."""

    exponent: float

    functions: ClassVar = {"Power": "power"}
    keras_classes = (f"{OPERATION}Power",)
    output_symbol = "m"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        base, exponent = config.arguments
        if base != Source(0) or type(exponent) not in (int, float) or not 0 < exponent <= 16:
            raise UnsupportedError(
                "it is not a power of a tensor with an exponent above 0 and up to 16"
            )
        return cls(exponent=float(exponent), **described(config))

    @property
    def label(self) -> str:
        return f"Power({self.exponent:g})"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.elementwise(inputs[0], Power(self.exponent))


@dataclass(frozen=True, kw_only=True)
class ActivationOperation(Operation):
    """An activation, called as a function; ``axis`` is that of a softmax, from the last one."""

    activation: str
    function: Elementwise | None = None
    axis: int = -1

    functions: ClassVar = {
        **{
            name: name.lower()
            for name in ("Elu", "Celu", "Selu", "Gelu", "Relu", "Relu6", "Sigmoid", "Silu")
        },
        **{name: name.lower() for name in ("Softmax", "Softplus", "Softsign", "Tanh")},
        "Squareplus": "squareplus",
        "HardSigmoid": "hard_sigmoid",
        "HardSilu": "hard_silu",
        "HardTanh": "hard_tanh",
        "HardShrink": "hard_shrink",
        "SoftShrink": "soft_shrink",
        "TanhShrink": "tanh_shrink",
        "SparsePlus": "sparse_plus",
        "SparseSigmoid": "sparse_sigmoid",
        "LogSigmoid": "log_sigmoid",
        "LogSoftmax": "log_softmax",
        "LeakyRelu": "leaky_relu",
        "ReLU": "relu",  # keras.activations.relu
    }
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = "a"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        activation = cls.functions[config.class_name.removeprefix(OPERATION)]
        options: dict[str, Any] = {}
        if activation == "gelu":
            approximate = bool(config.options.get("approximate", True))
            options["options"] = (("approximate", approximate),)
            activation = "gelu_tanh" if approximate else activation
        elif activation == "leaky_relu":
            slope = config.number("negative_slope", 0.2)
            options["function"] = LeakyReLU(as_float32(slope))
            options["options"] = (("negative_slope", slope),)
        elif activation == "elu":
            alpha = config.number("alpha", 1.0)
            options["function"] = None if alpha == 1.0 else ELU(alpha)
            options["options"] = (("alpha", alpha),)
        elif config.class_name == f"{OPERATION}ReLU":
            options["function"], names = relu_function(config)
            options["options"] = tuple((name, config.options.get(name)) for name in names)
        elif activation in ("softmax", "log_softmax"):
            axis = config.axis(config.options.get("axis", -1))
            options |= {"axis": axis, "options": (("axis", axis),)}
        elif activation in ("soft_shrink", "hard_shrink"):
            config.require(threshold=0.5)
        else:
            config.require(alpha=1.0, b=4, negative_slope=0.0, max_value=None, threshold=0.0)
        return cls(activation=activation, **options, **described(config))

    @property
    def label(self) -> str:
        constants = [f"{n:g}" for _, n in self.options if n] if self.function is not None else []
        return f"{self.type}({', '.join(constants)})" if constants else self.type

    @property
    def stepwise(self) -> bool:
        return self.axis == -1

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.activation,)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x = inputs[0]
        if self.function is not None:
            return ops.elementwise(x, self.function)
        return activate_along(ops, self.activation, x, self.axis)

    def call_keras(self, keras: Any, inputs: Sequence[Any]) -> Any:
        if self.type == "ReLU":  # keras.ops.relu has no constants
            return keras.activations.relu(*inputs, **dict(self.options))
        return super().call_keras(keras, inputs)


@dataclass(frozen=True, kw_only=True)
class Unchanged(Operation):
    """The tensor itself: a copy."""

    is_boolean: bool = False

    functions: ClassVar = {"Copy": "copy", "StopGradient": "stop_gradient"}
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = ""
    takes_booleans = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        return cls(is_boolean=any(config.boolean_inputs), **described(config))

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return inputs[0]

    def call_keras(self, keras: Any, inputs: Sequence[Any]) -> Any:
        return keras.ops.copy(inputs[0])


@dataclass(frozen=True, kw_only=True)
class Cast(Operation):
    """The tensor in another dtype, or in the one that it has, which keeps the mask."""

    casts_to: str | None = ""
    from_boolean: bool
    keeps_mask: bool

    functions: ClassVar = {"Cast": "cast"}
    keras_classes = (f"{OPERATION}Cast",)
    output_symbol = ""
    takes_booleans = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        dtype, from_boolean = config.options.get("dtype"), any(config.boolean_inputs)
        floats = ("float32", "float64") if from_boolean else (config.dtype,)
        if dtype not in (*floats, "float16", "bfloat16"):
            raise UnsupportedError(f"it casts to {dtype!r:.40}, not to {config.dtype} or 16 bits")
        return cls(
            casts_to=dtype,
            from_boolean=from_boolean,
            keeps_mask=dtype == config.computes_in and not from_boolean,
            **described(config),
        )

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return inputs[0]

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        # TensorFlow returns a tensor that it need not cast, and the mask is on the tensor.
        return masks[0] if self.keeps_mask else None

    def call_keras(self, keras: Any, inputs: Sequence[Any]) -> Any:
        # The layer in which it is called has cast numbers, to float64 in a check of float64.
        if self.from_boolean:
            return keras.ops.where(inputs[0], 1.0, 0.0)
        # A copy has no mask, as a tensor that Keras casts has none.
        return inputs[0] if self.keeps_mask else keras.ops.copy(inputs[0])


# --- Sums and extremes ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Reduction(Operation):
    """The sum, the mean, the largest or the smallest value over ``axes``, from the last one."""

    axes: tuple[int, ...]
    keepdims: bool

    functions: ClassVar = {"Sum": "sum", "Mean": "mean", "Max": "max", "Min": "min"} | {
        "Amax": "amax",
        "Amin": "amin",
    }
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = "p"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        config.require(initial=None)
        axes = config.axes(config.options.get("axis"))
        keepdims = bool(config.options.get("keepdims", False))
        options = (("axis", axes), ("keepdims", keepdims))
        return cls(axes=axes, keepdims=keepdims, options=options, **described(config))

    @property
    def stepwise(self) -> bool:
        return self.axes == (-1,) and self.keepdims

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        name = self.functions[self.type].removeprefix("a")
        return ops.reduce(name, inputs[0], self.axes, self.keepdims)


@dataclass(frozen=True, kw_only=True)
class Deviation(Reduction):
    """The mean square of the distances from the mean over ``axes``, or its square root."""

    functions: ClassVar = {"Var": "var", "Std": "std"}
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.class_name.endswith("Std") and config.computes_in.endswith("float16"):
            raise UnsupportedError(f"it is computed in {config.computes_in}")
        return super().from_config(config)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x = ops.widen(inputs[0])
        distances = x - ops.reduce("mean", x, self.axes, True)
        squares = ops.elementwise(distances, SQUARE)
        variance = ops.reduce("mean", squares, self.axes, self.keepdims)
        if self.type == "Std":
            return ops.elementwise(variance, SQRT)
        return ops.narrow(variance, inputs[0])


# --- Numbers that move ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Moved(Operation):
    """The numbers of each sample in another order or shape."""

    rearrangement: Rearrangement
    is_boolean: bool = False

    functions: ClassVar = {
        "Reshape": "reshape",
        "Transpose": "transpose",
        "Swapaxes": "swapaxes",
        "Moveaxis": "moveaxis",
        "ExpandDims": "expand_dims",
        "Squeeze": "squeeze",
        "Flip": "flip",
    }
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = "s"
    stepwise = False
    takes_booleans = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        name = config.class_name.removeprefix(OPERATION)
        rearrangement, options = _MOVES[name](config)
        return cls(
            rearrangement=rearrangement,
            is_boolean=any(config.boolean_inputs),
            options=tuple(options.items()),
            **described(config),
        )

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.rearrange(inputs[0], self.rearrangement)

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        # Where no axis moves, Keras returns the tensor, and the mask is on it.
        order = getattr(self.rearrangement, "axes", ())
        returned = self.type in ("Swapaxes", "Moveaxis") and order == tuple(range(len(order)))
        return masks[0] if returned else None


_Move = tuple[Rearrangement, dict[str, Any]]


def _reshaped(config: LayerConfig) -> _Move:
    shape = config.shape
    require_axes(config.options["newshape"], "its shape")
    first, *numbers = tuple(config.options["newshape"])
    if first != -1 or not numbers or any(type(n) is not int or n < 1 for n in numbers):
        raise UnsupportedError("its shape is not (-1, sizes …), which is not supported")
    dims = [Dim.of(n) for n in numbers]
    size, input_size = product(dims), product(shape[1:])
    if (known := config.names.value(input_size)) is not None and known != size.value({}):
        raise UnsupportedError(
            f"it mixes samples: each has {known} numbers, and the new shape has {size}"
        )
    config.require_same_size(size, input_size)
    # An axis that stays keeps its name.
    for number, (dim, own) in enumerate(zip(dims, shape[1:], strict=False)):
        if not config.is_same_size(dim, own):
            break
        dims[number] = own
    if config.is_same_size(dims[-1], shape[-1]):
        dims[-1] = shape[-1]
    return Reshaped(tuple(dims), tuple(numbers)), {"newshape": (-1, *numbers)}


def _transposed(config: LayerConfig) -> _Move:
    axes = config.options.get("axes") or range(config.rank)[::-1]
    return _in_order(config, [axis % config.rank for axis in axes]), {"axes": tuple(axes)}


def _swapped(config: LayerConfig) -> _Move:
    first, second = config.options["axis1"], config.options["axis2"]
    order = [*range(config.rank)]
    order[first], order[second] = order[second], order[first]
    return _in_order(config, order), {"axis1": first, "axis2": second}


def _moved(config: LayerConfig) -> _Move:
    rank = config.rank
    sources, targets = (
        [axis % rank for axis in (axes if isinstance(axes, list | tuple) else [axes])]
        for axes in (config.options["source"], config.options["destination"])
    )
    order = [axis for axis in range(rank) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return _in_order(config, order), {"source": sources, "destination": targets}


def _in_order(config: LayerConfig, order: Sequence[int]) -> Transposed:
    if sorted(order) != [*range(config.rank)]:
        raise ContradictionError(f"{order!r:.40} is not an order of the axes")
    if order[0] != 0:
        raise UnsupportedError("it moves samples, which is not supported")
    return Transposed(tuple(order))


def _expanded(config: LayerConfig) -> _Move:
    axes = config.options["axis"]
    rank = config.rank + (len(axes) if isinstance(axes, list | tuple) else 1)
    new = config.axes(axes, rank)
    key = tuple(None if axis in new else WHOLE for axis in range(-rank, 0))
    return Selection(key, (None,) * rank), {"axis": new}


def _squeezed(config: LayerConfig) -> _Move:
    shape = config.shape
    axes = config.axes(config.options.get("axis"))
    if any(config.names.value(shape[axis]) != 1 for axis in axes) or len(axes) == len(shape) - 1:
        raise UnsupportedError(
            "it squeezes an axis that may be longer than 1, or every axis after the samples"
        )
    key = tuple(0 if axis - len(shape) in axes else WHOLE for axis in range(len(shape)))
    return Selection(key, (None,) * len(key)), {"axis": axes}


def _flipped(config: LayerConfig) -> _Move:
    axes, rank = config.axes(config.options.get("axis")), config.rank
    key = tuple(slice(None, None, -1) if axis - rank in axes else WHOLE for axis in range(rank))
    return Selection(key, (None,) * rank), {"axis": axes}


_MOVES: Mapping[str, Callable[[LayerConfig], _Move]] = {
    "Reshape": _reshaped,
    "Transpose": _transposed,
    "Swapaxes": _swapped,
    "Moveaxis": _moved,
    "ExpandDims": _expanded,
    "Squeeze": _squeezed,
    "Flip": _flipped,
}


@dataclass(frozen=True, kw_only=True)
class JoinOperation(Join, Operation):
    """Tensors joined along an axis; Stack gives each a new axis of length 1 first."""

    functions: ClassVar = {"Concatenate": "concatenate", "Stack": "stack"}
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        (parts,) = config.arguments
        if tuple(parts) != tuple(map(Source, range(len(config.shapes)))):
            raise UnsupportedError(
                "it is called on a value that is not a tensor, which is not supported"
            )
        is_stack = config.class_name.endswith("Stack")
        axis = config.axis(config.options.get("axis"), config.rank + is_stack)
        if is_stack:
            new = tuple((*shape, Dim.of(1)) for shape in config.shapes)
            fields = {**cls.along(replace(config, shapes=new), -1), "axis": axis}
        else:
            fields = cls.along(config, axis)
        return cls(options=(("axis", axis),), **fields, **described(config))

    @property
    def stepwise(self) -> bool:
        return self.type == "Concatenate" and super().stepwise

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        if self.type == "Stack":
            key = (*(WHOLE,) * (ops.rank(inputs[0]) + 1 + self.axis), None)
            new_axis = Selection(key, (None,) * len(key))
            inputs = [ops.rearrange(x, new_axis) for x in inputs]
        return super().call(ops, inputs, w, masks)


@dataclass(frozen=True, kw_only=True)
class SplitOperation(Operation):
    """One tensor cut into several along an axis, each an output.

    ``selections`` cut them out; ``counts`` are the numbers of steps of each, by the size that has
    them, and the number of steps before, where it is time.
    """

    selections: tuple[Selection, ...]
    counts: tuple[tuple[Dim, Dim, int], ...]

    functions: ClassVar = {"Split": "split"}
    keras_classes = (f"{OPERATION}Split",)
    output_symbol = "s"
    stepwise = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        require_one_tensor(config)
        shape, sections = config.shape, config.options["indices_or_sections"]
        axis = config.axis(config.options.get("axis", 0))
        dim = shape[axis]
        if (size := config.names.value(dim)) is None:
            raise UnsupportedError(f"it splits an axis of unknown length {dim}")
        ends = _ends(sections, size)
        is_time = axis == 1 - len(shape) and len(shape) > 2
        names: dict[int, Dim] = {}
        selections = []
        for start, end in pairwise((0, *ends)):
            count = end - start
            if count not in names:
                names[count] = config.names.primed() if is_time else Dim.of(count)
            lead = len(shape) + axis
            key = (*(WHOLE,) * lead, slice(start, end))
            selections.append(Selection(key, (*(None,) * lead, names[count])))
        counts = tuple((name, dim, count) for count, name in names.items()) if is_time else ()
        frozen = tuple(sections) if isinstance(sections, list | tuple) else sections
        options = (("indices_or_sections", frozen), ("axis", axis))
        return cls(
            selections=tuple(selections), counts=counts, options=options, **described(config)
        )

    @property
    def label(self) -> str:
        return f"Split({len(self.selections)})"

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        return {str(name): (time, _constant_size(count)) for name, time, count in self.counts}

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        parts = tuple(ops.rearrange(inputs[0], selection) for selection in self.selections)
        return parts if len(parts) > 1 else parts[0]


def _constant_size(count: int) -> Callable[[int], int]:
    return lambda _: count


def _ends(sections: Any, size: int) -> list[int]:
    """Return where each part ends, from a number of equal parts or from their ends."""
    if type(sections) is int:
        if not 0 < sections <= MOST_PARTS:
            raise UnsupportedError(
                f"it splits into {sections} parts; 1 to {MOST_PARTS} are supported"
            )
        if size % sections:
            raise ContradictionError(f"{size} cannot be split into {sections} equal parts")
        return [size // sections * number for number in range(1, sections + 1)]
    ends = [*sections, size]
    if len(ends) > MOST_PARTS or any(type(end) is not int for end in ends):
        raise UnsupportedError(
            f"it splits at {sections!r:.40}; up to {MOST_PARTS - 1} integers are supported"
        )
    if not all(start < end for start, end in pairwise((0, *ends))):
        raise UnsupportedError(f"it splits {size} at {sections!r:.40}: a part would be empty")
    return ends


# --- Sums of products ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Product(Operation):
    """Sums of products of two tensors, or of a tensor and an array on either side."""

    contraction: Contraction
    constant_shape: Shape

    functions: ClassVar = {"Matmul": "matmul", "Einsum": "einsum"}
    keras_classes = tuple(f"{OPERATION}{name}" for name in functions)
    output_symbol = "m"
    stepwise = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        parts = config.arguments
        sources = [part for part in parts if isinstance(part, Source)]
        constants = [part for part in parts if isinstance(part, Constant)]
        if not len(parts) == len(sources) + len(constants) == 2 or not sources:
            raise UnsupportedError("it is not called on two tensors, or on a tensor and an array")
        for constant in constants:
            _require_dtype(config, constant)
        shapes = [
            config.shapes[part.number] if isinstance(part, Source) else part.shape for part in parts
        ]
        is_constant = [isinstance(part, Constant) for part in parts]
        sums_in_float16 = False
        if config.class_name.endswith("Einsum"):
            original = str(config.options["subscripts"])
            subscripts = _written_out(original, shapes)
            sums_in_float16 = einsum_sums_in_float16(original)
        else:
            subscripts = _matmul_subscripts(len(shapes[0]), len(shapes[1]), is_constant)
        contraction = _contraction(subscripts, shapes, is_constant)
        contraction = replace(contraction, sums_in_float16=sums_in_float16)
        dims: dict[str, Dim] = {}
        for number in (0, 1) if isinstance(parts[0], Source) else (1, 0):
            for letter, dim in zip(contraction.letters[number], shapes[number], strict=True):
                config.require_same_size(dims.setdefault(letter, dim), dim)
        named = [tuple(dims[letter] for letter in contraction.letters[n]) for n in (0, 1)]
        constant_shape = named[is_constant.index(True)] if constants else ()
        return cls(contraction=contraction, constant_shape=constant_shape, **described(config))

    @property
    def label(self) -> str:
        is_einsum = self.type == "Einsum"
        return f"Einsum({self.contraction.subscripts})" if is_einsum else self.type

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        pairs = zip(self.arguments, self.contraction.letters, strict=False)
        letters = [letters for part, letters in pairs if isinstance(part, Source)]
        dims: dict[str, Dim] = {}
        return [
            tuple(dims.setdefault(letter, dim) for letter, dim in zip(names, shape, strict=True))
            for names, shape in zip(letters, shapes, strict=True)
        ]

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        left, right = (
            ops.constant(part, inputs[0], self.constant_shape)
            if isinstance(part, Constant)
            else inputs[part.number]
            for part in self.arguments
        )
        return ops.contract(self.contraction, left, right)

    def call_keras(self, keras: Any, inputs: Sequence[Any]) -> Any:
        operands = fill_in(self.arguments, inputs)
        if self.type == "Einsum":
            return keras.ops.einsum(self.contraction.subscripts, *operands)
        return keras.ops.matmul(*operands)


def _matmul_subscripts(left: int, right: int, is_constant: Sequence[bool]) -> str:
    """Return the letters of a product of matrices, for each sample or with a constant one."""
    lead = "nbcde"
    if is_constant[0] and left == 2 and 2 < right < 6:
        return f"xy,{lead[: right - 2]}yz->{lead[: right - 2]}xz"
    if is_constant[1] and right < 3 and left < 6:
        return f"{lead[: left - 1]}x,xy->{lead[: left - 1]}y".replace("y", "y" * (right - 1))
    if left != right or not 2 < left < 6:
        raise UnsupportedError(
            "its tensors are not matrices, or stacks of matrices, for each sample"
        )
    return f"{lead[: left - 2]}xy,{lead[: left - 2]}yz->{lead[: left - 2]}xz"


def _written_out(subscripts: str, shapes: Sequence[Shape]) -> str:
    """Return the subscripts of einsum with the letters that ``...`` stands for."""
    operands, arrow, result = subscripts.replace(" ", "").partition("->")
    if not arrow:  # the letters that occur once
        letters = "".join(c for c in operands if c.isalpha() and operands.count(c) == 1)
        if sorted(letters) != list(letters):
            raise UnsupportedError(
                f"einsum {subscripts!r:.40} has no '->': Keras declares a result with axes in the "
                "order of the alphabet, and TensorFlow computes them in that of the operands"
            )
        result = "..." * ("..." in operands) + letters
    pairs = list(zip(operands.split(","), shapes, strict=True))
    counts = [max(0, len(shape) - len(part) + 3) for part, shape in pairs if "..." in part]
    unused = [letter for letter in "ABCDEFGH" if letter not in subscripts]
    shared = "".join(unused)[: max(counts, default=0)]
    parts = [
        part.replace("...", shared[len(shared) - max(0, len(shape) - len(part) + 3) :])
        for part, shape in pairs
    ]
    return f"{','.join(parts)}->{result.replace('...', shared)}"


def _contraction(
    subscripts: str, shapes: Sequence[Shape], is_constant: Sequence[bool]
) -> Contraction:
    """Return the contraction; UnsupportedError unless samples stay apart, in the first axis."""
    unsupported = UnsupportedError(f"einsum {subscripts!r:.40} is not supported")
    operands, _, result = subscripts.partition("->")
    parts = operands.split(",")
    if not result or not all(part.isalpha() for part in (*parts, result)):
        raise unsupported
    left, right = parts
    if [len(left), len(right)] != [len(shape) for shape in shapes]:
        raise ContradictionError(f"einsum {subscripts!r:.40} does not fit the axes of its tensors")
    single = all(len(set(part)) == len(part) for part in (left, right, result))
    used_twice = all(
        letter in result or (letter in left and letter in right) for letter in left + right
    )
    in_front = all(
        result[0] not in part if constant else result[0] == part[0]
        for part, constant in zip(parts, is_constant, strict=True)
    )
    if not (single and used_twice and in_front and set(result) <= set(left + right)):
        raise unsupported
    return Contraction(subscripts)

"""The description of a layer by Keras: its config, its inputs, and symbols for its sizes."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import ACTIVATIONS, KERAS2_HARD_SIGMOID

#: The options of a layer, as ``layer.get_config()`` returns them.
Config = Mapping[str, Any]
#: Keras's own classes of models.
MODEL_CLASSES = ("Sequential", "Functional", "Model")
#: More axes than a tensor of any model has; NumPy has at most 64.
MOST_AXES = 8
#: The largest number in an option; it has no infinite neighbour in float32.
LARGEST = 2.0**126
#: What the names of classes of operations, which are no layers, begin with.
OPERATION = "keras.ops."
#: What the names of their modules begin with.
OPERATION_MODULES = ("keras.ops", "keras.src.ops", "keras.src.activations")
#: Other names of activations in Keras, and activations that are not supported.
_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
_OTHER_ACTIVATIONS = ("glu", "sparsemax", "threshold")


class Source(NamedTuple):
    """One of the tensors that an operation is called on, by its number, among its arguments."""

    number: int


#: Stands for the last input, among the arguments of a call that have names.
LAST_INPUT = Source(-1)


@dataclass
class Namer:
    """Gives sizes and layers their symbols: M for the only one of its kind, else M1, M2 and so on.

    ``totals`` is how many there are of each kind; a kind that is not in it has several.
    ``computed`` are sizes that follow from others, such as T'.
    """

    totals: Mapping[str, int]
    sizes: dict[str, int | None] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    computed: dict[str, int | None] = field(default_factory=dict)

    def copy(self) -> Namer:
        """Return another one that goes on from here."""
        return Namer(self.totals, dict(self.sizes), dict(self.used), dict(self.computed))

    def size(self, letter: str, value: int | None) -> Dim:
        """Return a new symbol of this letter for a size of ``value``."""
        name = f"{letter}{self.index(letter)}"
        self.sizes[name] = value
        return Dim.named(name)

    def index(self, kind: str) -> str:
        """Return the number of the next one of a kind; nothing for the only one."""
        number = self.used[kind] = self.used.get(kind, 0) + 1
        # One that turns out not to be supported is not counted, and is another one even so.
        return str(number) if max(number, self.totals.get(kind, 2)) > 1 else ""

    def primed(self) -> Dim:
        """Return the next of T', T'' and so on."""
        self.used["'"] = self.used.get("'", 0) + 1
        return Dim.named("T" + "'" * self.used["'"])

    def compute(self, sizes: Mapping[str, tuple[Dim, Callable[[int], int]]]) -> None:
        """Compute sizes that follow from others: each from a size, by a function."""
        for name, (dim, function) in sizes.items():
            size = self.value(dim)
            self.computed[name] = None if size is None else function(size)

    def differ(self, dims: Iterable[Dim]) -> bool:
        """Return whether sizes are certainly not all equal."""
        return len({self.value(dim) for dim in dims} - {None}) > 1

    def value(self, dim: Dim) -> int | None:
        """Return a size as a number, ``None`` where it is open or unknown."""
        known = {**self.sizes, **self.computed}
        return dim.value(known) if dim.names <= set(known) else None


@dataclass(frozen=True)
class LayerConfig:
    """A layer as Keras describes it, with what is known of its inputs.

    Attributes:
        name: The name of the layer.
        class_name: Its class in Keras.
        options: Its options as ``get_config()`` returns them; the others have Keras's defaults.
        shapes: The symbolic shapes of its inputs.
        steps: The time axis of its first input, if it has one.
        trainable: Whether Keras trains it.
        dtype: The dtype of its weights.
        names: Gives its sizes their symbols.
        mask_axes: The largest number of axes of a mask of its inputs, 0 without one.
        arguments: The positional arguments of an operation; a Source stands for a tensor.
        call_options: The arguments of the call beside its inputs.
        lost_mask: Whether Keras takes the mask off one of its inputs before.
        causal: Whether its first input is a sequence whose steps depend on none after them.
        at_step: Whether it is called at each step of a sequence, so that axis 1 is not time.
        outer_levels: How many TimeDistributed are around it.
        computes_in: The dtype in which it computes.
        boolean_inputs: Which of its inputs are Boolean.
        stays_inside: For a layer of a model that TimeDistributed applies: whether its output
            stays in that model; for several of these models, the outermost first.
    """

    name: str
    class_name: str
    options: Config
    shapes: Sequence[Shape]
    steps: Dim | None
    trainable: bool
    dtype: str
    names: Namer
    mask_axes: int = 0
    arguments: tuple[Any, ...] = ()
    call_options: Config = field(default_factory=dict)
    lost_mask: bool = False
    causal: bool = False
    at_step: bool = False
    outer_levels: int = 0
    computes_in: str = ""
    boolean_inputs: Sequence[bool] = ()
    stays_inside: tuple[bool, ...] = ()

    @property
    def shared(self) -> dict[str, Any]:
        """The arguments that every layer takes."""
        return {"name": self.name, "trainable": self.trainable}

    @property
    def shape(self) -> Shape:
        """The symbolic shape of the first input."""
        return self.shapes[0]

    @property
    def rank(self) -> int:
        """The number of axes of the first input."""
        return len(self.shape)

    @property
    def features(self) -> Dim:
        """The last axis of the first input."""
        return self.shape[-1]

    @property
    def masked(self) -> bool:
        """Whether one of its inputs has a mask."""
        return self.mask_axes > 0

    def inner(self, part: Config, name: str, **changes: Any) -> LayerConfig:
        """Return the config of a layer inside this one."""
        described = {"class_name": str(part["class_name"]), "options": part["config"]}
        return replace(self, name=name, **{**described, **changes})

    def require(self, **supported: Any) -> None:
        """Raise UnsupportedError for an option that has another value than the supported one."""
        for option, value in supported.items():
            actual = self.options.get(option, value)
            if actual != value and actual not in ([value], (value,)):
                raise UnsupportedError(f"{option}={actual!r} is not supported, only {value!r}")

    def require_last_axis(self) -> None:
        """Raise UnsupportedError if the layer works along another axis than the last one."""
        axis = self.options.get("axis", -1)
        if self.axis(axis) != -1:
            raise UnsupportedError(f"axis={axis} is not supported, only the last one")

    def axes(self, axes: Any, rank: int = 0) -> tuple[int, ...]:
        """Return axes of the input, or of ``rank`` axes, counted from the last one, in order.

        Raises UnsupportedError for all axes, and for that of the samples.
        """
        rank = rank or self.rank
        listed = axes if isinstance(axes, list | tuple) else (axes,)
        if not listed or not all(_is_integer(axis) and -rank <= axis < rank for axis in listed):
            raise UnsupportedError(f"axis={axes!r:.40} is not supported")
        numbers = sorted({int(axis) % rank - rank for axis in listed})
        if -rank in numbers:
            raise UnsupportedError("it moves or joins samples, which is not supported")
        return tuple(numbers)

    def axis(self, axis: Any, rank: int = 0) -> int:
        """Return one axis as :meth:`axes` does; UnsupportedError for several ones."""
        axes = self.axes(axis, rank)
        if len(axes) > 1:
            raise UnsupportedError(f"axis={axis!r:.40} is not supported, only one axis")
        return axes[0]

    def require_sequence(self) -> None:
        """Raise UnsupportedError if the input is not a sequence."""
        if self.steps is None or self.rank != 3:
            raise UnsupportedError("its input is not a sequence (N, T, features)")

    def is_same_size(self, one: Dim, other: Dim) -> bool:
        """Return whether two sizes are certainly equal."""
        if one == other:
            return True
        value = self.names.value(one)
        return value is not None and value == self.names.value(other)

    def require_same_size(self, one: Dim, other: Dim) -> None:
        """Raise UnsupportedError for axes that have to be equal and may have different sizes."""
        if not self.is_same_size(one, other):
            raise UnsupportedError(f"{one} and {other} must be equal, which is not certain")

    def unit_axes(self, others: Sequence[Shape] = ()) -> tuple[tuple[int, int], ...]:
        """Return the axes of length 1 that meet longer ones: (input, axis from the last).

        ``others`` are shapes of arrays that meet the inputs.
        """
        units = []
        features = [shape[1:] for shape in self.shapes]  # without the axis of the samples
        shapes = [*features, *others]
        for axis in range(1, max(map(len, shapes)) + 1):
            met = [shape[-axis] for shape in shapes if axis <= len(shape)]
            lengths = [self.names.value(dim) for dim in met]
            if set(lengths) > {1}:
                units += [
                    (number, -axis)
                    for number, shape in enumerate(features)
                    if axis <= len(shape) and self.names.value(shape[-axis]) == 1
                ]
        return tuple(units)

    def require_plain_add(self, x: Shape, other: Shape) -> None:
        """Raise UnsupportedError where Keras may add ``other`` to x along the wrong axis.

        Where a single axis of ``other`` is longer than 1, and as long as the last axis of x or
        else its axis 1, Keras adds it along that one, as a bias:
        ``keras/src/backend/tensorflow/numpy.py``, ``add``.
        """
        axes = self.bias_axes(x, other)
        if axes is not None and axes[0] != axes[1]:
            shape = f"({', '.join(map(str, other))}{',' * (len(other) == 1)})"
            raise UnsupportedError(f"Keras may add {shape} along the wrong axis")

    def bias_axes(self, x: Shape, other: Shape) -> tuple[int, int | None] | None:
        """Return the axis of x that ``other`` belongs to, and that along which Keras adds it.

        The second one is None where open sizes decide. None for a tensor that is no bias.
        """
        sizes = {axis: self.names.value(dim) for axis, dim in enumerate(other, len(x) - len(other))}
        long = [axis for axis, size in sizes.items() if size != 1]
        if len(long) != 1:
            return None
        for axis in (len(x) - 1, 1):
            size = self.names.value(x[axis])
            if size is None or sizes[long[0]] in (None, size):
                is_certain = axis == long[0] or None not in (size, sizes[long[0]])
                return long[0], axis if is_certain else None
        return None

    def require_rank(self, spatial: int) -> None:
        """Raise UnsupportedError unless ``spatial`` axes are between samples and features."""
        if spatial == 1 and not self.at_step:
            self.require_sequence()
        if self.rank != spatial + 2:
            raise UnsupportedError(f"its input has {self.rank} axes, not {spatial + 2}")

    def new_length(self, axis: int, length: Callable[[int], int]) -> Dim:
        """Return a new length of an axis that follows from its length.

        It is T' or T'' for the time axis and where it is open, else a number.
        """
        size = self.names.value(self.shape[axis])
        if size is not None and length(size) < 1:
            raise UnsupportedError(f"it leaves nothing of an axis of length {size}")
        if size is None or (axis == 1 and not self.at_step):
            return self.names.primed()
        return Dim.of(length(size))

    def activation(self, default: str = "linear") -> str:
        """Return the name of the activation."""
        return activation_in(self.options, "activation", default)

    def number(self, option: str, default: float) -> float:
        """Return an option that is a number of float32, 0 or above.

        Raises ContradictionError for anything but a number, UnsupportedError for another one.
        """
        value = self.options.get(option, default)
        if type(value) not in (int, float):
            raise ContradictionError(f"{option}={value!r:.40} is not a number")
        if not 0 <= value < LARGEST:
            raise UnsupportedError(f"{option}={value!r:.40} is not supported")
        return float(value)

    def size(self, option: str, default: Any = None) -> int:
        """Return an option that is a size."""
        return size_in(self.options, option, default)

    def sizes(self, option: str, axes: int, default: Any = None) -> tuple[int, ...]:
        """Return an option that is a size for each of several axes, or one size for all."""
        value = self.options.get(option, default)
        each = list(value) if isinstance(value, list | tuple) and len(value) == axes else [value]
        sizes = [size_in({option: part}, option) for part in each]
        return tuple(sizes * axes if len(sizes) == 1 else sizes)


def require_axes(shape: Sequence[Any], what: str) -> None:
    """Raise UnsupportedError for a shape of more than ``MOST_AXES`` axes; ``what`` has it."""
    if len(shape) > MOST_AXES:
        raise UnsupportedError(f"{what} has more than {MOST_AXES} axes")


def as_float32(number: float) -> float:
    """Return the float32 that TensorFlow makes of a constant, in any dtype."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


def _is_integer(value: Any) -> bool:
    """Return whether a value is an integer, also one of NumPy's."""
    return hasattr(value, "__index__") and not isinstance(value, bool)


def is_keras(part: Config) -> bool:
    """Return whether a layer in a config is of one of Keras's own classes.

    A class of the user's has another module, or none and a registered name.
    """
    module, registered = part.get("module", "keras"), part.get("registered_name")
    from_keras = isinstance(module, str) and module.partition(".")[0] == "keras"
    return from_keras and registered in (None, part.get("class_name"))


def is_operation(part: Config) -> bool:
    """Return whether a layer in the config of a model is an operation of Keras, and no layer.

    HDF5 files name no modules, but Keras 3 writes ``trainable`` for layers, not for operations;
    only the SpatialDropout layers have a ``rate`` instead.
    """
    if not is_keras(part):
        return False
    if "module" in part:
        return str(part["module"]).startswith(OPERATION_MODULES)
    config = part.get("config")
    is_input = part.get("class_name") == "InputLayer"
    return not is_input and isinstance(config, dict) and not {"trainable", "rate"} & set(config)


def require_keras_class(part: Config) -> None:
    """Raise UnsupportedError for a layer inside another one that is not a layer of Keras."""
    if not is_keras(part):
        raise UnsupportedError(f"the layer in it is a custom class, {part['class_name']}")


def size_in(config: Config, option: str, default: Any = None) -> int:
    """Return a size in a config.

    Raises ContradictionError for anything but an integer from 1 to 2**63 - 1.
    """
    if option not in config and default is None:
        raise ContradictionError(f"its config has no {option}")
    value = config.get(option, default)
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if not 0 < number < 2**63:
        raise ContradictionError(f"{option}={value!r:.40} is not a positive integer")
    return number


def activation_in(config: Config, option: str, default: str) -> str:
    """Return the name of one of Keras's own activations in a config.

    Raises UnsupportedError for any other function, ContradictionError for an unknown name.
    """
    name = config.get(option, default)
    name = "linear" if name is None else name
    if isinstance(name, str):
        if name in (*ACTIVATIONS, *_ALIASES, KERAS2_HARD_SIGMOID):
            return _ALIASES.get(name, name)
        if name not in _OTHER_ACTIVATIONS:
            raise ContradictionError(f"{option}={name!r:.40} is not an activation of Keras")
    elif not isinstance(name, dict):
        raise ContradictionError(f"{option}={name!r:.40} is not the name of an activation")
    value = repr(name) if isinstance(name, str) else "a custom function"
    raise UnsupportedError(f"{option}={value} is not supported")

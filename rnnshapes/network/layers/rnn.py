"""Layers with a recurrence: a cell over time, in one direction or in both.

Sources: ``keras/src/layers/rnn/rnn.py`` and ``keras/src/layers/rnn/bidirectional.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Self

from rnnshapes.cells.cell import BaseCell, Cell, KerasSpec, SizeOf, Weight
from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.cells.stacked import StackedCells
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Direction, Layer, Masks
from rnnshapes.network.layers.config import (
    Config,
    LayerConfig,
    Namer,
    activation_in,
    is_keras,
    require_keras_class,
    size_in,
)
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Selection

#: How the outputs of both directions are joined.
MERGE_MODES = ("concat", "sum", "mul", "ave")
#: More cells in one layer than anyone would read the equations of.
MOST_CELLS = 32


@dataclass(frozen=True, kw_only=True)
class RecurrentLayer(Layer):
    """What layers with a recurrence share.

    A masked step leaves the states as they are; its output is that of the step before (zeros
    at the start), or zeros where ``zero_output_for_mask``. ``option_notes`` are the remarks on
    options that change no number, and ``runtime_differences`` is why a runtime
    computes other numbers. In ``input_order`` the output at t belongs to x_t also in reverse, as in
    other frameworks than Keras.
    """

    return_sequences: bool
    return_state: bool = False
    stateful: bool = False
    zero_output_for_mask: bool = False
    unroll: bool = False
    option_notes: tuple[str, ...]
    runtime_differences: str = ""
    input_order: bool = False

    output_symbol = "h"
    uses_mask = True
    stepwise = False

    @property
    def groups(self) -> Mapping[str, tuple[Weight, ...]]:
        return {direction.name: direction.weights for direction in self.directions}

    @property
    def weights(self) -> tuple[Weight, ...]:
        return tuple(weight for group in self.groups.values() for weight in group)

    @property
    def features(self) -> Dim:
        """The last axis of its input."""
        return self.directions[0].features

    @property
    def activations(self) -> tuple[str, ...]:
        return self.directions[0].cell.activations

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.directions[0].cell.notes, *self.option_notes)

    @property
    def zeroes_wrong_steps(self) -> bool:
        """Whether Keras, with a mask, sets outputs at the wrong steps to zero."""
        zeroes = self.unroll and self.zero_output_for_mask and self.return_sequences
        return zeroes and any(direction.reverse for direction in self.directions)

    @property
    def equation_lines(self) -> int:
        return sum(4 * len(direction.cell.states) for direction in self.directions)

    @property
    @abstractmethod
    def reversed_outputs(self) -> tuple[bool, ...]:
        """Whether Keras returns the sequence of each direction in reverse."""

    @abstractmethod
    def map_directions(self, make: Callable[[Direction], Direction]) -> RecurrentLayer:
        """Return the same layer with each recurrence replaced by ``make(direction)``."""

    @abstractmethod
    def join(self, ops: LayerOps, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute the outputs of the layer from those of its directions."""

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        return masks[0] if self.return_sequences else None

    def _keras_layer(self, direction: Direction, size_of: SizeOf) -> KerasSpec:
        """Return how Keras builds the layer with one of the recurrences."""
        return direction.cell.keras_layer(
            size_of,
            return_sequences=self.return_sequences,
            return_state=self.return_state,
            stateful=self.stateful,
            go_backwards=direction.reverse,
            zero_output_for_mask=self.zero_output_for_mask,
            unroll=self.unroll,
        )


@dataclass(frozen=True, kw_only=True)
class Recurrent(RecurrentLayer):
    """A cell applied to one time step after the other, from the last one if ``reverse``.

    It stands for the layers of all registered cells, and for RNN around one or several of them.
    """

    direction: Direction

    keras_classes = ("RNN",)

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(time_major=False)
        direction = _direction(config, config.name)
        options = _layer_options(config)
        return cls(index=direction.index, direction=direction, **config.shared, **options)

    @property
    def type(self) -> str:
        return self.cell.class_name

    @property
    def label(self) -> str:
        return self.cell.label

    @property
    def cell(self) -> BaseCell:
        """The cell."""
        return self.direction.cell

    @property
    def directions(self) -> tuple[Direction, ...]:
        return (self.direction,)

    @property
    def reversed_outputs(self) -> tuple[bool, ...]:
        return (self.direction.reverse and not self.input_order,)

    def map_directions(self, make: Callable[[Direction], Direction]) -> Recurrent:
        return replace(self, direction=make(self.direction))

    def join(self, ops: LayerOps, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(outputs)

    def keras_spec(self, size_of: SizeOf) -> KerasSpec:
        return self._keras_layer(self.direction, size_of)


@dataclass(frozen=True, kw_only=True)
class Bidirectional(RecurrentLayer):
    """Two recurrences over the same steps, one from each end, whose outputs are joined."""

    forward: Direction
    backward: Direction
    merge_mode: str | None

    keras_classes = ("Bidirectional",)

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(time_major=False)
        names, index = config.names, config.names.index("recurrent")
        first = config.options["layer"]
        second = config.options.get("backward_layer") or _reversed(first)
        names_before = dict(names.sizes), dict(names.used)
        directions, both_options = [], []
        for part, arrow, word in ((first, "→", "forward"), (second, "←", "backward")):
            if part is second and _units(part) == _units(first):
                names.sizes, names.used = names_before  # both have M
            class_name = str(part["class_name"])
            if not is_cell_layer(class_name):
                raise UnsupportedError(f"{class_name} inside it is not supported")
            if part["config"].get("time_major"):
                raise UnsupportedError("time_major=True is not supported, only False")
            base = str(part["config"].get("name", class_name.lower())).removeprefix(f"{word}_")
            inner = config.inner(part, f"{word}_{base}")
            require_keras_class(part)
            directions.append(_direction(inner, f"{config.name}/{inner.name}", arrow, index))
            both_options.append(_layer_options(inner))
        forward, backward = directions
        if forward.reverse == backward.reverse:
            raise ContradictionError("both of its layers process the steps in one direction")
        for name in ("return_sequences", "return_state", "stateful"):
            if both_options[0][name] != both_options[1][name]:
                raise ContradictionError(f"its layers have different {name}")
        mode = config.options.get("merge_mode", "concat")
        if mode not in (None, *MERGE_MODES):
            raise ContradictionError(f"merge_mode={mode!r:.40} is not a merge mode of Keras")
        if mode not in (None, "concat") and forward.cell.output != backward.cell.output:
            raise UnsupportedError(
                f"merge_mode={mode!r} of directions with different sizes or cells is not supported"
            )
        options = both_options[0 if forward.reverse else 1]  # unroll matters in reverse alone
        options["zero_output_for_mask"] = options["return_sequences"]  # Keras forces it
        notes = (note for each in both_options for note in each["option_notes"])
        options["option_notes"] = tuple(dict.fromkeys(notes))
        ends = {"forward": forward, "backward": backward, "merge_mode": mode}
        return cls(index=index, **ends, **config.shared, **options)

    @property
    def label(self) -> str:
        merged = "" if self.merge_mode == "concat" else f", {self.merge_mode}"
        return f"Bidirectional({self.forward.cell.label}{merged})"

    @property
    def directions(self) -> tuple[Direction, ...]:
        return (self.forward, self.backward)

    @property
    def reversed_outputs(self) -> tuple[bool, ...]:
        if self.input_order:
            return (False, False)
        return (self.forward.reverse, not self.backward.reverse)

    def map_directions(self, make: Callable[[Direction], Direction]) -> Bidirectional:
        return replace(self, forward=make(self.forward), backward=make(self.backward))

    def join(self, ops: LayerOps, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if self.merge_mode is None:
            return tuple(outputs)
        if self.merge_mode == "concat":
            return (ops.concatenate(outputs),)
        forward, backward = outputs
        if self.merge_mode == "mul":
            return (forward * backward,)
        total = forward + backward
        return (total,) if self.merge_mode == "sum" else (total * 0.5,)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        forward, backward = (
            replace(self._keras_layer(direction, size_of), name=direction.name.rsplit("/", 1)[-1])
            for direction in self.directions
        )
        return {"layer": forward, "backward_layer": backward, "merge_mode": self.merge_mode}


@dataclass(frozen=True, kw_only=True)
class WholeRecurrence(Layer):
    """A recurrent layer that is computed as a whole, inside another layer."""

    layer: RecurrentLayer
    masked: bool

    output_symbol = "h"
    stepwise = False
    uses_mask = True

    @classmethod
    def around(cls, layer: RecurrentLayer, *, masked: bool) -> WholeRecurrence:
        """Return a layer as a whole; UnsupportedError if it returns or keeps states."""
        if layer.return_state or layer.stateful or getattr(layer, "merge_mode", "") is None:
            raise UnsupportedError(
                f"{layer.type} with several outputs or stateful=True inside it is not supported"
            )
        if any(isinstance(direction.cell, StackedCells) for direction in layer.directions):
            raise UnsupportedError("StackedRNNCells inside it is not supported")
        return cls(
            name=layer.name,
            index=layer.index,
            trainable=layer.trainable,
            layer=layer,
            masked=masked,
        )

    @property
    def type(self) -> str:
        return self.layer.type

    @property
    def label(self) -> str:
        return self.layer.label

    @property
    def weights(self) -> tuple[Weight, ...]:
        weights: list[Weight] = []
        for arrow, direction in self._directions:
            front = f"{direction.name.rpartition('/')[2]}/" if arrow else ""
            weights += [
                replace(weight, key=weight.key + arrow, name=front + weight.name)
                for weight in direction.weights
            ]
        return tuple(weights)

    @property
    def _directions(self) -> list[tuple[str, Direction]]:
        """The directions, with the arrow that tells them apart."""
        directions = self.layer.directions
        return list(zip(("→", "←") if len(directions) > 1 else ("",), directions, strict=True))

    @property
    def activations(self) -> tuple[str, ...]:
        return self.layer.activations

    @property
    def notes(self) -> tuple[str, ...]:
        own = "it runs over steps of its own at each step: its states are not traced"
        skipped = ("a masked step does not change its states",) if self.masked else ()
        return (*self.layer.notes, own, *skipped)

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.layer.cells

    @property
    def equation_lines(self) -> int:
        return self.layer.equation_lines

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        return self.layer.own_shapes(shapes)

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        return self.layer.mask(inputs, masks)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        outputs, x, mask = [], inputs[0], masks.input
        for number, (arrow, direction) in enumerate(self._directions):
            output = self._scan(ops.within(arrow) if arrow else ops, x, w, arrow, direction, mask)
            if mask is not None and self.layer.zero_output_for_mask:
                output = ops.where(mask, output, 0.0)
            key: Any = 0 if direction.reverse else -1
            if self.layer.return_sequences:
                step = -1 if self.layer.reversed_outputs[number] else 1
                key = slice(None, None, step)
            if key != slice(None, None, 1):
                output = ops.rearrange(output, Selection((WHOLE, key), (None, None)))
            outputs.append(output)
        (joined,) = self.layer.join(ops, outputs)
        return joined

    def _scan(
        self, ops: Any, x: Tensor, w: Any, arrow: str, direction: Direction, mask: Any
    ) -> Tensor:
        """Compute the output of a direction at each step, (N, T, M)."""
        own = {weight.key: getattr(w, weight.key + arrow) for weight in direction.weights}
        weights, cell = SimpleNamespace(**own), direction.cell
        names = tuple(cell.states)

        def step(z: Tensor, states: Sequence[Tensor]) -> Sequence[Tensor]:
            after = cell.step(ops, z, dict(zip(names, states, strict=True)), weights).states
            return [after[name] for name in names]

        z = cell.project(ops, x, weights)
        multiple = max(1, len(cell.gates))
        return ops.scan(step, z, multiple, names, reverse=direction.reverse, mask=mask)

    def keras_spec(self, size_of: SizeOf) -> KerasSpec:
        return self.layer.keras_spec(size_of)


def is_cell_layer(class_name: str) -> bool:
    """Return whether a layer of this class has one recurrence: that of a cell, or RNN."""
    return class_name in BY_CLASS or class_name in Recurrent.keras_classes


def _direction(
    config: LayerConfig, name: str, arrow: str = "", index: str | None = None
) -> Direction:
    """Make the recurrence of a layer; without an ``index`` it gets the next one."""
    config.require_sequence()
    cell = _cell_of_layer(config)
    index = config.names.index("recurrent") if index is None else index
    return Direction(
        name=name,
        index=index + arrow,
        features=config.features,
        cell=cell,
        reverse=bool(config.options.get("go_backwards", False)),
    )


def _cell_of_layer(config: LayerConfig) -> BaseCell:
    """Make the cell of a layer, or the cell or cells of an RNN."""
    if config.class_name in BY_CLASS:
        units = config.names.size("M", config.size("units"))
        return _make_cell(BY_CLASS[config.class_name], config.options, units)
    inner = config.options["cell"]
    if inner.get("class_name") != "StackedRNNCells":
        return _cell_from_config(inner, config.names)
    if not is_keras(inner):
        raise UnsupportedError("its cell StackedRNNCells is not supported")
    configs = inner["config"]["cells"]
    if len(configs) > MOST_CELLS:
        raise UnsupportedError(f"it has {len(configs)} cells, more than {MOST_CELLS}")
    cells = [_cell_from_config(cell, config.names) for cell in configs]
    names = [str(cell["config"].get("name", cell["class_name"])) for cell in configs]
    return StackedCells(tuple(cells), tuple(names))


def _cell_from_config(part: Config, names: Namer) -> Cell:
    class_name = str(part.get("class_name", "?"))
    kind = BY_CLASS.get(class_name.removesuffix("Cell"))
    if not is_keras(part) or kind is None:
        raise UnsupportedError(f"its cell {class_name} is not supported")
    return _make_cell(kind, part["config"], names.size("M", size_in(part["config"], "units")))


def _make_cell(kind: type[Cell], config: Config, units: Dim) -> Cell:
    """Make a cell with the options in a config."""
    options: dict[str, Any] = {}
    for name in kind.option_names():
        if name.endswith("activation"):
            options[name] = activation_in(config, name, getattr(kind, name))
        elif name in config:
            options[name] = bool(config[name])
    return kind(units, **options)


def _layer_options(config: LayerConfig) -> dict[str, Any]:
    """Return the options of a layer with a recurrence, apart from those of its cell."""
    names = ("return_sequences", "return_state", "stateful", "zero_output_for_mask", "unroll")
    options = {name: bool(config.options.get(name, False)) for name in names}
    inner = config.options.get("cell", {}).get("config", config.options)
    return options | {"option_notes": _option_notes({**inner, **config.options})}


def _option_notes(config: Config) -> tuple[str, ...]:
    """Return remarks on options that change no number."""
    notes = [
        f"{name}={config[name]:g}: no effect at inference"
        for name in ("dropout", "recurrent_dropout")
        if config.get(name)
    ]
    if config.get("unroll"):
        notes.append("unroll=True: Keras writes the loop out, which changes no equation")
    if config.get("stateful"):
        notes.append("stateful=True: each batch starts from the final states of the previous batch")
    return tuple(notes)


def _reversed(part: Config) -> dict[str, Any]:
    """Return the config of the same layer over the steps in reverse, as Keras 2 makes it.

    Keras 3 refuses a layer with go_backwards=True.
    """
    backwards = not part["config"].get("go_backwards")
    return {**part, "config": {**part["config"], "go_backwards": backwards}}


def _units(part: Config) -> list[Any]:
    """Return the sizes of the cells of a layer."""
    config = part["config"]
    inner = config.get("cell", {}).get("config", config)
    return [cell["config"].get("units") for cell in inner.get("cells", [{"config": inner}])]

"""Layers with a recurrence: a cell over time, in one direction or in both.

Sources: ``keras/src/layers/rnn/rnn.py`` and ``keras/src/layers/rnn/bidirectional.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnnshapes.cells.cell import BaseCell, Weight
from rnnshapes.network.layers.base import Direction, Layer
from rnnshapes.ops.interface import LayerOps, Tensor

#: How the outputs of both directions are joined.
MERGE_MODES = ("concat", "sum", "mul", "ave")


@dataclass(frozen=True, kw_only=True)
class RecurrentLayer(Layer):
    """What layers with a recurrence share.

    A masked step leaves the states as they are; its output is that of the step before (zeros
    at the start), or zeros where ``zero_output_for_mask``.
    """

    return_sequences: bool = False
    return_state: bool = False
    stateful: bool = False
    zero_output_for_mask: bool = False
    option_notes: tuple[str, ...] = ()

    output_symbol = "h"
    stepwise = False

    @property
    def groups(self) -> Mapping[str, tuple[Weight, ...]]:
        return {direction.name: direction.weights for direction in self.directions}

    @property
    def weights(self) -> tuple[Weight, ...]:
        return tuple(weight for group in self.groups.values() for weight in group)

    @property
    def activations(self) -> tuple[str, ...]:
        return self.directions[0].cell.activations

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.directions[0].cell.notes, *self.option_notes)

    @property
    def equation_lines(self) -> int:
        return sum(4 * len(direction.cell.states) for direction in self.directions)

    @property
    @abstractmethod
    def reversed_outputs(self) -> tuple[bool, ...]:
        """Whether a sequence that it returns has the steps of each direction turned round."""

    @abstractmethod
    def map_directions(self, make: Callable[[Direction], Direction]) -> RecurrentLayer:
        """The same layer with other recurrences."""

    @abstractmethod
    def join(self, ops: LayerOps, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs of the layer from those of its directions."""

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        return masks[0] if self.return_sequences else None


@dataclass(frozen=True, kw_only=True)
class Recurrent(RecurrentLayer):
    """A cell applied to one time step after the other, from the last one if ``reverse``."""

    direction: Direction

    @property
    def type(self) -> str:
        return self.cell.keras_class

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
        return (self.direction.reverse,)

    def map_directions(self, make: Callable[[Direction], Direction]) -> Recurrent:
        return replace(self, direction=make(self.direction))

    def join(self, ops: LayerOps, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(outputs)


@dataclass(frozen=True, kw_only=True)
class Bidirectional(RecurrentLayer):
    """Two recurrences over the same steps, one from each end, whose outputs are joined."""

    forward: Direction
    backward: Direction
    merge_mode: str | None = "concat"

    keras_class = "Bidirectional"

    @property
    def label(self) -> str:
        merged = "" if self.merge_mode == "concat" else f", {self.merge_mode}"
        return f"Bidirectional({self.forward.cell.label}{merged})"

    @property
    def directions(self) -> tuple[Direction, ...]:
        return (self.forward, self.backward)

    @property
    def reversed_outputs(self) -> tuple[bool, ...]:
        return (self.forward.reverse, not self.backward.reverse)

    def map_directions(self, make: Callable[[Direction], Direction]) -> Bidirectional:
        return replace(self, forward=make(self.forward), backward=make(self.backward))

    def join(self, ops: LayerOps, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if self.merge_mode is None:
            return tuple(outputs)
        if self.merge_mode == "concat":
            return (ops.concatenate(outputs),)
        one, other = outputs
        if self.merge_mode == "mul":
            return (one * other,)
        return (one + other,) if self.merge_mode == "sum" else ((one + other) * 0.5,)

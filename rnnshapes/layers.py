"""The layers of a network: which weights each owns, and what it does to a tensor.

Sources: ``keras/src/layers/rnn/rnn.py`` and ``keras/src/layers/core/dense.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from rnnshapes.algebra.dims import Dim, Shape, total
from rnnshapes.cells.cell import Cell, Ops, Step, Tensor, Weight


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """What a recurrent layer and a dense layer share.

    ``index`` tells several layers of a kind apart in symbols (``Wx1``, ``W0``); ``features``
    is the last axis of the input, ``units`` that of the output.
    """

    name: str
    index: str
    features: Dim
    units: Dim
    trainable: bool = True

    @property
    @abstractmethod
    def type(self) -> str:
        """The name of the Keras layer."""

    @property
    @abstractmethod
    def weights(self) -> tuple[Weight, ...]:
        """The weights, in the order of Keras's ``get_weights()``."""

    @property
    @abstractmethod
    def activation(self) -> str:
        """The activation of the output."""

    @property
    @abstractmethod
    def states(self) -> tuple[str, ...]:
        """The values carried from one time step to the next; the first is the output."""

    @property
    @abstractmethod
    def keras_options(self) -> dict[str, Any]:
        """What Keras's layer takes beside units and name."""

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the output for an input of ``shape``."""

    @abstractmethod
    def at_step(self, ops: Ops, x: Tensor, state: dict[str, Tensor], w: Any) -> Step:
        """One time step, in any reading, from the layer's input and the states before."""

    @property
    def count(self) -> Dim:
        """How many parameters the layer has."""
        return total(weight.count for weight in self.weights)

    def symbol(self, weight: Weight) -> str:
        """How one of its weights is written: ``Wx``, or ``Wx2`` in the second layer."""
        return weight.key + self.index


@dataclass(frozen=True, kw_only=True)
class Recurrent(Layer):
    """A cell applied to one time step after the other, starting from a state of zeros."""

    cell: Cell
    return_sequences: bool = False

    @property
    def type(self) -> str:
        return self.cell.keras_class

    @property
    def weights(self) -> tuple[Weight, ...]:
        return self.cell.weights(self.features, self.units)

    @property
    def activation(self) -> str:
        return self.cell.activation

    @property
    def states(self) -> tuple[str, ...]:
        return self.cell.states

    @property
    def keras_options(self) -> dict[str, Any]:
        return self.cell.keras_options | {"return_sequences": self.return_sequences}

    def output_shape(self, shape: Shape) -> Shape:
        """(N, T, M) with ``return_sequences``, else (N, M)."""
        n, t, _ = shape
        return (n, t, self.units) if self.return_sequences else (n, self.units)

    def at_step(self, ops: Ops, x: Tensor, state: dict[str, Tensor], w: Any) -> Step:
        return self.cell.step(ops, self.cell.project(ops, x, w), state, w)


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """y = activation(x W0 + b0), applied to the last axis."""

    activation: str = "linear"
    use_bias: bool = True

    @property
    def type(self) -> str:
        return "Dense"

    @property
    def states(self) -> tuple[str, ...]:
        return ()

    @property
    def weights(self) -> tuple[Weight, ...]:
        kernel = Weight("W", "kernel", (self.features, self.units))
        return (kernel, Weight("b", "bias", (self.units,))) if self.use_bias else (kernel,)

    @property
    def keras_options(self) -> dict[str, Any]:
        return {"activation": self.activation, "use_bias": self.use_bias}

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the input with K for its last axis."""
        return (*shape[:-1], self.units)

    def at_step(self, ops: Ops, x: Tensor, state: dict[str, Tensor], w: Any) -> Step:
        z = x @ w.W  # (N, M)·(M, K) → (N, K)
        z = z + w.b if self.use_bias else z  # (N, K) + (K,) → (N, K)
        return Step(ops.activate(self.activation, z), {}, {})

"""Cells as PyTorch and ONNX have them: variants of Keras's, with the same equations.

Each has two biases, bx of the input and bh of the state. ONNX may clip what an activation takes,
and has activations with constants of their own; its LSTM may have peepholes and one gate for i and
f. PyTorch's LSTM may project its output.
Sources: the documentation of ``torch.nn.RNN``, ``LSTM`` and ``GRU``; ONNX's operators RNN, LSTM
and GRU (``docs/Operators.md``), where they leave it open as ONNX Runtime computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from rnnshapes.cells.cell import Cell, Variant, Weight
from rnnshapes.cells.gru import GRUCell
from rnnshapes.cells.lstm import LSTMCell, Peepholes
from rnnshapes.cells.simple_rnn import SimpleRNNCell
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.elementwise import Clip, Elementwise
from rnnshapes.ops.interface import CellOps, Tensor


@dataclass(frozen=True)
class FrameworkCell(Cell):
    """What such cells share.

    Attributes:
        clip: What bounds the inputs of activations, if anything does.
        functions: The activations that have constants of their own, by their names here.
    """

    clip: Clip | None = None
    functions: tuple[tuple[str, Elementwise], ...] = ()

    in_keras: ClassVar[bool] = False

    @property
    def option_notes(self) -> tuple[str, ...]:
        return ()

    @property
    def variants(self) -> tuple[Variant, ...]:
        return ()

    def weights(self, features: Dim) -> tuple[Weight, ...]:
        width, gates = max(1, len(self.gate_names)) * self.units, self.gate_names
        kernels = (
            Weight("Wx", "kernel", (features, width), gates),
            Weight("Wh", "recurrent_kernel", (self.output, width), gates),
        )
        biases = (Weight("bx", "input_bias", (width,), gates), self.bias(width))
        return (*kernels, *biases) if self.use_bias else kernels

    def bias(self, width: Dim) -> Weight:
        return Weight("bh", "recurrent_bias", (width,), self.gate_names)

    def add_bias(self, z: Tensor, w: Any) -> Tensor:
        return z + w.bx + w.bh if self.use_bias else z

    def activate(self, ops: CellOps, use: str, z: Tensor) -> Tensor:
        name = self.activation_names[use]
        z = z if self.clip is None else ops.elementwise(z, self.clip)
        function = dict(self.functions).get(name)
        return ops.activate(name, z) if function is None else ops.elementwise(z, function)


@dataclass(frozen=True)
class FrameworkRNN(FrameworkCell, SimpleRNNCell):
    """``torch.nn.RNN`` and ONNX's RNN."""

    class_name = "RNN"


@dataclass(frozen=True)
class FrameworkLSTM(FrameworkCell, LSTMCell):
    """``torch.nn.LSTM`` and ONNX's LSTM.

    Attributes:
        state_activation: The activation of c_t, ONNX's h.
        projection: The size P of h_t, if it is projected.
        peepholes: Whether i and f see c_{t-1}, and o sees c_t.
        coupled: Whether f is 1 - i, ONNX's ``input_forget``.
    """

    state_activation: str = "tanh"
    projection: Dim | None = None
    peepholes: bool = False
    coupled: bool = False

    @property
    def output(self) -> Dim:
        return self.units if self.projection is None else self.projection

    @property
    def states(self) -> dict[str, Dim]:
        return {"h": self.output, "c": self.units}

    @property
    def label(self) -> str:
        if self.projection is None:
            return super().label
        return f"LSTM({self.units}, proj_size={self.projection})"

    def weights(self, features: Dim) -> tuple[Weight, ...]:
        more = []
        if self.peepholes:
            more.append(Weight("P", "peepholes", (3 * self.units,), self._peephole_gates))
        if self.projection is not None:
            more.append(Weight("Wp", "projection", (self.units, self.projection)))
        return (*super().weights(features), *more)

    @property
    def _peephole_gates(self) -> tuple[str, ...]:
        """The gates that see c, in the order of all gates."""
        return tuple(gate for gate in self.gate_names if gate != "c")

    @cached_property
    def activation_names(self) -> Mapping[str, str]:
        return {**super().activation_names, "c": self.state_activation}

    def activate(self, ops: CellOps, use: str, z: Tensor) -> Tensor:
        # ONNX Runtime does not clip c_t.
        cell = replace(self, clip=None) if use == "c" and self.clip else self
        return super(FrameworkLSTM, cell).activate(ops, use, z)

    def forget(self, ops: CellOps, z_f: Tensor, i: Tensor) -> Tensor:
        return 1 - i if self.coupled else super().forget(ops, z_f, i)

    def peepholes_of(self, ops: CellOps, w: Any) -> Peepholes:
        if not self.peepholes:
            return super().peepholes_of(ops, w)
        gates = self._peephole_gates
        parts = dict(zip(gates, ops.split(w.P, "P", gates), strict=True))  # three times (M,)
        return lambda gate, z, c: z + c * parts[gate]

    def project_output(self, h: Tensor, w: Any) -> Tensor:
        return h if self.projection is None else h @ w.Wp  # (N, M)·(M, P) → (N, P)


@dataclass(frozen=True)
class FrameworkGRU(FrameworkCell, GRUCell):
    """``torch.nn.GRU`` and ONNX's GRU, in which ``reset_after`` is ``linear_before_reset``."""

    def bias_rows(self, ops: CellOps, w: Any) -> list[Tensor]:
        return [w.bx, w.bh]


#: The cells by the names of Keras's that they vary.
BY_CELL: dict[str, type[FrameworkCell]] = {
    "simple": FrameworkRNN,
    "lstm": FrameworkLSTM,
    "gru": FrameworkGRU,
}


def with_units(cell: FrameworkCell, units: Dim, projection: Dim | None) -> FrameworkCell:
    """Return the cell with symbols for its sizes."""
    if isinstance(cell, FrameworkLSTM):
        return replace(cell, units=units, projection=projection)
    return replace(cell, units=units)

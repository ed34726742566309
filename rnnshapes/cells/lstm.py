"""The long short-term memory cell.

Equations: i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o) with z = x_t Wx + h_{t-1} Wh + bh;
c_t = f c_{t-1} + i tanh(z_c); h_t = o tanh(c_t).
Source: Hochreiter and Schmidhuber, Neural Computation 9 (1997), with the forget gate of Gers,
Schmidhuber and Cummins, Neural Computation 12 (2000); in Keras
``keras/src/layers/rnn/lstm.py``, ``LSTMCell.call``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from rnnshapes.cells.cell import Cell, CellState, StepResult, Variant
from rnnshapes.ops.interface import CellOps, Tensor

#: Returns z of a gate, with its name and the cell state, as the gate's activation takes it.
Peepholes = Callable[[str, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LSTMCell(Cell):
    """Gates i (input), f (forget), c (candidate) and o (output), in Keras's order."""

    recurrent_activation: str = "sigmoid"
    unit_forget_bias: bool = True

    name = "lstm"
    year = 1997
    class_name = "LSTM"
    default_name = "lstm"
    state_names = ("h", "c")
    gate_names = ("i", "f", "c", "o")
    gate_meanings = ("input", "forget", "candidate (c~)", "output")
    keras1_gate_order = ("i", "c", "f", "o")
    cudnn_class = "CuDNNLSTM"

    @property
    def notes(self) -> tuple[str, ...]:
        if not (self.use_bias and self.unit_forget_bias):
            return super().notes
        note = "unit_forget_bias=True: before training, Keras has 1 for f in bias, 0 elsewhere"
        return (*super().notes, note)

    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        """Compute x_t Wx."""
        return x @ w.Wx  # (N, D)·(D, 4M) → (N, 4M)

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        """Compute h_t and c_t from x_t Wx, h_{t-1} and c_{t-1}."""
        z = xz + self.recur(ops, state["h"], w)  # (N, 4M) + (N, 4M) → (N, 4M)
        z = self.add_bias(z, w)  # (N, 4M) + (4M,) → (N, 4M)
        z_i, z_f, z_c, z_o = ops.split(z, "z", self.gate_names)  # four times (N, M)
        peep = self.peepholes_of(ops, w)
        i = ops.let("i", self.activate(ops, self.recurrent_activation, peep("i", z_i, state["c"])))
        f = ops.let("f", self.forget(ops, peep("f", z_f, state["c"]), i))
        candidate = ops.let("c~", self.activate(ops, self.activation, z_c))
        c = ops.let("c", f * state["c"] + i * candidate)
        o = ops.let("o", self.activate(ops, self.recurrent_activation, peep("o", z_o, c)))
        h = ops.let("h", self.project_output(o * self.activate_state(ops, c), w))
        return StepResult(h, {"h": h, "c": c}, {"i": i, "f": f, "c": candidate, "o": o})

    def recur(self, ops: CellOps, h: Tensor, w: Any) -> Tensor:
        """Compute h_{t-1} Wh."""
        return h @ w.Wh  # (N, M)·(M, 4M) → (N, 4M)

    def activate_state(self, ops: CellOps, c: Tensor) -> Tensor:
        """Return what the output gate multiplies: the activation of c_t."""
        return self.activate(ops, self.activation, c)

    def forget(self, ops: CellOps, z_f: Tensor, i: Tensor) -> Tensor:
        """Return the forget gate."""
        return self.activate(ops, self.recurrent_activation, z_f)

    def peepholes_of(self, ops: CellOps, w: Any) -> Peepholes:
        """Return what adds the view that a gate has of the cell state; Keras's gates have none."""
        return lambda gate, z, c: z

    def project_output(self, h: Tensor, w: Any) -> Tensor:
        """Return h_t from the product with the output gate."""
        return h

    @property
    def variants(self) -> tuple[Variant, ...]:
        options = {f.name: getattr(self, f.name) for f in fields(self)}
        text = "h is o * c, without the activation of c"
        plain = Variant("lstm.c_not_activated", text, "cell", _StateNotActivated(**options))
        if not self.use_bias:
            return (plain,)
        text = "1 is added to the forget bias, although Keras's weights include it"
        again = Variant("bias.forget_again", text, "bias", self, self._add_forget_bias)
        text = "the forget bias is doubled"
        twice = Variant("bias.forget_twice", text, "bias", self, self._double_forget_bias)
        return (plain, again, twice)

    def _add_forget_bias(self, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._change_forget_bias(arrays, lambda bias: bias + 1)

    def _double_forget_bias(self, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._change_forget_bias(arrays, lambda bias: bias * 2)

    def _change_forget_bias(
        self, arrays: dict[str, Tensor], change: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        bias = arrays["bh"].copy()
        width, position = len(bias) // len(self.gate_names), self.gate_names.index("f")
        block = slice(width * position, width * (position + 1))
        bias[block] = change(bias[block])
        return {**arrays, "bh": bias}


class _StateNotActivated(LSTMCell):
    """A port in which h is o * c."""

    def recur(self, ops: CellOps, h: Tensor, w: Any) -> Tensor:
        """Compute h_{t-1} Wh."""
        return h @ w.Wh  # (N, M)·(M, 4M) → (N, 4M)

    def activate_state(self, ops: CellOps, c: Tensor) -> Tensor:
        return c

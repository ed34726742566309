"""The long short-term memory cell.

Equations: i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o) with z = x_t Wx + h_{t-1} Wh + bh;
c_t = f c_{t-1} + i tanh(z_c); h_t = o tanh(c_t).
Source: Hochreiter and Schmidhuber, Neural Computation 9 (1997), with the forget gate of Gers,
Schmidhuber and Cummins, Neural Computation 12 (2000); in Keras
``keras/src/layers/rnn/lstm.py``, ``LSTMCell.call``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

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
    def option_notes(self) -> tuple[str, ...]:
        if not (self.use_bias and self.unit_forget_bias):
            return ()
        note = "unit_forget_bias=True: before training, Keras has 1 for f in bias, 0 elsewhere"
        return (note,)

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
        candidate = ops.let("c~", self.activate_candidate(ops, z_c))
        c = ops.let("c", self.next_state(i, f, state["c"], candidate))
        o = ops.let("o", self.activate(ops, self.recurrent_activation, peep("o", z_o, c)))
        h = ops.let("h", self.project_output(self.output_of(ops, o, c, state["c"]), w))
        return StepResult(h, {"h": h, "c": c}, {"i": i, "f": f, "c": candidate, "o": o})

    def recur(self, ops: CellOps, h: Tensor, w: Any) -> Tensor:
        """Compute h_{t-1} Wh."""
        return h @ w.Wh  # (N, M)·(M, 4M) → (N, 4M)

    def activate_candidate(self, ops: CellOps, z: Tensor) -> Tensor:
        """Return the candidate for c_t from its part of z."""
        return self.activate(ops, self.activation, z)

    def activate_state(self, ops: CellOps, c: Tensor) -> Tensor:
        """Return what the output gate multiplies: the activation of c_t."""
        return self.activate(ops, self.activation, c)

    def next_state(self, i: Tensor, f: Tensor, c: Tensor, candidate: Tensor) -> Tensor:
        """Return c_t from the gates, c_{t-1} and the candidate."""
        return f * c + i * candidate

    def output_of(self, ops: CellOps, o: Tensor, c: Tensor, c_before: Tensor) -> Tensor:
        """Return the product with the output gate from c_t and c_{t-1}."""
        return o * self.activate_state(ops, c)

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
        variants = [
            Variant(kind.id, kind.text, family, self.with_methods_of(kind))
            for family, kinds in _WRONG_EQUATIONS.items()
            for kind in kinds
            if not issubclass(kind, _OtherStates) or len(set(self.states.values())) == 1
        ]
        if self.use_bias:
            text = "1 is added to the forget bias, although Keras's weights include it"
            again = Variant("bias.forget_again", text, "bias", self, self._add_forget_bias)
            text = "the forget bias is doubled"
            twice = Variant("bias.forget_twice", text, "bias", self, self._double_forget_bias)
            variants += [again, twice]
        return tuple(variants)

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


class _WrongEquation(LSTMCell):
    """An LSTM as ports compute it that make the mistake ``id``, ``text`` in words."""

    id: ClassVar[str]
    text: ClassVar[str]


class _StateNotActivated(_WrongEquation):
    id, text = "lstm.c_not_activated", "h is o * c, without the activation of c"

    def activate_state(self, ops: CellOps, c: Tensor) -> Tensor:
        return c


class _CandidateNotActivated(_WrongEquation):
    id, text = "activation.candidate", "the candidate c~ is not activated"

    def activate_candidate(self, ops: CellOps, z: Tensor) -> Tensor:
        return z


class _CandidateAsGate(_WrongEquation):
    id, text = "activation.candidate", "the candidate c~ has the activation of the gates"

    def activate_candidate(self, ops: CellOps, z: Tensor) -> Tensor:
        return self.activate(ops, self.recurrent_activation, z)


class _StateAsGate(_WrongEquation):
    id, text = "activation.state", "h is o * sigmoid(c): c has the activation of the gates"

    def activate_state(self, ops: CellOps, c: Tensor) -> Tensor:
        return self.activate(ops, self.recurrent_activation, c)


class _StateBefore(_WrongEquation):
    id, text = "lstm.c_before", "h is o * tanh(c_{t-1}), with the state before the step"

    def output_of(self, ops: CellOps, o: Tensor, c: Tensor, c_before: Tensor) -> Tensor:
        return super().output_of(ops, o, c_before, c_before)


class _StoredActivated(_WrongEquation):
    id, text = "lstm.c_stored_activated", "tanh(c_t) is stored in place of c_t"

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        result = super().step(ops, xz, state, w)
        return result._replace(
            states={**result.states, "c": self.activate_state(ops, result.states["c"])}
        )


class _NoOutputGate(_WrongEquation):
    id, text = "lstm.gate_omitted", "the output gate is left out: h is tanh(c)"

    def output_of(self, ops: CellOps, o: Tensor, c: Tensor, c_before: Tensor) -> Tensor:
        return self.activate_state(ops, c)


class _NoInputGate(_WrongEquation):
    id, text = "lstm.gate_omitted", "the input gate is left out: c is f c_{t-1} + c~"

    def next_state(self, i: Tensor, f: Tensor, c: Tensor, candidate: Tensor) -> Tensor:
        return f * c + candidate


class _NoForgetGate(_WrongEquation):
    id, text = "lstm.gate_omitted", "the forget gate is left out: c is c_{t-1} + i c~"

    def next_state(self, i: Tensor, f: Tensor, c: Tensor, candidate: Tensor) -> Tensor:
        return c + i * candidate


class _Coupled(_WrongEquation):
    id, text = "lstm.gates_coupled", "f is 1 - i, as with ONNX's input_forget=1"

    def next_state(self, i: Tensor, f: Tensor, c: Tensor, candidate: Tensor) -> Tensor:
        return (1 - i) * c + i * candidate


class _CoupledByForget(_WrongEquation):
    id, text = "lstm.gates_coupled", "i is 1 - f"

    def next_state(self, i: Tensor, f: Tensor, c: Tensor, candidate: Tensor) -> Tensor:
        return f * c + (1 - f) * candidate


class _ForgetComplement(_WrongEquation):
    id, text = "lstm.forget_complement", "1 - f is used instead of f: c is (1 - f) c_{t-1} + i c~"

    def next_state(self, i: Tensor, f: Tensor, c: Tensor, candidate: Tensor) -> Tensor:
        return (1 - f) * c + i * candidate


class _OtherStates(_WrongEquation):
    """An LSTM that reads other states of the step before, of the same size: ``read``, by name."""

    read: ClassVar[Mapping[str, str]]

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        return super().step(ops, xz, {key: state[read] for key, read in self.read.items()}, w)


class _StatesExchanged(_OtherStates):
    id, text = "lstm.states_exchanged", "h_{t-1} and c_{t-1} are exchanged when a step reads them"
    read = MappingProxyType({"h": "c", "c": "h"})


class _OutputForgotten(_OtherStates):
    id, text = "lstm.states_exchanged", "f multiplies h_{t-1}, not c_{t-1}"
    read = MappingProxyType({"h": "h", "c": "h"})


class _GatesOfState(_OtherStates):
    id, text = "lstm.states_exchanged", "the gates read c_{t-1}, not h_{t-1}"
    read = MappingProxyType({"h": "c", "c": "c"})


#: By the family of the mistakes.
_WRONG_EQUATIONS: Mapping[str, tuple[type[_WrongEquation], ...]] = {
    "cell": (_StateNotActivated,),
    "equation": (
        *(_CandidateNotActivated, _CandidateAsGate, _StateAsGate, _StateBefore, _StoredActivated),
        *(
            _NoOutputGate,
            _NoInputGate,
            _NoForgetGate,
            _Coupled,
            _CoupledByForget,
            _ForgetComplement,
        ),
        *(_StatesExchanged, _OutputForgotten, _GatesOfState),
    ),
}

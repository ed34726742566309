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
from functools import cached_property
from typing import Any

from rnnshapes.cells.cell import Cell, CellState, StepResult, Variant, wrong_equation
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

    @cached_property
    def activation_names(self) -> Mapping[str, str]:
        gate = self.recurrent_activation
        return {"i": gate, "f": gate, "c~": self.activation, "o": gate, "c": self.activation}

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
        i = ops.let("i", self.activate(ops, "i", peep("i", z_i, state["c"])))
        f = ops.let("f", self.forget(ops, peep("f", z_f, state["c"]), i))
        candidate = ops.let("c~", self.activate(ops, "c~", z_c))
        c = ops.let("c", self.next_state(ops, i, f, state["c"], candidate))
        o = ops.let("o", self.activate(ops, "o", peep("o", z_o, c)))
        h = ops.let("h", self.project_output(self.output_of(ops, o, c, state["c"]), w))
        return StepResult(h, {"h": h, "c": c}, {"i": i, "f": f, "c": candidate, "o": o})

    def recur(self, ops: CellOps, h: Tensor, w: Any) -> Tensor:
        """Compute h_{t-1} Wh."""
        return h @ w.Wh  # (N, M)·(M, 4M) → (N, 4M)

    def next_state(
        self, ops: CellOps, i: Tensor, f: Tensor, c: Tensor, candidate: Tensor
    ) -> Tensor:
        """Return c_t from the gates, c_{t-1} and the candidate."""
        return f * c + i * candidate

    def output_of(self, ops: CellOps, o: Tensor, c: Tensor, c_before: Tensor) -> Tensor:
        """Return the product with the output gate from c_t and c_{t-1}."""
        return o * self.activate(ops, "c", c)

    def forget(self, ops: CellOps, z_f: Tensor, i: Tensor) -> Tensor:
        """Return the forget gate."""
        return self.activate(ops, "f", z_f)

    def peepholes_of(self, ops: CellOps, w: Any) -> Peepholes:
        """Return what adds the view that a gate has of the cell state; Keras's gates have none."""
        return lambda gate, z, c: z

    def project_output(self, h: Tensor, w: Any) -> Tensor:
        """Return h_t from the product with the output gate."""
        return h

    @property
    def variants(self) -> tuple[Variant, ...]:
        id_, text, kind = _NOT_ACTIVATED
        variants = [Variant(id_, text, "cell", self.with_methods_of(kind))]
        of_one_size = len(set(self.states.values())) == 1
        for id_, text, kind in (*_WRONG_EQUATIONS, *(_WRONG_STATES if of_one_size else ())):
            variants.append(Variant(id_, text, "equation", self.with_methods_of(kind)))
        if self.use_bias:
            text = "1 is added to the forget bias, although Keras's weights include it"
            again = Variant("bias.forget_again", text, "bias", self, self._add_forget_bias)
            text = "1 is subtracted from the forget bias"
            less = Variant("bias.forget_again", text, "rows", self, self._subtract_forget_bias)
            text = "the forget bias is 1, not the trained one"
            one = Variant("bias.untrained", text, "rows", self, self._set_forget_bias)
            text = "the bias is that before training: 1 for f, 0 elsewhere"
            initial = Variant("bias.untrained", text, "rows", self, self._initial_bias)
            text = "the forget bias is doubled"
            twice = Variant("bias.forget_twice", text, "bias", self, self._double_forget_bias)
            variants += [again, less, one, initial, twice]
        return tuple(variants)

    def _add_forget_bias(self, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._change_forget_bias(arrays, lambda bias: bias + 1)

    def _subtract_forget_bias(self, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._change_forget_bias(arrays, lambda bias: bias - 1)

    def _set_forget_bias(self, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._change_forget_bias(arrays, lambda bias: bias * 0 + 1)

    def _initial_bias(self, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._set_forget_bias({**arrays, "bh": arrays["bh"] * 0})

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


def _step_with_activated_state(
    self: Any, ops: CellOps, xz: Tensor, state: CellState, w: Any
) -> StepResult:
    """Compute a step that carries the activation of c_t on."""
    result = LSTMCell.step(self, ops, xz, state, w)
    c = self.activate(ops, "c", result.states["c"])
    return result._replace(states={**result.states, "c": c})


def _step_reading(h: str, c: str) -> Callable[..., StepResult]:
    """Return a step that reads these states of the step before for h_{t-1} and c_{t-1}."""

    def step(self: Any, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        return LSTMCell.step(self, ops, xz, {"h": state[h], "c": state[c]}, w)

    return step


def _peepholes(gates: str) -> Callable[..., Peepholes]:
    """Return peepholes of the weight 1 for some gates."""

    def peepholes_of(self: Any, ops: CellOps, w: Any) -> Peepholes:
        return lambda gate, z, c: z + c if gate in gates else z

    return peepholes_of


_NOT_ACTIVATED = wrong_equation(
    "lstm.c_not_activated",
    "h is o * c, without the activation of c",
    output_of=lambda self, ops, o, c, before: o * c,
)
_WRONG_EQUATIONS = (
    wrong_equation(
        "lstm.c_before",
        "h is o * tanh(c_{t-1}), with the state before the step",
        output_of=lambda self, ops, o, c, before: o * self.activate(ops, "c", before),
    ),
    wrong_equation(
        "lstm.c_stored_activated",
        "tanh(c_t) is stored in place of c_t",
        step=_step_with_activated_state,
    ),
    wrong_equation(
        "lstm.c_stored_activated",
        "c_t is tanh(f c_{t-1} + i c~), and h is o * tanh(c_t)",
        next_state=lambda self, ops, i, f, c, new: self.activate(ops, "c", f * c + i * new),
    ),
    wrong_equation(
        "lstm.output_activated",
        "h is tanh(o * c), not o * tanh(c)",
        output_of=lambda self, ops, o, c, before: self.activate(ops, "c", o * c),
    ),
    wrong_equation(
        "lstm.gate_omitted",
        "the output gate is left out: h is tanh(c)",
        output_of=lambda self, ops, o, c, before: self.activate(ops, "c", c),
    ),
    wrong_equation(
        "lstm.gate_omitted",
        "the output gate and the activation of c are left out: h is c",
        output_of=lambda self, ops, o, c, before: c,
    ),
    wrong_equation(
        "lstm.gate_omitted",
        "the input gate is left out: c is f c_{t-1} + c~",
        next_state=lambda self, ops, i, f, c, new: f * c + new,
    ),
    wrong_equation(
        "lstm.gate_omitted",
        "the forget gate is left out: c is c_{t-1} + i c~",
        next_state=lambda self, ops, i, f, c, new: c + i * new,
    ),
    wrong_equation(
        "lstm.peepholes",
        "the output gate reads c: it is activated from z_o + c_t (a peephole of weight 1)",
        peepholes_of=_peepholes("o"),
    ),
    wrong_equation(
        "lstm.peepholes",
        "the gates read c: z_i + c_{t-1}, z_f + c_{t-1}, z_o + c_t (peepholes of weight 1)",
        peepholes_of=_peepholes("ifo"),
    ),
    wrong_equation(
        "lstm.gates_coupled",
        "f is 1 - i, as with ONNX's input_forget=1",
        next_state=lambda self, ops, i, f, c, new: (1 - i) * c + i * new,
    ),
    wrong_equation(
        "lstm.gates_coupled",
        "i is 1 - f",
        next_state=lambda self, ops, i, f, c, new: f * c + (1 - f) * new,
    ),
    wrong_equation(
        "lstm.forget_complement",
        "1 - f is used instead of f: c is (1 - f) c_{t-1} + i c~",
        next_state=lambda self, ops, i, f, c, new: (1 - f) * c + i * new,
    ),
    wrong_equation(
        "lstm.candidate_forgotten",
        "c is f (c_{t-1} + i c~): f multiplies the candidate, too",
        next_state=lambda self, ops, i, f, c, new: f * (c + i * new),
    ),
    wrong_equation(
        "lstm.sum_for_product",
        "c is f c_{t-1} + i + c~: i is added to the candidate, not multiplied by it",
        next_state=lambda self, ops, i, f, c, new: f * c + i + new,
    ),
    wrong_equation(
        "lstm.sum_for_product",
        "c is f + c_{t-1} + i c~: f is added to the state, not multiplied by it",
        next_state=lambda self, ops, i, f, c, new: f + c + i * new,
    ),
    wrong_equation(
        "lstm.gate_twice",
        "the input gate is applied twice: c is f c_{t-1} + i i c~",
        next_state=lambda self, ops, i, f, c, new: f * c + i * i * new,
    ),
    wrong_equation(
        "lstm.candidate_subtracted",
        "c is f c_{t-1} - i c~: the candidate is subtracted",
        next_state=lambda self, ops, i, f, c, new: f * c + i * new * -1.0,
    ),
)
#: Mistakes that read one state in place of the other, of the same size.
_WRONG_STATES = (
    wrong_equation(
        "lstm.states_exchanged",
        "h_{t-1} and c_{t-1} are exchanged when a step reads them",
        step=_step_reading("c", "h"),
    ),
    wrong_equation(
        "lstm.states_exchanged",
        "f multiplies h_{t-1}, not c_{t-1}",
        step=_step_reading("h", "h"),
    ),
    wrong_equation(
        "lstm.states_exchanged",
        "the gates read c_{t-1}, not h_{t-1}",
        step=_step_reading("c", "c"),
    ),
)

"""The gated recurrent unit.

Equations: z, r = sigmoid of their parts of x_t Wx + h_{t-1} Wh + biases;
h~ = tanh(x_t Wx_h + r (h_{t-1} Wh_h + b)) with ``reset_after``, Keras's default, and
h~ = tanh(x_t Wx_h + (r h_{t-1}) Wh_h) without; h_t = z h_{t-1} + (1 - z) h~.
Source: Cho et al., EMNLP 2014 (without ``reset_after``); the variant of cuDNN with it; in Keras
``keras/src/layers/rnn/gru.py``, ``GRUCell.call``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rnnshapes.cells.cell import Cell, CellState, StepResult, Variant, Weight, wrong_equation
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import CellOps, Tensor


@dataclass(frozen=True)
class GRUCell(Cell):
    """Gates z (update), r (reset) and h (candidate), in Keras's order.

    With ``reset_after`` the bias has two rows: r acts on h_{t-1} Wh with its bias, so that one
    cannot be added to the bias of the input.
    """

    recurrent_activation: str = "sigmoid"
    reset_after: bool = True

    name = "gru"
    year = 2014
    class_name = "GRU"
    default_name = "gru"
    gate_names = ("z", "r", "h")
    gate_meanings = ("update", "reset", "candidate (h~)")
    keras1_gate_order = ("z", "r", "h")
    cudnn_class = "CuDNNGRU"

    @cached_property
    def activation_names(self) -> Mapping[str, str]:
        gate = self.recurrent_activation
        return {"z": gate, "r": gate, "h~": self.activation}

    @property
    def option_notes(self) -> tuple[str, ...]:
        if not (self.use_bias and self.reset_after):
            return ()
        note = (
            "two bias rows: bx = bias[0] is added to x_t Wx; bh = bias[1] is added to h_{t-1} Wh "
            "before r multiplies it (reset_after=True)"
        )
        return (note,)

    def bias(self, width: Dim) -> Weight:
        """Return bh (3M,), or an input row and a recurrent row (2, 3M)."""
        if not self.reset_after:
            return super().bias(width)
        return Weight("bh", "bias", (Dim.of(2), width), self.gate_names, ("input", "recurrent"))

    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        """Compute x_t Wx, and add the bias of the input."""
        z = x @ w.Wx  # (N, D)·(D, 3M) → (N, 3M)
        if not (self.use_bias and self.reset_after):
            return self.add_bias(z, w)
        return z + self.bias_rows(ops, w)[0]

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        """Compute h_t from the projected x_t and h_{t-1}."""
        h_before = state["h"]
        x_z, x_r, x_h = ops.split(xz, "x", self.gate_names)  # three times (N, M)
        if self.reset_after:
            hz = h_before @ w.Wh  # (N, M)·(M, 3M) → (N, 3M)
            hz = hz + self.bias_rows(ops, w)[1] if self.use_bias else hz
            h_z, h_r, h_h = ops.split(hz, "h", self.gate_names)  # three times (N, M)
        else:
            W_z, W_r, W_h = ops.split(w.Wh, "Wh", self.gate_names)  # three times (M, M)
            h_z, h_r = h_before @ W_z, h_before @ W_r  # (N, M)·(M, M) → (N, M)
        z = ops.let("z", self.activate(ops, "z", x_z + h_z))
        r = ops.let("r", self.activate(ops, "r", x_r + h_r))
        x_h, reset = self.reset_input(x_h, r), self.reset(r)
        h_h = reset * h_h if self.reset_after else (reset * h_before) @ W_h  # (N, M)
        candidate = self.reset_candidate(self.activate(ops, "h~", x_h + h_h), r)
        candidate = ops.let("h~", candidate)
        h = ops.let("h", self.interpolate(ops, z, h_before, candidate))
        return StepResult(h, {"h": h}, {"z": z, "r": r, "h": candidate})

    def reset(self, r: Tensor) -> Tensor:
        """Return what multiplies the state for the candidate."""
        return r

    def reset_input(self, x_h: Tensor, r: Tensor) -> Tensor:
        """Return the part of the candidate that x gives."""
        return x_h

    def reset_candidate(self, candidate: Tensor, r: Tensor) -> Tensor:
        """Return the candidate after its activation."""
        return candidate

    def interpolate(self, ops: CellOps, z: Tensor, h_before: Tensor, candidate: Tensor) -> Tensor:
        """Return h_t: the share z of the state before, and the rest of the candidate."""
        return z * h_before + (1 - z) * candidate

    def bias_rows(self, ops: CellOps, w: Any) -> list[Tensor]:
        """Return the bias of the input, and that of the state."""
        return ops.rows(w.bh, ("bx", "bh"))  # (2, 3M) → twice (3M,)

    @property
    def variants(self) -> tuple[Variant, ...]:
        id_, text, kind = _SHARE_EXCHANGED
        variants = [Variant(id_, text, "cell", self.with_methods_of(kind))]
        for id_, text, kind in _WRONG_EQUATIONS:
            variants.append(Variant(id_, text, "equation", self.with_methods_of(kind)))
        other = replace(self, reset_after=not self.reset_after)
        when = "before" if self.reset_after else "after"
        text = f"the reset gate acts {when} the product with Wh (reset_after={other.reset_after})"
        change = _sum_rows if self.reset_after else _append_zero_row
        arrays = change if self.use_bias else dict
        variants.append(Variant(f"gru.reset_{when}", text, "cell", other, arrays))
        if self.use_bias and self.reset_after:
            text = f"{text}, and bias[1] is left out"
            one_row = Variant("gru.reset_before", text, "equation", other, _without_second_row)
            variants.append(one_row)
            one_for_two = "one bias is used instead of two"
            text = f"{one_for_two}: the recurrent row is left out"
            variants.append(Variant("bias.recurrent_row_omitted", text, "bias", self, _omit_row(1)))
            text = f"{one_for_two}: the input row is left out"
            variants.append(Variant("bias.input_row_omitted", text, "bias", self, _omit_row(0)))
            text = "both rows of the bias are added to x_t Wx"
            variants.append(Variant("bias.rows_summed", text, "bias", self, _add_rows_to_input))
            text = "both rows of the bias are added to h_{t-1} Wh"
            variants.append(Variant("bias.rows_summed", text, "rows", self, _add_rows_to_state))
            for row in (0, 1):
                text = f"bias[{row}] is used for both rows of the bias"
                again = _repeat_row(row)
                variants.append(Variant("bias.row_repeated", text, "rows", self, again))
                for gate in self.gate_names:
                    text = f"bias[{row}] of gate {gate} is left out"
                    omit = self._omit_block(row, gate)
                    variants.append(Variant("bias.omitted", text, "rows", self, omit))
            text = "the two rows of the bias are exchanged"
            variants.append(Variant("bias.rows_exchanged", text, "rows", self, _exchange_rows))
        return tuple(variants)

    def _omit_block(self, row: int, gate: str) -> ArraysChange:
        """Return a change that leaves one gate out of one row of the bias."""
        position = self.gate_names.index(gate)

        def change(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
            bias = arrays["bh"].copy()
            width = bias.shape[1] // len(self.gate_names)
            bias[row, position * width : (position + 1) * width] = 0
            return {**arrays, "bh": bias}

        return change


#: A port as in Chung et al., arXiv:1412.3555 (2014): z is the share of the candidate.
_SHARE_EXCHANGED = wrong_equation(
    "gru.z_complement",
    "z and 1 - z are exchanged: h is (1 - z) h_{t-1} + z h~",
    interpolate=lambda self, ops, z, h, new: (1 - z) * h + z * new,
)
_WRONG_EQUATIONS = (
    wrong_equation(
        "gru.gate_omitted", "the reset gate is left out", reset=lambda self, r: r * 0.0 + 1.0
    ),
    wrong_equation(
        "gru.gate_omitted",
        "the update gate is left out: h is h~",
        interpolate=lambda self, ops, z, h, new: new,
    ),
    wrong_equation("gru.r_complement", "1 - r is used instead of r", reset=lambda self, r: 1 - r),
    wrong_equation(
        "gru.candidate_without_h",
        "the candidate does not read h_{t-1}: h~ is tanh(x_h)",
        reset=lambda self, r: r * 0.0,
    ),
    wrong_equation(
        "gru.reset_of_input",
        "r multiplies x_h, too: h~ is tanh(r (x_h + h_h))",
        reset_input=lambda self, x_h, r: r * x_h,
    ),
    wrong_equation(
        "gru.reset_of_input",
        "r multiplies x_h, not h_h: h~ is tanh(r x_h + h_h)",
        reset=lambda self, r: r * 0.0 + 1.0,
        reset_input=lambda self, x_h, r: r * x_h,
    ),
    wrong_equation(
        "gru.reset_of_candidate",
        "r multiplies the candidate, not h_h: h~ is r tanh(x_h + h_h)",
        reset=lambda self, r: r * 0.0 + 1.0,
        reset_candidate=lambda self, candidate, r: r * candidate,
    ),
    wrong_equation(
        "gru.output_activated",
        "h is tanh(z h_{t-1} + (1 - z) h~)",
        interpolate=lambda self, ops, z, h, new: self.activate(ops, "h~", z * h + (1 - z) * new),
    ),
    wrong_equation(
        "gru.complement_omitted",
        "h is z h_{t-1} + h~, without (1 - z)",
        interpolate=lambda self, ops, z, h, new: z * h + new,
    ),
    wrong_equation(
        "gru.complement_omitted",
        "h is z h_{t-1} + z h~, with z for (1 - z)",
        interpolate=lambda self, ops, z, h, new: z * h + z * new,
    ),
    wrong_equation(
        "gru.state_omitted",
        "h is (1 - z) h~, without z h_{t-1}",
        interpolate=lambda self, ops, z, h, new: (1 - z) * new,
    ),
    wrong_equation(
        "gru.z_omitted",
        "h is h_{t-1} + (1 - z) h~, without z",
        interpolate=lambda self, ops, z, h, new: h + (1 - z) * new,
    ),
)

#: A change to the weights of a cell, by key.
ArraysChange = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def _sum_rows(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make one bias (3M,) of two rows."""
    return {**arrays, "bh": arrays["bh"].sum(axis=0)}


def _without_second_row(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make one bias (3M,) of the first row."""
    return {**arrays, "bh": arrays["bh"][0]}


def _append_zero_row(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make two rows of one bias, of which the second is zeros."""
    both = arrays["bh"][None].repeat(2, axis=0)
    both[1] = 0
    return {**arrays, "bh": both}


def _omit_row(row: int) -> ArraysChange:
    def change(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        bias = arrays["bh"].copy()
        bias[row] = 0
        return {**arrays, "bh": bias}

    return change


def _repeat_row(row: int) -> ArraysChange:
    def change(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**arrays, "bh": arrays["bh"][[row, row]]}

    return change


def _add_rows_to_input(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    bias = arrays["bh"].copy()
    bias[0] += bias[1]
    bias[1] = 0
    return {**arrays, "bh": bias}


def _add_rows_to_state(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    bias = arrays["bh"].copy()
    bias[1] += bias[0]
    bias[0] = 0
    return {**arrays, "bh": bias}


def _exchange_rows(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**arrays, "bh": arrays["bh"][::-1].copy()}

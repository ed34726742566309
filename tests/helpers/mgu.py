"""The minimal gated unit, a cell that Keras does not have, as an author would add it.

Equations: f = sigmoid(x_t Wx_f + h_{t-1} Wh_f + bh_f);
h~ = tanh(x_t Wx_h + (f h_{t-1}) Wh_h + bh_h); h_t = (1 - f) h_{t-1} + f h~.
Source: Zhou, Wu, Zhang and Zhou, "Minimal gated unit for recurrent neural networks",
International Journal of Automation and Computing 13 (2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnshapes.cells.cell import Cell, CellState, StepResult
from rnnshapes.ops.interface import CellOps, Tensor


@dataclass(frozen=True)
class MGUCell(Cell):
    """Gates f (forget) and h (candidate)."""

    recurrent_activation: str = "sigmoid"

    name = "mgu"
    year = 2016
    class_name = "MGU"
    default_name = "mgu"
    in_keras = False
    gate_names = ("f", "h")
    gate_meanings = ("forget", "candidate (h~)")

    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        """Compute x_t Wx + bh."""
        z = x @ w.Wx  # (N, D)·(D, 2M) → (N, 2M)
        return z + w.bh if self.use_bias else z

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        """Compute h_t from the projected x_t and h_{t-1}."""
        h_before = state["h"]
        x_f, x_h = ops.split(xz, "x", self.gate_names)  # twice (N, M)
        W_f, W_h = ops.split(w.Wh, "Wh", self.gate_names)  # twice (M, M)
        f = ops.let("f", ops.activate(self.recurrent_activation, x_f + h_before @ W_f))
        candidate = ops.let("h~", ops.activate(self.activation, x_h + (f * h_before) @ W_h))
        h = ops.let("h", (1 - f) * h_before + f * candidate)
        return StepResult(h, {"h": h}, {"f": f, "h": candidate})

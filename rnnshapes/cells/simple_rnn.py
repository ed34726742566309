"""The simple (Elman) recurrent cell.

Equation: h_t = tanh(x_t Wx + h_{t-1} Wh + bh), h_{-1} = 0.
Source: Elman, "Finding structure in time", Cognitive Science 14 (1990); in Keras
``keras/src/layers/rnn/simple_rnn.py``, ``SimpleRNNCell.call``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnshapes.cells.cell import Cell, CellState, StepResult
from rnnshapes.ops.interface import CellOps, Tensor


@dataclass(frozen=True)
class SimpleRNNCell(Cell):
    """h_t = activation(x_t Wx + bh + h_{t-1} Wh), in the order in which Keras adds."""

    name = "simple"
    year = 1990
    class_name = "SimpleRNN"
    default_name = "simple_rnn"

    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        """Compute x_t Wx + bh."""
        return self.add_bias(x @ w.Wx, w)  # (N, D)·(D, M) + (M,) → (N, M)

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        """Compute h_t from x_t Wx + bh and h_{t-1}."""
        z = xz + state["h"] @ w.Wh  # (N, M) + (N, M)·(M, M) → (N, M)
        h = ops.let("h", self.activate(ops, self.activation, z))  # (N, M)
        return StepResult(h, {"h": h}, {})

"""The simple (Elman) recurrent cell.

Equation: h_t = tanh(x_t Wx + h_{t-1} Wh + bh), h_{-1} = 0.
Source: Elman, "Finding structure in time", Cognitive Science 14 (1990); in Keras
``keras/src/layers/rnn/simple_rnn.py``, ``SimpleRNNCell.call``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnshapes.cells.cell import Cell, CellState, StepResult, Variant
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

    @property
    def variants(self) -> tuple[Variant, ...]:
        text = "the activation is applied before h_{t-1} Wh is added"
        early = self.with_methods_of(_ActivatedEarly)
        variants = [Variant("simple.activated_early", text, "equation", early)]
        if self.use_bias:
            text = "the bias is added after the activation"
            late = self.with_methods_of(_BiasAddedLate)
            variants.append(Variant("bias.after_activation", text, "equation", late))
        return tuple(variants)


class _ActivatedEarly(SimpleRNNCell):
    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        h = ops.let("h", self.activate(ops, self.activation, xz) + state["h"] @ w.Wh)
        return StepResult(h, {"h": h}, {})


class _BiasAddedLate(SimpleRNNCell):
    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        return x @ w.Wx

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        h = self.activate(ops, self.activation, xz + state["h"] @ w.Wh)
        h = ops.let("h", self.add_bias(h, w))
        return StepResult(h, {"h": h}, {})

"""The simple (Elman) recurrent cell.

Equation: h_t = tanh(x_t Wx + h_{t-1} Wh + bh), h_{-1} = 0.
Source: Elman, "Finding structure in time", Cognitive Science 14 (1990); in Keras
``keras/src/layers/rnn/simple_rnn.py``, ``SimpleRNNCell.call``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rnnshapes.cells.cell import Cell, CellState, StepResult, Variant, wrong_equation
from rnnshapes.ops.interface import CellOps, Tensor


@dataclass(frozen=True)
class SimpleRNNCell(Cell):
    """h_t = activation(x_t Wx + bh + h_{t-1} Wh), in the order in which Keras adds."""

    name = "simple"
    year = 1990
    class_name = "SimpleRNN"
    default_name = "simple_rnn"

    @cached_property
    def activation_names(self) -> Mapping[str, str]:
        return {"h": self.activation}

    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        """Compute x_t Wx + bh."""
        return self.add_bias(x @ w.Wx, w)  # (N, D)·(D, M) + (M,) → (N, M)

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        """Compute h_t from x_t Wx + bh and h_{t-1}."""
        z = xz + state["h"] @ w.Wh  # (N, M) + (N, M)·(M, M) → (N, M)
        h = ops.let("h", self.activate(ops, "h", z))  # (N, M)
        return StepResult(h, {"h": h}, {})

    @property
    def variants(self) -> tuple[Variant, ...]:
        kinds = (*_WRONG_EQUATIONS, *([_LATE_BIAS] if self.use_bias else []))
        return tuple(
            Variant(id_, text, "equation", self.with_methods_of(kind)) for id_, text, kind in kinds
        )


def _activated_early(self: Any, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
    h = ops.let("h", self.activate(ops, "h", xz) + state["h"] @ w.Wh)
    return StepResult(h, {"h": h}, {})


def _state_activated(self: Any, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
    h = ops.let("h", xz + self.activate(ops, "h", state["h"] @ w.Wh))
    return StepResult(h, {"h": h}, {})


def _added_to_state(self: Any, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
    h = ops.let("h", state["h"] + self.activate(ops, "h", xz + state["h"] @ w.Wh))
    return StepResult(h, {"h": h}, {})


def _with_late_bias(self: Any, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
    h = self.activate(ops, "h", xz + state["h"] @ w.Wh)
    h = ops.let("h", self.add_bias(h, w))
    return StepResult(h, {"h": h}, {})


_WRONG_EQUATIONS = (
    wrong_equation(
        "simple.activated_early",
        "the activation is applied before h_{t-1} Wh is added",
        step=_activated_early,
    ),
    wrong_equation(
        "simple.activated_early",
        "the activation is applied to h_{t-1} Wh alone, and x_t Wx + bh is added",
        step=_state_activated,
    ),
    wrong_equation(
        "simple.state_added",
        "h_{t-1} itself is added: h is h_{t-1} + activation(z)",
        step=_added_to_state,
    ),
)
_LATE_BIAS = wrong_equation(
    "bias.after_activation",
    "the bias is added after the activation",
    project=lambda self, ops, x, w: x @ w.Wx,
    step=_with_late_bias,
)

"""The simple (Elman) recurrent cell.

Equation: h_t = tanh(x_t Wx + h_{t-1} Wh + bh), h_{-1} = 0.
Source: Elman, "Finding structure in time", Cognitive Science 14 (1990); in Keras
``keras/src/layers/rnn/simple_rnn.py``, ``SimpleRNNCell.call``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnshapes.algebra.dims import Dim
from rnnshapes.cells.cell import Cell, Ops, Tensor, Weight


@dataclass(frozen=True)
class SimpleRNNCell(Cell):
    """h_t = activation(x_t Wx + bh + h_{t-1} Wh), in the order in which Keras adds."""

    keras_class = "SimpleRNN"
    states = ("h",)

    def weights(self, features: Dim, units: Dim) -> tuple[Weight, ...]:
        """Wx (D, M), Wh (M, M) and, with a bias, bh (M,)."""
        kernels = (
            Weight("Wx", "kernel", (features, units)),
            Weight("Wh", "recurrent_kernel", (units, units)),
        )
        return (*kernels, Weight("bh", "bias", (units,))) if self.use_bias else kernels

    def project(self, ops: Ops, x: Tensor, w: Any) -> Tensor:
        """x_t Wx + bh."""
        z = x @ w.Wx  # (N, D)·(D, M) → (N, M)
        return z + w.bh if self.use_bias else z  # (N, M) + (M,) → (N, M)

    def step(self, ops: Ops, xz: Tensor, state: dict[str, Tensor], w: Any) -> dict[str, Tensor]:
        """h_t from x_t Wx + bh and h_{t-1}."""
        z = xz + state["h"] @ w.Wh  # (N, M) + (N, M)·(M, M) → (N, M)
        return {"h": ops.activate(self.activation, z)}  # (N, M)

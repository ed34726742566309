"""Several cells that act as one: at each step, each takes the output of the one before.

Source: ``keras/src/layers/rnn/stacked_rnn_cells.py``, ``StackedRNNCells.call``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from rnnshapes.cells.cell import BaseCell, Cell, CellState, KerasSpec, SizeOf, StepResult, Weight
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import CellOps, Tensor


@dataclass(frozen=True)
class StackedCells(BaseCell):
    """Cells one on top of the other; symbols of the first end in 1, and so on.

    ``names`` are those of the cells in Keras.
    """

    cells: tuple[Cell, ...]
    names: tuple[str, ...]

    class_name = "RNN"
    default_name = "rnn"

    @property
    def output(self) -> Dim:
        return self.cells[-1].units

    @property
    def states(self) -> dict[str, Dim]:
        return {key + n: dim for n, cell in self._numbered() for key, dim in cell.states.items()}

    @property
    def output_state(self) -> str:
        return f"{self.cells[-1].output_state}{len(self.cells)}"

    @property
    def gates(self) -> dict[str, Dim]:
        return {key + n: dim for n, cell in self._numbered() for key, dim in cell.gates.items()}

    @property
    def label(self) -> str:
        return f"RNN([{', '.join(cell.label for cell in self.cells)}])"

    @property
    def activations(self) -> tuple[str, ...]:
        return tuple(name for cell in self.cells for name in cell.activations)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(note for cell in self.cells for note in cell.notes))

    @property
    def cells_by_suffix(self) -> Mapping[str, Cell]:
        return dict(self._numbered())

    def map_cells(self, make: Callable[[Cell], Cell]) -> StackedCells:
        return replace(self, cells=tuple(make(cell) for cell in self.cells))

    def weights(self, features: Dim) -> tuple[Weight, ...]:
        weights: list[Weight] = []
        for (n, cell), name in zip(self._numbered(), self.names, strict=True):
            weights += [
                replace(weight, key=weight.key + n, name=f"{name}/{weight.name}")
                for weight in cell.weights(features)
            ]
            features = cell.units
        return tuple(weights)

    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        return self.cells[0].project(ops.within("1"), x, _weights_of_cell(w, "1"))

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        states: dict[str, Tensor] = {}
        gates: dict[str, Tensor] = {}
        output = None
        for n, cell in self._numbered():
            cell_ops, cell_w = ops.within(n), _weights_of_cell(w, n)
            xz = xz if output is None else cell.project(cell_ops, output, cell_w)
            before = self.states_before(n, cell, state, states)
            output, cell_states, cell_gates = cell.step(cell_ops, xz, before, cell_w)
            states |= {key + n: value for key, value in cell_states.items()}
            gates |= {key + n: value for key, value in cell_gates.items()}
        return StepResult(output, states, gates)

    def states_before(
        self, number: str, cell: Cell, state: CellState, states: CellState
    ) -> CellState:
        """Return the states from which a cell starts a step.

        Args:
            number: The number of the cell.
            cell: The cell.
            state: The states of all cells before the step.
            states: The states after the step, of the cells before this one.
        """
        return {key: state[key + number] for key in cell.state_names}

    def keras_cell(self, size_of: SizeOf) -> KerasSpec:
        cells = [
            replace(cell.keras_cell(size_of), name=name)
            for cell, name in zip(self.cells, self.names, strict=True)
        ]
        return KerasSpec("StackedRNNCells", {"cells": cells})

    def keras_layer(self, size_of: SizeOf, **options: Any) -> KerasSpec:
        return KerasSpec(self.class_name, {"cell": self.keras_cell(size_of), **options})

    def _numbered(self) -> Iterator[tuple[str, Cell]]:
        return ((str(i), cell) for i, cell in enumerate(self.cells, 1))


def _weights_of_cell(w: Any, number: str) -> SimpleNamespace:
    """Return the weights of one cell, by the keys that its own equation uses."""
    return SimpleNamespace(
        **{
            key.removesuffix(number): value
            for key, value in vars(w).items()
            if key.endswith(number)
        }
    )

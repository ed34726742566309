"""Several cells that act as one: at each step, each takes the output of the one before.

Source: ``keras/src/layers/rnn/stacked_rnn_cells.py``, ``StackedRNNCells.call``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from rnnshapes.cells.cell import BaseCell, Cell, CellState, StepResult, Weight
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import CellOps, Tensor


@dataclass(frozen=True)
class StackedCells(BaseCell):
    """Cells one on top of the other; names of the second end in 2, and so on."""

    cells: tuple[Cell, ...]
    names: tuple[str, ...]

    keras_class = "RNN"
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
        found: list[Weight] = []
        for (n, cell), name in zip(self._numbered(), self.names, strict=True):
            found += [
                replace(weight, key=weight.key + n, name=f"{name}/{weight.name}")
                for weight in cell.weights(features)
            ]
            features = cell.units
        return tuple(found)

    def project(self, ops: CellOps, x: Tensor, w: Any) -> Tensor:
        return self.cells[0].project(ops.within("1"), x, _part(w, "1"))

    def step(self, ops: CellOps, xz: Tensor, state: CellState, w: Any) -> StepResult:
        states: dict[str, Tensor] = {}
        gates: dict[str, Tensor] = {}
        output = None
        for n, cell in self._numbered():
            own, part = ops.within(n), _part(w, n)
            xz = xz if output is None else cell.project(own, output, part)
            made = cell.step(own, xz, {key: state[key + n] for key in cell.state_names}, part)
            states |= {key + n: value for key, value in made.states.items()}
            gates |= {key + n: value for key, value in made.gates.items()}
            output = made.output
        return StepResult(output, states, gates)

    def _numbered(self) -> Iterator[tuple[str, Cell]]:
        return ((str(i), cell) for i, cell in enumerate(self.cells, 1))


def _part(w: Any, number: str) -> SimpleNamespace:
    """The weights of one cell, by the keys that its own equation uses."""
    found = vars(w).items()
    return SimpleNamespace(
        **{key[: -len(number)]: value for key, value in found if key.endswith(number)}
    )

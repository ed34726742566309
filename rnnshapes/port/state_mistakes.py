"""Known mistakes of ports about the states of a cell: set to 0, or overwritten too early.

Each function yields mistakes with the change that they make to a cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import Array
from rnnshapes.ops.constant import Constant
from rnnshapes.port.hypothesis import CellChange, Mistake, recast

#: Cells with more units are not computed unit by unit: each takes as long as a step of all.
_MOST_UNITS = 64
_OVERWRITTEN = (
    "h is overwritten unit by unit: a unit reads h_t, not h_{t-1}, of the units before it"
)


def zeroed_states(keys: tuple[str, ...]) -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that the states with these names are zeros before each step, or one of them is."""
    for zeroed in [keys, *([(key,) for key in keys] if len(keys) > 1 else [])]:
        what = "the states are" if zeroed == keys else f"{zeroed[0]} is"
        text = f"{what} set to 0 at every step: nothing is carried from t-1"
        yield Mistake("state.zeroed_each_step", text), _zeroed(zeroed)


def _zeroed(keys: tuple[str, ...]) -> CellChange:
    """Return a change to a cell that takes zeros for some of its states."""

    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        kind = type(cell)

        def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            before = {k: v * 0.0 if k in keys else v for k, v in state.items()}
            return kind.step(self, ops, xz, before, w)

        return recast(cell, step=step), arrays

    return change


def overwritten_states() -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that h is overwritten while other units, or the candidate, still need h_{t-1}."""
    yield Mistake("state.overwritten", _OVERWRITTEN), _unit_by_unit(())
    text = f"{_OVERWRITTEN}, in the loop over the candidate"
    yield Mistake("state.overwritten", text), _unit_by_unit(("z", "r"))
    text = "h is multiplied by z before the candidate reads it"
    yield Mistake("state.overwritten", text), _scaled_by_z


def _unit_by_unit(known: tuple[str, ...]) -> CellChange:
    """Return a change to a cell that writes each unit of h before it computes the next one.

    The gates in ``known`` are computed before, from h_{t-1} alone.
    """

    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        kind, units, key = type(cell), len(arrays["Wh"]), cell.output_state
        if units > _MOST_UNITS or not set(known) <= set(cell.gate_names):
            return None
        each = [
            Constant(tuple(float(m == unit) for m in range(units)), (units,), "float64")
            for unit in range(units)
        ]

        def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            result = kind.step(self, ops, xz, state, w)
            if known:
                ops = _WithGates(ops, {name: result.gates[name] for name in known})
            written = dict(state)
            for unit in each:
                after = kind.step(self, ops, xz, written, w).states
                here = ops.constant(unit, after[key])
                written = {k: ops.choose(here, after[k], written[k]) for k in written}
            return result._replace(output=written[key], states=written)

        return recast(cell, step=step), arrays

    return change


def _scaled_by_z(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
    """Return a GRU whose candidate reads z * h_{t-1}."""
    if "z" not in cell.gate_names:
        return None
    kind = type(cell)

    def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        gates = kind.step(self, ops, xz, state, w).gates
        known = _WithGates(ops, {name: gates[name] for name in ("z", "r")})
        scaled = {"h": gates["z"] * state["h"]}
        result = kind.step(self, known, xz, scaled, w)
        h = self.interpolate(gates["z"], state["h"], result.gates["h"])
        return result._replace(output=h, states={"h": h})

    return recast(cell, step=step), arrays


def omitted_units() -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that the first or the last unit is never computed, so that its states stay 0."""
    for unit, which in ((-1, "last"), (0, "first")):
        text = f"the {which} unit is not computed: its states stay 0"
        fix = "loop over all units: m = 0 … M-1"
        yield Mistake("state.unit_omitted", text, own_fix=fix), _without_unit(unit)


def _without_unit(unit: int) -> CellChange:
    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        kind, units = type(cell), len(arrays["Wh"])
        numbers = tuple(float(m != unit % units) for m in range(units))
        computed = Constant(numbers, (units,), "float64")

        def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            result = kind.step(self, ops, xz, state, w)
            states = {
                k: ops.choose(ops.constant(computed, v), v, v * 0.0)
                for k, v in result.states.items()
            }
            return result._replace(output=states[cell.output_state], states=states)

        return recast(cell, step=step), arrays

    return change


def cell_state_passed_on() -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that the next layer receives c of an LSTM, not h."""
    text = "c is passed to the next layer, not h"
    yield Mistake("state.c_passed_on", text, own_fix="pass h = o * tanh(c) on"), _with_c_as_output


def _with_c_as_output(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
    return (recast(cell, output_state="c"), arrays) if "c" in cell.state_names else None


class _WithGates:
    """An interpreter that takes known values for some of the values of an equation, by name."""

    def __init__(self, ops: Any, values: Mapping[str, Any]) -> None:
        self.ops, self.values = ops, values

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def let(self, name: str, value: Any) -> Any:
        return self.values[name] if name in self.values else self.ops.let(name, value)

"""Known mistakes of ports about the states of a cell: set to 0, or overwritten too early.

Each function yields the mistakes of one kind that the network allows, each with the hypothesis
that the port makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.constant import Constant
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, recast
from rnnshapes.port.mistakes.cell_changes import (
    Arrays,
    CellChange,
    WithLet,
    cells_of,
    changed_cells,
    step_change,
)

#: Cells with more units are not computed unit by unit: each takes as long as a step of all.
_MOST_UNITS = 64
_OVERWRITTEN = (
    "h is overwritten unit by unit: a unit reads h_t, not h_{t-1}, of the units before it"
)


def other_states(hypothesis: Hypothesis) -> Variations:
    """Carry no states, or only some of them, from step to step, or pass c on for h."""
    keys = tuple(dict.fromkeys(key for cell in cells_of(hypothesis) for key in cell.state_names))
    for zeroed in [keys, *([(key,) for key in keys] if len(keys) > 1 else [])]:
        what = "the states are" if zeroed == keys else f"{zeroed[0]} is"
        text = f"{what} set to 0 at every step: nothing is carried from t-1"
        mistake = Mistake("state.zeroed_each_step", text)
        yield from changed_cells(hypothesis, mistake, _zeroed(zeroed))
    for unit, which in ((-1, "last"), (0, "first")):
        text = f"the {which} unit is not computed: its states stay 0"
        mistake = Mistake("state.unit_omitted", text, own_fix="loop over all units: m = 0 … M-1")
        yield from changed_cells(hypothesis, mistake, _without_unit(unit))
    text = "c is passed to the next layer, not h"
    mistake = Mistake("state.c_passed_on", text, own_fix="pass h = o * tanh(c) on")
    yield from changed_cells(hypothesis, mistake, _with_c_as_output)


def _zeroed(keys: tuple[str, ...]) -> CellChange:
    """Return a change to a cell that takes zeros for some of its states."""

    def step(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        return right(ops, xz, {k: v * 0.0 if k in keys else v for k, v in state.items()}, w)

    return step_change(step)


def _without_unit(unit: int) -> CellChange:
    """Return a change to a cell one unit of which has states of 0."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        units = len(arrays["Wh"])
        numbers = tuple(float(m != unit % units) for m in range(units))
        computed = Constant(numbers, (units,), "float64")

        def step(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            result = right(ops, xz, state, w)
            states = {
                k: ops.choose(ops.constant(computed, v), v, v * 0.0)
                for k, v in result.states.items()
            }
            return result._replace(output=states[cell.output_state], states=states)

        return step_change(step)(cell, arrays)

    return change


def _with_c_as_output(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
    return recast(cell, output_state="c") if "c" in cell.state_names else cell, arrays


def overwritten_states(hypothesis: Hypothesis) -> Variations:
    """Overwrite h while other units, or the candidate, still need h_{t-1}."""
    for text, change in (
        (_OVERWRITTEN, _unit_by_unit(())),
        (f"{_OVERWRITTEN}, in the loop over the candidate", _unit_by_unit(("z", "r"))),
        ("h is multiplied by z before the candidate reads it", step_change(_scaled_by_z, "z")),
    ):
        mistake = Mistake("state.overwritten", text)
        for _, changed in changed_cells(hypothesis, mistake, change):
            yield mistake, replace(changed, cost=_steps_of_units(changed))


def _steps_of_units(changed: Hypothesis) -> float:
    """Return how many steps a step takes in which the touched cells compute each unit alone."""
    groups = [changed.weights[name] for name in changed.touched]
    return 1.0 + max(len(a) for group in groups for key, a in group.items() if "Wh" in key)


def _unit_by_unit(known: tuple[str, ...]) -> CellChange:
    """Return a change to a cell that writes each unit of h before it computes the next one.

    The gates in ``known`` are computed before, from h_{t-1} alone.
    """

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        units, key = len(arrays["Wh"]), cell.output_state
        if units > _MOST_UNITS:
            return cell, arrays
        each = [
            Constant(tuple(float(m == unit) for m in range(units)), (units,), "float64")
            for unit in range(units)
        ]

        def step(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            result = right(ops, xz, state, w)
            if known:
                ops = _with_gates(ops, {name: result.gates[name] for name in known})
            written = dict(state)
            for unit in each:
                after = right(ops, xz, written, w).states
                here = ops.constant(unit, after[key])
                written = {k: ops.choose(here, after[k], written[k]) for k in written}
            return result._replace(output=written[key], states=written)

        return step_change(step, *known)(cell, arrays)

    return change


def _scaled_by_z(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
    """Compute a step of a GRU whose candidate reads z * h_{t-1}."""
    gates = right(ops, xz, state, w).gates
    known = _with_gates(ops, {name: gates[name] for name in ("z", "r")})
    result = right(known, xz, {"h": gates["z"] * state["h"]}, w)
    h = cell.interpolate(gates["z"], state["h"], result.gates["h"])
    return result._replace(output=h, states={"h": h})


def _with_gates(ops: Any, values: Mapping[str, Any]) -> WithLet:
    """Return an interpreter that takes known values for some of those of an equation, by name."""

    def let(name: str, value: Any) -> Any:
        return values[name] if name in values else ops.let(name, value)

    return WithLet(ops, let)

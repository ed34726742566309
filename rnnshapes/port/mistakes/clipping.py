"""Known mistakes of ports that clip states, or the arguments of activations."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import Array
from rnnshapes.ops.elementwise import Clip
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, recast
from rnnshapes.port.mistakes.cell_changes import (
    Arrays,
    CellChange,
    WithLet,
    cells_of,
    changed_cells,
    directions_of,
    step_change,
    with_change,
)
from rnnshapes.port.screening import expected_quantities

#: Limits to which ports clip, such as TensorFlow 1's cell_clip and ONNX's clip.
_LIMITS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
#: What a limit removes of the largest number, at least; less may be rounding.
_LEAST_SHARE = 1e-3
#: Of fewer numbers, the largest is no evidence of a limit.
_LEAST_NUMBERS = 3
_ARGUMENTS = "arguments of activations"


def clipped(hypothesis: Hypothesis) -> Variations:
    """Clip the states, or the arguments of activations, to a limit.

    Limits that ports have are tried, and the largest number of the states that the port gives,
    unless the network does not exceed them: then they change nothing. No state of the port may
    exceed a limit; one that it gives at every step has reached the limit, or was never clipped.
    """
    largest = _largest_numbers(hypothesis)
    groups = {name: d.name for node in hypothesis.network.recurrent for name, d in node.scans}
    concerned = {name for name, group in groups.items() if hypothesis.concerns(group)}

    def is_exceeded(limit: float, what: str) -> bool:
        return limit < (1 - _LEAST_SHARE) * largest.get(what, 0.0)

    for key in ("h", "c"):
        given = [q for q in hypothesis.quantities if q.key == key and q.name in concerned]
        having = {
            direction.name
            for direction in directions_of(hypothesis)
            if any(key in c.state_names for c in direction.cell.cells_by_suffix.values())
        }
        known = len(given) == len(having) and all(q.values.shape[1] > 1 for q in given)
        reached = max((float(np.max(np.abs(q.values))) for q in given), default=0.0)
        others = [] if known else [limit for limit in _LIMITS if limit > reached]
        enough = sum(q.values.size for q in given) >= _LEAST_NUMBERS
        for limit in [reached, *others] if enough else others:
            if limit > 0 and is_exceeded(limit, key):  # states of 0 are no clipped ones
                text = f"{key} is clipped to ±{limit:.5g} after each step"
                mistake = Mistake("state.clipped", text)
                yield from changed_cells(hypothesis, mistake, _clipped_state(key, limit))
                if key == "c":
                    late = mistake._replace(text=f"{text}, when h is computed already")
                    yield from changed_cells(hypothesis, late, _clipped_next_state(limit))
    names = sorted({name for cell in cells_of(hypothesis) for name in cell.activations})
    every = [(tuple(names), "the activations"), *(((name,), name) for name in names)]
    for (some, what), limit in itertools.product(every if names[1:] else every[:1], _LIMITS):
        if is_exceeded(limit, _ARGUMENTS):
            text = f"the arguments of {what} are clipped to ±{limit:g}"
            mistake = Mistake("activation.clipped", text)
            yield from changed_cells(hypothesis, mistake, _clipped_arguments(limit, some))


def _largest_numbers(hypothesis: Hypothesis) -> dict[str, float]:
    """Return the largest number of each state, by its name, and of all arguments of activations."""
    largest: dict[str, float] = {}

    def record(what: str, values: Array) -> None:
        largest[what] = max(largest.get(what, 0.0), float(np.max(np.abs(values), initial=0.0)))

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        kind = type(cell)

        def activate(self: Any, ops: Any, use: str, z: Any) -> Any:
            record(_ARGUMENTS, z)
            return kind.activate(self, ops, use, z)

        def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            result = kind.step(self, ops, xz, state, w)
            for key, values in result.states.items():
                record(key, values)
            return result

        return recast(cell, activate=activate, step=step), arrays

    recorded = with_change(hypothesis, change)
    with np.errstate(over="ignore", invalid="ignore"):
        list(expected_quantities(recorded or hypothesis))
    return largest


def _clipped_state(key: str, limit: float) -> CellChange:
    def step(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        def let(name: str, value: Any) -> Any:
            value = ops.elementwise(value, Clip(-limit, limit)) if name == key else value
            return ops.let(name, value)

        return right(WithLet(ops, let), xz, state, w)

    return step_change(step, key)


def _clipped_next_state(limit: float) -> CellChange:
    """Return a change after which the next step alone takes a clipped c."""

    def step(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        result = right(ops, xz, state, w)
        c = ops.elementwise(result.states["c"], Clip(-limit, limit))
        return result._replace(states={**result.states, "c": c})

    return step_change(step, "c")


def _clipped_arguments(limit: float, names: Collection[str]) -> CellChange:
    """Return a change of the activations with these names."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        if not {*names} & {*cell.activations}:
            return cell, arrays
        kind = type(cell)

        def activate(self: Any, ops: Any, use: str, z: Any) -> Any:
            if self.activation_names[use] in names:
                z = ops.elementwise(z, Clip(-limit, limit))
            return kind.activate(self, ops, use, z)

        return recast(cell, activate=activate), arrays

    return change

"""Known mistakes of ports that clip states, or the arguments of activations.

Each function yields mistakes with the change that they make to a cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import Array
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.port.hypothesis import CellChange, Mistake, recast
from rnnshapes.port.quantities import ReportedQuantity

#: Limits to which ports clip, such as TensorFlow 1's cell_clip and ONNX's clip.
_LIMITS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
#: What a limit removes of the largest number, at least; less may be rounding.
_LEAST_SHARE = 1e-3
_ARGUMENTS = "arguments of activations"


def clipped(
    computed: Sequence[Mapping[str, float]], reported: Sequence[ReportedQuantity]
) -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that states, or the arguments of activations, are clipped to a limit.

    Limits that ports have are tried, and the largest number of the states that the port gives,
    unless the network does not exceed them: then they change nothing. No state of the port may
    exceed a limit; one that it gives at every step has reached the limit, or was never clipped.

    Args:
        computed: The largest numbers of each recurrence, as :func:`recorded` collects them.
        reported: The states of these recurrences that the port gives.
    """
    for key in ("h", "c"):
        given = [q for q in reported if q.key == key]
        several = sum(key in numbers for numbers in computed)
        known = len(given) == several and all(q.values.shape[1] > 1 for q in given)
        reached = max((float(np.max(np.abs(q.values))) for q in given), default=0.0)
        others = [] if known else [limit for limit in _LIMITS if limit > reached]
        for limit in [reached, *others] if given else others:
            if _is_exceeded(limit, key, computed):
                text = f"{key} is clipped to ±{limit:.5g} after each step"
                yield Mistake("state.clipped", text), _with_clipped_state(key, limit)
                if key == "c":
                    text = f"{text}, when h is computed already"
                    yield Mistake("state.clipped", text), _with_clipped_next_state(limit)
    for limit in _LIMITS:
        if _is_exceeded(limit, _ARGUMENTS, computed):
            text = f"the arguments of the activations are clipped to ±{limit:g}"
            yield Mistake("activation.clipped", text), _with_clipped_arguments(limit)


def _is_exceeded(limit: float, what: str, computed: Sequence[Mapping[str, float]]) -> bool:
    largest = max((numbers.get(what, 0.0) for numbers in computed), default=0.0)
    return limit < (1 - _LEAST_SHARE) * largest


def recorded(largest: dict[str, float]) -> CellChange:
    """Return a change after which a cell writes its largest numbers to ``largest``.

    They are those of each state, by its name, and of all arguments of activations.
    """

    def record(what: str, values: Array) -> None:
        largest[what] = max(largest.get(what, 0.0), float(np.max(np.abs(values), initial=0.0)))

    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]]:
        kind = type(cell)

        def activate(self: Any, ops: Any, name: str, z: Any) -> Any:
            record(_ARGUMENTS, z)
            return kind.activate(self, ops, name, z)

        def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            result = kind.step(self, ops, xz, state, w)
            for key, values in result.states.items():
                record(key, values)
            return result

        return recast(cell, activate=activate, step=step), arrays

    return change


@dataclass(frozen=True)
class _Clipped(Elementwise):
    """A number, clipped to ± ``limit``."""

    limit: float

    name = "clipped"

    def __call__(self, x: Array) -> Array:
        return np.clip(x, -self.limit, self.limit)

    def text(self, operand: str) -> str:
        return f"clip({operand})"


def _with_clipped_state(key: str, limit: float) -> CellChange:
    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        if key not in cell.state_names:
            return None
        kind = type(cell)

        def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            return kind.step(self, _WithClipped(ops, key, limit), xz, state, w)

        return recast(cell, step=step), arrays

    return change


def _with_clipped_next_state(limit: float) -> CellChange:
    """Return a change after which the next step alone takes a clipped c."""

    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        if "c" not in cell.state_names:
            return None
        kind = type(cell)

        def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            result = kind.step(self, ops, xz, state, w)
            c = ops.elementwise(result.states["c"], _Clipped(limit))
            return result._replace(states={**result.states, "c": c})

        return recast(cell, step=step), arrays

    return change


def _with_clipped_arguments(limit: float) -> CellChange:
    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        def activate(self: Any, ops: Any, name: str, z: Any) -> Any:
            return ops.activate(name, ops.elementwise(z, _Clipped(limit)))

        return recast(cell, activate=activate), arrays

    return change


class _WithClipped:
    """An interpreter that clips one value of an equation, by name."""

    def __init__(self, ops: Any, name: str, limit: float) -> None:
        self.ops, self.name, self.limit = ops, name, limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def let(self, name: str, value: Any) -> Any:
        if name == self.name:
            value = self.ops.elementwise(value, _Clipped(self.limit))
        return self.ops.let(name, value)

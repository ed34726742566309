"""Intermediates of a step that a port reports by their golden names, each compared by itself.

Every line of a cell's equation is computed from the port's own operands, as far as it reports
them, with the bound of that line alone. The first line that differs is where the port is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.forward.golden import RecordedRecurrence, record_step, recorded_recurrences
from rnnshapes.forward.scan import states_before
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.dims import shape_text
from rnnshapes.ops.precision import Precision
from rnnshapes.ops.recorder import RecordedTensor, Recording
from rnnshapes.port.arrays import Port
from rnnshapes.port.compare import Comparison, compare_with, precision_of
from rnnshapes.port.error_summary import summarize_error
from rnnshapes.port.hypothesis import Where, direction_of
from rnnshapes.port.location import Location
from rnnshapes.port.quantities import ReportedQuantity

#: About how many numbers a step computes at once.
_CHUNK = 2**18
#: So many lines that agree are listed.
_LISTED = 4


class Intermediates(NamedTuple):
    """The comparison of each intermediate that can be compared, and where the first differs."""

    checks: tuple[Comparison, ...] = ()
    names: frozenset[str] = frozenset()
    locations: tuple[Location, ...] = ()


def compare_intermediates(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    port: Port,
    quantities: Sequence[ReportedQuantity],
    dtype: str,
) -> Intermediates:
    """Compare each intermediate of a port with its line of the equation.

    Args:
        network: The network.
        weights: Its weights.
        xs: Its inputs, (N, T, D).
        port: All arrays of the port.
        quantities: Those of them that are outputs and states.
        dtype: The dtype in which the port computes.

    Raises:
        InputError: an intermediate has another shape than the golden file has, or is not finite.
    """
    checks: list[Comparison] = []
    names: set[str] = set()
    locations = []
    given = {array.name for array in port.arrays}
    for recurrence in recorded_recurrences(network):
        lines = {line for line in recurrence.noted if f"{recurrence.name}.{line}" in given}
        lines -= set(recurrence.direction.cell.states)
        x = _input_of(network, recurrence.node, xs, quantities) if lines else None
        if x is None:
            continue
        reported = {
            **_states(recurrence, quantities),
            **{line: _intermediate(recurrence, line, port) for line in lines},
        }
        step = _Step(recurrence, weights, x, reported, precision_of(dtype))
        compared = {line: check for line, check in step.checks() if check.compared}
        names |= {f"{recurrence.name}.{line}" for line in compared}
        checks += [check for line, check in compared.items() if line in lines]
        locations += list(_first_difference(recurrence, compared))
    return Intermediates(tuple(checks), frozenset(names), tuple(locations))


def _input_of(
    network: Network, node: Node, xs: Sequence[Array], quantities: Sequence[ReportedQuantity]
) -> tuple[Array, Array] | None:
    """Return the input of a recurrent layer, if it is one of the network or h of another layer.

    It is given with its largest error, and is ``None`` where steps may be masked, or the states
    before the first step are not zeros.
    """
    source = network.nodes[node.sources[0].node]
    if node.initial or node.keeps_states:
        return None
    if isinstance(source.layer, Input):
        x = np.asarray(xs[network.inputs.index(source)], np.float64)
        return (x, np.zeros_like(x)) if x.ndim == 3 else None
    if source not in network.recurrent or len(source.scans) != 1:
        return None
    ((name, direction),) = source.scans
    if direction.reverse or _input_of(network, source, xs, quantities) is None:
        return None
    wanted = (name, direction.cell.output_state)
    outputs = (q for q in quantities if (q.name, q.key) == wanted and _has_every_step(q))
    return next(((q.values, q.rounding) for q in outputs), None)


def _has_every_step(quantity: ReportedQuantity) -> bool:
    return len(quantity.steps) > 1


def _states(
    recurrence: RecordedRecurrence, quantities: Sequence[ReportedQuantity]
) -> dict[str, ReportedQuantity]:
    """Return the states of a recurrence that the port reports at every step, by name."""
    return {
        quantity.key: quantity
        for quantity in quantities
        if quantity.name == recurrence.name and _has_every_step(quantity)
    }


def _intermediate(recurrence: RecordedRecurrence, line: str, port: Port) -> ReportedQuantity:
    """Return an intermediate of the port, (N, T, width)."""
    name = f"{recurrence.name}.{line}"
    array = next(array for array in port.arrays if array.name == name)
    network = recurrence.network
    n, t = network.size("N"), network.count(recurrence.steps)
    widths = {line: network.count(width) for line, _, width in recurrence.equations()}
    shape = (n, t, widths[line])
    if array.values.shape != shape and (n > 1 or array.values.shape != shape[1:]):
        raise InputError(
            f"{port.name}: the shape of the array {name!r} is {shape_text(array.values.shape)}; "
            f"expected {shape_text(shape)}, as in a golden file"
        )
    if not np.isfinite(array.values).all():
        raise InputError(
            f"{port.name}: {name} has NaN or infinite numbers; leave it out with --ignore"
        )
    steps = np.arange(t)
    return ReportedQuantity(
        name=recurrence.name,
        key=line,
        values=array.values.reshape(shape),
        rounding=array.rounding.reshape(shape),
        network_steps=steps,
        steps=steps,
        dtype=array.dtype,
    )


@dataclass(eq=False)
class _Lines(Recording):
    """A recording that replaces computed values by those that the port reports.

    ``names`` are those of the intermediates in the order in which they are noted, ``reported``
    the numbers of the port, and ``computed`` what each is before the port's numbers replace it.
    """

    names: tuple[str, ...] = ()
    reported: Mapping[str, Bounded] = field(default_factory=dict)
    computed: dict[str, Bounded] = field(default_factory=dict)

    def note(self, value: RecordedTensor, text: str = "") -> RecordedTensor:
        before = len(self.intermediates)
        value = super().note(value, text)
        if len(self.intermediates) == before:
            return value
        name = self.names[before]
        if name not in self.reported:
            return value
        numbers: Any = value.data
        self.computed.setdefault(name, numbers)
        reported: Any = self.reported[name]
        return replace(value, data=reported)


class _Step:
    """One step of a recurrence for all samples and steps at once, from the port's own numbers."""

    def __init__(
        self,
        recurrence: RecordedRecurrence,
        weights: Weights,
        x: tuple[Array, Array],
        reported: Mapping[str, ReportedQuantity],
        precision: Precision,
    ) -> None:
        self.recurrence, self.reported, self.precision = recurrence, reported, precision
        direction = recurrence.direction
        exact = vars(bind(direction.name, weights, "float64"))
        self.weights = {key: Bounded.exact(values, precision) for key, values in exact.items()}
        self.x, self.shape = x, x[0].shape[:2]
        self.before = self._states_before(direction)

    def _states_before(self, direction: Direction) -> dict[str, tuple[Array, Array]]:
        """Return the states before each step and their errors; infinite errors if not known."""
        before = {}
        for key, dim in direction.cell.states.items():
            if key in self.reported:
                quantity = self.reported[key]
                before[key] = (
                    states_before(direction, {key: quantity.values}, {})[key],
                    states_before(direction, {key: quantity.rounding}, {})[key],
                )
            else:
                shape = (*self.shape, self.recurrence.network.count(dim))
                before[key] = (np.zeros(shape), np.full(shape, np.inf))
        return before

    def checks(self) -> Iterator[tuple[str, Comparison]]:
        """Yield each line that the port reports with its comparison, in order."""
        rows = self.shape[0] * self.shape[1]
        widest = max(a.values.shape[2] for a in self.reported.values())
        parts: list[dict[str, Bounded]] = []
        size = max(1, _CHUNK // widest)
        with np.errstate(all="ignore"):
            parts += [self._computed(slice(start, start + size)) for start in range(0, rows, size)]
        for name in parts[0]:
            value, error = (
                np.concatenate([getattr(part[name], which) for part in parts])
                for which in ("value", "error")
            )
            quantity = self.reported[name]
            shape = quantity.values.shape
            expected, bound = value.reshape(shape), error.reshape(shape)
            check = compare_with(quantity, expected, bound)
            if not check.agrees and not check.left_out:
                check = replace(check, error=summarize_error(quantity.values, expected))
            yield name, check

    def _computed(self, rows: slice) -> dict[str, Bounded]:
        """Return what some rows of each reported line should be, in the order of the equation."""

        def chosen(value: Array, error: Array) -> Any:
            value, error = (a.reshape(-1, a.shape[-1])[rows] for a in (value, error))
            # A port may compute with more digits than it writes.
            return Bounded(value, error + unit * np.abs(value), self.precision)

        unit = self.precision.unit_roundoff
        lines = {k: chosen(q.values, q.rounding) for k, q in self.reported.items()}
        recording = _Lines(names=self.recurrence.noted, reported=lines)
        weights: Any = self.weights
        record_step(
            self.recurrence.direction,
            chosen(*self.x),
            {key: chosen(*pair) for key, pair in self.before.items()},
            weights,
            recording=recording,
            numbers=BoundedOps(),
        )
        return recording.computed


def _first_difference(
    recurrence: RecordedRecurrence, compared: Mapping[str, Comparison]
) -> Iterator[Location]:
    """Yield where the first line that differs does."""
    wrong = [name for name, check in compared.items() if check.differing]
    if not wrong:
        return
    line = wrong[0]
    check = compared[line]
    assert check.first is not None
    texts = {name: text for name, text, _ in recurrence.equations()}
    gate, unit = _gate(recurrence, line, check.first.unit)
    direction = direction_of(recurrence.node.layer, recurrence.direction.name)
    where = Where(recurrence.node.name, direction, line, gate, unit, check.first.t)
    before = list(compared)[: list(compared).index(line)]
    listed = ", ".join(before)
    if len(before) > _LISTED:
        listed = f"{before[-1]} and {len(before) - 1} other lines"
    agreeing = f"; before it, {listed} agree{'s' * (len(before) == 1)}" if before else ""
    text = f"{recurrence.name}: {texts[line]} is the first line that differs{agreeing}"
    yield Location(where, text, is_line=True)


def _gate(recurrence: RecordedRecurrence, line: str, unit: int) -> tuple[str | None, int]:
    """Return the gate that a line belongs to, and the unit in it."""
    cell = recurrence.direction.cell
    gates = tuple(cell.gates)
    ending = line.rpartition("_")[2]
    if ending in gates and line not in cell.states:  # c of an LSTM is both
        return ending, unit
    widths = {name: recurrence.network.count(width) for name, _, width in recurrence.equations()}
    units = recurrence.network.count(cell.output)
    if gates and widths[line] == len(gates) * units:
        return gates[unit // units], unit % units
    return None, unit

"""Known mistakes of ports about states: set to 0, overwritten too early, or carried over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.forward import numpy_run
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
from rnnshapes.reference.outputs import STATES

#: So many samples are run one after the other.
_MOST_CARRIED = 16
#: Cells with more units are not computed unit by unit: each takes as long as a step of all.
_MOST_UNITS = 64
_OVERWRITTEN = (
    "h is overwritten unit by unit: a unit reads h_t, not h_{t-1}, of the units before it"
)


# --- From step to step ----------------------------------------------------------------------------


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

    return step_change(step, *(keys if len(keys) == 1 else ()))


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
    for text, fix, change in (
        (_OVERWRITTEN, "", _unit_by_unit(())),
        (f"{_OVERWRITTEN}, in the loop over the candidate", "", _unit_by_unit(("z", "r"))),
        (
            "h is multiplied by z before the candidate reads it",
            "the candidate reads h_{t-1}, not z * h_{t-1}",
            step_change(_scaled_by_z, "z"),
        ),
        (
            "h is overwritten by r * h, so that h_t contains z * r * h_{t-1}",
            "store r * h in a second array: h = z * h + (1 - z) * h~ needs h_{t-1}",
            step_change(_scaled_by_r, "r"),
        ),
    ):
        mistake = Mistake("state.overwritten", text, own_fix=fix)
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
    h = cell.interpolate(ops, gates["z"], state["h"], result.gates["h"])
    return result._replace(output=h, states={"h": h})


def _scaled_by_r(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
    """Compute a step of a GRU whose h_t has a share of r * h_{t-1}."""
    result = right(ops, xz, state, w)
    gates = result.gates
    h = cell.interpolate(ops, gates["z"], gates["r"] * state["h"], gates["h"])
    return result._replace(output=h, states={"h": h})


def _with_gates(ops: Any, values: Mapping[str, Any]) -> WithLet:
    """Return an interpreter that takes known values for some of those of an equation, by name."""

    def let(name: str, value: Any) -> Any:
        return values[name] if name in values else ops.let(name, value)

    return WithLet(ops, let)


# --- From sample to sample -----------------------------------------------------------------------


def carried_states(hypothesis: Hypothesis) -> Variations:
    """Start each sample from the final states of the sample before."""
    network, xs = hypothesis.network, hypothesis.xs
    if not network.runs_in_blocks or len(xs) != 1 or len(xs[0]) == 1:
        return
    n, t = xs[0].shape[:2]
    starts = np.arange(n)[:, None] * t
    quantities = []
    for q in hypothesis.quantities:
        if q.network_steps is None:
            return
        steps = (starts + q.network_steps).reshape(-1)
        joined = q.map(lambda values: values.reshape(1, -1, values.shape[2]))
        quantities.append(replace(joined, network_steps=steps, steps=steps))
    one_sequence = xs[0].reshape(1, n * t, *xs[0].shape[2:])
    mistake = Mistake("state.carried", "the states are carried over from one sample to the next")
    yield mistake, replace(hypothesis, xs=(one_sequence,), quantities=tuple(quantities))


def carried_runs(hypothesis: Hypothesis) -> Variations:
    """Start from the states that an earlier run on the same x has left."""
    network = hypothesis.network
    if not network.runs_in_blocks or hypothesis.sequences is None or network.batch:
        return
    if any(q.network_steps is None for q in hypothesis.quantities):
        return
    kept, fix = "the states of an earlier run on the same x are kept", "start each run from zeros"
    yield Mistake("state.carried", kept, own_fix=fix), _after_itself(hypothesis)
    for mistake, carried in carried_states(hypothesis):
        text = f"{mistake.text}, and {kept}"
        yield mistake._replace(text=text), _after_itself(carried)


def states_of_samples(hypothesis: Hypothesis) -> Variations:
    """Compute the samples of each step one after the other, with one buffer for their states."""
    x, network = hypothesis.sequences, hypothesis.network
    if x is None or len(x) == 1 or not network.runs_in_blocks or network.batch:
        return
    if any(q.network_steps is None for q in hypothesis.quantities):
        return
    n, samples = len(x), np.arange(len(x))
    quantities = []
    for q in hypothesis.quantities:
        steps = (np.asarray(q.network_steps)[:, None] * n + samples).reshape(-1)
        joined = q.map(lambda values: np.swapaxes(values, 0, 1).reshape(1, -1, values.shape[2]))
        quantities.append(replace(joined, network_steps=steps, steps=steps))
    in_turn = np.swapaxes(x, 0, 1).reshape(1, -1, *x.shape[2:])
    text = "all samples share one buffer for their states: each step starts from another sample's"
    mistake = Mistake("state.shared_by_samples", text)
    yield mistake, replace(hypothesis, xs=(in_turn,), quantities=tuple(quantities))


def _after_itself(hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis with its steps behind the same steps."""
    (x,) = hypothesis.xs
    later = [
        replace(q, network_steps=np.asarray(q.network_steps) + x.shape[1])
        for q in hypothesis.quantities
    ]
    return replace(hypothesis, xs=(np.concatenate([x, x], axis=1),), quantities=tuple(later))


def carried_alone(hypothesis: Hypothesis) -> Variations:
    """Start each sample from some of the states of the sample before, and zeros for the others."""
    network, x = hypothesis.network, hypothesis.sequences
    if network.batch or any(node.initial for node in network.nodes):
        return
    if x is None or not 1 < len(x) <= _MOST_CARRIED:
        return
    states = [(name, key) for name, widths in network.widths.items() for key in widths]
    keys = dict.fromkeys(key for _, key in states)
    some = {f"all {key}": [s for s in states if s[1] == key] for key in keys if len(keys) > 1}
    if len(network.widths) > 1:
        some |= {f"those of {name}": [s for s in states if s[0] == name] for name in network.widths}
    for what, carried in some.items():
        text = f"of all states, only {what} are carried over from one sample to the next"
        yield Mistake("state.carried", text), _with_carried(hypothesis, carried)
    if not network.runs_in_blocks:  # other networks: see carried_states
        text = "the states are carried over from one sample to the next"
        yield Mistake("state.carried", text), _with_carried(hypothesis, states)


def _with_carried(hypothesis: Hypothesis, carried: Sequence[tuple[str, str]]) -> Hypothesis:
    """Return the hypothesis whose samples start from these final states, by name and key."""
    network, (x,) = hypothesis.network, hypothesis.xs
    ends = {name: 0 if d.reverse else -1 for node in network.recurrent for name, d in node.scans}
    reported = {
        (q.name, q.key): q.values[:, ends[q.name]]
        for q in hypothesis.quantities
        if q.key and len(q.steps) == x.shape[1]
    }
    starts = {
        STATES + name: {key: np.zeros((len(x), width)) for key, width in widths.items()}
        for name, widths in network.widths.items()
    }
    for n in range(1, len(x)):
        before = {
            name: {key: values[n - 1 : n] for key, values in of_group.items()}
            for name, of_group in starts.items()
        }
        weights = {**hypothesis.weights, **before}
        ours = numpy_run.numpy_outputs(network, weights, (x[n - 1 : n],))
        for name, key in carried:
            known = reported.get((name, key))
            final = ours.states[name][key][0, ends[name]] if known is None else known[n - 1]
            starts[STATES + name][key][n] = final
    return replace(hypothesis, weights={**hypothesis.weights, **starts})

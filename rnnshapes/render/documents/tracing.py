"""A Trace as a document, as JSON, as rows and as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.forward.tracing import LayerTrace, Trace
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.render.document import Column, Document, Drawing, Line, Row, Table
from rnnshapes.render.documents import remarks
from rnnshapes.render.number_text import fixed, small, whole
from rnnshapes.render.phrases import network_text, not_finite_record, sizes_record
from rnnshapes.render.text_art import strips
from rnnshapes.render.view import View

#: How many steps stay at each end where the middle is left out.
_AT_EACH_END = 10

#: A column, and what stands in it at time step t.
Cells = tuple[Column, Callable[[int], str]]


def document(result: Trace, view: View) -> Document:
    """The time steps of one sample, and how the two sides compare."""
    shapes = [
        f"{'x' if len(result.network.inputs) == 1 else node.name} "
        f"{shape_text(result.network.shape_numbers(flow.shapes[0]))}"
        for node, flow in zip(result.network.nodes, result.network.node_shapes, strict=True)
        if not node.sources
    ]
    return (
        Line(network_text(result.network), "strong"),
        Line(f"{', '.join(shapes)}: {result.source}"),
        *(_drawings(result, view) if view.parts != "tables" else ()),
        *(_tables(result, view) if view.parts != "flow" else ()),
        *_left_out(result, view),
        *remarks.remarks(result, view.sample),
    )


def record(result: Trace) -> dict[str, Any]:
    """The JSON form ``rnnshapes.trace/1``; arrays stay arrays."""
    keras, difference = result.keras, result.difference
    return {
        "schema": result.schema,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "engine": None if keras is None else vars(keras.engine),
        "y_hat": {"numpy": result.y_hat, "keras": result.y_hat_keras},
        "causal": result.network.is_causal,
        "output": {"numpy": result.output, "keras": result.output_keras},
        "layers": [_layer_record(layer) for layer in result.layers],
        "difference": None
        if difference is None
        else {"max_abs": difference.max_abs, **vars(difference.index)},
        "not_finite": not_finite_record(result.not_finite),
        "not_derived": result.unsupported,
    }


def arrays(result: Trace) -> dict[str, Array]:
    """What a .npz holds: ``y_hat``, ``y_hat_keras``, ``lstm.c``, ``lstm.c_keras``, ``lstm.gate_i``.

    Each is (N, T, units), masks (N, T); where there is no y_hat_t, ``output`` is (N, units).
    """
    ours, name = (result.output, "output") if result.y_hat is None else (result.y_hat, "y_hat")
    theirs = result.output_keras if result.y_hat is None else result.y_hat_keras
    found = {name: ours}
    if theirs is not None:
        found[f"{name}_keras"] = theirs
    for layer in result.layers:
        if layer.mask is not None:
            found[f"{layer.name}.mask"] = layer.mask
        for key, values in layer.states.items():
            found[f"{layer.name}.{key}"] = values
            if key in layer.keras:
                found[f"{layer.name}.{key}_keras"] = layer.keras[key]
        found |= {f"{layer.name}.gate_{gate}": values for gate, values in layer.gates.items()}
    return found


def _layer_record(layer: LayerTrace) -> dict[str, Any]:
    keras = {f"{key}_keras": values for key, values in layer.keras.items()}
    mask = {} if layer.mask is None else {"mask": layer.mask}
    direction = "backward" if layer.reverse else "forward"
    gates = dict(layer.gates)
    return {
        "name": layer.name,
        "direction": direction,
        **mask,
        **layer.states,
        **keras,
        "gates": gates,
    }


def rows(result: Trace) -> Iterator[Sequence[object]]:
    """A line of headings, and one row for each sample and time step.

    Cells of a time axis that ends before others are empty; what has none stands at t = 0.
    """
    parts = {}
    for name, found in arrays(result).items():
        values = found[..., None] if found.dtype == bool else found
        timed = values if values.ndim > 2 else values[:, None]
        parts[name] = timed.reshape(*timed.shape[:2], -1)
    yield ("sample", "t", *(f"{name}[{i}]" for name, a in parts.items() for i in range(a.shape[2])))
    longest = max(a.shape[1] for a in parts.values())
    for sample in range(len(result.output)):
        for t in range(longest):
            cells: list[object] = []
            for a in parts.values():
                there = t < a.shape[1]
                cells += a[sample, t].tolist() if there else [""] * a.shape[2]
            yield (sample, t, *cells)


class Quantity(NamedTuple):
    """What is shown at each step, (N, T, units), by its name in the equation.

    ``part`` is what ``--show`` calls it, ``axis`` the symbol of its time axis; ``layer`` is
    ``None`` for y_hat.
    """

    name: str
    part: str
    axis: str
    ours: Array
    theirs: Array | None
    layer: LayerTrace | None = None
    candidate: bool = False


def _drawings(result: Trace, view: View) -> Iterator[Drawing]:
    """Sparklines of y_hat, strips of all states and gates."""
    return strips.drawings([_strip(result, found, view) for found in _quantities(result)])


def _strip(result: Trace, found: Quantity, view: View) -> strips.Strip:
    n, t, _ = found.ours.shape
    start, end = min(t, view.start or 0), t if view.end is None else min(t, view.end)
    values = found.ours[view.sample, start:end]
    mask = _mask(result, found)
    title = f"{found.name}"
    if found.layer is not None:
        title += f" of {found.layer.name}"
    title += f" over t, sample {view.sample} of {n}" if n > 1 else " over t"
    if found.layer is not None and found.layer.reverse:
        title += ", read from the last t back"
    kind: strips.ScaleKind = "line" if found.layer is None else "signed"
    if found.part == "gates" and not found.candidate:
        kind = strips.scale_kind(values)
    counts = None if mask is None else mask[view.sample, start:end]
    return strips.Strip(title, found.name.removeprefix("gate "), values, kind, start, counts)


def _mask(result: Trace, found: Quantity) -> Array | None:
    """Which steps count for a layer; for y_hat those of the layers over the same steps."""
    if found.layer is not None:
        return found.layer.mask
    if remarks.turned(result.network):
        return None
    masks = [la.mask for la in result.layers if la.mask is not None and la.steps == found.axis]
    return masks[0] if masks else None


def _tables(result: Trace, view: View) -> Iterator[Table | Line]:
    """One table for each time axis; without y_hat_t, the model's own output first."""
    if result.y_hat is None:
        yield _own(result, view.sample)
    shown = _shown(result, view)
    for axis in dict.fromkeys(quantity.axis for quantity in shown):
        yield _table(result, view, axis, [q for q in shown if q.axis == axis])


def _shown(result: Trace, view: View) -> list[Quantity]:
    """y_hat, and what else is to stand in tables."""
    return [
        found
        for found in _quantities(result)
        if found.part == "y" or view.show is None or found.part in view.show
    ]


def _own(result: Trace, sample: int) -> Table:
    """What the model answers, unit by unit."""
    ours = result.output[sample].reshape(-1)
    theirs = None if result.output_keras is None else result.output_keras[sample].reshape(-1)
    columns = [Column("unit", numeric=True), Column("NumPy", numeric=True)]
    columns += [Column("Keras", numeric=True), Column("difference", numeric=True)] * (
        theirs is not None
    )
    made = []
    for unit, value in enumerate(ours.tolist()):
        cells = [str(unit), fixed(value)]
        if theirs is not None:
            there = float(theirs[unit])
            cells += [fixed(there), small(abs(value - there))]
        made.append(Row(tuple(cells)))
    title = f"output of the model, sample {sample} of {len(result.output)}"
    return Table(title, tuple(columns), tuple(made))


def _table(result: Trace, view: View, axis: str, shown: list[Quantity]) -> Table:
    n, t, _ = shown[0].ours.shape
    start = 0 if view.start is None else view.start
    end = t if view.end is None else min(t, view.end)
    columns = [*_columns(shown, view.sample)]
    columns[1:1] = _mask_columns(result, axis, view.sample)
    made = []
    last = result.network.is_causal and not result.network.returns_sequences
    for step in _steps(start, end, view):
        if step is None:
            made.append(Row(("…",) * len(columns), "dim"))
        else:
            own = step == t - 1 and last and shown[0].name == "y_hat"
            cells = tuple(cell(step) for _, cell in columns)
            made.append(Row(cells, "strong" if own else "plain"))
    names = ", ".join(quantity.name for quantity in shown)
    steps = "each time step" if axis == "T" else f"each of {axis} time steps"
    return Table(
        f"{names} at {steps}, sample {view.sample} of {n}",
        tuple(column for column, _ in columns),
        tuple(made),
        elsewhere="--format json or csv",
    )


def _mask_columns(result: Trace, axis: str, sample: int) -> list[Cells]:
    """Which steps count, once for each mask."""
    masks = [la.mask[sample] for la in result.layers if la.mask is not None and la.steps == axis]
    return [(Column("mask"), lambda t: "" if masks[0][t] else "masked")] if masks else []


def _steps(start: int, end: int, view: View) -> Iterator[int | None]:
    """The steps to show; ``None`` stands for those left out in the middle."""
    if not _elided(start, end, view):
        yield from range(start, end)
        return
    yield from range(start, start + _AT_EACH_END)
    yield None
    yield from range(end - _AT_EACH_END, end)


def _elided(start: int, end: int, view: View) -> bool:
    return not view.chosen and view.most_rows is not None and end - start > view.most_rows


def _columns(shown: list[Quantity], sample: int) -> Iterator[Cells]:
    """t, and for each quantity its units from both sides and their largest difference.

    Where the width does not do, the first quantity comes first with both sides, then the first
    unit of each other in NumPy, then how far the sides differ, then unit after unit.
    """
    yield Column("t", numeric=True), str
    count = len(shown)
    for group, (name, _, _, ours, theirs, *_) in enumerate(shown):
        for unit in range(ours.shape[2]):
            rank = (3 * unit + 2) * count + group if group or unit else 0
            yield _column(f"{name}[{unit}]\nNumPy", ours[sample, :, unit], rank)
            if theirs is not None:
                rank = (3 * unit + 4) * count + group if group or unit else 0
                yield _column(f"{name}[{unit}]\nKeras", theirs[sample, :, unit], rank)
        if theirs is not None:
            apart = _apart(ours[sample], theirs[sample])
            rank = 3 * count + group if group else 1
            yield Column(f"{name}\ndifference", numeric=True, rank=rank), _small_at(apart)


def _quantities(result: Trace) -> Iterator[Quantity]:
    """y_hat, and all that is known of each layer."""
    if result.y_hat is not None:
        steps = str(result.network.output_shapes.steps)
        shape = (*result.y_hat.shape[:2], -1)
        theirs = result.y_hat_keras
        theirs = None if theirs is None else theirs.reshape(shape)
        yield Quantity("y_hat", "y", steps, result.y_hat.reshape(shape), theirs)
    for layer in result.layers:
        for key, values in layer.states.items():
            name, part, theirs = (
                f"{key}{layer.index}",
                key.rstrip("0123456789"),
                layer.keras.get(key),
            )
            yield Quantity(name, part, layer.steps, values, theirs, layer)
        for gate, values in layer.gates.items():
            # The candidate has the name of a state, and is written c~ or h~ in the equations.
            candidate = gate in layer.candidates
            name = f"gate {gate}{'~' if candidate else ''}{layer.index}"
            yield Quantity(name, "gates", layer.steps, values, None, layer, candidate)


def _column(heading: str, values: Array, rank: int) -> Cells:
    gate = heading.startswith("gate ")
    return Column(heading, numeric=True, rank=rank), lambda t: _cell(float(values[t]), gate=gate)


def _cell(value: float, *, gate: bool) -> str:
    """A number; a gate of a masked step has none."""
    return "-" if gate and math.isnan(value) else fixed(value)


def _small_at(values: Array) -> Callable[[int], str]:
    return lambda t: small(float(values[t]))


def _apart(ours: Array, theirs: Array) -> Array:
    with np.errstate(invalid="ignore"):
        apart: Array = np.max(np.abs(ours - theirs), axis=-1)
    return apart


def _left_out(result: Trace, view: View) -> Iterator[Line]:
    t = max((q.ours.shape[1] for q in _shown(result, view)), default=0)
    if _elided(view.start or 0, t if view.end is None else view.end, view):
        left = whole(t - 2 * _AT_EACH_END)
        yield Line(
            f"{left} steps in the middle are not shown: --steps a:b shows some, "
            "--format json or csv holds all",
            "dim",
        )

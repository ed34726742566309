"""A Trace as a document, as JSON, as rows and as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.errors import TooLargeError
from rnnshapes.forward.tracing import LayerTrace, Trace
from rnnshapes.network.graph import Network, Node
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.render import step
from rnnshapes.render.document import (
    COLUMN_GAP,
    Column,
    Document,
    Drawing,
    Line,
    Meaning,
    Row,
    Table,
)
from rnnshapes.render.number_text import count_text, decimal_text, magnitude_text
from rnnshapes.render.phrases import (
    difference_record,
    engine_record,
    engine_text,
    network_line,
    not_finite_record,
    not_finite_text,
    sizes_record,
    warning_line,
)
from rnnshapes.render.text_art import strips
from rnnshapes.render.view import View

#: Rows at each end of a table that decide which columns fit.
_ROWS_MEASURED = 30
#: Steps of a run that is repeated to show one step.
_MOST_STEPS_REPEATED = 20_000
#: Steps at each end of a table whose middle is left out, of all numbers and of the summary.
_STEPS_AT_EACH_END, _SUMMARY_STEPS_AT_EACH_END = 10, 5
#: Units of a state that stand side by side in a column; of more, a few are drawn.
_MOST_UNITS_IN_A_COLUMN, _UNITS_DRAWN = 6, 6
#: What marks the row that is the model's own output.
_OUTPUT_MARK, _SHORT_OUTPUT_MARK = "← output", "←"
#: Widths of a difference, with the gap before it, and of a number of y_hat, with a space.
_WIDTH_OF_DIFFERENCE, _WIDTH_OF_NUMBER = COLUMN_GAP + len("2e-07"), 8
#: Keras agrees to so many times the unit roundoff of its dtype, on the scale of y_hat. Whether
#: rounding explains a difference is proven by ``verify`` alone.
_NEAR = 1000
#: Numbers of the model's output that a line holds.
_MOST_OUTPUTS = 8

#: A column, and the function that writes its cell at a time step.
StepColumn = tuple[Column, Callable[[int], str]]


class Series(NamedTuple):
    """A quantity over time, (N, T, units), from NumPy and from Keras.

    ``name`` is its name in the equation, ``part`` its name in ``--show``, ``axis`` the symbol of
    its time axis. ``layer`` is ``None`` for y_hat. ``candidate`` marks the candidate among gates.
    """

    name: str
    part: str
    axis: str
    numpy: Array
    keras: Array | None
    layer: LayerTrace | None = None
    candidate: bool = False


def document(result: Trace, view: View) -> Document:
    """Return the time steps of one sample, and how NumPy and Keras compare."""
    return (
        network_line(result.network),
        *_warnings(result),
        *_sources(result),
        *(_summary(result, view) if view.has("summary") else ()),
        *(_drawings(result, view) if view.has("flow") else ()),
        *(_numbers(result, view) if view.has("numbers") else ()),
        *_verdict(result),
    )


def record(result: Trace) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.trace/1``; arrays stay arrays."""
    return {
        "schema": result.schema,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "engine": None if result.keras is None else engine_record(result.keras.engine),
        "y_hat": {"numpy": result.y_hat, "keras": result.y_hat_keras},
        "causal": result.network.is_causal,
        "output": {"numpy": result.output, "keras": result.output_keras},
        "layers": [_layer_record(layer) for layer in result.layers],
        "difference": difference_record(result.difference),
        "not_finite": not_finite_record(result.not_finite),
        "not_derived": result.unsupported,
    }


def _layer_record(layer: LayerTrace) -> dict[str, Any]:
    keras = {f"{key}_keras": values for key, values in layer.keras.items()}
    mask = {} if layer.mask is None else {"mask": layer.mask}
    return {
        "name": layer.name,
        "direction": "backward" if layer.reverse else "forward",
        **mask,
        **layer.states,
        **keras,
        "gates": dict(layer.gates),
    }


def arrays(result: Trace) -> dict[str, Array]:
    """Return what a .npz holds: ``y_hat``, ``y_hat_keras``, ``lstm.c``, ``lstm.gate_i`` and so on.

    Each is (N, T, units), masks (N, T). Where there is no y_hat_t, ``output`` is (N, units).
    """
    if result.y_hat is None:
        name, numpy, keras = "output", result.output, result.output_keras
    else:
        name, numpy, keras = "y_hat", result.y_hat, result.y_hat_keras
    named = {name: numpy}
    if keras is not None:
        named[f"{name}_keras"] = keras
    for layer in result.layers:
        if layer.mask is not None:
            named[f"{layer.name}.mask"] = layer.mask
        for key, values in layer.states.items():
            named[f"{layer.name}.{key}"] = values
            if key in layer.keras:
                named[f"{layer.name}.{key}_keras"] = layer.keras[key]
        named |= {f"{layer.name}.gate_{gate}": values for gate, values in layer.gates.items()}
    return named


def rows(result: Trace) -> Iterator[Sequence[object]]:
    """Yield the headings, then one row for each sample and time step.

    A shorter time axis has empty cells at the end. An array without a time axis stands at t = 0.
    """
    timed: dict[str, Array] = {}  # (N, T, units)
    for name, values in arrays(result).items():
        with_units = values[..., None] if values.dtype == bool else values
        with_time = with_units if with_units.ndim > 2 else with_units[:, None]
        timed[name] = with_time.reshape(*with_time.shape[:2], -1)
    yield ("sample", "t", *(f"{name}[{i}]" for name, a in timed.items() for i in range(a.shape[2])))
    longest = max(a.shape[1] for a in timed.values())
    for sample in range(len(result.output)):
        for t in range(longest):
            cells: list[object] = []
            for values in timed.values():
                in_time = t < values.shape[1]
                cells += values[sample, t].tolist() if in_time else [""] * values.shape[2]
            yield (sample, t, *cells)


# --- Quantities over time -----------------------------------------------------------------------


def _all_series(result: Trace) -> Iterator[Series]:
    """Yield y_hat, then the states and gates of each layer."""
    if result.y_hat is not None:
        axis = str(result.network.output_shapes.steps)
        shape = (*result.y_hat.shape[:2], -1)
        keras = None if result.y_hat_keras is None else result.y_hat_keras.reshape(shape)
        yield Series("y_hat", "y", axis, result.y_hat.reshape(shape), keras)
    for layer in result.layers:
        for key, values in layer.states.items():
            name, part = f"{key}{layer.index}", key.rstrip("0123456789")
            yield Series(name, part, layer.steps, values, layer.keras.get(key), layer)
        for gate, values in layer.gates.items():
            # The candidate has the name of a state, and is written c~ or h~ in the equations.
            candidate = gate in layer.candidates
            name = f"gate {gate}{'~' if candidate else ''}{layer.index}"
            yield Series(name, "gates", layer.steps, values, None, layer, candidate)


def _shown_series(result: Trace, view: View) -> list[Series]:
    """Return y_hat, and the other quantities that stand in tables."""
    return [
        series
        for series in _all_series(result)
        if series.part == "y" or view.show is None or series.part in view.show
    ]


def y_hat_mask(result: Trace) -> Array | None:
    """Return the mask of the steps of y_hat, (N, T): that of the last layer over its time axis.

    None where its rows are in the reverse order of those of the layers.
    """
    if _reversing_layers(result.network):
        return None
    axis = str(result.network.output_shapes.steps)
    masks = (layer.mask for layer in reversed(result.layers) if layer.steps == axis)
    return next((mask for mask in masks if mask is not None), None)


def _reversing_layers(network: Network) -> list[Node]:
    """Return the layers that return a sequence in reverse."""
    return [n for n in network.recurrent if n.layer.reversed_outputs == (True,)]  # type: ignore[attr-defined]


# --- Summary ------------------------------------------------------------------------------------


def _summary(result: Trace, view: View) -> Iterator[Drawing | Table | Line]:
    """Yield one step, then every step with the states, y_hat and the output of Keras."""
    yield from _one_step(result, view)
    shown = _summary_series(result, view)
    if result.y_hat is None:
        yield _output_row(result, view)
    drawn: list[Series] = []
    tables = []
    for axis in dict.fromkeys(series.axis for series in shown):
        table, left_out = _step_table(result, view, [s for s in shown if s.axis == axis])
        tables += [table] if table.columns[1:] else []
        drawn += left_out
    yield from strips.drawings([_strip(result, each, view, _UNITS_DRAWN) for each in drawn])
    yield from tables
    if any(row.cells[-1] == _SHORT_OUTPUT_MARK for table in tables for row in table.rows):
        yield Line(f"{_SHORT_OUTPUT_MARK} = the model's output", "dim")
    yield from _omitted_units(result, view)
    yield from _omitted_steps(result, view, _SUMMARY_STEPS_AT_EACH_END)
    yield from _notes(result, view.sample)


def _one_step(result: Trace, view: View) -> Iterator[Drawing]:
    """Yield step 1 of the first recurrence, or its first step where there is no other.

    The run is repeated for it, which is not worth the time where it is long.
    """
    network = result.network
    is_long = network.max_steps > _MOST_STEPS_REPEATED and not view.has_step_range
    if is_long or not network.recurrent:  # it has recurrences that are computed as a whole
        return
    try:
        recurrence, *_ = result.recurrences(view.sample)
    except TooLargeError:  # beside the result, which is shown without it
        return
    first = view.start or 0
    t = first if view.has_step_range else min(1, recurrence.count - 1)
    shown = recurrence.step(min(t, recurrence.count - 1))
    of_layer = f" of {recurrence.name}" if len(network.groups) > 2 else ""
    title = f"One step{of_layer}, t = {shown.t}"
    if len(shown.equations) == 1:
        title = f"{title}:  {shown.equations[0].general}"
    yield Drawing(title, partial(step.compact, shown, recurrence), is_plotted=False)


def _summary_series(result: Trace, view: View) -> list[Series]:
    """Return y_hat, and the states and gates to show: the state h unless others were asked for."""
    asked = set(view.show or ()) - {"y"} or {"h"}
    return [s for s in _all_series(result) if s.part == "y" or s.part in asked]


def _step_table(result: Trace, view: View, shown: Sequence[Series]) -> tuple[Table, list[Series]]:
    """Return a row for each step, and the states and gates if not all fit beside y_hat.

    The columns of y_hat are the last to give way.
    """
    t = shown[0].numpy.shape[1]
    steps = _shown_steps(t, view, _SUMMARY_STEPS_AT_EACH_END)
    columns: list[StepColumn] = [(Column("t", numeric=True), str)]
    columns += _mask_columns(result, shown[0].axis, view.sample)
    y_columns: list[StepColumn] = []
    for series in shown:
        if series.part == "y":
            y_columns += _y_columns(result, series, view)
    room = view.width - _width([*columns, *y_columns], steps) - COLUMN_GAP - len(_SHORT_OUTPUT_MARK)
    left_out = [series for series in shown if series.part != "y"]
    if all(series.numpy.shape[2] <= _MOST_UNITS_IN_A_COLUMN for series in left_out):
        state_columns = [_units_column(series, view.sample) for series in left_out]
        width = sum(_width([column], steps) + COLUMN_GAP for column in state_columns)
        if width <= room:
            columns += state_columns
            room -= width
            left_out = []
    columns += y_columns
    last_is_output = bool(y_columns) and _ends_with_output(result)
    if last_is_output:
        is_long = len(_OUTPUT_MARK) - len(_SHORT_OUTPUT_MARK) <= room
        mark = _OUTPUT_MARK if is_long else _SHORT_OUTPUT_MARK
        columns.append((Column(""), lambda t_shown: mark if t_shown == t - 1 else ""))
    table_rows = []
    for number in steps:
        cells = tuple("…" if number is None else cell(number) for _, cell in columns)
        is_output = last_is_output and number == t - 1
        meaning: Meaning = "dim" if number is None else "strong" if is_output else "plain"
        table_rows.append(Row(cells, meaning))
    return Table("", tuple(column for column, _ in columns), tuple(table_rows)), left_out


def _width(columns: Sequence[StepColumn], steps: Sequence[int | None]) -> int:
    """Return the width of columns, with the gaps between them, by the first and last rows."""
    measured = [t for t in (*steps[:_ROWS_MEASURED], *steps[-_ROWS_MEASURED:]) if t is not None]
    widths = [
        max(map(len, (column.heading, *(cell(t) for t in measured)))) for column, cell in columns
    ]
    return sum(widths) + COLUMN_GAP * (len(widths) - 1)


def _units_column(series: Series, sample: int) -> StepColumn:
    """Return a column with all units of a state or gate."""
    values, is_gate = series.numpy[sample], series.part == "gates"

    def cell(t: int) -> str:
        if is_gate and np.isnan(values[t]).all():  # of a masked step
            return "-"
        return " ".join(f"{step.compact_number(value, 2):>5}" for value in values[t].tolist())

    return Column(f"{series.name.removeprefix('gate ')}_t"), cell


def _ends_with_output(result: Trace) -> bool:
    """Return whether y_hat at the last step is the model's output, and at no other step."""
    return result.network.is_causal and not result.network.returns_sequences


def _y_columns(result: Trace, series: Series, view: View) -> Iterator[StepColumn]:
    """Yield y_hat from NumPy and from Keras, as many units as fit, and their difference."""
    sample = view.sample
    sides = {"NumPy": series.numpy[sample]}
    if series.keras is not None:
        sides["Keras"] = series.keras[sample]
    all_units = series.numpy.shape[2]
    units = _units_that_fit(result, series, view)

    def cell_of(values: Array) -> Callable[[int], str]:
        more = " …" if units < all_units else ""
        return lambda t: (
            " ".join(f"{step.compact_number(value, 4):>7}" for value in values[t, :units].tolist())
            + more
        )

    for side, values in sides.items():
        yield Column(f"y_hat_t {side}"), cell_of(values)
    if series.keras is not None:
        with np.errstate(invalid="ignore"):
            difference = np.max(np.abs(series.numpy[sample] - sides["Keras"]), axis=-1)
        yield Column("diff", numeric=True), lambda t: f"{float(difference[t]):.0e}"


def _units_that_fit(result: Trace, series: Series, view: View) -> int:
    """Return how many units of y_hat fit beside t, the mask, the difference and the mark."""
    _, steps, units = series.numpy.shape
    beside = [len(str(steps - 1))]
    beside += [len("masked")] if _mask_columns(result, series.axis, view.sample) else []
    beside += [len(_SHORT_OUTPUT_MARK)] if _ends_with_output(result) else []
    room = view.width - sum(beside) - COLUMN_GAP * len(beside)
    sides = 1 if series.keras is None else 2
    return _numbers_that_fit(units, sides, room)


def _numbers_that_fit(numbers: int, sides: int, room: int) -> int:
    """Return how many of so many numbers fit into a column of each side, at least one.

    Beside two sides stands their difference.
    """
    room -= _WIDTH_OF_DIFFERENCE if sides > 1 else 0
    column = (room + COLUMN_GAP) // sides - COLUMN_GAP + len(" ")  # a space follows each number
    if numbers * _WIDTH_OF_NUMBER <= column:
        return numbers
    return max(1, (column - len(" …")) // _WIDTH_OF_NUMBER)


def _omitted_units(result: Trace, view: View) -> Iterator[Line]:
    """Yield how many units of y_hat are left out for width."""
    series = next((each for each in _all_series(result) if each.part == "y"), None)
    if series is None:
        return
    units = series.numpy.shape[2]
    fitting = _units_that_fit(result, series, view)
    if fitting < units:
        text = f"{units - fitting} of {units} units of y_hat are left out: --view numbers"
        yield Line(text, "dim")


def _output_row(result: Trace, view: View) -> Table:
    """Return the model's output where no single step has one, as many units as fit."""
    numpy = result.output[view.sample].reshape(-1)
    sides = {"output NumPy": numpy}
    if result.output_keras is not None:
        sides["output Keras"] = result.output_keras[view.sample].reshape(-1)
    units = _numbers_that_fit(numpy.size, len(sides), view.width)
    more = " …" if units < numpy.size else ""
    columns = [Column(name) for name in sides]
    cells = [
        " ".join(f"{step.compact_number(value, 4):>7}" for value in values[:units].tolist()) + more
        for values in sides.values()
    ]
    if result.output_keras is not None:
        difference = float(np.max(np.abs(numpy - sides["output Keras"])))
        columns.append(Column("diff", numeric=True))
        cells.append(f"{difference:.0e}")
    return Table("", tuple(columns), (Row(tuple(cells)),))


# --- Drawings and tables ------------------------------------------------------------------------


def _drawings(result: Trace, view: View) -> Iterator[Drawing]:
    """Yield a strip of y_hat, and of each state and gate."""
    return strips.drawings([_strip(result, series, view) for series in _all_series(result)])


def _strip(
    result: Trace, series: Series, view: View, most_units: int = strips.MOST_UNITS
) -> strips.Strip:
    n, t, _ = series.numpy.shape
    values = series.numpy[view.sample, view.start : view.end]
    mask = y_hat_mask(result) if series.layer is None else series.layer.mask
    title = series.name
    if series.layer is not None:
        title += f" of {series.layer.name}"
    title += f" over t, sample {view.sample} of {n}" if n > 1 else " over t"
    if series.layer is not None and series.layer.reverse:
        title += ", processed in reverse"
    kind: strips.ScaleKind = "signed"
    if series.part == "gates" and not series.candidate:
        kind = strips.scale_kind(values)
    unmasked = None if mask is None else mask[view.sample, view.start : view.end]
    name = series.name.removeprefix("gate ")
    own = series.layer is None  # the outputs of a network may be of different sizes
    start = range(t)[view.start : view.end].start
    return strips.Strip(title, name, values, kind, start, unmasked, most_units, own)


def _numbers(result: Trace, view: View) -> Iterator[Table | Line]:
    """Yield every number with eight digits, from both sides."""
    yield from _tables(result, view)
    yield from _omitted_steps(result, view)
    yield from _arithmetic(result, view.sample)


def _tables(result: Trace, view: View) -> Iterator[Table]:
    """Yield one table for each time axis; without y_hat_t, the model's own output first."""
    if result.y_hat is None:
        yield _output_table(result, view.sample)
    shown = _shown_series(result, view)
    for axis in dict.fromkeys(series.axis for series in shown):
        yield _table(result, view, axis, [series for series in shown if series.axis == axis])


def _output_table(result: Trace, sample: int) -> Table:
    """Return the model's output, unit by unit."""
    numpy = result.output[sample].reshape(-1)
    keras = None if result.output_keras is None else result.output_keras[sample].reshape(-1)
    columns = [Column("unit", numeric=True), Column("NumPy", numeric=True)]
    if keras is not None:
        columns += [Column("Keras", numeric=True), Column("difference", numeric=True)]
    table_rows = []
    for unit, value in enumerate(numpy.tolist()):
        cells = [str(unit), decimal_text(value)]
        if keras is not None:
            keras_value = float(keras[unit])
            cells += [decimal_text(keras_value), magnitude_text(abs(value - keras_value))]
        table_rows.append(Row(tuple(cells)))
    title = f"output of the model, sample {sample} of {len(result.output)}"
    return Table(title, tuple(columns), tuple(table_rows))


def _table(result: Trace, view: View, axis: str, shown: list[Series]) -> Table:
    n, t, _ = shown[0].numpy.shape
    columns = [*_columns(shown, view.sample)]
    columns[1:1] = _mask_columns(result, axis, view.sample)
    table_rows = []
    last_is_output = shown[0].part == "y" and _ends_with_output(result)
    for number in _shown_steps(t, view):
        if number is None:
            table_rows.append(Row(("…",) * len(columns), "dim"))
        else:
            cells = tuple(cell(number) for _, cell in columns)
            is_output = last_is_output and number == t - 1
            table_rows.append(Row(cells, "strong" if is_output else "plain"))
    names = ", ".join(series.name for series in shown)
    steps = "each time step" if axis == "T" else f"each of {axis} time steps"
    return Table(
        f"{names} at {steps}, sample {view.sample} of {n}",
        tuple(column for column, _ in columns),
        tuple(table_rows),
        elsewhere="--format json or csv",
    )


def _columns(shown: list[Series], sample: int) -> Iterator[StepColumn]:
    """Yield t, and for each quantity its units from both sides and their largest difference.

    Where not all columns fit, the ranks keep the first unit of the first quantity from both
    sides and the first difference, then the first unit of each other quantity in NumPy, then
    the other differences, then unit after unit.
    """
    yield Column("t", numeric=True), str
    count = len(shown)
    for i, series in enumerate(shown):
        name, numpy, keras = series.name, series.numpy[sample], series.keras
        for unit in range(numpy.shape[1]):
            rank = (3 * unit + 2) * count + i if i or unit else 0
            yield _column(f"{name}[{unit}]\nNumPy", numpy[:, unit], rank)
            if keras is not None:
                rank = (3 * unit + 4) * count + i if i or unit else 0
                yield _column(f"{name}[{unit}]\nKeras", keras[sample, :, unit], rank)
        if keras is not None:
            with np.errstate(invalid="ignore"):
                difference = np.max(np.abs(numpy - keras[sample]), axis=-1)
            rank = 3 * count + i if i else 1
            heading = f"{name}\ndifference"
            yield Column(heading, numeric=True, rank=rank), _difference_at(difference)


def _column(heading: str, values: Array, rank: int) -> StepColumn:
    is_gate = heading.startswith("gate ")

    def cell(t: int) -> str:
        value = float(values[t])
        return "-" if is_gate and math.isnan(value) else decimal_text(value)  # of a masked step

    return Column(heading, numeric=True, rank=rank), cell


def _difference_at(values: Array) -> Callable[[int], str]:
    return lambda t: magnitude_text(float(values[t]))


def _mask_columns(result: Trace, axis: str, sample: int) -> list[StepColumn]:
    """Return a column of the masked steps of the last layer over this time axis with a mask."""
    masks = [la.mask[sample] for la in result.layers if la.mask is not None and la.steps == axis]
    return [(Column("mask"), lambda t: "" if masks[-1][t] else "masked")] if masks else []


def _shown_steps(t: int, view: View, at_each_end: int = _STEPS_AT_EACH_END) -> Sequence[int | None]:
    """Return which of t steps to show; ``None`` stands for the omitted ones in the middle."""
    if not _omits_middle(t, view, at_each_end):
        return range(t)[view.start : view.end]
    return (*range(at_each_end), None, *range(t - at_each_end, t))


def _omits_middle(steps: int, view: View, at_each_end: int) -> bool:
    """Return whether the middle of so many steps is left out; never of chosen steps."""
    return view.abridged and not view.has_step_range and steps > 2 * at_each_end + 2


def _omitted_steps(
    result: Trace, view: View, at_each_end: int = _STEPS_AT_EACH_END
) -> Iterator[Line]:
    """Yield how to see the steps that tables omit."""
    t = max((series.numpy.shape[1] for series in _shown_series(result, view)), default=0)
    if _omits_middle(t, view, at_each_end):
        omitted = count_text(t - 2 * at_each_end)
        yield Line(
            f"{omitted} steps in the middle are not shown: --steps a:b shows some, "
            "--format json or csv holds all",
            "dim",
        )


# --- Lines --------------------------------------------------------------------------------------


def _warnings(result: Trace) -> Iterator[Line]:
    """Yield what is wrong with the input, and what is not supported or has another meaning."""
    network = result.network
    if result.not_finite is not None:
        yield warning_line(not_finite_text(result.not_finite))
    for name, meaning in network.known_differences.items():
        yield warning_line(f"{name}: {meaning}")
    if result.unsupported:
        layers = ", ".join(result.unsupported)
        yield warning_line(f"not supported: {layers}; values come from Keras")
    if len(network.outputs) > 1:
        first, *others = [network.nodes[tap.node].name for tap in network.outputs]
        remedy = "--layer shows another" if network.not_in_keras else "rnnshapes verify checks all"
        yield warning_line(
            f"the model has {len(network.outputs)} outputs; only the first, {first}, is shown, "
            f"not {', '.join(others)}; {remedy}"
        )


def _sources(result: Trace) -> Iterator[Line]:
    """Yield the inputs with their shapes, and where they come from."""
    network = result.network
    shapes = [
        f"{'x' if len(network.inputs) == 1 else node.name} "
        f"{shape_text(network.shape_numbers(node_shapes.shapes[0]))}"
        for node, node_shapes in zip(network.nodes, network.node_shapes, strict=True)
        if not node.sources
    ]
    source = "" if result.source == "x" else f": {result.source}"  # an array has no name but x
    yield Line(f"{', '.join(shapes)}{source}", indent=2)


def _verdict(result: Trace) -> Iterator[Line]:
    """Yield how both sides compare, in one line."""
    difference = result.difference
    if result.keras is None or difference is None:
        yield Line("Not compared with Keras.", "dim")
        return
    version, dtype = f"Keras {result.keras.engine.version}", result.network.dtype
    values, keras = result.y_hat, result.y_hat_keras
    if values is None or keras is None:
        values, keras = result.output, result.keras.outputs[0]
    if np.isnan(values).any() or np.isnan(keras).any():
        quantity = "output" if result.y_hat is None else "y_hat"
        yield warning_line(
            f"{quantity} is NaN, first at {difference.index}: there is no difference to compute"
        )
        return
    finite = np.isfinite(values) & np.isfinite(keras)
    size = magnitude_text(float(np.max(np.abs(values - keras), where=finite, initial=0.0)))
    near = _NEAR * PRECISIONS[dtype].unit_roundoff
    if np.allclose(keras, values, rtol=near, atol=near):
        where = "" if result.y_hat is None else " at every step"
        yield Line(f"ok  {version} agrees{where}, to {size} (it computes in {dtype})", "good")
    else:
        text = f"{version} differs by up to {size}, at {difference.index} (it computes in {dtype})"
        remedy = "run rnnshapes verify to see whether rounding explains it"
        yield warning_line(f"{text}; {remedy}")


def _notes(result: Trace, sample: int) -> Iterator[Line]:
    """Yield what a row means, where that is not plain."""
    notes = list(_meaning_of_rows(result))
    if notes:
        yield Line("")
    yield from notes
    y_hat = result.y_hat
    if y_hat is None or result.network.returns_sequences or result.network.is_causal:
        return
    if result.output_keras is not None:
        yield _own_predict(result, sample)


def _arithmetic(result: Trace, sample: int) -> Iterator[Line]:
    """Yield in which dtype each side computes, and how ``predict`` compares with its rows."""
    yield Line("NumPy computes in float64, from the model's own weights and x in float32.")
    if result.keras is None:
        return
    yield Line(
        f"{engine_text(result.keras.engine)} computes in {result.network.dtype}, running "
        "the model's cells in a loop that returns every state."
    )
    yield _own_predict(result, sample)


def _meaning_of_rows(result: Trace) -> Iterator[Line]:
    """Yield what a row is not, and what a direction or a mask means for it."""
    network = result.network
    if result.y_hat is None:
        yield Line(
            "There is no y_hat at a single step: the output combines all steps, or is a state "
            "after the last one.",
            "strong",
        )
    elif not network.is_causal and network.recurrent:
        backwards = [name for node in network.recurrent for name, d in node.scans if d.reverse]
        reason = "layers before the recurrence combine time steps"
        if backwards:
            verb = "starts" if len(backwards) == 1 else "start"
            reason = f"{', '.join(backwards)} {verb} from the last step"
        elif network.unsupported:
            reason = f"{network.unsupported[0].name} is not supported"
        verb = "may not be" if network.unsupported and not backwards else "is not"
        yield Line(
            f"y_hat at t {verb} the model's output if the sequence ended at t: {reason}.",
            "strong",
        )
    reversing = _reversing_layers(network)
    if result.y_hat is not None and reversing and not network.output_shapes.final:
        yield Line(
            f"Rows of y_hat are in the reverse order in which {reversing[-1].name} returns them: "
            f"row t belongs to the states at {network.output_shapes.steps}-1-t."
        )
    for layer in result.layers:
        if layer.reverse:
            yield Line(
                f"{layer.name} processes the sequence in reverse: "
                f"h{layer.index} at t follows from h{layer.index} at t+1."
            )
    if any(layer.mask is not None for layer in result.layers):
        yield Line("A masked step does not change the states, and has no gates.")


def _own_predict(result: Trace, sample: int) -> Line:
    """Return how Keras's ``predict`` compares with its rows: with the last, with each, or not."""
    output, steps = result.output_keras, result.y_hat_keras
    assert output is not None
    output = output[sample]
    network = result.network
    if steps is None or not (network.is_causal or network.returns_sequences):
        difference = magnitude_text(float(np.max(np.abs(output - result.output[sample]))))
        numbers = ", ".join(
            decimal_text(value) for value in output.reshape(-1)[:_MOST_OUTPUTS].tolist()
        )
        more = ", …" if output.size > _MOST_OUTPUTS else ""
        return Line(
            f"The model's own predict returns {numbers}{more}; NumPy differs by {difference}."
        )
    rows_of_sample = steps[sample]
    which, shown = "Every row", rows_of_sample
    if not network.returns_sequences:
        which, shown = f"Row t = {len(rows_of_sample) - 1}", rows_of_sample[-1]
    if np.isnan(output).all() and np.isnan(shown).all():
        return Line(f"{which} is NaN, like the output of the model's own predict.", "bad")
    if np.array_equal(output, shown, equal_nan=True):
        return Line(f"{which} is what the model's own predict returns, bit for bit.", "good")
    difference = magnitude_text(float(np.max(np.abs(output - shown))))
    return Line(f"{which} and the model's own predict differ by {difference}; verify checks it.")

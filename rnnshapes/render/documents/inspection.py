"""An Inspection as a document, as JSON and as rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, NamedTuple

from rich.cells import cell_len

from rnnshapes.layouts.frameworks import layout_of
from rnnshapes.memory import format_bytes
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Direction, Layer
from rnnshapes.network.sizes import SIZE_MEANINGS
from rnnshapes.network.structure import FileCheck
from rnnshapes.network.summary import (
    EquationReport,
    Gate,
    Inspection,
    KerasCheck,
    LayerReport,
    OperationReport,
    WeightReport,
)
from rnnshapes.ops.dims import shape_text
from rnnshapes.render.document import (
    COLUMN_GAP,
    Column,
    Document,
    Drawing,
    Line,
    Row,
    Sheet,
    StyledLines,
    Table,
)
from rnnshapes.render.number_text import count_text, operation_text, shapes_text
from rnnshapes.render.phrases import (
    engine_record,
    fact_text,
    format_text,
    gates_text,
    listed_text,
    names_text,
    network_line,
    sizes_record,
    warning_line,
)
from rnnshapes.render.view import View

#: How many differences a line names.
_MOST_DIFFERENCES = 8
#: What stands in ``GRU(M1)`` behind the class.
_INNERMOST_BRACKETS = re.compile(r"\((?![A-Z][A-Za-z])[^()]*\)")
#: The name of a class.
_CLASS = re.compile(r"[A-Z]\w*")
#: Characters that are left of a long name, and of a long class, in a table, at least.
_SHORTEST_NAME, _SHORTEST_CLASS = 18, 12
#: Characters of the bytes of a network, with the space before them.
_WIDTH_OF_BYTES = 12
#: The longest formula of a layer that a narrow table shows.
_LONGEST_FORMULA = 24
#: What the names of PyTorch's arrays end in.
_LAYER_NUMBER = re.compile(r"_l\d+(_reverse)?$")
#: The index of a last step, ``_{T-1}``.
_LAST_STEP = re.compile(r"_\{([\w']+)-1\}")


def document(result: Inspection, view: View) -> Document:
    """Return the chosen parts, and the comparisons with the file and Keras."""
    return (*symbolic_part(result, view), *keras_part(result))


def symbolic_part(result: Inspection, view: View) -> Document:
    """Return what needs no Keras, so that it can be shown at once."""
    return (
        network_line(result.network),
        *_warnings(result),
        Line(""),
        Line(_total(result, view.width), "strong"),
        *(_summary(result, view) if view.has("summary") else ()),
        *(_flow_drawing(result) if view.has("flow") else ()),
        *((_weights_drawing(result),) if view.has("weights") else ()),
        *(_tensors(result) if view.has("steps") else ()),
        *(_gates_by_weight(result) if view.has("gates") else ()),
        *(_values(result) if view.has("values") else ()),
        Line(""),
        *_file(result),
    )


def keras_part(result: Inspection) -> Document:
    """Return the line about the comparison with Keras; nothing if there was none."""
    if result.not_built is not None:
        return (Line(f"Not compared with Keras: {result.not_built}", "dim", indent=2),)
    if result.keras is None:
        return ()
    engine = f"Keras {result.keras.engine.version}"
    if result.keras.agrees:
        shapes = sum(isinstance(fact.expected, tuple) for fact in result.keras.facts)
        counts = f"{shapes} weights and {count_text(result.params)} parameters"
        if not result.agrees:  # the file contradicts its config: nothing is fine
            return (Line(f"{engine} builds {counts} from the config", "dim"),)
        return (Line(f"ok  {engine} has the same {counts}", "good"),)
    differences = "; ".join(fact_text(fact) for fact in result.keras.differences)
    text = f"FAILED  {engine} differs: {differences or 'nothing was compared'}"
    return (Line(text, "bad", indent=2),)


def record(result: Inspection) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.inspect/1``."""
    frozen = None
    if result.params is not None and result.trainable is not None:
        frozen = result.params - result.trainable
    return {
        "schema": result.schema,
        "sizes": sizes_record(result.network),
        "layers": [_layer_record(layer) for layer in result.layers],
        "total": {
            "params": result.params,
            "formula": result.formula,
            "trainable": result.trainable,
            "non_trainable": frozen,
            "bytes": result.bytes,
            "macs": result.macs,
            "macs_formula": result.macs_formula,
            "macs_unit": "multiply-adds in matrix products, one predict on all N samples",
        },
        "values": None if result.values is None else [asdict(each) for each in result.values],
        "file": None if result.file is None else _file_record(result.file),
        "keras": None if result.keras is None else _keras_record(result.keras),
        "not_built": result.not_built,
    }


def rows(result: Inspection) -> Iterator[Sequence[object]]:
    """Yield the headings, then one row for each weight."""
    names = ("layer", "type", "weight", "symbol", "dims", "shape", "formula")
    yield (*names, "params", "dtype", "bytes")
    for layer in result.layers:
        for w in layer.weights:
            dims, shape = shape_text(w.dims), shape_text(w.shape)
            texts = (layer.name, layer.type, w.name, w.symbol, dims, shape, w.formula)
            yield (*texts, w.params, w.dtype, w.bytes)


# --- JSON ---------------------------------------------------------------------------------------


def _layer_record(layer: LayerReport) -> dict[str, Any]:
    return {
        "name": layer.name,
        "type": layer.type,
        "label": layer.label,
        "sources": layer.sources,
        "activation": layer.activations[0] if layer.activations else None,
        "activations": layer.activations,
        "input_shape": layer.input_shape,
        "input_dims": layer.input_dims,
        "output_shape": layer.output_shape,
        "output_dims": layer.output_dims,
        "params": layer.params,
        "formula": layer.formula,
        "bytes": layer.bytes,
        "trainable": layer.trainable,
        "equations": [str(equation) for equation in layer.equations],
        "notes": [note.text for note in layer.notes],
        "derived": layer.supported,
        "macs": layer.macs,
        "weights": [_weight_record(weight) for weight in layer.weights],
        "operations": [_operation_record(operation) for operation in layer.operations],
    }


def _weight_record(weight: WeightReport) -> dict[str, Any]:
    return {
        "name": weight.name,
        "symbol": weight.symbol,
        "dims": weight.dims,
        "shape": weight.shape,
        "formula": weight.formula,
        "params": weight.params,
        "dtype": weight.dtype,
        "bytes": weight.bytes,
        "gates": [_gate_record(gate, len(weight.shape)) for gate in weight.gates],
        "rows": weight.rows,
    }


def _gate_record(gate: Gate, axes: int) -> dict[str, Any]:
    """Return the part of an axis, as columns, too, where it is the last one."""
    part = {"name": gate.name, "axis": gate.axis, "range": gate.range}
    return {**part, "columns": gate.range} if gate.axis == axes - 1 else part


def _operation_record(operation: OperationReport) -> dict[str, Any]:
    return {
        "label": operation.label,
        "symbol": operation.symbol,
        "operands": operation.operands,
        "operand_shapes": operation.operand_shapes,
        "dims": operation.dims,
        "shape": operation.shape,
        "macs_formula": operation.macs_formula,
        "macs": operation.macs,
    }


def _keras_record(check: KerasCheck) -> dict[str, Any]:
    return {
        **engine_record(check.engine),
        "agrees": check.agrees,
        "differences": [fact_text(fact) for fact in check.differences],
    }


def _file_record(file: FileCheck) -> dict[str, Any]:
    return {
        "path": file.path,
        "kind": file.kind,
        "framework": file.framework,
        "keras_version": file.keras_version or None,
        "agrees": file.agrees if file.facts or file.contradictions else None,
        "built": not file.unbuilt,
        "differences": [
            *file.contradictions,
            *(fact_text(fact, "the file") for fact in file.differences),
        ],
        "notes": [*file.notes, *file.extras],
    }


# --- Drawings and tables ------------------------------------------------------------------------


def _flow_drawing(result: Inspection) -> Iterator[Drawing | Line]:
    """Yield the drawing of the network, or the reason why there is none."""
    if not result.network.inputs:
        yield Line("The graph of its layers is not known: there is no flow to draw.")
        return

    def draw(sheet: Sheet) -> StyledLines:
        from rnnshapes.render.flow_layout import layout
        from rnnshapes.render.text_art import flow

        return flow.draw(layout(result), sheet)

    yield Drawing("Data flow", draw)


def _weights_drawing(result: Inspection) -> Drawing:
    def draw(sheet: Sheet) -> StyledLines:
        from rnnshapes.render.text_art import weights

        return weights.draw(result, sheet)

    return Drawing("Weights as rectangles", draw)


def _summary(result: Inspection, view: View) -> Iterator[Table | Line]:
    """Yield every weight with its shape and count, the gates, and the equations."""
    if result.layers:
        yield _weights(result, view.width)
    for lines in (_graph(result), _gates(result), _equations(result, view.width), _notes(result)):
        for position, line in enumerate(lines):
            if position == 0:
                yield Line("")
            yield line


class _TableRow(NamedTuple):
    """A layer or a weight in the table of weights: its cells, and whether it is a layer."""

    name: str
    symbol: str
    shape: str
    formula: str
    params: str
    is_layer: bool = False

    @property
    def indent(self) -> str:
        """Return the spaces before a shape that stands below the name."""
        return "  " if self.is_layer else "    "

    def without_long_formula(self) -> _TableRow:
        """Return the row without a formula that says less than those of the weights."""
        return self._replace(formula="") if len(self.formula) > _LONGEST_FORMULA else self


def _weights(result: Inspection, width: int) -> Table:
    """Return the table of layers and weights, in the widest form that fits.

    Activations go first, then the classes around cells, long formulas, and the middles of long
    names and classes; at last, name and shape share a column.
    """
    forms = [
        [row for layer in result.layers for row in _layer_rows(layer, kind)]
        for kind in (_full_kind, _kind, _inner_kind)
    ]
    forms.append([row.without_long_formula() for row in forms[-1]])
    forms += [_shortened(rows, width, "name", _SHORTEST_NAME) for rows in forms]
    forms.append(_shortened(forms[-1], width, "symbol", _SHORTEST_CLASS))
    rows = next((rows for rows in forms if _table_width(rows) <= width), [])
    if not rows:
        return _narrow_table(forms[3], width)
    long_heading = _table_width(rows, "parameters") <= width
    columns = (
        Column("layer / weight"),
        Column(""),
        Column("shape"),
        Column("formula"),
        Column("parameters" if long_heading else "params", numeric=True),
    )
    table_rows = [Row(row[:5], "strong" if row.is_layer else "plain") for row in rows]
    return Table("", columns, tuple(table_rows))


def _shortened(rows: Sequence[_TableRow], width: int, field: str, least: int) -> list[_TableRow]:
    """Return the rows with the middles of long cells left out, as far as the table is too wide.

    Each cell of the column ``field`` keeps ``least`` characters or more.
    """
    longest = max(cell_len(getattr(row, field)) for row in rows)
    room = max(least, longest - max(0, _table_width(rows) - width))
    head, tail = (room - 1) - (room - 1) // 2, (room - 1) // 2

    def short(row: _TableRow) -> dict[str, Any]:
        text = getattr(row, field)
        return {field: f"{text[:head]}…{text[-tail:]}" if len(text) > room else text}

    return [row._replace(**short(row)) for row in rows]


def _narrow_table(rows: Sequence[_TableRow], width: int) -> Table:
    """Return a table with shapes and formulas below the names."""
    heading = "params"
    room = width - COLUMN_GAP - max(len(heading), *(len(row.params) for row in rows))
    table_rows = []
    for row in rows:
        lines = [f"{row.name}  {row.symbol}", f"{row.indent}{row.shape}   {row.formula}".rstrip()]
        if cell_len(lines[1]) > room:
            lines[1:] = [f"{row.indent}{row.shape}", f"{row.indent}{row.formula}"]
        cells = ("\n".join(lines), row.params)
        table_rows.append(Row(cells, "strong" if row.is_layer else "plain"))
    columns = (Column("layer / weight\n  shape, formula"), Column(heading, numeric=True))
    return Table("", columns, tuple(table_rows))


def _table_width(rows: Sequence[_TableRow], last_heading: str = "params") -> int:
    headings = ("layer / weight", "", "shape", "formula", last_heading)
    columns = zip(headings, *(row[:5] for row in rows), strict=True)
    return sum(max(map(cell_len, cells)) + COLUMN_GAP for cells in columns) - COLUMN_GAP


def _layer_rows(layer: LayerReport, kind: Callable[[LayerReport], str]) -> Iterator[_TableRow]:
    shape = shape_text(layer.output_shape) if layer.output_shape else "?"
    if layer.input_shape and layer.input_shape != layer.output_shape:
        shape = f"{shape_text(layer.input_shape)} → {shape}"
    formula = _formula(layer) if layer.supported else "not supported"
    name = layer.name if layer.supported else f"? {layer.name}"
    params = count_text(layer.params) if layer.weights else ""
    yield _TableRow(name, kind(layer), shape, formula if layer.weights else "", params, True)
    for weights in _grouped_by_direction(layer):
        weight, count = weights[0], len(weights)
        name = weight.name.removeprefix(f"{layer.name}/")
        if weight.symbol:  # it says which direction or cell is meant
            name = name.rpartition("/")[2]
        symbols = " ".join(weight.symbol for weight in weights)
        shape = shapes_text(weight.dims, weight.shape)
        params = count_text(weight.params)
        params = f"{count} × {params}" if count > 1 else params
        yield _TableRow(f"  {name}", symbols, shape, _formula(weight), params)


def _grouped_by_direction(layer: LayerReport) -> Iterable[list[WeightReport]]:
    """Return the weights, with those of both directions that differ only in that together."""
    groups: dict[tuple[str, ...], list[WeightReport]] = {}
    for weight in layer.weights:
        symbol = weight.symbol.rstrip("→←")
        name = (weight.name,) if symbol == weight.symbol else ()
        groups.setdefault((symbol, weight.formula, *weight.dims, *name), []).append(weight)
    return groups.values()


def _full_kind(layer: LayerReport) -> str:
    return ", ".join([_kind(layer), *layer.activations])


def _kind(layer: LayerReport) -> str:
    """Return ``Bidirectional(GRU)``."""
    return _INNERMOST_BRACKETS.sub("", layer.label)


def _inner_kind(layer: LayerReport) -> str:
    """Return ``GRU`` of ``Bidirectional(GRU)``."""
    classes = _CLASS.findall(_kind(layer))
    inner = [name for name in classes if name not in ("Bidirectional", "RNN")]
    return ", ".join(inner or classes)


def _formula(report: WeightReport | LayerReport) -> str:
    """Return the formula of a parameter count, or nothing where it is only the number."""
    return "" if report.formula == str(report.params) else report.formula


def _without_empty_columns(table: Table) -> Table:
    """Drop the columns that hold nothing, or only question marks."""
    shown = [
        i
        for i, cells in enumerate(zip(*(row.cells for row in table.rows), strict=True))
        if not {"", "?"}.issuperset(cells)
    ]
    return table._replace(
        columns=tuple(table.columns[i] for i in shown),
        rows=tuple(row._replace(cells=tuple(row.cells[i] for i in shown)) for row in table.rows),
    )


def _tensors(result: Inspection) -> Iterator[Table | Line]:
    """Yield the shape of every tensor at one time step, and the cost of a ``predict``."""
    if result.network.inputs:
        yield _flow(result)
        yield _costs(result)


def _flow(result: Inspection) -> Table:
    columns = (
        Column("tensor"),
        Column("dims", rank=1),
        Column("shape"),
        Column("multiply-\nadds", numeric=True, rank=2),
    )
    table_rows = []
    for node in result.network.inputs:
        name = "x" if len(result.network.inputs) == 1 else node.name
        dims = node.layer.shape  # type: ignore[attr-defined]
        table_rows.append(_tensor_row(name, dims, result.network.shape_numbers(dims)))
    for layer in result.layers:
        is_empty = layer.supported and not (layer.operations or layer.weights)
        if is_empty or not layer.tensor:
            continue  # nothing happens in it, or it is not called
        table_rows += [_operation_row(operation) for operation in layer.operations]
        name = layer.tensor.removesuffix("_t")
        dims, shape = layer.output_dims or ("?",), layer.output_shape or (None,)
        table_rows.append(_tensor_row(name, dims, shape))
    title = "Tensor shapes at one time step t"
    return _without_empty_columns(Table(title, columns, tuple(table_rows)))


def _tensor_row(name: str, dims: Sequence[object], shape: Sequence[object]) -> Row:
    return Row((name, shape_text(dims), shape_text(shape), ""), "strong", ends_group=True)


def _operation_row(operation: OperationReport) -> Row:
    dims = operation_text(operation.operands, operation.symbol, operation.dims)
    shapes = operation_text(operation.operand_shapes, operation.symbol, operation.shape)
    macs = count_text(operation.macs) if operation.symbol == "·" else ""
    return Row((operation.label, dims, shapes, macs))


# --- Lines --------------------------------------------------------------------------------------


def _total(result: Inspection, width: int) -> str:
    """Return ``57 parameters = M(D+M+1) + K(M+1) = 5·(3+5+1) + 2·(5+1) = 45 + 12      228 B``.

    What does not fit is left out: first the numbers in the formula, then the formula.
    """
    layers = [layer for layer in result.network.layers if layer.weights]
    counts = [count_text(layer.params) for layer in result.layers if layer.weights]
    formula, numbers = result.formula, ""
    if any(map(str.isalpha, formula)):
        numbers = " + ".join(layer.count.with_numbers(result.network.sizes) for layer in layers)
    size = "" if result.bytes is None else format_bytes(result.bytes)
    start = f"{count_text(result.params)} parameters"
    if result.params is not None and result.trainable not in (None, result.params):
        start += f" ({result.trainable:,} trainable)"
    sums = [" + ".join(counts)] if len(counts) > 1 else []
    candidates: list[list[str]] = [sums, []]
    if numbers:
        candidates[:0] = [[formula, numbers, *sums], [formula, *sums]]
    texts = (" = ".join([start, *terms]) for terms in candidates)
    text = next((text for text in texts if cell_len(f"{text}   {size}") <= width), start)
    room = max(len(size) + 1, min(_WIDTH_OF_BYTES, width - cell_len(text)))
    return f"{text}{size:>{room}}".rstrip()


def _graph(result: Inspection) -> Iterator[Line]:
    """Yield which layers feed which, where the network is no chain."""
    if result.network.is_chain:
        return
    for layer in result.layers:
        if layer.sources:
            yield Line(f"{', '.join(layer.sources)} → {layer.name}: {layer.label}", indent=2)


def _gates(result: Inspection) -> Iterator[Line]:
    """Yield which columns of the weights belong to which gate, once for equal layers."""
    names_by_text: dict[tuple[str, str], dict[str, None]] = {}
    weights: dict[str, dict[str, None]] = {}
    rows: dict[str, None] = {}
    for layer, meanings in zip(
        result.layers, map(_gate_meanings, result.network.layers), strict=True
    ):
        for weight in layer.weights:
            if not weight.gates:
                continue
            text = " · ".join(
                f"{meanings.get(gate.name, gate.name)} {gate.range[0]}:{gate.range[1]}"
                for gate in weight.gates
            )
            # A vector of PyTorch is one column beside the rows of its matrices.
            where = _gate_axis_text(weight if len(weight.shape) > 1 else layer.weights[0])
            name = _LAYER_NUMBER.sub("", weight.name.rpartition("/")[2])
            names_by_text.setdefault((where, text), {})[layer.name] = None
            weights.setdefault(where, {})[name] = None
            if weight.rows:
                halves = "row 0 is bx, added to x_t Wx; row 1 is bh, added to h_{t-1} Wh"
                rows[f"{name}: {halves}"] = None
    own_letter = _own_letter(result)
    for where, array_names in weights.items():
        yield Line(f"Gates, {where} of {listed_text(list(array_names))}{own_letter}:")
        texts = {text: names for (of, text), names in names_by_text.items() if of == where}
        for text, layers in texts.items():
            of_layers = "" if len(texts) == 1 else f"{', '.join(layers)}: "
            yield Line(f"  {of_layers}{text}", indent=4)
    yield from (Line(f"  {text}", indent=4) for text in rows)


def _own_letter(result: Inspection) -> str:
    """Return how another framework than Keras calls the candidate: `` (c~ is PyTorch's g)``."""
    if result.file is None or result.file.framework == "Keras":
        return ""
    directions = [d for layer in result.network.layers for d in layer.directions]
    cells = [cell for d in directions for cell in d.cell.cells_by_suffix.values()]
    texts = [layout_of(result.file.framework, cell.name).candidate_text for cell in cells]
    own = ", ".join(dict.fromkeys(filter(None, texts)))
    return f" ({own})" if own else ""


def _gate_axis_text(weight: WeightReport) -> str:
    """Return along which axis the gates of a weight lie."""
    axis = weight.gates[0].axis
    if axis == len(weight.shape) - 1:
        return "side by side in the last axis"
    return "in the rows" if len(weight.shape) == 2 else f"along axis {axis}"


def _gate_meanings(layer: Layer) -> dict[str, str]:
    """Return ``c~ candidate`` for the gate ``c``: its symbol in the equations, and its meaning."""
    meanings: dict[str, str] = {}
    for cell in layer.cells:
        for name, meaning in zip(cell.gate_names, cell.gate_meanings, strict=True):
            word, _, symbol = meaning.partition(" (")
            meanings[name] = f"{symbol.rstrip(')') or name} {word}"
    return meanings


def _gates_by_weight(result: Inspection) -> Iterator[Line]:
    """Yield ``kernel (D, 4M) = (3, 20): i [:, 0:5] · f [:, 5:10] · …`` for each gated weight."""
    for layer in result.layers:
        gated = [weight for weight in layer.weights if weight.gates]
        if gated:
            yield Line("")
            yield Line(f"{layer.name} by gate", "strong")
        for weight in gated:
            weight_rows = f"; rows: {', '.join(weight.rows)}" if weight.rows else ""
            name = weight.name.removeprefix(f"{layer.name}/")
            gates = gates_text(weight.gates, len(weight.shape))
            text = f"{name} {shapes_text(weight.dims, weight.shape)}: {gates}{weight_rows}"
            yield Line(text, indent=2)
        for note in layer.notes:
            if note.topic == "gates":
                yield Line(note.text, "dim")


def _values(result: Inspection) -> Iterator[Table | Line]:
    """Yield the range and norm of each weight, by gate."""
    if result.values is None:
        return
    columns = (
        Column("weight"),
        Column("gate"),
        Column("min", numeric=True),
        Column("max", numeric=True),
        Column("mean", numeric=True),
        Column("norm", numeric=True),
        Column("NaN, inf", numeric=True),
        Column("spectral\nradius", numeric=True, rank=1),
    )
    has_not_finite = any(each.not_finite for each in result.values)
    rows = []
    for each in result.values:
        numbers = (each.minimum, each.maximum, each.mean, each.norm)
        cells = (
            each.name,
            each.gate,
            *("" if number is None else f"{number:.4g}" for number in numbers),
            count_text(each.not_finite) if has_not_finite else "",
            "" if each.spectral_radius is None else f"{each.spectral_radius:.4g}",
        )
        rows.append(Row(cells, "bad" if each.not_finite else "plain"))
    yield _without_empty_columns(Table("Values", columns, tuple(rows)))
    for each in result.values:
        if each.gate == "f" and each.name.endswith("bias") and each.mean is not None:
            yield Line(f"Mean forget bias of {each.name}: {each.mean:.4g}")


# --- Equations ----------------------------------------------------------------------------------


def _equations(result: Inspection, width: int) -> Iterator[Line]:
    """Yield the equations of every step, and those that are evaluated once."""
    seen: dict[Patterns, str] = {}
    groups = groupby(
        ((layer, equation) for layer in result.layers for equation in layer.equations),
        lambda pair: "" if pair[1].once else pair[0].applications,
    )
    has_recurrence = bool(result.network.recurrent)
    is_first = has_recurrence
    recurrent = [layer.name for layer in result.network.layers if layer.directions]
    remaining = set(recurrent)
    for steps, pairs in groups:
        if steps:
            count = int(steps) if steps.isdecimal() else result.network.sizes.get(steps)
            span = "" if count is None else f" = 0 … {count - 1}" if count > 1 else " = 0"
            independent = f" (so the count does not depend on {steps})"
            remark = f", with the same weights{independent if steps.isidentifier() else ''}"
            yield Line(f"At every t{span}{remark if is_first else ''}:")
            is_first = False
        elif has_recurrence:
            is_start = len(remaining) == len(set(recurrent))
            when = "at the start" if is_start else "over all steps" if remaining else "at the end"
            yield Line(f"Once, {when}:")
        lines: list[tuple[str, str]] = []
        for _, members in groupby(pairs, lambda pair: pair[0].name):
            layer, equations = _unzip(members)
            remaining.discard(layer.name)
            lines += _layer_equations(layer, equations, seen)
        yield from _packed(lines, width, result.network)


def _unzip(
    members: Iterable[tuple[LayerReport, EquationReport]],
) -> tuple[LayerReport, list[EquationReport]]:
    pairs = list(members)
    return pairs[0][0], [equation for _, equation in pairs]


#: What the recurrences of a layer compute: the number of each, with the patterns of its equations.
Patterns = tuple[tuple[int | None, str], ...]


def _layer_equations(
    layer: LayerReport, equations: Sequence[EquationReport], seen: dict[Patterns, str]
) -> Iterator[tuple[str, str]]:
    """Yield the equations of a layer with their shapes.

    A recurrence that computes what another one computes is described by its own symbols.
    """
    patterns = tuple((each.direction, each.pattern) for each in equations if each.pattern)
    first = tuple(pattern for direction, pattern in patterns if direction == 0)
    each = (symbol for weight in layer.weights for symbol in weight.symbol.split())
    symbols = list(dict.fromkeys(symbol.rstrip("→←").removesuffix("ᵀ") for symbol in each))
    is_repeated = bool(patterns) and patterns in seen
    if is_repeated:
        yield f"{layer.name}: as {seen[patterns]}, with {' '.join(symbols)}", ""
    seen.setdefault(patterns, layer.name)
    for direction, members in groupby(equations, lambda equation: equation.direction):
        group = list(members)
        if direction is None:
            yield from ((str(equation), equation.shapes) for equation in group)
        elif is_repeated:
            continue
        elif direction and tuple(each.pattern for each in group) == first:
            yield f"in reverse, the same with {' '.join(f'{s}←' for s in symbols)}", ""
        else:
            yield from ((str(equation), equation.shapes) for equation in group)


def _packed(lines: Iterable[tuple[str, str]], width: int, network: Network) -> Iterator[Line]:
    """Yield equations with their shapes beside them; short ones share a line."""
    pairs = [(_with_last_steps(text, network), shapes) for text, shapes in lines]
    column = max((cell_len(text) for text, shapes in pairs if shapes), default=0) + 4
    current = ""
    for text, shapes in pairs:
        joined = f"{current}   {text}" if current else f"  {text}"
        if not shapes and cell_len(joined) <= width:
            current = joined
            continue
        if current:
            yield Line(current, indent=4)
        current = f"  {text}"
        if shapes:
            beside = f"{current.ljust(column)}{shapes}"
            yield Line(beside if cell_len(beside) <= width else current, indent=4)
            current = ""
    if current:
        yield Line(current, indent=4)


def _with_last_steps(text: str, network: Network) -> str:
    """Replace ``{T-1}`` by the number of the last step, where it is known."""

    def number(match: re.Match[str]) -> str:
        size = network.sizes.get(match[1])
        return match[0] if size is None else f"_{size - 1}"

    return _LAST_STEP.sub(number, text)


# --- Notes --------------------------------------------------------------------------------------


def _warnings(result: Inspection) -> Iterator[Line]:
    """Yield what is wrong or not supported, each with a remedy."""
    if result.file is not None:
        yield from _failures(result.file)
    names_by_text: dict[str, list[str]] = {}
    for layer in result.layers:
        for note in layer.notes:
            if layer.name in result.network.contradictions and result.file is not None:
                continue  # named by the failures of the file
            if note.topic == "warning":
                names_by_text.setdefault(note.text, []).append(layer.name)
    for text, names in names_by_text.items():
        yield warning_line(f"{names_text(names)}: {text}")
    if result.file is not None:
        for text in result.file.notes:
            yield warning_line(f"{result.file.path}: {text}")


def _failures(file: FileCheck) -> Iterator[Line]:
    """Yield what a file contradicts: itself, or its config."""
    differences = [fact_text(fact, "the file") for fact in file.differences]
    for text, reasons in (
        (f"{file.path} contradicts itself", file.contradictions),
        (f"the arrays in {file.path} do not match its config", differences),
    ):
        if reasons:
            shown = "; ".join(reasons[:_MOST_DIFFERENCES])
            if (more := len(reasons) - _MOST_DIFFERENCES) > 0:
                shown += f"; and {more} more, which --format json shows"
            yield Line(f"FAILED  {text}: {shown}", "bad", indent=2)


def _directions(result: Inspection, layer: LayerReport) -> tuple[Direction, ...]:
    return next(each.directions for each in result.network.layers if each.name == layer.name)


def _notes(result: Inspection) -> Iterator[Line]:
    """Yield the notes of all layers; those of several layers once, with all names."""
    if not result.network.recurrent:
        reason = result.network.no_recurrence_reason
        yield Line(f"{reason[:1].upper()}{reason[1:]}: there is no recurrence to show.")
    layers_by_note: dict[str, list[str]] = {}
    for layer in result.layers:
        for note in layer.notes:
            # Equations in reverse, and of the end, say what happens in both directions.
            is_said = note.topic == "time" and len(_directions(result, layer)) > 1
            if note.topic in ("use", "time") and not is_said:
                layers_by_note.setdefault(note.text, []).append(layer.name)
    for text, names in layers_by_note.items():
        yield Line(f"{', '.join(names)}: {text}", "dim", indent=2)


def _costs(result: Inspection) -> Line:
    """Return the multiply-adds of each layer, and of one ``predict``."""
    costs = []
    for layer in result.layers:
        if layer.macs_formula == "0":
            continue
        times = "once"
        if layer.applications != "1":
            steps = result.network.sizes.get(layer.applications)
            count = layer.applications if steps is None else count_text(steps)
            times = f"a step × {count} steps"
        costs.append(f"{layer.name} {count_text(layer.macs_step)} {times}")
    return Line(
        f"Multiply-adds in matrix products: {', '.join(costs) or 'none'}; "
        f"one predict {result.macs_formula} = {count_text(result.macs)}{_open_sizes(result)}"
    )


def _open_sizes(result: Inspection) -> str:
    """Return which options would turn the formulas into numbers."""
    names = [name for name, value in result.network.sizes.items() if value is None]
    if not names or result.macs is not None:
        return ""
    letters = list(dict.fromkeys(name.rstrip("0123456789") for name in names))  # --T sets T1 and T2
    options = " and ".join(f"--{letter}" for letter in letters)
    remedy = f": set {options} for numbers" if SIZE_MEANINGS.keys() >= set(letters) else ""
    return f" ({', '.join(names)} {'is' if len(names) == 1 else 'are'} unknown{remedy})"


def _file(result: Inspection) -> Iterator[Line]:
    """Yield what the file is, and whether it holds the arrays that its config requires."""
    if (file := result.file) is None:
        return
    if not file.agrees:
        what = "its config" if file.differences else "itself"
        yield Line(f"FAILED  {file.path} contradicts {what}, as line 2 says", "bad", indent=8)
        return
    kind = format_text(file.path, file.kind, file.framework)
    if file.framework == "Keras":
        kind = f"{file.kind}, written by Keras {file.keras_version}"
    if shapes := sum(isinstance(fact.expected, tuple) for fact in file.facts):
        extras = "".join(f"; {text}" for text in file.extras)
        text = f"ok  {file.path} ({kind}) holds the expected {shapes} arrays{extras}"
        yield Line(text, "good", indent=4)
    else:
        yield Line(f"{file.path}: {kind}")

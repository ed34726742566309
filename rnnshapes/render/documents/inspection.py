"""An Inspection as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.memory import format_bytes
from rnnshapes.network.sizes import SIZE_MEANINGS
from rnnshapes.network.structure import FileCheck
from rnnshapes.network.summary import (
    Inspection,
    KerasCheck,
    LayerReport,
    OperationReport,
    WeightReport,
)
from rnnshapes.ops.dims import shape_text
from rnnshapes.render.document import (
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
    engine_text,
    fact_text,
    gates_text,
    network_text,
    sizes_record,
)
from rnnshapes.render.view import View

#: How many differences a line names.
_MOST_DIFFERENCES = 8
#: Networks with at most so many layers are drawn without ``--view flow``.
_MOST_LAYERS_DRAWN = 8


def document(result: Inspection, view: View) -> Document:
    """Return the weights, the shapes that flow, and the comparisons with the file and Keras."""
    return (*symbolic_part(result, view), *keras_part(result))


def symbolic_part(result: Inspection, view: View) -> Document:
    """Return what needs no Keras, so that it can be shown at once."""
    heading = Line(network_text(result.network), "strong")
    total = _total(result)
    drawings = view.has("all")
    few_layers = len(result.network.layers) <= _MOST_LAYERS_DRAWN
    return (
        heading,
        *(_flow_drawing(result) if drawings and few_layers else ()),
        *_graph(result),
        _weights(result),
        total,
        *((_weights_drawing(result),) if drawings else ()),
        *_gates(result),
        *_equations(result),
        *_notes(result),
        *((_flow(result), _costs(result)) if result.network.inputs else ()),
        *_file(result),
    )


def keras_part(result: Inspection) -> Document:
    """Return the line about the comparison with Keras; nothing if there was none."""
    if result.not_built is not None:
        return (Line(f"Not compared with Keras: {result.not_built}", "dim"),)
    if result.keras is None:
        return ()
    engine = engine_text(result.keras.engine)
    if result.keras.agrees:
        shapes = sum(isinstance(fact.expected, tuple) for fact in result.keras.facts)
        text = f"{engine} agrees: {shapes} weights with the same names, shapes and counts"
        return (Line(f"{text}; count_params() = {count_text(result.params)}", "good"),)
    differences = "; ".join(fact_text(fact) for fact in result.keras.differences)
    return (Line(f"{engine} DIFFERS: {differences or 'nothing was compared'}", "bad"),)


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
        "equations": [f"{name} = {text}" for name, text in layer.equations],
        "notes": layer.notes,
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
        "gates": [{"name": gate.name, "columns": gate.columns} for gate in weight.gates],
        "rows": weight.rows,
    }


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
        "keras_version": file.keras_version,
        "agrees": file.agrees if file.facts else None,
        "built": not file.unbuilt,
        "differences": [fact_text(fact, "the file") for fact in file.differences],
        "notes": file.notes,
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


def _weights(result: Inspection) -> Table:
    columns = (
        Column("weight"),
        Column("symbol", rank=2),
        Column("dims", rank=1),
        Column("shape"),
        Column("formula", rank=3),
        Column("params", numeric=True),
        Column("bytes", numeric=True, rank=4),
    )
    table_rows = []
    for layer in result.layers:
        if not layer.weights:
            continue
        table_rows += [Row(_weight_cells(weight)) for weight in layer.weights]
        kinds = ", ".join([layer.type, *layer.activations])
        cells = (f"{layer.name} ({kinds})", "", "", "", _formula(layer))
        totals = (count_text(layer.params), count_text(layer.bytes))
        table_rows.append(Row((*cells, *totals), "strong", ends_group=True))
    totals = (count_text(result.params), count_text(result.bytes))
    table_rows.append(Row(("total", "", "", "", "", *totals), "strong"))
    return _without_empty_columns(Table("Weights", columns, tuple(table_rows)))


def _weight_cells(weight: WeightReport) -> tuple[str, ...]:
    dims, shape = shape_text(weight.dims), shape_text(weight.shape)
    return (
        weight.name,
        weight.symbol,
        "" if dims == shape else dims,
        shape,
        _formula(weight),
        count_text(weight.params),
        count_text(weight.bytes),
    )


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
        if not (layer.operations or layer.weights or not layer.supported):
            continue  # nothing happens in it
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


def _total(result: Inspection) -> Line:
    """Return ``57 parameters = M(D+M+1) + K(M+1) = 45 + 12; 228 B``."""
    counts = [count_text(layer.params) for layer in result.layers if layer.weights]
    has_sizes = any(map(str.isalpha, result.formula))
    numbers = f" = {' + '.join(counts)}" if len(counts) > 1 and has_sizes else ""
    size = "? B"
    if result.bytes is not None:
        size = f"{count_text(result.bytes)} B"
        size += f" ({format_bytes(result.bytes)})" if result.bytes >= 1024 else ""
    return Line(f"{count_text(result.params)} parameters = {result.formula}{numbers}; {size}")


def _graph(result: Inspection) -> Iterator[Line]:
    """Yield which layers feed which, where the network is no chain."""
    if result.network.is_chain:
        return
    for layer in result.layers:
        if layer.sources:
            yield Line(f"{', '.join(layer.sources)} → {layer.name}: {layer.label}")


def _gates(result: Inspection) -> Iterator[Line]:
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
            yield Line(f"{name} {shapes_text(weight.dims, weight.shape)}: {gates}{weight_rows}")


def _equations(result: Inspection) -> Iterator[Line]:
    """Yield the equations, below the name of the layer where several have a recurrence."""
    if not any(layer.equations for layer in result.layers):
        return
    yield Line("")
    yield Line("Equations", "strong")
    for layer in result.layers:
        if layer.equations and len(result.network.recurrent) > 1:
            yield Line(f"{layer.name}:")
        for name, text in layer.equations:
            yield Line(f"{name} = {text}")
    yield Line("")


def _notes(result: Inspection) -> Iterator[Line]:
    """Yield the notes of all layers; those of several layers once, with all names."""
    if not result.network.recurrent:
        reason = result.network.no_recurrence_reason
        yield Line(f"{reason[:1].upper()}{reason[1:]}: there is no recurrence to show.")
    unsupported = {layer.name for layer in result.layers if not layer.supported}
    layers_by_note: dict[str, list[str]] = {}
    for layer in result.layers:
        for note in layer.notes:
            layers_by_note.setdefault(note, []).append(layer.name)
    for note, names in layers_by_note.items():
        yield Line(f"{', '.join(names)}: {note}", "bad" if unsupported & set(names) else "dim")


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
    yield Line(f"{file.path}: {file.kind}, written by Keras {file.keras_version}")
    if file.differences:
        shown = file.differences[:_MOST_DIFFERENCES]
        differences = "; ".join(fact_text(fact, "the file") for fact in shown)
        if more := len(file.differences) - len(shown):
            differences += f"; and {more} more, which --format json shows"
        text = f"FAIL: the arrays in the file do not match its config: {differences}"
        yield Line(text, "bad")
    elif shapes := sum(isinstance(fact.expected, tuple) for fact in file.facts):
        yield Line(f"The file holds the expected {shapes} arrays, in the expected shapes", "good")
    for note in file.notes:
        yield Line(f"{file.path}: {note}", "dim")

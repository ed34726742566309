"""An Inspection as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rnnshapes.memory import amount
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
    Meaning,
    Row,
    Sheet,
    StyledLines,
    Table,
)
from rnnshapes.render.number_text import shapes_text, step_text, whole
from rnnshapes.render.phrases import (
    difference_text,
    engine_text,
    gates_text,
    network_text,
    sizes_record,
)
from rnnshapes.render.view import View

#: How many differences a line names.
_MOST = 8
#: Networks of so many layers are drawn without being asked for.
_FEW = 8


def document(result: Inspection, view: View) -> Document:
    """The weights, what flows, and what Keras says."""
    return (*derived(result, view), *keras_lines(result))


def derived(result: Inspection, view: View) -> Document:
    """All that needs no Keras: it can be shown at once."""
    total = Line(
        f"{whole(result.params)} parameters = {result.formula}"
        f"{_counts(result)}; {_bytes(result.bytes)}",
    )
    heading = Line(network_text(result.network), "strong")
    if view.parts == "flow":
        return (heading, *_flow_drawing(result), _kernels(result), total, *_file(result))
    pictures = view.parts == "all"
    few = len(result.network.layers) <= _FEW
    return (
        heading,
        *(_flow_drawing(result) if pictures and few else ()),
        *_graph(result),
        _weights(result),
        total,
        *((_kernels(result),) if pictures else ()),
        *_gates(result),
        *_equations(result),
        *_notes(result),
        *((_flow(result), _costs(result)) if result.network.inputs else ()),
        *_file(result),
    )


def _flow_drawing(result: Inspection) -> Iterator[Drawing | Line]:
    """The network as it flows, or why that is not known."""
    if not result.network.inputs:
        yield Line("The graph of its layers is not known: there is no flow to draw.")
        return

    def draw(sheet: Sheet) -> StyledLines:
        from rnnshapes.render.flow_layout import layout
        from rnnshapes.render.text_art import flow

        return flow.draw(layout(result).boxes, sheet)

    yield Drawing("The network as it flows", draw)


def _kernels(result: Inspection) -> Drawing:
    def draw(sheet: Sheet) -> StyledLines:
        from rnnshapes.render.text_art import weights

        return weights.draw(result, sheet)

    return Drawing("Weights as rectangles", draw)


def _file(result: Inspection) -> Iterator[Line]:
    """What the file is, and whether it has what its config asks for."""
    if (file := result.file) is None:
        return
    yield Line(f"{file.path}: {file.kind}, written by Keras {file.keras_version}")
    if file.differences:
        wrong = "; ".join(difference_text(fact, "the file") for fact in file.differences[:_MOST])
        more = len(file.differences) - _MOST
        wrong += f"; and {more} more, which --format json shows" if more > 0 else ""
        yield Line(f"The file is BROKEN, its arrays are not those of its config: {wrong}", "bad")
    elif shapes := sum(isinstance(fact.expected, tuple) for fact in file.facts):
        yield Line(f"The file agrees: {shapes} arrays of the shapes that are derived", "good")
    for note in file.notes:
        yield Line(f"{file.path}: {note}", "dim")


def keras_lines(result: Inspection) -> Document:
    """One line: whether Keras agrees, or why it was not built; nothing if it was not asked."""
    if result.not_built is not None:
        return (Line(f"Not compared with Keras: {result.not_built}", "dim"),)
    if result.keras is None:
        return ()
    who = engine_text(result.keras.engine)
    if result.keras.agrees:
        shapes = sum(isinstance(fact.expected, tuple) for fact in result.keras.facts)
        text = f"{who} agrees: {shapes} weights with the same names, shapes and counts"
        return (Line(f"{text}; count_params() = {whole(result.params)}", "good"),)
    differences = "; ".join(difference_text(fact) for fact in result.keras.differences)
    return (Line(f"{who} DIFFERS: {differences or 'nothing was compared'}", "bad"),)


def record(result: Inspection) -> dict[str, Any]:
    """The JSON form ``rnnshapes.inspect/1``."""
    return {
        "schema": result.schema,
        "sizes": sizes_record(result.network),
        "layers": [_layer_record(layer) for layer in result.layers],
        "total": {
            "params": result.params,
            "formula": result.formula,
            "trainable": result.trainable,
            "non_trainable": _without(result.params, result.trainable),
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
    """A line of headings, and one row for each weight."""
    names = ("layer", "type", "weight", "symbol", "dims", "shape", "formula")
    yield (*names, "params", "dtype", "bytes")
    for layer in result.layers:
        for w in layer.weights:
            dims, shape = shape_text(w.dims), shape_text(w.shape)
            name = (layer.name, layer.type, w.name, w.symbol, dims, shape)
            yield (*name, w.formula, w.params, w.dtype, w.bytes)


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
        "weights": [asdict(weight) for weight in layer.weights],
        "operations": [asdict(operation) for operation in layer.operations],
    }


def _keras_record(check: KerasCheck) -> dict[str, Any]:
    return {
        **asdict(check.engine),
        "agrees": check.agrees,
        "differences": [difference_text(fact) for fact in check.differences],
    }


def _file_record(file: FileCheck) -> dict[str, Any]:
    return {
        "path": file.path,
        "kind": file.kind,
        "keras_version": file.keras_version,
        "agrees": file.agrees if file.facts else None,
        "built": not file.unbuilt,
        "differences": [difference_text(fact, "the file") for fact in file.differences],
        "notes": file.notes,
    }


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
        totals = (whole(layer.params), whole(layer.bytes))
        table_rows.append(Row((*cells, *totals), "strong", ends_group=True))
    totals = (whole(result.params), whole(result.bytes))
    table_rows.append(Row(("total", "", "", "", "", *totals), "strong"))
    return _telling(Table("Weights", columns, tuple(table_rows)))


def _weight_cells(weight: WeightReport) -> tuple[str, ...]:
    dims, shape = shape_text(weight.dims), shape_text(weight.shape)
    return (
        weight.name,
        weight.symbol,
        "" if dims == shape else dims,
        shape,
        _formula(weight),
        whole(weight.params),
        whole(weight.bytes),
    )


def _formula(counted: WeightReport | LayerReport) -> str:
    """Nothing where it is but the number."""
    return "" if counted.formula == str(counted.params) else counted.formula


def _telling(table: Table) -> Table:
    """The table without the columns that hold nothing, or nothing but question marks."""
    told = [
        place
        for place, cells in enumerate(zip(*(row.cells for row in table.rows), strict=True))
        if not {"", "?"}.issuperset(cells)
    ]
    return table._replace(
        columns=tuple(table.columns[place] for place in told),
        rows=tuple(
            row._replace(cells=tuple(row.cells[place] for place in told)) for row in table.rows
        ),
    )


def _graph(result: Inspection) -> Iterator[Line]:
    """Who feeds whom, where that is no chain."""
    if result.network.is_chain:
        return
    for layer in result.layers:
        if layer.sources:
            yield Line(f"{', '.join(layer.sources)} → {layer.name}: {layer.label}")


def _equations(result: Inspection) -> Iterator[Line]:
    """Under the name of the layer, where several have a recurrence."""
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
    """What options and places of layers mean, each once."""
    if not result.network.recurrent:
        why = result.network.no_recurrence_reason
        yield Line(f"{why[:1].upper()}{why[1:]}: there is no recurrence to show.")
    said: dict[str, list[str]] = {}
    for layer in result.layers:
        for note in layer.notes:
            said.setdefault(note, []).append(layer.name)
    for note, names in said.items():
        meaning: Meaning = "bad" if note.startswith("not derived") else "dim"
        yield Line(f"{', '.join(names)}: {note}", meaning)


def _flow(result: Inspection) -> Table:
    columns = (
        Column("tensor"),
        Column("dims", rank=1),
        Column("shape"),
        Column("multiply-\nadds", numeric=True, rank=2),
    )
    made = []
    for node in result.network.inputs:
        name = "x" if len(result.network.inputs) == 1 else node.name
        dims = node.layer.shape  # type: ignore[attr-defined]
        made.append(_tensor_row(name, dims, result.network.shape_numbers(dims)))
    for layer in result.layers:
        if not (layer.operations or layer.weights or not layer.supported):
            continue  # nothing happens in it
        made += [_operation_row(operation) for operation in layer.operations]
        name = layer.tensor.removesuffix("_t")
        dims, shape = layer.output_dims or ("?",), layer.output_shape or (None,)
        made.append(_tensor_row(name, dims, shape))
    return _telling(Table("What flows, at one time step t", columns, tuple(made)))


def _tensor_row(name: str, dims: Sequence[object], shape: Sequence[object]) -> Row:
    return Row((name, shape_text(dims), shape_text(shape), ""), "strong", ends_group=True)


def _operation_row(made: OperationReport) -> Row:
    dims = step_text(made.operands, made.symbol, made.dims)
    shapes = step_text(made.operand_shapes, made.symbol, made.shape)
    return Row((made.label, dims, shapes, whole(made.macs) if made.symbol == "·" else ""))


def _gates(result: Inspection) -> Iterator[Line]:
    """``kernel (D, 4M) = (3, 20): i [:, 0:5] · f [:, 5:10] · c [:, 10:15] · o [:, 15:20]``."""
    for layer in result.layers:
        split = [weight for weight in layer.weights if weight.gates]
        if split:
            yield Line("")
            yield Line(f"{layer.name} by gate", "strong")
        for w in split:
            rows = f"; rows: {', '.join(w.rows)}" if w.rows else ""
            shapes = shapes_text(w.dims, w.shape)
            gates = gates_text(w.gates, len(w.shape))
            yield Line(f"{w.name.removeprefix(layer.name + '/')} {shapes}: {gates}{rows}")


def _costs(result: Inspection) -> Line:
    parts = []
    for layer in result.layers:
        if layer.macs_formula == "0":
            continue
        times = "once" if layer.applications == "1" else f"a step × {_steps(result, layer)} steps"
        parts.append(f"{layer.name} {whole(layer.macs_step)} {times}")
    return Line(
        f"Multiply-adds in matrix products: {', '.join(parts) or 'none'}; "
        f"one predict {result.macs_formula} = {whole(result.macs)}{_open(result)}"
    )


def _open(result: Inspection) -> str:
    """Which sizes would make numbers of the formulas."""
    names = [name for name, value in result.network.sizes.items() if value is None]
    if not names or result.macs is not None:
        return ""
    return f" (open: {', '.join(names)}; numbers come with {' '.join(f'--{n}' for n in names)})"


def _steps(result: Inspection, layer: LayerReport) -> str:
    """How many steps a layer is applied to, as a number where it is known."""
    value = result.network.sizes.get(layer.applications)
    return layer.applications if value is None else whole(value)


def _counts(result: Inspection) -> str:
    counts = [whole(layer.params) for layer in result.layers if layer.weights]
    formula = any(map(str.isalpha, result.formula))
    return f" = {' + '.join(counts)}" if len(counts) > 1 and formula else ""


def _without(count: int | None, part: int | None) -> int | None:
    return None if count is None or part is None else count - part


def _bytes(count: int | None) -> str:
    if count is None:
        return "? B"
    return f"{whole(count)} B" + (f" ({amount(count)})" if count >= 1024 else "")

"""An Inspection as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rnnshapes.algebra.dims import shape_text
from rnnshapes.inspection import Inspection, KerasCheck, LayerReport, Step, WeightReport
from rnnshapes.memory import amount
from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.figures import step_text, whole
from rnnshapes.render.shared import difference_text, engine_text, network_text, sizes_record
from rnnshapes.render.view import View


def document(result: Inspection, view: View) -> Document:
    """The weights, what flows, and what Keras says."""
    return (*derived(result), *keras_lines(result))


def derived(result: Inspection) -> Document:
    """All that needs no Keras: it can be shown at once."""
    return (
        Line(network_text(result.network), "strong"),
        _weights(result),
        Line(
            f"{whole(result.params)} parameters = {result.formula}"
            f"{_counts(result)}; {_bytes(result.bytes)}",
        ),
        *(Line(f"{layer.tensor} = {layer.equation}") for layer in result.layers),
        _flow(result),
        _costs(result),
    )


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
            "non_trainable": result.params - result.trainable,
            "bytes": result.bytes,
            "macs": result.macs,
            "macs_formula": result.macs_formula,
            "macs_unit": "multiply-adds in matrix products, one predict on all N samples",
        },
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
        "activation": layer.activation,
        "input_shape": layer.input_shape,
        "input_dims": layer.input_dims,
        "output_shape": layer.output_shape,
        "output_dims": layer.output_dims,
        "params": layer.params,
        "formula": layer.formula,
        "bytes": layer.bytes,
        "trainable": layer.trainable,
        "equation": f"{layer.tensor} = {layer.equation}",
        "macs": layer.macs,
        "weights": [asdict(weight) | {"gates": []} for weight in layer.weights],
        "steps": [asdict(step) for step in layer.steps],
    }


def _keras_record(check: KerasCheck) -> dict[str, Any]:
    return {
        **asdict(check.engine),
        "agrees": check.agrees,
        "differences": [difference_text(fact) for fact in check.differences],
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
        table_rows += [Row(_weight_cells(weight)) for weight in layer.weights]
        cells = (f"{layer.name} ({layer.type})", "", "", "", layer.formula)
        totals = (whole(layer.params), whole(layer.bytes))
        table_rows.append(Row((*cells, *totals), "strong", ends_group=True))
    totals = (whole(result.params), whole(result.bytes))
    table_rows.append(Row(("total", "", "", "", "", *totals), "strong"))
    return Table("Weights", columns, tuple(table_rows))


def _weight_cells(weight: WeightReport) -> tuple[str, ...]:
    return (
        weight.name,
        weight.symbol,
        shape_text(weight.dims),
        shape_text(weight.shape),
        weight.formula,
        whole(weight.params),
        whole(weight.bytes),
    )


def _flow(result: Inspection) -> Table:
    columns = (
        Column("tensor"),
        Column("dims"),
        Column("shape", rank=1),
        Column("multiply-\nadds", numeric=True, rank=2),
    )
    first = result.layers[0]
    made = [_tensor_row("x", first.input_dims, first.input_shape)]
    for layer in result.layers:
        made += [_step_row(layer, step) for step in layer.steps]
        made.append(_tensor_row(layer.tensor[: -len("_t")], layer.output_dims, layer.output_shape))
    return Table("What flows, at one time step t", columns, tuple(made))


def _tensor_row(name: str, dims: Sequence[object], shape: Sequence[object]) -> Row:
    return Row((name, shape_text(dims), shape_text(shape), ""), "strong", ends_group=True)


def _step_row(layer: LayerReport, step: Step) -> Row:
    label = f"{layer.tensor} = {step.label}" if step is layer.steps[-1] else step.label
    dims = step_text(step.operands, step.symbol, step.dims)
    shapes = step_text(step.operand_shapes, step.symbol, step.shape)
    return Row((label, dims, shapes, whole(step.macs) if step.symbol == "·" else ""))


def _costs(result: Inspection) -> Line:
    steps = "T" if result.network.sizes["T"] is None else whole(result.network.sizes["T"])
    parts = []
    for layer in result.layers:
        times = "once" if layer.applications == "1" else f"a step × {steps} steps"
        parts.append(f"{layer.name} {whole(layer.macs_step)} {times}")
    return Line(
        f"Multiply-adds in matrix products: {', '.join(parts)}; "
        f"one predict {result.macs_formula} = {whole(result.macs)}"
    )


def _counts(result: Inspection) -> str:
    if len(result.layers) == 1:
        return ""
    return " = " + " + ".join(whole(layer.params) for layer in result.layers)


def _bytes(count: int) -> str:
    return f"{whole(count)} B" + (f" ({amount(count)})" if count >= 1024 else "")

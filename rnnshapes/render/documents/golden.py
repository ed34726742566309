"""A Golden as a document, as JSON, as rows, as arrays and as a C header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.forward.golden import SCALE, Golden, GoldenArray
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.formats.c_header import CHeader, about_layers
from rnnshapes.render.phrases import gates_text, network_line, network_text, sizes_record
from rnnshapes.render.view import View


def note_on_arrays(result: Golden) -> str:
    """Return what readers of the arrays have to know."""
    if result.scheme is not None:
        return _note_on_integers(result)
    layout = f"Weights are in {result.layout}'s layout"
    if result.layout != "Keras":
        layout = (
            f"Weights of recurrent layers are in {result.layout}'s layout; all others, and the "
            "order of gates in computed values, are Keras's"
        )
    if all(entry.is_weight for entry in result.entries):
        return f"{layout}."
    return (
        f"Axis 1 is the time step of the input, t from 0. {layout}; computed values are "
        f"{result.dtype or 'float64'}. x, h and Wx of a layer are its own. A masked step repeats "
        "the states of the step before, and its other values are NaN."
    )


def _note_on_integers(result: Golden) -> str:
    """Return what readers of arrays in fixed point have to know."""
    units = "each in units of the number in the array of the same name and scale"
    if not any(entry.name.endswith(SCALE) for entry in result.entries):
        units = "all in units of the same number"
    return (
        f"Integers in fixed point, {result.scheme}, {units}. Axis 1 is the time step of the input, "
        "t from 0. Weights are in Keras's layout. A masked step repeats the states of the step "
        "before, and its other values are 0."
    )


def document(result: Golden, view: View) -> Document:
    """Return a table of the arrays: name, shapes, dtype and equation of each."""
    rows = [
        Row(
            (
                entry.name,
                shape_text(entry.dims),
                shape_text(entry.values.shape),
                str(entry.values.dtype),
                entry.description,
            )
        )
        for entry in result.entries
    ]
    columns = (
        Column("array"),
        Column("dims", rank=1),
        Column("shape"),
        Column("dtype", rank=2),
        Column("what it is", rank=3),
    )
    return (
        network_line(result.network),
        Line(f"x: {result.source}"),
        Table("Arrays", columns, tuple(rows), elsewhere="result.to_dict()"),
        Line(note_on_arrays(result)),
    )


def record(result: Golden) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.golden/1``; arrays stay arrays."""
    return {
        "schema": result.schema,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "network": network_text(result.network),
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "label": layer.label,
                "sources": layer.sources,
                "activations": layer.activations,
                "equations": [(each.name, each.text) for each in layer.equations],
                "notes": [note.text for note in layer.notes],
                "derived": layer.supported,
            }
            for layer in result.layers
        ],
        "layout": result.layout,
        "scheme": result.scheme,
        "reading": note_on_arrays(result),
        "arrays": {
            entry.name: {
                "dtype": str(entry.values.dtype),
                "shape": entry.values.shape,
                "dims": [str(dim) for dim in entry.dims],
                "meaning": _description(entry),
                "data": entry.values,
            }
            for entry in result.entries
        },
    }


def rows(result: Golden) -> Iterator[Sequence[object]]:
    """Yield the headings, then one row for each array, without its numbers."""
    yield ("array", "dims", "shape", "dtype", "meaning")
    for entry in result.entries:
        dims, shape = shape_text(entry.dims), shape_text(entry.values.shape)
        yield (entry.name, dims, shape, str(entry.values.dtype), _description(entry))


def arrays(result: Golden) -> dict[str, Array]:
    """Return what a .npz file holds: each array by its name."""
    return result.arrays


def header(result: Golden, name: str) -> CHeader:
    """Return what a C header holds: each array with its equation; ``name`` begins all names."""
    source = (f"x: {result.source}",) if result.source else ()
    first_line = f"{result.schema}: {network_text(result.network)}"
    return CHeader(
        name=name,
        about=(first_line, *source, *about_layers(result.layers), note_on_arrays(result)),
        network=result.network,
        arrays=tuple((entry, _description(entry)) for entry in result.entries),
    )


def _description(entry: GoldenArray) -> str:
    """Describe an array: ``Wx, (D, 4M); i [:, 0:5], f [:, 5:10], c [:, 10:15], o [:, 15:20]``."""
    parts = [f"{entry.description}, {shape_text(entry.dims)}" if entry.dims else entry.description]
    if entry.gates:
        parts.append(gates_text(entry.gates, len(entry.dims), ", "))
    if entry.rows:
        parts.append(f"rows: {', '.join(entry.rows)}")
    return "; ".join(parts)

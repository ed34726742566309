"""A Golden as a document, as JSON, as rows, as arrays and as a C header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.forward.golden import Entry, Golden
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.formats.c_header import Header, about_layers
from rnnshapes.render.phrases import gates_text, network_text, sizes_record
from rnnshapes.render.view import View

#: What has to be known to read the arrays.
READING = (
    "Axis 1 is time, t from 0, by the time of x. Weights are as Keras has them; what is computed "
    "is float64. x, h and Wx of a layer are its own. A masked step has the states of the one "
    "before, and NaN for all else."
)


def document(result: Golden, view: View) -> Document:
    """Each array with its shape and what it is."""
    rows = [
        Row(
            (
                entry.name,
                shape_text(entry.dims),
                shape_text(entry.values.shape),
                str(entry.values.dtype),
                entry.text,
            )
        )
        for entry in result.entries
    ]
    columns = [Column("array"), Column("dims", rank=1), Column("shape")]
    columns += [Column("dtype", rank=2), Column("what it is", rank=3)]
    table = Table("Arrays", tuple(columns), tuple(rows), elsewhere="result.to_dict()")
    first = Line(network_text(result.network), "strong")
    return (first, Line(f"x: {result.source}"), table, Line(READING))


def record(result: Golden) -> dict[str, Any]:
    """The JSON form ``rnnshapes.golden/1``; arrays stay arrays."""
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
                "equations": layer.equations,
                "notes": layer.notes,
                "derived": layer.supported,
            }
            for layer in result.layers
        ],
        "reading": READING,
        "arrays": {
            entry.name: {
                "dtype": str(entry.values.dtype),
                "shape": entry.values.shape,
                "dims": [str(dim) for dim in entry.dims],
                "meaning": meaning(entry),
                "data": entry.values,
            }
            for entry in result.entries
        },
    }


def rows(result: Golden) -> Iterator[Sequence[object]]:
    """A line of headings, and one row for each array; what is in the arrays is left out."""
    yield ("array", "dims", "shape", "dtype", "meaning")
    for entry in result.entries:
        dims, shape = shape_text(entry.dims), shape_text(entry.values.shape)
        yield (entry.name, dims, shape, str(entry.values.dtype), meaning(entry))


def arrays(result: Golden) -> dict[str, Array]:
    """What a .npz holds: each array by its name."""
    return result.arrays


def header(result: Golden) -> Header:
    """What a C header holds: each array with its equation."""
    about = (f"{result.schema}: {network_text(result.network)}", f"x: {result.source}")
    return Header(
        "GOLDEN",
        "rnn_",
        (*about, *about_layers(result.layers), READING),
        result.network,
        tuple((entry, meaning(entry)) for entry in result.entries),
    )


def meaning(entry: Entry) -> str:
    """``Wx, (D, 4M); i [:, 0:5], f [:, 5:10], c [:, 10:15], o [:, 15:20]``."""
    rows = f"; rows: {', '.join(entry.rows)}" if entry.rows else ""
    gates = gates_text(entry.gates, len(entry.dims), ", ")
    said = f"{entry.text}, {shape_text(entry.dims)}" if entry.dims else entry.text
    return f"{said}; {gates}{rows}" if gates else f"{said}{rows}"

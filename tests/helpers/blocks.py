"""Parts of documents."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len

from rnnshapes import render
from rnnshapes.render.document import COLUMN_GAP, Line, Table
from rnnshapes.render.view import View


def tables_of(result: Any, **view: Any) -> list[Table]:
    """Return the tables of a result."""
    return [b for b in render.to_document(result, View(**view)) if isinstance(b, Table)]


def lines_of(result: Any, **view: Any) -> list[str]:
    """Return the lines of text of a result."""
    return [b.text for b in render.to_document(result, View(**view)) if isinstance(b, Line)]


def width_of(table: Table) -> int:
    """Return how many characters wide a table is."""
    columns = zip(
        [column.heading for column in table.columns],
        *(row.cells for row in table.rows),
        strict=True,
    )
    widths = [
        max(cell_len(line) for cell in cells for line in cell.split("\n")) for cells in columns
    ]
    return sum(widths) + COLUMN_GAP * (len(widths) - 1)

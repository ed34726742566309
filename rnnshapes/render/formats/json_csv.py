"""Records as JSON and rows as CSV, piece by piece, so that long ones do not fill the memory."""

from __future__ import annotations

import csv
import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Any

_NUMBERS_AT_ONCE = 2**14
#: Characters at the start of a cell that are looked at.
_MOST_SPACES = 1000


def json_chunks(record: Any) -> Iterator[str]:
    """Yield JSON text. Arrays become nested lists; NaN and infinite numbers become null."""
    yield from _json(record, "")
    yield "\n"


def csv_chunks(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield CSV text, numbers in full precision."""
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow([_without_formula(cell) for cell in row])
        if buffer.tell() > 2**16:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _without_formula(cell: object) -> object:
    """Quote a name that a spreadsheet would execute as a formula.

    Some spreadsheets ignore spaces before the sign, and take a fullwidth sign for the plain one.
    """
    if not isinstance(cell, str):
        return cell
    start = unicodedata.normalize("NFKC", cell[:_MOST_SPACES]).lstrip()[:1]
    return f"'{cell}" if start and start in "=+-@" else cell


def _json(value: Any, indent: str) -> Iterator[str]:
    if hasattr(value, "tolist"):
        yield from _array(value, indent)
    elif isinstance(value, dict):
        pairs = ((json.dumps(key) + ": ", item) for key, item in value.items())
        yield from _items("{}", pairs, indent)
    elif isinstance(value, list | tuple) and not _fits_one_line(value):
        yield from _items("[]", (("", item) for item in value), indent)
    else:
        yield json.dumps(_finite(value))


def _fits_one_line(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_fits_one_line, value))
    return not isinstance(value, dict) and not hasattr(value, "tolist")


def _items(brackets: str, items: Iterable[tuple[str, Any]], indent: str) -> Iterator[str]:
    yield brackets[0]
    deeper = indent + "  "
    separator = ""
    for key, item in items:
        yield f"{separator}\n{deeper}{key}"
        yield from _json(item, deeper)
        separator = ","
    yield f"\n{indent}{brackets[1]}"


def _array(array: Any, indent: str) -> Iterator[str]:
    """Yield an array as nested lists: the last axis on one line, many lines at once."""
    if array.ndim < 2:
        yield json.dumps(_finite(array.tolist()))
    elif array.ndim > 2:
        yield from _items("[]", (("", item) for item in array), indent)
    else:
        deeper = indent + "  "
        rows_at_once = max(1, _NUMBERS_AT_ONCE // max(1, array.shape[1]))
        lines = (
            json.dumps(_finite(row))
            for start in range(0, len(array), rows_at_once)
            for row in array[start : start + rows_at_once].tolist()
        )
        yield "["
        for position, line in enumerate(lines):
            yield f"{',' if position else ''}\n{deeper}{line}"
        yield f"\n{indent}]"


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by ``None``."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value

"""FileSummaries as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.network.file_summary import FileSummaries, FileSummary
from rnnshapes.render.document import Column, Document, Line, Meaning, Row, Table
from rnnshapes.render.number_text import count_text
from rnnshapes.render.view import View


def document(result: FileSummaries, view: View) -> Document:
    """Return one row for each file, then a line for each file with a warning or an error."""
    columns = (
        Column(""),
        Column("file"),
        Column("recurrent layers"),
        Column("M", rank=1),
        Column("parameters", numeric=True),
        Column("warnings", numeric=True, rank=2),
    )
    table = Table("", columns, tuple(map(_row, result.files)))
    return (_heading(result), table, *_remarks(result))


def record(result: FileSummaries) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.inspect-files/1``."""
    return {"schema": result.schema, "files": [_file_record(file) for file in result.files]}


def rows(result: FileSummaries) -> Iterator[Sequence[object]]:
    """Yield the headings, then one row for each file."""
    yield ("file", "kind", "cells", "M", "params", "agrees", "warnings", "error")
    for file in result.files:
        cells, units = ", ".join(file.cells), _units_text(file)
        texts = (file.path, file.kind, cells, units)
        yield (*texts, file.params, file.agrees, "; ".join(file.warnings), file.error)


def _file_record(file: FileSummary) -> dict[str, Any]:
    return {
        "path": file.path,
        "kind": file.kind or None,
        "keras_version": file.keras_version or None,
        "cells": file.cells,
        "M": file.units,
        "params": file.params,
        "agrees": file.agrees,
        "warnings": file.warnings,
        "error": file.error or None,
    }


def _heading(result: FileSummaries) -> Line:
    """Return ``5 files: 3 ok, 1 with warnings, 1 failed``."""
    marks = [_verdict(file)[0] for file in result.files]
    texts = {"ok": "ok", "!": "with warnings", "FAIL": "failed"}
    counts = [f"{marks.count(mark)} {text}" for mark, text in texts.items() if mark in marks]
    return Line(f"{len(marks)} files: {', '.join(counts)}", "strong")


def _row(file: FileSummary) -> Row:
    mark, meaning = _verdict(file)
    if file.error:
        return Row((mark, file.path, "error, see below", "", "", ""), meaning)
    cells = (", ".join(file.cells), _units_text(file), count_text(file.params))
    return Row((mark, file.path, *cells, str(len(file.warnings) or "")), meaning)


def _verdict(file: FileSummary) -> tuple[str, Meaning]:
    """Return the mark of a file, and its meaning."""
    if file.exit_status:
        return "FAIL", "bad"
    return ("!", "warning") if file.warnings else ("ok", "plain")


def _units_text(file: FileSummary) -> str:
    return ", ".join("?" if size is None else str(size) for size in file.units)


def _remarks(result: FileSummaries) -> Iterator[Line]:
    """Yield the error of a file, or its first warning."""
    for file in result.files:
        mark, meaning = _verdict(file)
        text = file.error or next(iter(file.warnings), "")
        more = len(file.warnings) - 1
        if text:
            rest = f" (and {more} more: rnnshapes inspect {file.path})" if more > 0 else ""
            yield Line(f"{mark} {file.path}: {text}{rest}", meaning)

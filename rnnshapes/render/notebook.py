"""A document as HTML, for a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from rnnshapes.render.document import Document, Drawing, Ink, Line, Meaning, Sheet, Table, printable

_STYLES: dict[Meaning, str] = {
    "plain": "",
    "strong": "font-weight:bold",
    "dim": "opacity:.7",
    "good": "color:green",
    "bad": "color:#c00;font-weight:bold",
}


def chunks(document: Document) -> Iterator[str]:
    """The markup, piece by piece; every text in it is escaped."""
    yield "<div>"
    for block in document:
        if isinstance(block, Line):
            yield f'<div style="{_STYLES[block.meaning]}">{escape(block.text)}</div>'
        elif isinstance(block, Table):
            yield from _table(block)
        else:
            yield from _drawing(block)
    yield "</div>"


def _drawing(drawing: Drawing) -> Iterator[str]:
    picture = drawing.draw(Sheet())
    if not picture:
        return
    yield f'<div style="{_STYLES["strong"]}">{escape(drawing.title)}</div>'
    yield '<pre style="line-height:1.2">'
    for spans in picture:
        for span in spans:
            text, style = escape(printable(span.text)), _css(span.ink)
            yield f'<span style="{style}">{text}</span>' if style else text
        yield "\n"
    yield "</pre>"


def _css(ink: Ink) -> str:
    parts = [_STYLES[ink.meaning]]
    parts += [f"color:{ink.colour}"] if ink.colour else []
    parts += [f"background:{ink.ground}"] if ink.ground else []
    return ";".join(part for part in parts if part)


def _table(table: Table) -> Iterator[str]:
    align = ["right" if column.numeric else "left" for column in table.columns]
    yield f"<table><caption>{escape(table.title)}</caption><thead><tr>"
    for side, column in zip(align, table.columns, strict=True):
        heading = escape(column.heading).replace("\n", "<br>")
        yield f'<th style="text-align:{side}">{heading}</th>'
    yield "</tr></thead><tbody>"
    for row in table.rows:
        yield f'<tr style="{_STYLES[row.meaning]}">'
        for side, cell in zip(align, row.cells, strict=True):
            yield f'<td style="text-align:{side}">{escape(cell)}</td>'
        yield "</tr>"
    yield "</tbody></table>"

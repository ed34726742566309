"""A document as Markdown in GitHub's dialect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rnnshapes.render.document import Document, Drawing, Line, Sheet, Table, printable

#: Characters that have a meaning in Markdown, with a backslash before each.
_MARKUP = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|~&$"})
#: Beginnings that turn a line into a heading, a list or a rule.
_BLOCK_START = re.compile(r"^(\d*)([#+=.)-])")


def chunks(document: Document, encoding: str | None = "utf-8") -> Iterator[str]:
    """Yield the text, piece by piece, with drawings of characters that ``encoding`` has."""
    sheet = Sheet(encoding=encoding)
    for position, block in enumerate(document):
        if isinstance(block, Line):
            if not block.text:
                continue  # paragraphs are apart anyway
            mark = "**" if block.meaning == "strong" else ""
            text = _BLOCK_START.sub(r"\1\\\2", _escaped(block.text).strip())
            yield ("\n" if position else "") + f"{mark}{text}{mark}\n"
        elif isinstance(block, Table):
            yield from _table(block)
        else:
            yield from _drawing(block, sheet)


def _drawing(drawing: Drawing, sheet: Sheet) -> Iterator[str]:
    """Yield the characters, without colours, in a block of code."""
    lines = ["".join(span.text for span in spans) for spans in drawing.draw(sheet)]
    if not lines:
        return
    yield f"\n### {_escaped(drawing.title)}\n" if drawing.title else ""
    yield "\n```text\n"
    for line in lines:
        yield f"{printable(line).replace('`', chr(39)).rstrip()}\n"
    yield "```\n"


def _table(table: Table) -> Iterator[str]:
    yield f"\n### {_escaped(table.title)}\n\n" if table.title else "\n"
    yield _line([column.heading for column in table.columns])
    yield "|" + "|".join(" ---: " if c.numeric else " --- " for c in table.columns) + "|\n"
    for row in table.rows:
        mark = "**" if row.meaning == "strong" else ""
        yield _line(row.cells, mark)


def _line(cells: Sequence[str], mark: str = "") -> str:
    texts = (_escaped(cell.replace("-\n", "-")) for cell in cells)
    return "| " + " | ".join(f"{mark}{text}{mark}" if text else "" for text in texts) + " |\n"


def _escaped(text: str) -> str:
    return printable(text).replace("\n", " ").translate(_MARKUP)

"""A document as HTML elements; what an element looks like is up to where they will stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from rnnshapes.render.document import Document, Drawing, Ink, Line, Row, Sheet, Table, printable

#: The attribute, with a space before it, that gives an element the look of its roles: a meaning,
#: ``line`` and ``apart`` (with space above it), ``box`` (around what may be wide), ``title``,
#: ``number`` and ``text`` (cells), ``heading`` and ``name`` (of what names the rows), ``figure``,
#: ``picture``. Empty for a look of no kind.
Dress = Callable[[str], str]


def elements(document: Document, dress: Dress) -> Iterator[str]:
    """The markup, piece by piece; every text in it is escaped."""
    apart = False
    for block in document:
        if isinstance(block, Line):
            if block.text:
                roles = f"line {block.meaning}" + " apart" * apart
                yield f"<p{dress(roles)}>{text(block.text)}</p>\n"
            apart = not block.text
        elif isinstance(block, Table):
            yield from _table(block, dress)
        else:
            yield from _drawing(block, dress)


def text(said: str) -> str:
    """Text as it may stand between tags and in an attribute: no markup, no control characters."""
    return escape(printable(said))


def _drawing(drawing: Drawing, dress: Dress) -> Iterator[str]:
    picture = drawing.draw(Sheet())
    if not picture:
        return
    yield f"<figure{dress('figure')}><figcaption{dress('title')}>{text(drawing.title)}</figcaption>"
    yield f"<pre{dress('picture')}>"
    for spans in picture:
        for span in spans:
            css = _css(span.ink)
            inked = css or span.ink.meaning != "plain"
            look = f' style="{css}"' if css else dress(span.ink.meaning)
            yield f"<span{look}>{text(span.text)}</span>" if inked else text(span.text)
        yield "\n"
    yield "</pre></figure>\n"


def _css(ink: Ink) -> str:
    """The colours, which replace what a meaning looks like but for its weight."""
    parts = [f"color:{ink.colour}"] if ink.colour else []
    parts += [f"background:{ink.ground}"] if ink.ground else []
    weight = ["font-weight:bold"] if parts and ink.meaning in ("strong", "bad") else []
    return ";".join([*parts, *weight])


def _table(table: Table, dress: Dress) -> Iterator[str]:
    """A group of rows is a body of its own; the first column with a heading names the row."""
    sides = ["number" if column.numeric else "text" for column in table.columns]
    named = next((at for at, column in enumerate(table.columns) if column.heading), None)
    yield f"<div{dress('box')}><table><caption{dress('title')}>{text(table.title)}</caption>\n"
    yield "<thead><tr>"
    for at, column in enumerate(table.columns):
        heading = text(column.heading).replace("\n", "<br>")
        tag = 'th scope="col"' if heading else "td"
        look = dress(f"heading {sides[at]}" if at == named else sides[at])
        yield f"<{tag}{look}>{heading}</{tag[:2]}>"
    yield "</tr></thead>\n<tbody>\n"
    for position, row in enumerate(table.rows, 1):
        yield _row(row, sides, named, dress)
        if row.ends_group and position < len(table.rows):
            yield "</tbody>\n<tbody>\n"
    yield "</tbody></table></div>\n"


def _row(row: Row, sides: list[str], named: int | None, dress: Dress) -> str:
    cells = []
    for at, (side, cell) in enumerate(zip(sides, row.cells, strict=True)):
        said = text(cell).replace("\n", "<br>")
        if at == named:
            said = said.replace("/", "/<wbr>")  # where a name may be broken
            cells.append(f'<th scope="row"{dress(f"name {side}")}>{said}</th>')
        else:
            cells.append(f"<td{dress(side)}>{said}</td>")
    return f"<tr{dress(row.meaning)}>{''.join(cells)}</tr>\n"

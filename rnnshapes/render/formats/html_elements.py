"""A document as HTML elements, whose look the page or the notebook decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from rnnshapes.render.document import Document, Drawing, Ink, Line, Row, Sheet, Table, printable

#: Turns the roles of an element, separated by spaces, into the attribute that gives it its look,
#: with a space before it, or into an empty text. Roles are each meaning, ``line`` and ``apart``
#: (with space above), ``box`` (around what may be wide), ``title``, ``number`` and ``text`` (of
#: cells), ``heading`` and ``name`` (of the column that names the rows), ``figure``, ``picture``.
LookOf = Callable[[str], str]


def elements(document: Document, look_of: LookOf) -> Iterator[str]:
    """Yield the markup, piece by piece; every text in it is escaped."""
    apart = False
    for block in document:
        if isinstance(block, Line):
            if block.text:
                roles = f"line {block.meaning}" + " apart" * apart
                yield f"<p{look_of(roles)}>{text(block.text)}</p>\n"
            apart = not block.text
        elif isinstance(block, Table):
            yield from _table(block, look_of)
        else:
            yield from _drawing(block, look_of)


def text(plain: str) -> str:
    """Escape markup and control characters, for a text between tags or in an attribute."""
    return escape(printable(plain))


def _drawing(drawing: Drawing, look_of: LookOf) -> Iterator[str]:
    lines = drawing.draw(Sheet())
    if not lines:
        return
    yield f"<figure{look_of('figure')}>"
    if drawing.title:
        yield f"<figcaption{look_of('title')}>{text(drawing.title)}</figcaption>"
    yield f"<pre{look_of('picture')}>"
    for spans in lines:
        for span in spans:
            css = _css(span.ink)
            look = f' style="{css}"' if css else look_of(span.ink.meaning)
            styled = css or span.ink.meaning != "plain"
            yield f"<span{look}>{text(span.text)}</span>" if styled else text(span.text)
        yield "\n"
    yield "</pre></figure>\n"


def _css(ink: Ink) -> str:
    """Return the colours, which replace the look of a meaning except for its weight."""
    rules = [f"color:{ink.colour}"] if ink.colour else []
    rules += [f"background:{ink.ground}"] if ink.ground else []
    weight = ["font-weight:bold"] if rules and ink.meaning in ("strong", "bad") else []
    return ";".join([*rules, *weight])


def _table(table: Table, look_of: LookOf) -> Iterator[str]:
    """Yield a body for each group of rows; the first column with a heading names the row."""
    roles = ["number" if column.numeric else "text" for column in table.columns]
    naming = next((i for i, column in enumerate(table.columns) if column.heading), None)
    yield f"<div{look_of('box')}><table>"
    if table.title:
        yield f"<caption{look_of('title')}>{text(table.title)}</caption>\n"
    yield "<thead><tr>"
    for i, column in enumerate(table.columns):
        heading = text(column.heading).replace("\n", "<br>")
        tag = 'th scope="col"' if heading else "td"
        look = look_of(f"heading {roles[i]}" if i == naming else roles[i])
        yield f"<{tag}{look}>{heading}</{tag[:2]}>"
    yield "</tr></thead>\n<tbody>\n"
    for position, row in enumerate(table.rows, 1):
        yield _row(row, roles, naming, look_of)
        if row.ends_group and position < len(table.rows):
            yield "</tbody>\n<tbody>\n"
    yield "</tbody></table></div>\n"


def _row(row: Row, roles: list[str], naming: int | None, look_of: LookOf) -> str:
    cells = []
    for i, (role, cell) in enumerate(zip(roles, row.cells, strict=True)):
        content = text(cell).replace("\n", "<br>")
        if i == naming:
            content = content.replace("/", "/<wbr>")  # where a name may be broken
            cells.append(f'<th scope="row"{look_of(f"name {role}")}>{content}</th>')
        else:
            cells.append(f"<td{look_of(role)}>{content}</td>")
    return f"<tr{look_of(row.meaning)}>{''.join(cells)}</tr>\n"

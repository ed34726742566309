"""A document on a terminal, or as plain text, drawn by Rich."""

from __future__ import annotations

import os
from functools import cache
from typing import IO

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text as RichText

from rnnshapes.render.document import (
    PAGE,
    Column,
    Document,
    Drawing,
    Ink,
    Line,
    Meaning,
    Sheet,
    StyledLines,
    Table,
    for_encoding,
    printable,
)

#: Wide enough for any line: what goes to a file is not cut and not wrapped.
UNLIMITED = 10**6

_STYLES: dict[Meaning, str] = {
    "plain": "",
    "strong": "bold",
    "dim": "dim",
    "good": "green",
    "bad": "bold red",
}
_GAP = 2  # characters between two columns
#: A rule below the headings, and an empty line between groups.
_BOX = box.SIMPLE_HEAD
_ASCII_BOX = box.Box(str(_BOX).replace("─", "-"), ascii=True)


def screen(stream: IO[str]) -> Console:
    """A console as wide as COLUMNS says or the terminal is, and unlimited on anything else.

    NO_COLOR and FORCE_COLOR are respected.
    """
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and 0 < len(columns.lstrip("0")) < 6 else None
    if width is None and not stream.isatty():
        width = UNLIMITED
    return Console(
        file=stream,
        width=width,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def plain(stream: IO[str], width: int = UNLIMITED) -> Console:
    """A console without colour, for files, and without a limit to its width."""
    return Console(
        file=stream,
        width=width,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,  # in a notebook, Rich would display what is written to the stream
        highlight=False,
        markup=False,
        emoji=False,
    )


def draw(document: Document, screen: Console) -> None:
    """Print a document, with one empty line between a table or a drawing and what is around it."""
    apart = empty = False
    for position, block in enumerate(document):
        if isinstance(block, Line):
            if apart and block.text and not empty:
                _print("", screen)
            _print(_text(block.text, screen), screen, block.meaning)
            apart, empty = False, not block.text
            continue
        picture = block.draw(sheet(screen)) if isinstance(block, Drawing) else ()
        if isinstance(block, Drawing) and not picture:
            continue
        if position and not empty:
            _print("", screen)
        if isinstance(block, Table):
            _draw_table(block, screen)
        else:
            _print(_text(block.title, screen), screen, "strong")
            draw_picture(picture, screen)
        apart, empty = True, False


def draw_hint(text: str, screen: Console) -> None:
    """Print one dim line that the terminal may wrap, so that it is copied as it was."""
    screen.print(_text(text, screen), style=_STYLES["dim"], soft_wrap=True)


def sheet(screen: Console) -> Sheet:
    """What a drawing on this screen has to fit on."""
    width = PAGE if screen.width >= UNLIMITED else screen.width
    return Sheet(width, screen.encoding, screen.height if screen.is_terminal else None)


def draw_picture(picture: StyledLines, screen: Console) -> None:
    """Print the lines of a drawing, which fit."""
    if not screen.is_terminal:  # no colours: what Rich would do, many times faster
        for spans in picture:
            line = "".join(_text(span.text, screen) for span in spans)
            screen.file.write(f"{line.rstrip()}\n")
        return
    screen.print(_drawn(picture, screen))


def written(picture: StyledLines, screen: Console) -> list[str]:
    """The lines of a drawing as the screen is sent them, cut where they do not fit."""
    with screen.capture() as captured:
        screen.print(_drawn(picture, screen))
    return captured.get().split("\n")[:-1]


def _drawn(picture: StyledLines, screen: Console) -> RichText:
    text = RichText(no_wrap=True, overflow="ignore", end="")
    for position, spans in enumerate(picture):
        text.append("\n" if position else "")
        for span in spans:
            text.append(_text(span.text, screen), style=_style(span.ink))
    return text


@cache
def _style(ink: Ink) -> Style:
    base = Style.parse(_STYLES[ink.meaning]) if _STYLES[ink.meaning] else Style.null()
    return base + Style(color=ink.colour or None, bgcolor=ink.ground or None)


def _draw_table(table: Table, screen: Console) -> None:
    cells = [[_text(c.heading, screen) for c in table.columns]]
    cells += [[_text(cell, screen) for cell in row.cells] for row in table.rows]
    kept, fits = _fitting(table, cells, screen.width)
    if not fits:
        cells = [[_broken(text) for text in row] for row in cells]
    drawn = RichTable(
        box=_ASCII_BOX if _ascii_only(screen) else _BOX,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        header_style="dim",
    )
    for place in kept:
        side: JustifyMethod = "right" if table.columns[place].numeric else "left"
        drawn.add_column(cells[0][place], justify=side, overflow="fold")
    for row, texts in zip(table.rows, cells[1:], strict=True):
        drawn.add_row(*(texts[place] for place in kept), style=_STYLES[row.meaning])
        if row.ends_group:
            drawn.add_section()
    _print(_text(table.title, screen), screen, "strong")
    _print(drawn, screen)
    shown = set(kept)
    left = [c for place, c in enumerate(table.columns) if place not in shown]
    if left:
        _print(_text(_left_out(left, table.elsewhere), screen), screen, "dim")


def _print(what: str | RichTable | RichText, screen: Console, meaning: Meaning = "plain") -> None:
    if screen.is_terminal:
        screen.print(what, style=_STYLES[meaning])
        return
    with screen.capture() as captured:  # Rich fills lines up with spaces, files need none
        screen.print(what, style=_STYLES[meaning])
    screen.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().split("\n")[:-1]))


def _fitting(table: Table, cells: list[list[str]], width: int) -> tuple[list[int], bool]:
    """The columns to show, those of the lowest rank before others, and whether they fit."""
    widths = [
        max(cell_len(line) for text in column for line in text.split("\n"))
        for column in zip(*cells, strict=True)
    ]
    kept: list[int] = []
    needed = -_GAP
    by_rank: dict[int, list[int]] = {}
    for place, column in enumerate(table.columns):
        by_rank.setdefault(column.rank, []).append(place)
    for rank, places in sorted(by_rank.items()):
        wanted = sum(widths[place] + _GAP for place in places)
        if rank == 0 or needed + wanted <= width:
            kept += places
            needed += wanted
    kept.sort()
    return kept, needed <= width


def _broken(text: str) -> str:
    """A name or an operation on two lines, broken where a reader would break it."""
    return text.replace("/", "/\n  ").replace(" → ", "\n→ ").replace(" -> ", "\n-> ")


def _left_out(columns: list[Column], elsewhere: str) -> str:
    names = list(dict.fromkeys(c.heading.replace("-\n", "-").split("\n")[0] for c in columns))
    few = len(names) <= 4
    which = ", ".join(names) if few else f"{len(columns)} columns from {names[0]} to {names[-1]}"
    return f"Left out for width: {which}; a wider terminal or {elsewhere} shows all"


def _ascii_only(screen: Console) -> bool:
    return not screen.encoding.lower().startswith("utf")


def _text(text: str, screen: Console) -> str:
    return for_encoding(printable(text), screen.encoding)

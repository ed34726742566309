"""A document on a terminal or as plain text, laid out by Rich."""

from __future__ import annotations

import os
import stat
import textwrap
from contextlib import suppress
from functools import cache
from typing import IO

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text as RichText

from rnnshapes.render import palette
from rnnshapes.render.document import (
    COLUMN_GAP,
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
    is_unicode,
    printable,
)

#: Wide enough for any line: text in a file is neither cut nor wrapped.
UNLIMITED = 10**6

_RICH_STYLES: dict[Meaning, str] = {
    "plain": "",
    "strong": "bold",
    "dim": "dim",
    "good": "green",
    "warning": "bold yellow",
    "bad": "bold red",
}
#: A screen of fewer characters has no room for deep indents.
_NARROW = 60
#: A rule below the headings, and an empty line between groups.
_BOX = box.SIMPLE_HEAD
_ASCII_BOX = box.Box(str(_BOX).replace("─", "-"), ascii=True)


def screen(stream: IO[str]) -> Console:
    """Return a console as wide as COLUMNS or the terminal.

    A pipe is as wide as the terminal of standard error or input, as ``less`` shows it there; it
    is unlimited without one, as a file is. NO_COLOR and FORCE_COLOR are respected.
    """
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and 0 < len(columns.lstrip("0")) < 6 else None
    if width is None and not stream.isatty():
        width = (_is_pipe(stream) and _terminal_width()) or UNLIMITED
    return Console(
        file=stream,
        width=width,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _is_pipe(stream: IO[str]) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # not a file of the system
        return False


def _terminal_width() -> int | None:
    """Return the width of the terminal behind standard error or input, if there is one."""
    for descriptor in (2, 0):
        with suppress(OSError):
            return os.get_terminal_size(descriptor).columns or None
    return None


def plain(stream: IO[str], width: int = UNLIMITED) -> Console:
    """Return a console without colour, for files."""
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
    """Print a document, with one empty line around each table and each drawing."""
    after_block = after_empty_line = False
    for position, block in enumerate(document):
        if isinstance(block, Line):
            if after_block and block.text:
                _print("", screen)
            _print(_wrapped(block, screen), screen, block.meaning)
            after_block, after_empty_line = False, not block.text
            continue
        lines = block.draw(sheet(screen)) if isinstance(block, Drawing) else ()
        if isinstance(block, Drawing) and not lines:
            continue
        if position and not after_empty_line:
            _print("", screen)
        if isinstance(block, Table):
            _draw_table(block, screen)
        else:
            if block.title:
                _print(_text(block.title, screen), screen, "strong")
            _draw_lines(lines, screen)
        after_block, after_empty_line = True, False


def _wrapped(line: Line, screen: Console) -> str:
    """Return the text of a line, wrapped here if its other lines are to be indented."""
    text = _text(line.text, screen)
    if not line.indent or cell_len(text) <= screen.width:
        return text
    indent = " " * (line.indent if screen.width >= _NARROW else min(line.indent, COLUMN_GAP))
    if text.startswith(" "):
        text = indent + text.lstrip()
    return textwrap.fill(text, screen.width, subsequent_indent=indent, break_on_hyphens=False)


def draw_hint(text: str, screen: Console) -> None:
    """Print one dim line that the terminal itself wraps, so that a user copies it as one line."""
    screen.print(_text(text, screen), style=_RICH_STYLES["dim"], soft_wrap=True)


def sheet(screen: Console) -> Sheet:
    """Return the space for a drawing on this screen."""
    width = PAGE if screen.width >= UNLIMITED else screen.width
    return Sheet(width, screen.encoding, screen.height if screen.is_terminal else None)


def _draw_lines(lines: StyledLines, screen: Console) -> None:
    """Print the lines of a drawing, which fit."""
    if not screen.is_terminal:  # no colours: what Rich would do, many times faster
        for spans in lines:
            line = "".join(_text(span.text, screen) for span in spans)
            screen.file.write(f"{line.rstrip()}\n")
        return
    screen.print(_rich_text(lines, screen))


def encode_lines(lines: StyledLines, screen: Console) -> list[str]:
    """Return the lines of a drawing with the terminal's codes, cut where they do not fit."""
    with screen.capture() as captured:
        screen.print(_rich_text(lines, screen), no_wrap=True, overflow="ignore")
    return captured.get().split("\n")[:-1]


def _rich_text(lines: StyledLines, screen: Console) -> RichText:
    text = RichText()
    for position, spans in enumerate(lines):
        text.append("\n" if position else "")
        for span in spans:
            text.append(_text(span.text, screen), style=_rich_style(span.ink, screen.color_system))
    return text


@cache
def _rich_style(ink: Ink, color_system: str | None) -> Style:
    colour, ground = ink.colour, ink.ground
    if color_system in ("standard", "windows"):  # Rich's own choice has no order
        colour, ground = palette.sixteen(colour, ground)
    own = Style(color=colour or None, bgcolor=ground or None)
    return Style.parse(_RICH_STYLES[ink.meaning]) + own


def _draw_table(table: Table, screen: Console) -> None:
    cells = [[_text(c.heading, screen) for c in table.columns]]
    cells += [[_text(cell, screen) for cell in row.cells] for row in table.rows]
    shown, fits = _choose_columns(table, cells, screen.width)
    if not fits:
        cells = [[_break_lines(text) for text in row] for row in cells]
    rich_table = RichTable(
        box=_BOX if is_unicode(screen.encoding) else _ASCII_BOX,
        show_edge=False,
        pad_edge=False,
        padding=(0, COLUMN_GAP - 1, 0, 0),
        header_style="dim",
    )
    for i in shown:
        justify: JustifyMethod = "right" if table.columns[i].numeric else "left"
        rich_table.add_column(cells[0][i], justify=justify, overflow="fold")
    for row, texts in zip(table.rows, cells[1:], strict=True):
        rich_table.add_row(*(texts[i] for i in shown), style=_RICH_STYLES[row.meaning])
        if row.ends_group:
            rich_table.add_section()
    if table.title:
        _print(_text(table.title, screen), screen, "strong")
    _print(rich_table, screen)
    hidden = [c for i, c in enumerate(table.columns) if i not in shown and c.heading]
    if hidden:
        _print(_text(_hidden_columns(hidden, table.elsewhere), screen), screen, "dim")


def _print(content: str | RichTable, screen: Console, meaning: Meaning = "plain") -> None:
    if screen.is_terminal:
        screen.print(content, style=_RICH_STYLES[meaning])
        return
    with screen.capture() as captured:  # Rich fills lines up with spaces, files need none
        screen.print(content, style=_RICH_STYLES[meaning])
    screen.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().split("\n")[:-1]))


def _choose_columns(table: Table, cells: list[list[str]], width: int) -> tuple[list[int], bool]:
    """Return the indices of the columns to show, by rank, and whether they fit."""
    widths = [
        max(cell_len(line) for text in column for line in text.split("\n"))
        for column in zip(*cells, strict=True)
    ]
    shown: list[int] = []
    used = -COLUMN_GAP
    by_rank: dict[int, list[int]] = {}
    for i, column in enumerate(table.columns):
        by_rank.setdefault(column.rank, []).append(i)
    for rank, indices in sorted(by_rank.items()):
        needed = sum(widths[i] + COLUMN_GAP for i in indices)
        if rank == 0 or used + needed <= width:
            shown += indices
            used += needed
    shown.sort()
    return shown, used <= width


def _break_lines(text: str) -> str:
    """Put a name or an operation on two lines, broken where a reader would break it."""
    return text.replace("/", "/\n  ").replace(" → ", "\n→ ").replace(" -> ", "\n-> ")


def _hidden_columns(columns: list[Column], elsewhere: str) -> str:
    names = list(dict.fromkeys(c.heading.replace("-\n", "-").split("\n")[0] for c in columns))
    few = len(names) <= 4
    which = ", ".join(names) if few else f"{len(columns)} columns from {names[0]} to {names[-1]}"
    return f"Left out for width: {which}; a wider terminal or {elsewhere} shows all"


def _text(text: str, screen: Console) -> str:
    return for_encoding(printable(text), screen.encoding)

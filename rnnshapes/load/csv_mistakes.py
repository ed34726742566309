"""Mistakes in CSV files of numbers: what is wrong in a line, and what to do about it.

A text such as ``, column 2: 'x' is not a number`` follows the number of the line.
"""

from __future__ import annotations

import csv
import re

#: Separators of other kinds of tables, and their names.
_SEPARATORS = ((";", "semicolons"), ("\t", "tabs"), (" ", "spaces"))
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_TRAILING_COMMA = " ends with a comma: remove it, here and in all other lines"


def is_number(text: str) -> bool:
    """Return whether a text is a number in decimal, nan or inf."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python would accept 1_000


def split_cells(line: str) -> list[str]:
    """Return the cells of a line, without quotes and without spaces around them."""
    return [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True), [])]


def has_headings(first: str) -> bool:
    """Return whether the first line of a table is one of headings."""
    return any(map(str.isalpha, first)) and not is_number(split_cells(first)[0])


def heading_mistake(first: str, second: str) -> str:
    """Return what is wrong with the first line of a table as headings, or an empty text.

    Args:
        first: The first line. Where columns have no names, pandas writes numbers there.
        second: The line below.
    """
    headings, cells = split_cells(first), split_cells(second)
    numbered = len(headings) > 1 and headings == [str(i) for i in range(len(headings))]
    integers = any(cell.lstrip("+-").isdigit() for cell in cells)
    if numbered and len(cells) == len(headings) and not integers:
        return " numbers the columns from 0 on; write the file without it (pandas: header=False)"
    named = all(cell.isdigit() for cell in headings[1:]) or has_headings(first)
    if len(headings) > 1 and not headings[0] and named and len(cells) == len(headings) and cells[0]:
        return (
            ", column 1 has no heading: is it an index? Write the file without it "
            "(pandas: index=False)"
        )
    if has_headings(first) and "" in headings:
        is_last = headings.index("") == len(headings) - 1
        return _TRAILING_COMMA if is_last else f", column {headings.index('') + 1} has no heading"
    return ""


def line_mistake(line: str, width: int | None, *, gaps: bool) -> str:
    """Return what is wrong in a line of numbers, or an empty text.

    Args:
        line: The line.
        width: How many numbers the line before it has; ``None`` for the first line.
        gaps: Whether a cell may be empty.
    """
    cells = split_cells(line)
    if mistake := _separator_mistake(line):
        return mistake
    if len(cells) > 1 and not cells[-1] and width != len(cells) and all(map(is_number, cells[:-1])):
        return _TRAILING_COMMA
    for column, cell in enumerate(cells, 1):
        if not (is_number(cell) or (gaps and not cell)):
            return f", column {column}: {_cell_mistake(cell)}"
    if width is not None and width != len(cells):
        count = "1 number" if len(cells) == 1 else f"{len(cells)} numbers"
        return f" has {count}, and the line before it {width}; all lines need as many"
    return ""


def _cell_mistake(cell: str) -> str:
    if not cell:
        return "there is no number; write nan for one that is missing"
    corrected = _DECIMAL_COMMA.sub(".", cell)
    if is_number(corrected):
        return f"{cell[:40]!r} has a decimal comma; write {corrected[:40]}"
    return f"{cell[:40]!r} is not a number"


def _separator_mistake(line: str) -> str:
    """Return which other separator stands between the numbers of a line, or an empty text."""
    for separator, name in _SEPARATORS:
        cells = [cell.strip().strip('"') for cell in line.strip().split(separator)]
        cells = [cell for cell in cells if cell]
        corrected = [_DECIMAL_COMMA.sub(".", cell) for cell in cells]
        if len(cells) > 1 and all(map(is_number, corrected)):
            commas, points = "", ""
            if corrected != cells:
                commas, points = " and decimal commas", " and points in them"
            return f" has {name} between its numbers{commas}; write commas between them{points}"
    return ""

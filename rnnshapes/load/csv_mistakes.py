"""Numbers as text, a line for each row, with commas between them: what is wrong, and where."""

from __future__ import annotations

import csv
import re

#: What stands between numbers in tables of other kinds.
_SEPARATORS = ((";", "semicolons"), ("\t", "tabs"), (" ", "spaces"))
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")


def is_number(text: str) -> bool:
    """Whether this is a number in decimal, or nan or inf."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python would take


def cells_of(line: str) -> list[str]:
    """What stands between the commas of a line, quotes around it taken off."""
    return [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True), [])]


def has_headings(first: str) -> bool:
    """Whether the first line of a table is one of headings."""
    return any(map(str.isalpha, first)) and not is_number(cells_of(first)[0])


def not_headings(first: str, second: str) -> str:
    """What is wrong with the first line as one of headings, and what to do; nothing if it is fine.

    ``second`` is the line below. Where columns have no names, pandas numbers them.
    """
    heads, cells = cells_of(first), cells_of(second)
    numbered = len(heads) > 1 and heads == [str(place) for place in range(len(heads))]
    whole = any(cell.lstrip("+-").isdigit() for cell in cells)
    if numbered and len(cells) == len(heads) and not whole:
        return " numbers the columns from 0 on; write the file without it (pandas: header=False)"
    named = all(cell.isdigit() for cell in heads[1:]) or has_headings(first)
    if len(heads) > 1 and not heads[0] and named and len(cells) == len(heads) and cells[0]:
        return (
            ", column 1 has no heading: is it an index? Write the file without it "
            "(pandas: index=False)"
        )
    if has_headings(first) and "" in heads:
        ends = heads.index("") == len(heads) - 1
        return _ENDS if ends else f", column {heads.index('') + 1} has no heading"
    return ""


_ENDS = " ends with a comma: remove it, here and in all other lines"


def mistake(line: str, width: int | None = None, *, holes: bool = False) -> str:
    """What is wrong in a line of ``width`` numbers, and what to do; nothing if it is right.

    With ``holes`` a number may be missing.
    """
    cells = cells_of(line)
    if found := other_separator(line):
        return found
    if len(cells) > 1 and not cells[-1] and width != len(cells) and all(map(is_number, cells[:-1])):
        return _ENDS
    for column, cell in enumerate(cells, 1):
        if not (is_number(cell) or (holes and not cell)):
            return f", column {column}: {_not_a_number(cell)}"
    if width is not None and width != len(cells):
        many = "1 number" if len(cells) == 1 else f"{len(cells)} numbers"
        return f" has {many}, and the line before it {width}; all lines need as many"
    return ""


def _not_a_number(cell: str) -> str:
    if not cell:
        return "there is no number; write nan for one that is missing"
    mended = _DECIMAL_COMMA.sub(".", cell)
    if is_number(mended):
        return f"{cell[:40]!r} has a decimal comma; write {mended[:40]}"
    return f"{cell[:40]!r} is not a number"


def other_separator(line: str) -> str:
    """Told of a line of numbers with something else than commas between them."""
    if all(map(is_number, cells_of(line))):
        return ""
    for mark, name in _SEPARATORS:
        parts = [part.strip().strip('"') for part in line.strip().split(mark)]
        parts = [part for part in parts if part]
        mended = [_DECIMAL_COMMA.sub(".", part) for part in parts]
        if len(parts) > 1 and all(map(is_number, mended)):
            commas, points = "", ""
            if mended != parts:
                commas, points = " and decimal commas", " and points in them"
            return f" has {name} between its numbers{commas}; write commas between them{points}"
    return ""

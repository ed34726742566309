"""The README and the pages on the cells, and how their blocks and tables are found."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.cells import LAYERS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
#: The page on each cell, by the name that ``--cell`` has for it.
CELLS = {name: ROOT / ".github" / "cells" / f"{file}.md" for name, file in LAYERS.items()}


def page(cell: str) -> str:
    """The text of the page on a cell."""
    return CELLS[cell].read_text("utf-8")


def scripts(text: str) -> list[str]:
    """What is to be typed in a script of one's own."""
    return re.findall(r"```python\n(import .*?)```", text, re.DOTALL)


def consoles(text: str) -> list[tuple[str, str]]:
    """The arguments of each command that is shown, and what it prints."""
    return re.findall(r"```console\n\$ rnnshapes ([^\n]*)\n(.*?)```", text, re.DOTALL)


def prose(text: str) -> str:
    """All that stands outside of blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def table(text: str, first: str) -> list[list[str]]:
    """Return the rows of the one table of which the first row begins with this cell."""
    tables = re.findall(r"^\| -.*\n((?:\|.*(?:\n|$))+)", text, re.MULTILINE)
    rows = [[cells(line) for line in body.splitlines()] for body in tables]
    (found,) = [body for body in rows if body[0][0] == first]
    return found


def cells(line: str) -> list[str]:
    """What stands between the bars of a row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]

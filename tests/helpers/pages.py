"""The README and the pages of the documentation, with their scripts, commands and tables."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

from tests.helpers.cells import LAYERS

ROOT = Path(__file__).parents[2]
#: ``.github/outputs.py``: finds the commands on a page, and compares what they print.
OUTPUTS = SimpleNamespace(**runpy.run_path(str(ROOT / ".github" / "outputs.py")))
#: The path of each page by its name, such as ``README`` and ``docs/porting``.
PATHS: dict[str, Path] = OUTPUTS.PAGES
#: The text of each page.
PAGES = {name: path.read_text("utf-8") for name, path in PATHS.items()}
#: The name of the page on each cell, by the name of the cell in ``--cell``.
CELLS = {cell: f"docs/cells/{file}" for cell, file in LAYERS.items()}


def prose(text: str) -> str:
    """Return what stands outside of blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def tables(page: str) -> list[list[list[str]]]:
    """Return the rows of each table on a page."""
    bodies = re.findall(r"^\| -.*\n((?:\|.*(?:\n|$))+)", PAGES[page], re.MULTILINE)
    return [[_cells(line) for line in body.splitlines()] for body in bodies]


def table(page: str, first: str) -> list[list[str]]:
    """Return the rows of the one table on a page of which the first row begins with this cell."""
    (found,) = [rows for rows in tables(page) if rows[0][0] == first]
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]

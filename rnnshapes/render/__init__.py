"""Convert results to text, HTML, JSON, CSV, arrays and plots.

Each kind of result has a module in :mod:`rnnshapes.render.documents`, named by
:attr:`rnnshapes.result.Result.renderer` and imported when a result of that kind is shown. It turns
the result into a document, a record, rows and arrays; :mod:`rnnshapes.render.formats` writes
these.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from io import StringIO
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from rnnshapes.render.document import Document
from rnnshapes.render.view import View
from rnnshapes.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnnshapes.render.formats.c_header import CHeader


def to_document(result: Result, view: View | None = None) -> Document:
    """Return the tables, lines and drawings that a person sees, of the part ``view``."""
    document: Document = _renderer(result).document(result, view or View())
    return document


def to_record(result: Result) -> dict[str, Any]:
    """Return the plain values of the JSON form, in which arrays stay arrays."""
    record: dict[str, Any] = _renderer(result).record(result)
    return record


def to_rows(result: Result) -> Iterator[list[object]]:
    """Return the rows of the CSV form, headings first."""
    rows: Iterator[list[object]] = _renderer(result).rows(result)
    return rows


def to_frame(result: Result) -> Any:
    """Return the rows of the CSV form as a ``pandas.DataFrame``.

    Raises:
        CannotRunError: pandas is not installed.
    """
    from rnnshapes.render.formats import pandas_frame

    return pandas_frame.frame(to_rows(result))


def to_arrays(result: Result) -> dict[str, Any]:
    """Return the arrays of the .npz form by name; only a Trace and a Golden have one."""
    arrays: dict[str, Any] = _renderer(result).arrays(result)
    return arrays


def to_c_header(result: Result, name: str) -> CHeader:
    """Return what the C header of a Golden holds, in which all names begin with ``name``."""
    header: CHeader = _renderer(result).header(result, name)
    return header


def to_text(result: Result) -> str:
    """Return the document as plain text that fits the terminal, with the middle left out."""
    from rnnshapes.render.formats import terminal

    stream = StringIO()
    width = get_terminal_size().columns
    view = View(abridged=True, width=width)
    terminal.draw(to_document(result, view), terminal.plain(stream, width))
    return stream.getvalue().rstrip("\n")


def to_html(result: Result) -> str:
    """Return the document as HTML for a notebook, with the middle left out."""
    from rnnshapes.render.formats import notebook

    return "".join(notebook.chunks(to_document(result, View(abridged=True))))


def to_figure(result: Result) -> Figure:
    """Return the picture that ``--plot`` draws.

    Raises:
        CannotRunError: Matplotlib is not installed.
        InputError: there is no picture of this kind of result.
    """
    from rnnshapes.render import plots

    return plots.figure(result)


def save_golden(result: Result, path: Path) -> None:
    """Write a Golden in the format of the extension of ``path``.

    Raises:
        InputError: the extension is not .npz, .json or .h, or the file cannot be written.
    """
    from rnnshapes.render import write_file

    write_file.check_golden(path)
    write_file.write_golden(result, path)


def _renderer(result: Result) -> Any:
    return import_module(f"rnnshapes.render.documents.{result.renderer}")

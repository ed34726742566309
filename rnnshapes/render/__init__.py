"""Results in the form in which their readers want them. The only place that knows a screen."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from io import StringIO
from shutil import get_terminal_size
from types import ModuleType
from typing import Any

from rnnshapes.render.document import Document
from rnnshapes.render.view import View
from rnnshapes.result import Result

#: How many time steps are shown on a terminal and in a notebook before the middle is left out.
MOST_ROWS = 30

#: Which module draws which kind of result; each is imported when it is needed.
_MODULES = {
    "Inspection": "inspection",
    "Trace": "tracing",
    "Verification": "verification",
    "PortVerification": "port",
    "Golden": "golden",
}


def document(result: Result, view: View | None = None) -> Document:
    """What a person is shown."""
    shown: Document = _module(result).document(result, view or View())
    return shown


def record(result: Result) -> dict[str, Any]:
    """The plain values of the JSON form; arrays stay arrays."""
    values: dict[str, Any] = _module(result).record(result)
    return values


def rows(result: Result) -> Iterator[list[object]]:
    """The rows of the CSV form, headings first."""
    lines: Iterator[list[object]] = _module(result).rows(result)
    return lines


def frame(result: Result) -> Any:
    """The same rows as a ``pandas.DataFrame``; CannotRunError where pandas is not installed."""
    from rnnshapes.render.formats import pandas_frame

    return pandas_frame.frame(rows(result))


def arrays(result: Result) -> dict[str, Any]:
    """The arrays of the .npz form, which a Trace and a Golden have."""
    values: dict[str, Any] = _module(result).arrays(result)
    return values


def c_header(result: Result) -> Any:
    """What the C header of a Golden holds, see :mod:`.formats.c_header`."""
    return _module(result).header(result)


def text(result: Result) -> str:
    """The document as plain text, as wide as the terminal is, and with long parts cut."""
    from rnnshapes.render.formats import terminal

    stream = StringIO()
    screen = terminal.plain(stream, get_terminal_size().columns)
    terminal.draw(document(result, View(most_rows=MOST_ROWS)), screen)
    return stream.getvalue().rstrip("\n")


def html(result: Result) -> str:
    """The document as HTML."""
    from rnnshapes.render.formats import notebook

    return "".join(notebook.chunks(document(result, View(most_rows=MOST_ROWS))))


def _module(result: Result) -> ModuleType:
    return import_module(f"rnnshapes.render.documents.{_MODULES[type(result).__name__]}")

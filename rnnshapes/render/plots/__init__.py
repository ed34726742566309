"""Plots of results, drawn by Matplotlib: for ``--plot``, for pages and for notebooks.

Neither Matplotlib nor NumPy is loaded before something is drawn.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rnnshapes.errors import CannotRunError, InputError
from rnnshapes.render.view import View
from rnnshapes.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The extensions of the files that can be drawn.
ENDINGS = (".png", ".svg", ".pdf")


def require_matplotlib() -> None:
    """Raise CannotRunError, of one line, where Matplotlib cannot be imported."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)  # the first time, it reports on the fonts that it looks through
    try:
        if "matplotlib" not in sys.modules:
            _import_matplotlib()
        import_module("matplotlib.figure")
    except Exception as error:
        name = error.name if isinstance(error, ModuleNotFoundError) else ""
        if str(name).startswith("matplotlib"):
            state = "is not installed"
        else:
            why = " ".join(str(error).split())[:200]
            state = f"cannot be imported ({type(error).__name__}: {why})"
        raise CannotRunError(
            f'plots need Matplotlib, which {state}: pip install "rnnshapes[plot]"'
        ) from error
    finally:
        log.setLevel(level)


def _import_matplotlib() -> None:
    """Import Matplotlib, also where MPLBACKEND is unknown: nothing here uses a backend."""
    backend = os.environ.get("MPLBACKEND")
    with without_variable("MPLBACKEND"):
        matplotlib = import_module("matplotlib")
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


@contextmanager
def without_variable(name: str) -> Iterator[None]:
    """Run a block without a variable of the environment, and restore it."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


def figure(result: Result, view: View | None = None) -> Figure:
    """Return the plot as a Matplotlib figure, of the sample and the steps of ``view``.

    Raises:
        CannotRunError: Matplotlib cannot be imported.
        InputError: There is no plot of this kind of result.
    """
    require_matplotlib()
    name = f"{__name__}.{result.renderer}"
    if find_spec(name) is None:
        raise InputError(f"there is no picture of a {type(result).__name__}")
    from rnnshapes.render.plots.style import fixed_settings

    with fixed_settings():
        drawn: Figure = import_module(name).figure(result, view or View())
    return drawn


def save(result: Result, target: BinaryIO | Path, kind: str, view: View | None = None) -> None:
    """Write the plot as ``png``, ``svg`` or ``pdf``: the same bytes for the same result.

    Raises:
        CannotRunError: Matplotlib cannot be imported.
        InputError: There is no plot of this kind of result.
        OSError: ``target`` cannot be written.
    """
    drawn = figure(result, view)
    from rnnshapes.render.plots.style import write

    write(drawn, target, kind)


def svg(result: Result, view: View | None = None) -> str:
    """Return the plot as the text of an SVG file, to stand in a page."""
    stream = BytesIO()
    save(result, stream, "svg", view)
    return stream.getvalue().decode("utf-8")

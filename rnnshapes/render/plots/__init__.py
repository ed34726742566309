"""Results as pictures, drawn by matplotlib: for ``--plot`` and for notebooks.

Neither matplotlib nor NumPy is loaded before something is drawn. pyplot never is, and the user's
own settings of matplotlib are neither read nor changed.
"""

from __future__ import annotations

import logging
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

#: The endings of the files that can be drawn.
FORMATS = (".png", ".svg", ".pdf")


def require() -> None:
    """Raise CannotRunError, of one line, where matplotlib cannot be imported."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of fonts that it looks through the first time
    try:
        import_module("matplotlib.figure")
    except Exception as error:
        there = isinstance(error, ModuleNotFoundError) and str(error.name).startswith("matplotlib")
        why = "" if there else f" ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        raise CannotRunError(
            "a picture is drawn by matplotlib, which "
            f"{'cannot be imported' if why else 'is not installed'}{why}: "
            'pip install "rnnshapes[plot]"'
        ) from error
    finally:
        log.setLevel(level)


def figure(result: Result, view: View | None = None) -> Figure:
    """The picture as a matplotlib Figure, of the sample and the steps of ``view``.

    Raises CannotRunError without matplotlib, and InputError for a result that has no picture.
    """
    require()
    name = f"{__name__}.{result.renderer}"
    if find_spec(name) is None:
        raise InputError(f"there is no picture of a {type(result).__name__}")
    from rnnshapes.render.plots import canvas

    with canvas.own_settings():
        made: Figure = import_module(name).figure(result, view or View())
    return made


def save(result: Result, target: BinaryIO | Path, kind: str, view: View | None = None) -> None:
    """Write the picture as ``png``, ``svg`` or ``pdf``: the same bytes for the same result.

    Raises what :func:`figure` raises, and OSError where ``target`` cannot be written.
    """
    made = figure(result, view)
    from rnnshapes.render.plots import canvas

    canvas.write(made, target, kind)


def svg(result: Result, view: View | None = None) -> str:
    """The picture as the text of an SVG file, to stand in a page."""
    stream = BytesIO()
    save(result, stream, "svg", view)
    return stream.getvalue().decode("utf-8")

"""Base class of all results, which show themselves in a terminal and in a notebook.

Rendering (:mod:`rnnshapes.render`) stands above the results, so it registers its functions
here; ``rnnshapes/__init__.py`` does so before any result can exist.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_renderers: dict[str, Callable[..., Any]] = {}


def register_renderers(**renderers: Callable[..., Any]) -> None:
    """Register the functions that render a result, by form.

    ``text`` is for a terminal, ``html`` for a notebook, ``record`` for JSON, ``frame`` for
    pandas, ``file`` writes a file, ``figure`` draws with Matplotlib.
    """
    _renderers.update(renderers)


def save(result: Result, path: Path) -> None:
    """Write a result to ``path``, in the format of its suffix."""
    _renderers["file"](result, path)


class Result:
    """A result that displays itself in a terminal and in a notebook."""

    #: Names the kind of result, and the version of its JSON form.
    schema: ClassVar[str]

    def __repr__(self) -> str:
        return str(_renderers["text"](self))

    def _repr_html_(self) -> str:
        return str(_renderers["html"](self))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values: what ``--format json`` writes."""
        record: dict[str, Any] = _renderers["record"](self)
        return record

    def to_frame(self) -> Any:
        """Return a ``pandas.DataFrame`` with the rows and columns that ``--format csv`` writes.

        Numbers are numbers, and cells without a value are missing values.

        Raises:
            CannotRunError: pandas is not installed (``pip install "rnnshapes[frame]"``).
        """
        return _renderers["frame"](self)

    def plot(self) -> Figure:
        """Return a Matplotlib figure of the result: what ``--plot`` draws.

        Raises:
            CannotRunError: Matplotlib is not installed (``pip install "rnnshapes[plot]"``).
            InputError: there is no picture of this kind of result.
        """
        figure: Figure = _renderers["figure"](self)
        return figure

"""Base class of all results, which display themselves in a terminal and in a notebook.

:mod:`rnnshapes.render` shows them. It stands above the results that it knows, so this module does
not import it: ``rnnshapes/__init__.py`` sets the function that does, when a result is first shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_load_render: Callable[[], ModuleType]


def show_with(load_render: Callable[[], ModuleType]) -> None:
    """Set the function that imports and returns :mod:`rnnshapes.render`."""
    global _load_render  # noqa: PLW0603 - set once, when the package is imported
    _load_render = load_render


class Result:
    """A result that displays itself in a terminal and in a notebook."""

    #: Kind of result and version of its JSON form, such as ``rnnshapes.trace/1``.
    schema: ClassVar[str]
    #: Module of :mod:`rnnshapes.render.documents` that shows this kind of result; the module of
    #: :mod:`rnnshapes.render.plots` that draws it, if there is one, has the same name.
    renderer: ClassVar[str]

    def __repr__(self) -> str:
        return str(_load_render().to_text(self))

    def _repr_html_(self) -> str:
        return str(_load_render().to_html(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values: what ``--format json`` writes."""
        record: dict[str, Any] = _load_render().to_record(self)
        return record

    def to_frame(self) -> Any:
        """Return a ``pandas.DataFrame`` with the rows and columns that ``--format csv`` writes.

        Numbers are numbers, and cells without a value are missing values.

        Raises:
            CannotRunError: pandas is not installed (``pip install "rnnshapes[frame]"``).
        """
        return _load_render().to_frame(self)

    def plot(self) -> Figure:
        """Return a Matplotlib figure of the result: what ``--plot`` draws.

        Raises:
            CannotRunError: Matplotlib is not installed (``pip install "rnnshapes[plot]"``).
            InputError: there is no picture of this kind of result.
        """
        figure: Figure = _load_render().to_figure(self)
        return figure


def save_golden(result: Result, path: Path) -> None:
    """Write the arrays of a Golden to a .npz, .json or .h file, by the extension of ``path``.

    Raises:
        InputError: the file has another extension, or cannot be written.
    """
    _load_render().save_golden(result, path)

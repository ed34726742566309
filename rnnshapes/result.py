"""Base class of all results, which display themselves in a terminal and in a notebook.

This is the one module that imports upwards: a result knows how to show itself, and
:mod:`rnnshapes.render`, which does it, knows all kinds of results. So it is imported only when a
result is shown or written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result:
    """A result that displays itself in a terminal and in a notebook."""

    #: Kind of result and version of its JSON form, such as ``rnnshapes.trace/1``.
    schema: ClassVar[str]
    #: Module of :mod:`rnnshapes.render.documents` that shows this kind of result; the module of
    #: :mod:`rnnshapes.render.plots` that draws it, if there is one, has the same name.
    renderer: ClassVar[str]

    def __repr__(self) -> str:
        from rnnshapes import render

        return render.to_text(self)

    def _repr_html_(self) -> str:
        from rnnshapes import render

        return render.to_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values: what ``--format json`` writes."""
        from rnnshapes import render

        return render.to_record(self)

    def to_frame(self) -> Any:
        """Return a ``pandas.DataFrame`` with the rows and columns that ``--format csv`` writes.

        Numbers are numbers, and cells without a value are missing values.

        Raises:
            CannotRunError: pandas is not installed (``pip install "rnnshapes[frame]"``).
        """
        from rnnshapes import render

        return render.to_frame(self)

    def plot(self) -> Figure:
        """Return a Matplotlib figure of the result: what ``--plot`` draws.

        Raises:
            CannotRunError: Matplotlib is not installed (``pip install "rnnshapes[plot]"``).
            InputError: there is no picture of this kind of result.
        """
        from rnnshapes import render

        return render.to_figure(self)


def save_golden(result: Result, path: Path) -> None:
    """Write the arrays of a Golden to a .npz, .json or .h file, by the ending of ``path``.

    Raises:
        InputError: the file has another ending, or cannot be written.
    """
    from rnnshapes import render

    render.save_golden(result, path)

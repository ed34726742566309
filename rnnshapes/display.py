"""Results that show themselves, without knowing how.

What knows a screen (:mod:`rnnshapes.render`) stands above the results, so it hands its
function down to here; ``rnnshapes/__init__.py`` does so before any result can exist.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Told how far long work is: how many samples or networks are done, and of how many.
Tick = Callable[[int, int], None]

_renderers: dict[str, Callable[..., Any]] = {}


def show_with(**renderers: Callable[..., Any]) -> None:
    """Set what draws a result: ``text`` for a terminal, ``html`` for a notebook, ``record``.

    ``file`` writes one into a file, ``figure`` makes a picture of it.
    """
    _renderers.update(renderers)


def save(result: Displayed, path: Path) -> None:
    """Write a result in the form that the ending of ``path`` stands for."""
    _renderers["file"](result, path)


class Displayed:
    """A result that displays itself in a terminal and in a notebook."""

    #: Names the kind of result, and the version of its JSON form.
    schema: ClassVar[str]

    def __repr__(self) -> str:
        return str(_renderers["text"](self))

    def _repr_html_(self) -> str:
        return str(_renderers["html"](self))

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values: what ``--format json`` writes."""
        record: dict[str, Any] = _renderers["record"](self)
        return record

    def plot(self) -> Figure:
        """The result as a matplotlib Figure, which a notebook shows: what ``--plot`` draws.

        Raises CannotRunError without matplotlib (``pip install "rnnshapes[plot]"``), and
        InputError for a result of which there is no picture.
        """
        made: Figure = _renderers["figure"](self)
        return made

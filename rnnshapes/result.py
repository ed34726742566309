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

#: Told how far long work is: how many steps or networks are done, and of how many. The first
#: never falls and ends at the second, which stays the same.
Tick = Callable[[int, int], None]
#: Told how many more steps have been taken, each of one sample in one recurrence.
Done = Callable[[int], None]

_renderers: dict[str, Callable[..., Any]] = {}


def show_with(**renderers: Callable[..., Any]) -> None:
    """Set what draws a result: ``text`` for a terminal, ``html`` for a notebook, ``record``.

    ``frame`` makes a table of it for pandas, ``file`` writes one into a file, ``figure`` makes a
    picture of it.
    """
    _renderers.update(renderers)


def save(result: Displayed, path: Path) -> None:
    """Write a result in the form that the ending of ``path`` stands for."""
    _renderers["file"](result, path)


class Meter:
    """Adds up the steps of work that goes over all of them ``times`` times, for a Tick."""

    def __init__(self, tick: Tick | None, steps: int, times: int) -> None:
        self.tick, self.done, self.steps, self.whole = tick, 0, steps, steps * times

    def __call__(self, steps: int) -> None:
        """So many more are done."""
        done = min(self.done + steps, self.whole)
        if self.tick is not None and done > self.done:
            self.tick(done, self.whole)
        self.done = done

    def finish(self) -> None:
        """All is done, also what was left out."""
        self(self.whole)


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

    def to_frame(self) -> Any:
        """The result as a ``pandas.DataFrame``: the rows and columns that ``--format csv`` writes.

        Numbers are numbers, and cells without a value are missing ones. Raises CannotRunError
        where pandas is not installed (``pip install "rnnshapes[frame]"``).
        """
        return _renderers["frame"](self)

    def plot(self) -> Figure:
        """The result as a matplotlib Figure, which a notebook shows: what ``--plot`` draws.

        Raises CannotRunError without matplotlib (``pip install "rnnshapes[plot]"``), and
        InputError for a result of which there is no picture.
        """
        made: Figure = _renderers["figure"](self)
        return made

"""Spinner and progress bar on standard error, on a terminal only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rnnshapes import progress
from rnnshapes.cli.streams import is_terminal

_MIN_BAR, _MAX_BAR = 10, 40  # columns
#: A text of so many characters is long enough to be understood when the rest is cut off.
_MIN_TEXT = 20


@contextmanager
def show_progress(text: str) -> Iterator[None]:
    """Show a spinner on standard error while the block runs, if that is a terminal.

    The first report of progress turns the spinner into a bar.

    Args:
        text: What the block does, shown beside the spinner or bar.
    """
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    # A copy of the descriptor, because descriptor 2 is redirected while TensorFlow works.
    stream = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace")
    unicode = sys.stderr.encoding.lower().startswith("utf")
    columns = (
        SpinnerColumn("dots" if unicode else "line"),
        TextColumn("{task.description}", markup=False),
    )
    console = Console(file=stream)
    with stream, Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(text, total=None)

        def update(done: int, total: int) -> None:
            if done < total and len(bars.columns) == len(columns):
                layout = _bar_layout(text, f"{total:,}/{total:,} steps", console.width)
                count = "{task.completed:,}/{task.total:,} steps"
                count = count if layout.shows_count else "{task.percentage:>3.0f} %"
                bars.columns = (*columns, BarColumn(layout.bar), TextColumn(count, markup=False))
                shown = layout.text if unicode else layout.text.replace("…", ".")
                bars.update(task, description=shown)
            bars.update(task, completed=done, total=total)

        with progress.listening(update):
            yield


class _BarLayout(NamedTuple):
    """The line of a progress bar: its text, the width of the bar, and count or percentage."""

    text: str
    bar: int
    shows_count: bool


def _bar_layout(text: str, count: str, width: int) -> _BarLayout:
    """Lay out a progress bar, which always keeps at least 10 columns.

    On a narrow terminal a percentage replaces the count, and the text is cut.

    Args:
        text: What is being done.
        count: The count at its longest, as in ``100,000/100,000 steps``.
        width: Columns of the terminal.
    """
    room = width - 4  # without the spinner and the gaps between columns
    shows_count = room - len(count) >= _MIN_BAR + min(len(text), _MIN_TEXT)
    room -= len(count) if shows_count else len("100 %")
    bar = min(_MAX_BAR, max(_MIN_BAR, room - len(text)))
    room = max(room - bar, 0)
    cut = text if len(text) <= room else f"{text[: max(room - 1, 0)]}…"
    return _BarLayout(cut, bar, shows_count)

"""How far long work is: a spinner or a bar on standard error, on a terminal only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rnnshapes import progress
from rnnshapes.cli.streams import watched

#: How wide a bar is at the least and at the most, and from how many letters on a text says much.
_LEAST_BAR, _WIDEST_BAR, _LEAST_TEXT = 10, 40, 20


@contextmanager
def busy(what: str, unit: str = "steps") -> Iterator[None]:
    """Show a spinner on standard error while the block runs, if that is a terminal.

    The first report of progress turns it into a bar, which counts in ``unit``.
    """
    if not watched(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    # A copy of the descriptor, since TensorFlow's own messages are held back on 2 meanwhile.
    stream = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace")
    unicode = sys.stderr.encoding.lower().startswith("utf")
    columns = (
        SpinnerColumn("dots" if unicode else "line"),
        TextColumn("{task.description}", markup=False),
    )
    console = Console(file=stream)
    with stream, Progress(*columns, console=console, transient=True) as bars:
        work = bars.add_task(what, total=None)

        def show(done: int, whole: int) -> None:
            if done < whole and len(bars.columns) == len(columns):
                said, width, told = _layout(what, f"{whole:,}/{whole:,} {unit}", console.width)
                beside = f"{{task.completed:,}}/{{task.total:,}} {unit}"
                beside = beside if told else "{task.percentage:>3.0f} %"
                bar = (BarColumn(width), TextColumn(beside, markup=False))
                bars.columns = (*columns, *bar)
                bars.update(work, description=said if unicode else said.replace("…", "."))
            bars.update(work, completed=done, total=whole)

        with progress.listening(show):
            yield


def _layout(what: str, count: str, columns: int) -> tuple[str, int, bool]:
    """What is said beside a bar, how wide that is, and whether there is room for the count.

    The bar is never left out; where room is scarce there is a percentage in place of the count,
    and what is said is cut.
    """
    room = columns - 4  # the spinner, and what stands between the columns
    told = room - len(count) >= _LEAST_BAR + min(len(what), _LEAST_TEXT)
    room -= len(count) if told else len("100 %")
    width = min(_WIDEST_BAR, max(_LEAST_BAR, room - len(what)))
    left = max(room - width, 0)
    return (what if len(what) <= left else f"{what[: max(left - 1, 0)]}…"), width, told

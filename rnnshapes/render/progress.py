"""How far long work is: a spinner or a bar on standard error, on a terminal only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rnnshapes.display import Tick
from rnnshapes.render.streams import watched


@contextmanager
def busy(what: str, unit: str = "steps") -> Iterator[Tick]:
    """A spinner on standard error while the block runs, if that is a terminal.

    What is handed out makes a bar of it, once it is told how many of the ``unit`` are done.
    """
    if not watched(sys.stderr):
        yield lambda done, whole: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    # A copy of the descriptor, since TensorFlow's own messages are held back on 2 meanwhile.
    stream = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace")
    spinner = SpinnerColumn("dots" if sys.stderr.encoding.lower().startswith("utf") else "line")
    columns = (spinner, TextColumn("{task.description}", markup=False))
    bar = (BarColumn(), TextColumn(f"{{task.completed:,}}/{{task.total:,}} {unit}", markup=False))
    with stream, Progress(*columns, console=Console(file=stream), transient=True) as progress:
        work = progress.add_task(what, total=None)

        def tick(done: int, whole: int) -> None:
            if done < whole and len(progress.columns) == len(columns):
                progress.columns = (*columns, *bar)
            progress.update(work, completed=done, total=whole)

        yield tick

"""Open a model file of any framework; its content tells which one wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnshapes.load.foreign.model import open_foreign_file
from rnnshapes.load.opened_file import OpenedFile


@contextmanager
def open_file(path: Path) -> Iterator[OpenedFile]:
    """Open a model file. Raises InputError, naming the file, for what cannot be one."""
    with open_foreign_file(path) as foreign:
        if foreign is not None:
            yield foreign
            return
    from rnnshapes.load.saved.model import open_model_file

    with open_model_file(path) as saved:
        yield saved

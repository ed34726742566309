"""A result on its way out: in a format, to standard output or into a file."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO

from rnnshapes import render
from rnnshapes.display import Displayed
from rnnshapes.errors import InputError
from rnnshapes.render.document import for_encoding
from rnnshapes.render.view import View

#: What a file's ending stands for where ``--format`` is not given.
ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown", ".npz": "npz"}


def format_for(chosen: str | None, path: Path | None) -> str:
    """The format asked for, or the one of the file's ending, or a table.

    Raises InputError for a binary format without a file to put it into.
    """
    ending = "" if path is None else path.suffix.lower()
    name = chosen or ENDINGS.get(ending, "table")
    if name == "npz" and path is None:
        raise InputError("--format npz is binary: say where to put it, for example -o trace.npz")
    return name


def check_writable(path: Path | None) -> None:
    """Raise InputError now, and not after the work, if nothing can be written there."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file to write")
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}; make it first")
    there = path.exists()
    if not os.access(path if there else folder, os.W_OK):
        what = "the file" if there else f"the folder {folder}"
        raise InputError(f"{path}: no permission to write {what}; choose another place")


def write_file(result: Displayed, form: str, view: View, path: Path) -> None:
    """Write the result whole or not at all. Raises InputError if it cannot be written."""
    if form == "npz" and render.arrays(result) is None:
        raise InputError(f"{path}: this result holds no arrays for .npz; choose another format")
    try:
        with replacing(path) as stream:
            if form == "npz":
                _write_npz(result, stream)
            else:
                text = TextIOWrapper(stream, encoding="utf-8", newline="\n")
                write_text(result, form, view, text)
                text.flush()
                text.detach()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written: {reason}") from None


def write_text(result: Displayed, form: str, view: View, stream: TextIO) -> None:
    """Write the result in a textual format."""
    if form == "table":
        from rnnshapes.render import terminal

        screen = terminal.screen(stream) if stream is sys.stdout else terminal.plain(stream)
        terminal.draw(render.document(result, view), screen)
        return
    for chunk in _chunks(result, form, view):
        stream.write(for_encoding(chunk, stream.encoding))


def _chunks(result: Displayed, form: str, view: View) -> Iterable[str]:
    from rnnshapes.render import data, markdown

    forms: dict[str, Callable[[], Iterable[str]]] = {
        "json": lambda: data.json_chunks(render.record(result)),
        "csv": lambda: data.csv_chunks(render.rows(result)),
        "markdown": lambda: markdown.chunks(render.document(result, view)),
    }
    return forms[form]()


def _write_npz(result: Displayed, stream: BinaryIO) -> None:
    import numpy as np

    np.savez(stream, **(render.arrays(result) or {}))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream that becomes the file once all is written; what stood there before stays till then.

    A device or a pipe is written to directly.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    target = path.resolve()
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("xb") as stream:
            yield stream
        if target.exists():
            shutil.copymode(target, unfinished)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise

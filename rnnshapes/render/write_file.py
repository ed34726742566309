"""A result on its way out: in a format, to standard output or into a file."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO

from rnnshapes import render
from rnnshapes.errors import InputError
from rnnshapes.memory import amount
from rnnshapes.render.document import for_encoding, printable
from rnnshapes.render.view import View
from rnnshapes.result import Result

#: What a file's ending stands for where ``--format`` is not given.
ENDINGS = {
    "": "table",
    ".txt": "table",
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".svg": "svg",
    ".npz": "npz",
}
#: The same for ``--golden``; ``c`` is a header.
GOLDEN_ENDINGS = {".npz": "npz", ".json": "json", ".h": "c"}


def format_for(chosen: str | None, path: Path | None, allowed: Sequence[str]) -> str:
    """The format asked for, or the one that the file's ending stands for, or a table.

    Raises InputError for an ending that stands for none of those allowed, and for a binary
    format without a file to put it into.
    """
    if path is None:
        if chosen == "npz":
            raise InputError("--format npz is binary: say where to put it, as in -o trace.npz")
        return chosen or "table"
    name = chosen or ENDINGS.get(path.suffix.lower())
    if name is None or name not in allowed:
        formats = ", ".join(allowed)
        raise InputError(
            f"{path}: the ending {path.suffix} stands for no format here; choose one with "
            f"--format: {formats}"
        )
    return name


def check_writable(path: Path | None, source: Path | None = None) -> None:
    """Raise InputError now, and not after the work, if nothing can be written there.

    ``source`` is a file that is read, and so is not to be overwritten.
    """
    if path is None:
        return
    try:
        _check_place(path, source)
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be written: {reason}") from None


def _check_place(path: Path, source: Path | None) -> None:
    path.resolve()  # finds a loop of links
    folder = path.parent
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file to write")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path}: is the input, too; give the output another name")
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}; make it first")
    there = path.exists()
    if not os.access(path if there else folder, os.W_OK):
        what = "the file" if there else f"the folder {folder}"
        raise InputError(f"{path}: no permission to write {what}; choose another place")


def check_golden(path: Path | None, output: Path | None = None, *sources: Path | None) -> None:
    """Raise InputError if a golden file has another ending, or cannot be written there.

    ``output`` is written, too, and ``sources`` are read.
    """
    if path is None:
        return
    if path.suffix.lower() not in GOLDEN_ENDINGS:
        raise InputError(
            f"{path}: a golden file ends in .npz, .json or .h (a C header); give it such a name"
        )
    for source in sources or (None,):
        check_writable(path, source)
    if output is not None and same_file(path, output):
        raise InputError(f"{path}: is the output, too; give the golden file another name")


def same_file(path: Path, other: Path) -> bool:
    """Whether both are one file, or will be once they are written."""
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def write_golden(result: Result, path: Path) -> str:
    """Write the result in the form of the file's ending, and tell in a line what that was."""
    write_file(result, GOLDEN_ENDINGS[path.suffix.lower()], View(), path)
    count, size = len(render.to_arrays(result)), amount(path.stat().st_size)
    return f"rnnshapes: {printable(str(path))} holds {count} arrays, {size}\n"


def write_file(result: Result, form: str, view: View, path: Path) -> None:
    """Write the result whole or not at all. Raises InputError if it cannot be written."""
    with writing(path) as stream:
        if form == "npz":
            _write_npz(result, stream)
        else:
            text = TextIOWrapper(stream, encoding="utf-8", newline="\n")
            write_text(result, form, view, text)
            text.flush()
            text.detach()


def write_text(result: Result, form: str, view: View, stream: TextIO) -> None:
    """Write the result in a textual format."""
    if form == "table":
        from rnnshapes.render.formats import terminal

        screen = terminal.screen(stream) if stream is sys.stdout else terminal.plain(stream)
        terminal.draw(render.to_document(result, view), screen)
        return
    for chunk in _chunks(result, form, view, stream.encoding):
        stream.write(_encodable(chunk, form, stream.encoding))


def _encodable(chunk: str, form: str, encoding: str) -> str:
    """The text for a stream that may take ASCII alone: a browser reads what is written for it."""
    if form in ("html", "svg") and not encoding.lower().startswith("utf"):
        return chunk.encode("ascii", "xmlcharrefreplace").decode("ascii")
    return for_encoding(chunk, encoding)


def _chunks(result: Result, form: str, view: View, encoding: str) -> Iterable[str]:
    if form == "c":
        from rnnshapes.render.formats import c_header

        return c_header.chunks(render.to_c_header(result))
    if form == "svg":  # what a terminal shows, which leaves out the middle of what is long
        from rnnshapes.render.formats import svg

        short = replace(view, most_rows=render.MOST_ROWS)
        return (svg.picture(render.to_document(result, short)),)
    from rnnshapes.render.formats import html_page, json_csv, markdown

    forms: dict[str, Callable[[], Iterable[str]]] = {
        "json": lambda: json_csv.json_chunks(render.to_record(result)),
        "csv": lambda: json_csv.csv_chunks(render.to_rows(result)),
        "markdown": lambda: markdown.chunks(render.to_document(result, view), encoding),
        "html": lambda: html_page.chunks(result, render.to_document(result, view), view),
    }
    return forms[form]()


def _write_npz(result: Result, stream: BinaryIO) -> None:
    import zipfile

    import numpy as np

    # As numpy.savez does, to which an array called "file" would be another argument.
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in render.to_arrays(result).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A stream for the whole of a file. Raises InputError if it cannot be written."""
    try:
        with replacing(path) as stream:
            yield stream
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written: {reason}") from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream that becomes the file once all is written; what stood there before stays till then.

    A device or a pipe is written to directly, and what is behind /dev/stdout is added to.
    """
    if path.exists() and (not path.is_file() or path.is_relative_to("/dev")):
        with path.open("ab") as stream:
            yield stream
        return
    target = path.resolve()
    unfinished = target.with_name(f".rnnshapes-{os.urandom(8).hex()}.tmp")
    stream = unfinished.open("xb")
    try:
        with stream:
            yield stream
        if target.exists():
            shutil.copymode(target, unfinished)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise

"""Write results in a format, to standard output or atomically into a file."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from rnnshapes import render
from rnnshapes.errors import InputError, RnnshapesError
from rnnshapes.memory import format_bytes
from rnnshapes.render.document import for_encoding, is_unicode, printable
from rnnshapes.render.view import View
from rnnshapes.result import Result

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: Format of a file by its extension, where ``--format`` is not given.
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
#: The folder of the files that a process has open.
_DESCRIPTORS = re.compile(r"/proc/\d+/fd|/dev/fd")
#: Links that lead from a name to a file.
_MOST_LINKS = 40
#: Format of a golden file by its extension; ``c`` is a C header.
GOLDEN_ENDINGS = {".npz": "npz", ".json": "json", ".h": "c"}


def format_for(chosen: str | None, path: Path | None, allowed: Sequence[str]) -> str:
    """Return the format of ``--format``, or of the file's extension, or ``table``.

    Args:
        chosen: Value of ``--format``.
        path: File to write, ``None`` for standard output.
        allowed: Formats that the command can write.

    Raises:
        InputError: the extension stands for no allowed format, or a binary format has no file.
    """
    if path is None:
        if chosen == "npz":
            raise InputError("--format npz is binary and requires a file, as in -o trace.npz")
        return chosen or "table"
    name = chosen or ENDINGS.get(path.suffix.lower())
    if name is None or name not in allowed:
        formats = ", ".join(allowed)
        raise InputError(
            f"{path}: the extension {path.suffix} is not a known format here; choose one "
            f"with --format: {formats}"
        )
    return name


def check_writable(path: Path | None, source: Path | None) -> None:
    """Check, before the work begins, that a file can be written.

    Args:
        path: File to write; nothing is checked for ``None``.
        source: File that is read, and so must not be overwritten.

    Raises:
        InputError: nothing can be written there, or it is ``source``.
    """
    if path is None:
        return
    try:
        _check_writable(path, source)
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a NUL byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be written: {reason}") from None


def _check_writable(path: Path, source: Path | None) -> None:
    resolved = path.resolve()  # up to Python 3.12, a loop of links raises RuntimeError
    if resolved.is_symlink():
        raise InputError(f"{path}: cannot be written: its links lead in a loop")
    folder = resolved.parent if path.is_symlink() else path.parent
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file to write")
    exists = path.exists()
    if source is not None and exists and source.exists() and path.samefile(source):
        raise InputError(f"{path}: is also the input; give the output another name")
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}; create it first")
    if not os.access(path if exists else folder, os.W_OK):
        target = "the file" if exists else f"the folder {folder}"
        raise InputError(f"{path}: no permission to write {target}; choose another path")


def check_golden(path: Path | None, output: Path | None = None, *sources: Path | None) -> None:
    """Check, before the work begins, that a golden file can be written.

    Args:
        path: Golden file; nothing is checked for ``None``.
        output: Another file that is written.
        *sources: Files that are read, and so must not be overwritten.

    Raises:
        InputError: the file has another extension, cannot be written, or is one of the others.
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
        raise InputError(f"{path}: is also the output; give the golden file another name")


def same_file(path: Path, other: Path) -> bool:
    """Tell whether both are one file, or will be once they are written."""
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def write_golden(result: Result, path: Path) -> str:
    """Write a Golden in the format of the file's extension, and return a line that says so."""
    write_file(result, GOLDEN_ENDINGS[path.suffix.lower()], View(), path)
    count, size = len(render.to_arrays(result)), format_bytes(path.stat().st_size)
    return f"rnnshapes: {printable(str(path))} holds {count} arrays, {size}\n"


def write_file(result: Result, form: str, view: View, path: Path) -> None:
    """Write the result into a file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    with writing(path) as stream:
        if form == "npz":
            write_npz(render.to_arrays(result), stream)
        else:
            text = TextIOWrapper(stream, encoding="utf-8", newline="\n")
            if form == "c":
                _write_c_header(result, path, text)
            else:
                write_text(result, form, view, text)
            text.flush()
            text.detach()


def write_text(result: Result, form: str, view: View, stream: TextIO) -> None:
    """Write the result in a text format to a stream."""
    if form == "table":
        from rnnshapes.render.formats import terminal

        screen = terminal.screen(stream) if stream is sys.stdout else terminal.plain(stream)
        terminal.draw(render.to_document(result, view), screen)
        return
    for chunk in _chunks(result, form, view, stream.encoding):
        stream.write(_encodable(chunk, form, stream.encoding))


def _encodable(chunk: str, form: str, encoding: str) -> str:
    """Replace what ``encoding`` may lack: by entities for a browser, else by ASCII."""
    if form in ("html", "svg") and not is_unicode(encoding):
        return chunk.encode("ascii", "xmlcharrefreplace").decode("ascii")
    return for_encoding(chunk, encoding)


def _chunks(result: Result, form: str, view: View, encoding: str) -> Iterable[str]:
    """Return the text of a result in a format other than ``table``, piece by piece."""
    match form:
        case "json" | "csv":
            from rnnshapes.render.formats import json_csv

            if form == "json":
                return json_csv.json_chunks(render.to_record(result))
            return json_csv.csv_chunks(render.to_rows(result))
        case "markdown":
            from rnnshapes.render.formats import markdown

            return markdown.chunks(render.to_document(result, view), encoding)
        case "html":
            from rnnshapes.render.formats import html_page

            return html_page.chunks(result, render.to_document(result, view), view)
        case _:  # svg: what a terminal shows, which leaves out the middle of what is long
            from rnnshapes.render.formats import svg

            terminal_view = replace(view, abridged=True)
            return (svg.picture(render.to_document(result, terminal_view)),)


def _write_c_header(result: Result, path: Path, stream: TextIO) -> None:
    from rnnshapes.render.formats import c_header

    header = render.to_c_header(result, c_header.name_from(path))
    stream.writelines(c_header.chunks(header))


def write_npz(arrays: Mapping[str, Array], stream: BinaryIO) -> None:
    """Write arrays by name, as ``numpy.load`` reads them."""
    import zipfile

    import numpy as np

    # As numpy.savez does, which takes an array called "file" for another argument.
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a stream for the whole content of a file.

    A device or a pipe is written directly; what is behind /dev/stdout is appended to.

    Raises:
        InputError: the file cannot be written.
    """
    if path.exists() and (not path.is_file() or _is_open_file(path)):
        try:
            with path.open("ab") as stream:
                yield stream
        except OSError as error:
            raise _unwritable(path, error) from None
        return
    with replacing(path) as unfinished, unfinished.open("wb") as stream:
        yield stream


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write a file, which replaces ``path`` at the end, so that no half one remains.

    Raises:
        InputError: it cannot be written.
    """
    import tempfile

    target = path.resolve()
    try:
        # Nobody else may read the new file before it has the permissions of the old one.
        with tempfile.TemporaryDirectory(prefix=".rnnshapes-", dir=target.parent) as folder:
            unfinished = Path(folder) / path.name
            try:
                yield unfinished
            except RnnshapesError as error:  # which may name the file that is not in place
                raise type(error)(str(error).replace(str(unfinished), str(path))) from None
            if target.exists():
                shutil.copymode(target, unfinished)
            unfinished.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be written: {error.strerror or error}")


def _is_open_file(path: Path) -> bool:
    """Tell whether a path leads to a file that this process has open, as /dev/stdout does."""
    for _ in range(_MOST_LINKS):
        if _DESCRIPTORS.fullmatch(str(path.parent.resolve())):
            return True
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return False

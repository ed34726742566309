"""Array files: .npy, .npz, .csv, .json and .h, read for ``--input`` and for ``--against``.

Nothing in a file is executed: a pickle in it is refused (``allow_pickle=False``).
"""

from __future__ import annotations

import itertools
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load import csv_mistakes
from rnnshapes.ops.activations import Array

T = TypeVar("T")
_LINES = "a line holds one time step: D numbers with commas between them"
#: An array in a C header as ``trace --golden`` writes it: name, meaning and dtype before it.
_C_ARRAY = re.compile(
    r"/\*(?:\n \*)? (?P<name>(?:(?!\*/).)*?):\s(?:(?!\*/).)*?(?P<dtype>\w+)\s*\*/\s*"
    r"static const \w+ [^=;]*=\s*(?P<body>\{.*?\});",
    re.DOTALL,
)


def read_file(path: Path, readers: Mapping[str, Callable[[Path], T]]) -> T:
    """Read a file with the reader for its ending.

    Args:
        path: The file.
        readers: A reader for each ending, ``{".npy": read_npy}``.

    Raises:
        InputError: No reader is for this ending, or the file cannot be read. The message begins
            with the path.
    """
    *others, last = readers
    endings = f"type {', '.join(others)} or {last}"
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: give a file of {endings}; convert this one")
    try:
        if not path.is_file():
            fact = "this is not a file" if path.exists() else "there is no such file"
            raise InputError(f"{path}: {fact}; give a file of {endings}")
        return reader(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not text in UTF-8; save it as that") from None
    except MemoryError:
        raise InputError(f"{path}: the array in it does not fit into memory") from None
    except Exception as error:  # damaged files cause many: zlib.error, RecursionError, …
        raise InputError(f"{path}: {explain(error)}") from None


def explain(error: Exception) -> str:
    """Return what an error of NumPy or of Python means for the user's file, in one line."""
    text = " ".join(str(error).split())[:150]
    if "pickle" in text or "Python objects" in text:
        return "it holds Python objects (a pickle), which are never loaded; save plain numbers"
    if "mmap length" in text or "No data left" in text or "EOF" in text:
        return "the file ends before the numbers that it announces; write it again"
    return f"it cannot be read ({text or type(error).__name__}); write it again"


def real_array(values: object, name: str, kinds: str = "fiub") -> Array:
    """Return an array-like of real numbers as an array.

    Args:
        values: A file's array, or anything that NumPy makes an array of.
        name: What the user calls it, for messages.
        kinds: NumPy's letters for the kinds of numbers that are allowed.

    Raises:
        InputError: It is not an array, or an array of something else.
    """
    try:
        array: Array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{name}: this is not an array of real numbers ({reason})") from None
    if array.dtype.kind not in kinds:
        kind = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text"}.get(
            array.dtype.kind, "something else"
        )
        raise InputError(
            f"{name}: real numbers are expected, this array holds {kind} ({array.dtype})"
        )
    return array


# --- NumPy --------------------------------------------------------------------------------------


def read_npy(path: Path) -> Array:
    """Return the array of a .npy file, mapped from the file and not copied into memory."""
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise InputError(f"{path}: this is not a .npy file; write it with numpy.save")
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


@contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, Array]]:
    """Open a .npz file as a mapping by name, which reads an array when it is asked for."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: this is not a .npz file; write it with numpy.savez")
    with np.load(path, allow_pickle=False) as archive:
        yield archive


# --- CSV ----------------------------------------------------------------------------------------


class NumberTable(NamedTuple):
    """The numbers (rows, columns) of a CSV file in float64; headings are empty if it has none."""

    headings: list[str]
    numbers: Array


class TextTable(NamedTuple):
    """The cells of a CSV file as text, row by row; headings are empty if it has none."""

    headings: list[str]
    rows: list[list[str]]


def read_number_table(path: Path) -> NumberTable:
    """Read a CSV file of numbers, with or without a line of headings."""
    first_lines = list(itertools.islice(_numbered_lines(path), 2))
    headings = _headings(path, first_lines)
    skipped = first_lines[0][0] if headings else 0
    try:
        numbers: Array = np.loadtxt(
            path,
            delimiter=",",
            skiprows=skipped,
            ndmin=2,
            comments=None,
            encoding="utf-8-sig",
            quotechar='"',
        )
    except UnicodeDecodeError:
        raise
    except ValueError:
        lines = (line for line in _numbered_lines(path) if line[0] > skipped)
        raise InputError(f"{path}: {_first_mistake(lines, headings)}; {_LINES}") from None
    if headings and not headings[0].startswith("#") and len(headings) != numbers.shape[1]:
        raise InputError(
            f"{path}: line {skipped} has {len(headings)} headings for {numbers.shape[1]} columns; "
            "write one for each, or none"
        )
    return NumberTable(headings, numbers)


def read_text_table(path: Path, sparse: re.Pattern[str]) -> TextTable:
    """Read a CSV file of numbers, and keep each number as it is written.

    Args:
        path: The file.
        sparse: What a heading looks like in a file whose cells may be empty.
    """
    lines = list(_numbered_lines(path, blank=" ,\t\r\n"))
    headings = _headings(path, lines)
    lines = lines[1:] if headings else lines
    gaps = any(map(sparse.fullmatch, headings))
    rows = [csv_mistakes.split_cells(line) for _, line in lines]
    width = len(headings or rows[0])
    for cells in rows:
        numeric = all(csv_mistakes.is_number(cell) or (gaps and not cell) for cell in cells)
        if not numeric or len(cells) != width:
            raise InputError(f"{path}: {_first_mistake(lines, headings, gaps=gaps)}")
    return TextTable(headings, rows)


def _numbered_lines(path: Path, blank: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text with their numbers from 1 on, without lines of ``blank`` alone."""
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip(blank):
                yield number, line


def _headings(path: Path, lines: list[tuple[int, str]]) -> list[str]:
    """Return the headings in the first of numbered lines, or an empty list.

    Raises InputError where there are no numbers, or the headings cannot be right.
    """
    number, first = lines[0] if lines else (0, "")
    second = lines[1][1] if len(lines) > 1 else ""
    has_headings = csv_mistakes.has_headings(first)
    if not first or (has_headings and not second):
        raise InputError(f"{path}: there is not a single number in it; {_LINES}")
    if mistake := csv_mistakes.heading_mistake(first, second):
        raise InputError(f"{path}: line {number}{mistake}")
    return csv_mistakes.split_cells(first) if has_headings else []


def _first_mistake(
    lines: Iterable[tuple[int, str]], headings: list[str], *, gaps: bool = False
) -> str:
    """Return what is wrong in the first of numbered lines that is not a line of numbers."""
    width = len(headings) or None
    for number, line in lines:
        if mistake := csv_mistakes.line_mistake(line, width, gaps=gaps):
            return f"line {number}{mistake}"
        width = len(csv_mistakes.split_cells(line))
    return "it cannot be read"


def sort_rows(path: Path, samples: Array, steps: Array) -> tuple[Array, Array, int]:
    """Return the order of rows by sample and time step.

    Args:
        path: The file, for messages.
        samples: The sample of each row (rows,): any numbers.
        steps: The time step of each row (rows,).

    Returns:
        The order (rows,), the samples (N,), each once, and the number of time steps.

    Raises:
        InputError: A sample does not have each step from 0 on once.
    """
    order = np.lexsort((steps, samples))
    labels, counts = np.unique(samples, return_counts=True)
    for label, sample_steps in zip(
        labels, np.split(steps[order], np.cumsum(counts)[:-1]), strict=True
    ):
        if not np.array_equal(sample_steps, np.arange(counts[0])):
            raise InputError(
                f"{path}: sample {label:g} does not have each of t = 0 to {counts[0] - 1} once, "
                "as every sample should"
            )
    return order, labels, int(counts[0])


# --- JSON and C ---------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, with each number as the text that stands there."""
    return _parse_json(path.read_text(encoding="utf-8-sig"))


def read_c_header(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield name, dtype and numbers of each array in a C header of ``trace --golden``.

    The numbers are texts in nested lists, and ``null`` (``None``) where one is not finite.
    """
    for array in _C_ARRAY.finditer(path.read_text(encoding="utf-8")):
        body = re.sub(r"(?<=[\d.])f\b", "", array["body"]).replace("{", "[").replace("}", "]")
        body = re.sub(r"-?(?:NAN|INFINITY)", "null", body)
        yield re.sub(r"\n \* ?", " ", array["name"]), array["dtype"], _parse_json(body)


def _parse_json(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)

"""Array files: .npy, .npz, .csv, .json and .h, read for ``--input`` and for ``--against``.

Nothing in a file is executed: a pickle in it is refused. How much an array takes is known from
its header, and how much a text may take from its size, before either is read.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np

from rnnshapes import memory
from rnnshapes.errors import InputError, RnnshapesError
from rnnshapes.load import csv_mistakes
from rnnshapes.ops.activations import Array

T = TypeVar("T")
_LINES = "a line holds one time step: D numbers with commas between them"
_ENDS_EARLY = "the file ends before all numbers that its header states; write it again"
#: Bytes of the header of a NumPy array.
MAX_HEADER_BYTES = 10_000
#: How many times larger an array in a .npz may be than what it takes there, from a size on.
MAX_RATIO, RATIO_FROM = 100, 64 * 2**20
#: Characters of a number that is written in decimal.
MAX_NUMBER_CHARACTERS = 400
#: Bytes of memory for each byte of a text: of a table of numbers, and where each number stays text.
_TABLE_MEMORY, _TEXT_MEMORY = 12, 40
#: A comment of a C header, up to its end or that of the file, or an array up to its first brace.
_C_PART = re.compile(
    r"/\*(?P<comment>.*?)(?:\*/|\Z)|//[^\n]*|\b(?P<name>\w+)\s*(?:\[[^\[\]{}=;]*\]\s*)+=\s*(?=\{)",
    re.DOTALL,
)
#: The type of an array in C, between a comment that says what it is and its name.
_C_TYPE = re.compile(r"[\w\s]*")
_C_END = re.compile(r"\}\s*;")
#: The last line of a header that ends within a declaration.
_C_UNFINISHED = re.compile(r"(?!#|//).*[\w\[\]=,]")


def read_file(path: Path, readers: Mapping[str, Callable[[Path], T]]) -> T:
    """Read a file with the reader for its extension.

    Args:
        path: The file.
        readers: A reader for each extension, ``{".npy": read_npy}``.

    Raises:
        InputError: No reader is for this extension, or the file cannot be read. The message begins
            with the path.
    """
    *others, last = readers
    extensions = f"type {', '.join(others)} or {last}"
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: give a file of {extensions}; convert this one")
    try:
        if not path.is_file():
            fact = "this is not a file" if path.exists() else "there is no such file"
            raise InputError(f"{path}: {fact}; give a file of {extensions}")
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of numbers too large for float64
            return reader(path)
    except RnnshapesError:
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
        return _ENDS_EARLY
    return f"it cannot be read ({text or type(error).__name__}); write it again"


def _require_memory(path: Path, factor: int) -> None:
    """Raise TooLargeError if a text that is read whole does not fit into memory."""
    memory.require(path.stat().st_size * factor, f"{path}: reading it")


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


class _Header(NamedTuple):
    """The header of an array: its shape, dtype and order, and the bytes of its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    size: int

    def array(self, numbers: Array) -> Array:
        """Return the numbers (count,) in the shape of the array."""
        return numbers.reshape(self.shape, order="F" if self.fortran_order else "C")


def read_npy(path: Path) -> Array:
    """Return the array of a .npy file."""
    with path.open("rb") as stream:
        header = _read_header(stream, f"{path}: this is not a .npy file; write it with numpy.save")
        if stream.tell() + header.size > os.fstat(stream.fileno()).st_size:
            raise InputError(f"{path}: {_ENDS_EARLY}")
        memory.require(header.size, f"{path}: reading it")
        return header.array(np.fromfile(stream, header.dtype, math.prod(header.shape)))


@contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, Array]]:
    """Open a .npz file as a mapping by name, which reads an array when it is asked for."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: this is not a .npz file; write it with numpy.savez")
    with zipfile.ZipFile(path) as archive:
        yield _NpzArrays(path, archive)


class _NpzArrays(Mapping[str, Array]):
    """The arrays of a .npz file by name."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive
        self._members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
        if len(self._members) < len(archive.infolist()):
            raise InputError(f"{path}: it holds two arrays of one name; keep one")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> Array:
        member, where = self._members[name], f"{self._path}: array {name!r}"
        with self._archive.open(member) as stream:
            mistake = f"{where} is not in NumPy's format; write the file with numpy.savez"
            header = _read_header(stream, mistake)
            if stream.tell() + header.size != member.file_size:
                raise InputError(
                    f"{where} does not have the size that its header states; write the file again"
                )
            if header.size > max(RATIO_FROM, MAX_RATIO * member.compress_size):
                raise InputError(
                    f"{where} would unpack to {memory.format_bytes(header.size)}, more than "
                    f"{MAX_RATIO} times its size in the file; save it with numpy.save"
                )
            memory.require(header.size, f"{where}: reading it")
            return header.array(np.frombuffer(stream.read(header.size), header.dtype))


def _read_header(stream: IO[bytes], mistake: str) -> _Header:
    """Read the header of an array in NumPy's format, up to the first number.

    Args:
        stream: The file, or a member of a .npz.
        mistake: The message for what does not begin as an array does.

    Raises:
        InputError: It is no such array, or holds something else than plain numbers.
    """
    start = stream.read(8)
    version = tuple(start[6:])
    if start[:6] != b"\x93NUMPY" or version not in ((1, 0), (2, 0)):
        raise InputError(mistake)
    length_bytes = stream.read(2 if version == (1, 0) else 4)
    (length,) = struct.unpack("<H" if version == (1, 0) else "<I", length_bytes)
    if length > MAX_HEADER_BYTES:
        raise InputError(mistake)
    text = io.BytesIO(length_bytes + stream.read(length))
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran_order, dtype = read(text, max_header_size=MAX_HEADER_BYTES)
    if dtype.hasobject:
        raise ValueError("Python objects")
    if any(axis < 0 for axis in shape):
        raise InputError(mistake)
    return _Header(shape, dtype, fortran_order, math.prod(shape) * dtype.itemsize)


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
    _require_memory(path, _TABLE_MEMORY)
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
    _require_memory(path, _TEXT_MEMORY)
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
    _require_memory(path, _TEXT_MEMORY)
    return _parse_json(path.read_text(encoding="utf-8-sig"), path)


def read_c_header(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield name, dtype and numbers of each array in a C header.

    Name and dtype are those in a comment in front of it, as ``trace --golden`` writes it, and
    otherwise those in C. The numbers are texts in nested lists, and ``null`` (``None``) where one
    is not finite.

    Raises:
        InputError: The file ends within a comment, an array or a condition.
    """
    _require_memory(path, _TEXT_MEMORY)
    text = path.read_text(encoding="utf-8")
    cut_off = InputError(f"{path}: it ends within an array or a comment; write it again")
    comment, commented, position = "", 0, 0
    while part := _C_PART.search(text, position):
        start, position = part.start(), part.end()
        if part["name"] is None:
            comment, commented = part["comment"] or "", position
            if part["comment"] is not None and not part[0].endswith("*/"):
                raise cut_off
            continue
        end = _C_END.search(text, position)
        if end is None:
            raise cut_off
        described = _C_TYPE.fullmatch(text, commented, start)
        name, dtype = _described(comment) if described else ("", "")
        if not name:
            type_in_c = text[max(0, start - MAX_NUMBER_CHARACTERS) : start].split()[-1:]
            name, dtype = part["name"], "float64" if type_in_c == ["double"] else "float32"
        body = text[position : end.start() + 1]
        body = re.sub(r"(?<=\d)\.(?!\d)", ".0", re.sub(r"(?<![\w.])\.(?=\d)", "0.", body))
        body = re.sub(r"(?<=\d)[fF]\b", "", body)
        body = re.sub(r"-?(?:NAN|INFINITY)", "null", body.replace("{", "[").replace("}", "]"))
        yield name, dtype, _parse_json(body, path)
        comment, position = "", end.end()
    conditions = [len(re.findall(rf"^#{word}", text, re.MULTILINE)) for word in ("if", "endif")]
    last_line = text.rstrip().rpartition("\n")[2]
    if conditions[0] != conditions[1] or _C_UNFINISHED.fullmatch(last_line):
        raise cut_off


def _described(comment: str) -> tuple[str, str]:
    """Return the name and dtype in a comment of ``trace --golden``; empty where there is none."""
    name, _, meaning = comment.removeprefix("\n *").partition(": ")
    words = re.findall(r"\w+", meaning[-MAX_NUMBER_CHARACTERS:])
    if not words:
        return "", ""
    name = re.sub(r"\n \* ?", " ", name.strip(" ")).replace(" * ", " × ")
    return name, words[-1]


def _parse_json(text: str, path: Path) -> Any:
    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice = next(name for name, count in counts.items() if count > 1)
            raise InputError(f"{path}: it holds {twice[:80]!r} more than once; keep one")
        return record

    return json.loads(
        text,
        parse_float=str,
        parse_int=str,
        parse_constant=str,
        object_pairs_hook=without_duplicates,
    )

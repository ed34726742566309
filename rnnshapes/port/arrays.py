"""The numbers of the user's own implementation, from a file or as arrays.

A file holds one array, or several with names: ``y_hat``, ``output``, ``h``, ``c``, or those of
one recurrence as a trace has them, ``lstm.h``. Numbers that are written in decimal are known to
half a unit of their last digit. Nothing in a file is run.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load import csv_mistakes
from rnnshapes.ops.activations import Array

#: What a single array without a name is called.
UNNAMED = ""
_ENDINGS = ".npy, .npz, .csv, .json or .h"
#: An array in a C header as ``trace --golden`` writes it: name, meaning and dtype before it.
_C_ARRAY = re.compile(
    r"/\*(?:\n \*)? (?P<name>(?:(?!\*/).)*?):\s(?:(?!\*/).)*?(?P<dtype>\w+)\s*\*/\s*"
    r"static const \w+ [^=;]*=\s*(?P<body>\{.*?\});",
    re.DOTALL,
)
#: A heading as a trace has them; where there is none, all columns are one array without a name.
_OWN_HEADING = re.compile(r"y_hat|output|h|c|.*\..*|.*\[\d+\]")
#: Numbers with fewer digits, or fewer decimals, are taken for what they are, and not for cut.
_LEAST_DIGITS, _LEAST_DECIMALS = 3, 2


@dataclass(frozen=True, eq=False)
class PortArray:
    """One array: float64 values, and how far each may be off since it was written in decimal.

    ``dtype`` is the format in which it was kept.
    """

    name: str
    values: Array
    rounding: Array
    dtype: str


@dataclass(frozen=True, eq=False)
class Port:
    """What an implementation has computed; ``name`` is the file's, or ``port``."""

    name: str
    arrays: tuple[PortArray, ...]


def read_port(port: Any) -> Port:
    """The arrays in a file of type .npy, .npz, .csv, .json or .h, in an array, or in a mapping.

    Raises InputError for what cannot be read.
    """
    if isinstance(port, str | Path):
        path = Path(port)
        found = _in_file(path)
        text = str(path)
    else:
        named = port if isinstance(port, Mapping) else {UNNAMED: port}
        text = "port"
        arrays = {str(name): values for name, values in named.items() if not _is_mask(values)}
        found = {name: _exact(values, text) for name, values in arrays.items()}
    if not found:
        raise InputError(f"{text}: there is not a single array in it")
    return Port(text, tuple(PortArray(name, *values) for name, values in found.items()))


def _is_mask(values: object) -> bool:
    """Whether it is one of the arrays of a golden trace that say which steps count."""
    return isinstance(values, np.ndarray) and values.dtype == bool and values.ndim == 2


#: Values, how far they may be off, and the name of their format.
_Read = tuple[Array, Array, str]


def _exact(values: object, text: str) -> _Read:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{text}: this is no array of real numbers ({reason})") from None
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"{text}: a port gives real numbers, and this is an array of {array.dtype}"
        )
    return array.astype(np.float64), np.zeros(array.shape), str(array.dtype)


def _in_file(path: Path) -> dict[str, _Read]:
    readers = {
        ".npy": lambda: {UNNAMED: _npy(path)},
        ".npz": lambda: dict(_npz(path)),
        ".csv": lambda: dict(_csv(path)),
        ".json": lambda: dict(_json(path)),
        ".h": lambda: dict(_header(path)),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: a port's numbers are in a file of type {_ENDINGS}")
    if not path.is_file():
        there = "this is not a file" if path.exists() else "there is no such file"
        raise InputError(f"{path}: {there}; give a file of type {_ENDINGS}")
    try:
        return reader()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not text in UTF-8: save it as that") from None
    except Exception as error:  # zlib.error, RecursionError, …: what a damaged file sets off varies
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise InputError(f"{path}: it cannot be read ({reason}); write it again") from None


def _npy(path: Path) -> _Read:
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise InputError(f"{path}: this is not a .npy file; write it with numpy.save")
    return _exact(np.load(path, allow_pickle=False), str(path))


def _npz(path: Path) -> Iterator[tuple[str, _Read]]:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: this is not a .npz file; write it with numpy.savez")
    with np.load(path, allow_pickle=False) as archive:
        names = archive.files
        for name in names:
            array = archive[name]
            if array.dtype.kind in "fiu":
                yield (
                    (UNNAMED if len(names) == 1 and name == "arr_0" else name),
                    _exact(array, str(path)),
                )


def _csv(path: Path) -> Iterator[tuple[str, _Read]]:
    """Columns of one quantity each, ``y_hat[0]``, by sample and t; or numbers alone."""
    heads, rows = _rows(path)
    if heads is None:
        yield UNNAMED, _decimal(rows, path)
        return
    keys = [heads.index(name) for name in ("sample", "t") if name in heads]
    groups: dict[str, list[int]] = {}
    own = any(_OWN_HEADING.fullmatch(head) for head in heads)
    for place, head in enumerate(heads):
        if place not in keys:
            name = re.sub(r"\[\d+\]$", "", head) if own else UNNAMED
            groups.setdefault(name, []).append(place)
    for name, found_at in groups.items():
        places = _by_unit(path, heads, found_at) if own else found_at
        kept = [row for row in rows if all(row[place] for place in places)]
        if kept:
            found = _decimal([[row[place] for place in places] for row in kept], path)
            leads = [[float(row[place]) for place in keys] for row in kept]
            yield name, _by_keys(found, leads, path)


def _rows(path: Path) -> tuple[list[str] | None, list[list[str]]]:
    """The headings, if there are any, and the cells of all other lines, as many in each."""
    with path.open(encoding="utf-8-sig") as stream:
        lines = [(n, line) for n, line in enumerate(stream, 1) if line.strip(" ,\t\r\n")]
    first, second = [*(line for _, line in lines[:2]), "", ""][:2]
    heads, named = csv_mistakes.cells_of(first), csv_mistakes.has_headings(first)
    if len(lines) <= named:
        raise InputError(f"{path}: there is not a single number in it")
    if wrong := csv_mistakes.not_headings(first, second):
        raise InputError(f"{path}: line {lines[0][0]}{wrong}")
    rows = lines[1:] if named else lines
    width = len(heads) if named or heads[-1] else None  # which ends with a comma
    holes = named and any(map(_OWN_HEADING.fullmatch, heads))  # each may have steps of its own
    found = [csv_mistakes.cells_of(line) for _, line in rows]
    for cells, (number, line) in zip(found, rows, strict=True):
        right = len(cells) == width and all(map(csv_mistakes.is_number, filter(None, cells)))
        if not right or not (holes or all(cells)):
            wrong = csv_mistakes.mistake(line, width, holes=holes)
            raise InputError(f"{path}: line {number}{wrong}")
    return heads if named else None, found


def _by_unit(path: Path, heads: list[str], places: list[int]) -> list[int]:
    """The columns of a quantity in the order of its units, which the headings number."""
    numbers = [
        int(found[1]) if (found := re.search(r"\[(\d+)\]$", heads[p])) else 0 for p in places
    ]
    if sorted(numbers) != list(range(len(places))):
        names = ", ".join(heads[place] for place in places)
        raise InputError(f"{path}: the headings {names[:80]} do not number the units from 0 on")
    return [place for _, place in sorted(zip(numbers, places, strict=True))]


def _by_keys(found: _Read, leads: list[list[float]], path: Path) -> _Read:
    """(N, T, units) of rows with their sample and t; (T, units) of rows that have only one."""
    if not leads[0]:
        return found
    order = sorted(range(len(leads)), key=leads.__getitem__)
    counts = [len({lead[axis] for lead in leads}) for axis in range(len(leads[0]))]
    if [leads[place] for place in order] != [list(at) for at in np.ndindex(*counts)]:
        raise InputError(f"{path}: not every sample has each t from 0 on once")
    values, off, dtype = found
    shape = (*counts, values.shape[1])
    return values[order].reshape(shape), off[order].reshape(shape), dtype


def _json(path: Path) -> Iterator[tuple[str, _Read]]:
    """Nested lists; or an object of them, as ``trace --format json`` and ``--golden`` write it."""
    text = path.read_text(encoding="utf-8-sig")
    found = _parsed(text)
    if isinstance(found, list):
        yield UNNAMED, _decimal(found, path)
        return
    if not isinstance(found, dict):
        raise InputError(f"{path}: this is neither a list of numbers nor an object with such lists")
    for name, value, dtype in _lists(found):
        if _holds_numbers(value):
            yield name, _decimal(value, path, dtype)


def _lists(record: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """The lists of numbers in a record and their dtypes, by the names that a .npz has for them."""
    golden = record.get("arrays")
    for name, value in golden.items() if isinstance(golden, dict) else ():
        if isinstance(value, dict) and "data" in value:
            yield name, value["data"], str(value.get("dtype", "float32"))
    layers = record.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        for key, part in layer.items() if isinstance(layer, dict) and "name" in layer else ():
            if isinstance(part, list) and "_keras" not in key:
                yield f"{layer['name']}.{key}", part, "float64"
    for name, value in record.items():
        if isinstance(value, dict) and isinstance(value.get("numpy"), list):
            yield name, value["numpy"], "float64"
        elif isinstance(value, list) and name != "layers":
            yield name, value, "float32"


def _holds_numbers(value: Any) -> bool:
    """Whether nested lists have a number, or null, at their first place, or nothing at all."""
    while isinstance(value, list) and value:
        value = value[0]
    return value in (None, []) or (isinstance(value, str) and csv_mistakes.is_number(value))


def _header(path: Path) -> Iterator[tuple[str, _Read]]:
    """The arrays of a C header as ``trace --golden`` writes it."""
    for found in _C_ARRAY.finditer(path.read_text(encoding="utf-8")):
        body = re.sub(r"(?<=[\d.])f\b", "", found["body"]).replace("{", "[").replace("}", "]")
        body = re.sub(r"-?(?:NAN|INFINITY)", "null", body)
        yield re.sub(r"\n \* ?", " ", found["name"]), _decimal(_parsed(body), path, found["dtype"])


def _parsed(text: str) -> Any:
    """JSON in which every number stays as it was written."""
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def _decimal(nested: Any, path: Path, dtype: str = "float32") -> _Read:
    """Numbers as text, in nested lists, with half a unit of each one's last digit."""
    try:
        texts = np.array(_filled(nested))
    except ValueError:
        raise InputError(f"{path}: its lists are not all of the same length") from None
    if not texts.size:
        return np.zeros(texts.shape), np.zeros(texts.shape), dtype
    flat = texts.reshape(-1).tolist()
    for text in flat:
        if not isinstance(text, str) or not csv_mistakes.is_number(text):
            raise InputError(f"{path}: {str(text)[:40]!r} is not a number")
    values = np.array([float(text) for text in flat])
    return values.reshape(texts.shape), _cut(flat, values).reshape(texts.shape), dtype


def _filled(nested: Any) -> Any:
    """Nested lists in which null is NaN, as JSON writes it."""
    if isinstance(nested, list):
        return [_filled(part) for part in nested]
    return "nan" if nested is None else nested


def _cut(texts: list[str], values: Array) -> Array:
    """How far each number may be off since it was written with so many decimals, or digits.

    As with ``%.6f`` or ``%.6g``, whichever takes more away; where numbers are written in full,
    neither takes away anything that counts.
    """
    parts = [text.lower().partition("e") for text in texts]
    decimals = max(len(mantissa.partition(".")[2]) for mantissa, _, _ in parts)
    digits = max(len(re.sub(r"\D", "", mantissa).lstrip("0")) for mantissa, _, _ in parts)
    off = np.zeros(len(texts))
    if decimals >= _LEAST_DECIMALS and not any(exponent for _, _, exponent in parts):
        off += 0.5 * 10.0**-decimals
    if digits >= _LEAST_DIGITS:
        with np.errstate(divide="ignore"):
            exponents = np.floor(np.log10(np.abs(values)))
        off = np.maximum(off, np.where(values == 0, 0.0, 0.5 * 10.0 ** (exponents - digits + 1)))
    return off

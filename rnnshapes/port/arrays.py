"""Arrays that a port computed: read from a file, or given from Python.

A port is the user's own implementation of a network. It gives one array, or several with names:
``y_hat``, ``output``, ``h``, ``c``, or those of one recurrence as a trace names them, ``lstm.h``.
Numbers that are written in decimal are known to half a unit of their last digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load import array_files
from rnnshapes.load.array_files import MAX_NUMBER_CHARACTERS
from rnnshapes.load.csv_mistakes import is_number
from rnnshapes.ops.activations import Array

#: The name of a single array without one.
UNNAMED = ""
#: A heading as a trace writes it; where no heading is one, all columns are one unnamed array.
_TRACE_HEADING = re.compile(r"y_hat|output|h|c|.*\..*|.*\[\d+\]")
#: What the name of a mask ends in.
_MASK = "mask"
#: Numbers with fewer digits, or fewer decimals, are exact, and not rounded.
_LEAST_DIGITS, _LEAST_DECIMALS = 3, 2


@dataclass(frozen=True, eq=False)
class PortArray:
    """One array of a port.

    ``values`` are in float64. ``rounding`` is how far each may be from the computed number since
    it was written in decimal, 0 for binary formats. ``dtype`` is the dtype it was stored in.
    ``note`` says how it is read where its name alone does not, and is empty otherwise.
    """

    name: str
    values: Array
    rounding: Array
    dtype: str
    note: str = ""

    def __getitem__(self, index: Any) -> PortArray:
        return replace(self, values=self.values[index], rounding=self.rounding[index])

    def reshape(self, *shape: int) -> PortArray:
        """Return the same numbers in another shape."""
        return replace(
            self, values=self.values.reshape(shape), rounding=self.rounding.reshape(shape)
        )


@dataclass(frozen=True, eq=False)
class Port:
    """All arrays of a port; ``name`` is the file's, or ``port``.

    ``ignored`` are the names of arrays that the user leaves out: they are not read.
    """

    name: str
    arrays: tuple[PortArray, ...]
    ignored: tuple[str, ...] = ()


#: The name of an array, and what reads it.
_Entry = tuple[str, Callable[[], PortArray]]


def read_port(port: Any, ignore: Collection[str] = ()) -> Port:
    """Read the arrays of a port.

    Args:
        port: A file of type .npy, .npz, .csv, .json or .h, an array, or a mapping of arrays.
        ignore: The names of arrays to leave out.

    Raises:
        InputError: It cannot be read, holds no array, or two of one name, or an array that is none
            of real numbers.
    """
    if isinstance(port, str | Path):
        return array_files.read_file(Path(port), _readers(str(port), ignore))
    values = port if isinstance(port, Mapping) else {UNNAMED: port}
    return _chosen(_of_mapping(values), "port", ignore)


def _readers(name: str, ignore: Collection[str]) -> dict[str, Callable[[Path], Port]]:
    """Return a reader for each type of file; ``name`` is that of the port."""
    entries: dict[str, Callable[[Path], Iterator[_Entry]]] = {
        ".npy": _of_npy,
        ".npz": _of_npz,
        ".csv": _of_csv,
        ".json": _of_json,
        ".h": _of_c_header,
    }

    def reader(read: Callable[[Path], Iterator[_Entry]]) -> Callable[[Path], Port]:
        return lambda path: _chosen(read(path), name, ignore)

    return {extension: reader(read) for extension, read in entries.items()}


def _chosen(entries: Iterator[_Entry], source: str, ignore: Collection[str]) -> Port:
    """Read the entries whose names are not ignored; ``source`` is the port's name."""
    arrays: dict[str, PortArray] = {}
    ignored = []
    for name, read in entries:
        if name in ignore:
            ignored.append(name)
        elif name in arrays:
            raise InputError(f"{source}: it holds {name[:80]!r} more than once; keep one")
        else:
            arrays[name] = read()
    if not arrays:
        raise InputError(f"{source}: it contains no array; save at least one, such as y_hat")
    return Port(source, tuple(arrays.values()), tuple(ignored))


def _of_mapping(arrays: Mapping[Any, Any]) -> Iterator[_Entry]:
    for name, values in arrays.items():
        if not _is_mask(str(name), values):
            yield str(name), partial(_binary, str(name), values, "port")


def _is_mask(name: str, values: object) -> bool:
    """Return whether values are a golden file's mask (N, T), which says which steps count."""
    is_mask = isinstance(values, np.ndarray) and values.dtype == bool and values.ndim == 2
    return is_mask and name.endswith(_MASK)


def _binary(name: str, values: object, source: str) -> PortArray:
    """Return numbers that were never written in decimal; ``source`` is the port's name."""
    where = f"{source}: array {name!r}" if name else source
    dtype = ""
    if isinstance(values, np.ndarray) and values.dtype.kind == "V" and values.dtype.itemsize == 2:
        import ml_dtypes  # which comes with Keras

        # NumPy writes bfloat16 as two bytes without a type
        dtype, values = "bfloat16", values.view(ml_dtypes.bfloat16).astype(np.float32)
    array = array_files.real_array(values, where, "fiu")
    dtype = str(dtype or array.dtype)
    return PortArray(name, array.astype(np.float64), np.zeros(array.shape), dtype)


def _of_npy(path: Path) -> Iterator[_Entry]:
    yield UNNAMED, lambda: _binary(UNNAMED, array_files.read_npy(path), str(path))


def _of_npz(path: Path) -> Iterator[_Entry]:
    def read(name: str, array: Array) -> Callable[[], PortArray]:
        return lambda: _binary(name, array, str(path))

    with array_files.open_npz(path) as archive:
        for name in archive:
            array = archive[name]
            if not _is_mask(name, array):
                unnamed = len(archive) == 1 and name == "arr_0"
                yield name, read(UNNAMED if unnamed else name, array)


# --- CSV ----------------------------------------------------------------------------------------


def _of_csv(path: Path) -> Iterator[_Entry]:
    """Yield an array for each quantity, ``y_hat[0],y_hat[1]``, by sample and t; or one array."""
    headings, rows = array_files.read_text_table(path, _TRACE_HEADING)
    keys = [headings.index(key) for key in ("sample", "t") if key in headings]
    is_trace = any(map(_TRACE_HEADING.fullmatch, headings))
    columns: dict[str, list[int]] = {}
    for column, heading in enumerate(headings or rows[0]):
        if column not in keys:
            name = re.sub(r"\[\d+\]$", "", heading) if is_trace else UNNAMED
            columns.setdefault(name, []).append(column)

    def read(name: str, units: list[int]) -> PortArray:
        units = _by_unit(path, headings, units) if is_trace else units
        present = [row for row in rows if any(row[column] for column in units)]
        _require_cells(path, headings, present, units)
        _require_keys(path, [headings[key] for key in keys], present, keys)
        array = _decimal(name, [[row[column] for column in units] for row in present], path)
        row_keys = np.array([[float(row[key]) for key in keys] for row in present])
        return _by_keys(array, row_keys, path)

    for name, units in columns.items():
        if any(row[column] for row in rows for column in units):
            yield name, partial(read, name, units)


def _require_cells(
    path: Path, headings: list[str], rows: list[list[str]], columns: list[int]
) -> None:
    """Raise InputError for a row with some numbers of a quantity, but not all."""
    for row in rows:
        for column in columns:
            if not row[column]:
                raise InputError(
                    f"{path}: a row has a part of its numbers, and no {headings[column]}: "
                    f"{','.join(row)[:40]}; fill it in"
                )


def _require_keys(path: Path, names: list[str], rows: list[list[str]], columns: list[int]) -> None:
    """Raise InputError for a row without sample or time step."""
    for row in rows:
        for name, column in zip(names, columns, strict=True):
            if not row[column]:
                raise InputError(
                    f"{path}: a row has numbers and no {name}: {','.join(row)[:40]}; fill it in"
                )


def _by_unit(path: Path, headings: list[str], columns: list[int]) -> list[int]:
    """Return the columns of a quantity in the order of its units, which the headings number."""
    numbers = [
        int(unit[1]) if (unit := re.search(r"\[(\d+)\]$", headings[column])) else 0
        for column in columns
    ]
    if sorted(numbers) != list(range(len(columns))):
        names = ", ".join(headings[column] for column in columns)
        raise InputError(
            f"{path}: the headings {names[:80]} do not number the units from 0 on; write "
            "y_hat[0], y_hat[1], …"
        )
    return [column for _, column in sorted(zip(numbers, columns, strict=True))]


def _by_keys(array: PortArray, keys: Array, path: Path) -> PortArray:
    """Arrange the rows of an array (rows, units) by sample and time step.

    Args:
        array: The rows as the file has them.
        keys: Sample and time step of each row (rows, 2), one of them (rows, 1), or none.
        path: The file, for messages.

    Returns:
        (N, T, units) for two keys, else (rows, units).
    """
    if not keys.shape[1]:
        return array
    both = keys.shape[1] == 2
    samples = keys[:, 0] if both else np.zeros(len(keys))
    order, labels, count = array_files.sort_rows(path, samples, keys[:, -1])
    if not np.array_equal(labels, np.arange(len(labels))):
        raise InputError(f"{path}: its samples are not numbered from 0 on; number them 0, 1, 2, …")
    return array[order].reshape(len(labels), count, -1) if both else array[order]


# --- JSON and C ---------------------------------------------------------------------------------


def _of_json(path: Path) -> Iterator[_Entry]:
    """Yield the arrays of nested lists, or of a record of ``trace --format json``, ``--golden``."""
    record = array_files.read_json(path)
    if isinstance(record, list):
        yield UNNAMED, partial(_decimal, UNNAMED, record, path)
        return
    if not isinstance(record, dict):
        raise InputError(
            f"{path}: this is neither a list of numbers nor an object with such lists; "
            "write nested lists of numbers, or an object with one for each array"
        )
    for name, nested, dtype in _lists(record):
        yield name, partial(_decimal, name, nested, path, dtype)


def _lists(record: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield the lists of a record: name, as a .npz file has it, numbers, and dtype.

    All is a list of numbers in a record that is not one of rnnshapes.
    """
    if not str(record.get("schema")).startswith("rnnshapes."):
        yield from ((name, value, "float32") for name, value in record.items())
        return
    golden = record.get("arrays")
    for name, value in golden.items() if isinstance(golden, dict) else ():
        data = value.get("data") if isinstance(value, dict) else value
        dtype = str(value.get("dtype", "float32")) if isinstance(value, dict) else "float32"
        if dtype != "bool" or not name.endswith(_MASK):
            yield name, data, dtype
    layers = record.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        for key, value in layer.items() if isinstance(layer, dict) and "name" in layer else ():
            if isinstance(value, list) and value and "_keras" not in key and _holds_numbers(value):
                yield f"{layer['name']}.{key}", value, "float64"
    for name, value in record.items():
        if isinstance(value, dict) and "numpy" in value:
            yield name, value["numpy"], "float64"


def _holds_numbers(nested: Any) -> bool:
    """Return whether nested lists begin with a number or null, or are empty."""
    while isinstance(nested, list) and nested:
        nested = nested[0]
    return nested in (None, []) or (isinstance(nested, str) and is_number(nested))


def _of_c_header(path: Path) -> Iterator[_Entry]:
    for name, dtype, nested in array_files.read_c_header(path):
        yield name, partial(_decimal, name, nested, path, dtype)


# --- Numbers in decimal -------------------------------------------------------------------------


def _decimal(name: str, nested: Any, path: Path, dtype: str = "float32") -> PortArray:
    """Return an array of numbers that are texts in nested lists, with their rounding."""
    shape, flat = _flatten(nested, path)
    if not flat:
        return PortArray(name, np.zeros(shape), np.zeros(shape), dtype)
    texts = ["nan" if text is None else text for text in flat]  # JSON has null in its place
    for text in texts:
        if not isinstance(text, str) or len(text) > MAX_NUMBER_CHARACTERS or not is_number(text):
            where = f"array {name[:80]!r}: " if name else ""
            if isinstance(text, dict):
                raise InputError(
                    f"{path}: {where}an object stands in place of a number; write one with nested "
                    f'lists of numbers for each array: {{"h": [[[0.1, …], …], …]}} is h (N, T, M)'
                )
            shown = repr(str(text)[:40])
            raise InputError(f"{path}: {where}{shown} is not a number; write numbers in decimal")
    values = np.array([float(text) for text in texts])
    return PortArray(name, values, _rounding(texts, values), dtype).reshape(*shape)


def _flatten(nested: Any, path: Path) -> tuple[tuple[int, ...], list[Any]]:
    """Return the shape of nested lists, and what is in them in order.

    Raises InputError if lists of one level differ in length.
    """
    shape: list[int] = []
    level = [nested]
    while any(isinstance(part, list) for part in level):
        lengths = {len(part) if isinstance(part, list) else None for part in level}
        if len(lengths) > 1:
            raise InputError(f"{path}: its lists differ in length; write rows of the same length")
        shape.append(len(level[0]))
        level = [part for parts in level for part in parts]
    return tuple(shape), level


def _rounding(texts: list[str], values: Array) -> Array:
    """Return how far each number may be off: half a unit of the last decimal, or of the last digit.

    Numbers are written with so many decimals (``%.6f``) or with so many digits (``%.6g``); the
    larger rounding of both counts. Where they are written in full, it is below the last bit.
    """
    numbers = [text.lower().partition("e") for text in texts]
    decimals = max(len(mantissa.partition(".")[2]) for mantissa, _, _ in numbers)
    digits = max(len(re.sub(r"\D", "", mantissa).lstrip("0")) for mantissa, _, _ in numbers)
    rounding = np.zeros(len(texts))
    if decimals >= _LEAST_DECIMALS and not any(exponent for _, _, exponent in numbers):
        rounding += 0.5 * 10.0**-decimals
    if digits >= _LEAST_DIGITS:
        with np.errstate(divide="ignore"):
            exponents = np.floor(np.log10(np.abs(values)))
        rounding = np.maximum(rounding, 0.5 * 10.0 ** (exponents - digits + 1))  # 0 of zeros
    return rounding

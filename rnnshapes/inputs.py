"""The input x, (N, T, D): drawn from a seed, given as an array, or read from a file.

An input is handed out in blocks of time steps, so that a long one need not stand in memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from rnnshapes.algebra.arrays import Array
from rnnshapes.algebra.dims import shape_text
from rnnshapes.errors import InputError
from rnnshapes.network import MEANING, Network
from rnnshapes.weights import streams

_ENDINGS = "type .npy, .npz or .csv"
_LINES = "a line holds one time step: D numbers with commas between them"


class Source(Protocol):
    """Where x comes from."""

    @property
    def text(self) -> str:
        """What the user knows it by."""

    def blocks(self, steps: int) -> Iterator[Array]:
        """x as ``predict`` takes it, (N, B, D) with B at most ``steps``, in time order."""


@dataclass(frozen=True)
class Drawn:
    """Standard normal float32, the same for the same seed and sizes however they are cut."""

    shape: tuple[int, int, int]
    seed: int

    @property
    def text(self) -> str:
        return f"drawn with seed {self.seed}"

    def blocks(self, steps: int) -> Iterator[Array]:
        rng = np.random.default_rng(streams(self.seed)[1])
        n, t, d = self.shape
        for start in range(0, t, steps):
            size = (min(steps, t - start), n, d)
            yield np.swapaxes(rng.standard_normal(size, dtype=np.float32), 0, 1)


@dataclass(frozen=True, eq=False)
class Given:
    """An array (N, T, D) of real numbers; ``text`` is the file's name, or ``x``.

    ``dtype`` is what Keras's ``predict`` rounds its input to, whatever the dtype of the model
    (``keras/src/trainers/data_adapters/array_data_adapter.py``).
    """

    array: Array
    text: str
    dtype: str = "float32"

    def blocks(self, steps: int) -> Iterator[Array]:
        for start in range(0, self.array.shape[1], steps):
            with np.errstate(over="ignore"):  # float64 may be too large: it is reported as inf
                yield np.asarray(self.array[:, start : start + steps], dtype=self.dtype)


def whole(source: Source) -> Array:
    """All of x at once, (N, T, D)."""
    return next(source.blocks(2**62))


def read(path: Path) -> Given:
    """The array in a .npy, .npz or .csv file.

    A .npz holds one array, or one named ``x``. A .csv holds one time step per line, with or
    without a line of headings; columns with the headings ``sample`` and ``t`` come first and say
    which sample and which step a line is. Nothing in a file is run (``allow_pickle=False``).
    Raises InputError.
    """
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: the input is a file of {_ENDINGS}; convert it to one of these")
    try:
        if not path.is_file():
            there = "this is not a file" if path.exists() else "there is no such file"
            raise InputError(f"{path}: {there}; give a file of {_ENDINGS}")
        return given(reader(path), str(path))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise InputError(f"{path}: the array in it does not fit into memory") from None
    except Exception as error:  # zlib.error, TokenError, …: what a damaged file sets off varies
        raise InputError(f"{path}: {_reason(error)}") from None


def given(array: object, text: str) -> Given:
    """An array-like (N, T, D), or (T, D) for a single sample; InputError for anything else."""
    try:
        values = np.asanyarray(array)
    except ValueError as error:
        raise InputError(f"{text}: {_reason(error)}") from None
    if values.dtype.kind not in "fiub":
        kinds = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text"}
        what = kinds.get(values.dtype.kind, f"the type {values.dtype}")
        raise InputError(f"{text}: x holds real numbers, this array holds {what}")
    if values.ndim not in (2, 3):
        raise InputError(
            f"{text}: x has shape (N, T, D), or (T, D) for one sample; "
            f"the shape of this array is {values.shape}"
        )
    if not values.size:
        raise InputError(f"{text}: the array is empty, {values.shape}; x has at least one number")
    return Given(values if values.ndim == 3 else values[None], text)


def drawn(network: Network, seed: int) -> Drawn:
    """x for the sizes of a network."""
    n, t, d = (network.known(name) for name in "NTD")
    return Drawn((n, t, d), seed)


def check_stated(data: Given, stated: Mapping[str, object]) -> None:
    """Raise InputError, naming both, if a size that the user gave contradicts the data."""
    shape = data.array.shape
    for (name, size), found in zip(stated.items(), shape, strict=True):
        if size is not None and size != found:
            raise InputError(
                f"{data.text}: its shape (N, T, D) is {shape_text(shape)}, so {name} "
                f"({MEANING[name]}) is {found}, but {name} was given as {size} "
                f"(--{name} {size}); leave {name} out or give other data"
            )


def fit(network: Network, data: Given) -> Network:
    """The network with N and T of the data.

    Raises InputError if the network wants another T or D.
    """
    n, t, d = data.array.shape
    wanted = shape_text(network.numbers(network.input_shape))
    if network.sizes["D"] != d or network.sizes["T"] not in (None, t):
        raise InputError(
            f"{data.text}: its shape (N, T, D) is {shape_text((n, t, d))}, but the model takes "
            f"{wanted}; give data of that shape"
        )
    return network.with_sizes(N=n, T=t)


def _read_npy(path: Path) -> Array:
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise InputError(f"{path}: this is not a .npy file; write it with numpy.save")
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(path: Path) -> Array:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: this is not a .npz file; write it with numpy.savez")
    with np.load(path, allow_pickle=False) as archive:
        names = archive.files
        chosen = names[0] if len(names) == 1 else "x"
        if chosen not in names:
            held = ", ".join(map(repr, names)) or "nothing"
            raise InputError(f"{path}: which array is x? It holds {held}; name one of them 'x'")
        array: Array = archive[chosen]
        return array


def _read_csv(path: Path) -> Array:
    try:
        names, skip = _headings(path)
        table: Array = np.loadtxt(
            path, delimiter=",", skiprows=skip, ndmin=2, comments=None, encoding="utf-8-sig"
        )
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not text in UTF-8; {_LINES}") from None
    except ValueError:
        raise InputError(f"{path}: {_first_mistake(path)}; {_LINES}") from None
    if names[:1] == ["t"]:
        names, table = ["sample", *names], np.insert(table, 0, 0, axis=1)
    return _by_sample(path, table) if names[:2] == ["sample", "t"] else table


def _headings(path: Path) -> tuple[list[str], int]:
    """The headings, in small letters, if there are any, and how many lines they take."""
    with path.open(encoding="utf-8-sig") as stream:
        lines = [(n, line) for n, line in enumerate(stream, 1) if line.strip()][:2]
    if not lines:
        raise InputError(f"{path}: there is not a single number in it; {_LINES}")
    number, first = lines[0]
    cells = [cell.strip().lower() for cell in first.split(",")]
    if any(map(_is_number, cells)) or not any(map(str.isalpha, first)):
        return [], 0
    if len(lines) == 1:
        raise InputError(f"{path}: there is not a single number in it; {_LINES}")
    if "" in cells:
        raise InputError(
            f"{path}: column {cells.index('') + 1} has no heading: is it an index? "
            "Write the file without it (pandas: index=False)"
        )
    return cells, number


def _first_mistake(path: Path) -> str:
    """What is wrong in the first line that does not fit, counted from 1."""
    width = None
    skip = _headings(path)[1]
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if number <= skip or not line.strip():
                continue
            cells = [cell.strip() for cell in line.split(",")]
            for column, cell in enumerate(cells, 1):
                if not _is_number(cell):
                    return f"line {number}, column {column}: {cell[:40]!r} is not a number"
            if len(cells) != (width := width or len(cells)):
                return f"line {number} has {len(cells)} numbers, those before it {width}"
    return "it cannot be read"


def _by_sample(path: Path, table: Array) -> Array:
    """(N, T, D) from rows of sample, t and D numbers, in the order that these two columns say."""
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    samples, counts = np.unique(table[:, 0], return_counts=True)
    for sample, rows in zip(samples, np.split(table, np.cumsum(counts)[:-1]), strict=True):
        if not np.array_equal(rows[:, 1], np.arange(counts[0])):
            raise InputError(
                f"{path}: sample {sample:g} has not each of t = 0 to {counts[0] - 1} once, "
                "as every sample should"
            )
    if table.shape[1] == 2:
        raise InputError(f"{path}: there are no features behind sample and t; {_LINES}")
    return table[:, 2:].reshape(len(samples), counts[0], -1)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _reason(error: Exception) -> str:
    """What NumPy says, in one line and in the user's words."""
    text = " ".join(str(error).split())
    if "pickle" in text or "Python objects" in text:
        return "it holds Python objects (a pickle), which are never loaded; save plain numbers"
    if "mmap length" in text or "No data left" in text or "EOF" in text:
        return "the file ends before the numbers that it announces; write it again"
    return text or type(error).__name__

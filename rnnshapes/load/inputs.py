"""The input x, (N, T, D): drawn from a seed, given as an array, or read from a file.

An input is handed out in blocks of time steps, so that a long one need not stand in memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load import csv_mistakes
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.normalization import Embedding, Masking
from rnnshapes.network.weights import streams
from rnnshapes.ops.activations import Array

_ENDINGS = "type .npy, .npz or .csv"
_ALL = slice(None)
_LINES = "a line holds one time step: D numbers with commas between them"


class InputSource(Protocol):
    """Where x comes from."""

    @property
    def description(self) -> str:
        """What the user knows it by."""

    def blocks(self, steps: int, part: slice = ...) -> Iterator[Array]:
        """x as ``predict`` takes it, (N, B, D) with B at most ``steps``, in time order.

        ``part`` says which samples.
        """


@dataclass(frozen=True)
class RandomInput:
    """Standard normal float32, the same for the same seed and sizes however they are cut.

    For an input of ``words`` kinds, whole numbers below that. Where the network masks steps of
    which every feature is ``padding``, each sample is given some of them at its end.
    """

    shape: tuple[int, ...]
    seed: int
    place: int = 0
    words: int | None = None
    padding: float | None = None

    @property
    def description(self) -> str:
        padded = "" if self.padding is None else ", with masked steps at the end of each sample"
        return f"drawn with seed {self.seed}{padded}"

    def blocks(self, steps: int, part: slice = _ALL) -> Iterator[Array]:
        rng = np.random.default_rng(streams(self.seed, self.place)[1])
        n, *rest = self.shape
        if len(rest) < 2 and self.words is None:
            yield rng.standard_normal(self.shape, dtype=np.float32)[part]
            return
        t, features = rest[0], rest[1:]
        lengths = np.random.default_rng(self.seed).integers((t + 1) // 2, max(t, 2), n)
        for start in range(0, t, steps):
            size = (min(steps, t - start), n, *features)
            made: Array
            if self.words is None:
                made = rng.standard_normal(size, dtype=np.float32)
            else:
                made = rng.integers(min(1, self.words - 1), self.words, size)
            if self.padding is not None:
                beyond = np.arange(start, start + len(made))[:, None] >= lengths
                made[beyond] = self.padding
            yield np.swapaxes(made, 0, 1)[part]


@dataclass(frozen=True, eq=False)
class ArrayInput:
    """An array (N, T, D) of real numbers; ``description`` is the file's name, or ``x``.

    ``dtype`` is what Keras's ``predict`` rounds its input to, whatever the dtype of the model
    (``keras/src/trainers/data_adapters/array_data_adapter.py``).
    """

    array: Array
    description: str
    dtype: str = "float32"

    def blocks(self, steps: int, part: slice = _ALL) -> Iterator[Array]:
        if self.array.ndim < 2:
            yield self.array[part]
            return
        for start in range(0, self.array.shape[1], steps):
            with np.errstate(over="ignore"):  # float64 may be too large: it is reported as inf
                yield np.asarray(self.array[part, start : start + steps], dtype=self.dtype)


#: What each input of a network is fed with.
InputSources = tuple[InputSource, ...]


def full_array(source: InputSource) -> Array:
    """All of x at once, (N, T, D)."""
    return next(source.blocks(2**62))


def describe_inputs(sources: InputSources, network: Network) -> str:
    """What the user knows the input by; where inputs differ, with the names of each."""
    named: dict[str, list[str]] = {}
    for source, node in zip(sources, network.inputs, strict=True):
        named.setdefault(source.description, []).append(node.name)
    if len(named) == 1:
        return next(iter(named))
    return "; ".join(f"{text} ({', '.join(names)})" for text, names in named.items())


def read_input(path: Path, rank: int | None = 3, name: str = "x") -> ArrayInput:
    """The array in a .npy, .npz or .csv file.

    A .npz holds one array, or one called ``name``. A .csv holds one time step per line, with or
    without a line of headings; columns with the headings ``sample`` and ``t`` come first and say
    which sample and which step a line is. Nothing in a file is run (``allow_pickle=False``).
    Raises InputError.
    """
    readers: dict[str, Callable[[Path], Array]] = {
        ".npy": _read_npy,
        ".npz": lambda path: _read_npz(path, name),
        ".csv": _read_csv,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: the input is a file of {_ENDINGS}; convert it to one of these")
    try:
        if not path.is_file():
            there = "this is not a file" if path.exists() else "there is no such file"
            raise InputError(f"{path}: {there}; give a file of {_ENDINGS}")
        return array_input(reader(path), str(path), rank)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise InputError(f"{path}: the array in it does not fit into memory") from None
    except Exception as error:  # zlib.error, TokenError, …: what a damaged file sets off varies
        raise InputError(f"{path}: {_reason(error)}") from None


def array_input(array: object, text: str, rank: int | None = 3) -> ArrayInput:
    """An array-like of ``rank`` axes, (N, T, D), or one fewer for a single sample.

    A rank of ``None`` leaves the axes for :mod:`rnnshapes.load.check_shape` to judge. Raises
    InputError for anything else.
    """
    try:
        values = np.asanyarray(array)
    except ValueError as error:
        raise InputError(f"{text}: {_reason(error)}") from None
    if values.dtype.kind not in "fiub":
        kinds = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text"}
        what = kinds.get(values.dtype.kind, f"the type {values.dtype}")
        raise InputError(f"{text}: x holds real numbers, this array holds {what}")
    if rank is not None and values.ndim not in (rank - 1, rank):
        axes = ", ".join(("N", "T", "D", *("…",) * (rank - 3))[:rank])
        one = "(T, D)" if rank == 3 else "(T,)"
        raise InputError(
            f"{text}: x has shape ({axes}), or {one} for one sample; "
            f"the shape of this array is {values.shape}"
        )
    if not values.size:
        raise InputError(f"{text}: the array is empty, {values.shape}; x has at least one number")
    return ArrayInput(values if rank in (None, values.ndim) else values[None], text)


def random_inputs(network: Network, seed: int) -> InputSources:
    """An input for each of the network's."""
    return tuple(
        _random_input(network, node, place, seed) for place, node in enumerate(network.inputs)
    )


def _random_input(network: Network, node: Node, place: int, seed: int) -> RandomInput:
    layer = node.layer
    assert isinstance(layer, Input)
    shape = tuple(
        network.known(str(dim)) if len(dim.names) == 1 else network.count(dim)
        for dim in layer.shape
    )
    position = network.nodes.index(node)
    users = [n.layer for n in network.nodes if any(tap.node == position for tap in n.sources)]
    words: int | None = None
    padding: float | None = None
    for user in users:
        if isinstance(user, Embedding):
            words = network.count(user.words)
            padding = 0 if user.mask_zero else None
        elif isinstance(user, Masking):
            padding = user.value
    return RandomInput(shape, seed, place, words, padding)


def _read_npy(path: Path) -> Array:
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise InputError(f"{path}: this is not a .npy file; write it with numpy.save")
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(path: Path, wanted: str) -> Array:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: this is not a .npz file; write it with numpy.savez")
    with np.load(path, allow_pickle=False) as archive:
        names = archive.files
        chosen = names[0] if len(names) == 1 and wanted == "x" else wanted
        if chosen not in names:
            held = ", ".join(map(repr, names)) or "nothing"
            raise InputError(
                f"{path}: which array is {wanted}? It holds {held}; name one of them {wanted!r}"
            )
        array: Array = archive[chosen]
        return array


def _read_csv(path: Path) -> Array:
    skip = 0
    try:
        names, skip = _headings(path)
        table: Array = np.loadtxt(
            path,
            delimiter=",",
            skiprows=skip,
            ndmin=2,
            comments=None,
            encoding="utf-8-sig",
            quotechar='"',
        )
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not text in UTF-8: save it as that; {_LINES}") from None
    except ValueError:
        raise InputError(f"{path}: {_first_mistake(path, skip)}; {_LINES}") from None
    if names and not names[0].startswith("#") and len(names) != table.shape[1]:
        raise InputError(
            f"{path}: line {skip} has {len(names)} headings for {table.shape[1]} columns; "
            "write one for each, or none"
        )
    if names[:1] == ["t"]:
        names, table = ["sample", *names], np.insert(table, 0, 0, axis=1)
    return _by_sample(path, table) if names[:2] == ["sample", "t"] else table


def _headings(path: Path) -> tuple[list[str], int]:
    """The headings, in small letters, if there are any, and how many lines they take."""
    with path.open(encoding="utf-8-sig") as stream:
        lines = [(n, line) for n, line in enumerate(stream, 1) if line.strip()][:2]
    number, first = lines[0] if lines else (0, "")
    second = lines[1][1] if len(lines) > 1 else ""
    named = csv_mistakes.has_headings(first)
    if not first or (named and not second):
        raise InputError(f"{path}: there is not a single number in it; {_LINES}")
    if wrong := csv_mistakes.not_headings(first, second):
        raise InputError(f"{path}: line {number}{wrong}")
    return ([cell.lower() for cell in csv_mistakes.cells_of(first)], number) if named else ([], 0)


def _first_mistake(path: Path, skip: int) -> str:
    """What is wrong in the first line that does not fit, counted from 1."""
    width = None
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            if number > skip and (wrong := csv_mistakes.mistake(line, width)):
                return f"line {number}{wrong}"
            width = len(csv_mistakes.cells_of(line))
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


def _reason(error: Exception) -> str:
    """What NumPy says, in one line and in the user's words."""
    text = " ".join(str(error).split())
    if "pickle" in text or "Python objects" in text:
        return "it holds Python objects (a pickle), which are never loaded; save plain numbers"
    if "mmap length" in text or "No data left" in text or "EOF" in text:
        return "the file ends before the numbers that it announces; write it again"
    return text or type(error).__name__

"""The input x (N, T, D): random numbers from a seed, an array, or a file.

An input is read in blocks of time steps, so that a long one need not be in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load import array_files
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.embedding import Embedding
from rnnshapes.network.layers.masking import Masking
from rnnshapes.network.weights import streams
from rnnshapes.ops.activations import Array

_ALL = slice(None)


class InputSource(Protocol):
    """A source of x for one input of a network."""

    @property
    def description(self) -> str:
        """What the user knows it by: a file's name, ``x``, or the seed."""

    def blocks(self, steps: int, samples: slice = ..., /) -> Iterator[Array]:
        """Yield x as ``predict`` takes it, in blocks of time steps.

        Args:
            steps: The most time steps of a block.
            samples: Which samples to return.

        Yields:
            Blocks (N, B, D) in time order, with B at most ``steps``.
        """


@dataclass(frozen=True)
class RandomInput:
    """Standard normal float32, the same for the same seed and shape whatever the blocks are.

    For an input of word indices (``words`` kinds), integers below that number. Where the network
    masks steps whose features are all ``padding``, each sample ends with some such steps.
    ``index`` is the position of the input among those of the network.
    """

    shape: tuple[int, ...]
    seed: int
    index: int = 0
    words: int | None = None
    padding: float | None = None

    @property
    def description(self) -> str:
        padded = "" if self.padding is None else ", with masked steps at the end of each sample"
        return f"random, seed {self.seed}{padded}"

    def blocks(self, steps: int, samples: slice = _ALL, /) -> Iterator[Array]:
        rng = np.random.default_rng(streams(self.seed, self.index)[1])
        n, *rest = self.shape

        def numbers(size: tuple[int, ...]) -> Array:
            if self.words is None:
                return rng.standard_normal(size, dtype=np.float32)
            return rng.integers(min(1, self.words - 1), self.words, size)

        if len(rest) < (2 if self.words is None else 1):
            yield numbers(self.shape)[samples]
            return
        t, features = rest[0], rest[1:]
        lengths = np.random.default_rng(self.seed).integers((t + 1) // 2, max(t, 2), n)
        for start in range(0, t, steps):
            block = numbers((min(steps, t - start), n, *features))
            if self.padding is not None:
                beyond = np.arange(start, start + len(block))[:, None] >= lengths
                block[beyond] = self.padding
            yield np.swapaxes(block, 0, 1)[samples]


@dataclass(frozen=True, eq=False)
class ArrayInput:
    """An array (N, T, D) of real numbers; ``description`` is the file's name, or ``x``.

    ``dtype`` is what Keras's ``predict`` rounds its input to, whatever the dtype of the model
    (``keras/src/trainers/data_adapters/array_data_adapter.py``).
    """

    array: Array
    description: str
    dtype: str = "float32"

    def blocks(self, steps: int, samples: slice = _ALL, /) -> Iterator[Array]:
        if self.array.ndim < 2:
            yield self.array[samples]
            return
        for start in range(0, self.array.shape[1], steps):
            with np.errstate(over="ignore"):  # float64 may be too large: it is reported as inf
                yield np.asarray(self.array[samples, start : start + steps], dtype=self.dtype)


#: A source for each input of a network, in their order.
InputSources = tuple[InputSource, ...]


def full_array(source: InputSource) -> Array:
    """Return all of x at once, (N, T, D)."""
    return next(source.blocks(2**62))


def describe_inputs(sources: InputSources, network: Network) -> str:
    """Return the descriptions of all inputs, with the inputs' names where they differ."""
    inputs: dict[str, list[str]] = {}
    for source, node in zip(sources, network.inputs, strict=True):
        inputs.setdefault(source.description, []).append(node.name)
    if len(inputs) == 1:
        return next(iter(inputs))
    return "; ".join(f"{text} ({', '.join(names)})" for text, names in inputs.items())


def load(x: Any, name: str) -> ArrayInput:
    """Return an array or a file as an input; ``name`` is that of an array, for messages."""
    return read_input(Path(x)) if isinstance(x, str | Path) else array_input(x, name)


def read_input(path: Path, name: str = "x") -> ArrayInput:
    """Read x from a .npy, .npz or .csv file.

    A .npz file holds one array, or one called ``name``. A .csv file holds one time step per line,
    with or without a line of headings. Columns with the headings ``sample`` and ``t`` come first
    and give the sample and the time step of a line.

    Args:
        path: The file. Nothing in it is executed.
        name: The name of the input in a .npz file.

    Raises:
        InputError: The file cannot be read, or does not hold real numbers.
    """
    readers: dict[str, Callable[[Path], Array]] = {
        ".npy": array_files.read_npy,
        ".npz": lambda path: _read_npz(path, name),
        ".csv": _read_csv,
    }
    return array_input(array_files.read_file(path, readers), str(path))


def array_input(array: object, description: str) -> ArrayInput:
    """Return an array-like as an input.

    Args:
        array: Real numbers.
        description: The name of the file, or ``x``, for messages.

    Raises:
        InputError: It is anything else, or empty.
    """
    values = array_files.real_array(array, description)
    if not values.size:
        raise InputError(
            f"{description}: the array is empty, {values.shape}; x has at least one number"
        )
    return ArrayInput(values, description)


def sequences(data: ArrayInput) -> ArrayInput:
    """Return data (N, T, D), where that of one sample may be (T, D); InputError for any other."""
    array = data.array
    if array.ndim not in (2, 3):
        raise InputError(
            f"{data.description}: x has shape (N, T, D), or (T, D) for one sample; "
            f"the shape of this array is {array.shape}"
        )
    return data if array.ndim == 3 else replace(data, array=array[None])


def layers_fed_by(network: Network, node: Node) -> list[Layer]:
    """Return the layers that take an output of a node, and for TimeDistributed the one in it."""
    position = network.nodes.index(node)
    users = [n.layer for n in network.nodes if any(tap.node == position for tap in n.sources)]
    return [getattr(layer, "inner", layer) for layer in users]


def random_inputs(network: Network, seed: int) -> InputSources:
    """Return random inputs for a network, one for each of its inputs."""
    return tuple(
        _random_input(network, node, index, seed) for index, node in enumerate(network.inputs)
    )


def _random_input(network: Network, node: Node, index: int, seed: int) -> RandomInput:
    layer = node.layer
    assert isinstance(layer, Input)
    shape = tuple(
        network.size(str(dim)) if len(dim.names) == 1 else network.count(dim) for dim in layer.shape
    )
    words = 2 if layer.integers else None  # indices that any table has
    padding: float | None = None
    for user in layers_fed_by(network, node):
        if isinstance(user, Embedding):
            words = network.count(user.words)
            padding = 0 if user.mask_zero else None
        elif isinstance(user, Masking):
            padding = user.value
    return RandomInput(shape, seed, index, words, padding)


def _read_npz(path: Path, wanted: str) -> Array:
    with array_files.open_npz(path) as archive:
        names = list(archive)
        name = names[0] if len(names) == 1 and wanted == "x" else wanted
        if name not in names:
            listed = ", ".join(map(repr, names)) or "nothing"
            raise InputError(
                f"{path}: it holds {listed}, and no array {wanted!r}; rename one to {wanted!r}"
            )
        return archive[name]


def _read_csv(path: Path) -> Array:
    """Return x (N, T, D) where there are columns for sample and step, else (T, D)."""
    headings, table = array_files.read_number_table(path)
    names = [heading.lower() for heading in headings]
    if names[:1] == ["t"]:
        names, table = ["sample", *names], np.insert(table, 0, 0, axis=1)
    if names[:2] != ["sample", "t"]:
        return table
    order, samples, steps = array_files.sort_rows(path, table[:, 0], table[:, 1])
    if table.shape[1] == 2:
        raise InputError(
            f"{path}: there are no features after sample and t; add a column for each feature"
        )
    return table[order, 2:].reshape(len(samples), steps, -1)

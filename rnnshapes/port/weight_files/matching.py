"""Matching of the layers of a weight file to those of a Keras network.

Each layer of Keras is paired with one of the file, by name, by its numbers, or by its position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.load.foreign.model import FileRecurrence, ForeignFile
from rnnshapes.load.foreign.modules import OtherModule
from rnnshapes.load.foreign.tensors import Tensor
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.time_distributed import layer_at_step
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Where
from rnnshapes.port.mistakes.cell_changes import ARRAY_NAMES
from rnnshapes.port.weight_files.pytorch import module_name

#: Roles of other weights in a module, by their names in Keras.
_ROLES = {
    "kernel": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "alpha": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
#: Roles of arrays that are matrices or kernels, by the way in which they are stored.
_MATRICES = ("weight", "kernel", "table")
#: A layer of a stack of PyTorch, or a member of a Sequential.
_LEVEL = re.compile(r"(.*\.|)l?([0-9]{1,4})")


class Recurrence(NamedTuple):
    """One cell of a Keras layer with its weights, in each direction.

    ``cells`` are those of the directions. ``arrays`` are Wx (D, G·M), Wh (M, G·M) and the bias bh,
    (G·M,) or (2, G·M), by direction. The network has them under the name of the direction, by the
    key with the ``suffix`` of the cell. ``direction_names`` are what Keras calls those of a
    Bidirectional layer.
    """

    layer: str
    cells: tuple[Cell, ...]
    features: int
    units: int
    arrays: tuple[Mapping[str, Array], ...]
    directions: tuple[str, ...]
    suffix: str
    reverse: tuple[bool, ...]
    direction_names: tuple[str, ...] = ("forward", "backward")

    @property
    def cell(self) -> Cell:
        """The cell of the first direction."""
        return self.cells[0]

    @property
    def kind(self) -> str:
        """The cell with its sizes, in words."""
        directions = "in both directions" if len(self.arrays) > 1 else "in one direction"
        sizes = f"{self.features} features and {self.units} units"
        return f"{self.cell.class_name} of {sizes} {directions}"

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each direction, with that of the cell in a stack of cells."""
        return tuple(f"{name}/{self.suffix}" if self.suffix else name for name in self.directions)

    @property
    def sizes(self) -> object:
        """What a layer has in common with those of the same cell and sizes."""
        return self.cell.name, self.features, self.units, len(self.arrays)

    def forward_first(self) -> Recurrence:
        """Return the recurrence with the direction that takes the sequence forward first."""
        order = sorted(range(len(self.reverse)), key=self.reverse.__getitem__)
        return self._replace(
            cells=tuple(self.cells[number] for number in order),
            arrays=tuple(self.arrays[number] for number in order),
            directions=tuple(self.directions[number] for number in order),
            reverse=tuple(self.reverse[number] for number in order),
            direction_names=tuple(self.direction_names[number] for number in order),
        )

    def where(self, direction: int, array: str | None = None) -> Where:
        """Return a location in this recurrence."""
        both = self.direction_names[direction] if len(self.arrays) > 1 else None
        return Where(self.layer, both, array)

    def fits(self, other: FileRecurrence) -> bool:
        """Return whether a recurrence of the file has its cell and its sizes."""
        return (
            {cell.name for cell in self.cells} == {other.cell.name}
            and other.features == self.features
            and {len(arrays["Wh"]) for arrays in self.arrays} == {other.units} == {other.state}
            and len(other.parts) == len(self.arrays)
        )

    def equals(self, other: FileRecurrence) -> bool:
        """Return whether a recurrence that fits has its kernels."""
        return all(
            np.array_equal(as_stored(arrays[key][rows], other.dtype)[0], parts[key][rows])
            for rows in (slice(1), slice(1, None))  # the first row tells most of them apart
            for arrays, parts in zip(self.arrays, other.parts, strict=True)
            for key in ("Wx", "Wh")
        )


class PlainWeights(NamedTuple):
    """The weights of a Keras layer without recurrence, by name, and the keys of these names."""

    layer: str
    name: str
    arrays: Mapping[str, Array]
    keys: Mapping[str, str]
    is_table: bool

    @property
    def sizes(self) -> object:
        """What a layer has in common with those of the same sizes."""
        return tuple((name, array.shape) for name, array in self.arrays.items())


Own = TypeVar("Own", Recurrence, PlainWeights)
Other = TypeVar("Other", FileRecurrence, OtherModule)


class Matching:
    """The layers of a network, and the layers and arrays of a file that belong to them.

    Args:
        network: The network.
        weights: Its weights, as Keras has them.
        file: The file.
        by_numbers: Whether equal numbers may pair layers, too.
    """

    def __init__(
        self, network: Network, weights: Weights, file: ForeignFile, *, by_numbers: bool = True
    ) -> None:
        self.by_numbers = by_numbers
        self.network, self.is_onnx = network, file.framework == "ONNX"
        self.file = file
        self.file_recurrences, self.modules = list(file.recurrences()), file.contents.others
        self.tensors = {tensor.name: tensor for each in self.modules for tensor in each.tensors}
        self.roles = {name: role for each in self.modules for name, role in each.roles.items()}
        self.names = {each.name for each in self.file_recurrences}
        self.names |= {each.name for each in self.modules}
        self.values: dict[str, Array] = {}
        self.used: set[str] = set()
        self.before = _layers_before(network)
        self.recurrences: list[Recurrence] = []
        self.groups: list[PlainWeights] = []
        for layer in network.layers:
            if layer.directions:
                of_layer = recurrences_of(network, weights, layer.name)
                # ONNX has the direction that takes the sequence forward first.
                self.recurrences += (r.forward_first() if self.is_onnx else r for r in of_layer)
                continue
            for name, members in layer.groups.items():
                arrays = {each.name: np.asarray(weights[name][each.key]) for each in members}
                keys = {each.name: each.key for each in members}
                is_table = layer_at_step(layer).type == "Embedding"
                self.groups.append(PlainWeights(layer.name, name, arrays, keys, is_table))
        self.layers = _pairs(
            self.recurrences,
            self._in_order(self.file_recurrences),
            (
                lambda own, other: self.is_named(own.layer, other.name) and own.fits(other),
                lambda own, other: by_numbers and own.fits(other) and own.equals(other),
                lambda own, other: not self._is_decided(own) and own.fits(other),
            ),
        )
        self.used |= {a.tensor.name for each in self.layers.values() for a in each.arrays}
        self.others = _pairs(
            self.groups,
            self._in_order(self.modules),
            (
                lambda own, other: self.is_named(own.layer, other.name) and self.has(own, other),
                lambda own, other: by_numbers and self.equals(own, other),
                lambda own, other: not self._is_decided(own) and self.has(own, other),
                lambda own, other: (
                    (not self._is_decided(own) or self.is_named(own.layer, other.name))
                    and bool(self.members_of(own, other.tensors))
                ),
            ),
        )
        self.members = self._all_members()
        equal = {n for n, other in self.layers.items() if self.recurrences[n].equals(other)}
        self.equal_layers = equal
        self.equal_groups = {n for n, o in self.others.items() if self.equals(self.groups[n], o)}

    def is_named(self, layer: str, name: str) -> bool:
        """Return whether a layer has its name in a file of PyTorch."""
        return module_name(layer) == name and not self.is_onnx

    def _is_decided(self, own: Recurrence | PlainWeights) -> bool:
        """Return whether the name of a layer alone says what in the file belongs to it."""
        return not (self.by_numbers or self.is_onnx) and module_name(own.layer) in self.names

    def has(self, group: PlainWeights, module: OtherModule) -> bool:
        """Return whether a module has an array for each of a group."""
        return len(self.members_of(group, module.tensors)) == len(group.arrays) > 0

    def equals(self, group: PlainWeights, module: OtherModule) -> bool:
        """Return whether a module has the numbers of each array of a group."""
        return self.has(group, module) and all(
            self.conversion(group, group.arrays[name], tensor)
            for name, tensor in self.members_of(group, module.tensors).items()
        )

    def members_of(self, group: PlainWeights, tensors: Iterable[Tensor]) -> dict[str, Tensor]:
        """Return which of some arrays of the file are those of a group, by name in Keras."""
        found: dict[str, Tensor] = {}
        left = list(tensors)
        for name, values in group.arrays.items():
            fitting = [
                tensor
                for tensor in left
                if self.fits(name, values, tensor)
                and (self.by_numbers or self.orientations(tensor, values.shape, group.is_table))
            ]
            equal = (
                each for each in fitting if self.by_numbers and self.conversion(group, values, each)
            )
            if fitting:
                found[name] = next(equal, fitting[0])
                left.remove(found[name])
        return found

    def _all_members(self) -> dict[int, dict[str, Tensor]]:
        """Return the arrays of each group: those of its module, and then any others that fit."""
        members: dict[int, dict[str, Tensor]] = {}
        for number, group in enumerate(self.groups):
            module = self.others.get(number)
            members[number] = self.members_of(group, module.tensors) if module else {}
            self.used |= {tensor.name for tensor in members[number].values()}
        if not self.by_numbers:
            self._add_last(members)
            return members
        for is_equal in (True, False):
            for number, group in enumerate(self.groups):
                for name, values in group.arrays.items():
                    if name in members[number]:
                        continue
                    for tensor in self.tensors.values():
                        if (
                            tensor.name not in self.used
                            and self.fits(name, values, tensor)
                            and (not is_equal or self.conversion(group, values, tensor))
                        ):
                            members[number][name] = tensor
                            self.used.add(tensor.name)
                            break
        return members

    def _add_last(self, members: Mapping[int, dict[str, Tensor]]) -> None:
        """Add the only array of an ONNX file that is left, if one array alone is missing."""
        left = [tensor for name, tensor in self.tensors.items() if name not in self.used]
        missing = [
            (number, name)
            for number, group in enumerate(self.groups)
            for name in group.arrays
            if name not in members[number]
        ]
        if not (self.is_onnx and len(left) == len(missing) == 1):
            return
        ((number, name),), (tensor,) = missing, left
        if self.fits(name, self.groups[number].arrays[name], tensor):
            members[number][name] = tensor

    def precedes(self, first: Recurrence | PlainWeights, second: Recurrence | PlainWeights) -> bool:
        """Return whether Keras computes the second of two layers from the first.

        Those of one layer are the cells of a stack.
        """
        return first.layer == second.layer or first.layer in self.before.get(second.layer, ())

    def position(self, other: FileRecurrence | OtherModule) -> tuple[str, int]:
        """Return in which stack of the file a layer is, and where: ``net.2``, ``rnn.l1``.

        The nodes of ONNX are one stack.
        """
        if self.is_onnx:
            layers: Sequence[object] = self.modules
            if isinstance(other, FileRecurrence):
                layers = self.file_recurrences
            return "", next(number for number, each in enumerate(layers) if each is other)
        match = _LEVEL.fullmatch(other.name)
        return (match[1], int(match[2])) if match else (other.name, 0)

    def _in_order(self, others: Sequence[Other]) -> list[Other]:
        """Return layers of the file in the order of each stack: ``net.2`` before ``net.10``."""
        stacks: dict[str, int] = {}
        for other in others:
            stacks.setdefault(self.position(other)[0], len(stacks))

        def key(other: Other) -> tuple[int, int]:
            stack, position = self.position(other)
            return stacks[stack], position

        return sorted(others, key=key)

    def unordered(
        self, own: Sequence[Own], pairs: Mapping[int, Other]
    ) -> Iterator[tuple[Other, ...]]:
        """Yield layers of the file of one size that neither names nor an order tell apart."""
        alike: dict[object, list[int]] = {}
        for number, other in pairs.items():
            if not self.is_named(own[number].layer, other.name):
                alike.setdefault(own[number].sizes, []).append(number)
        for numbers in alike.values():
            numbers.sort()
            stacks = {self.position(pairs[number])[0] for number in numbers}
            is_ordered = len(stacks) == 1 and all(
                self.precedes(own[a], own[b]) for a, b in pairwise(numbers)
            )
            if not is_ordered:
                yield tuple(pairs[number] for number in numbers)

    def siblings(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Return the arrays of the module of an array."""
        return next(each.tensors for each in self.modules if tensor in each.tensors)

    def fits(self, name: str, values: Array, tensor: Tensor) -> bool:
        """Return whether role and shape of an array of the file are those of one of Keras."""
        role, own = self.roles.get(tensor.name, ""), _ROLES.get(name.rpartition("/")[2], "")
        role = "weight" if role in _MATRICES else role
        is_alike = not role or not own or role == own
        return is_alike and tensor.shape in (values.shape, pytorch_shape(values.shape))

    def conversion(self, group: PlainWeights, values: Array, tensor: Tensor) -> str:
        """Return by which conversion the file has an array; empty if by none."""
        expected, rounding = as_stored(values, tensor.dtype)
        for rule, stored in self.forms(tensor, values.shape, group.is_table):
            if are_equal(expected, stored):
                return rule + rounding
        return ""

    def orientations(self, tensor: Tensor, shape: tuple[int, ...], is_table: bool) -> list[str]:
        """Return how an array of this shape may be stored: as it is, or transposed."""
        rank, role = len(shape), self.roles.get(tensor.name, "")
        as_it_is = rank < 2 or is_table or role == "kernel" or (self.is_onnx and not role)
        transposed = rank > 1 and not is_table and role != "kernel"
        shapes = {"as it is": (as_it_is, shape), "transposed": (transposed, pytorch_shape(shape))}
        return [name for name, (may_be, one) in shapes.items() if may_be and tensor.shape == one]

    def forms(
        self, tensor: Tensor, shape: tuple[int, ...], is_table: bool
    ) -> Iterator[tuple[str, Array]]:
        """Yield how an array may be stored, with the array in this shape."""
        for orientation in self.orientations(tensor, shape, is_table):
            values = self.read(tensor)
            if orientation == "transposed":
                values = np.transpose(values, (*range(2, len(shape)), 1, 0))
            yield orientation, values

    def read(self, tensor: Tensor) -> Array:
        """Return the numbers of an array of the file, in float64."""
        if tensor.name not in self.values:
            values = tensor.read().reshape(tensor.shape)
            self.values[tensor.name] = values.astype(np.float64)
        return self.values[tensor.name]


def pytorch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that PyTorch has for a matrix or a kernel of Keras."""
    return (*shape[::-1][:2], *shape[:-2])


def _pairs(
    own: Sequence[Own],
    others: Sequence[Other],
    rules: Sequence[Callable[[Own, Other], bool]],
) -> dict[int, Other]:
    """Return layers of the file by the numbers of those of Keras, each used once.

    Each rule pairs what the rules before it have left, in order.
    """
    pairs: dict[int, Other] = {}
    left = list(others)
    for rule in rules:
        for number, each in enumerate(own):
            if number in pairs:
                continue
            match = next((position for position, o in enumerate(left) if rule(each, o)), None)
            if match is not None:
                pairs[number] = left.pop(match)
    return pairs


def _layers_before(network: Network) -> dict[str, set[str]]:
    """Return the layers from whose outputs the first call of each layer is computed."""
    by_node: list[set[str]] = []
    before: dict[str, set[str]] = {}
    for node in network.nodes:
        taps = (*node.sources, *node.initial)
        names = {network.nodes[tap.node].layer.name for tap in taps}
        by_node.append(names.union(*(by_node[tap.node] for tap in taps)))
        before.setdefault(node.layer.name, by_node[-1])
    return before


def recurrences_of(network: Network, weights: Weights, layer_name: str) -> Iterator[Recurrence]:
    """Yield the cells of a layer, those of a stack one after the other."""
    layer = next(each for each in network.layers if each.name == layer_name)
    first = layer.directions[0]
    features = network.count(first.features)
    for suffix, cell in first.cell.cells_by_suffix.items():
        cells = tuple(each.cell.cells_by_suffix[suffix] for each in layer.directions)
        units = network.count(cell.units)
        arrays = tuple(
            {
                key: np.asarray(weights[direction.name][key + suffix])
                for key in ARRAY_NAMES
                if key + suffix in weights[direction.name]
            }
            for direction in layer.directions
        )
        names = tuple(direction.name for direction in layer.directions)
        reverse = tuple(direction.reverse for direction in layer.directions)
        yield Recurrence(layer.name, cells, features, units, arrays, names, suffix, reverse)
        features = units


def are_equal(first: Array, second: Array) -> bool:
    """Return ``np.array_equal`` of two arrays of one rank.

    The first row tells most of the many arrays in a file apart.
    """
    is_alike = first.ndim == 0 or np.array_equal(first[:1], second[:1])
    return is_alike and np.array_equal(first, second)


def as_stored(values: Array, dtype: str) -> tuple[Array, str]:
    """Return numbers as a dtype holds them, in float64, and how they were rounded, in words."""
    exact = values.astype(np.float64)
    if dtype not in PRECISIONS or dtype == "float64":
        return exact, ""
    if PRECISIONS[dtype].is_16bit:
        rounded = PRECISIONS[dtype].rounded(exact)
    else:
        rounded = exact.astype(np.float32).astype(np.float64)
    return rounded, "" if np.array_equal(rounded, exact) else f", rounded to {dtype}"

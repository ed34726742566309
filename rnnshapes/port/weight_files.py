"""Comparison of a Keras network's weights with a weight file of PyTorch or ONNX.

Neither model runs. Each layer of Keras is paired with one of the file, by name, by its numbers, or
by its position. For each array of the pair this finds the conversion, or says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.load.foreign.model import FileRecurrence, ForeignFile
from rnnshapes.load.foreign.modules import OtherModule
from rnnshapes.load.foreign.tensors import Tensor
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.mistakes import ARRAY_NAMES
from rnnshapes.port.weight_mistakes import (
    bias_mistake,
    kernel_mistake,
    option_mistakes,
    plain_mistake,
)
from rnnshapes.result import Result

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
_LEVEL = re.compile(r"(?:(.*)\.)?l?([0-9]{1,4})")


class WeightCheck(NamedTuple):
    """One array of Keras in a file of another framework.

    Attributes:
        name: Its name in Keras: ``lstm/kernel``; in the file, if it is only there.
        arrays: The arrays of the file that it was compared with.
        rule: The conversion; empty if none fits.
        compared: How many numbers were compared.
        mistake: What is wrong, and where; ``None`` if nothing is.
    """

    name: str
    arrays: tuple[str, ...]
    rule: str
    compared: int
    mistake: Mistake | None = None


@dataclass(frozen=True, repr=False)
class WeightVerification(Result):
    """Every weight of a Keras network, compared with a file of PyTorch or ONNX.

    ``unknown_arrays`` are arrays of the file that belong to no weight of the network.
    ``assumptions`` are sentences on what the file does not say.
    """

    schema = "rnnshapes.verify/1"
    renderer = "weight_files"

    network: Network
    path: str
    framework: str
    kind: str
    checks: tuple[WeightCheck, ...]
    unknown_arrays: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed, and there is one."""
        return bool(self.checks) and all(check.mistake is None for check in self.checks)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What is wrong, array by array."""
        return tuple(check.mistake for check in self.checks if check.mistake is not None)


def verify_weights(network: Network, weights: Weights, file: ForeignFile) -> WeightVerification:
    """Compare every weight of a Keras network with a file of another framework.

    Args:
        network: The network.
        weights: Its weights, as Keras has them.
        file: The file.

    Raises:
        InputError: The numbers of the file cannot be read.
        TooLargeError: They do not fit into memory.
    """
    comparison = _Comparison(network, weights, file)
    return WeightVerification(
        network=network,
        path=file.check(file.network).path,
        framework=file.framework,
        kind=file.contents.kind,
        checks=tuple(comparison.checks()),
        unknown_arrays=tuple(comparison.unused()),
        assumptions=tuple(comparison.assumptions()),
    )


class _Recurrence(NamedTuple):
    """One cell of a Keras layer with its weights, in each direction.

    ``arrays`` are Wx (D, G·M), Wh (M, G·M) and the bias bh, (G·M,) or (2, G·M), by direction.
    """

    layer: str
    cell: Cell
    features: int
    units: int
    arrays: tuple[Mapping[str, Array], ...]
    names: tuple[str, ...]
    reverse: tuple[bool, ...]

    @property
    def sizes(self) -> object:
        """What a layer has in common with those of the same cell and sizes."""
        return self.cell.name, self.features, self.units, len(self.arrays)

    def where(self, direction: int, array: str | None = None) -> Where:
        """Return a place in it."""
        both = ("forward", "backward")[direction] if len(self.arrays) > 1 else None
        return Where(self.layer, both, array)

    def fits(self, other: FileRecurrence) -> bool:
        """Return whether a recurrence of the file has its cell and its sizes."""
        return (
            other.cell.name == self.cell.name
            and other.features == self.features
            and other.units == other.state == self.units
            and len(other.parts) == len(self.arrays)
        )

    def equals(self, other: FileRecurrence) -> bool:
        """Return whether a recurrence that fits has its kernels."""
        return all(
            np.array_equal(_as_stored(arrays[key][rows], other.dtype)[0], parts[key][rows])
            for rows in (slice(1), slice(1, None))  # the first row tells most of them apart
            for arrays, parts in zip(self.arrays, other.parts, strict=True)
            for key in ("Wx", "Wh")
        )


class _Group(NamedTuple):
    """The weights of a Keras layer without recurrence, by name."""

    layer: str
    name: str
    arrays: Mapping[str, Array]
    is_table: bool

    @property
    def sizes(self) -> object:
        """What a layer has in common with those of the same sizes."""
        return tuple((name, array.shape) for name, array in self.arrays.items())


_Own = TypeVar("_Own", _Recurrence, _Group)
_Other = TypeVar("_Other", FileRecurrence, OtherModule)


class _Comparison:
    """A comparison of the weights of a network with the arrays of a file."""

    def __init__(self, network: Network, weights: Weights, file: ForeignFile) -> None:
        self.network, self.is_onnx = network, file.framework == "ONNX"
        self.file_recurrences, self.modules = list(file.recurrences()), file.contents.others
        self.tensors = {tensor.name: tensor for each in self.modules for tensor in each.tensors}
        self.roles = {name: role for each in self.modules for name, role in each.roles.items()}
        self.values: dict[str, Array] = {}
        self.used: set[str] = set()
        self.before = _layers_before(network)
        self.recurrences: list[_Recurrence] = []
        self.groups: list[_Group] = []
        for layer in network.layers:
            if layer.directions:
                self.recurrences += _recurrences(network, weights, layer.name)
                continue
            for name, members in layer.groups.items():
                arrays = {each.name: np.asarray(weights[name][each.key]) for each in members}
                self.groups.append(_Group(layer.name, name, arrays, layer.type == "Embedding"))
        self.layers = _pairs(
            self.recurrences,
            self.file_recurrences,
            (
                lambda own, other: self._is_named(own.layer, other.name) and own.fits(other),
                lambda own, other: own.fits(other) and own.equals(other),
                lambda own, other: own.fits(other),
            ),
        )
        self.used |= {a.tensor.name for each in self.layers.values() for a in each.arrays}
        self.others = _pairs(
            self.groups,
            self.modules,
            (
                lambda own, other: self._is_named(own.layer, other.name) and self._has(own, other),
                self._equals,
                self._has,
                lambda own, other: bool(self._members(own, other.tensors)),
            ),
        )
        self.members = self._all_members()
        equal = {n for n, other in self.layers.items() if self.recurrences[n].equals(other)}
        self.equal_layers = equal
        self.equal_groups = {n for n, o in self.others.items() if self._equals(self.groups[n], o)}

    def _is_named(self, layer: str, name: str) -> bool:
        """Return whether a layer has its name in a file of PyTorch."""
        return layer == name and not self.is_onnx

    def _has(self, group: _Group, module: OtherModule) -> bool:
        """Return whether a module has an array for each of a group."""
        return len(self._members(group, module.tensors)) == len(group.arrays) > 0

    def _equals(self, group: _Group, module: OtherModule) -> bool:
        """Return whether a module has the numbers of each array of a group."""
        return self._has(group, module) and all(
            self._conversion(group, group.arrays[name], tensor)
            for name, tensor in self._members(group, module.tensors).items()
        )

    def _members(self, group: _Group, tensors: Iterable[Tensor]) -> dict[str, Tensor]:
        """Return which of some arrays of the file are those of a group, by name in Keras."""
        found: dict[str, Tensor] = {}
        left = list(tensors)
        for name, values in group.arrays.items():
            fitting = [tensor for tensor in left if self._fits(name, values, tensor)]
            equal = (each for each in fitting if self._conversion(group, values, each))
            if fitting:
                found[name] = next(equal, fitting[0])
                left.remove(found[name])
        return found

    def _all_members(self) -> dict[int, dict[str, Tensor]]:
        """Return the arrays of each group: those of its module, and then any others that fit."""
        members: dict[int, dict[str, Tensor]] = {}
        for number, group in enumerate(self.groups):
            module = self.others.get(number)
            members[number] = self._members(group, module.tensors) if module else {}
            self.used |= {tensor.name for tensor in members[number].values()}
        for is_equal in (True, False):
            for number, group in enumerate(self.groups):
                for name, values in group.arrays.items():
                    if name in members[number]:
                        continue
                    for tensor in self.tensors.values():
                        if (
                            tensor.name not in self.used
                            and self._fits(name, values, tensor)
                            and (not is_equal or self._conversion(group, values, tensor))
                        ):
                            members[number][name] = tensor
                            self.used.add(tensor.name)
                            break
        return members

    def checks(self) -> Iterator[WeightCheck]:
        """Yield a check for each array of Keras, and for what the file has beside them."""
        for number, recurrence in enumerate(self.recurrences):
            match = self.layers.get(number)
            if match is None:
                yield from _missing(recurrence)
            else:
                yield from _compare(recurrence, match, self.file_recurrences)
                yield from self._order(number, self.recurrences, self.layers, self.equal_layers)
        for number, group in enumerate(self.groups):
            for name, values in group.arrays.items():
                yield self._plain(group, name, values, self.members[number].get(name))
            yield from self._order(number, self.groups, self.others, self.equal_groups)
        yield from self._only_in_file()

    def _order(
        self, number: int, own: Sequence[_Own], pairs: Mapping[int, _Other], equal: set[int]
    ) -> Iterator[WeightCheck]:
        """Yield that the file has a layer before one that precedes it in Keras.

        ``equal`` are the numbers of the layers whose weights are in the file.
        """
        if number not in equal:
            return
        stack, position = self._position(pairs[number])
        for earlier in sorted(equal & set(range(number))):
            other_stack, other_position = self._position(pairs[earlier])
            is_later = other_stack == stack and other_position > position
            if is_later and self._precedes(own[earlier], own[number]):
                text = (
                    f"the file has it as {pairs[number].name}, before the weights of an earlier "
                    "layer: the layers are in another order"
                )
                layer = own[number].layer
                mistake = Mistake("stack.layers_swapped", text, Where(layer))
                yield WeightCheck(f"{layer}: order in the stack", (), "", 0, mistake)
                return

    def _precedes(self, first: _Recurrence | _Group, second: _Recurrence | _Group) -> bool:
        """Return whether Keras computes the second of two layers from the first."""
        is_stack = isinstance(first, _Recurrence) and first.layer == second.layer
        return is_stack or first.layer in self.before.get(second.layer, ())

    def _position(self, other: FileRecurrence | OtherModule) -> tuple[str, int]:
        """Return in which stack of the file a layer is, and where: ``net.2``, ``rnn.l1``.

        The nodes of ONNX are one stack.
        """
        if self.is_onnx:
            layers: Sequence[object] = self.modules
            if isinstance(other, FileRecurrence):
                layers = self.file_recurrences
            return "", next(number for number, each in enumerate(layers) if each is other)
        match = _LEVEL.fullmatch(other.name)
        return (match[1] or "", int(match[2])) if match else (other.name, 0)

    def assumptions(self) -> Iterator[str]:
        """Yield what the file does not say."""
        yield from self._options()
        yield from self._unordered(self.recurrences, self.layers)
        yield from self._unordered(self.groups, self.others)
        for number, members in self.members.items():
            group = self.groups[number]
            for name, tensor in members.items():
                forms = list(self._forms(tensor, group.arrays[name].shape, group.is_table))
                if len(forms) > 1 and (rule := self._conversion(group, group.arrays[name], tensor)):
                    way = rule.partition(",")[0]
                    yield f"the file does not say how {tensor.name} is multiplied: taken {way}"

    def _options(self) -> Iterator[str]:
        """Yield the options of layers that decide the numbers and are not in the file."""
        for layer in self.network.layers:
            epsilon, mode = (getattr(layer, name, None) for name in ("epsilon", "merge_mode"))
            if epsilon is not None:
                yield f"epsilon is not compared: use {epsilon:g} in {layer.name}"
            if mode not in ("concat", None) and not self.is_onnx:
                yield f"PyTorch joins both directions by concat: {layer.name} joins them by {mode}"
        for each in () if self.is_onnx else self.recurrences:
            if each.cell.name == "simple" and getattr(each.cell, "activation", "") == "relu":
                yield f"the file does not hold activations: use nonlinearity='relu' in {each.layer}"

    def _unordered(self, own: Sequence[_Own], pairs: Mapping[int, _Other]) -> Iterator[str]:
        """Yield which layers of one size were told apart by their numbers alone."""
        alike: dict[object, list[int]] = {}
        for number, other in pairs.items():
            if not self._is_named(own[number].layer, other.name):
                alike.setdefault(own[number].sizes, []).append(number)
        for numbers in alike.values():
            numbers.sort()
            places = [self._position(pairs[number])[0] for number in numbers]
            is_ordered = len(set(places)) == 1 and all(
                self._precedes(own[a], own[b]) for a, b in pairwise(numbers)
            )
            if len(numbers) > 1 and not is_ordered:
                names = ", ".join(pairs[number].name for number in numbers)
                yield f"the file does not say in which order {names} run: matched by their numbers"

    def _only_in_file(self) -> Iterator[WeightCheck]:
        """Yield the layers that only the file has, and arrays of layers that both have."""
        for each in self.file_recurrences:
            if not any(each is other for other in self.layers.values()):
                arrays = tuple(array.tensor.name for array in each.arrays)
                text = f"the model has no such {each.cell.class_name}"
                yield WeightCheck(each.name, arrays, "", 0, Mistake("weights.extra", text))
        for module in self.modules:
            names = [tensor.name for tensor in module.tensors]
            for name in names if self.used & set(names) else ():
                role = self.roles.get(name, "")
                if name in self.used or not role:
                    continue
                values = self._read(self.tensors[name])
                neutral = 1 if role == "weight" and values.ndim == 1 else 0
                if (values != neutral).any():
                    text = f"its layer in Keras has no such weight, and it is not {neutral}"
                    mistake = Mistake("weights.extra", text, Where(array=name))
                    yield WeightCheck(name, (name,), "", values.size, mistake)

    def unused(self) -> Iterator[str]:
        """Yield the arrays of the file that belong to no weight of the network."""
        recurrent = (array.tensor.name for each in self.file_recurrences for array in each.arrays)
        for name in dict.fromkeys((*recurrent, *self.tensors)):
            if name not in self.used and not name.endswith("num_batches_tracked"):
                yield name

    def _plain(self, group: _Group, name: str, values: Array, tensor: Tensor | None) -> WeightCheck:
        """Return the check of an array outside recurrences."""
        where, full_name = Where(group.layer, array=name), f"{group.name}/{name}"
        if tensor is None:
            shapes = " or ".join(map(str, dict.fromkeys((values.shape, _turned(values.shape)))))
            mistake = Mistake("weights.missing", f"the file has no other array of {shapes}", where)
            return WeightCheck(full_name, (), "", 0, mistake)
        check = WeightCheck(full_name, (tensor.name,), "", values.size)
        if rule := self._conversion(group, values, tensor):
            return check._replace(rule=rule)
        return check._replace(mistake=self._plain_mistake(group, values, tensor, where))

    def _plain_mistake(self, group: _Group, values: Array, tensor: Tensor, where: Where) -> Mistake:
        """Return what is wrong with an array outside recurrences."""
        forms = [form for _, form in self._forms(tensor, values.shape, group.is_table)]
        expected = _as_stored(values, tensor.dtype)[0]
        mistake = plain_mistake(expected, self._read(tensor), forms, where, is_table=group.is_table)
        if mistake.id != "weights.other":
            return mistake
        for other in self.tensors.values():
            if other is not tensor and self._conversion(group, values, other):
                id_ = "weights.other" if other in self._siblings(tensor) else "stack.layers_swapped"
                return Mistake(id_, f"the file has it in {other.name}", where)
        return mistake

    def _siblings(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Return the arrays of the module of an array."""
        return next(each.tensors for each in self.modules if tensor in each.tensors)

    def _fits(self, name: str, values: Array, tensor: Tensor) -> bool:
        """Return whether role and shape of an array of the file are those of one of Keras."""
        role, own = self.roles.get(tensor.name, ""), _ROLES.get(name.rpartition("/")[2], "")
        role = "weight" if role in _MATRICES else role
        is_alike = not role or not own or role == own
        return is_alike and tensor.shape in (values.shape, _turned(values.shape))

    def _conversion(self, group: _Group, values: Array, tensor: Tensor) -> str:
        """Return by which conversion the file has an array; empty if by none."""
        expected, rounding = _as_stored(values, tensor.dtype)
        for rule, stored in self._forms(tensor, values.shape, group.is_table):
            if np.array_equal(expected, stored):
                return rule + rounding
        return ""

    def _forms(
        self, tensor: Tensor, shape: tuple[int, ...], is_table: bool
    ) -> Iterator[tuple[str, Array]]:
        """Yield the right ways in which an array may be stored, with the array of this shape."""
        rank, role = len(shape), self.roles.get(tensor.name, "")
        as_it_is = rank < 2 or is_table or role == "kernel" or (self.is_onnx and not role)
        if as_it_is and tensor.shape == shape:
            yield "as it is", self._read(tensor)
        if rank > 1 and not is_table and role != "kernel" and tensor.shape == _turned(shape):
            yield "transposed", np.transpose(self._read(tensor), (*range(2, rank), 1, 0))

    def _read(self, tensor: Tensor) -> Array:
        """Return the numbers of an array of the file, in float64."""
        if tensor.name not in self.values:
            values = tensor.read().reshape(tensor.shape)
            self.values[tensor.name] = values.astype(np.float64)
        return self.values[tensor.name]


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that PyTorch has for a matrix or a kernel of Keras."""
    return (*shape[::-1][:2], *shape[:-2])


def _pairs(
    own: Sequence[_Own],
    others: Sequence[_Other],
    rules: Sequence[Callable[[_Own, _Other], bool]],
) -> dict[int, _Other]:
    """Return layers of the file by the numbers of those of Keras, each used once.

    Each rule pairs what the rules before it have left, in order.
    """
    pairs: dict[int, _Other] = {}
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


def _recurrences(network: Network, weights: Weights, layer_name: str) -> Iterator[_Recurrence]:
    """Yield the cells of a layer, those of a stack one after the other."""
    layer = next(each for each in network.layers if each.name == layer_name)
    first = layer.directions[0]
    features = network.count(first.features)
    for suffix, cell in first.cell.cells_by_suffix.items():
        units = network.count(cell.units)
        arrays = tuple(
            {
                key: np.asarray(weights[direction.name][key + suffix])
                for key in ARRAY_NAMES
                if key + suffix in weights[direction.name]
            }
            for direction in layer.directions
        )
        names = tuple(
            direction.name + (f"/{suffix}" if suffix else "") for direction in layer.directions
        )
        reverse = tuple(direction.reverse for direction in layer.directions)
        yield _Recurrence(layer.name, cell, features, units, arrays, names, reverse)
        features = units


def _missing(recurrence: _Recurrence) -> Iterator[WeightCheck]:
    """Yield that the file has no such recurrence, for each of its arrays."""
    sizes = f"{recurrence.features} features and {recurrence.units} units"
    ways = "in both directions" if len(recurrence.arrays) > 1 else "in one direction"
    text = f"the file has no other {recurrence.cell.class_name} of {sizes} {ways}"
    for direction, arrays in enumerate(recurrence.arrays):
        for array in (name for key, name in ARRAY_NAMES.items() if key in arrays):
            mistake = Mistake("weights.missing", text, recurrence.where(direction, array))
            yield WeightCheck(f"{recurrence.names[direction]}/{array}", (), "", 0, mistake)


def _compare(
    recurrence: _Recurrence, other: FileRecurrence, others: Sequence[FileRecurrence]
) -> Iterator[WeightCheck]:
    """Yield a check for each array of a recurrence, and for each option that differs.

    Args:
        recurrence: The recurrence of Keras.
        other: That of the file, of the same cell and sizes.
        others: All of the file.
    """
    for direction, arrays in enumerate(recurrence.arrays):
        for key in ("Wx", "Wh"):
            yield _kernel(recurrence, other, direction, key, others)
        if (check := _bias(recurrence, other, direction, arrays.get("bh"))) is not None:
            yield check
    for mistake in _options(recurrence, other):
        yield WeightCheck(f"{recurrence.layer}: options", (), "", 0, mistake)


def _kernel(
    recurrence: _Recurrence,
    other: FileRecurrence,
    direction: int,
    key: str,
    others: Sequence[FileRecurrence],
) -> WeightCheck:
    """Return the check of a kernel or a recurrent kernel."""
    gates, name = recurrence.cell.gate_names, ARRAY_NAMES[key]
    values, rounding = _as_stored(recurrence.arrays[direction][key], other.dtype)
    order = "" if other.order == gates else f", gates {' '.join(other.order)}"
    rule, mistake = f"transposed{order}{rounding}", None
    if not np.array_equal(values, other.parts[direction][key]):
        where = recurrence.where(direction, name)
        rule, mistake = "", kernel_mistake(values, key, direction, other, others, where, gates)
    names = other.names(key, direction=direction)
    full_name = f"{recurrence.names[direction]}/{name}"
    return WeightCheck(full_name, names, rule, values.size, mistake)


def _options(recurrence: _Recurrence, other: FileRecurrence) -> Iterator[Mistake]:
    """Yield the directions and the options of cells that the file has otherwise."""
    for number, cell in enumerate(other.cells):
        where = recurrence.where(number)
        if other.reverse[number] != recurrence.reverse[number]:
            ways = ("in reverse", "forward")[:: 1 if other.reverse[number] else -1]
            text = f"the file processes the sequence {ways[0]}; Keras processes it {ways[1]}"
            remedy = f"process the sequence {ways[1]}"
            if recurrence.reverse[number] and not other.says_activation:
                remedy = "reverse x and the output yourself, which no file of PyTorch shows"
            yield Mistake("direction.reversed", text, where, remedy)
        says_activation = other.says_activation
        yield from option_mistakes(recurrence.cell, cell, where, says_activation=says_activation)


def _bias(
    recurrence: _Recurrence, other: FileRecurrence, direction: int, values: Array | None
) -> WeightCheck | None:
    """Return the check of a bias; ``None`` where there is none on either side."""
    parts, where = other.parts[direction], recurrence.where(direction, "bias")
    zeros = np.zeros(max(1, len(recurrence.cell.gate_names)) * recurrence.units)
    bx = parts.get("bx", zeros).astype(np.float64)
    bh = parts.get("bh", zeros).astype(np.float64)
    check = WeightCheck(
        f"{recurrence.names[direction]}/bias",
        other.names("bx", "bh", direction=direction),
        "",
        bx.size if values is None else values.size,
    )
    if values is None:
        if not (bx.any() or bh.any()):
            return None
        text = "the file has a bias that is not zero, and Keras's layer has none"
        return check._replace(mistake=Mistake("bias.other", text, where))
    expected, rounding = _as_stored(values, other.dtype)
    gates = recurrence.cell.gate_names
    order = "" if other.order == gates else f", gates {' '.join(other.order)}"
    rule = _bias_rule(expected, bx, bh, other.dtype)
    if rule:
        return check._replace(rule=f"{rule}{order}{rounding}")
    mistake = bias_mistake(expected, bx, bh, where, gates, other.order)
    return check._replace(mistake=mistake)


def _bias_rule(expected: Array, bx: Array, bh: Array, dtype: str) -> str:
    """Return how both biases of the file make the bias of Keras; empty if they do not."""
    if expected.ndim == 2:
        is_same = np.array_equal(expected[0], bx) and np.array_equal(expected[1], bh)
        return "row 0, row 1" if is_same else ""
    if np.array_equal(expected, bx) and not bh.any():
        return "first bias, second 0"
    if np.array_equal(expected, bh) and not bx.any():
        return "second bias, first 0"
    unit = PRECISIONS[dtype].unit_roundoff if dtype in PRECISIONS else 2.0**-24
    bound = 2 * unit * (np.abs(bx) + np.abs(bh) + np.abs(expected))
    return "sum of both biases" if np.all(np.abs(bx + bh - expected) <= bound) else ""


def _as_stored(values: Array, dtype: str) -> tuple[Array, str]:
    """Return numbers as a dtype holds them, in float64, and how they were rounded, in words."""
    exact = values.astype(np.float64)
    if dtype not in PRECISIONS or dtype == "float64":
        return exact, ""
    if PRECISIONS[dtype].is_16bit:
        rounded = np.asarray(PRECISIONS[dtype].rounded(exact), np.float64)
    else:
        rounded = exact.astype(np.float32).astype(np.float64)
    return rounded, "" if np.array_equal(rounded, exact) else f", rounded to {dtype}"

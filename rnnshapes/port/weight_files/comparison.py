"""Comparison of a Keras network's weights with a weight file of PyTorch or ONNX.

Neither model runs. Each layer of Keras is paired with one of the file, by name, by its numbers, or
by its position. For each array of the pair this finds the conversion, or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnshapes.load.foreign.model import FileRecurrence, ForeignFile
from rnnshapes.load.foreign.tensors import Tensor
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.mistakes.cell_changes import ARRAY_NAMES
from rnnshapes.port.weight_files.matching import (
    Matching,
    Other,
    Own,
    PlainWeights,
    Recurrence,
    are_equal,
    as_stored,
    pytorch_shape,
)
from rnnshapes.port.weight_files.mistakes import (
    bias_mistake,
    kernel_mistake,
    option_mistakes,
    other_direction,
    plain_mistake,
)
from rnnshapes.port.weight_files.plain import window_options
from rnnshapes.result import Result


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


@np.errstate(invalid="ignore")  # a file may hold NaN, which equals nothing
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


class _Comparison(Matching):
    """A comparison of the weights of a network with the arrays of a file."""

    def checks(self) -> Iterator[WeightCheck]:
        """Yield a check for each array of Keras, and for what the file has beside them."""
        for number, recurrence in enumerate(self.recurrences):
            match = self.layers.get(number)
            if match is None:
                yield from _missing(recurrence)
            else:
                yield from compare_recurrence(recurrence, match, self.file_recurrences)
                yield from self._order(number, self.recurrences, self.layers, self.equal_layers)
        for number, group in enumerate(self.groups):
            for name, values in group.arrays.items():
                yield self._plain(group, name, values, self.members[number].get(name))
            yield from self._order(number, self.groups, self.others, self.equal_groups)
        yield from self._only_in_file()

    def _order(
        self, number: int, own: Sequence[Own], pairs: Mapping[int, Other], equal: set[int]
    ) -> Iterator[WeightCheck]:
        """Yield a check that fails if the file has a layer before one that precedes it in Keras.

        ``equal`` are the numbers of the layers whose weights are in the file.
        """
        if number not in equal:
            return
        stack, position = self.position(pairs[number])
        for earlier in sorted(equal & set(range(number))):
            other_stack, other_position = self.position(pairs[earlier])
            is_later = other_stack == stack and other_position > position
            if is_later and self.precedes(own[earlier], own[number]):
                text = (
                    f"the file has it as {pairs[number].name}, before the weights of an earlier "
                    "layer: the layers are in another order"
                )
                layer = own[number].layer
                mistake = Mistake("stack.layers_swapped", text, Where(layer))
                yield WeightCheck(f"{layer}: order in the stack", (), "", 0, mistake)
                return

    def assumptions(self) -> Iterator[str]:
        """Yield what the file does not say."""
        yield from () if self.file_recurrences else self.file.contents.warnings
        yield from self._options()
        yield from self._unordered(self.recurrences, self.layers)
        yield from self._unordered(self.groups, self.others)
        for number, members in self.members.items():
            group = self.groups[number]
            for name, tensor in members.items():
                forms = list(self.forms(tensor, group.arrays[name].shape, group.is_table))
                if len(forms) > 1 and (rule := self.conversion(group, group.arrays[name], tensor)):
                    way = rule.partition(",")[0]
                    yield f"the file does not say how {tensor.name} is multiplied: taken {way}"

    def _options(self) -> Iterator[str]:
        """Yield the options of layers that decide the numbers and are not in the file."""
        for layer in self.network.layers:
            yield from () if self.is_onnx else window_options(layer, "valid")
            epsilon, mode = (getattr(layer, name, None) for name in ("epsilon", "merge_mode"))
            if epsilon is not None:
                yield f"epsilon is not compared: use {epsilon:g} in {layer.name}"
            if mode not in ("concat", None) and not self.is_onnx:
                yield f"PyTorch joins both directions by concat: {layer.name} joins them by {mode}"
        for each in () if self.is_onnx else self.recurrences:
            if each.cell.name == "simple" and getattr(each.cell, "activation", "") == "relu":
                yield f"the file does not hold activations: use nonlinearity='relu' in {each.layer}"

    def _unordered(self, own: Sequence[Own], pairs: Mapping[int, Other]) -> Iterator[str]:
        """Yield which layers of one size were told apart by their numbers alone."""
        for others in self.unordered(own, pairs):
            names = ", ".join(other.name for other in others)
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
                values = self.read(self.tensors[name])
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

    def _plain(
        self, group: PlainWeights, name: str, values: Array, tensor: Tensor | None
    ) -> WeightCheck:
        """Return the check of an array outside recurrences."""
        where, full_name = Where(group.layer, array=name), f"{group.name}/{name}"
        if tensor is None:
            known = dict.fromkeys((values.shape, pytorch_shape(values.shape)))
            shapes = " or ".join(map(str, known))
            mistake = Mistake("weights.missing", f"the file has no other array of {shapes}", where)
            return WeightCheck(full_name, (), "", 0, mistake)
        check = WeightCheck(full_name, (tensor.name,), "", values.size)
        if rule := self.conversion(group, values, tensor):
            return check._replace(rule=rule)
        return check._replace(mistake=self._plain_mistake(group, values, tensor, where))

    def _plain_mistake(
        self, group: PlainWeights, values: Array, tensor: Tensor, where: Where
    ) -> Mistake:
        """Return what is wrong with an array outside recurrences."""
        forms = [form for _, form in self.forms(tensor, values.shape, group.is_table)]
        expected = as_stored(values, tensor.dtype)[0]
        mistake = plain_mistake(expected, self.read(tensor), forms, where, is_table=group.is_table)
        if mistake.id != "weights.other":
            return mistake
        for other in self.tensors.values():
            if other is not tensor and self.conversion(group, values, other):
                id_ = "weights.other" if other in self.siblings(tensor) else "stack.layers_swapped"
                return Mistake(id_, f"the file has it in {other.name}", where)
        return mistake


def _missing(recurrence: Recurrence) -> Iterator[WeightCheck]:
    """Yield a failed check for each array of a recurrence that the file does not have."""
    text = f"the file has no other {recurrence.kind}"
    for direction, arrays in enumerate(recurrence.arrays):
        for array in (name for key, name in ARRAY_NAMES.items() if key in arrays):
            mistake = Mistake("weights.missing", text, recurrence.where(direction, array))
            yield WeightCheck(f"{recurrence.names[direction]}/{array}", (), "", 0, mistake)


def compare_recurrence(
    recurrence: Recurrence, other: FileRecurrence, others: Sequence[FileRecurrence]
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
    recurrence: Recurrence,
    other: FileRecurrence,
    direction: int,
    key: str,
    others: Sequence[FileRecurrence],
) -> WeightCheck:
    """Return the check of a kernel or a recurrent kernel."""
    gates, name = recurrence.cell.gate_names, ARRAY_NAMES[key]
    values, rounding = as_stored(recurrence.arrays[direction][key], other.dtype)
    order = "" if other.order == gates else f", gates {' '.join(other.order)}"
    rule, mistake = f"transposed{order}{rounding}", None
    if not are_equal(values, other.parts[direction][key]):
        where = recurrence.where(direction, name)
        rule, mistake = "", kernel_mistake(values, key, direction, other, others, where, gates)
    names = other.names(key, direction=direction)
    full_name = f"{recurrence.names[direction]}/{name}"
    return WeightCheck(full_name, names, rule, values.size, mistake)


def _options(recurrence: Recurrence, other: FileRecurrence) -> Iterator[Mistake]:
    """Yield the directions and the options of cells that the file has otherwise."""
    for number, cell in enumerate(other.cells):
        where = recurrence.where(number)
        if other.reverse[number] != recurrence.reverse[number]:
            orders = ("in reverse", "forward")[:: 1 if other.reverse[number] else -1]
            text = f"the file processes the sequence {orders[0]}; Keras processes it {orders[1]}"
            remedy = f"process the sequence {orders[1]}"
            if recurrence.reverse[number] and not other.says_activation:
                remedy = "reverse x and the output yourself, which no file of PyTorch shows"
            yield Mistake("direction.reversed", text, where, remedy)
        says_activation = other.says_activation
        own = recurrence.cells[number]
        adds_nothing = not np.any(other.parts[number].get("P", 1))
        for mistake in option_mistakes(own, cell, where, says_activation=says_activation):
            if not (adds_nothing and mistake.id == "lstm.peepholes"):
                yield mistake
    names = {getattr(cell, "activation", "") for cell in recurrence.cells}
    if len(names) > 1 and not other.says_activation:
        text = "its directions have different activations, and those of PyTorch have the same"
        yield Mistake("activation.other", text, recurrence.where(1))


def _bias(
    recurrence: Recurrence, other: FileRecurrence, direction: int, values: Array | None
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
    expected, rounding = as_stored(values, other.dtype)
    gates = recurrence.cell.gate_names
    order = "" if other.order == gates else f", gates {' '.join(other.order)}"
    rule = _bias_rule(expected, bx, bh, other.dtype)
    if rule:
        return check._replace(rule=f"{rule}{order}{rounding}")
    mistake = bias_mistake(expected, bx, bh, where, gates, other.order)
    if mistake.id == "weights.other":
        mistake = _exchanged_bias(recurrence, other, direction, expected, where) or mistake
    return check._replace(mistake=mistake)


def _exchanged_bias(
    recurrence: Recurrence, other: FileRecurrence, direction: int, expected: Array, where: Where
) -> Mistake | None:
    """Return the mistake that the file has a bias in the other direction, if it has."""
    for number, (parts, arrays) in enumerate(zip(other.parts, recurrence.arrays, strict=True)):
        bx, bh = (parts.get(key, np.zeros(1)).astype(np.float64) for key in ("bx", "bh"))
        own = as_stored(arrays.get("bh", np.zeros_like(expected)), other.dtype)[0]
        is_right = _bias_rule(own, bx, bh, other.dtype)
        if number != direction and not is_right and _bias_rule(expected, bx, bh, other.dtype):
            return other_direction(where)
    return None


def _bias_rule(expected: Array, bx: Array, bh: Array, dtype: str) -> str:
    """Return how both biases of the file make the bias of Keras; empty if they do not."""
    if expected.ndim == 2:
        is_same = np.array_equal(expected[0], bx) and np.array_equal(expected[1], bh)
        return "row 0, row 1" if is_same else ""
    if np.array_equal(expected, bx) and not bh.any():
        return "first bias, second 0"
    if np.array_equal(expected, bh) and not bx.any():
        return "second bias, first 0"
    bound = 2 * PRECISIONS[dtype].unit_roundoff * (np.abs(bx) + np.abs(bh) + np.abs(expected))
    return "sum of both biases" if np.all(np.abs(bx + bh - expected) <= bound) else ""

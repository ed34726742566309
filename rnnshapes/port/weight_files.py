"""Comparison of a Keras network's weights with a weight file of PyTorch or ONNX.

Neither model runs. For each array of Keras this finds the rule that carries it into the file, or
says where none does. Which array is which follows from the shapes, the order and the numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.cells.frameworks import FrameworkCell
from rnnshapes.layouts.carry import in_order
from rnnshapes.load.foreign.model import FileRecurrence, ForeignFile
from rnnshapes.load.foreign.tensors import Tensor
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.elementwise import HardSigmoid
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.result import Result

#: The largest share of wrong numbers in an array whose others are right.
_FEW = 0.02
#: The largest error, as a share of the largest number, of an array that was rounded.
_ROUNDED = 0.02


class CarriedWeight(NamedTuple):
    """One array of Keras in a file of another framework.

    Attributes:
        name: Its name in Keras: ``lstm/kernel``.
        arrays: The arrays of the file that it was compared with.
        rule: How it is carried into them; empty if it is not.
        compared: How many numbers were compared.
        mistake: What is wrong, and where; ``None`` if it is carried.
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
    """

    schema = "rnnshapes.verify/1"
    renderer = "weight_files"

    network: Network
    path: str
    framework: str
    kind: str
    checks: tuple[CarriedWeight, ...]
    unknown_arrays: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every weight of the network is carried, and there is one."""
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
    search = _Search(network, weights, file)
    checks = tuple(search.checks())
    return WeightVerification(
        network=network,
        path=file.check(file.network).path,
        framework=file.framework,
        kind=file.contents.kind,
        checks=checks,
        unknown_arrays=tuple(search.unused()),
    )


class _Recurrence(NamedTuple):
    """One cell of a Keras layer with its weights, in each direction."""

    layer: str
    cell: Cell
    features: int
    units: int
    arrays: tuple[Mapping[str, Array], ...]
    names: tuple[str, ...]
    reverse: tuple[bool, ...]

    def where(self, direction: int, array: str | None = None, gate: str | None = None) -> Where:
        """Return a place in it."""
        both = ("forward", "backward")[direction] if len(self.arrays) > 1 else None
        return Where(self.layer, both, array, gate)


class _Search:
    """A search for the arrays of a file that hold the weights of a network."""

    def __init__(self, network: Network, weights: Weights, file: ForeignFile) -> None:
        self.network, self.weights, self.file = network, weights, file
        self.recurrences = list(file.recurrences())
        self.left = list(self.recurrences)
        self.levels: dict[str, int] = {}
        self.used: set[str] = set()
        self.tensors = {t.name: t for other in file.contents.others for t in other.tensors}
        self.values: dict[str, Array] = {}

    def checks(self) -> Iterator[CarriedWeight]:
        """Yield a check for each array of Keras, layer by layer."""
        for layer in self.network.layers:
            if layer.directions:
                for recurrence in _recurrences(self.network, self.weights, layer.name):
                    yield from self._recurrent(recurrence)
                continue
            for group, weights in layer.groups.items():
                for weight in weights:
                    values = np.asarray(self.weights[group][weight.key])
                    name = f"{group}/{weight.name}"
                    yield self._plain(layer.name, name, values, layer.type == "Embedding")

    def _recurrent(self, recurrence: _Recurrence) -> Iterator[CarriedWeight]:
        """Yield a check for each array of a recurrence: with the most similar one of the file."""
        matches = [each for each in self.left if _fits(recurrence, each)]
        compared = [list(_compare(recurrence, each, self.recurrences)) for each in matches]
        if not matches:
            yield from self._missing(recurrence)
            return
        wrong = [sum(check.mistake is not None for check in found) for found in compared]
        number = wrong.index(min(wrong))
        match = matches[number]
        self.left.remove(match)
        self.used |= {array.tensor.name for array in match.arrays}
        yield from compared[number]
        stack, _, level = match.name.rpartition(".l")
        if level.isdecimal():
            if int(level) < self.levels.get(stack, 0):
                text = f"its weights stand in {match.name}, below those of a layer before it"
                mistake = Mistake("stack.layers_swapped", text, Where(recurrence.layer))
                yield CarriedWeight(f"{recurrence.layer}: place", (), "", 0, mistake)
            self.levels[stack] = int(level)

    def unused(self) -> Iterator[str]:
        """Yield the arrays of the file that were not needed."""
        for recurrence in self.recurrences:
            names = [array.tensor.name for array in recurrence.arrays]
            yield from (name for name in names if name not in self.used)
        for name in self.tensors:
            if name not in self.used and not name.endswith("num_batches_tracked"):
                yield name

    def _missing(self, recurrence: _Recurrence) -> Iterator[CarriedWeight]:
        """Yield that the file has no such recurrence, for each of its arrays."""
        sizes = f"{recurrence.features} features and {recurrence.units} units"
        ways = "in both directions" if len(recurrence.arrays) > 1 else "in one direction"
        kind = recurrence.cell.class_name
        text = f"the file has no other {kind} of {sizes} {ways}: nothing is compared"
        for direction, arrays in enumerate(recurrence.arrays):
            for array in (name for key, name in _KERAS_NAMES.items() if key in arrays):
                mistake = Mistake("weights.missing", text, recurrence.where(direction, array))
                yield CarriedWeight(f"{recurrence.names[direction]}/{array}", (), "", 0, mistake)

    def _plain(self, layer: str, name: str, values: Array, is_table: bool) -> CarriedWeight:
        """Return the check of an array outside recurrences."""
        shapes = {values.shape, values.shape[::-1]}
        candidates = [
            tensor
            for tensor in self.tensors.values()
            if tensor.name not in self.used and tensor.shape in shapes
        ]
        where = Where(layer, array=name.rpartition("/")[2])
        for tensor in candidates:
            expected, rounding = _as_stored(values, tensor.dtype)
            for rule, found in self._plain_forms(tensor, values.shape, is_table):
                if np.array_equal(expected, found):
                    self.used.add(tensor.name)
                    return CarriedWeight(name, (tensor.name,), rule + rounding, values.size)
        if not candidates:
            text = f"the file has no other array of shape {values.shape} or {values.shape[::-1]}"
            return CarriedWeight(name, (), "", 0, Mistake("weights.missing", text, where))
        tensor = candidates[0]
        self.used.add(tensor.name)
        mistake = self._plain_mistake(tensor, values, where, is_table)
        return CarriedWeight(name, (tensor.name,), "", values.size, mistake)

    def _plain_forms(
        self, tensor: Tensor, shape: tuple[int, ...], is_table: bool
    ) -> Iterator[tuple[str, Array]]:
        """Yield the right ways in which an array may be stored: ONNX has both, by operator."""
        stored, onnx = self._read(tensor), self.file.framework == "ONNX"
        if stored.shape == shape and (stored.ndim < 2 or is_table or (onnx and stored.ndim == 2)):
            yield "as it is", stored
        if stored.ndim > 1 and stored.shape[::-1] == shape and not is_table:
            yield "transposed", stored.T

    def _plain_mistake(
        self, tensor: Tensor, values: Array, where: Where, is_table: bool
    ) -> Mistake:
        """Return what is wrong with an array outside recurrences."""
        stored, expected = self._read(tensor), _as_stored(values, tensor.dtype)[0]
        if stored.ndim > 1:
            for form in (stored, stored.T):
                if np.array_equal(form, expected):
                    text = "it is transposed" if is_table else "it is not transposed"
                    return Mistake("layout.transposed", text, where)
            if np.array_equal(expected.reshape(stored.shape), stored):
                text = (
                    "its numbers are there in Keras's order, in the shape of the transposed array"
                )
                return Mistake("layout.flat_buffer", text, where)
        forms = [form for _, form in self._plain_forms(tensor, values.shape, is_table)]
        found = forms[-1] if forms else stored if stored.shape == values.shape else stored.T
        return _other(expected, found, where, ())

    def _read(self, tensor: Tensor) -> Array:
        if tensor.name not in self.values:
            values = tensor.read().reshape(tensor.shape)
            self.values[tensor.name] = values.astype(np.float64)
        return self.values[tensor.name]


#: Names of weights in Keras, by key.
_KERAS_NAMES = {"Wx": "kernel", "Wh": "recurrent_kernel", "bh": "bias"}


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
                for key in _KERAS_NAMES
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


def _fits(recurrence: _Recurrence, other: FileRecurrence) -> bool:
    """Return whether a recurrence of the file has the cell and the sizes of one of Keras."""
    return (
        other.cell.name == recurrence.cell.name
        and other.features == recurrence.features
        and other.units == recurrence.units
        and other.state == recurrence.units
        and len(other.parts) == len(recurrence.arrays)
    )


def _compare(
    recurrence: _Recurrence, other: FileRecurrence, others: Sequence[FileRecurrence]
) -> Iterator[CarriedWeight]:
    """Yield a check for each array of a recurrence, and for each option that differs."""
    for direction, arrays in enumerate(recurrence.arrays):
        for key in ("Wx", "Wh"):
            yield _kernel(recurrence, other, direction, key, others)
        if (check := _bias(recurrence, other, direction, arrays.get("bh"))) is not None:
            yield check
    for mistake in _options(recurrence, other):
        yield CarriedWeight(f"{recurrence.layer}: options", (), "", 0, mistake)


def _kernel(
    recurrence: _Recurrence,
    other: FileRecurrence,
    direction: int,
    key: str,
    others: Sequence[FileRecurrence],
) -> CarriedWeight:
    """Return the check of a kernel or a recurrent kernel."""
    gates, name = recurrence.cell.gate_names, _KERAS_NAMES[key]
    values, rounding = _as_stored(recurrence.arrays[direction][key], other.dtype)
    order = "" if other.order == gates else f", gates {' '.join(other.order)}"
    rule, mistake = f"transposed{order}{rounding}", None
    if not np.array_equal(values, other.parts[direction][key]):
        where = recurrence.where(direction, name)
        rule, mistake = "", _explain(values, key, direction, other, others, where, gates)
    names = other.names(key, direction=direction)
    full_name = f"{recurrence.names[direction]}/{name}"
    return CarriedWeight(full_name, names, rule, values.size, mistake)


def _options(recurrence: _Recurrence, other: FileRecurrence) -> Iterator[Mistake]:
    """Yield the directions and the options of cells that the file has otherwise."""
    for number, cell in enumerate(other.cells):
        where = recurrence.where(number)
        if other.reverse[number] != recurrence.reverse[number]:
            ways = ("in reverse", "forward")[:: 1 if other.reverse[number] else -1]
            text = f"the file processes the sequence {ways[0]}; Keras processes it {ways[1]}"
            remedy = f"process the sequence {ways[1]}"
            yield Mistake("direction.forwards", text, where, remedy)
        yield from _cell_options(recurrence.cell, cell, where, other.says_activation)


def _cell_options(
    cell: Cell, other: FrameworkCell, where: Where, says_activation: bool
) -> Iterator[Mistake]:
    """Yield the options of a cell of Keras that a cell of the file has otherwise."""
    after = getattr(cell, "reset_after", None)
    if after is not None and getattr(other, "reset_after", None) != after:
        when = "before" if after else "after"
        text = f"the file applies the reset gate {when} the product with Wh, which Keras does not"
        yield Mistake(f"gru.reset_{when}", text, where)
    for option in ("activation", "recurrent_activation", "state_activation"):
        if not hasattr(other, option):
            continue
        # Keras activates the candidate and c alike.
        name = getattr(cell, option.replace("state_", ""))
        found = _activation(other, getattr(other, option))
        is_open = cell.name == "simple" and not says_activation
        if name != found and not (is_open and name in ("tanh", "relu")):
            text = f"{option} is {found} in the file, and {name} in Keras"
            yield Mistake("activation.other", text, where)
    for option, id_ in (("coupled", "lstm.gates_coupled"), ("peepholes", "lstm.peepholes")):
        if getattr(other, option, False):
            yield Mistake(id_, f"the file has {option}, which no layer of Keras has", where)
    if other.clip is not None:
        yield Mistake("activation.clipped", "the file clips what activations take", where)


def _activation(other: FrameworkCell, name: str) -> str:
    """Return Keras's name of an activation of the file."""
    function = dict(other.functions).get(name)
    if isinstance(function, HardSigmoid) and function.shift == 0.5:
        for scale, known in ((1 / 6, "hard_sigmoid"), (0.2, KERAS2_HARD_SIGMOID)):
            if abs(function.scale - scale) < 1e-6:
                return known
    return name if function is None else function.text("z")


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


def _bias(
    recurrence: _Recurrence, other: FileRecurrence, direction: int, values: Array | None
) -> CarriedWeight | None:
    """Return the check of a bias; ``None`` where there is none on either side."""
    parts, where = other.parts[direction], recurrence.where(direction, "bias")
    zeros = np.zeros(max(1, len(recurrence.cell.gate_names)) * recurrence.units)
    bx = parts.get("bx", zeros).astype(np.float64)
    bh = parts.get("bh", zeros).astype(np.float64)
    check = CarriedWeight(
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
    explain = _one_bias if values.ndim == 1 else _two_rows
    return check._replace(mistake=explain(expected, bx, bh, where, gates, other.order))


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


def _two_rows(
    values: Array,
    bx: Array,
    bh: Array,
    where: Where,
    gates: tuple[str, ...],
    own: tuple[str, ...],
) -> Mistake:
    """Return what is wrong with the two biases of a GRU."""
    none, total = 0 * bx, values.sum(axis=0)
    known = {
        "bias.omitted": ("both rows of the bias are left out", none, none),
        "bias.rows_exchanged": ("both rows of the bias are exchanged", values[1], values[0]),
        "bias.recurrent_row_omitted": ("row 1 of the bias is left out", values[0], none),
        "bias.input_row_omitted": ("row 0 of the bias is left out", none, values[1]),
        "bias.rows_summed": ("both rows are added to the first bias", total, none),
    }
    for id_, (text, first, second) in known.items():
        if np.allclose(bx, first, 1e-6) and np.allclose(bh, second, 1e-6):
            return Mistake(id_, text, where)
    row = int(np.array_equal(values[0], bx))
    expected, found = values[row], (bx, bh)[row]
    reordered = _reordered(expected, found, gates, own, where)
    return reordered or _other(expected, found, where, gates, f"row {row}, ")


def _one_bias(
    values: Array,
    bx: Array,
    bh: Array,
    where: Where,
    gates: tuple[str, ...],
    own: tuple[str, ...],
) -> Mistake:
    """Return what is wrong with two biases that should add up to one."""
    total = bx + bh
    if not total.any():
        return Mistake("bias.omitted", "the bias is left out", where)
    if np.allclose(total, 2 * values, 1e-6):
        return Mistake("bias.twice", "the bias stands in both biases, which are added", where)
    if "f" in gates:
        one = np.zeros_like(values).reshape(len(gates), -1)
        one[gates.index("f")] = 1
        if np.allclose(total, values + one.reshape(-1), 1e-6, 1e-6):
            text = "1 is added to the forget bias, which Keras's bias includes"
            return Mistake("bias.forget_again", text, where._replace(gate="f"))
    return _reordered(values, total, gates, own, where) or _other(values, total, where, gates)


def _explain(
    values: Array,
    key: str,
    direction: int,
    other: FileRecurrence,
    others: Sequence[FileRecurrence],
    where: Where,
    gates: tuple[str, ...],
) -> Mistake:
    """Return what is wrong with a kernel."""
    stored = other.parts[direction][key].astype(np.float64)
    if (mistake := _reordered(values, stored, gates, other.order, where)) is not None:
        return mistake
    raw = other.raw[direction][key]
    for candidate in (in_order(values, gates, other.order), values):
        if np.array_equal(candidate.reshape(raw.shape), raw):
            text = "its numbers are there as one buffer that was not transposed"
            return Mistake("layout.flat_buffer", text, where)
    count = max(1, len(gates))
    if values.shape[0] * count == values.shape[1]:
        blocks = [block.T for block in np.split(values, count, axis=1)]
        if np.array_equal(np.concatenate(blocks, axis=1), stored):
            return Mistake("layout.transposed", "each gate's block is transposed", where)
    elsewhere = _elsewhere(values, key, direction, other, others, where)
    return elsewhere or _other(values, stored, where, gates)


def _elsewhere(
    values: Array,
    key: str,
    direction: int,
    other: FileRecurrence,
    others: Sequence[FileRecurrence],
    where: Where,
) -> Mistake | None:
    """Return that a kernel stands in the other direction, or in another layer."""
    for another in others:
        for number, parts in enumerate(another.parts):
            if another is other and number == direction:
                continue
            if np.array_equal(values, parts[key]):
                if another is other:
                    text = "it stands in the other direction"
                    return Mistake("direction.halves_swapped", text, where)
                return Mistake("stack.layers_swapped", f"it stands in {another.name}", where)
    return None


def _reordered(
    values: Array, stored: Array, gates: tuple[str, ...], own: tuple[str, ...], where: Where
) -> Mistake | None:
    """Return that the gates are in another order than ``own``, if that explains the numbers."""
    for order in itertools.permutations(gates):
        if order != gates and np.array_equal(in_order(stored, order, gates), values):
            found = " ".join(order[gates.index(gate)] for gate in own)
            right = " ".join(own)
            text = f"its gates are in the order {found}, not {right}"
            remedy = f"put its blocks of M in the order {right}"
            return Mistake("gates.order", text, where, remedy)
    return None


def _other(
    values: Array, stored: Array, where: Where, gates: tuple[str, ...], part: str = ""
) -> Mistake:
    """Return where numbers differ that no rule explains."""
    differs = ~np.isclose(values, stored, rtol=1e-6, atol=0)
    if not differs.any():  # the last digits
        differs = values != stored
    error, largest = np.abs(values - stored), np.abs(values).max()
    blocks = np.split(differs, len(gates), axis=-1) if gates else []
    wrong = [gate for gate, block in zip(gates, blocks, strict=True) if block.any()]
    first = tuple(int(index) for index in np.argwhere(differs)[0])
    width = values.shape[-1] // max(1, len(gates))
    place = f"{part}{', '.join(map(str, first))}"
    if len(wrong) == 1:
        where = where._replace(gate=wrong[0])
    elif gates and differs.sum() == 1:
        where = where._replace(gate=gates[first[-1] // width])
    if differs.sum() == 1:
        where = where._replace(unit=first[-1] % width)
    count, many = int(differs.sum()), differs.mean() > _FEW and differs.size > 1
    numbers = f"at [{place}] {stored[first]:.8g}, expected {values[first]:.8g}"
    if many and error.max() <= _ROUNDED * largest:
        text = f"its numbers are near, but rounded: off by up to {error.max():.2g}; {numbers}"
        return Mistake("weights.quantized", text, where)
    only = f" (gate {wrong[0]} alone)" if len(wrong) == 1 < len(gates) else ""
    if many:
        return Mistake("weights.other", f"{count:,} numbers are others{only}: {numbers}", where)
    plural = "number is another one" if count == 1 else "numbers are others"
    return Mistake("weights.one_wrong", f"{count:,} {plural}{only}: {numbers}", where)

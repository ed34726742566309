"""Known mistakes of ports in the equation of a cell, its bias or its activations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import Array
from rnnshapes.ops.elementwise import Clip, Function, LeakyReLU
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, recast
from rnnshapes.port.mistakes.cell_changes import (
    Arrays,
    CellChange,
    array_change,
    block_change,
    cells_of,
    changed_cells,
    gates_of,
)

#: Activations that ports have in place of the right one, by option of the cell.
_OTHER_ACTIVATIONS = {
    "activation": ("tanh", "relu", "linear", "sigmoid", "hard_tanh", "softsign", "elu"),
    "recurrent_activation": ("sigmoid", "hard_sigmoid", KERAS2_HARD_SIGMOID, "tanh", "linear"),
}
_ACTIVATION_TEXTS = {
    "hard_sigmoid": "Keras 3's hard_sigmoid, clip(z/6 + 0.5)",
    KERAS2_HARD_SIGMOID: "the older hard_sigmoid, clip(0.2 z + 0.5)",
    "linear": "none (linear)",
}


#: Activations that ports give to one gate or state alone; where the right one is listed, it is
#: applied twice.
#: Small states are the same after the last two, of which cells list one themselves.
_SINGLE_ACTIVATIONS = ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear", "hard_tanh")


class WrongFunction(NamedTuple):
    """An activation as ports write it wrongly: ``text`` says how, ``fix`` what is right.

    ``function`` takes an interpreter and z.
    """

    id: str
    text: str
    fix: str
    function: Callable[[Any, Any], Any]


def _of_argument(
    name: str, argument: str, fix: str, function: Callable[[Any, Any], Any]
) -> WrongFunction:
    """Return an activation with another argument than z."""
    text = f"{name}({argument}) is computed instead of {name}(z)"
    return WrongFunction("activation.argument", text, fix, function)


def _applied_twice(name: str, fix: str) -> WrongFunction:
    """Return an activation that is applied twice."""
    text = f"{name} is applied twice: {name}({name}(z))"
    return WrongFunction("activation.twice", text, fix, _twice(name))


def _leaky(slope: float, whose: str) -> WrongFunction:
    """Return a leaky_relu with the slope of another framework."""
    text = f"leaky_relu has the slope {slope:g} of {whose}, not 0.2"
    fix = "leaky_relu(z) = z if z > 0, else 0.2 * z"
    return WrongFunction("activation.other", text, fix, partial(_leaky_relu, slope))


def _leaky_relu(slope: float, ops: Any, z: Any) -> Any:
    return ops.elementwise(z, LeakyReLU(slope))


def _twice(name: str) -> Callable[[Any, Any], Any]:
    return lambda ops, z: ops.activate(name, ops.activate(name, z))


_SIGMOID = "sigmoid(z) = 1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2"
_TANH = "tanh(z) = (1 - exp(-2 z)) / (1 + exp(-2 z)) = 2 sigmoid(2 z) - 1"
_sigmoid = partial(_of_argument, "sigmoid", fix=_SIGMOID)
_tanh = partial(_of_argument, "tanh", fix=_TANH)
#: What ports compute, by the name of the right activation.
WRONG_FUNCTIONS: Mapping[str, tuple[WrongFunction, ...]] = {
    "sigmoid": (
        *(
            WrongFunction(
                "activation.other", f"{text} is computed instead of sigmoid(z)", _SIGMOID, f
            )
            for text, f in (
                ("clip(z, 0, 1)", lambda ops, z: ops.elementwise(z, Clip(0.0, 1.0))),
                ("0.2 z + 0.5, not clipped,", lambda ops, z: z * 0.2 + 0.5),
                ("z / 6 + 0.5, not clipped,", lambda ops, z: z * (1.0 / 6.0) + 0.5),
            )
        ),
        _sigmoid("-z", function=lambda ops, z: ops.activate("sigmoid", z * -1.0)),
        _sigmoid("z / 2", function=lambda ops, z: ops.activate("sigmoid", z * 0.5)),
        _applied_twice("sigmoid", _SIGMOID),
        _sigmoid("2 z", function=lambda ops, z: ops.activate("sigmoid", z * 2.0)),
    ),
    "tanh": (
        _tanh("-z", function=lambda ops, z: ops.activate("tanh", z * -1.0)),
        _tanh("z / 2", function=lambda ops, z: ops.activate("tanh", z * 0.5)),
        _applied_twice("tanh", _TANH),
        _tanh("2 z", function=lambda ops, z: ops.activate("tanh", z * 2.0)),
        WrongFunction(
            "activation.other",
            "tanh is LeCun's, 1.7159 tanh(2 z / 3)",
            _TANH,
            lambda ops, z: ops.activate("tanh", z * (2.0 / 3.0)) * 1.7159,
        ),
        WrongFunction(
            "activation.other",
            "arctan(z) is computed instead of tanh(z)",
            _TANH,
            lambda ops, z: ops.elementwise(z, Function("arctan")),
        ),
    ),
    "relu": tuple(
        WrongFunction(
            "activation.other",
            f"leaky_relu with the slope {slope:g} is computed instead of relu",
            "relu(z) = max(z, 0)",
            partial(_leaky_relu, slope),
        )
        for slope in (0.01, 0.2)
    ),
    "leaky_relu": (_leaky(0.01, "PyTorch"), _leaky(0.3, "Keras's LeakyReLU layer")),
    "gelu": (
        WrongFunction(
            "activation.approximated",
            "gelu is approximated with tanh",
            "gelu(z) = z * (1 + erf(z / sqrt(2))) / 2, or accept the error with --tolerance",
            lambda ops, z: ops.activate("gelu_tanh", z),
        ),
    ),
}


#: As above, for cells alone: what a head gives is decided.
_OF_CELLS: Mapping[str, tuple[WrongFunction, ...]] = {
    "sigmoid": (
        WrongFunction(
            "activation.other",
            "1 for z > 0, else 0, is computed instead of sigmoid(z)",
            _SIGMOID,
            lambda ops, z: ops.compare(">", z, z * 0.0),
        ),
    )
}


def biases(hypothesis: Hypothesis) -> Variations:
    """Leave the bias out, add it twice, or make a mistake about the bias of one cell."""
    for id_, how, factor in (("bias.omitted", "left out", 0), ("bias.twice", "added twice", 2)):
        mistake = Mistake(id_, f"the bias of the recurrent layer is {how}")
        yield from changed_cells(hypothesis, mistake, array_change(partial(mul, factor), "bh"))
    yield from _variants(hypothesis, "bias")


def bias_blocks(hypothesis: Hypothesis) -> Variations:
    """Add the bias of one gate alone, or of all others, or one number for all units."""
    for gates in gates_of(hypothesis):
        ways = (("alone is added", True), ("is left out", False))
        for (number, gate), (how, kept) in itertools.product(
            enumerate(gates), ways if len(gates) > 2 else ways[:1]
        ):
            text = f"the bias of gate {gate} {how}"
            mistake = Mistake("bias.omitted", text, Where(array="bias", gate=gate))
            blocks = tuple((n == number) == kept for n in range(len(gates)))
            change = array_change(partial(_with_blocks, kept=blocks), "bh", gates=gates)
            yield from changed_cells(hypothesis, mistake, change)
    for text, read in (
        ("the first number of the bias is added in every unit", _first_of_all),
        ("the first number of each gate's bias is added in every unit", _first_of_each),
        ("the bias of the first gate is added in every gate", _first_block),
    ):
        mistake = Mistake("bias.first_repeated", text, Where(array="bias"))
        yield from changed_cells(hypothesis, mistake, block_change(read, "bh"))


def _with_blocks(bias: Array, kept: Sequence[bool]) -> Array:
    """Return a bias with zeros in the blocks that are not kept."""
    blocks = np.split(bias, len(kept), axis=-1)
    return np.concatenate([b * float(k) for b, k in zip(blocks, kept, strict=True)], axis=-1)


def _first_of_all(bias: Array, gates: int) -> Array:
    return np.broadcast_to(bias[..., :1], bias.shape)


def _first_block(bias: Array, gates: int) -> Array:
    return np.tile(np.split(bias, gates, -1)[0], gates)


def _first_of_each(bias: Array, gates: int) -> Array:
    return np.concatenate([_first_of_all(b, 1) for b in np.split(bias, gates, -1)], axis=-1)


def bias_rows(hypothesis: Hypothesis) -> Variations:
    """Make a mistake about the two rows of a bias."""
    return _variants(hypothesis, "rows")


def options(hypothesis: Hypothesis) -> Variations:
    """Compute a cell with an option that Keras has, or an activation less."""
    return _variants(hypothesis, "cell")


def equations(hypothesis: Hypothesis) -> Variations:
    """Compute a wrong equation."""
    return _variants(hypothesis, "equation")


def _variants(hypothesis: Hypothesis, family: str) -> Variations:
    """Yield the mistakes of one family that the cells themselves list."""
    for kind in cells_of(hypothesis):
        for variant in kind.variants:
            if variant.family == family:
                mistake = Mistake(variant.id, variant.text)
                yield from changed_cells(hypothesis, mistake, _varied(kind, mistake))


def _varied(kind: Cell, mistake: Mistake) -> CellChange:
    """Return a change to the variant with this mistake, for cells of the same class as ``kind``."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        for variant in cell.variants if type(cell) is type(kind) else ():
            if (variant.id, variant.text) == (mistake.id, mistake.text):
                return variant.cell, variant.arrays(arrays)
        return cell, arrays

    return change


def activations(hypothesis: Hypothesis) -> Variations:
    """Replace the activation of the state, or exchange it with that of the gates."""
    yield from _other_activations(hypothesis, "activation")
    text = "activation and recurrent_activation are exchanged"
    yield from changed_cells(hypothesis, Mistake("activation.exchanged", text), _exchanged)


def gate_activations(hypothesis: Hypothesis) -> Variations:
    """Replace the activation of the gates."""
    yield from _other_activations(hypothesis, "recurrent_activation")


def _other_activations(hypothesis: Hypothesis, option: str) -> Variations:
    """Replace the activation that an option of the cell names by each other one."""
    cells = [cell for cell in cells_of(hypothesis) if option in cell.keras_options]
    right = dict.fromkeys(str(cell.keras_options[option]) for cell in cells)
    whose = " or ".join(_ACTIVATION_TEXTS.get(name, name) for name in right)
    for name in _OTHER_ACTIVATIONS[option]:
        text = f"{option} is {_ACTIVATION_TEXTS.get(name, name)}, not {whose}"
        mistake = Mistake("activation.other", text)
        yield from changed_cells(hypothesis, mistake, _activated(option, name))


def wrong_functions(hypothesis: Hypothesis) -> Variations:
    """Write an activation otherwise than it is: with another argument, slope or form."""
    for name in dict.fromkeys(name for cell in cells_of(hypothesis) for name in cell.activations):
        for wrong in (*WRONG_FUNCTIONS.get(name, ()), *_OF_CELLS.get(name, ())):
            mistake = Mistake(wrong.id, wrong.text, own_fix=wrong.fix)
            yield from changed_cells(hypothesis, mistake, _computed_by(name, wrong))


def _computed_by(name: str, wrong: WrongFunction) -> CellChange:
    """Return a change of the activation ``name`` to a wrong function."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        if name not in cell.activations:
            return cell, arrays
        kind = type(cell)

        def activate(self: Any, ops: Any, use: str, z: Any) -> Any:
            if self.activation_names[use] == name:
                return wrong.function(ops, z)
            return kind.activate(self, ops, use, z)

        return recast(cell, activate=activate), arrays

    return change


def single_activations(hypothesis: Hypothesis) -> Variations:
    """Replace the activation of one gate, of the candidate, or of c alone, or apply all twice."""
    uses: dict[str, str] = {}
    for cell in cells_of(hypothesis):
        uses |= cell.activation_names if len(cell.activation_names) > 1 else {}
    states = {key for cell in cells_of(hypothesis) for key in cell.state_names}
    for use, right in uses.items():
        id_, what = "activation.gate", f"gate {use}"
        if use.endswith("~"):
            id_, what = "activation.candidate", f"the candidate {use}"
        elif use in states:
            id_, what = "activation.state", f"{use} in h"
        for other in _SINGLE_ACTIVATIONS[: -2 if use in states else None]:
            how, function = f"is {other}, not {right}", _activation(other)
            if other == "linear":
                how = "is left out"
            elif other == right:
                how, function = f"is applied twice, {right}({right}(…))", _twice(right)
            fix = f"apply {right} once to {what}"
            mistake = Mistake(id_, f"the activation of {what} alone {how}", own_fix=fix)
            yield from changed_cells(hypothesis, mistake, _used(use, right, function))
    if uses:
        mistake = Mistake("activation.twice", "every activation is applied twice")
        yield from changed_cells(hypothesis, mistake, _all_twice)


def _all_twice(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
    kind = type(cell)

    def activate(self: Any, ops: Any, use: str, z: Any) -> Any:
        return ops.activate(self.activation_names[use], kind.activate(self, ops, use, z))

    return (recast(cell, activate=activate) if cell.activation_names else cell), arrays


def _activation(name: str) -> Callable[[Any, Any], Any]:
    return lambda ops, z: ops.activate(name, z)


def _used(use: str, right: str, function: Callable[[Any, Any], Any]) -> CellChange:
    """Return a change of the activation ``right`` that gives the value ``use``."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        if cell.activation_names.get(use) != right:
            return cell, arrays
        kind = type(cell)

        def activate(self: Any, ops: Any, other: str, z: Any) -> Any:
            return function(ops, z) if other == use else kind.activate(self, ops, other, z)

        return recast(cell, activate=activate), arrays

    return change


def sums(hypothesis: Hypothesis) -> Variations:
    """Add the sum of each unit to that of the next one, as if it were not set to 0 between."""
    text = "the sum over x and h is not set to 0 for each unit"
    for scope, summed in (("", _summed), (", but for each gate", _summed_by_gate)):
        mistake = Mistake("sum.not_reset", f"{text}{scope}")
        yield from changed_cells(hypothesis, mistake, block_change(summed, "Wx", "Wh", "bh"))


def _summed(array: Array, gates: int) -> Array:
    """Return an array each of whose columns is the sum of those up to it."""
    sums: Array = np.cumsum(array, axis=-1)
    return sums


def _summed_by_gate(array: Array, gates: int) -> Array:
    """Return the same for each of several blocks."""
    if gates == 1:
        return array
    return np.concatenate([np.cumsum(block, -1) for block in np.split(array, gates, -1)], axis=-1)


def _activated(option: str, name: str) -> CellChange:
    """Return a change of one option to the activation ``name``."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        if option not in cell.keras_options:
            return cell, arrays
        options: dict[str, Any] = {option: name}
        return replace(cell, **options), arrays

    return change


def _exchanged(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
    """Return the cell with its two activations exchanged, if it has two."""
    options = cell.keras_options
    if "recurrent_activation" not in options:
        return cell, arrays
    exchanged: dict[str, Any] = {
        "activation": options["recurrent_activation"],
        "recurrent_activation": options["activation"],
    }
    return replace(cell, **exchanged), arrays

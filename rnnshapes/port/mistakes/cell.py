"""Known mistakes of ports in the equation of a cell, its bias or its activations."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from operator import mul
from typing import Any

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations
from rnnshapes.port.mistakes.cell_changes import (
    Arrays,
    CellChange,
    array_change,
    cells_of,
    changed_cells,
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


def biases(hypothesis: Hypothesis) -> Variations:
    """Leave the bias out, add it twice, or make a mistake about the bias of one cell."""
    for id_, how, factor in (("bias.omitted", "left out", 0), ("bias.twice", "added twice", 2)):
        mistake = Mistake(id_, f"the bias of the recurrent layer is {how}")
        yield from changed_cells(hypothesis, mistake, array_change(partial(mul, factor), "bh"))
    yield from variants(hypothesis, "bias")


def variants(hypothesis: Hypothesis, family: str) -> Variations:
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

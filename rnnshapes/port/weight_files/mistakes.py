"""Known mistakes in weight files of PyTorch and ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.cells.frameworks import FrameworkCell
from rnnshapes.layouts.equation_parts import in_order
from rnnshapes.load.foreign.model import FileRecurrence
from rnnshapes.ops.activations import Array
from rnnshapes.ops.elementwise import ELU, Affine, HardSigmoid, LeakyReLU
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.recovery.number_mistakes import number_mistake
from rnnshapes.port.weight_files.matching import are_equal

#: Activations with constants of their own, by their names in Keras.
_WITH_CONSTANTS = MappingProxyType(
    {
        "hard_sigmoid": HardSigmoid(1 / 6, 0.5),
        KERAS2_HARD_SIGMOID: HardSigmoid(0.2, 0.5),
        "linear": Affine(1.0, 0.0),
        "elu": ELU(1.0),
        "leaky_relu": LeakyReLU(0.2),
    }
)
#: The largest difference of a constant that is stored in float32.
_CLOSE = 1e-6
_RESHAPED = "it was reshaped to the transposed shape, but not transposed"


def option_mistakes(
    cell: Cell, other: FrameworkCell, where: Where, *, says_activation: bool
) -> Iterator[Mistake]:
    """Yield the options of a cell of Keras that a cell of the file has otherwise."""
    after = getattr(cell, "reset_after", None)
    if after is not None and getattr(other, "reset_after", None) != after:
        in_file, in_keras = ("before", "after") if after else ("after", "before")
        text = f"the file applies r {in_file} the product with Wh; Keras applies it {in_keras}"
        remedy = f"set linear_before_reset={int(after)}"
        if not says_activation:
            remedy = "use reset_after=True in Keras: PyTorch has no other GRU"
        yield Mistake(f"gru.reset_{in_file}", text, where, remedy)
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
    if getattr(other, "coupled", False):
        text = "input_forget=1: the file computes f as 1 - i; Keras has weights of its own for f"
        yield Mistake("lstm.gates_coupled", text, where, "set input_forget=0")
    if getattr(other, "peepholes", False):
        text = "the LSTM in the file has peepholes; Keras has none"
        yield Mistake("lstm.peepholes", text, where)
    if getattr(other, "projection", None) is not None:
        text = "the LSTM in the file projects h (proj_size); Keras's does not"
        yield Mistake("lstm.projected", text, where)
    if other.clip is not None:
        limit = f"clip={other.clip.most:g}"
        text = f"the file clips the inputs of activations ({limit}); Keras does not"
        yield Mistake("activation.clipped", text, where)


def _activation(other: FrameworkCell, name: str) -> str:
    """Return Keras's name of an activation of the file."""
    function = dict(other.functions).get(name)
    for known, expected in _WITH_CONSTANTS.items():
        if type(function) is type(expected):
            constants = zip(vars(function).values(), vars(expected).values(), strict=True)
            if all(abs(a - b) < _CLOSE for a, b in constants):
                return known
    return name if function is None else function.text("z")


def kernel_mistake(
    values: Array,
    key: str,
    direction: int,
    other: FileRecurrence,
    others: Sequence[FileRecurrence],
    where: Where,
    gates: tuple[str, ...],
) -> Mistake:
    """Return what is wrong with a kernel.

    Args:
        values: The kernel of Keras, (D, G·M) or (M, G·M), in float64.
        key: ``Wx`` or ``Wh``.
        direction: The direction that it belongs to.
        other: The recurrence of the file that it is compared with.
        others: All recurrences of the file.
        where: The kernel.
        gates: The G gates in Keras's order.
    """
    stored = other.parts[direction][key].astype(np.float64)
    if (mistake := _order_mistake(values, stored, gates, other.order, where)) is not None:
        return mistake
    raw = other.raw[direction][key]
    for candidate in (in_order(values, gates, other.order), values):
        if are_equal(candidate.reshape(raw.shape), raw):
            return Mistake("layout.flat_buffer", _RESHAPED, where, "store W.T; do not reshape W")
    if values.shape[0] * len(gates) == values.shape[1]:
        blocks = [block.T for block in np.split(values, len(gates), axis=1)]
        if are_equal(np.concatenate(blocks, axis=1), stored):
            text = "each gate's block is transposed"
            return Mistake("layout.transposed", text, where, "store W.T")
    elsewhere = _elsewhere(values, key, other, others, where)
    return elsewhere or number_mistake(values, stored, where, gates)


def _elsewhere(
    values: Array,
    key: str,
    other: FileRecurrence,
    others: Sequence[FileRecurrence],
    where: Where,
) -> Mistake | None:
    """Return the mistake that a kernel is in the other direction or in another layer, if it is."""
    for another in others:
        for parts in another.parts:
            if are_equal(values, parts[key]):
                if another is other:
                    return other_direction(where)
                text = f"the file has it in {another.name}"
                return Mistake("stack.layers_swapped", text, where)
    return None


def other_direction(where: Where) -> Mistake:
    """Return the mistake that the file has an array in the other direction."""
    text = "the file has it in the other direction"
    return Mistake("direction.weights_exchanged", text, where)


def _order_mistake(
    values: Array, stored: Array, gates: tuple[str, ...], own: tuple[str, ...], where: Where
) -> Mistake | None:
    """Return the mistake that the gates are not in the order ``own``, if it explains the numbers.

    Both arrays, of one shape, have G blocks along the last axis, in the order ``gates``.
    """
    if not gates:
        return None
    blocks = dict(zip(gates, np.split(values, len(gates), axis=-1), strict=True))
    order: list[str] = []
    for block in np.split(stored, len(gates), axis=-1):
        names = (g for g in gates if g not in order and are_equal(blocks[g], block))
        name = next(names, None)
        if name is None:
            return None
        order.append(name)
    found, right = " ".join(order[gates.index(gate)] for gate in own), " ".join(own)
    text = f"its gates are in the order {found}, not {right}"
    return Mistake("gates.order", text, where, f"put its blocks of M in the order {right}")


def bias_mistake(
    values: Array,
    bx: Array,
    bh: Array,
    where: Where,
    gates: tuple[str, ...],
    own: tuple[str, ...],
) -> Mistake:
    """Return what is wrong with a bias.

    Args:
        values: The bias of Keras, (G·M,), or (2, G·M) of a GRU with two rows, in float64.
        bx: The bias of the input in the file, (G·M,).
        bh: The bias of the state in the file, (G·M,).
        where: The bias.
        gates: The G gates in Keras's order.
        own: The G gates in the order of the file.
    """
    if values.ndim == 2:
        return _two_rows(values, bx, bh, where, gates, own)
    total = bx + bh
    if not total.any():
        remedy = "store the bias in bias_ih, and zeros in bias_hh"
        return Mistake("bias.omitted", "the bias is left out", where, remedy)
    if np.allclose(total, 2 * values, 1e-6):
        text = "both biases of the file hold the bias, and they are added"
        remedy = "store the bias in one of the two arrays, and zeros in the other"
        return Mistake("bias.twice", text, where, remedy)
    if "f" in gates:
        one = np.zeros_like(values).reshape(len(gates), -1)
        one[gates.index("f")] = 1
        if np.allclose(total, values + one.reshape(-1), 1e-6, 1e-6):
            text = "1 is added to the forget bias, which Keras's bias includes"
            remedy = "do not add 1 to the forget bias: Keras's bias includes it"
            return Mistake("bias.forget_again", text, where._replace(gate="f"), remedy)
    reordered = _order_mistake(values, total, gates, own, where)
    return reordered or number_mistake(values, total, where, gates)


def _two_rows(
    values: Array,
    bx: Array,
    bh: Array,
    where: Where,
    gates: tuple[str, ...],
    own: tuple[str, ...],
) -> Mistake:
    """Return what is wrong with the two biases of a GRU; shapes as in :func:`bias_mistake`."""
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
            remedy = "store bias[0] as bias_ih, and bias[1] as bias_hh"
            return Mistake(id_, text, where, remedy)
    row = int(np.array_equal(values[0], bx))
    expected, found = values[row], (bx, bh)[row]
    reordered = _order_mistake(expected, found, gates, own, where)
    return reordered or number_mistake(expected, found, where, gates, f"row {row}, ")


def plain_mistake(
    values: Array, stored: Array, forms: Sequence[Array], where: Where, *, is_table: bool
) -> Mistake:
    """Return what is wrong with an array outside recurrences.

    Args:
        values: The array of Keras, in float64.
        stored: The array of the file, in the same shape or in the transposed one.
        forms: What it may stand for, each in the shape of ``values``.
        where: The array.
        is_table: Whether it is the table of an Embedding, which PyTorch does not transpose.
    """
    if any(are_equal(form, values) for form in (stored, stored.T)):
        text = "it is transposed" if is_table else "it is not transposed"
        remedy = "store it as it is" if is_table else "store W.T"
        return Mistake("layout.transposed", text, where, remedy)
    if are_equal(values.reshape(stored.shape), stored):
        return Mistake("layout.flat_buffer", _RESHAPED, where, "store W.T; do not reshape W")
    found = forms[0] if forms else stored if stored.shape == values.shape else stored.T
    return number_mistake(values, found, where)

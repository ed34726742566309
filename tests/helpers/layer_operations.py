"""The operations of a layer on small tensors, for each interpreter of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.ops import elementwise as functions
from rnnshapes.ops import rearrangements as moves
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import ACTIVATIONS, KERAS2_HARD_SIGMOID, RELATIONS
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Window

SIZES = {"N": 2, "T": 5, "D": 4, "M": 3, "K": 6}
N, T, D, M, K = (Dim.named(name) for name in SIZES)
WHOLE = moves.WHOLE
#: A number without axes, and a row.
HALF = Constant((0.5,), (), "float32")
ROW = Constant((0.5, -1.5, 2.0, 0.75), (4,), "float32")


class Operation(NamedTuple):
    """What is computed of tensors with these shapes.

    Attributes:
        compute: Takes the interpreter and the tensors; returns one or several.
        shapes: Their symbolic shapes.
        lowest: The lowest number in them.
        in_onnx: Whether ONNX has a counterpart.
    """

    compute: Callable[..., Any]
    shapes: tuple[tuple[Dim, ...], ...] = ((N, T, D),)
    lowest: float = -2.0
    in_onnx: bool = True


def selected(*key: Any, lengths: dict[int, int] | None = None) -> Operation:
    """Return the selection of a part of a tensor."""
    named = tuple(Dim.of(lengths[i]) if i in (lengths or {}) else None for i in range(len(key)))
    return Operation(lambda ops, x: ops.rearrange(x, moves.Selection(key, named)))


def elementwise(function: functions.Elementwise, **options: Any) -> Operation:
    """Return a function of each number."""
    return Operation(lambda ops, x: ops.elementwise(x, function), **options)


def rearranged(function: moves.Rearrangement, **options: Any) -> Operation:
    """Return what moves numbers."""
    return Operation(lambda ops, x: ops.rearrange(x, function), **options)


def sum_of(tensors: Any) -> Any:
    """Return the sum of two tensors."""
    one, other = tensors
    return one + other


def each_step_of_two(ops: Any, x: Any, y: Any) -> Any:
    """Return a sum of each step of one tensor, and twice the other one."""

    def at_a_step(a: Any, b: Any) -> Any:
        return ops.reduce("sum", ops.maximum(a, a * 0.5), (1,), True), b * 2.0

    return ops.each_step(at_a_step, [x, y], 2)


MASK = np.arange(10).reshape(2, 5) % 3 > 0


def recurrence(ops: Any, *, reverse: bool, mask: Any = None) -> Callable[[Any], Any]:
    """Return a recurrence with two states over a sequence (N, T, D·2)."""

    def step(z: Any, states: Any) -> list[Any]:
        a, b = ops.split(z, "z", ("a", "b"))
        h, c = states
        return [a * 0.5 + c, b - h * 0.25]

    return lambda z: ops.scan(step, z, 2, ("h", "c"), reverse=reverse, mask=mask)


TWICE = ((N, T, Dim.of(2) * D),)
PAIR = ((N, T, D), (N, T, D))
QUERIES = ((N, T, M),)
#: Activations without a counterpart in ONNX.
NOT_IN_ONNX = ("sparse_plus", "sparse_sigmoid", "soft_shrink", "hard_shrink")

OPERATIONS: dict[str, Operation] = {
    "sum": Operation(lambda ops, x, y: x + y, PAIR),
    "difference": Operation(lambda ops, x, y: x - y, PAIR),
    "product": Operation(lambda ops, x, y: x * y, PAIR),
    "quotient": Operation(lambda ops, x, y: x / y, PAIR, 0.5),
    "matrices": Operation(lambda ops, x, w: x @ w, ((N, T, D), (D, M))),
    "negative": Operation(lambda ops, x: -x),
    "sum with a number": Operation(lambda ops, x: x + 1.5),
    "number in front": Operation(lambda ops, x: 1 - x),
    "other number in front": Operation(lambda ops, x: 2.5 - x),
    "product with a number": Operation(lambda ops, x: x * -2.5),
    "quotient by a number": Operation(lambda ops, x: x / 2.5),
    "quotient of a number": Operation(lambda ops, x: 2.5 / x, lowest=0.5),
    "parts": Operation(
        lambda ops, x: tuple(ops.split(x, "z", ("a", "b", "c"))), ((N, Dim.of(3) * D),)
    ),
    "rows": Operation(lambda ops, x: tuple(ops.rows(x, ("a", "b", "c"))), ((M, D),)),
    "joined features": Operation(lambda ops, x, y: ops.concatenate([x, y]), ((N, T, D), (N, T, M))),
    "joined steps": Operation(
        lambda ops, x, y: ops.concatenate([x, y], 1, Dim.of(8)), ((N, T, D), (N, M, D))
    ),
    "plus a constant": Operation(lambda ops, x: x + ops.constant(ROW, x, (D,))),
    "times a constant number": Operation(lambda ops, x: x * ops.constant(HALF, x)),
    "plus an aligned row": Operation(lambda ops, x: sum_of(ops.aligned([x, ops.constant(ROW, x)]))),
    "plus an aligned sequence": Operation(
        lambda ops, x, y: sum_of(ops.aligned([x, y])), ((N, T, D), (N, Dim.of(5), Dim.of(4)))
    ),
    "part of a layer": Operation(
        lambda ops, x: ops.within("2").activate("tanh", ops.within("2").let("h", x))
    ),
    "transposed": rearranged(moves.Transposed((0, 2, 1))),
    "reshaped": rearranged(moves.Reshaped((Dim.of(10), Dim.of(2)), (-1, 2))),
    "repeated": rearranged(moves.Repeated(M, 3), shapes=((N, D),)),
    "repeated images": rearranged(moves.Repeated(M, 3)),
    "joined axes": rearranged(moves.Joined(), in_onnx=False),
    "padded": rearranged(moves.Padded((Dim.of(8),), ((1, 2),)), in_onnx=False),
    "stretched": rearranged(moves.Stretched(2, 1, 3, Dim.of(13)), in_onnx=False),
    "upsampled": rearranged(moves.Upsampled((Dim.of(15),), (3,)), in_onnx=False),
    "grouped": rearranged(moves.Grouped(Dim.of(2), 2, Dim.of(2)), in_onnx=False),
    "repeated per group": rearranged(
        moves.RepeatedPerGroup(Dim.of(9), 3), shapes=((N, M, Dim.of(1)),), in_onnx=False
    ),
    "last step": selected(WHOLE, -1),
    "some steps": selected(WHOLE, slice(1, 3), lengths={1: 2}),
    "steps from the end": selected(WHOLE, slice(-3, -1), lengths={1: 2}),
    "first steps": selected(WHOLE, slice(None, 2), lengths={1: 2}),
    "steps in reverse": selected(WHOLE, slice(None, None, -1)),
    "some steps in reverse": selected(WHOLE, slice(3, 0, -2), lengths={1: 2}),
    "each second feature": selected(WHOLE, WHOLE, slice(None, None, 2), lengths={2: 2}),
    "first feature": selected(Ellipsis, 0),
    "step and feature": selected(WHOLE, 2, -1),
    "new axis": selected(WHOLE, None),
    "axes, new and last": selected(WHOLE, None, 1, Ellipsis, None, slice(0, 2), lengths={5: 2}),
    "each step": Operation(each_step_of_two, ((N, T, D), (N, T, M))),
    "each step of one": Operation(each_step_of_two, ((N, D), (N, M))),
    "each step of images": Operation(each_step_of_two, ((N, T, D), (N, T, M, D))),
    "each step of one image": Operation(each_step_of_two, ((N, D), (N, M, D))),
    "contraction": Operation(
        lambda ops, x, w: ops.contract(Contraction("ntd,dmk->nkmt"), x, w), ((N, T, D), (D, M, K))
    ),
    "mean": Operation(lambda ops, x: ops.mean(x, 1)),
    "mean of features": Operation(lambda ops, x: ops.mean(x, -1)),
    "largest": Operation(lambda ops, x: ops.max(x, 1)),
    "largest in images": Operation(lambda ops, x: ops.max(x, (1, 2)), ((N, T, M, D),)),
    "attention": Operation(lambda ops, x: ops.attention_weights(x, Visibility()), QUERIES),
    "causal attention": Operation(
        lambda ops, x: ops.attention_weights(x, Visibility(causal=True)),
        ((N, T, T),),
        in_onnx=False,
    ),
    "attention to some keys": Operation(
        lambda ops, x: ops.attention_weights(
            x, Visibility(keys=np.array([[True, False, True], [True, True, True]]))
        ),
        QUERIES,
        in_onnx=False,
    ),
    "attention by some queries": Operation(
        lambda ops, x: ops.attention_weights(
            x, Visibility(queries=MASK, replaced=True, nothing=True)
        ),
        QUERIES,
        in_onnx=False,
    ),
    "attention with a mask": Operation(
        lambda ops, x, y: ops.attention_weights(
            x, Visibility(), ops.compare(">", y, ops.reduce("min", y, (2,), True))
        ),
        ((N, T, M), (N, T, M)),
        in_onnx=False,
    ),
    "sum over an axis": Operation(lambda ops, x: ops.reduce("sum", x, (1,), True)),
    "sum over axes": Operation(lambda ops, x: ops.reduce("sum", x, (1, 2), False)),
    "mean over an axis": Operation(lambda ops, x: ops.reduce("mean", x, (2,), True)),
    "largest over axes": Operation(lambda ops, x: ops.reduce("max", x, (1, 2), False)),
    "lowest over an axis": Operation(lambda ops, x: ops.reduce("min", x, (1,), True)),
    "inverse root": Operation(lambda ops, x: ops.rsqrt(x), lowest=0.5),
    "larger": Operation(lambda ops, x, y: ops.maximum(x, y), PAIR),
    "smaller": Operation(lambda ops, x, y: ops.minimum(x, y), PAIR),
    "chosen": Operation(
        lambda ops, x, y: ops.choose(ops.compare(">", x, y), x, y * 2.0), PAIR, in_onnx=False
    ),
    "windows": Operation(
        lambda ops, x: ops.windows(x, [Window(2, 2, "same", Dim.of(3), fill=0.5)]), in_onnx=False
    ),
    "averages": Operation(
        lambda ops, x: ops.averages(x, [Window(2, 2, "same", Dim.of(3))]), in_onnx=False
    ),
    "recurrence": Operation(lambda ops, x: recurrence(ops, reverse=False)(x), TWICE, in_onnx=False),
    "recurrence in reverse": Operation(
        lambda ops, x: recurrence(ops, reverse=True)(x), TWICE, in_onnx=False
    ),
    "recurrence of images": Operation(
        lambda ops, x: recurrence(ops, reverse=False)(x),
        ((N, T, M, Dim.of(2) * D),),
        in_onnx=False,
    ),
    "masked recurrence": Operation(
        lambda ops, x: recurrence(ops, reverse=False, mask=MASK)(x), TWICE, in_onnx=False
    ),
    "masked recurrence in reverse": Operation(
        lambda ops, x: recurrence(ops, reverse=True, mask=MASK)(x), TWICE, in_onnx=False
    ),
    "masked steps": Operation(lambda ops, x: ops.where(MASK, x, 0.0), in_onnx=False),
    "named": Operation(lambda ops, x: ops.define("y", ops.let("h", ops.narrow(ops.widen(x), x)))),
    "negative part": elementwise(functions.NegativePart()),
    "leaky ReLU": elementwise(functions.LeakyReLU(0.3)),
    "ELU": elementwise(functions.ELU(0.7)),
    "clipped": elementwise(functions.Clip(-0.5, 0.75)),
    "affine": elementwise(functions.Affine(2.0, -1.5)),
    "ReLU": elementwise(functions.ClippedReLU(None, 0.0)),
    "ReLU with a limit": elementwise(functions.ClippedReLU(0.8, 0.0)),
    "ReLU with a slope": elementwise(functions.ClippedReLU(None, 0.2), in_onnx=False),
    "ReLU with a threshold": elementwise(functions.ClippedReLU(1.0, 0.0, 0.5), in_onnx=False),
    "root": elementwise(functions.SQRT, lowest=0.5),
    "logarithm": elementwise(functions.LOG, lowest=0.5),
    "exponential": elementwise(functions.EXP),
    "magnitude": elementwise(functions.ABS),
    "square": elementwise(functions.SQUARE),
    "log1p": elementwise(functions.LOG1P, lowest=0.5, in_onnx=False),
    "cube": elementwise(functions.Power(3.0), in_onnx=False),
    "hard sigmoid": elementwise(functions.HardSigmoid(0.4, 0.3), in_onnx=False),
    **{
        f"relation {name}": Operation(
            lambda ops, x, y, name=name: ops.compare(name, x, y), PAIR, in_onnx=False
        )
        for name in RELATIONS
    },
    **{
        f"activation {name}": Operation(
            lambda ops, x, name=name: ops.activate(name, x), in_onnx=name not in NOT_IN_ONNX
        )
        for name in (*ACTIVATIONS, KERAS2_HARD_SIGMOID, "erf", "gelu_tanh", "tanh_softplus")
    },
}


def arrays_of(operation: Operation) -> list[np.ndarray]:
    """Return random tensors of these shapes; the same for each interpreter."""
    rng = np.random.default_rng(5)
    shapes = [[dim.value(SIZES) for dim in shape] for shape in operation.shapes]
    return [rng.uniform(operation.lowest, 2.0, shape).astype("float32") for shape in shapes]


def many(result: Any) -> tuple[Any, ...]:
    """Return one result or several as a tuple."""
    return result if isinstance(result, tuple) else (result,)

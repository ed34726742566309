"""Operations against ``keras.ops``: numbers, shapes, and which steps they depend on."""

from __future__ import annotations

import itertools
import re
from typing import Any

import keras
import numpy as np
import pytest

from rnnshapes.network.assemble import LayerCall
from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.base import Masks
from rnnshapes.network.layers.config import Source
from rnnshapes.network.layers.operations import fill_in
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.dims import Dim, dim_texts
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.symbolic import Symbol, SymbolicOps
from tests.helpers.layer_calls import is_supported, last_layer, network_of

SEQUENCE, IMAGES, FEATURES = (6, 4), (6, 3, 4), (4,)
X, Y, Z = Source(0), Source(1), Source(2)
N = 5
ALL, REST = slice(None), Ellipsis


def array(*shape: int, dtype: str = "float32") -> Constant:
    rng = np.random.default_rng(7)
    values = rng.standard_normal(shape).astype("float32").astype(dtype).reshape(-1).tolist()
    return Constant(tuple(values), shape, dtype)


#: Operation, options, shapes of the inputs without samples, arguments.
Case = tuple[str, dict[str, Any], list[tuple[int, ...]], tuple[Any, ...]]
KEYS: list[tuple[tuple[int, ...], tuple[Any, ...]]] = [
    (SEQUENCE, (ALL, 0)),
    (SEQUENCE, (ALL, -6)),
    (SEQUENCE, (ALL, 5, slice(1, 3))),
    (SEQUENCE, (ALL, slice(1, None))),
    (SEQUENCE, (ALL, slice(-1, None))),
    (SEQUENCE, (ALL, slice(-1, None, 1))),
    (SEQUENCE, (ALL, slice(None, None, -1))),
    (SEQUENCE, (ALL, slice(None, -2, 2))),
    (SEQUENCE, (ALL, slice(4, 1, -2), slice(None, 3))),
    (SEQUENCE, (ALL, ALL, slice(1, 3))),
    (SEQUENCE, (ALL, ALL, slice(-1, None))),
    (SEQUENCE, (ALL, ALL, slice(-1, None, -1))),
    (SEQUENCE, (ALL, slice(-1, None, -2))),
    (SEQUENCE, (ALL, ALL, slice(None, None, -1))),
    (SEQUENCE, (ALL, ALL, slice(0, 4))),
    (SEQUENCE, (REST, 2)),
    (SEQUENCE, (REST, slice(2, None))),
    (SEQUENCE, (REST, slice(2, None), ALL)),
    (SEQUENCE, (ALL, None)),
    (SEQUENCE, (ALL, None, 2)),
    (SEQUENCE, (ALL, slice(2, 5), None)),
    (SEQUENCE, (REST, None, slice(1, 2))),
    (SEQUENCE, (ALL,)),
    (IMAGES, (ALL, -2)),
    (IMAGES, (ALL, ALL, -1)),
    (IMAGES, (ALL, REST, 1, slice(2, None))),
    (IMAGES, (ALL, slice(3), 1)),
    (IMAGES, (ALL, ALL, slice(1, None))),
    (FEATURES, (ALL, slice(1, None))),
    (FEATURES, (ALL, 3)),
    (FEATURES, (ALL, slice(None, None, 2))),
]
COMBINATIONS: list[Case] = [
    *(
        (kind, {}, [SEQUENCE, SEQUENCE], arguments)
        for kind in ("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum")
        for arguments in ((X, Y), (Y, X), (X, X))
        if arguments != (X, X) or kind == "Add"
    ),
    *(
        (kind, {}, [SEQUENCE], arguments)
        for kind in ("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "LessEqual")
        for arguments in ((X, 0.3), (-0.7, X), (X, 2), (X, array(4)), (array(6, 4), X))
    ),
    *(
        (kind, {}, [SEQUENCE, SEQUENCE], (X, Y))
        for kind in ("Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual")
    ),
    *(
        (kind, {}, [FEATURES, FEATURES], (X, Y))
        for kind in ("LogicalAnd", "LogicalOr", "LogicalXor")
    ),
    ("Add", {}, [SEQUENCE, (1, 4)], (X, Y)),
    ("Subtract", {}, [(1, 4), SEQUENCE], (X, Y)),
    ("Multiply", {}, [SEQUENCE, (6, 1)], (X, Y)),
    ("Multiply", {}, [SEQUENCE], (X, array(6, 1))),
    ("Multiply", {}, [IMAGES], (X, array(1, 4))),
    ("Multiply", {}, [SEQUENCE], (X, array(1, 6, 4))),
    ("Multiply", {}, [SEQUENCE], (X, array(4, dtype="int32"))),
    ("Multiply", {}, [IMAGES], (X, array(3, 4))),
    ("Multiply", {}, [IMAGES], (X, array(4))),
    ("Add", {}, [SEQUENCE], (X, array(1))),
    ("Add", {}, [(3, 3)], (X, array(3, 1))),
    ("Add", {}, [FEATURES, FEATURES], (X, Y)),
    ("Maximum", {}, [FEATURES], (X, 0)),
    ("Where", {}, [SEQUENCE, SEQUENCE, SEQUENCE], (X, Y, Z)),
    ("Where", {}, [SEQUENCE, SEQUENCE], (X, Y, 0.5)),
    ("Where", {}, [SEQUENCE, SEQUENCE], (X, -1.5, Y)),
]
POINTWISE = ("Absolute", "Negative", "Square", "Exp", "Reciprocal", "Expm1", "LogicalNot")
ACTIVATIONS = (
    *("Celu", "Elu", "Selu", "Gelu", "Relu", "Relu6", "Sigmoid", "Silu", "Softplus", "Softsign"),
    *("Tanh", "HardSigmoid", "HardSilu", "HardTanh", "HardShrink", "SoftShrink"),
    *("TanhShrink", "SparsePlus", "SparseSigmoid", "LogSigmoid", "LeakyRelu", "Squareplus"),
)
FUNCTIONS: list[Case] = [
    *((kind, {}, [SEQUENCE], (X,)) for kind in (*POINTWISE, *ACTIVATIONS, "Copy")),
    *((kind, {}, [FEATURES], (X,)) for kind in ("Sqrt", "Log", "Log1p", "Rsqrt")),
    ("Clip", {"x_min": -1, "x_max": 0.5}, [SEQUENCE], (X,)),
    *(("Power", {}, [FEATURES], (X, n)) for n in (0.5, 2, 3.0, 16)),
    ("Gelu", {"approximate": False}, [SEQUENCE], (X,)),
    ("Gelu", {"approximate": True}, [SEQUENCE], (X,)),
    ("Elu", {"alpha": 0.25}, [SEQUENCE], (X,)),
    ("Elu", {"alpha": 1.0}, [SEQUENCE], (X,)),
    ("LeakyRelu", {"negative_slope": 0.35}, [SEQUENCE], (X,)),
    (
        "ReLU",
        {"max_value": None, "threshold": 0.0, "negative_slope": 0.2},
        [SEQUENCE],
        (X,),
    ),
    ("ReLU", {"max_value": 0.9, "threshold": 0.3, "negative_slope": 0.1}, [SEQUENCE], (X,)),
    *(
        (kind, {"axis": axis}, [SEQUENCE], (X,))
        for kind in ("Softmax", "LogSoftmax")
        for axis in (-1, -2, 1, 2)
    ),
    ("Softmax", {}, [IMAGES], (X,)),
    ("Softmax", {"axis": 2}, [IMAGES], (X,)),
]
REDUCTIONS: list[Case] = [
    *(
        (kind, {"axis": axis, "keepdims": keepdims}, [SEQUENCE], (X,))
        for kind in ("Sum", "Mean", "Max", "Min", "Amax", "Amin", "Var", "Std")
        for axis, keepdims in ((1, False), (-1, True))
    ),
    ("Sum", {"axis": (1, 2)}, [IMAGES], (X,)),
    ("Max", {"axis": [-1, 1], "keepdims": True}, [IMAGES], (X,)),
    ("Mean", {"axis": -1}, [SEQUENCE], (X,)),
    ("Min", {"axis": -2, "keepdims": True}, [IMAGES], (X,)),
]
MOVES: list[Case] = [
    *(("Reshape", {"newshape": (-1, *n)}, [SEQUENCE], (X,)) for n in ((24,), (6, 2, 2), (8, 3))),
    ("Reshape", {"newshape": (-1, 4, 6)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1, 12)}, [(4, 3)], (X,)),
    ("Transpose", {"axes": (0, 2, 1)}, [SEQUENCE], (X,)),
    ("Transpose", {"axes": [0, -1, 1, 2]}, [IMAGES], (X,)),
    ("Swapaxes", {"axis1": 1, "axis2": 2}, [SEQUENCE], (X,)),
    ("Swapaxes", {"axis1": -1, "axis2": 1}, [IMAGES], (X,)),
    ("Swapaxes", {"axis1": 1, "axis2": -2}, [SEQUENCE], (X,)),
    ("Moveaxis", {"source": 1, "destination": 3}, [IMAGES], (X,)),
    ("Moveaxis", {"source": [1, 2], "destination": [-1, 1]}, [IMAGES], (X,)),
    ("Moveaxis", {"source": [3, 1], "destination": [2, 3]}, [IMAGES], (X,)),
    ("Moveaxis", {"source": -1, "destination": 2}, [SEQUENCE], (X,)),
    *(("ExpandDims", {"axis": axis}, [SEQUENCE], (X,)) for axis in (1, 2, 3, -1, -2, (1, 3))),
    ("Squeeze", {"axis": 2}, [(6, 1, 4)], (X,)),
    ("Squeeze", {"axis": (-1, 1)}, [(1, 6, 1)], (X,)),
    ("Flip", {"axis": 1}, [SEQUENCE], (X,)),
    ("Flip", {"axis": (1, -1)}, [SEQUENCE], (X,)),
    *(("Concatenate", {"axis": axis}, [SEQUENCE, (6, 3)], ((X, Y),)) for axis in (-1, 2)),
    *(("Concatenate", {"axis": axis}, [SEQUENCE, (5, 4)], ((X, Y),)) for axis in (-2, 1)),
    ("Concatenate", {"axis": 2}, [IMAGES, (6, 2, 4)], ((X, Y),)),
    *(("Stack", {"axis": axis}, [SEQUENCE, SEQUENCE], ((X, Y),)) for axis in (1, 2, -1, -2)),
    ("Stack", {"axis": 1}, [FEATURES, FEATURES, FEATURES], ((X, Y, Z),)),
    *(
        ("Split", {"indices_or_sections": sections, "axis": axis}, [SEQUENCE], (X,))
        for sections, axis in ((3, 1), (2, -1), (1, 2), ([1, 5], 1), ((1, 2), -1), ([2, 4], -2))
    ),
    ("Split", {"indices_or_sections": [2], "axis": 2}, [IMAGES], (X,)),
]
PRODUCTS: list[Case] = [
    ("Matmul", {}, [SEQUENCE, (4, 3)], (X, Y)),
    ("Matmul", {}, [(3, 6), SEQUENCE], (X, Y)),
    ("Matmul", {}, [SEQUENCE], (X, array(4, 3))),
    ("Matmul", {}, [SEQUENCE], (X, array(4))),
    ("Matmul", {}, [SEQUENCE], (array(3, 6), X)),
    ("Matmul", {}, [FEATURES], (X, array(4, 3))),
    ("Matmul", {}, [FEATURES], (X, array(4))),
    ("Matmul", {}, [IMAGES, (6, 4, 2)], (X, Y)),
    ("Matmul", {}, [IMAGES], (X, array(4, 2))),
    ("Matmul", {}, [IMAGES], (array(2, 3), X)),
    ("Matmul", {}, [(2, 3, 6, 4)], (X, array(4, 5))),
    ("Matmul", {}, [(2, 3, 6, 4)], (array(5, 6), X)),
    ("Matmul", {}, [(2, 3, 6, 4), (2, 3, 4, 5)], (X, Y)),
    *(
        ("Einsum", {"subscripts": subscripts}, [SEQUENCE, (3, 4)], (X, Y))
        for subscripts in ("btd,bsd->bts", "btd,bsd->bst", "btd, bsd -> bsdt", "...td,...sd->...ts")
    ),
    *(
        ("Einsum", {"subscripts": subscripts}, [SEQUENCE], (X, array(4, 3)))
        for subscripts in ("btd,dk->btk", "btx,xy", "...d,dk->...k", "...d,dk", "btd,dk->bkt")
    ),
    ("Einsum", {"subscripts": "kt,btd->bkd"}, [SEQUENCE], (array(3, 6), X)),
    ("Einsum", {"subscripts": "btd,btd->bt"}, [SEQUENCE, SEQUENCE], (X, Y)),
    ("Einsum", {"subscripts": "btd,bd->bt"}, [SEQUENCE, FEATURES], (X, Y)),
    ("Einsum", {"subscripts": "b...,b...->b..."}, [SEQUENCE, FEATURES], (X, Y)),
]
COMBINED = {case[0] for case in COMBINATIONS}
CASES: list[Case] = [
    *(("GetItem", {}, [shape], (X, key)) for shape, key in KEYS),
    *COMBINATIONS,
    *FUNCTIONS,
    *REDUCTIONS,
    *MOVES,
    *PRODUCTS,
]


def network_with(case: Case) -> Network:
    kind, options, shapes, arguments = case
    return network_of(f"keras.ops.{kind}", options, *shapes, arguments=arguments)


def arrays_of(case: Case) -> list[np.ndarray]:
    """Return inputs: some numbers are 0 or equal, and positive where an operation needs it."""
    rng = np.random.default_rng(2)
    made = [rng.integers(-6, 7, (N, *shape)).astype("float32") / 4 for shape in case[2]]
    is_positive = case[0] in ("Sqrt", "Log", "Log1p", "Rsqrt", "Power", "Reciprocal", "Var", "Std")
    if is_positive or case[0].endswith("ivide"):
        made = [abs(x) + np.float32(0.5) for x in made]
    return made


def by_keras(case: Case, inputs: list[np.ndarray]) -> Any:
    """Return what ``keras.ops`` computes, by the name of the class in its function."""
    kind, options, _, arguments = case
    if kind == "ReLU":
        return keras.activations.relu(*inputs, **options)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    given = fill_in(arguments, inputs)
    if kind == "Einsum":
        return keras.ops.einsum(options["subscripts"], *given)
    return getattr(keras.ops, name)(*given, **options)


def parts(result: Any) -> list[np.ndarray]:
    made = result if isinstance(result, list | tuple) else [result]
    return [np.asarray(part) for part in made]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_operation_computes_what_keras_computes(case: Case) -> None:
    network, inputs = network_with(case), arrays_of(case)
    layer = network.nodes[-1].layer
    assert layer.declared_shapes is None
    expected = parts(by_keras(case, inputs))
    found = parts(layer.call(NumpyOps(), inputs, None, Masks()))
    called = parts(layer.call_keras(keras, inputs))  # type: ignore[attr-defined]
    for one, other, again in itertools.zip_longest(expected, found, called):
        assert one.shape == other.shape == again.shape
        np.testing.assert_allclose(other, one, rtol=3e-6, atol=1e-6)
        np.testing.assert_array_equal(again, one)
        assert layer.is_boolean is (one.dtype == bool)
    sizes = {**network.sizes, "N": N}
    shapes = [tuple(dim.value(sizes) for dim in shape) for shape in network.node_shapes[-1].shapes]
    assert shapes == [each.shape for each in expected]


STEPPED = [case for case in CASES if len(case[2][0]) == 2 and case[2][0][0] == 6]
#: Operations that may be said to mix steps although they do not.
CAUTIOUS = {"Swapaxes", "Moveaxis", "Split", "Matmul", "Einsum"}


@pytest.mark.parametrize("case", STEPPED, ids=[case[0] for case in STEPPED])
def test_stepwise_operation_treats_steps_alike(case: Case) -> None:
    """It computes each step from that step alone, and each in the same way."""
    layer = network_with(case).nodes[-1].layer
    order, inputs = [3, 1, 0, 5, 2, 4], arrays_of(case)
    moved = [x[:, order] if x.shape[1] == 6 else x for x in inputs]
    changed = [np.concatenate([x[:, :-1], x[:, -1:] + 1], axis=1) for x in inputs]
    first, other, last = (
        parts(layer.call(NumpyOps(), x, None, Masks())) for x in (inputs, moved, changed)
    )
    alike = all(
        a.ndim == 3
        and a.shape[1] == 6
        and np.allclose(a[:, order], b, rtol=1e-5)
        and np.allclose(a[:, :-1], c[:, :-1], rtol=1e-5)
        for a, b, c in zip(first, other, last, strict=True)
    )
    assert layer.stepwise is alike or (alike and case[0] in CAUTIOUS)


#: Operations that take Booleans, as the result of a comparison, and return Booleans.
MOVING = {"GetItem", "Copy", "LogicalNot", "Reshape", "Transpose", "Swapaxes"} | {
    *("Moveaxis", "ExpandDims", "Squeeze", "Flip"),
}


def test_booleans_are_moved_and_not_computed_with() -> None:
    for kind, options, shapes, arguments in CASES:
        if len(shapes) > 1 or arguments[0] != X or kind in COMBINED:
            continue
        calls = (
            LayerCall("x", "InputLayer", {"batch_shape": (None, *shapes[0])}),
            LayerCall("true", "keras.ops.Greater", {}, (Tap(0),), arguments=(X, 0.25)),
            LayerCall("layer", f"keras.ops.{kind}", options, (Tap(1),), arguments=arguments),
        )
        layer = last_layer(*calls)
        expected = kind in MOVING
        assert (is_supported(layer), layer.is_boolean) == (expected, expected), kind


@pytest.mark.parametrize(
    ("shape", "axis", "dims"),
    [
        (FEATURES, -1, ("N", "2")),
        (SEQUENCE, 1, ("N", "T'", "D")),
        (SEQUENCE, -1, ("N", "T", "2")),
        (IMAGES, -1, ("N", "T", "3", "2")),
    ],
)
def test_parts_of_time_alone_get_a_name(shape: Any, axis: int, dims: tuple[str, ...]) -> None:
    options = {"indices_or_sections": 2, "axis": axis}
    network = network_of("keras.ops.Split", options, shape, arguments=(X,))
    (first, second) = network.node_shapes[-1].shapes
    assert dim_texts(first) == dim_texts(second) == dims


@pytest.mark.parametrize("step", [None, 1])
def test_last_step_as_a_sequence_has_one_step(step: int | None) -> None:
    """However many steps x has."""
    key = (ALL, slice(-1, None, step))
    network = network_of("keras.ops.GetItem", {}, (None, 4), arguments=(X, key))
    assert dim_texts(network.node_shapes[-1].shapes[0]) == ("N", "1", "D")


def test_sums_of_matrices_are_float32() -> None:
    """Those of some einsums, which TensorFlow computes in another way, are not."""
    found = set()
    for kind, options, shapes, arguments in PRODUCTS:
        network = network_of(f"keras.ops.{kind}", options, *shapes, arguments=arguments)
        found.add((kind, network.nodes[-1].layer.contraction.sums_in_float16))
    assert found == {("Matmul", False), ("Einsum", False), ("Einsum", True)}


#: Combinations of a, b and c, and what is written of them.
WRITTEN: list[tuple[str, tuple[Any, ...], str]] = [
    *(("Add", (X, Y), "a + b"), ("Add", (Y, X), "b + a"), ("Add", (-1.5, X), "a + -1.5")),
    *(("Subtract", (Y, X), "b - a"), ("Subtract", (-1.5, X), "-1.5 - a")),
    *(("Multiply", (Y, X), "b × a"), ("Multiply", (-1.5, X), "a × -1.5")),
    *(("Divide", (Y, X), "b / a"), ("TrueDivide", (-1.5, X), "-1.5 / a")),
    *(("Maximum", (X, Y), "max(a, b)"), ("Minimum", (-1.5, X), "min(-1.5, a)")),
    *(("Greater", (X, 0.5), "a > 0.5"), ("GreaterEqual", (Y, X), "b >= a")),
    *(("Less", (Y, X), "b < a"), ("LessEqual", (-1.5, X), "-1.5 <= a")),
    *(("Equal", (Y, X), "b == a"), ("NotEqual", (X, Y), "a != b")),
    *(("LogicalAnd", (X, Y), "min(a != 0, b != 0)"), ("LogicalOr", (Y, X), "max(b != 0, a != 0)")),
    *(("LogicalXor", (X, Y), "(a != 0) != (b != 0)"), ("Where", (X, Z, Y), "where(a, c, b)")),
]


@pytest.mark.parametrize(("kind", "arguments", "text"), WRITTEN)
def test_combinations_are_written_in_order(kind: str, arguments: Any, text: str) -> None:
    count = sum(isinstance(part, Source) for part in arguments)
    shapes = [FEATURES] * count
    layer = network_of(f"keras.ops.{kind}", {}, *shapes, arguments=arguments).nodes[-1].layer
    shape, tape = (Dim.named("N"), Dim.named("D")), []
    inputs = [Symbol(name, shape, tape) for name in "abc"[:count]]
    assert layer.call(SymbolicOps(), inputs, None, Masks()).text == text


@pytest.mark.parametrize(
    ("other", "supported"),
    [(0.5, True), (2, False), (array(4), True), (array(4, dtype="int32"), False)],
)
def test_booleans_are_multiplied_by_floats_alone(other: Any, *, supported: bool) -> None:
    calls = (
        LayerCall("x", "InputLayer", {"batch_shape": (None, 4)}),
        LayerCall("true", "keras.ops.Greater", {}, (Tap(0),), arguments=(X, 0.25)),
        LayerCall("layer", "keras.ops.Multiply", {}, (Tap(1),), arguments=(X, other)),
    )
    assert is_supported(last_layer(*calls)) == supported


def test_operations_keep_the_mask_of_a_returned_tensor() -> None:
    """TensorFlow returns the tensor itself where nothing changes, and Keras then has its mask."""
    mask = np.array([[True, False]])
    kept: list[Case] = [
        ("Swapaxes", {"axis1": 1, "axis2": -2}, [SEQUENCE], (X,)),
        ("Moveaxis", {"source": 2, "destination": -1}, [SEQUENCE], (X,)),
        ("Cast", {"dtype": "float32"}, [SEQUENCE], (X,)),
    ]
    lost = [case for case in CASES if case[0] not in ("Swapaxes", "Moveaxis")]
    lost += [
        ("Swapaxes", {"axis1": 1, "axis2": 2}, [SEQUENCE], (X,)),
        ("Cast", {"dtype": "float16"}, [SEQUENCE], (X,)),
    ]
    for cases, expected in ((kept, mask), (lost, None)):
        for case in cases:
            layer = network_with(case).nodes[-1].layer
            assert layer.mask(arrays_of(case), [mask] * len(case[2])) is expected, case
            assert layer.mask(arrays_of(case), [None] * len(case[2])) is None


ROWS, COLUMNS = Constant((1.0,) * 12, (4, 3), "float32"), Constant((2.0,) * 18, (3, 6), "float32")
#: Operations on a and b, and what is written of their outputs.
FORMULAS: list[tuple[str, dict[str, Any], list[tuple[int, ...]], tuple[Any, ...], str]] = [
    ("Negative", {}, [SEQUENCE], (X,), "-a"),
    ("Reciprocal", {}, [SEQUENCE], (X,), "1 / a"),
    ("LogicalNot", {}, [SEQUENCE], (X,), "a == 0"),
    ("Clip", {"x_min": -1, "x_max": 0.5}, [SEQUENCE], (X,), "clip(a, -1, 0.5)"),
    ("Power", {}, [SEQUENCE], (X, 2), "power(a, 2)"),
    ("Var", {"axis": 1}, [SEQUENCE], (X,), "mean(square(a - mean(a)))"),
    ("Std", {"axis": 1}, [SEQUENCE], (X,), "sqrt(mean(square(a - mean(a))))"),
    ("Amax", {"axis": 1}, [SEQUENCE], (X,), "max(a)"),
    ("Softmax", {"axis": 1}, [SEQUENCE], (X,), "transpose(softmax(transpose(a)))"),
    ("Copy", {}, [SEQUENCE], (X,), "a"),
    ("Squeeze", {"axis": 1}, [(1, 4)], (X,), "a[:, 0, :]"),
    ("Flip", {"axis": -1}, [SEQUENCE], (X,), "a[:, :, ::-1]"),
    ("GetItem", {}, [SEQUENCE], (X, (ALL, slice(1, 3))), "a[:, 1:3, :]"),
    ("Concatenate", {"axis": 1}, [SEQUENCE, (5, 4)], ((X, Y),), "concatenate(a, b)"),
    ("Stack", {"axis": 1}, [SEQUENCE] * 2, ((X, Y),), "concatenate(a[:, None], b[:, None])"),
    ("Split", {"indices_or_sections": [2], "axis": 1}, [SEQUENCE], (X,), "a[:, 0:2]; a[:, 2:6]"),
    ("Matmul", {}, [SEQUENCE, (4, 3)], (X, Y), "a b"),
    ("Matmul", {}, [SEQUENCE], (X, ROWS), "a [1 1 …]"),
    ("Matmul", {}, [SEQUENCE], (COLUMNS, X), "[2 2 …] a"),
    ("Einsum", {"subscripts": "btd,bsd->bts"}, [SEQUENCE, (5, 4)], (X, Y), "a bᵀ"),
]


@pytest.mark.parametrize(("kind", "options", "shapes", "arguments", "text"), FORMULAS)
def test_operations_are_written_as_formulas(
    kind: str, options: Any, shapes: Any, arguments: Any, text: str
) -> None:
    network = network_with((kind, options, shapes, arguments))
    layer, tape = network.nodes[-1].layer, []
    given = [each.shapes[0] for each in network.node_shapes[:-1]]
    inputs = [Symbol(*named, tape) for named in zip("ab", layer.own_shapes(given), strict=False)]
    found = layer.call(SymbolicOps(), inputs, None, Masks())
    outputs = found if isinstance(found, tuple) else (found,)
    assert "; ".join(each.text for each in outputs) == text

"""One equation in several interpreters: shapes, arrays and bounds belong together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnnshapes.cells.cell import Cell
from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.network.layers.base import Masks
from rnnshapes.network.layers.core import Dense
from rnnshapes.ops.activations import FORMULAS, MONOTONE, ROWWISE, activate
from rnnshapes.ops.batched_weight import BatchedWeight
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.elementwise import (
    ABS,
    ELU,
    EXP,
    EXPM1,
    LOG,
    LOG1P,
    SQRT,
    SQUARE,
    Affine,
    Clip,
    ClippedReLU,
    Elementwise,
    HardSigmoid,
    InverseRoot,
    LeakyReLU,
    NegativePart,
    Power,
    ScaledTanh,
)
from rnnshapes.ops.fixed_point import FixedPoint, FixedPointOps, Scheme, StoredValues
from rnnshapes.ops.interface import ACTIVATIONS as NAMES
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID, RELATIONS
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.precision import PRECISIONS, TENSOR_FLOAT_32, Precision
from rnnshapes.ops.rearrangements import WHOLE, Selection, Transposed
from rnnshapes.ops.recorder import RecorderOps, Recording
from rnnshapes.ops.symbolic import ShapeMismatchError, ShapeOps, Symbol, SymbolicOps
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Window
from tests.helpers import layer_operations

SIZES = {"N": 4, "D": 3, "M": 5, "K": 2}
N, D, M, K = (Dim.named(name) for name in SIZES)
FLOAT32 = PRECISIONS["float32"]
OPS = BoundedOps()


class Equation:
    """A cell or a Dense layer at one step, with all that it takes."""

    def __init__(self, layer: Cell | Dense) -> None:
        self.layer = layer
        is_cell = isinstance(layer, Cell)
        self.features = D if is_cell else M
        self.weights = layer.weights(D) if is_cell else layer.weights
        self.states = layer.states if is_cell else {}

    def evaluate(self, ops: Any, x: Any, states: dict[str, Any], w: dict[str, Any]) -> Any:
        """The output in any interpreter."""
        weights = SimpleNamespace(**w)
        if isinstance(self.layer, Dense):
            return self.layer.call(ops, [x], weights, Masks())
        return self.layer.step(ops, self.layer.project(ops, x, weights), states, weights).output

    def arrays(self, seed: int = 3) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Seeded float32 input, states and weights, as float64."""
        rng = np.random.default_rng(seed)

        def draw(*dims: Dim) -> Any:
            shape = [dim.value(SIZES) for dim in dims]
            return rng.standard_normal(shape).astype("float32").astype("float64")

        w = {weight.key: draw(*weight.dims) for weight in self.weights}
        states = {key: draw(N, dim) for key, dim in self.states.items()}
        return draw(N, self.features), states, w

    def __str__(self) -> str:
        return str(self.layer)


def forms() -> list[Cell]:
    """Each cell with each combination of the options that choose another equation."""
    cells = [cell for kind in BY_CLASS.values() for cell in kind.with_all_switches(M)]
    return [cell for cell in cells if cell.keras_options.get("unit_forget_bias", True)]


def layers() -> list[Cell | Dense]:
    """Each form of each cell, and Dense."""
    shared = {"name": "d", "index": "0", "features": M, "units": K, "activation": "linear"}
    return [*forms(), *(Dense(**shared, use_bias=use_bias) for use_bias in (True, False))]


def equations(layer: Cell | Dense, *activations: str) -> list[Equation]:
    """The equation of a layer with each of the activations."""
    return [Equation(replace(layer, activation=name)) for name in activations]


each_layer = pytest.mark.parametrize("layer", layers(), ids=str)


@each_layer
def test_symbolic_shape_is_the_shape_of_the_array(layer: Cell | Dense) -> None:
    for equation in equations(layer, *NAMES):
        check_symbolic_shape(equation)


def check_symbolic_shape(equation: Equation) -> None:
    """Compare the dimensions that the equation yields with those of an array."""
    x, states, w = equation.arrays()
    operations: list = []
    symbols = {v.key: Symbol(v.key, v.dims, operations) for v in equation.weights}
    before = {key: Symbol(key, (N, dim), operations) for key, dim in equation.states.items()}
    inputs = Symbol("x", (N, equation.features), operations)
    symbol = equation.evaluate(SymbolicOps(), inputs, before, symbols)
    array = equation.evaluate(NumpyOps(), x, states, w)
    assert tuple(dim.value(SIZES) for dim in symbol.shape) == array.shape, str(equation)


@each_layer
def test_recorded_array_is_the_array(layer: Cell | Dense) -> None:
    for equation in equations(layer, "tanh", "linear", "gelu", "softmax"):
        check_recording(equation)


def check_recording(equation: Equation) -> None:
    """Compare the array that is recorded with the one that NumPy computes."""
    x, states, w = equation.arrays()
    recording = Recording()
    weights = {v.key: recording.tensor(v.key, v.dims, w[v.key]) for v in equation.weights}
    before = {
        key: recording.tensor(key, (N, dim), states[key]) for key, dim in equation.states.items()
    }
    inputs = recording.tensor("x", (N, equation.features), x)
    recorded = equation.evaluate(RecorderOps(recording), inputs, before, weights)
    expected = equation.evaluate(NumpyOps(), x, states, w)
    np.testing.assert_array_equal(recorded.array, expected)
    assert len(recording.results) == len(recording.operations)


@each_layer
def test_float32_stays_within_a_small_bound(layer: Cell | Dense) -> None:
    for equation in equations(layer, *NAMES):
        check_bound(equation)


def check_bound(equation: Equation) -> None:
    """Compare float32 with the bound, and the bound with what is small."""
    x, states, w = equation.arrays()
    exact = {key: Bounded.exact(value, FLOAT32) for key, value in w.items()}
    before = {key: Bounded.exact(value, FLOAT32) for key, value in states.items()}
    bounded = equation.evaluate(BoundedOps(), Bounded.exact(x, FLOAT32), before, exact)
    expected = equation.evaluate(NumpyOps(), x, states, w)
    np.testing.assert_allclose(bounded.value, expected, rtol=1e-14)
    single_states, single_w = (
        {key: value.astype("float32") for key, value in part.items()} for part in (states, w)
    )
    in_float32 = equation.evaluate(NumpyOps(), x.astype("float32"), single_states, single_w)
    assert in_float32.dtype == np.float32
    assert np.all(np.abs(in_float32 - bounded.value) <= bounded.error), str(equation)
    assert np.max(bounded.error / (1 + np.abs(bounded.value))) < 2e-4, str(equation)


FLOATS = st.floats(-1e3, 1e3, width=32)


def matrix(rows: int, columns: int) -> st.SearchStrategy:
    """A matrix of float32."""
    return hnp.arrays("float32", (rows, columns), elements=FLOATS)


@settings(deadline=None)
@given(matrix(2, 7), matrix(7, 3), matrix(2, 3))
def test_bound_holds_for_any_order_of_summation(a: Any, w: Any, b: Any) -> None:
    """Forwards, backwards and pairwise, float32 sums of products stay within the bound."""
    bounded = Bounded.exact(a, FLOAT32) @ Bounded.exact(w, FLOAT32) + Bounded.exact(b, FLOAT32)
    products = a[:, :, None] * w[None]
    for order in (slice(None), slice(None, None, -1)):
        total = np.zeros((2, 3), "float32")
        for term in np.moveaxis(products[:, order], 1, 0):
            total = total + term
        assert np.all(np.abs((total + b) - bounded.value) <= bounded.error)


@settings(deadline=None)
@given(matrix(3, 4), matrix(3, 4))
def test_bound_of_elementwise_product_holds(a: Any, b: Any) -> None:
    """The product of float32 numbers is rounded once."""
    bounded = Bounded.exact(a, FLOAT32) * Bounded.exact(b, FLOAT32)
    with np.errstate(under="ignore"):
        assert np.all(np.abs(a * b - bounded.value) <= bounded.error)


@settings(deadline=None)
@given(matrix(3, 4), st.sampled_from(sorted(MONOTONE)), st.floats(0, 2))
def test_activation_carries_error_of_its_argument(z: Any, name: str, off: float) -> None:
    """For every argument within the error, the function stays within the bound."""
    z = z.astype("float64")
    with np.errstate(over="ignore", invalid="ignore"):
        bounded = Bounded(z, np.full_like(z, off), FLOAT32).activated(name)
    function = MONOTONE[name].function
    with np.errstate(over="ignore", invalid="ignore"):
        for shifted in (z - off, z - off / 3, z + off / 2, z + off):
            apart = np.abs(function(shifted) - bounded.value)
            assert np.all((apart <= bounded.error) | np.isinf(bounded.error))


def test_overflow_makes_bound_infinite_for_good() -> None:
    """Past half of the largest float32 no statement is made, also behind tanh."""
    big = Bounded.exact(np.array([[1e20, 1.0]]), FLOAT32)
    w = Bounded.exact(np.array([[1e20, 1.0], [1e20, 1.0]]), FLOAT32)
    z = big @ w
    assert np.isinf(z.error).tolist() == [[True, False]]
    assert np.isinf(z.activated("tanh").error).tolist() == [[True, False]]


@pytest.mark.parametrize(("hidden", "replaced"), [(True, True), (True, False), (False, True)])
def test_overflown_score_leaves_attention_without_bound(*, hidden: bool, replaced: bool) -> None:
    error = np.array([[[0.0, 0.0, np.inf]]])
    keys = np.array([[True, False, not hidden]])
    visibility = Visibility(keys=keys, replaced=replaced)
    scores = Bounded(np.array([[[0.0, 1e5, 0.0]]]), error, FLOAT32)
    weights = BoundedOps().attention_weights(scores, visibility)
    assert np.isinf(weights.error).all() == (not (hidden and replaced))


def test_constant_beyond_the_precision_has_no_bound() -> None:
    x = Bounded.exact(np.ones(2), PRECISIONS["float16"])
    with np.errstate(invalid="ignore"):
        for result in (x * 1e5, x + 1e5, x / 1e5, 1e5 / x):
            assert np.isinf(result.error).all()
    assert np.isfinite((Bounded.exact(np.ones(2), FLOAT32) * 1e5).error).all()


def test_quotient_of_large_numbers_has_a_small_bound() -> None:
    for name, large in (("float16", 2.0**14), ("bfloat16", 2.0**100), ("float32", 2.0**100)):
        p = PRECISIONS[name]
        a, b = Bounded.exact(np.full(2, 2 * large), p), Bounded.exact(np.full(2, large), p)
        assert np.all((a / b).error <= 12 * p.unit_roundoff + 2 * p.tiny)
    huge = Bounded.exact(np.full(2, 2.0**126), FLOAT32)
    assert np.all((huge / huge).error >= 1)  # the inverse may be flushed to zero


@pytest.mark.parametrize(("base", "exponent"), [(100.0, 15.9), (0.01, 5.3)])
def test_bound_of_power_includes_rounding_of_exponent(base: float, exponent: float) -> None:
    x = np.array([0.0, 1.0, base])
    bounded = BoundedOps().elementwise(Bounded.exact(x, FLOAT32), Power(exponent))
    rounded = x ** np.float64(np.float32(exponent))
    assert np.all(np.abs(rounded - bounded.value) + 4e-7 * rounded <= bounded.error)
    assert bounded.error[0] < 1e-30


def test_bound_includes_rounding_of_reference() -> None:
    """A sum in float32 is off by half a unit, and ours by half a unit of float64."""
    half = np.finfo("float64").eps / 2
    for name, precision in PRECISIONS.items():
        info, is_short = ml_dtypes.finfo(name), "16" in name
        unit, tiny = float(info.eps) / 2 + half, float(info.smallest_normal)
        assert precision == Precision(name, unit, tiny, 2.0 ** (info.maxexp - 1), is_short)
    factors = 2.1 * 2.0**-11
    assert replace(FLOAT32, factor_roundoff=factors) == TENSOR_FLOAT_32


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [((N, D), (M, M), r"\(N, D\) · \(M, M\)"), ((N, M), (M,), r"\(N, M\) · \(M,\)")],
)
def test_product_of_unfit_shapes_raises(left: Any, right: Any, message: str) -> None:
    """A wrong equation cannot yield a shape."""
    with pytest.raises(ShapeMismatchError, match=message):
        Symbol("a", left, []) @ Symbol("W", right, [])


def test_sum_of_unfit_shapes_raises() -> None:
    """(N, M) + (K,) has no meaning, whatever the numbers are."""
    with pytest.raises(ShapeMismatchError, match=r"\(N, M\) \+ \(K,\)"):
        Symbol("z", (N, M), []) + Symbol("b0", (K,), [])


@given(st.floats(-700, 700))
def test_sigmoid_is_exact_where_it_is_tiny(z: float) -> None:
    """A form that loses digits near 0 would fail correct networks with saturated gates."""
    exact = 1 / (1 + math.exp(-z))
    assert math.isclose(float(MONOTONE["sigmoid"].function(np.array(z))), exact, rel_tol=1e-15)
    with np.errstate(over="ignore"):
        assert MONOTONE["sigmoid"].function(np.array(-1e4)) == 0


@settings(deadline=None)
@given(matrix(2, 5), matrix(5, 3), st.floats(0, 10), st.floats(0, 10))
def test_product_carries_errors_of_both_sides(a: Any, w: Any, da: float, dw: float) -> None:
    """For all numbers within the errors, the exact product stays within the bound."""
    left = Bounded(a.astype("float64"), np.full(a.shape, da), FLOAT32)
    right = Bounded(w.astype("float64"), np.full(w.shape, dw), FLOAT32)
    product = left @ right
    for sign_a, sign_w in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        moved = (left.value + sign_a * da) @ (right.value + sign_w * dw)
        assert np.all(np.abs(moved - product.value) <= product.error * (1 + 1e-12))


def test_numbers_flushed_to_zero_stay_within_bound() -> None:
    """A product below the smallest normal number may be 0 in Keras."""
    tiny = Bounded.exact(np.full((1, 3), 1e-25), FLOAT32)
    w = Bounded.exact(np.full((3, 1), 1e-15), FLOAT32)
    assert (tiny @ w).error >= 3 * (FLOAT32.tiny - 1e-40)
    assert (tiny * tiny).error.min() >= FLOAT32.tiny


def test_too_many_terms_have_no_bound() -> None:
    """From 2**24 terms on, sums in float32 have no bound."""
    assert np.isinf(FLOAT32.gamma(2**24))
    assert 0 < FLOAT32.gamma(2**23) < np.inf


def test_zeros_of_too_many_terms_have_no_bound() -> None:
    """Also zeros have none: the error is infinite, not NaN."""
    coarse = replace(FLOAT32, unit_roundoff=2.0**-2)
    zeros = Bounded.exact(np.zeros((1, 4)), coarse)
    total = zeros @ Bounded.exact(np.zeros((4, 1)), coarse)
    means = [BoundedOps().mean(zeros, -1), BoundedOps().reduce("sum", zeros, (1,), False)]
    for bounded in (total, total + 1.0, *means):
        assert np.isinf(bounded.error).all()


@pytest.mark.parametrize(("dtype", "widest"), [("float16", 2.1), ("bfloat16", 0.02)])
def test_keras_sums_of_16_bits_stay_within_bound(dtype: str, widest: float) -> None:
    """TensorFlow sums 16-bit numbers one after the other, or in float32."""
    import keras
    import tensorflow as tf

    rng, p, ops = np.random.default_rng(3), PRECISIONS[dtype], BoundedOps()
    compiled = tf.function(keras.ops.sum, jit_compile=True)
    for n, axis in itertools.product((7, 255, 4096), (1, 2)):
        x = np.ones((3, n, 5) if axis == 1 else (3, 5, n))
        x[1:] = p.rounded(rng.normal(0.3, 1.0, x[1:].shape))
        exact, tensor = Bounded.exact(x, p), tf.constant(x, dtype)
        total = ops.reduce("sum", exact, (axis,), False)
        pairs = [(total, function(tensor, axis=axis)) for function in (keras.ops.sum, compiled)]
        if axis == 1:
            means = keras.ops.average_pool(tensor, n, 1)[:, 0]
            pairs.append((ops.mean(exact, axis, np.full((3, 1), n)), means))
        for bounded, found in pairs:
            error = np.abs(np.asarray(found, "float64") - bounded.value)
            assert np.all(error <= bounded.error), (n, axis)
    assert total.error[0].max() <= widest * n


def test_numbers_that_are_not_finite_have_no_bound() -> None:
    """NaN and infinity have a bound of NaN, which no ratio passes."""
    x = Bounded.exact(np.array([[1.0, np.inf], [np.nan, 2.0]]), FLOAT32)
    z = x @ Bounded.exact(np.ones((2, 1)), FLOAT32)
    assert np.isnan(z.error).all()
    assert np.isnan(z.activated("tanh").error).all()


def test_zero_is_exact_to_the_smallest_number() -> None:
    """tanh(0) is 0 in every kernel."""
    z = Bounded.exact(np.zeros((1, 1)), FLOAT32)
    assert z.activated("tanh").error == 4 * FLOAT32.tiny


#: Functions that Keras 3 has under no name, as a textbook has them.
UNNAMED: dict[str, Callable[[float], float]] = {
    "tanh_softplus": lambda z: math.tanh(math.log(1 + math.exp(z))),
    "erf": math.erf,
    "sqrt": lambda z: math.sqrt(max(z, 0.0)),
    "gelu_tanh": lambda z: z / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    KERAS2_HARD_SIGMOID: lambda z: min(max(0.2 * z + 0.5, 0.0), 1.0),
}


def test_every_interpreter_knows_the_same_activations() -> None:
    """Names stand where no NumPy is needed, functions where it is."""
    assert {*MONOTONE, *FORMULAS, *ROWWISE} == {*NAMES, *UNNAMED}


@pytest.mark.parametrize("name", UNNAMED)
def test_unnamed_functions_are_those_of_textbooks(name: str) -> None:
    z = np.array([-3.0, -1.5, -0.25, 0.0, 0.5, 2.0, 4.0])
    expected = [UNNAMED[name](float(each)) for each in z]
    np.testing.assert_allclose(activate(name, z), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keras_activations_stay_within_bound(dtype: str, compiled: None) -> None:
    """Alone and fused with a Dense layer, for numbers of every size, near zero and saturated."""
    import keras

    rng = np.random.default_rng(4)
    parts = [rng.standard_normal(4000) * scale for scale in (1e-3, 0.1, 1, 10, 20, 80)]
    parts.append(10.0 ** rng.uniform(-30, 1.9, 4000) * rng.choice([-1, 1], 4000))
    x = np.concatenate(parts).clip(-88, 80).astype("float32").reshape(-1, 4)
    given = keras.Input((4,), dtype=dtype)
    dense = [keras.layers.Dense(4, activation=name, dtype=dtype)(given) for name in NAMES]
    model = keras.Model(given, dense)
    model.set_weights([np.eye(4), np.zeros(4)] * len(NAMES))
    outputs = model.predict(x, batch_size=len(x), verbose=0)
    for name, fused in zip(NAMES, outputs, strict=True):
        alone = np.asarray(keras.activations.get(name)(x.astype(dtype)))
        with np.errstate(all="ignore"):
            bounded = Bounded.exact(x, PRECISIONS[dtype]).activated(name)
            for found in (alone, fused):
                error = np.abs(found.astype("float64") - bounded.value)
                assert np.nanmax(error / bounded.error) <= 1, name


@settings(deadline=None)
@given(matrix(3, 4), st.floats(0, 0.5), st.sampled_from(["softmax", "log_softmax"]))
def test_rowwise_activation_carries_errors_of_whole_row(z, off: float, name: str) -> None:
    """Each number of the row may be off on its own."""
    z = z.astype("float64") / 50
    bounded = Bounded(z, np.full_like(z, off), FLOAT32).activated(name)
    rng = np.random.default_rng(0)
    for _ in range(8):
        shifted = z + off * rng.choice([-1.0, 1.0], z.shape)
        assert np.all(np.abs(activate(name, shifted) - bounded.value) <= bounded.error)


@settings(deadline=None)
@given(matrix(2, 3), st.floats(0, 1), st.sampled_from(sorted(FORMULAS)))
def test_formula_carries_error_of_its_argument(z: Any, off: float, name: str) -> None:
    """The formula need not be monotone."""
    z = z.astype("float64") / 100
    bounded = Bounded(z, np.full_like(z, off), FLOAT32).activated(name)
    for shifted in (z - off, z - off / 3, z, z + off / 2, z + off):
        assert np.all(np.abs(activate(name, shifted) - bounded.value) <= bounded.error)


@pytest.mark.parametrize("dilation", [10**15, 10**30])
def test_indices_far_beyond_axis_are_filled(dilation: int) -> None:
    """No memory is taken for the steps between them and the axis."""
    x = np.random.default_rng(5).standard_normal((2, 4, 3))
    window = Window(3, 1, "causal", Dim.of(4), dilation, fill=-0.5)
    found = NumpyOps().windows(x, [window])
    np.testing.assert_array_equal(found[:, :, 2], x)
    assert (found[:, :, :2] == -0.5).all()


def test_windows_reach_as_far_as_the_axis() -> None:
    window = Window(2, 1, "valid", Dim.of(3), dilation=70_000)
    assert window.positions(70_003).tolist() == [[n, 70_000 + n] for n in range(3)]


@pytest.mark.parametrize("relation", RELATIONS)
def test_comparison_of_uncertain_numbers_is_bounded(relation: str) -> None:
    """Any numbers within the errors give a result within its bound."""
    rng, ops = np.random.default_rng(2), BoundedOps()
    value = rng.integers(-3, 4, (2, 400)) / 2
    error = rng.choice([0.0, 0.5, 1.0], value.shape)
    x, y = (Bounded(v, e, FLOAT32) for v, e in zip(value, error, strict=True))
    holds = ops.compare(relation, x, y)
    chosen = ops.choose(holds, x, y)
    assert set(holds.error) == {0.0, 1.0}
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        other = np.array([[share], [-share]])
        left, right = value + other * error
        actual = NumpyOps().compare(relation, left, right)
        assert (np.abs(actual - holds.value) <= holds.error).all()
        picked = NumpyOps().choose(actual, left, right)
        assert (np.abs(picked - chosen.value) <= chosen.error).all()


@pytest.mark.parametrize("error", [np.nan, np.inf])
def test_comparison_of_unknown_numbers_is_unknown(error: float) -> None:
    ops, zero = BoundedOps(), Bounded.exact(np.zeros(1), FLOAT32)
    unknown = Bounded(np.ones(1), np.full(1, error), FLOAT32)
    condition = ops.compare(">", unknown, zero)
    for result in (condition, ops.choose(condition, zero, zero)):
        np.testing.assert_array_equal(result.error, [error])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nothing", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
def test_query_without_keys_has_weights_of_keras(dtype: str, replaced: bool, nothing: bool) -> None:
    """Equal ones, or none; float64 tells keys apart whose scores are a huge number lower."""
    scores = np.array([[[0.3, -1.1, 2.2], [1.3, 3.1, -2.4]]], dtype)
    queries = np.array([[True, False]])
    visibility = Visibility(queries=queries, replaced=replaced, nothing=nothing)
    seen, blind = NumpyOps().attention_weights(scores, visibility)[0]
    np.testing.assert_allclose(seen, activate("softmax", scores[0, 0]), rtol=1e-6)
    if nothing:
        expected = np.zeros(3)
    elif replaced or dtype == "float32":
        expected = np.full(3, 1 / 3)
    else:
        expected = activate("softmax", scores[0, 1])
    np.testing.assert_allclose(blind, expected, rtol=1e-6)
    bounded = OPS.attention_weights(Bounded.exact(scores, PRECISIONS[dtype]), visibility)
    np.testing.assert_allclose(bounded.value[0, 1], expected, rtol=1e-6, atol=1e-12)
    assert bounded.error.max() < 1e-5
    assert (np.abs(np.array([seen, blind]) - bounded.value[0]) <= bounded.error[0]).all()


#: Keys, queries, a mask, and which of two queries then sees which of three keys.
VISIBLE: list[tuple[Any, Any, bool, Any, list[list[int]]]] = [
    ([1, 0, 1], None, False, None, [[1, 0, 1], [1, 0, 1]]),
    (None, [1, 0], False, None, [[1, 1, 1], [0, 0, 0]]),
    ([1, 1, 0], [0, 1], False, None, [[0, 0, 0], [1, 1, 0]]),
    (None, None, True, None, [[1, 0, 0], [1, 1, 0]]),
    ([0, 1, 1], None, True, None, [[0, 0, 0], [0, 1, 0]]),
    (None, None, False, [[1, 0, 2], [0, 0, 1]], [[1, 0, 1], [0, 0, 1]]),
    ([1, 1, 0], None, False, [[1, 0, 2], [0, 0, 1]], [[1, 0, 0], [0, 0, 0]]),
]


@pytest.mark.parametrize(("keys", "queries", "causal", "mask", "expected"), VISIBLE)
def test_masks_hide_keys_together(keys, queries, causal, mask, expected) -> None:
    one, two = (None if each is None else np.array([each], bool) for each in (keys, queries))
    given = None if mask is None else np.array([mask], "float32")
    visibility = Visibility(queries=two, keys=one, causal=causal)
    for shape in ((1, 2, 3), (1, 4, 2, 3)):
        found = visibility.visible(shape, given)
        np.testing.assert_array_equal(found, np.broadcast_to(np.array(expected, bool), shape))
    assert Visibility().visible((1, 2, 3)) is None
    plain = Visibility()
    assert (plain.causal, plain.replaced, plain.nothing) == (False, False, False)
    assert (visibility.name == Visibility().name) == (not causal)


REPLACED, NOTHING = {"replaced": True}, {"nothing": True}
#: The dtype, options, scores and their errors of a query, which of three keys it sees, and whether
#: the weights are known.
SEEN: list[tuple[str, dict[str, bool], tuple[float, ...], float, str, bool]] = [
    ("float32", {}, (0.5, -1.0, 2.0), 0.0, "110", True),
    ("float32", {}, (-50.0, 0.0, 1e9 - 201), 0.0, "110", True),
    ("float32", {}, (-50.0, 0.0, 1e9 - 200), 0.0, "110", False),
    ("float32", {}, (-50.0, 0.0, 1e9 - 200.5), 0.125, "110", True),
    ("float32", {}, (-50.0, 0.0, 1e9 - 200.25), 0.125, "110", False),
    ("float16", {}, (0.0, 0.0, 65504.0 - 201), 0.0, "110", True),
    ("float16", {}, (0.0, 0.0, 65504.0 - 200), 0.0, "110", False),
    ("bfloat16", {}, (0.0, 0.0, 65504.0 - 200), 0.0, "110", True),
    ("float32", REPLACED, (-29799.0, -3e4, 9e3), 0.0, "110", True),
    ("float32", REPLACED, (-29800.0, -3e4, 0.0), 0.0, "110", False),
    ("float32", REPLACED, (-29799.5, -3e4, 0.0), 0.125, "110", True),
    ("float32", REPLACED, (-29799.875, -3e4, 0.0), 0.125, "110", False),
    ("float32", {}, (31.5, -31.5, 2.0), 0.25, "000", True),
    ("float32", {}, (31.5, 2.0, 1.0), 0.5, "000", False),
    ("float32", {}, (2.0, -32.0, 1.0), 0.0, "000", False),
    ("float32", REPLACED, (31.5, -99.0, 2.0), 0.5, "000", True),
    ("float16", {}, (0.5, -1.0, 2.0), 0.0, "000", False),
    ("float16", REPLACED, (0.5, -1.0, 2.0), 0.0, "000", True),
    ("float64", {}, (0.5, -99.0, 2.0), 0.0, "000", True),
    ("float32", NOTHING, (31.5, 2.0, 1.0), 0.5, "000", True),
    ("float32", NOTHING, (-50.0, 0.0, 1e9 - 200), 0.0, "110", False),
]


@pytest.mark.parametrize(("dtype", "options", "scores", "error", "seen", "known"), SEEN)
def test_weights_of_far_or_no_keys_are_known(dtype, options, scores, error, seen, known) -> None:
    """A hidden key has no weight if its score is lower by 200 than that of one that is seen."""
    keys = np.array([[each == "1" for each in seen]])
    z = near([[scores]], error, PRECISIONS[dtype])
    found = OPS.attention_weights(z, Visibility(keys=keys, **options))
    assert (found.error < 0.5).all() if known else (found.error == 1.0).all()
    if not known:
        return
    visible = np.where(keys, scores, -np.inf) if keys.any() else np.zeros(3)
    visible = np.array(scores) if dtype == "float64" else visible
    expected = 0.0 * visible if options == NOTHING else activate("softmax", visible)
    np.testing.assert_allclose(found.value, np.broadcast_to(expected, (1, 1, 3)), rtol=1e-12)


def test_attention_weights_carry_errors_of_seen_scores() -> None:
    """As a softmax of these keys alone; equal weights have none of them."""
    z = near([[[0.5, -1.0, 2.0]]], [[[2.0**-7, 2.0**-6, 0.25]]])
    alone = near([[[0.5, -1.0, -np.inf]]], [[[2.0**-7, 2.0**-6, 0.0]]])
    for keys, scores in (([True, True, False], alone), ([False] * 3, near(np.zeros((1, 1, 3))))):
        found = OPS.attention_weights(z, Visibility(keys=np.array([keys])))
        expected = scores.activated("softmax")
        np.testing.assert_array_equal(found.value, expected.value)
        np.testing.assert_array_equal(found.error, expected.error)


def test_each_query_has_weights_of_its_own() -> None:
    """Of several heads: known, unknown, after an overflow, too large, and without any key."""
    rng, shape = np.random.default_rng(6), (2, 3, 2, 4)
    scores, errors = rng.uniform(-2, 2, shape), rng.uniform(0, 0.1, shape)
    scores[1, 0, 0, 1], errors[0, 1, 0, 3], errors[1, 2, 1, 0] = 90.0, np.nan, np.inf
    queries, keys = np.array([[True, False], [True, True]]), np.zeros((2, 4), bool)
    keys[0, 1:] = True
    whole = OPS.attention_weights(near(scores, errors), Visibility(queries=queries, keys=keys))
    for n, head, q in np.ndindex(shape[:3]):
        row = near(scores[n, head, q][None, None], errors[n, head, q])
        alone = Visibility(queries=queries[n : n + 1, q : q + 1], keys=keys[n : n + 1])
        found = OPS.attention_weights(row, alone)
        np.testing.assert_array_equal(whole.value[n, head, q], found.value[0, 0])
        np.testing.assert_array_equal(whole.error[n, head, q], found.error[0, 0])


def test_attention_weights_of_an_uncertain_mask_are_unknown() -> None:
    """Of the queries for which one of its numbers may be 0, or is not known."""
    scores = Bounded.exact(np.random.default_rng(4).standard_normal((2, 3, 2, 4)), FLOAT32)
    error, visibility = np.zeros((2, 2, 4)), Visibility(replaced=True)
    sure = OPS.attention_weights(scores, visibility, near(np.ones((2, 2, 4)), error, FLOAT32))
    error[0, 0, 1], error[0, 1, 3], error[1, 0, 2], error[1, 1, 0] = 0.75, 2.5, np.inf, np.nan
    weights = OPS.attention_weights(scores, visibility, near(np.ones((2, 2, 4)), error, FLOAT32))
    expected = sure.error.copy()
    expected[0, :, 1], expected[1, :, 0], expected[1, :, 1] = 1.0, np.inf, np.nan
    np.testing.assert_array_equal(weights.error, expected)
    np.testing.assert_array_equal(weights.value, sure.value)
    assert (weights.precision, sure.error.max() < 1e-5) == (FLOAT32, True)


# --- All operations -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", layer_operations.OPERATIONS)
def test_interpreters_agree_on_each_operation(name: str) -> None:
    """The dimensions are those of the array, and the bound is that of float32."""
    operation = layer_operations.OPERATIONS[name]
    xs, shapes = layer_operations.arrays_of(operation), operation.shapes
    doubles = [x.astype("float64") for x in xs]
    recording, stored = Recording(), StoredValues(Scheme.from_name("q4.20"))
    stored.begin(name)
    steps: list = []
    interpreters = {
        "single": (NumpyOps(), xs),
        "symbolic": (SymbolicOps(), [Symbol(f"x{i}", s, steps) for i, s in enumerate(shapes)]),
        "recorded": (
            RecorderOps(recording),
            [
                recording.tensor(f"x{i}", s, x)
                for i, (s, x) in enumerate(zip(shapes, doubles, strict=True))
            ],
        ),
        "bounded": (OPS, [Bounded.exact(x, FLOAT32) for x in xs]),
        "fixed": (
            FixedPointOps(stored, in_cells=False),
            [FixedPoint.exact(x, stored) for x in doubles],
        ),
    }
    results = {
        key: layer_operations.many(operation.compute(ops, *xs))
        for key, (ops, xs) in interpreters.items()
    }
    if "recurrence" not in name:  # of which symbols take one step for all
        assert recording.operations == steps
    expected = layer_operations.many(operation.compute(NumpyOps(), *doubles))
    for number, array in enumerate(expected):
        found = {key: each[number] for key, each in results.items()}
        dims = [dim.value(layer_operations.SIZES) for dim in found["symbolic"].shape]
        assert tuple(dims) == array.shape
        assert found["recorded"].symbol.shape == found["symbolic"].shape
        if "recurrence" not in name:
            assert found["recorded"].symbol.text == found["symbolic"].text
        np.testing.assert_array_equal(found["recorded"].array, array)
        np.testing.assert_allclose(found["bounded"].value, array, rtol=1e-14)
        assert (np.abs(found["single"] - array) <= found["bounded"].error).all()
        assert found["bounded"].error.max() < 1e-4
        np.testing.assert_allclose(found["fixed"].ideal, array, rtol=1e-14)
        np.testing.assert_allclose(found["fixed"].value, array, rtol=1e-5, atol=1e-5)
    assert {len(each) for each in results.values()} == {len(expected)}


def test_every_interpreter_takes_rows_of_a_table() -> None:
    rng = np.random.default_rng(3)
    table, words = rng.standard_normal((6, 4)), rng.integers(0, 6, (2, 5)).astype("float64")
    expected = table[words.astype(int)]
    recording, stored = Recording(), StoredValues(Scheme.from_name("int8"))
    recorded = RecorderOps(recording).take(
        recording.tensor("W", (K, D), table), recording.tensor("x", (N, M), words)
    )
    np.testing.assert_array_equal(NumpyOps().take(table, words), expected)
    np.testing.assert_array_equal(recorded.array, expected)
    assert (recorded.symbol.text, recorded.symbol.shape) == ("W[x]", (N, M, D))
    bounded = OPS.take(near(table, np.abs(table) / 8), near(words))
    np.testing.assert_array_equal(bounded.value, expected)
    np.testing.assert_array_equal(bounded.error, np.abs(expected) / 8)
    weight = stored.scheme.weight(table, is_kernel=True)
    fixed = FixedPointOps(stored, in_cells=False).take(weight, FixedPoint.exact(words, stored))
    np.testing.assert_array_equal(fixed.ideal, expected)
    np.testing.assert_array_equal(fixed.value, weight.value[words.astype(int)])
    assert (fixed.format, fixed.storage) == (weight.format, stored)


# --- Windows, sums of products, and several networks at once ------------------------------------

#: Windows over some steps, and the steps in each; a dot stands beyond the ends.
WINDOWS: list[tuple[dict[str, Any], int, list[str]]] = [
    ({"size": 2, "mode": "valid"}, 4, ["01", "12", "23"]),
    ({"size": 2, "mode": "valid", "stride": 2}, 5, ["01", "23"]),
    ({"size": 2, "mode": "valid", "dilation": 2}, 4, ["02", "13"]),
    ({"size": 4, "mode": "valid"}, 4, ["0123"]),
    ({"size": 3, "mode": "same"}, 3, [".01", "012", "12."]),
    ({"size": 2, "mode": "same"}, 3, ["01", "12", "2."]),
    ({"size": 2, "mode": "same", "stride": 2}, 5, ["01", "23", "4."]),
    ({"size": 1, "mode": "same", "stride": 3}, 5, ["0", "3"]),
    ({"size": 4, "mode": "same", "stride": 2}, 4, [".012", "123."]),
    ({"size": 3, "mode": "causal"}, 3, ["..0", ".01", "012"]),
    ({"size": 2, "mode": "causal", "stride": 2}, 4, [".0", "12"]),
    ({"size": 2, "mode": "causal", "dilation": 2}, 3, [".0", ".1", "02"]),
]


@pytest.mark.parametrize(("options", "steps", "expected"), WINDOWS)
def test_windows_hold_the_steps_of_keras(options: Any, steps: int, expected: list[str]) -> None:
    window = Window(steps=Dim.of(len(expected)), **{"stride": 1, **options})
    found = window.positions(steps)
    texts = ["".join("." if step == steps else str(step) for step in row) for row in found]
    assert texts == expected
    assert window.length(steps) == len(expected)
    counts = NumpyOps().window_counts(np.zeros((2, steps, 3)), [window])
    assert counts[0, :, 0].tolist() == [len(text.replace(".", "")) for text in expected]


#: Subscripts, the axes that are summed, and the shapes of both tensors.
PRODUCTS = [
    ("ab,bc->ac", "b", (2, 3), (3, 4)),
    ("abc,dc->abd", "c", (2, 3, 4), (5, 4)),
    ("abc,bcd->ad", "bc", (2, 3, 4), (3, 4, 5)),
    ("nqhd,nkhd->nhqk", "d", (2, 3, 4, 5), (2, 6, 4, 5)),
    ("nhqk,nkhd->nqhd", "k", (2, 4, 3, 6), (2, 6, 4, 5)),
    ("ntd,dmk->nkmt", "d", (2, 5, 3), (3, 4, 6)),
    ("ab,c->cab", "", (2, 3), (4,)),
    ("abc,abc->ac", "b", (2, 3, 4), (2, 3, 4)),
]


@pytest.mark.parametrize(("subscripts", "summed", "left", "right"), PRODUCTS)
def test_sums_of_products_equal_einsum(subscripts: str, summed: str, left: Any, right: Any) -> None:
    contraction, rng = Contraction(subscripts), np.random.default_rng(4)
    one, other = rng.standard_normal(left), rng.standard_normal(right)
    found = contraction(one, other)
    np.testing.assert_allclose(found, np.einsum(subscripts, one, other), rtol=1e-12, atol=1e-14)
    assert contraction.summed == summed
    sizes = dict(zip(subscripts, left, strict=False))
    assert contraction.terms(one) == math.prod(sizes[letter] for letter in summed)


@pytest.mark.parametrize("counts", [(1, 1, 1), (1, 3, 2), (7,), (2, 5)])
def test_networks_at_once_compute_what_each_does_alone(counts: tuple[int, ...]) -> None:
    """Each has its own samples, and some share a weight."""
    rng, rows = np.random.default_rng(5), 2
    networks = [number for number, count in enumerate(counts) for _ in range(count)]
    weights = BatchedWeight(rng.standard_normal((len(counts), 3, 4)), counts, rows)
    biases = BatchedWeight(rng.standard_normal((len(counts), 2, 4)), counts, rows)
    for lead in ((), (5,)):
        x = rng.standard_normal((*lead, len(networks) * rows, 3))
        z = rng.standard_normal((*lead, len(networks) * rows, 4))
        first, second = biases
        found = {
            "product": x @ weights,
            "part": x @ weights[..., 1:3],
            "sum": z + second,
            "times": z * first,
        }
        for place, number in enumerate(networks):
            own = slice(place * rows, (place + 1) * rows)
            w, b = weights.values[number], biases.values[number]
            expected = {
                "product": x[..., own, :] @ w,
                "part": x[..., own, :] @ w[:, 1:3],
                "sum": z[..., own, :] + b[1],
                "times": z[..., own, :] * b[0],
            }
            for name, values in expected.items():
                np.testing.assert_allclose(found[name][..., own, :], values, rtol=1e-12)
    assert (weights.shape, second.shape, weights[..., 1:3].shape) == ((3, 4), (4,), (3, 2))


# --- Texts and shapes ---------------------------------------------------------------------------

S = SymbolicOps("2")

#: What is computed of x, y and w, how it is written, and how the last operation is.
TEXTS: list[tuple[Callable[[Any, Any, Any], Any], str, str]] = [
    (lambda x, y, w: x + y, "x + y", "x + y"),
    (lambda x, y, w: x + y + x, "x + y + x", "… + x"),
    (lambda x, y, w: x - (y + x), "x - (y + x)", "x - …"),
    (lambda x, y, w: (x - y) + 1.5, "x - y + 1.5", "… + 1.5"),
    (lambda x, y, w: (x - y) - 1.5, "x - y - 1.5", "… - 1.5"),
    (lambda x, y, w: (x + y) * x, "(x + y) × x", "… × x"),
    (lambda x, y, w: x * (y * x), "x × (y × x)", "x × …"),
    (lambda x, y, w: (x + y) * 2.5, "(x + y) × 2.5", "… × 2.5"),
    (lambda x, y, w: x / (x * y), "x / (x × y)", "x / …"),
    (lambda x, y, w: (x - y) / 2.5, "(x - y) / 2.5", "… / 2.5"),
    (lambda x, y, w: 2.5 / (x + y), "2.5 / (x + y)", "2.5 / …"),
    (lambda x, y, w: 1 - x * y, "1 - (x × y)", "1 - …"),
    (lambda x, y, w: -(x + y), "-(x + y)", "-…"),
    (lambda x, y, w: -x, "-x", "-x"),
    (lambda x, y, w: x @ w, "x w", "x w"),
    (lambda x, y, w: (x + y) @ w, "(x + y) w", "… w"),
    (lambda x, y, w: x @ w + x @ w, "x w + x w", "… + x w"),
    (lambda x, y, w: S.activate("tanh", x @ w), "tanh(x w)", "tanh(x w)"),
    (lambda x, y, w: S.activate("tanh", x + y), "tanh(x + y)", "tanh(…)"),
    (lambda x, y, w: S.activate("tanh", x) @ w, "tanh(x) w", "… w"),
    (lambda x, y, w: (S.activate("tanh", x) + y) * x, "(tanh(x) + y) × x", "… × x"),
    (lambda x, y, w: S.compare(">", x, y) * x, "(x > y) × x", "… × x"),
    (lambda x, y, w: S.compare(">", x + y, y), "x + y > y", "… > y"),
    (lambda x, y, w: S.compare("==", S.compare("<", x, y), y), "(x < y) == y", "… == y"),
    (lambda x, y, w: S.compare("!=", x, S.compare(">=", x, y)), "x != (x >= y)", "x != …"),
    (lambda x, y, w: (x / y) * x, "(x / y) × x", "… × x"),
    (lambda x, y, w: x * (2.5 - y), "x × (2.5 - y)", "x × …"),
    (
        lambda x, y, w: S.activate("tanh", x - y) * S.activate("relu", x),
        "tanh(x - y) × relu(x)",
        "… × …",
    ),
    (
        lambda x, y, w: S.concatenate([x + y, x, y]),
        "concatenate(x + y, x, y)",
        "concatenate(…, x, y)",
    ),
    (lambda x, y, w: S.maximum(x, y), "max(x, y)", "max(x, y)"),
    (lambda x, y, w: S.minimum(x, y), "min(x, y)", "min(x, y)"),
    (lambda x, y, w: S.max(x + y, 1), "max(x + y)", "max(…)"),
    (lambda x, y, w: S.reduce("sum", x, (1,), False), "sum(x)", "sum(x)"),
    (lambda x, y, w: S.mean(x, 1), "mean(x)", "mean(x)"),
    (lambda x, y, w: S.rsqrt(x), "rsqrt(x)", "rsqrt(x)"),
    (
        lambda x, y, w: S.choose(S.compare("<=", x, y), x, y),
        "where(x <= y, x, y)",
        "where(…, x, y)",
    ),
    (lambda x, y, w: S.rearrange(x + y, LAST), "(x + y)[:, -1]", "…[:, -1]"),
    (lambda x, y, w: S.rearrange(x, LAST), "x[:, -1]", "x[:, -1]"),
    (lambda x, y, w: S.rearrange(x + y, TURNED), "transpose(x + y)", "transpose(…)"),
    (lambda x, y, w: S.elementwise(x + y, ELU(0.5)), "elu(x + y, 0.5)", "elu(…, 0.5)"),
    (lambda x, y, w: S.take(w, x), "w[x]", "w[x]"),
    (lambda x, y, w: S.contract(Contraction("ntd,dk->ntk"), x + y, w), "(x + y) w", "… w"),
    (
        lambda x, y, w: S.contract(Contraction("ntd,kd->ntk"), x, S.rearrange(w, SWAPPED)),
        "x transpose(w)ᵀ",
        "x …ᵀ",
    ),
    (lambda x, y, w: S.attention_weights(x, Visibility()), "softmax(x)", "softmax(x)"),
    (
        lambda x, y, w: S.attention_weights(x, Visibility(causal=True)),
        "causal_softmax(x)",
        "causal_softmax(x)",
    ),
]
LAST, TURNED = Selection((WHOLE, -1), (None, None)), Transposed((0, 2, 1))
SWAPPED = Transposed((1, 0))


@pytest.mark.parametrize(("compute", "text", "label"), TEXTS)
def test_equations_have_the_brackets_they_need(compute: Any, text: str, label: str) -> None:
    """Of a long operand, the label has only the end."""
    operations: list = []
    x, y = (Symbol(name, (N, M, D), operations) for name in "xy")
    result = compute(x, y, Symbol("w", (D, K), operations))
    assert (result.text, operations[-1].label) == (text, label)
    assert result.shape == operations[-1].shape


def test_named_values_are_written_by_name() -> None:
    ops, operations = SymbolicOps("2"), []
    x, b = Symbol("x", (N, Dim.of(3) * M), operations), Symbol("b", (K, M), operations)
    i, f, c = ops.split(x + x, "z", ("i", "f", "c"))
    assert (i.text, f.text, c.text, c.shape) == ("z_i", "z_f", "z_c", (N, M))
    assert [row.text for row in ops.rows(b, ("bx", "bh"))] == ["bx2", "bh2"]
    h = ops.let("h", i * f)
    inner = ops.within("→")
    last = inner.define("y", inner.let("c", h + c) * 2.0)
    assert (h.text, last.text) == ("h2_t", "y→2")
    expected = ["z_i z_f z_c = x + x", "h2_t = z_i × z_f", "c→2_t = h2_t + z_c", "y→2 = c→2_t × 2"]
    assert [" = ".join(each) for each in ops.equations] == expected
    assert ops.names == ["h2_t", "c→2_t", "y→2"]
    assert [operation.label for operation in operations] == ["x + x", "z_i z_f z_c", *expected[1:]]
    split = operations[1]
    assert (split.operands, split.shape, split.macs) == ((x.shape,), (N, M), 0)


@pytest.mark.parametrize(("reverse", "before"), [(False, "{t-1}"), (True, "{t+1}")])
def test_symbols_take_one_step_for_all(reverse: bool, before: str) -> None:
    """The first step of a recording reads as this one."""
    seen: list[Any] = []

    def step(z: Any, states: Any) -> Any:
        symbols = [getattr(each, "symbol", each) for each in (z, *states)]
        seen.append([(each.text, each.shape) for each in symbols])
        return [states[0] + states[1], states[1]]

    shape = (N, M, K, Dim.of(4) * D)
    z, recording = Symbol("z", shape, []), Recording()
    recorded = recording.tensor("z", shape, np.zeros([dim.value(SIZES) for dim in shape]))
    after = SymbolicOps("2").scan(step, z, 4, ("h", "c"), reverse=reverse)
    names = [f"{name}2_{before}" for name in "hc"]
    assert seen == [[("z", (N, K, Dim.of(4) * D)), *((name, (N, K, D)) for name in names)]]
    assert (after.text, after.shape) == (" + ".join(names), (N, M, K, D))
    RecorderOps(recording, "2").scan(step, recorded, 4, ("h", "c"), reverse=reverse)
    assert (seen[1], len(seen)) == (seen[0], 1 + SIZES["M"])
    assert recording.operations[0] == z.operations[0]


def test_equations_are_written_as_shapes() -> None:
    ops, operations = ShapeOps(lambda shape: f"({','.join(map(str, shape))})"), []
    x = ops.tensor("x", (N, Dim.of(2) * M), operations)
    i, f = ops.split(x + x, "z", ("i", "f"))
    ops.let("h", i * f)
    expected = [("2 × (N,M)", "(N,2M) + (N,2M)"), ("(N,M)", "(N,M) × (N,M)")]
    assert ops.equations == expected


#: Shapes of two tensors, and that of their sum; None where they do not fit.
BROADCAST = [
    ((N, M, D), (D,), (N, M, D)),
    ((D,), (N, M, D), (N, M, D)),
    ((N, Dim.of(1), D), (N, M, Dim.of(1)), (N, M, D)),
    ((M, D), (N, Dim.of(1), D), (N, M, D)),
    ((), (N, M), (N, M)),
    ((N, M, D), (M,), None),
    ((N, M, D), (M, D, K), None),
    ((N, D), (M, D), None),
]


@pytest.mark.parametrize(("left", "right", "both"), BROADCAST)
def test_shapes_are_combined_as_in_numpy(left: Any, right: Any, both: Any) -> None:
    x, y = Symbol("x", left, []), Symbol("y", right, [])
    for function in (lambda a, b: a + b, lambda a, b: a * b, S.maximum, S.minimum):
        for one, other in ((x, y), (y, x)):
            if both is None:
                with pytest.raises(ShapeMismatchError):
                    function(one, other)
            else:
                assert function(one, other).shape == both


def test_products_count_their_multiply_adds() -> None:
    operations: list = []
    x, w = Symbol("x", (N, M, D), operations), Symbol("w", (D, K), operations)
    heads = Symbol("v", (D, M, K), operations)
    S.contract(Contraction("nmd,dmk->nmk"), x, heads)
    S.activate("tanh", x @ w + 1.0)
    assert [each.macs for each in operations] == [N * M * D * K, N * M * D * K, 0, 0]
    assert operations[1].operands == ((N, M, D), (D, K))
    with pytest.raises(ShapeMismatchError):
        S.contract(Contraction("nmd,mdk->nmk"), x, heads)


#: An elementwise function, how it is written of x, and its values at POINTS.
POINTS = [-2.5, -0.5, 0.0, 0.75, 4.0]
ELEMENTWISE: list[tuple[Elementwise, str, list[float]]] = [
    (NegativePart(), "relu(-x)", [2.5, 0.5, 0, 0, 0]),
    (LeakyReLU(0.25), "leaky_relu(x, 0.25)", [-0.625, -0.125, 0, 0.75, 4]),
    (
        ELU(0.5),
        "elu(x, 0.5)",
        [0.5 * math.expm1(-2.5), 0.5 * math.expm1(-0.5), 0, 0.75, 4],
    ),
    (ClippedReLU(None, 0.0), "relu(x)", [0, 0, 0, 0.75, 4]),
    (ClippedReLU(3.0, 0.25), "relu(x, max 3, slope 0.25)", [-0.625, -0.125, 0, 0.75, 3]),
    (
        ClippedReLU(None, 0.5, 0.75),
        "relu(x, slope 0.5, threshold 0.75)",
        [-1.625, -0.625, -0.375, 0, 4],
    ),
    (Clip(-1.0, 0.5), "clip(x, -1, 0.5)", [-1, -0.5, 0, 0.5, 0.5]),
    (Affine(2.0, -0.5), "affine(x, 2, -0.5)", [-5.5, -1.5, -0.5, 1, 7.5]),
    (HardSigmoid(0.25, 0.5), "hard_sigmoid(x, 0.25, 0.5)", [0, 0.375, 0.5, 0.6875, 1]),
    (
        ScaledTanh(1.5, 0.5),
        "scaled_tanh(x, 1.5, 0.5)",
        [1.5 * math.tanh(0.5 * x) for x in POINTS],
    ),
    (InverseRoot(8.0), "rsqrt(x)", [8, 8, 8, 1 / math.sqrt(0.75), 0.5]),
    (ABS, "abs(x)", [2.5, 0.5, 0, 0.75, 4]),
    (SQUARE, "square(x)", [6.25, 0.25, 0, 0.5625, 16]),
    (EXP, "exp(x)", [math.exp(x) for x in POINTS]),
    (EXPM1, "expm1(x)", [math.expm1(x) for x in POINTS]),
    (Power(3.0), "power(x, 3)", [-15.625, -0.125, 0, 0.421875, 64]),
    (Power(1.5), "power(x, 1.5)", [math.nan, math.nan, 0, 0.75**1.5, 8]),
    (SQRT, "sqrt(x)", [math.nan, math.nan, 0, math.sqrt(0.75), 2]),
    (LOG1P, "log1p(x)", [math.nan, math.log(0.5), 0, math.log(1.75), math.log(5)]),
    (LOG, "log(x)", [math.nan, math.nan, -math.inf, math.log(0.75), math.log(4)]),
]


@pytest.mark.parametrize(
    ("function", "text", "values"), ELEMENTWISE, ids=[e[1] for e in ELEMENTWISE]
)
def test_functions_of_numbers_are_their_formulas(
    function: Elementwise, text: str, values: list[float]
) -> None:
    """Below the lowest number they are NaN, or what is the same for each; their dtype stays."""
    for dtype, rtol in (("float64", 1e-14), ("float32", 1e-6)):
        x = np.array(POINTS, dtype)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = function(x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, np.array(values, dtype), rtol=rtol)
    assert function.text("x") == text
    assert text.startswith(f"{function.name}(")
    defined = [x >= function.lowest for x in POINTS]
    assert [not math.isnan(value) for value in values] == defined
    with np.errstate(invalid="ignore"):
        both = function(np.array([-1.5, 1.5]))
    assert function.is_even == (both[0] == both[1])


def test_negative_part_of_a_sum_has_brackets() -> None:
    assert NegativePart().text("x + y") == "relu(-(x + y))"


# --- Rules of bounds ----------------------------------------------------------------------------

#: A dtype so coarse that each term of a bound shows.
COARSE = Precision("float32", 2.0**-8, 2.0**-16, 2.0**12)
SHORT, HALF = PRECISIONS["bfloat16"], PRECISIONS["float16"]
U, TINY, gamma = COARSE.unit_roundoff, COARSE.tiny, COARSE.gamma


def near(value: Any, error: Any = 0.0, precision: Precision = COARSE) -> Bounded:
    """Return numbers with their errors."""
    value = np.asarray(value, "float64")
    return Bounded(value, np.broadcast_to(np.float64(error), value.shape), precision)


A, B = near(3.0, 0.5), near(-2.0, 0.25)
X = near([[1.0, -2.0, 4.0]], [[0.5, 0.25, 0.0]])
LEFT, RIGHT = near([[1.0, -2.0]], [[0.5, 0.25]]), near([[3.0], [4.0]], [[0.125], [0.0]])
CARRIED = 0.5 * 3 + 0.25 * 4 + 1.5 * 0.125
#: The float32 of the square root of 1/2.
ROOT = float(np.float32(0.5**0.5))
PAIR = "ab,bc->ac"


def in_dtype(x: Bounded, precision: Precision) -> Bounded:
    """Return the same numbers and errors in another dtype."""
    return replace(x, precision=precision)


#: Each operation on numbers with errors, its result, and the bound by its rule.
RULES: dict[str, tuple[Any, float, float]] = {
    "sum": (lambda: A + B, 1.0, 0.75 + gamma(2) * 5.75 + 2 * TINY),
    "sum in 16 bits": (
        lambda: in_dtype(A, SHORT) + in_dtype(B, SHORT),
        *(1.0, 0.75 + SHORT.gamma(2, 1) * 5.75 + SHORT.underflow(2)),
    ),
    "sum of three": (lambda: A + B + A, 4.0, 1.25 + gamma(3) * 9.25 + 3 * TINY),
    "sum of sums": (lambda: (A + B) + (B + A), 2.0, 1.5 + gamma(4) * 11.5 + 4 * TINY),
    "difference": (lambda: A - B, 5.0, 0.75 + gamma(2) * 5.75 + 2 * TINY),
    "difference from a sum": (lambda: A - (B + A), 2.0, 1.25 + gamma(3) * 9.25 + 3 * TINY),
    "sum with a number": (lambda: A + 2.0, 5.0, 0.5 + gamma(2) * 5.5 + 2 * TINY),
    "number in front": (lambda: 2.0 + A, 5.0, 0.5 + gamma(2) * 5.5 + 2 * TINY),
    "difference from a number": (lambda: A - 2.0, 1.0, 0.5 + gamma(2) * 5.5 + 2 * TINY),
    "negative": (lambda: -A, -3.0, 0.5),
    "product": (lambda: A * B, -6.0, 1.875 + U * 7.875 + TINY),
    "product with a number": (lambda: A * -2.0, -6.0, 1.0 + U * 7.0 + TINY),
    "quotient": (lambda: A / B, -1.5, 0.5 + 4 * U * 2.0 + TINY),
    "quotient by a number": (lambda: A / 2.0, 1.5, 0.25 + 4 * U * 1.75 + TINY),
    "inverse": (lambda: 1.0 / B, -0.5, 1 / 14 + 4 * U * (0.5 + 1 / 14) + TINY),
    "quotient by what may be 0": (lambda: A / near(1.0, 1.0), 3.0, np.inf),
    "quotient by what may be below 0": (lambda: A / near(1.0, 1.5), 3.0, np.inf),
    "quotient of 0 by what may be 0": (lambda: near(0.0) / near(1.0, 1.0), 0.0, np.inf),
    "quotient of what overflowed by infinity": (
        lambda: near(1.0, np.inf) / near(np.inf),
        *(0.0, np.inf),
    ),
    "quotient by a huge number": (
        lambda: near(2.0**126, 2.0**120, FLOAT32) / near(2.0**126, 0.0, FLOAT32),
        1.0,
        (part := 2.0**-6) + 4 * FLOAT32.unit_roundoff * (1 + part) + (1 + part) + FLOAT32.tiny,
    ),
    "quotient by the largest number whose inverse is sure": (
        lambda: near(2.0**125, 0.0, FLOAT32) / near(2.0**125, 0.0, FLOAT32),
        *(1.0, 4 * FLOAT32.unit_roundoff + FLOAT32.tiny),
    ),
    "quotient by what may be larger": (
        lambda: near(2.0**125, 0.0, FLOAT32) / near(2.0**125, 2.0**75, FLOAT32),
        1.0,
        (off := 2.0**-50) + 4 * FLOAT32.unit_roundoff * (1 + off) + 0.5 + FLOAT32.tiny,
    ),
    "rest of 1": (lambda: 1 - A, -2.0, 0.5 + U * 2.5 + TINY),
    "rest of 2": (lambda: 2.0 - A, -1.0, 0.5 + gamma(2) * 5.5 + 2 * TINY),
    "matrices": (
        lambda: LEFT @ RIGHT,
        -5.0,
        CARRIED + gamma(2) * (11 + CARRIED) + 2 * TINY,
    ),
    "matrices and a sum": (
        lambda: LEFT @ RIGHT + A,
        -2.0,
        CARRIED + 0.5 + gamma(3) * (14.5 + CARRIED) + 3 * TINY,
    ),
    "matrices in 16 bits and a sum": (
        lambda: in_dtype(LEFT, SHORT) @ in_dtype(RIGHT, SHORT) + in_dtype(A, SHORT),
        -2.0,
        CARRIED + 0.5 + SHORT.gamma(3, 2) * (14.5 + CARRIED) + SHORT.underflow(3),
    ),
    "matrices, after an overflow on the left": (
        lambda: near([[1.0, 2.0]], [[np.inf, 0.0]]) @ near([[0.0], [3.0]]),
        *(6.0, np.inf),
    ),
    "matrices, after an overflow on the right": (
        lambda: near([[0.0, 2.0]]) @ near([[1.0], [3.0]], [[np.inf], [0.0]]),
        *(6.0, np.inf),
    ),
    "matrices, after an overflow on both sides": (
        lambda: near([[1.0, 2.0]], [[np.inf, 0.0]]) @ near([[1.0], [3.0]], [[0.0], [np.inf]]),
        *(7.0, np.inf),
    ),
    "matrices, unknown on the left": (
        lambda: near([[1.0, 2.0]], [[np.nan, 0.0]]) @ near([[0.0], [3.0]], [[0.0], [np.inf]]),
        *(6.0, np.nan),
    ),
    "matrices, unknown on the right": (
        lambda: near([[0.0, 2.0]], [[np.inf, 0.0]]) @ near([[1.0], [3.0]], [[np.nan], [0.0]]),
        *(6.0, np.nan),
    ),
    "contraction": (
        lambda: OPS.contract(Contraction(PAIR), in_dtype(LEFT, HALF), in_dtype(RIGHT, HALF)),
        -5.0,
        CARRIED + HALF.gamma(2, 1) * (11 + CARRIED) + HALF.underflow(2),
    ),
    "contraction in float16": (
        lambda: OPS.contract(Contraction(PAIR, True), in_dtype(LEFT, HALF), in_dtype(RIGHT, HALF)),
        -5.0,
        (lost := CARRIED + HALF.tiny) + HALF.gamma(2, 2) * (11 + lost) + HALF.underflow(2),
    ),
    "contraction in bfloat16": (
        lambda: OPS.contract(
            Contraction(PAIR, True), in_dtype(LEFT, SHORT), in_dtype(RIGHT, SHORT)
        ),
        -5.0,
        CARRIED + SHORT.gamma(2, 1) * (11 + CARRIED) + SHORT.underflow(2),
    ),
    "falls short of the threshold": (lambda: near(64.0) * near(64.0), 4096.0, U * 4096 + TINY),
    "beyond the threshold": (lambda: near(64.0) * near(64.5), 4128.0, np.inf),
    "matrices beyond the threshold": (lambda: near([[64.0]]) @ near([[64.5]]), 4128.0, np.inf),
    "quotient beyond the threshold": (lambda: near(4096.0) / near(0.5), 8192.0, np.inf),
    "sum beyond the threshold": (lambda: near(4096.0) + near(-1.0), 4095.0, np.inf),
    "monotone": (
        lambda: near(0.25, 0.5).monotone(np.sqrt, 3, 0.0),
        *(0.5, 0.5 + 3 * U + 4 * TINY),
    ),
    "rising more than falling": (
        lambda: near(1.0, 0.5).monotone(np.square, 5),
        *(1.0, 1.25 + 5 * 2 * U + 4 * TINY),
    ),
    "monotone at 0": (lambda: near(0.0).monotone(np.copy, 3), 0.0, 4 * TINY),
    "monotone, after an overflow": (lambda: near(1.0, np.inf).monotone(np.tanh, 1), 0.7616, np.inf),
    "monotone, unknown": (lambda: near(5000.0, np.nan).monotone(np.copy, 1), 5000.0, np.nan),
    "monotone at the threshold": (
        lambda: near(4096.0).monotone(np.copy, 1),
        *(4096.0, U * 2**13 + 4 * TINY),
    ),
    "monotone beyond the threshold": (lambda: near(-4097.0).monotone(np.copy, 1), -4097.0, np.inf),
    "activation, after an overflow": (
        lambda: near(1.0, np.inf).activated("leaky_relu"),
        *(1.0, np.inf),
    ),
    "units of 1": (
        lambda: near(1.0, 0.5).activated("hard_sigmoid"),
        *(2 / 3, 0.5 / 6 + 4 * U + 4 * TINY + U),
    ),
    "another slope": (
        lambda: near(-4.0, 1.0, replace(COARSE, exact_constants=True)).activated("leaky_relu"),
        *(-0.8, (fifth := float(np.float32(0.2))) + 2 * U + 4 * TINY + 5 * (fifth - 0.2)),
    ),
    "cast to 16 bits": (lambda: A.cast(SHORT), 3.0, 0.5 + SHORT.unit_roundoff * 3.5 + SHORT.tiny),
    "cast at the threshold": (
        lambda: near(2.0**15).cast(HALF),
        *(2.0**15, HALF.unit_roundoff * 2**15 + HALF.tiny),
    ),
    "cast beyond the threshold": (lambda: near(-(2.0**15) - 1).cast(HALF), -(2.0**15) - 1, np.inf),
    "cast to more bits": (lambda: in_dtype(A, HALF).cast(FLOAT32), 3.0, 0.5),
    "cast to itself": (lambda: in_dtype(A, HALF).cast(HALF), 3.0, 0.5),
    "widened": (lambda: OPS.widen(in_dtype(A, HALF)), 3.0, 0.5),
    "narrowed": (
        lambda: OPS.narrow(A, in_dtype(B, SHORT)),
        *(3.0, 0.5 + SHORT.unit_roundoff * 3.5 + SHORT.tiny),
    ),
    "mean": (lambda: OPS.mean(X, -1), 1.0, 0.25 + gamma(5) * (7 / 3 + 0.25) + 3 * TINY),
    "mean of some": (
        lambda: OPS.mean(X, 1, np.array([2.0])),
        *(1.5, 0.375 + gamma(5) * (3.5 + 0.375) + 3 * TINY),
    ),
    "mean of some in float16": (
        lambda: OPS.mean(in_dtype(X, HALF), 1, np.array([2.0])),
        1.5,
        0.375 + ((u := HALF.unit_roundoff) * 3 * (1 + u) + u) * (3.5 + 0.375) + HALF.underflow(3),
    ),
    "mean in 16 bits": (
        lambda: OPS.mean(in_dtype(X, SHORT), -1),
        *(1.0, 0.25 + SHORT.gamma(5, 1) * (7 / 3 + 0.25) + SHORT.underflow(3)),
    ),
    "mean of large numbers": (lambda: OPS.mean(near([[2000.0, -2000.0, 97.0]]), 1), 97 / 3, np.inf),
    "sum over an axis": (
        lambda: OPS.reduce("sum", X, (1,), False),
        *(3.0, 0.75 + gamma(3) * 7.75 + 3 * TINY),
    ),
    "sum in float16": (
        lambda: OPS.reduce("sum", in_dtype(X, HALF), (1,), False),
        *(3.0, 0.75 + 3 * HALF.unit_roundoff * 7.75 + 3 * HALF.tiny),
    ),
    "sum in bfloat16": (
        lambda: OPS.reduce("sum", in_dtype(X, SHORT), (1,), False),
        *(3.0, 0.75 + SHORT.gamma(3, 1) * 7.75 + 3 * SHORT.tiny),
    ),
    "mean over an axis": (
        lambda: OPS.reduce("mean", X, (1,), False),
        *(1.0, (0.75 + gamma(5) * 7.75 + 3 * TINY) / 3),
    ),
    "large sum over an axis": (
        lambda: OPS.reduce("sum", near([[4000.0, -4000.0]]), (1,), False),
        *(0.0, np.inf),
    ),
    "largest over an axis": (lambda: OPS.reduce("max", X, (1,), False), 4.0, 0.5),
    "lowest over an axis": (lambda: OPS.reduce("min", X, (1,), True), -2.0, 0.5),
    "largest": (lambda: OPS.max(X, 1), 4.0, 0.5),
    "larger": (lambda: OPS.maximum(A, B), 3.0, 0.5),
    "larger, of a sure and an unsure one": (lambda: OPS.maximum(near(4.0), A), 4.0, 0.5),
    "smaller": (lambda: OPS.minimum(A, B), -2.0, 0.5),
    "inverse root": (
        lambda: OPS.rsqrt(near(0.25, 0.19)),
        *(2.0, 1 / 0.06**0.5 - 2 + 4 * 4 * U + 4 * TINY),
    ),
    "ELU": (
        lambda: OPS.elementwise(near(1.0, 0.5), ELU(2.0)),
        *(1.0, 0.5 + 10 * 2 * U + 4 * TINY + 8 * U),
    ),
    "flat ELU": (
        lambda: OPS.elementwise(near(1.0, 0.5), ELU(0.5)),
        *(1.0, 0.5 + 10 * 2 * U + 4 * TINY + 4 * U),
    ),
    "root in float32": (
        lambda: Bounded.rounded(ROOT, replace(COARSE, exact_constants=True)),
        *(ROOT, ROOT * U + TINY + 0.5**0.5 - ROOT),
    ),
    "constant of float64": (
        lambda: Bounded.rounded(math.pi, replace(COARSE, exact_constants=True)),
        *(math.pi, math.pi * U + TINY),
    ),
    "scaled tanh": (
        lambda: OPS.elementwise(near(1.0, 0.5), ScaledTanh(-1.5, 0.5)),
        -1.5 * math.tanh(0.5),
        1.5 * (math.tanh(0.5) - math.tanh(0.25)) + 10 * U + 4 * TINY + 6 * U,
    ),
    "affine": (
        lambda: OPS.elementwise(near(1.0, 0.5), Affine(2.0, -0.5)),
        *(1.5, 1.0 + 4 * 2 * U + 4 * TINY + 4 * U),
    ),
    "hard sigmoid": (
        lambda: OPS.elementwise(near(1.0, 0.5), HardSigmoid(0.25, 0.5)),
        *(0.75, 0.125 + 4 * U + 4 * TINY + 4 * U),
    ),
    "leaky ReLU": (
        lambda: OPS.elementwise(near(-4.0, 1.0), LeakyReLU(0.25)),
        *(-1.0, 0.25 + 4 * 2 * U + 4 * TINY),
    ),
    "another slope of a layer": (
        lambda: OPS.elementwise(
            near(-4.0, 1.0, replace(COARSE, exact_constants=True)), LeakyReLU(fifth)
        ),
        *(-0.8, fifth + 4 * U + 4 * TINY + 5 * (fifth - 0.2)),
    ),
    "negative part": (
        lambda: OPS.elementwise(near(-1.5, 0.5), NegativePart()),
        *(1.5, 0.5 + 4 * TINY),
    ),
    "clip": (
        lambda: OPS.elementwise(near(1.0, 0.5), Clip(-1.0, 1.25)),
        *(1.0, 0.5 + 2 * 2 * U + 4 * TINY),
    ),
    "inverse root, at most": (
        lambda: OPS.elementwise(near(0.25, 0.125), InverseRoot(8.0)),
        *(2.0, 8**0.5 - 2 + 4 * 4 * U + 4 * TINY),
    ),
    "exponential": (
        lambda: OPS.elementwise(near(1.0, 0.5), EXP),
        *(math.e, math.exp(1.5) - math.e + 8 * 4 * U + 4 * TINY),
    ),
    "exponential less 1": (
        lambda: OPS.elementwise(near(1.0, 0.5), EXPM1),
        *(math.e - 1, math.exp(1.5) - math.e + 8 * 2 * U + 4 * TINY + 4 * U),
    ),
    "threshold": (
        lambda: OPS.elementwise(near(-1.5, 0.25), ClippedReLU(None, 0.5, -0.5)),
        *(-0.5, 0.5 * (0.25 + U * 0.5) + 6 * U + 4 * TINY),
    ),
    "square": (
        lambda: OPS.elementwise(near(-3.0, 0.5), SQUARE),
        *(9.0, 3.25 + 2 * 16 * U + 4 * TINY),
    ),
    "magnitude": (lambda: OPS.elementwise(near(-1.0, 2.0), ABS), 1.0, 2.0 + 4 * TINY),
    "root": (
        lambda: OPS.elementwise(near(0.25, 0.5), SQRT),
        *(0.5, 0.5 + 2 * U + 4 * TINY),
    ),
    "logarithm of 1 + x": (
        lambda: OPS.elementwise(near(1.0, 0.5), LOG1P),
        *(math.log(2), math.log(2 / 1.5) + 8 * U + 4 * TINY),
    ),
    "square of about 0": (
        lambda: OPS.elementwise(near(-0.25, 0.5), SQUARE),
        *(0.0625, 0.5 + 2 * U * 2.0**-3 + 4 * TINY),
    ),
    "cube": (
        lambda: OPS.elementwise(near(-2.0, 1.0), Power(3.0)),
        *(-8.0, 19.0 + 8 * 16 * U + 4 * TINY),
    ),
    "logarithm": (
        lambda: OPS.elementwise(near(1.0, 0.5), LOG),
        *(0.0, math.log(2) + 4 * TINY + 2 * U),
    ),
    "rounded exponent": (
        lambda: OPS.elementwise(near(4.0, 1.0), Power(1.5)),
        8.0,
        (apart := 5**1.5 - 8 + 8 * 16 * U + 4 * TINY)
        + math.expm1((1.5 * U + TINY) * math.log(5)) * (8 + apart),
    ),
    "rounded exponent of a small number": (
        lambda: OPS.elementwise(near(0.25, 0.125), Power(1.5)),
        0.125,
        (apart := 0.375**1.5 - 0.125 + 8 * U / 4 + 4 * TINY)
        + math.expm1((1.5 * U + TINY) * math.log(8)) * (0.125 + apart),
    ),
    "chosen": (lambda: OPS.choose(near(1.0), A, B), 3.0, 0.5),
    "not chosen": (lambda: OPS.choose(near(0.0), A, B), -2.0, 0.25),
    "chosen by chance": (lambda: OPS.choose(near(0.5, 1.0), A, B), 3.0, 5.5),
    "masked": (lambda: OPS.where(np.array(False), near([1.0], 0.5), 0.0), 0.0, 0.0),
    "masked by a number": (
        lambda: OPS.where(np.array(False), near([1.0], 0.5), 0.3),
        *(0.3, 0.3 * U + TINY),
    ),
    "masked by another": (
        lambda: OPS.where(np.array(False), near([1.0]), near([2.0], 0.5)),
        2,
        0.5,
    ),
    "not masked": (lambda: OPS.where(np.array(True), near([1.0], 0.5), 0.3), 1.0, 0.5),
    "averages": (
        lambda: OPS.averages(
            near([[[1.0], [-2.0]]], [[[0.5], [0.25]]]), [Window(2, 1, "valid", Dim.of(1))]
        ),
        *(-0.5, 0.375 + gamma(4) * (1.5 + 0.375) + 2 * TINY),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_each_operation_has_the_bound_of_its_rule(name: str) -> None:
    make, value, error = RULES[name]
    with np.errstate(invalid="ignore"):
        result = make()
    np.testing.assert_allclose(result.value, value, rtol=1e-4)
    np.testing.assert_allclose(result.error, error, rtol=1e-9)


#: Errors of kernels, in units in the last place of the result and of 1, and the activations.
KERNELS = {
    (0, 0): ("relu", "linear", "hard_tanh", "relu6", "hard_shrink"),
    (2, 0): ("leaky_relu", "sqrt"),
    (4, 0): ("softsign", "sparse_sigmoid", "soft_shrink"),
    (4, 1): ("hard_sigmoid", KERAS2_HARD_SIGMOID),
    (8, 0): ("tanh", "sigmoid", "exponential", "sparse_plus", "erf"),
    (8, 4): ("elu", "celu"),
    (8, 8): ("selu",),
    (16, 2): ("softplus", "log_sigmoid"),
    (16, 4): ("tanh_softplus",),
}


def test_each_activation_has_the_error_of_its_kernel() -> None:
    assert {name for names in KERNELS.values() for name in names} == set(MONOTONE)
    for (ulps, ulps_of_one), names in KERNELS.items():
        for name in names:
            result = near(1.5).activated(name)
            unit = U * 2.0 ** np.frexp(result.value)[1]
            expected = ulps * unit + 4 * TINY + ulps_of_one * U
            np.testing.assert_allclose(result.error, expected, rtol=1e-12, err_msg=name)


def test_attention_weights_of_16_bits_are_float32() -> None:
    """They are rounded again to the dtype of what they multiply."""
    wide = OPS.widen(in_dtype(A, HALF))
    assert (wide.precision, OPS.widen(A).precision) == (FLOAT32, A.precision)
    assert OPS.narrow(wide, in_dtype(B, HALF)).precision == HALF


def test_negative_sum_is_a_term_of_its_own() -> None:
    total = A + B
    carried = float(total.error) + 0.5
    expected = carried + gamma(2) * (1 + 3 + carried) + 2 * TINY
    np.testing.assert_allclose((-total + A).error, expected, rtol=1e-12)


def test_rounded_factor_carries_its_error() -> None:
    off = 257 * U + TINY
    carried = 3 * off + 257 * 0.5 + 0.5 * off
    np.testing.assert_allclose((A * 257.0).error, carried + U * (771 + carried) + TINY)


def test_moved_numbers_keep_their_errors() -> None:
    x = near(np.arange(24.0).reshape(2, 3, 4), np.arange(24.0).reshape(2, 3, 4) / 8)
    first, *others = OPS.split(x, "z", ("a", "b"))
    assert len(others) == 1
    turned = x.rearranged(lambda array: array[:, ::-1])
    window = Window(2, 1, "causal", Dim.of(3), fill=-9.0)
    cut = OPS.windows(x, [window])
    moved = {
        "first part": (first, x.value[..., :2]),
        "second part": (others[0], x.value[..., 2:]),
        "row": (OPS.rows(x, ("a", "b"))[1], x.value[1]),
        "reversed": (turned, x.value[:, ::-1]),
        "time first": (OPS.swap_time(x), x.value.swapaxes(0, 1)),
        "joined": (OPS.concatenate([turned, x]), np.concatenate([x.value[:, ::-1], x.value], -1)),
        "taken": (OPS.take(x, near([1.0, 0.0])), x.value[[1, 0]]),
        "windows": (replace(cut, value=cut.value[:, 1:], error=cut.error[:, 1:]), None),
    }
    for name, (found, expected) in moved.items():
        if expected is not None:
            np.testing.assert_array_equal(found.value, expected, err_msg=name)
        np.testing.assert_array_equal(found.error, found.value / 8, err_msg=name)
        assert found.precision is COARSE
    assert (cut.value[:, 0, 0] == -9).all()
    assert (cut.error[:, 0, 0] == 0).all()
    assert (OPS.shape(x), OPS.rank(x)) == ((2, 3, 4), 3)


def test_each_step_of_a_sequence_keeps_its_error() -> None:
    x = near(np.arange(24.0).reshape(2, 3, 4), np.arange(24.0).reshape(2, 3, 4) / 8)
    for each in (x, x.rearranged(lambda array: array[0])):
        both = OPS.each_step(lambda z: (z.rearranged(lambda a: a[:, 1:]), z), [each], 2)
        for found, expected in zip(both, (each.value[..., 1:], each.value), strict=True):
            np.testing.assert_array_equal(found.value, expected)
            np.testing.assert_array_equal(found.error, expected / 8)


@pytest.mark.parametrize("reverse", [False, True])
def test_bound_grows_from_step_to_step(reverse: bool) -> None:
    """A masked step leaves it alone."""
    z = near(np.ones((1, 4, 2)), [[[0.5, 0.25], [0.125, 1.0], [8.0, 8.0], [2.0, 4.0]]])
    mask = np.array([[True, True, False, True]])

    def step(x: Bounded, states: Any) -> Any:
        total = x.value[:, :1] + states[0].value, x.error[:, :1] + states[0].error
        return [Bounded(*total, COARSE), states[0]]

    found = OPS.scan(step, z, 2, ("h", "c"), reverse=reverse, mask=mask)
    values, errors = ([1, 2, 2, 3], [0.5, 0.625, 0.625, 2.625])
    if reverse:
        values, errors = [3, 2, 1, 1], [2.625, 2.125, 2.0, 2.0]
    np.testing.assert_array_equal(found.value[0, :, 0], values)
    np.testing.assert_array_equal(found.error[0, :, 0], errors)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_only_inexact_numbers_of_constants_have_errors(dtype: str) -> None:
    p = PRECISIONS[dtype]
    numbers = Constant((0.5, 0.1, -257.0, 2049.0), (4,), "float64")
    found = OPS.constant(numbers, near(1.0, 0.0, p))
    np.testing.assert_array_equal(found.value, [0.5, 0.1, -257.0, 2049.0])
    exact = {
        "float16": [True, False, True, False],
        "bfloat16": [True, False, False, False],
        "float32": [True, False, True, True],
        "float64": [True] * 4,
    }[dtype]
    errors = np.where(exact, 0.0, p.unit_roundoff * np.abs(found.value) + p.tiny)
    np.testing.assert_allclose(found.error, errors, rtol=1e-12)


#: Two numbers, their errors, the dtype, and whether it is sure which one is larger.
COMPARED = [
    *((1.0, 2.0, 0.0, COARSE, True), (1.0, 1.0, 0.0, COARSE, True)),
    *((1.0, 2.0, 0.4, COARSE, True), (1.0, 2.0, 0.5, COARSE, False)),
    (1.0, 1.0, 0.5, COARSE, False),
    *((0.0, TINY, 0.0, COARSE, True), (0.0, TINY / 2, 0.0, COARSE, False)),
    (1.0, 1 + 1.5 * SHORT.unit_roundoff, 0.0, SHORT, False),
    (1.0, 1 + 2.5 * SHORT.unit_roundoff, 0.0, SHORT, True),
    (1.0, 1 + 1.5 * FLOAT32.unit_roundoff, 0.0, FLOAT32, True),
]


@pytest.mark.parametrize("case", COMPARED)
def test_only_close_numbers_compare_in_doubt(case: Any) -> None:
    x, y, error, precision, sure = case
    for left, right in ((x, y), (y, x)):
        found = OPS.compare("<", near(left, error, precision), near(right, error, precision))
        assert (found.value, found.error) == (left < right, not sure)


@pytest.mark.parametrize("off", [0.0, 1e-4, 0.03])
def test_bound_of_a_row_is_tight(off: float) -> None:
    """It is what the errors of z may do to the share's logarithm, and some roundings."""
    z = np.array([[0.3, -1.2, 2.0, 0.9], [0.0, 0.0, 0.0, 0.0]])
    errors = off * np.array([1.0, 0.0, 0.5, 0.25])
    scores = near(z, errors, FLOAT32)
    shares, logarithms = scores.activated("softmax"), scores.activated("log_softmax")
    for found, rule in (
        (shares, shares.value * np.expm1(errors + off)),
        (logarithms, errors + off + 0.0 * logarithms.value),
    ):
        rounding = (found.error - rule) / FLOAT32.unit_roundoff
        assert (rounding >= 16 * np.abs(found.value)).all()
        assert (rounding <= 60 * (0.5 + np.abs(found.value))).all()


@pytest.mark.parametrize("p", [COARSE, SHORT], ids=["32 bits", "16 bits"])
def test_bound_of_a_row_has_each_rounding(p: Precision) -> None:
    """exp is off by its argument's rounding and 8 units, the sum by those and its own."""
    z, errors = np.array([0.5, -1.5, 0.25]), np.array([2.0**-7, 0.0, 2.0**-5])
    scores, below, unit = near(z, errors, p), 0.5 - z, p.unit_roundoff
    shares = np.exp(z) / np.exp(z).sum()
    moved, term = errors + 2.0**-5, unit * (below + 16)
    total = (shares * term).sum() + p.gamma(3, 2)
    relative = 1.1 * (term + total + 2 * unit)
    share_errors = shares * (np.expm1(moved) + relative * np.exp(moved)) + 4 * p.tiny
    magnitude = 2 * below + 17 * np.abs(np.log(shares)) + math.log(3)
    log_errors = moved + 1.1 * total + unit * magnitude + p.tiny
    for name, expected in (("softmax", share_errors), ("log_softmax", log_errors)):
        np.testing.assert_allclose(scores.activated(name).error, expected, rtol=1e-12)
    most = near(z, 5.0, p).activated("softmax").error
    np.testing.assert_array_equal(most, np.full(3, 1.0 + 4 * p.tiny))
    for unknown in (np.nan, np.inf):
        found = near(z, [0.0, unknown, 0.0], p).activated("softmax").error
        np.testing.assert_array_equal(found, np.full(3, unknown))

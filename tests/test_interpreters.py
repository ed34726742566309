"""One equation in several interpreters: shapes, arrays and bounds belong together."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

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
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.elementwise import Power
from rnnshapes.ops.interface import ACTIVATIONS as NAMES
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID, RELATIONS
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.ops.recorder import RecorderOps, Recording
from rnnshapes.ops.symbolic import ShapeMismatchError, Symbol, SymbolicOps
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Window

SIZES = {"N": 4, "D": 3, "M": 5, "K": 2}
N, D, M, K = (Dim.named(name) for name in SIZES)
FLOAT32 = PRECISIONS["float32"]


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
    dense = [Dense(name="d", index="0", features=M, units=K, use_bias=b) for b in (True, False)]
    return [*forms(), *dense]


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
    assert PRECISIONS["float64"].unit_roundoff == 2 * half
    assert PRECISIONS["float32"].unit_roundoff == np.finfo("float32").eps / 2 + half
    assert PRECISIONS["float32"].tiny == np.finfo("float32").tiny


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


def test_every_interpreter_knows_the_same_activations() -> None:
    """Names stand where no NumPy is needed, functions where it is."""
    parts = {"tanh_softplus", "erf", "sqrt", "gelu_tanh", KERAS2_HARD_SIGMOID}
    assert {*MONOTONE, *FORMULAS, *ROWWISE} == {*NAMES, *parts}


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


def test_indices_far_beyond_axis_are_filled() -> None:
    """No memory is taken for the steps between them and the axis."""
    x = np.random.default_rng(5).standard_normal((2, 4, 3))
    window = Window(3, 1, "causal", Dim.of(4), dilation=10**15, fill=-0.5)
    found = NumpyOps().windows(x, [window])
    np.testing.assert_array_equal(found[:, :, 2], x)
    assert (found[:, :, :2] == -0.5).all()


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


def test_attention_weights_of_an_uncertain_mask_are_unknown() -> None:
    scores = Bounded.exact(np.random.default_rng(4).standard_normal((2, 3, 2, 4)), FLOAT32)
    error = np.zeros((2, 2, 4))
    error[1, 0, 2] = 1.0
    mask = Bounded(np.ones((2, 2, 4)), error, FLOAT32)
    weights = BoundedOps().attention_weights(scores, Visibility(replaced=True), mask)
    uncertain = np.zeros((2, 3, 2, 4), dtype=bool)
    uncertain[1, :, 0] = True
    np.testing.assert_array_equal(weights.error >= 1.0, uncertain)

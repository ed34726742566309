"""One reported quantity beside the expected numbers and their bounds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

from rnnshapes.forward import numpy_run
from rnnshapes.forward.scan import states_before
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.compare import (
    Comparison,
    Pattern,
    compare_quantities,
    compare_with,
    compute_outputs,
    exact_weights,
    fully_reported,
    is_stepwise,
    precision_of,
)
from rnnshapes.verification.bounds import bounded_steps
from tests.helpers.activations import sigmoid
from tests.helpers.handmade import SIZES
from tests.helpers.models import functional, randomized
from tests.helpers.tried import base_of, hypothesis_of

Array = np.ndarray
RIGHT = np.random.default_rng(0).uniform(0.2, 0.9, (3, 9, 2))


def compared(
    values: Array, expected: Array = RIGHT, bound: Any = 1e-3, rounding: float = 0.0
) -> Comparison:
    (quantity,) = hypothesis_of({"y_hat": RIGHT}, **SIZES).quantities
    quantity = replace(quantity, values=values, rounding=np.full(values.shape, rounding))
    return compare_with(quantity, expected, np.broadcast_to(bound, expected.shape))


def off(*errors: tuple[Any, float]) -> Array:
    values = RIGHT.copy()
    for at, error in errors:
        values[at] += error
    return values


def test_the_first_difference_is_the_earliest() -> None:
    """By step, then by sample; the largest ratio is another."""
    found = compared(off(((2, 3, 1), 0.004), ((1, 5, 0), 0.5), ((0, 3, 1), -0.002)))
    assert (found.first.sample, found.first.t, found.first.unit) == (0, 3, 1)
    assert found.first_values == pytest.approx((RIGHT[0, 3, 1] - 0.002, RIGHT[0, 3, 1]))
    assert (found.index.sample, found.index.t, found.index.unit) == (1, 5, 0)
    assert found.ratio == pytest.approx(500)
    assert (found.differing, found.compared, found.left_out, found.wide) == (3, 54, 0, 0)
    assert found.max_abs == pytest.approx(0.5)
    assert found.pattern == Pattern((0, 1), (0, 1, 2), (3, 5), (3, 9, 2), (1,))
    assert found.bits == pytest.approx(np.log2(4) + np.log2(500) + np.log2(2))
    assert found.bound == pytest.approx(1e-3)
    assert (found.agrees, found.passed, found.only_zeros) == (False, False, False)


@pytest.mark.parametrize(("error", "agrees"), [(0.99e-3, True), (1.01e-3, False)])
def test_numbers_within_their_bound_agree(error: float, agrees: bool) -> None:
    found = compared(off(((1, 2, 0), error)))
    assert (found.agrees, found.passed, found.differing) == (agrees, agrees, int(not agrees))
    assert (found.first is None) == (found.first_values is None) == agrees
    assert found.pattern.steps == (() if agrees else (2,))
    assert found.bits == pytest.approx(0 if agrees else np.log2(1.01))
    assert compared(off(((1, 2, 0), error)), rounding=1e-3).agrees


def test_an_error_of_exactly_its_bound_agrees() -> None:
    """A bound of the largest number is used; a wider one is not, for up to 16 bounds of error."""
    half, bound = np.full((3, 9, 2), 0.5), 2.0**-10
    values = half.copy()
    values[1, 2, 0] += bound
    found = compared(values, half, bound)
    assert (found.ratio, found.agrees, found.differing, found.bits) == (1.0, True, 0, 0.0)
    assert (found.first, found.pattern) == (None, Pattern((), (), (), (3, 9, 2), ()))
    assert compared(half, half, 0.5).compared == 54
    wide = np.where(np.arange(9)[:, None] == 4, 0.625, bound) * np.ones((3, 9, 2))
    values[0, 4, 1] += 16 * 0.625
    assert compared(values, half, wide).left_out == 3 * 2


def test_steps_with_wide_bounds_are_left_out() -> None:
    """Unless a number is far off; a bound of more than the largest number says nothing."""
    bound = np.full((3, 9, 2), 1e-3)
    bound[1, 4, 1] = 2 * RIGHT.max()
    found = compared(RIGHT, bound=bound)
    assert (found.compared, found.left_out, found.agrees) == (52, 2, True)
    found = compared(off(((1, 4, 0), 0.015)), bound=bound)
    assert (found.compared, found.left_out, found.differing) == (52, 2, 0)
    found = compared(off(((1, 4, 0), 0.017)), bound=bound)
    assert (found.compared, found.left_out, found.differing) == (53, 1, 1)
    bound[1, 4, 1] = np.inf
    assert compared(RIGHT, bound=bound).left_out == 2


def test_exchanged_axes_have_both_shapes() -> None:
    (quantity,) = hypothesis_of({"y_hat": RIGHT}, **SIZES).quantities
    bound = np.full(RIGHT.shape, 1e-3)
    found = compare_with(replace(quantity, axes_swapped=True), RIGHT, bound)
    assert re.findall(r"\(.*?\)", found.shape) == ["(9, 3, 2)", "(3, 9, 2)"]
    assert (found.agrees, found.passed) == (True, False)
    assert compared(RIGHT).shape == ""


def test_infinite_numbers_are_left_out() -> None:
    expected = RIGHT.copy()
    expected[2, 8, 1] = np.inf
    found = compared(RIGHT, expected)
    assert (found.compared, found.left_out, found.max_abs) == (53, 1, np.inf)


def test_more_has_to_be_compared_than_left_out() -> None:
    bound = np.full((3, 9, 2), 1e-3)
    bound[:, :4] = 2.0
    assert compared(RIGHT, bound=bound).agrees
    bound[:, 4, :] = 2.0
    found = compared(RIGHT, bound=bound)
    assert (found.compared, found.left_out) == (24, 30)
    assert not found.agrees
    nothing = compared(RIGHT, bound=2.0)
    assert (nothing.compared, nothing.bound, nothing.agrees) == (0, 0.0, False)
    assert nothing.ratio < 0


def test_zeros_are_compared_exactly_or_by_their_bound() -> None:
    zeros = np.zeros((3, 9, 2))
    found = compared(zeros, zeros, bound=1e-30)
    assert (found.only_zeros, found.agrees, found.compared) == (True, True, 54)
    assert compared(zeros + 1e-4, zeros).agrees
    wrong = zeros.copy()
    wrong[0, 1, 0] = 0.1
    assert compared(wrong, zeros).differing == 1


def test_zeros_among_wide_bounds_prove_nothing() -> None:
    """The only numbers with a narrow bound are 0."""
    expected = np.where(np.arange(9)[:, None] < 2, RIGHT, 0.0)
    bound = np.where(np.arange(9)[:, None] < 2, 5.0, 1e-3) * np.ones((3, 9, 2))
    assert compared(expected, expected, bound=bound).compared == 0


@pytest.mark.parametrize(
    ("wide", "left_out", "is_wide"),
    [(0, 0, False), (27, 0, True), (26, 0, False), (18, 18, True), (18, 17, False)],
)
def test_most_numbers_have_to_prove_something(wide: int, left_out: int, is_wide: bool) -> None:
    found = replace(compared(RIGHT), wide=wide, left_out=left_out)
    assert (found.is_wide, found.passed, found.agrees) == (is_wide, not is_wide, True)
    assert not replace(found, shape="shape").passed
    assert not replace(found, left_out=found.compared).agrees


# --- Which numbers follow in one step -------------------------------------------------------------

FORWARD, BACKWARD = (f"bidirectional/{way}_lstm" for way in ("forward", "backward"))


@pytest.mark.parametrize(
    ("what", "spec", "names", "stepwise"),
    [
        ("lstm.h lstm.c", {}, ["lstm"], True),
        ("lstm.h", {}, [], False),
        ("lstm.h lstm.c y_hat", {}, ["lstm"], False),
        ("lstm.h lstm.c lstm_1.h lstm_1.c", {"M": [4, 5]}, ["lstm"], False),
        (f"{FORWARD}.h {FORWARD}.c", {"bidirectional": True}, [FORWARD], True),
        (f"{FORWARD}.h {FORWARD}.c {BACKWARD}.h", {"bidirectional": True}, [FORWARD], False),
    ],
)
def test_all_states_of_a_recurrence_are_proven_stepwise(
    what: str, spec: dict[str, Any], names: list[str], stepwise: bool
) -> None:
    base = base_of(**{**SIZES, "cell": "lstm", **spec}, what=what)
    assert [one.name for one in fully_reported(base)] == names
    assert is_stepwise(base) == stepwise
    checks = compare_quantities(base, "float64")
    proven = [quantity.name in names for quantity in base.quantities]
    assert [check.proven for check in checks] == proven
    assert all(check.passed for check in checks)
    last = base.map_quantities(lambda q: q.at_steps(slice(-1, None), np.array([8])))
    first = base.map_quantities(lambda q: q.at_steps(slice(4), np.arange(4)))
    turned = base.map_quantities(lambda q: q.in_reverse())
    assert [list(fully_reported(some)) for some in (last, first, turned)] == [[], [], []]
    assert not is_stepwise(last)


def test_steps_from_own_states_need_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_of(**SIZES, cell="lstm", what="lstm.h lstm.c")
    expected = compare_quantities(base, "float32")
    monkeypatch.setattr(numpy_run, "numpy_outputs", None)
    assert compare_quantities(base, "float32") == expected
    assert all(check.passed for check in expected)


def test_narrow_arrays_are_compared_in_their_own_dtype() -> None:
    base = base_of(**SIZES)
    off_by_little = base.map_quantities(lambda q: replace(q, values=q.values * (1 + 2e-4)))
    (wide,) = compare_quantities(off_by_little, "float32")
    narrow = off_by_little.map_quantities(lambda q: replace(q, narrow_dtype="float16"))
    (short,) = compare_quantities(narrow, "float32")
    assert (wide.agrees, short.agrees, short.narrow_dtype) == (False, True, "float16")
    (stated,) = compare_quantities(narrow, "bfloat16")
    assert stated.bound > 2 * short.bound


def test_each_state_is_compared_in_its_own_dtype() -> None:
    base = base_of(**SIZES, cell="lstm", what="lstm.h lstm.c")
    narrow = base.map_quantities(
        lambda q: replace(q, narrow_dtype="float16" if q.key == "c" else "")
    )
    h, c = compare_quantities(narrow, "float32")
    for dtype, one in (("float32", h), ("float16", c)):
        assert one.bound == compare_quantities(base, dtype)[int(one is c)].bound


@pytest.mark.parametrize(
    ("dtype", "largest", "factor"), [("bfloat16", 0.25, 5), ("float16", 1 / 16, 2)]
)
def test_steps_whose_rounding_is_large_are_left_out(
    dtype: str, largest: float, factor: float
) -> None:
    """A proven bound of bfloat16 may be a quarter of the largest number."""
    base = base_of(**{**SIZES, "M": 12}, what="simple_rnn.h")
    weights = {key: factor * a for key, a in base.weights["simple_rnn"].items()}
    base = base.with_arrays("simple_rnn", weights)
    h = compute_outputs(base).states["simple_rnn"]["h"]
    base = base.map_quantities(lambda q: replace(q, values=h))
    (one,) = fully_reported(base)
    precision = precision_of(dtype)
    w = exact_weights(base, one.direction, precision)
    before = states_before(one.direction, one.states, {})
    _, bounds = bounded_steps(one.direction, one.x, before, w, precision)
    shares = bounds["h"].max(axis=2) / np.abs(h).max()
    (check,) = compare_quantities(base, dtype)
    left_out = int((shares > largest).sum())
    assert 3 <= left_out <= 13
    assert (check.agrees, check.left_out) == (True, 12 * left_out)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_port_rounds_as_its_dtype(dtype: str) -> None:
    """It sums in float16, too; in float64, it may have more exact constants."""
    found, stated = precision_of(dtype), PRECISIONS[dtype]
    assert found.exact_constants == (dtype == "float64")
    assert found.sums_in_float32 == (stated.sums_in_float32 and dtype != "float16")
    same = {"exact_constants": False, "sums_in_float32": False}
    assert replace(found, **same) == replace(stated, **same)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "activation", ["tanh", "sigmoid", "relu", "linear", "softplus", "hard_sigmoid"]
)
def test_activations_in_other_forms_have_wider_bounds(activation: str, dtype: str) -> None:
    """Those that ports compute by others, which in 16 bits are computed in float32."""
    base = base_of(**SIZES, activation=activation, what="simple_rnn.h")
    (one,) = fully_reported(base)
    precision = precision_of(dtype)
    w = exact_weights(base, one.direction, precision)
    before = states_before(one.direction, one.states, {})
    _, bounds = bounded_steps(one.direction, one.x, before, w, precision)
    (check,) = compare_quantities(base, dtype)
    wider = (check.bound / np.median(bounds["h"]) - 1) > 1e-9
    assert wider == (activation in ("tanh", "sigmoid") and dtype == "float32")
    assert wider or check.bound == pytest.approx(np.median(bounds["h"]))


def test_long_sums_in_float16_have_a_bound() -> None:
    """Sums of so many products would have none in float16 that proves anything."""
    few, many = (
        base_of(**{**SIZES, "N": 2, "T": 3, "M": m}, what="simple_rnn.h") for m in (5, 250)
    )
    for base in (few, many):
        (check,) = compare_quantities(base, "float16")
        assert (check.passed, check.left_out, check.compared) == (True, 0, base_size(base))
    off = many.map_quantities(lambda q: replace(q, values=q.values + 0.05))
    assert not compare_quantities(off, "float16")[0].agrees


def base_size(base: Any) -> int:
    return sum(quantity.values.size for quantity in base.quantities)


@pytest.mark.parametrize(("error", "agrees"), [(1e-8, True), (1e-5, False)])
def test_large_samples_widen_no_small_bound(error: float, agrees: bool) -> None:
    """Of a run that is compared as a whole."""
    base = base_of(**SIZES, activation="linear")
    (x,), rows = base.xs, np.array([1e-3, 1.0, 1e3])[:, None, None]
    weights = {
        group: {key: np.zeros_like(a) if a.ndim == 1 else a for key, a in arrays.items()}
        for group, arrays in base.weights.items()
    }
    base = replace(base, xs=(x * rows,), weights=weights)
    (right,) = [q.expected(base.network, compute_outputs(base)) for q in base.quantities]
    values = right.copy()
    values[0] += error * np.abs(right[0]).max() * np.array([1, -1])
    changed = base.map_quantities(lambda q: replace(q, values=values))
    (check,) = compare_quantities(changed, "float32")
    assert check.agrees == agrees
    assert set(check.pattern.samples) == (set() if agrees else {0})


def test_a_bound_follows_that_of_the_step_before() -> None:
    """By chance, a number may hardly move; but those of later steps may be much larger."""
    base = base_of(**{**SIZES, "N": 1, "T": 6}, activation="linear")
    sizes = np.array([1.0, 1e-3, 1e-3, 1.0, 1e-3, 1e-3])
    zeros = {"Wh": np.zeros((5, 5)), "bh": np.zeros(5)}
    base = base.with_arrays("simple_rnn", zeros).with_arrays("dense", {"b": np.zeros(2)})
    base = replace(base, xs=(base.xs[0][:, :1] * sizes[:, None],))
    (right,) = [q.expected(base.network, compute_outputs(base)) for q in base.quantities]
    bounds = []
    for t in range(6):
        values = right + (np.arange(6) == t)[:, None] * [1.0, 0.0]
        port = base.map_quantities(lambda q, values=values: replace(q, values=values))
        (check,) = compare_quantities(port, "float32")
        bounds.append(1 / check.ratio)
    shares = bounds / sizes
    assert shares[[1, 4]].min() > 1.5 * shares[[0, 2, 3, 5]].max()


@pytest.mark.parametrize("what", ["y_hat", "simple_rnn_1.h"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_run_is_bounded_as_it_moves(what: str, dtype: str) -> None:
    """When each weight changes by the rounding of the sums that it is part of, and somewhat more.

    Activations round by more than their result tells.
    """
    base = base_of(**{**SIZES, "T": 30, "M": [20, 16]}, what=what)
    (check,) = compare_quantities(base, dtype)
    rng, unit = np.random.default_rng(1), PRECISIONS[dtype].unit_roundoff

    def changed(array: Array) -> Array:
        terms = len(array) if array.ndim > 1 else 0
        return array * (1 + (terms + 12) * unit * rng.choice([-1, 1], array.shape))

    (right,) = [q.expected(base.network, compute_outputs(base)) for q in base.quantities]
    moves = []
    for _ in range(8):
        weights = {g: {k: changed(a) for k, a in w.items()} for g, w in base.weights.items()}
        outputs = compute_outputs(replace(base, weights=weights))
        moves.append(np.abs(base.quantities[0].expected(base.network, outputs) - right))
    assert not check.proven
    assert 0.8 < check.bound / np.median(np.max(moves, axis=0)) < 2


def test_rounding_may_repeat_at_every_step() -> None:
    """A gate that is always 1 may be rounded down each time, which adds up."""
    base = base_of(**{**SIZES, "T": 400}, cell="lstm", what="lstm.c", last=True)
    w = {key: a.astype(float) for key, a in base.weights["lstm"].items()}
    w["bh"][5:10] = 20.0
    h, c = np.zeros((2, 3, 5))
    for t in range(400):
        z = base.xs[0][:, t] @ w["Wx"] + h @ w["Wh"] + w["bh"]
        i, f, o = (sigmoid(z[:, at : at + 5]) for at in (0, 5, 15))
        c = f * (1 - 2.0**-24) * c + i * np.tanh(z[:, 10:15])
        h = o * np.tanh(c)
    base = base.with_arrays("lstm", w)
    base = base.map_quantities(lambda q: replace(q, values=c[:, None]))
    (check,) = compare_quantities(base, "float32")
    assert check.agrees


def test_a_unit_that_is_always_0_is_compared() -> None:
    """Rounding cannot change it, so that no error is allowed."""
    base = base_of(**SIZES, activation="relu", what="simple_rnn.h", last=True)
    w = {key: a.astype(float) for key, a in base.weights["simple_rnn"].items()}
    w["bh"][2] = -99.0
    base = base.with_arrays("simple_rnn", w)
    (right,) = [q.expected(base.network, compute_outputs(base)) for q in base.quantities]
    for error in (0.0, 1e-6):
        values = right + error * (np.arange(5) == 2)
        port = base.map_quantities(lambda q, values=values: replace(q, values=values))
        (check,) = compare_quantities(port, "float32")
        assert (right[..., 2].max(), check.agrees) == (0, not error)


def test_whole_numbers_of_x_are_exact() -> None:
    """Their bound is smaller than that of fractions, in every dtype."""
    base = base_of(**SIZES)
    whole = np.random.default_rng(0).integers(-3, 4, base.xs[0].shape)
    shares = []
    for x in (whole.astype("f"), whole + 0.25):
        one = replace(base, xs=(x,))
        (right,) = [q.expected(one.network, compute_outputs(one)) for q in one.quantities]
        one = one.map_quantities(lambda q, values=right: replace(q, values=values))
        (check,) = compare_quantities(one, "float32")
        shares.append(check.bound / np.abs(right).max())
    assert shares[0] < shares[1]


@pytest.mark.parametrize("activation", ["softmax", "log_softmax"])
def test_runs_with_a_softmax_are_compared(activation: str) -> None:
    """A softmax rounds, too: a port in float32 agrees, one that is off by little does not."""
    base = base_of(**SIZES, activation=activation, what="simple_rnn.h", last=True)
    w = {key: a.astype("f") for key, a in base.weights["simple_rnn"].items()}
    h = np.zeros((3, 5), "f")
    for t in range(9):
        z = base.xs[0][:, t].astype("f") @ w["Wx"] + w["bh"] + h @ w["Wh"]
        sums = np.exp(z).sum(-1, keepdims=True)
        h = np.exp(z) / sums if activation == "softmax" else z - np.log(sums)
    for error, agrees in ((0.0, True), (1e-3, False)):
        port = base.map_quantities(lambda q, e=error: replace(q, values=h[:, None] * (1.0 + e)))
        (check,) = compare_quantities(port, "float32")
        assert (check.agrees, check.proven) == (agrees, False)


def test_wide_estimates_of_a_chaotic_run_prove_nothing() -> None:
    """Rounding grows from step to step, until nothing is compared."""
    base = base_of(**{**SIZES, "T": 60, "M": 24}, what="y_hat")
    for factor, wide in ((1, False), (4, True)):
        weights = dict(base.weights["simple_rnn"])
        weights["Wh"] = factor * weights["Wh"]
        one = base.with_arrays("simple_rnn", weights)
        (right,) = [q.expected(one.network, compute_outputs(one)) for q in one.quantities]
        one = one.map_quantities(lambda q, values=right: replace(q, values=values))
        (check,) = compare_quantities(one, "float32")
        assert check.compared + check.left_out == right.size
        assert (check.wide > 0, check.left_out > 0, check.is_wide) == (wide, wide, wide)
        assert check.wide % 2 == 0  # whole steps, of two units
        assert (1e-3 < check.width <= 1 / 16) if wide else check.width == 0
        assert check.bits == 0


@pytest.mark.parametrize(
    ("name", "spec", "steps"),
    [
        ("y_hat", {}, list(range(9))),
        ("output", {}, [8]),
        ("output", {"cell": "gru", "bidirectional": True}, None),
    ],
)
def test_ratios_of_steps_need_steps(name: str, spec: Any, steps: list[int] | None) -> None:
    (check,) = compare_quantities(base_of(**SIZES, **spec, what=name), "float32")
    assert (None if check.steps is None else check.steps.tolist()) == steps
    errors = check.residual.step_errors
    assert (None if errors is None else len(errors.ratio)) == (steps and len(steps))
    assert (check.index.t is None) == (steps is None)


@pytest.mark.parametrize("stop_early", [False, True])
def test_a_hopeless_run_may_be_left_early(stop_early: bool) -> None:
    """A right one is compared in all directions, with the same bounds."""
    base = base_of(**SIZES)
    wrong = base.map_quantities(lambda q: replace(q, values=q.values + 1.0))
    (check,) = compare_quantities(wrong, "float32", stop_early=stop_early)
    (whole,) = compare_quantities(wrong, "float32")
    assert not check.agrees
    assert (check.bound < whole.bound) == stop_early
    (check,) = compare_quantities(base, "float32", stop_early=stop_early)
    (whole,) = compare_quantities(base, "float32")
    assert (check.agrees, check.bound) == (True, whole.bound)


@pytest.mark.parametrize("reverse", [False, True])
def test_steps_from_rounded_states_have_wider_bounds(reverse: bool) -> None:
    """By what the recurrent kernel makes of the rounding, and by that of the result."""
    options = {"go_backwards": reverse, "activation": "linear"}
    base = base_of(**SIZES, **options, what="simple_rnn.h")
    rounding = np.random.default_rng(0).uniform(1e-3, 2e-3, (3, 9, 5))
    rounded = base.map_quantities(lambda q: replace(q, rounding=rounding))
    (check,) = compare_quantities(rounded, "float32")
    before = np.zeros_like(rounding)
    before[:, slice(0, -1) if reverse else slice(1, None)] = (
        rounding[:, 1:] if reverse else rounding[:, :-1]
    )
    bound = rounding + before @ np.abs(base.weights["simple_rnn"]["Wh"])
    assert check.bound == pytest.approx(np.median(bound), rel=1e-2)
    start = {"simple_rnn": {"h": np.full((3, 5), 0.5)}}
    first = compare_quantities(replace(rounded, start_rounding=start), "float32")[0]
    assert first.left_out == 3 * 5  # of the first step, nothing is known


def test_given_states_are_no_states_of_the_port() -> None:
    def started(x: Any, h: Any) -> Any:
        return la.GRU(4, return_sequences=True, name="gru")(x, initial_state=h)

    base = base_of(model=randomized(functional(started, (6, 3), (4,))), N=3, what="gru.h")
    assert list(fully_reported(base)) == []
    assert not is_stepwise(base)


def test_states_of_two_lengths_are_no_single_steps() -> None:
    def joined(a: Any, b: Any) -> Any:
        return la.Concatenate()([la.SimpleRNN(5, name="one")(a), la.GRU(4, name="other")(b)])

    model = randomized(functional(joined, (9, 4), (6, 3)))
    base = base_of(model=model, N=3, what="one.h other.h")
    assert [one.name for one in fully_reported(base)] == ["one", "other"]
    assert not is_stepwise(base)


def test_states_of_batches_are_not_proven_stepwise() -> None:
    """Each batch starts where the one before it ended, as their bounds do."""
    base = base_of(**SIZES, what="simple_rnn.h")
    assert is_stepwise(base)
    base = base.with_layer(1, replace(base.network.nodes[1].layer, stateful=True))
    base = replace(base, network=replace(base.network, batch=1))
    assert not is_stepwise(base)
    (h,) = [q.expected(base.network, compute_outputs(base)) for q in base.quantities]
    base = base.map_quantities(lambda q: replace(q, values=h))
    (check,) = compare_quantities(base, "float32")
    assert (check.proven, check.passed) == (True, True)

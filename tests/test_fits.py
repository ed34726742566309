"""Numbers that a port has wrong, fitted to what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.compare import compute_outputs
from rnnshapes.port.fits.fit import scaled_term, scaled_text
from rnnshapes.port.fits.fitted_heads import output_fits
from rnnshapes.port.fits.fitted_numbers import FittedHypotheses, fitted
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where
from rnnshapes.port.location import Extent
from tests.helpers.handmade import LAYERS, Port, scaled, weights_of
from tests.helpers.models import randomized
from tests.helpers.tried import FUNCTIONS, hypothesis_of

Array = np.ndarray
Change = Callable[[Array], Array]
#: N, T, D, M and K all differ.
SIZES: dict[str, Any] = {"N": 3, "T": 8, "D": 4, "M": 5, "K": 2, "seed": 2}
WHOLE = Extent(differing=48)


@cache
def golden(cell: str) -> dict[str, Array]:
    return dict(rnnshapes.golden(**SIZES, cell=cell, keras=False).arrays)


def changed_port(
    cell: str,
    changes: dict[str, Change] | None = None,
    of_x: Change = lambda x: x,
    of_y: Change = lambda y: y,
    **options: Any,
) -> Hypothesis:
    """Return a port in float64 that gives y_hat, with changed weights, x or output."""
    weights = {k: a.astype("d") for k, a in weights_of(golden(cell), LAYERS[cell]).items()}
    for key, change in (changes or {}).items():
        weights[key] = change(weights[key])
    start, start_c = (
        np.broadcast_to(np.asarray(options.get(key, 0.0)), (3, 5)).astype("d") for key in "hc"
    )
    x = of_x(golden(cell)["x"].astype("d"))
    y_hat = Port(cell, "float64").run(weights, x, start=start, start_c=start_c)["y_hat"]
    return hypothesis_of({"y_hat": of_y(y_hat)}, **SIZES, cell=cell)


def lists_of(base: Hypothesis, extent: Extent = WHOLE) -> list[FittedHypotheses]:
    return list(fitted(base, extent, 0, 0)[0])


def right_fits(base: Hypothesis, extent: Extent = WHOLE) -> dict[Mistake, int]:
    """Return the mistakes of which nothing is left, and how many numbers each has at least."""
    return {
        one.mistakes[0]: some.numbers
        for some in reversed(lists_of(base, extent))
        for distance, one in some.nearest
        if distance < 1e-9
    }


def gate(number: int) -> Any:
    """Return the columns of a gate."""
    return np.s_[..., 5 * number : 5 * number + 5]


def by_feature(scales: list[float], shifts: list[float]) -> Change:
    return lambda x: x * scales + shifts


#: The cell, what is done, the id, layer, array, gate and unit, words, and how many numbers.
CASES: list[tuple[str, dict[str, Any], str, tuple[Any, ...], list[str], int]] = [
    *(
        (cell, {"changes": {name: scaled(at, factor)}}, id_, place, words, 1)
        for cell, name, at, factor, id_, place, words in (
            (
                "gru",
                "recurrent_kernel",
                np.s_[2],
                0.6,
                "weights.scaled",
                (None, 2),
                ["row 2", "0.6"],
            ),
            ("gru", "recurrent_kernel", np.s_[4], -1.5, "weights.scaled", (None, 4), ["-1.5"]),
            ("lstm", "recurrent_kernel", np.s_[3], 0, "weights.row_omitted", (None, 3), ["row 3"]),
            ("gru", "recurrent_kernel", gate(1), 0.5, "weights.scaled", ("r", None), ["0.5"]),
            ("lstm", "kernel", gate(2), 1.25, "weights.scaled", ("c", None), ["gate c", "1.25"]),
            ("lstm", "bias", gate(3), 0.5, "weights.scaled", ("o", None), ["gate o", "0.5"]),
            ("lstm", "bias", gate(0), 0, "bias.omitted", ("i", None), ["gate i"]),
            ("gru", "kernel", gate(0), 0, "weights.omitted", ("z", None), ["gate z"]),
            ("gru", "recurrent_kernel", np.s_[:], 0.75, "weights.scaled", (None, None), ["0.75"]),
            ("simple", "recurrent_kernel", np.s_[:], 0, "weights.omitted", (None, None), []),
            ("simple", "bias", np.s_[:], 0.5, "weights.scaled", (None, None), ["0.5"]),
            (
                "lstm",
                "kernel",
                np.s_[1, 13],
                -1,
                "weights.one_wrong",
                ("c", 3),
                ["[1, 13]", "sign"],
            ),
            ("gru", "bias", np.s_[1, 6], 3, "weights.one_wrong", ("r", 1), ["[1, 6]"]),
            ("simple", "kernel", np.s_[2, 4], 0, "weights.one_wrong", (None, 4), ["[2, 4] is 0,"]),
            ("simple", "W", np.s_[3, 1], 2, "weights.one_wrong", (None, 1), ["[3, 1]"]),
            ("simple", "b", np.s_[0], 3, "weights.one_wrong", (None, 0), ["[0]"]),
            ("simple", "W", np.s_[:], 0.75, "weights.scaled", (None, None), ["0.75"]),
            ("simple", "b", np.s_[:], 0.25, "weights.scaled", (None, None), ["0.25"]),
            ("simple", "b", np.s_[:], 0, "head.bias", (None, None), []),
        )
    ),
    *(
        ("simple", {"of_x": by_feature([factor] * 4, [0] * 4)}, "input.scaled", (), words, 1)
        for factor, words in (
            *((2.0, ["by 2"]), (100.0, ["by 100"]), (0.5, ["by 0.5"]), (-1.0, ["by -1"])),
            *((1 / 255, ["1/255"]), (0.0, ["by 0"]), (0.02, ["by 0.02"])),
        )
    ),
    ("lstm", {"of_x": lambda x: x - 0.75}, "input.shifted", (), ["-0.75"], 1),
    *(
        ("simple", {"of_x": scaled(np.s_[..., 2], factor)}, "input.scaled", (2,), words, 1)
        for factor, words in ((0.5, ["feature 2", "0.5"]), (0.0, ["feature 2", "is 0"]))
    ),
    *(
        ("simple", {"of_x": by_feature(scales, shifts)}, id_, (), words, 8)
        for scales, shifts, id_, words in (
            (
                [2, 1, 1, 0.5],
                [0, 0, 0, 0],
                "input.scaled",
                ["2 x at index 0, 0.5 x at index 3", "2 are right"],
            ),
            ([1, 1, 1, 1], [1, 2, 3, 0.5], "input.shifted", ["each", "x + 2 at index 1"]),
            ([2, 3, 0.5, 1.5], [0, 0, 0, 0], "input.scaled", ["each", "is scaled:", "3 x"]),
            ([2, 3, 0.5, 2], [-1, 1, 2, 3], "input.scaled", ["each", "2 x - 1", "3 x + 1"]),
        )
    ),
    *(
        ("simple", {"of_y": of_y}, "head.scaled", (), words, count)
        for of_y, words, count in (
            (lambda y: 1.75 * y, ["by 1.75"], 1),
            (lambda y: 100 * y, ["100 (percent)"], 1),
            (lambda y: y - 0.625, ["-0.625"], 1),
            (lambda y: 1.25 * y - 0.5, ["1.25 y - 0.5"], 2),
            (lambda y: y * [1.5, 0.25], ["1.5 y at index 0, 0.25 y at index 1"], 2),
            (lambda y: y * [1.5, 1], ["1.5 y at index 0"], 2),
            (lambda y: y * [1.5, 1] + [1, 2], ["1.5 y + 1 at index 0, y + 2 at index 1"], 4),
        )
    ),
    *(
        (cell, starts, "state.starts_nonzero", (), words, count)
        for cell, starts, words, count in (
            ("simple", {"h": 0.5}, ["h before", "0.5, not 0"], 1),
            ("lstm", {"h": 0.5}, ["h before", "0.5"], 1),
            ("lstm", {"c": -0.5}, ["c before", "-0.5"], 1),
            ("lstm", {"h": 0.25, "c": 0.25}, ["h and c before", "0.25"], 1),
            ("lstm", {"h": [0.1, 0.2, 0.3, 0.4, 0.5]}, ["h of lstm", "0.1, 0.2, 0.3, 0.4, …"], 5),
            ("lstm", {"c": [0.1, 0.2, 0.3, 0.4, 0.5]}, ["c of lstm", "0.1, 0.2, 0.3, 0.4, …"], 5),
            ("lstm", {"h": [0.1] * 5, "c": [0.2] * 5}, ["h and c of lstm"], 10),
        )
    ),
]


@pytest.mark.parametrize(("cell", "how", "id_", "place", "words", "count"), CASES)
def test_wrong_numbers_are_fitted(
    cell: str, how: dict[str, Any], id_: str, place: tuple[Any, ...], words: list[str], count: int
) -> None:
    right = right_fits(changed_port(cell, **how))
    found = {
        (m.where, n) for m, n in right.items() if m.id == id_ and all(w in m.text for w in words)
    }
    (name,) = how.get("changes", {"": 0})
    layer = "dense" if name in ("W", "b") or id_.startswith("head") else LAYERS[cell]
    array = {"W": "kernel", "b": "bias"}.get(name, name)
    where = Where(layer, None, array, *place) if name else Where(layer)
    if id_.startswith("input"):
        where = Where(array="x", unit=place[0] if place else None)
    elif id_.startswith("state"):
        where = Where()
    assert (where, count) in found, right
    assert not any("None" in mistake.text for mistake in right)


@pytest.mark.parametrize("size", [0.01, 0.1, 0.5])
def test_negative_weight_alone_has_the_other_sign(size: float) -> None:
    """One of about this size is another number."""
    base = changed_port("simple")
    kernel = base.weights["simple_rnn"]["Wx"].astype("d")
    kernel[1, 3] = size
    base = base.with_arrays("simple_rnn", {"Wx": kernel})
    for factor, has_sign in ((-1.0, True), (-1.0001, True), (-1.02, False), (-0.98, False)):
        wrong = base.with_arrays("simple_rnn", {"Wx": scaled(np.s_[1, 3], factor)(kernel)})
        ours = compute_outputs(wrong)
        (y_hat,) = (q.expected(wrong.network, ours) for q in base.quantities)
        port = base.map_quantities(lambda q, y=y_hat: replace(q, values=y))
        place = Where("simple_rnn", None, "kernel", None, 3)
        (text,) = [m.text for m in right_fits(port) if m.where == place and "[1, 3]" in m.text]
        assert ("sign" in text) == has_sign


@pytest.mark.parametrize(
    ("scale", "shift", "text"),
    [
        (1.0, 0.0, "x"),
        (2.0, 0.0, "2 x"),
        (-2.5, 0.25, "-2.5 x + 0.25"),
        (1.00001, -0.125, "x - 0.125"),
        (0.00001, 0.0, "0"),
        (0.0, -3.0, "-3"),
        (0.0, 0.00001, "0"),
        (3.0, 0.00001, "3 x"),
    ],
)
def test_scaled_number_is_one_term(scale: float, shift: float, text: str) -> None:
    assert scaled_term("x", scale, shift) == text
    scales, shifts = np.array([1, scale, 1.00001, 4]), np.array([0, shift, 0.00001, 0])
    wrong = [(text, "1")] * (text != "x") + [("4 x", "3")]
    parts = scaled_text("x", scales, shifts).split(", ")
    assert [(part.partition(" at ")[0], part.split()[-1]) for part in parts] == wrong
    many = scaled_text("x", np.full(9, 4.0), np.zeros(9))
    assert [many.count(number) for number in "0128"] == [1, 1, 1, 0]
    three = scaled_text("x", np.full(3, 4.0), np.zeros(3))
    assert many.startswith(three)
    assert [text.endswith("index 2") for text in (three, many)] == [True, False]


def tried(base: Hypothesis, extent: Extent) -> dict[int, int]:
    """Return how many fits are tried, by how many numbers they have."""
    return {some.numbers: some.tried for some in lists_of(base, extent)}


#: Fits of one number for all weights of each cell, but for those of x, of starts and of outputs.
FACTORS = {"simple": 2 + 2 + 10, "lstm": 4 + (2 + 4 + 10) + (2 + 4)}
WEIGHTS = {"simple": 4 * 5 + 5 * 5 + 5, "lstm": 4 * (4 * 5 + 5 * 5 + 5)}
OF_X, OF_OUTPUT, OF_DENSE, IN_DENSE = 5 + 4, 2, 2, 5 * 2 + 2


@pytest.mark.parametrize(
    ("cell", "extent", "weights", "more"),
    [
        ("simple", WHOLE, WEIGHTS["simple"] + IN_DENSE, {2: 2, 4: 1, 5: 1, 8: 1}),
        ("lstm", WHOLE, WEIGHTS["lstm"] + IN_DENSE, {2: 2, 4: 1, 5: 2, 8: 1, 10: 1}),
        # The one unit that differs has weights of its own, and all before them.
        ("simple", WHOLE._replace(unit=("y_hat", 1)), 50 + 5 + 1, {2: 2, 4: 1, 5: 1, 8: 1}),
        ("simple", WHOLE._replace(unit=("simple_rnn", 3)), 4 + 5 + 1, {2: 2, 4: 1, 5: 1, 8: 1}),
        ("lstm", WHOLE._replace(unit=("lstm", 3)), 40, {2: 2, 4: 1, 5: 2, 8: 1, 10: 1}),
        # Three numbers have to differ for each that is fitted.
        ("simple", WHOLE._replace(differing=5), 62, {}),
        ("simple", WHOLE._replace(differing=6), 62, {2: 2}),
        ("simple", WHOLE._replace(differing=23), 62, {2: 2, 4: 1, 5: 1}),
    ],
)
def test_each_number_is_tried(
    cell: str, extent: Extent, weights: int, more: dict[int, int]
) -> None:
    base = changed_port(cell, {"bias": lambda a: a + 0.5})
    starts = {"simple": 1, "lstm": 3}[cell]
    one = starts + OF_X + FACTORS[cell] + OF_DENSE + OF_OUTPUT + weights
    assert tried(base, extent) == {1: one, **more}
    assert fitted(base, extent, 0, 0)[1]


@pytest.mark.parametrize("given", ["nothing", "batch", "states"])
def test_given_states_are_not_fitted(given: str) -> None:
    """A stateful batch continues from the one before; other layers may compute the states."""
    x = keras.Input(batch_shape=(3 if given == "batch" else None, 8, 4))
    start = [la.Dense(5)(x[:, 0])] if given == "states" else None
    h = la.SimpleRNN(5, return_sequences=True)(x, initial_state=start)
    model = randomized(keras.Model(x, la.Dense(2)(h)))
    y_hat = rnnshapes.golden(model, N=3, keras=False).arrays["y_hat"]
    base = hypothesis_of({"y_hat": y_hat + np.arange(2)}, model=model, N=3)
    assert tried(base, WHOLE).get(5, 0) == (given == "nothing")  # of 5 units


def test_head_fit_tries_only_numbers_of_the_head() -> None:
    """Not every weight is among them."""
    extent = WHOLE._replace(in_head=True)
    base = changed_port("simple", {"b": lambda a: a + 0.5})
    assert tried(base, extent) == {1: OF_DENSE + OF_OUTPUT + IN_DENSE, 2: 2, 4: 1}
    assert not fitted(base, extent, 0, 0)[1]


def test_two_numbers_that_differ_tell_none() -> None:
    base = changed_port("simple", {"bias": lambda a: a + 0.5})
    found, every_weight = fitted(base, Extent(differing=2), 0, 0)
    assert (list(found), every_weight) == ([], False)


def test_weights_of_large_cells_are_not_tried() -> None:
    """Nor the rows of their kernels, which are many."""
    sizes = {**SIZES, "M": 40, "cell": "simple"}
    arrays = rnnshapes.golden(**sizes, keras=False).arrays
    base = hypothesis_of({"y_hat": 2 * arrays["y_hat"]}, **sizes)
    found, every_weight = fitted(base, WHOLE, 0, 0)
    assert not every_weight
    assert next(found).tried == 1 + OF_X + 4 + OF_DENSE + OF_OUTPUT


def test_outputs_that_ignore_x_tell_none() -> None:
    sizes = {**SIZES, "cell": "simple"}
    base = hypothesis_of({"y_hat": np.full((3, 2), 0.5)}, **sizes)
    found, every_weight = fitted(base, Extent(differing=6), 0, 0)
    assert (list(found), every_weight) == ([], False)


@pytest.mark.parametrize("steps", [0, 4])
def test_wrong_number_is_fitted_to_last_step(steps: int) -> None:
    """First from the last few steps of a long x, and then from all."""
    sizes = {**SIZES, "T": 40, "cell": "simple"}
    arrays = rnnshapes.golden(**sizes, keras=False).arrays
    weights = {k: a.astype("d") for k, a in weights_of(arrays, "simple_rnn").items()}
    weights["recurrent_kernel"][2, 4] += 0.5
    y_hat = Port("simple", "float64").run(weights, arrays["x"])["y_hat"]
    base = hypothesis_of({"y_hat": y_hat[:, -1]}, **sizes)
    (some,) = list(fitted(base, Extent(differing=6), 0, steps)[0])[:1]
    found = [(one.mistakes[0].where, d) for d, one in some.nearest if d < 1e-9]
    where = Where("simple_rnn", None, "recurrent_kernel", None, 4)
    assert where in dict(found)


def test_each_start_of_two_recurrences_is_tried() -> None:
    """Together, or of one of them: one number, or one for each unit."""
    sizes = {**SIZES, "M": [5, 3], "cell": "simple", "return_sequences": True}
    arrays = rnnshapes.golden(**sizes, keras=False).arrays
    base = hypothesis_of({"y_hat": arrays["y_hat"] + np.arange(2)}, **sizes)
    more = {some.numbers: some.tried for some in fitted(base, WHOLE, 0, 0)[0]}
    first, second = 4 * 5 + 5 * 5 + 5, 5 * 3 + 3 * 3 + 3
    factors = (2 + 2 + 2 * 5) + (2 + 2 + 2 * 3)
    one = 3 + OF_X + factors + OF_DENSE + OF_OUTPUT + first + second + 3 * 2 + 2
    assert more == {1: one, 2: 2, 3: 1, 4: 1, 5: 1, 8: 1}


def test_wrong_backward_weight_is_fitted_to_all_steps() -> None:
    """First to a few, with some more after them, which leave an error."""
    sizes = {**SIZES, "T": 40, "cell": "simple", "bidirectional": True, "return_sequences": True}
    arrays = rnnshapes.golden(**sizes, keras=False).arrays
    joined = []
    for number, way in enumerate(("forward", "backward")):
        w = weights_of(arrays, f"bidirectional/{way}_simple_rnn")
        w = {k: a.astype("d") for k, a in w.items() if k not in ("W", "b")}
        w["recurrent_kernel"][1, 3] += 0.5 * number
        port = Port("simple", "float64", reverse=number == 1, turned_back=number == 1)
        joined.append(port.run(w, arrays["x"])["h"])
    y_hat = np.concatenate(joined, -1) @ arrays["dense/kernel"] + arrays["dense/bias"]
    base = hypothesis_of({"y_hat": y_hat}, **sizes)
    extent = Extent(differing=y_hat.size)
    where = Where("bidirectional", "backward", "recurrent_kernel", None, 3)
    some = next(fitted(base, extent, 4, 0)[0])
    assert [m.mistakes[0].where for d, m in some.nearest if d < 1e-9] == [where]


# --- Outputs of a head ----------------------------------------------------------------------------


def head_of(
    activation: str, outputs: int, use_bias: bool = True, name: str = "y_hat"
) -> Hypothesis:
    """Return a port of a network with a Dense layer at its end, that gives h or y_hat."""
    layers = [
        la.SimpleRNN(5, return_sequences=True, name="rnn"),
        la.Dense(outputs, activation, use_bias=use_bias, name="head"),
    ]
    model = randomized(keras.Sequential([keras.Input((8, 4)), *layers]), seed=2)
    width = outputs if name == "y_hat" else 5
    return hypothesis_of({name: np.zeros((3, 8, width))}, model=model, N=3)


OF_Z: Any = None  # a factor of z, the input of the activation
SCALED: Any = lambda y, a: a[0] * y  # noqa: E731
SHIFTED: Any = lambda y, a: y + a[0]  # noqa: E731
AFFINE: Any = lambda y, a: a[0] * y + a[1]  # noqa: E731
EACH: Any = lambda y, a: a.reshape(y.shape[-1:]) * y  # noqa: E731
EACH_AFFINE: Any = lambda y, a: a[: y.shape[-1]] * y + a[y.shape[-1] :]  # noqa: E731
#: Activation, K and use_bias of a head, and what is tried of its output y.
HEADS: list[tuple[str, int, bool, list[Any]]] = [
    ("linear", 3, True, [SCALED, SHIFTED, AFFINE, EACH, EACH_AFFINE]),
    ("linear", 1, True, [SCALED, AFFINE]),
    ("linear", 3, False, [SHIFTED, AFFINE, EACH, EACH_AFFINE]),
    ("linear", 1, False, [SHIFTED, AFFINE]),
    ("sigmoid", 1, True, [OF_Z, SCALED, SHIFTED, AFFINE]),
    ("sigmoid", 3, False, [SCALED, SHIFTED, AFFINE, EACH, EACH_AFFINE]),
    ("softmax", 16, True, [OF_Z, SCALED, SHIFTED, AFFINE, EACH, EACH_AFFINE]),
    ("softmax", 17, True, [OF_Z, SCALED, SHIFTED, AFFINE]),
]


@pytest.mark.parametrize(("activation", "outputs", "use_bias", "expected"), HEADS)
def test_factors_and_shifts_of_a_head_are_tried(
    activation: str, outputs: int, use_bias: bool, expected: list[Any]
) -> None:
    """Not those that equal other weights, which are tried, too; each starts from the right y."""
    base = head_of(activation, outputs, use_bias)
    ours = compute_outputs(base)
    y = ours.outputs[0]
    h, arrays = ours.values["rnn"][0], base.weights["head"]
    z = h @ arrays["W"] + arrays.get("b", 0.0)
    fits = list(output_fits(base))
    assert len(fits) == len(expected)
    for fit, change in zip(fits, expected, strict=True):
        numbers = np.random.default_rng(3).uniform(0.5, 2, fit.start.shape)
        wanted = FUNCTIONS[activation](numbers * z) if change is OF_Z else change(y, numbers)
        for own, result in ((fit.start, y), (numbers, wanted)):
            found = compute_outputs(fit.apply(base, own)).outputs[0]
            np.testing.assert_allclose(found, result, rtol=1e-6, atol=1e-7)
        mistake = fit.mistake(numbers)
        assert (mistake.id, mistake.where.layer) == ("head.scaled", "head")
        assert f"{numbers[0]:.4g}"[:5] in mistake.text


def test_factor_before_softmax_is_a_temperature() -> None:
    for activation, is_softmax in (("softmax", True), ("sigmoid", False)):
        fit = next(iter(output_fits(head_of(activation, 3))))
        mistake = fit.mistake(np.array([0.4]))
        assert ("temperature" in mistake.text, "2.5" in mistake.text) == (is_softmax, is_softmax)
        assert mistake.own_fix
        outputs = compute_outputs(fit.apply(head_of(activation, 3), np.array([1e-5]))).outputs[0]
        assert np.isnan(outputs).all()  # no factor is 0


def test_states_and_other_outputs_have_no_factors() -> None:
    assert list(output_fits(head_of("linear", 3, name="rnn.h"))) == []
    model = randomized(keras.Sequential([keras.Input((8, 4)), la.GRU(5, return_sequences=True)]))
    assert list(output_fits(hypothesis_of({"output": np.zeros((3, 8, 5))}, model=model, N=3))) == []

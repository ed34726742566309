"""``trace --follow``: each step has the numbers of the trace, and equations of its own."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers as la
from rich.cells import cell_len

import rnnshapes
from rnnshapes import progress
from rnnshapes.errors import InputError
from rnnshapes.forward.recurrence_steps import (
    RecurrenceSteps,
    steps_of_sample,
    with_needed_samples,
)
from rnnshapes.render import step
from rnnshapes.render.document import Sheet, StyledLines
from rnnshapes.session import open_session
from tests.helpers.commands import mentioning
from tests.helpers.golden import CELLS, SIZES, WAYS
from tests.helpers.models import Doubled, functional, model_of, randomized, sequential, stateful

#: What a port's arrays call what the equations write otherwise.
GATES = {"z": "gate_z", "r": "gate_r", "h~": "gate_h"} | {
    key: f"gate_{key[0]}" for key in ("i", "f", "c~", "o")
}


def followed(model: Any = None, *, x: Any = None, sample: int = 0, **spec: Any) -> Any:
    """Return each recurrence of one sample."""
    with open_session(model, x=x, seed=3, **spec) as session:
        return steps_of_sample(session.network, session.weights(), session.sources, sample)


def timeless(text: str) -> str:
    """Return ``h Wh``, the name in a golden file, for ``h→_{-1} Wh→``."""
    return re.sub(r"_\d+|_\{-1\}|[→←]", "", text)


def lines(picture: StyledLines) -> list[str]:
    """Return the text of a picture, line by line."""
    return ["".join(span.text for span in line) for line in picture]


def drawn(
    recurrence: RecurrenceSteps, t: int, width: int = 80, encoding: str = "utf-8"
) -> list[str]:
    """Return one step as lines of text."""
    sheet, view = Sheet(width, encoding), recurrence.step(t)
    head = step.header(view, recurrence, 0, "layer 1 of 2", sheet)
    return lines([*head, *step.body(view, recurrence, sheet)])


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("options", CELLS, ids=lambda o: " ".join(map(str, o.values())))
def test_operations_equal_the_golden_arrays(options: Any, way: Any) -> None:
    """Every array of a recurrence in a golden file occurs in its steps."""
    golden = rnnshapes.golden(**SIZES, **options, **way, seed=3).arrays
    recurrences = followed(**SIZES, **options, **way, sample=1)
    assert len(recurrences) == 1 + ("bidirectional" in way)
    for recurrence in recurrences:
        expected = {name for name in golden if name.startswith(f"{recurrence.name}.")}
        for t in range(SIZES["T"]):
            view, seen = recurrence.step(t), set()
            for equation in view.equations:
                for result in (
                    value for operation in equation.operations for value in operation.results
                ):
                    text = timeless(result.name)
                    name = f"{recurrence.name}.{GATES.get(text, text)}"
                    if name in golden:
                        seen.add(name)
                        np.testing.assert_allclose(
                            result.values, golden[name][1, t], rtol=1e-11, atol=1e-14
                        )
            assert seen == expected
            assert view.prediction is not None
            y_hat = view.prediction.equations[-1].values[0]
            np.testing.assert_allclose(y_hat.values, golden["y_hat"][1, t], rtol=1e-11)
            np.testing.assert_allclose(view.prediction.y_hat.values, y_hat.values, rtol=1e-11)


EQUATIONS = [
    ({}, 0, 3, ["h_3 = tanh(x_3 Wx + bh + h_2 Wh)"]),
    ({}, 0, 0, ["h_0 = tanh(x_0 Wx + bh + h_{-1} Wh)"]),
    ({"go_backwards": True}, 0, 3, ["h_3 = tanh(x_3 Wx + bh + h_4 Wh)"]),
    ({"go_backwards": True}, 0, 5, ["h_5 = tanh(x_5 Wx + bh + h_6 Wh)"]),
    ({"M": [4, 5]}, 1, 2, ["h2_2 = tanh(h1_2 Wx2 + bh2 + h2_1 Wh2)"]),
    (
        {"cell": "lstm", "activation": "linear"},
        *(0, 4),
        [
            "z_i z_f z_c z_o = x_4 Wx + h_3 Wh + bh",
            *("i_4 = sigmoid(z_i)", "f_4 = sigmoid(z_f)", "c~_4 = z_c"),
            *("c_4 = f_4 × c_3 + i_4 × c~_4", "o_4 = sigmoid(z_o)", "h_4 = o_4 × c_4"),
        ],
    ),
    (
        {"cell": "gru", "bidirectional": True},
        *(1, 4),
        [
            *("x_z x_r x_h = x_4 Wx← + bx←", "h_z h_r h_h = h←_5 Wh← + bh←"),
            *("z←_4 = sigmoid(x_z + h_z)", "r←_4 = sigmoid(x_r + h_r)"),
            "h~←_4 = tanh(x_h + r←_4 × h_h)",
            "h←_4 = z←_4 × h←_5 + (1 - z←_4) × h~←_4",
        ],
    ),
]


@pytest.mark.parametrize(("options", "which", "t", "expected"), EQUATIONS)
def test_equations_carry_the_steps_number(options: Any, which: int, t: int, expected: Any) -> None:
    recurrence = followed(**(SIZES | options))[which]
    assert [equation.text for equation in recurrence.step(t).equations] == expected
    general = recurrence.step(t).equations[-1].general
    assert general == expected[-1].replace(f"_{t}", "_t").replace(
        f"_{'{-1}' if t == 0 else t + (1 if recurrence.reverse else -1)}",
        "_{t+1}" if recurrence.reverse else "_{t-1}",
    )


def test_block_size_changes_no_step(monkeypatch) -> None:
    (once,) = followed(T=50, D=3, M=5, K=2, cell="lstm")
    monkeypatch.setattr("rnnshapes.forward.scan.BLOCK_BYTES", 1)
    (again,) = followed(T=50, D=3, M=5, K=2, cell="lstm")
    for t in (0, 1, 49):
        assert drawn(once, t) == drawn(again, t)


def test_shapes_are_shown_as_symbols_and_numbers() -> None:
    operation = followed(**SIZES)[0].step(1).equations[0].operations[0]
    assert operation.label == "x_1 Wx"
    assert (operation.operands, operation.dims) == ((("N", "D"), ("D", "M")), ("N", "M"))
    assert (operation.operand_shapes, operation.shape) == (((2, 4), (4, 5)), (2, 5))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_each_step_starts_from_the_step_before(way: Any) -> None:
    """The first starts from zeros."""
    for recurrence in followed(**SIZES, cell="lstm", **way):
        order = range(recurrence.count)[:: -1 if recurrence.reverse else 1]
        assert [recurrence.step(t).number for t in order] == [1, 2, 3, 4, 5, 6]
        before = None
        for t in order:
            x, *states = recurrence.step(t).inputs
            np.testing.assert_array_equal(x.values, recurrence.x[t])
            for place, state in enumerate(states):
                expected = np.zeros(5) if before is None else before.states[place].values
                np.testing.assert_array_equal(state.values, expected)
                assert before is None or before.states[place].name == state.name
            before = recurrence.step(t)


#: Models with each kind of recurrence, and with each kind of what is around it.
STEPPED = (
    *("masked", "masked zeros", "masked, backwards", "masked, both", "embedded, masked", "cells"),
    *("stacked cells, both, masked", "at each step", "normalized", "convolved, same", "branches"),
    *("other directions", "unmerged", "merged masks", "encoder, decoder, both", "given states"),
    *("called again", "attending decoder", "two ranks", "nested", "deep", "sliced", "calculated"),
    *("models at each step", "recurrent images", "partly masked", "states alone", "float64"),
)


@pytest.mark.parametrize("name", STEPPED)
def test_steps_of_each_kind_equal_the_trace(name: str) -> None:
    """States and y_hat agree, and every line fits, in ASCII too."""
    model = model_of(name)
    traced = rnnshapes.trace(model, N=3, seed=3, keras=False, show="all")
    layers = {layer.name: layer for layer in traced.layers}
    for recurrence in followed(model, N=3, sample=2):
        layer = layers[recurrence.name]
        for t in range(recurrence.count):
            view = recurrence.step(t)
            assert view.masked == (layer.mask is not None and not layer.mask[2, t])
            named = {q.name: q.values for equation in view.equations for q in equation.values}
            for (key, values), state in zip(layer.states.items(), view.states, strict=True):
                assert state.name.startswith(f"{key}{layer.index}_")
                np.testing.assert_allclose(state.values, values[2, t], rtol=1e-11, atol=1e-14)
                if not view.masked:
                    np.testing.assert_allclose(named[state.name], state.values, atol=1e-13)
            if view.prediction is not None:
                assert traced.y_hat is not None
                at = int(re.sub(r".*_", "", view.prediction.y_hat.name))
                expected = traced.y_hat[2, at].reshape(-1)
                made = [equation.values[0].values for equation in view.prediction.equations[-1:]]
                for values in (view.prediction.y_hat.values, *made):
                    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-13)
        for width, encoding in ((20, "utf-8"), (40, "ascii"), (80, "utf-8"), (160, "ascii")):
            for line in drawn(recurrence, recurrence.count - 1, width, encoding):
                assert cell_len(line) <= width
                assert encoding == "utf-8" or line.isascii()


def test_head_of_operations_is_computed_at_each_step() -> None:
    def head(x: Any) -> Any:
        h, ops = la.LSTM(4, return_sequences=True)(x), keras.ops
        g = ops.sqrt(ops.square(h) + 0.1) * ops.max(h, axis=-1, keepdims=True)
        g = ops.where(h > 0.1, ops.maximum(g, 0.05), ops.minimum(h, g - 0.2))
        g = la.RMSNormalization()(g) - ops.mean(g, axis=-1, keepdims=True)
        return la.Dense(2)(la.UnitNormalization()(g))

    model = randomized(functional(head, (6, 3)))
    y_hat = rnnshapes.trace(model, N=2, seed=3, keras=False).y_hat
    (recurrence,) = followed(model, N=2, sample=1)
    for t in range(6):
        prediction = recurrence.step(t).prediction
        assert prediction is not None
        computed = prediction.equations[-1].values[0].values
        np.testing.assert_allclose(computed, y_hat[1, t], rtol=1e-10, atol=1e-13)


def test_reversed_sequence_shows_y_hat_at_its_end() -> None:
    """y_hat_2 of 9 steps is made of h_6."""
    layer = la.GRU(5, go_backwards=True, return_sequences=True)
    model = randomized(sequential(layer, la.Dense(2), shape=(9, 3)))
    (recurrence,) = followed(model)
    y_hat = rnnshapes.trace(model, seed=3, keras=False).y_hat
    prediction = recurrence.step(6).prediction
    assert prediction is not None
    assert y_hat is not None
    assert [equation.text for equation in prediction.equations] == ["y_hat_2 = h_6 W0 + b0"]
    assert prediction.equations[0].general == "y_hat_t = h_{T-1-t} W0 + b0"
    np.testing.assert_allclose(prediction.equations[0].values[0].values, y_hat[0, 2], rtol=1e-11)
    np.testing.assert_array_equal(prediction.y_hat.values, y_hat[0, 2])


ANSWERED = (
    *("masked, backwards", "unmerged", "other features"),
    *("repeated", "at each step", "masked, both"),
)
SILENT = ("two ranks", "flattened", "states alone", "shared by lengths")


@pytest.mark.parametrize("name", [*ANSWERED, *SILENT])
def test_y_hat_is_shown_where_it_has_steps(name: str) -> None:
    """A head that joins steps has no y_hat at a single step."""
    last = followed(model_of(name), N=2)[-1]
    assert (last.step(1).prediction is not None) == (name in ANSWERED)


def test_only_causal_networks_return_the_last_y_hat() -> None:
    (one,) = followed(**SIZES)
    assert [one.step(t).prediction.is_output for t in range(6)] == [False] * 5 + [True]
    remarks = [drawn(one, t)[-1] for t in (4, 5)]
    assert all(f"y_hat_{t}" in remark for t, remark in zip((4, 5), remarks, strict=True))
    assert remarks[0].replace("4", "5") != remarks[1]
    for recurrence in followed(**SIZES, bidirectional=True):
        assert not recurrence.step(5).prediction.is_output


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("zero", [False, True])
def test_masked_step_repeats_the_states(reverse: bool, zero: bool) -> None:
    layer = la.GRU(
        5, go_backwards=reverse, return_sequences=True, zero_output_for_mask=zero, name="gru"
    )
    model = randomized(sequential(la.Masking(0.0), layer, la.Dense(2)))
    x = np.random.default_rng(2).standard_normal((1, 6, 3)).astype("float32")
    x[0, 4] = 0
    (recurrence,) = followed(model, x=x)
    view, before = recurrence.step(4), 5 if reverse else 3
    assert view.masked
    assert view.equations == ()
    np.testing.assert_array_equal(view.states[0].values, recurrence.step(before).states[0].values)
    text = "\n".join(drawn(recurrence, 4))
    assert "t = 4" in text
    assert f"h_4 = h_{before} " in text
    assert bool(re.search(r"\b0\b(?!\.)", text.split("t = 4")[-1].split("h_4")[0])) == zero
    assert "sigmoid(" not in text
    assert "sigmoid(" in "\n".join(drawn(recurrence, 3))
    assert "·" in drawn(recurrence, 3)[1]  # the bar shows the step that is skipped


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_progress_counts_steps_of_the_shown_sample(way: Any) -> None:
    told: list[tuple[int, int]] = []
    with open_session(**SIZES, **way) as session:
        given = (session.network, session.weights(), session.sources)
        with progress.listening(lambda *at: told.append(at)), progress.work(10**9):
            steps_of_sample(*given, 1)
        alone = with_needed_samples(session.network, keras=False)
    assert told[-2][0] == alone.scan_steps == SIZES["T"] * (1 + ("bidirectional" in way))


def test_stateful_model_continues_between_batches() -> None:
    """The third sample starts from the end of the first."""
    model = randomized(stateful(la.LSTM(4, stateful=True)))
    first, third = (followed(model, N=4, sample=sample)[0] for sample in (0, 2))
    for key, values in first.states.items():
        assert third.initial[key].any()
        np.testing.assert_array_equal(third.initial[key], values[-1])


def test_unsupported_layer_takes_x_from_keras() -> None:
    model = randomized(sequential(Doubled(), la.LSTM(5), la.Dense(2)))
    with open_session(model, N=3, seed=3) as session:
        (unknown,) = session.network.unsupported
        assert unknown.layer.type.endswith("Doubled")
        weights = session.weights()
        given = (session.network, weights, session.sources, 2, None, session.keras_outputs(weights))
        (recurrence,) = steps_of_sample(*given)
    y_hat = rnnshapes.trace(model, N=3, seed=3).y_hat
    for t in range(recurrence.count):
        prediction = recurrence.step(t).prediction
        assert prediction is not None
        np.testing.assert_allclose(
            prediction.equations[-1].values[0].values, y_hat[2, t], rtol=1e-11
        )


def test_layer_is_chosen_by_name() -> None:
    with open_session(**SIZES, bidirectional=True) as session:
        given = (session.network, session.weights(), session.sources)
        names = [r.name for r in steps_of_sample(*given, 0, "bidirectional")]
        assert names == ["bidirectional/forward_simple_rnn", "bidirectional/backward_simple_rnn"]
        assert [r.name for r in steps_of_sample(*given, 0, names[1])] == names[1:]
        with pytest.raises(InputError, match=mentioning("dense", "bidirectional")):
            steps_of_sample(*given, 0, "dense")


def test_long_follow_needs_memory_of_states_only() -> None:
    """One operation of all steps would need 1 MB more each."""
    tracemalloc.start()
    try:
        (recurrence,) = followed(T=6000, D=3, M=6, K=2, cell="lstm")
        recurrence.step(5999)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = 6000 * (3 + 3 * 6 + 2) * 8  # x, h, the output, c, y_hat
    assert peak < 3 * kept


def test_symbols_are_shown_where_there_is_room() -> None:
    (recurrence,) = followed(T=6, D=3, M=5, K=2)
    wide, usual, narrow = (drawn(recurrence, 3, width) for width in (160, 80, 40))
    row = next(line for line in wide if line.startswith("  x_3 Wx"))
    assert "(N, D)·(D, M) → (N, M)" in row
    assert "(1, 3)·(3, 5) → (1, 5)" in row
    row = next(line for line in usual if line.startswith("  x_3 Wx"))
    assert "(N, D)" not in row
    numbers = [float(text) for text in row.split("(1, 5)")[1].split()]
    operation = recurrence.step(3).equations[0].operations[0]
    np.testing.assert_allclose(numbers, operation.results[0].values, atol=6e-4)
    at = narrow.index("  x_3 Wx  (1, 3)·(3, 5) → (1, 5)")
    assert [float(text) for text in narrow[at + 1].split()] == numbers
    assert "h_3 = tanh(x_3 Wx + bh + h_2 Wh)" in narrow


@pytest.mark.parametrize("width", [30, 80, 130])
def test_long_lists_are_cut_and_counted(width: int) -> None:
    (recurrence,) = followed(T=4, D=3, M=64, K=2, cell="gru")
    text = "\n".join(drawn(recurrence, 2, width))
    assert len(re.findall(r" \S+ … 64$", text, re.MULTILINE)) == 18
    assert len(re.findall(r" \S+ … 192$", text, re.MULTILINE)) == 4


@pytest.mark.parametrize(
    "name", ["[bold]rnn[/bold]", "名前の長い層", "x" * 200, "rnn\nin two lines"]
)
@pytest.mark.parametrize("width", [12, 40, 80])
def test_names_from_files_are_plain_text(name: str, width: int) -> None:
    """Wide characters take two columns, and a line stays one line."""
    with open_session(T=4, D=3, M=5, K=2) as session:
        (recurrence,) = steps_of_sample(session.network, session.weights(), session.sources)
    object.__setattr__(recurrence, "name", name)
    shown = drawn(recurrence, 1, width)
    assert all(cell_len(line) <= width and "\n" not in line for line in shown)
    assert shown[0].startswith(name[:3])


def test_bar_fills_in_order_of_the_steps() -> None:
    ahead, back = followed(T=7, D=3, M=5, K=2, bidirectional=True)
    bars = [drawn(recurrence, t)[1] for recurrence in (ahead, back) for t in (0, 3, 6)]
    marks = [re.sub(r"(.)\1+", r"\1", re.search(r"[━●─]+", bar)[0]) for bar in bars]
    assert marks == ["●─", "━●─", "━●", "●━", "─●━", "─●"]
    assert "step 1 of 7" in bars[5]
    assert "step 7 of 7" in bars[3]


def test_nan_and_inf_are_shown() -> None:
    x = np.full((1, 4, 3), np.nan, dtype="float32")
    x[0, 0] = np.inf
    (recurrence,) = followed(x=x, M=5, K=2)
    assert " inf" in drawn(recurrence, 0)[2]
    assert " nan" in "\n".join(drawn(recurrence, 1))


@given(st.floats(), st.integers(3, 6))
def test_numbers_fit_their_column_and_round_correctly(value: float, digits: int) -> None:
    text = step.compact_number(value, digits)
    assert len(text) <= digits + 3
    if np.isfinite(value) and abs(value) < 9 * 10.0**digits:
        assert abs(float(text) - value) <= max(0.5 * 10**-digits, abs(value) * 0.06) * (1 + 1e-9)
    elif abs(value) < 1e308:
        assert float(text) == pytest.approx(value, rel=0.5)


def test_summary_line_has_full_precision() -> None:
    (recurrence,) = followed(T=6, D=3, M=5, K=2)
    summary = step.summary(recurrence.step(3), recurrence, 0)
    front, numbers = summary.split(" = ", 2)[0], summary.split(" = ")[-1]
    assert front == "simple_rnn, sample 0, t"
    y_hat = rnnshapes.trace(T=6, D=3, M=5, K=2, seed=3, keras=False).y_hat
    np.testing.assert_allclose([float(n) for n in numbers.split()], y_hat[0, 3], rtol=1e-7)

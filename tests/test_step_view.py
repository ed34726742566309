"""``trace --follow``: each step has the numbers of the trace, and equations of its own."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path
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
from rnnshapes.forward.step_view import name_at_step
from rnnshapes.render import step
from rnnshapes.render.document import Sheet, StyledLines
from rnnshapes.session import open_session
from tests.helpers.commands import mentioning
from tests.helpers.files import saved
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


def time_line(line: str) -> str:
    """Return the marks between ``t = 3`` and ``step 4 of 10``; nothing where only words fit."""
    return re.fullmatch(r"t = \d+ +(?:(\S+) +)?step \d.*", line)[1] or ""


@cache
def marks(encoding: str = "utf-8") -> tuple[str, str, str]:
    """Return the marks of steps before, of the step that is shown, and of steps after it."""
    (one,) = followed(**SIZES)
    first, last = (time_line(drawn(one, t, encoding=encoding)[1]) for t in (0, SIZES["T"] - 1))
    assert len(first) == len(last) > 9
    return last[0], first[0], first[-1]


def time_line_of(t: int, count: int, length: int, *, reverse: bool) -> str:
    """Return a time line of this length, on which step t stands in proportion."""
    before, shown, after = marks()
    place = round(t * (length - 1) / (count - 1))
    ends = (after, before) if reverse else (before, after)
    return ends[0] * place + shown + ends[1] * (length - place - 1)


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


#: Rows of a head of operations at t = 2: each has its operands where there are several.
OPERATION_ROWS = [
    *("m2_2 = square(h_2) (N, M) (2, 4)", "p1_2 = max(h_2) (N, M) → (N, 1) (2, 4) → (2, 1)"),
    "m5_2 = m4_2 × p1_2 (N, M) × (N, 1) → (N, M) (2, 4) × (2, 1) → (2, 4)",
    "m8_2 = min(h_2, m7_2)",
    "m8_2 (N, M), (N, M) → (N, M) (2, 4), (2, 4) → (2, 4)",
    "m9_2 (N, M), (N, M), (N, M) → (N, M) (2, 4), (2, 4), (2, 4) → (2, 4)",
    "n1_2 = (m9_2 × rsqrt(ms_t + 1e-06)) × scale",
    "ms_t + 1e-06 (N, 1) (2, 1)",
    "n1_2 = … × scale (N, M) × (M,) → (N, M) (2, 4) × (4,) → (2, 4)",
]


def test_head_of_operations_is_computed_at_each_step() -> None:
    def head(x: Any) -> Any:
        h, ops = la.LSTM(4, return_sequences=True)(x), keras.ops
        g = ops.sqrt(ops.square(h) + 0.1) * ops.max(h, axis=-1, keepdims=True)
        g = ops.where(h > 0.1, ops.maximum(g, 0.05), ops.minimum(h, g - 0.2))
        g = la.RMSNormalization()(g) - ops.mean(g, axis=-1, keepdims=True)
        return la.Dense(2)(la.Concatenate()([la.UnitNormalization()(g), x]))

    model = randomized(functional(head, (6, 3)))
    y_hat = rnnshapes.trace(model, N=2, seed=3, keras=False).y_hat
    (recurrence,) = followed(model, N=2, sample=1)
    for t in range(6):
        prediction = recurrence.step(t).prediction
        assert prediction is not None
        computed = prediction.equations[-1].values[0].values
        np.testing.assert_allclose(computed, y_hat[1, t], rtol=1e-10, atol=1e-13)
    rows = [re.sub(r"  +-?\d+\.\d.*", "", line) for line in drawn(recurrence, 2, 150)]
    rows = [" ".join(row.split()) for row in rows]
    assert [row for row in rows if row in OPERATION_ROWS] == OPERATION_ROWS


def test_first_output_may_be_a_recurrence() -> None:
    """Of a model with several outputs."""

    def graph(x: Any) -> Any:
        h = la.GRU(4, return_sequences=True)(x)
        return h, la.Dense(2)(h)

    model = randomized(functional(graph, (6, 3)))
    h = rnnshapes.trace(model, N=2, seed=3, keras=False).y_hat
    (recurrence,) = followed(model, N=2, sample=1)
    for t in range(6):
        y_hat = recurrence.step(t).prediction.y_hat
        assert (y_hat.name, y_hat.dims, y_hat.shape) == (f"h_{t}", ("N", "M"), (2, 4))
        np.testing.assert_allclose(y_hat.values, h[1, t], rtol=1e-12)


@pytest.mark.parametrize(
    "head",
    [la.Conv1D(2, 3, padding="same"), la.Flatten(), la.GlobalMaxPooling1D()],
    ids=lambda head: type(head).__name__,
)
def test_heads_that_mix_steps_show_no_prediction(head: Any) -> None:
    model = randomized(sequential(la.GRU(4, return_sequences=True), head, shape=(6, 3)))
    (recurrence,) = followed(model)
    assert [recurrence.step(t).prediction for t in range(6)] == [None] * 6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("h_t", "h_3"), ("h→2_t", "h→2_3"), ("y_hat_t", "y_hat_3"), ("h_{T-1-t}", "h_6")),
        *(("ctx", "ctx"), ("h_{T-1}", "h_{T-1}"), ("x_tt", "x_tt")),
    ],
)
def test_names_with_a_step_get_its_number(name: str, expected: str) -> None:
    assert name_at_step(name, 3, 10) == expected


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
        assert drawn(recurrence, 5)[-1].startswith("  y_hat_5 = … + b0 ")


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


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("reverse", [False, True])
def test_time_line_marks_masked_steps(reverse: bool, encoding: str) -> None:
    """Each mark stands for the step that is nearest."""
    layer = la.SimpleRNN(5, go_backwards=reverse, return_sequences=True)
    model = randomized(sequential(la.Masking(0.0), layer, la.Dense(2)))
    x = np.random.default_rng(2).standard_normal((1, 6, 3)).astype("float32")
    x[0, [0, 3, 4]] = 0
    (recurrence,) = followed(model, x=x)
    before, shown, after = marks(encoding)
    of_masked = set()
    for t in range(6):
        bar = time_line(drawn(recurrence, t, encoding=encoding)[1])
        (at,) = (place for place, mark in enumerate(bar) if mark == shown)
        for place, mark in enumerate(bar):
            step_here = np.argmin([abs(each * (len(bar) - 1) / 5 - place) for each in range(6)])
            if place == at:
                assert step_here == t
            elif step_here in (0, 3, 4):
                of_masked.add(mark)
            else:
                assert mark == (before if (place < at) != reverse else after)
    assert len({before, shown, after, *of_masked}) == 3 + len(of_masked) == 4


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
    """Two samples start from the ends of the two before."""
    model = randomized(stateful(la.LSTM(4, stateful=True)))
    steps = [followed(model, N=4, sample=sample)[0] for sample in range(4)]
    for before, after in zip(steps[:2], steps[2:], strict=True):
        for key, values in before.states.items():
            assert after.initial[key].any()
            np.testing.assert_array_equal(after.initial[key], values[-1])
        assert before.count == after.count == len(before.states["h"])


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


@pytest.mark.parametrize("keras", [False, True])
def test_session_shows_steps_of_its_trace(keras: bool) -> None:
    """With Keras it computes all samples, without Keras one alone."""
    told: list[tuple[int, int]] = []
    with open_session(**SIZES, cell="gru", bidirectional=True, seed=3) as session:
        trace = session.trace(show="h", keras=False)
        backward = trace.layers[1].name
        for layer, traces in ((None, trace.layers), (backward, trace.layers[1:])):
            with progress.listening(lambda *at: told.append(at)):
                found = session.steps(1, layer, keras=keras)
            assert [each.name for each in found] == [each.name for each in traces]
            for each, expected in zip(found, traces, strict=True):
                np.testing.assert_allclose(each.states["h"], expected.states["h"][1], rtol=1e-12)
        with pytest.raises(InputError):
            session.steps(1, "dense", keras=keras)
    passes = 3 * SIZES["N"] if keras else 1
    assert told[-1] == (passes * 2 * SIZES["T"],) * 2


def test_file_without_weights_has_no_steps(tmp_path: Path) -> None:
    path = saved(keras.Sequential([la.LSTM(4)]), tmp_path / "model.keras")
    messages = set()
    with open_session(path, D=3, T=5) as session:
        for compute in (session.steps, lambda: session.trace(keras=False)):
            with pytest.raises(InputError) as error:
                compute()
            messages.add(str(error.value))
    assert len(messages) == 1


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


#: A network, one of its recurrences, a step of six, and to which step and layer states go.
PASSED: list[tuple[dict[str, Any], int, int, list[str]]] = [
    ({"M": [4, 5]}, 0, 0, ["h1_0", "t = 1, simple_rnn_1"]),
    ({"M": [4, 5]}, 0, 5, ["h1_5", "simple_rnn_1"]),
    ({"M": [4, 5]}, 1, 3, ["h2_3", "t = 4"]),
    ({"M": [4, 5]}, 1, 5, []),
    ({"bidirectional": True}, 0, 5, []),
    ({"bidirectional": True}, 1, 0, []),
    ({"bidirectional": True}, 1, 5, ["h←_5", "t = 4"]),
    ({"cell": "lstm", "return_sequences": True}, 0, 3, ["h_3, c_3", "t = 4"]),
]


@pytest.mark.parametrize(("spec", "which", "t", "passed"), PASSED)
def test_states_say_where_they_go(spec: Any, which: int, t: int, passed: list[str]) -> None:
    """The last step is called so; a prediction shows what its layers make of h."""
    recurrence = followed(**SIZES | spec)[which]
    shown = lines(step.body(recurrence.step(t), recurrence, Sheet(160)))
    rows = [line for line in shown if " passed on " in line]
    assert [re.split(" → passed on to ", line) for line in rows] == ([passed] if passed else [])
    is_last = t == (0 if recurrence.reverse else 5)
    assert any(line.startswith(f"t = {t} ") for line in shown) == is_last
    owned = [line for line in shown if line.startswith(f"y_hat_{t}") and " own " in line]
    is_output = "return_sequences" in spec or (t == 5 and which == 1 and "M" in spec)
    assert bool(owned) == is_output


#: A model, one of its recurrences, and where its states go at step 2 and at the last one.
TAKEN = [
    ("encoder, decoder", 0, ["h1_2, c1_2: t = 3", "h1_8, c1_8: lstm_1"]),
    ("encoder, decoder", 1, ["h2_2, c2_2: t = 3"]),
    ("encoder, decoder, both", 1, ["h1←_2, c1←_2: t = 1", "h1←_0, c1←_0: bidirectional_1"]),
    ("given states", 1, ["h2_2: t = 3, gru_1", "h2_5: gru_1"]),
    ("states alone", 0, ["h_2, c_2: t = 3", "h_5, c_5: concatenate"]),
]


@pytest.mark.parametrize(("name", "which", "rows"), TAKEN)
def test_final_states_go_on_at_the_end(name: str, which: int, rows: list[str]) -> None:
    """To layers that take them, also to start from them; sequences go on at each step."""
    recurrence, shown = followed(model_of(name), N=2)[which], []
    for t in (2, 0 if recurrence.reverse else recurrence.count - 1):
        shown += lines(step.body(recurrence.step(t), recurrence, Sheet(160)))
    passed = [line.replace(" → passed on to ", ": ") for line in shown if " passed on " in line]
    assert passed == rows


def test_directions_name_layers_that_take_them() -> None:
    """One layer takes the sequence of one direction, another starts from the other's state."""
    x = keras.Input((6, 3))
    options = {"return_sequences": True, "return_state": True}
    layer = la.Bidirectional(la.GRU(4, **options), merge_mode=None)
    ahead, _, _, back = layer(x)
    taken = la.GRU(5, name="taken")(ahead)
    started = la.GRU(4, name="started")(x, initial_state=back)
    model = keras.Model(x, la.Concatenate()([taken, started]))
    users = [
        [recurrence.users(at_end=at_end) for at_end in (False, True)]
        for recurrence in followed(randomized(model), N=2)[:2]
    ]
    assert users == [[("taken",), ("taken",)], [(), ("started",)]]


@pytest.mark.parametrize("reverse", [False, True])
def test_time_line_is_as_long_as_the_sheet(reverse: bool) -> None:
    """The step that is shown stands in proportion; on a narrow sheet there are words alone."""
    (recurrence,) = followed(**{**SIZES, "T": 1234, "M": 2}, go_backwards=reverse)
    with_line = []
    for width in (*range(20, 70), 100):
        for t in (0, 300, 617, 1233):
            _, line = lines(step.header(recurrence.step(t), recurrence, 0, "", Sheet(width)))
            assert len(line) <= width
            assert line.startswith(f"t = {t} ")
            bar = time_line(line) if line.count("step") else ""
            number = 1234 - t if reverse else t + 1
            if not bar:
                assert f"t = {t}  step {number:,} of 1,234"[: width - 3] in line
                continue
            with_line.append(width)
            assert len(line) == width
            assert f"step {number:,} of 1,234" in line
            assert ("reverse" in line) == (reverse and width >= 60)
            assert bar == time_line_of(t, 1234, len(bar), reverse=reverse)
    assert min(with_line) < 40
    assert set(range(40, 70)) <= {*with_line}


def test_header_has_as_much_as_fits() -> None:
    """The sample goes first, then the layer and what kind it is; the name stays."""
    (recurrence,) = followed(**SIZES, cell="gru")
    view, name, kind = recurrence.step(3), recurrence.name, "  GRU(M), tanh, sigmoid"
    for width in range(8, 80):
        first, _ = lines(step.header(view, recurrence, 1, "layer 1 of 3", Sheet(width)))
        remarks = ("layer 1 of 3, sample 1 of 2", "layer 1 of 3", "")
        right = next(text for text in remarks if len(name + text) + 2 <= width or not text)
        shown = kind if len(name + kind + right) + 2 <= width else ""
        assert (
            first.rstrip() == f"{name}{shown}{right:>{max(0, width - len(name + shown))}}".rstrip()
        )
        assert len(first) <= width
    alone, _ = lines(step.header(view, recurrence, 0, "", Sheet(80)))
    assert alone.endswith("  sample 0 of 2")


#: Units of a cell, and how many numbers stand beside short shapes, shapes and symbols, at least.
BESIDE = [
    ("simple", 3, (3, 3, 3)),
    ("simple", 5, (4, 5, 5)),
    ("simple", 20, (4, 4, 8)),
    ("lstm", 4, (4, 4, 4)),
    ("gru", 9, (4, 4, 8)),
]


@pytest.mark.parametrize(("cell", "units", "least"), BESIDE)
def test_shapes_appear_where_numbers_have_room(cell: str, units: int, least: Any) -> None:
    """At first those of results, then of operands, then in symbols; digits get more, up to six."""
    (recurrence,) = followed(T=6, D=2, M=units, K=2, cell=cell)
    view = recurrence.step(3)
    values = view.inputs[1].values
    first: dict[int, int] = {}
    seen: set[Any] = set()
    digits_seen = set()
    for width in range(40, 200):
        shown = lines(step.body(view, recurrence, Sheet(width, "ascii")))
        assert max(map(len, shown)) <= width
        at = next(i for i, line in enumerate(shown) if line.startswith("-> h_2"))
        body = "\n".join(shown)
        level = 3 if "(N, D)*" in body else 2 if re.search(r"\) [+x] \(\d", body) else 1
        level = level if re.search(r"\d\.\d", shown[at]) else 0
        row = shown[at] if level else shown[at + 1]
        numbers = re.findall(r"-?\d+\.\d+", row)
        digits = len(numbers[0].partition(".")[2])
        np.testing.assert_allclose(
            [float(number) for number in numbers],
            values[: len(numbers)],
            atol=0.51 * 10.0**-digits,
        )
        assert row.endswith(f"... {len(values)}") == (len(numbers) < len(values))
        key = (level, min(len(numbers), units), digits)
        if level and key not in seen and level not in first:
            assert max(map(len, shown)) == width
        seen.add(key)
        first.setdefault(level, min(len(numbers), units))
        digits_seen.add(digits)
    assert [first.get(level) for level in (1, 2, 3)] == list(least)
    assert digits_seen <= {3, 4, 5, 6}
    assert digits == max(digits_seen) == (6 if units <= 5 else 3)


@pytest.mark.parametrize("width", [30, 80, 130])
def test_long_lists_are_cut_and_counted(width: int) -> None:
    (recurrence,) = followed(T=4, D=3, M=64, K=2, cell="gru")
    text = "\n".join(drawn(recurrence, 2, width))
    assert len(re.findall(r" \S+ … 64$", text, re.MULTILINE)) == 18
    assert len(re.findall(r" \S+ … 192$", text, re.MULTILINE)) == 4
    text = "\n".join(lines(step.compact(recurrence.step(2), recurrence, Sheet(width))))
    assert len(re.findall(r" \S+ … 64$", text, re.MULTILINE)) == 5


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
    for recurrence in (ahead, back):
        for t in (0, 3, 6):
            line = drawn(recurrence, t)[1]
            bar = time_line(line)
            assert bar == time_line_of(t, 7, len(bar), reverse=recurrence.reverse)
            assert f"step {7 - t if recurrence.reverse else t + 1} of 7" in line


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


#: A number, its decimals, and how it is written in so many characters and three more.
COMPACT_NUMBERS = [
    *((0.0, 3, "0.000"), (4e-4, 3, "4e-4"), (-4e-4, 3, "-4e-4"), (6e-4, 3, "0.001")),
    *((4.4e-12, 3, "4e-12"), (-4.4e-12, 3, "-4e-12"), (4e-120, 3, "4e-120")),
    *((-4e-120, 3, "-0.000"), (12.3456, 3, "12.346"), (-12.3456, 3, "-12.35")),
    *((999.9996, 3, "1000.0"), (123456.7, 3, "123457"), (-123456.7, 3, "-1e5")),
    *((12345678.0, 3, "1e7"), (-3e300, 3, "-3e300"), (4.4e-7, 6, "4e-7")),
    *((0.1234567, 6, "0.123457"), (float("-inf"), 3, "-inf"), (float("nan"), 6, "nan")),
]


@pytest.mark.parametrize(("value", "digits", "text"), COMPACT_NUMBERS)
def test_small_and_large_numbers_have_exponents(value: float, digits: int, text: str) -> None:
    assert step.compact_number(value, digits) == text


def test_summary_line_has_full_precision() -> None:
    (recurrence,) = followed(T=6, D=3, M=5, K=2)
    summary = step.summary(recurrence.step(3), recurrence, 0)
    front, numbers = summary.split(" = ", 2)[0], summary.split(" = ")[-1]
    assert front == "simple_rnn, sample 0, t"
    y_hat = rnnshapes.trace(T=6, D=3, M=5, K=2, seed=3, keras=False).y_hat
    np.testing.assert_allclose([float(n) for n in numbers.split()], y_hat[0, 3], rtol=1e-7)


#: A cell, and what a compact step shows: how each row begins, and what it holds of step 3.
COMPACT: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["x_3", "h_2", "x_3 Wx + bh", "h_2 Wh", "h_3 = tanh(…)"]),
    ({"use_bias": False}, ["x_3", "h_2", "x_3 Wx", "h_2 Wh", "h_3 = tanh(…)"]),
    ({"activation": "linear"}, ["x_3", "h_2", "x_3 Wx + bh", "h_2 Wh", "h_3 = … + h_2 Wh"]),
    (
        {"cell": "lstm"},
        [
            *("x_3", "h_2", "c_2", "i_3 = sigmoid(z_i)", "f_3 = sigmoid(z_f)"),
            *("c~_3 = tanh(z_c)", "c_3 = …", "o_3 = sigmoid(z_o)", "h_3 = …"),
        ],
    ),
    ({"cell": "gru"}, ["x_3", "h_2", "z_3 = …", "r_3 = …", "h~_3 = …", "h_3 = …"]),
]


@pytest.mark.parametrize(("spec", "labels"), COMPACT)
def test_compact_step_shows_named_values(spec: Any, labels: list[str]) -> None:
    """Of a cell with one equation, its products with what is added to them, too."""
    options = SIZES | spec
    (recurrence,) = followed(**options)
    view = recurrence.step(3)
    values = {value.name: value.values for value in view.inputs}
    values |= {each.name: each.values for e in view.equations for each in e.values}
    with open_session(seed=3, **options) as session:
        weights = session.weights()[recurrence.name]
    bias = weights.get("bh", 0.0)
    values["x_3 Wx"] = values["x_3 Wx + bh"] = values["x_3"] @ weights["Wx"] + bias
    values["h_2 Wh"] = values["h_2"] @ weights["Wh"]
    for width in (64, 90, 200):
        shown = lines(step.compact(view, recurrence, Sheet(width)))
        rows = [re.fullmatch(r"  (.+?) +\((\d), (\d)\) (.+)", line) for line in shown]
        assert [row[1] for row in rows] == labels
        for row in rows:
            expected = values[row[1].partition(" = ")[0]]
            assert (int(row[2]), int(row[3])) == (SIZES["N"], len(expected))
            numbers = re.findall(r"-?\d+\.\d{3}\b", row[4])
            assert len(numbers) == len(expected)
            np.testing.assert_allclose(
                [float(number) for number in numbers], expected[: len(numbers)], atol=6e-4
            )


def test_compact_masked_step_names_the_states_before() -> None:
    model = randomized(sequential(la.Masking(0.0), la.LSTM(5), la.Dense(2)))
    x = np.random.default_rng(2).standard_normal((1, 6, 3)).astype("float32")
    x[0, 4] = 0
    (recurrence,) = followed(model, x=x)
    shown = lines(step.compact(recurrence.step(4), recurrence, Sheet(90)))
    pairs = [line.partition("  (1, ")[::2] for line in shown]
    starts = [start.strip() for start, _ in pairs]
    assert starts == ["m_4", "h_3", "c_3", "h_4 = h_3, masked", "c_4 = c_3, masked"]
    assert [numbers for _, numbers in pairs[1:3]] == [numbers for _, numbers in pairs[3:]]


@pytest.mark.parametrize("units", [8, 9])
def test_summary_without_y_hat_has_the_first_state(units: int) -> None:
    """Eight numbers of it."""
    (recurrence,) = followed(T=4, D=3, M=units, K=2)
    view = replace(recurrence.step(2), prediction=None)
    text = step.summary(view, recurrence, 1)
    assert text.startswith(f"{recurrence.name}, sample 1, t = 2: {view.states[0].name} = ")
    *numbers, last = text.rpartition(" = ")[2].split(" ")
    numbers += [last] * (last != "…")
    assert (last == "…") == (units > 8)
    np.testing.assert_allclose(
        [float(number) for number in numbers], view.states[0].values[:8], rtol=1e-7
    )


SUM, PRODUCT = "(N, M) + (N, M) → (N, M)", "(N, M) × (N, M) → (N, M)"
#: The rows of a step of an LSTM: how each begins, and of which value its numbers are.
LSTM_ROWS = [
    *(("→ x_3 (N, D) (2, 4)", "x_3"), ("→ h_2 (N, M) (2, 5)", "h_2")),
    *(("→ c_2 (N, M) (2, 5)", "c_2"), ("", "")),
    ("z_i z_f z_c z_o = x_3 Wx + h_2 Wh + bh z_i z_f z_c z_o = x_t Wx + h_{t-1} Wh + bh", ""),
    ("x_3 Wx (N, D)·(D, 4M) → (N, 4M) (2, 4)·(4, 20) → (2, 20)", "x"),
    ("h_2 Wh (N, M)·(M, 4M) → (N, 4M) (2, 5)·(5, 20) → (2, 20)", "h"),
    ("… + h_2 Wh (N, 4M) + (N, 4M) → (N, 4M) (2, 20) + (2, 20) → (2, 20)", "x + h"),
    ("… + bh (N, 4M) + (4M,) → (N, 4M) (2, 20) + (20,) → (2, 20)", "z"),
    *(("z_i (N, 4M) → (N, M) (2, 20) → (2, 5)", "z_i"), ("z_f", "z_f"), ("z_c", "z_c")),
    *(("z_o", "z_o"), ("i_3 = sigmoid(z_i) (N, M) (2, 5)", "i_3")),
    *(("f_3 = sigmoid(z_f) (N, M) (2, 5)", "f_3"), ("c~_3 = tanh(z_c) (N, M) (2, 5)", "c~_3")),
    ("c_3 = f_3 × c_2 + i_3 × c~_3 c_t = f_t × c_{t-1} + i_t × c~_t", ""),
    (f"f_3 × c_2 {PRODUCT} {PRODUCT.replace('N, M', '2, 5')}", "f c"),
    (f"i_3 × c~_3 {PRODUCT} {PRODUCT.replace('N, M', '2, 5')}", "i c~"),
    (f"c_3 = … + … {SUM} {SUM.replace('N, M', '2, 5')}", "c_3"),
    ("o_3 = sigmoid(z_o) (N, M) (2, 5)", "o_3"),
    *(("h_3 = o_3 × tanh(c_3)", ""), ("tanh(c_3) (N, M) (2, 5)", "tanh")),
    (f"h_3 = o_3 × … {PRODUCT} {PRODUCT.replace('N, M', '2, 5')}", "h_3"),
    *(("", ""), ("h_3, c_3 → passed on to t = 4", ""), ("", "")),
    ("y_hat_3 = h_3 W0 + b0", ""),
    ("h_3 W0 (N, M)·(M, K) → (N, K) (2, 5)·(5, 3) → (2, 3)", "W0"),
    ("y_hat_3 = … + b0 (N, K) + (K,) → (N, K) (2, 3) + (3,) → (2, 3)", "y_hat"),
]


@pytest.mark.parametrize("full", [False, True])
def test_whole_step_has_each_operation_once(full: bool) -> None:
    """Each in a row with its shapes and numbers, which are those of NumPy."""
    options = SIZES | {"cell": "lstm"}
    (recurrence,) = followed(**options)
    with open_session(seed=3, **options) as session:
        weights = session.weights()
    (wx, wh, bias), (w0, b0) = weights[recurrence.name].values(), weights["dense"].values()
    view = recurrence.step(3)
    values = {each.name: each.values for each in view.inputs}
    values["x"], values["h"] = values["x_3"] @ wx, values["h_2"] @ wh
    values["x + h"] = values["x"] + values["h"]
    values["z"] = values["x + h"] + bias
    parts = dict(zip("ifco", np.split(values["z"], 4), strict=True))
    gates = {key: 1 / (1 + np.exp(-part)) for key, part in parts.items()}
    candidate = np.tanh(parts["c"])
    values |= {f"z_{key}": part for key, part in parts.items()}
    values |= {"i_3": gates["i"], "f_3": gates["f"], "o_3": gates["o"], "c~_3": candidate}
    values |= {"f c": gates["f"] * values["c_2"], "i c~": gates["i"] * candidate}
    values["c_3"] = values["f c"] + values["i c~"]
    values["tanh"] = np.tanh(values["c_3"])
    values["h_3"] = gates["o"] * values["tanh"]
    values["W0"] = values["h_3"] @ w0
    values["y_hat"] = values["W0"] + b0
    shown = lines(step.body(view, recurrence, Sheet(170), full=full))
    rows = [" ".join(line.split()) for line in shown]
    for start, name in LSTM_ROWS:
        row = rows.pop(0)
        while full and name and len(values[name]) == 20 and rows[0][:1] in "-0123456789":
            row = f"{row} {rows.pop(0)}"
        if not name:
            assert row == start
            continue
        assert row.startswith(f"{start} ")
        numbers, _, count = row.removeprefix(start).partition(" … ")
        expected = values[name]
        found = [float(number) for number in numbers.split()]
        if len(expected) == 20 and not full:
            assert (count, 4 <= len(found) < 20) == ("20", True)
        else:
            assert (count, len(found)) == ("", len(expected))
        np.testing.assert_allclose(found, expected[: len(found)], atol=6e-4)
    assert len(rows) == 1
    assert rows[0].startswith("y_hat_3")


def test_full_steps_have_all_numbers_on_any_sheet() -> None:
    (recurrence,) = followed(**SIZES | {"cell": "lstm"})
    numbers = []
    for width in (170, 120, 78, 40, 13):
        shown = lines(step.body(recurrence.step(3), recurrence, Sheet(width), full=True))
        assert max(map(len, shown)) <= width
        found = re.findall(r"(?<=\s)-?\d+(?:\.\d+|e-\d+)", "\n".join(shown))
        numbers.append([float(number) for number in found])
    assert len(numbers[0]) == 4 + 4 * 20 + (2 + 4 + 3 + 3 + 1 + 2) * 5 + 2 * 3
    for narrow in numbers[1:]:
        np.testing.assert_allclose(narrow, numbers[0], atol=6e-4)


def test_narrow_steps_keep_operands_of_products() -> None:
    """And of splits; a name that is too long for a row stands in the line of the equation."""
    (recurrence,) = followed(**SIZES | {"cell": "lstm"})
    forms = [
        ["x_3 Wx (2, 4)·(4, 20) → (2, 20) ", "… + h_2 Wh (2, 20) + (2, 20) → (2, 20) "],
        ["x_3 Wx (2, 4)·(4, 20) → (2, 20) ", "… + h_2 Wh (2, 20) ", "z_i (2, 20) → (2, 5) "],
    ]
    patterns = [[re.escape(start) + r"-?\d+\." for start in starts] for starts in forms]
    seen = [False, False]
    for width in range(60, 130, 2):
        shown = lines(step.body(recurrence.step(3), recurrence, Sheet(width)))
        rows = [" ".join(line.split()) for line in shown]
        for number, starts in enumerate(patterns):
            seen[number] |= all(any(re.match(each, row) for row in rows) for each in starts)
    assert seen == [True, True]
    recurrence = followed(**SIZES | {"activation": "linear", "M": [4, 5]})[0]
    rows = [
        " ".join(ln.split()) for ln in lines(step.body(recurrence.step(3), recurrence, Sheet(170)))
    ]
    assert [row.split(" (")[0] for row in rows[3:8]] == [
        "h1_3 = x_3 Wx1 + bh1 + h1_2 Wh1 h1_t = x_t Wx1 + bh1 + h1_{t-1} Wh1",
        *("x_3 Wx1", "… + bh1", "h1_2 Wh1", "… + h1_2 Wh1"),
    ]

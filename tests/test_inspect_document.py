"""What ``inspect`` shows: an answer on one screen, warnings first, and views of the rest."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import render
from rnnshapes.memory import format_bytes
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.summary import Inspection
from rnnshapes.network.weight_values import summarize_weights
from rnnshapes.network.weights import draw, streams
from rnnshapes.render.document import COLUMN_GAP, Drawing, Line, Table
from rnnshapes.render.view import INSPECT_PARTS, View
from tests.helpers.blocks import lines_of, tables_of, width_of
from tests.helpers.commands import assert_refused
from tests.helpers.files import layer, legacy_file, numbers, saved
from tests.helpers.files import sequential as legacy_sequential
from tests.helpers.models import Doubled, functional, randomized, sequential

LSTM: dict[str, Any] = {"cell": "lstm", "T": 6}


@cache
def inspected() -> Inspection:
    """Return the shapes of an LSTM with a drawing of each kind."""
    return rnnshapes.inspect(**LSTM)


def text_of(result: Inspection, *parts: str, width: int = 80) -> str:
    """Return the titles, lines and cells of these parts."""
    texts: list[str] = []
    for block in render.to_document(result, View(parts=frozenset(parts), width=width)):
        if isinstance(block, Line):
            texts.append(block.text)
        else:
            texts.append(block.title)
        if isinstance(block, Table):
            texts += [column.heading for column in block.columns]
            texts += [cell for row in block.rows for cell in row.cells]
    return "\n".join(texts)


# --- One screen ---------------------------------------------------------------------------------

LENGTHS = [
    ((), 24),
    (("--cell", "lstm"), 28),
    (("--cell", "gru"), 30),
    (("--cell", "gru", "--bidirectional", "--M", 5, "--M", 4), 40),
    (("--T", 1000), 24),
]


@pytest.mark.parametrize(("options", "most"), LENGTHS)
def test_default_screen_is_short(options, most, run, monkeypatch) -> None:
    """The line about Keras comes on top of these."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("inspect", "--no-keras", *options).out.splitlines()
    assert len(lines) + 1 <= most
    assert " parameters" in lines[2 if len(lines[0]) <= 80 and lines[1] == "" else 3]


def test_gates_name_their_columns() -> None:
    """c~ is the candidate: c is the state."""
    lines = text_of(inspected(), "summary").splitlines()
    (gates,) = [line for line in lines if "5:10" in line]
    for words in ("i input 0:5", "f forget 5:10", "c~ candidate 10:15", "o output 15:20"):
        assert words in gates


def test_gates_lie_alike_in_all_weights() -> None:
    convolved = sequential(la.ConvLSTM1D(4, 3), la.Flatten(), la.Dense(2), shape=(6, 8, 3))
    for result in (inspected(), rnnshapes.inspect(convolved)):
        (line,) = [line for line in lines_of(result) if "recurrent_kernel and bias" in line]
        assert "in the last axis" in line
    notes = {note.topic: note.text for note in result.layers[0].notes}
    shown = lines_of(result, parts=frozenset({"gates"}))
    assert [topic for topic, text in notes.items() if text in shown] == ["gates"]


def test_gates_of_each_weight_have_their_slices() -> None:
    """Only a bias of two rows has names of rows; Dense has no gates."""
    result = rnnshapes.inspect(N=2, T=6, D=3, M=4, K=5, cell="gru")
    lines = lines_of(result, parts=frozenset({"gates"}), width=200)
    slices = "z [:, 0:4] · r [:, 4:8] · h [:, 8:12]"
    assert [line for line in lines if "[:" in line] == [
        f"kernel (D, 3M) = (3, 12): {slices}",
        f"recurrent_kernel (M, 3M) = (4, 12): {slices}",
        f"bias (2, 3M) = (2, 12): {slices}; rows: input, recurrent",
    ]
    assert [line for line in lines if "by gate" in line] == ["gru by gate"]


def test_numbers_replace_the_last_step() -> None:
    assert "y_hat = h_5 W0" in text_of(inspected(), "summary")
    convolved = rnnshapes.inspect(sequential(la.Conv1D(4, 2), la.LSTM(5), la.Dense(2)))
    last = convolved.network.sizes["T'"] - 1
    assert f"y_hat = h_{last} W0" in text_of(convolved, "summary")


def test_both_directions_share_a_row() -> None:
    """Their counts stand once, times two; a direction of other weights has its own row."""
    both = rnnshapes.inspect(N=2, T=6, D=3, M=4, K=5, cell="gru", bidirectional=True)
    (table,) = tables_of(both, width=200)
    layer, name = "strong", "Bidirectional(GRU), tanh, sigmoid"
    assert [(row.meaning, *row.cells) for row in table.rows] == [
        (layer, "bidirectional", name, "(2, 6, 3) → (2, 8)", "6M(D+M+2)", "216"),
        ("plain", "  kernel", "Wx→ Wx←", "(D, 3M) = (3, 12)", "3D·M", "2 × 36"),
        ("plain", "  recurrent_kernel", "Wh→ Wh←", "(M, 3M) = (4, 12)", "3M·M", "2 × 48"),
        ("plain", "  bias", "bh→ bh←", "(2, 3M) = (2, 12)", "6M", "2 × 24"),
        (layer, "dense", "Dense, linear", "(2, 8) → (2, 5)", "K(2M+1)", "45"),
        ("plain", "  kernel", "W0", "(2M, K) = (8, 5)", "2M·K", "40"),
        ("plain", "  bias", "b0", "(K,) = (5,)", "K", "5"),
    ]
    same = text_of(both, "summary")
    back = la.RNN(la.LSTMCell(4), go_backwards=True)
    other = la.Bidirectional(la.GRU(5), backward_layer=back)
    model = sequential(other, la.Dense(2), shape=(6, 3))
    result = rnnshapes.inspect(model)
    different = text_of(result, "summary")
    assert ["in reverse" in text for text in (same, different)] == [True, False]
    lines = different.splitlines()
    for weight in (w for la_ in result.layers for w in la_.weights):
        assert weight.symbol in lines
        assert weight.formula in lines


def test_a_single_layer_is_no_plural() -> None:
    """Layers are counted where the network is no chain."""
    x = keras.Input((6, 3))
    both = la.Bidirectional(la.GRU(4, return_sequences=True), merge_mode=None)
    one = rnnshapes.inspect(keras.Model(x, both(x)))
    two = rnnshapes.inspect(keras.Model(x, la.Add()(both(x))))
    assert " 1 layer " in text_of(one).splitlines()[0]
    assert " 2 layers " in text_of(two).splitlines()[0]


@pytest.mark.parametrize("pool", [la.GlobalAveragePooling1D, la.Flatten])
def test_long_names_keep_one_row_per_weight(pool: Any) -> None:
    lstm = la.LSTM(16, return_sequences=True, name="recurrence_" * 4)
    model = sequential(lstm, pool(), la.Dense(3), shape=(20, 8))
    result = rnnshapes.inspect(model)
    table = next(b for b in render.to_document(result, View(width=80)) if isinstance(b, Table))
    assert all("\n" not in cell for row in table.rows for cell in row.cells)
    assert result.layers[0].name in text_of(result, "gates")


def test_weights_without_symbols_keep_their_paths() -> None:
    """A symbol says which direction or cell is meant."""
    result = rnnshapes.inspect(N=2, T=6, D=3, M=4, K=5)
    layer_report, *others = result.layers
    weights = [
        replace(weight, name=f"simple_rnn/{part}/kernel", symbol=symbol)
        for weight, part, symbol in zip(
            layer_report.weights, ("one", "two", "three"), ("Wx", "", ""), strict=True
        )
    ]
    layers = (replace(layer_report, weights=tuple(weights)), *others)
    result = replace(result, layers=layers)
    (table,) = tables_of(result, width=200)
    names = [row.cells[:2] for row in table.rows[1:4]]
    assert names == [("  kernel", "Wx"), ("  two/kernel", ""), ("  three/kernel", "")]


def test_frozen_weights_are_counted_apart() -> None:
    frozen = sequential(la.LSTM(4), la.BatchNormalization(), shape=(6, 3))
    result = rnnshapes.inspect(frozen)
    assert result.params - result.trainable == 8
    total = render.to_record(result)["total"]
    assert [total[key] for key in ("params", "trainable", "non_trainable")] == [144, 136, 8]
    assert f"{result.trainable:,}" in text_of(result)


@pytest.mark.parametrize("width", [28, 34, 40, 60, 80, 120, 200])
def test_no_width_loses_a_weight(width: int) -> None:
    """A narrow table puts shapes on lines of their own."""
    text = text_of(inspected(), "summary", width=width)
    for layer_report in inspected().layers:
        assert layer_report.formula in text
        for weight in layer_report.weights:
            for word in (weight.name.rpartition("/")[2], weight.symbol, f"{weight.params:,}"):
                assert word in text
            assert str(weight.shape) in text
            assert weight.formula in text


@cache
def network(name: str) -> Inspection:
    """Return the shapes of a network with short or long names, classes and formulas."""
    both = la.Bidirectional(la.RNN([la.GRUCell(5), la.LSTMCell(4)]), name="both")
    models: dict[str, Any] = {
        "plain": {"N": 2, "T": 6, "D": 3},
        "both": {"N": 2, "T": 6, "D": 3, "M": 4, "cell": "lstm", "bidirectional": True},
        "stack": {"T": 6, "D": 3, "M": [4, 7], "K": 5, "cell": "gru"},
        "cells": lambda: sequential(both, la.Dense(2)),
        "long names": lambda: sequential(la.LSTM(4, name="recurrence_" * 5), la.Dense(2)),
        "long class": lambda: sequential(
            la.GlobalAveragePooling1D(name="pool"), la.BatchNormalization(name="b")
        ),
    }
    made = models[name]
    return rnnshapes.inspect(**made) if isinstance(made, dict) else rnnshapes.inspect(made())


NETWORKS = ("plain", "both", "stack", "cells", "long names", "long class")


@pytest.mark.parametrize("name", NETWORKS)
def test_forms_of_the_table_appear_where_they_fit(name: str) -> None:
    """Activations go first, then classes around cells; name and shape share a column at last."""
    result = network(name)
    seen, forms = set(), []
    for width in range(30, 150):
        (table,) = tables_of(result, width=width)
        key = (table.columns, table.rows)
        if key not in seen and seen and width_of(table) <= width:
            assert width_of(table) == width
        seen.add(key)
        cells = [cell for row in table.rows for cell in row.cells]
        kinds = [row.cells[1] for row in table.rows if row.meaning == "strong"]
        formulas = {layer.formula for layer in result.layers if layer.weights}
        found = (
            len(table.columns) == 5,
            any("(" in kind for kind in kinds),
            any("tanh" in kind for kind in kinds),
        )
        forms.append(found if found[0] else (False, False, False))
        if not found[0] and name != "cells":  # whose formula is long
            assert all(formula in "\n".join(cells) for formula in formulas)
        for layer_report, row in zip(
            result.layers, [row for row in table.rows if row.meaning == "strong"], strict=True
        ):
            start, _, end = row.cells[0].partition("\n")[0].partition("…")
            assert layer_report.name.startswith(start.partition("  ")[0])
            assert not end or layer_report.name.endswith(end)
            assert not end or len(start) + len(end) >= 17
            assert row.cells[-1] == (f"{layer_report.params:,}" if layer_report.weights else "")
    if name != "long names":  # where names are cut, there may be room again
        assert forms == sorted(forms)
    if name in ("both", "plain"):
        assert forms[0] == (False, False, False)
        assert forms[-1][2]


@pytest.mark.parametrize("name", NETWORKS)
def test_first_line_has_as_many_terms_as_fit(name: str) -> None:
    """The count and the bytes always; else the formula is left out, and its numbers before it."""
    result = network(name)
    sums = " + ".join(f"{each.params:,}" for each in result.layers if each.weights)
    counts, start = [], f"{result.params:,} parameters"
    start += f" ({result.trainable:,} trainable)" * (result.trainable != result.params)
    for width in range(12, 200):
        (total,) = [text for text in lines_of(result, width=width) if " parameters" in text][:1]
        size = f" {format_bytes(result.bytes)}"
        assert total.endswith(size)
        first, *terms = total.removesuffix(size).rstrip().split(" = ")
        assert first == start
        if counts and len(terms) > counts[-1]:
            assert len(total) == width
        assert len(total) <= width or not terms
        counts.append(len(terms))
        if len(terms) > 1:
            assert terms[0] == result.formula
        if terms and "+" in sums:
            assert terms[-1] == sums
    assert counts == sorted(counts)
    assert {*counts} == {*range(4 if "+" in sums else 3)}


# --- Warnings -----------------------------------------------------------------------------------


def position(document: Any, *words: str) -> int:
    """Return which block mentions these words."""
    return next(
        number
        for number, block in enumerate(document)
        if isinstance(block, Line) and all(word in block.text for word in words)
    )


def old_file(folder: Path) -> Path:
    """Return a file of Keras 2 whose hard_sigmoid means something else today."""
    config = legacy_sequential(
        layer(
            "LSTM",
            "lstm_1",
            units=5,
            batch_input_shape=[None, 6, 4],
            recurrent_activation="hard_sigmoid",
        )
    )
    arrays = [numbers(4, 20), numbers(5, 20), numbers(20)]
    named = list(zip(("kernel:0", "recurrent_kernel:0", "bias:0"), arrays, strict=True))
    return legacy_file(folder / "old.h5", config, {"lstm_1": named}, "2.1.6")


def test_warnings_stand_below_the_first_line(tmp_path: Path) -> None:
    """Before the count and the table."""
    own = sequential(Doubled(name="own"), la.LSTM(5), shape=(6, 3))
    for result, words in (
        (rnnshapes.inspect(old_file(tmp_path)), ("lstm_1", "hard_sigmoid", "Keras 3")),
        (rnnshapes.inspect(own), ("own", "not supported")),
    ):
        document = render.to_document(result, View())
        assert position(document, *words) == 1
        assert document[1].meaning == "warning"
        assert position(document, "parameters") > 1


def test_contradicting_file_is_named_first(tmp_path: Path) -> None:
    config = legacy_sequential(
        layer("SimpleRNN", "rnn", units=5, batch_input_shape=[None, 6, 4]),
    )
    arrays = [("kernel:0", numbers(4, 5)), ("recurrent_kernel:0", numbers(5, 5)), ("b", numbers(4))]
    result = rnnshapes.inspect(legacy_file(tmp_path / "odd.h5", config, {"rnn": arrays}))
    document = render.to_document(result, View())
    assert position(document, "rnn/bias", "(5,)", "(4,)") == 1
    assert document[1].meaning == "bad"
    assert "holds the expected" not in text_of(result, "summary")


def test_contradicting_layer_is_named_once(tmp_path: Path) -> None:
    config = legacy_sequential(layer("LSTM", "odd", units=-5, batch_input_shape=[None, 6, 4]))
    document = render.to_document(rnnshapes.inspect(legacy_file(tmp_path / "o.h5", config, {})))
    told = [b.meaning for b in document if isinstance(b, Line) and "units=-5" in b.text]
    assert told == ["bad"]


# --- Views --------------------------------------------------------------------------------------

#: For each view, what it shows and no other view does.
SHOWN = {
    "summary": "At every t = 0 … 5",
    "flow": "Data flow",
    "weights": "Weights as rectangles",
    "steps": "h_{t-1} Wh",
    "gates": "f [:, 5:10]",
}


@pytest.mark.parametrize("part", SHOWN)
def test_each_view_shows_its_part(part: str) -> None:
    """The first line and the count are always there."""
    shown = text_of(inspected(), part)
    for name, words in SHOWN.items():
        if (name, part) != ("steps", "summary"):  # its equations have the same products
            assert (words in shown) == (name == part)
        assert words in text_of(inspected(), "all")
    assert "192 parameters" in shown
    both = text_of(inspected(), part, "gates")
    assert SHOWN[part] in both
    assert SHOWN["gates"] in both


def test_values_are_shown_in_their_view_alone() -> None:
    result = rnnshapes.inspect(randomized(sequential(la.LSTM(4), la.Dense(2))), values=True)
    norm = f"{result.values[0].norm:.4g}"
    assert [part for part in INSPECT_PARTS if norm in text_of(result, part)] == ["values", "all"]


def test_views_are_joined_by_commas(run) -> None:
    out = run("inspect", "--no-keras", "-q", "--cell", "lstm", "--view", "gates,steps").out
    for words, is_shown in (("f [:, 5:10]", True), ("multiply-", True), ("At every t", False)):
        assert (words in out) == is_shown


def test_unknown_view_exits_2(run) -> None:
    assert_refused(run("inspect", "--no-keras", "--view", "gates,foo"), "foo", *INSPECT_PARTS)


def test_steps_show_each_tensor_once() -> None:
    """Nothing happens in a Dropout; a layer that is not supported has its output alone."""
    recurrence, dropout = la.SimpleRNN(4, return_sequences=True), la.Dropout(0.1)
    result = rnnshapes.inspect(sequential(recurrence, dropout, Doubled(), la.Dense(5)), N=2)
    (table,) = tables_of(result, parts=frozenset({"steps"}), width=200)
    names = [row.cells[0] for row in table.rows]
    assert [name for name in names if " " not in name] == ["x", "h", "v", "y_hat"]
    assert names[-3:-1] == ["v_t W0", "y_hat_t = … + b0"]


def test_steps_keep_the_shape_on_narrow_screens() -> None:
    """Costs that N leaves open have no column."""
    model = keras.Sequential([keras.Input((6, 3)), la.Bidirectional(la.GRU(4))])
    view = View(parts=frozenset({"steps"}))
    (table,) = [b for b in render.to_document(rnnshapes.inspect(model), view) if is_table(b)]
    ranks = {column.heading: column.rank for column in table.columns}
    assert len(ranks) == 4
    assert [heading for heading, rank in ranks.items() if rank == 0] == ["tensor", "shape"]


def test_steps_have_shapes_and_multiply_adds() -> None:
    """Products of matrices alone count."""
    result = rnnshapes.inspect(N=2, T=6, D=3, M=4, K=5)
    (table,) = tables_of(result, parts=frozenset({"steps"}), width=200)
    assert [row.cells for row in table.rows] == [
        ("x", "(N, T, D)", "(2, 6, 3)", ""),
        ("x_t Wx", "(N, D)·(D, M) → (N, M)", "(2, 3)·(3, 4) → (2, 4)", "24"),
        ("… + bh", "(N, M) + (M,) → (N, M)", "(2, 4) + (4,) → (2, 4)", ""),
        ("h_{t-1} Wh", "(N, M)·(M, M) → (N, M)", "(2, 4)·(4, 4) → (2, 4)", "32"),
        ("… + h_{t-1} Wh", "(N, M) + (N, M) → (N, M)", "(2, 4) + (2, 4) → (2, 4)", ""),
        ("h_t = tanh(…)", "(N, M)", "(2, 4)", ""),
        ("h", "(N, M)", "(2, 4)", ""),
        ("h_{T-1} W0", "(N, M)·(M, K) → (N, K)", "(2, 4)·(4, 5) → (2, 5)", "40"),
        ("y_hat = … + b0", "(N, K) + (K,) → (N, K)", "(2, 5) + (5,) → (2, 5)", ""),
        ("y_hat", "(N, K)", "(2, 5)", ""),
    ]
    ends = [row.cells[0] for row in table.rows if row.ends_group]
    assert ends == [row.cells[0] for row in table.rows if row.meaning == "strong"]
    assert ends == ["x", "h", "y_hat"]
    (costs,) = [ln for ln in lines_of(result, parts=frozenset({"steps"})) if " step " in ln]
    for words in ("simple_rnn 56 a step × 6 steps", "dense 40 once", " = 376"):
        assert words in costs
    assert "unknown" not in costs


def test_steps_name_each_input_and_open_size() -> None:
    def joined(x: Any, y: Any) -> Any:
        normalized = la.BatchNormalization(name="bn")(y)
        parts = [la.LSTM(3, name="a")(la.Dropout(0.1)(x)), la.GRU(4, name="b")(normalized)]
        return la.Dense(2, name="end")(la.Concatenate()(parts))

    result = rnnshapes.inspect(functional(joined, (None, 3), (None, 2)))
    (table,) = tables_of(result, parts=frozenset({"steps"}), width=200)
    names = [row.cells[0] for row in table.rows if row.meaning == "strong"]
    inputs = [node.name for node in result.network.inputs]
    assert names[:2] == inputs
    assert not any("drop" in name for name in names)
    assert [row.cells[2] for row in table.rows[:2]] == ["(1, ?, 3)", "(1, ?, 2)"]
    (costs,) = [ln for ln in lines_of(result, parts=frozenset({"steps"})) if " step " in ln]
    for words in ("a 72 a step × T1", "b 72 a step × T2", "end 14 once", "--T "):
        assert words in costs
    assert costs.count("--T") == 1
    assert "bn" not in costs


def test_equations_share_lines_that_they_fit_on() -> None:
    """Shapes stand beside them, below each other, as soon as there is room."""
    result = network("both")
    texts = [str(each).replace("{T-1}", "5") for each in result.layers[0].equations[:7]]
    shapes = [each.shapes for each in result.layers[0].equations[:7] if each.shapes]
    most, shown = 99, set()
    for width in range(40, 130):
        lines = lines_of(result, width=width)
        lines = lines[next(i for i, line in enumerate(lines) if "t = 0 … 5" in line) + 1 :]
        equations = [line for line in lines if line.startswith("  ") and "=" in line]
        joined = "\n".join(equations)
        assert [each for each in texts if each not in joined] == []
        assert len(equations) <= most
        for line in equations:
            assert len(line) <= width or not any(each in line for each in shapes)
            assert len(line) <= width or line.count(" = ") == 1
        for each in shapes:
            if each in joined and each not in shown:
                shown.add(each)
                assert max(len(ln) for ln in equations if ln.endswith(each)) == width
        most = len(equations)
    assert shown == {*shapes}


def is_table(block: Any) -> bool:
    """Tell whether a block is a table."""
    return isinstance(block, Table)


def test_large_network_has_all_parts() -> None:
    result = rnnshapes.inspect(M=[3] * 9)
    document = render.to_document(result, View(parts=frozenset({"all"})))
    assert sum(isinstance(block, Drawing) for block in document) == 2
    assert sum(is_table(block) for block in document) == 2


@pytest.mark.parametrize("name", ["plain", "both", "cells"])
def test_formulas_stand_beside_shapes_where_they_fit(name: str) -> None:
    """A narrow table has one column of names and shapes, and one of counts."""
    shared = set()
    for width in range(20, 60):
        document = render.to_document(network(name), View(width=width))
        table = next(block for block in document if is_table(block))
        if len(table.columns) > 2:
            continue
        counts = (table.columns[1].heading, *(row.cells[1] for row in table.rows))
        room = width - COLUMN_GAP - max(map(len, counts))
        for row in table.rows:
            _, *texts = row.cells[0].split("\n")
            assert len(texts) in (1, 2)
            line = "   ".join([texts[0], *map(str.strip, texts[1:])])
            assert (len(texts) == 1) == (len(line) <= room)
            shared.add(len(texts) == 1)
    assert shared == {False, True}


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_unknown_graph_has_no_flow_and_no_costs(tmp_path) -> None:
    """Where a flow is asked for, a line says why there is none."""
    model = keras.Sequential([keras.Input((6, 3)), la.LSTM(4)])
    model.save_weights(path := tmp_path / "x.weights.h5")
    result = rnnshapes.inspect(path)
    nothing, flow, steps = (
        render.to_document(result, View(parts=frozenset(parts)))
        for parts in ((), ("flow",), ("steps",))
    )
    assert nothing == steps
    assert " 1 layer" in f" {nothing[0].text}"
    assert "=" not in nothing[0].text  # of sizes
    (why,) = [block for block in flow if block not in nothing]
    assert "graph" in why.text


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_sizes_without_names_are_written_once(tmp_path) -> None:
    """Weights alone have shapes in numbers, and the columns of their gates."""
    model = keras.Sequential([keras.Input((6, 3)), la.LSTM(4)])
    model.save_weights(path := tmp_path / "x.weights.h5")
    result = rnnshapes.inspect(path)
    (table,) = [block for block in render.to_document(result, View()) if is_table(block)]
    (row,) = [row.cells for row in table.rows if "(3, 16)" in " ".join(row.cells)]
    assert " ".join(row).count("(3, 16)") == 1
    assert "48" in row
    (gates,) = [ln for ln in text_of(result, "gates").splitlines() if "(3, 16)" in ln]
    assert gates.count("(3, 16)") == 1
    for columns in ("i [:, 0:4]", "f [:, 4:8]", "c [:, 8:12]", "o [:, 12:16]"):
        assert columns in gates


# --- Values of weights --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Return a model with a NaN in the recurrent kernel of its second layer."""
    made = randomized(
        sequential(la.LSTM(5, name="a", return_sequences=True), la.SimpleRNN(4, name="b"))
    )
    kernel, recurrent, bias = made.get_layer("b").get_weights()
    recurrent[1, 2] = np.nan
    made.get_layer("b").set_weights([kernel, recurrent, bias])
    return made


def test_values_equal_those_of_numpy(model: keras.Model, tmp_path: Path) -> None:
    """By gate; the spectral radius by that of Wh of a gate."""
    for given in (model, saved(model, tmp_path / "model.keras")):
        values = {
            (each.name, each.gate): each for each in rnnshapes.inspect(given, values=True).values
        }
        arrays = {
            f"{name}/{weight}": array
            for name in "ab"
            for weight, array in zip(
                ("kernel", "recurrent_kernel", "bias"),
                model.get_layer(name).get_weights(),
                strict=True,
            )
        }
        assert len(values) == 3 * 4 + 3
        for (name, gate), found in values.items():
            part = arrays[name].astype("float64")
            if gate:
                part = np.split(part, 4, axis=-1)["ifco".index(gate)]
            finite = part[np.isfinite(part)]
            expected = (finite.min(), finite.max(), finite.mean(), np.sqrt((finite**2).sum()))
            numbers_found = (found.minimum, found.maximum, found.mean, found.norm)
            np.testing.assert_allclose(numbers_found, expected, rtol=1e-12)
            assert found.not_finite == part.size - finite.size == (name == "b/recurrent_kernel")
            has_radius = name == "a/recurrent_kernel"
            assert (found.spectral_radius is not None) == has_radius
            if has_radius:
                radius = max(abs(np.linalg.eigvals(part)))
                assert found.spectral_radius == pytest.approx(radius, rel=1e-9)


def test_values_are_those_of_the_result(model: keras.Model) -> None:
    """The count of NaN has a column where there are some; they have no other numbers."""
    result = rnnshapes.inspect(model, values=True)
    none: dict[str, Any] = dict.fromkeys(("minimum", "maximum", "mean", "norm"))
    nothing = replace(result.values[0], **none, not_finite=7)
    assert render.to_record(result)["values"] == [vars(each) for each in result.values]
    for shown, has_nan in (
        (result, True),
        (replace(result, values=tuple(v for v in result.values if not v.not_finite)), False),
        (replace(result, values=(nothing, *result.values[1:])), True),
    ):
        (table,) = tables_of(shown, parts=frozenset({"values"}), width=200)
        headings = [column.heading.replace("\n", " ") for column in table.columns]
        expected = ["weight", "gate", "min", "max", "mean", "norm", *["NaN, inf"] * has_nan]
        assert headings == [*expected, "spectral radius"]
        assert [column.rank for column in table.columns] == [0] * len(expected) + [1]
        for each, row in zip(shown.values, table.rows, strict=True):
            numbers = (each.minimum, each.maximum, each.mean, each.norm)
            radius = "" if each.spectral_radius is None else f"{each.spectral_radius:.4g}"
            assert row.cells == (
                *(each.name, each.gate),
                *("" if number is None else f"{number:.4g}" for number in numbers),
                *([str(each.not_finite)] if has_nan else []),
                radius,
            )


def test_nan_in_a_weight_is_marked(model: keras.Model) -> None:
    result = rnnshapes.inspect(model, values=True)
    document = render.to_document(result, View(parts=frozenset({"values"})))
    (table,) = [block for block in document if is_table(block)]
    (marked,) = [row for row in table.rows if row.meaning == "bad"]
    assert "b/recurrent_kernel" in marked.cells
    assert "1" in marked.cells
    mean = model.get_layer("a").get_weights()[2][5:10].mean()
    (line,) = [ln for ln in text_of(result, "values").splitlines() if "forget bias" in ln]
    assert f"{mean:.4g}" in line
    nothing = replace(result, values=tuple(replace(v, mean=None) for v in result.values))
    assert "forget bias" not in text_of(nothing, "values")


def test_values_of_a_saved_model_are_shown(model: keras.Model, tmp_path: Path, run) -> None:
    path = saved(model, tmp_path / "model.keras")
    for view in ("values", "all"):
        out = run("inspect", path, "--no-keras", "--view", view).out
        for word in ("min", "max", "mean", "norm", "NaN", "radius", "a/recurrent_kernel"):
            assert word in out
    unbuilt = saved(keras.Sequential([keras.layers.GRU(3)]), tmp_path / "unbuilt.keras")
    assert run("inspect", unbuilt, "--no-keras", "--view", "values").status == 2
    done = run("inspect", unbuilt, "--no-keras", "--view", "all")
    assert (done.status, "3M(D+M+2)" in done.out, "radius" in done.out) == (0, True, False)


def test_values_without_a_model_exit_2(run) -> None:
    assert_refused(run("inspect", "--no-keras", "--view", "values"), "model")
    with pytest.raises(rnnshapes.InputError, match="model"):
        rnnshapes.inspect(values=True)


def test_extreme_weights_have_values() -> None:
    network = from_sizes(M=4, K=3)
    weights = {name: dict(group) for name, group in draw(network, 3).items()}
    weights["simple_rnn"]["Wx"] = np.full((3, 4), 3e200)
    weights["simple_rnn"]["bh"] = np.full(4, np.nan)
    weights["dense"]["W"] = np.zeros((4, 3))
    values = {each.name: each for each in summarize_weights(network, weights)}
    large, lost, zeros = (
        values[name] for name in ("simple_rnn/kernel", "simple_rnn/bias", "dense/kernel")
    )
    assert large.norm == pytest.approx(3e200 * 12**0.5)
    assert (lost.minimum, lost.maximum, lost.mean, lost.norm) == (None,) * 4
    assert (lost.not_finite, large.not_finite, zeros.norm) == (4, 0, 0.0)
    assert [name for name, each in values.items() if each.spectral_radius is not None] == [
        "simple_rnn/recurrent_kernel"
    ]


@pytest.mark.parametrize(("units", "known"), [(1024, True), (1025, False)])
def test_spectral_radius_has_a_largest_size(units: int, known: bool, monkeypatch) -> None:
    network = from_sizes(M=units, D=1, K=1)
    weights = {name: dict(group) for name, group in draw(network, 3).items()}
    monkeypatch.setattr(np.linalg, "eigvals", np.diag)
    (values,) = [each for each in summarize_weights(network, weights) if "recurrent" in each.name]
    assert (values.spectral_radius is not None) == known


def test_each_input_has_random_numbers_of_its_own() -> None:
    """The weights do not depend on the count of inputs."""
    drawn = [[np.random.default_rng(s).random() for s in streams(5, more)] for more in range(4)]
    weights, inputs = ({numbers[which] for numbers in drawn} for which in (0, 1))
    assert (len(weights), len(inputs), len(weights | inputs)) == (1, 4, 5)


def test_causal_attention_is_told_apart() -> None:
    texts = set()
    for causal in (False, True):
        x = keras.Input((5, 4))
        h = la.GRU(3, return_sequences=True)(x)
        model = keras.Model(x, la.Attention()([h, h], use_causal_mask=causal))
        attention = rnnshapes.inspect(model).layers[-1]
        labels = [operation.label for operation in attention.operations]
        texts.add(" ".join([*labels, *map(str, attention.equations)]))
    assert len(texts) == 2


@pytest.mark.parametrize(("kind", "sign"), [(la.Add, "+"), (la.Subtract, "-"), (la.Multiply, "×")])
def test_joined_outputs_are_written_with_their_sign(kind: Any, sign: str) -> None:
    x = keras.Input((5, 4))
    model = keras.Model(x, kind()([la.GRU(3)(x), la.LSTM(3)(x)]))
    (equation,) = rnnshapes.inspect(model).layers[-1].equations
    assert str(equation) == f"y_hat = h1_{{T-1}} {sign} h2_{{T-1}}"

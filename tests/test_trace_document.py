"""What ``trace`` shows: one step in full, y_hat of NumPy beside Keras, and ``--step``."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import render
from rnnshapes.forward.recurrence_steps import TracedStep
from rnnshapes.forward.tracing import Trace
from rnnshapes.render.document import Drawing, Line, Sheet, Table
from rnnshapes.render.documents import tracing
from rnnshapes.render.view import TRACE_PARTS, View
from tests.helpers.blocks import width_of
from tests.helpers.commands import assert_refused
from tests.helpers.models import functional, randomized, sequential


@cache
def traced(keras: bool = False, **options: Any) -> Trace:
    """Return a trace with all states and gates."""
    return rnnshapes.trace(keras=keras, show="all", **options)


def tables(result: Trace, **view: Any) -> list[Table]:
    """Return the tables of its document."""
    return [b for b in render.to_document(result, View(**view)) if isinstance(b, Table)]


def titles(result: Trace, **view: Any) -> list[str]:
    """Return the titles of its drawings."""
    return [b.title for b in render.to_document(result, View(**view)) if isinstance(b, Drawing)]


def texts(result: Any, **view: Any) -> list[str]:
    """Return its lines of text."""
    return [b.text for b in render.to_document(result, View(**view)) if isinstance(b, Line)]


def step_text(result: TracedStep, width: int = 80) -> str:
    """Return the drawing of a step as text."""
    drawings = [b for b in render.to_document(result, View(width=width)) if isinstance(b, Drawing)]
    lines = [line for drawing in drawings for line in drawing.draw(Sheet(width))]
    return "\n".join("".join(span.text for span in spans) for spans in lines)


# --- One screen ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"T": 1000}, {"N": 3}, {"T": 2}])
def test_default_screen_has_at_most_32_lines(options: Any, monkeypatch) -> None:
    """Two hints come on top of these."""
    monkeypatch.setenv("COLUMNS", "80")
    result = rnnshapes.trace(keras=False, show="y,h", **options)
    assert len(repr(result).splitlines()) + 2 <= 32
    assert "t = 1" in repr(result)


@pytest.mark.parametrize("width", [40, 80, 160])
def test_outputs_of_both_sides_stand_at_each_step(width: int) -> None:
    """These columns are the last to give way; the last step is the output."""
    result = traced(keras=True)
    (table,) = tables(result, width=width)
    headings = [column.heading for column in table.columns]
    at = [headings.index(f"y_hat_t {side}") for side in ("NumPy", "Keras")]
    for t, row in enumerate(table.rows):
        assert row.cells[0] == str(t)
        for column, values in zip(at, (result.y_hat, result.y_hat_keras), strict=True):
            shown = [float(word) for word in row.cells[column].split() if word != "…"]
            np.testing.assert_allclose(shown, values[0, t][: len(shown)], atol=5.1e-5)
            assert len(shown) == (2 if width > 40 else 1)
        difference = np.abs(result.y_hat - result.y_hat_keras)[0, t].max()
        assert float(row.cells[at[1] + 1]) == pytest.approx(difference, rel=0.5)
    assert ["←" in row.cells[-1] for row in table.rows] == [False] * 9 + [True]
    (verdict,) = [text for text in texts(result) if text.startswith("ok")]
    assert re.search(r"Keras \d", verdict)


@cache
def wide(kind: str, keras: bool) -> Trace:
    """Return a trace of small numbers with four units of y_hat, or of the output."""
    recurrence = la.SimpleRNN(7, return_sequences=kind in ("joined", "sequence"))
    parts = {
        "plain": (recurrence,),
        "sequence": (recurrence,),
        "masked": (la.Masking(), recurrence),
        "joined": (recurrence, la.Flatten()),
    }
    x = 0.1 * np.random.default_rng(2).standard_normal((2, 11, 3))
    x[1, 3] = 0
    model = randomized(sequential(*parts[kind], la.Dense(4), shape=(11, 3)))
    return rnnshapes.trace(model, x=x, keras=keras)


@pytest.mark.parametrize(
    ("kind", "keras"),
    [("plain", False), ("sequence", True), ("masked", True), ("joined", False), ("joined", True)],
)
def test_as_many_units_as_fit_are_shown(kind: str, keras: bool) -> None:
    """Those of y_hat that are left out are counted."""
    result = wide(kind, keras)
    expected = result.output if kind == "joined" else result.y_hat[:, 0]
    narrowest: dict[int, int] = {}
    for width in range(11, 90):
        document = render.to_document(result, View(width=width, sample=1))
        table = next(block for block in document if isinstance(block, Table))
        headings = [column.heading for column in table.columns]
        at = next(i for i, heading in enumerate(headings) if "NumPy" in heading)
        numbers, more, _ = table.rows[0].cells[at].partition("…")
        count = len(numbers.split())
        shown = [float(number) for number in numbers.split()]
        np.testing.assert_allclose(shown, expected[1, :count], atol=5.1e-5)
        assert bool(more) == (count < 4)
        assert ("diff" in headings, "mask" in headings) == (keras, kind == "masked")
        left_out = [b.text for b in document if isinstance(b, Line) and "--view numb" in b.text]
        counted = kind != "joined" and count < 4
        assert [re.findall(r"\d+", text) for text in left_out] == [[str(4 - count), "4"]] * counted
        assert width_of(table) <= width or count == 1
        if narrowest.setdefault(count, width) == width and count > 1:
            assert width - width_of(table) <= keras  # one character on each side
    assert narrowest.keys() == set(range(1, 5))


def test_numbers_of_any_size_stand_below_each_other() -> None:
    """Each has the decimals for which there is room, and two digits are right in any case."""
    x = np.array([1e-6, -0.003, 0.4, -12.3456, 150.25, -2e6])[None, :, None]
    model = sequential(la.SimpleRNN(3, "linear"), la.Dense(2), shape=(6, 1))
    recurrence = [np.ones((1, 3)), np.zeros((3, 3)), np.zeros(3)]
    model.set_weights([*recurrence, -np.ones((3, 2)), np.zeros(2)])
    (table,) = tables(result := rnnshapes.trace(model, x=x, show="y,h", keras=False), width=80)
    headings = [column.heading for column in table.columns]
    for heading, values in (("h_t", result.layers[0].states["h"]), ("y_hat_t", result.y_hat)):
        at = next(i for i, text in enumerate(headings) if text.startswith(heading))
        assert len({len(row.cells[at]) for row in table.rows}) == 1
        shown = [[float(number) for number in row.cells[at].split()] for row in table.rows]
        np.testing.assert_allclose(shown, values[0], rtol=0.05)


def test_states_stand_in_the_table_or_are_drawn() -> None:
    """Up to six units are numbers; of more, or beside too little room, a drawing."""
    few, many = traced(M=6), traced(M=7)
    (table,) = tables(few)
    at = [column.heading for column in table.columns].index("h_t")
    for t, row in enumerate(table.rows):
        shown = [float(word) for word in row.cells[at].split()]
        np.testing.assert_allclose(shown, few.layers[0].states["h"][0, t], atol=0.0051)
    assert len(titles(few)) == 1
    assert [title.split(" over t")[0] for title in titles(many)[1:]] == ["h of simple_rnn"]
    assert [title.split(" over t")[0] for title in titles(few, width=40)[1:]] == ["h of simple_rnn"]
    for result, view in ((many, {}), (few, {"width": 40})):
        (table,) = tables(result, **view)
        assert "h_t" not in [column.heading for column in table.columns]


def test_states_and_long_mark_appear_where_they_fit() -> None:
    result = traced(cell="lstm", M=2)
    narrowest: dict[tuple[bool, str], int] = {}
    for width in range(24, 72):
        view: dict[str, Any] = {"width": width, "show": ("y", "c", "h")}
        (table,) = tables(result, **view)
        headings = [column.heading for column in table.columns]
        with_states = "h_t" in headings
        assert headings == ["t", *["h_t", "c_t"] * with_states, "y_hat_t NumPy", ""]
        assert width_of(table) <= width
        kind = (with_states, table.rows[-1].cells[-1])
        explained = [text for text in texts(result, **view) if text.endswith("model's output")]
        assert bool(explained) == (len(kind[1]) == 1)
        if narrowest.setdefault(kind, width) == width > 24:
            assert width_of(table) == width
    assert len(narrowest) == 4


@pytest.mark.parametrize("part", TRACE_PARTS)
def test_steps_beyond_a_short_time_axis_are_empty(part: str) -> None:
    """Of two sequences, one has seven steps and the other has six."""

    def joined(x: Any, y: Any) -> Any:
        return la.Dense(2)(la.Concatenate()([la.GRU(3)(x), la.GRU(4)(y)]))

    model = randomized(functional(joined, (6, 3), (7, 2)))
    result = rnnshapes.trace(model, keras=False, show="all")
    document = render.to_document(result, View(start=6, parts=frozenset({part})))
    steps = [[row.cells[0] for row in block.rows] for block in document if is_of_steps(block)]
    assert steps == {"summary": [[], ["6"]], "flow": []}.get(part, [[], ["6"]] * (len(steps) // 2))
    for block in document:
        if isinstance(block, Drawing):
            block.draw(Sheet(80))


def is_of_steps(block: Any) -> bool:
    """Tell whether a block is a table of time steps."""
    return isinstance(block, Table) and block.columns[0].heading == "t"


def test_both_directions_are_shown_alike() -> None:
    """Not one in the table and the other drawn."""
    _, *drawn = titles(traced(bidirectional=True))
    assert [title.split()[0] for title in drawn] == ["h→", "h←"]


def test_one_step_shows_the_inputs_and_each_value() -> None:
    """Of several steps it is step 1, whose h is not zero before."""
    for cell, names in (
        ("simple", ["x_1", "h_0", "x_1 Wx + bh", "h_0 Wh", "h_1 = "]),
        ("lstm", ["x_1", "h_0", "c_0", "i_1 = ", "f_1 = ", "c~_1 = ", "c_1 = ", "o_1 = ", "h_1 ="]),
        ("gru", ["x_1", "h_0", "z_1 = ", "r_1 = ", "h~_1 = ", "h_1 = "]),
    ):
        result = traced(cell=cell)
        document = render.to_document(result, View(parts=frozenset({"all"})))
        drawing, *others = [block for block in document if isinstance(block, Drawing)]
        assert "t = 1" in drawing.title
        assert (drawing.is_plotted, {other.is_plotted for other in others}) == (False, {True})
        for width in (40, 80, 160):
            lines = ["".join(s.text for s in spans) for spans in drawing.draw(Sheet(width))]
            labels = [line.strip() for line in lines if not re.match(r" +-?\d", line)]
            assert all(a.startswith(b) for a, b in zip(labels, names, strict=True))
        last = [float(word) for word in lines[-1].rpartition(")")[2].split()]
        np.testing.assert_allclose(last, result.layers[0].states["h"][0, 1], atol=6e-4)


@pytest.mark.parametrize(("view", "t"), [({"start": 4}, 4), ({"end": 1}, 0), ({}, 1)])
def test_chosen_steps_begin_with_the_one_shown(view: Any, t: int) -> None:
    assert f"t = {t}" in titles(traced(), **view)[0]
    (table,) = tables(traced(), **view)
    assert table.rows[0].cells[0] == str(view.get("start", 0))


def test_step_is_left_out_where_memory_is_short(monkeypatch) -> None:
    result = traced(T=7)
    monkeypatch.setattr("rnnshapes.memory.available", lambda: 1000)
    assert titles(result) == []
    assert [len(table.rows) for table in tables(result)] == [7]


def test_masked_steps_are_marked() -> None:
    model = randomized(sequential(la.Masking(), la.GRU(5), la.Dense(2), shape=(6, 3)))
    x = np.random.default_rng(0).standard_normal((1, 6, 3))
    x[0, 3] = 0
    result = rnnshapes.trace(model, x=x, show="y,h,gates", keras=False)
    (table,) = tables(result, width=200, show=("y", "h", "gates"))
    at = [column.heading for column in table.columns].index("z_t")
    assert [row.cells[1] for row in table.rows] == ["", "", "", "masked", "", ""]
    assert [row.cells[at] == "-" for row in table.rows] == [t == 3 for t in range(6)]


def test_warnings_stand_below_the_first_line() -> None:
    x = np.ones((1, 4, 3))
    x[0, 2, 1] = np.nan
    result = rnnshapes.trace(x=x, keras=False)
    assert "t 2, feature 1" in texts(result)[1]
    (table,) = tables(result)
    (numbers,) = tables(result, parts={"numbers"})
    for shown in (table, numbers):
        for column in range(1, len(shown.columns) - 1):
            is_nan = ["nan" in row.cells[column] for row in shown.rows]
            assert is_nan == [False, False, True, True]


def test_output_without_steps_is_compared() -> None:
    """The head joins all steps."""
    parts = (la.LSTM(5, return_sequences=True), la.Flatten(), la.Dense(2))
    result = rnnshapes.trace(randomized(sequential(*parts, shape=(6, 3))), show="y,h")
    table = tables(result)[0]
    outputs = (result.output, result.output_keras)
    for cell, values in zip(table.rows[0].cells, outputs, strict=False):
        np.testing.assert_allclose([float(w) for w in cell.split()], values[0], atol=5.1e-5)
    difference = np.abs(result.output - result.output_keras).max()
    assert float(table.rows[0].cells[2]) == pytest.approx(difference, rel=0.5)


# --- Views --------------------------------------------------------------------------------------


def test_each_view_shows_its_part() -> None:
    result = traced(cell="lstm", T=6)
    counts = {
        part: (len(titles(result, parts={part})), len(tables(result, parts={part})))
        for part in TRACE_PARTS
    }
    assert counts["summary"][1] == counts["numbers"][1] == 1
    assert (counts["flow"], counts["numbers"]) == ((7, 0), (0, 1))
    assert counts["all"] == tuple(map(sum, zip(*list(counts.values())[:-1], strict=True)))
    assert len(tables(result, parts={"numbers"})[0].columns) == 1 + 2 + 5 * 6


def test_unknown_view_exits_2(run) -> None:
    assert_refused(run("trace", "--no-keras", "--view", "foo"), "foo", *TRACE_PARTS)


def test_columns_of_numbers_give_way_in_order() -> None:
    """First units and differences stay longest; then unit after unit goes, the last first."""
    for keras in (False, True):
        result = rnnshapes.trace(N=2, T=3, D=3, M=2, K=3, cell="lstm", show="y,h,c", keras=keras)
        (table,) = tables(result, parts={"numbers"})
        by_rank: dict[int, list[str]] = {}
        for column in table.columns:
            by_rank.setdefault(column.rank, []).append(" ".join(column.heading.split()))
        first, *others = [by_rank[rank] for rank in sorted(by_rank)]
        units = [f"{name}[{unit}]" for unit in range(3) for name in ("y_hat", "h", "c")][1:-2]
        if not keras:
            assert first == ["t", "y_hat[0] NumPy"]
            assert others == [[f"{unit} NumPy"] for unit in units]
            continue
        assert first == ["t", "y_hat[0] NumPy", "y_hat[0] Keras"]
        h, c, *later = units
        assert [name for (name,) in others] == [
            "y_hat difference",
            *(f"{h} NumPy", f"{c} NumPy", "h difference", "c difference"),
            *(f"{h} Keras", f"{c} Keras"),
            *(f"{unit} {side}" for side in ("NumPy", "Keras") for unit in later[:3]),
            *(f"{later[3]} NumPy", f"{later[3]} Keras"),
        ]


# --- One step in full ---------------------------------------------------------------------------

CELLS = [
    {"cell": "simple"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "lstm", "bidirectional": True},
    {"cell": "gru", "go_backwards": True},
]


@pytest.mark.parametrize("options", CELLS, ids=str)
@pytest.mark.parametrize("t", [0, 3, 9])
def test_step_has_the_numbers_of_the_trace(options: Any, t: int) -> None:
    result = traced(N=2, **options)
    record = result.step(t, sample=1).to_dict()
    assert (record["schema"], record["t"], record["sample"]) == ("rnnshapes.step/1", t, 1)
    assert [layer["name"] for layer in record["layers"]] == [la_.name for la_ in result.layers]
    for found, layer in zip(record["layers"], result.layers, strict=True):
        assert found["direction"] == ("backward" if layer.reverse else "forward")
        states = list(layer.states.values())
        for state, values in zip(found["states"], states, strict=True):
            np.testing.assert_allclose(state["data"], values[1, t], rtol=1e-11, atol=1e-14)
        before = t + 1 if layer.reverse else t - 1
        for state, values in zip(found["inputs"][1:], states, strict=True):
            expected = values[1, before] if 0 <= before < 10 else np.zeros(5)
            np.testing.assert_allclose(state["data"], expected, rtol=1e-11, atol=1e-14)
        if found["y_hat"] is not None:
            np.testing.assert_allclose(found["y_hat"]["data"], result.y_hat[1, t], rtol=1e-10)
        text = step_text(result.step(t, sample=1))
        assert f"t = {t} " in text
        assert all(state["name"] in text for state in found["states"])
    assert record["layers"][-1]["y_hat"] is not None or "bidirectional" in options


def test_mask_of_y_hat_is_that_of_the_last_layer() -> None:
    layers = [la.Masking(), la.LSTM(4, return_sequences=True), la.Masking()]
    layers += [la.GRU(3, return_sequences=True), la.Dense(2)]
    x = np.random.default_rng(4).standard_normal((1, 6, 3)).astype("f")
    x[:, 4:] = 0
    model = randomized(sequential(*layers, shape=(6, 3)), seed=3)
    result = rnnshapes.trace(model, x=x, show="all", keras=False)
    first, second = (layer.mask for layer in result.layers)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(tracing.y_hat_mask(result), second)
    (table,) = tables(result)
    column = [column.heading for column in table.columns].index("mask")
    assert [row.cells[column] == "" for row in table.rows] == second[0].tolist()


def test_masked_step_repeats_the_states() -> None:
    model = randomized(sequential(la.Masking(), la.LSTM(5), la.Dense(2), shape=(6, 3)))
    x = np.random.default_rng(0).standard_normal((1, 6, 3))
    x[0, 3] = 0
    result = rnnshapes.trace(model, x=x, keras=False)
    (layer,) = result.step(3).to_dict()["layers"]
    assert layer["masked"] is True
    assert layer["equations"] == []
    for state, before in zip(layer["states"], layer["inputs"][1:], strict=True):
        np.testing.assert_array_equal(state["data"], before["data"])


def test_arrays_of_a_step_are_read_only() -> None:
    (recurrence,) = traced(cell="lstm").step(2).recurrences
    view = recurrence.step(2)
    values = [*view.inputs, *view.states, *(v for e in view.equations for v in e.values)]
    for value in values:
        with pytest.raises(ValueError, match="read-only"):
            value.values[0] = 0


@pytest.mark.parametrize("args", [("--T", 4, "--step", 4), ("--step", -1), ("--step", 10)])
def test_missing_step_exits_2(args: Any, run) -> None:
    done = run("trace", "--no-keras", *args)
    assert done.status == 2
    assert done.out == ""
    assert f"step {args[-1]}" in done.err


def test_missing_step_or_sample_is_an_error() -> None:
    for t, sample in ((10, 0), (-1, 0), (0, 1), (0, -1)):
        with pytest.raises(rnnshapes.InputError, match="0"):
            traced().step(t, sample)


CONFLICTS = [
    ("--steps", "2:4"),
    ("--show", "h"),
    ("--view", "flow"),
    ("--plot", "a.png"),
    ("-o", "a.npz"),
]


@pytest.mark.parametrize("more", CONFLICTS, ids=" ".join)
def test_options_that_contradict_step_exit_2(more: Any, run, in_folder) -> None:
    assert_refused(run("trace", "--no-keras", "--step", 3, *more), "--step")
    assert list(in_folder.iterdir()) == []


def test_step_and_no_keras_do_not_run_keras(run, monkeypatch) -> None:
    monkeypatch.setattr("rnnshapes.reference.run", None)
    monkeypatch.setattr("rnnshapes.reference.build", None)
    for options in (("--step", 3), ("--no-keras",), ("--step", 0, "--no-keras")):
        assert run("trace", "--T", 4, *options).status == 0
    with pytest.raises(TypeError):
        run("trace", "--T", 4)


def test_step_is_written_in_every_format(run, in_folder) -> None:
    args = ("trace", "--no-keras", "-q", "--cell", "lstm", "--step", 3)
    shown = run(*args)
    assert shown.status == 0
    names = ["x_3", "h_2", "c_2", "i_3", "f_3", "c~_3", "c_3", "o_3", "h_3"]
    for ending in ("txt", "md", "html", "svg", "json", "csv"):
        assert run(*args, "-o", f"a.{ending}").status == 0
        text = Path(f"a.{ending}").read_text("utf-8")
        assert [name for name in names if name not in text] == []
    (layer,) = json.loads(Path("a.json").read_text("utf-8"))["layers"]
    rows = list(csv.DictReader(StringIO(Path("a.csv").read_text("utf-8"))))
    result = rnnshapes.trace(cell="lstm", keras=False)
    for key in "hc":
        values = [float(row["number"]) for row in rows if row["value"] == f"{key}_3"]
        (state,) = [state for state in layer["states"] if state["name"] == f"{key}_3"]
        assert values == state["data"]
        assert len(values) == 5
    html = result.step(3)._repr_html_()
    assert [name for name in names if name not in html] == []
    assert "x_3" in repr(result.step(3))


def test_rows_of_a_step_are_its_numbers() -> None:
    """Inputs, named values and y_hat; of a masked step the states."""
    sizes: dict[str, Any] = {"N": 2, "T": 6, "D": 3, "M": 4, "K": 5}
    result = traced(**sizes)
    x, h = rnnshapes.golden(**sizes).arrays["x"], result.layers[0].states["h"]
    values = {"x_2": x[1, 2], "h_1": h[1, 1], "h_2": h[1, 2], "y_hat_2": result.y_hat[1, 2]}
    headings, *rows = render.to_rows(result.step(2, sample=1))
    assert headings == ("layer", "t", "value", "unit", "number")
    assert [row[:4] for row in rows] == [
        ("simple_rnn", 2, name, unit)
        for name, numbers in values.items()
        for unit in range(len(numbers))
    ]
    np.testing.assert_allclose([row[4] for row in rows], np.concatenate(list(values.values())))
    _, *rows = render.to_rows(masked_both().step(4, sample=1))
    names = dict.fromkeys(row[2] for row in rows if "forward" in row[0])
    assert list(names) == ["m_4", "h→_3", "c→_3", "h→_4", "c→_4", "y_hat_4"]


def test_step_of_one_layer_is_chosen_by_name(run) -> None:
    args = ("--M", 5, "--M", 4, "--step", 2, "--format", "json")
    names = [layer["name"] for layer in json.loads(run("trace", *args, "--no-keras").out)["layers"]]
    assert names == ["simple_rnn", "simple_rnn_1"]
    done = run("trace", *args, "--no-keras", "--layer", names[1])
    assert [layer["name"] for layer in json.loads(done.out)["layers"]] == names[1:]


# --- For programs -------------------------------------------------------------------------------


def masked_both() -> Trace:
    """Return a trace of both directions with a mask, which the backward one reads first."""
    lstm = la.Bidirectional(la.LSTM(5, return_sequences=True), name="both")
    model = randomized(sequential(la.Masking(), lstm, la.Dense(2), shape=(6, 3)))
    x = np.random.default_rng(0).standard_normal((3, 6, 3))
    x[1, 4:] = 0
    return rnnshapes.trace(model, x=x, show="all", keras=True)


def test_json_arrays_and_rows_hold_the_trace() -> None:
    result = masked_both()
    record, arrays = result.to_dict(), dict(tracing.arrays(result))
    assert (record["causal"], record["not_derived"]) == (False, ())
    assert [la_["direction"] for la_ in record["layers"]] == ["forward", "backward"]
    np.testing.assert_array_equal(arrays["y_hat"], record["y_hat"]["numpy"])
    np.testing.assert_array_equal(arrays["y_hat_keras"], record["y_hat"]["keras"])
    for layer, found in zip(result.layers, record["layers"], strict=True):
        expected = {**layer.states, "mask": layer.mask}
        expected |= {f"{key}_keras": values for key, values in layer.keras.items()}
        assert {"h", "c", "mask", "h_keras", "c_keras"} == expected.keys()
        expected_gates = {f"gate_{gate}": values for gate, values in layer.gates.items()}
        assert found["gates"].keys() == layer.gates.keys()
        for key, values in expected.items():
            np.testing.assert_array_equal(found[key], values)
        for key, values in {**expected, **expected_gates}.items():
            np.testing.assert_array_equal(arrays.pop(f"{layer.name}.{key}"), values)
    assert arrays.keys() == {"y_hat", "y_hat_keras"}
    headings, *rows = tracing.rows(result)
    assert [row[:2] for row in rows] == [(n, t) for n in range(3) for t in range(6)]
    columns = dict(zip(headings, zip(*rows, strict=True), strict=True))
    assert len(columns) == 2 + 2 * 2 + 2 * (1 + 4 * 5 + 4 * 5)
    assert columns["y_hat[1]"] == tuple(result.y_hat[..., 1].reshape(-1).tolist())
    backward = result.layers[1]
    shown = columns[f"{backward.name}.h[4]"]
    assert shown == tuple(backward.states["h"][..., 4].reshape(-1).tolist())
    assert columns[f"{backward.name}.mask[0]"] == tuple(backward.mask.reshape(-1).tolist())


def test_arrays_without_steps_stand_at_the_first() -> None:
    """And a shorter time axis ends before a longer one."""
    result = wide("joined", True)
    arrays = tracing.arrays(result)
    np.testing.assert_array_equal(arrays["output"], result.output)
    np.testing.assert_array_equal(arrays["output_keras"], result.output_keras)
    assert not any(name.startswith("y_hat") for name in arrays)

    def joined(x: Any, y: Any) -> Any:
        a, b = la.GRU(3, name="a")(x), la.SimpleRNN(4, name="b")(y)
        return la.Dense(2)(la.Concatenate()([a, b]))

    model = randomized(functional(joined, (3, 2), (5, 2)))
    two = rnnshapes.trace(model, N=2, show="h", keras=False)
    headings, *rows = tracing.rows(two)
    columns = dict(zip(headings, zip(*rows, strict=True), strict=True))
    assert [row[:2] for row in rows] == [(n, t) for n in range(2) for t in range(5)]
    short, long = two.layers[0].states["h"][..., 1], two.layers[1].states["h"][..., 3]
    assert columns["b.h[3]"] == tuple(long.reshape(-1).tolist())
    assert columns["a.h[1]"] == (*short[0].tolist(), "", "", *short[1].tolist(), "", "")
    output = two.output if two.y_hat is None else None
    assert output is not None
    assert columns["output[1]"][::5] == tuple(output[:, 1].tolist())
    assert {*columns["output[1]"][1:5], *columns["output[1]"][6:]} == {""}


@pytest.mark.parametrize(
    ("options", "strong"),
    [({}, [9]), ({"bidirectional": True}, []), ({"return_sequences": True}, [])],
    ids=str,
)
def test_row_of_the_output_is_emphasized(options: Any, strong: list[int]) -> None:
    for part in ("summary", "numbers"):
        for table in tables(traced(**options), parts={part}):
            assert [t for t, row in enumerate(table.rows) if row.meaning == "strong"] == strong

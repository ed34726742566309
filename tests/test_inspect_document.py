"""What ``inspect`` shows: an answer on one screen, warnings first, and views of the rest."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import render
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.summary import Inspection
from rnnshapes.network.weight_values import summarize_weights
from rnnshapes.network.weights import draw, streams
from rnnshapes.render.document import Drawing, Line, Table
from rnnshapes.render.view import INSPECT_PARTS, View
from tests.helpers.commands import assert_refused
from tests.helpers.files import layer, legacy_file, numbers, saved
from tests.helpers.files import sequential as legacy_sequential
from tests.helpers.models import Doubled, randomized, sequential

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


def test_numbers_replace_the_last_step() -> None:
    assert "y_hat = h_5 W0" in text_of(inspected(), "summary")
    convolved = rnnshapes.inspect(sequential(la.Conv1D(4, 2), la.LSTM(5), la.Dense(2)))
    last = convolved.network.sizes["T'"] - 1
    assert f"y_hat = h_{last} W0" in text_of(convolved, "summary")


def test_both_directions_share_a_row() -> None:
    """Their counts stand once, times two; a direction of other weights has its own row."""
    same = text_of(rnnshapes.inspect(cell="gru", bidirectional=True), "summary")
    assert "Wx→ Wx←" in same
    assert "2 × 45" in same
    back = la.RNN(la.LSTMCell(4), go_backwards=True)
    other = la.Bidirectional(la.GRU(5), backward_layer=back)
    model = sequential(other, la.Dense(2), shape=(6, 3))
    result = rnnshapes.inspect(model)
    lines = text_of(result, "summary").splitlines()
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


def test_frozen_weights_are_counted_apart() -> None:
    frozen = sequential(la.LSTM(4), la.BatchNormalization(), shape=(6, 3))
    result = rnnshapes.inspect(frozen)
    assert result.params - result.trainable == 8
    assert f"{result.trainable:,}" in text_of(result)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
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


def test_views_are_joined_by_commas(run) -> None:
    out = run("inspect", "--no-keras", "-q", "--cell", "lstm", "--view", "gates,steps").out
    for words, is_shown in (("f [:, 5:10]", True), ("multiply-", True), ("At every t", False)):
        assert (words in out) == is_shown


def test_unknown_view_exits_2(run) -> None:
    assert_refused(run("inspect", "--no-keras", "--view", "gates,foo"), "foo", *INSPECT_PARTS)


def test_steps_keep_the_shape_on_narrow_screens() -> None:
    """Costs that N leaves open have no column."""
    model = keras.Sequential([keras.Input((6, 3)), la.Bidirectional(la.GRU(4))])
    view = View(parts=frozenset({"steps"}))
    (table,) = [b for b in render.to_document(rnnshapes.inspect(model), view) if is_table(b)]
    ranks = {column.heading: column.rank for column in table.columns}
    assert len(ranks) == 4
    assert [heading for heading, rank in ranks.items() if rank == 0] == ["tensor", "shape"]


def is_table(block: Any) -> bool:
    """Tell whether a block is a table."""
    return isinstance(block, Table)


def test_large_network_has_all_parts() -> None:
    result = rnnshapes.inspect(M=[3] * 9)
    document = render.to_document(result, View(parts=frozenset({"all"})))
    assert sum(isinstance(block, Drawing) for block in document) == 2
    assert sum(is_table(block) for block in document) == 2


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


def test_values_of_a_saved_model_are_shown(model: keras.Model, tmp_path: Path, run) -> None:
    path = saved(model, tmp_path / "model.keras")
    out = run("inspect", path, "--no-keras", "--view", "values").out
    for word in ("min", "max", "mean", "norm", "NaN", "radius", "a/recurrent_kernel"):
        assert word in out


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

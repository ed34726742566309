"""``trace``: y_hat and h at each step, from NumPy and from Keras."""

from __future__ import annotations

import copy
import csv
import json
import pickle
import re
from io import StringIO
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.errors import InputError
from rnnshapes.forward import scan, tracing
from rnnshapes.load import inputs
from rnnshapes.network import from_sizes as sizes
from rnnshapes.network import weights
from rnnshapes.session import open_session
from tests.helpers.commands import mentioning
from tests.helpers.keras_runs import KerasRun
from tests.helpers.models import model_of, randomized, sequential

SIZES = ["--N", 2, "--T", 6, "--D", 4, "--M", 5, "--K", 3]


def by_hand(w: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The notebook's own loop, one sample and one step at a time, in float64."""
    rnn = {key: value.astype("float64") for key, value in w["simple_rnn"].items()}
    dense = {key: value.astype("float64") for key, value in w["dense"].items()}
    hs, ys = [], []
    for sample in x.astype("float64"):
        h = np.zeros(rnn["bh"].shape)
        for x_t in sample:
            h = np.tanh(x_t @ rnn["Wx"] + h @ rnn["Wh"] + rnn["bh"])
            hs.append(h)
            ys.append(h @ dense["W"] + dense["b"])
    n, t, _ = x.shape
    return np.reshape(hs, (n, t, -1)), np.reshape(ys, (n, t, -1))


def test_every_step_equals_a_handwritten_loop(small_run: KerasRun) -> None:
    run = small_run
    result = tracing.trace_network(run.network, run.weights, run.sources, ("y", "h"))
    h, y_hat = by_hand(run.weights, run.xs[0])
    np.testing.assert_allclose(result.layers[0].states["h"], h, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(result.y_hat, y_hat, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(result.output, result.y_hat[:, -1])


@pytest.mark.parametrize("name", ["small_run", "stacked_run"])
def test_keras_agrees_at_every_step(name: str, request) -> None:
    """The two differ by rounding only, and Keras's last row is its own predict."""
    run = request.getfixturevalue(name)
    result = tracing.trace_network(
        run.network, run.weights, run.sources, ("y", "h"), keras=run.keras
    )
    assert result.y_hat_keras.shape == result.y_hat.shape
    assert 0 < result.difference.max_abs < 1e-5
    for layer in result.layers:
        np.testing.assert_allclose(layer.states["h"], layer.keras["h"], atol=1e-5)
    np.testing.assert_array_equal(run.keras.outputs[0], result.y_hat_keras[:, -1])
    index = result.difference.index
    at = (index.sample, index.t, index.unit)
    assert abs(result.y_hat[at] - result.y_hat_keras[at]) == result.difference.max_abs


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("hidden", [5, [5, 4]])
def test_block_size_does_not_change_the_trace(size: int, hidden: Any) -> None:
    net = sizes.from_sizes(N=2, T=7, D=3, M=hidden, K=2)
    w = weights.draw(net, 1)
    (source,) = inputs.random_inputs(net, 1)

    def run(steps: int) -> list[scan.Block]:
        return list(scan.run(net, w, ([x] for x in source.blocks(steps))))

    (once,), blocks = run(7), run(size)
    parts = np.concatenate([b.values[-1].at_steps[0] for b in blocks])
    np.testing.assert_allclose(parts, once.values[-1].at_steps[0], rtol=1e-14)
    assert [b.start for b in blocks] == list(range(0, 7, size))


def test_drawn_input_ignores_block_size() -> None:
    """The generator makes two float32 at once, which odd blocks would show."""
    net = sizes.from_sizes(N=3, T=11, D=5)
    (source,) = inputs.random_inputs(net, 4)
    parts = np.concatenate(list(source.blocks(3)), axis=1)
    np.testing.assert_array_equal(parts, inputs.full_array(source))
    assert parts.shape == (3, 11, 5)


def test_seed_decides_weights_and_input() -> None:
    first, again, other = (rnnshapes.trace(keras=False, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.y_hat, again.y_hat)
    assert not np.any(first.y_hat == other.y_hat)
    drawn = weights.draw(sizes.from_sizes(), 3)
    assert np.all(drawn["simple_rnn"]["bh"] != 0)
    assert np.all(drawn["dense"]["b"] != 0)


def test_no_keras_gives_the_same_numbers(run) -> None:
    with_keras = json.loads(run("trace", *SIZES, "--format", "json").out)
    without = json.loads(run("trace", *SIZES, "--format", "json", "--no-keras").out)
    assert with_keras["y_hat"]["numpy"] == without["y_hat"]["numpy"]
    assert without["y_hat"]["keras"] is None
    assert without["difference"] is None


def test_json_holds_every_sample_step_and_unit(run) -> None:
    done = run("trace", *SIZES, "--show", "y,h", "--format", "json", "--sample", 1)
    record = json.loads(done.out)
    assert done.status == 0
    assert record["schema"] == "rnnshapes.trace/1"
    ours, theirs = (np.array(record["y_hat"][side]) for side in ("numpy", "keras"))
    assert ours.shape == theirs.shape == (2, 6, 3)
    assert np.array(record["layers"][0]["h"]).shape == (2, 6, 5)
    np.testing.assert_array_equal(np.array(record["output"]["keras"]), theirs[:, -1])
    np.testing.assert_array_equal(np.array(record["output"]["numpy"]), ours[:, -1])
    apart = record["difference"]
    assert apart["max_abs"] == np.abs(ours - theirs).max()
    at = (apart["sample"], apart["t"], apart["unit"])
    assert np.abs(ours - theirs)[at] == apart["max_abs"]


def test_csv_and_npz_equal_json(run, in_folder) -> None:
    record = json.loads(run("trace", *SIZES, "--show", "y,h", "--format", "json").out)
    rows = list(
        csv.DictReader(StringIO(run("trace", *SIZES, "--show", "h", "--format", "csv").out))
    )
    assert len(rows) == 2 * 6
    ours = np.array(record["y_hat"]["numpy"])
    for row in rows:
        at = int(row["sample"]), int(row["t"])
        assert [float(row[f"y_hat[{k}]"]) for k in range(3)] == ours[at].tolist()
    assert run("trace", *SIZES, "--show", "y,h", "-o", "out.npz").status == 0
    with np.load(in_folder / "out.npz", allow_pickle=False) as arrays:
        assert sorted(arrays.files) == [
            "simple_rnn.h",
            "simple_rnn.h_keras",
            "y_hat",
            "y_hat_keras",
        ]
        np.testing.assert_array_equal(arrays["y_hat"], ours)
        np.testing.assert_array_equal(arrays["simple_rnn.h"], record["layers"][0]["h"])


def test_table_shows_the_steps_of_one_sample(run) -> None:
    record = json.loads(run("trace", *SIZES, "--format", "json").out)
    out = run("trace", *SIZES, "--sample", 1, "--show", "y,h", "--view", "numbers").out
    rows = [line.split() for line in out.splitlines() if line[:1].isdigit()]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4, 5]
    for t, row in enumerate(rows):
        pairs = np.array([float(cell) for cell in row[1:7]]).reshape(3, 2)
        np.testing.assert_allclose(pairs[:, 0], record["y_hat"]["numpy"][1][t], atol=1e-8)
        np.testing.assert_allclose(pairs[:, 1], record["y_hat"]["keras"][1][t], atol=1e-8)
        assert float(row[7]) == pytest.approx(np.abs(pairs[:, 0] - pairs[:, 1]).max(), abs=2e-8)
        assert len(row) == 1 + (6 + 1) + (10 + 1)
    assert "sample 1" in out


@pytest.mark.parametrize(
    ("steps", "shown"), [("2:4", [2, 3]), (":2", [0, 1]), ("-2:", [4, 5]), ("0:6", list(range(6)))]
)
def test_steps_are_python_slices(steps: str, shown: list[int], run) -> None:
    out = run("trace", *SIZES, "--no-keras", "--steps", steps).out
    assert [int(line.split()[0]) for line in out.splitlines() if line[:1].isdigit()] == shown


def test_files_and_pipes_hold_every_step(run, in_folder) -> None:
    sizes = ("--T", 500, "--no-keras")
    for view in ("summary", "numbers"):
        piped = run("trace", *sizes, "--view", view).out
        assert sum(bool(re.match(r" *\d+  ", line)) for line in piped.splitlines()) == 500
    run("trace", *sizes, "--K", 30, "--view", "numbers", "-o", "t.md")
    rows = [row for row in (in_folder / "t.md").read_text("utf-8").splitlines() if "| " in row]
    assert len(rows) == 500 + 2
    assert rows[-1].count("|") == 1 + 1 + 30


def test_number_beyond_float32_is_named(run, in_folder) -> None:
    """It is finite in the file."""
    x = np.zeros((2, 5, 3))
    x[1, 2, 1] = 1e300
    np.save("big.npy", x)
    done = run("trace", "--input", "big.npy", "--no-keras")
    assert re.search(mentioning("float32", "1e+300", "sample 1, t 2"), done.out)


def test_nan_output_is_not_compared(run, in_folder) -> None:
    np.save("xn.npy", np.full((5, 3), np.nan))
    record = json.loads(run("trace", "--input", "xn.npy", "--format", "json").out)
    assert record["difference"] == {"max_abs": None, "sample": 0, "t": 0, "unit": 0}
    out = " ".join(run("trace", "--input", "xn.npy", "--view", "summary,numbers").out.split())
    assert re.search(mentioning("NaN", "t = 4", "sample 0, t 0"), out)


def test_source_names_each_masked_input(run) -> None:
    words, plain = la.Input((5,), name="words"), la.Input((5, 3), name="plain")
    read = la.LSTM(4)(la.Embedding(9, 2, mask_zero=True)(words))
    model = keras.Model([words, plain], la.Dense(2)(la.Add()([read, la.LSTM(4)(plain)])))
    source = rnnshapes.trace(model, keras=False).source
    masked, plain = source.split(";")
    assert re.search(mentioning("seed 0", "mask", "(words)"), masked)
    assert re.search(mentioning("seed 0", "(plain)"), plain)
    assert "mask" not in plain


def test_nan_in_x_is_traced_and_located(run, in_folder) -> None:
    """JSON has null."""
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    x[1, 2, 0] = np.nan
    np.save("x.npy", x)
    done = run("trace", "--input", "x.npy", "--sample", 1, "--no-keras")
    assert done.status == 0
    assert re.search(mentioning("NaN", "sample 1, t 2, feature 0"), done.out)
    record = json.loads(run("trace", "--input", "x.npy", "--format", "json").out)
    assert record["y_hat"]["numpy"][1][2] == [None, None]
    assert record["y_hat"]["keras"][1][1] != [None, None]
    assert record["difference"] == {"max_abs": None, "sample": 1, "t": 2, "unit": 0}
    assert record["not_finite"] == {"count": 1, "first": {"sample": 1, "t": 2, "unit": 0}}


def test_narrow_terminal_shows_each_quantity(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = run("trace", "--show", "h", "--K", 3, "--view", "numbers").out
    heading = next(line for line in out.splitlines() if line.count("y_hat[0]") > 1)
    assert heading.split() == ["y_hat[0]", "y_hat[0]", "y_hat", "h[0]", "h[0]", "h"]
    assert re.search(mentioning("y_hat[1]", "h[4]"), out)


def test_arrays_of_results_are_read_only() -> None:
    result = rnnshapes.trace(cell="lstm", show="all")
    arrays = (result.y_hat, result.output, result.y_hat_keras, result.output_keras)
    (layer,) = result.layers
    *_, masked = rnnshapes.trace(model_of("masked"), keras=False, show="h").layers
    for values in (*arrays, *layer.states.values(), *layer.gates.values(), masked.mask):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0
    again = pickle.loads(pickle.dumps(copy.deepcopy(result)))  # noqa: S301 - our own
    np.testing.assert_array_equal(again.y_hat, result.y_hat)
    assert repr(again) == repr(result)


def test_random_state_of_keras_is_unchanged() -> None:
    import keras

    keras.utils.set_random_seed(3)
    expected = np.array(keras.random.uniform((3,))), keras.initializers.GlorotUniform()((2, 2))
    keras.utils.set_random_seed(3)
    rnnshapes.verify()
    found = np.array(keras.random.uniform((3,))), keras.initializers.GlorotUniform()((2, 2))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_unknown_layer_is_refused_before_the_run(monkeypatch) -> None:
    monkeypatch.setattr("rnnshapes.reference.run", None)
    with open_session(cell="gru") as session:
        for compute in (session.trace, session.trace_with_golden, session.steps):
            with pytest.raises(InputError, match="choose one of gru"):
                compute(layer="other", keras=True)


def test_return_sequences_gives_every_step() -> None:
    import keras

    layers = [keras.Input((6, 3)), keras.layers.SimpleRNN(5, return_sequences=True)]
    model = keras.Sequential([*layers, keras.layers.Dense(2)])
    result = rnnshapes.trace(model, N=2)
    assert result.output.shape == (2, 6, 2)
    np.testing.assert_array_equal(result.output_keras, result.y_hat_keras)


def test_recurrent_convolution_alone_is_traced() -> None:
    """The output of ConvLSTM is compared; no step of it is shown."""
    layer = la.ConvLSTM1D(3, 2, return_sequences=True, unit_forget_bias=False)
    model = randomized(sequential(layer, la.Flatten(), la.Dense(2), shape=(4, 5, 2)))
    trace = rnnshapes.trace(model, N=2)
    np.testing.assert_allclose(trace.output, trace.output_keras, atol=1e-5)
    with pytest.raises(InputError):
        trace.step(1)
    notes = rnnshapes.inspect(model).layers[0].notes
    assert [note.topic for note in notes] == ["gates"]


@pytest.mark.parametrize("zeroed", [False, True])
def test_masked_y_hat_is_that_of_keras(zeroed: bool) -> None:
    """Of steps in front, between and at the end."""
    lstm = la.LSTM(4, zero_output_for_mask=zeroed)
    model = randomized(sequential(la.Masking(), la.Bidirectional(lstm), la.Dense(2)))
    x = np.random.default_rng(3).standard_normal((3, 6, 3)).astype("f")
    x[0, :2] = x[1, 3] = x[2, 4:] = 0
    traced = rnnshapes.trace(model, x=x)
    np.testing.assert_allclose(traced.y_hat, traced.y_hat_keras, atol=1e-5)

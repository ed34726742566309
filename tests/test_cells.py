"""LSTM and GRU: their gates, their states, and every way to get them wrong."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes.cells.registry import BY_NAME
from rnnshapes.forward import tracing
from rnnshapes.network import weights
from tests.helpers.activations import sigmoid
from tests.helpers.cells import FORMS, GATED
from tests.helpers.commands import assert_refused, mentioning
from tests.helpers.keras_runs import KerasRun, keras_run, numeric_checks, with_cell

SIZES = {"N": 3, "T": 8, "D": 4, "M": 5, "K": 2}


@cache
def run_with(**form: Any) -> KerasRun:
    """Run a network with this cell in Keras: all sizes different, biases not zero."""
    return keras_run(**SIZES, **form)


@pytest.fixture(scope="module", params=FORMS, ids=str)
def run_of(request) -> KerasRun:
    """A network of each cell, run in Keras."""
    return run_with(**request.param)


def lstm_by_hand(x: np.ndarray, w: Any, m: int) -> dict[str, np.ndarray]:
    """One sample, one step at a time, with slices written out in Keras's order."""
    h = c = np.zeros(m)
    rows = []
    for x_t in x:
        z = x_t @ w["Wx"] + h @ w["Wh"] + w["bh"]
        i, f = sigmoid(z[:m]), sigmoid(z[m : 2 * m])
        g, o = np.tanh(z[2 * m : 3 * m]), sigmoid(z[3 * m :])
        c = f * c + i * g
        h = o * np.tanh(c)
        rows.append({"h": h, "c": c, "gate_i": i, "gate_f": f, "gate_c": g, "gate_o": o})
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def gru_by_hand(x: np.ndarray, w: Any, m: int) -> dict[str, np.ndarray]:
    """With ``reset_after`` where there are two rows of biases, without it where there is one."""
    h = np.zeros(m)
    after = w["bh"].ndim == 2
    bx, bh = w["bh"] if after else (w["bh"], np.zeros(3 * m))
    rows = []
    for x_t in x:
        a, b = x_t @ w["Wx"] + bx, h @ w["Wh"] + bh
        z, r = sigmoid(a[:m] + b[:m]), sigmoid(a[m : 2 * m] + b[m : 2 * m])
        inner = r * b[2 * m :] if after else (r * h) @ w["Wh"][:, 2 * m :]
        g = np.tanh(a[2 * m :] + inner)
        h = z * h + (1 - z) * g
        rows.append({"h": h, "gate_z": z, "gate_r": r, "gate_h": g})
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


@pytest.mark.parametrize("spec", [form for form in FORMS if form["cell"] in GATED], ids=str)
def test_states_and_gates_equal_a_handwritten_loop(spec: dict[str, Any]) -> None:
    run = run_with(**spec)
    name = run.network.layers[0].name
    show = "y,h,c,gates" if spec["cell"] == "lstm" else "y,h,gates"
    result = tracing.trace_network(run.network, run.weights, run.sources, show)
    by_hand = {"lstm": lstm_by_hand, "gru": gru_by_hand}[spec["cell"]]
    w = {key: value.astype("float64") for key, value in run.weights[name].items()}
    layer = result.layers[0]
    found = {**layer.states, **{f"gate_{key}": values for key, values in layer.gates.items()}}
    for n, sample in enumerate(run.xs[0].astype("float64")):
        expected = by_hand(sample, w, 5)
        assert set(expected) == set(found)
        for key, values in expected.items():
            np.testing.assert_allclose(found[key][n], values, rtol=1e-12, atol=1e-14)


def test_each_state_has_a_check_that_passes(run_of: KerasRun) -> None:
    """An LSTM's c is checked too, though Keras's layer does not return it."""
    layer = run_of.network.layers[0]
    checks = numeric_checks(run_of)
    states = layer.cell.states
    assert [check.name for check in checks] == [
        f"{layer.name}: initial state",
        *(f"{layer.name}: {state} at every step" for state in states),
        f"{layer.name}: output",
        "dense: y_hat at every step",
        "predict: own output",
    ]
    for check in checks:
        assert check.passed
        assert 0 <= check.ratio <= 1
    assert all(check.ratio > 0 for check in checks[: len(states) + 1])
    counts = [3 * 5 * len(states), *[3 * 8 * 5] * len(states)]
    assert [check.compared for check in checks] == [*counts, 3 * 5, 3 * 8 * 2, 3 * 2]


def fails(run: KerasRun, changed: weights.Weights) -> bool:
    """Whether other weights are told from those that Keras has."""
    checks = numeric_checks(replace(run, weights=changed))
    first = run.network.layers[0].name
    return any(not check.passed for check in checks if check.name.startswith(first))


def test_any_two_swapped_gates_fail(run_of: KerasRun) -> None:
    """No shape tells two gates apart."""
    layer = run_of.network.layers[0]
    gates = list(layer.cell.gates)
    for one, other in itertools.combinations(range(len(gates)), 2):
        order = list(range(len(gates)))
        order[one], order[other] = other, one
        swapped = {}
        for key, values in run_of.weights[layer.name].items():
            parts = np.split(values, len(gates), axis=-1)
            swapped[key] = np.concatenate([parts[i] for i in order], axis=-1)
        assert fails(run_of, {**run_of.weights, layer.name: swapped}), (gates[one], gates[other])
    assert not fails(run_of, run_of.weights)


def test_any_changed_weight_fails(run_of: KerasRun) -> None:
    """Mutants lose a bias, swap its rows, transpose a gate's block or add a thousandth."""
    layer = run_of.network.layers[0]
    own = run_of.weights[layer.name]
    count = max(1, len(layer.cell.gates))
    mutants = {}
    for key, values in own.items():
        mutants[f"{key} a little larger"] = {**own, key: values * np.float32(1.001)}
    for row in range(np.atleast_2d(own["bh"]).shape[0]):
        lost = np.array(np.atleast_2d(own["bh"]))
        lost[row] = 0
        mutants[f"bias row {row} lost"] = {**own, "bh": lost.reshape(own["bh"].shape)}
    if own["bh"].ndim == 2:
        mutants["bias rows swapped"] = {**own, "bh": own["bh"][::-1]}
    for gate in range(count):
        blocks = [np.array(part) for part in np.split(own["Wh"], count, axis=1)]
        blocks[gate] = blocks[gate].T
        mutants[f"block {gate} transposed"] = {**own, "Wh": np.concatenate(blocks, axis=1)}
    for name, mutant in mutants.items():
        assert fails(run_of, {**run_of.weights, layer.name: mutant}), name


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ({"cell": "lstm"}, {"activation": "sigmoid"}),
        ({"cell": "lstm"}, {"recurrent_activation": "tanh"}),
        ({"cell": "gru", "reset_after": True}, {"activation": "relu"}),
        ({"cell": "gru", "reset_after": False}, {"recurrent_activation": "linear"}),
    ],
)
def test_wrong_activation_fails(spec: dict[str, Any], options: dict[str, Any]) -> None:
    run = run_with(**spec)
    network = with_cell(run.network, lambda cell: replace(cell, **options))
    assert fails(replace(run, network=network), run.weights)


@pytest.mark.parametrize("state", ["h", "c"])
@pytest.mark.parametrize("change", [lambda s: np.roll(s, 1, axis=1), lambda s: s * 1.001])
def test_wrong_lstm_states_fail(state: str, change: Any) -> None:
    """Each state follows from both states of the step before."""
    run = run_with(cell="lstm")
    states = {**run.keras.states["lstm"]}
    states[state] = change(states[state])
    outputs = replace(run.keras, states={"lstm": states})
    checks = {check.name: check for check in numeric_checks(replace(run, keras=outputs))}
    assert not checks[f"lstm: {state} at every step"].passed


#: Each cell with some options; all of them are in ``tests/test_network_grid.py``.
OPTIONS = [
    {**form, "M": m, "use_bias": use_bias, "activation": activation}
    for form, m, use_bias, activation in zip(
        FORMS,
        (5, [6, 4], 5, [6, 4]),
        (False, True, True, False),
        ("relu", "tanh", "relu", "tanh"),
        strict=True,
    )
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_correct_networks_pass(options: dict[str, Any]) -> None:
    result = rnnshapes.verify(N=2, T=3, D=7, K=8, **options)
    assert result.passed, result
    assert result.difference.max_abs < 1e-3


@pytest.mark.parametrize(("kind", "dtype"), [("LSTM", "float64"), ("GRU", "float32")])
def test_options_of_live_models_are_read(kind: str, dtype: str) -> None:
    import keras

    layer = getattr(keras.layers, kind)
    own = layer(5, name="mine", activation="sigmoid", recurrent_activation="tanh", dtype=dtype)
    model = keras.Sequential([keras.Input((6, 3)), own, keras.layers.Dense(2, dtype=dtype)])
    rng = np.random.default_rng(2)
    model.set_weights([rng.standard_normal(w.shape) for w in model.get_weights()])
    result = rnnshapes.verify(model, x=rng.standard_normal((2, 6, 3)))
    assert result.passed, result
    cell = result.network.recurrent[0].layer.cell
    assert (cell.activation, cell.recurrent_activation) == ("sigmoid", "tanh")


def test_columns_of_gates_are_shown(run) -> None:
    out = run("inspect", "--cell", "lstm", "--no-keras", "--view", "summary,gates").out
    for start, gate in enumerate("ifco"):
        columns = f"{5 * start}:{5 * start + 5}"
        assert out.count(columns) == 4  # once for all weights, and in each of three
        assert f"{gate} [:, {columns}]" in out
        assert f"{gate} [{columns}]" in out
    record = json.loads(run("inspect", "--cell", "gru", "--no-keras", "--format", "json").out)
    kernel, _, bias = record["layers"][0]["weights"]
    assert kernel["gates"] == [
        {"name": name, "axis": 1, "range": columns, "columns": columns}
        for name, columns in (("z", [0, 5]), ("r", [5, 10]), ("h", [10, 15]))
    ]
    assert bias["rows"] == ["input", "recurrent"]
    assert bias["gates"] == kernel["gates"]


@pytest.mark.parametrize(
    ("options", "equations"),
    [
        (
            ["--cell", "lstm"],
            [
                "z_i z_f z_c z_o = x_t Wx + h_{t-1} Wh + bh",
                "c_t = f_t × c_{t-1} + i_t × c~_t",
                "h_t = o_t × tanh(c_t)",
            ],
        ),
        (
            ["--cell", "gru"],
            ["h~_t = tanh(x_h + r_t × h_h)", "h_t = z_t × h_{t-1} + (1 - z_t) × h~_t"],
        ),
        (
            ["--cell", "gru", "--no-reset-after"],
            ["z_t = sigmoid(x_z + h_{t-1} Wh_z)", "h~_t = tanh(x_h + (r_t × h_{t-1}) Wh_h)"],
        ),
        (
            ["--cell", "lstm", "--M", "4", "--M", "3", "--no-bias"],
            ["c2_t = f2_t × c2_{t-1} + i2_t × c~2_t", "z_i z_f z_c z_o = h1_t Wx2 + h2_{t-1} Wh2"],
        ),
    ],
)
def test_equations_are_shown_in_textbook_letters(options, equations, run) -> None:
    layers = json.loads(run("inspect", "--no-keras", *options, "--format", "json").out)["layers"]
    recorded = [equation for layer in layers for equation in layer["equations"]]
    out = run("inspect", "--no-keras", *options).out
    for equation in equations:
        assert equation in recorded
        assert equation in out or "as lstm, with Wx2 Wh2" in out  # a layer like one before


def test_states_and_gates_are_in_every_format(run, in_folder) -> None:
    sizes = ("--cell", "lstm", "--N", 2, "--T", 4, "--M", 3, "--show", "y,h,c,gates")
    record = json.loads(run("trace", *sizes, "--format", "json").out)
    (layer,) = record["layers"]
    assert layer["name"] == "lstm"
    assert sorted(layer["gates"]) == ["c", "f", "i", "o"]
    for key in ("h", "c", "h_keras", "c_keras"):
        assert np.shape(layer[key]) == (2, 4, 3)
    np.testing.assert_allclose(layer["c"], layer["c_keras"], atol=1e-6)
    run("trace", *sizes, "-o", "t.npz")
    with np.load(in_folder / "t.npz") as arrays:
        np.testing.assert_array_equal(arrays["lstm.gate_o"], layer["gates"]["o"])
        np.testing.assert_array_equal(arrays["lstm.c_keras"], layer["c_keras"])
    assert (
        "lstm.gate_i[2]"
        in run("trace", *sizes, "--no-keras", "--format", "csv").out.splitlines()[0]
    )
    out = run("trace", *sizes, "--no-keras", "--view", "numbers").out
    for heading in ("h[0]", "c[2]", "gate i[0]", "gate o[2]"):
        assert heading in out


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["--cell", "rnn"], ["rnn", "simple", "lstm", "gru"]),
        (["--cell", "lstm", "--reset-after"], ["LSTM", "reset_after", "--cell gru"]),
        (["--recurrent-activation", "tanh"], ["SimpleRNN", "recurrent_activation", "--activation"]),
        (["--activation", "glu"], ["activation", "glu", "gelu"]),
        (["--activation", "foo"], ["activation", "foo", "tanh", "log_softmax"]),
    ],
)
def test_options_of_other_cells_exit_2(args, names, run) -> None:
    assert_refused(run("inspect", *args), *names)


def test_unknown_cells_and_options_raise_input_error() -> None:
    with pytest.raises(rnnshapes.InputError, match=mentioning("rnn", "simple", "lstm", "gru")):
        rnnshapes.inspect(cell="rnn")
    with pytest.raises(rnnshapes.InputError, match=mentioning("depth", "SimpleRNN")):
        rnnshapes.inspect(depth=3)
    with pytest.raises(rnnshapes.InputError, match=mentioning("c", "SimpleRNN", "y, h")):
        rnnshapes.trace(show="c", keras=False)


def test_registry_lists_all_cells() -> None:
    assert list(BY_NAME) == ["simple", "lstm", "gru"]


def test_revealed_h_equals_the_layers_own(run_of: KerasRun) -> None:
    """The layer and its cell in a loop that returns all states give the same numbers."""
    import keras

    layer = run_of.network.layers[0]
    own = getattr(keras.layers, layer.type)(5, return_sequences=True, **layer.cell.keras_options)
    x = run_of.xs[0]
    model = keras.Sequential([keras.Input(x.shape[1:]), own])
    own.set_weights(list(run_of.weights[layer.name].values()))
    found = model.predict(x, verbose=0)
    np.testing.assert_array_equal(found, run_of.keras.states[layer.name]["h"])

"""``verify --against`` for models: masks, states that are kept, heads of all kinds; the command."""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from tests.helpers.activations import softmax
from tests.helpers.commands import loaded_by
from tests.helpers.files import saved
from tests.helpers.handmade import LAYERS, SIZES, Port, explained, given, mentions, weights_of
from tests.helpers.models import functional, model_of, randomized, sequential, stateful


def with_masked_steps(value: float) -> np.ndarray:
    """x (3, 9, 4), of which each sample ends in other steps of that value, and one begins so."""
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("float32")
    x[0, 7:] = x[1, 5:] = x[2, 0] = x[2, 4] = value
    return x


@pytest.mark.parametrize(
    ("cell", "value", "in_file"),
    [("simple", -1.25, False), ("lstm", -1.25, True), ("gru", 0.0, True)],
)
def test_masked_steps_keep_the_state(cell: str, value: float, in_file: bool, tmp_path) -> None:
    """A port that knows so passes, any wrong number of it fails, one that reads them is told."""
    layer = {"simple": la.SimpleRNN, "lstm": la.LSTM, "gru": la.GRU}[cell](5, name="rnn")
    model: Any = randomized(
        sequential(la.Masking(value), layer, la.Dense(2, name="dense"), shape=(9, 4))
    )
    x = with_masked_steps(value)
    weights = weights_of(rnnshapes.golden(model, x=x, keras=False).arrays, "rnn")
    if in_file:
        model = saved(model, tmp_path / "m.keras")
    found = Port(cell).run(weights, x, mask=(x != value).any(axis=-1))
    last = found["y_hat"][:, -1]
    for port in (last, {key: found[key] for key in ("h", "c") if key in found}):
        assert rnnshapes.verify(model, x=x, against=port).passed
    if cell == "simple":
        wrong = np.array(last)
        wrong[1:, 1] += np.float32(1e-3)
        (check,) = rnnshapes.verify(model, x=x, against=wrong).checks
        assert (check.agrees, check.differing, check.first.sample) == (False, 2, 1)
    read = Port(cell).run(weights, x)["y_hat"][:, -1]
    assert explained(rnnshapes.verify(model, x=x, against=read)) == [("mask.ignored",)]


def test_port_of_sliced_tensors_is_diagnosed() -> None:
    """Python 3.11 cannot hash the slices that such a layer holds."""

    def cut(x: Any) -> Any:
        h = la.SimpleRNN(5, return_sequences=True, name="rnn")(x[:, :, 1:])
        return la.Dense(2, name="head")(h[:, -1])

    model = randomized(functional(cut, (8, 4)))
    arrays = rnnshapes.golden(model, N=3, keras=False).arrays
    wrong = rnnshapes.verify(model, N=3, against={"y_hat": 2 * arrays["y_hat"]})
    assert explained(wrong) == [("head.scaled",)]
    assert rnnshapes.verify(model, N=3, against={"y_hat": arrays["y_hat"]}).passed


def test_words_that_are_masked_keep_the_state() -> None:
    """Index 0 of an Embedding with mask_zero; x is whole numbers."""
    model = randomized(
        sequential(
            la.Embedding(7, 4, mask_zero=True, name="words"),
            la.GRU(5, name="gru"),
            la.Dense(2, name="dense"),
            shape=(9,),
        )
    )
    x = np.random.default_rng(1).integers(1, 7, (3, 9))
    x[0, 6:] = x[1, 3:] = 0
    golden = rnnshapes.golden(model, x=x, keras=False).arrays
    rows = golden["words/embeddings"][x]
    for mask, passes in ((x != 0, True), (None, False)):
        port = Port("gru").run(weights_of(golden, "gru"), rows, mask=mask)["y_hat"][:, -1]
        result = rnnshapes.verify(model, x=x, against=port)
        assert result.passed == passes
    assert explained(result) == [("mask.ignored",)]


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e20])
def test_masking_after_words_may_have_any_value(value: float) -> None:
    """The words are whole numbers, which have no such value."""
    parts = (la.Embedding(9, 3), la.Masking(value), la.LSTM(5), la.Dense(2))
    model = randomized(sequential(*parts, shape=(6,)))
    output = rnnshapes.golden(model, keras=False).arrays["output"]
    assert rnnshapes.verify(model, against={"output": output}).passed
    assert not rnnshapes.verify(model, against={"output": 1.01 * output + 0.01}).passed


def test_a_port_of_a_stateful_model_continues() -> None:
    """One that starts from zeros fails."""
    model = randomized(stateful(la.SimpleRNN(5, stateful=True, name="rnn")))
    model.predict(np.ones((2, 9, 3), "float32"), verbose=0)
    golden = rnnshapes.golden(model, keras=False).arrays
    weights = weights_of(golden, "rnn", model.layers[-1].name)
    start = golden["rnn.h_initial"].astype("float32")
    for first, passes in ((start, True), (None, False)):
        found = Port("simple").run(weights, golden["x"], start=first)
        for port in ({"h": found["h"]}, {"y_hat": found["y_hat"]}, found):
            assert rnnshapes.verify(model, against=port).passed == passes


@pytest.mark.parametrize(("batch", "steps"), [(2, 9), (8, 5)])
def test_a_mistake_of_a_stateful_port_is_named(batch: int, steps: int) -> None:
    """Though each batch starts from the states of the one before."""
    rnn = la.SimpleRNN(6, stateful=True, return_sequences=True, name="rnn")
    model = randomized(keras.Sequential([keras.Input(batch_shape=(batch, steps, 3)), rnn]))
    golden = rnnshapes.golden(model, N=2 * batch, keras=False).arrays
    port, weights, x = Port("simple", bias=2), weights_of(golden, "rnn", ""), golden["x"]
    first = port.run(weights, x[:batch])["h"]
    h = np.concatenate([first, port.run(weights, x[batch:], start=first[:, -1])["h"]])
    assert explained(rnnshapes.verify(model, N=2 * batch, against={"h": h})) == [("bias.twice",)]


def test_few_digits_in_one_batch_are_named() -> None:
    """Each step is computed from the port's own states, though the batch has a fixed size."""
    rnn = la.SimpleRNN(16, return_sequences=True)
    model = keras.Sequential([keras.Input(batch_shape=(2, 120, 3)), rnn])
    rng = np.random.default_rng(1)
    shapes = {"kernel": (3, 16), "recurrent_kernel": (16, 16), "bias": (16,)}
    weights = {n: rng.uniform(-1.5, 1.5, shape).astype("f") for n, shape in shapes.items()}
    model.set_weights([*weights.values()])
    x = rng.standard_normal((2, 120, 3)).astype("f")
    port = given(Port("simple", dtype="float16", bias=2).run(weights, x), "h")
    result = rnnshapes.verify(model, x=x, against=port)
    assert explained(result) == [("numeric.rounded", "bias.twice")]


def test_a_head_that_joins_time_has_one_output() -> None:
    """There is no y_hat at one step after Flatten; the states are there."""
    parts = (
        la.LSTM(5, return_sequences=True, name="lstm"),
        la.Flatten(),
        la.Dense(2, name="dense"),
    )
    model = randomized(sequential(*parts, shape=(9, 4)))
    golden = rnnshapes.golden(model, N=3, keras=False).arrays
    w = weights_of(golden, "lstm")
    head = {key: w.pop(key) for key in "Wb"}
    found = Port("lstm").run(w, golden["x"])
    answer = found["h"].reshape(3, -1) @ head["W"] + head["b"]
    for port in (answer, {"output": answer}, found):
        assert rnnshapes.verify(model, N=3, against=port).passed
    wrong = Port("lstm", order=("i", "o", "f", "c")).run(w, golden["x"])["h"]
    port = wrong.reshape(3, -1) @ head["W"] + head["b"]
    result = rnnshapes.verify(model, N=3, against=port)
    assert explained(result) == [("gates.order",)]
    assert mentions(result, "i, o, f, c", "ONNX")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("shared", ""), ("encoder, decoder", ""), ("float64", "")),
        *(("given states", "y_hat"), ("states alone", "output")),
    ],
)
def test_models_of_every_kind_agree_with_themselves(name: str, key: str) -> None:
    """Their golden numbers pass, and one wrong number among them is located."""
    model = model_of(name)
    golden = rnnshapes.golden(model, N=2).arrays
    assert rnnshapes.verify(model, N=2, against=golden).passed
    if key:
        wrong = np.array(golden[key])
        wrong.flat[-1] += 0.3
        result = rnnshapes.verify(model, N=2, against={key: wrong})
        assert explained(result) == []
        assert result.checks[0].first.sample == 1
        assert result.checks[0].differing == 1


def test_a_missing_activation_of_the_head_is_named() -> None:
    """The Dense layer has tanh, the port has none."""
    parts = (la.LSTM(5, name="lstm"), la.Dense(2, activation="tanh", name="dense"))
    model = randomized(sequential(*parts, shape=(9, 4)))
    golden = rnnshapes.golden(model, N=3, keras=False).arrays
    linear = Port("lstm").run(weights_of(golden, "lstm"), golden["x"])["y_hat"]
    for port in (np.tanh(linear), np.tanh(linear[:, -1])):
        assert rnnshapes.verify(model, N=3, against=port).passed
    for port in (linear, linear[:, -1]):
        result = rnnshapes.verify(model, N=3, against=port)
        assert explained(result) == [("head.activation",)]
        assert mentions(result, "dense", "tanh")


@pytest.mark.parametrize(("name", "bias"), [("relu6", [3, 30, 30]), ("tanh", [0, 9.5, 9.5])])
def test_units_that_hardly_vary_prove_nothing(name: str, bias: list[float]) -> None:
    """They agree although z is exchanged in the layer before."""
    parts = (la.GRU(6, return_sequences=True, name="gru"), la.Dense(3, name, name="dense"))
    model = randomized(sequential(*parts, shape=(9, 4)))
    model.layers[-1].bias.assign(bias)
    golden = rnnshapes.golden(model, N=3, keras=False).arrays
    linear = Port("gru", z_is_new=True).run(weights_of(golden, "gru"), golden["x"])["y_hat"]
    y_hat = {"relu6": lambda z: np.clip(z, 0, 6), "tanh": np.tanh}[name](linear)
    assert explained(rnnshapes.verify(model, N=3, against=y_hat)) == [("gru.z_complement",)]


#: What a port of a normalized head gets wrong, with the id of the mistake and its layer.
HEAD_MISTAKES: list[tuple[str, str, str]] = [
    ("left out", "head.batchnorm", "normal"),
    ("of the batch", "layer.batch_statistics", "normal"),
    ("epsilon", "head.batchnorm", "normal"),
    ("no root", "layer.deviation", "normal"),
    ("gamma for beta", "layer.arrays_exchanged", "normal"),
    ("moved rows", "weights.permuted", "dense"),
    ("activated twice", "head.activation", "dense"),
    ("not activated", "head.activation", "dense"),
    ("bias twice", "head.bias", "dense"),
    ("flat kernel", "layout.flat_buffer", "dense"),
]


@pytest.fixture(scope="module")
def normalized() -> Any:
    layers = [la.GRU(5, return_sequences=True, name="gru")]
    layers += [
        la.Dense(4, "tanh", name="dense"),
        la.BatchNormalization(epsilon=0.02, name="normal"),
    ]
    model = randomized(sequential(*layers, shape=(9, 3)))
    return model, rnnshapes.golden(model, N=3, keras=False).arrays


def normalized_head(golden: Any, wrong: str) -> np.ndarray:
    """y_hat (N, T, K) of a port with a mistake in the head."""
    kernel, bias = golden["dense/kernel"], golden["dense/bias"]
    if wrong == "flat kernel":
        kernel = kernel.T.reshape(kernel.shape)
    kernel = np.roll(kernel, 1, 0) if wrong == "moved rows" else kernel
    z = golden["gru.h"] @ kernel + bias * (2 if wrong == "bias twice" else 1)
    times = {"activated twice": 2, "not activated": 0}.get(wrong, 1)
    for _ in range(times):
        z = np.tanh(z)
    if wrong == "left out":
        return z.astype("float32")
    mean, variance, gamma, beta = (
        golden[f"normal/{name}"] for name in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    if wrong == "of the batch":
        mean, variance = z.mean((0, 1)), z.var((0, 1))
    epsilon = 1e-5 if wrong == "epsilon" else 0.02
    if wrong == "gamma for beta":
        gamma, beta = beta, gamma
    if wrong == "no root":
        return ((z - mean) / (variance + epsilon) * gamma + beta).astype("float32")
    return ((z - mean) / np.sqrt(variance + epsilon) * gamma + beta).astype("float32")


def test_port_of_a_normalized_head_agrees(normalized: Any) -> None:
    model, golden = normalized
    assert rnnshapes.verify(model, N=3, against=normalized_head(golden, "")).passed


@pytest.mark.parametrize(("wrong", "id_", "layer"), HEAD_MISTAKES)
def test_mistake_in_the_head_is_named(normalized: Any, wrong: str, id_: str, layer: str) -> None:
    model, golden = normalized
    result = rnnshapes.verify(model, N=3, against=normalized_head(golden, wrong))
    assert explained(result) == [(id_,)]
    assert result.to_dict()["diagnosis"][0]["where"]["layer"] == layer


def test_a_shared_layer_has_a_mistake_once() -> None:
    """Each call has the same weights: a bias that is added twice is not added four times."""

    def made(x: Any) -> Any:
        gru = la.GRU(4, name="gru")
        return la.Add()([gru(x), gru(la.Masking(0.0)(x))])

    model = randomized(functional(made))
    other = randomized(functional(made))
    kernel, recurrent, bias = model.get_layer("gru").get_weights()
    other.get_layer("gru").set_weights([kernel, recurrent, 2 * bias])
    port = rnnshapes.golden(other, N=3, keras=False).arrays["y_hat"]
    assert explained(rnnshapes.verify(model, N=3, against=port)) == [("bias.twice",)]


# --- The command --------------------------------------------------------------------------------


@pytest.fixture
def port(lstm: Path, in_folder: Path) -> Path:
    """A right port of the saved model."""
    golden = rnnshapes.golden(str(lstm), N=2, keras=False).arrays
    weights = weights_of(golden, "encode", "answer")
    np.save("port.npy", Port("lstm").run(weights, golden["x"])["y_hat"])
    wrong = Port("lstm", order=("i", "o", "f", "c")).run(weights, golden["x"])
    np.savez("wrong.npz", **{key: wrong[key] for key in ("h", "c", "y_hat")})
    return lstm


def test_the_command_exits_0_without_keras(port: Path) -> None:
    """Keras is not imported for a saved model."""
    command = ["verify", str(port), "--N", "2", "--against", "port.npy"]
    code = f"from rnnshapes import cli; assert cli.main({command!r}) == 0"
    assert loaded_by(code) <= {"numpy", "h5py"}


def test_a_wrong_port_exits_1_with_its_reason(port: Path, run, monkeypatch) -> None:
    """The explanation, then the first number that differs; at any width."""
    for width in (40, 1000):
        monkeypatch.setenv("COLUMNS", str(width))
        done = run("verify", port, "--N", 2, "--against", "wrong.npz")
        assert done.status == 1
        assert done.err == ""
        lines = done.out.splitlines()
        assert max(map(len, lines[:-1])) <= width
        assert lines[0].startswith("FAILED")
        text = " ".join(done.out.split())
        why, first = text.index("i, o, f, c (ONNX's)"), text.index("sample 0, t 0, unit 0: ")
        assert why < first < text.index("encode: c at every step", first)
    done = run("verify", port, "--N", 2, "--against", "port.npy")
    assert (done.status, done.err) == (0, "")
    verdict = done.out.splitlines()[0]
    assert (verdict.split()[0], "24 numbers" in verdict) == ("AGREES", True)


def test_json_has_the_keys_that_others_rely_on(port: Path, run) -> None:
    np.save("noise.npy", np.random.default_rng(0).standard_normal((2, 2)).astype("f"))
    found = {}
    for name, network in (("port.npy", [port]), ("wrong.npz", [port]), ("noise.npy", [])):
        done = run("verify", *network, "--N", 2, "--against", name, "--format", "json")
        found[name] = record = json.loads(done.out)
        assert record["schema"] == "rnnshapes.verify/1"
        assert record["port"] == name
        assert record["dtype"] == "float32"
        assert record["passed"] is (done.status == 0) is (name == "port.npy")
        for check in record["checks"]:
            assert {"name", "passed", "compared", "ratio", "detail"} <= set(check)
            assert check["passed"] is (check["ratio"] <= 1)
    right, wrong, noise = found.values()
    assert (right["diagnosis"], right["tried"], right["nearest"]) == ([], 0, None)
    (why,) = wrong["diagnosis"]
    assert why["id"] == "gates.order"
    (mistake,) = why["mistakes"]
    assert mistake["id"] == "gates.order"
    assert [mistake["text"]] == why["conventions"] == [why["text"]]
    assert "i, o, f, c" in mistake["text"]
    assert why["compared"] == sum(check["compared"] for check in wrong["checks"])
    assert wrong["checks"][0]["first"] == {"sample": 0, "t": 0, "unit": 0}
    assert wrong["nearest"] is None
    assert noise["diagnosis"] == []
    assert noise["tried"] > 200
    assert noise["nearest"]["max_abs"] > 0.1


def test_csv_and_markdown_tell_the_same(port: Path, run) -> None:
    """There is a row for each array, and one for the explanation."""
    done = run("verify", port, "--N", 2, "--against", "wrong.npz", "--format", "csv")
    heads, *rows = csv.reader(done.out.splitlines())
    assert heads[:4] == ["name", "passed", "compared", "expected"]
    assert [row[:2] for row in rows[:-1]] == [
        *(["encode: h at every step", "false"], ["encode: c at every step", "false"]),
        ["y_hat at every step", "false"],
    ]
    assert rows[-1][0] == "explanation"
    assert "i, o, f, c" in rows[-1][-1]
    done = run("verify", port, "--N", 2, "--against", "wrong.npz", "-o", "report.md")
    assert done.status == 1
    assert "i, o, f, c" in Path("report.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dtype", "float16"], "--dtype requires --against"),
        (["--against", "port.npy", "--dtype", "int8"], "float32, float64, float16, bfloat16"),
        (["--against", "port.npy", "--N", 3], "it has 2 samples, the input 3"),
        (["--against", "none.npy"], "none.npy: there is no such file"),
    ],
)
def test_wrong_usage_is_one_line(args: list[Any], message: str, port: Path, run) -> None:
    """Exit status 2."""
    done = run("verify", port, *args)
    assert done.status == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert message in done.err


def test_outputs_that_are_not_joined_are_diagnosed() -> None:
    """merge_mode=None gives one output for each direction, which the model adds."""

    def added(x: Any) -> Any:
        layer = la.Bidirectional(la.GRU(5, return_sequences=True), merge_mode=None)
        return la.Dense(2)(la.Add()(layer(x)))

    model = randomized(functional(added, (9, 4)))
    y_hat = rnnshapes.golden(model, keras=False).arrays["y_hat"]
    assert not rnnshapes.verify(model, against={"y_hat": y_hat + 1}).passed


@pytest.mark.parametrize(
    "id_",
    [
        *("layer.omitted", "layer.epsilon", "layer.axis", "layer.unscaled", "layer.deviation"),
        "embedding.shifted",
    ],
)
def test_a_wrong_layer_beside_the_recurrence_is_named(id_: str) -> None:
    """A normalization is left out, or divides by another number; or tokens count from 1."""
    layers = [la.Embedding(7, 4, name="words"), la.SimpleRNN(5, name="rnn", return_sequences=True)]
    model = randomized(sequential(*layers, la.LayerNormalization(name="norm"), shape=(9,)))
    x = np.random.default_rng(1).integers(1, 7, (3, 9))
    golden = rnnshapes.golden(model, x=x, keras=False).arrays
    rows = golden["words/embeddings"][x - (id_ == "embedding.shifted")]
    h = Port("simple").run(weights_of(golden, "rnn"), rows)["h"]
    epsilon = np.float32(1e-5 if id_ == "layer.epsilon" else 1e-3)
    axis = 1 if id_ == "layer.axis" else -1
    deviation = h - h.mean(axis, keepdims=True)
    scale = 1 / np.sqrt((deviation**2).mean(axis, keepdims=True) + epsilon)
    if id_ == "layer.deviation":
        scale = 1 / (h.std(axis, keepdims=True, ddof=1) + epsilon)
    if id_ != "layer.unscaled":
        scale = scale * golden["norm/gamma"]
    y_hat = h if id_ == "layer.omitted" else deviation * scale + golden["norm/beta"]
    assert explained(rnnshapes.verify(model, x=x, against={"y_hat": y_hat})) == [(id_,)]


@pytest.mark.parametrize("taken", ["mean", "last"])
def test_wrong_pooling_is_named(taken: str) -> None:
    layers = [la.SimpleRNN(5, name="rnn", return_sequences=True), la.GlobalMaxPooling1D()]
    model = randomized(sequential(*layers, la.Dense(2, name="dense"), shape=(9, 4)))
    golden = rnnshapes.golden(model, N=3, keras=False).arrays
    h = Port("simple").run(weights_of(golden, "rnn"), golden["x"])["h"]
    pooled = h.mean(1) if taken == "mean" else h[:, -1]
    port = {"output": pooled @ golden["dense/kernel"] + golden["dense/bias"]}
    result = rnnshapes.verify(model, x=golden["x"], against=port)
    assert explained(result) == [("head.pooling",)]


def test_padding_before_each_sample_is_named() -> None:
    layers = [la.Masking(0.0), la.GRU(5, name="rnn"), la.Dense(2, name="dense")]
    model = randomized(sequential(*layers, shape=(9, 4)))
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("float32")
    x[0, 7:] = x[1, 4:] = 0.0
    weights = weights_of(rnnshapes.golden(model, x=x, keras=False).arrays, "rnn")
    moved = np.stack([np.roll(x[0], 2, axis=0), np.roll(x[1], 5, axis=0), x[2]])
    last = Port("gru").run(weights, moved)["y_hat"][:, -1]
    assert explained(rnnshapes.verify(model, x=x, against=last)) == [("mask.padding_first",)]


def test_mask_that_is_one_step_short_is_named() -> None:
    model = randomized(
        sequential(la.Masking(0.0), la.GRU(5, name="rnn"), la.Dense(2, name="dense"), shape=(9, 4))
    )
    x = with_masked_steps(0.0)
    weights = weights_of(rnnshapes.golden(model, x=x, keras=False).arrays, "rnn")
    mask = (x != 0).any(axis=-1)
    mask[[0, 1, 2], [6, 4, 8]] = False
    last = Port("gru").run(weights, x, mask=mask)["y_hat"][:, -1]
    assert explained(rnnshapes.verify(model, x=x, against=last)) == [("mask.shifted",)]
    x[:, 8] = 0.0
    same = np.repeat(weights["b"][None], 3, axis=0)  # h is 0 after a masked step
    assert explained(rnnshapes.verify(model, x=x, against=same)) == []


@pytest.mark.parametrize(("cell", "what"), [("simple", "y_hat"), ("lstm", "last")])
def test_states_zeroed_at_masked_steps_are_named(cell: str, what: str) -> None:
    layer = {"simple": la.SimpleRNN, "lstm": la.LSTM, "gru": la.GRU}[cell]
    layers = [la.Masking(0.0), layer(5, name="rnn", return_sequences=what != "last")]
    model = randomized(sequential(*layers, la.Dense(2, name="dense"), shape=(14, 4)))
    x = np.random.default_rng(6).standard_normal((3, 14, 4)).astype("float32")
    x[1, 11:] = x[2, 9:11] = 0.0
    weights = weights_of(rnnshapes.golden(model, x=x, keras=False).arrays, "rnn")
    port = Port(cell, zeroed_when_masked=True)
    found = port.run(weights, x, mask=(x != 0).any(axis=-1))
    result = rnnshapes.verify(model, x=x, against=given(found, what))
    assert explained(result) == [("mask.zeroed_state",)]


def masked_port(
    cell: str, *, sequences: bool, mask_value: float = 0.0
) -> tuple[Any, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Return a model, x with masked steps inside and at the end, weights, and the mask."""
    layer = {"simple": la.SimpleRNN, "lstm": la.LSTM, "gru": la.GRU}[cell]
    layers = [la.Masking(mask_value), layer(5, name="rnn", return_sequences=sequences)]
    model = randomized(sequential(*layers, la.Dense(2, name="dense"), shape=(9, 4)))
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("float32")
    x[0, 7:] = x[1, 5:] = x[2, 4] = x[0, 2] = mask_value
    weights = weights_of(rnnshapes.golden(model, x=x, keras=False).arrays, "rnn")
    return model, x, weights, (x != mask_value).any(axis=-1)


@pytest.mark.parametrize("what", ["y_hat", "last"])
@pytest.mark.parametrize(
    "change",
    [
        lambda mask: np.logical_and.accumulate(mask, axis=1),
        lambda mask: np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1],
        lambda mask: np.arange(9) < mask.sum(axis=1)[:, None],
        lambda mask: mask[[-1] * 3],
        lambda mask: mask[[0] * 3],
    ],
    ids=["ends early", "ends alone", "counts", "of the last", "of the first"],
)
def test_another_length_of_a_sample_is_named(change: Any, what: str) -> None:
    model, x, weights, mask = masked_port("gru", sequences=what == "y_hat", mask_value=-1.25)
    found = Port("gru").run(weights, x, mask=change(mask))
    assert explained(rnnshapes.verify(model, x=x, against=given(found, what))) == [("mask.length",)]


@pytest.mark.parametrize(("held", "what"), [("h", "y_hat"), ("c", "states"), ("h", "last")])
def test_state_changed_at_masked_steps_is_named(held: str, what: str) -> None:
    model, x, weights, mask = masked_port("lstm", sequences=what != "last")
    x[2, 0], mask[2, 0] = 0.0, False
    found = Port("lstm", held_when_masked=held).run(weights, x, mask=mask)
    result = rnnshapes.verify(model, x=x, against=given(found, what))
    assert explained(result) == [("mask.state_updated",)]
    assert mentions(result, f"{held} alone")


def test_zeros_at_masked_steps_are_named() -> None:
    """As the last output of a sample, or as states that are right beside them."""
    model, x, weights, mask = masked_port("lstm", sequences=False)
    found = Port("lstm").run(weights, x, mask=mask)
    zeros = {"output": (found["h"] * mask[..., None])[:, -1] @ weights["W"] + weights["b"]}
    ids = explained(rnnshapes.verify(model, x=x, against=zeros))
    assert ("mask.zeroed_output",) in ids
    packed = {"h": found["h"] * mask[..., None], "c": found["c"]}
    assert explained(rnnshapes.verify(model, x=x, against=packed)) == [("mask.zeroed_output",)]
    packed["h"][2, 4, 1] = 0.5
    assert explained(rnnshapes.verify(model, x=x, against=packed)) == []


@pytest.mark.parametrize(
    ("ignoring", "zeroed", "joined"), [(0, False, False), (1, False, True), (1, True, True)]
)
def test_a_direction_that_ignores_the_mask_is_named(
    ignoring: int, zeroed: bool, joined: bool
) -> None:
    """Keras, too, joins zeros at masked steps."""
    both = la.Bidirectional(la.GRU(5, name="gru", return_sequences=True), name="both")
    model = randomized(sequential(la.Masking(0.0), both, la.Dense(2, name="dense"), shape=(9, 4)))
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("float32")
    x[0, 7:] = x[1, 5:] = x[1, 2] = 0.0
    golden = rnnshapes.golden(model, x=x, keras=False).arrays
    mask, states, outputs = (x != 0).any(axis=-1), {}, []
    for number, way in enumerate(("forward", "backward")):
        weights = weights_of(golden, f"both/{way}_gru", "")
        order = slice(None, None, -1 if number else 1)
        used = mask[:, order] | (number == ignoring)
        h = Port("gru").run(weights, x[:, order], mask=used)["h"][:, order]
        states[f"both/{way}_gru.h"] = h
        outputs.append(h if number == ignoring and not zeroed else h * mask[..., None])
    y_hat = np.concatenate(outputs, -1) @ golden["dense/kernel"] + golden["dense/bias"]
    result = rnnshapes.verify(model, x=x, against={"y_hat": y_hat} if joined else states)
    assert explained(result) == [("mask.ignored",)]
    where = result.to_dict()["diagnosis"][0]["where"]
    assert where["direction"] == ("forward", "backward")[ignoring]


def test_a_layer_that_ignores_the_mask_is_named() -> None:
    layers = [la.SimpleRNN(5, name="first", return_sequences=True), la.SimpleRNN(6, name="rnn")]
    model = randomized(
        sequential(la.Masking(0.0), *layers, la.Dense(2, name="dense"), shape=(9, 4))
    )
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("float32")
    x[0, 7:] = x[1, 5:] = x[1, 2] = 0.0
    golden = rnnshapes.golden(model, x=x, keras=False).arrays
    mask = (x != 0).any(axis=-1)
    h = Port("simple").run(weights_of(golden, "first", ""), x, mask=mask)["h"]
    last = Port("simple").run(weights_of(golden, "rnn"), h)["y_hat"][:, -1]
    result = rnnshapes.verify(model, x=x, against=last)
    assert explained(result) == [("mask.ignored",)]
    assert result.to_dict()["diagnosis"][0]["where"]["layer"] == "rnn"


def _scaled_to_8_bits(table: np.ndarray, axis: int | None) -> np.ndarray:
    scale = np.abs(table).max(axis, keepdims=True) / 127
    return np.rint(table / scale) * scale


@pytest.mark.parametrize(
    ("change", "id_", "words"),
    [
        (lambda table: table[::-1], "embedding.shifted", "V - 1 - i"),
        (lambda table: table[[0, 1, 2, 4, 5, 6, 6]], "embedding.shifted", "row 3"),
        (lambda table: table[[0, 1, 2, 3, 4, 1, 1]], "embedding.unknown", "from 5"),
        (lambda table: table[[0, 1, 5, 3, 4, 2, 6]], "embedding.permuted", "2 and 5"),
        (lambda table: np.round(table, 2), "weights.quantized", "2 decimal"),
        (lambda table: _scaled_to_8_bits(table, None), "weights.quantized", "(one scale)"),
        (lambda table: _scaled_to_8_bits(table, 0), "weights.quantized", "each column"),
        (lambda table: _scaled_to_8_bits(table, 1), "weights.quantized", "each row"),
    ],
)
def test_a_wrong_table_of_words_is_named(change: Any, id_: str, words: str) -> None:
    layers = [la.Embedding(7, 4, mask_zero=True, name="words"), la.SimpleRNN(5, name="rnn")]
    model = randomized(sequential(*layers, la.Dense(2, name="dense"), shape=(9,)))
    x = np.random.default_rng(1).integers(1, 7, (3, 9))
    x[0, 6:] = x[1, 3:] = 0
    golden = rnnshapes.golden(model, x=x, keras=False).arrays
    rows = change(golden["words/embeddings"])[x]
    h = Port("simple").run(weights_of(golden, "rnn"), rows, mask=x != 0)["h"]
    result = rnnshapes.verify(model, x=x, against={"h": h})
    assert explained(result) == [(id_,)]
    assert mentions(result, words)


@pytest.mark.parametrize(("axes", "sequences"), [(0, True), (0, False), (None, False)])
def test_a_softmax_over_samples_is_named(axes: int | None, sequences: bool) -> None:
    layers = [la.SimpleRNN(5, name="rnn", return_sequences=sequences)]
    model = randomized(sequential(*layers, la.Dense(3, "softmax", name="dense"), shape=(9, 4)))
    golden = rnnshapes.golden(model, N=4, keras=False).arrays
    z = Port("simple").run(weights_of(golden, "rnn"), golden["x"])["y_hat"]
    z = z if sequences else z[:, -1]
    port = {"y_hat" if sequences else "output": np.exp(z) / np.exp(z).sum(axes)}
    result = rnnshapes.verify(model, N=4, against=port)
    assert explained(result) == [("head.activation",)]
    assert mentions(result, "all numbers" if axes is None else "the samples")


HEADS: list[tuple[str, Any]] = [
    ("head.activation", lambda h, W, b: h @ W + b),
    ("head.activation", lambda h, W, b: np.exp(h @ W + b)),
    ("head.activation", lambda h, W, b: (h @ W + b) / (h @ W + b).sum(axis=-1, keepdims=True)),
    ("head.activation", lambda h, W, b: softmax(softmax(h @ W + b))),
    ("head.activation", lambda h, W, b: np.log(softmax(h @ W + b))),
    ("head.activation", lambda h, W, b: 1 / (1 + np.exp(-h @ W - b))),
    ("head.activation", lambda h, W, b: np.tanh(h @ W + b)),
    ("head.activation", lambda h, W, b: np.maximum(h @ W + b, 0)),
    ("head.bias", lambda h, W, b: softmax(h @ W)),
    ("head.bias", lambda h, W, b: softmax(h @ W + 2 * b)),
    ("head.bias", lambda h, W, b: softmax(h @ W + np.roll(b, 1))),
    ("head.bias", lambda h, W, b: softmax(h @ W + np.roll(b, -1))),
    ("weights.permuted", lambda h, W, b: softmax(h @ np.roll(W, 1, axis=0) + b)),
    ("weights.permuted", lambda h, W, b: softmax(h @ np.roll(W, -1, axis=0) + b)),
]


@pytest.mark.parametrize(("id_", "head"), HEADS)
def test_each_mistake_of_the_head_is_named(id_: str, head: Any) -> None:
    golden = rnnshapes.golden(softmax_model(), N=4, keras=False).arrays
    h = Port("simple").run(weights_of(golden, "rnn"), golden["x"])["h"]
    port = head(h, golden["dense/kernel"], golden["dense/bias"]).astype("float32")
    assert explained(rnnshapes.verify(softmax_model(), N=4, against={"y_hat": port})) == [(id_,)]


@functools.cache
def softmax_model() -> Any:
    layers = [la.SimpleRNN(5, name="rnn", return_sequences=True)]
    return randomized(sequential(*layers, la.Dense(3, "softmax", name="dense"), shape=(9, 4)))


@pytest.mark.parametrize(("cell", "what"), [("simple", "y_hat"), ("lstm", "h"), ("gru", "h")])
def test_states_kept_between_directions_are_named(cell: str, what: str) -> None:
    sizes = {**SIZES, "cell": cell, "bidirectional": True}
    golden = rnnshapes.golden(**sizes, seed=3).arrays
    layer = LAYERS[cell]
    names = [f"bidirectional/{way}_{layer}" for way in ("forward", "backward")]
    forward = Port(cell).run(weights_of(golden, names[0], ""), golden["x"])
    end = {key: forward[key][:, -1] for key in ("h", "c") if key in forward}
    port = Port(cell, reverse=True, turned_back=True)
    weights = weights_of(golden, names[1], "")
    backward = port.run(weights, golden["x"], start=end["h"], start_c=end.get("c"))
    sides = [forward["h"], backward["h"]]
    h = np.concatenate(sides, -1)
    against = {
        "h": {f"{name}.h": side for name, side in zip(names, sides, strict=True)},
        "y_hat": {"y_hat": h @ golden["dense/kernel"] + golden["dense/bias"]},
    }[what]
    result = rnnshapes.verify(**sizes, seed=3, against=against)
    assert explained(result) == [("direction.states_carried",)]
    assert result.diagnosis.explanations[0].mistakes[0].where.direction == "backward"


@pytest.mark.parametrize("what", ["y_hat", "output"])
def test_dropout_that_is_active_is_named(what: str) -> None:
    layer = la.SimpleRNN(5, return_sequences=what == "y_hat", name="rnn")
    layers = [layer, la.Dropout(0.4, name="drop"), la.Dense(2, "tanh", name="dense")]
    model = randomized(sequential(*layers, shape=(9, 4)))
    golden = rnnshapes.golden(model, N=6, keras=False).arrays
    h = Port("simple").run(weights_of(golden, "rnn"), golden["x"])["h"]
    h = h if what == "y_hat" else h[:, -1]
    rng = np.random.default_rng(3)
    h = h * (rng.random(h.shape) > 0.4) / 0.6
    port = np.tanh(h @ golden["dense/kernel"] + golden["dense/bias"]).astype("float32")
    result = rnnshapes.verify(model, N=6, against={what: port})
    assert explained(result) == [("layer.dropout_active",)]
    other = rng.normal(0, 0.5, port.shape).astype("float32")
    if what == "output":
        assert explained(rnnshapes.verify(model, N=6, against={what: other})) == []


def test_no_shift_explains_a_step_it_omits() -> None:
    """The right output is the same at every step, and the port's last one is wrong."""
    head = la.Dense(2, kernel_initializer="zeros", bias_initializer="ones")
    model = sequential(la.LSTM(4, return_sequences=True), head)
    y_hat = rnnshapes.golden(model, N=3).arrays["y_hat"].copy()
    y_hat[:, -1] += 0.3
    result = rnnshapes.verify(model, N=3, against={"y_hat": y_hat})
    assert not result.passed
    assert explained(result) == []


def two_readers(x: Any) -> Any:
    """x is read by an LSTM, and by a stack of cells."""
    cells = la.RNN([la.LSTMCell(4), la.GRUCell(5)])(x)
    return la.Dense(2)(la.concatenate([la.LSTM(5)(x), cells]))


NOISY: dict[str, Any] = {
    "two readers": lambda: functional(two_readers, (6, 3)),
    "lstm": lambda: sequential(la.LSTM(4), la.Dense(2)),
    "convolution": lambda: sequential(la.Conv1D(5, 3, activation="relu"), la.GRU(4), la.Dense(3)),
    "both directions": lambda: sequential(
        la.Bidirectional(la.LSTM(4, return_sequences=True), merge_mode="sum"), la.Dense(2)
    ),
    "backwards": lambda: sequential(
        la.GRU(4, go_backwards=True, return_sequences=True), la.SimpleRNN(5), la.Dense(2)
    ),
    "masked": lambda: sequential(la.Masking(0.0), la.LSTM(4, return_sequences=True), la.Dense(2)),
    "normalized": lambda: sequential(
        la.GRU(5, return_sequences=True, reset_after=False), la.LayerNormalization(), la.Dense(2)
    ),
    "pooled": lambda: sequential(
        la.SimpleRNN(4, return_sequences=True), la.GlobalAveragePooling1D(), la.Dense(3)
    ),
}


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("kind", NOISY)
def test_a_noisy_port_of_any_model_is_searched(kind: str, samples: int) -> None:
    """Every mistake, and those beside the nearest ones, can be computed, and none explains it."""
    model = randomized(NOISY[kind](), seed=3)
    output = rnnshapes.golden(model, N=samples, keras=False).arrays["output"]
    noise = np.random.default_rng(1).normal(0, 0.03, output.shape)
    result = rnnshapes.verify(model, N=samples, against={"output": (output + noise).astype("f")})
    assert not result.passed
    assert explained(result) == []
    assert result.diagnosis.tried > 500


def test_a_port_without_recurrence_is_searched() -> None:
    layers = [la.Conv1D(4, 2, padding="causal"), la.Dense(2)]
    model = randomized(sequential(*layers, shape=(6, 3)), seed=3)
    x = np.random.default_rng(2).standard_normal((3, 6, 3)).astype("f")
    y = model(x).numpy()
    assert rnnshapes.verify(model, x=x, against={"output": y}).passed
    noise = np.random.default_rng(1).normal(0, 0.1, y.shape).astype("f")
    result = rnnshapes.verify(model, x=x, against={"output": y + noise})
    assert not result.passed
    assert explained(result) == []

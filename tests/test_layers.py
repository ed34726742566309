"""Every layer, option and graph: shapes, steps and proofs are those of Keras."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError
from rnnshapes.forward.numpy_run import numpy_outputs
from rnnshapes.load.live import network as live
from tests.helpers.commands import assert_refused, mentioning
from tests.helpers.covering import covering
from tests.helpers.keras_runs import failed, inspection_of, one_run, run_model, run_of
from tests.helpers.models import (
    MODELS,
    encoder_decoder,
    functional,
    model_of,
    randomized,
    sequential,
    stateful,
)

#: Models that Keras compiles, among them one of every cell; others run eagerly.
COMPILED = (*("masked, backwards", "embedded, masked", "normalized", "convolved, same"),)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_traced_and_verified(name: str, request) -> None:
    """Weights are random, and all sizes differ."""
    if name in COMPILED:
        request.getfixturevalue("compiled")
    model, run = model_of(name), None if name in COMPILED else run_of(name)
    result = inspection_of(name)
    assert result.keras.agrees
    assert result.to_dict()["total"]["params"] == model.count_params()
    notes = [note for layer in result.layers for note in layer.notes]
    assert {note.topic for note in notes} <= {"gates", "time", "warning", "use"}
    with one_run(model, run, N=4, seed=5) as session:
        verified, traced = session.verify(), session.trace(show="y,h")
    assert verified.passed, verified
    assert not verified.unsupported
    np.testing.assert_allclose(traced.output, traced.output_keras, atol=1e-4)
    if traced.y_hat is not None:
        assert traced.difference.max_abs < 1e-4
    for layer in traced.layers:
        for key, values in layer.states.items():
            apart = np.abs(values - layer.keras[key])
            counted = apart if layer.mask is None else apart[layer.mask]
            assert counted.max() < 1e-4
    assert repr(traced)


def between(a: Any, b: Any) -> Any:
    """A decoder that starts from a layer behind the encoder."""
    state = la.Dense(5)(la.GRU(4)(la.Masking()(a)))
    return la.Dense(2)(la.GRU(5)(b, initial_state=state))


@pytest.mark.parametrize(
    ("name", "each"),
    [
        ("between", ["GRU", "GRU", "Dense"]),
        ("masked, both", ["Bidirectional", "Dense"]),
        ("encoder, decoder, both", ["Bidirectional"]),
        ("unmerged", ["Bidirectional", "Add", "Dense"]),
        ("two ranks", ["GRU"]),
    ],
)
def test_runs_in_numpy_and_keras_hold_the_same(name: str, each: list[str]) -> None:
    """Arrays of the same names and shapes; masks are equal.

    Keras has the output at each step where a recurrence returns the last one.
    """
    if name == "between":
        run = run_model(randomized(functional(between, (5, 3), (4, 2))), N=3)
    else:
        run = run_of(name)
    ours, keras = numpy_outputs(run.network, run.weights, run.xs), run.keras
    inputs = {node.name for node in run.network.inputs}
    assert set(keras.values) == set(ours.values) - inputs
    for kind in ("values", "each"):
        for node, arrays in vars(keras)[kind].items():
            expected = vars(ours)[kind][node]
            assert [array.shape for array in arrays] == [array.shape for array in expected]
    for kind in ("states", "starts"):
        found, expected = (
            {(n, key): a.shape for n, own in vars(of)[kind].items() for key, a in own.items()}
            for of in (keras, ours)
        )
        assert found == expected
    assert set(keras.masks) == set(ours.masks)
    for node, mask in keras.masks.items():
        np.testing.assert_array_equal(mask, ours.masks[node])
    types = {node.name: node.layer.type for node in run.network.nodes}
    assert [types[node] for node in keras.each] == each


OPTIONS = covering(
    {
        "cell": ("simple", "lstm", "gru", "gru, reset before"),
        "direction": ("forwards", "backwards", "both"),
        "use_bias": (True, False),
        "return_sequences": (True, False),
        "masked": (True, False),
        "dtype": ("float32", "float64"),
    },
    strength=3,
)
for row, mode in zip(
    (row for row in OPTIONS if row["direction"] == "both"),
    itertools.cycle(("concat", "sum", "mul", "ave")),
    strict=False,
):
    row["direction"] = mode


@pytest.mark.parametrize("options", OPTIONS, ids=lambda row: "-".join(map(str, row.values())))
def test_every_triple_of_options_is_verified(options: dict[str, Any]) -> None:
    """All numbers of all steps are compared."""
    own = dict(options)
    cell, direction, masked = own.pop("cell"), own.pop("direction"), own.pop("masked")
    dtype = own["dtype"]
    kind = {"simple": la.SimpleRNN, "lstm": la.LSTM}.get(cell, la.GRU)
    if kind is la.GRU:
        own["reset_after"] = cell == "gru"
    if direction in ("forwards", "backwards"):
        layer = kind(5, go_backwards=direction == "backwards", **own)
    else:
        layer = la.Bidirectional(kind(5, **own), merge_mode=direction, dtype=dtype)
    parts = [la.Masking(dtype=dtype)] if masked else []
    head = la.Dense(2, dtype=dtype)
    model = randomized(sequential(*parts, layer, head, shape=(3, 3), dtype=dtype))
    result = rnnshapes.verify(model, N=4)
    assert result.passed, result
    compared = {check.name: check.compared for check in result.checks}
    states = [name for name in compared if name.endswith(" at every step") and ": h" in name]
    assert len(states) == (1 if direction in ("forwards", "backwards") else 2)
    assert all(compared[name] == 4 * 3 * 5 for name in states)
    assert any(name.endswith("mask") for name in compared) == masked


# --- States that stay ---------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "both"), [(la.SimpleRNN, False), (la.LSTM, True), (la.GRU, True)])
def test_stateful_model_continues_and_is_left_unchanged(kind: Any, both: bool, request) -> None:
    if kind is la.LSTM:
        request.getfixturevalue("compiled")
    layer = kind(5, stateful=True)
    model = randomized(stateful(la.Bidirectional(layer) if both else layer))
    x = np.random.default_rng(1).standard_normal((4, 9, 3)).astype("float32")
    model.predict(x[:2], batch_size=2, verbose=0)  # some state is left in it
    kept = [v.numpy() for v in states_of(model)]
    assert all(np.any(values) for values in kept)
    with one_run(model, x=x) as session:
        result, traced = session.verify(), session.trace(show="h")
    assert result.passed, result
    for values, before in zip(states_of(model), kept, strict=True):
        np.testing.assert_array_equal(values.numpy(), before)
    np.testing.assert_allclose(traced.output, model.predict(x, batch_size=2, verbose=0), atol=1e-5)
    for shown in traced.layers:
        np.testing.assert_allclose(shown.states["h"], shown.keras["h"], atol=1e-5)


def states_of(model: keras.Model) -> list[Any]:
    """The states that its layer keeps."""
    layer = model.layers[1]
    both = hasattr(layer, "forward_layer")
    parts = [layer.forward_layer, layer.backward_layer] if both else [layer]
    return [value for part in parts for value in part.states]


def test_stateful_model_with_masked_start_is_verified() -> None:
    """The layer behind the stateful one starts anew in each batch."""
    x = keras.Input(batch_shape=(2, 6, 3))
    lstm = la.LSTM(4, stateful=True, return_sequences=True)
    h = la.SimpleRNN(5, return_sequences=True)(lstm(la.Masking()(x)))
    model = randomized(keras.Model(x, la.Dense(2)(h)))
    data = np.random.default_rng(2).standard_normal((4, 6, 3))
    data[:, :2] = 0
    data[1, 4] = 0
    assert rnnshapes.verify(model, x=data).passed
    traced = rnnshapes.trace(model, x=data)
    np.testing.assert_allclose(traced.output, traced.output_keras, atol=1e-5)


def test_given_states_replace_those_that_a_layer_keeps() -> None:
    x, h = keras.Input(batch_shape=(2, 6, 3)), keras.Input(batch_shape=(2, 4))
    rnn = la.SimpleRNN(4, stateful=True, return_sequences=True)
    model = randomized(keras.Model([x, h], la.Dense(2)(rnn(x, initial_state=h))))
    rng = np.random.default_rng(2)
    data = [rng.standard_normal((4, *shape)).astype("f") for shape in ((6, 3), (4,))]
    model.predict(data, batch_size=2, verbose=0)
    assert rnnshapes.verify(model, x=data).passed


def test_nested_stateful_layer_is_left_unchanged() -> None:
    inner = keras.Sequential([keras.Input(batch_shape=(2, 9, 3)), la.LSTM(4, stateful=True)])
    x = keras.Input(batch_shape=(2, 9, 3))
    model = keras.Model(x, la.Dense(2)(inner(x)))
    rnnshapes.verify(model)
    for value in inner.layers[0].states:
        assert not value.numpy().any()


class Unit(la.UnitNormalization):
    """A layer of the user's own, which passes the mask on."""


def test_mask_passes_through_an_unsupported_layer() -> None:
    model = randomized(sequential(la.Masking(), Unit(), la.LSTM(3), la.Dense(2)))
    assert not rnnshapes.inspect(model).layers[1].supported
    traced = rnnshapes.trace(model, N=3, show="h")
    np.testing.assert_allclose(traced.output, traced.output_keras, atol=1e-5)
    assert rnnshapes.verify(model, N=3).passed


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda x: la.LSTM(3)(keras.ops.cumsum(x, axis=1)), "keras.ops"),
        (lambda x: la.LSTM(3)(keras.ops.flip(x, axis=0)), "keras.ops"),
        (lambda x: la.TimeDistributed(Dense(2))(la.LSTM(3, return_sequences=True)(x)), "Dense"),
    ],
)
def test_look_alikes_of_keras_layers_are_unsupported(make: Any, why: str) -> None:
    model = functional(lambda x: la.Dense(2)(make(x)))
    result = rnnshapes.inspect(model)
    (unknown,) = [layer for layer in result.layers if not layer.supported]
    assert why in " ".join(note.text for note in unknown.notes) or why in unknown.type
    assert rnnshapes.verify(randomized(model), N=2).passed


class Dense(la.Dense):
    """A user's own, which computes something else."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        return 2 * super().call(inputs)


def test_dropout_may_recompute_its_input(compiled: None) -> None:
    """TensorFlow fuses it with the layer in front, and rounds once more."""
    parts = (la.TimeDistributed(la.LayerNormalization()), la.TimeDistributed(la.Dropout(0.2)))
    model = sequential(la.LSTM(4, return_sequences=True), *parts, la.Dense(2), shape=(6, 3))
    run = run_model(randomized(model), N=4)
    assert failed(run) == []
    name = run.network.layers[2].name
    values = {**run.keras.values, name: (run.keras.values[name][0] * np.float32(1.001),)}
    wrong = replace(run, keras=replace(run.keras, values=values))
    assert f"{name}: output at every step" in failed(wrong)


def test_partly_frozen_layer_is_counted() -> None:
    model = sequential(la.Bidirectional(la.LSTM(5)), la.Dense(2))
    model.layers[0].forward_layer.trainable = False
    result = rnnshapes.inspect(model)
    assert result.trainable == sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    assert result.params - result.trainable == 4 * 5 * (3 + 5 + 1)


def test_layer_shared_by_lengths_counts_each_call() -> None:
    result = rnnshapes.inspect(MODELS["shared by lengths"](), N=1)
    assert (result.network.sizes["T'"], result.network.sizes["T''"]) == (7, 4)
    conv, lstm, _, dense = result.layers
    assert conv.macs == 3 * 3 * 4 * (7 + 4)
    assert lstm.macs == 4 * (4 * 5 + 5 * 5) * (7 + 4)
    assert dense.macs == (5 + 5) * 2
    assert list(map(str, result.layers[2].equations)) == ["m = concatenate(h_{T'-1}, h'_{T''-1})"]


def test_open_lengths_are_given_by_name() -> None:
    model = randomized(functional(encoder_decoder, (None, 3), (None, 4)))
    assert rnnshapes.verify(model, T1=5, T2=4).passed
    with pytest.raises(InputError, match=mentioning("T1", "--T")):
        rnnshapes.verify(model, T2=4)


def test_layer_that_takes_integers_is_unsupported() -> None:
    indices = keras.Input((6,), dtype="int32")
    x = keras.ops.one_hot(indices, 4)
    model = randomized(keras.Model(indices, la.Dense(2)(la.LSTM(3)(x))))
    summary = rnnshapes.inspect(model)
    assert [layer.name for layer in summary.layers if not layer.supported] == ["one_hot"]
    assert summary.params == model.count_params()
    assert rnnshapes.verify(model, N=2).passed


def test_bidirectional_and_go_backwards_exit_2(run) -> None:
    """Keras builds no such layer."""
    done = run("trace", "--bidirectional", "--go-backwards", "--no-keras")
    assert_refused(done, "bidirectional", "backwards")


def test_incomplete_batch_is_refused() -> None:
    """A stateful model takes whole batches only."""
    with pytest.raises(InputError, match=mentioning("2", "N", "3")):
        rnnshapes.trace(stateful(la.LSTM(5, stateful=True)), N=3)


# --- What is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "formulas"),
    [
        ("convolved, pooled", {"T'": 4, "T''": 2, "F": 6}, ["F(3D+1)", "4M(F+M+1)", "K(M+1)"]),
        ("embedded, masked", {"V": 11, "E": 4}, ["V·E", "4M(E+M+1)", "K(M+1)"]),
        ("repeated", {"R": 4}, ["M1(D+M1+1)", "4M2(M1+M2+1)", "K(M2+1)"]),
        ("flattened", {}, ["4M(D+M+1)", "K(T·M+1)"]),
        ("stacked cells, both, masked", {"M1": 5, "M2": 4, "M3": 6}, None),
        ("branches", {"M1": 5, "M2": 4}, ["4M1(D+M1+1)", "6M2(D+M2+2)", "K(M1+2M2+1)"]),
    ],
)
def test_names_of_sizes_flow_through(name: str, sizes: dict, formulas: Any) -> None:
    result = inspection_of(name)
    assert sizes.items() <= result.network.sizes.items()
    if formulas is not None:
        assert [layer.formula for layer in result.layers if layer.weights] == formulas


@pytest.mark.parametrize(
    ("name", "mentioned"),
    [
        ("repeated", ["dropout=0.2", "unroll=True"]),
        ("masked", ["-1.1"]),
        ("normalized", ["Dropout", "0.3"]),
        ("masked, backwards", ["t = T-1", "h1_t = z1_t × h1_{t+1}"]),
        ("encoder, decoder", ["h2_{-1} = h1_{T1-1}, c2_{-1} = c1_{T1-1}"]),
        ("shared", ["2 times"]),
        ("masked, both", ["h1_t = concatenate(h1→_t, h1←_t)", "h2←_0)"]),
    ],
)
def test_options_are_explained(name: str, mentioned: list[str]) -> None:
    shown = " ".join(repr(inspection_of(name)).split())
    assert [text for text in mentioned if text not in shown] == []


def test_non_causal_networks_have_no_last_y_hat() -> None:
    traced = rnnshapes.trace(cell="gru", bidirectional=True, N=2, show="y,h")
    assert traced.to_dict()["causal"] is False
    np.testing.assert_allclose(traced.output, traced.output_keras, atol=1e-6)
    assert not np.allclose(traced.output, traced.y_hat[:, -1], atol=1e-3)
    flat = rnnshapes.trace(model_of("flattened"), N=2, show="h")
    assert flat.y_hat is None
    assert flat.to_dict()["y_hat"] == {"numpy": None, "keras": None}


def test_directions_are_indexed_by_input_step(run) -> None:
    traced = rnnshapes.trace(cell="simple", bidirectional=True, T=4, show="h", keras=False)
    forward, backward = traced.layers
    assert (forward.reverse, backward.reverse) == (False, True)
    model = model_of("embedded, masked")
    masked = rnnshapes.trace(model, x=[[3, 2, 5, 0, 4, 0, 0, 0, 0]], show="h,gates")
    (layer,) = masked.layers
    assert layer.mask.tolist() == [[True] * 3 + [False, True] + [False] * 4]
    np.testing.assert_array_equal(layer.states["h"][0, 3], layer.states["h"][0, 2])
    np.testing.assert_array_equal(layer.states["h"][0, 8], layer.states["h"][0, 4])
    assert np.isnan(layer.gates["i"][0, 3]).all()
    assert not np.isnan(layer.gates["i"][0, 4]).any()
    assert repr(masked).count("masked") >= 5
    out = run("trace", "--cell", "gru", "--bidirectional", "--show", "h", "--layer", "nothing")
    assert_refused(out, "nothing", "bidirectional")


def test_layer_selects_a_layer_or_direction(run) -> None:
    spec = ("--M", 4, "--M", 3, "--bidirectional", "--cell", "gru", "--no-keras", "--show", "h")
    for name, count in (("bidirectional_1", 2), ("bidirectional/backward_gru", 1)):
        import json

        record = json.loads(run("trace", *spec, "--layer", name, "--format", "json").out)
        assert len(record["layers"]) == count
        assert all(layer["name"].startswith(name) for layer in record["layers"])


def test_several_inputs_are_given_as_a_list() -> None:
    model = model_of("encoder, decoder")
    rng = np.random.default_rng(3)
    x = [rng.standard_normal((3, 9, 3)), rng.standard_normal((3, 6, 4))]
    assert rnnshapes.verify(model, x=x).passed
    with pytest.raises(InputError, match=mentioning("2 inputs", "list")):
        rnnshapes.verify(model, x=x[:1])
    with pytest.raises(InputError, match=mentioning("(4, 6, 4)", "(3, 6, 4)")):
        rnnshapes.verify(model, x=[x[0], np.zeros((4, 6, 4))])


@pytest.mark.parametrize("value", [11, -1, 2.5])
def test_invalid_word_indices_are_refused(value: float) -> None:
    x = np.ones((2, 9))
    x[1, 3] = value
    with pytest.raises(InputError, match=mentioning("0", "10")):
        rnnshapes.verify(model_of("embedded, masked"), x=x)


def test_live_model_is_left_unchanged() -> None:
    model = randomized(MODELS["branches"]())
    before = [layer.name for layer in model.layers]
    nodes = [(len(la._inbound_nodes), len(la._outbound_nodes)) for la in model.layers]
    weights = [np.array(w) for w in model.get_weights()]
    rnnshapes.verify(model, N=2)
    rnnshapes.inspect(model)
    assert [layer.name for layer in model.layers] == before
    assert [(len(la._inbound_nodes), len(la._outbound_nodes)) for la in model.layers] == nodes
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_layer_names_decide_nothing() -> None:
    model = sequential(la.GRU(5, name="lstm"), la.Dense(2, name="embedding"))
    network = live.read_model(model)
    assert [(layer.name, layer.type) for layer in network.layers] == [
        ("lstm", "GRU"),
        ("embedding", "Dense"),
    ]
